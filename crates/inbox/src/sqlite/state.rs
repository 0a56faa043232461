//! The writer's state: the claims that wait, and the identities of deliveries.

use super::dedup::Dedup;
use super::waiting::Waiting;

/// The open transaction, as a call sees it.
pub(super) type Tx<'c> = store::Tx<'c, WriterState>;

/// The state that the writer keeps beside the file.
pub(super) struct WriterState {
    pub(super) waiting: Waiting,
    pub(super) dedup: Option<Dedup>,
}

impl WriterState {
    /// `dedup` if this process is the one that may add identities.
    pub(super) fn new(dedup: Option<Dedup>) -> Self {
        WriterState { waiting: Waiting::default(), dedup }
    }

    /// The known identities, if this process is the one that may add to them.
    pub(super) fn dedup(&mut self) -> rusqlite::Result<&mut Dedup> {
        self.dedup.as_mut().ok_or(rusqlite::Error::InvalidQuery)
    }
}
