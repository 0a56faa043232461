//! Acts of operators: what they did to the inbox, to how many deliveries, and how far it is. Also known as an audit log.

use contract::time::Timestamp;
use serde::Serialize;

/// Number of acts that an inbox keeps.
pub(crate) const KEPT_ACTS: usize = 10_000;

/// Kind of an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ActKind {
    /// Ended deliveries were made due, as a new run.
    Replay,
    /// Ended deliveries were made due, in the run that had ended.
    Resume,
    /// Deliveries were ended without being handled.
    Discard,
    /// Ended deliveries were deleted.
    Prune,
    /// The dispatch was paused.
    Pause,
    /// The dispatch was resumed.
    Unpause,
    /// Contents that are hidden by default were shown.
    Reveal,
}

impl ActKind {
    /// All kinds.
    pub const ALL: [ActKind; 7] = [
        ActKind::Replay,
        ActKind::Resume,
        ActKind::Discard,
        ActKind::Prune,
        ActKind::Pause,
        ActKind::Unpause,
        ActKind::Reveal,
    ];

    /// The name in the inbox and in listings.
    pub const fn as_str(self) -> &'static str {
        match self {
            ActKind::Replay => "replay",
            ActKind::Resume => "resume",
            ActKind::Discard => "discard",
            ActKind::Prune => "prune",
            ActKind::Pause => "pause",
            ActKind::Unpause => "unpause",
            ActKind::Reveal => "reveal",
        }
    }

    /// The kind called `name`, as [`as_str`](Self::as_str) writes it.
    pub fn from_name(name: &str) -> Option<Self> {
        ActKind::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// State of an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ActState {
    /// Under way.
    Running,
    /// Over.
    Done,
    /// Ended before it was over, because an operator asked for that.
    Cancelled,
    /// Ended before it was over, because of an error.
    Failed,
}

impl ActState {
    /// All states.
    pub const ALL: [ActState; 4] =
        [ActState::Running, ActState::Done, ActState::Cancelled, ActState::Failed];

    /// The name in the inbox and in listings.
    pub const fn as_str(self) -> &'static str {
        match self {
            ActState::Running => "running",
            ActState::Done => "done",
            ActState::Cancelled => "cancelled",
            ActState::Failed => "failed",
        }
    }

    /// The state called `name`, as [`as_str`](Self::as_str) writes it.
    pub fn from_name(name: &str) -> Option<Self> {
        ActState::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// An act that begins, or that is over at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAct {
    /// Its kind.
    pub kind: ActKind,
    /// The operator.
    pub actor: String,
    /// Its subject: a filter as JSON text or as a query, or words.
    pub subject: String,
    /// The operator's reason, if one was given.
    pub reason: Option<String>,
    /// Number of deliveries that it is about; 0 if that is not known.
    pub total: u64,
    /// [`ActState::Running`], or how it ended if it is over at once.
    pub state: ActState,
}

/// Progress of an act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActProgress {
    /// Number of deliveries to which it was done so far.
    pub done: u64,
    /// The state now.
    pub state: ActState,
    /// Reason of the failure, if it failed.
    pub error: Option<String>,
}

/// An act as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Act {
    /// Its number.
    pub id: i64,
    /// Time at which it began.
    pub at: Timestamp,
    /// Time of the last progress.
    pub updated_at: Timestamp,
    /// Its kind.
    pub kind: ActKind,
    /// The operator.
    pub actor: String,
    /// Its subject: a filter as JSON text or as a query, or words.
    pub subject: String,
    /// The operator's reason, if one was given.
    pub reason: Option<String>,
    /// Number of deliveries that it is about; 0 if that is not known.
    pub total: u64,
    /// Number of deliveries to which it was done.
    pub done: u64,
    /// Its state.
    pub state: ActState,
    /// Reason of the failure, if it failed.
    pub error: Option<String>,
}
