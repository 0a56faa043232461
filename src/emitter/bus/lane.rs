//! One target's queue: what is sent next, and when. A target that is slow or dead delays nobody but itself.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use utoipa::ToSchema;

use super::persona::{End, Streak};
use super::publication::Event;
use super::record::Outcome;
use super::roster::Load;
use super::subscription::Subscription;
use crate::event::{Environment, Timestamp};

/// How many deliveries wait in memory; the others wait in the file.
const WAITING: usize = 512;

/// While first attempts wait, every so many turns one is a retry's.
const TURNS: u32 = 4;

/// How long a burst is waited for.
const GATHERING: Duration = Duration::from_secs(5);

/// One delivery, to be attempted.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) id: i64,
    pub(super) event: Arc<Event>,
    /// How many attempts it has had, and how many of them since it was last sent again by hand.
    pub(super) attempts: u32,
    pub(super) run_attempts: u32,
    pub(super) is_retry: bool,
    pub(super) entity: Option<String>,
}

/// How a subscription stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It is sent to.
    Active,
    /// Somebody has paused it: its events wait.
    Paused,
    /// It was paused because its target has failed for too long: its events wait, and one is tried now and then.
    Failing,
    /// Its target wants no more, or was dropped: nothing more is queued for it.
    Ended,
    /// It was removed.
    Removed,
}

impl Standing {
    const ALL: [Standing; 5] =
        [Standing::Active, Standing::Paused, Standing::Failing, Standing::Ended, Standing::Removed];

    /// Its number in the file, for ever.
    pub(super) fn number(self) -> i64 {
        self as i64
    }

    pub(super) fn from_number(number: i64) -> Self {
        let known = Standing::ALL.into_iter().find(|standing| standing.number() == number);
        known.unwrap_or(Standing::Paused)
    }
}

/// How a subscription stands, and why.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Health {
    /// How it stands.
    pub standing: Standing,
    /// Why, if it is not active.
    pub why: Option<String>,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// How many attempts have failed since anything last arrived.
    pub failures: u64,
    /// Since when they do.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub failing_since: Option<Timestamp>,
}

impl Health {
    pub(super) fn new(standing: Standing, why: Option<String>, since: Timestamp) -> Self {
        Health { standing, why, since, failures: 0, failing_since: None }
    }

    fn streak(&self, now: Timestamp) -> Streak {
        let lasted = self.failing_since.and_then(|first| (now - first).to_std().ok());
        Streak { failures: self.failures, lasted: lasted.unwrap_or_default() }
    }
}

/// One target's queue.
pub(super) struct Lane {
    pub(super) id: i64,
    /// Whether it stands in the settings, so that it is changed there.
    pub(super) is_declared: bool,
    queue: Mutex<Queue>,
    wake: Notify,
}

struct Queue {
    subscription: Arc<Subscription>,
    health: Health,
    first: VecDeque<Job>,
    retries: VecDeque<Job>,
    /// What is in memory, on its way, or not written down yet: the file still has it as due. It is marked if a reading of
    /// retries has passed over it, since it may have been sent again by hand meanwhile.
    held: HashMap<i64, bool>,
    /// Whether the file is being read, as it was when the reading began.
    is_reading: bool,
    /// What was written down meanwhile: the reading may still bring it.
    settled: Vec<i64>,
    /// Whether the file has first attempts that are not in memory.
    has_more: bool,
    /// When the file has a retry that is due.
    next_retry: Option<Timestamp>,
    in_flight: usize,
    retries_in_flight: usize,
    turn: u32,
    /// Whether the next first attempt has been put behind another on purpose.
    is_put_off: bool,
    /// Not before then, for the rate.
    next_start: Option<Instant>,
    /// When a failing target is tried again.
    next_probe: Option<Timestamp>,
    /// How many of a burst are still to be sent, and since when the next is gathered.
    bursting: usize,
    gathering: Option<Instant>,
}

/// What a lane does next.
pub(super) enum Next {
    /// This attempt.
    Go(Job, Option<OwnedSemaphorePermit>),
    /// Reading what is due, first attempts or retries.
    Load { is_retry: bool, most: usize },
    /// Nothing, until it is woken or a time.
    Wait(Option<Timestamp>),
    /// Nothing, until it is woken or this moment.
    Pace(Instant),
    /// Nothing any more.
    End,
}

