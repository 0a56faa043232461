//! A check of the doctor: its question, its preconditions, and its result.

use futures_util::future::BoxFuture;
use serde::Serialize;

use super::precondition::Precondition;
use super::probe::Prober;

/// One row of the table of checks.
pub struct DoctorCheck {
    /// The id; its group is the part before the dot.
    pub id: &'static str,
    /// The question that it answers.
    pub asks: &'static str,
    /// The preconditions of the question.
    pub(super) needs: &'static [Precondition],
    /// The consequence of a failure; `{sender}` stands for the sender's name, `{on_failure}` for its reaction to a
    /// failed delivery.
    pub why: &'static str,
    /// The remedy, unless the result has a more specific one; `{proof}` stands for the places of the sender's proof.
    pub remedy: &'static str,
    pub(super) run: for<'p> fn(&'p Prober) -> BoxFuture<'p, CheckOutcome>,
}

impl DoctorCheck {
    /// The group of the check.
    pub fn group(&self) -> &'static str {
        self.id.split_once('.').map_or(self.id, |(group, _)| group)
    }
}

/// The outcome of a check; an error is a result, too, that ended the check early.
pub(super) type CheckOutcome = Result<CheckResult, CheckResult>;

/// The verdict of a check; later ones are worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckVerdict {
    /// Skipped: a precondition is not met.
    Skip,
    /// Passed.
    Pass,
    /// A risk, although deliveries work.
    Warn,
    /// Deliveries are lost, forged ones accepted, or secrets shown.
    Fail,
}

impl CheckVerdict {
    /// The name in every output.
    pub const fn as_str(self) -> &'static str {
        match self {
            CheckVerdict::Skip => "skip",
            CheckVerdict::Pass => "pass",
            CheckVerdict::Warn => "warn",
            CheckVerdict::Fail => "fail",
        }
    }
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckResult {
    /// The verdict.
    pub verdict: CheckVerdict,
    /// The observation.
    pub seen: String,
    /// The remedy for this result.
    pub remedy: Option<String>,
}

impl CheckResult {
    pub(super) fn pass(seen: impl Into<String>) -> Self {
        CheckResult { verdict: CheckVerdict::Pass, seen: seen.into(), remedy: None }
    }

    pub(super) fn warn(seen: impl Into<String>) -> Self {
        CheckResult { verdict: CheckVerdict::Warn, ..CheckResult::pass(seen) }
    }

    pub(super) fn fail(seen: impl Into<String>) -> Self {
        CheckResult { verdict: CheckVerdict::Fail, ..CheckResult::pass(seen) }
    }

    pub(super) fn skip(seen: impl Into<String>) -> Self {
        CheckResult { verdict: CheckVerdict::Skip, ..CheckResult::pass(seen) }
    }

    /// The result with a specific remedy.
    pub(super) fn mend(self, remedy: impl Into<String>) -> Self {
        CheckResult { remedy: Some(remedy.into()), ..self }
    }
}

impl From<anyhow::Error> for CheckResult {
    /// A request that could not be built is a fault of the doctor, so the check is skipped.
    fn from(error: anyhow::Error) -> Self {
        CheckResult::skip(format!("could not be sent: {error:#}"))
    }
}
