//! The rejection log's rows, written and read.

use rusqlite::{Connection, params};

use super::super::Rejection;
use super::super::rejection_log::{KEPT, KEPT_ALIKE};
use super::columns::{millis, timestamp};

/// Adds requests; of a request that exists already, the findings are replaced.
pub(super) fn note(db: &Connection, rejections: &[Rejection]) -> rusqlite::Result<()> {
    let mut insert = db.prepare_cached(
        "INSERT INTO sighting (request_id, at, source, target, event_type, message_id, delivery, status, reason, findings)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (request_id) DO UPDATE SET findings = excluded.findings",
    )?;
    for rejection in rejections {
        insert.execute(params![
            rejection.request_id,
            millis(rejection.at),
            rejection.source,
            rejection.target,
            rejection.event_type,
            rejection.message_id,
            rejection.delivery,
            rejection.status,
            rejection.reason,
            rejection.findings,
        ])?;
    }
    let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
    db.prepare_cached(
        "DELETE FROM sighting WHERE id IN (
            SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY source, status, reason ORDER BY id DESC) AS number
                FROM sighting)
            WHERE number > ?1)",
    )?
    .execute([number(KEPT_ALIKE)])?;
    db.prepare_cached(
        "DELETE FROM sighting WHERE id IN (SELECT id FROM sighting ORDER BY id DESC LIMIT -1 OFFSET ?1)",
    )?
    .execute([number(KEPT)])?;
    Ok(())
}

/// Reads all requests, oldest first.
pub(super) fn all(db: &Connection) -> rusqlite::Result<Vec<Rejection>> {
    db.prepare_cached(
        "SELECT request_id, at, source, target, event_type, message_id, delivery, status, reason, findings
         FROM sighting ORDER BY id",
    )?
    .query_map([], |row| {
        Ok(Rejection {
            request_id: row.get(0)?,
            at: timestamp(row.get(1)?),
            source: row.get(2)?,
            target: row.get(3)?,
            event_type: row.get(4)?,
            message_id: row.get(5)?,
            delivery: row.get(6)?,
            status: row.get(7)?,
            reason: row.get(8)?,
            findings: row.get(9)?,
        })
    })?
    .collect()
}
