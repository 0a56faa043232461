//! Rows of operators: acts, the pause of the dispatch, and tallies; and the size of the store.

use std::collections::BTreeMap;

use contract::time::Timestamp;
use text::nul::{read, stored};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::super::acts::{Act, ActKind, ActProgress, ActState, KEPT_ACTS, NewAct};
use super::super::tally::{TALLIES_KEPT, Tally, TallyKind, sort};
use super::super::{InboxError, NewPause, Pause, Result, StoreSize};
use super::browse::optional;
use super::connect::Database;
use super::{Parameter, millis, timestamp, whole_millis};

const ACT: &str =
    "SELECT id, at, updated_at, kind, actor, subject, reason, total, done, state, error
    FROM webhook_inbox.act";

pub(super) async fn begin_act(database: &Database, act: &NewAct) -> Result<i64> {
    let done = if act.state == ActState::Done { act.total } else { 0 };
    let parameters: [Parameter<'_>; 9] = [
        (&database.given_time(), Type::INT8),
        (&act.kind.as_str(), Type::TEXT),
        (&stored(&act.actor), Type::TEXT),
        (&stored(&act.subject), Type::TEXT),
        (&act.reason.as_deref().map(stored), Type::TEXT),
        (&number(act.total), Type::INT8),
        (&number(done), Type::INT8),
        (&act.state.as_str(), Type::TEXT),
        (&i64::try_from(KEPT_ACTS).unwrap_or(i64::MAX), Type::INT8),
    ];
    let query = "WITH added AS (
            INSERT INTO webhook_inbox.act (at, updated_at, kind, actor, subject, reason, total, done, state)
            SELECT t, t, $2, $3, $4, $5, $6, $7, $8 FROM webhook_inbox.time_or_now($1) t RETURNING id
        ), deleted AS (
            DELETE FROM webhook_inbox.act WHERE id <= (SELECT id FROM added) - $9
        )
        SELECT id FROM added";
    let rows = database.rows(query, &parameters).await?;
    Ok(rows.first().map_or(0, |row| row.get(0)))
}

pub(super) async fn update_act(
    database: &Database,
    id: i64,
    progress: &ActProgress,
) -> Result<bool> {
    let parameters: [Parameter<'_>; 5] = [
        (&id, Type::INT8),
        (&number(progress.done), Type::INT8),
        (&progress.state.as_str(), Type::TEXT),
        (&progress.error.as_deref().map(stored), Type::TEXT),
        (&database.given_time(), Type::INT8),
    ];
    // The row is locked first, so that of a cancellation at the same time the state is seen.
    let query = "WITH act AS MATERIALIZED (
            SELECT id, state FROM webhook_inbox.act WHERE id = $1 AND state IN ('running', 'cancelled') FOR UPDATE
        )
        UPDATE webhook_inbox.act a SET done = $2, error = $4, updated_at = webhook_inbox.time_or_now($5),
            state = CASE act.state WHEN 'running' THEN $3 ELSE act.state END
        FROM act WHERE a.id = act.id RETURNING act.state = 'running'";
    let rows = database.rows(query, &parameters).await?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}

