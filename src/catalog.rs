//! The table of events, hooks and their handlers. Dispatch, OpenAPI, the emitter and the tests all iterate it.

mod hooks;

use std::any::type_name;
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Map, Value};
use utoipa::openapi::{RefOr, Schema};

use crate::event::{self, DecodeError, Delivery, Dialect, Event, Outcome};
use crate::hook::{Hook, HookCall, HookOutcome};
use hooks::Hooks;

pub use hooks::{Body, HookClash, HookHandler, HookRow};

/// A started handler.
pub type Attempt = BoxFuture<'static, Outcome>;

/// Decodes a body as a model and returns the fields that the model does not know.
pub type Check = fn(&[u8]) -> Result<Map<String, Value>, DecodeError>;

type Handler<C> = Arc<dyn Fn(C, Delivery) -> Result<Attempt, DecodeError> + Send + Sync>;

/// One event and the handler that takes it.
pub struct Row<C> {
    /// Whose vocabulary the event belongs to.
    pub dialect: Dialect,
    /// The event's name, as the sender writes it.
    pub name: &'static str,
    /// The version of the model.
    pub version: u16,
    /// Other names for it.
    pub aliases: &'static [&'static str],
    /// The field that names the entity, if deliveries are to be handled in order.
    pub entity: Option<&'static str>,
    /// A sample body, as JSON text.
    pub example: &'static str,
    /// The handler's path, for messages.
    pub handler: &'static str,
    /// Whether only a JSON object can be this event.
    pub needs_object: bool,
    /// The schema's name and shape.
    pub schema: fn() -> (String, RefOr<Schema>),
    /// The schemas that it refers to.
    pub referred: fn(&mut Vec<(String, RefOr<Schema>)>),
    /// Decodes a body as the model and returns the fields the model does not know.
    pub check: Check,
    start: Handler<C>,
}

impl<C> Row<C> {
    /// Decodes the delivery and starts the handler; nothing runs before the future is polled.
    ///
    /// # Errors
    /// [`DecodeError`] if the body is not the model.
    pub fn start(&self, context: C, delivery: Delivery) -> Result<Attempt, DecodeError> {
        (self.start)(context, delivery)
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }
}

impl<C> Clone for Row<C> {
    fn clone(&self) -> Self {
        Row { start: Arc::clone(&self.start), ..*self }
    }
}

/// An event's name as one segment of a path: senders may have `/` in their names.
pub(crate) fn segment(name: &str) -> String {
    const OTHERS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(name, OTHERS).to_string()
}

/// Whether a name leads out of the path that it is put behind. A part of dots means another folder even when it is
/// percent-encoded, so it cannot be escaped; whoever passes a request on may decode it once more, and take `\\` for `/`.
pub(crate) fn leads_away(name: &str) -> bool {
    let dots = |part: &str| matches!(part.split(';').next(), Some("." | ".."));
    let decoded = percent_decode_str(name).decode_utf8_lossy();
    name.split(['/', '\\']).any(dots) || (decoded != name && leads_away(&decoded))
}

/// Two handlers that claim the same event or hook.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Clash {
    /// The same event.
    #[error(transparent)]
    Event(#[from] EventClash),
    /// The same hook.
    #[error(transparent)]
    Hook(#[from] HookClash),
}

/// Two handlers that claim the same event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{dialect} event `{name}` (version {version}) is claimed twice: by {first} and by {second}; remove one of the two `.on(…)` lines"
)]
pub struct EventClash {
    /// The dialect in which the names clash.
    pub dialect: Dialect,
    /// The name or alias that both claim.
    pub name: String,
    /// The version of the model.
    pub version: u16,
    /// The handler registered first.
    pub first: &'static str,
    /// The handler registered second.
    pub second: &'static str,
}

/// The events and hooks a receiver knows, each with its handler. `C` is the fork's context.
pub struct Catalog<C> {
    rows: Vec<Row<C>>,
    index: HashMap<(Dialect, u16, String), usize>,
    clashes: Vec<EventClash>,
    hooks: Hooks<C>,
}

impl<C> Default for Catalog<C> {
    fn default() -> Self {
        Catalog {
            rows: Vec::new(),
            index: HashMap::new(),
            clashes: Vec::new(),
            hooks: Hooks::default(),
        }
    }
}

