//! Publishing, recording and sending again.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::TimeDelta;
use contract::time::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::lane::{Job, Lane};
use super::super::publication::{Draft, Event, Published, Receipt};
use super::super::record::{Outcome, Record};
use super::super::time::later;
use super::{Tx, millis};

/// How many deliveries a preview names.
const NAMED: usize = 20;

pub(super) fn publish(
    tx: &mut Tx<'_>,
    draft: Draft,
    only: Option<&Arc<Lane>>,
) -> rusqlite::Result<Receipt> {
    if let Some(status) = known(tx.db, &draft)? {
        return Ok(Receipt { id: draft.event_id, status, deliveries: 0 });
    }
    tx.db
        .prepare_cached(
            "INSERT INTO event (event_id, event_type, environment, object_type, object_id, source_user,
                 happened_at, published_at, body, record)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            draft.event_id,
            draft.event_type,
            draft.environment.map(|environment| environment.as_str()),
            draft.object_type,
            draft.object_id,
            draft.source_user,
            millis(draft.happened_at),
            millis(draft.published_at),
            draft.body.as_ref(),
            draft.record.as_deref(),
        ])?;
    let event = Arc::new(Event::new(tx.db.last_insert_rowid(), draft));
    let id = event.is.event_id.clone();
    if let Some(lane) = only {
        // What waits for one that is removed has been cancelled, and nothing would ever end what came after that.
        if tx.memory.roster.get(lane.id).is_none() {
            return Ok(Receipt { id, status: Published::Accepted, deliveries: 0 });
        }
        deliver(tx, &event, lane)?;
        return Ok(Receipt { id, status: Published::Accepted, deliveries: 1 });
    }
    let lanes = tx.memory.roster.takers(&event.is.event_type, event.is.environment);
    for lane in lanes.iter() {
        deliver(tx, &event, lane)?;
    }
    Ok(Receipt { id, status: Published::Accepted, deliveries: lanes.len() })
}

/// Whether the id was published before, and with the same content.
fn known(db: &Connection, draft: &Draft) -> rusqlite::Result<Option<Published>> {
    let same = db
        .prepare_cached("SELECT event_type = ?2 AND body = ?3 FROM event WHERE event_id = ?1")?
        .query_row(params![draft.event_id, draft.event_type, draft.body.as_ref()], |row| {
            row.get::<_, bool>(0)
        })
        .optional()?;
    Ok(same.map(|same| if same { Published::Duplicate } else { Published::Conflict }))
}

/// One event for one subscription. It is due at once, unless another of its entity is before it.
fn deliver(tx: &mut Tx<'_>, event: &Arc<Event>, lane: &Arc<Lane>) -> rusqlite::Result<()> {
    let entity = if lane.is_in_order() { event.is.entity() } else { None };
    let is_behind = is_behind(tx.db, lane.id, entity.as_deref(), i64::MAX)?;
    tx.db
        .prepare_cached(
            "INSERT INTO delivery (event, subscription, state, is_retry, due_at, entity)
             VALUES (?1, ?2, 0, 0, ?3, ?4)",
        )?
        .execute(params![
            event.number,
            lane.id,
            (!is_behind).then(|| millis(event.is.published_at)),
            entity
        ])?;
    if !is_behind {
        let id = tx.db.last_insert_rowid();
        let event = Arc::clone(event);
        let job = Job { id, event, attempts: 0, run_attempts: 0, is_retry: false, entity };
        tx.memory.hand_over(Arc::clone(lane), job);
    }
    Ok(())
}

/// Whether an unfinished delivery of the same entity has a smaller number.
fn is_behind(
    db: &Connection,
    subscription: i64,
    entity: Option<&str>,
    id: i64,
) -> rusqlite::Result<bool> {
    let Some(entity) = entity else { return Ok(false) };
    db.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM delivery
             WHERE subscription = ?1 AND entity = ?2 AND state = 0 AND id < ?3)",
    )?
    .query_row(params![subscription, entity, id], |row| row.get(0))
}

