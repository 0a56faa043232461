//! Writes: publishing, recording attempts, and resending.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use chrono::TimeDelta;
use contract::time::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::millis;
use super::rows::{AttemptOutcome, FinishedAttempt, NewDelivery, QueuedDelivery, Recipient};
use crate::publication::{Draft, PublishReceipt, PublishStatus, PublishedEvent};
use crate::time::later;

/// The largest number of new deliveries that one transaction returns.
const HANDED: usize = 65_536;

/// The largest number of events that a preview lists.
const NAMED: usize = 20;

/// The result of a transaction that publishes events.
#[derive(Default)]
pub(crate) struct PublishedBatch {
    /// One receipt for each publication.
    pub(crate) receipts: Vec<PublishReceipt>,
    /// The deliveries that are due at once, in their order; further ones are left to be read.
    pub(crate) due: Vec<NewDelivery>,
    /// The subscriptions with further due deliveries.
    pub(crate) left: BTreeSet<i64>,
}

impl PublishedBatch {
    fn add(&mut self, subscription: i64, delivery: QueuedDelivery) {
        match self.due.len() < HANDED {
            true => self.due.push(NewDelivery { subscription, delivery }),
            false => drop(self.left.insert(subscription)),
        }
    }
}

pub(super) fn publish(
    db: &Connection,
    draft: Draft,
    recipients: &[Recipient],
    made: &mut PublishedBatch,
) -> rusqlite::Result<()> {
    if let Some(status) = previous(db, &draft)? {
        made.receipts.push(PublishReceipt { id: draft.event_id, status, deliveries: 0 });
        return Ok(());
    }
    db.prepare_cached(
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
    let event = Arc::new(PublishedEvent::new(db.last_insert_rowid(), draft));
    let mut deliveries = 0;
    for recipient in recipients {
        deliveries += usize::from(deliver(db, &event, recipient, made)?);
    }
    let id = event.draft.event_id.clone();
    made.receipts.push(PublishReceipt { id, status: PublishStatus::Accepted, deliveries });
    Ok(())
}

/// Finds a previous publication of the id, and compares its content.
fn previous(db: &Connection, draft: &Draft) -> rusqlite::Result<Option<PublishStatus>> {
    let same = db
        .prepare_cached("SELECT event_type = ?2 AND body = ?3 FROM event WHERE event_id = ?1")?
        .query_row(params![draft.event_id, draft.event_type, draft.body.as_ref()], |row| {
            row.get::<_, bool>(0)
        })
        .optional()?;
    Ok(same.map(|same| if same { PublishStatus::Duplicate } else { PublishStatus::Conflict }))
}

/// Creates the delivery of one event to one subscription; false if the subscription was removed meanwhile, since
/// nothing would ever end the delivery. It is due at once, unless another of its entity is before it.
fn deliver(
    db: &Connection,
    event: &Arc<PublishedEvent>,
    recipient: &Recipient,
    made: &mut PublishedBatch,
) -> rusqlite::Result<bool> {
    let Recipient { subscription, is_in_order } = *recipient;
    let entity = if is_in_order { event.draft.entity() } else { None };
    let is_behind = is_behind(db, subscription, entity.as_deref(), i64::MAX)?;
    let inserted = db
        .prepare_cached(
            "INSERT INTO delivery (event, subscription, state, is_retry, due_at, entity)
             SELECT ?1, id, 0, 0, ?3, ?4 FROM subscription WHERE id = ?2 AND standing < 3",
        )?
        .execute(params![
            event.number,
            subscription,
            (!is_behind).then(|| millis(event.draft.published_at)),
            entity
        ])?;
    if inserted > 0 && !is_behind {
        let (id, event) = (db.last_insert_rowid(), Arc::clone(event));
        let new =
            QueuedDelivery { id, event, attempts: 0, run_attempts: 0, is_retry: false, entity };
        made.add(subscription, new);
    }
    Ok(inserted > 0)
}

/// True if an unfinished delivery of the same entity has a smaller number.
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

pub(super) fn record(
    db: &Connection,
    attempts: &[FinishedAttempt],
) -> rusqlite::Result<BTreeSet<i64>> {
    let mut due = BTreeSet::new();
    for attempt in attempts {
        log(db, attempt)?;
        if change(db, attempt)? {
            due.insert(attempt.subscription);
        }
    }
    // Of several attempts at one target the last has the current number of failures.
    let standing = attempts.iter().filter_map(|it| Some((it.subscription, it.failures?)));
    let last: HashMap<i64, (u64, Timestamp)> = standing.collect();
    for (subscription, (failures, since)) in last {
        let since = (failures > 0).then(|| millis(since));
        db.prepare_cached(
            "UPDATE subscription SET failures = ?2, failing_since = ?3 WHERE id = ?1",
        )?
        .execute(params![
            subscription,
            i64::try_from(failures).unwrap_or(i64::MAX),
            since
        ])?;
    }
    Ok(due)
}

fn log(db: &Connection, attempt: &FinishedAttempt) -> rusqlite::Result<()> {
    let FinishedAttempt { delivery, subscription, .. } = attempt;
    db.prepare_cached(
        "INSERT INTO attempt (delivery, event, subscription, attempt, started_at, took, uri, status,
             outcome, error, fault)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?
    .execute(params![
        delivery.id,
        delivery.event.number,
        subscription,
        delivery.attempts + 1,
        millis(attempt.started_at),
        i64::try_from(attempt.sent.took.as_micros()).unwrap_or(i64::MAX),
        attempt.sent.uri,
        attempt.sent.status(),
        attempt.outcome.number(),
        attempt.error,
        attempt.fault,
    ])?;
    let (headers, body, is_cut) = attempt.sent.answer();
    db.prepare_cached(
        "INSERT INTO payload (attempt, request_headers, request_body, response_headers, response_body, is_cut)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        db.last_insert_rowid(),
        attempt.sent.request_headers,
        attempt.sent.request_body.as_deref(),
        headers,
        body,
        is_cut
    ])?;
    Ok(())
}

