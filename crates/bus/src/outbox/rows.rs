//! The rows that the outbox takes and returns.

use std::sync::Arc;

use contract::time::Timestamp;

use crate::publication::Event;
use crate::sender::Sent;

/// A delivery that has not ended.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) id: i64,
    pub(crate) event: Arc<Event>,
    /// How many attempts it has had, and how many of them since it was last sent again by hand.
    pub(crate) attempts: u32,
    pub(crate) run_attempts: u32,
    pub(crate) is_retry: bool,
    pub(crate) entity: Option<String>,
}

/// A subscription that an event is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recipient {
    pub(crate) subscription: i64,
    /// True if deliveries of one entity go one after the other.
    pub(crate) is_in_order: bool,
}

/// A delivery that was made and is due at once, with its subscription.
#[derive(Debug, Clone)]
pub(crate) struct New {
    pub(crate) subscription: i64,
    pub(crate) delivery: Delivery,
}

/// The fate of a delivery after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It has arrived.
    Delivered,
    /// It is tried again then.
    Again(Timestamp),
    /// It is not tried again.
    GivenUp,
    /// It is not tried again, since its target wants no more of any kind.
    Gone,
    /// Unchanged: the request was a copy, made on purpose.
    Copy,
}

impl Outcome {
    /// Its number in the file, for ever.
    pub(super) fn number(self) -> i64 {
        match self {
            Outcome::Delivered => 0,
            Outcome::Again(_) => 1,
            Outcome::GivenUp => 2,
            Outcome::Gone => 3,
            Outcome::Copy => 4,
        }
    }
}

/// An attempt that is over.
pub(crate) struct Attempt {
    pub(crate) subscription: i64,
    pub(crate) delivery: Delivery,
    pub(crate) outcome: Outcome,
    pub(crate) started_at: Timestamp,
    pub(crate) ended_at: Timestamp,
    pub(crate) sent: Sent,
    pub(crate) error: Option<String>,
    pub(crate) fault: Option<&'static str>,
    /// How many attempts at the target have failed in a row, and since when; none if that has not changed.
    pub(crate) failures: Option<(u64, Timestamp)>,
}
