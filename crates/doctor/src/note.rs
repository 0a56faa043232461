//! One remark on a delivery that has arrived.

use serde::Serialize;

use super::check::Verdict;

/// A remark, and how bad it is.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Note {
    pub(super) verdict: Verdict,
    pub(super) text: String,
}

impl Note {
    pub(super) fn new(verdict: Verdict, text: impl Into<String>) -> Self {
        Note { verdict, text: text.into() }
    }
}
