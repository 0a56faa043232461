//! Pause of the dispatch, which holds for all processes of an inbox.

use contract::time::Timestamp;
use serde::Serialize;

/// A pause that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPause {
    /// The operator.
    pub by: String,
    /// The operator's reason, if one was given.
    pub reason: Option<String>,
}

/// The pause under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pause {
    /// Time at which it began.
    pub since: Timestamp,
    /// The operator.
    pub by: String,
    /// The operator's reason, if one was given.
    pub reason: Option<String>,
}
