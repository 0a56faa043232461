//! A database as the source or the target of a copy.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{bail, ensure};
use async_trait::async_trait;
use contract::event::DeliveryId;
use text::nul::{read, stored};
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::super::copy::{Census, Copyable, DeliveryRecord, UNFINISHED};
use super::super::identity::DeliveryIdentity;
use super::super::{Act, AttemptEntry, HookEntry, Result, State};
use super::browse::{self, count_at, optional};
use super::connect::{Database, SERVING};
use super::{Parameter, Postgres, deliver, hooks, millis, number, operate, state};

/// Number of ids in a part.
const PART: i64 = 1_000_000_000;

#[async_trait]
impl Copyable for Postgres {
    async fn prepare_source(&self) -> anyhow::Result<()> {
        self.check_unused().await?;
        let query = "SELECT webhook_inbox.expire($1, webhook_inbox.time_or_now($2))";
        let now = self.database.given_time();
        let parameters: [Parameter<'_>; 2] = [(&(i64::MAX / 2), Type::INT8), (&now, Type::INT8)];
        self.database.rows(query, &parameters).await?;
        let query = "SELECT count(*) FROM webhook_inbox.kept
            WHERE now = 1 AND due_at > webhook_inbox.time_or_now($1)";
        let held = self.database.number(query, &[(&now, Type::INT8)]).await?;
        ensure!(
            held == 0,
            "workers hold {held} of its deliveries: stop all receivers and workers; the leases of one that was killed end \
             by themselves"
        );
        Ok(())
    }

    async fn prepare_target(&self, delivery: DeliveryId, hook_call: i64) -> anyhow::Result<()> {
        self.check_unused().await?;
        let mark = "CREATE TABLE IF NOT EXISTS webhook_inbox.unfinished_copy ()";
        self.database.rows(mark, &[]).await?;
        self.check_unused().await?;
        let query = "SELECT setval('webhook_inbox.delivery_id', greatest($1, (SELECT last_value FROM webhook_inbox.delivery_id))),
            setval('webhook_inbox.hook_call_id', greatest($2, (SELECT last_value FROM webhook_inbox.hook_call_id))) WHERE $1 + $2 > 0";
        let parameters: [Parameter<'_>; 2] = [(&delivery, Type::INT8), (&hook_call, Type::INT8)];
        self.database.rows(query, &parameters).await?;
        let last = delivery.max(hook_call) / PART;
        self.add_parts([delivery, hook_call, last * PART, (last + 1) * PART]).await
    }

    async fn complete_target(&self) -> anyhow::Result<()> {
        let unmark = "DROP TABLE IF EXISTS webhook_inbox.unfinished_copy";
        self.database.rows(unmark, &[]).await?;
        Ok(())
    }

    async fn newest(&self) -> Result<(DeliveryId, i64)> {
        let query = format!(
            "SELECT coalesce((SELECT id FROM webhook_inbox.kept ORDER BY id DESC LIMIT 1), 0),
                coalesce((SELECT max(id) FROM {}), 0)",
            hooks::KEPT
        );
        let rows = self.database.rows(&query, &[]).await?;
        Ok(rows.first().map_or((0, 0), |row| (row.get(0), row.get(1))))
    }

    async fn deliveries_after(&self, id: DeliveryId, limit: usize) -> Result<Vec<DeliveryRecord>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let parameters: [Parameter<'_>; 2] = [(&id, Type::INT8), (&limit, Type::INT8)];
        let query = "SELECT k.id, k.source, k.client_id, k.message_id, k.message_id_derived, k.dialect, k.environment,
                k.event_type, k.version, k.username, k.event_time, k.received_at, k.digest, k.key, k.format, k.ordering_key,
                k.headers, k.body, k.now, k.due_at, k.attempts, k.run_attempts, k.replays, k.lost, w.started_at, k.ended_at,
                k.last_error, k.conflicts, k.recognised
            FROM webhook_inbox.kept k LEFT JOIN webhook_inbox.waiting w ON w.id = k.id
            WHERE k.id > $1 ORDER BY k.id LIMIT $2";
        let rows = self.database.rows(query, &parameters).await?;
        let ids: Vec<DeliveryId> = rows.iter().map(|row| row.get(0)).collect();
        let mut attempts = browse::attempts(&self.database, &ids).await?;
        let mut log = |id: DeliveryId| attempts.remove(&id).unwrap_or_default();
        rows.iter().map(|row| record(row, log(row.get(0)))).collect()
    }

    async fn add_deliveries(&self, records: Vec<DeliveryRecord>) -> anyhow::Result<()> {
        self.add_parts(records.iter().map(|record| record.id)).await?;
        let records: Vec<&DeliveryRecord> = records.iter().collect();
        let waiting: Vec<_> =
            records.iter().copied().filter(|record| !record.state.has_ended()).collect();
        let mut connection = self.database.connection().await?;
        // Workers see a delivery with all that is known of it, or not at all.
        let transaction = connection.transaction().await?;
        for (query, parameters) in [
            (DELIVERIES, deliveries(&records)),
            (ATTEMPTS, attempts(&records)),
            (WAITING, waits(&waiting)),
        ] {
            let parameters: Vec<_> =
                parameters.iter().map(|(value, kind)| (&**value as _, kind.clone())).collect();
            transaction.query_typed(query, &parameters).await?;
        }
        Ok(transaction.commit().await?)
    }

    async fn hook_calls_after(&self, id: i64, limit: usize) -> Result<Vec<HookEntry>> {
        hooks::after(&self.database, id, i64::try_from(limit).unwrap_or(i64::MAX)).await
    }

    async fn add_hook_calls(&self, calls: Vec<HookEntry>) -> anyhow::Result<()> {
        self.add_parts(calls.iter().map(|call| call.id)).await?;
        let ids: Vec<_> = calls.iter().map(|call| Some(call.id)).collect();
        let records: Vec<_> = calls.iter().map(|call| &call.record).collect();
        Ok(hooks::insert(&self.database, &ids, &records).await?)
    }

    async fn add_acts(&self, acts: Vec<Act>) -> anyhow::Result<()> {
        operate::add_acts(&self.database, &acts).await?;
        Ok(())
    }

    async fn census(&self) -> Result<Census> {
        let query = format!(
            "SELECT now, count(*), sum((SELECT count(*) FROM webhook_inbox.attempt a WHERE a.delivery = k.id))::bigint
                FROM webhook_inbox.kept k GROUP BY now
            UNION ALL SELECT -1::smallint, (SELECT count(*) FROM {}), 0",
            hooks::KEPT
        );
        let mut census = Census { deliveries: [0; State::ALL.len()], attempts: 0, hook_calls: 0 };
        for row in self.database.rows(&query, &[]).await? {
            let count = |column| row.get::<_, i64>(column).unsigned_abs();
            match row.get(0) {
                -1 => census.hook_calls = count(1),
                of => {
                    census.deliveries[state(of)? as usize] = count(1);
                    census.attempts += count(2);
                }
            }
        }
        Ok(census)
    }
}

/// Checks that no copy to this inbox has begun and not ended.
pub(super) async fn check_finished(database: &Database) -> anyhow::Result<()> {
    let query = "SELECT to_regclass('webhook_inbox.unfinished_copy') IS NULL";
    let rows = database.rows(query, &[]).await?;
    ensure!(rows.first().is_some_and(|row| row.get(0)), UNFINISHED);
    Ok(())
}

impl Postgres {
    /// Checks that no receiver or worker is connected. One that has just ended may still be for a moment.
    async fn check_unused(&self) -> anyhow::Result<()> {
        let query = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = $1";
        let mut connected = 0;
        for _ in 0..20 {
            connected = self.database.number(query, &[(&SERVING, Type::TEXT)]).await?;
            if connected == 0 {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("receivers or workers are connected to it ({connected} connections): stop them all");
    }

    /// Adds the parts that will hold these ids.
    async fn add_parts(&self, ids: impl IntoIterator<Item = i64>) -> anyhow::Result<()> {
        let parts: Vec<i64> =
            ids.into_iter().map(|id| id / PART).collect::<BTreeSet<_>>().into_iter().collect();
        let query = "SELECT webhook_inbox.add_part(p) FROM unnest($1) p";
        self.database.rows(query, &[(&parts, Type::INT8_ARRAY)]).await?;
        Ok(())
    }
}

fn record(row: &Row, attempt_log: Vec<AttemptEntry>) -> Result<DeliveryRecord> {
    Ok(DeliveryRecord {
        id: row.get(0),
        source: read(row.get(1)),
        client_id: read(row.get(2)),
        message_id: read(row.get(3)),
        message_id_derived: row.get(4),
        dialect: row.get(5),
        environment: row.get(6),
        event_type: read(row.get(7)),
        version: row.get(8),
        user: optional(row, 9),
        event_time: row.get(10),
        received_at: row.get(11),
        digest: row.get(12),
        key: optional(row, 13),
        format: row.get(14),
        ordering_key: optional(row, 15),
        headers: read(row.get(16)),
        body: row.get(17),
        state: state(row.get(18))?,
        due_at: row.get(19),
        attempts: count_at(row, 20),
        run_attempts: count_at(row, 21),
        replays: count_at(row, 22),
        lost: count_at(row, 23),
        started_at: row.get(24),
        ended_at: row.get(25),
        last_error: optional(row, 26),
        conflicts: count_at(row, 27),
        recognised: count_at(row, 28),
        attempt_log,
    })
}

/// Adds deliveries whose first attempts no worker claims any more, their identities, and the numbers of their resends.
const DELIVERIES: &str = "WITH input AS MATERIALIZED (
        SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
            $22, $23)
            i (id, source, client_id, message_id, derived, dialect, environment, event_type, version, username, event_time,
            received_at, digest, key, format, ordering_key, entity, state, headers, body, identity, conflicts, recognised)
    ), named AS (
        INSERT INTO webhook_inbox.source AS s (name, position)
        SELECT source, max(id) FROM input GROUP BY source ORDER BY source
        ON CONFLICT (name) DO UPDATE SET position = greatest(s.position, excluded.position) RETURNING id, name
    ), identified AS (
        INSERT INTO webhook_inbox.seen (identity, generation, id)
        SELECT DISTINCT ON (identity) identity, (SELECT seen_generation FROM webhook_inbox.control), id
        FROM input ORDER BY identity, id DESC
        ON CONFLICT (identity, generation) DO UPDATE SET id = excluded.id
    ), resent AS (
        INSERT INTO webhook_inbox.resend (id, conflicts, recognised)
        SELECT id, conflicts, recognised FROM input WHERE conflicts + recognised > 0
    )
    INSERT INTO webhook_inbox.delivery (id, source_id, client_id, message_id, message_id_derived, dialect, environment,
        event_type, version, username, event_time, received_at, digest, key, format, ordering_key, entity, state, headers, body)
    SELECT i.id, n.id, client_id, message_id, derived, dialect, environment, event_type, version, username, event_time,
        received_at, digest, key, format, ordering_key, entity, state, headers, body
    FROM input i JOIN named n ON n.name = i.source";

const ATTEMPTS: &str = "INSERT INTO webhook_inbox.attempt (delivery, attempt, replay, started_at, ended_at, state, outcome, error,
        applied_by, applied_at)
    SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

const WAITING: &str = "INSERT INTO webhook_inbox.waiting (id, source_id, entity, state, due_at, attempts, run_attempts, replays,
        lost, started_at, last_error)
    SELECT i.id, d.source_id, d.entity, i.state, i.due_at, i.attempts, i.run_attempts, i.replays, i.lost, i.started_at,
        i.last_error
    FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9)
        i (id, state, due_at, attempts, run_attempts, replays, lost, started_at, last_error)
    JOIN webhook_inbox.delivery d ON d.id = i.id";