/// Updates the attempt's delivery; true if another one has become due. One that was cancelled meanwhile stays
/// cancelled.
fn change(
    db: &Connection,
    FinishedAttempt { delivery, subscription, outcome, ended_at, .. }: &FinishedAttempt,
) -> rusqlite::Result<bool> {
    let (state, due_at) = match outcome {
        AttemptOutcome::Copy => return Ok(false),
        AttemptOutcome::Retry(at) => (0, Some(millis(*at))),
        AttemptOutcome::Delivered => (1, None),
        AttemptOutcome::GivenUp | AttemptOutcome::Gone => (2, None),
    };
    db.prepare_cached(
        "UPDATE delivery SET state = ?2, due_at = ?3, ended_at = ?4, attempts = ?5, run_attempts = ?6,
             is_retry = 1 WHERE id = ?1 AND state = 0",
    )?
    .execute(params![
        delivery.id,
        state,
        due_at,
        (state != 0).then(|| millis(*ended_at)),
        delivery.attempts + 1,
        delivery.run_attempts + 1
    ])?;
    match &delivery.entity {
        Some(entity) if state != 0 => promote(db, *subscription, entity, *ended_at),
        _ => Ok(false),
    }
}

/// Makes the oldest unfinished delivery of the entity due, now that the one before it has ended; false if there is
/// none.
fn promote(
    db: &Connection,
    subscription: i64,
    entity: &str,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let promoted = db
        .prepare_cached(
            "UPDATE delivery SET due_at = ?3 WHERE due_at IS NULL AND id = (
                 SELECT min(id) FROM delivery WHERE subscription = ?1 AND entity = ?2 AND state = 0)",
        )?
        .execute(params![subscription, entity, millis(now)])?;
    // One that is due already counts: the record of an attempt may be repeated.
    Ok(promoted > 0 || is_behind(db, subscription, Some(entity), i64::MAX)?)
}

