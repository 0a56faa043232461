//! Queries of deliveries.

use std::collections::HashMap;

use contract::effect::Applied;
use contract::event::DeliveryId;
use text::nul::{read, stored};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::super::filter::Condition;
use super::super::{AttemptEntry, Detail, Entry, Filter, Result, State};
use super::connect::Database;
use super::{Parameter, millis, number, state, timestamp};

const COLUMNS: &str = "id, source, environment, event_type, version, message_id, message_id_derived, client_id,
    username, now, attempts, replays, conflicts, event_time, received_at, due_at, ended_at, last_error,
    octet_length(body)::bigint, lost, format, recognised, owner";

/// Lists deliveries, newest first.
pub(super) async fn list(database: &Database, filter: &Filter) -> Result<Vec<Entry>> {
    let conditions = Conditions::of(filter);
    let query = format!(
        "SELECT {COLUMNS} FROM webhook_inbox.kept e WHERE {} ORDER BY id DESC {}",
        conditions.sql,
        limit(filter)
    );
    database.rows(&query, &conditions.parameters()).await?.iter().map(entry).collect()
}

/// Ids of the deliveries that can be replayed, oldest first, with the number of replays of each.
pub(super) async fn replayable_runs(
    database: &Database,
    filter: &Filter,
) -> Result<(Vec<DeliveryId>, Vec<i32>)> {
    let conditions = Conditions::of(filter);
    let query = format!(
        "SELECT id, replays FROM webhook_inbox.kept e WHERE now BETWEEN 2 AND 4 AND {} ORDER BY id {}",
        conditions.sql,
        limit(filter)
    );
    let rows = database.rows(&query, &conditions.parameters()).await?;
    Ok(rows.iter().map(|row| (row.get::<_, DeliveryId>(0), row.get::<_, i32>(1))).unzip())
}

fn limit(filter: &Filter) -> String {
    filter.limit.map_or_else(String::new, |limit| format!("LIMIT {limit}"))
}

pub(super) async fn show(database: &Database, id: DeliveryId) -> Result<Option<Detail>> {
    let filter = Filter { ids: vec![id], ..Filter::default() };
    Ok(details(database, &filter).await?.pop())
}

/// Lists deliveries with all that is known of them, newest first.
pub(super) async fn details(database: &Database, filter: &Filter) -> Result<Vec<Detail>> {
    let conditions = Conditions::of(filter);
    let query = format!(
        "SELECT {COLUMNS}, ordering_key, headers, body, key FROM webhook_inbox.kept e WHERE {} ORDER BY id DESC {}",
        conditions.sql,
        limit(filter)
    );
    let rows = database.rows(&query, &conditions.parameters()).await?;
    let ids: Vec<DeliveryId> = rows.iter().map(|row| row.get(0)).collect();
    let mut attempts = attempts(database, &ids).await?;
    let detail = |row: &Row| {
        let entry = entry(row)?;
        Ok(Detail {
            ordering_key: optional(row, 23),
            headers: read(row.get(24)),
            body: row.get::<_, Vec<u8>>(25).into(),
            key: optional(row, 26),
            attempts: attempts.remove(&entry.id).unwrap_or_default(),
            entry,
        })
    };
    rows.iter().map(detail).collect()
}

/// The ended attempts of deliveries, oldest first.
pub(super) async fn attempts(
    database: &Database,
    ids: &[DeliveryId],
) -> Result<HashMap<DeliveryId, Vec<AttemptEntry>>> {
    let query = "SELECT attempt, replay, started_at, ended_at, outcome, error, delivery,
            applied_by, applied_at FROM webhook_inbox.attempt
        WHERE delivery = ANY ($1) ORDER BY delivery, attempt";
    let mut attempts: HashMap<DeliveryId, Vec<AttemptEntry>> = HashMap::new();
    for row in database.rows(query, &[(&ids, Type::INT8_ARRAY)]).await? {
        attempts.entry(row.get(6)).or_default().push(attempt(&row));
    }
    Ok(attempts)
}

fn attempt(row: &Row) -> AttemptEntry {
    AttemptEntry {
        attempt: count_at(row, 0),
        replay: count_at(row, 1),
        started_at: timestamp(row.get(2)),
        ended_at: timestamp(row.get(3)),
        outcome: row.get(4),
        error: optional(row, 5),
        applied: applied(row.get(7), row.get(8)),
    }
}

/// The attempt that applied an effect, if both of its columns are set.
fn applied(attempt: Option<i32>, at: Option<i64>) -> Option<Applied> {
    let (attempt, at) = attempt.zip(at)?;
    Some(Applied { attempt: attempt.unsigned_abs(), at: timestamp(at) })
}

