//! Changes of deliveries: accept, claim, finish, replay, prune.

use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::TimeDelta;
use contract::effect::Applied;
use contract::event::DeliveryId;
use contract::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use source::Verified;

use super::super::identity::DeliveryIdentity;
use super::super::state::{DISCARDED, LOST, Progress};
use super::super::stored::Facts;
use super::super::{
    AcceptOutcome, Backlog, Claim, Filter, KeyUse, Lease, Receipt, Route, State, Verdict,
};
use super::browse;
use super::columns::{dialect, environment, format, millis, state, state_number, timestamp};
use super::spans;
use super::writer_state::InboxTx;

/// Looks up and inserts in one transaction of the one writer, so that of equal deliveries exactly one is new.
pub(super) fn accept(
    tx: &mut InboxTx<'_>,
    delivery: &Verified,
    headers: &str,
    route: &Route,
) -> rusqlite::Result<Receipt> {
    let (db, now) = (tx.db, tx.state.now());
    let identity = DeliveryIdentity::of(delivery);
    if let Some(id) = tx.state.dedup()?.find(db, &identity)? {
        let outcome = compare(tx, id, delivery)?;
        return Ok(Receipt { id, message_id: delivery.message_id.clone(), outcome });
    }
    let mut insert = db.prepare_cached(
        "INSERT INTO delivery (source, client_id, message_id, message_id_derived, dialect, environment,
             event_type, version, user, event_time, received_at, digest, headers, body, key, format)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
    )?;
    insert.execute(params![
        delivery.source.name,
        delivery.client_id.as_deref().unwrap_or_default(),
        delivery.message_id,
        delivery.message_id_derived,
        delivery.source.dialect.as_str(),
        delivery.source.environment.as_str(),
        route.event_type,
        route.version,
        delivery.user,
        delivery.event_time.map(millis),
        millis(now),
        delivery.digest.as_slice(),
        headers,
        delivery.body.as_ref(),
        delivery.key.map(|key| key.to_string()),
        delivery.format.as_str(),
    ])?;
    let id = db.last_insert_rowid();
    tx.state.dedup()?.add(&identity, id);
    spans::note(db, id)?;
    enqueue(tx, id, delivery, route, now)?;
    Ok(Receipt { id, message_id: delivery.message_id.clone(), outcome: AcceptOutcome::New })
}

/// Compares a resend with the stored bytes, and counts a conflict, or a resend that was recognised by its digest alone.
fn compare(
    tx: &InboxTx<'_>,
    id: DeliveryId,
    delivery: &Verified,
) -> rusqlite::Result<AcceptOutcome> {
    let kept: Vec<u8> = tx
        .db
        .prepare_cached("SELECT digest FROM delivery WHERE id = ?1")?
        .query_row([id], |row| row.get(0))?;
    if kept == delivery.digest {
        if delivery.message_id_derived {
            tx.db
                .prepare_cached("UPDATE work SET recognised = recognised + 1 WHERE id = ?1")?
                .execute([id])?;
        }
        return Ok(AcceptOutcome::Duplicate);
    }
    tx.db
        .prepare_cached("UPDATE work SET conflicts = conflicts + 1 WHERE id = ?1")?
        .execute([id])?;
    Ok(AcceptOutcome::Conflict)
}

/// Inserts the work row of a new delivery. If it is due and a claim waits, it goes to that claim at once.
fn enqueue(
    tx: &mut InboxTx<'_>,
    id: DeliveryId,
    delivery: &Verified,
    route: &Route,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let key = route.ordering_key.as_deref();
    let due = route.handled && !is_behind(tx, key, id)?;
    let token = new_token();
    let first = || {
        // A copy: the original counts against the memory for bodies that are being received.
        let body = Bytes::copy_from_slice(&delivery.body);
        let progress = Progress::default().claimed(false);
        Facts::of(id, delivery, route, now).claim(body, progress, false, token, now)
    };
    let is_given = due && !tx.state.is_paused(tx.db)?;
    let held = if is_given { tx.state.claims.give(first) } else { None };
    let (state, due_at) = match held {
        Some(lease) => (State::Running, Some(millis(later(now, lease)))),
        None if route.handled => (State::Ready, due.then(|| millis(now))),
        None if route.is_canary() => (State::Canary, None),
        None => (State::Unrouted, None),
    };
    tx.db
        .prepare_cached(
            "INSERT INTO work (id, state, due_at, ordering_key, attempts, run_attempts, started_at, ended_at,
                 token, owner)
             VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            id,
            state_number(state),
            due_at,
            key,
            u32::from(held.is_some()),
            held.map(|_| millis(now)),
            (!route.handled).then(|| millis(now)),
            held.map(|_| token),
            held.map(|_| &*tx.state.owner),
        ])?;
    Ok(())
}

