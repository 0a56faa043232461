//! Retention: prunes old rows, in small steps.

use contract::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use store::Result;

use super::{Outbox, limit, millis};

/// The number of rows that one step examines.
const STEP: i64 = 200;

/// The times before which rows are pruned.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Horizon {
    pub(in super::super) events: Timestamp,
    pub(in super::super) attempts: Timestamp,
    pub(in super::super) payloads: Timestamp,
}

impl Outbox {
    /// Makes one step; returns the number of pruned rows.
    pub(in super::super) async fn prune(&self, horizon: Horizon) -> Result<usize> {
        self.store.writer.call_soon(move |tx| step(tx.db, horizon)).await
    }
}

/// Deletes the oldest rows. The newest of each kind stays, so that its number is never used again.
fn step(db: &Connection, horizon: Horizon) -> rusqlite::Result<usize> {
    let payloads = db
        .prepare_cached(
            "DELETE FROM payload WHERE attempt IN (
                 SELECT p.attempt FROM (SELECT attempt FROM payload ORDER BY attempt LIMIT ?2) p
                 LEFT JOIN attempt a ON a.id = p.attempt WHERE a.id IS NULL OR a.started_at < ?1)",
        )?
        .execute(params![millis(horizon.payloads), STEP])?;
    let attempts = db
        .prepare_cached(
            "DELETE FROM attempt WHERE id IN (
                 SELECT id FROM (SELECT id, started_at FROM attempt ORDER BY id LIMIT ?2)
                 WHERE started_at < ?1) AND id < (SELECT max(id) FROM attempt)",
        )?
        .execute(params![millis(horizon.attempts), STEP])?;
    Ok(payloads + attempts + events(db, millis(horizon.events))?)
}

/// Deletes events without waiting deliveries, together with their deliveries, of which there may be more than one step
/// takes.
fn events(db: &Connection, before: i64) -> rusqlite::Result<usize> {
    let mut oldest = db.prepare_cached(
        "SELECT published_at, id FROM event
         WHERE published_at < ?1 AND (published_at, id) > (?2, ?3) AND id < (SELECT max(id) FROM event)
             AND NOT EXISTS (SELECT 1 FROM delivery WHERE event = event.id AND state = 0)
         ORDER BY published_at, id LIMIT 1",
    )?;
    let (mut rows, mut room, mut last) = (0, STEP, (i64::MIN, 0));
    while room > 0 {
        let params = params![before, last.0, last.1];
        let found = oldest.query_row(params, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some(event) = found else { break };
        last = event;
        let deliveries = db
            .prepare_cached(
                "DELETE FROM delivery WHERE id IN (SELECT id FROM delivery WHERE event = ?1 LIMIT ?2)",
            )?
            .execute([event.1, room])?;
        rows += deliveries;
        room -= limit(deliveries);
        if room > 0 {
            rows += db.prepare_cached("DELETE FROM event WHERE id = ?1")?.execute([event.1])?;
            room -= 1;
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_with_many_deliveries_goes_in_steps_and_the_newest_stays() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(include_str!("v1.sql")).unwrap();
        for event in ["old", "newest"] {
            db.execute(
                "INSERT INTO event (event_id, event_type, happened_at, published_at, body) VALUES (?1, 'Own', 0, 0, x'7b7d')",
                [event],
            )
            .unwrap();
        }
        for _ in 0..450 {
            db.execute(
                "INSERT INTO delivery (event, subscription, state, is_retry) VALUES (1, 1, 1, 0)",
                [],
            )
            .unwrap();
        }
        let now = Timestamp::MAX_UTC;
        let horizon = Horizon { events: now, attempts: now, payloads: now };
        let steps: Vec<usize> = (0..4).map(|_| step(&db, horizon).unwrap()).collect();
        assert_eq!(steps, [200, 200, 51, 0]);
        let left: String =
            db.query_row("SELECT event_id FROM event", [], |row| row.get(0)).unwrap();
        assert_eq!(left, "newest");
    }
}
