//! The ids accepted last, in front of the inbox: a duplicate among them costs no write.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::TimeDelta;
use contract::event::DeliveryId;
use contract::time::Timestamp;
use lru::LruCache;
use source::Verified;

use super::{Inbox, Receipt, Result, Route, Seen};

/// An inbox with a memory of committed ids. It only ever answers for ids that the inbox has already kept.
pub struct Front {
    inbox: Arc<dyn Inbox>,
    recent: Option<Mutex<LruCache<Key, Kept>>>,
    window: TimeDelta,
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    source: String,
    client_id: Option<String>,
    message_id: String,
}

#[derive(Clone, Copy)]
struct Kept {
    id: DeliveryId,
    digest: [u8; 32],
    at: Timestamp,
}

impl Front {
    /// Remembers up to `capacity` ids, each for no longer than `window`. A capacity of 0 remembers none.
    pub fn new(inbox: Arc<dyn Inbox>, capacity: usize, window: TimeDelta) -> Self {
        let recent =
            NonZeroUsize::new(capacity).map(|capacity| Mutex::new(LruCache::new(capacity)));
        Front { inbox, recent, window }
    }

    /// Keeps a delivery, unless it is known. When this returns, it is durable.
    ///
    /// # Errors
    /// As [`Inbox::accept`].
    pub async fn accept(
        &self,
        delivery: Verified,
        route: Route,
        now: Timestamp,
    ) -> Result<Receipt> {
        let Some(recent) = &self.recent else {
            return self.inbox.accept(delivery, route, now).await;
        };
        let key = Key {
            source: delivery.source.name.clone(),
            client_id: delivery.client_id.clone(),
            message_id: delivery.message_id.clone(),
        };
        let digest = delivery.digest;
        if let Some(kept) = lock(recent).get(&key).copied()
            && kept.digest == digest
            && now - kept.at < self.window
            && self.inbox.is_in_place()
        {
            return Ok(Receipt { id: kept.id, message_id: key.message_id, seen: Seen::Duplicate });
        }
        let receipt = self.inbox.accept(delivery, route, now).await?;
        if receipt.seen == Seen::New {
            lock(recent).put(key, Kept { id: receipt.id, digest, at: now });
        }
        Ok(receipt)
    }
}

/// A panic while the lock is held cannot leave the cache half-changed in a way that matters: it is only a memory.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
