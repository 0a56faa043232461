//! The engine on PostgreSQL: any number of receivers and workers on one database.
//!
//! Deliveries and verdicts that arrive while a batch is being committed share the next one. Each batch is one statement,
//! the call of a function of the schema (`v1/`), so that it works behind a transaction pooler.

mod batch;
mod browse;
mod claim;
mod connect;
mod copy;
mod deliver;
mod hooks;
mod logs;
mod migrate;
mod operate;
mod wake;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::DateTime;
use contract::event::DeliveryId;
use contract::time::{Clock, Timestamp};
use source::Verified;
use tokio_postgres::types::{ToSql, Type};

use super::search::{self, Brief, Searchable, Window};
use super::{
    Act, ActProgress, Acts, Backlog, Blocked, Browse, Claim, Deliveries, Detail, Entry, Filter,
    HookCalls, HookEntry, HookFilter, HookRecord, InboxError, KeyUse, KeyUses, Lease, NewAct,
    NewPause, Opener, Options, Page, Pause, Pauses, Receipt, Rejection, Rejections, Result, Route,
    State, StoreSize, Summary, Tallies, Tally, Upkeep, Verdict,
};
use batch::Batches;
use claim::Claims;
use connect::Database;
use deliver::{Accept, Finish};

pub use migrate::Migration;
pub(super) use migrate::migrate;

/// Largest number of deliveries or verdicts in one statement.
const LARGEST_BATCH: usize = 256;

/// Number of batches of deliveries in flight. Those of one source are committed one by one anyway, and what waits makes the next
/// batch larger.
const ACCEPTING: usize = 1;

/// Number of parts of ids that are begun while a delivery is kept, so that at most one part more than needed is on disk.
const PARTS: u32 = 6;

/// The shortest time for which a part of ids is used.
const SHORTEST_PART: Duration = Duration::from_secs(60 * 60);

/// Number of generations of identities.
const GENERATIONS: u32 = 4;

/// Inbox in a PostgreSQL database.
pub struct Postgres {
    database: Database,
    accepts: Batches<Accept>,
    finishes: Batches<Finish>,
    claims: Arc<Claims>,
}

impl Postgres {
    /// Connects to a database with the schema of this program.
    ///
    /// # Errors
    /// If it cannot be reached, or its schema is another.
    pub async fn open(url: &str, options: Options) -> anyhow::Result<Self> {
        let Options { queue, opener, owner, clock } = options;
        let connections = if opener == Opener::Receiver { 16 } else { 4 };
        let database = Database::connect(url, opener, connections, clock)?;
        migrate::check(&database).await?;
        if opener == Opener::Receiver {
            copy::check_finished(&database).await?;
        }
        let claims = Arc::new(Claims::new(database.clone(), owner));
        let accepts = Batches::new(queue, ACCEPTING, {
            let (database, claims) = (database.clone(), Arc::clone(&claims));
            move |batch| deliver::accept(database.clone(), Arc::clone(&claims), batch)
        });
        let finishes = Batches::new(queue.max(LARGEST_BATCH), 1, {
            let (database, claims) = (database.clone(), Arc::clone(&claims));
            move |batch| deliver::finish(database.clone(), Arc::clone(&claims), batch)
        });
        Ok(Postgres { database, accepts, finishes, claims })
    }

    /// Makes ended deliveries due, as a new run or in the one that ended.
    async fn make_due(&self, filter: &Filter, is_new_run: bool) -> Result<u64> {
        let (ids, runs) = browse::replayable_runs(&self.database, filter).await?;
        let now = self.database.given_time();
        let parameters: [Parameter<'_>; 4] = [
            (&ids, Type::INT8_ARRAY),
            (&runs, Type::INT4_ARRAY),
            (&is_new_run, Type::BOOL),
            (&now, Type::INT8),
        ];
        let query = "SELECT webhook_inbox.replay($1, $2, $3, $4)";
        let replayed = self.database.number(query, &parameters).await?;
        self.claims.wake();
        Ok(replayed)
    }
}

#[async_trait]
impl Deliveries for Postgres {
    async fn accept(&self, delivery: Verified, route: Route) -> Result<Receipt> {
        self.accepts.call(Accept::new(delivery, route)).await
    }

    async fn claim(&self, max: usize, lease: Duration, patience: Duration) -> Result<Vec<Claim>> {
        Claims::claim(&self.claims, max, lease, patience).await
    }

    async fn settle(&self) {
        self.claims.settle().await;
    }

    async fn finish(&self, lease: Lease, verdict: Verdict) -> Result<bool> {
        self.finishes.call(Finish { lease, verdict }).await
    }

