//! Edits of one field of a JSON text that keep every other byte.

use std::collections::HashMap;

use anyhow::{Context as _, bail};
use serde_json::value::RawValue;

/// A change to a body: `Field=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FieldChange {
    path: String,
    value: String,
}

impl std::str::FromStr for FieldChange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, value) = text.split_once('=').ok_or("write Field=value")?;
        if segments(path).any(str::is_empty) {
            return Err(format!("`{path}` is not a path; write Field, Outer.Inner or List[0]"));
        }
        Ok(FieldChange { path: path.to_owned(), value: json(value) })
    }
}

impl FieldChange {
    /// The text with the field at the path set, added if it is missing.
    pub(super) fn apply(&self, text: &str) -> anyhow::Result<String> {
        let path: Vec<&str> = segments(&self.path).collect();
        put(text, &path, &self.value)
            .with_context(|| format!("cannot set {}={}", self.path, self.value))
    }
}

/// `Lines[0].Sku` and `Lines.0.Sku` are the same path.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split(['.', '[']).map(|segment| segment.strip_suffix(']').unwrap_or(segment))
}

/// The value as it is if it is JSON, otherwise as a JSON string.
fn json(value: &str) -> String {
    match serde_json::from_str::<&RawValue>(value) {
        Ok(json) => json.get().to_owned(),
        Err(_) => serde_json::Value::from(value).to_string(),
    }
}

/// The text with the JSON `value` at the end of the path, added if it is missing; every other byte stays.
pub fn put(text: &str, path: &[&str], value: &str) -> anyhow::Result<String> {
    let Some((segment, rest)) = path.split_first() else { return Ok(value.to_owned()) };
    match text.trim_start().as_bytes().first() {
        Some(b'{') => put_member(text, segment, rest, value),
        Some(b'[') => put_element(text, segment, rest, value),
        _ => bail!("`{segment}` is asked of {text}, which is neither an object nor a list"),
    }
}

fn put_member(text: &str, name: &str, rest: &[&str], value: &str) -> anyhow::Result<String> {
    let members: HashMap<String, &RawValue> = serde_json::from_str(text)?;
    let known = members
        .get(name)
        .or_else(|| members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v));
    if let Some(old) = known {
        return Ok(splice(text, old.get(), &put(old.get(), rest, value)?));
    }
    let member = format!("{}:{}", serde_json::Value::from(name), put_new(rest, value)?);
    Ok(append(text, '}', members.is_empty(), &member))
}

fn put_element(text: &str, index: &str, rest: &[&str], value: &str) -> anyhow::Result<String> {
    let elements: Vec<&RawValue> = serde_json::from_str(text)?;
    let index: usize =
        index.parse().with_context(|| format!("`{index}` is not the index of a list"))?;
    match elements.get(index) {
        Some(old) => Ok(splice(text, old.get(), &put(old.get(), rest, value)?)),
        None if index == elements.len() => {
            Ok(append(text, ']', elements.is_empty(), &put_new(rest, value)?))
        }
        None => bail!("the list has {} elements, so there is no [{index}]", elements.len()),
    }
}

/// A missing parent becomes an object.
fn put_new(rest: &[&str], value: &str) -> anyhow::Result<String> {
    put("{}", rest, value)
}

/// `text` with its part `old` replaced.
fn splice(text: &str, old: &str, new: &str) -> String {
    let start = old.as_ptr() as usize - text.as_ptr() as usize;
    [&text[..start], new, &text[start + old.len()..]].concat()
}

/// `text` with `item` before its closing bracket.
fn append(text: &str, close: char, empty: bool, item: &str) -> String {
    let end = text.rfind(close).unwrap_or(text.len());
    let inner = if empty { &text[..end] } else { text[..end].trim_end() };
    [inner, if empty { "" } else { "," }, item, &text[end..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str, setting: &str) -> Result<String, String> {
        let setting: FieldChange = setting.parse()?;
        setting.apply(text).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn every_other_byte_stays() {
        let text = "{ \"b\" : 20.00,\n\"a\":[ 1, {\"c\":1e2} ] }\n";
        assert_eq!(set(text, "a.1.c=7").unwrap(), text.replace("1e2", "7"));
        assert_eq!(set(text, "a[0]=7").unwrap(), text.replace("[ 1", "[ 7"));
        assert_eq!(set(text, "b=0.10").unwrap(), text.replace("20.00", "0.10"));
    }

    #[test]
    fn a_value_is_json_if_it_can_be_and_text_otherwise() {
        let value = |value: &str| set("{}", &format!("a={value}")).unwrap();
        assert_eq!(value("12345678901234567890.10"), r#"{"a":12345678901234567890.10}"#);
        assert_eq!(value("true"), r#"{"a":true}"#);
        assert_eq!(value(r#""7""#), r#"{"a":"7"}"#);
        assert_eq!(value("Paid now=yes"), r#"{"a":"Paid now=yes"}"#);
        assert_eq!(value(""), r#"{"a":""}"#);
        assert_eq!(value(r#"{"x":[1]}"#), r#"{"a":{"x":[1]}}"#);
    }

    #[test]
    fn what_is_missing_is_added_at_the_end() {
        assert_eq!(set(r#"{"a":1}"#, "b.c=2").unwrap(), r#"{"a":1,"b":{"c":2}}"#);
        assert_eq!(set(r#"{"a":[]}"#, "a[0].b=2").unwrap(), r#"{"a":[{"b":2}]}"#);
        assert_eq!(set(r#"{"a":[1]}"#, "a[1]=2").unwrap(), r#"{"a":[1,2]}"#);
    }

    #[test]
    fn a_known_field_is_found_without_regard_to_case() {
        assert_eq!(set(r#"{"OrderId":1}"#, "orderid=2").unwrap(), r#"{"OrderId":2}"#);
    }

    #[test]
    fn a_path_that_leads_nowhere_is_refused() {
        assert!(set(r#"{"a":[1]}"#, "a[3]=2").unwrap_err().contains("1 elements"));
        assert!(set(r#"{"a":[1]}"#, "a.x=2").unwrap_err().contains("not the index"));
        assert!(set(r#"{"a":1}"#, "a.x=2").unwrap_err().contains("neither"));
        assert!(set("{}", "a..b=2").unwrap_err().contains("not a path"));
        assert!(set("{}", "a").is_err());
        assert!(set("not json", "a=1").is_err());
    }
}
