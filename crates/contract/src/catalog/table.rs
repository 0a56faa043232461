//! The table of events and hooks, without their handlers: routes, OpenAPI, the emitter and the tests iterate it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::iter::once;

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::name::respelled;
use crate::event::{self, DecodeError, Dialect, Event, Open, decode};
use crate::hook::{Hook, Model};

/// A schema's name and shape.
pub type NamedSchema = (String, RefOr<Schema>);

/// Decodes a body as a model and returns the fields unknown to the model.
pub type BodyCheck = fn(&[u8]) -> Result<Map<String, Value>, DecodeError>;

/// One event of the table.
#[derive(Clone, Copy)]
pub struct EventRow {
    /// The dialect that the event belongs to.
    pub dialect: Dialect,
    /// The event's name, as the sender writes it.
    pub name: &'static str,
    /// The version of the model.
    pub version: u16,
    /// Other names of the event.
    pub aliases: &'static [&'static str],
    /// The field that names the entity, if deliveries must be handled in order.
    pub entity: Option<&'static str>,
    /// A sample body, as JSON text.
    pub example: &'static str,
    /// The handler's path, for messages.
    pub handler: &'static str,
    /// True if only a JSON object can be this event.
    pub needs_object: bool,
    /// The model's schema.
    pub schema: fn() -> NamedSchema,
    /// Appends the schemas that the model refers to.
    pub referred: fn(&mut Vec<NamedSchema>),
    /// Decodes a body as the model and returns the fields unknown to the model.
    pub check: BodyCheck,
}

impl EventRow {
    pub(super) fn of<E: Event>(handler: &'static str) -> Self {
        EventRow {
            dialect: E::DIALECT,
            name: E::TYPE,
            version: E::VERSION,
            aliases: E::ALIASES,
            entity: E::ENTITY,
            example: E::example(),
            handler,
            needs_object: event::needs_object::<E>(),
            schema: || (E::name().into_owned(), E::schema()),
            referred: |schemas| E::schemas(schemas),
            check: |body| decode::<E>(body).map(|(_, unknown)| unknown),
        }
    }

    /// The name and the aliases.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        once(self.name).chain(self.aliases.iter().copied())
    }
}

/// One hook of the table.
#[derive(Clone, Copy)]
pub struct HookRow {
    /// The vendor's id.
    pub id: &'static str,
    /// Other spellings of the id.
    pub aliases: &'static [&'static str],
    /// The schema that has the hook's description.
    pub about: fn() -> RefOr<Schema>,
    /// A sample request, as JSON text.
    pub example: &'static str,
    /// The response of the vendor's own logic to the sample, as JSON text.
    pub example_response: &'static str,
    /// The request's model.
    pub request: BodyModel,
    /// The response's model.
    pub response: BodyModel,
    /// The handler's path; none for a hook without a handler.
    pub handler: Option<&'static str>,
}

impl HookRow {
    pub(super) fn of<H: Hook>(handler: Option<&'static str>) -> Self {
        HookRow {
            id: H::ID,
            aliases: H::ALIASES,
            about: <H as PartialSchema>::schema,
            example: H::example(),
            example_response: H::example_response(),
            request: BodyModel::of::<H::Request>(),
            response: BodyModel::of::<H::Response>(),
            handler,
        }
    }

    /// The handler's path, or `.unhandled` for a hook without one, for messages.
    pub fn claimant(&self) -> &'static str {
        self.handler.unwrap_or("an `.unhandled` line")
    }

    /// The matching id or alias in the vendor's spelling.
    pub fn spelled(&self, id: &str) -> Cow<'static, str> {
        self.ids().find(|own| own.eq_ignore_ascii_case(id)).unwrap_or(Cow::Borrowed(self.id))
    }

    /// The id and the aliases, each in all of the vendor's spellings.
    pub fn ids(&self) -> impl Iterator<Item = Cow<'static, str>> + use<> {
        let written = once(self.id).chain(self.aliases.iter().copied());
        written.flat_map(|id| once(Cow::Borrowed(id)).chain(respelled(id).map(Cow::Owned)))
    }
}

/// The model of a hook's request or response.
#[derive(Clone, Copy)]
pub struct BodyModel {
    /// The model's schema.
    pub schema: fn() -> NamedSchema,
    /// Appends the schemas that the model refers to.
    pub referred: fn(&mut Vec<NamedSchema>),
    /// Decodes a body as the model and encodes it again; the difference is the model's loss.
    pub rewrite: fn(&[u8]) -> Result<Box<RawValue>, DecodeError>,
}

