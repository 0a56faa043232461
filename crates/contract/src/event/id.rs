//! An id that the sender writes as a number or as a string.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::openapi::schema::{Object, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::scalar;

/// An id or code that is a JSON number or a string (`7`, `"7"`, `"AB-7"`), kept as its text.
///
/// One id may be a number in one event and a string in the next, so `7` and `"7"` are equal.
/// Digits are kept as received: no id is rounded, however long.
/// It is written as received: a number as a number, a string as a string.
#[derive(Debug, Clone)]
pub struct Id {
    text: String,
    is_number: bool,
}

impl Id {
    /// The id as received, without quotes.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The id as an `i64`, if it fits.
    pub fn as_i64(&self) -> Option<i64> {
        self.text.parse().ok()
    }
}

impl PartialEq for Id {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Id {}

impl Hash for Id {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl PartialOrd for Id {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Id {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl From<&str> for Id {
    fn from(text: &str) -> Self {
        Id { text: text.to_owned(), is_number: false }
    }
}

impl From<i64> for Id {
    fn from(number: i64) -> Self {
        Id { text: number.to_string(), is_number: true }
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (text, is_number) = scalar::read_as(deserializer, "an id (number or string)")?;
        Ok(Id { text, is_number })
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.is_number {
            return serializer.serialize_str(&self.text);
        }
        let digits = RawValue::from_string(self.text.clone()).map_err(S::Error::custom)?;
        digits.serialize(serializer)
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
    fn an_id_is_written_as_it_came() {
        for json in ["7", "\"7\"", "12345678901234567890123", "7.0", "\"AB-7\""] {
            assert_eq!(serde_json::to_string(&id(json).unwrap()).unwrap(), json);
        }
        assert_eq!(serde_json::to_string(&Id::from(7)).unwrap(), "7");
    }

    #[test]
    fn what_is_no_id_says_so() {
        for json in ["null", "true", "[7]", "{\"id\":7}"] {
            assert!(id(json).unwrap_err().contains("expected an id"), "{json}");
        }
    }

    proptest! {
        #[test]
        fn every_integer_and_every_string_comes_back(number: i64, text: String) {
            prop_assert_eq!(id(&number.to_string()).unwrap().as_i64(), Some(number));
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(id(&json).unwrap(), Id::from(&*text));
        }

        #[test]
        fn arbitrary_text_never_panics(text in "\\PC*") {
            let _ = id(&text);
        }
    }
}
