//! Publishing, recording and sending again.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use chrono::TimeDelta;
use contract::time::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::millis;
use super::rows::{Attempt, Delivery, New, Outcome, Recipient};
use crate::publication::{Draft, Event, Published, Receipt};
use crate::time::later;

/// How many new deliveries of one transaction are returned.
const HANDED: usize = 65_536;

/// How many deliveries a preview names.
const NAMED: usize = 20;

/// What a transaction of publications has made.
#[derive(Default)]
pub(crate) struct Made {
    /// One for each publication.
    pub(crate) receipts: Vec<Receipt>,
    /// The deliveries that are due at once, in their order; beyond some they are left to be read.
    pub(crate) due: Vec<New>,
    /// The subscriptions that have others that are due.
    pub(crate) left: BTreeSet<i64>,
}

impl Made {
    fn add(&mut self, subscription: i64, delivery: Delivery) {
        match self.due.len() < HANDED {
            true => self.due.push(New { subscription, delivery }),
            false => drop(self.left.insert(subscription)),
        }
    }
}

pub(super) fn publish(
    db: &Connection,
    draft: Draft,
    recipients: &[Recipient],
    made: &mut Made,
) -> rusqlite::Result<()> {
    if let Some(status) = known(db, &draft)? {
        made.receipts.push(Receipt { id: draft.event_id, status, deliveries: 0 });
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
    let event = Arc::new(Event::new(db.last_insert_rowid(), draft));
    let mut deliveries = 0;
    for recipient in recipients {
        deliveries += usize::from(deliver(db, &event, recipient, made)?);
    }
    let id = event.is.event_id.clone();
    made.receipts.push(Receipt { id, status: Published::Accepted, deliveries });
    Ok(())
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

/// One event for one subscription; false if that was removed meanwhile, since nothing would ever end what waits for it. It
/// is due at once, unless another of its entity is before it.
fn deliver(
    db: &Connection,
    event: &Arc<Event>,
    recipient: &Recipient,
    made: &mut Made,
) -> rusqlite::Result<bool> {
    let Recipient { subscription, is_in_order } = *recipient;
    let entity = if is_in_order { event.is.entity() } else { None };
    let is_behind = is_behind(db, subscription, entity.as_deref(), i64::MAX)?;
    let inserted = db
        .prepare_cached(
            "INSERT INTO delivery (event, subscription, state, is_retry, due_at, entity)
             SELECT ?1, id, 0, 0, ?3, ?4 FROM subscription WHERE id = ?2 AND standing <> 4",
        )?
        .execute(params![
            event.number,
            subscription,
            (!is_behind).then(|| millis(event.is.published_at)),
            entity
        ])?;
    if inserted > 0 && !is_behind {
        let (id, event) = (db.last_insert_rowid(), Arc::clone(event));
        let new = Delivery { id, event, attempts: 0, run_attempts: 0, is_retry: false, entity };
        made.add(subscription, new);
    }
    Ok(inserted > 0)
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

pub(super) fn record(db: &Connection, attempts: &[Attempt]) -> rusqlite::Result<BTreeSet<i64>> {
    let mut due = BTreeSet::new();
    for attempt in attempts {
        log(db, attempt)?;
        if change(db, attempt)? {
            due.insert(attempt.subscription);
        }
    }
    // Of several attempts at one target the last knows best how it stands.
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

fn log(db: &Connection, attempt: &Attempt) -> rusqlite::Result<()> {
    let Attempt { delivery, subscription, .. } = attempt;
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

/// Changes the attempt's delivery; true if that has made another one due. One that was cancelled meanwhile stays so.
fn change(
    db: &Connection,
    Attempt { delivery, subscription, outcome, ended_at, .. }: &Attempt,
) -> rusqlite::Result<bool> {
    let (state, due_at) = match outcome {
        Outcome::Copy => return Ok(false),
        Outcome::Again(at) => (0, Some(millis(*at))),
        Outcome::Delivered => (1, None),
        Outcome::GivenUp | Outcome::Gone => (2, None),
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

/// Makes the oldest unfinished delivery of the entity due, now that the one before it has ended; false if there is none.
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
    Ok(promoted > 0)
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

/// Makes these due again, as far as they have still ended, and returns their subscriptions; the first of them is at this
/// place of all that are sent again.
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
    for (place, id) in (first..).zip(ids) {
        let found = ended.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((subscription, entity)): Option<(i64, Option<String>)> = found else { continue };
        let is_behind = is_behind(db, subscription, entity.as_deref(), *id)?;
        let due = later(now, spread(place, rate));
        db.prepare_cached(
            "UPDATE delivery SET state = 0, is_retry = 1, due_at = ?2, ended_at = NULL, run_attempts = 0
             WHERE id = ?1",
        )?
        .execute(params![id, (!is_behind).then(|| millis(due))])?;
        resent.push(subscription);
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