/// Values of a statement that has them for itself.
type Values<'r> = Vec<(Box<dyn tokio_postgres::types::ToSql + Sync + Send + 'r>, Type)>;

macro_rules! column {
    ($rows:expr, |$row:ident| $value:expr) => {
        Box::new($rows.iter().map(|$row| $value).collect::<Vec<_>>())
    };
}

fn deliveries<'r>(records: &[&'r DeliveryRecord]) -> Values<'r> {
    let entity = |record: &DeliveryRecord| {
        record.ordering_key.as_deref().map(|key| deliver::entity(&record.source, key))
    };
    let identity = |record: &DeliveryRecord| {
        let DeliveryRecord { source, client_id, message_id, .. } = record;
        Uuid::from_bytes(DeliveryIdentity::new(source, client_id, message_id).hash.0)
    };
    // The state of a delivery with attempts is that of the last of them.
    let state = |record: &DeliveryRecord| match record.state.has_ended() {
        true if record.attempt_log.is_empty() => number(record.state),
        _ => number(State::Ready),
    };
    vec![
        (column!(records, |r| r.id), Type::INT8_ARRAY),
        (column!(records, |r| stored(&r.source)), Type::TEXT_ARRAY),
        (column!(records, |r| stored(&r.client_id)), Type::TEXT_ARRAY),
        (column!(records, |r| stored(&r.message_id)), Type::TEXT_ARRAY),
        (column!(records, |r| r.message_id_derived), Type::BOOL_ARRAY),
        (column!(records, |r| r.dialect.as_str()), Type::TEXT_ARRAY),
        (column!(records, |r| r.environment.as_str()), Type::TEXT_ARRAY),
        (column!(records, |r| stored(&r.event_type)), Type::TEXT_ARRAY),
        (column!(records, |r| r.version), Type::INT4_ARRAY),
        (column!(records, |r| r.user.as_deref().map(stored)), Type::TEXT_ARRAY),
        (column!(records, |r| r.event_time), Type::INT8_ARRAY),
        (column!(records, |r| r.received_at), Type::INT8_ARRAY),
        (column!(records, |r| r.digest.as_slice()), Type::BYTEA_ARRAY),
        (column!(records, |r| r.key.as_deref().map(stored)), Type::TEXT_ARRAY),
        (column!(records, |r| r.format.as_str()), Type::TEXT_ARRAY),
        (column!(records, |r| r.ordering_key.as_deref().map(stored)), Type::TEXT_ARRAY),
        (column!(records, |r| entity(r)), Type::INT8_ARRAY),
        (column!(records, |r| state(r)), Type::INT2_ARRAY),
        (column!(records, |r| stored(&r.headers)), Type::TEXT_ARRAY),
        (column!(records, |r| r.body.as_slice()), Type::BYTEA_ARRAY),
        (column!(records, |r| identity(r)), Type::UUID_ARRAY),
        (column!(records, |r| small(r.conflicts)), Type::INT4_ARRAY),
        (column!(records, |r| small(r.recognised)), Type::INT4_ARRAY),
    ]
}

