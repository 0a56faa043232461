//! The request of `EventService.PostEvent`, which posts a custom event.
//!
//! **The vendor documents neither its URL nor its shape.** The URL follows the pattern of the other services. The shape
//! is that in which the event should be delivered: its own members, with `EventType` and `EventDateUtc`, which the vendor
//! promises in every body. Once it is known, [`request`] is the one place to change; the stand-in delivers the request as it came.

use std::collections::BTreeMap;

use chrono::SecondsFormat;
use serde::Serialize;

use crate::event::Json;
use crate::time::Timestamp;

pub(super) const SERVICE: &str = "EventService";

pub(super) const METHOD: &str = "PostEvent";

/// True if the call posts an event, for a stand-in of the vendor.
pub fn is_post_event(service: &str, method: &str) -> bool {
    service.eq_ignore_ascii_case(SERVICE) && method.eq_ignore_ascii_case(METHOD)
}

/// The request for an event that is an object; its members are kept digit for digit.
pub(super) fn request(
    event_type: &str,
    event: &impl Serialize,
    now: Timestamp,
) -> serde_json::Result<Vec<u8>> {
    let mut members: BTreeMap<String, Json> = Json::of(event)?.read()?;
    let time = now.to_rfc3339_opts(SecondsFormat::Millis, true);
    for (name, value) in [("EventType", event_type), ("EventDateUtc", &time)] {
        if !members.keys().any(|own| own.eq_ignore_ascii_case(name)) {
            members.insert(name.into(), Json::of(&value)?);
        }
    }
    serde_json::to_vec(&members)
}
