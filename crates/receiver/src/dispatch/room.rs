//! Room for bodies that are large in memory: however many handlers run, only a few of them hold such a body at once.

use std::sync::Arc;

use contract::event::{MAX_OBJECTS, weight};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bodies that weigh less need no room: so do almost all, and they never wait.
const LIGHT: usize = 1000;

/// How many of the heaviest bodies there is room for.
const HEAVIEST: usize = 4;

/// The room; clones share it.
#[derive(Clone)]
pub struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Room(Arc::new(Semaphore::new(HEAVIEST * MAX_OBJECTS)))
    }
}

impl Room {
    /// Waits until there is room for the body, if it needs any. It is free again when the permit is dropped.
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
            let room = Room::default();
            let held: Vec<_> =
                std::iter::from_fn(|| room.take(heavy.as_bytes()).now_or_never()).collect();
            assert_eq!(held.len(), HEAVIEST);
            for _ in 0..100 {
                assert!(
                    room.take(&b"{}".repeat(900)).now_or_never().is_some_and(|held| held.is_none())
                );
            }
            drop(held);
            assert!(room.take(heavy.as_bytes()).now_or_never().is_some());
        }
    }
}
