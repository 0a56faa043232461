//! Inbox: the durable store of deliveries (accept, claim, finish, browse, replay), and the hook log.
//! Also known as a transactional inbox.
//!
//! [`Inbox`] is the contract of every storage engine; one conformance suite runs against all of them.
//!
//! It depends on the contract, the sources and the store, and calls nobody.

mod acts;
mod copy;
mod dedup_cache;
mod engine;
mod filter;
mod follow;
mod hook_record;
mod identity;
mod pause;
#[cfg(feature = "postgres")]
mod postgres;
mod rejection_log;
mod search;
mod sqlite;
mod state;
mod stored;
mod tally;
mod throttle;
mod url;

use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "postgres")]
use anyhow::Context as _;
use contract::canary::CANARY;
use contract::effect::Applied;
use contract::event::{Delivery, DeliveryId};
use contract::time::{Clock, Timestamp};
use serde::Serialize;
use tokio::time::Instant;

pub use acts::{Act, ActKind, ActProgress, ActState, NewAct};
pub use copy::{Census, Copied, copy};
pub use dedup_cache::DedupCache;
pub use engine::{
    Acts, Browse, Deliveries, HookCalls, Inbox, KeyUses, Pauses, Rejections, Tallies, Upkeep,
};
pub use filter::{BodyTest, Filter, Order};
pub use follow::Follower;
pub use hook_record::{HOOK_OUTCOMES, HookBodies, HookCallback, HookEntry, HookFilter, HookRecord};
pub use pause::{NewPause, Pause};
#[cfg(feature = "postgres")]
pub use postgres::{Migration, Postgres};
pub use rejection_log::{Rejection, RejectionLog, RejectionLogWriter};
pub use search::{Blocked, Group, Page, Summary};
pub use sqlite::Sqlite;
pub use state::{State, Verdict};
pub use tally::{Tally, TallyKind};
pub use throttle::{STEP_ROWS, throttled_step};

pub use store::Backup;
pub use url::{InboxUrl, InboxUrlError};

/// Reason why the inbox cannot serve. Every variant is temporary: the caller should retry later.
#[derive(Debug, Clone, thiserror::Error)]
pub enum InboxError {
    /// The queue in front of the writer is full.
    #[error("the inbox has no room in its queue")]
    Busy,
    /// The disk has no space for new deliveries; nothing of the call was stored.
    #[error("the inbox is unavailable: its disk is full")]
    Full,
    /// The engine failed. Nothing of the call was stored, unless a connection was lost during the commit: then it may have been.
    #[error("the inbox is unavailable: {0}")]
    Unavailable(String),
}

/// Result of an inbox call.
pub type Result<T> = std::result::Result<T, InboxError>;

/// Routing of a delivery: its event type, model version and ordering key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The catalog's name for the event, or the sender's if the catalog does not know it; empty if the sender gave none.
    pub event_type: String,
    /// The version of the model.
    pub version: u16,
    /// True if a handler takes it; otherwise it is stored as [`State::Unrouted`].
    pub handled: bool,
    /// Deliveries with the same key are handled one at a time, in order of acceptance.
    pub ordering_key: Option<String>,
}

impl Route {
    /// True if the delivery is a canary, which is stored as [`State::Canary`].
    pub fn is_canary(&self) -> bool {
        self.event_type == CANARY
    }
}

/// Result of accepting a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Id of the delivery that is stored under this message id.
    pub id: DeliveryId,
    /// The message id.
    pub message_id: String,
    /// New, duplicate or conflict.
    pub outcome: AcceptOutcome,
}

/// Outcome of the dedup check and insert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptOutcome {
    /// The message id is new: the delivery is stored.
    New,
    /// The message id is known, with the same bytes.
    Duplicate,
    /// The message id is known, with other bytes: the first ones are kept, these are not.
    Conflict,
}

/// Backlog of an inbox at a given time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backlog {
    /// The engine's time.
    pub now: Timestamp,
    /// Time of the newest delivery or hook call.
    pub newest: Option<Timestamp>,
    /// Number of deliveries that were made due.
    pub made_due: u64,
    /// Number of deliveries that are not due yet.
    pub waiting: u64,
    /// Due time of the first of them.
    pub next: Option<Timestamp>,
}

