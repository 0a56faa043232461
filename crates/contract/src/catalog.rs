//! The catalog: a fork's events and hooks, each with the handler that takes it.
//!
//! A fork registers its handlers in a [`Catalog`], generic over the fork's context. Nothing below registration is: a
//! [`Table`] describes the events and hooks, and [`Handlers`] are the handlers of a catalog, bound to one context.

mod handlers;
mod name;
mod table;

use std::any::type_name;
use std::future::Future;
use std::sync::Arc;

use futures_util::FutureExt;

use crate::effect::{Attempt, EffectDb, EffectStore, Handled, Once, OnceHandler, apply};
use crate::event::{DecodeError, Delivery, Event, Outcome};
use crate::hook::{Callback, Hook, HookCall, HookOutcome, UntypedCall, decoded};
use handlers::{StartEvent, StartHook};

pub use handlers::{EventHandler, HandlerFuture, Handlers, HookFuture, HookHandler};
pub use name::{is_path_traversal, respelled, segment};
pub use table::{BodyCheck, BodyModel, Clash, EventRow, HookRow, NamedSchema, Table};

type EventStarter<C> =
    Box<dyn Fn(C, Delivery, Attempt) -> Result<HandlerFuture, DecodeError> + Send + Sync>;
type HookStarter<C> = Box<dyn Fn(C, UntypedCall) -> Result<HookFuture, DecodeError> + Send + Sync>;

/// The events and hooks of a receiver, each with its handler. `C` is the fork's context, cloned for every attempt.
pub struct Catalog<C> {
    table: Table,
    events: Vec<EventStarter<C>>,
    hooks: Vec<Option<HookStarter<C>>>,
    effects: Option<Effects<C>>,
}

/// The database of the one-effect handlers.
struct Effects<C> {
    store: fn(&C) -> Arc<dyn EffectStore>,
    migration: &'static str,
}

impl<C> Default for Catalog<C> {
    fn default() -> Self {
        Catalog { table: Table::default(), events: Vec::new(), hooks: Vec::new(), effects: None }
    }
}

impl<C: Clone + Send + Sync + 'static> Catalog<C> {
    /// An empty catalog.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an event and its handler; the handler's parameter type determines the event.
    #[must_use]
    pub fn on<E, F, Fut>(mut self, handler: F) -> Self
    where
        E: Event,
        F: Fn(C, Delivery<E>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Outcome> + Send + 'static,
    {
        self.table.push_event(EventRow::of::<E>(type_name::<F>()));
        let handler = Arc::new(handler);
        self.events.push(Box::new(move |context, delivery, _| {
            let (handler, delivery) = (Arc::clone(&handler), delivery.decode()?);
            Ok(async move { handler(context, delivery).await.map(|()| Handled::Done) }.boxed())
        }));
        self
    }

    /// Adds an event and its one-effect handler, `async fn(Context, &mut Tx<'_>, Delivery<E>) -> Outcome`: what it writes
    /// with the transaction happens once for each run, whatever crashes.
    #[must_use]
    pub fn once<E, F>(mut self, handler: F) -> Self
    where
        C: Once,
        E: Event,
        F: OnceHandler<C, E>,
    {
        self.table.push_event(EventRow::of::<E>(type_name::<F>()));
        let handler = Arc::new(handler);
        self.events.push(Box::new(move |context, delivery, attempt| {
            let (handler, delivery) = (Arc::clone(&handler), delivery.decode()?);
            Ok(async move { apply(context, &*handler, delivery, attempt).await }.boxed())
        }));
        self.effects = Some(Effects {
            store: |context| Arc::new(context.db().clone()),
            migration: C::Db::MIGRATION,
        });
        self
    }

    /// Adds a hook and its handler; the handler's parameter type determines the hook.
    #[must_use]
    pub fn hook<H, F, Fut>(mut self, handler: F) -> Self
    where
        H: Hook,
        F: Fn(C, HookCall<H>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HookOutcome<H>> + Send + 'static,
    {
        self.table.push_hook(HookRow::of::<H>(Some(type_name::<F>())));
        self.hooks.push(Some(Box::new(move |context, call: UntypedCall| {
            let request = decoded(&call.body)?;
            let callback = Callback::new(call.callback);
            let UntypedCall { meta, deferrer, .. } = call;
            let answer = handler(context, HookCall { meta, request, callback, deferrer });
            Ok(async move { Ok(serde_json::to_vec(&answer.await?)?.into()) }.boxed())
        })));
        self
    }

    /// Describes a hook without a handler. The hook is in the OpenAPI document, and the emitter can send its example; a
    /// call is forwarded to the vendor byte for byte, or refused, depending on the setting `unhandled`.
    #[must_use]
    pub fn unhandled<H: Hook>(mut self) -> Self {
        self.table.push_hook(HookRow::of::<H>(None));
        self.hooks.push(None);
        self
    }

    /// Adds every event and hook of another catalog, such as a family's.
    #[must_use]
    pub fn merge(mut self, family: Self) -> Self {
        self.table.merge(&family.table);
        self.events.extend(family.events);
        self.hooks.extend(family.hooks);
        self.effects = self.effects.or(family.effects);
        self
    }

    /// The table of the events and hooks, if every name is claimed once.
    ///
    /// # Errors
    /// The first [`Clash`], with both handlers.
    pub fn table(&self) -> Result<Arc<Table>, Clash> {
        match self.table.clash() {
            Some(clash) => Err(clash.clone()),
            None => Ok(Arc::new(self.table.clone())),
        }
    }

    /// The statements that make the tables of the one-effect handlers, if there are any.
    pub fn migration(&self) -> Option<&'static str> {
        self.effects.as_ref().map(|effects| effects.migration)
    }

    /// The handlers, bound to `context`: each attempt gets a clone of it.
    ///
    /// # Errors
    /// As [`table`](Self::table).
    pub fn bind(self, context: &C) -> Result<Handlers, Clash> {
        let table = self.table()?;
        let event = |start: EventStarter<C>| -> StartEvent {
            let context = context.clone();
            Box::new(move |delivery, attempt| start(context.clone(), delivery, attempt))
        };
        let hook = |start: HookStarter<C>| -> StartHook {
            let context = context.clone();
            Box::new(move |call| start(context.clone(), call))
        };
        let events = self.events.into_iter().map(event).collect();
        let hooks = self.hooks.into_iter().map(|start| start.map(hook)).collect();
        let effects = self.effects.map(|effects| (effects.store)(context));
        Ok(Handlers::new(table, events, hooks, effects))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::event::Dialect;

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
        let table = Catalog::<()>::new().on(ping).table().unwrap();
        let name = |name| table.event(Dialect::DirectScale, 1, name).map(|row| row.name);
        assert_eq!(name("PINGevent"), Some("PingEvent"));
        assert_eq!(name("17"), Some("PingEvent"));
        assert_eq!(name("18"), None);
        assert!(table.event(Dialect::DirectScale, 2, "17").is_none());
    }

    #[test]
    fn a_clash_names_both_handlers() {
        let clash = Catalog::new().on(ping).merge(Catalog::new().on(pong)).table().err().unwrap();
        let Clash::Event { name, first, second, .. } = clash else { panic!("{clash}") };
        assert_eq!(name, "17");
        assert!(first.ends_with("::ping") && second.ends_with("::pong"), "{first} {second}");
    }

    #[test]
    fn the_same_event_twice_is_a_clash() {
        assert!(Catalog::new().on(ping).on(ping).table().is_err());
    }
}
