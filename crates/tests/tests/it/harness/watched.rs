//! An inbox that is watched, and that can be broken.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use contract::event::DeliveryId;
use contract::time::Clock;
use contract::time::Timestamp;
use inbox::{
    Backlog, Claim, Detail, Entry, Filter, HookEntry, HookFilter, HookRecord, Inbox, InboxError,
    KeyUse, Lease, Receipt, Rejection, Result, Route, State, Verdict,
};
use source::Verified;

/// Passes every call on, unless it is broken: then whatever writes fails.
pub(crate) struct Watched {
    inbox: Arc<dyn Inbox>,
    broken: AtomicBool,
    writes: AtomicUsize,
    written: tokio::sync::Notify,
}

impl Watched {
    pub(crate) fn new(inbox: Arc<dyn Inbox>) -> Arc<Self> {
        Arc::new(Watched {
            inbox,
            broken: false.into(),
            writes: 0.into(),
            written: tokio::sync::Notify::new(),
        })
    }

    pub(crate) fn set_broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::SeqCst);
    }

    /// How many calls have tried to write.
    pub(crate) fn writes(&self) -> usize {
        self.writes.load(Ordering::SeqCst)
    }

    /// Waits until so many calls have tried to write.
    pub(crate) async fn wrote(&self, calls: usize) {
        while self.writes() < calls {
            self.written.notified().await;
        }
    }

    fn write(&self) -> Result<()> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        self.written.notify_one();
        match self.broken.load(Ordering::SeqCst) {
            true => Err(InboxError::Unavailable("broken".into())),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Inbox for Watched {
    async fn accept(&self, delivery: Verified, route: Route, now: Timestamp) -> Result<Receipt> {
        self.write()?;
        self.inbox.accept(delivery, route, now).await
    }

    async fn claim(
        &self,
        max: usize,
        lease: Duration,
        clock: Clock,
        patience: Duration,
    ) -> Result<Vec<Claim>> {
        self.write()?;
        self.inbox.claim(max, lease, clock, patience).await
    }

    async fn finish(&self, lease: Lease, verdict: Verdict, now: Timestamp) -> Result<bool> {
        self.write()?;
        self.inbox.finish(lease, verdict, now).await
    }

    async fn list(&self, filter: Filter) -> Result<Vec<Entry>> {
        self.inbox.list(filter).await
    }

    async fn show(&self, id: DeliveryId) -> Result<Option<Detail>> {
        self.inbox.show(id).await
    }

    async fn replayable(&self, filter: Filter) -> Result<Vec<DeliveryId>> {
        self.inbox.replayable(filter).await
    }

    async fn replay(&self, filter: Filter, now: Timestamp) -> Result<u64> {
        self.write()?;
        self.inbox.replay(filter, now).await
    }

    async fn prune(&self, state: State, before: Timestamp, limit: usize) -> Result<u64> {
        self.write()?;
        self.inbox.prune(state, before, limit).await
    }

    async fn catch_up(&self, now: Timestamp) -> Result<Backlog> {
        self.write()?;
        self.inbox.catch_up(now).await
    }

    async fn count(&self) -> Result<Vec<(State, u64)>> {
        self.inbox.count().await
    }

    async fn note_keys(&self, uses: Vec<KeyUse>) -> Result<()> {
        self.write()?;
        self.inbox.note_keys(uses).await
    }

    async fn keys(&self) -> Result<Vec<KeyUse>> {
        self.inbox.keys().await
    }

    async fn note_rejections(&self, rejections: Vec<Rejection>) -> Result<()> {
        self.inbox.note_rejections(rejections).await
    }

    async fn rejections(&self) -> Result<Vec<Rejection>> {
        self.inbox.rejections().await
    }

    async fn log_hooks(&self, calls: Vec<HookRecord>) -> Result<()> {
        self.write()?;
        self.inbox.log_hooks(calls).await
    }

    async fn list_hooks(&self, filter: HookFilter) -> Result<Vec<HookEntry>> {
        self.inbox.list_hooks(filter).await
    }

    async fn show_hook(&self, id: i64) -> Result<Option<HookEntry>> {
        self.inbox.show_hook(id).await
    }

    async fn prune_hooks(&self, before: Timestamp, limit: usize) -> Result<u64> {
        self.write()?;
        self.inbox.prune_hooks(before, limit).await
    }

    async fn check(&self) -> Result<()> {
        self.write()?;
        self.inbox.check().await
    }
}
