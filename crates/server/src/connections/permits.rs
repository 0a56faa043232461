//! Connection permits: at the limit, a new connection evicts the least valuable one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Pool of connection permits.
pub(super) struct Permits(Mutex<PoolState>);

struct PoolState {
    free: usize,
    next: u64,
    /// Connections that may be evicted, in order of eviction.
    evictable: BTreeMap<EvictionRank, CancellationToken>,
}

/// Rank of a connection in the order of eviction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum EvictionRank {
    /// A connection that has carried no authentic request; ordered by time of opening.
    Unproven(u64),
    /// An idle connection that has carried an authentic request; ordered by its last request.
    Idle(u64),
    /// A connection that has carried an authentic request, whose current one is not authenticated yet; ordered by its start.
    Asking(u64),
}

/// Permit of one connection. Dropping it frees it.
pub struct Permit {
    permits: Arc<Permits>,
    /// True if it has carried an authentic request. A response alone proves nothing: some routes answer anyone.
    is_proven: AtomicBool,
    /// None while it serves an authentic request.
    rank: Mutex<Option<EvictionRank>>,
    evicted: CancellationToken,
}

/// Origin of a permit.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PermitOrigin {
    /// A permit was free.
    Free,
    /// Another connection was evicted.
    Evicted,
}

impl Permits {
    pub(super) fn new(permits: usize) -> Arc<Self> {
        Arc::new(Permits(Mutex::new(PoolState {
            free: permits,
            next: 0,
            evictable: BTreeMap::new(),
        })))
    }

    /// Takes a permit for a new connection; none if every other connection is serving an authentic request.
    pub(super) fn take(self: &Arc<Self>) -> Option<(Arc<Permit>, PermitOrigin)> {
        let mut state = self.lock();
        let origin = if state.free > 0 {
            state.free -= 1;
            PermitOrigin::Free
        } else {
            state.evictable.pop_first()?.1.cancel();
            PermitOrigin::Evicted
        };
        let rank = EvictionRank::Unproven(state.number());
        let evicted = CancellationToken::new();
        state.evictable.insert(rank, evicted.clone());
        let permit = Permit {
            permits: Arc::clone(self),
            is_proven: AtomicBool::new(false),
            rank: Mutex::new(Some(rank)),
            evicted,
        };
        Some((Arc::new(permit), origin))
    }

    fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PoolState {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

impl Permit {
    /// Notes the start of a request, which is not authenticated yet.
    pub(super) fn begin(&self) {
        self.set_if_proven(EvictionRank::Asking);
    }

    /// Notes that the current request is authentic, so that its connection is not evicted before the response.
    pub fn prove(&self) {
        self.is_proven.store(true, Ordering::Relaxed);
        self.set(|_| None);
    }

    /// Notes the end of the request.
    pub(super) fn end(&self) {
        self.set_if_proven(EvictionRank::Idle);
    }

    fn set_if_proven(&self, rank: fn(u64) -> EvictionRank) {
        if self.is_proven.load(Ordering::Relaxed) {
            self.set(|state| Some(rank(state.number())));
        }
    }

    /// Waits until the connection is evicted.
    pub(super) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }

    fn set(&self, rank: impl FnOnce(&mut PoolState) -> Option<EvictionRank>) {
        let mut state = self.permits.lock();
        if self.evicted.is_cancelled() {
            return;
        }
        let next = rank(&mut state);
        let mut rank = self.rank.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = rank.take() {
            state.evictable.remove(&last);
        }
        if let Some(next) = next {
            state.evictable.insert(next, self.evicted.clone());
        }
        *rank = next;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.set(|_| None);
        let mut state = self.permits.lock();
        // The permit of an evicted connection belongs to the new one.
        if !self.evicted.is_cancelled() {
            state.free += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(permits: &Arc<Permits>) -> Arc<Permit> {
        permits.take().unwrap().0
    }

    fn is_given_up(permit: &Permit) -> bool {
        permit.evicted.is_cancelled()
    }

    #[test]
    fn what_was_never_proven_gives_way_first_then_what_is_idle_then_what_asks_unproven() {
        let permits = Permits::new(6);
        let [early, late, asking, idle, active, serving] = std::array::from_fn(|_| take(&permits));
        for permit in [&asking, &idle, &active, &serving] {
            permit.begin();
            permit.prove();
            permit.end();
        }
        for permit in [&late, &asking] {
            permit.begin();
        }
        for permit in [&early, &active] {
            permit.begin();
            permit.end();
        }
        serving.begin();
        serving.prove();
        let order = [early, late, idle, active, asking];
        for gone in 1..=order.len() {
            let (permit, origin) = permits.take().unwrap();
            assert_eq!(origin, PermitOrigin::Evicted);
            permit.prove();
            let evicted: Vec<bool> = order.iter().map(|permit| is_given_up(permit)).collect();
            assert_eq!(evicted.iter().filter(|evicted| **evicted).count(), gone);
            assert!(evicted.is_sorted_by(|a, b| a >= b), "{evicted:?}");
            std::mem::forget(permit);
        }
        assert!(permits.take().is_none(), "all others serve");
        assert!(!is_given_up(&serving));
    }

    #[test]
    fn a_place_is_free_again_exactly_once() {
        let permits = Permits::new(1);
        let first = take(&permits);
        let second = take(&permits);
        assert!(is_given_up(&first));
        first.end();
        drop(first);
        assert_eq!(permits.lock().free, 0);
        second.begin();
        drop(second);
        let state = permits.lock();
        assert_eq!((state.free, state.evictable.len()), (1, 0));
    }
}
