//! Queries of deliveries.

use std::collections::HashMap;

use contract::effect::Applied;
use contract::event::DeliveryId;
use text::nul::{read, stored};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::super::filter::Condition;
use super::super::search::{Brief, Mark, Window};
use super::super::{AttemptEntry, Blocked, Detail, Entry, Filter, Order, Result, State};
use super::connect::Database;
use super::{Parameter, deliver, millis, number, state, timestamp};

const COLUMNS: &str = "id, source, environment, event_type, version, message_id, message_id_derived, client_id,
    username, now, attempts, replays, conflicts, event_time, received_at, due_at, ended_at, last_error,
    octet_length(body)::bigint, lost, format, recognised, owner";

/// Columns of a [`Brief`].
const BRIEF: &str = "id, source, event_type, received_at, ordering_key";

/// Number of rows in the first window of a listing, and in the largest; and if bodies are read, which may be large.
const WINDOW: (usize, usize) = (500, 10_000);
const WINDOW_WITH_BODIES: (usize, usize) = (32, 32);

/// Largest limit of a statement; nothing has more rows.
const LARGEST_LIMIT: usize = u32::MAX as usize;

/// Lists deliveries in the filter's order.
pub(super) async fn list(database: &Database, filter: &Filter) -> Result<Vec<Entry>> {
    rows(database, filter, COLUMNS, "").await?.iter().map(entry).collect()
}

/// Lists deliveries as far as a summary needs them.
pub(super) async fn briefs(database: &Database, filter: &Filter) -> Result<Vec<Brief>> {
    let brief = |row: &Row| Brief {
        id: row.get(0),
        source: read(row.get(1)),
        event_type: read(row.get(2)),
        received_at: timestamp(row.get(3)),
        ordering_key: optional(row, 4),
    };
    Ok(rows(database, filter, BRIEF, "").await?.iter().map(brief).collect())
}

/// Ids of the deliveries that can be replayed, oldest first, with the number of replays of each.
pub(super) async fn replayable_runs(
    database: &Database,
    filter: &Filter,
) -> Result<(Vec<DeliveryId>, Vec<i32>)> {
    let filter = Filter { order: Order::OldestFirst, ..filter.clone() };
    let rows = rows(database, &filter, "id, replays", " AND now BETWEEN 2 AND 4").await?;
    Ok(rows.iter().map(|row| (row.get::<_, DeliveryId>(0), row.get::<_, i32>(1))).unzip())
}