    /// Commits a record to the write-ahead log, which fails on a standby and on a full disk.
    async fn check(&self) -> Result<()> {
        self.claims.settle().await;
        let probe = "SELECT has_table_privilege('webhook_inbox.delivery', 'INSERT')
                AND has_table_privilege('webhook_inbox.seen', 'INSERT'),
            pg_logical_emit_message(true, 'webhook-receiver', '')::text";
        let rows = self.database.rows(probe, &[]).await?;
        match rows.first().is_some_and(|row| row.get(0)) {
            true => Ok(()),
            false => Err(InboxError::Unavailable(
                "its user may not add deliveries; the owner of the schema grants that, as docs/postgres.md says".into(),
            )),
        }
    }
}

#[async_trait]
impl Browse for Postgres {
    async fn list(&self, filter: Filter) -> Result<Vec<Entry>> {
        browse::list(&self.database, &filter).await
    }

    async fn show(&self, id: DeliveryId) -> Result<Option<Detail>> {
        browse::show(&self.database, id).await
    }

    async fn details(&self, filter: Filter) -> Result<Vec<Detail>> {
        browse::details(&self.database, &filter).await
    }

    async fn replayable(&self, filter: Filter) -> Result<Vec<DeliveryId>> {
        Ok(browse::replayable_runs(&self.database, &filter).await?.0)
    }

    async fn replay(&self, filter: Filter) -> Result<u64> {
        self.make_due(&filter, true).await
    }

    async fn resume(&self, filter: Filter) -> Result<u64> {
        self.make_due(&filter, false).await
    }

    async fn search(&self, filter: Filter, patience: Duration) -> Result<Page> {
        search::search(self, filter, patience).await
    }

    async fn summarize(&self, filter: Filter, patience: Duration) -> Result<Summary> {
        search::summarize(self, filter, patience).await
    }

    async fn discard(&self, filter: Filter, reason: String) -> Result<u64> {
        let ids = browse::discardable(&self.database, &filter).await?;
        let parameters: [Parameter<'_>; 3] = [
            (&ids, Type::INT8_ARRAY),
            (&text::nul::stored(&reason), Type::TEXT),
            (&self.database.given_time(), Type::INT8),
        ];
        let query = "SELECT webhook_inbox.discard($1, $2, $3)";
        let discarded = self.database.number(query, &parameters).await?;
        self.claims.wake();
        Ok(discarded)
    }

    async fn blocked(&self, limit: usize) -> Result<Vec<Blocked>> {
        browse::blocked(&self.database, limit).await
    }

    async fn count(&self) -> Result<Vec<(State, u64)>> {
        browse::count(&self.database).await
    }
}

#[async_trait]
impl Searchable for Postgres {
    /// Planning takes longer than reading some hundred rows that follow one another, but not those that an index finds.
    fn first_rows(&self, filter: &Filter) -> usize {
        if filter.state.is_some() { search::FIRST / 2 } else { 2 * search::FIRST }
    }

    async fn window(&self, filter: &Filter, rows: usize) -> Result<Window> {
        browse::window(&self.database, filter, rows).await
    }

    async fn entries(&self, filter: Filter) -> Result<Vec<Entry>> {
        self.list(filter).await
    }

    async fn briefs(&self, filter: Filter) -> Result<Vec<Brief>> {
        browse::briefs(&self.database, &filter).await
    }
}

#[async_trait]
impl Acts for Postgres {
    async fn begin_act(&self, act: NewAct) -> Result<i64> {
        operate::begin_act(&self.database, &act).await
    }

    async fn update_act(&self, id: i64, progress: ActProgress) -> Result<bool> {
        operate::update_act(&self.database, id, &progress).await
    }

    async fn cancel_act(&self, id: i64) -> Result<bool> {
        operate::cancel_act(&self.database, id).await
    }

    async fn acts(&self, before: Option<i64>, limit: usize) -> Result<Vec<Act>> {
        operate::acts(&self.database, before, limit).await
    }

    async fn act(&self, id: i64) -> Result<Option<Act>> {
        operate::act(&self.database, id).await
    }
}

#[async_trait]
impl Pauses for Postgres {
    async fn pause(&self, pause: NewPause) -> Result<()> {
        operate::pause(&self.database, &pause).await
    }

    async fn unpause(&self) -> Result<()> {
        operate::unpause(&self.database).await?;
        self.claims.wake();
        Ok(())
    }

    async fn paused(&self) -> Result<Option<Pause>> {
        operate::paused(&self.database).await
    }
}

#[async_trait]
impl Tallies for Postgres {
    async fn add_tallies(&self, tallies: Vec<Tally>) -> Result<()> {
        operate::add_tallies(&self.database, tallies).await
    }

    async fn tallies(&self, since: Timestamp) -> Result<Vec<Tally>> {
        operate::tallies(&self.database, since).await
    }
}

#[async_trait]
impl HookCalls for Postgres {
    async fn log_hooks(&self, calls: Vec<HookRecord>) -> Result<()> {
        hooks::log(&self.database, &calls).await
    }

    async fn list_hooks(&self, filter: HookFilter) -> Result<Vec<HookEntry>> {
        hooks::list(&self.database, &filter).await
    }

    async fn show_hook(&self, id: i64) -> Result<Option<HookEntry>> {
        hooks::show(&self.database, id).await
    }
}

