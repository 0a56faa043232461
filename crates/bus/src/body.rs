//! The body of a delivery: the published data, and the members that its dialect requires.

use std::collections::HashMap;

use anyhow::Context as _;
use bytes::Bytes;
use chrono::SecondsFormat;
use contract::event::Dialect;
use contract::time::Timestamp;
use emitter::set;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;
use source::{Fact, FieldLocator, FieldLocators};

use super::publication::PublishedEvent;

/// The member name of the object record; no vendor documents one.
const RECORD: &str = "object_record";

/// The body of the event in a dialect, with or without its object record.
///
/// The id is always the event's own. Other members of the dialect are added only if the published data does not have
/// them.
pub(super) fn of(
    event: &PublishedEvent,
    places: &FieldLocators,
    (dialect, with_record): (Dialect, bool),
) -> anyhow::Result<Bytes> {
    let draft = &event.draft;
    let mut body = match dialect {
        Dialect::StandardWebhooks => wrapped(event)?,
        _ => draft.body.clone(),
    };
    if let Some(record) = draft.record.as_ref().filter(|_| with_record) {
        let (text, record) = (std::str::from_utf8(&body)?, std::str::from_utf8(record)?);
        body = set::put(text, &[RECORD], record)?.into();
    }
    let facts = [
        (Fact::MessageId, draft.event_id.clone()),
        (Fact::EventType, draft.event_type.clone()),
        (Fact::EventTime, written(draft.happened_at)),
    ];
    let known: HashMap<String, IgnoredAny> =
        serde_json::from_slice(&body).context("the body is not an object")?;
    let mut added = String::new();
    for (fact, text) in facts {
        let Some(FieldLocator::Body(path)) = places.at(fact).first() else { continue };
        let keys: Vec<&str> = path.keys().collect();
        let is_given = known.keys().any(|key| key.eq_ignore_ascii_case(keys[0]));
        let text = Value::from(text).to_string();
        match is_given {
            false if keys.len() == 1 => added += &format!("{}:{text},", Value::from(keys[0])),
            true if fact != Fact::MessageId => {}
            _ => body = set::put(std::str::from_utf8(&body)?, &keys, &text)?.into(),
        }
    }
    Ok(if added.is_empty() { body } else { with_members(&body, added) })
}

/// The object with these members in front of its own.
fn with_members(object: &Bytes, mut members: String) -> Bytes {
    if object[1..].trim_ascii_start().starts_with(b"}") {
        members.pop();
    }
    [b"{", members.as_bytes(), &object[1..]].concat().into()
}

/// A time in the vendors' format.
pub(super) fn written(time: Timestamp) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The payload that the Standard Webhooks specification advises, unless the published data already has that form.
fn wrapped(event: &PublishedEvent) -> anyhow::Result<Bytes> {
    #[derive(serde::Serialize)]
    struct Wrapped<'e> {
        #[serde(rename = "type")]
        event_type: &'e str,
        timestamp: String,
        data: &'e RawValue,
    }
    let draft = &event.draft;
    let value: Value = serde_json::from_slice(&draft.body)?;
    if value.get("type").is_some_and(Value::is_string) {
        return Ok(draft.body.clone());
    }
    let wrapped = Wrapped {
        event_type: &draft.event_type,
        timestamp: written(draft.happened_at),
        data: serde_json::from_slice(&draft.body)?,
    };
    Ok(serde_json::to_vec(&wrapped)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publication::Draft;

    fn body(dialect: Dialect, data: &'static str, with_record: bool) -> Value {
        let draft = Draft {
            event_id: "evt_1".into(),
            event_type: "order.created".into(),
            environment: None,
            object_type: None,
            object_id: None,
            source_user: None,
            happened_at: Timestamp::UNIX_EPOCH,
            published_at: Timestamp::UNIX_EPOCH,
            body: Bytes::from_static(data.as_bytes()),
            record: Some(Bytes::from_static(b"{\"id\":7}")),
        };
        let made =
            of(&PublishedEvent::new(1, draft), &FieldLocators::of(dialect), (dialect, with_record))
                .unwrap();
        serde_json::from_slice(&made).unwrap()
    }

    #[test]
    fn the_id_is_the_events_and_the_rest_is_the_publishers() {
        let evolutionx = body(Dialect::EvolutionX, r#"{"event_id":"old","n":1}"#, false);
        assert_eq!(evolutionx["event_id"], "evt_1");
        assert_eq!(
            (&evolutionx["event_type"], &evolutionx["n"]),
            (&"order.created".into(), &1.into())
        );
        let directscale = body(Dialect::DirectScale, r#"{"eventtype":"Mine"}"#, false);
        assert_eq!(directscale["eventtype"], "Mine");
        assert!(directscale.get("EventType").is_none());
        assert_eq!(directscale["EventDateUtc"], "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn an_empty_object_is_completed_too() {
        assert_eq!(body(Dialect::DirectScale, "{}", false)["EventType"], "order.created");
        assert_eq!(body(Dialect::DirectScale, "{ }", false)["EventType"], "order.created");
        assert_eq!(body(Dialect::Slack, "{}", false)["event"]["type"], "order.created");
    }

    #[test]
    fn standard_webhooks_wrap_what_is_not_wrapped() {
        let wrapped = body(Dialect::StandardWebhooks, r#"{"n":1}"#, false);
        assert_eq!((&wrapped["type"], &wrapped["data"]["n"]), (&"order.created".into(), &1.into()));
        let own = body(Dialect::StandardWebhooks, r#"{"type":"mine","data":{"n":2}}"#, false);
        assert_eq!((&own["type"], &own["data"]["n"]), (&"mine".into(), &2.into()));
    }

    #[test]
    fn the_object_record_is_there_if_it_is_asked_for() {
        assert_eq!(body(Dialect::EvolutionX, "{}", true)[RECORD]["id"], 7);
        assert!(body(Dialect::EvolutionX, "{}", false).get(RECORD).is_none());
    }
}
