//! The table with its handlers, bound to the fork's context, for dispatch.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::table::{EventRow, HookRow, Table};
use crate::effect::{Attempt, EffectStore, Handled};
use crate::event::{DecodeError, Delivery, Dialect, Failure};
use crate::hook::{HookFailure, UntypedCall};

/// A started event handler.
pub type HandlerFuture = BoxFuture<'static, Result<Handled, Failure>>;

/// A started hook handler; it yields the response's JSON.
pub type HookFuture = BoxFuture<'static, Result<Bytes, HookFailure>>;

/// Decodes a delivery and starts its handler; nothing runs before the future is polled.
pub(super) type StartEvent =
    Box<dyn Fn(Delivery, Attempt) -> Result<HandlerFuture, DecodeError> + Send + Sync>;

/// Decodes a call and starts its handler; nothing runs before the future is polled.
pub(super) type StartHook =
    Box<dyn Fn(UntypedCall) -> Result<HookFuture, DecodeError> + Send + Sync>;

/// The handlers of a [`Table`], ready to run.
pub struct Handlers {
    table: Arc<Table>,
    /// One for each event of the table.
    events: Vec<StartEvent>,
    /// One for each hook of the table; none for a hook without a handler.
    hooks: Vec<Option<StartHook>>,
    effects: Option<Arc<dyn EffectStore>>,
}

/// The handler of an event.
#[derive(Clone, Copy)]
pub struct EventHandler<'h> {
    /// The event.
    pub row: &'h EventRow,
    start: &'h StartEvent,
}

impl EventHandler<'_> {
    /// Decodes the delivery and starts the handler.
    ///
    /// # Errors
    /// [`DecodeError`] if the body does not fit the model.
    pub fn start(
        &self,
        delivery: Delivery,
        attempt: Attempt,
    ) -> Result<HandlerFuture, DecodeError> {
        (self.start)(delivery, attempt)
    }
}

/// The handler of a hook.
#[derive(Clone, Copy)]
pub struct HookHandler<'h> {
    /// The hook.
    pub row: &'h HookRow,
    start: &'h StartHook,
}

impl HookHandler<'_> {
    /// Decodes the call and starts the handler.
    ///
    /// # Errors
    /// [`DecodeError`] if the body does not fit the request model.
    pub fn start(&self, call: UntypedCall) -> Result<HookFuture, DecodeError> {
        (self.start)(call)
    }
}

impl Handlers {
    pub(super) fn new(
        table: Arc<Table>,
        events: Vec<StartEvent>,
        hooks: Vec<Option<StartHook>>,
        effects: Option<Arc<dyn EffectStore>>,
    ) -> Self {
        Handlers { table, events, hooks, effects }
    }

    /// No handlers, for a process that only receives events: it needs no context.
    pub fn none(table: Arc<Table>) -> Self {
        let hooks = table.hooks().map(|_| None).collect();
        Handlers { table, events: Vec::new(), hooks, effects: None }
    }

    /// The events and hooks.
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// The database of the one-effect handlers, if there are any.
    pub fn effects(&self) -> Option<&Arc<dyn EffectStore>> {
        self.effects.as_ref()
    }

    /// The handler of the event with this name or alias in the given version, without regard to case.
    pub fn event(&self, dialect: Dialect, version: u16, name: &str) -> Option<EventHandler<'_>> {
        let index = self.table.event_position(dialect, version, name)?;
        let row = self.table.event(dialect, version, name)?;
        Some(EventHandler { row, start: self.events.get(index)? })
    }

    /// The handler of the hook whose id or alias is `id`, without regard to case.
    pub fn hook(&self, id: &str) -> Option<HookHandler<'_>> {
        let start = self.hooks[self.table.hook_position(id)?].as_ref()?;
        Some(HookHandler { row: self.table.hook(id)?, start })
    }
}
