//! The state of a delivery queue: what waits for one target, and in which order it goes.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use contract::time::Timestamp;

use crate::health::{Health, Standing};
use crate::load::Load;
use crate::outbox::Delivery;
use crate::slots::Slot;
use crate::subscription::Subscription;

/// How long a burst is waited for.
const GATHERING: Duration = Duration::from_secs(5);

/// While first attempts wait, every so many turns one is a retry's.
pub(super) const TURNS: u32 = 4;

/// What a delivery queue does next.
pub(crate) enum Next {
    /// This attempt.
    Go(Delivery, Slot),
    /// Reading what is due, first attempts or retries.
    Load { is_retry: bool, held: HashSet<i64> },
    /// Nothing, until it is woken or a time.
    Wait(Option<Timestamp>),
    /// Nothing, until it is woken or this moment.
    Pace(Instant),
    /// Nothing, until a slot is free: there are more targets than connections.
    Crowded,
    /// Nothing any more.
    End,
}

pub(super) struct State {
    pub(super) subscription: Arc<Subscription>,
    pub(super) health: Health,
    pub(super) first: VecDeque<Delivery>,
    pub(super) retries: VecDeque<Delivery>,
    /// What is in memory, on its way, or not written down yet: the file still has it as due. It is marked if a reading of
    /// retries has passed over it, since it may have been sent again by hand meanwhile.
    pub(super) held: HashMap<i64, bool>,
    /// Whether the file is being read, as it was when the reading began.
    pub(super) is_reading: bool,
    /// What was written down meanwhile: the reading may still bring it.
    pub(super) settled: Vec<i64>,
    /// The largest number of a first attempt that a reading has brought.
    pub(super) read_through: i64,
    /// Whether the file has first attempts that are not in memory.
    pub(super) has_more: bool,
    /// When the file has a retry that is due.
    pub(super) next_retry: Option<Timestamp>,
    pub(super) in_flight: usize,
    pub(super) retries_in_flight: usize,
    pub(super) turn: u32,
    /// Whether the next first attempt has been put behind another on purpose.
    pub(super) is_put_off: bool,
    /// Not before then, for the rate.
    pub(super) next_start: Option<Instant>,
    /// When a failing target is tried again.
    pub(super) next_probe: Option<Timestamp>,
    /// How many of a burst are still to be sent, and since when the next is gathered.
    pub(super) bursting: usize,
    pub(super) gathering: Option<Instant>,
}

impl State {
    pub(super) fn new(subscription: Subscription, health: Health, has_more: bool) -> Self {
        State {
            next_probe: (health.standing == Standing::Failing).then_some(health.since),
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
            turn: 0,
            is_put_off: false,
            next_start: None,
            bursting: 0,
            gathering: None,
        }
    }

    /// What is done if nothing is sent now, as the subscription stands; what is in memory is left to the file then.
    pub(super) fn rests(&mut self, now: Timestamp, load: &Load) -> Option<Next> {
        let is_on = self.subscription.config.enabled;
        let rest = match (self.health.standing, self.next_probe) {
            (Standing::Removed, _) => Next::End,
            (Standing::Paused | Standing::Ended, _) => Next::Wait(None),
            (Standing::Failing, Some(at)) if at > now => Next::Wait(Some(at)),
            (Standing::Failing, at) if at.is_none() || self.in_flight > 0 => Next::Wait(None),
            (Standing::Active | Standing::Failing, _) if is_on => return None,
            (Standing::Active | Standing::Failing, _) => Next::Wait(None),
        };
        self.put_back(load);
        Some(rest)
    }

    /// What is read from the file, if there is something that is due and not in memory.
    pub(super) fn missing(&mut self, now: Timestamp, retries: bool) -> Option<Next> {
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
        Some(Next::Load { is_retry, held: self.held.keys().copied().collect() })
    }

    /// A reading of retries has found it due while it is held.
    pub(super) fn pass(&mut self, id: i64) {
        if let Some(is_passed) = self.held.get_mut(&id) {
            *is_passed = true;
        }
    }

    /// Leaves in the file what need not be in memory, since it is not sent now.
    fn put_back(&mut self, load: &Load) {
        if self.first.is_empty() && self.retries.is_empty() {
            return;
        }
        self.has_more = true;
        self.next_retry = Some(Timestamp::MIN_UTC);
        for delivery in self.first.drain(..).chain(self.retries.drain(..)) {
            self.held.remove(&delivery.id);
            load.take(delivery.event.is.size());
        }
    }

    /// What was written down during a reading is let go.
    pub(super) fn has_read(&mut self) {
        self.is_reading = false;
        for id in std::mem::take(&mut self.settled) {
            self.let_go(id);
        }
    }

    /// The file says from now on what becomes of it.
    pub(super) fn let_go(&mut self, id: i64) {
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

    /// Until when a burst is still gathered, if it is.
    pub(super) fn gathers(&mut self) -> Option<Instant> {
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

    pub(super) fn take(&mut self, is_retry: bool) -> Option<Delivery> {
        let delivery = match is_retry {
            true => self.retries.pop_front()?,
            false => {
                self.bursting = self.bursting.saturating_sub(1);
                self.next_first()?
            }
        };
        self.turn = if is_retry { 0 } else { (self.turn + 1).min(TURNS - 1) };
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
    fn next_first(&mut self) -> Option<Delivery> {
        let share = self.subscription.config.faults.reorder;
        self.is_put_off = !self.is_put_off && self.first.len() > 1 && fastrand::f64() < share;
        if self.is_put_off {
            self.first.swap(0, 1);
        }
        self.first.pop_front()
    }
}
