//! Decoding of verified bytes as a model: keys in any case, unknown fields kept, failures with their path.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, MapDeserializer, StrDeserializer};
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use text::json::{escape_unpaired_surrogates, without_bom};

use super::repair::without_blanks;

/// A body does not fit its model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", AtPath(path))]
pub struct DecodeError {
    /// The path in the document, e.g. `LineItems[0].ItemId`; `.` is the document itself.
    pub path: String,
    /// The problem at the path.
    pub message: String,
}

impl DecodeError {
    /// The error with its path relative to the enclosing document.
    pub(super) fn within(self, member: &str) -> Self {
        let path = match self.path.as_str() {
            "." => member.to_owned(),
            inner if inner.starts_with('[') => format!("{member}{inner}"),
            inner => format!("{member}.{inner}"),
        };
        DecodeError { path, ..self }
    }
}

/// The path in a message; omitted for the document itself.
struct AtPath<'p>(&'p str);

impl fmt::Display for AtPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == "." { Ok(()) } else { write!(f, " (at {})", self.0) }
    }
}

/// The most paths of a body, without the indexes of list elements, at which a blank string may mean a missing value.
const MAX_BLANKS: usize = 64;

/// Decodes `bytes` as `T` and returns the top-level fields unknown to `T`.
///
/// Path tracking and repairs cost time, so they happen in further passes, only after the first pass has failed.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, Map<String, Value>), DecodeError> {
    let mut received = ReceivedFields::default();
    let text = without_bom(bytes);
    let mut json = serde_json::Deserializer::from_slice(text);
    let decoded = model(&mut json, &mut received).and_then(|model| json.end().map(|()| model));
    let (model, received) = match (decoded, std::str::from_utf8(text)) {
        (Ok(model), _) => (model, received),
        (Err(_), Ok(text)) => repaired(&escape_unpaired_surrogates(text))?,
        (Err(_), Err(error)) => {
            return Err(DecodeError { path: ".".into(), message: format!("not UTF-8: {error}") });
        }
    };
    let unknown = received.unknown.into_iter();
    Ok((model, unknown.map(|(name, value)| (name, lenient(&value))).collect()))
}

/// Decodes a text in which a blank string may mean a missing value, wherever the model allows one to be missing.
fn repaired<T: DeserializeOwned>(text: &str) -> Result<(T, ReceivedFields), DecodeError> {
    let mut text = Cow::Borrowed(text);
    let mut failed = match tracked(&text) {
        Ok(decoded) => return Ok(decoded),
        Err(failed) => failed,
    };
    for _ in 0..MAX_BLANKS {
        let Some(without) = without_blanks(&text, &failed.path) else { break };
        match tracked(&without) {
            Ok(decoded) => return Ok(decoded),
            Err(next) if next.path.to_string() == failed.path.to_string() => break,
            Err(next) => failed = next,
        }
        text = without.into();
    }
    Err(DecodeError { path: failed.path.to_string(), message: without_value(&failed.message) })
}

/// A decoding error with its path.
struct TrackedError {
    path: serde_path_to_error::Path,
    message: String,
}

fn tracked<T: DeserializeOwned>(text: &str) -> Result<(T, ReceivedFields), TrackedError> {
    let mut received = ReceivedFields::default();
    let mut json = serde_json::Deserializer::from_str(text);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let decoded = model(tracked, &mut received).and_then(|model| json.end().map(|()| model));
    match decoded {
        Ok(model) => Ok((model, received)),
        Err(error) => Err(TrackedError { path: track.path(), message: error.to_string() }),
    }
}

/// Decodes a `T` anywhere in a document and collects the remaining fields.
pub(super) fn model<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    deserializer: D,
    received: &mut ReceivedFields,
) -> Result<T, D::Error> {
    ModelSeed { received, model: PhantomData }.deserialize(deserializer)
}

/// The fields of an object, as received.
#[derive(Debug, Clone, Default)]
pub(super) struct ReceivedFields {
    /// The model's fields that were received, `null` or not.
    pub known: Vec<&'static str>,
    /// The fields unknown to the model, as received.
    pub unknown: Vec<(String, Box<RawValue>)>,
    /// True if the model is no struct, so that it owns all its content.
    pub opaque: bool,
}

/// True if `T` is a struct, so that only a JSON object can be one.
pub fn needs_object<T: DeserializeOwned>() -> bool {
    fields::<T>().is_some()
}

/// A serde message without the quoted value, which may be a secret or personal data.
pub fn without_value(message: &str) -> String {
    ["invalid type: ", "invalid value: "]
        .into_iter()
        .find_map(|prefix| {
            let (found, expected) = message.strip_prefix(prefix)?.rsplit_once(", expected ")?;
            let kind = found.split(['"', '`']).next()?.trim_end();
            Some(format!("{prefix}{kind}, expected {expected}"))
        })
        .unwrap_or_else(|| message.to_owned())
}

