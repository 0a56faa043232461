//! The durable store of deliveries: accept, claim, finish, browse, replay; and the log of calls of hooks.
//!
//! [`Inbox`] is the contract that every engine keeps; one conformance suite runs against all of them.

mod hook_record;
mod pace;
mod recent;
mod sighting;
mod sqlite;

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

pub use hook_record::{HOOK_OUTCOMES, HookBodies, HookCallback, HookEntry, HookFilter, HookRecord};
pub use pace::{STEP, step_aside};
pub use recent::Front;
pub use sighting::{Sighting, Sightings, SightingsWriter};
pub use sqlite::Sqlite;

pub use store::Backup;

/// Why the inbox cannot serve. Every case means: come again later.
#[derive(Debug, Clone, thiserror::Error)]
pub enum InboxError {
    /// The queue in front of the writer is full.
    #[error("the inbox has no room in its queue")]
    Busy,
    /// The disk has no room for new deliveries; nothing of the call was kept.
    #[error("the inbox is unavailable: its disk is full")]
    Full,
    /// The engine failed; nothing of the call was kept.
    #[error("the inbox is unavailable: {0}")]
    Unavailable(String),
}

/// A result of an inbox call.
pub type Result<T> = std::result::Result<T, InboxError>;

/// The contract of an engine. Times are arguments, so that tests own the clock.
#[async_trait]
pub trait Inbox: Send + Sync + 'static {
    /// Keeps a delivery, unless its (source, client id, message id) is known. When this returns, it is durable.
    async fn accept(&self, delivery: Verified, route: Route, now: Timestamp) -> Result<Receipt>;

    /// Takes up to `max` deliveries that are due, for no longer than `lease`; if none is, waits until one is, but no
    /// longer than `patience`.
    ///
    /// It does not matter what makes a delivery due: an accept, a verdict, another process, the clock. One whose lease
    /// has run out is due again. Of deliveries with one ordering key only the oldest unfinished one is ever due.
    ///
    /// A call that is dropped holds nothing: what it had taken is released.
    async fn claim(
        &self,
        max: usize,
        lease: Duration,
        clock: Clock,
        patience: Duration,
    ) -> Result<Vec<Claim>>;

    /// Ends an attempt. `false` if the lease was lost meanwhile: then somebody else's verdict counts.
    async fn finish(&self, lease: Lease, verdict: Verdict, now: Timestamp) -> Result<bool>;

    /// The deliveries that match, newest first.
    async fn list(&self, filter: Filter) -> Result<Vec<Entry>>;

    /// One delivery with its headers, body and attempts.
    async fn show(&self, id: DeliveryId) -> Result<Option<Detail>>;

    /// The numbers of the matching deliveries that [can be replayed](State::can_be_replayed), oldest first.
    async fn replayable(&self, filter: Filter) -> Result<Vec<DeliveryId>>;

    /// Makes the [replayable](Self::replayable) deliveries due again as a new run; returns how many. All of it is one
    /// step: many are replayed by their numbers, some at a time.
    async fn replay(&self, filter: Filter, now: Timestamp) -> Result<u64>;

    /// Deletes up to `limit` ended deliveries in `state` that ended before `before`, fewer if that takes long; returns how
    /// many.
    async fn prune(&self, state: State, before: Timestamp, limit: usize) -> Result<u64>;

    /// Makes due now what was due at once when it came, though by a clock that was ahead of `now`; says what waits still.
    async fn catch_up(&self, now: Timestamp) -> Result<Standing>;

    /// How many deliveries are in each state but [`State::Done`] and [`State::Canary`]: nobody waits for them, and
    /// handled ones are too many to count.
    async fn count(&self) -> Result<Vec<(State, u64)>>;

    /// Keeps when keys were last used; of two times of one key the later counts.
    async fn note_keys(&self, uses: Vec<KeyUse>) -> Result<()>;

    /// When each key was last used, by source and fingerprint. Keys that were never used are not in it.
    async fn keys(&self) -> Result<Vec<KeyUse>>;

    /// Keeps how calls of hooks ended. They may be lost with the power, though not with the process.
    async fn log_hooks(&self, calls: Vec<HookRecord>) -> Result<()>;

    /// The calls that match, by when they came, newest first, without their bodies.
    async fn list_hooks(&self, filter: HookFilter) -> Result<Vec<HookEntry>>;

    /// One call with its bodies, if they were kept.
    async fn show_hook(&self, id: i64) -> Result<Option<HookEntry>>;

    /// Deletes up to `limit` calls that came before `before`, fewer if that takes long, but never the newest; returns how
    /// many.
    async fn prune_hooks(&self, before: Timestamp, limit: usize) -> Result<u64>;

    /// Keeps requests that brought nothing new, the latest few hundred. They may be lost with the power.
    async fn note_sightings(&self, seen: Vec<Sighting>) -> Result<()>;

    /// The requests that brought nothing new, oldest first, as far as they are kept.
    async fn sightings(&self) -> Result<Vec<Sighting>>;

    /// Whether the engine can keep a delivery now.
    async fn check(&self) -> Result<()>;

    /// Whether what was committed is still where the next start will find it, so that a cache may answer for it.
    fn is_in_place(&self) -> bool {
        true
    }
}