/// Counts deliveries by state, from the rows that say so: handled ones are too many to count.
pub(super) async fn count(database: &Database) -> Result<Vec<(State, u64)>> {
    let query = "SELECT
        (SELECT coalesce(sum((SELECT count(*) FROM webhook_inbox.delivery d WHERE d.source_id = s.id AND d.state = 0
            AND d.id > webhook_inbox.claimed_up_to(s.id))), 0) FROM webhook_inbox.source s)::bigint
        + (SELECT count(*) FROM webhook_inbox.waiting w WHERE w.state = 0),
        (SELECT count(*) FROM webhook_inbox.claimed c
            JOIN webhook_inbox.delivery d ON d.source_id = c.source_id AND d.state = 0
                AND d.id > c.after_id AND d.id <= c.last_id
            WHERE NOT EXISTS (SELECT FROM webhook_inbox.closed x WHERE x.token = c.token AND x.last_id = c.last_id)
                AND NOT EXISTS (SELECT FROM webhook_inbox.attempt a WHERE a.delivery = d.id)
                AND NOT EXISTS (SELECT FROM webhook_inbox.waiting w WHERE w.id = d.id))
        + (SELECT count(*) FROM webhook_inbox.waiting w WHERE w.state = 1),
        (SELECT count(*) FROM webhook_inbox.kept k WHERE k.now = 3
            AND k.id IN (SELECT a.delivery FROM webhook_inbox.attempt a WHERE a.state > 2 AND a.state = 3)),
        (SELECT count(*) FROM webhook_inbox.kept k WHERE k.now = 4
            AND k.id IN (SELECT d.id FROM webhook_inbox.delivery d WHERE d.state > 0 AND d.state = 4
                UNION ALL SELECT a.delivery FROM webhook_inbox.attempt a WHERE a.state > 2 AND a.state = 4))";
    let rows = database.rows(query, &[]).await?;
    let states = [State::Ready, State::Running, State::Dead, State::Unrouted];
    let count = |column| rows.first().map_or(0, |row| row.get::<_, i64>(column).unsigned_abs());
    Ok(states.into_iter().zip((0..).map(count)).collect())
}

/// Conditions as SQL, with the values of its parameters.
struct Conditions {
    sql: String,
    values: Vec<(Box<dyn ToSql + Sync + Send>, Type)>,
}

impl Conditions {
    fn of(filter: &Filter) -> Self {
        let mut all = Conditions { sql: "true".to_owned(), values: Vec::new() };
        for condition in filter.conditions() {
            match condition {
                Condition::Ids(ids) => all.and("id = ANY ($)", ids.to_vec(), Type::INT8_ARRAY),
                Condition::State(state) => {
                    all.and("now = $", number(state), Type::INT2);
                    if state.has_ended() && state != State::Done {
                        let rare = "id IN (SELECT d.id FROM webhook_inbox.delivery d WHERE d.state > 0 AND d.state = $
                            UNION ALL SELECT a.delivery FROM webhook_inbox.attempt a WHERE a.state > 2 AND a.state = $)";
                        all.and(rare, number(state), Type::INT2);
                    }
                }
                Condition::Source(name) => {
                    all.and("source = $", stored(name).into_owned(), Type::TEXT);
                }
                Condition::EventType(name) => {
                    let name = stored(name).to_ascii_lowercase();
                    all.and("lower(event_type COLLATE \"C\") = $", name, Type::TEXT);
                }
                Condition::MessageId(id) => {
                    all.and("message_id = $", stored(id).into_owned(), Type::TEXT);
                }
                Condition::Since(since) => all.and("received_at >= $", millis(since), Type::INT8),
                Condition::Until(until) => all.and("received_at < $", millis(until), Type::INT8),
                Condition::Conflicts => all.and("conflicts > $", 0, Type::INT4),
                Condition::Recognised => all.and("recognised > $", 0, Type::INT4),
                Condition::Before(before) => all.and("id < $", before, Type::INT8),
                Condition::After(after) => all.and("id > $", after, Type::INT8),
            }
        }
        all
    }

    /// Adds a test, in which `$` stands for the value.
    fn and(&mut self, test: &str, value: impl ToSql + Sync + Send + 'static, kind: Type) {
        self.values.push((Box::new(value), kind));
        self.sql.push_str(" AND ");
        self.sql.push_str(&test.replace('$', &format!("${}", self.values.len())));
    }

    fn parameters(&self) -> Vec<Parameter<'_>> {
        self.values.iter().map(|(value, kind)| (&**value as _, kind.clone())).collect()
    }
}

fn entry(row: &Row) -> Result<Entry> {
    let time = |column| row.get::<_, Option<i64>>(column).map(timestamp);
    let client_id = read(row.get(7));
    Ok(Entry {
        id: row.get(0),
        source: read(row.get(1)),
        environment: row.get(2),
        event_type: read(row.get(3)),
        version: u16::try_from(row.get::<_, i32>(4)).unwrap_or_default(),
        message_id: read(row.get(5)),
        message_id_derived: row.get(6),
        client_id: (!client_id.is_empty()).then_some(client_id),
        user: optional(row, 8),
        state: state(row.get(9))?,
        attempts: count_at(row, 10),
        replays: count_at(row, 11),
        conflicts: count_at(row, 12),
        event_time: time(13),
        received_at: timestamp(row.get(14)),
        due_at: time(15),
        ended_at: time(16),
        last_error: optional(row, 17),
        size: row.get::<_, i64>(18).unsigned_abs(),
        lost: count_at(row, 19),
        format: row.get(20),
        recognised: count_at(row, 21),
        owner: row.get(22),
    })
}

pub(super) fn optional(row: &Row, column: usize) -> Option<String> {
    row.get::<_, Option<String>>(column).map(read)
}

pub(super) fn count_at(row: &Row, column: usize) -> u32 {
    row.get::<_, i32>(column).unsigned_abs()
}
