//! Publications: events of the catalog, which must fit their models, or events of the publisher's own.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use contract::catalog::{BodyCheck, EventRow, Table, is_path_traversal};
use contract::event::{Dialect, Environment, Id};
use contract::time::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

/// An event to publish.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"id": "evt_1", "type": "OrderEvent"}))]
pub struct Publication {
    /// The event id: the idempotency key of the publication; a new one if it is missing.
    #[schema(min_length = 1, max_length = 200, pattern = "^[!-~]+$", example = "evt_1")]
    pub id: Option<String>,
    /// The event type: one of the catalog's, or any other.
    #[serde(rename = "type")]
    #[schema(min_length = 1, max_length = 200, example = "OrderEvent")]
    pub event_type: String,
    /// The body; the catalog's sample if it is missing.
    #[schema(value_type = Option<Object>)]
    pub data: Option<Box<RawValue>>,
    /// The object record, for subscriptions that include it.
    #[schema(value_type = Option<Object>)]
    pub record: Option<Box<RawValue>>,
    /// The environment, `live` or `stage`; without it, the event is for subscriptions of both.
    pub environment: Option<Environment>,
    /// The type of the object that the event is about, such as `order`.
    pub object_type: Option<String>,
    /// The id of the object that the event is about: a whole number or a text.
    #[serde(default, deserialize_with = "object_id")]
    pub object_id: Option<Id>,
    /// The application and user who caused the event.
    pub user: Option<String>,
    /// The time at which the event happened; now if it is missing.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub time: Option<Timestamp>,
    /// True to publish an event that does not fit its model.
    #[serde(default)]
    pub raw: bool,
}

/// An id, unless it is a number with a fraction.
fn object_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Id>, D::Error> {
    let id = Option::<Id>::deserialize(deserializer)?;
    let json = serde_json::to_string(&id).unwrap_or_default();
    match json.parse::<f64>() {
        Ok(number) if number.fract() != 0.0 => {
            Err(D::Error::custom("object_id: an id is a whole number or a text"))
        }
        _ => Ok(id),
    }
}

/// The reason why an event is not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotPublished {
    /// The type cannot be part of a path or header.
    #[error(
        "type: an event's name is 1 to 200 characters without control characters and without spaces at its ends, and no part of it is . or .., however they are encoded: that would be another path"
    )]
    Type,
    /// The id cannot be a header value.
    #[error("id: an id is 1 to 200 visible ASCII characters")]
    Id,
    /// There is neither a body nor a sample.
    #[error("data: {0} is not in the catalog and has no sample; give its data")]
    NoData(String),
    /// The body does not fit the model of the catalog.
    #[error("data: it does not fit {name}: {reason}; \"raw\": true publishes it anyway")]
    Misfit {
        /// The event's name in the catalog.
        name: String,
        /// The mismatch, with its path.
        reason: String,
    },
    /// The body or record is not an object, to which dialects can add members.
    #[error("{0}: it must be a JSON object")]
    NoObject(&'static str),
}

/// The receipt of a publication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PublishReceipt {
    /// The event id.
    pub id: String,
    /// The status of the publication.
    pub status: PublishStatus,
    /// The number of subscriptions that the event is for.
    pub deliveries: usize,
}

/// The status of a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PublishStatus {
    /// New, and on disk.
    Accepted,
    /// A duplicate: the same event was published before; nothing more is sent.
    Duplicate,
    /// A conflict: another event was published before under this id; that one is kept, and nothing more is sent.
    Conflict,
}

/// A checked event, not stored yet.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) event_id: String,
    pub(super) event_type: String,
    pub(super) environment: Option<Environment>,
    pub(super) object_type: Option<String>,
    pub(super) object_id: Option<String>,
    pub(super) source_user: Option<String>,
    pub(super) happened_at: Timestamp,
    pub(super) published_at: Timestamp,
    pub(super) body: Bytes,
    pub(super) record: Option<Bytes>,
}

/// A published event.
#[derive(Debug)]
pub(super) struct PublishedEvent {
    pub(super) number: i64,
    pub(super) draft: Draft,
    /// The bodies by dialect, with and without the object record, each made once.
    bodies: Mutex<Vec<((Dialect, bool), Bytes)>>,
}

impl PublishedEvent {
    pub(super) fn new(number: i64, draft: Draft) -> Self {
        PublishedEvent { number, draft, bodies: Mutex::new(Vec::new()) }
    }

