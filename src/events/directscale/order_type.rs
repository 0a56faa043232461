//! What kind of order it is, in any of the spellings the vendor uses.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};
use utoipa::openapi::schema::{Object, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::event::scalar;

/// The kind of an order, from a number, digits in a string or a name in any case (`2`, `"2"`, `"AutoShip"`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum OrderType {
    /// 0.
    Unknown,
    /// 1: a single order.
    Standard,
    /// 2: placed by a recurring schedule.
    Autoship,
    /// 3: placed while enrolling.
    Enrollment,
    /// 4: moves commissionable volume; nothing is sold.
    VolumeAdjustment,
    /// A kind that is not known here, as it came.
    Other(String),
}

const NAMES: [(OrderType, &str, &str); 5] = [
    (OrderType::Unknown, "0", "Unknown"),
    (OrderType::Standard, "1", "Standard"),
    (OrderType::Autoship, "2", "Autoship"),
    (OrderType::Enrollment, "3", "Enrollment"),
    (OrderType::VolumeAdjustment, "4", "VolumeAdjustment"),
];

impl FromStr for OrderType {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let wanted = text.trim();
        let known = NAMES
            .iter()
            .find(|(_, digit, name)| *digit == wanted || name.eq_ignore_ascii_case(wanted));
        Ok(match known {
            Some((kind, ..)) => kind.clone(),
            None => OrderType::Other(text.to_owned()),
        })
    }
}

impl fmt::Display for OrderType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, NAMES.iter().find(|(kind, ..)| kind == self)) {
            (OrderType::Other(text), _) => f.pad(text),
            (_, Some((.., name))) => f.pad(name),
            (known, None) => write!(f, "{known:?}"),
        }
    }
}

impl<'de> Deserialize<'de> for OrderType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = scalar::read(deserializer, "an order type (number or string)")?;
        let Ok(kind) = text.parse();
        Ok(kind)
    }
}

impl PartialSchema for OrderType {
    fn schema() -> RefOr<Schema> {
        Object::builder()
            .schema_type(SchemaType::from_iter([Type::String, Type::Integer]))
            .description(Some(
                "The kind of order, by name or number: Unknown 0, Standard 1, Autoship 2, Enrollment 3, \
                 VolumeAdjustment 4. Case does not matter; other values are kept.",
            ))
            .examples(["Standard", "AutoShip"])
            .into()
    }
}

impl ToSchema for OrderType {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::decode;

    fn kind(json: &str) -> Result<OrderType, String> {
        decode::<OrderType>(json.as_bytes()).map(|(kind, _)| kind).map_err(|error| error.message)
    }

    #[test]
    fn number_digits_and_name_are_the_same_kind() {
        for (expected, digit, name) in NAMES {
            let upper = name.to_uppercase();
            for json in [
                digit.to_owned(),
                format!("\"{digit}\""),
                format!("\"{name}\""),
                format!("\"{upper}\""),
            ] {
                assert_eq!(kind(&json).unwrap(), expected, "{json}");
            }
        }
        assert_eq!(kind("\"AutoShip\"").unwrap(), OrderType::Autoship);
    }

    #[test]
    fn an_unknown_kind_is_kept() {
        for (json, text) in
            [("9", "9"), ("\"Party\"", "Party"), ("-1", "-1"), ("1.0", "1.0"), ("\"\"", "")]
        {
            assert_eq!(kind(json).unwrap(), OrderType::Other(text.into()));
        }
        assert!(kind("{}").unwrap_err().contains("order type"));
    }

    proptest! {
        #[test]
        fn every_kind_comes_back_from_its_text(text: String) {
            let kind = kind(&serde_json::to_string(&text).unwrap()).unwrap();
            let Ok(again) = kind.to_string().parse::<OrderType>();
            prop_assert_eq!(kind, again);
        }

        #[test]
        fn arbitrary_text_never_panics(text in "\\PC*") {
            let _ = kind(&text);
        }
    }
}
