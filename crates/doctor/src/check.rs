//! One check: what it asks, what it needs, and what it may find.

use futures_util::future::BoxFuture;
use serde::Serialize;

use super::need::Need;
use super::probe::Probe;

/// One row of the table.
pub struct Check {
    /// Its name; what stands before the dot is its group.
    pub id: &'static str,
    /// The question that it answers.
    pub asks: &'static str,
    /// What must be there for the question to make sense.
    pub(super) needs: &'static [Need],
    /// Why it matters; `{sender}` stands for the sender's name, `{otherwise}` for what it does with a failed delivery.
    pub why: &'static str,
    /// What mends it, unless the finding knows better.
    pub remedy: &'static str,
    pub(super) run: for<'p> fn(&'p Probe) -> BoxFuture<'p, Checked>,
}

impl Check {
    /// The group that it stands in.
    pub fn group(&self) -> &'static str {
        self.id.split_once('.').map_or(self.id, |(group, _)| group)
    }
}

/// What a check has found; the error is a finding, too, that ended the check early.
pub(super) type Checked = Result<Finding, Finding>;

/// How a check ended; later ones are worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It could not be asked.
    Skip,
    /// As it should be.
    Pass,
    /// It works, but.
    Warn,
    /// Deliveries are lost, forged ones let in, or secrets shown.
    Fail,
}

impl Verdict {
    /// The name in every output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Verdict::Skip => "skip",
            Verdict::Pass => "pass",
            Verdict::Warn => "warn",
            Verdict::Fail => "fail",
        }
    }
}

/// What a check has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How it ended.
    pub verdict: Verdict,
    /// What was seen.
    pub seen: String,
    /// What mends just this.
    pub remedy: Option<String>,
}

impl Finding {
    pub(super) fn pass(seen: impl Into<String>) -> Self {
        Finding { verdict: Verdict::Pass, seen: seen.into(), remedy: None }
    }

    pub(super) fn warn(seen: impl Into<String>) -> Self {
        Finding { verdict: Verdict::Warn, ..Finding::pass(seen) }
    }

    pub(super) fn fail(seen: impl Into<String>) -> Self {
        Finding { verdict: Verdict::Fail, ..Finding::pass(seen) }
    }

    pub(super) fn skip(seen: impl Into<String>) -> Self {
        Finding { verdict: Verdict::Skip, ..Finding::pass(seen) }
    }

    /// The same with what mends it.
    pub(super) fn mend(self, remedy: impl Into<String>) -> Self {
        Finding { remedy: Some(remedy.into()), ..self }
    }
}

impl From<anyhow::Error> for Finding {
    /// What could not even be built is the doctor's own fault, and said as such.
    fn from(error: anyhow::Error) -> Self {
        Finding::skip(format!("could not be sent: {error:#}"))
    }
}