    /// The body in a dialect, made at the first call.
    pub(super) fn body(
        &self,
        kind: (Dialect, bool),
        make: impl FnOnce() -> anyhow::Result<Bytes>,
    ) -> anyhow::Result<Bytes> {
        let mut bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, body)) = bodies.iter().find(|(known, _)| *known == kind) {
            return Ok(body.clone());
        }
        let body = make()?;
        bodies.push((kind, body.clone()));
        Ok(body)
    }
}

impl Draft {
    /// The ordering key: events about the same object have the same.
    pub(super) fn entity(&self) -> Option<String> {
        let id = self.object_id.as_ref()?;
        Some(format!("{}:{id}", self.object_type.as_deref().unwrap_or_default()))
    }

    pub(super) fn size(&self) -> usize {
        self.body.len() + self.record.as_ref().map_or(0, Bytes::len)
    }
}

/// The events of the catalog, independent of their handlers.
pub struct EventTypes {
    rows: Vec<EventType>,
    names: HashMap<String, usize>,
}

/// An event of the catalog.
#[derive(Debug, Clone, Copy)]
pub struct EventType {
    /// The name.
    pub name: &'static str,
    /// The dialect of its sender.
    pub dialect: Dialect,
    /// A sample body.
    pub example: &'static str,
    entity: Option<&'static str>,
    check: BodyCheck,
}

impl EventTypes {
    /// The first version of every event of the catalog. A name that two dialects share belongs to the first.
    pub fn of(catalog: &Table) -> Self {
        let (mut rows, mut names) = (Vec::new(), HashMap::new());
        for row in catalog.events().filter(|row| row.version == 1) {
            let EventRow { name, dialect, example, entity, check, .. } = *row;
            for name in std::iter::once(name).chain(row.aliases.iter().copied()) {
                names.entry(name.to_ascii_lowercase()).or_insert(rows.len());
            }
            rows.push(EventType { name, dialect, example, entity, check });
        }
        EventTypes { rows, names }
    }

    /// All events of the catalog.
    pub fn iter(&self) -> impl Iterator<Item = &EventType> {
        self.rows.iter()
    }

    /// The event with this name or alias, in any case.
    pub fn get(&self, name: &str) -> Option<&EventType> {
        self.names.get(&name.to_ascii_lowercase()).map(|&index| &self.rows[index])
    }

    pub(super) fn draft(
        &self,
        publication: Publication,
        now: Timestamp,
    ) -> Result<Draft, NotPublished> {
        let row = self.get(&publication.event_type);
        let event_type = row.map_or(publication.event_type.as_str(), |row| row.name);
        if !is_name(event_type) {
            return Err(NotPublished::Type);
        }
        let event_id = publication.id.unwrap_or_else(|| format!("evt_{}", Uuid::now_v7().simple()));
        if event_id.is_empty()
            || event_id.len() > 200
            || !event_id.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(NotPublished::Id);
        }
        let body = match (&publication.data, row) {
            (Some(data), _) => Bytes::copy_from_slice(data.get().as_bytes()),
            (None, Some(row)) => Bytes::from_static(row.example.as_bytes()),
            (None, None) => return Err(NotPublished::NoData(publication.event_type)),
        };
        object("data", &body)?;
        let record = publication.record.map(|record| Bytes::from(record.get().to_owned()));
        record.as_ref().map_or(Ok(()), |record| object("record", record))?;
        if let (Some(row), false) = (row, publication.raw) {
            row.fits(&body)?;
        }
        let (object_type, object_id) = match publication.object_id {
            Some(id) => (publication.object_type, Some(id.as_str().to_owned())),
            None => about(event_type, row, publication.object_type, &body),
        };
        Ok(Draft {
            event_id,
            event_type: event_type.to_owned(),
            environment: publication.environment,
            object_type,
            object_id,
            source_user: publication.user,
            happened_at: publication.time.unwrap_or(now),
            published_at: now,
            body,
            record,
        })
    }
}

impl EventType {
    fn fits(&self, body: &[u8]) -> Result<(), NotPublished> {
        let misfit = |reason: String| NotPublished::Misfit { name: self.name.into(), reason };
        (self.check)(body).map(drop).map_err(|error| misfit(error.to_string()))
    }
}

fn is_name(text: &str) -> bool {
    let is_plain = |c: char| c == ' ' || !c.is_whitespace() && !c.is_control();
    let is_trimmed = text == text.trim();
    (1..=200).contains(&text.len())
        && is_trimmed
        && text.chars().all(is_plain)
        && !is_path_traversal(text)
}

