//! When stretches of deliveries were accepted: where a listing of a time begins and ends.
//!
//! Deliveries are numbered as they are accepted, but a clock may be set at any time, so the numbers of a time cannot be
//! searched for. The times of every [`SPAN`] deliveries are noted instead.

use contract::event::DeliveryId;
use contract::time::Timestamp;
use rusqlite::{Connection, params};

use super::columns::millis;

/// How many deliveries make a span.
const SPAN: DeliveryId = 4096;

/// Notes the span that this delivery ends, if it ends one.
pub(super) fn note(db: &Connection, id: DeliveryId) -> rusqlite::Result<()> {
    if id % SPAN != 0 {
        return Ok(());
    }
    db.prepare_cached(
        "INSERT OR REPLACE INTO span SELECT max(id), min(received_at), max(received_at) FROM delivery
             WHERE id > (SELECT coalesce(max(last), 0) FROM span WHERE last < ?1) AND id <= ?1",
    )?
    .execute([id])?;
    Ok(())
}

/// The number below which no delivery was accepted at this time or later, itself included.
pub(super) fn since(db: &Connection, since: Timestamp) -> rusqlite::Result<DeliveryId> {
    db.prepare_cached(
        "SELECT coalesce(max(last), 0) FROM span
             WHERE last < coalesce((SELECT min(last) FROM span WHERE latest >= ?1), ?2)",
    )?
    .query_row(params![millis(since), DeliveryId::MAX], |row| row.get(0))
}

/// The number above which no delivery was accepted before this time.
pub(super) fn until(db: &Connection, until: Timestamp) -> rusqlite::Result<DeliveryId> {
    db.prepare_cached(
        "SELECT CASE WHEN EXISTS (
                 SELECT 1 FROM delivery WHERE id > (SELECT coalesce(max(last), 0) FROM span) AND received_at < ?1)
             THEN ?2 ELSE (SELECT coalesce(max(last), 0) FROM span WHERE earliest < ?1) END",
    )?
    .query_row(params![millis(until), DeliveryId::MAX], |row| row.get(0))
}
