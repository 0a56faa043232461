//! The body of a delivery: the published data, and the members that its dialect requires.

use std::collections::HashMap;

use anyhow::Context as _;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::SecondsFormat;
use contract::time::Timestamp;
use emitter::set;
use serde::de::IgnoredAny;
use serde_json::Value;
use source::{Fact, FieldLocator, FieldLocators, Sends};
use text::json::Pointer;

use super::publication::PublishedEvent;
use super::subscription::CLIENT_ID;

/// The member name of the object record; no vendor documents one.
const RECORD: &str = "object_record";

/// The body of the event as its sender writes it, with or without its object record.
///
/// The id is always the event's own. Other members of the sender are added only if the published data does not have them.
pub(super) fn of(
    event: &PublishedEvent,
    places: &FieldLocators,
    sends: &Sends,
    (client_id, with_record): (Option<&str>, bool),
) -> anyhow::Result<Bytes> {
    let draft = &event.draft;
    let mut body = draft.body.clone();
    if let Some(record) = draft.record.as_ref().filter(|_| with_record) {
        let (text, record) = (std::str::from_utf8(&body)?, std::str::from_utf8(record)?);
        body = set::put(text, &[RECORD], record)?.into();
    }
    let _: HashMap<&str, IgnoredAny> =
        serde_json::from_slice(&body).context("the body is not an object")?;
    if let Some(pointer) = &sends.inner_type {
        let pointer = Pointer::parse(pointer)?;
        body = with(&body, &pointer, &Value::from(draft.event_type.as_str()).to_string(), false)?;
    }
    if let Some(envelope) = &sends.envelope {
        body = wrapped(event, sends, envelope, client_id, body)?;
    }
    let text = |text: &str| Value::from(text).to_string();
    for (fact, json) in [
        (Fact::MessageId, Some(text(&draft.event_id))),
        (Fact::EventType, Some(text(&draft.event_type))),
        (Fact::EventTime, Some(sends.time.json(draft.happened_at))),
        (Fact::ClientId, client_id.map(text)),
        (Fact::User, draft.source_user.as_deref().map(text)),
    ] {
        let (Some(FieldLocator::Body(pointer)), Some(json)) = (places.at(fact).first(), json)
        else {
            continue;
        };
        body = with(&body, pointer, &json, fact == Fact::MessageId)?;
    }
    Ok(body)
}

/// The body with this value at the pointer, unless it has one and the value is not to replace it.
fn with(body: &Bytes, pointer: &Pointer, json: &str, replaces: bool) -> anyhow::Result<Bytes> {
    let text = std::str::from_utf8(body)?;
    if !replaces && pointer.find(text).is_some() {
        return Ok(body.clone());
    }
    let keys: Vec<&str> = pointer.keys().collect();
    let is_new_member = keys.len() == 1 && text.starts_with('{') && pointer.find(text).is_none();
    if is_new_member {
        return Ok(with_members(body, format!("{}:{json},", Value::from(keys[0]))));
    }
    Ok(set::put(text, &keys, json)?.into())
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

/// The data in the sender's envelope, unless the data has the envelope's own first member.
fn wrapped(
    event: &PublishedEvent,
    sends: &Sends,
    envelope: &str,
    client_id: Option<&str>,
    data: Bytes,
) -> anyhow::Result<Bytes> {
    let draft = &event.draft;
    let members: HashMap<&str, IgnoredAny> = serde_json::from_slice(&data)?;
    let first = envelope.trim_start_matches(['[', '{']).split('"').nth(1);
    if envelope.starts_with('{') && first.is_some_and(|first| members.contains_key(first)) {
        return Ok(data);
    }
    let data = std::str::from_utf8(&data)?;
    let escaped = |text: &str| {
        let json = Value::from(text).to_string();
        json[1..json.len() - 1].to_owned()
    };
    let mut wrapped = String::with_capacity(envelope.len() + data.len() + 64);
    let mut rest = envelope;
    while let Some((before, after)) = rest.split_once('{') {
        wrapped.push_str(before);
        let slot = after.split_once('}').filter(|(name, _)| SLOTS.contains(name));
        let Some((name, after)) = slot else {
            wrapped.push('{');
            rest = after;
            continue;
        };
        match name {
            "data" => wrapped.push_str(data),
            "text" => wrapped.push_str(&escaped(data)),
            "base64" => wrapped.push_str(&STANDARD.encode(data)),
            "id" => wrapped.push_str(&escaped(&draft.event_id)),
            "type" => wrapped.push_str(&escaped(&draft.event_type)),
            "client" => wrapped.push_str(&escaped(client_id.unwrap_or(CLIENT_ID))),
            _ => wrapped.push_str(&sends.time.json(draft.happened_at)),
        }
        rest = after;
    }
    wrapped.push_str(rest);
    Ok(wrapped.into())
}

/// The parts of an envelope that the event fills.
const SLOTS: [&str; 7] = ["data", "text", "base64", "id", "type", "client", "time"];

#[cfg(test)]
mod tests {
    use contract::event::Dialect;
    use source::Sender;

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
        let made = of(
            &PublishedEvent::new(1, draft),
            &FieldLocators::of(dialect),
            &Sender::of(dialect).sends,
            (None, with_record),
        )
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
