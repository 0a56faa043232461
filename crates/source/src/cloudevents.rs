//! CloudEvents over HTTP: in which mode an event comes, and who is allowed to send any.

use contract::event::Dialect;
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::Source;

/// How the media type of an event that is all in the body begins.
const STRUCTURED: &str = "application/cloudevents";

/// Whether the body holds the event's attributes beside its data.
pub(super) fn is_structured(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let begin = value.get(..STRUCTURED.len()).unwrap_or_default();
    begin.eq_ignore_ascii_case(STRUCTURED.as_bytes())
}

impl Source {
    /// Whether senders ask this source for consent before they send.
    pub fn is_asked(&self) -> bool {
        self.dialect == Dialect::CloudEvents
    }

    /// Whether a sender that calls itself `origin` may send.
    pub fn allows(&self, origin: &str) -> bool {
        self.allowed_origins.iter().any(|known| known == "*" || known.eq_ignore_ascii_case(origin))
    }
}
