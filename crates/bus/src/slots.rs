//! How many requests are on their way at once: one to each target, and some more that all targets share.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The right to have one request on its way.
pub(super) type Slot = OwnedSemaphorePermit;

/// A target that is slow or dead holds its own slot; of those that are shared it can hold no more than its concurrency.
pub(super) struct Slots {
    own: Arc<Semaphore>,
    shared: Arc<Semaphore>,
}

impl Slots {
    /// One for each of so many targets, and so many that are shared.
    pub(super) fn new(targets: usize, shared: usize) -> Self {
        let semaphore = |slots: usize| Arc::new(Semaphore::new(slots.min(Semaphore::MAX_PERMITS)));
        Slots { own: semaphore(targets), shared: semaphore(shared) }
    }

    /// One for a target that has so many requests on their way.
    pub(super) fn take(&self, in_flight: usize) -> Option<Slot> {
        let slots = if in_flight == 0 { &self.own } else { &self.shared };
        Arc::clone(slots).try_acquire_owned().ok()
    }

    /// Waits, while more targets are sent to than there can be connections, until it is this one's turn.
    pub(super) async fn turn(&self) -> Option<Slot> {
        // Fails only if it is closed, and it never is.
        Arc::clone(&self.own).acquire_owned().await.ok()
    }
}
