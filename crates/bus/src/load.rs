//! The memory that waiting events take, shared by all delivery queues.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many bytes of events wait in memory, besides one event for each target; what comes beyond that is read again when
/// it is its turn.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// How many bytes wait in memory.
#[derive(Default)]
pub(super) struct Load(AtomicUsize);

impl Load {
    /// How many bytes more may wait.
    pub(super) fn room(&self) -> usize {
        MOST_BYTES.saturating_sub(self.0.load(Ordering::Relaxed))
    }

    pub(super) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn take(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}
