//! Subscription health: status, reason and failures.

use contract::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::retry_policy::Streak;

/// The status of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Events are sent.
    Active,
    /// Paused by hand: its events wait.
    Paused,
    /// Paused because its target has failed for too long: its events wait, and one is tried now and then.
    Failing,
    /// Ended by a 410 of its target, or dropped for its failures: nothing more is queued for it.
    Ended,
    /// Removed.
    Removed,
}

impl Status {
    const ALL: [Status; 5] =
        [Status::Active, Status::Paused, Status::Failing, Status::Ended, Status::Removed];

    /// The number in the outbox, which never changes.
    pub(super) fn number(self) -> i64 {
        self as i64
    }

    pub(super) fn from_number(number: i64) -> Self {
        let known = Status::ALL.into_iter().find(|status| status.number() == number);
        known.unwrap_or(Status::Paused)
    }
}

/// The health of a subscription.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SubscriptionHealth {
    /// The status.
    #[serde(rename = "standing")]
    pub status: Status,
    /// The reason, if the status is not active.
    pub why: Option<String>,
    /// The time of the last change of status.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// The number of attempts that have failed in a row.
    pub failures: u64,
    /// The time of the first of these failures.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub failing_since: Option<Timestamp>,
}

impl SubscriptionHealth {
    pub(super) fn new(status: Status, why: Option<String>, since: Timestamp) -> Self {
        SubscriptionHealth { status, why, since, failures: 0, failing_since: None }
    }

    pub(super) fn streak(&self, now: Timestamp) -> Streak {
        let lasted = self.failing_since.and_then(|first| (now - first).to_std().ok());
        Streak { failures: self.failures, lasted: lasted.unwrap_or_default() }
    }
}
