//! One target's queue: what is sent next, and when. A target that is slow or dead delays nobody but
//! itself, as long as there can be a connection for each.

mod state;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use contract::event::Environment;
use contract::time::Timestamp;
use tokio::sync::Notify;

use super::outbox::{Delivery, Due, Outcome, Recipient};
use crate::health::{Health, Standing};
use crate::load::Load;
use crate::persona::End;
use crate::slots::{Slot, Slots};
use crate::subscription::Subscription;
use state::{State, TURNS};

pub(super) use state::Next;

/// How many deliveries wait in memory; the others wait in the file.
const WAITING: usize = 512;

/// The deliveries that wait for one target, in order.
pub(super) struct DeliveryQueue {
    pub(super) id: i64,
    /// Whether it stands in the settings, so that it is changed there.
    pub(super) is_declared: bool,
    state: Mutex<State>,
    wake: Notify,
}

impl DeliveryQueue {
    pub(super) fn new(
        id: i64,
        subscription: Subscription,
        health: Health,
        is_declared: bool,
        has_more: bool,
    ) -> Arc<Self> {
        let state = State::new(subscription, health, has_more);
        Arc::new(DeliveryQueue { id, is_declared, state: Mutex::new(state), wake: Notify::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn subscription(&self) -> Arc<Subscription> {
        Arc::clone(&self.state().subscription)
    }

    pub(super) fn health(&self) -> Health {
        self.state().health.clone()
    }

    /// The subscription as storage knows it.
    pub(super) fn recipient(&self) -> Recipient {
        let is_in_order = self.state().subscription.config.in_order;
        Recipient { subscription: self.id, is_in_order }
    }

    /// Whether the event is for it; the name is in lower case.
    pub(super) fn takes(&self, event_type: &str, environment: Option<Environment>) -> bool {
        let state = self.state();
        state.health.standing < Standing::Ended && state.subscription.takes(event_type, environment)
    }

    /// Takes a first attempt that has been written down; leaves it in the file if memory is full. A reading may have
    /// brought it already.
    pub(super) fn push(&self, delivery: Delivery, load: &Load) {
        let mut state = self.state();
        if state.health.standing == Standing::Removed || state.held.contains_key(&delivery.id) {
            return;
        }
        // A reading that has got so far may have brought it, and it may have been sent since: the file knows.
        let is_new = delivery.id > state.read_through;
        let is_sent_to = state.health.standing == Standing::Active;
        if is_new && is_sent_to && state.first.len() < WAITING && load.room() > 0 && !state.has_more
        {
            load.add(delivery.event.is.size());
            state.held.insert(delivery.id, false);
            state.first.push_back(delivery);
        } else {
            state.has_more = true;
        }
        drop(state);
        self.wake.notify_one();
    }

    /// There is something in the file that is due.
    pub(super) fn notify(&self) {
        let mut state = self.state();
        state.has_more = true;
        state.next_retry = Some(Timestamp::MIN_UTC);
        drop(state);
        self.wake.notify_one();
    }

    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Goes on with another definition.
    pub(super) fn change(&self, subscription: Subscription) {
        self.state().subscription = Arc::new(subscription);
        self.wake.notify_one();
    }

    /// Stands otherwise from now on, unless it is removed; a failing target is tried at the time of its `probe`.
    pub(super) fn stand(&self, health: Health, probe: Option<Timestamp>) {
        let mut state = self.state();
        if state.health.standing == Standing::Removed {
            return;
        }
        state.next_probe = probe;
        state.health = health;
        drop(state);
        self.wake.notify_one();
    }

    /// Tries a failing target now.
    pub(super) fn probe(&self) {
        let mut state = self.state();
        state.next_probe = state.next_probe.map(|_| Timestamp::MIN_UTC);
        state.next_retry = Some(Timestamp::MIN_UTC);
        drop(state);
        self.wake.notify_one();
    }

    /// As [`next`](Self::next), for an attempt that is over: it goes on with what is in memory, or wakes the lane.
    pub(super) fn another(
        &self,
        now: Timestamp,
        slots: &Slots,
        load: &Load,
    ) -> Option<(Delivery, Slot)> {
        let is_simple = {
            let state = self.state();
            let waits = !state.first.is_empty() || !state.retries.is_empty();
            state.health.standing == Standing::Active && waits
        };
        match is_simple.then(|| self.next(now, slots, &mut None, load)) {
            Some(Next::Go(delivery, slot)) => return Some((delivery, slot)),
            Some(Next::Load { is_retry, .. }) => self.load_again(is_retry),
            _ => {}
        }
        self.wake.notify_one();
        None
    }

    /// What was to be read is still to be read.
    pub(super) fn load_again(&self, is_retry: bool) {
        let mut state = self.state();
        state.has_read();
        match is_retry {
            true => state.next_retry = Some(Timestamp::MIN_UTC),
            false => state.has_more = true,
        }
    }

    /// What to do now; an attempt takes the slot that was waited for, if there is one.
    pub(super) fn next(
        &self,
        now: Timestamp,
        slots: &Slots,
        waited: &mut Option<Slot>,
        load: &Load,
    ) -> Next {
        let mut state = self.state();
        if let Some(rest) = state.rests(now, load) {
            return rest;
        }
        let most = state.subscription.config.concurrency;
        if state.in_flight >= most {
            return Next::Wait(None);
        }
        if let Some(at) = state.next_start.filter(|at| *at > Instant::now()) {
            return Next::Pace(at);
        }
        // Retries that hang must leave room for first attempts.
        let retries = state.retries_in_flight < most.div_ceil(2);
        if let Some(load) = state.missing(now, retries) {
            return load;
        }
        let first = !state.first.is_empty();
        let is_retry = retries && !state.retries.is_empty() && (!first || state.turn == TURNS - 1);
        if !is_retry && !first {
            return Next::Wait(state.next_retry.filter(|_| retries));
        }
        if !is_retry && let Some(until) = state.gathers() {
            return Next::Pace(until);
        }
        let Some(slot) = waited.take().or_else(|| slots.take(state.in_flight)) else {
            return if state.in_flight == 0 { Next::Crowded } else { Next::Wait(None) };
        };
        match state.take(is_retry) {
            Some(delivery) => {
                load.take(delivery.event.is.size());
                Next::Go(delivery, slot)
            }
            None => Next::Wait(None),
        }
    }

    /// Takes in what was read.
    pub(super) fn loaded(&self, due: Due, is_retry: bool, load: &Load) {
        let mut state = self.state();
        for delivery in due.deliveries {
            if !is_retry {
                state.read_through = state.read_through.max(delivery.id);
            }
            if let Some(is_passed) = state.held.get_mut(&delivery.id) {
                *is_passed |= is_retry;
                continue;
            }
            state.held.insert(delivery.id, false);
            load.add(delivery.event.is.size());
            if is_retry {
                state.retries.push_back(delivery)
            } else {
                state.first.push_back(delivery)
            }
        }
        if is_retry {
            due.passed.iter().for_each(|id| state.pass(*id));
        }
        state.has_read();
        match is_retry {
            true if due.has_more => state.next_retry = Some(Timestamp::MIN_UTC),
            true => state.retry_at(due.next),
            false => state.has_more |= due.has_more,
        }
    }

    /// Counts an attempt, and says how long the target has been failing and whether it is to be left alone.
    pub(super) fn judge(&self, outcome: &Outcome, now: Timestamp) -> (u64, Timestamp, Option<End>) {
        let mut state = self.state();
        if matches!(outcome, Outcome::Delivered) {
            state.health.failures = 0;
            state.health.failing_since = None;
            return (0, now, None);
        }
        state.health.failures += 1;
        let since = *state.health.failing_since.get_or_insert(now);
        let streak = state.health.streak(now);
        let gave_up = matches!(outcome, Outcome::GivenUp);
        let end = state.subscription.persona.quits(streak, gave_up);
        (state.health.failures, since, end.filter(|_| state.health.standing == Standing::Active))
    }

    /// An attempt is over, and handed on to be written down. A failing target has rest until `probe`.
    pub(super) fn finished(&self, is_retry: bool, probe: Timestamp) {
        let mut state = self.state();
        state.in_flight -= 1;
        state.retries_in_flight -= usize::from(is_retry);
        if state.health.standing == Standing::Failing {
            state.next_probe = Some(probe);
        }
    }

    /// What came of a delivery is written down.
    pub(super) fn recorded(&self, id: i64, outcome: &Outcome) {
        let mut state = self.state();
        match outcome {
            Outcome::Copy => return,
            Outcome::Again(at) => state.retry_at(Some(*at)),
            Outcome::Delivered | Outcome::GivenUp | Outcome::Gone => {}
        }
        match state.is_reading {
            true => state.settled.push(id),
            false => state.let_go(id),
        }
        let is_due = state.next_retry == Some(Timestamp::MIN_UTC);
        drop(state);
        if is_due || matches!(outcome, Outcome::Again(_)) {
            self.wake.notify_one();
        }
    }
}
