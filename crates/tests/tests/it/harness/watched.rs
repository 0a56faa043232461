//! An inbox that is watched, and that can be broken.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use inbox::{Claim, Deliveries, InboxError, Lease, Receipt, Result, Route, Verdict};
use source::Verified;

use super::deliveries::Opened;

/// Passes every call on, unless it is broken: then whatever writes fails.
pub(crate) struct Watched {
    pub(crate) inbox: Opened,
    broken: AtomicBool,
    writes: AtomicUsize,
    written: tokio::sync::Notify,
}

impl Watched {
    pub(crate) fn new(inbox: Opened) -> Arc<Self> {
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
impl Deliveries for Watched {
    async fn accept(&self, delivery: Verified, route: Route) -> Result<Receipt> {
        self.write()?;
        self.inbox.accept(delivery, route).await
    }

    async fn claim(&self, max: usize, lease: Duration, patience: Duration) -> Result<Vec<Claim>> {
        self.write()?;
        self.inbox.claim(max, lease, patience).await
    }

    async fn finish(&self, lease: Lease, verdict: Verdict) -> Result<bool> {
        self.write()?;
        self.inbox.finish(lease, verdict).await
    }

    async fn check(&self) -> Result<()> {
        self.write()?;
        self.inbox.check().await
    }
}
