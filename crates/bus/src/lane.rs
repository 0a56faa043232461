//! One target's queue: what is sent next, and when. A target that is slow or dead delays nobody but
//! itself, as long as there can be a connection for each.

mod health;
mod queue;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use contract::event::Environment;
use contract::time::Timestamp;
use tokio::sync::Notify;

use super::outbox::Due;
use super::persona::End;
use super::publication::Event;
use super::record::Outcome;
use super::roster::Load;
use super::slots::{Slot, Slots};
use super::subscription::Subscription;

pub use health::{Health, Standing};
use queue::Queue;

/// How many deliveries wait in memory; the others wait in the file.
const WAITING: usize = 512;

/// While first attempts wait, every so many turns one is a retry's.
const TURNS: u32 = 4;

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

/// One target's queue.
pub(super) struct Lane {
    pub(super) id: i64,
    /// Whether it stands in the settings, so that it is changed there.
    pub(super) is_declared: bool,
    queue: Mutex<Queue>,
    wake: Notify,
}

/// What a lane does next.
pub(super) enum Next {
    /// This attempt.
    Go(Job, Slot),
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

impl Lane {
    pub(super) fn new(
        id: i64,
        subscription: Subscription,
        health: Health,
        is_declared: bool,
        has_more: bool,
    ) -> Arc<Self> {
        let queue = Queue::new(subscription, health, has_more);
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
        let is_sent_to = queue.health.standing == Standing::Active;
        if is_sent_to && queue.first.len() < WAITING && load.room() > 0 && !queue.has_more {
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

    /// Stands otherwise from now on, unless it is removed; a failing target is tried at the time of its `probe`.
    pub(super) fn stand(&self, health: Health, probe: Option<Timestamp>) {
        let mut queue = self.queue();
        if queue.health.standing == Standing::Removed {
            return;
        }
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
        slots: &Slots,
        load: &Load,
    ) -> Option<(Job, Slot)> {
        let is_simple = {
            let queue = self.queue();
            let waits = !queue.first.is_empty() || !queue.retries.is_empty();
            queue.health.standing == Standing::Active && waits
        };
        match is_simple.then(|| self.next(now, slots, &mut None, load)) {
            Some(Next::Go(job, slot)) => return Some((job, slot)),
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

    /// What to do now; an attempt takes the slot that was waited for, if there is one.
    pub(super) fn next(
        &self,
        now: Timestamp,
        slots: &Slots,
        waited: &mut Option<Slot>,
        load: &Load,
    ) -> Next {
        let mut queue = self.queue();
        if let Some(rest) = queue.rests(now, load) {
            return rest;
        }
        let most = queue.subscription.config.concurrency;
        if queue.in_flight >= most {
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
        let Some(slot) = waited.take().or_else(|| slots.take(queue.in_flight)) else {
            return if queue.in_flight == 0 { Next::Crowded } else { Next::Wait(None) };
        };
        match queue.take(is_retry) {
            Some(job) => {
                load.take(job.event.is.size());
                Next::Go(job, slot)
            }
            None => Next::Wait(None),
        }
    }

    /// Takes in what was read.
    pub(super) fn loaded(&self, due: Due, is_retry: bool, load: &Load) {
        let mut queue = self.queue();
        for job in due.jobs {
            if let Some(is_passed) = queue.held.get_mut(&job.id) {
                *is_passed |= is_retry;
                continue;
            }
            queue.held.insert(job.id, false);
            load.add(job.event.is.size());
            if is_retry { queue.retries.push_back(job) } else { queue.first.push_back(job) }
        }
        if is_retry {
            due.passed.iter().for_each(|id| queue.pass(*id));
        }
        queue.has_read();
        match is_retry {
            true if due.has_more => queue.next_retry = Some(Timestamp::MIN_UTC),
            true => queue.retry_at(due.next),
            false => queue.has_more |= due.has_more,
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
