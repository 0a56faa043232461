//! Memory permits: only a few handlers at a time hold a body that is large in memory.

use std::sync::Arc;

use contract::event::{MAX_OBJECTS, weight};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Weight up to which a body needs no permit. Almost all bodies are lighter and never wait.
const LIGHT: usize = 1000;

/// Number of bodies of the largest weight that are permitted at once.
const MAX_HEAVIEST: usize = 4;

/// Pool of memory permits. Clones share it.
#[derive(Clone)]
pub struct MemoryPermits(Arc<Semaphore>);

impl Default for MemoryPermits {
    fn default() -> Self {
        MemoryPermits(Arc::new(Semaphore::new(MAX_HEAVIEST * MAX_OBJECTS)))
    }
}

impl MemoryPermits {
    /// Waits for a permit for the body, if it needs one.
    pub async fn take(&self, body: &[u8]) -> Option<OwnedSemaphorePermit> {
        let weight = weight(body).min(MAX_OBJECTS);
        if weight < LIGHT {
            return None;
        }
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        Arc::clone(&self.0).acquire_many_owned(weight).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn there_is_room_for_few_heavy_bodies_and_for_any_number_of_light_ones() {
        for heavy in ["[".to_owned() + &"{},".repeat(300_000), "0,".repeat(500_000)] {
            let permits = MemoryPermits::default();
            let held: Vec<_> =
                std::iter::from_fn(|| permits.take(heavy.as_bytes()).now_or_never()).collect();
            assert_eq!(held.len(), MAX_HEAVIEST);
            for _ in 0..100 {
                assert!(
                    permits
                        .take(&b"{}".repeat(900))
                        .now_or_never()
                        .is_some_and(|held| held.is_none())
                );
            }
            drop(held);
            assert!(permits.take(heavy.as_bytes()).now_or_never().is_some());
        }
    }
}
