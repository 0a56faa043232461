//! The writer's state: pending claims and the dedup index.

use std::sync::Arc;

use contract::time::{Clock, Timestamp};

use super::dedup::DedupIndex;
use super::pending_claims::PendingClaims;

/// The open transaction, as passed to a call.
pub(super) type InboxTx<'c> = store::Tx<'c, InboxWriterState>;

/// In-memory state of the writer.
pub(super) struct InboxWriterState {
    pub(super) claims: PendingClaims,
    pub(super) dedup: Option<DedupIndex>,
    pub(super) owner: Arc<str>,
    clock: Clock,
}

impl InboxWriterState {
    /// Creates the state; `dedup` is given if this process may add identities.
    pub(super) fn new(dedup: Option<DedupIndex>, owner: Arc<str>, clock: Clock) -> Self {
        InboxWriterState { claims: PendingClaims::new(Arc::clone(&clock)), dedup, owner, clock }
    }

    /// The engine's time.
    pub(super) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// The dedup index, if this process may add to it.
    pub(super) fn dedup(&mut self) -> rusqlite::Result<&mut DedupIndex> {
        self.dedup.as_mut().ok_or(rusqlite::Error::InvalidQuery)
    }
}