/// Which event a delivery is, and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The catalog's name for the event, or the sender's if the catalog does not know it; empty if nobody said.
    pub event_type: String,
    /// The version of the model.
    pub version: u16,
    /// Whether a handler takes it; if not, it is kept as [`State::Unrouted`].
    pub handled: bool,
    /// Deliveries with the same key are handled one at a time, in order of acceptance.
    pub ordering_key: Option<String>,
}

impl Route {
    /// Whether it is a probe that nobody waits for; kept as [`State::Canary`].
    pub fn is_canary(&self) -> bool {
        self.event_type == CANARY
    }
}

/// What became of an accepted delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The number of the delivery that is kept under this message id.
    pub id: DeliveryId,
    /// The message id.
    pub message_id: String,
    /// Whether it was new.
    pub seen: Seen,
}

/// The answer of the insert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Never before: it is kept now.
    New,
    /// Before, with the same bytes.
    Duplicate,
    /// Before, with other bytes: the first are kept, these are not.
    Conflict,
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Waiting for its first or next attempt.
    Ready,
    /// Held by a worker, under a lease.
    Running,
    /// Handled.
    Done,
    /// Given up: kept until a person replays or deletes it.
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

    /// Whether nothing more happens to the delivery by itself.
    pub const fn has_ended(self) -> bool {
        !matches!(self, State::Ready | State::Running)
    }

    /// Whether a person may ask for the delivery to be handled again.
    pub const fn can_be_replayed(self) -> bool {
        matches!(self, State::Done | State::Dead | State::Unrouted)
    }
}

/// What an inbox holds, by the clock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// When the newest delivery or call of a hook came.
    pub newest: Option<Timestamp>,
    /// How many deliveries were made due.
    pub made_due: u64,
    /// How many are not due yet.
    pub waiting: u64,
    /// When the first of them is.
    pub next: Option<Timestamp>,
}

/// A delivery that this process may work on until the lease runs out.
#[derive(Debug)]
pub struct Claim {
    /// The delivery.
    pub delivery: Delivery,
    /// How many attempts this run has had, this one included, but none that was lost; a replay starts a new run.
    pub run_attempt: u32,
    /// How many attempts in a row ended with their worker, the one before this included; 0 if that one did not.
    pub lost: u32,
    /// The right to finish it; given back with the verdict.
    pub lease: Lease,
}

