//! What is published: an event of the catalog, which must fit its model, or one of the publisher's own.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use contract::catalog::{BodyCheck, EventRow, Table, is_path_traversal};
use contract::event::{Dialect, Environment, Id};
use contract::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

/// An event as its publisher writes it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Publication {
    /// The event's id, by which a second publication of it is recognised; one is made if there is none.
    #[schema(example = "evt_1")]
    pub id: Option<String>,
    /// The event's name: one of the catalog's, or any other.
    #[serde(rename = "type")]
    #[schema(example = "OrderEvent")]
    pub event_type: String,
    /// The body; the catalog's sample if there is none.
    #[schema(value_type = Option<Object>)]
    pub data: Option<Box<RawValue>>,
    /// The object record, for subscriptions that include it.
    #[schema(value_type = Option<Object>)]
    pub record: Option<Box<RawValue>>,
    /// Of which world it is, `live` or `stage`; for subscriptions of any if it does not say.
    #[schema(value_type = Option<String>)]
    pub environment: Option<Environment>,
    /// What sort of object it is about, such as `order`.
    pub object_type: Option<String>,
    /// Which one.
    pub object_id: Option<Id>,
    /// Which application and user caused it.
    pub user: Option<String>,
    /// When it happened; now if it does not say.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub time: Option<Timestamp>,
    /// Publish it even if it does not fit its model.
    #[serde(default)]
    pub raw: bool,
}

/// Why something is not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotPublished {
    /// A name that no path or header can carry.
    #[error(
        "type: an event's name is 1 to 200 characters without spaces or control characters, and no part of it is . or .., however they are encoded: that would be another path"
    )]
    Type,
    /// An id that no header can carry.
    #[error("id: an id is 1 to 200 visible ASCII characters")]
    Id,
    /// There is neither a body nor a sample.
    #[error("data: {0} is not in the catalog and has no sample; give its data")]
    NoData(String),
    /// The body is not what the catalog says.
    #[error("data: it does not fit {name}: {reason}; \"raw\": true publishes it all the same")]
    Misfit {
        /// The event's name in the catalog.
        name: String,
        /// What does not fit, with its path.
        reason: String,
    },
    /// Only objects can be given the places that dialects need.
    #[error("{0}: it must be a JSON object")]
    NoObject(&'static str),
}

/// What became of a publication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Receipt {
    /// The event's id.
    pub id: String,
    /// Whether it was new.
    pub status: Published,
    /// To how many subscriptions it goes.
    pub deliveries: usize,
}

/// Whether an event was published for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Published {
    /// New, and on disk.
    Accepted,
    /// The same was published before; nothing more is sent.
    Duplicate,
    /// Something else was published before under this id; that stands, and nothing more is sent.
    Conflict,
}

/// An event that may be published.
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
pub(super) struct Event {
    pub(super) number: i64,
    pub(super) is: Draft,
    /// Its bodies by dialect, with and without the object record, each made once.
    bodies: Mutex<Vec<((Dialect, bool), Bytes)>>,
}

impl Event {
    pub(super) fn new(number: i64, is: Draft) -> Self {
        Event { number, is, bodies: Mutex::new(Vec::new()) }
    }

    /// The body for a dialect, made at the first call.
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
    /// What events must share to be about the same object.
    pub(super) fn entity(&self) -> Option<String> {
        let id = self.object_id.as_ref()?;
        Some(format!("{}:{id}", self.object_type.as_deref().unwrap_or_default()))
    }

    pub(super) fn size(&self) -> usize {
        self.body.len() + self.record.as_ref().map_or(0, Bytes::len)
    }
}

/// What is known of the catalog's events, whatever their handlers need.
pub struct Types {
    rows: Vec<Type>,
    names: HashMap<String, usize>,
}

/// An event of the catalog.
#[derive(Debug, Clone, Copy)]
pub struct Type {
    /// Its name.
    pub name: &'static str,
    /// Whose it is.
    pub dialect: Dialect,
    /// A sample body.
    pub example: &'static str,
    entity: Option<&'static str>,
    check: BodyCheck,
}