/// Size of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreSize {
    /// Bytes on disk of the inbox.
    pub bytes: u64,
    /// Free bytes of its disk, if the engine can tell.
    pub free: Option<u64>,
    /// Number of deliveries, about.
    pub deliveries: u64,
}

/// A delivery that this process may work on until the lease runs out.
#[derive(Debug)]
pub struct Claim {
    /// The delivery.
    pub delivery: Delivery,
    /// Number of attempts in this run, this one included, lost ones excluded; a replay starts a new run.
    pub run_attempt: u32,
    /// Number of consecutive lost attempts, whose worker ended before a verdict, directly before this one.
    pub lost: u32,
    /// The right to finish it; returned with the verdict.
    pub lease: Lease,
    /// Begin of the lease, by this process's clock.
    pub claimed_at: Instant,
}

/// Lease: the right to finish one attempt, until it expires (visibility timeout).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The delivery.
    pub id: DeliveryId,
    /// Number of the attempt that holds it. A released attempt's number is used again.
    pub attempt: u32,
    /// Token that no other lease of the delivery has.
    pub token: i64,
    /// Time at which the attempt began.
    pub(crate) started_at: Timestamp,
    /// Hash of the delivery's entity, if the engine needs it.
    pub(crate) entity: Option<i64>,
}

/// Row of a delivery listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Id of the delivery in the inbox.
    pub id: DeliveryId,
    /// The source it came from.
    pub source: String,
    /// The source's environment.
    pub environment: String,
    /// The event's name; empty if the sender gave none.
    pub event_type: String,
    /// The version of the model it was addressed to.
    pub version: u16,
    /// The sender's id, or the digest of the bytes.
    pub message_id: String,
    /// True if the id is the digest.
    pub message_id_derived: bool,
    /// The sender's id for the client account.
    pub client_id: Option<String>,
    /// The user who caused it.
    pub user: Option<String>,
    /// State of the delivery.
    pub state: State,
    /// Number of attempts.
    pub attempts: u32,
    /// Number of consecutive lost attempts at the end, whose worker ended without a verdict.
    pub lost: u32,
    /// Number of replays.
    pub replays: u32,
    /// Number of resends with other bytes.
    pub conflicts: u32,
    /// Number of resends that were recognised by the digest alone, because the sender gave no id.
    pub recognised: u32,
    /// The format of the body: `json`, `form` or `other`, and `+gzip` if it is compressed.
    pub format: String,
    /// Time of the event, according to the sender.
    pub event_time: Option<Timestamp>,
    /// Time of acceptance.
    pub received_at: Timestamp,
    /// The process that holds the lease, as machine and process id, if the delivery is running.
    pub owner: Option<String>,
    /// Due time, or end of the lease.
    pub due_at: Option<Timestamp>,
    /// Time at which it ended.
    pub ended_at: Option<Timestamp>,
    /// Reason of the last attempt's failure.
    pub last_error: Option<String>,
    /// The body's size in bytes.
    pub size: u64,
}

/// Stored delivery, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail {
    /// Its row in a listing.
    pub entry: Entry,
    /// Its ordering key, if it has one.
    pub ordering_key: Option<String>,
    /// Fingerprint of the key that authenticated it, if any.
    pub key: Option<String>,
    /// The request's headers as a JSON list of pairs, secrets left out.
    pub headers: String,
    /// The body, byte for byte.
    pub body: bytes::Bytes,
    /// Its attempts, oldest first.
    pub attempts: Vec<AttemptEntry>,
}

/// One finished attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptEntry {
    /// Number of the attempt, over all runs of the delivery.
    pub attempt: u32,
    /// The replay it belongs to; 0 for the first run.
    pub replay: u32,
    /// Time at which it began.
    pub started_at: Timestamp,
    /// Time at which it ended.
    pub ended_at: Timestamp,
    /// `done`, `retry`, `dead`, `unrouted`, `lost`, or `discarded` if an operator has ended the delivery instead.
    pub outcome: String,
    /// Reason of the failure.
    pub error: Option<String>,
    /// The attempt that applied the effect of a one-effect handler in this run: this one, or one before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<Applied>,
}

