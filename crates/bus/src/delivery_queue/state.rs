//! The state of a delivery queue: the deliveries that wait for one target, and their order.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use contract::time::Timestamp;

use crate::health::{Status, SubscriptionHealth};
use crate::memory_budget::MemoryBudget;
use crate::outbox::QueuedDelivery;
use crate::slots::Slot;
use crate::subscription::Subscription;

/// The longest time that a burst is gathered.
const GATHERING: Duration = Duration::from_secs(5);

/// While first attempts wait, every so many attempts one is a retry.
pub(super) const RETRY_EVERY: u32 = 4;

/// The next action of a delivery queue's worker.
pub(crate) enum NextAction {
    /// Make this attempt.
    Attempt(QueuedDelivery, Slot),
    /// Read the due deliveries: first attempts or retries.
    Read { is_retry: bool, held: HashSet<i64> },
    /// Wait until a notification or this time.
    Wait(Option<Timestamp>),
    /// Wait until a notification or this instant.
    SleepUntil(Instant),
    /// Wait for a free slot: there are more targets than connections.
    AwaitSlot,
    /// Stop: the subscription is removed.
    Stop,
}

pub(super) struct QueueState {
    pub(super) subscription: Arc<Subscription>,
    pub(super) health: SubscriptionHealth,
    pub(super) first: VecDeque<QueuedDelivery>,
    pub(super) retries: VecDeque<QueuedDelivery>,
    /// The deliveries in memory, in flight, or not recorded yet: the outbox still has them as due. True if a read of
    /// retries has skipped it, since it may have been sent again by hand meanwhile.
    pub(super) held: HashMap<i64, bool>,
    /// True while a read is under way, which sees the outbox as it was at its beginning.
    pub(super) is_reading: bool,
    /// The deliveries that were recorded during a read: the read may still bring them.
    pub(super) settled: Vec<i64>,
    /// The largest number of a first attempt that a read has brought.
    pub(super) read_through: i64,
    /// True if the outbox has first attempts that are not in memory.
    pub(super) has_more: bool,
    /// The time at which the outbox has a due retry.
    pub(super) next_retry: Option<Timestamp>,
    pub(super) in_flight: usize,
    pub(super) retries_in_flight: usize,
    pub(super) since_retry: u32,
    /// True if the next first attempt has been put behind another on purpose.
    pub(super) is_put_off: bool,
    /// The earliest next attempt under the rate limit.
    pub(super) next_start: Option<Instant>,
    /// The time at which a failing target is tried again.
    pub(super) next_probe: Option<Timestamp>,
    /// The number of a burst's deliveries that are still to be sent, and the time since which the next burst is
    /// gathered.
    pub(super) bursting: usize,
    pub(super) gathering: Option<Instant>,
}

impl QueueState {
    pub(super) fn new(
        subscription: Subscription,
        health: SubscriptionHealth,
        has_more: bool,
    ) -> Self {
        QueueState {
            next_probe: (health.status == Status::Failing).then_some(health.since),
            subscription: Arc::new(subscription),
            health,
            first: VecDeque::new(),
            retries: VecDeque::new(),
            held: HashMap::new(),
            is_reading: false,
            settled: Vec::new(),
            read_through: 0,
            has_more,
            next_retry: has_more.then_some(Timestamp::MIN_UTC),
            in_flight: 0,
            retries_in_flight: 0,
            since_retry: 0,
            is_put_off: false,
            next_start: None,
            bursting: 0,
            gathering: None,
        }
    }

    /// The action to take if the subscription's status permits no attempt; the deliveries in memory are then left to
    /// the outbox.
    pub(super) fn idle_action(
        &mut self,
        now: Timestamp,
        budget: &MemoryBudget,
    ) -> Option<NextAction> {
        let is_on = self.subscription.config.enabled;
        let rest = match (self.health.status, self.next_probe) {
            (Status::Removed, _) => NextAction::Stop,
            (Status::Paused | Status::Ended, _) => NextAction::Wait(None),
            (Status::Failing, Some(at)) if at > now => NextAction::Wait(Some(at)),
            (Status::Failing, at) if at.is_none() || self.in_flight > 0 => NextAction::Wait(None),
            (Status::Active | Status::Failing, _) if is_on => return None,
            (Status::Active | Status::Failing, _) => NextAction::Wait(None),
        };
        self.unload(budget);
        Some(rest)
    }

