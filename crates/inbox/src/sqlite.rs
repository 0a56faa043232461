//! The embedded SQLite engine: one writer thread with group commit, write-ahead log, full sync.
//!
//! Calls that arrive while a transaction is being synced share the next one. Reads do not use the writer.

mod browse;
mod columns;
mod copy;
mod dedup;
mod hooks;
mod operate;
mod pending_claims;
mod rejections;
mod rows;
mod schema;
mod spans;
mod writer;
mod writer_state;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use contract::event::DeliveryId;
use contract::time::{Clock, Timestamp, system_clock};
use rusqlite::Connection;
use source::Verified;
use store::Store;

use super::copy::UNFINISHED;
use super::search::{self, Brief, Searchable, Window};
use super::{
    Act, ActProgress, Acts, Backlog, Blocked, Browse, Claim, Deliveries, Detail, Entry, Filter,
    HookCalls, HookEntry, HookFilter, HookRecord, InboxError, KeyUse, KeyUses, Lease, NewAct,
    NewPause, Opener, Options, Page, Pause, Pauses, Receipt, Rejection, Rejections, Result, Route,
    State, StoreSize, Summary, Tallies, Tally, Upkeep, Verdict,
};
use dedup::DedupIndex;
use writer_state::{InboxTx, InboxWriterState};

/// Copies an inbox to a new file.
pub(super) fn backup(from: &Path, to: &Path) -> anyhow::Result<store::Backup> {
    store::backup(from, to, &schema::SCHEMA, "delivery")
}

/// Inbox in a SQLite file.
pub struct Sqlite {
    store: Store<InboxWriterState>,
    clock: Clock,
}

impl Sqlite {
    /// Opens the file, or creates it with its folder.
    ///
    /// # Errors
    /// If the file cannot be written, is not an inbox, is damaged, comes from a newer version, or is in use by another receiver.
    pub async fn open(path: &Path, options: Options) -> anyhow::Result<Self> {
        let path = path.to_owned();
        tokio::task::spawn_blocking(move || Sqlite::open_now(&path, options)).await?
    }

