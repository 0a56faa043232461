//! Time index of deliveries: the acceptance times of consecutive ids, which bound a listing by time.
//!
//! Delivery ids ascend, but a clock may be set at any time, so a binary search by time is not possible. Instead, the
//! earliest and latest time of every [`SPAN`] deliveries is stored.

use contract::event::DeliveryId;
use contract::time::Timestamp;
use rusqlite::{Connection, params};

use super::columns::millis;

/// Number of deliveries in a span.
const SPAN: DeliveryId = 4096;

/// Stores the span that this delivery ends, if it ends one.
pub(super) fn note(db: &Connection, id: DeliveryId) -> rusqlite::Result<()> {
    note_after(db, id - 1, id)
}

/// Stores the span that these deliveries end, up to `id`, if they end one.
pub(super) fn note_after(
    db: &Connection,
    after: DeliveryId,
    id: DeliveryId,
) -> rusqlite::Result<()> {
    if after / SPAN == id / SPAN {
        return Ok(());
    }
    db.prepare_cached(
        "INSERT OR REPLACE INTO span SELECT max(id), min(received_at), max(received_at) FROM delivery
             WHERE id > (SELECT coalesce(max(last), 0) FROM span WHERE last < ?1) AND id <= ?1",
    )?
    .execute([id])?;
    Ok(())
}

/// Largest id up to which no delivery was accepted at this time or later.
pub(super) fn since(db: &Connection, since: Timestamp) -> rusqlite::Result<DeliveryId> {
    db.prepare_cached(
        "SELECT coalesce(max(last), 0) FROM span
             WHERE last < coalesce((SELECT min(last) FROM span WHERE latest >= ?1), ?2)",
    )?
    .query_row(params![millis(since), DeliveryId::MAX], |row| row.get(0))
}

/// Id above which no delivery was accepted before this time.
pub(super) fn until(db: &Connection, until: Timestamp) -> rusqlite::Result<DeliveryId> {
    db.prepare_cached(
        "SELECT CASE WHEN EXISTS (
                 SELECT 1 FROM delivery WHERE id > (SELECT coalesce(max(last), 0) FROM span) AND received_at < ?1)
             THEN ?2 ELSE (SELECT coalesce(max(last), 0) FROM span WHERE earliest < ?1) END",
    )?
    .query_row(params![millis(until), DeliveryId::MAX], |row| row.get(0))
}
