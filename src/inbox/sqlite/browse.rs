//! Everything that reads rows, and how a row is read.

use chrono::DateTime;
use rusqlite::types::{Type, Value};
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};

use super::super::{AttemptEntry, Detail, Entry, Filter, KeyUse, State};
use crate::event::{DeliveryId, Dialect, Environment, Timestamp};

const COLUMNS: &str = "d.id, d.source, d.environment, d.event_type, d.version, d.message_id,
     d.message_id_derived, d.client_id, d.user, w.state, w.attempts, w.replays, w.conflicts,
     d.event_time, d.received_at, w.due_at, w.ended_at, w.last_error, length(d.body)";

pub(super) fn list(db: &Connection, filter: &Filter) -> rusqlite::Result<Vec<Entry>> {
    let (condition, values) = condition(filter);
    let limit = filter.limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
    let query = format!(
        "SELECT {COLUMNS} FROM delivery d JOIN work w ON w.id = d.id
         WHERE {condition} ORDER BY d.id DESC LIMIT {limit}"
    );
    db.prepare(&query)?.query_map(params_from_iter(values), entry)?.collect()
}

pub(super) fn show(db: &Connection, id: DeliveryId) -> rusqlite::Result<Option<Detail>> {
    let query = format!(
        "SELECT {COLUMNS}, w.ordering_key, d.headers, d.body, d.key
         FROM delivery d JOIN work w ON w.id = d.id WHERE d.id = ?1"
    );
    let detail = db.query_row(&query, [id], |row| {
        Ok(Detail {
            entry: entry(row)?,
            ordering_key: row.get(19)?,
            headers: row.get(20)?,
            body: row.get::<_, Vec<u8>>(21)?.into(),
            attempts: Vec::new(),
            key: row.get(22)?,
        })
    });
    let Some(detail) = detail.optional()? else { return Ok(None) };
    Ok(Some(Detail { attempts: attempts(db, id)?, ..detail }))
}

fn attempts(db: &Connection, id: DeliveryId) -> rusqlite::Result<Vec<AttemptEntry>> {
    db.prepare_cached(
        "SELECT attempt, replay, started_at, ended_at, outcome, error
         FROM attempt WHERE delivery = ?1 ORDER BY attempt",
    )?
    .query_map([id], |row| {
        Ok(AttemptEntry {
            attempt: row.get(0)?,
            replay: row.get(1)?,
            started_at: timestamp(row.get(2)?),
            ended_at: timestamp(row.get(3)?),
            outcome: row.get(4)?,
            error: row.get(5)?,
        })
    })?
    .collect()
}

pub(super) fn next_due(db: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let due = db
        .prepare_cached("SELECT min(due_at) FROM work WHERE due_at IS NOT NULL")?
        .query_row([], |row| row.get::<_, Option<i64>>(0))?;
    Ok(due.map(timestamp))
}

/// Ended deliveries are counted by their index, due ones in theirs; handled ones are too many to count.
pub(super) fn count(db: &Connection) -> rusqlite::Result<Vec<(State, u64)>> {
    const DUE: &str = "SELECT count(*) FROM work WHERE due_at IS NOT NULL AND state = ?1";
    const BEHIND: &str = "SELECT count(*) FROM work
        WHERE ordering_key IS NOT NULL AND state < 2 AND state = ?1 AND due_at IS NULL";
    const ENDED: &str = "SELECT count(*) FROM work WHERE ended_at IS NOT NULL AND state = ?1";
    let number = |query: &str, state| -> rusqlite::Result<u64> {
        let count = |row: &Row<'_>| row.get::<_, i64>(0);
        Ok(db.prepare_cached(query)?.query_row([state_number(state)], count)?.unsigned_abs())
    };
    Ok(vec![
        (State::Ready, number(DUE, State::Ready)? + number(BEHIND, State::Ready)?),
        (State::Running, number(DUE, State::Running)?),
        (State::Dead, number(ENDED, State::Dead)?),
        (State::Unrouted, number(ENDED, State::Unrouted)?),
    ])
}

