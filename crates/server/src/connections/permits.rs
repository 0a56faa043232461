//! The permits of connections: when all are taken, the connection that can best be spared gives way to the next one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// All permits.
pub(super) struct Permits(Mutex<State>);

struct State {
    free: usize,
    next: u64,
    /// The connections that can be spared, the first of them first.
    spare: BTreeMap<Turn, CancellationToken>,
}

/// When a connection is to give way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// Nothing authentic has come on it; by when it was opened.
    Unproven(u64),
    /// It was proven and nothing is asked on it now; by when it was last asked.
    Idle(u64),
    /// It was proven, but what is being asked has yet to be; by when that began.
    Asking(u64),
}

/// The permit of one connection. It is free again when this is dropped.
pub struct Permit {
    permits: Arc<Permits>,
    /// Whether anything authentic has come on it. An answer alone proves nothing: everybody gets one from some routes.
    is_proven: AtomicBool,
    /// None while it serves what is proven.
    turn: Mutex<Option<Turn>>,
    given_up: CancellationToken,
}

/// What was done to have a permit.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// There was one.
    Free,
    /// A connection was closed for it.
    Made,
}

impl Permits {
    pub(super) fn new(permits: usize) -> Arc<Self> {
        Arc::new(Permits(Mutex::new(State { free: permits, next: 0, spare: BTreeMap::new() })))
    }

    /// A permit for a new connection; none if every other one is serving what is proven.
    pub(super) fn take(self: &Arc<Self>) -> Option<(Arc<Permit>, Room)> {
        let mut state = self.lock();
        let room = if state.free > 0 {
            state.free -= 1;
            Room::Free
        } else {
            state.spare.pop_first()?.1.cancel();
            Room::Made
        };
        let turn = Turn::Unproven(state.number());
        let given_up = CancellationToken::new();
        state.spare.insert(turn, given_up.clone());
        let permit = Permit {
            permits: Arc::clone(self),
            is_proven: AtomicBool::new(false),
            turn: Mutex::new(Some(turn)),
            given_up,
        };
        Some((Arc::new(permit), room))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

impl Permit {
    /// A request has come, which proves nothing by itself.
    pub(super) fn begin(&self) {
        self.set_if_proven(Turn::Asking);
    }

    /// What is being asked is proven, so it is not to be spared before it is answered.
    pub fn prove(&self) {
        self.is_proven.store(true, Ordering::Relaxed);
        self.set(|_| None);
    }

    /// The request has its answer.
    pub(super) fn end(&self) {
        self.set_if_proven(Turn::Idle);
    }

    fn set_if_proven(&self, turn: fn(u64) -> Turn) {
        if self.is_proven.load(Ordering::Relaxed) {
            self.set(|state| Some(turn(state.number())));
        }
    }

    /// Waits until it is needed for another connection.
    pub(super) async fn given_up(&self) {
        self.given_up.cancelled().await;
    }

    fn set(&self, turn: impl FnOnce(&mut State) -> Option<Turn>) {
        let mut state = self.permits.lock();
        if self.given_up.is_cancelled() {
            return;
        }
        let next = turn(&mut state);
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = turn.take() {
            state.spare.remove(&last);
        }
        if let Some(next) = next {
            state.spare.insert(next, self.given_up.clone());
        }
        *turn = next;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.set(|_| None);
        let mut state = self.permits.lock();
        // The permit of a connection that was closed for another is that one's.
        if !self.given_up.is_cancelled() {
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
        permit.given_up.is_cancelled()
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
            let (permit, room) = permits.take().unwrap();
            assert_eq!(room, Room::Made);
            permit.prove();
            let given_up: Vec<bool> = order.iter().map(|permit| is_given_up(permit)).collect();
            assert_eq!(given_up.iter().filter(|given_up| **given_up).count(), gone);
            assert!(given_up.is_sorted_by(|a, b| a >= b), "{given_up:?}");
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
        assert_eq!((state.free, state.spare.len()), (1, 0));
    }
}
