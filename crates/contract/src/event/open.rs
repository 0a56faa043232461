//! A lossless model: unknown fields stay with it and are written again.

mod write;

use std::fmt;
use std::ops::{Deref, DerefMut};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use self::write::OpenSerializer;
use super::decode::{ReceivedFields, model, needs_object};

/// A model together with the fields unknown to it. Dereferences to the model.
///
/// Reading takes keys in any case. Writing uses the model's spelling, keeps unknown fields digit for digit, and writes
/// a `None` only if the field was received: a field that the sender left out does not become a `null` that it may not
/// take.
///
/// Objects inside a model are `Open` too, so that their unknown fields survive:
///
/// ```
/// # use webhook_receiver::Open;
/// # #[derive(serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
/// # struct LineItem {}
/// #[derive(serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
/// struct Autoship {
///     #[schema(value_type = Vec<LineItem>)]
///     line_items: Vec<Open<LineItem>>,
/// }
/// ```
#[derive(Clone, Default)]
pub struct Open<T> {
    model: T,
    received: ReceivedFields,
}

impl<T> Open<T> {
    /// The fields unknown to the model, as JSON text, in the order received.
    pub fn unknown(&self) -> impl Iterator<Item = (&str, &str)> {
        self.received.unknown.iter().map(|(name, value)| (name.as_str(), value.get()))
    }

    /// The model without the unknown fields.
    pub fn into_model(self) -> T {
        self.model
    }
}

impl<T: DeserializeOwned> From<T> for Open<T> {
    fn from(model: T) -> Self {
        Open {
            model,
            received: ReceivedFields { opaque: !needs_object::<T>(), ..ReceivedFields::default() },
        }
    }
}

impl<T> Deref for Open<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.model
    }
}

impl<T> DerefMut for Open<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.model
    }
}

impl<T: fmt::Debug> fmt::Debug for Open<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.model.fmt(f)?;
        if self.received.unknown.is_empty() {
            Ok(())
        } else {
            f.debug_map().entries(self.unknown()).finish()
        }
    }
}

impl<T: PartialEq> PartialEq for Open<T> {
    fn eq(&self, other: &Self) -> bool {
        self.model == other.model && self.unknown().eq(other.unknown())
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Open<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut received = ReceivedFields::default();
        let model = model(deserializer, &mut received)?;
        Ok(Open { model, received })
    }
}

impl<T: Serialize> Serialize for Open<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.received.opaque {
            return self.model.serialize(serializer);
        }
        self.model.serialize(OpenSerializer { to: serializer, received: &self.received })
    }
}

impl<T: PartialSchema> PartialSchema for Open<T> {
    fn schema() -> RefOr<Schema> {
        T::schema()
    }
}

impl<T: ToSchema> ToSchema for Open<T> {
    fn name() -> std::borrow::Cow<'static, str> {
        T::name()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        T::schemas(schemas);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::event::{Json, Money, decode};

    /// An order.
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
    #[serde(rename_all = "PascalCase")]
    struct Order {
        /// Its number.
        order_number: i64,
        /// A note.
        note: Option<String>,
        /// Its lines.
        #[serde(default)]
        #[schema(value_type = Vec<Line>)]
        lines: Vec<Open<Line>>,
        /// The destination.
        #[schema(value_type = Option<Line>)]
        address: Option<Open<Line>>,
    }

    /// A line.
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
    #[serde(rename_all = "PascalCase")]
    struct Line {
        /// The price.
        price: Option<Money>,
    }

    fn order(json: &str) -> Open<Order> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn what_the_model_does_not_know_survives_at_every_depth_digit_for_digit() {
        let json = r#"{"OrderNumber":1,"Note":null,"Lines":[{"Price":1.50,"New":12345678901234567.890}],"Address":{"Price":null,"X":1e400},"Extra":{"a":[1.0]}}"#;
        assert_eq!(serde_json::to_string(&order(json)).unwrap(), json);
    }

    #[test]
    fn what_was_not_there_is_not_made_a_null() {
        let json = r#"{"OrderNumber":1,"Lines":[]}"#;
        let mut order = order(json);
        assert_eq!(serde_json::to_string(&order).unwrap(), json);
        order.note = Some("x".into());
        assert_eq!(
            serde_json::to_string(&order).unwrap(),
            r#"{"OrderNumber":1,"Note":"x","Lines":[]}"#
        );
    }

    #[test]
    fn a_null_that_was_there_stays() {
        let mut order = order(r#"{"ordernumber":1,"note":"x"}"#);
        order.note = None;
        let written: Value = serde_json::to_value(&order).unwrap();
        assert_eq!(written, serde_json::json!({"OrderNumber": 1, "Note": null, "Lines": []}));
    }

    #[test]
    fn unknown_fields_follow_their_object_wherever_it_goes() {
        let mut order = order(r#"{"OrderNumber":1,"Lines":[{"Price":1,"A":1},{"Price":2,"B":2}]}"#);
        order.lines.remove(0);
        order.lines.push(Open::from(Line { price: None }));
        assert_eq!(
            serde_json::to_string(&order).unwrap(),
            r#"{"OrderNumber":1,"Lines":[{"Price":2,"B":2},{}]}"#
        );
    }

    #[test]
    fn json_without_a_model_keeps_its_nulls() {
        let json = r#"{"a":null,"b":[1.0]}"#;
        let read: Open<Json> = serde_json::from_str(json).unwrap();
        let made = Open::from(read.clone().into_model());
        assert_eq!(serde_json::to_string(&read).unwrap(), json);
        assert_eq!(serde_json::to_string(&made).unwrap(), json);
    }

    #[test]
    fn a_failure_names_its_path_through_every_depth() {
        let json = br#"{"OrderNumber":1,"Lines":[{"Price":1},{"price":true}]}"#;
        let error = decode::<Open<Order>>(json).unwrap_err();
        assert_eq!(error.path, "Lines[1].price");
    }

    #[test]
    fn its_schema_is_the_models() {
        let schema = serde_json::to_value(Open::<Order>::schema()).unwrap();
        assert_eq!(schema["properties"]["Lines"]["items"]["$ref"], "#/components/schemas/Line");
        let mut referred = Vec::new();
        Open::<Order>::schemas(&mut referred);
        assert!(referred.iter().any(|(name, _)| name == "Line"));
    }
}