pub(super) async fn cancel_act(database: &Database, id: i64) -> Result<bool> {
    let parameters: [Parameter<'_>; 2] = [(&id, Type::INT8), (&database.given_time(), Type::INT8)];
    let query = "UPDATE webhook_inbox.act SET state = 'cancelled', updated_at = webhook_inbox.time_or_now($2)
        WHERE id = $1 AND state = 'running' RETURNING id";
    Ok(!database.rows(query, &parameters).await?.is_empty())
}

pub(super) async fn acts(
    database: &Database,
    before: Option<i64>,
    limit: usize,
) -> Result<Vec<Act>> {
    let parameters: [Parameter<'_>; 2] = [
        (&before.unwrap_or(i64::MAX), Type::INT8),
        (&i64::try_from(limit).unwrap_or(i64::MAX), Type::INT8),
    ];
    let query = format!("{ACT} WHERE id < $1 ORDER BY id DESC LIMIT $2");
    database.rows(&query, &parameters).await?.iter().map(act_of).collect()
}

pub(super) async fn act(database: &Database, id: i64) -> Result<Option<Act>> {
    let query = format!("{ACT} WHERE id = $1");
    database.rows(&query, &[(&id, Type::INT8)]).await?.first().map(act_of).transpose()
}

fn act_of(row: &Row) -> Result<Act> {
    Ok(Act {
        id: row.get(0),
        at: timestamp(row.get(1)),
        updated_at: timestamp(row.get(2)),
        kind: named(row, 3, ActKind::from_name)?,
        actor: read(row.get(4)),
        subject: read(row.get(5)),
        reason: optional(row, 6),
        total: row.get::<_, i64>(7).unsigned_abs(),
        done: row.get::<_, i64>(8).unsigned_abs(),
        state: named(row, 9, ActState::from_name)?,
        error: optional(row, 10),
    })
}

/// Adds acts under their numbers, and lets further ones follow after them; those that exist already are left alone.
pub(super) async fn add_acts(database: &Database, acts: &[Act]) -> Result<()> {
    macro_rules! column {
        (|$act:ident| $value:expr) => {
            &acts.iter().map(|$act| $value).collect::<Vec<_>>()
        };
    }
    let parameters: [Parameter<'_>; 11] = [
        (column!(|act| act.id), Type::INT8_ARRAY),
        (column!(|act| millis(act.at)), Type::INT8_ARRAY),
        (column!(|act| millis(act.updated_at)), Type::INT8_ARRAY),
        (column!(|act| act.kind.as_str()), Type::TEXT_ARRAY),
        (column!(|act| stored(&act.actor)), Type::TEXT_ARRAY),
        (column!(|act| stored(&act.subject)), Type::TEXT_ARRAY),
        (column!(|act| act.reason.as_deref().map(stored)), Type::TEXT_ARRAY),
        (column!(|act| number(act.total)), Type::INT8_ARRAY),
        (column!(|act| number(act.done)), Type::INT8_ARRAY),
        (column!(|act| act.state.as_str()), Type::TEXT_ARRAY),
        (column!(|act| act.error.as_deref().map(stored)), Type::TEXT_ARRAY),
    ];
    let query = "INSERT INTO webhook_inbox.act (id, at, updated_at, kind, actor, subject, reason, total, done, state, error)
        SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (id) DO NOTHING";
    database.rows(query, &parameters).await?;
    let query = "SELECT setval(pg_get_serial_sequence('webhook_inbox.act', 'id'), max(id)) FROM webhook_inbox.act
        HAVING max(id) IS NOT NULL";
    database.rows(query, &[]).await.map(drop)
}

pub(super) async fn pause(database: &Database, pause: &NewPause) -> Result<()> {
    let parameters: [Parameter<'_>; 3] = [
        (&stored(&pause.by), Type::TEXT),
        (&pause.reason.as_deref().map(stored), Type::TEXT),
        (&database.given_time(), Type::INT8),
    ];
    let query = "UPDATE webhook_inbox.control
        SET paused_at = coalesce(paused_at, webhook_inbox.time_or_now($3)), paused_by = $1, pause_reason = $2";
    database.rows(query, &parameters).await.map(drop)
}

pub(super) async fn unpause(database: &Database) -> Result<()> {
    let query =
        "UPDATE webhook_inbox.control SET paused_at = NULL, paused_by = NULL, pause_reason = NULL
        WHERE paused_at IS NOT NULL";
    database.rows(query, &[]).await.map(drop)
}

pub(super) async fn paused(database: &Database) -> Result<Option<Pause>> {
    let query = "SELECT paused_at, coalesce(paused_by, ''), pause_reason FROM webhook_inbox.control
        WHERE paused_at IS NOT NULL";
    let rows = database.rows(query, &[]).await?;
    Ok(rows.first().map(|row| Pause {
        since: timestamp(row.get(0)),
        by: read(row.get(1)),
        reason: optional(row, 2),
    }))
}

pub(super) async fn add_tallies(database: &Database, tallies: Vec<Tally>) -> Result<()> {
    // In one order for everyone, so that nobody waits for another in turn.
    let mut sums: BTreeMap<(i64, String, &str), i64> = BTreeMap::new();
    for tally in &tallies {
        let key = (tally.begin(), stored(&tally.source).into_owned(), tally.kind.as_str());
        *sums.entry(key).or_default() += number(tally.count);
    }
    let (mut times, mut sources, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
    for (at, source, kind) in sums.keys() {
        times.push(*at);
        sources.push(source.as_str());
        kinds.push(*kind);
    }
    let counts: Vec<i64> = sums.values().copied().collect();
    let parameters: [Parameter<'_>; 6] = [
        (&times, Type::INT8_ARRAY),
        (&sources, Type::TEXT_ARRAY),
        (&kinds, Type::TEXT_ARRAY),
        (&counts, Type::INT8_ARRAY),
        (&database.given_time(), Type::INT8),
        (&whole_millis(TALLIES_KEPT), Type::INT8),
    ];
    let query = "WITH deleted AS (
            DELETE FROM webhook_inbox.tally WHERE (at, source, kind) IN (
                SELECT at, source, kind FROM webhook_inbox.tally
                WHERE at < (SELECT t FROM webhook_inbox.time_or_now($5) t) - $6
                ORDER BY at, source, kind FOR UPDATE SKIP LOCKED)
        )
        INSERT INTO webhook_inbox.tally AS t (at, source, kind, count)
        SELECT at, source, kind, count FROM unnest($1, $2, $3, $4) WITH ORDINALITY i (at, source, kind, count, number)
        WHERE at >= (SELECT t FROM webhook_inbox.time_or_now($5) t) - $6
        ORDER BY number
        ON CONFLICT (at, source, kind) DO UPDATE SET count = t.count + excluded.count";
    database.rows(query, &parameters).await.map(drop)
}

pub(super) async fn tallies(database: &Database, since: Timestamp) -> Result<Vec<Tally>> {
    let query = "SELECT at, source, kind, count FROM webhook_inbox.tally WHERE at >= $1";
    let rows = database.rows(query, &[(&millis(since), Type::INT8)]).await?;
    let tally = |row: &Row| {
        Ok(Tally {
            at: timestamp(row.get(0)),
            source: read(row.get(1)),
            kind: named(row, 2, TallyKind::from_name)?,
            count: row.get::<_, i64>(3).unsigned_abs(),
        })
    };
    let mut tallies = rows.iter().map(tally).collect::<Result<Vec<_>>>()?;
    sort(&mut tallies);
    Ok(tallies)
}

/// Size of the tables and indexes of the schema. Of many deliveries, the planner's statistics know the number.
pub(super) async fn size(database: &Database) -> Result<StoreSize> {
    let query = "SELECT
        (SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0) FROM pg_class c
            WHERE c.relnamespace = 'webhook_inbox'::regnamespace AND c.relkind = 'r')::bigint,
        greatest(
            (SELECT coalesce(sum(greatest(c.reltuples, 0)), 0) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                WHERE i.inhparent = 'webhook_inbox.delivery'::regclass)::bigint,
            (SELECT count(*) FROM (SELECT FROM webhook_inbox.delivery LIMIT 10000) d))";
    let rows = database.rows(query, &[]).await?;
    let number = |column| rows.first().map_or(0, |row| row.get::<_, i64>(column).unsigned_abs());
    Ok(StoreSize { bytes: number(0), free: None, deliveries: number(1) })
}

/// The value that a column names.
fn named<T>(row: &Row, column: usize, from_name: impl Fn(&str) -> Option<T>) -> Result<T> {
    let name: &str = row.get(column);
    from_name(name)
        .ok_or_else(|| InboxError::Unavailable(format!("{name:?} is not known to this program")))
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
