//! CloudEvents over HTTP: the mode of an event, and the origins that may send.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use contract::event::Dialect;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::value::RawValue;
use text::json::{escape_unpaired_surrogates, without_bom};

use super::{Refusal, Source};

/// The prefix of the media types of structured mode.
const STRUCTURED: &str = "application/cloudevents";

/// True in structured mode: the body holds the event's attributes beside its data.
pub(super) fn is_structured(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let begin = value.get(..STRUCTURED.len()).unwrap_or_default();
    begin.eq_ignore_ascii_case(STRUCTURED.as_bytes())
}

/// The members of a structured event by which it could be read in two ways.
#[derive(Deserialize)]
struct Members<'b> {
    #[serde(borrow)]
    specversion: Option<&'b RawValue>,
    #[serde(borrow)]
    id: Option<&'b RawValue>,
    #[serde(borrow)]
    source: Option<&'b RawValue>,
    #[serde(borrow, rename = "type")]
    kind: Option<&'b RawValue>,
    #[serde(borrow)]
    data: Option<&'b RawValue>,
    #[serde(borrow)]
    data_base64: Option<&'b RawValue>,
}

/// Refuses a structured event whose required attributes are no strings, or whose data are ambiguous. What is optional
/// and malformed is kept.
pub(super) fn check(document: &[u8]) -> Result<(), Refusal> {
    let refused = |reason: String| Err(Refusal::AmbiguousEvent(reason));
    let Ok(text) = std::str::from_utf8(without_bom(document)) else { return Ok(()) };
    let text = escape_unpaired_surrogates(text);
    let members: Members<'_> = match serde_json::from_str(&text) {
        Ok(members) => members,
        // Anything but an object lacks its attributes, and is refused for that.
        Err(error) if error.to_string().starts_with("duplicate field") => {
            return refused(error.to_string());
        }
        Err(_) => return Ok(()),
    };
    let attributes = [
        ("specversion", members.specversion),
        ("id", members.id),
        ("source", members.source),
        ("type", members.kind),
    ];
    for (name, value) in attributes {
        if value.is_some_and(|value| !value.get().starts_with('"')) {
            return refused(format!("/{name} in the body is not a string"));
        }
    }
    match (members.data, members.data_base64) {
        (Some(_), Some(_)) => refused("data and data_base64 are both in the body".into()),
        (None, Some(encoded)) => {
            let text: Option<Cow<'_, str>> = serde_json::from_str(encoded.get()).ok();
            match text.is_some_and(|text| STANDARD.decode(&*text).is_ok()) {
                true => Ok(()),
                false => refused("data_base64 is not Base64".into()),
            }
        }
        (_, None) => Ok(()),
    }
}

impl Source {
    /// True if senders ask this source for permission before they send.
    pub fn asks_permission(&self) -> bool {
        self.dialect == Dialect::CloudEvents
    }

    /// True if a sender of this origin may send.
    pub fn allows(&self, origin: &str) -> bool {
        self.allowed_origins.iter().any(|known| known == "*" || known.eq_ignore_ascii_case(origin))
    }
}
