//! Conversion of column values.

use chrono::DateTime;
use contract::event::{BodyFormat, Dialect, Environment};
use contract::time::Timestamp;
use rusqlite::Row;
use rusqlite::types::Type;

use crate::State;

pub(super) fn millis(time: Timestamp) -> i64 {
    time.timestamp_millis()
}

pub(super) fn timestamp(millis: i64) -> Timestamp {
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}

/// Number of a state in the file: its index in [`State::ALL`], which never changes.
pub(super) fn state_number(state: State) -> i64 {
    state as i64
}

pub(super) fn state(row: &Row<'_>, column: usize) -> rusqlite::Result<State> {
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

pub(super) fn format(row: &Row<'_>, column: usize) -> rusqlite::Result<BodyFormat> {
    let name: String = row.get(column)?;
    BodyFormat::from_name(&name)
        .ok_or_else(|| unreadable(column, Type::Text, format!("there is no format {name:?}")))
}

/// The value that a column names.
pub(super) fn named<T>(
    row: &Row<'_>,
    column: usize,
    from_name: impl Fn(&str) -> Option<T>,
) -> rusqlite::Result<T> {
    let name: String = row.get(column)?;
    from_name(&name)
        .ok_or_else(|| unreadable(column, Type::Text, format!("{name:?} is not known here")))
}

fn unreadable(column: usize, kind: Type, reason: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, kind, reason.into())
}