impl<C: 'static> Catalog<C> {
    /// An empty catalog.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an event and its handler; the handler's parameter type says which event it is for.
    #[must_use]
    pub fn on<E, F, Fut>(mut self, handler: F) -> Self
    where
        E: Event,
        C: Send,
        F: Fn(C, Delivery<E>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Outcome> + Send + 'static,
    {
        let name = type_name::<F>();
        let handler = Arc::new(handler);
        self.push(Row {
            dialect: E::DIALECT,
            name: E::TYPE,
            version: E::VERSION,
            aliases: E::ALIASES,
            entity: E::ENTITY,
            example: E::example(),
            handler: name,
            needs_object: event::needs_object::<E>(),
            schema: || (E::name().into_owned(), E::schema()),
            referred: |schemas| E::schemas(schemas),
            check: |body| event::decode::<E>(body).map(|(_, unknown)| unknown),
            start: Arc::new(move |context, delivery| {
                let (handler, delivery) = (Arc::clone(&handler), delivery.decode()?);
                Ok(async move { handler(context, delivery).await }.boxed())
            }),
        });
        self
    }

    /// Adds a hook and its handler; the handler's parameter type says which hook it is for.
    #[must_use]
    pub fn hook<H, F, Fut>(mut self, handler: F) -> Self
    where
        H: Hook,
        C: Send,
        F: Fn(C, HookCall<H>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HookOutcome<H>> + Send + 'static,
    {
        self.hooks.push(HookRow::new::<H>(Some(HookHandler::new(handler))));
        self
    }

    /// Describes a hook that no handler takes. It is in the OpenAPI document, and the emitter knows its example; a call is
    /// passed on to the vendor byte for byte, or refused, as `unhandled` in the settings says.
    #[must_use]
    pub fn unhandled<H: Hook>(mut self) -> Self {
        self.hooks.push(HookRow::new::<H>(None));
        self
    }

    /// Adds every event and hook of another catalog: a family's.
    #[must_use]
    pub fn merge(mut self, family: Self) -> Self {
        self.clashes.extend(family.clashes);
        self.hooks.merge(family.hooks);
        family.rows.into_iter().for_each(|row| self.push(row));
        self
    }

    /// The catalog itself if every name is claimed once.
    ///
    /// # Errors
    /// The first [`Clash`], with both handlers.
    pub fn checked(self) -> Result<Self, Clash> {
        if let Some(clash) = self.clashes.first() {
            return Err(clash.clone().into());
        }
        match self.hooks.clash() {
            Some(clash) => Err(clash.clone().into()),
            None => Ok(self),
        }
    }

    /// The event called `name` (or aliased so) in the given version, without regard to case.
    pub fn get(&self, dialect: Dialect, version: u16, name: &str) -> Option<&Row<C>> {
        let key = (dialect, version, name.to_ascii_lowercase());
        self.index.get(&key).map(|&row| &self.rows[row])
    }

    /// The hook whose id or alias is `id`, without regard to case.
    pub fn get_hook(&self, id: &str) -> Option<&HookRow<C>> {
        self.hooks.get(id)
    }

    /// All hooks, in the order of registration.
    pub fn hooks(&self) -> impl Iterator<Item = &HookRow<C>> {
        self.hooks.iter()
    }

    /// All events, in the order of registration.
    pub fn iter(&self) -> impl Iterator<Item = &Row<C>> {
        self.rows.iter()
    }

    fn push(&mut self, row: Row<C>) {
        let place = self.rows.len();
        for name in row.names() {
            let key = (row.dialect, row.version, name.to_ascii_lowercase());
            let first = *self.index.entry(key).or_insert(place);
            if first != place {
                self.clashes.push(EventClash {
                    dialect: row.dialect,
                    name: name.to_owned(),
                    version: row.version,
                    first: self.rows[first].handler,
                    second: row.handler,
                });
            }
        }
        self.rows.push(row);
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize, utoipa::ToSchema)]
    #[allow(dead_code)]
    struct Ping {
        id: i64,
    }

    impl Event for Ping {
        const TYPE: &'static str = "PingEvent";
        const ALIASES: &'static [&'static str] = &["17"];

        fn example() -> &'static str {
            r#"{"id":1}"#
        }
    }

    #[derive(Deserialize, utoipa::ToSchema)]
    struct Pong {}

    impl Event for Pong {
        const TYPE: &'static str = "17";

        fn example() -> &'static str {
            "{}"
        }
    }

    async fn ping(_: (), _: Delivery<Ping>) -> Outcome {
        Ok(())
    }

    async fn pong(_: (), _: Delivery<Pong>) -> Outcome {
        Ok(())
    }

    #[test]
    fn names_and_aliases_match_without_regard_to_case() {
        let catalog = Catalog::new().on(ping);
        let name = |name| catalog.get(Dialect::DirectScale, 1, name).map(|row| row.name);
        assert_eq!(name("PINGevent"), Some("PingEvent"));
        assert_eq!(name("17"), Some("PingEvent"));
        assert_eq!(name("18"), None);
        assert!(catalog.get(Dialect::DirectScale, 2, "17").is_none());
    }

    #[test]
    fn a_clash_names_both_handlers() {
        let clash = Catalog::new().on(ping).merge(Catalog::new().on(pong)).checked().err().unwrap();
        let Clash::Event(clash) = clash else { panic!("{clash}") };
        assert_eq!(clash.name, "17");
        assert!(clash.first.ends_with("::ping") && clash.second.ends_with("::pong"), "{clash}");
    }

    #[test]
    fn the_same_event_twice_is_a_clash() {
        assert!(Catalog::new().on(ping).on(ping).checked().is_err());
    }
}
