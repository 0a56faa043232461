//! State machine of a delivery, which every engine writes down: states, verdicts, and the counters of attempts.

use std::time::Duration;

use contract::effect::Applied;
use serde::Serialize;

/// State of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Waiting for its first or next attempt.
    Ready,
    /// Held by a worker, under a lease.
    Running,
    /// Handled.
    Done,
    /// Given up after the last attempt: kept until a person replays or deletes it.
    Dead,
    /// Authentic, but no handler takes its event: kept until one does and a person replays it.
    Unrouted,
    /// A probe of `doctor`: no handler ever sees it, and it is soon deleted.
    Canary,
}

impl State {
    /// All states.
    pub const ALL: [State; 6] =
        [State::Ready, State::Running, State::Done, State::Dead, State::Unrouted, State::Canary];

    /// The name in listings and filters.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Ready => "ready",
            State::Running => "running",
            State::Done => "done",
            State::Dead => "dead",
            State::Unrouted => "unrouted",
            State::Canary => "canary",
        }
    }

    /// True if nothing more happens to the delivery by itself.
    pub const fn has_ended(self) -> bool {
        !matches!(self, State::Ready | State::Running)
    }

    /// True if an operator may end the delivery without handling it.
    pub const fn can_be_discarded(self) -> bool {
        matches!(self, State::Ready | State::Dead | State::Unrouted)
    }

    /// True if a person may replay the delivery.
    pub const fn can_be_replayed(self) -> bool {
        matches!(self, State::Done | State::Dead | State::Unrouted)
    }
}

/// Verdict on an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Handled.
    Done,
    /// Handled by a one-effect handler, whose effect was applied once.
    Applied(Applied),
    /// Failed; to be tried again.
    Retry {
        /// Time until the next attempt, at least.
        after: Duration,
        /// Reason of the failure.
        reason: String,
    },
    /// Failed for good.
    Dead {
        /// Reason of the failure.
        reason: String,
    },
    /// No handler takes it.
    Unrouted,
    /// Not attempted, since the worker is stopping. The attempt does not count.
    Released,
    /// Not attempted, and to be attempted later. The attempt does not count.
    Postponed {
        /// Time until the next attempt, at least.
        after: Duration,
    },
}

/// Effect of a verdict: the columns that an engine writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Transition<'v> {
    /// The new state.
    pub(crate) state: State,
    /// Time until it is due, if it has not ended.
    pub(crate) due_in: Option<Duration>,
    /// The attempt's outcome in the attempt log; none if the attempt does not count.
    pub(crate) outcome: Option<&'static str>,
    /// Reason of the failure.
    pub(crate) error: Option<&'v str>,
    /// The attempt that applied the effect of a one-effect handler.
    pub(crate) applied: Option<Applied>,
}

impl Verdict {
    /// The verdict's effect on a running delivery.
    pub(crate) fn transition(&self) -> Transition<'_> {
        let (state, due_in, outcome, error) = match self {
            Verdict::Done | Verdict::Applied(_) => (State::Done, None, Some("done"), None),
            Verdict::Retry { after, reason } => {
                (State::Ready, Some(*after), Some("retry"), Some(reason.as_str()))
            }
            Verdict::Dead { reason } => (State::Dead, None, Some("dead"), Some(reason.as_str())),
            Verdict::Unrouted => (State::Unrouted, None, Some("unrouted"), None),
            Verdict::Released => (State::Ready, Some(Duration::ZERO), None, None),
            Verdict::Postponed { after } => (State::Ready, Some(*after), None, None),
        };
        let applied = match self {
            Verdict::Applied(applied) => Some(*applied),
            _ => None,
        };
        Transition { state, due_in, outcome, error, applied }
    }
}

/// Outcome, in the attempt log, of an attempt whose lease expired, and its error.
pub(crate) const LOST: (&str, &str) = ("lost", "its worker stopped");

/// Outcome, in the attempt log, of a delivery that an operator has ended without handling it.
pub(crate) const DISCARDED: &str = "discarded";

/// Counters of a delivery's attempts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Number of attempts, over all runs.
    pub(crate) attempts: u32,
    /// Number of attempts of this run, lost ones excluded.
    pub(crate) run_attempts: u32,
    /// Number of replays.
    pub(crate) replays: u32,
    /// Number of consecutive lost attempts at the end.
    pub(crate) lost: u32,
}

impl Progress {
    /// The counters after a claim. If the delivery `was_running`, its lease has expired: that attempt is lost, has not failed,
    /// and is replaced in the run by this one.
    pub(crate) fn claimed(self, was_running: bool) -> Progress {
        Progress {
            attempts: self.attempts + 1,
            run_attempts: self.run_attempts + u32::from(!was_running),
            lost: self.lost + u32::from(was_running),
            ..self
        }
    }
}