impl Types {
    /// The first version of every event of the catalog. A name that two dialects have is the first one's.
    pub fn of(catalog: &Table) -> Self {
        let (mut rows, mut names) = (Vec::new(), HashMap::new());
        for row in catalog.events().filter(|row| row.version == 1) {
            let EventRow { name, dialect, example, entity, check, .. } = *row;
            for name in std::iter::once(name).chain(row.aliases.iter().copied()) {
                names.entry(name.to_ascii_lowercase()).or_insert(rows.len());
            }
            rows.push(Type { name, dialect, example, entity, check });
        }
        Types { rows, names }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Type> {
        self.rows.iter()
    }

    /// The event called `name`, or aliased so, in any case.
    pub fn get(&self, name: &str) -> Option<&Type> {
        self.names.get(&name.to_ascii_lowercase()).map(|&place| &self.rows[place])
    }

    pub(super) fn draft(
        &self,
        publication: Publication,
        now: Timestamp,
    ) -> Result<Draft, NotPublished> {
        let known = self.get(&publication.event_type);
        let event_type = known.map_or(publication.event_type.as_str(), |known| known.name);
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
        let body = match (&publication.data, known) {
            (Some(data), _) => Bytes::copy_from_slice(data.get().as_bytes()),
            (None, Some(known)) => Bytes::from_static(known.example.as_bytes()),
            (None, None) => return Err(NotPublished::NoData(publication.event_type)),
        };
        object("data", &body)?;
        let record = publication.record.map(|record| Bytes::from(record.get().to_owned()));
        record.as_ref().map_or(Ok(()), |record| object("record", record))?;
        if let (Some(known), false) = (known, publication.raw) {
            known.fits(&body)?;
        }
        let (object_type, object_id) = match publication.object_id {
            Some(id) => (publication.object_type, Some(id.as_str().to_owned())),
            None => about(event_type, known, publication.object_type, &body),
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

impl Type {
    fn fits(&self, body: &[u8]) -> Result<(), NotPublished> {
        let misfit = |reason: String| NotPublished::Misfit { name: self.name.into(), reason };
        (self.check)(body).map(drop).map_err(|error| misfit(error.to_string()))
    }
}

fn is_name(text: &str) -> bool {
    let is_plain = |c: char| !c.is_whitespace() && !c.is_control();
    (1..=200).contains(&text.len()) && text.chars().all(is_plain) && !is_path_traversal(text)
}

fn object(what: &'static str, json: &[u8]) -> Result<(), NotPublished> {
    if json.first() == Some(&b'{') { Ok(()) } else { Err(NotPublished::NoObject(what)) }
}

/// What an event is about, if its model or its name says so: `order.created` is about an order.
fn about(
    event_type: &str,
    known: Option<&Type>,
    object_type: Option<String>,
    body: &[u8],
) -> (Option<String>, Option<String>) {
    let entity = known.and_then(|known| known.entity);
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
    let places = ["/Event_data/id", "/data/id", "/id"];
    let id = match entity {
        Some(field) => body.get(field).and_then(text),
        None => places.into_iter().find_map(|place| body.pointer(place).and_then(text)),
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

    fn types() -> Types {
        Types::of(&Catalog::new().on(placed).on(created).table().unwrap())
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
        for name in ["", "a b", "a\\n", ".", "..", "%2e%2E", "a/../b", "%252e"] {
            let json = format!(r#"{{"type":"{name}","data":{{}},"raw":true}}"#);
            assert_eq!(draft(&json).unwrap_err(), NotPublished::Type, "{name}");
        }
    }

    #[test]
    fn an_event_with_a_dot_in_its_name_says_what_it_is_about() {
        let order = draft(r#"{"type":"order.created"}"#).unwrap();
        assert_eq!(order.entity().as_deref(), Some("order:1000"));
        let own = draft(r#"{"type":"X","data":{},"object_type":"cat","object_id":7}"#).unwrap();
        assert_eq!(own.entity().as_deref(), Some("cat:7"));
    }
}