    fn open_now(path: &Path, options: Options) -> anyhow::Result<Self> {
        let Options { queue, opener, owner, clock } = options;
        let exclusive = opener != Opener::Command;
        let (owner, clock) = (Arc::from(owner), clock.unwrap_or_else(system_clock));
        let state = |db: &Connection| {
            let mut dedup = None;
            if opener == Opener::Receiver && copy::is_unfinished(db)? {
                anyhow::bail!(UNFINISHED);
            }
            if exclusive {
                rows::end_leases(db).context("it cannot be written")?;
                dedup = Some(DedupIndex::load(db)?);
            }
            Ok(InboxWriterState::new(dedup, Arc::clone(&owner), Arc::clone(&clock)))
        };
        let store =
            Store::open(path, &schema::SCHEMA, store::StoreOptions { queue, exclusive }, state)?;
        Ok(Sqlite { store, clock })
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
impl Deliveries for Sqlite {
    async fn accept(&self, delivery: Verified, route: Route) -> Result<Receipt> {
        let headers = delivery.headers_json();
        let bytes = delivery.body.len() + headers.len();
        let accepted = self.store.writer.add(bytes, move |tx| {
            let receipt = rows::accept(tx, &delivery, &headers, &route)?;
            // Handed back to be freed by the calling thread, which spares the writer the work.
            Ok((receipt, (delivery, headers, route)))
        });
        Ok(accepted.await.map(|(receipt, _)| receipt)?)
    }

    async fn claim(&self, max: usize, lease: Duration, patience: Duration) -> Result<Vec<Claim>> {
        writer::claim(&self.store.writer, max, lease, patience).await
    }

    async fn finish(&self, lease: Lease, verdict: Verdict) -> Result<bool> {
        self.call_soon(move |tx| rows::finish(tx, &lease, &verdict)).await
    }

    /// Adds no rows; the writer refuses even that while it cannot store any.
    async fn check(&self) -> Result<()> {
        Ok(self.store.writer.add(0, |_| Ok(())).await?)
    }

    fn is_in_place(&self) -> bool {
        self.store.is_in_place()
    }
}

#[async_trait]
impl Browse for Sqlite {
    async fn list(&self, filter: Filter) -> Result<Vec<Entry>> {
        self.read(move |db| browse::list(db, &filter)).await
    }

    async fn show(&self, id: DeliveryId) -> Result<Option<Detail>> {
        self.read(move |db| browse::show(db, id)).await
    }

    async fn replayable(&self, filter: Filter) -> Result<Vec<DeliveryId>> {
        self.read(move |db| browse::replayable(db, &filter)).await
    }

    async fn replay(&self, filter: Filter) -> Result<u64> {
        self.call(move |tx| rows::replay(tx, &filter, true)).await
    }

    async fn resume(&self, filter: Filter) -> Result<u64> {
        self.call(move |tx| rows::replay(tx, &filter, false)).await
    }

    async fn search(&self, filter: Filter, patience: Duration) -> Result<Page> {
        search::search(self, filter, patience).await
    }

    async fn summarize(&self, filter: Filter, patience: Duration) -> Result<Summary> {
        search::summarize(self, filter, patience).await
    }

    async fn discard(&self, filter: Filter, reason: String) -> Result<u64> {
        self.call(move |tx| rows::discard(tx, &filter, &reason)).await
    }

    async fn blocked(&self, limit: usize) -> Result<Vec<Blocked>> {
        self.read(move |db| browse::blocked(db, limit)).await
    }

    async fn count(&self) -> Result<Vec<(State, u64)>> {
        self.read(browse::count).await
    }
}

#[async_trait]
impl Searchable for Sqlite {
    fn first_rows(&self, _: &Filter) -> usize {
        search::FIRST
    }

    async fn window(&self, filter: &Filter, rows: usize) -> Result<Window> {
        let filter = filter.clone();
        self.read(move |db| browse::window(db, &filter, rows)).await
    }

    async fn entries(&self, filter: Filter) -> Result<Vec<Entry>> {
        self.list(filter).await
    }

    async fn briefs(&self, filter: Filter) -> Result<Vec<Brief>> {
        self.read(move |db| browse::briefs(db, &filter)).await
    }
}

#[async_trait]
impl Acts for Sqlite {
    async fn begin_act(&self, act: NewAct) -> Result<i64> {
        self.call(move |tx| operate::begin_act(tx, &act)).await
    }

    async fn update_act(&self, id: i64, progress: ActProgress) -> Result<bool> {
        self.call(move |tx| operate::update_act(tx, id, &progress)).await
    }

    async fn cancel_act(&self, id: i64) -> Result<bool> {
        self.call(move |tx| operate::cancel_act(tx, id)).await
    }

    async fn acts(&self, before: Option<i64>, limit: usize) -> Result<Vec<Act>> {
        self.read(move |db| operate::acts(db, before, limit)).await
    }

    async fn act(&self, id: i64) -> Result<Option<Act>> {
        self.read(move |db| operate::act(db, id)).await
    }
}

#[async_trait]
impl Pauses for Sqlite {
    async fn pause(&self, pause: NewPause) -> Result<()> {
        self.call(move |tx| operate::pause(tx, &pause)).await
    }

    async fn unpause(&self) -> Result<()> {
        self.call(operate::unpause).await
    }

    async fn paused(&self) -> Result<Option<Pause>> {
        self.read(operate::paused).await
    }
}

#[async_trait]
impl Tallies for Sqlite {
    async fn add_tallies(&self, tallies: Vec<Tally>) -> Result<()> {
        Ok(self.store.writer.add_soon(0, move |tx| operate::add_tallies(tx, &tallies)).await?)
    }

    async fn tallies(&self, since: Timestamp) -> Result<Vec<Tally>> {
        self.read(move |db| operate::tallies(db, since)).await
    }
}

#[async_trait]
impl KeyUses for Sqlite {
    async fn note_keys(&self, uses: Vec<KeyUse>) -> Result<()> {
        self.call_soon(move |tx| rows::note_keys(tx, &uses)).await
    }

    async fn keys(&self) -> Result<Vec<KeyUse>> {
        self.read(browse::keys).await
    }
}

#[async_trait]
impl HookCalls for Sqlite {
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
}

#[async_trait]
impl Rejections for Sqlite {
    async fn note_rejections(&self, rejections: Vec<Rejection>) -> Result<()> {
        Ok(self.store.writer.add_soon(0, move |tx| rejections::note(tx.db, &rejections)).await?)
    }

    async fn rejections(&self) -> Result<Vec<Rejection>> {
        self.read(rejections::all).await
    }
}

#[async_trait]
impl Upkeep for Sqlite {
    async fn prune(&self, state: State, age: Duration, limit: usize) -> Result<u64> {
        self.call(move |tx| rows::prune(tx, state, age, limit)).await
    }

    async fn prune_hooks(&self, age: Duration, limit: usize) -> Result<u64> {
        self.call(move |tx| {
            let before = rows::earlier(tx.state.now(), age);
            hooks::prune(tx.db, before, limit)
        })
        .await
    }

    async fn size(&self) -> Result<StoreSize> {
        let deliveries = self.read(browse::estimate).await?;
        let (bytes, free) = self.store.disk();
        Ok(StoreSize { bytes, free, deliveries })
    }

    async fn now(&self) -> Result<Timestamp> {
        Ok((self.clock)())
    }

    async fn oldest_unended(&self) -> Result<Option<Timestamp>> {
        self.read(rows::oldest_unended).await
    }

    async fn catch_up(&self) -> Result<Backlog> {
        self.call(rows::catch_up).await
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