pub(super) fn record(tx: &mut Tx<'_>, records: &[Record]) -> rusqlite::Result<()> {
    for record in records {
        log(tx.db, record)?;
        change(tx, record)?;
    }
    // Of several attempts at one target the last knows best how it stands.
    let standing = records.iter().filter_map(|record| Some((record.lane.id, record.failures?)));
    let last: HashMap<i64, (u64, Timestamp)> = standing.collect();
    for (subscription, (failures, since)) in last {
        let since = (failures > 0).then(|| millis(since));
        tx.db
            .prepare_cached(
                "UPDATE subscription SET failures = ?2, failing_since = ?3 WHERE id = ?1",
            )?
            .execute(params![subscription, i64::try_from(failures).unwrap_or(i64::MAX), since])?;
    }
    Ok(())
}

fn log(db: &Connection, record: &Record) -> rusqlite::Result<()> {
    let Record { job, lane, .. } = record;
    db.prepare_cached(
        "INSERT INTO attempt (delivery, event, subscription, attempt, started_at, took, uri, status,
             outcome, error, fault)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?
    .execute(params![
        job.id,
        job.event.number,
        lane.id,
        job.attempts + 1,
        millis(record.started_at),
        i64::try_from(record.sent.took.as_micros()).unwrap_or(i64::MAX),
        record.sent.uri,
        record.sent.status(),
        record.outcome.number(),
        record.error,
        record.fault,
    ])?;
    let (headers, body, is_cut) = record.sent.answer();
    db.prepare_cached(
        "INSERT INTO payload (attempt, request_headers, request_body, response_headers, response_body, is_cut)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        db.last_insert_rowid(),
        record.sent.request_headers,
        record.sent.request_body.as_deref(),
        headers,
        body,
        is_cut
    ])?;
    Ok(())
}

/// What the attempt makes of its delivery. One that was cancelled meanwhile stays so.
fn change(
    tx: &mut Tx<'_>,
    Record { job, lane, outcome, ended_at, .. }: &Record,
) -> rusqlite::Result<()> {
    let (state, due_at) = match outcome {
        Outcome::Copy => return Ok(()),
        Outcome::Again(at) => (0, Some(millis(*at))),
        Outcome::Delivered => (1, None),
        Outcome::GivenUp | Outcome::Gone => (2, None),
    };
    tx.db
        .prepare_cached(
            "UPDATE delivery SET state = ?2, due_at = ?3, ended_at = ?4, attempts = ?5, run_attempts = ?6,
                 is_retry = 1 WHERE id = ?1 AND state = 0",
        )?
        .execute(params![
            job.id,
            state,
            due_at,
            (state != 0).then(|| millis(*ended_at)),
            job.attempts + 1,
            job.run_attempts + 1
        ])?;
    match &job.entity {
        Some(entity) if state != 0 => promote(tx, lane, entity, *ended_at),
        _ => Ok(()),
    }
}

/// Makes the oldest unfinished delivery of the entity due, now that the one before it has ended.
fn promote(tx: &mut Tx<'_>, lane: &Lane, entity: &str, now: Timestamp) -> rusqlite::Result<()> {
    let promoted = tx
        .db
        .prepare_cached(
            "UPDATE delivery SET due_at = ?3 WHERE due_at IS NULL AND id = (
                 SELECT min(id) FROM delivery WHERE subscription = ?1 AND entity = ?2 AND state = 0)",
        )?
        .execute(params![lane.id, entity, millis(now)])?;
    if promoted > 0 {
        tx.memory.poked.insert(lane.id);
    }
    Ok(())
}

/// Which deliveries to send again.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Selection {
    /// That of this attempt.
    Attempt(i64),
    /// All of the event with this id, to every subscription that it went to.
    Event(String),
    /// Those that were given up in a time.
    Failed {
        /// To this subscription; to any if there is none.
        subscription: Option<String>,
        /// Given up at this time or later.
        #[schema(value_type = Option<String>, format = DateTime)]
        since: Option<Timestamp>,
        /// Given up before this time.
        #[schema(value_type = Option<String>, format = DateTime)]
        until: Option<Timestamp>,
    },
}

/// What sending again would do.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Preview {
    /// How many deliveries.
    pub deliveries: u64,
    /// How long the sending takes at the rate, in seconds.
    pub seconds: f64,
    /// The events of the first of them.
    pub events: Vec<String>,
}