/// Last use of a key to authenticate a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUse {
    /// The source that accepted it.
    pub source: String,
    /// The key's fingerprint, as the log shows it.
    pub key: String,
    /// Time of its last use.
    pub last_used: Timestamp,
}

/// Opens the inbox at a URL, whose scheme selects the engine.
///
/// # Errors
/// If the store cannot be opened, with the reason.
pub async fn open(url: &InboxUrl, options: Options) -> anyhow::Result<Arc<dyn Inbox>> {
    match url {
        InboxUrl::Sqlite(path) => Ok(Arc::new(Sqlite::open(path, options).await?)),
        #[cfg(feature = "postgres")]
        InboxUrl::Postgres(database) => {
            let opened = Postgres::open(&database.url, options).await;
            Ok(Arc::new(opened.with_context(|| cannot_use(url))?))
        }
    }
}

#[cfg(feature = "postgres")]
fn cannot_use(url: &InboxUrl) -> String {
    format!("cannot use the inbox at {url}, which the setting `inbox` or RECEIVER_INBOX names")
}

/// Brings the schema of the inbox at a URL up to the version of this program, unless `dry_run`. An embedded inbox is brought up
/// to date by the start of its receiver: then there is nothing to do, and the result is none.
///
/// # Errors
/// If the database refuses; then nothing has been changed.
#[cfg(feature = "postgres")]
pub async fn migrate(url: &InboxUrl, dry_run: bool) -> anyhow::Result<Option<Migration>> {
    match url {
        InboxUrl::Sqlite(_) => Ok(None),
        InboxUrl::Postgres(database) => {
            let migrated = postgres::migrate(&database.url, dry_run).await;
            migrated.map(Some).with_context(|| cannot_use(url))
        }
    }
}

/// True if an inbox cannot be opened because its disk is full, so that a later try can succeed.
pub fn is_full(error: &anyhow::Error) -> bool {
    store::is_full(error)
}

/// Copies the inbox at a URL to a new file; a receiver may be running.
///
/// # Errors
/// If the copy cannot be completed; then it is removed.
pub fn backup(url: &InboxUrl, to: &Path) -> anyhow::Result<Backup> {
    match url {
        InboxUrl::Sqlite(path) => sqlite::backup(path, to),
        #[cfg(feature = "postgres")]
        InboxUrl::Postgres(_) => {
            anyhow::bail!(
                "an inbox on PostgreSQL is backed up by PostgreSQL's own tools, such as pg_dump"
            )
        }
    }
}

/// True if the inbox at a URL exists. It is not opened.
pub fn exists(url: &InboxUrl) -> bool {
    match url {
        InboxUrl::Sqlite(path) => path.exists(),
        // Opening it says what is missing.
        #[cfg(feature = "postgres")]
        InboxUrl::Postgres(_) => true,
    }
}

/// Options for opening an inbox.
#[derive(Clone)]
pub struct Options {
    /// Capacity of the writer's queue, in calls; further calls are refused with [`InboxError::Busy`].
    pub queue: usize,
    /// Kind of the process.
    pub opener: Opener,
    /// Name of this process, by which its leases are shown.
    pub owner: String,
    /// Clock, for tests; none for the engine's own.
    pub clock: Option<Clock>,
}

/// Kind of a process that opens an inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opener {
    /// Receives and handles deliveries. An embedded inbox has one receiver.
    Receiver,
    /// Browses, replays and prunes, beside a receiver.
    Command,
    /// Copies an inbox that nobody else uses.
    Copy,
}

impl Options {
    /// Options of a receiver.
    pub fn receiver(queue: usize) -> Self {
        Options { queue, ..Options::of(Opener::Receiver) }
    }

    /// Options of a command beside a receiver.
    pub fn command() -> Self {
        Options::of(Opener::Command)
    }

    /// The same with a clock of the caller's.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Options { clock: Some(clock), ..self }
    }

    /// Options of a copy.
    pub(crate) fn copy() -> Self {
        Options { queue: 1024, ..Options::of(Opener::Copy) }
    }

    fn of(opener: Opener) -> Self {
        // In containers every process may be the first.
        let owner = format!(
            "{}:{}:{:04x}",
            rustix::system::uname().nodename().to_string_lossy(),
            std::process::id(),
            fastrand::u16(..)
        );
        Options { queue: 16, opener, owner, clock: None }
    }
}