/// The field names that `T`'s derived implementation asks for; `None` if `T` is not a plain struct.
pub fn fields<T: DeserializeOwned>() -> Option<&'static [&'static str]> {
    let mut fields = None;
    // The probe always ends in an error; the recorded fields are the result.
    let _ = T::deserialize(FieldProbe(&mut fields));
    fields
}

struct FieldProbe<'a>(&'a mut Option<&'static [&'static str]>);

impl<'de> Deserializer<'de> for FieldProbe<'_> {
    type Error = ProbeEnd;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, ProbeEnd> {
        Err(ProbeEnd)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ProbeEnd> {
        *self.0 = Some(fields);
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The end of a probe. It is created for every object that is read, so it holds nothing.
#[derive(Debug, thiserror::Error)]
#[error("a probe")]
struct ProbeEnd;

impl serde::de::Error for ProbeEnd {
    fn custom<T: fmt::Display>(_: T) -> Self {
        ProbeEnd
    }
}

struct ModelSeed<'r, T> {
    received: &'r mut ReceivedFields,
    model: PhantomData<T>,
}

impl<'de, T: DeserializeOwned> DeserializeSeed<'de> for ModelSeed<'_, T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        match fields::<T>() {
            // `null` is accepted as an object without fields, too.
            Some(fields @ []) => deserializer.deserialize_any(ObjectVisitor {
                fields,
                received: self.received,
                model: PhantomData,
            }),
            Some(fields) => deserializer.deserialize_map(ObjectVisitor {
                fields,
                received: self.received,
                model: PhantomData,
            }),
            None => {
                self.received.opaque = true;
                T::deserialize(deserializer)
            }
        }
    }
}

struct ObjectVisitor<'r, T> {
    fields: &'static [&'static str],
    received: &'r mut ReceivedFields,
    model: PhantomData<T>,
}

impl<'de, T: DeserializeOwned> Visitor<'de> for ObjectVisitor<'_, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<T, E> {
        T::deserialize(MapDeserializer::new(std::iter::empty::<(&str, &str)>()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(FieldAccess {
            map,
            fields: self.fields,
            received: self.received,
        }))
    }
}

