//! What the lanes read: what is due.

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, Row, params};

use super::super::lane::Job;
use super::super::publication::{Draft, Event};
use super::{limit, millis, timestamp};
use crate::event::{Environment, Timestamp};

/// The columns from which [`event`] makes an event.
const EVENT: &str = "e.id, e.event_id, e.event_type, e.environment, e.object_type, e.object_id,
     e.source_user, e.happened_at, e.published_at, e.body, e.record";

pub(super) fn due(
    db: &Connection,
    subscription: i64,
    is_retry: bool,
    now: Timestamp,
    most: usize,
) -> rusqlite::Result<(Vec<Job>, Option<Timestamp>)> {
    // What was never tried is due, whatever a clock that was set back says.
    let until = if is_retry { millis(now) } else { i64::MAX };
    let query = format!(
        "SELECT {EVENT}, d.id, d.attempts, d.run_attempts, d.entity
         FROM delivery d JOIN event e ON e.id = d.event
         WHERE d.subscription = ?1 AND d.is_retry = ?2 AND d.due_at IS NOT NULL AND d.due_at <= ?3
         ORDER BY d.due_at, d.id LIMIT ?4"
    );
    let jobs = db
        .prepare_cached(&query)?
        .query_map(params![subscription, is_retry, until, limit(most)], |row| {
            Ok(Job {
                event: Arc::new(event(row)?),
                id: row.get(11)?,
                attempts: row.get(12)?,
                run_attempts: row.get(13)?,
                entity: row.get(14)?,
                is_retry,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let next: Option<i64> = db
        .prepare_cached(
            "SELECT min(due_at) FROM delivery
             WHERE subscription = ?1 AND is_retry = ?2 AND due_at IS NOT NULL AND due_at > ?3",
        )?
        .query_row(params![subscription, is_retry, until], |row| row.get(0))?;
    Ok((jobs, next.map(timestamp)))
}

fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    let environment: Option<String> = row.get(3)?;
    let draft = Draft {
        event_id: row.get(1)?,
        event_type: row.get(2)?,
        environment: environment.as_deref().and_then(Environment::from_name),
        object_type: row.get(4)?,
        object_id: row.get(5)?,
        source_user: row.get(6)?,
        happened_at: timestamp(row.get(7)?),
        published_at: timestamp(row.get(8)?),
        body: row.get::<_, Vec<u8>>(9)?.into(),
        record: row.get::<_, Option<Vec<u8>>>(10)?.map(Bytes::from),
    };
    Ok(Event::new(row.get(0)?, draft))
}

pub(super) fn latest(db: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let latest: Option<i64> = db.query_row(
        "SELECT max(at) FROM (
             SELECT max(published_at) AS at FROM event
             UNION ALL SELECT started_at FROM attempt WHERE id = (SELECT max(id) FROM attempt))",
        [],
        |row| row.get(0),
    )?;
    Ok(latest.map(timestamp))
}
