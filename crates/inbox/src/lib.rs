//! Inbox: the durable store of deliveries (accept, claim, finish, browse, replay), and the hook log.
//! Also known as a transactional inbox.
//!
//! [`Inbox`] is the contract of every storage engine; one conformance suite runs against all of them.
//!
//! It depends on the contract, the sources and the store, and calls nobody.

mod dedup_cache;
mod hook_record;
mod rejection_log;
mod sqlite;
mod throttle;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use contract::canary::CANARY;
use contract::event::{Delivery, DeliveryId};
use contract::time::Clock;
use contract::time::Timestamp;
use serde::Serialize;
use source::Verified;

pub use dedup_cache::DedupCache;
pub use hook_record::{HOOK_OUTCOMES, HookBodies, HookCallback, HookEntry, HookFilter, HookRecord};
pub use rejection_log::{Rejection, RejectionLog, RejectionLogWriter};
pub use sqlite::Sqlite;
pub use throttle::{STEP_ROWS, throttled_step};

pub use store::Backup;

/// Reason why the inbox cannot serve. Every variant is temporary: the caller should retry later.
#[derive(Debug, Clone, thiserror::Error)]
pub enum InboxError {
    /// The queue in front of the writer is full.
    #[error("the inbox has no room in its queue")]
    Busy,
    /// The disk has no space for new deliveries; nothing of the call was stored.
    #[error("the inbox is unavailable: its disk is full")]
    Full,
    /// The engine failed; nothing of the call was stored.
    #[error("the inbox is unavailable: {0}")]
    Unavailable(String),
}

/// Result of an inbox call.
pub type Result<T> = std::result::Result<T, InboxError>;

/// Contract of a storage engine. Times are arguments, so that tests control the clock.
#[async_trait]
pub trait Inbox: Send + Sync + 'static {
    /// Stores a delivery, unless its (source, client id, message id) is known. Once this returns, it is durable.
    async fn accept(&self, delivery: Verified, route: Route, now: Timestamp) -> Result<Receipt>;

    /// Claims up to `max` due deliveries under leases of length `lease`; if none is due, waits up to `patience` for one.
    ///
    /// A delivery can become due by an accept, a verdict, another process or the clock. One whose lease has expired is due
    /// again. Of the deliveries with one ordering key only the oldest unfinished one is ever due.
    ///
    /// Dropping the call releases the deliveries that it had claimed.
    async fn claim(
        &self,
        max: usize,
        lease: Duration,
        clock: Clock,
        patience: Duration,
    ) -> Result<Vec<Claim>>;

    /// Ends an attempt. Returns false if the lease was lost meanwhile: then another worker's verdict counts.
    async fn finish(&self, lease: Lease, verdict: Verdict, now: Timestamp) -> Result<bool>;

    /// Lists the matching deliveries, newest first.
    async fn list(&self, filter: Filter) -> Result<Vec<Entry>>;

    /// Returns one delivery with its headers, body and attempts.
    async fn show(&self, id: DeliveryId) -> Result<Option<Detail>>;

    /// Returns the ids of the matching deliveries that [can be replayed](State::can_be_replayed), oldest first.
    async fn replayable(&self, filter: Filter) -> Result<Vec<DeliveryId>>;

    /// Makes the [replayable](Self::replayable) deliveries due again as a new run; returns their number. This is one
    /// transaction: replay large sets in batches, by id.
    async fn replay(&self, filter: Filter, now: Timestamp) -> Result<u64>;

    /// Deletes up to `limit` deliveries in the ended state `state` that ended before `before`, fewer if that takes long;
    /// returns their number.
    async fn prune(&self, state: State, before: Timestamp, limit: usize) -> Result<u64>;

    /// Makes deliveries due whose due time was set by a clock ahead of `now`, if they were due on arrival; returns the backlog.
    async fn catch_up(&self, now: Timestamp) -> Result<Backlog>;

    /// Counts the deliveries in each state except [`State::Done`], which are too many to count, and [`State::Canary`].
    async fn count(&self) -> Result<Vec<(State, u64)>>;

    /// Stores the times of the keys' last uses; of two times of one key the later counts.
    async fn note_keys(&self, uses: Vec<KeyUse>) -> Result<()>;

    /// Returns the time of each key's last use, by source and fingerprint. Keys that were never used are left out.
    async fn keys(&self) -> Result<Vec<KeyUse>>;

    /// Stores records of hook calls. A power cut may lose them, a crash of the process may not.
    async fn log_hooks(&self, calls: Vec<HookRecord>) -> Result<()>;

    /// Lists the matching hook calls by time, newest first, without their bodies.
    async fn list_hooks(&self, filter: HookFilter) -> Result<Vec<HookEntry>>;

    /// Returns one hook call, with its bodies if they were kept.
    async fn show_hook(&self, id: i64) -> Result<Option<HookEntry>>;

    /// Deletes up to `limit` hook calls received before `before`, fewer if that takes long, but never the newest; returns
    /// their number.
    async fn prune_hooks(&self, before: Timestamp, limit: usize) -> Result<u64>;

    /// Adds to the rejection log, which keeps the latest few hundred requests. A power cut may lose them.
    async fn note_rejections(&self, rejections: Vec<Rejection>) -> Result<()>;

    /// Returns the rejection log, oldest first.
    async fn rejections(&self) -> Result<Vec<Rejection>>;

    /// Checks that the engine can store a delivery now.
    async fn check(&self) -> Result<()>;

    /// True if the next start will find what was committed, so that a cache may answer for it.
    fn is_in_place(&self) -> bool {
        true
    }
}

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

    /// True if a person may replay the delivery.
    pub const fn can_be_replayed(self) -> bool {
        matches!(self, State::Done | State::Dead | State::Unrouted)
    }
}

