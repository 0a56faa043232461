//! Changes of deliveries: accept, claim, finish, replay, prune.

use std::time::{Duration, Instant};

use bytes::Bytes;
use contract::event::{Delivery, DeliveryId, Meta};
use contract::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use source::Verified;

use super::super::{
    AcceptOutcome, Backlog, Claim, Filter, KeyUse, Lease, Receipt, Route, State, Verdict,
};
use super::browse;
use super::columns::{dialect, environment, format, millis, state_number, timestamp};
use super::dedup::DeliveryIdentity;
use super::spans;
use super::state::InboxTx;

/// Looks up and inserts in one transaction of the one writer, so that of equal deliveries exactly one is new.
pub(super) fn accept(
    tx: &mut InboxTx<'_>,
    delivery: &Verified,
    headers: &str,
    route: &Route,
    now: Timestamp,
) -> rusqlite::Result<Receipt> {
    let db = tx.db;
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
    let first = |started| first_claim(id, delivery, route, now, started);
    let held = if due { tx.state.claims.give(now, first) } else { None };
    let (state, due_at) = match held {
        Some((started, lease)) => (State::Running, Some(lease_end(started, lease))),
        None if route.handled => (State::Ready, due.then(|| millis(now))),
        None if route.is_canary() => (State::Canary, None),
        None => (State::Unrouted, None),
    };
    tx.db
        .prepare_cached(
            "INSERT INTO work (id, state, due_at, ordering_key, attempts, run_attempts, started_at, ended_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7)",
        )?
        .execute(params![
            id,
            state_number(state),
            due_at,
            key,
            u32::from(held.is_some()),
            held.map(|(started, _)| millis(started)),
            (!route.handled).then(|| millis(now)),
        ])?;
    Ok(())
}