/// The right to finish one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The delivery.
    pub id: DeliveryId,
    /// The attempt that holds it. A later attempt's lease has another number, unless this one is released.
    pub attempt: u32,
    /// When the attempt began, which tells a released attempt from the one that takes its number.
    pub started: Timestamp,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Handled.
    Done,
    /// Failed; to be tried again.
    Retry {
        /// Not before then.
        at: Timestamp,
        /// Why it failed.
        reason: String,
    },
    /// Failed for good.
    Dead {
        /// Why it failed.
        reason: String,
    },
    /// No handler takes it.
    Unrouted,
    /// Not tried after all: the worker is stopping. The attempt does not count.
    Released,
    /// Not tried after all, and not before then. The attempt does not count.
    Postponed {
        /// Not before then.
        until: Timestamp,
    },
}

/// Which deliveries. Every given condition must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// These numbers; empty for any.
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
    /// With a smaller number: the cursor for the next page.
    pub before: Option<DeliveryId>,
    /// With a larger number.
    pub after: Option<DeliveryId>,
    /// At most so many.
    pub limit: Option<usize>,
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The inbox's number.
    pub id: DeliveryId,
    /// The source it came from.
    pub source: String,
    /// The source's environment.
    pub environment: String,
    /// The event's name; empty if nobody said.
    pub event_type: String,
    /// The version of the model it was addressed to.
    pub version: u16,
    /// The sender's id, or the digest of the bytes.
    pub message_id: String,
    /// Whether the id is the digest.
    pub message_id_derived: bool,
    /// The sender's id for the client account.
    pub client_id: Option<String>,
    /// The user who caused it.
    pub user: Option<String>,
    /// Where it stands.
    pub state: State,
    /// How many attempts it has had.
    pub attempts: u32,
    /// How many of the latest ended with their worker, without a verdict.
    pub lost: u32,
    /// How many replays were asked for.
    pub replays: u32,
    /// How many resends came with other bytes.
    pub conflicts: u32,
    /// When it happened, by the sender's word.
    pub event_time: Option<Timestamp>,
    /// When it was accepted.
    pub received_at: Timestamp,
    /// When it is due, or its lease ends.
    pub due_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// The body's size in bytes.
    pub size: u64,
}

/// A delivery with everything that is kept of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail {
    /// Its line in the listing.
    pub entry: Entry,
    /// Its ordering key, if it has one.
    pub ordering_key: Option<String>,
    /// The fingerprint of the key that proved it, if one did.
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
    /// Its number in the life of the delivery.
    pub attempt: u32,
    /// The replay it belongs to; 0 for the first run.
    pub replay: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// `done`, `retry`, `dead`, `unrouted` or `lost`.
    pub outcome: String,
    /// Why it failed.
    pub error: Option<String>,
}

/// When a key last proved a request of its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUse {
    /// The source that accepted it.
    pub source: String,
    /// The key's fingerprint, as the log shows it.
    pub key: String,
    /// When it was last used.
    pub last_used: Timestamp,
}

/// Opens the inbox that a URL names; the scheme chooses the engine.
///
/// # Errors
/// With the URL and the reason, if there is no such engine or the store cannot be opened.
pub fn open(url: &str, options: Options) -> anyhow::Result<Arc<dyn Inbox>> {
    Ok(Arc::new(Sqlite::open(file(url)?, options)?))
}

/// Whether an inbox cannot be opened because its disk is full: it can be when there is room.
pub fn is_full(error: &anyhow::Error) -> bool {
    store::is_full(error)
}

/// Copies the inbox that a URL names to a file that is not there yet, beside a running receiver or without one.
///
/// # Errors
/// If there is no such engine, or the copy cannot be made whole; then nothing is left of it.
pub fn backup(url: &str, to: &Path) -> anyhow::Result<Backup> {
    sqlite::backup(file(url)?, to)
}

/// Whether the inbox that a URL names has been made yet. Nothing is opened.
///
/// # Errors
/// With the URL, if there is no such engine.
pub fn is_there(url: &str) -> anyhow::Result<bool> {
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

/// How an inbox is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many calls may wait for the writer; more are refused with [`InboxError::Busy`].
    pub queue: usize,
    /// Whether this process is the one receiver on the store: it alone claims, and takes over whatever its predecessor held.
    pub exclusive: bool,
}