/// A token for a new lease.
fn new_token() -> i64 {
    fastrand::i64(..)
}

/// The time after a delay; the last representable one if that is too long.
fn later(now: Timestamp, delay: Duration) -> Timestamp {
    let delay = TimeDelta::from_std(delay).ok();
    delay.and_then(|delay| now.checked_add_signed(delay)).unwrap_or(Timestamp::MAX_UTC)
}

/// The time before an age; the first representable one if that is too long.
pub(super) fn earlier(now: Timestamp, age: Duration) -> Timestamp {
    let age = TimeDelta::from_std(age).ok();
    age.and_then(|age| now.checked_sub_signed(age)).unwrap_or(Timestamp::MIN_UTC)
}

/// True if another unfinished delivery has the same ordering key.
fn is_behind(tx: &InboxTx<'_>, key: Option<&str>, id: DeliveryId) -> rusqlite::Result<bool> {
    let Some(key) = key else { return Ok(false) };
    tx.db
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM work WHERE ordering_key = ?1 AND state < 2 AND id <> ?2)",
        )?
        .query_row(params![key, id], |row| row.get(0))
}

/// True if a delivery that is replayed waits for another of its ordering key: for one that is running, or an older one.
fn has_no_turn(tx: &InboxTx<'_>, key: Option<&str>, id: DeliveryId) -> rusqlite::Result<bool> {
    let Some(key) = key else { return Ok(false) };
    tx.db
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM work WHERE ordering_key = ?1 AND state < 2 AND (state = 1 OR id < ?2))",
        )?
        .query_row(params![key, id], |row| row.get(0))
}