#[async_trait]
impl KeyUses for Postgres {
    async fn note_keys(&self, uses: Vec<KeyUse>) -> Result<()> {
        logs::note_keys(&self.database, &uses).await
    }

    async fn keys(&self) -> Result<Vec<KeyUse>> {
        logs::keys(&self.database).await
    }
}

#[async_trait]
impl Rejections for Postgres {
    async fn note_rejections(&self, rejections: Vec<Rejection>) -> Result<()> {
        logs::note_rejections(&self.database, &rejections).await
    }

    async fn rejections(&self) -> Result<Vec<Rejection>> {
        logs::rejections(&self.database).await
    }
}

#[async_trait]
impl Upkeep for Postgres {
    async fn prune(&self, state: State, age: Duration, limit: usize) -> Result<u64> {
        if !state.has_ended() {
            return Ok(0);
        }
        let parameters: [Parameter<'_>; 4] = [
            (&number(state), Type::INT2),
            (&whole_millis(age), Type::INT8),
            (&i64::try_from(limit).unwrap_or(i64::MAX), Type::INT8),
            (&self.database.given_time(), Type::INT8),
        ];
        let query = "SELECT webhook_inbox.prune($1, $2, $3, $4)";
        self.database.number(query, &parameters).await
    }

    async fn prune_hooks(&self, age: Duration, limit: usize) -> Result<u64> {
        let parameters: [Parameter<'_>; 3] = [
            (&whole_millis(age), Type::INT8),
            (&i64::try_from(limit).unwrap_or(i64::MAX), Type::INT8),
            (&self.database.given_time(), Type::INT8),
        ];
        self.database.number("SELECT webhook_inbox.prune_hooks($1, $2, $3)", &parameters).await
    }

    async fn size(&self) -> Result<StoreSize> {
        operate::size(&self.database).await
    }

    async fn now(&self) -> Result<Timestamp> {
        let now = self.database.given_time();
        let query = "SELECT webhook_inbox.time_or_now($1)";
        let rows = self.database.rows(query, &[(&now, Type::INT8)]).await?;
        Ok(rows.first().map_or_else(Timestamp::default, |row| timestamp(row.get(0))))
    }

    async fn lead(&self, term: Duration) -> Result<bool> {
        let parameters: [Parameter<'_>; 3] = [
            (&self.claims.owner, Type::TEXT),
            (&whole_millis(term), Type::INT8),
            (&self.database.given_time(), Type::INT8),
        ];
        let rows = self.database.rows("SELECT webhook_inbox.lead($1, $2, $3)", &parameters).await?;
        Ok(rows.first().is_some_and(|row| row.get(0)))
    }

    async fn tidy(&self, window: Duration, retention: Duration) -> Result<()> {
        let parameters: [Parameter<'_>; 3] = [
            (&whole_millis((retention / PARTS).max(SHORTEST_PART)), Type::INT8),
            (&whole_millis(window.max(SHORTEST_PART) / (GENERATIONS - 1)), Type::INT8),
            (&self.database.given_time(), Type::INT8),
        ];
        let rows = self.database.rows("SELECT webhook_inbox.tidy($1, $2, $3)", &parameters).await?;
        for done in rows.iter().flat_map(|row| row.get::<_, Vec<String>>(0)) {
            tracing::info!(done, "tidied the inbox");
        }
        if !self.claims.is_time_to_empty() && self.database.given_time().is_none() {
            return Ok(());
        }
        let rows = self.database.rows("SELECT webhook_inbox.empty_parts()", &[]).await?;
        for done in rows.iter().flat_map(|row| row.get::<_, Vec<String>>(0)) {
            tracing::info!(done, "tidied the inbox");
        }
        Ok(())
    }

    async fn oldest_unended(&self) -> Result<Option<Timestamp>> {
        logs::oldest_unended(&self.database).await
    }

    async fn catch_up(&self) -> Result<Backlog> {
        logs::catch_up(&self.database).await
    }
}

/// A parameter of a statement, with its type: nothing is prepared, so that a pooler may change the connection.
type Parameter<'p> = (&'p (dyn ToSql + Sync), Type);

fn millis(time: Timestamp) -> i64 {
    time.timestamp_millis()
}

fn timestamp(millis: i64) -> Timestamp {
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}

/// The length of a time in milliseconds, at most some thousand years, so that a sum with a time fits.
fn whole_millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX).min(i64::MAX / 1_000_000)
}

/// Number of a state in the database: its index in [`State::ALL`], which never changes.
fn number(state: State) -> i16 {
    state as i16
}

fn state(number: i16) -> Result<State> {
    let unknown = || InboxError::Unavailable(format!("no state has the number {number}"));
    State::ALL.into_iter().find(|state| self::number(*state) == number).ok_or_else(unknown)
}

/// The time that a test gives, in milliseconds; none for the database's own.
fn given(clock: Option<&Clock>) -> Option<i64> {
    clock.map(|clock| millis(clock()))
}
