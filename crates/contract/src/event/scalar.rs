//! The text of a JSON number or string, digit for digit: the basis of ids and money.

use serde::de::{Deserialize, Deserializer, Error, Unexpected};
use serde_json::value::RawValue;
use text::json::scalar;

/// Reads a number or a string as its text; `expected` is the end of the error message for other values.
pub fn read<'de, D>(deserializer: D, expected: &str) -> Result<String, D::Error>
where
    D: Deserializer<'de>,
{
    read_as(deserializer, expected).map(|(text, _)| text)
}

/// As [`read`], with true if the value is a number.
pub fn read_as<'de, D>(deserializer: D, expected: &str) -> Result<(String, bool), D::Error>
where
    D: Deserializer<'de>,
{
    let json = Box::<RawValue>::deserialize(deserializer)?;
    let text = scalar(&json).ok_or_else(|| D::Error::invalid_type(kind(&json), &expected))?;
    Ok((text, !json.get().starts_with('"')))
}

fn kind(json: &RawValue) -> Unexpected<'static> {
    match json.get().as_bytes().first() {
        Some(b'{') => Unexpected::Map,
        Some(b'[') => Unexpected::Seq,
        Some(b't') => Unexpected::Bool(true),
        Some(b'f') => Unexpected::Bool(false),
        Some(b'n') => Unexpected::Unit,
        _ => Unexpected::Other("string"),
    }
}