fn object(what: &'static str, json: &[u8]) -> Result<(), NotPublished> {
    if json.first() == Some(&b'{') { Ok(()) } else { Err(NotPublished::NoObject(what)) }
}

/// The object that an event is about, if its model or its name tells it: `order.created` is about an order.
fn about(
    event_type: &str,
    row: Option<&EventType>,
    object_type: Option<String>,
    body: &[u8],
) -> (Option<String>, Option<String>) {
    let entity = row.and_then(|row| row.entity);
    let dotted = event_type.split_once('.').map(|(object, _)| object.to_owned());
    if entity.is_none() && dotted.is_none() {
        return (object_type, None);
    }
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let pointers = ["/Event_data/id", "/data/id", "/id"];
    let id = match entity {
        Some(field) => body.get(field).and_then(text),
        None => pointers.into_iter().find_map(|pointer| body.pointer(pointer).and_then(text)),
    };
    (object_type.or(dotted).or(entity.map(str::to_owned)), id)
}

#[cfg(test)]
mod tests {
    use contract::catalog::Catalog;
    use contract::event::{Delivery, Outcome};
    use vendors::directscale::order::OrderEvent;
    use vendors::evolutionx::OrderCreated;

    use super::*;

    async fn placed(_: (), _: Delivery<OrderEvent>) -> Outcome {
        Ok(())
    }

    async fn created(_: (), _: Delivery<OrderCreated>) -> Outcome {
        Ok(())
    }

    fn types() -> EventTypes {
        EventTypes::of(&Catalog::new().on(placed).on(created).table().unwrap())
    }

    fn draft(json: &str) -> Result<Draft, NotPublished> {
        types().draft(serde_json::from_str(json).unwrap(), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn an_event_of_the_catalog_needs_no_data_and_gets_an_id() {
        let order = draft(r#"{"type":"orderevent"}"#).unwrap();
        assert_eq!(order.event_type, "OrderEvent");
        assert!(order.event_id.starts_with("evt_") && order.body.starts_with(b"{"));
    }

    #[test]
    fn what_does_not_fit_its_model_is_published_raw_only() {
        let misfit = r#"{"type":"OrderEvent","data":{"OrderId":[1]}"#;
        assert!(matches!(draft(&format!("{misfit}}}")), Err(NotPublished::Misfit { .. })));
        assert!(draft(&format!("{misfit},\"raw\":true}}")).is_ok());
    }

    #[test]
    fn an_event_of_ones_own_needs_data() {
        assert!(matches!(draft(r#"{"type":"CoolEvent"}"#), Err(NotPublished::NoData(_))));
        assert!(draft(r#"{"type":"CoolEvent","data":{"EventProperty2":42}}"#).is_ok());
        assert!(matches!(draft(r#"{"type":"Cool","data":[1]}"#), Err(NotPublished::NoObject(_))));
    }

    #[test]
    fn ids_and_names_that_no_header_can_carry_are_refused() {
        for id in ["", "a b", "é", "a\\n"] {
            let json = format!(r#"{{"type":"X","data":{{}},"id":"{id}"}}"#);
            assert_eq!(draft(&json).unwrap_err(), NotPublished::Id, "{id}");
        }
        for name in ["", " a", "a ", "a\\tb", "a\\n", ".", "..", "%2e%2E", "a/../b", "%252e"] {
            let json = format!(r#"{{"type":"{name}","data":{{}},"raw":true}}"#);
            assert_eq!(draft(&json).unwrap_err(), NotPublished::Type, "{name}");
        }
    }

    #[test]
    fn an_objects_id_is_a_whole_number_or_a_text() {
        let publication = |id: &str| {
            let json = format!(r#"{{"type":"X","data":{{}},"object_id":{id}}}"#);
            serde_json::from_str::<Publication>(&json).map(|publication| publication.object_id)
        };
        for id in ["7", "7.0", "12345678901234567890123", r#""2.5""#, r#""a""#] {
            assert_eq!(publication(id).unwrap().unwrap().as_str(), id.trim_matches('"'));
        }
        assert_eq!(publication("null").unwrap(), None);
        assert!(publication("2.5").unwrap_err().to_string().contains("whole number"));
    }

    #[test]
    fn an_event_with_a_dot_in_its_name_says_what_it_is_about() {
        let order = draft(r#"{"type":"order.created"}"#).unwrap();
        assert_eq!(order.entity().as_deref(), Some("order:1000"));
        let own = draft(r#"{"type":"X","data":{},"object_type":"cat","object_id":7}"#).unwrap();
        assert_eq!(own.entity().as_deref(), Some("cat:7"));
    }
}
