//! The delivery queue of one target: the order and time of its attempts. A slow or dead target delays only itself, as
//! long as there is a connection for each target.

mod state;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use contract::event::Environment;
use contract::time::Timestamp;
use tokio::sync::Notify;

use super::outbox::{AttemptOutcome, DueDeliveries, QueuedDelivery, Recipient};
use crate::health::{Status, SubscriptionHealth};
use crate::memory_budget::MemoryBudget;
use crate::retry_policy::DisableAction;
use crate::slots::{Slot, Slots};
use crate::subscription::Subscription;
use state::{QueueState, RETRY_EVERY};

pub(super) use state::NextAction;

/// The largest number of deliveries in memory; the others wait in the outbox.
const WAITING: usize = 512;

/// The deliveries that wait for one target, in order.
pub(super) struct DeliveryQueue {
    pub(super) id: i64,
    /// True if the subscription is declared in the settings, and can be changed only there.
    pub(super) is_declared: bool,
    state: Mutex<QueueState>,
    wake: Notify,
}

impl DeliveryQueue {
    pub(super) fn new(
        id: i64,
        subscription: Subscription,
        health: SubscriptionHealth,
        is_declared: bool,
        has_more: bool,
    ) -> Arc<Self> {
        let state = QueueState::new(subscription, health, has_more);
        Arc::new(DeliveryQueue { id, is_declared, state: Mutex::new(state), wake: Notify::new() })
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn subscription(&self) -> Arc<Subscription> {
        Arc::clone(&self.state().subscription)
    }

    pub(super) fn health(&self) -> SubscriptionHealth {
        self.state().health.clone()
    }

    /// The subscription as storage knows it.
    pub(super) fn recipient(&self) -> Recipient {
        let is_in_order = self.state().subscription.config.in_order;
        Recipient { subscription: self.id, is_in_order }
    }

    /// True if the event is for this subscription; `event_type` is in lower case.
    pub(super) fn accepts(&self, event_type: &str, environment: Option<Environment>) -> bool {
        let state = self.state();
        state.health.status < Status::Ended && state.subscription.accepts(event_type, environment)
    }

    /// Queues a first attempt that is already in the outbox; leaves it to be read later if memory is full. A read may
    /// have brought it already.
    pub(super) fn push(&self, delivery: QueuedDelivery, budget: &MemoryBudget) {
        let mut state = self.state();
        if state.health.status == Status::Removed || state.held.contains_key(&delivery.id) {
            return;
        }
        // A read that got this far may have brought it, and it may have been sent since: the outbox decides.
        let is_new = delivery.id > state.read_through;
        let is_sent_to = state.health.status == Status::Active;
        if is_new
            && is_sent_to
            && state.first.len() < WAITING
            && budget.free_bytes() > 0
            && !state.has_more
        {
            budget.add(delivery.event.draft.size());
            state.held.insert(delivery.id, false);
            state.first.push_back(delivery);
        } else {
            state.has_more = true;
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Notifies the queue that the outbox has a due delivery.
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

    /// Replaces the definition of the subscription.
    pub(super) fn change(&self, subscription: Subscription) {
        self.state().subscription = Arc::new(subscription);
        self.wake.notify_one();
    }

    /// Sets the health, unless the subscription is removed; a failing target is tried at the time of its `probe`.
    pub(super) fn set_health(&self, health: SubscriptionHealth, probe: Option<Timestamp>) {
        let mut state = self.state();
        if state.health.status == Status::Removed {
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

    /// As [`next`](Self::next), after an attempt: returns another attempt from memory, or wakes the worker.
    pub(super) fn another(
        &self,
        now: Timestamp,
        slots: &Slots,
        budget: &MemoryBudget,
    ) -> Option<(QueuedDelivery, Slot)> {
        let is_simple = {
            let state = self.state();
            let waits = !state.first.is_empty() || !state.retries.is_empty();
            state.health.status == Status::Active && waits
        };
        match is_simple.then(|| self.next(now, slots, &mut None, budget)) {
            Some(NextAction::Attempt(delivery, slot)) => return Some((delivery, slot)),
            Some(NextAction::Read { is_retry, .. }) => self.load_again(is_retry),
            _ => {}
        }
        self.wake.notify_one();
        None
    }

    /// Marks the due deliveries as unread, after a read that failed.
    pub(super) fn load_again(&self, is_retry: bool) {
        let mut state = self.state();
        state.finish_read();
        match is_retry {
            true => state.next_retry = Some(Timestamp::MIN_UTC),
            false => state.has_more = true,
        }
    }

    /// The next action of the worker; an attempt takes the awaited slot, if there is one.
    pub(super) fn next(
        &self,
        now: Timestamp,
        slots: &Slots,
        waited: &mut Option<Slot>,
        budget: &MemoryBudget,
    ) -> NextAction {
        let mut state = self.state();
        if let Some(idle) = state.idle_action(now, budget) {
            return idle;
        }
        let most = state.subscription.config.concurrency;
        if state.in_flight >= most {
            return NextAction::Wait(None);
        }
        if let Some(at) = state.next_start.filter(|at| *at > Instant::now()) {
            return NextAction::SleepUntil(at);
        }
        // Retries that hang must leave room for first attempts.
        let retries = state.retries_in_flight < most.div_ceil(2);
        if let Some(read) = state.read_action(now, retries) {
            return read;
        }
        let first = !state.first.is_empty();
        let is_retry = retries
            && !state.retries.is_empty()
            && (!first || state.since_retry == RETRY_EVERY - 1);
        if !is_retry && !first {
            return NextAction::Wait(state.next_retry.filter(|_| retries));
        }
        if !is_retry && let Some(until) = state.burst_deadline() {
            return NextAction::SleepUntil(until);
        }
        let Some(slot) = waited.take().or_else(|| slots.try_acquire(state.in_flight)) else {
            return if state.in_flight == 0 {
                NextAction::AwaitSlot
            } else {
                NextAction::Wait(None)
            };
        };
        match state.take(is_retry) {
            Some(delivery) => {
                budget.release(delivery.event.draft.size());
                NextAction::Attempt(delivery, slot)
            }
            None => NextAction::Wait(None),
        }
    }

    /// Takes in the deliveries that were read.
    pub(super) fn loaded(&self, due: DueDeliveries, is_retry: bool, budget: &MemoryBudget) {
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
            budget.add(delivery.event.draft.size());
            if is_retry {
                state.retries.push_back(delivery)
            } else {
                state.first.push_back(delivery)
            }
        }
        if is_retry {
            due.passed.iter().for_each(|id| state.mark_passed(*id));
        }
        state.finish_read();
        match is_retry {
            true if due.has_more => state.next_retry = Some(Timestamp::MIN_UTC),
            true => state.retry_at(due.next),
            false => state.has_more |= due.has_more,
        }
    }

    /// Counts an attempt; returns the number of failures in a row, the time of the first, and the action that the retry
    /// policy demands.
    pub(super) fn count_outcome(
        &self,
        outcome: &AttemptOutcome,
        now: Timestamp,
    ) -> (u64, Timestamp, Option<DisableAction>) {
        let mut state = self.state();
        if matches!(outcome, AttemptOutcome::Delivered) {
            state.health.failures = 0;
            state.health.failing_since = None;
            return (0, now, None);
        }
        state.health.failures += 1;
        let since = *state.health.failing_since.get_or_insert(now);
        let streak = state.health.streak(now);
        let gave_up = matches!(outcome, AttemptOutcome::GivenUp);
        let end = state.subscription.retry_policy.disable_action(streak, gave_up);
        (state.health.failures, since, end.filter(|_| state.health.status == Status::Active))
    }

    /// Marks an attempt as over and handed on to be recorded. A failing target is not tried again before `probe`.
    pub(super) fn finished(&self, is_retry: bool, probe: Timestamp) {
        let mut state = self.state();
        state.in_flight -= 1;
        state.retries_in_flight -= usize::from(is_retry);
        if state.health.status == Status::Failing {
            state.next_probe = Some(probe);
        }
    }

    /// Marks an attempt as recorded in the outbox.
    pub(super) fn recorded(&self, id: i64, outcome: &AttemptOutcome) {
        let mut state = self.state();
        match outcome {
            AttemptOutcome::Copy => return,
            AttemptOutcome::Retry(at) => state.retry_at(Some(*at)),
            AttemptOutcome::Delivered | AttemptOutcome::GivenUp | AttemptOutcome::Gone => {}
        }
        match state.is_reading {
            true => state.settled.push(id),
            false => state.release(id),
        }
        let is_due = state.next_retry == Some(Timestamp::MIN_UTC);
        drop(state);
        if is_due || matches!(outcome, AttemptOutcome::Retry(_)) {
            self.wake.notify_one();
        }
    }
}
