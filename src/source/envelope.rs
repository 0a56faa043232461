//! The few facts that are read from a body at the edge: is it JSON, which event, when.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::Refusal;
use crate::event::{NetDateTime, Timestamp, scalar};

/// The longest name of an event, in bytes. Names are logged, so what is longer counts as content and not as a name.
const LONGEST_NAME: usize = 200;

/// What a body says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Envelope {
    pub(super) event_type: Option<String>,
    pub(super) event_time: Option<Timestamp>,
    pub(super) is_object: bool,
}

/// Checks that `body` is JSON text and reads the two named top-level fields, without regard to the case of their names.
pub(super) fn read(body: &[u8], event_type: &str, event_time: &str) -> Result<Envelope, Refusal> {
    let text = std::str::from_utf8(body).map_err(|error| Refusal::NotUtf8(error.to_string()))?;
    let [kind, time] = match scan(text, [event_type, event_time]) {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(Envelope::default()),
        Err(error) => return Err(Refusal::NotJson(error.to_string())),
    };
    Ok(Envelope {
        event_type: kind.and_then(scalar).filter(|name| name.len() <= LONGEST_NAME),
        event_time: time.and_then(scalar).and_then(|time| instant(&time)),
        is_object: true,
    })
}

/// The value of a top-level field as text, if `body` is an object and the value a string or a number.
pub(super) fn field(body: &[u8], name: &str) -> Option<String> {
    let [value] = scan(std::str::from_utf8(body).ok()?, [name]).ok()??;
    scalar(value?)
}

/// A string's content or a number's digits; nothing for blank text and for anything else.
fn scalar(value: &RawValue) -> Option<String> {
    scalar::text(value).filter(|text| !text.trim().is_empty())
}

/// The instant of a .NET date, if it is one and was ever set.
fn instant(text: &str) -> Option<Timestamp> {
    text.parse::<NetDateTime>().ok()?.to_utc()
}

type Found<'de, const N: usize> = Option<[Option<&'de RawValue>; N]>;

/// The named top-level fields of an object; `None` if the document is anything else.
fn scan<'de, const N: usize>(
    text: &'de str,
    names: [&str; N],
) -> Result<Found<'de, N>, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    let found = json.deserialize_any(Scan { names })?;
    json.end()?;
    Ok(found)
}

struct Scan<'n, const N: usize> {
    names: [&'n str; N],
}

impl<'de, const N: usize> Visitor<'de> for Scan<'_, N> {
    type Value = Found<'de, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        while let Some(Name(key)) = map.next_key()? {
            match self.names.iter().position(|name| name.eq_ignore_ascii_case(&key)) {
                Some(place) => found[place] = Some(map.next_value()?),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Some(found))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// An object's key: borrowed, unless it has escapes.
struct Name<'de>(std::borrow::Cow<'de, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Key;

        impl<'de> Visitor<'de> for Key {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(name.into()))
            }

            fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(name.to_owned().into()))
            }
        }

        deserializer.deserialize_str(Key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(body: &str) -> Envelope {
        read(body.as_bytes(), "EventType", "EventDateUtc").unwrap()
    }

    #[test]
    fn type_and_time_are_found_without_regard_to_case() {
        let found = envelope(
            r#"{"A":[{"EventType":"no"}],"eventtype":"OrderEvent","EventDateUtc":"2021-10-12T18:07:27.8181496Z"}"#,
        );
        assert_eq!(found.event_type.as_deref(), Some("OrderEvent"));
        assert_eq!(found.event_time.unwrap().timestamp_subsec_nanos(), 818_149_600);
    }

    #[test]
    fn a_numeric_type_is_a_name_too_and_a_blank_one_is_none() {
        assert_eq!(envelope(r#"{"EventType":3}"#).event_type.as_deref(), Some("3"));
        assert_eq!(envelope(r#"{"EventType":" "}"#).event_type, None);
        assert_eq!(envelope(r#"{"EventType":null}"#).event_type, None);
    }

    #[test]
    fn what_is_too_long_for_a_name_is_none() {
        let named = |length| envelope(&format!(r#"{{"EventType":"{}"}}"#, "x".repeat(length)));
        assert!(named(LONGEST_NAME).event_type.is_some());
        assert_eq!(named(LONGEST_NAME + 1).event_type, None);
    }

    #[test]
    fn any_json_value_is_an_envelope() {
        for body in ["1", "-1.5e3", "true", "null", "\"x\"", "[1,{}]"] {
            assert_eq!(envelope(body), Envelope::default(), "{body}");
        }
    }

    #[test]
    fn what_is_not_json_text_is_refused() {
        let refused = |body: &[u8]| read(body, "EventType", "EventDateUtc").unwrap_err();
        for body in ["", "{", "{\"a\":1,}", "{} {}", "{\"a\":01}"] {
            assert!(matches!(refused(body.as_bytes()), Refusal::NotJson(_)), "{body}");
        }
        assert!(matches!(refused(b"{\"a\":\"\xff\"}"), Refusal::NotUtf8(_)));
    }

    #[test]
    fn a_time_without_offset_is_utc() {
        assert_eq!(instant("2021-10-12T18:07:26.497"), instant("2021-10-12T20:07:26.497+02:00"));
        assert_eq!(instant("0001-01-01T00:00:00"), None);
        assert_eq!(instant("yesterday"), None);
    }
}
