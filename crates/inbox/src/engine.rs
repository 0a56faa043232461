//! The contract of a storage engine, split by reader. An engine implements every part; a fake only what it needs.
//!
//! The engine owns the clock: callers pass durations, and two processes with different clocks agree on what is due.

use std::time::Duration;

use async_trait::async_trait;
use contract::event::DeliveryId;
use contract::time::Timestamp;
use source::Verified;

use super::{
    Act, ActProgress, Backlog, Blocked, Claim, Detail, Entry, Filter, HookEntry, HookFilter,
    HookRecord, KeyUse, Lease, NewAct, NewPause, Page, Pause, Receipt, Rejection, Result, Route,
    State, StoreSize, Summary, Tally, Verdict,
};

/// Every part of the contract.
pub trait Inbox:
    Deliveries + Browse + HookCalls + KeyUses + Rejections + Acts + Pauses + Tallies + Upkeep
{
}

impl<E> Inbox for E where
    E: Deliveries + Browse + HookCalls + KeyUses + Rejections + Acts + Pauses + Tallies + Upkeep
{
}

/// Accept, claim and finish: the way of a delivery.
#[async_trait]
pub trait Deliveries: Send + Sync + 'static {
    /// Stores a delivery, unless its (source, client id, message id) is known. Once this returns, it is durable.
    async fn accept(&self, delivery: Verified, route: Route) -> Result<Receipt>;

    /// Claims up to `max` due deliveries under leases of length `lease`; if none is due, waits up to `patience` for one.
    ///
    /// A delivery can become due by an accept, a verdict, another process or the clock. One whose lease has expired is due
    /// again. Of the deliveries with one ordering key only the oldest unfinished one is ever due.
    ///
    /// Dropping the call releases the deliveries that it had claimed.
    async fn claim(&self, max: usize, lease: Duration, patience: Duration) -> Result<Vec<Claim>>;

    /// Waits until what was claimed for callers that have gone is released, so that the process may end.
    async fn settle(&self) {}

    /// Ends an attempt. Returns false if the lease was lost meanwhile: then another worker's verdict counts.
    async fn finish(&self, lease: Lease, verdict: Verdict) -> Result<bool>;

    /// Checks that the engine can store a delivery now.
    async fn check(&self) -> Result<()>;

    /// True if the next start will find what was committed, so that a cache may answer for it.
    fn is_in_place(&self) -> bool {
        true
    }
}

/// Browse and replay.
#[async_trait]
pub trait Browse: Send + Sync + 'static {
    /// Lists the matching deliveries in the filter's order, newest first by default.
    async fn list(&self, filter: Filter) -> Result<Vec<Entry>>;

    /// Lists the matching deliveries as [`list`](Self::list), but ends after about `patience` even if it has not found all.
    async fn search(&self, filter: Filter, patience: Duration) -> Result<Page>;

    /// Counts the matching deliveries by source and event, looking for about `patience`. The filter's limit does not count.
    async fn summarize(&self, filter: Filter, patience: Duration) -> Result<Summary>;

    /// Returns one delivery with its headers, body and attempts.
    async fn show(&self, id: DeliveryId) -> Result<Option<Detail>>;

    /// Returns the matching deliveries with their headers, bodies and attempts, in the filter's
    /// order.
    async fn details(&self, filter: Filter) -> Result<Vec<Detail>> {
        let mut details = Vec::new();
        for entry in self.list(filter).await? {
            details.extend(self.show(entry.id).await?);
        }
        Ok(details)
    }

    /// Returns the ids of the matching deliveries that [can be replayed](State::can_be_replayed), oldest first.
    async fn replayable(&self, filter: Filter) -> Result<Vec<DeliveryId>>;

    /// Makes the [replayable](Self::replayable) deliveries due again as a new run; returns their number. This is one
    /// transaction: replay large sets in batches, by id.
    async fn replay(&self, filter: Filter) -> Result<u64>;

    /// As [`replay`](Self::replay), but in the run that has ended: what one-effect handlers have applied in it, they do not
    /// apply again.
    async fn resume(&self, filter: Filter) -> Result<u64>;

    /// Ends the matching deliveries that are ready, dead or unrouted without handling them, as [`State::Done`]; returns their
    /// number. Their attempt log says `discarded` with the reason, and what waits behind them has its turn. This is one
    /// transaction: discard large sets in batches, by id.
    async fn discard(&self, filter: Filter, reason: String) -> Result<u64>;

    /// Returns up to `limit` ordering keys whose oldest unfinished delivery has others waiting behind it, those with most first.
    /// Looks at no more than some 100,000 unfinished deliveries.
    async fn blocked(&self, limit: usize) -> Result<Vec<Blocked>>;

    /// Counts the deliveries in each state except [`State::Done`], which are too many to count, and [`State::Canary`].
    async fn count(&self) -> Result<Vec<(State, u64)>>;
}