pub(super) fn claim(
    db: &Connection,
    max: usize,
    lease: Duration,
    owner: &str,
    now: Timestamp,
) -> rusqlite::Result<Vec<Claim>> {
    let mut due = db.prepare_cached(
        "SELECT d.id, d.source, d.client_id, d.message_id, d.message_id_derived, d.dialect, d.environment,
                d.event_type, d.version, d.user, d.event_time, d.received_at, d.format, d.body,
                w.state, w.attempts, w.run_attempts, w.replays, w.lost, w.started_at
         FROM work w JOIN delivery d ON d.id = w.id
         WHERE w.due_at <= ?1
             -- An older delivery of the key that was replayed goes first.
             AND NOT EXISTS (SELECT 1 FROM work o WHERE o.ordering_key = w.ordering_key AND o.state < 2
                 AND o.id < w.id AND o.due_at IS NOT NULL)
         ORDER BY w.due_at, w.id LIMIT ?2",
    )?;
    let due: Vec<(DeliveryId, rusqlite::Result<Due>)> = due
        .query_map(params![millis(now), i64::try_from(max).unwrap_or(i64::MAX)], |row| {
            Ok((row.get(0)?, due_row(row)))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut take = db.prepare_cached(
        "UPDATE work SET state = 1, due_at = ?2, started_at = ?3, attempts = ?4, run_attempts = ?5, lost = ?6,
             token = ?7, owner = ?8 WHERE id = ?1",
    )?;
    let until = millis(later(now, lease));
    let mut claims = Vec::with_capacity(due.len());
    for (id, due) in due {
        let Due { facts, body, progress, lost } = match due {
            Ok(due) => due,
            Err(error) => {
                give_up(db, id, &error, now)?;
                continue;
            }
        };
        if let Some(started) = lost {
            let (outcome, error) = LOST;
            let number = progress.attempts;
            let lost = FinishedAttempt { delivery: id, number, started, applied: None };
            lost.record(db, progress.replays, outcome, Some(error), now)?;
        }
        let progress = progress.claimed(lost.is_some());
        let token = new_token();
        take.execute(params![
            id,
            until,
            millis(now),
            progress.attempts,
            progress.run_attempts,
            progress.lost,
            token,
            owner
        ])?;
        claims.push(facts.claim(body, progress, lost.is_some(), token, now));
    }
    Ok(claims)
}

/// Marks a delivery dead that this program cannot read, since a newer one wrote it: it must not block all others.
fn give_up(
    db: &Connection,
    id: DeliveryId,
    error: &rusqlite::Error,
    now: Timestamp,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE work SET state = 3, due_at = NULL, ended_at = ?2, last_error = ?3 WHERE id = ?1",
    )?
    .execute(params![id, millis(now), format!("this program cannot read it: {error}")])?;
    Ok(())
}

/// A due delivery as it is stored.
struct Due {
    facts: Facts,
    body: Bytes,
    progress: Progress,
    /// Start of the attempt whose lease has expired, in milliseconds.
    lost: Option<i64>,
}

fn due_row(row: &Row<'_>) -> rusqlite::Result<Due> {
    let client_id: String = row.get(2)?;
    let started: Option<i64> = row.get(19)?;
    Ok(Due {
        facts: Facts {
            id: row.get(0)?,
            source: row.get(1)?,
            client_id: (!client_id.is_empty()).then_some(client_id),
            message_id: row.get(3)?,
            message_id_derived: row.get(4)?,
            dialect: dialect(row, 5)?,
            environment: environment(row, 6)?,
            event_type: row.get(7)?,
            version: row.get(8)?,
            user: row.get(9)?,
            event_time: row.get::<_, Option<i64>>(10)?.map(timestamp),
            received_at: timestamp(row.get(11)?),
            format: format(row, 12)?,
        },
        body: row.get::<_, Vec<u8>>(13)?.into(),
        progress: Progress {
            attempts: row.get(15)?,
            run_attempts: row.get(16)?,
            replays: row.get(17)?,
            lost: row.get(18)?,
        },
        lost: started.filter(|_| matches!(state(row, 14), Ok(State::Running))),
    })
}

pub(super) fn finish(
    tx: &mut InboxTx<'_>,
    lease: &Lease,
    verdict: &Verdict,
) -> rusqlite::Result<bool> {
    let now = tx.state.now();
    let transition = verdict.transition();
    let Some(outcome) = transition.outcome else {
        return release(tx, lease, later(now, transition.due_in.unwrap_or_default()));
    };
    // Not RETURNING: it would create and drop a temporary table for every verdict.
    let held = tx
        .db
        .prepare_cached(
            "SELECT replays, started_at, ordering_key FROM work WHERE id = ?1 AND state = 1 AND token = ?2",
        )?
        .query_row(params![lease.id, lease.token], |row| {
            Ok((row.get::<_, u32>(0)?, row.get::<_, i64>(1)?, row.get::<_, Option<String>>(2)?))
        })
        .optional()?;
    let Some((replay, started, key)) = held else { return Ok(false) };
    let due_at = transition.due_in.map(|delay| millis(later(now, delay)));
    let has_ended = transition.state.has_ended();
    tx.db
        .prepare_cached(
            "UPDATE work SET state = ?2, due_at = ?3, ended_at = ?4, last_error = ?5, lost = 0,
                 token = NULL, owner = NULL WHERE id = ?1",
        )?
        .execute(params![
            lease.id,
            state_number(transition.state),
            due_at,
            has_ended.then(|| millis(now)),
            transition.error
        ])?;
    let applied = transition.applied;
    let attempt = FinishedAttempt { delivery: lease.id, number: lease.attempt, started, applied };
    attempt.record(tx.db, replay, outcome, transition.error, now)?;
    if has_ended {
        promote(tx, key.as_deref(), now)?;
    } else {
        tx.state.claims.wake();
    }
    Ok(true)
}

fn release(tx: &mut InboxTx<'_>, lease: &Lease, until: Timestamp) -> rusqlite::Result<bool> {
    let released = tx
        .db
        .prepare_cached(
            "UPDATE work SET state = 0, due_at = ?3, attempts = attempts - 1,
                 run_attempts = run_attempts - 1, token = NULL, owner = NULL
             WHERE id = ?1 AND state = 1 AND token = ?2",
        )?
        .execute(params![lease.id, lease.token, millis(until)])?;
    if released > 0 {
        tx.state.claims.wake();
    }
    Ok(released > 0)
}

/// An attempt that has ended, by a verdict or with its worker.
struct FinishedAttempt {
    delivery: DeliveryId,
    number: u32,
    /// Time at which it began, in milliseconds.
    started: i64,
    /// The attempt that applied the effect of a one-effect handler.
    applied: Option<Applied>,
}

impl FinishedAttempt {
    fn record(
        &self,
        db: &Connection,
        replay: u32,
        outcome: &str,
        error: Option<&str>,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        db.prepare_cached(
            "INSERT OR REPLACE INTO attempt (delivery, attempt, replay, started_at, ended_at, outcome, error,
                 applied_by, applied_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            self.delivery,
            self.number,
            replay,
            self.started,
            millis(now),
            outcome,
            error,
            self.applied.map(|applied| applied.attempt),
            self.applied.map(|applied| millis(applied.at)),
        ])?;
        Ok(())
    }
}

