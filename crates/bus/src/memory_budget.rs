//! Memory budget of waiting events, shared by all delivery queues.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The most bytes of events in memory, besides one event for each target; further events are read from the outbox
/// later.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// The number of bytes in memory.
#[derive(Default)]
pub(super) struct MemoryBudget(AtomicUsize);

impl MemoryBudget {
    /// The number of bytes that are free.
    pub(super) fn free_bytes(&self) -> usize {
        MAX_BYTES.saturating_sub(self.0.load(Ordering::Relaxed))
    }

    pub(super) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn release(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}
