//! The rows that the outbox takes and returns.

use std::sync::Arc;

use contract::time::Timestamp;

use crate::publication::PublishedEvent;
use crate::sender::SentRequest;

/// A delivery that has not ended.
#[derive(Debug, Clone)]
pub(crate) struct QueuedDelivery {
    pub(crate) id: i64,
    pub(crate) event: Arc<PublishedEvent>,
    /// The number of all attempts, and of those since it was last sent again by hand.
    pub(crate) attempts: u32,
    pub(crate) run_attempts: u32,
    pub(crate) is_retry: bool,
    pub(crate) entity: Option<String>,
}

/// A subscription that an event is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recipient {
    pub(crate) subscription: i64,
    /// True if deliveries of one entity are sent one after the other.
    pub(crate) is_in_order: bool,
}

/// A new delivery that is due at once, with its subscription.
#[derive(Debug, Clone)]
pub(crate) struct NewDelivery {
    pub(crate) subscription: i64,
    pub(crate) delivery: QueuedDelivery,
}

/// The outcome of an attempt, which decides the state of its delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AttemptOutcome {
    /// Delivered.
    Delivered,
    /// Failed; will be retried at this time.
    Retry(Timestamp),
    /// Failed; given up.
    GivenUp,
    /// Given up, since the target answered 410.
    Gone,
    /// A duplicate made on purpose, which changes nothing.
    Copy,
}

impl AttemptOutcome {
    /// The number in the outbox, which never changes.
    pub(super) fn number(self) -> i64 {
        match self {
            AttemptOutcome::Delivered => 0,
            AttemptOutcome::Retry(_) => 1,
            AttemptOutcome::GivenUp => 2,
            AttemptOutcome::Gone => 3,
            AttemptOutcome::Copy => 4,
        }
    }
}

/// A finished attempt.
pub(crate) struct FinishedAttempt {
    pub(crate) subscription: i64,
    pub(crate) delivery: QueuedDelivery,
    pub(crate) outcome: AttemptOutcome,
    pub(crate) started_at: Timestamp,
    pub(crate) ended_at: Timestamp,
    pub(crate) sent: SentRequest,
    pub(crate) error: Option<String>,
    pub(crate) fault: Option<&'static str>,
    /// The number of attempts at the target that have failed in a row, and the time of the first; none if unchanged.
    pub(crate) failures: Option<(u64, Timestamp)>,
}