impl BodyModel {
    fn of<M: Model>() -> Self {
        BodyModel {
            schema: || (M::name().into_owned(), <M as PartialSchema>::schema()),
            referred: |schemas| <M as ToSchema>::schemas(schemas),
            rewrite: |body| {
                let (model, _) = decode::<Open<M>>(body)?;
                serde_json::value::to_raw_value(&model)
                    .map_err(|error| DecodeError { path: ".".into(), message: error.to_string() })
            },
        }
    }
}

/// Two handlers that claim the same event or hook.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Clash {
    /// Both handlers claim the same event.
    #[error(
        "{dialect} event `{name}` (version {version}) is claimed twice: by {first} and by {second}; remove one of the two `.on(…)` lines"
    )]
    Event {
        /// The dialect of the event.
        dialect: Dialect,
        /// The name or alias claimed twice.
        name: String,
        /// The version of the model.
        version: u16,
        /// The handler registered first.
        first: &'static str,
        /// The handler registered second.
        second: &'static str,
    },
    /// Both lines claim the same hook.
    #[error(
        "hook `{id}` is claimed twice: by {first} and by {second}; remove one of the two lines"
    )]
    Hook {
        /// The id or alias claimed twice.
        id: String,
        /// The first claimant: a handler's path, or an `.unhandled` line.
        first: &'static str,
        /// The second claimant: a handler's path, or an `.unhandled` line.
        second: &'static str,
    },
}

/// The events and hooks of a receiver.
#[derive(Clone, Default)]
pub struct Table {
    events: Vec<EventRow>,
    event_index: HashMap<(Dialect, u16, String), usize>,
    hooks: Vec<HookRow>,
    hook_index: HashMap<String, usize>,
    clashes: Vec<Clash>,
}

impl Table {
    /// The event with this name or alias in the given version, without regard to case.
    pub fn event(&self, dialect: Dialect, version: u16, name: &str) -> Option<&EventRow> {
        Some(&self.events[self.event_position(dialect, version, name)?])
    }

    /// The hook whose id or alias is `id`, without regard to case.
    pub fn hook(&self, id: &str) -> Option<&HookRow> {
        Some(&self.hooks[self.hook_position(id)?])
    }

    /// All events, in the order of registration.
    pub fn events(&self) -> impl Iterator<Item = &EventRow> {
        self.events.iter()
    }

    /// All hooks, in the order of registration.
    pub fn hooks(&self) -> impl Iterator<Item = &HookRow> {
        self.hooks.iter()
    }

    pub(super) fn event_position(
        &self,
        dialect: Dialect,
        version: u16,
        name: &str,
    ) -> Option<usize> {
        self.event_index.get(&(dialect, version, name.to_ascii_lowercase())).copied()
    }

    pub(super) fn hook_position(&self, id: &str) -> Option<usize> {
        self.hook_index.get(&id.to_ascii_lowercase()).copied()
    }

    pub(super) fn merge(&mut self, other: &Table) {
        self.clashes.extend(other.clashes.iter().cloned());
        other.events.iter().for_each(|row| self.push_event(*row));
        other.hooks.iter().for_each(|row| self.push_hook(*row));
    }

    pub(super) fn clash(&self) -> Option<&Clash> {
        self.clashes.first()
    }

    pub(super) fn push_event(&mut self, row: EventRow) {
        let index = self.events.len();
        for name in row.names() {
            let key = (row.dialect, row.version, name.to_ascii_lowercase());
            let first = *self.event_index.entry(key).or_insert(index);
            if first != index {
                self.clashes.push(Clash::Event {
                    dialect: row.dialect,
                    name: name.to_owned(),
                    version: row.version,
                    first: self.events[first].handler,
                    second: row.handler,
                });
            }
        }
        self.events.push(row);
    }

    pub(super) fn push_hook(&mut self, row: HookRow) {
        let index = self.hooks.len();
        for id in row.ids() {
            let first = *self.hook_index.entry(id.to_ascii_lowercase()).or_insert(index);
            if first != index {
                self.clashes.push(Clash::Hook {
                    id: id.into_owned(),
                    first: self.hooks[first].claimant(),
                    second: row.claimant(),
                });
            }
        }
        self.hooks.push(row);
    }
}
