//! The hook log's rows, written and read.

use std::time::Duration;

use bytes::Bytes;
use contract::event::Environment;
use text::nul::{read, stored};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::super::{
    HookBodies, HookCallback, HookEntry, HookFilter, HookRecord, InboxError, Result,
};
use super::connect::Database;
use super::{Parameter, millis, timestamp};

const COLUMNS: &str =
    "id, source, environment, hook, username, request_id, received_at, took, status, outcome,
    error_id, error, callback_took, callback_error";

const BODIES: &str = "request, callback_request, callback_response, response";

/// Calls that are not pruned.
pub(super) const KEPT: &str = "webhook_inbox.hook_call WHERE received_at >= (SELECT before FROM webhook_inbox.pruned WHERE state = -1)";

pub(super) async fn log(database: &Database, calls: &[HookRecord]) -> Result<()> {
    insert(database, &vec![None; calls.len()], &calls.iter().collect::<Vec<_>>()).await
}

/// Stores calls, each under the next number unless one is given.
pub(super) async fn insert(
    database: &Database,
    ids: &[Option<i64>],
    calls: &[&HookRecord],
) -> Result<()> {
    macro_rules! column {
        (|$one:ident| $value:expr) => {
            &calls.iter().map(|$one| $value).collect::<Vec<_>>()
        };
    }
    let bodies = |read: fn(&HookBodies) -> Option<&Bytes>| -> Vec<Option<&[u8]>> {
        calls.iter().map(|call| call.bodies.as_ref().and_then(read).map(Bytes::as_ref)).collect()
    };
    let parameters: [Parameter<'_>; 18] = [
        (&ids, Type::INT8_ARRAY),
        (column!(|c| stored(&c.source)), Type::TEXT_ARRAY),
        (column!(|c| c.environment.as_str()), Type::TEXT_ARRAY),
        (column!(|c| stored(&c.hook)), Type::TEXT_ARRAY),
        (column!(|c| c.user.as_deref().map(stored)), Type::TEXT_ARRAY),
        (column!(|c| stored(&c.request_id)), Type::TEXT_ARRAY),
        (column!(|c| millis(c.received_at)), Type::INT8_ARRAY),
        (column!(|c| micros(c.took)), Type::INT8_ARRAY),
        (column!(|c| i32::from(c.status)), Type::INT4_ARRAY),
        (column!(|c| &*c.outcome), Type::TEXT_ARRAY),
        (column!(|c| c.error_id.as_deref()), Type::TEXT_ARRAY),
        (column!(|c| c.error.as_deref().map(stored)), Type::TEXT_ARRAY),
        (column!(|c| c.callback.as_ref().map(|callback| micros(callback.took))), Type::INT8_ARRAY),
        (
            column!(|c| c
                .callback
                .as_ref()
                .and_then(|callback| callback.error.as_deref())
                .map(stored)),
            Type::TEXT_ARRAY,
        ),
        (&bodies(|bodies| Some(&bodies.request)), Type::BYTEA_ARRAY),
        (&bodies(|bodies| bodies.callback_request.as_ref()), Type::BYTEA_ARRAY),
        (&bodies(|bodies| bodies.callback_response.as_ref()), Type::BYTEA_ARRAY),
        (&bodies(|bodies| bodies.response.as_ref()), Type::BYTEA_ARRAY),
    ];
    let query = "INSERT INTO webhook_inbox.hook_call
        SELECT coalesce(id, nextval('webhook_inbox.hook_call_id')), source, environment, hook, username, request_id,
            received_at, took, status, outcome, error_id, error, callback_took, callback_error, request, callback_request,
            callback_response, response
        FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
            c (id, source, environment, hook, username, request_id, received_at, took, status, outcome, error_id, error,
            callback_took, callback_error, request, callback_request, callback_response, response)";
    database.rows(query, &parameters).await.map(drop)
}