/// Makes the oldest unfinished delivery of the ordering key due, after the one before it has ended.
fn promote(tx: &mut InboxTx<'_>, key: Option<&str>, now: Timestamp) -> rusqlite::Result<()> {
    let Some(key) = key else { return Ok(()) };
    let next: Option<DeliveryId> = tx
        .db
        .prepare_cached("SELECT min(id) FROM work WHERE ordering_key = ?1 AND state < 2")?
        .query_row([key], |row| row.get(0))?;
    let Some(next) = next else { return Ok(()) };
    let promoted = tx
        .db
        .prepare_cached("UPDATE work SET due_at = ?2 WHERE id = ?1 AND due_at IS NULL")?
        .execute(params![next, millis(now)])?;
    if promoted > 0 {
        tx.state.claims.wake();
    }
    Ok(())
}

pub(super) fn replay(
    tx: &mut InboxTx<'_>,
    filter: &Filter,
    is_new_run: bool,
) -> rusqlite::Result<u64> {
    let now = tx.state.now();
    let ended = browse::replayable(tx.db, filter)?;
    let mut key_of = tx.db.prepare_cached("SELECT ordering_key FROM work WHERE id = ?1")?;
    let mut restart = tx.db.prepare_cached(
        "UPDATE work SET state = 0, due_at = ?2, ended_at = NULL, replays = replays + ?3,
             run_attempts = 0, lost = 0 WHERE id = ?1",
    )?;
    for id in &ended {
        let key: Option<String> = key_of.query_row([id], |row| row.get(0))?;
        let due = !has_no_turn(tx, key.as_deref(), *id)?;
        restart.execute(params![id, due.then(|| millis(now)), is_new_run])?;
    }
    if !ended.is_empty() {
        tx.state.claims.wake();
    }
    Ok(ended.len() as u64)
}

/// Ends deliveries that are ready, dead or unrouted without handling them.
pub(super) fn discard(
    tx: &mut InboxTx<'_>,
    filter: &Filter,
    reason: &str,
) -> rusqlite::Result<u64> {
    let now = tx.state.now();
    let ids = browse::discardable(tx.db, filter)?;
    for id in &ids {
        let (state, key, attempts, replay, has_turn) = tx
            .db
            .prepare_cached(
                "SELECT w.state, w.ordering_key, w.attempts, w.replays, w.due_at IS NOT NULL AND NOT EXISTS (
                     SELECT 1 FROM work o WHERE o.ordering_key = w.ordering_key AND o.state < 2 AND o.id <> w.id
                         AND (o.state = 1 OR o.id < w.id AND o.due_at IS NOT NULL))
                 FROM work w WHERE w.id = ?1",
            )?
            .query_row([id], |row| {
                let key: Option<String> = row.get(1)?;
                Ok((state(row, 0)?, key, row.get::<_, u32>(2)?, row.get(3)?, row.get::<_, bool>(4)?))
            })?;
        tx.db
            .prepare_cached(
                "UPDATE work SET state = 2, due_at = NULL, ended_at = ?2, last_error = ?3, attempts = attempts + 1, lost = 0
                 WHERE id = ?1",
            )?
            .execute(params![id, millis(now), reason])?;
        let attempt = FinishedAttempt {
            delivery: *id,
            number: attempts + 1,
            started: millis(now),
            applied: None,
        };
        attempt.record(tx.db, replay, DISCARDED, Some(reason), now)?;
        // If it was not its turn, another of the key has it.
        if state == State::Ready && has_turn {
            promote(tx, key.as_deref(), now)?;
        }
    }
    Ok(ids.len() as u64)
}

