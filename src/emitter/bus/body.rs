//! The body of a delivery: what was published, and what its dialect says in the body besides.

use anyhow::Context as _;
use bytes::Bytes;
use chrono::SecondsFormat;
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::message::Message;
use super::super::proof::Proof;
use super::super::set;
use super::publication::Event;
use crate::event::{Dialect, Timestamp};
use crate::source::{Fact, Place, Places};

/// The key of the object record; no vendor documents one.
const RECORD: &str = "object_record";

/// The event's body for a dialect, with its object record or without.
///
/// The id is the event's own. Whatever else the dialect has in the body is added only if the publisher has not said it.
pub(super) fn of(
    event: &Event,
    places: &Places,
    (dialect, with_record): (Dialect, bool),
) -> anyhow::Result<Bytes> {
    let is = &event.is;
    let mut body = match dialect {
        Dialect::StandardWebhooks => wrapped(event)?,
        _ => is.body.clone(),
    };
    if let Some(record) = is.record.as_ref().filter(|_| with_record) {
        let (text, record) = (std::str::from_utf8(&body)?, std::str::from_utf8(record)?);
        body = set::put(text, &[RECORD], record)?.into();
    }
    let said = [
        (Fact::MessageId, is.event_id.clone()),
        (Fact::EventType, is.event_type.clone()),
        (Fact::EventTime, written(is.happened_at)),
    ];
    let value: Value = serde_json::from_slice(&body).context("the body is not JSON")?;
    let url = reqwest::Url::parse("http://localhost/")?;
    let (all, proof) = (places.clone().into(), Proof::default().into());
    let mut message = Message::new(&is.event_type, url, all, proof, body);
    for (fact, text) in said {
        let Some(Place::Body(path)) = places.at(fact).first() else { continue };
        if fact == Fact::MessageId || !has(&value, path.keys()) {
            message.say(fact, &text)?;
        }
    }
    Ok(message.body)
}

/// A time as the vendors write it.
pub(super) fn written(time: Timestamp) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The payload that the specification advises, unless the publisher has made one.
fn wrapped(event: &Event) -> anyhow::Result<Bytes> {
    #[derive(serde::Serialize)]
    struct Wrapped<'e> {
        #[serde(rename = "type")]
        event_type: &'e str,
        timestamp: String,
        data: &'e RawValue,
    }
    let is = &event.is;
    let value: Value = serde_json::from_slice(&is.body)?;
    if value.get("type").is_some_and(Value::is_string) {
        return Ok(is.body.clone());
    }
    let wrapped = Wrapped {
        event_type: &is.event_type,
        timestamp: written(is.happened_at),
        data: serde_json::from_slice(&is.body)?,
    };
    Ok(serde_json::to_vec(&wrapped)?.into())
}

/// Whether there is something at the end of the path, whatever the case of its keys.
fn has<'k>(value: &Value, path: impl Iterator<Item = &'k str>) -> bool {
    let step = |value: &'_ Value, key: &str| -> Option<Value> {
        let object = value.as_object()?;
        object.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, v)| v.clone())
    };
    let mut value = value.clone();
    for key in path {
        match step(&value, key) {
            Some(inner) => value = inner,
            None => return false,
        }
    }
    !value.is_null()
}
