//! One-effect handlers: what a handler writes with its transaction happens once, wherever the process dies.
//!
//! The engine begins a transaction of the fork's own database, writes a [`Mark`] of the delivery first, calls the handler,
//! and commits. Whoever comes second meets the mark. Elsewhere this is called an idempotent consumer, and with
//! [`Tx::defer`] a transactional outbox.

mod apply;
mod deferred;
mod handler;
mod sample;

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;

use crate::event::{Event, Meta};
use crate::time::Timestamp;
pub use apply::Attempt;
pub(crate) use apply::apply;
pub use deferred::{Acceptor, DeferError, DeferredEvent, Deferrer, Origin};
pub use handler::OnceHandler;
pub use sample::OnceRun;

/// The choice of the database in which one-effect handlers write.
#[diagnostic::on_unimplemented(
    message = "`.once` needs the database of `{Self}`, which `impl Once` names",
    label = "no database is named for this context",
    note = "add to the file of the context, with the type of its pool:\n\
            use webhook_receiver::Once;\n\n\
            impl Once for {Self} {{\n    type Db = Sqlite; // or Postgres: that of the handlers' `Tx`\n\n    fn db(&self) -> &Self::Db {{\n        &self.db\n    }}\n}}"
)]
pub trait Once: Clone + Send + Sync + 'static {
    /// The database.
    type Db: EffectDb;

    /// The database, of which each attempt takes a connection.
    fn db(&self) -> &Self::Db;
}

/// The mark of a run of a delivery: as long as it is in the database, the run is not applied again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The source of the delivery.
    pub source: String,
    /// The sender's id for the client account; empty if there is none.
    pub client_id: String,
    /// The sender's id for the message.
    pub message_id: String,
    /// The time of acceptance: once the inbox has forgotten the id, a delivery of the same id is another one.
    pub received_at: Timestamp,
    /// The event.
    pub event: String,
    /// The number of the run: 0, and one more for each replay that begins a new one.
    pub run: u32,
    /// The attempt that writes it; not a part of its identity.
    pub attempt: u32,
    /// Names the run among the causes of deferred events.
    pub cause: String,
}

impl Mark {
    /// The mark of a delivery's run.
    pub fn of(meta: &Meta) -> Self {
        Mark {
            source: meta.source.clone(),
            client_id: meta.client_id.clone().unwrap_or_default(),
            message_id: meta.message_id.clone(),
            received_at: meta.received_at,
            event: meta.event_type.clone(),
            run: meta.replay,
            attempt: meta.attempt,
            cause: cause(meta),
        }
    }
}

/// The name of a run among the causes of deferred events.
fn cause(meta: &Meta) -> String {
    let accepted = meta.received_at.timestamp_millis();
    meta.effect_key(&format!("webhook_effect {accepted}"))
}

/// The attempt whose transaction was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// The number of the attempt.
    pub attempt: u32,
    /// The time of its mark, by the clock of the database.
    pub at: Timestamp,
}

/// The result of an attempt that has not failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handled {
    /// The handler has ended.
    Done,
    /// A one-effect handler's effect is applied.
    Applied(Applied),
    /// To be attempted again, for this reason; this attempt does not count.
    Postponed(String),
}

/// The result of beginning a transaction with a mark.
pub enum Begun<T> {
    /// The mark is written, and not yet committed.
    Marked(T, Timestamp),
    /// Another attempt has committed the mark, which a transaction under way was waited for.
    AppliedBefore(Applied),
}

/// A database of one-effect handlers, seen by a handler's attempt. The adapters implement it for their drivers.
#[async_trait]
pub trait EffectDb: EffectStore + Clone {
    /// A connection.
    type Connection: Send;

    /// The driver's own transaction. Dropping it rolls back.
    type Transaction<'c>: Send;

    /// The statements that make the tables of marks and of deferred events. They can be repeated.
    const MIGRATION: &'static str;

    /// Waits for a connection.
    async fn connect(&self) -> anyhow::Result<Self::Connection>;

    /// Begins a transaction and writes the mark. A transaction under way that has written it too is waited for, for
    /// `time_left` or as long as the database waits; only a mark that is committed counts as applied.
    async fn begin<'c>(
        connection: &'c mut Self::Connection,
        mark: &Mark,
        time_left: Duration,
    ) -> anyhow::Result<Begun<Self::Transaction<'c>>>;

    /// Writes the deferred events and commits. If it fails, it is not known if the transaction is committed.
    async fn commit(
        transaction: Self::Transaction<'_>,
        deferred: &[DeferredEvent],
    ) -> anyhow::Result<()>;
}

/// A database of one-effect handlers, seen by the engine between attempts.
#[async_trait]
pub trait EffectStore: Send + Sync + 'static {
    /// Checks that the tables are there.
    ///
    /// # Errors
    /// If they are not, or the database cannot be reached.
    async fn check(&self) -> anyhow::Result<()>;

    /// The deferred events of a run that are still in the outbox, in their order; without a cause, up to a thousand that were
    /// deferred some seconds ago, the oldest first.
    async fn outbox(&self, cause: Option<&str>) -> anyhow::Result<Vec<DeferredEvent>>;

    /// Removes deferred events from the outbox, after they have become deliveries.
    async fn remove(&self, events: &[DeferredEvent]) -> anyhow::Result<()>;

    /// Deletes up to ten thousand marks that are older than `age`; returns their number.
    async fn prune(&self, age: Duration) -> anyhow::Result<u64>;
}

/// The transaction of a one-effect handler. Dereferences to the driver's own.
///
/// The engine commits it if the handler returns `Ok`, and rolls back if it fails, panics or takes too long. A handler that
/// swallows an error of the database must use a savepoint, as in any transaction.
pub struct Tx<'t, D: EffectDb> {
    transaction: D::Transaction<'t>,
    origin: Origin,
    deferred: Vec<DeferredEvent>,
}

impl<D: EffectDb> Tx<'_, D> {
    /// Defers an event of the fork's own: it becomes a delivery once the transaction is committed, and none if it is rolled
    /// back. It is handled like any other: in the order of its entity, with retries, in the inbox.
    ///
    /// # Errors
    /// [`DeferError`] if the event's JSON is not its own model.
    pub fn defer<E: Event + Serialize>(&mut self, event: E) -> Result<(), DeferError> {
        let number = u32::try_from(self.deferred.len()).unwrap_or(u32::MAX);
        self.deferred.push(self.origin.event(&event, number)?);
        Ok(())
    }
}

impl<'t, D: EffectDb> Deref for Tx<'t, D> {
    type Target = D::Transaction<'t>;

    fn deref(&self) -> &Self::Target {
        &self.transaction
    }
}

impl<D: EffectDb> DerefMut for Tx<'_, D> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.transaction
    }
}
