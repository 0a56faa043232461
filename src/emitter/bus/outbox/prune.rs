//! Forgets what is past its time, in small steps.

use rusqlite::{Connection, params};

use super::{Outbox, limit, millis};
use crate::event::Timestamp;
use crate::sqlite::Result;

/// How many rows one step looks at.
const STEP: i64 = 200;

/// Before which times what is forgotten.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Horizon {
    pub(in super::super) events: Timestamp,
    pub(in super::super) attempts: Timestamp,
    pub(in super::super) payloads: Timestamp,
}

impl Outbox {
    /// Makes one step; returns how many rows went.
    pub(in super::super) async fn prune(&self, horizon: Horizon) -> Result<usize> {
        self.store.writer.call_soon(move |tx| step(tx.db, horizon)).await
    }
}

/// The oldest rows go. The newest of each kind stays, so that its number is never given out again.
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
    let events: Vec<i64> = db
        .prepare_cached(
            "SELECT id FROM event WHERE published_at < ?1 AND id < (SELECT max(id) FROM event)
                 AND NOT EXISTS (SELECT 1 FROM delivery WHERE event = event.id AND state = 0)
             ORDER BY published_at LIMIT ?2",
        )?
        .query_map(params![millis(horizon.events), STEP], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut rows = payloads + attempts;
    let mut room = STEP;
    for event in events {
        let deliveries = db
            .prepare_cached(
                "DELETE FROM delivery WHERE id IN (SELECT id FROM delivery WHERE event = ?1 LIMIT ?2)",
            )?
            .execute([event, room])?;
        rows += deliveries;
        room -= limit(deliveries);
        if room <= 0 {
            break;
        }
        rows += db.prepare_cached("DELETE FROM event WHERE id = ?1")?.execute([event])?;
    }
    Ok(rows)
}