/// Deletes old deliveries. The newest delivery is never pruned, so that its id is never reused.
pub(super) fn prune(
    tx: &InboxTx<'_>,
    state: State,
    age: Duration,
    limit: usize,
) -> rusqlite::Result<u64> {
    if !state.has_ended() {
        return Ok(0);
    }
    let before = earlier(tx.state.now(), age);
    let ids: Vec<DeliveryId> = tx
        .db
        .prepare_cached(
            "SELECT id FROM work WHERE state = ?1 AND ended_at < ?2 AND ended_at IS NOT NULL
                 AND id <> (SELECT max(id) FROM delivery) ORDER BY ended_at LIMIT ?3",
        )?
        .query_map(
            params![state_number(state), millis(before), i64::try_from(limit).unwrap_or(i64::MAX)],
            |row| row.get(0),
        )?
        .collect::<rusqlite::Result<_>>()?;
    delete(&ids, |id| {
        tx.db.prepare_cached("DELETE FROM attempt WHERE delivery = ?1")?.execute([id])?;
        tx.db.prepare_cached("DELETE FROM work WHERE id = ?1")?.execute([id])?;
        tx.db.prepare_cached("DELETE FROM delivery WHERE id = ?1")?.execute([id])
    })
}

/// Time limit for the deletions of one transaction: large bodies have many pages, and every other call waits for it.
const DELETE_LIMIT: Duration = Duration::from_millis(5);

/// Deletes rows until the time limit; returns their number, at least one if there are any.
pub(super) fn delete(
    ids: &[i64],
    mut row: impl FnMut(&i64) -> rusqlite::Result<usize>,
) -> rusqlite::Result<u64> {
    let started = Instant::now();
    let mut deleted = 0;
    for id in ids {
        row(id)?;
        deleted += 1;
        if started.elapsed() > DELETE_LIMIT {
            break;
        }
    }
    Ok(deleted)
}

pub(super) fn note_keys(tx: &InboxTx<'_>, uses: &[KeyUse]) -> rusqlite::Result<()> {
    let mut note = tx.db.prepare_cached(
        "INSERT INTO key_use (source, key, last_used) VALUES (?1, ?2, ?3)
         ON CONFLICT (source, key) DO UPDATE SET last_used = max(last_used, excluded.last_used)",
    )?;
    for KeyUse { source, key, last_used } in uses {
        note.execute(params![source, key, millis(*last_used)])?;
    }
    Ok(())
}

/// Ends the leases of previous receivers, which have gone: each of them held the lock on the file that this one holds now.
pub(super) fn end_leases(db: &Connection) -> rusqlite::Result<usize> {
    db.execute("UPDATE work SET due_at = 0 WHERE state = 1 AND due_at IS NOT NULL", [])
}

pub(super) fn oldest_unended(db: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let received = db.query_row(
        "SELECT min(received_at) FROM delivery WHERE id IN (
             (SELECT min(id) FROM work INDEXED BY work_due WHERE due_at IS NOT NULL),
             (SELECT min(id) FROM work INDEXED BY work_order WHERE ordering_key IS NOT NULL AND state < 2))",
        [],
        |row| row.get::<_, Option<i64>>(0),
    )?;
    Ok(received.map(timestamp))
}

pub(super) fn catch_up(tx: &mut InboxTx<'_>) -> rusqlite::Result<Backlog> {
    let now = tx.state.now();
    const WAITING: &str = "FROM work WHERE due_at IS NOT NULL AND due_at > ?1 AND state = 0";
    let time =
        |row: &Row<'_>, column| row.get::<_, Option<i64>>(column).map(|time| time.map(timestamp));
    let made_due = tx.db.execute(
        &format!("UPDATE work SET due_at = ?1 WHERE id IN (SELECT id {WAITING} AND run_attempts = 0 AND lost = 0)"),
        [millis(now)],
    )?;
    if made_due > 0 {
        tx.state.claims.wake();
    }
    let newest = tx.db.query_row(
        "SELECT max(received_at) FROM (
             SELECT received_at FROM delivery WHERE id = (SELECT max(id) FROM delivery)
             UNION ALL SELECT received_at FROM hook_call WHERE id = (SELECT max(id) FROM hook_call))",
        [],
        |row| time(row, 0),
    )?;
    let waiting = format!("SELECT count(*), min(due_at) {WAITING}");
    tx.db.query_row(&waiting, [millis(now)], |row| {
        Ok(Backlog {
            now,
            newest,
            made_due: made_due as u64,
            waiting: row.get::<_, i64>(0)?.unsigned_abs(),
            next: time(row, 1)?,
        })
    })
}
