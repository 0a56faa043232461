//! The last uses of keys, the rejection log, and the backlog.

use contract::time::Timestamp;
use text::nul::{read, stored};
use tokio_postgres::types::Type;

use super::super::rejection_log::{KEPT, KEPT_ALIKE};
use super::super::{Backlog, KeyUse, Rejection, Result};
use super::connect::Database;
use super::{Parameter, millis, timestamp};

pub(super) async fn note_keys(database: &Database, uses: &[KeyUse]) -> Result<()> {
    let sources: Vec<_> = uses.iter().map(|used| stored(&used.source)).collect();
    let keys: Vec<_> = uses.iter().map(|used| stored(&used.key)).collect();
    let times: Vec<_> = uses.iter().map(|used| millis(used.last_used)).collect();
    let parameters: [Parameter<'_>; 3] =
        [(&sources, Type::TEXT_ARRAY), (&keys, Type::TEXT_ARRAY), (&times, Type::INT8_ARRAY)];
    let query = "INSERT INTO webhook_inbox.key_use AS k (source, key, last_used)
        SELECT source, key, max(last_used) FROM unnest($1, $2, $3) u (source, key, last_used) GROUP BY 1, 2 ORDER BY 1, 2
        ON CONFLICT (source, key) DO UPDATE SET last_used = excluded.last_used WHERE k.last_used < excluded.last_used";
    database.rows(query, &parameters).await.map(drop)
}

pub(super) async fn keys(database: &Database) -> Result<Vec<KeyUse>> {
    let query = "SELECT source, key, last_used FROM webhook_inbox.key_use
        ORDER BY source COLLATE \"C\", key COLLATE \"C\"";
    let rows = database.rows(query, &[]).await?;
    let used = |row: &tokio_postgres::Row| KeyUse {
        source: read(row.get(0)),
        key: read(row.get(1)),
        last_used: timestamp(row.get(2)),
    };
    Ok(rows.iter().map(used).collect())
}

/// Adds requests; of a request that exists already, the findings are replaced.
pub(super) async fn note_rejections(database: &Database, rejections: &[Rejection]) -> Result<()> {
    macro_rules! column {
        (|$one:ident| $value:expr) => {
            &rejections.iter().map(|$one| $value).collect::<Vec<_>>()
        };
    }
    let parameters: [Parameter<'_>; 10] = [
        (column!(|r| stored(&r.request_id)), Type::TEXT_ARRAY),
        (column!(|r| millis(r.at)), Type::INT8_ARRAY),
        (column!(|r| r.source.as_deref().map(stored)), Type::TEXT_ARRAY),
        (column!(|r| r.target.as_deref().map(stored)), Type::TEXT_ARRAY),
        (column!(|r| r.event_type.as_deref().map(stored)), Type::TEXT_ARRAY),
        (column!(|r| r.message_id.as_deref().map(stored)), Type::TEXT_ARRAY),
        (column!(|r| r.delivery), Type::INT8_ARRAY),
        (column!(|r| i32::from(r.status)), Type::INT4_ARRAY),
        (column!(|r| r.reason.as_deref().map(stored)), Type::TEXT_ARRAY),
        (column!(|r| r.findings.as_deref().map(stored)), Type::TEXT_ARRAY),
    ];
    let query = "
            INSERT INTO webhook_inbox.rejection (request_id, at, source, target, event_type, message_id, delivery, status,
                reason, findings)
            SELECT request_id, at, source, target, event_type, message_id, delivery, status, reason, findings
            FROM (SELECT DISTINCT ON (request_id) * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) WITH ORDINALITY
                r (request_id, at, source, target, event_type, message_id, delivery, status, reason, findings, number)
                ORDER BY request_id, number DESC) r ORDER BY number
            ON CONFLICT (request_id) DO UPDATE SET findings = excluded.findings";
    database.rows(query, &parameters).await?;
    let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
    let query = "WITH alike AS (
            SELECT id, row_number() OVER (PARTITION BY source, status, reason ORDER BY id DESC) AS number
            FROM webhook_inbox.rejection
        ), kept AS (SELECT id FROM alike WHERE number <= $1 ORDER BY id DESC LIMIT $2)
        DELETE FROM webhook_inbox.rejection r WHERE NOT EXISTS (SELECT FROM kept k WHERE k.id = r.id)
            AND r.id <= (SELECT max(id) FROM alike)";
    let most = [(&number(KEPT_ALIKE) as _, Type::INT8), (&number(KEPT) as _, Type::INT8)];
    database.rows(query, &most).await.map(drop)
}