/// Backlog of an inbox at a given time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Time of the newest delivery or hook call.
    pub newest: Option<Timestamp>,
    /// Number of deliveries that were made due.
    pub made_due: u64,
    /// Number of deliveries that are not due yet.
    pub waiting: u64,
    /// Due time of the first of them.
    pub next: Option<Timestamp>,
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
}

/// Lease: the right to finish one attempt, until it expires (visibility timeout).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The delivery.
    pub id: DeliveryId,
    /// The attempt that holds it. A later attempt's lease has another number, unless this one is released.
    pub attempt: u32,
    /// Start of the attempt, which distinguishes a released attempt from the one that reuses its number.
    pub started: Timestamp,
}

/// Verdict on an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Handled.
    Done,
    /// Failed; to be tried again.
    Retry {
        /// Earliest time of the next attempt.
        at: Timestamp,
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
        /// Earliest time of the next attempt.
        until: Timestamp,
    },
}

/// Filter of a delivery query. All given conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// With one of these ids; empty for any.
    pub ids: Vec<DeliveryId>,
    /// In this state.
    pub state: Option<State>,
    /// From this source.
    pub source: Option<String>,
    /// Of this event type, without regard to case.
    pub event_type: Option<String>,
    /// With this message id.
    pub message_id: Option<String>,
    /// Accepted at this time or later.
    pub since: Option<Timestamp>,
    /// Accepted before this time.
    pub until: Option<Timestamp>,
    /// With at least one conflicting resend.
    pub conflicts: bool,
    /// With at least one resend that was recognised by the digest alone.
    pub recognised: bool,
    /// With a smaller number: the cursor for the next page.
    pub before: Option<DeliveryId>,
    /// With a larger number.
    pub after: Option<DeliveryId>,
    /// Largest number of results.
    pub limit: Option<usize>,
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
    /// `done`, `retry`, `dead`, `unrouted` or `lost`.
    pub outcome: String,
    /// Reason of the failure.
    pub error: Option<String>,
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
/// With the URL and the reason, if there is no such engine or the store cannot be opened.
pub fn open(url: &str, options: Options) -> anyhow::Result<Arc<dyn Inbox>> {
    Ok(Arc::new(Sqlite::open(file(url)?, options)?))
}

/// True if an inbox cannot be opened because its disk is full, so that a later try can succeed.
pub fn is_full(error: &anyhow::Error) -> bool {
    store::is_full(error)
}

/// Copies the inbox at a URL to a new file; a receiver may be running.
///
/// # Errors
/// If there is no such engine, or the copy cannot be completed; then it is removed.
pub fn backup(url: &str, to: &Path) -> anyhow::Result<Backup> {
    sqlite::backup(file(url)?, to)
}

/// True if the inbox at a URL exists. It is not opened.
///
/// # Errors
/// With the URL, if there is no such engine.
pub fn exists(url: &str) -> anyhow::Result<bool> {
    Ok(file(url)?.exists())
}

fn file(url: &str) -> anyhow::Result<&Path> {
    match url.split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() => Ok(path.as_ref()),
        _ => anyhow::bail!(
            "inbox = {url:?} is not an inbox URL; write inbox = \"sqlite:data/inbox.db\""
        ),
    }
}

/// Options for opening an inbox.
#[derive(Debug, Clone)]
pub struct Options {
    /// Capacity of the writer's queue, in calls; further calls are refused with [`InboxError::Busy`].
    pub queue: usize,
    /// True if this process is the one receiver on the store: only it claims, and it takes over its predecessor's leases.
    pub exclusive: bool,
}