/// Lists calls by time, newest first.
pub(super) async fn list(database: &Database, filter: &HookFilter) -> Result<Vec<HookEntry>> {
    let mut query = format!("SELECT {COLUMNS} FROM {KEPT}");
    let mut values: Vec<(Box<dyn ToSql + Sync + Send>, Type)> = Vec::new();
    let text = |text: &Option<String>| text.as_deref().map(|text| stored(text).into_owned());
    let hook = text(&filter.hook).map(|hook| hook.to_ascii_lowercase());
    for (test, value) in [
        ("source = $", text(&filter.source)),
        ("lower(hook COLLATE \"C\") = $", hook),
        ("outcome = $", text(&filter.outcome)),
        ("error_id = $", text(&filter.error_id)),
    ] {
        if let Some(value) = value {
            values.push((Box::new(value), Type::TEXT));
            query += &format!(" AND {}", test.replace('$', &format!("${}", values.len())));
        }
    }
    let before = "(received_at, id) < (coalesce((SELECT received_at FROM webhook_inbox.hook_call WHERE id = $), 0), $)";
    for (test, value) in [
        ("received_at >= $", filter.since.map(millis)),
        ("received_at < $", filter.until.map(millis)),
        (before, filter.before),
    ] {
        if let Some(value) = value {
            values.push((Box::new(value), Type::INT8));
            query += &format!(" AND {}", test.replace('$', &format!("${}", values.len())));
        }
    }
    query += " ORDER BY received_at DESC, id DESC";
    if let Some(limit) = filter.limit {
        query += &format!(" LIMIT {limit}");
    }
    let parameters: Vec<Parameter<'_>> =
        values.iter().map(|(value, kind)| (&**value as _, kind.clone())).collect();
    database.rows(&query, &parameters).await?.iter().map(entry).collect()
}

pub(super) async fn show(database: &Database, id: i64) -> Result<Option<HookEntry>> {
    let query = format!("SELECT {COLUMNS}, {BODIES} FROM {KEPT} AND id = $1");
    let rows = database.rows(&query, &[(&id, Type::INT8)]).await?;
    rows.first().map(whole).transpose()
}

/// Reads the calls after a number, with their bodies.
pub(super) async fn after(database: &Database, id: i64, limit: i64) -> Result<Vec<HookEntry>> {
    let query = format!("SELECT {COLUMNS}, {BODIES} FROM {KEPT} AND id > $1 ORDER BY id LIMIT $2");
    let parameters: [Parameter<'_>; 2] = [(&id, Type::INT8), (&limit, Type::INT8)];
    database.rows(&query, &parameters).await?.iter().map(whole).collect()
}

/// A call with its bodies.
fn whole(row: &Row) -> Result<HookEntry> {
    let mut shown = entry(row)?;
    let body = |column| row.get::<_, Option<Vec<u8>>>(column).map(Bytes::from);
    shown.record.bodies = body(14).map(|request| HookBodies {
        request,
        callback_request: body(15),
        callback_response: body(16),
        response: body(17),
    });
    Ok(shown)
}

fn entry(row: &Row) -> Result<HookEntry> {
    let text = |column| row.get::<_, Option<String>>(column).map(read);
    let environment: &str = row.get(2);
    let unknown = || InboxError::Unavailable(format!("there is no environment {environment:?}"));
    let callback_error = text(13);
    let record = HookRecord {
        source: read(row.get(1)),
        environment: Environment::from_name(environment).ok_or_else(unknown)?,
        hook: read(row.get(3)),
        user: text(4),
        request_id: read(row.get(5)),
        received_at: timestamp(row.get(6)),
        took: duration(row.get(7)),
        status: u16::try_from(row.get::<_, i32>(8)).unwrap_or_default(),
        outcome: row.get::<_, String>(9).into(),
        error_id: text(10),
        error: text(11),
        callback: row
            .get::<_, Option<i64>>(12)
            .map(|took| HookCallback { took: duration(took), error: callback_error }),
        bodies: None,
    };
    Ok(HookEntry { id: row.get(0), record })
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

fn duration(micros: i64) -> Duration {
    Duration::from_micros(micros.unsigned_abs())
}
