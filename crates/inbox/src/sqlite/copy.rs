//! An inbox file as the source or the target of a copy.

use async_trait::async_trait;
use contract::event::DeliveryId;
use rusqlite::{Connection, Row, params};

use super::super::copy::{Census, Copyable, DeliveryRecord};
use super::super::identity::DeliveryIdentity;
use super::super::{Act, HookEntry, Result, State};
use super::columns::{millis, state, state_number};
use super::writer_state::InboxTx;
use super::{Sqlite, browse, hooks, operate, spans};

#[async_trait]
impl Copyable for Sqlite {
    /// The file's lock has shown that nobody else uses it.
    async fn prepare_source(&self) -> anyhow::Result<()> {
        Ok(())
    }

    async fn prepare_target(&self, _delivery: DeliveryId, _hook_call: i64) -> anyhow::Result<()> {
        let mark = "CREATE TABLE IF NOT EXISTS unfinished_copy (id INTEGER) STRICT";
        Ok(self.call(|tx| tx.db.execute_batch(mark)).await?)
    }

    async fn complete_target(&self) -> anyhow::Result<()> {
        Ok(self.call(|tx| tx.db.execute_batch("DROP TABLE IF EXISTS unfinished_copy")).await?)
    }

    async fn newest(&self) -> Result<(DeliveryId, i64)> {
        self.read(|db| {
            db.query_row(
                "SELECT (SELECT coalesce(max(id), 0) FROM delivery), (SELECT coalesce(max(id), 0) FROM hook_call)",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
        })
        .await
    }

    async fn deliveries_after(&self, id: DeliveryId, limit: usize) -> Result<Vec<DeliveryRecord>> {
        self.read(move |db| deliveries_after(db, id, limit)).await
    }

    async fn add_deliveries(&self, records: Vec<DeliveryRecord>) -> anyhow::Result<()> {
        let bytes = records.iter().map(|record| record.body.len() + record.headers.len()).sum();
        let add = move |tx: &mut InboxTx<'_>| {
            records.iter().try_for_each(|record| add(tx, record))?;
            let ids = records.first().zip(records.last());
            ids.map_or(Ok(()), |(first, last)| spans::note_after(tx.db, first.id - 1, last.id))
        };
        Ok(self.store.writer.add(bytes, add).await?)
    }

    async fn hook_calls_after(&self, id: i64, limit: usize) -> Result<Vec<HookEntry>> {
        self.read(move |db| hooks::after(db, id, limit)).await
    }

    async fn add_hook_calls(&self, calls: Vec<HookEntry>) -> anyhow::Result<()> {
        let bytes = calls.iter().map(|call| call.record.size()).sum();
        let add = move |tx: &mut InboxTx<'_>| {
            calls
                .iter()
                .try_for_each(|HookEntry { id, record }| hooks::insert(tx.db, Some(*id), record))
        };
        Ok(self.store.writer.add(bytes, add).await?)
    }

    async fn add_acts(&self, acts: Vec<Act>) -> anyhow::Result<()> {
        let add = move |tx: &mut InboxTx<'_>| {
            acts.iter().try_for_each(|act| operate::insert_act(tx.db, Some(act.id), act))
        };
        Ok(self.call(add).await?)
    }

    async fn census(&self) -> Result<Census> {
        self.read(census).await
    }
}

/// True if a copy to this inbox has begun and not ended.
pub(super) fn is_unfinished(db: &Connection) -> rusqlite::Result<bool> {
    let query = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'unfinished_copy')";
    db.query_row(query, [], |row| row.get(0))
}

fn deliveries_after(
    db: &Connection,
    id: DeliveryId,
    limit: usize,
) -> rusqlite::Result<Vec<DeliveryRecord>> {
    db.prepare_cached(
        "SELECT d.id, d.source, d.client_id, d.message_id, d.message_id_derived, d.dialect, d.environment, d.event_type,
             d.version, d.user, d.event_time, d.received_at, d.digest, d.key, d.format, w.ordering_key, d.headers, d.body,
             w.state, w.due_at, w.attempts, w.run_attempts, w.replays, w.lost, w.started_at, w.ended_at, w.last_error,
             w.conflicts, w.recognised
         FROM delivery d JOIN work w ON w.id = d.id WHERE d.id > ?1 ORDER BY d.id LIMIT ?2",
    )?
    .query_map(params![id, i64::try_from(limit).unwrap_or(i64::MAX)], |row| record(db, row))?
    .collect()
}

