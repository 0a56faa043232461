//! Dedup cache: an LRU cache of recently accepted message ids in front of the inbox; a hit costs no write.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::TimeDelta;
use contract::event::DeliveryId;
use contract::time::{Clock, Timestamp};
use lru::LruCache;
use source::Verified;

use super::{AcceptOutcome, Deliveries, Receipt, Result, Route};

/// An inbox behind a cache of message ids. The cache only answers for committed ids.
pub struct DedupCache {
    inbox: Arc<dyn Deliveries>,
    recent: Option<Mutex<LruCache<DedupKey, CachedId>>>,
    window: TimeDelta,
    clock: Clock,
}

#[derive(PartialEq, Eq, Hash)]
struct DedupKey {
    source: String,
    client_id: Option<String>,
    message_id: String,
}

#[derive(Clone, Copy)]
struct CachedId {
    id: DeliveryId,
    digest: [u8; 32],
    at: Timestamp,
}

impl DedupCache {
    /// Caches up to `capacity` ids, each for no longer than `window`. A capacity of 0 disables the cache.
    pub fn new(
        inbox: Arc<dyn Deliveries>,
        capacity: usize,
        window: TimeDelta,
        clock: Clock,
    ) -> Self {
        let recent =
            NonZeroUsize::new(capacity).map(|capacity| Mutex::new(LruCache::new(capacity)));
        DedupCache { inbox, recent, window, clock }
    }

    /// Stores a delivery, unless it is known. Once this returns, it is durable.
    ///
    /// # Errors
    /// Those of [`Deliveries::accept`].
    pub async fn accept(&self, delivery: Verified, route: Route) -> Result<Receipt> {
        let Some(recent) = &self.recent else {
            return self.inbox.accept(delivery, route).await;
        };
        let now = (self.clock)();
        let key = DedupKey {
            source: delivery.source.name.clone(),
            client_id: delivery.client_id.clone(),
            message_id: delivery.message_id.clone(),
        };
        let digest = delivery.digest;
        // What is recognised by its digest alone is counted, which takes a write.
        let is_counted = delivery.message_id_derived;
        if let Some(cached) = lock(recent).get(&key).copied()
            && !is_counted
            && cached.digest == digest
            && now - cached.at < self.window
            && self.inbox.is_in_place()
        {
            return Ok(Receipt {
                id: cached.id,
                message_id: key.message_id,
                outcome: AcceptOutcome::Duplicate,
            });
        }
        let receipt = self.inbox.accept(delivery, route).await?;
        if receipt.outcome == AcceptOutcome::New {
            lock(recent).put(key, CachedId { id: receipt.id, digest, at: now });
        }
        Ok(receipt)
    }
}

/// Ignores poisoning: a panic while the lock is held can at worst lose an id from the cache.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