/// First claim of a new delivery, equal to what a claim would read from its rows.
fn first_claim(
    id: DeliveryId,
    delivery: &Verified,
    route: &Route,
    now: Timestamp,
    started: Timestamp,
) -> Claim {
    let kept = |time| timestamp(millis(time));
    let meta = Meta {
        id,
        source: delivery.source.name.clone(),
        client_id: delivery.client_id.clone(),
        message_id: delivery.message_id.clone(),
        message_id_derived: delivery.message_id_derived,
        dialect: delivery.source.dialect,
        environment: delivery.source.environment,
        event_type: route.event_type.clone(),
        version: route.version,
        user: delivery.user.clone(),
        event_time: delivery.event_time.map(kept),
        received_at: kept(now),
        format: delivery.format,
        attempt: 1,
        replay: 0,
    };
    // A copy: the original counts against the memory for bodies that are being received.
    let body = Bytes::copy_from_slice(&delivery.body);
    let lease = Lease { id, attempt: 1, started };
    Claim { delivery: Delivery::new(meta, body), run_attempt: 1, lost: 0, lease }
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

pub(super) fn claim(
    db: &Connection,
    max: usize,
    lease: Duration,
    now: Timestamp,
) -> rusqlite::Result<Vec<Claim>> {
    let mut due = db.prepare_cached(
        "SELECT d.id, d.source, d.client_id, d.message_id, d.message_id_derived, d.dialect, d.environment,
                d.event_type, d.version, d.user, d.event_time, d.received_at, d.body,
                w.state, w.attempts, w.run_attempts, w.replays, w.started_at, w.lost, d.format
         FROM work w JOIN delivery d ON d.id = w.id
         WHERE w.due_at <= ?1 ORDER BY w.due_at, w.id LIMIT ?2",
    )?;
    let due: Vec<(DeliveryId, rusqlite::Result<Due>)> = due
        .query_map(params![millis(now), i64::try_from(max).unwrap_or(i64::MAX)], |row| {
            Ok((row.get(0)?, due_row(row, now)))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut take = db.prepare_cached(
        "UPDATE work SET state = 1, due_at = ?2, started_at = ?3, attempts = attempts + 1,
             run_attempts = ?4, lost = lost + ?5 WHERE id = ?1",
    )?;
    let until = lease_end(now, lease);
    let mut claims = Vec::with_capacity(due.len());
    for (id, due) in due {
        let Due { claim, lost } = match due {
            Ok(due) => due,
            Err(error) => {
                give_up(db, id, &error, now)?;
                continue;
            }
        };
        take.execute(params![
            claim.lease.id,
            until,
            millis(now),
            claim.run_attempt,
            u32::from(lost.is_some())
        ])?;
        if let Some(started) = lost {
            let lost = Lease { attempt: claim.lease.attempt - 1, started, ..claim.lease };
            record(db, &lost, claim.delivery.meta.replay, "lost", Some("its worker stopped"), now)?;
        }
        claims.push(claim);
    }
    Ok(claims)
}

fn lease_end(started: Timestamp, lease: Duration) -> i64 {
    millis(started).saturating_add(i64::try_from(lease.as_millis()).unwrap_or(i64::MAX))
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

struct Due {
    claim: Claim,
    /// Start of the attempt whose lease has expired.
    lost: Option<Timestamp>,
}

fn due_row(row: &Row<'_>, now: Timestamp) -> rusqlite::Result<Due> {
    let client_id: String = row.get(2)?;
    let attempt = row.get::<_, u32>(14)? + 1;
    let meta = Meta {
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
        format: format(row, 19)?,
        attempt,
        replay: row.get(16)?,
    };
    let was_running = row.get::<_, i64>(13)? == state_number(State::Running);
    let started: Option<i64> = row.get(17)?;
    let lost = started.filter(|_| was_running).map(timestamp);
    Ok(Due {
        lost,
        claim: Claim {
            // A lost attempt has not failed: this one replaces it in the run.
            run_attempt: row.get::<_, u32>(15)? + u32::from(lost.is_none()),
            lost: if lost.is_some() { row.get::<_, u32>(18)? + 1 } else { 0 },
            lease: Lease { id: meta.id, attempt, started: now },
            delivery: Delivery::new(meta, row.get::<_, Vec<u8>>(12)?.into()),
        },
    })
}

pub(super) fn finish(
    tx: &mut InboxTx<'_>,
    lease: &Lease,
    verdict: &Verdict,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let (state, due_at, outcome, error) = match verdict {
        Verdict::Done => (State::Done, None, "done", None),
        Verdict::Retry { at, reason } => (State::Ready, Some(*at), "retry", Some(reason.as_str())),
        Verdict::Dead { reason } => (State::Dead, None, "dead", Some(reason.as_str())),
        Verdict::Unrouted => (State::Unrouted, None, "unrouted", None),
        Verdict::Released => return release(tx, lease, now),
        Verdict::Postponed { until } => return release(tx, lease, *until),
    };
    // Not RETURNING: it would create and drop a temporary table for every verdict.
    let held = tx
        .db
        .prepare_cached(
            "SELECT replays, ordering_key FROM work
             WHERE id = ?1 AND state = 1 AND attempts = ?2 AND started_at = ?3",
        )?
        .query_row(params![lease.id, lease.attempt, millis(lease.started)], |row| {
            Ok((row.get::<_, u32>(0)?, row.get::<_, Option<String>>(1)?))
        })
        .optional()?;
    let Some((replay, key)) = held else { return Ok(false) };
    let ended_at = state.has_ended().then(|| millis(now));
    tx.db
        .prepare_cached(
            "UPDATE work SET state = ?2, due_at = ?3, ended_at = ?4, last_error = ?5, lost = 0
             WHERE id = ?1",
        )?
        .execute(params![lease.id, state_number(state), due_at.map(millis), ended_at, error])?;
    record(tx.db, lease, replay, outcome, error, now)?;
    if state.has_ended() {
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
                 run_attempts = run_attempts - 1
             WHERE id = ?1 AND state = 1 AND attempts = ?2 AND started_at = ?4",
        )?
        .execute(params![lease.id, lease.attempt, millis(until), millis(lease.started)])?;
    if released > 0 {
        tx.state.claims.wake();
    }
    Ok(released > 0)
}

fn record(
    db: &Connection,
    lease: &Lease,
    replay: u32,
    outcome: &str,
    error: Option<&str>,
    now: Timestamp,
) -> rusqlite::Result<()> {
    db.prepare_cached(
            "INSERT OR REPLACE INTO attempt (delivery, attempt, replay, started_at, ended_at, outcome, error)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            lease.id,
            lease.attempt,
            replay,
            millis(lease.started),
            millis(now),
            outcome,
            error
        ])?;
    Ok(())
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
    now: Timestamp,
) -> rusqlite::Result<u64> {
    let ended = browse::replayable(tx.db, filter)?;
    let mut key_of = tx.db.prepare_cached("SELECT ordering_key FROM work WHERE id = ?1")?;
    let mut restart = tx.db.prepare_cached(
        "UPDATE work SET state = 0, due_at = ?2, ended_at = NULL, replays = replays + 1,
             run_attempts = 0, lost = 0 WHERE id = ?1",
    )?;
    for id in &ended {
        let key: Option<String> = key_of.query_row([id], |row| row.get(0))?;
        let due = !is_behind(tx, key.as_deref(), *id)?;
        restart.execute(params![id, due.then(|| millis(now))])?;
    }
    if !ended.is_empty() {
        tx.state.claims.wake();
    }
    Ok(ended.len() as u64)
}

/// Deletes old deliveries. The newest delivery is never pruned, so that its id is never reused.
pub(super) fn prune(
    tx: &InboxTx<'_>,
    state: State,
    before: Timestamp,
    limit: usize,
) -> rusqlite::Result<u64> {
    if !state.has_ended() {
        return Ok(0);
    }
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

/// Makes all deliveries due that a previous process held under leases.
pub(super) fn orphan_leases(db: &Connection) -> rusqlite::Result<usize> {
    db.execute("UPDATE work SET due_at = 0 WHERE state = 1 AND due_at IS NOT NULL", [])
}

pub(super) fn catch_up(tx: &mut InboxTx<'_>, now: Timestamp) -> rusqlite::Result<Backlog> {
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
            newest,
            made_due: made_due as u64,
            waiting: row.get::<_, i64>(0)?.unsigned_abs(),
            next: time(row, 1)?,
        })
    })
}
