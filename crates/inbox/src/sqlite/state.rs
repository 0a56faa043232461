//! The writer's state: pending claims and the dedup index.

use super::dedup::DedupIndex;
use super::pending_claims::PendingClaims;

/// The open transaction, as passed to a call.
pub(super) type InboxTx<'c> = store::Tx<'c, InboxWriterState>;

/// In-memory state of the writer.
pub(super) struct InboxWriterState {
    pub(super) claims: PendingClaims,
    pub(super) dedup: Option<DedupIndex>,
}

impl InboxWriterState {
    /// Creates the state; `dedup` is given if this process may add identities.
    pub(super) fn new(dedup: Option<DedupIndex>) -> Self {
        InboxWriterState { claims: PendingClaims::default(), dedup }
    }

    /// The dedup index, if this process may add to it.
    pub(super) fn dedup(&mut self) -> rusqlite::Result<&mut DedupIndex> {
        self.dedup.as_mut().ok_or(rusqlite::Error::InvalidQuery)
    }
}
