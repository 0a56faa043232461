//! A remark on a delivery that has arrived.

use serde::Serialize;

use super::check::CheckVerdict;

/// A remark with its verdict.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Remark {
    pub(super) verdict: CheckVerdict,
    pub(super) text: String,
}

impl Remark {
    pub(super) fn new(verdict: CheckVerdict, text: impl Into<String>) -> Self {
        Remark { verdict, text: text.into() }
    }
}
