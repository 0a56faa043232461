//! Concurrency slots: one for each target, and some that all targets share.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The right to have one request in flight.
pub(super) type Slot = OwnedSemaphorePermit;

/// The slots of all targets. A slow or dead target holds its own slot, and of the shared ones no more than its
/// concurrency.
pub(super) struct Slots {
    own: Arc<Semaphore>,
    shared: Arc<Semaphore>,
}

impl Slots {
    /// One slot for each of so many targets, and so many shared ones.
    pub(super) fn new(targets: usize, shared: usize) -> Self {
        let semaphore = |slots: usize| Arc::new(Semaphore::new(slots.min(Semaphore::MAX_PERMITS)));
        Slots { own: semaphore(targets), shared: semaphore(shared) }
    }

    /// A slot for a target with so many requests in flight.
    pub(super) fn try_acquire(&self, in_flight: usize) -> Option<Slot> {
        let slots = if in_flight == 0 { &self.own } else { &self.shared };
        Arc::clone(slots).try_acquire_owned().ok()
    }

    /// Waits for a free slot, while more targets are sent to than there can be connections.
    pub(super) async fn acquire(&self) -> Option<Slot> {
        // Fails only if the semaphore is closed, which it never is.
        Arc::clone(&self.own).acquire_owned().await.ok()
    }
}
