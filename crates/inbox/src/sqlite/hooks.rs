//! The hook log's rows, written and read.

use std::time::Duration;

use bytes::Bytes;
use contract::time::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::super::{HookBodies, HookCallback, HookEntry, HookFilter, HookRecord};
use super::columns::{environment, millis, timestamp};
use super::rows;

const COLUMNS: &str = "id, source, environment, hook, user, request_id, received_at, took, status,
     outcome, error_id, error, callback_took, callback_error";

const BODIES: &str = "request, callback_request, callback_response, response";

pub(super) fn log(db: &Connection, calls: &[HookRecord]) -> rusqlite::Result<()> {
    calls.iter().try_for_each(|call| insert(db, None, call))
}

/// Stores a call, under the next number unless one is given.
pub(super) fn insert(db: &Connection, id: Option<i64>, call: &HookRecord) -> rusqlite::Result<()> {
    let bodies = call.bodies.as_ref();
    db.prepare_cached(
        "INSERT INTO hook_call (source, environment, hook, user, request_id, received_at, took, status,
             outcome, error_id, error, callback_took, callback_error,
             request, callback_request, callback_response, response, id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
    )?
    .execute(params![
        call.source,
        call.environment.as_str(),
        call.hook,
        call.user,
        call.request_id,
        millis(call.received_at),
        micros(call.took),
        call.status,
        call.outcome,
        call.error_id,
        call.error,
        call.callback.as_ref().map(|callback| micros(callback.took)),
        call.callback.as_ref().and_then(|callback| callback.error.as_deref()),
        bodies.map(|bodies| bodies.request.as_ref()),
        bodies.and_then(|bodies| bodies.callback_request.as_deref()),
        bodies.and_then(|bodies| bodies.callback_response.as_deref()),
        bodies.and_then(|bodies| bodies.response.as_deref()),
        id,
    ])?;
    Ok(())
}

/// Reads the calls after a number, with their bodies.
pub(super) fn after(db: &Connection, id: i64, limit: usize) -> rusqlite::Result<Vec<HookEntry>> {
    let query =
        format!("SELECT {COLUMNS}, {BODIES} FROM hook_call WHERE id > ?1 ORDER BY id LIMIT ?2");
    db.prepare_cached(&query)?
        .query_map(params![id, i64::try_from(limit).unwrap_or(i64::MAX)], whole)?
        .collect()
}

/// Lists calls, newest first, in the order of the one index, so that nothing is sorted and a time is found at once.
pub(super) fn list(db: &Connection, filter: &HookFilter) -> rusqlite::Result<Vec<HookEntry>> {
    let (query, values) = query(db, filter)?;
    db.prepare(&query)?.query_map(params_from_iter(values), entry)?.collect()
}

pub(super) fn query(
    db: &Connection,
    filter: &HookFilter,
) -> rusqlite::Result<(String, Vec<Value>)> {
    let (condition, values) = condition(db, filter)?;
    let limit = filter.limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
    let query = format!(
        "SELECT {COLUMNS} FROM hook_call INDEXED BY hook_call_received WHERE {condition}
         ORDER BY received_at DESC, id DESC LIMIT {limit}"
    );
    Ok((query, values))
}

pub(super) fn show(db: &Connection, id: i64) -> rusqlite::Result<Option<HookEntry>> {
    let query = format!("SELECT {COLUMNS}, {BODIES} FROM hook_call WHERE id = ?1");
    db.query_row(&query, [id], whole).optional()
}

/// A call with its bodies.
fn whole(row: &Row<'_>) -> rusqlite::Result<HookEntry> {
    let mut shown = entry(row)?;
    shown.record.bodies = bodies(row)?;
    Ok(shown)
}

/// Deletes old calls. The newest call is never pruned, so that its number is never reused.
pub(super) fn prune(db: &Connection, before: Timestamp, limit: usize) -> rusqlite::Result<u64> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let ids: Vec<i64> = db
        .prepare_cached(
            "SELECT id FROM hook_call WHERE received_at < ?1
                 AND id <> (SELECT max(id) FROM hook_call) ORDER BY received_at LIMIT ?2",
        )?
        .query_map(params![millis(before), limit], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut delete = db.prepare_cached("DELETE FROM hook_call WHERE id = ?1")?;
    rows::delete(&ids, |id| delete.execute([id]))
}

fn condition(db: &Connection, filter: &HookFilter) -> rusqlite::Result<(String, Vec<Value>)> {
    let conditions = [
        ("source = ?", filter.source.clone().map(Value::from)),
        ("hook = ? COLLATE NOCASE", filter.hook.clone().map(Value::from)),
        ("outcome = ?", filter.outcome.clone().map(Value::from)),
        ("error_id = ?", filter.error_id.clone().map(Value::from)),
        ("received_at >= ?", filter.since.map(|since| millis(since).into())),
        ("received_at < ?", filter.until.map(|until| millis(until).into())),
    ];
    let mut sql = String::from("1");
    let mut values = Vec::new();
    for (condition, value) in conditions {
        if let Some(value) = value {
            sql.push_str(" AND ");
            sql.push_str(condition);
            values.push(value);
        }
    }
    if let Some(before) = filter.before {
        match received_at(db, before)? {
            Some(time) => {
                sql.push_str(" AND (received_at, id) < (?, ?)");
                values.extend([time.into(), before.into()]);
            }
            // It was pruned since, and the rest of its page with it.
            None => {
                sql.push_str(" AND id < ?");
                values.push(before.into());
            }
        }
    }
    Ok((sql, values))
}

fn received_at(db: &Connection, id: i64) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached("SELECT received_at FROM hook_call WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()
}

fn entry(row: &Row<'_>) -> rusqlite::Result<HookEntry> {
    let callback = row.get::<_, Option<i64>>(12)?.map(duration);
    let callback_error = row.get(13)?;
    let record = HookRecord {
        source: row.get(1)?,
        environment: environment(row, 2)?,
        hook: row.get(3)?,
        user: row.get(4)?,
        request_id: row.get(5)?,
        received_at: timestamp(row.get(6)?),
        took: duration(row.get(7)?),
        status: row.get(8)?,
        outcome: row.get::<_, String>(9)?.into(),
        error_id: row.get(10)?,
        error: row.get(11)?,
        callback: callback.map(|took| HookCallback { took, error: callback_error }),
        bodies: None,
    };
    Ok(HookEntry { id: row.get(0)?, record })
}

fn bodies(row: &Row<'_>) -> rusqlite::Result<Option<HookBodies>> {
    let body = |column| row.get::<_, Option<Vec<u8>>>(column).map(|body| body.map(Bytes::from));
    let Some(request) = body(14)? else { return Ok(None) };
    Ok(Some(HookBodies {
        request,
        callback_request: body(15)?,
        callback_response: body(16)?,
        response: body(17)?,
    }))
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

fn duration(micros: i64) -> Duration {
    Duration::from_micros(micros.unsigned_abs())
}