/// Ids of the deliveries that can be discarded, oldest first.
pub(super) async fn discardable(database: &Database, filter: &Filter) -> Result<Vec<DeliveryId>> {
    let filter = Filter { order: Order::OldestFirst, ..filter.clone() };
    let rows = rows(database, &filter, "id", " AND now IN (0, 3, 4)").await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Columns of the matching deliveries, of which the first is the id, in the filter's order; `further` is a condition.
async fn rows(
    database: &Database,
    filter: &Filter,
    columns: &str,
    further: &str,
) -> Result<Vec<Row>> {
    let (member, index) = (filter.member(), Index::of(database, filter).await?);
    let (first, largest) = if filter.body.is_some() { WINDOW_WITH_BODIES } else { WINDOW };
    let limit = filter.limit.unwrap_or(usize::MAX);
    if member.is_none() && matches!(index, Index::All) {
        return query(database, filter, columns, further).await;
    }
    let body = if member.is_some() { ", format, body" } else { "" };
    let columns = format!("{columns}{body}");
    let (mut rest, mut size, mut found) = (filter.clone(), first, Vec::new());
    while found.len() < limit {
        let left = limit - found.len();
        let (part, last) = match &index {
            // What cannot have the member is passed over by the database.
            Index::All => (Filter { limit: Some(size), ..rest.clone() }, None),
            index => {
                let Window { ids, last } = index.window(database, &rest, size).await?;
                let ids = ids.unwrap_or_default();
                if ids.is_empty() {
                    break;
                }
                let limit = filter.limit.filter(|_| member.is_none()).map(|_| left);
                (Filter { ids, limit, ..rest.clone() }, last.map(|last| last.id))
            }
        };
        let rows = query(database, &part, &columns, further).await?;
        let is_full = rows.len() == size;
        let last = match &index {
            Index::All => rows.last().filter(|_| is_full).map(|row| row.get::<_, DeliveryId>(0)),
            _ => last,
        };
        found.extend(rows.into_iter().filter(|row| {
            member.as_ref().is_none_or(|member| {
                let body = row.len() - 1;
                member.holds(row.get(body - 1), row.get(body))
            })
        }));
        let Some(last) = last else { break };
        rest = rest.beyond(last);
        size = (2 * size).min(largest);
    }
    found.truncate(limit);
    Ok(found)
}

/// Columns of the matching deliveries, by one statement.
async fn query(
    database: &Database,
    filter: &Filter,
    columns: &str,
    further: &str,
) -> Result<Vec<Row>> {
    let conditions = Conditions::of(filter);
    let query = format!(
        "SELECT {columns} FROM webhook_inbox.kept e WHERE {}{further} ORDER BY id {} {}",
        conditions.sql,
        direction(filter),
        filter
            .limit
            .map_or_else(String::new, |limit| format!("LIMIT {}", limit.min(LARGEST_LIMIT)))
    );
    database.rows(&query, &conditions.parameters()).await
}

fn direction(filter: &Filter) -> &'static str {
    match filter.order {
        Order::NewestFirst => "DESC",
        Order::OldestFirst => "ASC",
    }
}

/// The next rows along the index of the filter.
pub(super) async fn window(database: &Database, filter: &Filter, rows: usize) -> Result<Window> {
    Index::of(database, filter).await?.window(database, filter, rows).await
}

/// The index along which matching rows are found.
enum Index {
    /// The ids of the filter.
    Ids,
    /// Deliveries in a state that is rare.
    Rare(State),
    /// Deliveries that have not ended and are not running, of these entities if there are any.
    Ready(Option<Vec<i64>>),
    /// Deliveries that are running, of these entities if there are any.
    Running(Option<Vec<i64>>),
    /// Deliveries of these entities.
    Entities(Vec<i64>),
    Conflicts,
    Recognised,
    Replayed,
    /// All deliveries.
    All,
}

impl Index {
    async fn of(database: &Database, filter: &Filter) -> Result<Self> {
        if !filter.ids.is_empty() {
            return Ok(Index::Ids);
        }
        let entities = match &filter.ordering_key {
            Some(key) => Some(entities(database, key).await?),
            None => None,
        };
        Ok(match (filter.state, entities) {
            (Some(State::Ready), entities) => Index::Ready(entities),
            (Some(State::Running), entities) => Index::Running(entities),
            (_, Some(entities)) => Index::Entities(entities),
            (Some(state), _) if state != State::Done => Index::Rare(state),
            _ if filter.conflicts => Index::Conflicts,
            _ if filter.recognised => Index::Recognised,
            _ if filter.replayed => Index::Replayed,
            _ => Index::All,
        })
    }

    async fn window(&self, database: &Database, filter: &Filter, rows: usize) -> Result<Window> {
        if let Index::Ids = self {
            return window_of_ids(database, filter, rows).await;
        }
        let order = direction(filter);
        if let Index::All = self {
            let query = format!(
                "SELECT id, received_at FROM webhook_inbox.delivery WHERE true{} ORDER BY id {order} OFFSET {} LIMIT 1",
                bounds(filter, "id"),
                rows.saturating_sub(1)
            );
            let rows = database.rows(&query, &[]).await?;
            let mark = |row: &Row| Mark { id: row.get(0), received_at: timestamp(row.get(1)) };
            return Ok(Window { ids: None, last: rows.first().map(mark) });
        }
        let parts: Vec<String> =
            self.parts(filter, rows).into_iter().map(|part| format!("({part})")).collect();
        let query = format!(
            "SELECT c.id FROM ({}) c (id) ORDER BY c.id {order} LIMIT {rows}",
            parts.join(" UNION ")
        );
        let found = database.rows(&query, &[]).await?;
        let ids: Vec<DeliveryId> = found.iter().map(|row| row.get(0)).collect();
        let last = ids.last().copied().filter(|_| ids.len() == rows);
        Ok(Window { ids: Some(ids), last: mark(database, last).await? })
    }