impl Lane {
    pub(super) fn new(
        id: i64,
        subscription: Subscription,
        health: Health,
        is_declared: bool,
        has_more: bool,
    ) -> Arc<Self> {
        let next_probe = (health.standing == Standing::Failing).then_some(health.since);
        let queue = Queue {
            subscription: Arc::new(subscription),
            health,
            first: VecDeque::new(),
            retries: VecDeque::new(),
            held: HashMap::new(),
            is_reading: false,
            settled: Vec::new(),
            has_more,
            next_retry: has_more.then_some(Timestamp::MIN_UTC),
            in_flight: 0,
            retries_in_flight: 0,
            turn: 0,
            is_put_off: false,
            next_start: None,
            next_probe,
            bursting: 0,
            gathering: None,
        };
        Arc::new(Lane { id, is_declared, queue: Mutex::new(queue), wake: Notify::new() })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn subscription(&self) -> Arc<Subscription> {
        Arc::clone(&self.queue().subscription)
    }

    pub(super) fn health(&self) -> Health {
        self.queue().health.clone()
    }

    pub(super) fn is_in_order(&self) -> bool {
        self.queue().subscription.config.in_order
    }

    /// Whether the event is for it; the name is in lower case.
    pub(super) fn takes(&self, event_type: &str, environment: Option<Environment>) -> bool {
        let queue = self.queue();
        queue.health.standing < Standing::Ended && queue.subscription.takes(event_type, environment)
    }

    /// Takes a first attempt that has been written down; leaves it in the file if memory is full. A reading may have
    /// brought it already.
    pub(super) fn push(&self, job: Job, load: &Load) {
        let mut queue = self.queue();
        if queue.health.standing == Standing::Removed || queue.held.contains_key(&job.id) {
            return;
        }
        if queue.first.len() < WAITING && load.has_room() && !queue.has_more {
            load.add(job.event.is.size());
            queue.held.insert(job.id, false);
            queue.first.push_back(job);
        } else {
            queue.has_more = true;
        }
        drop(queue);
        self.wake.notify_one();
    }

    /// There is something in the file that is due.
    pub(super) fn poke(&self) {
        let mut queue = self.queue();
        queue.has_more = true;
        queue.next_retry = Some(Timestamp::MIN_UTC);
        drop(queue);
        self.wake.notify_one();
    }

    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Goes on with another definition.
    pub(super) fn change(&self, subscription: Subscription) {
        self.queue().subscription = Arc::new(subscription);
        self.wake.notify_one();
    }

    /// Stands otherwise from now on; a failing target is tried at the time of its `probe`.
    pub(super) fn stand(&self, health: Health, probe: Option<Timestamp>) {
        let mut queue = self.queue();
        queue.next_probe = probe;
        queue.health = health;
        drop(queue);
        self.wake.notify_one();
    }

    /// Tries a failing target now.
    pub(super) fn probe(&self) {
        let mut queue = self.queue();
        queue.next_probe = queue.next_probe.map(|_| Timestamp::MIN_UTC);
        queue.next_retry = Some(Timestamp::MIN_UTC);
        drop(queue);
        self.wake.notify_one();
    }

    /// As [`next`](Self::next), for an attempt that is over: it goes on with what is in memory, or wakes the lane.
    pub(super) fn another(
        &self,
        now: Timestamp,
        shared: &Arc<Semaphore>,
        load: &Load,
    ) -> Option<(Job, Option<OwnedSemaphorePermit>)> {
        let is_simple = {
            let queue = self.queue();
            let waits = !queue.first.is_empty() || !queue.retries.is_empty();
            queue.health.standing == Standing::Active && waits
        };
        match is_simple.then(|| self.next(now, shared, load)) {
            Some(Next::Go(job, permit)) => return Some((job, permit)),
            Some(Next::Load { is_retry, .. }) => self.load_again(is_retry),
            _ => {}
        }
        self.wake.notify_one();
        None
    }

    /// What was to be read is still to be read.
    pub(super) fn load_again(&self, is_retry: bool) {
        let mut queue = self.queue();
        queue.has_read();
        match is_retry {
            true => queue.next_retry = Some(Timestamp::MIN_UTC),
            false => queue.has_more = true,
        }
    }

    /// What to do now. A target may always have one request on its way; for each more one of the `shared` permits is taken.
    pub(super) fn next(&self, now: Timestamp, shared: &Arc<Semaphore>, load: &Load) -> Next {
        let mut queue = self.queue();
        match queue.health.standing {
            Standing::Removed => {
                queue.forget(load);
                return Next::End;
            }
            Standing::Paused | Standing::Ended => return Next::Wait(None),
            Standing::Failing => match queue.next_probe {
                Some(at) if at <= now && queue.in_flight == 0 => {}
                at => return Next::Wait(at.filter(|at| *at > now)),
            },
            Standing::Active => {}
        }
        let most = queue.subscription.config.concurrency;
        if !queue.subscription.config.enabled || queue.in_flight >= most {
            return Next::Wait(None);
        }
        if let Some(at) = queue.next_start.filter(|at| *at > Instant::now()) {
            return Next::Pace(at);
        }
        // Retries that hang must leave room for first attempts.
        let retries = queue.retries_in_flight < most.div_ceil(2);
        if let Some(load) = queue.missing(now, retries) {
            return load;
        }
        let first = !queue.first.is_empty();
        let is_retry = retries && !queue.retries.is_empty() && (!first || queue.turn == TURNS - 1);
        if !is_retry && !first {
            return Next::Wait(queue.next_retry.filter(|_| retries));
        }
        if !is_retry && let Some(until) = queue.gathers() {
            return Next::Pace(until);
        }
        let permit = match queue.in_flight {
            0 => None,
            _ => match Arc::clone(shared).try_acquire_owned() {
                Ok(permit) => Some(permit),
                Err(_) => return Next::Wait(None),
            },
        };
        match queue.take(is_retry) {
            Some(job) => {
                load.take(job.event.is.size());
                Next::Go(job, permit)
            }
            None => Next::Wait(None),
        }
    }

    /// Takes in what was read: the next retry that is not due yet, and `asked` rows at most.
    pub(super) fn loaded(
        &self,
        jobs: Vec<Job>,
        is_retry: bool,
        asked: usize,
        next: Option<Timestamp>,
        load: &Load,
    ) {
        let mut queue = self.queue();
        let is_full = jobs.len() >= asked;
        for job in jobs {
            if let Some(is_passed) = queue.held.get_mut(&job.id) {
                *is_passed |= is_retry;
                continue;
            }
            queue.held.insert(job.id, false);
            load.add(job.event.is.size());
            if is_retry { queue.retries.push_back(job) } else { queue.first.push_back(job) }
        }
        queue.has_read();
        match is_retry {
            true if is_full => queue.next_retry = Some(Timestamp::MIN_UTC),
            true => queue.retry_at(next),
            false => queue.has_more |= is_full,
        }
    }

    /// Counts an attempt, and says how long the target has been failing and whether it is to be left alone.
    pub(super) fn judge(&self, outcome: &Outcome, now: Timestamp) -> (u64, Timestamp, Option<End>) {
        let mut queue = self.queue();
        if matches!(outcome, Outcome::Delivered) {
            queue.health.failures = 0;
            queue.health.failing_since = None;
            return (0, now, None);
        }
        queue.health.failures += 1;
        let since = *queue.health.failing_since.get_or_insert(now);
        let streak = queue.health.streak(now);
        let gave_up = matches!(outcome, Outcome::GivenUp);
        let end = queue.subscription.persona.quits(streak, gave_up);
        (queue.health.failures, since, end.filter(|_| queue.health.standing == Standing::Active))
    }

    /// An attempt is over, and handed on to be written down. A failing target has rest until `probe`.
    pub(super) fn finished(&self, is_retry: bool, probe: Timestamp) {
        let mut queue = self.queue();
        queue.in_flight -= 1;
        queue.retries_in_flight -= usize::from(is_retry);
        if queue.health.standing == Standing::Failing {
            queue.next_probe = Some(probe);
        }
    }

    /// What came of a delivery is written down.
    pub(super) fn recorded(&self, id: i64, outcome: &Outcome) {
        let mut queue = self.queue();
        match outcome {
            Outcome::Copy => return,
            Outcome::Again(at) => queue.retry_at(Some(*at)),
            Outcome::Delivered | Outcome::GivenUp | Outcome::Gone => {}
        }
        match queue.is_reading {
            true => queue.settled.push(id),
            false => queue.let_go(id),
        }
        let is_due = queue.next_retry == Some(Timestamp::MIN_UTC);
        drop(queue);
        if is_due || matches!(outcome, Outcome::Again(_)) {
            self.wake.notify_one();
        }
    }
}

impl Queue {
    /// What is read from the file, if there is something that is due and not in memory.
    fn missing(&mut self, now: Timestamp, retries: bool) -> Option<Next> {
        if self.is_reading {
            return None;
        }
        let most = WAITING / 2 + self.held.len();
        if self.first.is_empty() && self.has_more {
            self.has_more = false;
            self.is_reading = true;
            return Some(Next::Load { is_retry: false, most });
        }
        let is_due = self.next_retry.is_some_and(|at| at <= now);
        if retries && self.retries.is_empty() && is_due {
            self.next_retry = None;
            self.is_reading = true;
            return Some(Next::Load { is_retry: true, most });
        }
        None
    }

