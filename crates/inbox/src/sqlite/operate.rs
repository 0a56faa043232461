//! Rows of operators: acts, the pause of the dispatch, and tallies.

use contract::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::super::acts::{Act, ActKind, ActProgress, ActState, KEPT_ACTS, NewAct};
use super::super::tally::{TALLIES_KEPT, Tally, TallyKind, sort};
use super::super::{NewPause, Pause};
use super::columns::{millis, named, timestamp};
use super::rows::earlier;
use super::writer_state::InboxTx;

const ACT: &str =
    "id, at, updated_at, kind, actor, subject, reason, total, done, state, error FROM act";

pub(super) fn begin_act(tx: &InboxTx<'_>, new: &NewAct) -> rusqlite::Result<i64> {
    let now = tx.state.now();
    let done = if new.state == ActState::Done { new.total } else { 0 };
    let act = Act {
        id: 0,
        at: now,
        updated_at: now,
        kind: new.kind,
        actor: new.actor.clone(),
        subject: new.subject.clone(),
        reason: new.reason.clone(),
        total: new.total,
        done,
        state: new.state,
        error: None,
    };
    insert_act(tx.db, None, &act)?;
    let id = tx.db.last_insert_rowid();
    tx.db
        .prepare_cached("DELETE FROM act WHERE id <= ?1")?
        .execute([id - i64::try_from(KEPT_ACTS).unwrap_or(i64::MAX)])?;
    Ok(id)
}

/// Adds an act under a number, if it is given; one that exists already is left alone.
pub(super) fn insert_act(db: &Connection, id: Option<i64>, act: &Act) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT OR IGNORE INTO act (id, at, updated_at, kind, actor, subject, reason, total, done, state, error)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?
    .execute(params![
        id,
        millis(act.at),
        millis(act.updated_at),
        act.kind.as_str(),
        act.actor,
        act.subject,
        act.reason,
        number(act.total),
        number(act.done),
        act.state.as_str(),
        act.error,
    ])?;
    Ok(())
}

pub(super) fn update_act(
    tx: &InboxTx<'_>,
    id: i64,
    progress: &ActProgress,
) -> rusqlite::Result<bool> {
    let state: Option<String> = tx
        .db
        .prepare_cached(
            "SELECT state FROM act WHERE id = ?1 AND state IN ('running', 'cancelled')",
        )?
        .query_row([id], |row| row.get(0))
        .optional()?;
    let Some(state) = state else { return Ok(false) };
    let is_running = state == ActState::Running.as_str();
    let state = if is_running { progress.state.as_str() } else { &state };
    tx.db
        .prepare_cached(
            "UPDATE act SET updated_at = ?2, done = ?3, state = ?4, error = ?5 WHERE id = ?1",
        )?
        .execute(params![
            id,
            millis(tx.state.now()),
            number(progress.done),
            state,
            progress.error
        ])?;
    Ok(is_running)
}

pub(super) fn cancel_act(tx: &InboxTx<'_>, id: i64) -> rusqlite::Result<bool> {
    let cancelled = tx
        .db
        .prepare_cached(
            "UPDATE act SET state = 'cancelled', updated_at = ?2 WHERE id = ?1 AND state = 'running'",
        )?
        .execute(params![id, millis(tx.state.now())])?;
    Ok(cancelled > 0)
}

pub(super) fn acts(
    db: &Connection,
    before: Option<i64>,
    limit: usize,
) -> rusqlite::Result<Vec<Act>> {
    db.prepare_cached(&format!("SELECT {ACT} WHERE id < ?1 ORDER BY id DESC LIMIT ?2"))?
        .query_map(
            params![before.unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX)],
            act_row,
        )?
        .collect()
}

pub(super) fn act(db: &Connection, id: i64) -> rusqlite::Result<Option<Act>> {
    db.prepare_cached(&format!("SELECT {ACT} WHERE id = ?1"))?.query_row([id], act_row).optional()
}

fn act_row(row: &Row<'_>) -> rusqlite::Result<Act> {
    Ok(Act {
        id: row.get(0)?,
        at: timestamp(row.get(1)?),
        updated_at: timestamp(row.get(2)?),
        kind: named(row, 3, ActKind::from_name)?,
        actor: row.get(4)?,
        subject: row.get(5)?,
        reason: row.get(6)?,
        total: row.get::<_, i64>(7)?.unsigned_abs(),
        done: row.get::<_, i64>(8)?.unsigned_abs(),
        state: named(row, 9, ActState::from_name)?,
        error: row.get(10)?,
    })
}

pub(super) fn pause(tx: &mut InboxTx<'_>, new: &NewPause) -> rusqlite::Result<()> {
    tx.db
        .prepare_cached(
            "INSERT INTO pause (id, since, paused_by, reason) VALUES (1, ?1, ?2, ?3)
             ON CONFLICT (id) DO UPDATE SET paused_by = excluded.paused_by, reason = excluded.reason",
        )?
        .execute(params![millis(tx.state.now()), new.by, new.reason])?;
    tx.state.is_paused = Some(true);
    Ok(())
}

pub(super) fn unpause(tx: &mut InboxTx<'_>) -> rusqlite::Result<()> {
    tx.db.prepare_cached("DELETE FROM pause")?.execute([])?;
    tx.state.is_paused = Some(false);
    tx.state.claims.wake();
    Ok(())
}

pub(super) fn paused(db: &Connection) -> rusqlite::Result<Option<Pause>> {
    db.prepare_cached("SELECT since, paused_by, reason FROM pause")?
        .query_row([], |row| {
            Ok(Pause { since: timestamp(row.get(0)?), by: row.get(1)?, reason: row.get(2)? })
        })
        .optional()
}

pub(super) fn is_paused(db: &Connection) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT EXISTS (SELECT 1 FROM pause)")?.query_row([], |row| row.get(0))
}

pub(super) fn add_tallies(tx: &InboxTx<'_>, tallies: &[Tally]) -> rusqlite::Result<()> {
    let mut add = tx.db.prepare_cached(
        "INSERT INTO tally (at, source, kind, count) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (at, source, kind) DO UPDATE SET count = count + excluded.count",
    )?;
    for tally in tallies {
        let Tally { source, kind, count, .. } = tally;
        add.execute(params![tally.begin(), source, kind.as_str(), number(*count)])?;
    }
    tx.db
        .prepare_cached("DELETE FROM tally WHERE at < ?1")?
        .execute([millis(earlier(tx.state.now(), TALLIES_KEPT))])?;
    Ok(())
}

pub(super) fn tallies(db: &Connection, since: Timestamp) -> rusqlite::Result<Vec<Tally>> {
    let mut tallies: Vec<Tally> = db
        .prepare_cached("SELECT at, source, kind, count FROM tally WHERE at >= ?1")?
        .query_map([millis(since)], |row| {
            Ok(Tally {
                at: timestamp(row.get(0)?),
                source: row.get(1)?,
                kind: named(row, 2, TallyKind::from_name)?,
                count: row.get::<_, i64>(3)?.unsigned_abs(),
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    sort(&mut tallies);
    Ok(tallies)
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
