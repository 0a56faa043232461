//! CloudEvents over HTTP: the mode of an event, and the origins that may send.

use contract::event::Dialect;
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::Source;

/// The prefix of the media types of structured mode.
const STRUCTURED: &str = "application/cloudevents";

/// True in structured mode: the body holds the event's attributes beside its data.
pub(super) fn is_structured(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let begin = value.get(..STRUCTURED.len()).unwrap_or_default();
    begin.eq_ignore_ascii_case(STRUCTURED.as_bytes())
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
