//! The embedded SQLite engine: one writer thread with group commit, write-ahead log, full sync.
//!
//! Calls that arrive while a transaction is being synced share the next one. Reads do not use the writer.

mod browse;
mod columns;
mod dedup;
mod hooks;
mod pending_claims;
mod rejections;
mod rows;
mod schema;
mod spans;
mod state;
mod writer;

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use contract::event::DeliveryId;
use contract::time::Clock;
use contract::time::Timestamp;
use rusqlite::Connection;
use source::Verified;
use store::Store;

use super::{
    Backlog, Claim, Detail, Entry, Filter, HookEntry, HookFilter, HookRecord, Inbox, InboxError,
    KeyUse, Lease, Options, Receipt, Rejection, Result, Route, State, Verdict,
};
use dedup::DedupIndex;
use state::{InboxTx, InboxWriterState};

/// Copies an inbox to a new file.
pub(super) fn backup(from: &Path, to: &Path) -> anyhow::Result<store::Backup> {
    store::backup(from, to, &schema::SCHEMA, "delivery")
}

/// Inbox in a SQLite file.
pub struct Sqlite {
    store: Store<InboxWriterState>,
}

impl Sqlite {
    /// Opens the file, or creates it with its folder.
    ///
    /// # Errors
    /// If the file cannot be written, is not an inbox, is damaged, comes from a newer version, or is in use by another receiver.
    pub fn open(path: &Path, options: Options) -> anyhow::Result<Self> {
        let Options { queue, exclusive } = options;
        let state = |db: &Connection| {
            if !exclusive {
                return Ok(InboxWriterState::new(None));
            }
            rows::orphan_leases(db).context("it cannot be written")?;
            Ok(InboxWriterState::new(Some(DedupIndex::load(db)?)))
        };
        let store =
            Store::open(path, &schema::SCHEMA, store::StoreOptions { queue, exclusive }, state)?;
        Ok(Sqlite { store })
    }

    async fn read<T, F>(&self, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        Ok(self.store.read(query).await?)
    }

    async fn call<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut InboxTx<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        Ok(self.store.writer.call(work).await?)
    }

    async fn call_soon<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut InboxTx<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        Ok(self.store.writer.call_soon(work).await?)
    }
}

#[async_trait]
impl Inbox for Sqlite {
    async fn accept(&self, delivery: Verified, route: Route, now: Timestamp) -> Result<Receipt> {
        let headers = delivery.headers_json();
        let bytes = delivery.body.len() + headers.len();
        let accepted = self.store.writer.add(bytes, move |tx| {
            let receipt = rows::accept(tx, &delivery, &headers, &route, now)?;
            // Handed back to be freed by the calling thread, which spares the writer the work.
            Ok((receipt, (delivery, headers, route)))
        });
        Ok(accepted.await.map(|(receipt, _)| receipt)?)
    }

    async fn claim(
        &self,
        max: usize,
        lease: Duration,
        clock: Clock,
        patience: Duration,
    ) -> Result<Vec<Claim>> {
        writer::claim(&self.store.writer, max, lease, clock, patience).await
    }

    async fn finish(&self, lease: Lease, verdict: Verdict, now: Timestamp) -> Result<bool> {
        self.call_soon(move |tx| rows::finish(tx, &lease, &verdict, now)).await
    }

    async fn list(&self, filter: Filter) -> Result<Vec<Entry>> {
        self.read(move |db| browse::list(db, &filter)).await
    }

    async fn show(&self, id: DeliveryId) -> Result<Option<Detail>> {
        self.read(move |db| browse::show(db, id)).await
    }

    async fn replayable(&self, filter: Filter) -> Result<Vec<DeliveryId>> {
        self.read(move |db| browse::replayable(db, &filter)).await
    }

    async fn replay(&self, filter: Filter, now: Timestamp) -> Result<u64> {
        self.call(move |tx| rows::replay(tx, &filter, now)).await
    }

    async fn prune(&self, state: State, before: Timestamp, limit: usize) -> Result<u64> {
        self.call(move |tx| rows::prune(tx, state, before, limit)).await
    }

    async fn catch_up(&self, now: Timestamp) -> Result<Backlog> {
        self.call(move |tx| rows::catch_up(tx, now)).await
    }

    async fn count(&self) -> Result<Vec<(State, u64)>> {
        self.read(browse::count).await
    }

    async fn note_keys(&self, uses: Vec<KeyUse>) -> Result<()> {
        self.call_soon(move |tx| rows::note_keys(tx, &uses)).await
    }

    async fn keys(&self) -> Result<Vec<KeyUse>> {
        self.read(browse::keys).await
    }

    async fn log_hooks(&self, calls: Vec<HookRecord>) -> Result<()> {
        // Handed back to be freed elsewhere, as in `accept`.
        let bytes = calls.iter().map(HookRecord::size).sum();
        let log = move |tx: &mut InboxTx<'_>| hooks::log(tx.db, &calls).map(|()| calls);
        Ok(self.store.writer.add_soon(bytes, log).await.map(drop)?)
    }

    async fn list_hooks(&self, filter: HookFilter) -> Result<Vec<HookEntry>> {
        self.read(move |db| hooks::list(db, &filter)).await
    }

    async fn show_hook(&self, id: i64) -> Result<Option<HookEntry>> {
        self.read(move |db| hooks::show(db, id)).await
    }

    async fn prune_hooks(&self, before: Timestamp, limit: usize) -> Result<u64> {
        self.call(move |tx| hooks::prune(tx.db, before, limit)).await
    }

    async fn note_rejections(&self, rejections: Vec<Rejection>) -> Result<()> {
        Ok(self.store.writer.add_soon(0, move |tx| rejections::note(tx.db, &rejections)).await?)
    }

    async fn rejections(&self) -> Result<Vec<Rejection>> {
        self.read(rejections::all).await
    }

    /// Adds no rows; the writer refuses even that while it cannot store any.
    async fn check(&self) -> Result<()> {
        Ok(self.store.writer.add(0, |_| Ok(())).await?)
    }

    fn is_in_place(&self) -> bool {
        self.store.is_in_place()
    }
}

impl From<store::Error> for InboxError {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Busy => InboxError::Busy,
            store::Error::Full => InboxError::Full,
            store::Error::Unavailable(reason) => InboxError::Unavailable(reason),
        }
    }
}