/// Reads all requests, oldest first.
pub(super) async fn rejections(database: &Database) -> Result<Vec<Rejection>> {
    let query = "SELECT request_id, at, source, target, event_type, message_id, delivery, status, reason, findings
        FROM webhook_inbox.rejection ORDER BY id DESC LIMIT $1";
    let kept = i64::try_from(KEPT).unwrap_or(i64::MAX);
    let rows = database.rows(query, &[(&kept, Type::INT8)]).await?;
    let rejection = |row: &tokio_postgres::Row| {
        let text = |column| row.get::<_, Option<String>>(column).map(read);
        Rejection {
            request_id: read(row.get(0)),
            at: timestamp(row.get(1)),
            source: text(2),
            target: text(3),
            event_type: text(4),
            message_id: text(5),
            delivery: row.get(6),
            status: u16::try_from(row.get::<_, i32>(7)).unwrap_or_default(),
            reason: text(8),
            findings: text(9),
        }
    };
    Ok(rows.iter().rev().map(rejection).collect())
}

/// Time of acceptance of the oldest delivery that has not ended, or an earlier one.
pub(super) async fn oldest_unended(database: &Database) -> Result<Option<Timestamp>> {
    let query = "SELECT least(
        (SELECT min(d.received_at) FROM webhook_inbox.waiting w JOIN webhook_inbox.delivery d ON d.id = w.id),
        (SELECT min((SELECT d.received_at FROM webhook_inbox.delivery d WHERE d.source_id = s.id AND d.state = 0
            AND d.id > webhook_inbox.claimed_up_to(s.id) ORDER BY d.id LIMIT 1)) FROM webhook_inbox.source s),
        (SELECT min(d.received_at) FROM webhook_inbox.claimed c
            JOIN webhook_inbox.delivery d ON d.source_id = c.source_id AND d.state = 0
                AND d.id > c.after_id AND d.id <= c.last_id
            WHERE NOT EXISTS (SELECT FROM webhook_inbox.closed x WHERE x.token = c.token AND x.last_id = c.last_id)))";
    let rows = database.rows(query, &[]).await?;
    Ok(rows.first().and_then(|row| row.get::<_, Option<i64>>(0)).map(timestamp))
}

/// The backlog. First attempts are due whatever the clock says, so none has to be made due.
pub(super) async fn catch_up(database: &Database) -> Result<Backlog> {
    let query = "SELECT t.now,
            (SELECT max(received_at) FROM (
                (SELECT received_at FROM webhook_inbox.delivery ORDER BY id DESC LIMIT 1)
                UNION ALL (SELECT received_at FROM webhook_inbox.hook_call ORDER BY id DESC LIMIT 1)) r),
            count(w.id), min(w.due_at)
        FROM (SELECT webhook_inbox.time_or_now($1) AS now) t
        LEFT JOIN webhook_inbox.waiting w ON w.state = 0 AND w.due_at > t.now GROUP BY t.now";
    let rows = database.rows(query, &[(&database.given_time(), Type::INT8)]).await?;
    Ok(rows.first().map_or_else(Backlog::default, |row| Backlog {
        now: timestamp(row.get(0)),
        newest: row.get::<_, Option<i64>>(1).map(timestamp),
        made_due: 0,
        waiting: row.get::<_, i64>(2).unsigned_abs(),
        next: row.get::<_, Option<i64>>(3).map(timestamp),
    }))
}