fn attempts<'r>(records: &[&'r DeliveryRecord]) -> Values<'r> {
    let of = |record: &'r DeliveryRecord| {
        let last = record.attempt_log.len();
        let attempts = (1..).zip(&record.attempt_log);
        attempts.map(move |(place, attempt)| {
            let is_end = place == last && record.state.has_ended();
            (record.id, attempt, if is_end { record.state } else { State::Ready })
        })
    };
    let rows: Vec<_> = records.iter().copied().flat_map(of).collect();
    vec![
        (column!(rows, |r| r.0), Type::INT8_ARRAY),
        (column!(rows, |r| small(r.1.attempt)), Type::INT4_ARRAY),
        (column!(rows, |r| small(r.1.replay)), Type::INT4_ARRAY),
        (column!(rows, |r| millis(r.1.started_at)), Type::INT8_ARRAY),
        (column!(rows, |r| millis(r.1.ended_at)), Type::INT8_ARRAY),
        (column!(rows, |r| number(r.2)), Type::INT2_ARRAY),
        (column!(rows, |r| r.1.outcome.as_str()), Type::TEXT_ARRAY),
        (column!(rows, |r| r.1.error.as_deref().map(stored)), Type::TEXT_ARRAY),
        (column!(rows, |r| r.1.applied.map(|by| small(by.attempt))), Type::INT4_ARRAY),
        (column!(rows, |r| r.1.applied.map(|by| millis(by.at))), Type::INT8_ARRAY),
    ]
}

fn waits<'r>(records: &[&'r DeliveryRecord]) -> Values<'r> {
    vec![
        (column!(records, |r| r.id), Type::INT8_ARRAY),
        (column!(records, |r| number(r.state)), Type::INT2_ARRAY),
        (column!(records, |r| r.due_at), Type::INT8_ARRAY),
        (column!(records, |r| small(r.attempts)), Type::INT4_ARRAY),
        (column!(records, |r| small(r.run_attempts)), Type::INT4_ARRAY),
        (column!(records, |r| small(r.replays)), Type::INT4_ARRAY),
        (column!(records, |r| small(r.lost)), Type::INT4_ARRAY),
        (column!(records, |r| r.started_at), Type::INT8_ARRAY),
        (column!(records, |r| r.last_error.as_deref().map(stored)), Type::TEXT_ARRAY),
    ]
}

fn small(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