impl Selection {
    /// Which deliveries `d` they are: those that have ended, of subscriptions that are there.
    fn condition(&self) -> (String, Vec<Value>) {
        let mut values = Vec::new();
        let mut sql = String::from(
            "d.state <> 0 AND d.subscription IN (SELECT id FROM subscription WHERE standing <> 4)",
        );
        let mut and = |test: &str, value: Value| {
            sql.push_str(" AND ");
            sql.push_str(test);
            values.push(value);
        };
        match self {
            Selection::Attempt(id) => {
                and("d.id = (SELECT delivery FROM attempt WHERE id = ?)", (*id).into());
            }
            Selection::Event(id) => {
                and("d.event = (SELECT id FROM event WHERE event_id = ?)", id.clone().into());
            }
            Selection::Failed { subscription, since, until } => {
                and("d.state = ?", 2.into());
                if let Some(name) = subscription {
                    let named = "d.subscription = (SELECT id FROM subscription WHERE name = ? AND standing <> 4)";
                    and(named, name.clone().into());
                }
                and("d.ended_at >= ?", since.map_or(0, millis).into());
                and("d.ended_at < ?", until.map_or(i64::MAX, millis).into());
            }
        }
        (sql, values)
    }
}

/// Which deliveries are meant, oldest first.
pub(super) fn chosen(db: &Connection, selection: &Selection) -> rusqlite::Result<Vec<i64>> {
    let (condition, values) = selection.condition();
    let query = format!("SELECT d.id FROM delivery d WHERE {condition} ORDER BY d.id");
    db.prepare(&query)?.query_map(params_from_iter(values), |row| row.get(0))?.collect()
}

/// Sends these again, as far as they have still ended; the first of them is at this place of all that are sent again.
pub(super) fn resend(
    tx: &mut Tx<'_>,
    ids: &[i64],
    first: usize,
    rate: Option<f64>,
    now: Timestamp,
) -> rusqlite::Result<u64> {
    let mut ended = tx.db.prepare_cached(
        "SELECT subscription, entity FROM delivery WHERE id = ?1 AND state <> 0
             AND subscription IN (SELECT id FROM subscription WHERE standing <> 4)",
    )?;
    let mut resent = 0;
    for (place, id) in (first..).zip(ids) {
        let found = ended.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((subscription, entity)): Option<(i64, Option<String>)> = found else { continue };
        let is_behind = is_behind(tx.db, subscription, entity.as_deref(), *id)?;
        let due = later(now, spread(place, rate));
        tx.db
            .prepare_cached(
                "UPDATE delivery SET state = 0, is_retry = 1, due_at = ?2, ended_at = NULL, run_attempts = 0
                 WHERE id = ?1",
            )?
            .execute(params![id, (!is_behind).then(|| millis(due))])?;
        tx.memory.poked.insert(subscription);
        resent += 1;
    }
    Ok(resent)
}

/// How long after the first the one at this place is sent.
fn spread(place: usize, rate: Option<f64>) -> TimeDelta {
    let seconds = rate.map_or(0.0, |rate| place as f64 / rate);
    TimeDelta::try_milliseconds((seconds * 1e3) as i64).unwrap_or(TimeDelta::MAX)
}

pub(super) fn preview(
    db: &Connection,
    selection: &Selection,
    rate: Option<f64>,
) -> rusqlite::Result<Preview> {
    let (condition, values) = selection.condition();
    let count = format!("SELECT count(*) FROM delivery d WHERE {condition}");
    let deliveries = db
        .prepare(&count)?
        .query_row(params_from_iter(values.clone()), |row| row.get::<_, i64>(0))?
        .unsigned_abs();
    let first = format!(
        "SELECT e.event_id FROM delivery d JOIN event e ON e.id = d.event
         WHERE {condition} ORDER BY d.id LIMIT {NAMED}"
    );
    let events = db
        .prepare(&first)?
        .query_map(params_from_iter(values), |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let last = usize::try_from(deliveries).unwrap_or(usize::MAX).saturating_sub(1);
    Ok(Preview { deliveries, seconds: spread(last, rate).as_seconds_f64(), events })
}

/// Cancels what waits for a subscription.
pub(super) fn cancel(db: &Connection, subscription: i64, now: Timestamp) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE delivery SET state = 3, due_at = NULL, ended_at = ?2 WHERE subscription = ?1
             AND state = 0",
    )?
    .execute(params![subscription, millis(now)])?;
    Ok(())
}