/// The deliveries to send again.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ResendSelection {
    /// The delivery of this attempt.
    Attempt(i64),
    /// All deliveries of the event with this id.
    Event(String),
    /// The deliveries that were given up in a period.
    Failed {
        /// The name of the subscription; any if it is missing.
        subscription: Option<String>,
        /// The earliest time at which it was given up.
        since: Option<Timestamp>,
        /// The time before which it was given up.
        until: Option<Timestamp>,
    },
}

/// The preview of a resend.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Preview {
    /// The number of deliveries.
    pub deliveries: u64,
    /// The duration at the given rate, in seconds.
    pub seconds: f64,
    /// The ids of the first events.
    pub events: Vec<String>,
}

impl ResendSelection {
    /// The condition in SQL for deliveries `d`: those that have ended, of subscriptions that are not removed.
    pub(super) fn condition(&self) -> (String, Vec<Value>) {
        let mut values = Vec::new();
        let mut sql = String::from(
            "d.state <> 0 AND d.subscription IN (SELECT id FROM subscription WHERE standing <> 4)",
        );
        if matches!(self, ResendSelection::Failed { .. }) {
            // Written out, for the index on what was given up.
            sql.push_str(" AND d.state = 2");
        }
        let mut and = |test: &str, value: Value| {
            sql.push_str(" AND ");
            sql.push_str(test);
            values.push(value);
        };
        match self {
            ResendSelection::Attempt(id) => {
                and("d.id = (SELECT delivery FROM attempt WHERE id = ?)", (*id).into());
            }
            ResendSelection::Event(id) => {
                and("d.event = (SELECT id FROM event WHERE event_id = ?)", id.clone().into());
            }
            ResendSelection::Failed { subscription, since, until } => {
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

/// The selected deliveries, oldest first.
pub(super) fn chosen(db: &Connection, selection: &ResendSelection) -> rusqlite::Result<Vec<i64>> {
    let (condition, values) = selection.condition();
    let query = format!("SELECT d.id FROM delivery d WHERE {condition} ORDER BY d.id");
    db.prepare(&query)?.query_map(params_from_iter(values), |row| row.get(0))?.collect()
}

/// Makes these deliveries due again, unless they are due already, and returns their subscriptions; `first` is the index
/// of the first among all that are sent again.
pub(super) fn resend(
    db: &Connection,
    ids: &[i64],
    first: usize,
    rate: Option<f64>,
    now: Timestamp,
) -> rusqlite::Result<Vec<i64>> {
    let mut ended = db.prepare_cached(
        "SELECT subscription, entity FROM delivery WHERE id = ?1 AND state <> 0
             AND subscription IN (SELECT id FROM subscription WHERE standing <> 4)",
    )?;
    let mut resent = Vec::new();
    for (index, id) in (first..).zip(ids) {
        let found = ended.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((subscription, entity)): Option<(i64, Option<String>)> = found else { continue };
        let is_behind = is_behind(db, subscription, entity.as_deref(), *id)?;
        let due = later(now, spread(index, rate));
        db.prepare_cached(
            "UPDATE delivery SET state = 0, is_retry = 1, due_at = ?2, ended_at = NULL, run_attempts = 0
             WHERE id = ?1",
        )?
        .execute(params![id, (!is_behind).then(|| millis(due))])?;
        resent.push(subscription);
    }
    Ok(resent)
}

/// The delay of the delivery with this index after the first.
fn spread(index: usize, rate: Option<f64>) -> TimeDelta {
    let seconds = rate.map_or(0.0, |rate| index as f64 / rate);
    TimeDelta::try_milliseconds((seconds * 1e3) as i64).unwrap_or(TimeDelta::MAX)
}

pub(super) fn preview(
    db: &Connection,
    selection: &ResendSelection,
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

/// Cancels the waiting deliveries of a subscription.
pub(super) fn cancel(db: &Connection, subscription: i64, now: Timestamp) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE delivery SET state = 3, due_at = NULL, ended_at = ?2 WHERE subscription = ?1
             AND state = 0",
    )?
    .execute(params![subscription, millis(now)])?;
    Ok(())
}