    /// A read of the outbox, if it has due deliveries that are not in memory.
    pub(super) fn read_action(&mut self, now: Timestamp, retries: bool) -> Option<NextAction> {
        if self.is_reading {
            return None;
        }
        let is_due = self.next_retry.is_some_and(|at| at <= now);
        let is_retry = if self.first.is_empty() && self.has_more {
            self.has_more = false;
            false
        } else if retries && self.retries.is_empty() && is_due {
            self.next_retry = None;
            true
        } else {
            return None;
        };
        self.is_reading = true;
        Some(NextAction::Read { is_retry, held: self.held.keys().copied().collect() })
    }

    /// Marks a held delivery that a read of retries has found due.
    pub(super) fn mark_passed(&mut self, id: i64) {
        if let Some(is_passed) = self.held.get_mut(&id) {
            *is_passed = true;
        }
    }

    /// Leaves to the outbox the deliveries that cannot be sent now.
    fn unload(&mut self, budget: &MemoryBudget) {
        if self.first.is_empty() && self.retries.is_empty() {
            return;
        }
        self.has_more = true;
        self.next_retry = Some(Timestamp::MIN_UTC);
        for delivery in self.first.drain(..).chain(self.retries.drain(..)) {
            self.held.remove(&delivery.id);
            budget.release(delivery.event.draft.size());
        }
    }

    /// Ends a read, and releases the deliveries that were recorded during it.
    pub(super) fn finish_read(&mut self) {
        self.is_reading = false;
        for id in std::mem::take(&mut self.settled) {
            self.release(id);
        }
    }

    /// Releases a delivery: from now on the outbox decides about it.
    pub(super) fn release(&mut self, id: i64) {
        if self.held.remove(&id) == Some(true) {
            self.next_retry = Some(Timestamp::MIN_UTC);
        }
    }

    pub(super) fn retry_at(&mut self, at: Option<Timestamp>) {
        self.next_retry = match (self.next_retry, at) {
            (Some(known), Some(at)) => Some(known.min(at)),
            (known, at) => known.or(at),
        };
    }

    /// The time until which a burst is gathered, if one is.
    pub(super) fn burst_deadline(&mut self) -> Option<Instant> {
        let burst = self.subscription.config.faults.burst;
        if burst < 2 || self.bursting > 0 {
            return None;
        }
        let until = *self.gathering.get_or_insert_with(Instant::now) + GATHERING;
        if self.first.len() < burst && until > Instant::now() {
            return Some(until);
        }
        self.gathering = None;
        self.bursting = self.first.len();
        None
    }

    pub(super) fn take(&mut self, is_retry: bool) -> Option<QueuedDelivery> {
        let delivery = match is_retry {
            true => self.retries.pop_front()?,
            false => {
                self.bursting = self.bursting.saturating_sub(1);
                self.next_first()?
            }
        };
        self.since_retry = if is_retry { 0 } else { (self.since_retry + 1).min(RETRY_EVERY - 1) };
        self.in_flight += 1;
        self.retries_in_flight += usize::from(is_retry);
        if let Some(rate) = self.subscription.config.rate_limit {
            let now = Instant::now();
            let due = self.next_start.unwrap_or(now);
            // A pause is not caught up with.
            self.next_start = Some(due.max(now) + Duration::from_secs_f64(1.0 / rate));
        }
        Some(delivery)
    }

    /// The next first attempt; now and then, on purpose, the one behind it. None is put off twice.
    fn next_first(&mut self) -> Option<QueuedDelivery> {
        let share = self.subscription.config.faults.reorder;
        self.is_put_off = !self.is_put_off && self.first.len() > 1 && fastrand::f64() < share;
        if self.is_put_off {
            self.first.swap(0, 1);
        }
        self.first.pop_front()
    }
}
