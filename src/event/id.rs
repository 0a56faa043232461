//! An id, whether the sender writes it as a number or as a string.

use std::fmt;

use serde::{Deserialize, Deserializer};
use utoipa::openapi::schema::{Object, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::scalar;

/// An id or code that comes as a JSON number or a string (`7`, `"7"`, `"AB-7"`) and is kept as its text.
///
/// One id may be a number in one event and a string in the next, so `7` and `"7"` are equal.
/// Digits are kept as they came: no id is rounded, however long.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(String);

impl Id {
    /// The id as it came, without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as an integer, if it is one and fits.
    pub fn as_i64(&self) -> Option<i64> {
        self.0.parse().ok()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<&str> for Id {
    fn from(text: &str) -> Self {
        Id(text.to_owned())
    }
}

impl From<i64> for Id {
    fn from(number: i64) -> Self {
        Id(number.to_string())
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        scalar::read(deserializer, "an id (number or string)").map(Id)
    }
}

impl PartialSchema for Id {
    fn schema() -> RefOr<Schema> {
        Object::builder()
            .schema_type(SchemaType::from_iter([Type::Integer, Type::String]))
            .description(Some("An id or code: a number, or a string with the same meaning."))
            .examples([serde_json::json!(7), serde_json::json!("AB-7")])
            .into()
    }
}

impl ToSchema for Id {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::decode;

    fn id(json: &str) -> Result<Id, String> {
        decode::<Id>(json.as_bytes()).map(|(id, _)| id).map_err(|error| error.message)
    }

    #[test]
    fn a_number_and_its_string_are_the_same_id() {
        assert_eq!(id("7").unwrap(), id("\"7\"").unwrap());
        assert_eq!(id("7").unwrap().as_i64(), Some(7));
        assert_eq!(id("\"AB-7\"").unwrap().to_string(), "AB-7");
        assert_eq!(id("\"AB-7\"").unwrap().as_i64(), None);
    }

    #[test]
    fn digits_are_never_mangled() {
        for digits in ["9223372036854775808", "-12345678901234567890123", "7.0", "1e3", "0.10"] {
            let id = id(digits).unwrap();
            assert_eq!((id.as_str(), id.as_i64()), (digits, None));
        }
        assert_eq!(id("\"007\"").unwrap().as_str(), "007");
    }

    #[test]
    fn what_is_no_id_says_so() {
        for json in ["null", "true", "[7]", "{\"id\":7}", r#""\ud800""#] {
            assert!(id(json).unwrap_err().contains("expected an id"), "{json}");
        }
    }

    proptest! {
        #[test]
        fn every_integer_and_every_string_comes_back(number: i64, text: String) {
            prop_assert_eq!(id(&number.to_string()).unwrap().as_i64(), Some(number));
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(id(&json).unwrap(), Id(text));
        }

        #[test]
        fn arbitrary_text_never_panics(text in "\\PC*") {
            let _ = id(&text);
        }
    }
}