fn record(db: &Connection, row: &Row<'_>) -> rusqlite::Result<DeliveryRecord> {
    Ok(DeliveryRecord {
        id: row.get(0)?,
        source: row.get(1)?,
        client_id: row.get(2)?,
        message_id: row.get(3)?,
        message_id_derived: row.get(4)?,
        dialect: row.get(5)?,
        environment: row.get(6)?,
        event_type: row.get(7)?,
        version: row.get(8)?,
        user: row.get(9)?,
        event_time: row.get(10)?,
        received_at: row.get(11)?,
        digest: row.get(12)?,
        key: row.get(13)?,
        format: row.get(14)?,
        ordering_key: row.get(15)?,
        headers: row.get(16)?,
        body: row.get(17)?,
        state: state(row, 18)?,
        due_at: row.get(19)?,
        attempts: row.get(20)?,
        run_attempts: row.get(21)?,
        replays: row.get(22)?,
        lost: row.get(23)?,
        started_at: row.get(24)?,
        ended_at: row.get(25)?,
        last_error: row.get(26)?,
        conflicts: row.get(27)?,
        recognised: row.get(28)?,
        attempt_log: browse::attempts(db, row.get(0)?)?,
    })
}

fn add(tx: &mut InboxTx<'_>, record: &DeliveryRecord) -> rusqlite::Result<()> {
    let db = tx.db;
    db.prepare_cached(
        "INSERT INTO delivery (id, source, client_id, message_id, message_id_derived, dialect, environment, event_type,
             version, user, event_time, received_at, digest, key, format, headers, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
    )?
    .execute(params![
        record.id,
        record.source,
        record.client_id,
        record.message_id,
        record.message_id_derived,
        record.dialect,
        record.environment,
        record.event_type,
        record.version,
        record.user,
        record.event_time,
        record.received_at,
        record.digest,
        record.key,
        record.format,
        record.headers,
        record.body,
    ])?;
    db.prepare_cached(
        "INSERT INTO work (id, state, due_at, ordering_key, attempts, run_attempts, replays, lost, started_at, ended_at,
             last_error, conflicts, recognised)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?
    .execute(params![
        record.id,
        state_number(record.state),
        record.due_at,
        record.ordering_key,
        record.attempts,
        record.run_attempts,
        record.replays,
        record.lost,
        record.started_at,
        record.ended_at,
        record.last_error,
        record.conflicts,
        record.recognised,
    ])?;
    let mut insert = db.prepare_cached(
        "INSERT INTO attempt (delivery, attempt, replay, started_at, ended_at, outcome, error, applied_by, applied_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    for attempt in &record.attempt_log {
        insert.execute(params![
            record.id,
            attempt.attempt,
            attempt.replay,
            millis(attempt.started_at),
            millis(attempt.ended_at),
            attempt.outcome,
            attempt.error,
            attempt.applied.map(|applied| applied.attempt),
            attempt.applied.map(|applied| millis(applied.at)),
        ])?;
    }
    let identity = DeliveryIdentity::new(&record.source, &record.client_id, &record.message_id);
    tx.state.dedup()?.add(&identity, record.id);
    Ok(())
}

fn census(db: &Connection) -> rusqlite::Result<Census> {
    let mut deliveries = [0; State::ALL.len()];
    let mut counts = db.prepare("SELECT state, count(*) FROM work GROUP BY state")?;
    let mut counts = counts.query([])?;
    while let Some(row) = counts.next()? {
        deliveries[state(row, 0)? as usize] = row.get::<_, i64>(1)?.unsigned_abs();
    }
    let (attempts, hook_calls) = db.query_row(
        "SELECT (SELECT count(*) FROM attempt), (SELECT count(*) FROM hook_call)",
        [],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
    )?;
    Ok(Census {
        deliveries,
        attempts: attempts.unsigned_abs(),
        hook_calls: hook_calls.unsigned_abs(),
    })
}
