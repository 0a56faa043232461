//! JSON without a model: its text, digit for digit.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::openapi::schema::Object;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// Any JSON value, kept as its text.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Json(Box<RawValue>);

impl Json {
    /// The value's text.
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// The value as a type, for example as [`Value`](serde_json::Value).
    ///
    /// # Errors
    /// If the value does not fit the type.
    pub fn read<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_str(self.get())
    }

    /// The JSON of `model`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn of<T: Serialize>(model: &T) -> serde_json::Result<Self> {
        serde_json::value::to_raw_value(model).map(Json)
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl PartialSchema for Json {
    fn schema() -> RefOr<Schema> {
        Object::builder()
            .schema_type(utoipa::openapi::schema::SchemaType::AnyValue)
            .description(Some("Any JSON."))
            .into()
    }
}

impl ToSchema for Json {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_it_came() {
        let json: Json = serde_json::from_str(r#"{"a":1.50}"#).unwrap();
        assert_eq!(serde_json::to_string(&json).unwrap(), r#"{"a":1.50}"#);
        assert_eq!(json.read::<serde_json::Value>().unwrap()["a"], 1.5);
        assert_eq!(Json::of(&[1, 2]).unwrap().get(), "[1,2]");
    }
}