    /// The statements that find the first ids, each by an index of its own.
    fn parts(&self, filter: &Filter, rows: usize) -> Vec<String> {
        let order = direction(filter);
        let part = |id: &str, from: &str| {
            format!(
                "SELECT {id} FROM webhook_inbox.{from}{} ORDER BY {id} {order} LIMIT {rows}",
                bounds(filter, id)
            )
        };
        let of_entities = |column: &str, entities: &Option<Vec<i64>>| match entities {
            Some(entities) => format!(" AND {column} = ANY ('{{{}}}'::bigint[])", joined(entities)),
            None => String::new(),
        };
        match self {
            Index::Ids | Index::All => Vec::new(),
            Index::Rare(state) => {
                let state = number(*state);
                vec![
                    part(
                        "a.delivery",
                        &format!("attempt a WHERE a.state > 2 AND a.state = {state}"),
                    ),
                    part("d.id", &format!("delivery d WHERE d.state > 0 AND d.state = {state}")),
                ]
            }
            Index::Ready(entities) => {
                let unclaimed = format!(
                    "delivery d WHERE d.source_id = s.id AND d.state = 0 AND d.id > webhook_inbox.claimed_up_to(s.id){}",
                    of_entities("d.entity", entities)
                );
                let waiting =
                    format!("waiting w WHERE w.state = 0{}", of_entities("w.entity", entities));
                vec![
                    part("w.id", &waiting),
                    format!(
                        "SELECT d.id FROM webhook_inbox.source s CROSS JOIN LATERAL ({}) d ORDER BY d.id {order} LIMIT {rows}",
                        part("d.id", &unclaimed)
                    ),
                ]
            }
            Index::Running(entities) => {
                let claimed = format!("{FIRST_ATTEMPTS}{}", of_entities("d.entity", entities));
                let waiting =
                    format!("waiting w WHERE w.state = 1{}", of_entities("w.entity", entities));
                vec![part("w.id", &waiting), part("d.id", &claimed)]
            }
            Index::Entities(entities) => vec![format!(
                "SELECT d.id FROM unnest('{{{}}}'::bigint[]) e CROSS JOIN LATERAL ({}) d",
                joined(entities),
                part("d.id", "delivery d WHERE d.entity IS NOT NULL AND d.entity = e")
            )],
            Index::Conflicts => vec![part("r.id", "resend r WHERE r.conflicts > 0")],
            Index::Recognised => vec![part("r.id", "resend r WHERE r.recognised > 0")],
            Index::Replayed => vec![
                part("w.id", "waiting w WHERE w.replays > 0"),
                part("a.delivery", "attempt a WHERE a.replay > 0"),
            ],
        }
    }
}

/// The deliveries at their first attempt.
const FIRST_ATTEMPTS: &str = "claimed c
    JOIN webhook_inbox.delivery d ON d.source_id = c.source_id AND d.state = 0 AND d.id > c.after_id AND d.id <= c.last_id
    WHERE NOT EXISTS (SELECT FROM webhook_inbox.closed x WHERE x.token = c.token AND x.last_id = c.last_id)
        AND NOT EXISTS (SELECT FROM webhook_inbox.attempt a WHERE a.delivery = d.id)
        AND NOT EXISTS (SELECT FROM webhook_inbox.waiting w WHERE w.id = d.id)";

