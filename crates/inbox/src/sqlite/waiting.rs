//! The claims that wait in the writer until something is due.
//!
//! A delivery that is accepted while a claim waits is written as claimed at once: that saves a transaction, and no row
//! is read back. Whatever else becomes due is found within the transaction that makes it so, or at its time.

use std::time::{Duration, Instant};

use contract::time::Clock;
use contract::time::Timestamp;
use tokio::sync::oneshot;

use super::super::{Claim, InboxError, Result};

/// How long waiting claims go without a look for what another process may have made due.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// All claims that wait, in the order of their coming.
#[derive(Default)]
pub(super) struct Waiting {
    claimers: Vec<Claimer>,
    /// The last look, unless something has become due since that no claim was given.
    looked: Option<Look>,
}

struct Look {
    at: Instant,
    /// When the next delivery was due then.
    next: Option<Timestamp>,
}

/// A claim that waits.
pub(super) struct Claimer {
    pub(super) max: usize,
    pub(super) lease: Duration,
    pub(super) clock: Clock,
    /// When it has waited long enough.
    pub(super) until: Instant,
    /// What the open transaction gives it.
    pub(super) given: Vec<Claim>,
    pub(super) reply: oneshot::Sender<Result<Vec<Claim>>>,
}

impl Waiting {
    pub(super) fn add(&mut self, claimer: Claimer) {
        self.claimers.push(claimer);
    }

    /// How long there is no need to look for what is due; none if no claim waits.
    pub(super) fn next_wakeup(&mut self) -> Option<Duration> {
        self.claimers.retain(|claimer| !claimer.is_gone());
        let Some(looked) = &self.looked else {
            return self.claimers.first().map(|_| Duration::ZERO);
        };
        self.claimers.iter().map(|claimer| claimer.rest(looked)).min()
    }

    pub(super) fn must_look(&mut self) -> bool {
        self.next_wakeup() == Some(Duration::ZERO)
    }

    /// Notes that something becomes due with the open transaction.
    pub(super) fn wake(&mut self) {
        self.looked = None;
    }

    /// Gives a new delivery to a claim that waits for one; returns when its lease begins, and how long it is.
    ///
    /// Without such a claim, or if an older delivery may be due, it is left to the next look.
    pub(super) fn give(
        &mut self,
        due: Timestamp,
        claim: impl FnOnce(Timestamp) -> Claim,
    ) -> Option<(Timestamp, Duration)> {
        self.looked.as_ref()?;
        let Some(claimer) = self.claimers.iter_mut().find(|claimer| claimer.takes(due)) else {
            self.wake();
            return None;
        };
        let now = (claimer.clock)();
        claimer.given.push(claim(now));
        Some((now, claimer.lease))
    }

    /// The claims that wait, to be given what is due.
    pub(super) fn claimers(&mut self) -> impl Iterator<Item = &mut Claimer> {
        self.claimers.iter_mut()
    }

    /// Notes that the claims were given what was due, and when the next delivery is.
    pub(super) fn looked(&mut self, at: Instant, next: Option<Timestamp>) {
        self.looked = Some(Look { at, next });
    }

    /// Answers the claims that were given something or have waited long enough, all if the transaction failed.
    /// Returns what nobody waits for any more.
    pub(super) fn answer(&mut self, failure: Option<&InboxError>) -> Vec<Claim> {
        if failure.is_some() {
            self.looked = None;
        }
        let looked = self.looked.as_ref().map(|look| look.at);
        let over = |claimer: &mut Claimer| {
            let patient = looked.is_none_or(|at| at < claimer.until);
            failure.is_some() || !claimer.given.is_empty() || !patient
        };
        let mut left = Vec::new();
        for Claimer { given, reply, .. } in self.claimers.extract_if(.., over) {
            let result = failure.cloned().map_or(Ok(given), Err);
            if let Err(Ok(claims)) = reply.send(result) {
                left.extend(claims);
            }
        }
        left
    }
}

impl Claimer {
    /// Whether nobody waits any more, and nothing has to be given back.
    fn is_gone(&self) -> bool {
        self.reply.is_closed() && self.given.is_empty()
    }

    /// The time by its clock.
    pub(super) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    fn takes(&self, due: Timestamp) -> bool {
        self.room() > 0 && !self.reply.is_closed() && due <= (self.clock)()
    }

    /// How many deliveries it can still be given.
    pub(super) fn room(&self) -> usize {
        self.max.saturating_sub(self.given.len())
    }

    fn rest(&self, looked: &Look) -> Duration {
        let look = self.until.min(looked.at + LONGEST_REST);
        let rest = look.saturating_duration_since(Instant::now());
        let until = |due: Timestamp| (due - (self.clock)()).to_std().unwrap_or_default();
        looked.next.map_or(rest, |due| rest.min(until(due)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use contract::event::{Delivery, Dialect, Meta};

    use super::super::super::Lease;
    use super::*;

    type Answer = oneshot::Receiver<Result<Vec<Claim>>>;

    /// A claim that waits and was given a delivery in a transaction that is not committed yet.
    fn given() -> (Waiting, Answer) {
        let (reply, answer) = oneshot::channel();
        let lease = Duration::from_secs(60);
        let clock: Clock = Arc::new(|| Timestamp::UNIX_EPOCH);
        let until = Instant::now() + lease;
        let looked = Some(Look { at: Instant::now(), next: None });
        let claimers = vec![Claimer { max: 9, lease, clock, until, given: Vec::new(), reply }];
        let mut waiting = Waiting { claimers, looked };
        assert!(waiting.give(Timestamp::UNIX_EPOCH, claim).is_some());
        (waiting, answer)
    }

    fn claim(started: Timestamp) -> Claim {
        let meta = Meta::sample(Dialect::DirectScale, "JobEvent", 1);
        let lease = Lease { id: meta.id, attempt: 1, started };
        Claim { delivery: Delivery::new(meta, "{}".into()), run_attempt: 1, lost: 0, lease }
    }

    #[test]
    fn what_is_given_is_answered_once_it_is_committed() {
        let (mut waiting, mut answer) = given();
        assert!(answer.try_recv().is_err());
        assert!(waiting.answer(None).is_empty());
        assert_eq!(answer.try_recv().unwrap().unwrap().len(), 1);
        assert_eq!(waiting.next_wakeup(), None);
    }

    #[test]
    fn what_is_given_to_one_who_left_goes_back() {
        let (mut waiting, answer) = given();
        drop(answer);
        assert!(!waiting.must_look());
        assert_eq!(waiting.answer(None).len(), 1);
    }

    #[test]
    fn one_who_left_is_given_nothing_more() {
        let (mut waiting, answer) = given();
        drop(answer);
        assert!(waiting.give(Timestamp::UNIX_EPOCH, claim).is_none());
        assert!(waiting.looked.is_none());
    }

    #[test]
    fn a_transaction_that_fails_gives_nothing() {
        let (mut waiting, mut answer) = given();
        assert!(waiting.answer(Some(&InboxError::Busy)).is_empty());
        assert!(matches!(answer.try_recv().unwrap(), Err(InboxError::Busy)));
    }
}
