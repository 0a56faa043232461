//! How a subscription stands.

use contract::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::persona::Streak;

/// How a subscription stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Serialize, Deserialize, ToSchema)]
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

    pub(super) fn streak(&self, now: Timestamp) -> Streak {
        let lasted = self.failing_since.and_then(|first| (now - first).to_std().ok());
        Streak { failures: self.failures, lasted: lasted.unwrap_or_default() }
    }
}