fn joined(numbers: &[i64]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// The filter's bounds of a column of ids.
fn bounds(filter: &Filter, id: &str) -> String {
    let after = filter.after.map(|after| format!(" AND {id} > {after}"));
    let before = filter.before.map(|before| format!(" AND {id} < {before}"));
    after.into_iter().chain(before).collect()
}

/// The entities of an ordering key: one for each source.
async fn entities(database: &Database, key: &str) -> Result<Vec<i64>> {
    let rows = database.rows("SELECT name FROM webhook_inbox.source", &[]).await?;
    Ok(rows.iter().map(|row| deliver::entity(&read(row.get(0)), key)).collect())
}

async fn window_of_ids(database: &Database, filter: &Filter, rows: usize) -> Result<Window> {
    let mut ids = filter.ids.clone();
    ids.retain(|id| {
        filter.after.is_none_or(|after| *id > after)
            && filter.before.is_none_or(|before| *id < before)
    });
    ids.sort_unstable();
    ids.dedup();
    if filter.order == Order::NewestFirst {
        ids.reverse();
    }
    let is_last = ids.len() <= rows;
    ids.truncate(rows);
    let last = mark(database, ids.last().copied().filter(|_| !is_last)).await?;
    Ok(Window { ids: Some(ids), last })
}

/// A delivery at which a window ends, with its time.
async fn mark(database: &Database, id: Option<DeliveryId>) -> Result<Option<Mark>> {
    let Some(id) = id else { return Ok(None) };
    let query = "SELECT received_at FROM webhook_inbox.delivery WHERE id = $1";
    let rows = database.rows(query, &[(&id, Type::INT8)]).await?;
    let received_at = rows.first().map(|row| timestamp(row.get(0))).unwrap_or_default();
    Ok(Some(Mark { id, received_at }))
}

/// Ordering keys whose oldest unfinished delivery has others waiting behind it.
pub(super) async fn blocked(database: &Database, limit: usize) -> Result<Vec<Blocked>> {
    let query = format!(
        "WITH unfinished AS (
            (SELECT w.entity, w.id FROM webhook_inbox.waiting w WHERE w.entity IS NOT NULL ORDER BY w.entity, w.id
                LIMIT 100000)
            UNION ALL
            (SELECT d.entity, d.id FROM webhook_inbox.source s CROSS JOIN LATERAL (
                SELECT d.entity, d.id FROM webhook_inbox.delivery d WHERE d.source_id = s.id AND d.state = 0
                    AND d.id > webhook_inbox.claimed_up_to(s.id) ORDER BY d.id LIMIT 100000) d
                WHERE d.entity IS NOT NULL LIMIT 100000)
            UNION ALL
            (SELECT d.entity, d.id FROM webhook_inbox.{FIRST_ATTEMPTS} AND d.entity IS NOT NULL LIMIT 100000)
        )
        SELECT min(u.id), count(*) - 1 FROM unfinished u GROUP BY u.entity HAVING count(*) > 1
        ORDER BY 2 DESC, 1 LIMIT $1"
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let keys = database.rows(&query, &[(&limit, Type::INT8)]).await?;
    let ids: Vec<DeliveryId> = keys.iter().map(|row| row.get(0)).collect();
    let query =
        format!("SELECT {COLUMNS}, ordering_key FROM webhook_inbox.kept e WHERE id = ANY ($1)");
    let mut firsts = HashMap::new();
    for row in database.rows(&query, &[(&ids, Type::INT8_ARRAY)]).await? {
        let first = entry(&row)?;
        firsts.insert(first.id, (first, optional(&row, 23).unwrap_or_default()));
    }
    let blocked = keys.iter().filter_map(|row| {
        let (first, ordering_key) = firsts.remove(&row.get(0))?;
        Some(Blocked { ordering_key, first, waiting: row.get::<_, i64>(1).unsigned_abs() })
    });
    Ok(blocked.collect())
}

pub(super) async fn show(database: &Database, id: DeliveryId) -> Result<Option<Detail>> {
    let filter = Filter { ids: vec![id], ..Filter::default() };
    Ok(details(database, &filter).await?.pop())
}

/// Lists deliveries with all that is known of them, in the filter's order.
pub(super) async fn details(database: &Database, filter: &Filter) -> Result<Vec<Detail>> {
    let columns = format!("{COLUMNS}, ordering_key, headers, body, key");
    let rows = rows(database, filter, &columns, "").await?;
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
    let query = format!(
        "SELECT
        (SELECT coalesce(sum((SELECT count(*) FROM webhook_inbox.delivery d WHERE d.source_id = s.id AND d.state = 0
            AND d.id > webhook_inbox.claimed_up_to(s.id))), 0) FROM webhook_inbox.source s)::bigint
        + (SELECT count(*) FROM webhook_inbox.waiting w WHERE w.state = 0),
        (SELECT count(*) FROM webhook_inbox.{FIRST_ATTEMPTS})
        + (SELECT count(*) FROM webhook_inbox.waiting w WHERE w.state = 1),
        {}, {}",
        count_ended(State::Dead),
        count_ended(State::Unrouted)
    );
    let rows = database.rows(&query, &[]).await?;
    let states = [State::Ready, State::Running, State::Dead, State::Unrouted];
    let count = |column| rows.first().map_or(0, |row| row.get::<_, i64>(column).unsigned_abs());
    Ok(states.into_iter().zip((0..).map(count)).collect())
}

/// The number of deliveries in a state that is rare: those whose last attempt ended in it, and those that were accepted in it. Each
/// row is looked up by itself, whatever the planner believes of the tables' sizes; the sum keeps it from the index of times.
fn count_ended(state: State) -> String {
    let state = number(state);
    let is_last = |id: &str, attempt: &str, ended_at: &str| {
        format!(
            "(SELECT l.attempt FROM webhook_inbox.attempt l WHERE l.delivery = {id} AND l.attempt > {attempt} LIMIT 1) IS NULL
            AND (SELECT w.id FROM webhook_inbox.waiting w WHERE w.id = {id}) IS NULL
            AND {ended_at} + 0 >= (SELECT coalesce(max(p.before), 0) FROM webhook_inbox.pruned p WHERE p.state = {state})"
        )
    };
    format!(
        "(SELECT count(*) FROM webhook_inbox.attempt a WHERE a.state > 2 AND a.state = {state} AND {})
        + (SELECT count(*) FROM webhook_inbox.delivery d WHERE d.state > 0 AND d.state = {state} AND {})",
        is_last("a.delivery", "a.attempt", "a.ended_at"),
        is_last("d.id", "0", "d.received_at")
    )
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
                Condition::State(state) => all.and("now = $", number(state), Type::INT2),
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
                Condition::Replayed => all.and("replays > $", 0, Type::INT4),
                Condition::MessageIdPrefix(prefix) => {
                    all.and("starts_with(message_id, $)", stored(prefix).into_owned(), Type::TEXT);
                }
                Condition::Environment(environment) => {
                    all.and("environment = $", environment.as_str(), Type::TEXT);
                }
                Condition::ClientId(id) => {
                    all.and("client_id = $", stored(id).into_owned(), Type::TEXT);
                }
                Condition::OrderingKey(key) => {
                    all.and("ordering_key = $", stored(key).into_owned(), Type::TEXT);
                }
                Condition::Key(key) => all.and("key = $", stored(key).into_owned(), Type::TEXT),
                Condition::Error(text) => {
                    let text = stored(text).to_ascii_lowercase();
                    all.and("strpos(lower(last_error COLLATE \"C\"), $) > 0", text, Type::TEXT);
                }
                Condition::Contains(bytes) => {
                    all.and("position($ IN body) > 0", bytes.to_vec(), Type::BYTEA);
                }
                Condition::Hint(bytes) => {
                    let hint = "(position($ IN body) > 0 OR position('\\x5c'::bytea IN body) > 0 OR format LIKE '%gzip')";
                    all.and(hint, bytes.to_vec(), Type::BYTEA);
                }
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
