//! Pending claims: claim calls that wait in the writer until a delivery is due.
//!
//! A delivery that is accepted while a claim waits is written as claimed at once, which saves a transaction and reads no
//! row back. Other deliveries are found within the transaction that makes them due, or at their due time.

use std::time::{Duration, Instant};

use contract::time::{Clock, Timestamp};
use tokio::sync::oneshot;

use super::super::{Claim, InboxError, Result};

/// Longest interval between two checks for deliveries that another process made due.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// All pending claims, in order of arrival.
pub(super) struct PendingClaims {
    clock: Clock,
    claims: Vec<PendingClaim>,
    /// The last check for due deliveries, unless one has become due since and was not given to a claim.
    last_check: Option<DueCheck>,
}

struct DueCheck {
    at: Instant,
    /// Due time of the next delivery at the time of the check.
    next: Option<Timestamp>,
}

/// One pending claim.
pub(super) struct PendingClaim {
    pub(super) max: usize,
    pub(super) lease: Duration,
    /// End of its patience.
    pub(super) until: Instant,
    /// Deliveries that the open transaction gives it.
    pub(super) given: Vec<Claim>,
    pub(super) reply: oneshot::Sender<Result<Vec<Claim>>>,
}

impl PendingClaims {
    /// No claims; `clock` tells what is due.
    pub(super) fn new(clock: Clock) -> Self {
        PendingClaims { clock, claims: Vec::new(), last_check: None }
    }

    pub(super) fn add(&mut self, claim: PendingClaim) {
        self.claims.push(claim);
    }

    /// Time until the next check for due deliveries; none if no claim waits.
    pub(super) fn next_wakeup(&mut self) -> Option<Duration> {
        self.claims.retain(|pending| !pending.is_gone());
        let Some(last_check) = &self.last_check else {
            return self.claims.first().map(|_| Duration::ZERO);
        };
        let now = (self.clock)();
        self.claims.iter().map(|claim| claim.until_check(last_check, now)).min()
    }

    pub(super) fn must_check(&mut self) -> bool {
        self.next_wakeup() == Some(Duration::ZERO)
    }

    /// Requests a check, since the open transaction makes a delivery due.
    pub(super) fn wake(&mut self) {
        self.last_check = None;
    }

    /// Gives a new delivery, due now, to a pending claim; returns the length of its lease.
    ///
    /// Without such a claim, or if an older delivery may be due, it is left to the next check.
    pub(super) fn give(&mut self, claim: impl FnOnce() -> Claim) -> Option<Duration> {
        self.last_check.as_ref()?;
        let Some(pending) = self.claims.iter_mut().find(|pending| pending.takes_more()) else {
            self.wake();
            return None;
        };
        pending.given.push(claim());
        Some(pending.lease)
    }

    /// Iterates over the pending claims, to give them due deliveries.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut PendingClaim> {
        self.claims.iter_mut()
    }

    /// Records a check: the claims were given the due deliveries, and `next` is the next due time.
    pub(super) fn checked(&mut self, at: Instant, next: Option<Timestamp>) {
        self.last_check = Some(DueCheck { at, next });
    }

    /// Answers the claims that were given deliveries or have waited long enough, all of them if the transaction failed.
    /// Returns the deliveries whose caller has gone.
    pub(super) fn answer(&mut self, failure: Option<&InboxError>) -> Vec<Claim> {
        if failure.is_some() {
            self.last_check = None;
        }
        let last_check = self.last_check.as_ref().map(|check| check.at);
        let over = |pending: &mut PendingClaim| {
            let patient = last_check.is_none_or(|at| at < pending.until);
            failure.is_some() || !pending.given.is_empty() || !patient
        };
        let mut left = Vec::new();
        for PendingClaim { given, reply, .. } in self.claims.extract_if(.., over) {
            let result = failure.cloned().map_or(Ok(given), Err);
            if let Err(Ok(claims)) = reply.send(result) {
                left.extend(claims);
            }
        }
        left
    }
}

impl PendingClaim {
    /// True if the caller has gone, and nothing has to be given back.
    fn is_gone(&self) -> bool {
        self.reply.is_closed() && self.given.is_empty()
    }

    fn takes_more(&self) -> bool {
        self.capacity_left() > 0 && !self.reply.is_closed()
    }

    /// Number of deliveries that it can still be given.
    pub(super) fn capacity_left(&self) -> usize {
        self.max.saturating_sub(self.given.len())
    }

    fn until_check(&self, last: &DueCheck, now: Timestamp) -> Duration {
        let check = self.until.min(last.at + CHECK_INTERVAL);
        let wait = check.saturating_duration_since(Instant::now());
        let until = |due: Timestamp| (due - now).to_std().unwrap_or_default();
        last.next.map_or(wait, |due| wait.min(until(due)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use contract::event::{Delivery, Dialect, Meta};

    use super::super::super::Lease;
    use super::*;

    type Reply = oneshot::Receiver<Result<Vec<Claim>>>;

    /// A pending claim that was given a delivery in a transaction that is not committed yet.
    fn given() -> (PendingClaims, Reply) {
        let (reply, answer) = oneshot::channel();
        let lease = Duration::from_secs(60);
        let clock: Clock = Arc::new(|| Timestamp::UNIX_EPOCH);
        let until = Instant::now() + lease;
        let last_check = Some(DueCheck { at: Instant::now(), next: None });
        let claims = vec![PendingClaim { max: 9, lease, until, given: Vec::new(), reply }];
        let mut claims = PendingClaims { clock, claims, last_check };
        assert!(claims.give(claim).is_some());
        (claims, answer)
    }

    fn claim() -> Claim {
        let meta = Meta::sample(Dialect::DirectScale, "JobEvent", 1);
        let lease = Lease {
            id: meta.id,
            attempt: 1,
            token: 1,
            started_at: Timestamp::UNIX_EPOCH,
            entity: None,
        };
        Claim {
            delivery: Delivery::new(meta, "{}".into()),
            run_attempt: 1,
            lost: 0,
            lease,
            claimed_at: tokio::time::Instant::now(),
        }
    }

    #[test]
    fn what_is_given_is_answered_once_it_is_committed() {
        let (mut claims, mut answer) = given();
        assert!(answer.try_recv().is_err());
        assert!(claims.answer(None).is_empty());
        assert_eq!(answer.try_recv().unwrap().unwrap().len(), 1);
        assert_eq!(claims.next_wakeup(), None);
    }

    #[test]
    fn what_is_given_to_one_who_left_goes_back() {
        let (mut claims, answer) = given();
        drop(answer);
        assert!(!claims.must_check());
        assert_eq!(claims.answer(None).len(), 1);
    }

    #[test]
    fn one_who_left_is_given_nothing_more() {
        let (mut claims, answer) = given();
        drop(answer);
        assert!(claims.give(claim).is_none());
        assert!(claims.last_check.is_none());
    }

    #[test]
    fn a_transaction_that_fails_gives_nothing() {
        let (mut claims, mut answer) = given();
        assert!(claims.answer(Some(&InboxError::Busy)).is_empty());
        assert!(matches!(answer.try_recv().unwrap(), Err(InboxError::Busy)));
    }
}