    /// What was written down during a reading is let go.
    fn has_read(&mut self) {
        self.is_reading = false;
        for id in std::mem::take(&mut self.settled) {
            self.let_go(id);
        }
    }

    /// The file says from now on what becomes of it.
    fn let_go(&mut self, id: i64) {
        if self.held.remove(&id) == Some(true) {
            self.next_retry = Some(Timestamp::MIN_UTC);
        }
    }

    fn forget(&mut self, load: &Load) {
        for job in self.first.drain(..).chain(self.retries.drain(..)) {
            load.take(job.event.is.size());
        }
    }

    fn retry_at(&mut self, at: Option<Timestamp>) {
        self.next_retry = match (self.next_retry, at) {
            (Some(known), Some(at)) => Some(known.min(at)),
            (known, at) => known.or(at),
        };
    }

    /// Until when a burst is still gathered, if it is.
    fn gathers(&mut self) -> Option<Instant> {
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

    fn take(&mut self, is_retry: bool) -> Option<Job> {
        let job = match is_retry {
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
        Some(job)
    }

    /// The next first attempt; now and then, on purpose, the one behind it. None is put off twice.
    fn next_first(&mut self) -> Option<Job> {
        let share = self.subscription.config.faults.reorder;
        self.is_put_off = !self.is_put_off && self.first.len() > 1 && fastrand::f64() < share;
        if self.is_put_off {
            self.first.swap(0, 1);
        }
        self.first.pop_front()
    }
}