/// The hook log.
#[async_trait]
pub trait HookCalls: Send + Sync + 'static {
    /// Stores records of hook calls. A power cut may lose them, a crash of the process may not.
    async fn log_hooks(&self, calls: Vec<HookRecord>) -> Result<()>;

    /// Lists the matching hook calls by time, newest first, without their bodies.
    async fn list_hooks(&self, filter: HookFilter) -> Result<Vec<HookEntry>>;

    /// Returns one hook call, with its bodies if they were kept.
    async fn show_hook(&self, id: i64) -> Result<Option<HookEntry>>;
}

/// The last uses of keys.
#[async_trait]
pub trait KeyUses: Send + Sync + 'static {
    /// Stores the times of the keys' last uses; of two times of one key the later counts.
    async fn note_keys(&self, uses: Vec<KeyUse>) -> Result<()>;

    /// Returns the time of each key's last use, by source and fingerprint. Keys that were never used are left out.
    async fn keys(&self) -> Result<Vec<KeyUse>>;
}

/// The rejection log.
#[async_trait]
pub trait Rejections: Send + Sync + 'static {
    /// Adds to the rejection log, which keeps the latest few hundred requests. A power cut may lose them.
    async fn note_rejections(&self, rejections: Vec<Rejection>) -> Result<()>;

    /// Returns the rejection log, oldest first.
    async fn rejections(&self) -> Result<Vec<Rejection>>;
}

/// Acts of operators.
#[async_trait]
pub trait Acts: Send + Sync + 'static {
    /// Stores a new act; returns its number. The latest 10,000 acts are kept.
    async fn begin_act(&self, act: NewAct) -> Result<i64>;

    /// Records the progress of a running act. Returns false if it is not running: an act that was cancelled meanwhile stays
    /// cancelled, with the number that is given.
    async fn update_act(&self, id: i64, progress: ActProgress) -> Result<bool>;

    /// Cancels a running act, which its [progress](Self::update_act) will learn. Returns false if it is not running.
    async fn cancel_act(&self, id: i64) -> Result<bool>;

    /// Lists acts, newest first, with a smaller number than `before`.
    async fn acts(&self, before: Option<i64>, limit: usize) -> Result<Vec<Act>>;

    /// Returns one act.
    async fn act(&self, id: i64) -> Result<Option<Act>>;
}

/// Pause of the dispatch, for all processes of the inbox.
#[async_trait]
pub trait Pauses: Send + Sync + 'static {
    /// Pauses the dispatch: from now on nothing is claimed. Attempts that are running end as usual. Of a pause that is under way
    /// already, the operator and the reason are replaced.
    async fn pause(&self, pause: NewPause) -> Result<()>;

    /// Resumes the dispatch; waiting claims go on within a second.
    async fn unpause(&self) -> Result<()>;

    /// Returns the pause under way, if there is one.
    async fn paused(&self) -> Result<Option<Pause>>;
}

/// Tallies: counts by quarter of an hour.
#[async_trait]
pub trait Tallies: Send + Sync + 'static {
    /// Adds counts to those that are stored. Those older than 8 days are deleted.
    async fn add_tallies(&self, tallies: Vec<Tally>) -> Result<()>;

    /// Returns the tallies of this time or later, by time, source and kind.
    async fn tallies(&self, since: Timestamp) -> Result<Vec<Tally>>;
}

/// Upkeep: retention, and the consequences of a clock that was set.
#[async_trait]
pub trait Upkeep: Send + Sync + 'static {
    /// Deletes up to `limit` deliveries in the ended state `state` that ended longer than `age` ago, fewer if that takes
    /// long; returns their number. The newest delivery may be kept.
    async fn prune(&self, state: State, age: Duration, limit: usize) -> Result<u64>;

    /// Deletes up to `limit` hook calls received longer than `age` ago, fewer if that takes long; returns their number. The
    /// newest may be kept.
    async fn prune_hooks(&self, age: Duration, limit: usize) -> Result<u64>;

    /// Returns the size of the store.
    async fn size(&self) -> Result<StoreSize>;

    /// The engine's time.
    async fn now(&self) -> Result<Timestamp>;

    /// True if this process is the one that does the upkeep of all, for the next `term`: retention, gauges and
    /// [`tidy`](Self::tidy).
    async fn lead(&self, _term: Duration) -> Result<bool> {
        Ok(true)
    }

    /// Frees what pruning and claims have left behind; ids stay known for `window`, deliveries are kept for about `retention`.
    async fn tidy(&self, _window: Duration, _retention: Duration) -> Result<()> {
        Ok(())
    }

    /// Time of acceptance of the oldest delivery that has not ended, or an earlier one.
    async fn oldest_unended(&self) -> Result<Option<Timestamp>>;

    /// Makes deliveries due whose due time was set by a clock that was ahead, if they were due on arrival; returns the backlog.
    async fn catch_up(&self) -> Result<Backlog>;
}
