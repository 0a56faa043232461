//! CloudEvents over HTTP: in which mode an event comes, what it must say, and who is allowed to send any.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::places::{Fact, Place, Places};
use super::said::{Reading, Said};
use super::{Refusal, Source};
use crate::event::Dialect;

/// How the media type of an event that is all in the body begins.
const STRUCTURED: &str = "application/cloudevents";

/// What every event says of itself.
const REQUIRED: [Fact; 4] = [Fact::MessageId, Fact::ClientId, Fact::EventType, Fact::SpecVersion];

/// Whether the body holds the event's attributes beside its data.
pub(super) fn is_structured(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let begin = value.get(..STRUCTURED.len()).unwrap_or_default();
    begin.eq_ignore_ascii_case(STRUCTURED.as_bytes())
}

/// Refuses what lacks a required attribute.
pub(super) fn check(places: &Places, reading: Reading, said: &Said) -> Result<(), Refusal> {
    let in_body = |place: &&Place| matches!(place, Place::Body(_)) == (reading == Reading::Body);
    match REQUIRED.into_iter().find(|fact| said.facts[*fact].is_none()) {
        None => Ok(()),
        Some(missing) => {
            let place = places.at(missing).iter().find(in_body);
            Err(Refusal::Missing(place.map(ToString::to_string).unwrap_or_default()))
        }
    }
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
