//! The writer's state: pending claims and the dedup index.

use std::sync::Arc;

use contract::time::{Clock, Timestamp};
use rusqlite::Connection;

use super::dedup::DedupIndex;
use super::operate;
use super::pending_claims::PendingClaims;

/// The open transaction, as passed to a call.
pub(super) type InboxTx<'c> = store::Tx<'c, InboxWriterState>;

/// In-memory state of the writer.
pub(super) struct InboxWriterState {
    pub(super) claims: PendingClaims,
    pub(super) dedup: Option<DedupIndex>,
    pub(super) owner: Arc<str>,
    /// True if the dispatch is paused, as far as the open transaction has asked.
    pub(super) is_paused: Option<bool>,
    clock: Clock,
}

impl InboxWriterState {
    /// Creates the state; `dedup` is given if this process may add identities.
    pub(super) fn new(dedup: Option<DedupIndex>, owner: Arc<str>, clock: Clock) -> Self {
        let claims = PendingClaims::new(Arc::clone(&clock));
        InboxWriterState { claims, dedup, owner, is_paused: None, clock }
    }

    /// The engine's time.
    pub(super) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// True if the dispatch is paused. Another process may have paused it, so that each transaction asks once.
    pub(super) fn is_paused(&mut self, db: &Connection) -> rusqlite::Result<bool> {
        if let Some(is_paused) = self.is_paused {
            return Ok(is_paused);
        }
        let is_paused = operate::is_paused(db)?;
        self.is_paused = Some(is_paused);
        Ok(is_paused)
    }

    /// The dedup index, if this process may add to it.
    pub(super) fn dedup(&mut self) -> rusqlite::Result<&mut DedupIndex> {
        self.dedup.as_mut().ok_or(rusqlite::Error::InvalidQuery)
    }
}
