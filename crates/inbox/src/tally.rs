//! Tallies: counts of what happened, by quarter of an hour. Also known as a time series.

use std::time::Duration;

use contract::time::Timestamp;
use serde::Serialize;

/// Length of the time that one tally counts, in milliseconds.
const QUARTER: i64 = 15 * 60 * 1000;

/// Time for which tallies are kept.
pub(crate) const TALLIES_KEPT: Duration = Duration::from_secs(8 * 24 * 60 * 60);

/// Kind of the events that a tally counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TallyKind {
    /// New deliveries.
    Accepted,
    /// Resends with the same bytes.
    Duplicate,
    /// Resends with other bytes.
    Conflict,
    /// Requests that were refused.
    Refused,
    /// Deliveries that were handled.
    Handled,
    /// Deliveries that were given up.
    Dead,
    /// Deliveries that no handler takes.
    Unrouted,
}

impl TallyKind {
    /// All kinds.
    pub const ALL: [TallyKind; 7] = [
        TallyKind::Accepted,
        TallyKind::Duplicate,
        TallyKind::Conflict,
        TallyKind::Refused,
        TallyKind::Handled,
        TallyKind::Dead,
        TallyKind::Unrouted,
    ];

    /// The name in the inbox.
    pub const fn as_str(self) -> &'static str {
        match self {
            TallyKind::Accepted => "accepted",
            TallyKind::Duplicate => "duplicate",
            TallyKind::Conflict => "conflict",
            TallyKind::Refused => "refused",
            TallyKind::Handled => "handled",
            TallyKind::Dead => "dead",
            TallyKind::Unrouted => "unrouted",
        }
    }

    /// The kind called `name`, as [`as_str`](Self::as_str) writes it.
    pub fn from_name(name: &str) -> Option<Self> {
        TallyKind::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Count of a quarter of an hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// Begin of the quarter of an hour. Any time within it is taken for its begin.
    pub at: Timestamp,
    /// The source; empty for requests that belong to none.
    pub source: String,
    /// Kind of the counted events.
    pub kind: TallyKind,
    /// The number.
    pub count: u64,
}

impl Tally {
    /// Begin of its quarter of an hour, in milliseconds since 1970.
    pub(crate) fn begin(&self) -> i64 {
        let at = self.at.timestamp_millis();
        at - at.rem_euclid(QUARTER)
    }
}

/// Sorts tallies by time, source and kind.
pub(crate) fn sort(tallies: &mut [Tally]) {
    tallies.sort_by(|a, b| (a.at, &a.source, a.kind).cmp(&(b.at, &b.source, b.kind)));
}