pub(super) fn keys(db: &Connection) -> rusqlite::Result<Vec<KeyUse>> {
    db.prepare_cached("SELECT source, key, last_used FROM key_use ORDER BY source, key")?
        .query_map([], |row| {
            Ok(KeyUse { source: row.get(0)?, key: row.get(1)?, last_used: timestamp(row.get(2)?) })
        })?
        .collect()
}

/// The filter as SQL over `delivery d` and `work w`, with the values of its parameters.
pub(super) fn condition(filter: &Filter) -> (String, Vec<Value>) {
    let mut sql = String::from("1");
    let mut values = Vec::new();
    let mut and = |test: &str, value: Value| {
        values.push(value);
        sql.push_str(" AND ");
        sql.push_str(test);
    };
    if let Some(state) = filter.state {
        let ended = if state.has_ended() { "w.ended_at IS NOT NULL AND " } else { "" };
        and(&format!("{ended}w.state = ?"), state_number(state).into());
    }
    if let Some(source) = &filter.source {
        and("d.source = ?", source.clone().into());
    }
    if let Some(event_type) = &filter.event_type {
        and("d.event_type = ? COLLATE NOCASE", event_type.clone().into());
    }
    if let Some(message_id) = &filter.message_id {
        and("d.message_id = ?", message_id.clone().into());
    }
    if let Some(since) = filter.since {
        and("d.received_at >= ?", millis(since).into());
    }
    if let Some(until) = filter.until {
        and("d.received_at < ?", millis(until).into());
    }
    if let Some(before) = filter.before {
        and("d.id < ?", before.into());
    }
    if filter.conflicts {
        sql.push_str(" AND w.conflicts > 0");
    }
    if !filter.ids.is_empty() {
        let marks = vec!["?"; filter.ids.len()].join(", ");
        sql.push_str(&format!(" AND d.id IN ({marks})"));
        values.extend(filter.ids.iter().map(|id| Value::from(*id)));
    }
    (sql, values)
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let client_id: String = row.get(7)?;
    let time = |column| row.get::<_, Option<i64>>(column).map(|time| time.map(timestamp));
    Ok(Entry {
        id: row.get(0)?,
        source: row.get(1)?,
        environment: row.get(2)?,
        event_type: row.get(3)?,
        version: row.get(4)?,
        message_id: row.get(5)?,
        message_id_derived: row.get(6)?,
        client_id: (!client_id.is_empty()).then_some(client_id),
        user: row.get(8)?,
        state: state(row, 9)?,
        attempts: row.get(10)?,
        replays: row.get(11)?,
        conflicts: row.get(12)?,
        event_time: time(13)?,
        received_at: timestamp(row.get(14)?),
        due_at: time(15)?,
        ended_at: time(16)?,
        last_error: row.get(17)?,
        size: row.get::<_, i64>(18)?.unsigned_abs(),
    })
}

pub(super) fn millis(time: Timestamp) -> i64 {
    time.timestamp_millis()
}

pub(super) fn timestamp(millis: i64) -> Timestamp {
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}

/// A state's number in the file; its place in [`State::ALL`], for ever.
pub(super) fn state_number(state: State) -> i64 {
    state as i64
}

fn state(row: &Row<'_>, column: usize) -> rusqlite::Result<State> {
    let number: i64 = row.get(column)?;
    let unknown = || unreadable(column, Type::Integer, format!("no state has the number {number}"));
    State::ALL.into_iter().find(|state| state_number(*state) == number).ok_or_else(unknown)
}

pub(super) fn dialect(row: &Row<'_>, column: usize) -> rusqlite::Result<Dialect> {
    let name: String = row.get(column)?;
    Dialect::from_name(&name)
        .ok_or_else(|| unreadable(column, Type::Text, format!("there is no dialect {name:?}")))
}

pub(super) fn environment(row: &Row<'_>, column: usize) -> rusqlite::Result<Environment> {
    let name: String = row.get(column)?;
    Environment::from_name(&name)
        .ok_or_else(|| unreadable(column, Type::Text, format!("there is no environment {name:?}")))
}

fn unreadable(column: usize, kind: Type, reason: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, kind, reason.into())
}
