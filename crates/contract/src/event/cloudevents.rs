//! CloudEvents in structured mode: the payload is one member of the body.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use text::json::{escape_unpaired_surrogates, without_bom};

use super::{DecodeError, Dialect};

/// The members that identify a structured event, and its payload in either form.
#[derive(Deserialize)]
struct Structured<'b> {
    #[serde(borrow)]
    specversion: &'b RawValue,
    #[serde(borrow)]
    id: &'b RawValue,
    #[serde(borrow)]
    source: &'b RawValue,
    #[serde(borrow, rename = "type")]
    kind: &'b RawValue,
    #[serde(borrow)]
    data: Option<&'b RawValue>,
    #[serde(borrow)]
    data_base64: Option<Cow<'b, str>>,
}

/// The member of the body that is the payload, if the payload is not the whole body.
pub(super) struct Member<'b> {
    pub(super) name: &'static str,
    pub(super) bytes: Cow<'b, [u8]>,
}

/// The payload of a structured event; of any other body, the body is the payload. An event without data has `null`, in
/// binary and in structured mode.
pub(super) fn data(dialect: Dialect, body: &[u8]) -> Result<Option<Member<'_>>, DecodeError> {
    if dialect != Dialect::CloudEvents {
        return Ok(None);
    }
    if body.is_empty() {
        return Ok(Some(Member { name: "data", bytes: b"null"[..].into() }));
    }
    let Ok(text) = std::str::from_utf8(without_bom(body)) else { return Ok(None) };
    match (member(text), escape_unpaired_surrogates(text)) {
        (Ok(member), _) => member.transpose(),
        // Repair may have been needed for a name; then the payload is a copy.
        (Err(_), Cow::Owned(text)) => {
            let member = member(&text).ok().flatten().transpose()?;
            Ok(member
                .map(|Member { name, bytes }| Member { name, bytes: bytes.into_owned().into() }))
        }
        (Err(_), Cow::Borrowed(_)) => Ok(None),
    }
}

/// The payload of an object that is a structured event.
fn member(text: &str) -> serde_json::Result<Option<Result<Member<'_>, DecodeError>>> {
    let event: Structured<'_> = serde_json::from_str(text)?;
    let attributes = [event.specversion, event.id, event.source, event.kind];
    if !attributes.iter().all(|attribute| attribute.get().starts_with('"')) {
        return Ok(None);
    }
    Ok(Some(match (event.data, event.data_base64) {
        (None, Some(text)) => {
            decoded(&text).map(|bytes| Member { name: "data_base64", bytes: bytes.into() })
        }
        (None, None) => Ok(Member { name: "data", bytes: b"null"[..].into() }),
        (Some(data), _) => Ok(Member { name: "data", bytes: data.get().as_bytes().into() }),
    }))
}

fn decoded(text: &str) -> Result<Vec<u8>, DecodeError> {
    STANDARD
        .decode(text)
        .map_err(|_| DecodeError { path: "data_base64".into(), message: "not base64".into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(body: &str) -> Option<String> {
        let member = data(Dialect::CloudEvents, body.as_bytes()).unwrap()?;
        Some(String::from_utf8_lossy(&member.bytes).into_owned())
    }

    fn structured(more: &str) -> String {
        format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t"{more}}}"#)
    }

    #[test]
    fn the_payload_of_a_structured_event_is_its_data_digit_for_digit() {
        assert_eq!(
            payload(&structured(r#","data":{"a": 1.00}"#)).as_deref(),
            Some(r#"{"a": 1.00}"#)
        );
        assert_eq!(
            payload(&structured(r#","data_base64":"eyJhIjoxfQ==""#)).as_deref(),
            Some(r#"{"a":1}"#)
        );
        assert_eq!(payload(&structured("")).as_deref(), Some("null"));
        assert!(
            data(Dialect::CloudEvents, structured(r#","data_base64":"?""#).as_bytes()).is_err()
        );
    }

    #[test]
    fn of_anything_else_the_body_is_the_payload() {
        for body in [r#"{"id":"1","data":1}"#, "[]", "x", &structured("").replace("\"1\"", "1")] {
            assert_eq!(payload(body), None, "{body}");
        }
        assert!(data(Dialect::GitHub, structured("").as_bytes()).unwrap().is_none());
    }
}