/// The entries of an object under the model's own spelling; entries unknown to the model are set aside.
struct FieldAccess<'r, A> {
    map: A,
    fields: &'static [&'static str],
    received: &'r mut ReceivedFields,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for FieldAccess<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        while let Some(key) = self.map.next_key_seed(FieldNameSeed(self.fields))? {
            match key {
                FieldName::Known(name) => {
                    self.received.known.push(name);
                    return seed.deserialize(StrDeserializer::new(name)).map(Some);
                }
                FieldName::Unknown(name) => {
                    let value = self.map.next_value()?;
                    self.received.unknown.push((name, value));
                }
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

/// The value, or its JSON text if it is valid JSON that a [`Value`] cannot hold, such as `1e999`.
fn lenient(json: &RawValue) -> Value {
    serde_json::from_str(json.get()).unwrap_or_else(|_| Value::String(json.get().to_owned()))
}

enum FieldName {
    Known(&'static str),
    Unknown(String),
}

struct FieldNameSeed(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for FieldNameSeed {
    type Value = FieldName;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<FieldName, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for FieldNameSeed {
    type Value = FieldName;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E>(self, name: &str) -> Result<FieldName, E> {
        let known = self
            .0
            .iter()
            .find(|field| **field == name)
            .or_else(|| self.0.iter().find(|field| field.eq_ignore_ascii_case(name)));
        Ok(match known {
            Some(field) => FieldName::Known(field),
            None => FieldName::Unknown(name.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::event::{Id, Money, NetDateTime};

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "PascalCase")]
    struct Order {
        order_number: i64,
        note: Option<String>,
    }

    fn order(json: &str) -> Result<(Order, Map<String, Value>), DecodeError> {
        decode(json.as_bytes())
    }

    #[test]
    fn unknown_fields_are_kept() {
        let (order, unknown) = order(r#"{"OrderNumber":1,"New":{"a":[1,2]}}"#).unwrap();
        assert_eq!(order, Order { order_number: 1, note: None });
        assert_eq!(Value::Object(unknown), json!({"New": {"a": [1, 2]}}));
    }

    #[test]
    fn keys_match_without_regard_to_case() {
        let (order, unknown) = order(r#"{"orderNumber":1,"NOTE":"x"}"#).unwrap();
        assert_eq!(order, Order { order_number: 1, note: Some("x".into()) });
        assert!(unknown.is_empty());
    }

    #[test]
    fn a_failure_names_its_path() {
        let error = order(r#"{"OrderNumber":"one"}"#).unwrap_err();
        assert_eq!(error.path, "OrderNumber");
        assert!(error.message.contains("invalid type"), "{error}");
        assert_eq!(order("[]").unwrap_err().path, ".");
        assert!(order(r#"{"OrderNumber":1} x"#).is_err());
    }

    #[test]
    fn a_failure_does_not_repeat_the_value() {
        for value in [r#""4111, expected `x`""#, "4111.5", "[4111]"] {
            let error = order(&format!(r#"{{"OrderNumber":{value}}}"#)).unwrap_err();
            assert!(error.message.contains("expected i64"), "{error}");
            assert!(!error.to_string().contains("4111"), "{error}");
        }
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Loose {
        id: Id,
        paid: Option<bool>,
        total: Option<Money>,
        made: Option<NetDateTime>,
        note: Option<String>,
        code: Option<Id>,
        rate: Option<f64>,
        tags: Option<Vec<String>>,
        lines: Option<Vec<Line>>,
        first: Option<Line>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Line {
        total: Option<Money>,
        made: NetDateTime,
    }

    fn loose(more: &str) -> Result<Loose, DecodeError> {
        decode(format!(r#"{{"id":7{more}}}"#).as_bytes()).map(|(loose, _)| loose)
    }

    #[test]
    fn a_blank_string_is_no_value_where_the_model_can_do_without_one() {
        let names = ["paid", "Total", "made", "note", "code", "rate", "tags", "first", "x"];
        for blank in ["", " "] {
            let read =
                loose(&names.map(|name| format!(",\"{name}\":\"{blank}\"")).concat()).unwrap();
            assert_eq!((read.paid, read.total, read.made, read.rate), (None, None, None, None));
            assert_eq!((read.tags, read.lines, read.first), (None, None, None));
            assert_eq!(read.note.as_deref(), Some(blank), "a text may be blank");
            assert_eq!(read.code.unwrap().as_str(), blank);
        }
    }

    #[test]
    fn a_blank_string_is_no_value_in_every_element_of_a_list() {
        let line = r#"{"total":"","made":"2022-03-04"},"#.repeat(100);
        let lines = format!(r#","lines":[{}]"#, line.trim_end_matches(','));
        let read = loose(&lines).unwrap().lines.unwrap();
        assert!(read.len() == 100 && read.iter().all(|line| line.total.is_none()));
    }

    #[test]
    fn a_blank_string_for_a_value_that_must_be_there_is_named() {
        let error = loose(r#","paid":"","lines":[{"total":"","made":""}]"#).unwrap_err();
        assert_eq!(error.path, "lines[0].made");
        assert!(error.message.contains("not an ISO 8601 date"), "{error}");
        let error = loose(r#","paid":"","total":"ten""#).unwrap_err();
        assert_eq!(error.path, "total");
        assert!(!error.message.contains("null"), "{error}");
    }

    #[test]
    fn half_a_surrogate_pair_anywhere_costs_no_event() {
        let read = loose(r#","note":"a\ud83d","code":"\ud800","\udc00":1"#).unwrap();
        assert_eq!(read.note.as_deref(), Some(r"a\ud83d"));
        assert_eq!(read.code.unwrap().as_str(), r"\ud800");
        let value: Value = decode(br#"{"\ud800":["\ud83d\ude00"]}"#).unwrap().0;
        assert_eq!(value, json!({r"\ud800": ["\u{1f600}"]}));
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_text() {
        let (order, _) = order("\u{feff}{\"OrderNumber\":1}").unwrap();
        assert_eq!(order.order_number, 1);
        assert!(decode::<Order>("\u{feff}\u{feff}{\"OrderNumber\":1}".as_bytes()).is_err());
        let error = decode::<Order>(b"{\"OrderNumber\":1,\"note\":\"\xff\"}").unwrap_err();
        assert!(error.message.starts_with("not UTF-8"), "{error}");
    }

    #[test]
    fn no_unknown_field_can_fail_a_delivery() {
        for value in ["1e999", r#""\ud800""#] {
            let (_, unknown) = order(&format!(r#"{{"OrderNumber":1,"New":{value}}}"#)).unwrap();
            assert_eq!(unknown["New"], value);
        }
    }

    #[test]
    fn null_is_an_object_without_fields_and_no_other() {
        #[derive(Debug, Deserialize, PartialEq)]
        struct Nothing {}
        for json in [r"{}", "null", r#"{"New":1}"#] {
            assert_eq!(decode::<Nothing>(json.as_bytes()).unwrap().0, Nothing {}, "{json}");
        }
        for json in ["[]", "1", r#""""#, "", "true"] {
            assert!(decode::<Nothing>(json.as_bytes()).is_err(), "{json}");
        }
        assert!(order("null").is_err());
    }

    #[test]
    fn only_structs_need_an_object() {
        assert!(needs_object::<Order>());
        assert!(!needs_object::<Value>());
        assert_eq!(decode::<Value>(b"3").unwrap().0, json!(3));
    }
}
