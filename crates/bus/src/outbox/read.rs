//! Queries for due deliveries.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use contract::event::Environment;
use contract::time::Timestamp;
use rusqlite::{Connection, Row, params};

use super::rows::QueuedDelivery;
use super::{millis, timestamp};
use crate::publication::{Draft, PublishedEvent};

/// The columns from which [`event`] makes an event.
const EVENT: &str = "e.id, e.event_id, e.event_type, e.environment, e.object_type, e.object_id,
     e.source_user, e.happened_at, e.published_at, e.body, e.record";

/// A delivery queue's query for due deliveries.
pub(in super::super) struct DueQuery {
    pub(in super::super) subscription: i64,
    pub(in super::super) is_retry: bool,
    pub(in super::super) now: Timestamp,
    /// The deliveries that the queue has already.
    pub(in super::super) held: HashSet<i64>,
    /// The largest number of further deliveries.
    pub(in super::super) most: usize,
    /// The number of bytes after which no more are read.
    pub(in super::super) bytes: usize,
}

/// Due deliveries, oldest first.
pub(in super::super) struct DueDeliveries {
    pub(in super::super) deliveries: Vec<QueuedDelivery>,
    /// Due deliveries that the queue has already.
    pub(in super::super) passed: Vec<i64>,
    /// True if more may be due.
    pub(in super::super) has_more: bool,
    /// The time at which the next one becomes due.
    pub(in super::super) next: Option<Timestamp>,
}

/// The rows are read one by one as long as there is room, so the index must have them in this order.
fn query() -> String {
    format!(
        "SELECT {EVENT}, d.id, d.attempts, d.run_attempts, d.entity
         FROM delivery d JOIN event e ON e.id = d.event
         WHERE d.subscription = ?1 AND d.is_retry = ?2 AND d.due_at IS NOT NULL AND d.due_at <= ?3
         ORDER BY d.due_at, d.id"
    )
}

pub(super) fn due(db: &Connection, wanted: &DueQuery) -> rusqlite::Result<DueDeliveries> {
    let DueQuery { subscription, is_retry, now, held, most, bytes } = wanted;
    let (subscription, is_retry, now) = (*subscription, *is_retry, *now);
    // A delivery that was never tried is due, even if a clock was set back.
    let until = if is_retry { millis(now) } else { i64::MAX };
    let mut statement = db.prepare_cached(&query())?;
    let mut rows = statement.query(params![subscription, is_retry, until])?;
    let (mut deliveries, mut passed, mut size) = (Vec::new(), Vec::new(), 0);
    let has_more = loop {
        let Some(row) = rows.next()? else { break false };
        let id = row.get(11)?;
        if held.contains(&id) {
            passed.push(id);
            continue;
        }
        if deliveries.len() >= *most || (size >= *bytes && !deliveries.is_empty()) {
            break true;
        }
        let delivery = QueuedDelivery {
            event: Arc::new(event(row)?),
            id,
            attempts: row.get(12)?,
            run_attempts: row.get(13)?,
            entity: row.get(14)?,
            is_retry,
        };
        size += delivery.event.draft.size();
        deliveries.push(delivery);
    };
    let next: Option<i64> = db
        .prepare_cached(
            "SELECT min(due_at) FROM delivery
             WHERE subscription = ?1 AND is_retry = ?2 AND due_at IS NOT NULL AND due_at > ?3",
        )?
        .query_row(params![subscription, is_retry, until], |row| row.get(0))?;
    Ok(DueDeliveries { deliveries, passed, has_more, next: next.map(timestamp) })
}

fn event(row: &Row<'_>) -> rusqlite::Result<PublishedEvent> {
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
    Ok(PublishedEvent::new(row.get(0)?, draft))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// An outbox with so many due deliveries of events of ten bytes, numbered from 1.
    fn outbox(deliveries: i64) -> Connection {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(include_str!("v1.sql")).unwrap();
        for n in 1..=deliveries {
            db.execute(
                "INSERT INTO event (event_id, event_type, happened_at, published_at, body)
                 VALUES (?1, 'Own', 0, 0, x'30313233343536373839')",
                [n.to_string()],
            )
            .unwrap();
            db.execute(
                "INSERT INTO delivery (event, subscription, state, is_retry, due_at) VALUES (?1, 1, 0, 1, 5)",
                [n],
            )
            .unwrap();
        }
        db
    }

    fn read(
        db: &Connection,
        held: &[i64],
        most: usize,
        bytes: usize,
    ) -> (Vec<i64>, Vec<i64>, bool) {
        let held = held.iter().copied().collect();
        let (subscription, now) = (1, timestamp(9));
        let wanted = DueQuery { subscription, is_retry: true, now, held, most, bytes };
        let due = due(db, &wanted).unwrap();
        (due.deliveries.iter().map(|delivery| delivery.id).collect(), due.passed, due.has_more)
    }

    #[test]
    fn so_much_is_read_as_there_is_room_for_and_one_at_least() {
        let db = outbox(4);
        assert_eq!(read(&db, &[], 9, 1000), (vec![1, 2, 3, 4], vec![], false));
        assert_eq!(read(&db, &[], 3, 1000), (vec![1, 2, 3], vec![], true));
        assert_eq!(read(&db, &[], 9, 20), (vec![1, 2], vec![], true));
        assert_eq!(read(&db, &[], 9, 0), (vec![1], vec![], true));
        assert_eq!(read(&db, &[1, 3], 9, 0), (vec![2], vec![1, 3], true));
        assert_eq!(read(&db, &[1, 2, 3, 4], 9, 0), (vec![], vec![1, 2, 3, 4], false));
    }

    #[test]
    fn nothing_is_sorted_before_the_first_row_is_there() {
        let db = outbox(0);
        let mut plan = db.prepare(&format!("EXPLAIN QUERY PLAN {}", query())).unwrap();
        let steps = plan.query_map(params![1, true, 9], |row| row.get::<_, String>(3)).unwrap();
        let steps = steps.collect::<rusqlite::Result<Vec<_>>>().unwrap().join("; ");
        assert!(steps.contains("delivery_due") && !steps.contains("TEMP B-TREE"), "{steps}");
    }
}
