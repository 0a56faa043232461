//! Form fields (`application/x-www-form-urlencoded`), and the JSON document that they stand for.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// The media type of form fields.
pub const FORM: &str = "application/x-www-form-urlencoded";

/// The most fields of a form.
pub const MAX_FIELDS: usize = 10_000;

/// A form has too many fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the form has more than {MAX_FIELDS} fields")]
pub struct TooManyFields;

/// The fields of a form, decoded, in order.
pub fn fields(body: &[u8]) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    form_urlencoded::parse(body)
}

/// The fields as they are signed by some senders: sorted by name, each name directly before its value. A repeated name
/// has its distinct values in order.
///
/// # Errors
/// [`TooManyFields`].
pub fn sorted(body: &[u8]) -> Result<String, TooManyFields> {
    let mut fields: Vec<_> = fields(body).take(MAX_FIELDS + 1).collect();
    if fields.len() > MAX_FIELDS {
        return Err(TooManyFields);
    }
    fields.sort_unstable();
    fields.dedup();
    Ok(fields
        .iter()
        .fold(String::with_capacity(body.len()), |text, (name, value)| text + name + value))
}

/// The JSON text of a form: an object of strings, with a list where a name is repeated.
///
/// A form whose only field is `payload` and holds a JSON object or list stands for that: senders wrap JSON so.
///
/// # Errors
/// [`TooManyFields`].
pub fn json(body: &[u8]) -> Result<String, TooManyFields> {
    let mut found = fields(body);
    if let (Some((name, value)), None) = (found.next(), found.next())
        && name == "payload"
        && value.starts_with(['{', '['])
        && serde_json::from_str::<serde::de::IgnoredAny>(&value).is_ok()
    {
        return Ok(value.into_owned());
    }
    let mut members = Map::new();
    for (number, (name, value)) in fields(body).enumerate() {
        if number == MAX_FIELDS {
            return Err(TooManyFields);
        }
        let value = Value::String(value.into_owned());
        match members.get_mut(&*name) {
            None => drop(members.insert(name.into_owned(), value)),
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    Ok(Value::Object(members).to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_are_members_and_repeated_ones_are_lists() {
        for (form, expected) in [
            ("", "{}"),
            ("a=1&b=%C3%A9+x", r#"{"a":"1","b":"é x"}"#),
            ("a=1&a=2&a=3", r#"{"a":["1","2","3"]}"#),
            ("a", r#"{"a":""}"#),
            ("payload=%7B%22n%22%3A1.50%7D", r#"{"n":1.50}"#),
            ("payload=%5B1%5D", "[1]"),
            ("other=%5B1%5D", r#"{"other":"[1]"}"#),
            ("payload=%7Bx", r#"{"payload":"{x"}"#),
            ("payload=%7B%7D&b=1", r#"{"payload":"{}","b":"1"}"#),
        ] {
            assert_eq!(json(form.as_bytes()).unwrap(), expected, "{form}");
        }
    }

    #[test]
    fn sorted_fields_have_each_value_once() {
        assert_eq!(sorted(b"b=2&a=1&b=1&b=2").unwrap(), "a1b1b2");
    }

    #[test]
    fn too_many_fields_are_refused() {
        let body = |fields: usize| "a&".repeat(fields).into_bytes();
        assert!(json(&body(MAX_FIELDS)).is_ok() && sorted(&body(MAX_FIELDS)).is_ok());
        assert_eq!(json(&body(MAX_FIELDS + 1)), Err(TooManyFields));
        assert_eq!(sorted(&body(MAX_FIELDS + 1)), Err(TooManyFields));
    }

    proptest! {
        #[test]
        fn any_bytes_stand_for_json(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let text = json(&body).unwrap();
            prop_assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}");
        }

        #[test]
        fn every_field_is_found_again(
            fields in prop::collection::btree_map("\\PC{1,8}", "[^{\\[]\\PC{0,8}", 1..8),
        ) {
            let form: String = form_urlencoded::Serializer::new(String::new())
                .extend_pairs(&fields)
                .finish();
            let text = json(form.as_bytes()).unwrap();
            let value: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(value, serde_json::to_value(&fields).unwrap());
        }
    }
}
