//! Queries of deliveries.

use contract::effect::Applied;
use contract::event::DeliveryId;
use contract::time::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};

use super::super::filter::Condition;
use super::super::search::{Brief, Mark, Window};
use super::super::{AttemptEntry, Blocked, Detail, Entry, Filter, KeyUse, Order, State};
use super::columns::{millis, state, state_number, timestamp};
use super::spans;

const COLUMNS: &str = "d.id, d.source, d.environment, d.event_type, d.version, d.message_id,
     d.message_id_derived, d.client_id, d.user, w.state, w.attempts, w.replays, w.conflicts,
     d.event_time, d.received_at, w.due_at, w.ended_at, w.last_error, length(d.body), w.lost,
     d.format, w.recognised, w.owner";

/// Columns of a [`Brief`].
const BRIEF: &str = "d.id, d.source, d.event_type, d.received_at, w.ordering_key";

/// Largest number of unfinished deliveries whose ids are read and sorted. Among more, a page is soon found in the order of ids.
const UNFINISHED: usize = 50_000;

/// Lists deliveries in the filter's order.
pub(super) fn list(db: &Connection, filter: &Filter) -> rusqlite::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    visit(db, filter, COLUMNS, "", |row| {
        entries.push(entry(row)?);
        Ok(())
    })?;
    Ok(entries)
}

/// Lists deliveries as far as a summary needs them.
pub(super) fn briefs(db: &Connection, filter: &Filter) -> rusqlite::Result<Vec<Brief>> {
    let mut briefs = Vec::new();
    visit(db, filter, BRIEF, "", |row| {
        briefs.push(Brief {
            id: row.get(0)?,
            source: row.get(1)?,
            event_type: row.get(2)?,
            received_at: timestamp(row.get(3)?),
            ordering_key: row.get(4)?,
        });
        Ok(())
    })?;
    Ok(briefs)
}

/// Ids of the deliveries that can be replayed, oldest first.
pub(super) fn replayable(db: &Connection, filter: &Filter) -> rusqlite::Result<Vec<DeliveryId>> {
    ids(db, filter, " AND w.state BETWEEN 2 AND 4")
}

/// Ids of the deliveries that can be discarded, oldest first.
pub(super) fn discardable(db: &Connection, filter: &Filter) -> rusqlite::Result<Vec<DeliveryId>> {
    ids(db, filter, " AND w.state IN (0, 3, 4)")
}

fn ids(db: &Connection, filter: &Filter, further: &str) -> rusqlite::Result<Vec<DeliveryId>> {
    let filter = Filter { order: Order::OldestFirst, ..filter.clone() };
    let mut ids = Vec::new();
    visit(db, &filter, "d.id", further, |row| {
        ids.push(row.get(0)?);
        Ok(())
    })?;
    Ok(ids)
}

/// Takes the columns of each matching delivery in the filter's order, up to its limit; `further` is a condition.
fn visit(
    db: &Connection,
    filter: &Filter,
    columns: &str,
    further: &str,
    mut take: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut left = filter.limit.unwrap_or(usize::MAX);
    if left == 0 {
        return Ok(());
    }
    let member = filter.member();
    let (body, limit) = match member {
        Some(_) => (", d.format, d.body", -1),
        None => ("", limit(filter)),
    };
    // Returns false after the last row that is wanted.
    let mut step = |row: &Row<'_>| -> rusqlite::Result<bool> {
        if let Some(member) = &member {
            let body = row.as_ref().column_count() - 1;
            let format: String = row.get(body - 1)?;
            if !member.holds(&format, row.get_ref(body)?.as_blob().unwrap_or_default()) {
                return Ok(true);
            }
        }
        take(row)?;
        left -= 1;
        Ok(left > 0)
    };
    // Candidates and their rows are of one moment.
    let _snapshot = db.is_autocommit().then(|| db.unchecked_transaction()).transpose()?;
    let Rows { from, id, mut values, candidates } = rows(db, filter)?;
    let select = format!("SELECT {columns}{body} FROM {from}{further}");
    let Some(candidates) = candidates else {
        let order = direction(filter);
        let mut query = db.prepare(&format!("{select} ORDER BY {id} {order} LIMIT {limit}"))?;
        let mut found = query.query(params_from_iter(values))?;
        while let Some(row) = found.next()? {
            if !step(row)? {
                break;
            }
        }
        return Ok(());
    };
    let mut query = db.prepare(&select)?;
    for candidate in candidates {
        values[0] = candidate.into();
        let mut found = query.query(params_from_iter(&values))?;
        if let Some(row) = found.next()?
            && !step(row)?
        {
            break;
        }
    }
    Ok(())
}

/// The next rows along the index of the filter.
pub(super) fn window(db: &Connection, filter: &Filter, rows: usize) -> rusqlite::Result<Window> {
    let _snapshot = db.unchecked_transaction()?;
    let index = Index::of(db, filter)?;
    let bounds = Bounds::of(db, filter)?;
    if let Index::Ids(ids) = index {
        let mut ids = bounds.of_ids(ids, filter);
        let is_last = ids.len() <= rows;
        ids.truncate(rows);
        let last = mark(db, ids.last().copied().filter(|_| !is_last))?;
        return Ok(Window { ids: Some(ids), last });
    }
    let (tables, id, test) = index.tables();
    let (within, values) = bounds.conditions(id);
    let table = tables.split(" CROSS JOIN ").next().unwrap_or(tables);
    let query = format!(
        "SELECT {id} FROM {table} WHERE {test}{within} ORDER BY {id} {} LIMIT 1 OFFSET {}",
        direction(filter),
        rows.saturating_sub(1)
    );
    let last =
        db.prepare(&query)?.query_row(params_from_iter(values), |row| row.get(0)).optional()?;
    Ok(Window { ids: None, last: mark(db, last)? })
}

/// A delivery at which a window ends, with its time.
fn mark(db: &Connection, id: Option<DeliveryId>) -> rusqlite::Result<Option<Mark>> {
    let Some(id) = id else { return Ok(None) };
    let received_at = db
        .prepare_cached("SELECT received_at FROM delivery WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    Ok(Some(Mark { id, received_at: received_at.map(timestamp).unwrap_or_default() }))
}

fn direction(filter: &Filter) -> &'static str {
    match filter.order {
        Order::NewestFirst => "DESC",
        Order::OldestFirst => "ASC",
    }
}

fn limit(filter: &Filter) -> i64 {
    filter.limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX))
}

pub(super) fn show(db: &Connection, id: DeliveryId) -> rusqlite::Result<Option<Detail>> {
    let query = format!(
        "SELECT {COLUMNS}, w.ordering_key, d.headers, d.body, d.key
         FROM delivery d JOIN work w ON w.id = d.id WHERE d.id = ?1"
    );
    let detail = db.prepare_cached(&query)?.query_row([id], |row| {
        Ok(Detail {
            entry: entry(row)?,
            ordering_key: row.get(23)?,
            headers: row.get(24)?,
            body: row.get::<_, Vec<u8>>(25)?.into(),
            attempts: Vec::new(),
            key: row.get(26)?,
        })
    });
    let Some(detail) = detail.optional()? else { return Ok(None) };
    Ok(Some(Detail { attempts: attempts(db, id)?, ..detail }))
}

pub(super) fn attempts(db: &Connection, id: DeliveryId) -> rusqlite::Result<Vec<AttemptEntry>> {
    db.prepare_cached(
        "SELECT attempt, replay, started_at, ended_at, outcome, error, applied_by, applied_at
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
            applied: applied(row.get(6)?, row.get::<_, Option<i64>>(7)?.map(timestamp)),
        })
    })?
    .collect()
}

/// The attempt that applied an effect, if both of its columns are set.
fn applied(attempt: Option<u32>, at: Option<Timestamp>) -> Option<Applied> {
    attempt.zip(at).map(|(attempt, at)| Applied { attempt, at })
}

pub(super) fn next_due(db: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let due = db
        .prepare_cached("SELECT min(due_at) FROM work WHERE due_at IS NOT NULL")?
        .query_row([], |row| row.get::<_, Option<i64>>(0))?;
    Ok(due.map(timestamp))
}

/// Counts deliveries by state: ended ones by their index, due ones by theirs; handled ones are too many to count.
pub(super) fn count(db: &Connection) -> rusqlite::Result<Vec<(State, u64)>> {
    const DUE: &str = "SELECT count(*) FROM work WHERE due_at IS NOT NULL AND state = ?1";
    const BEHIND: &str = "SELECT count(*) FROM work
        WHERE ordering_key IS NOT NULL AND state < 2 AND state = ?1 AND due_at IS NULL";
    const ENDED: &str = "SELECT count(*) FROM work WHERE state > 2 AND state = ?1";
    // One that changes its state meanwhile is in one of them.
    let _snapshot = db.unchecked_transaction()?;
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

/// The index or table along which matching rows are found, in the order of their ids: nothing is sorted, so a page costs only
/// the rows between its first and its last.
enum Index {
    /// These are the only ids that can match.
    Ids(Vec<DeliveryId>),
    /// Deliveries in a state that is rare.
    Rare(State),
    Conflicts,
    Recognised,
    Replayed,
    /// The table with most of the conditions.
    Delivery,
    Work,
}

impl Index {
    /// The index that passes over the fewest other rows.
    fn of(db: &Connection, filter: &Filter) -> rusqlite::Result<Self> {
        if !filter.ids.is_empty() {
            return Ok(Index::Ids(filter.ids.clone()));
        }
        let of_delivery = filter.conditions().iter().any(|condition| {
            matches!(
                condition,
                Condition::Source(_)
                    | Condition::EventType(_)
                    | Condition::MessageId(_)
                    | Condition::MessageIdPrefix(_)
                    | Condition::Environment(_)
                    | Condition::ClientId(_)
                    | Condition::Key(_)
            )
        });
        Ok(match filter.state {
            Some(state) if !state.has_ended() => match unfinished(db, state, filter)? {
                Some(ids) => Index::Ids(ids),
                None => Index::Work,
            },
            Some(state) if state != State::Done => Index::Rare(state),
            _ if filter.conflicts => Index::Conflicts,
            _ if filter.recognised => Index::Recognised,
            _ if filter.replayed => Index::Replayed,
            _ if of_delivery => Index::Delivery,
            _ => Index::Work,
        })
    }

    /// The tables, the column of the ids, and the condition by which the index is used.
    fn tables(&self) -> (&'static str, &'static str, String) {
        let (tables, id, test) = match self {
            Index::Ids(_) => ("work w NOT INDEXED CROSS JOIN delivery d", "w.id", "w.id = ?"),
            Index::Rare(state) => {
                let test = format!("w.state > 2 AND w.state = {}", state_number(*state));
                return ("work w INDEXED BY work_rare CROSS JOIN delivery d", "w.id", test);
            }
            Index::Conflicts => (
                "work w INDEXED BY work_conflicts CROSS JOIN delivery d",
                "w.id",
                "w.conflicts > 0",
            ),
            Index::Recognised => (
                "work w INDEXED BY work_recognised CROSS JOIN delivery d",
                "w.id",
                "w.recognised > 0",
            ),
            Index::Replayed => {
                ("work w INDEXED BY work_replayed CROSS JOIN delivery d", "w.id", "w.replays > 0")
            }
            Index::Delivery => ("delivery d NOT INDEXED CROSS JOIN work w", "d.id", "1"),
            Index::Work => ("work w NOT INDEXED CROSS JOIN delivery d", "w.id", "1"),
        };
        (tables, id, test.to_owned())
    }
}

/// The ids of the deliveries in an unfinished state, of one ordering key if the filter has one; none if they are too many.
///
/// Of those that have a due time, its index knows the state. The others are ready, behind another of their key.
fn unfinished(
    db: &Connection,
    state: State,
    filter: &Filter,
) -> rusqlite::Result<Option<Vec<DeliveryId>>> {
    const DUE: &str =
        "SELECT id FROM work INDEXED BY work_due WHERE due_at IS NOT NULL AND state = ?1 LIMIT ?2";
    const BEHIND: &str = "SELECT id FROM work INDEXED BY work_order
        WHERE ordering_key IS NOT NULL AND state < 2 AND due_at IS NULL LIMIT ?1";
    const OF_KEY: &str =
        "SELECT id FROM work INDEXED BY work_order WHERE ordering_key = ?1 AND state < 2 LIMIT ?2";
    let most = i64::try_from(UNFINISHED).unwrap_or(i64::MAX).saturating_add(1);
    let read = |query: &str, parameters: &[&dyn rusqlite::ToSql]| {
        let mut query = db.prepare_cached(query)?;
        let ids = query.query_map(parameters, |row| row.get(0))?;
        ids.collect::<rusqlite::Result<Vec<DeliveryId>>>()
    };
    let ids = match &filter.ordering_key {
        Some(key) => read(OF_KEY, &[key, &most])?,
        None => {
            let mut ids = read(DUE, &[&state_number(state), &most])?;
            if state == State::Ready {
                ids.extend(read(BEHIND, &[&most])?);
            }
            ids
        }
    };
    Ok((ids.len() <= UNFINISHED).then_some(ids))
}

/// Bounds of the ids that can match.
struct Bounds {
    after: DeliveryId,
    before: DeliveryId,
}

impl Bounds {
    fn of(db: &Connection, filter: &Filter) -> rusqlite::Result<Self> {
        let mut after = filter.after.unwrap_or(DeliveryId::MIN);
        let mut before = filter.before.unwrap_or(DeliveryId::MAX);
        if let Some(since) = filter.since {
            after = after.max(spans::since(db, since)?);
        }
        if let Some(until) = filter.until {
            before = before.min(spans::until(db, until)?.saturating_add(1));
        }
        Ok(Bounds { after, before })
    }

    fn conditions(&self, id: &str) -> (String, Vec<Value>) {
        let (mut sql, mut values) = (String::new(), Vec::new());
        if self.after > DeliveryId::MIN {
            sql.push_str(&format!(" AND {id} > ?"));
            values.push(self.after.into());
        }
        if self.before < DeliveryId::MAX {
            sql.push_str(&format!(" AND {id} < ?"));
            values.push(self.before.into());
        }
        (sql, values)
    }

    /// The ids within the bounds, in the filter's order.
    fn of_ids(&self, mut ids: Vec<DeliveryId>, filter: &Filter) -> Vec<DeliveryId> {
        ids.retain(|id| *id > self.after && *id < self.before);
        ids.sort_unstable();
        ids.dedup();
        if filter.order == Order::NewestFirst {
            ids.reverse();
        }
        ids
    }
}

/// The matching rows of `delivery d` and `work w`, as SQL to which a further condition or an order can be appended.
struct Rows {
    from: String,
    /// Column of the delivery ids, in whose order they are found.
    id: &'static str,
    values: Vec<Value>,
    /// The only ids that can match, in the filter's order, for the first of the values.
    candidates: Option<Vec<DeliveryId>>,
}

/// Finds rows in the order of their ids, by the index that passes over the fewest others.
fn rows(db: &Connection, filter: &Filter) -> rusqlite::Result<Rows> {
    let index = Index::of(db, filter)?;
    let bounds = Bounds::of(db, filter)?;
    let (tables, id, test) = index.tables();
    let (candidates, (within, mut values)) = match index {
        Index::Ids(ids) => {
            (Some(bounds.of_ids(ids, filter)), (String::new(), vec![Value::from(0)]))
        }
        _ => (None, bounds.conditions(id)),
    };
    let further = conditions(filter);
    values.extend(further.values);
    let from = format!("{tables} ON w.id = d.id WHERE {test}{within}{}", further.sql);
    Ok(Rows { from, id, values, candidates })
}

/// Conditions as SQL, with the values of its parameters.
#[derive(Default)]
struct Conditions {
    sql: String,
    values: Vec<Value>,
}

impl Conditions {
    fn and(&mut self, test: &str, value: impl Into<Value>) {
        self.sql.push_str(" AND ");
        self.sql.push_str(test);
        self.values.push(value.into());
    }
}

/// Filter as SQL, except its [bounds](Bounds) and ids. The tests of bodies come last, where they are made of the fewest rows.
fn conditions(filter: &Filter) -> Conditions {
    let mut all = Conditions::default();
    for condition in filter.conditions() {
        match condition {
            Condition::State(state) => all.and("w.state = ?", state_number(state)),
            Condition::Source(name) => all.and("d.source = ?", name.to_owned()),
            Condition::EventType(name) => {
                all.and("d.event_type = ? COLLATE NOCASE", name.to_owned());
            }
            Condition::MessageId(id) => all.and("d.message_id = ?", id.to_owned()),
            Condition::MessageIdPrefix(prefix) => {
                all.and("substr(d.message_id, 1, length(?)) = ?", prefix.to_owned());
                all.values.push(prefix.to_owned().into());
            }
            Condition::Since(since) => all.and("d.received_at >= ?", millis(since)),
            Condition::Until(until) => all.and("d.received_at < ?", millis(until)),
            Condition::Conflicts => all.and("w.conflicts > ?", 0),
            Condition::Recognised => all.and("w.recognised > ?", 0),
            Condition::Replayed => all.and("w.replays > ?", 0),
            Condition::Environment(environment) => {
                all.and("d.environment = ?", environment.as_str().to_owned());
            }
            Condition::ClientId(id) => all.and("d.client_id = ?", id.to_owned()),
            Condition::OrderingKey(key) => all.and("w.ordering_key = ?", key.to_owned()),
            Condition::Key(key) => all.and("d.key = ?", key.to_owned()),
            // `lower` is that of ASCII.
            Condition::Error(text) => {
                all.and("instr(lower(w.last_error), ?) > 0", text.to_ascii_lowercase());
            }
            Condition::Contains(bytes) => all.and("instr(d.body, ?) > 0", bytes.to_vec()),
            Condition::Hint(bytes) => all.and(
                "(instr(d.body, ?) > 0 OR instr(d.body, x'5c') > 0 OR d.format LIKE '%gzip')",
                bytes.to_vec(),
            ),
            Condition::Ids(_) | Condition::Before(_) | Condition::After(_) => {}
        }
    }
    all
}

/// Ordering keys whose oldest unfinished delivery has others waiting behind it.
pub(super) fn blocked(db: &Connection, limit: usize) -> rusqlite::Result<Vec<Blocked>> {
    let _snapshot = db.unchecked_transaction()?;
    let keys: Vec<(String, DeliveryId, i64)> = db
        .prepare_cached(
            "SELECT ordering_key, min(id), count(*) - 1 FROM (
                 SELECT ordering_key, id FROM work INDEXED BY work_order
                 WHERE ordering_key IS NOT NULL AND state < 2 ORDER BY ordering_key, id LIMIT 100000)
             GROUP BY ordering_key HAVING count(*) > 1 ORDER BY 3 DESC, 2 LIMIT ?1",
        )?
        .query_map([i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut blocked = Vec::with_capacity(keys.len());
    let query =
        format!("SELECT {COLUMNS} FROM delivery d JOIN work w ON w.id = d.id WHERE d.id = ?1");
    let mut query = db.prepare_cached(&query)?;
    for (ordering_key, id, waiting) in keys {
        let first = query.query_row([id], entry)?;
        blocked.push(Blocked { ordering_key, first, waiting: waiting.unsigned_abs() });
    }
    Ok(blocked)
}

/// Number of deliveries, about: of many, the density of their ids is measured at some places.
pub(super) fn estimate(db: &Connection) -> rusqlite::Result<u64> {
    const PLACES: i64 = 32;
    const WIDTH: i64 = 1024;
    let _snapshot = db.unchecked_transaction()?;
    let (first, last): (Option<DeliveryId>, Option<DeliveryId>) = db
        .prepare_cached("SELECT (SELECT min(id) FROM work), (SELECT max(id) FROM work)")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let Some((first, last)) = first.zip(last) else { return Ok(0) };
    let mut count = db.prepare_cached("SELECT count(*) FROM work WHERE id >= ?1 AND id < ?2")?;
    let mut count = |from: DeliveryId, to: DeliveryId| -> rusqlite::Result<u64> {
        Ok(count.query_row([from, to], |row| row.get::<_, i64>(0))?.unsigned_abs())
    };
    let span = last - first + 1;
    if span <= 2 * PLACES * WIDTH {
        return count(first, last + 1);
    }
    let mut found = 0;
    for place in 0..PLACES {
        let from = first + span / PLACES * place;
        found += count(from, from + WIDTH)?;
    }
    Ok(found * span.unsigned_abs() / (PLACES * WIDTH).unsigned_abs())
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
        lost: row.get(19)?,
        format: row.get(20)?,
        recognised: row.get(21)?,
        owner: row.get(22)?,
    })
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use contract::event::Environment;

    use super::super::super::{BodyTest, HookFilter};
    use super::super::schema::SCHEMA;
    use super::super::{hooks, rows, spans};
    use super::*;

    const DELIVERIES: i64 = 10_000;

    fn at(second: i64) -> Timestamp {
        timestamp(second * 1000)
    }

    /// An inbox with one delivery a second, numbered from 1; every thousandth is dead and has a conflict, the last ten are
    /// ready, all others are handled.
    fn inbox() -> Connection {
        let db = Connection::open_in_memory().unwrap();
        SCHEMA.migrations.iter().for_each(|step| db.execute_batch(step).unwrap());
        db.execute_batch("BEGIN").unwrap();
        for id in 1..=DELIVERIES {
            db.prepare_cached(
                "INSERT INTO delivery (id, source, client_id, message_id, message_id_derived, dialect, environment,
                     event_type, version, received_at, digest, headers, body)
                 VALUES (?1, 'one', '', ?1, 0, 'generic', 'stage', 'E', 1, ?2, x'', '', x'')",
            )
            .unwrap()
            .execute([id, id * 1000])
            .unwrap();
            let is_rare = id % 1000 == 0;
            let state = match id {
                _ if is_rare => State::Dead,
                _ if id > DELIVERIES - 10 => State::Ready,
                _ => State::Done,
            };
            db.prepare_cached(
                "INSERT INTO work (id, state, conflicts, ended_at, due_at) VALUES (?1, ?2, ?3, ?4, iif(?2 = 0, 0, NULL))",
            )
            .unwrap()
            .execute([id, state_number(state), is_rare.into(), id * 1000])
            .unwrap();
            spans::note(&db, id).unwrap();
        }
        db.execute_batch("COMMIT").unwrap();
        db
    }

    /// Every condition alone, each with every state.
    fn filters() -> Vec<Filter> {
        let any = Filter::default;
        let conditions = [
            any(),
            Filter { ids: vec![5, 7000, 9], ..any() },
            Filter { source: Some("one".into()), ..any() },
            Filter { event_type: Some("e".into()), ..any() },
            Filter { message_id: Some("5".into()), ..any() },
            Filter { since: Some(at(9_000)), ..any() },
            Filter { until: Some(at(9_000)), ..any() },
            Filter { conflicts: true, ..any() },
            Filter { replayed: true, ..any() },
            Filter { environment: Some(Environment::Live), ..any() },
            Filter { client_id: Some("5".into()), ..any() },
            Filter { message_id_prefix: Some("5".into()), ..any() },
            Filter { ordering_key: Some("5".into()), ..any() },
            Filter { key: Some("5".into()), ..any() },
            Filter { error: Some("5".into()), ..any() },
            Filter { body: Some(BodyTest::Contains("5".into())), ..any() },
            Filter { before: Some(9_000), ..any() },
            Filter { after: Some(9_000), ..any() },
        ];
        let states = || [None].into_iter().chain(State::ALL.map(Some));
        conditions
            .iter()
            .flat_map(|filter| states().map(|state| Filter { state, ..filter.clone() }))
            .collect()
    }

    fn plan(db: &Connection, query: &str, values: &[Value]) -> String {
        let mut plan = db.prepare(&format!("EXPLAIN QUERY PLAN {query}")).unwrap();
        let steps =
            plan.query_map(params_from_iter(values), |row| row.get::<_, String>(3)).unwrap();
        steps.collect::<rusqlite::Result<Vec<_>>>().unwrap().join("; ")
    }

    #[test]
    fn no_filter_sorts_a_page() {
        let db = inbox();
        for filter in filters() {
            let Rows { from, id, values, .. } = rows(&db, &filter).unwrap();
            for order in ["DESC", "ASC"] {
                let query = format!("SELECT {COLUMNS} FROM {from} ORDER BY {id} {order} LIMIT 9");
                let plan = plan(&db, &query, &values);
                assert!(
                    !plan.contains("TEMP B-TREE") && !plan.contains("work_ended"),
                    "{filter:?}: {plan}"
                );
            }
        }
    }

    #[test]
    fn no_filter_sorts_a_page_of_calls() {
        let db = inbox();
        let any = HookFilter::default;
        for filter in [
            any(),
            HookFilter { since: Some(at(1)), before: Some(9), ..any() },
            HookFilter { until: Some(at(1)), outcome: Some("told".into()), ..any() },
            HookFilter { source: Some("one".into()), error_id: Some("1".into()), ..any() },
        ] {
            let (query, values) = hooks::query(&db, &filter).unwrap();
            let plan = plan(&db, &query, &values);
            assert!(!plan.contains("TEMP B-TREE"), "{filter:?}: {plan}");
        }
    }

    /// Number of engine steps that a page takes, not counting those that find the candidates.
    fn steps(db: &Connection, filter: &Filter) -> i32 {
        let Rows { from, id, values, candidates } = rows(db, filter).unwrap();
        if let Some(candidates) = candidates {
            return 20 * i32::try_from(candidates.len()).unwrap();
        }
        let query = format!("SELECT {id} FROM {from} ORDER BY {id} DESC LIMIT {}", limit(filter));
        let mut statement = db.prepare(&query).unwrap();
        let mut found = statement.query(params_from_iter(values)).unwrap();
        while found.next().unwrap().is_some() {}
        drop(found);
        statement.get_status(StatementStatus::VmStep)
    }

    #[test]
    fn a_page_costs_no_more_at_the_end_of_a_listing_than_at_its_beginning() {
        let db = inbox();
        for (filter, of) in [
            (Filter { state: Some(State::Done), ..Filter::default() }, DELIVERIES),
            (Filter { source: Some("one".into()), ..Filter::default() }, DELIVERIES),
            (Filter { state: Some(State::Dead), ..Filter::default() }, 10),
            (Filter { conflicts: true, ..Filter::default() }, 10),
        ] {
            let page = |before| steps(&db, &Filter { limit: Some(5), before, ..filter.clone() });
            let (first, last) = (page(None), page(Some(DELIVERIES * 5 / 10 + 1)));
            assert!(first < 300 && last < 300, "{filter:?}: {first}, {last} for 5 of {of}");
        }
    }

    #[test]
    fn what_is_rare_or_of_a_time_is_found_without_reading_the_rest() {
        let db = inbox();
        let any = Filter::default;
        for (filter, most) in [
            (Filter { state: Some(State::Unrouted), ..any() }, 100),
            (Filter { state: Some(State::Dead), ..any() }, 500),
            (Filter { state: Some(State::Ready), ..any() }, 500),
            (Filter { state: Some(State::Running), ..any() }, 100),
            (Filter { replayed: true, ..any() }, 100),
            (Filter { conflicts: true, ..any() }, 500),
            (Filter { ids: vec![1, 9_000], ..any() }, 200),
            // A span and what is in none yet.
            (Filter { since: Some(at(9_990)), ..any() }, 20_000),
            (Filter { until: Some(at(10)), ..any() }, 35_000),
            (Filter { since: Some(at(20_000)), ..any() }, 20_000),
        ] {
            let steps = steps(&db, &filter);
            assert!(steps < most, "{filter:?}: {steps}");
        }
        let all = steps(&db, &any());
        assert!(all > 50_000, "{all}");
    }

    #[test]
    fn a_clock_that_was_set_hides_nothing_from_a_listing_of_a_time() {
        let db = inbox();
        // From the 2,000th to the 6,000th the clock was a day behind, from the 7,000th to the 7,100th a day ahead.
        let day = 24 * 60 * 60 * 1000;
        db.execute(
            "UPDATE delivery SET received_at = received_at - ?1 WHERE id BETWEEN 2000 AND 6000",
            [day],
        )
        .unwrap();
        db.execute(
            "UPDATE delivery SET received_at = received_at + ?1 WHERE id BETWEEN 7000 AND 7100",
            [day],
        )
        .unwrap();
        db.execute("DELETE FROM span", []).unwrap();
        (1..=DELIVERIES).for_each(|id| spans::note(&db, id).unwrap());
        for second in [-90_000, -80_000, 0, 1, 1_999, 3_000, 5_000, 8_000, 9_999, 93_000, 100_000] {
            for (filter, test) in [
                (Filter { since: Some(at(second)), ..Filter::default() }, ">="),
                (Filter { until: Some(at(second)), ..Filter::default() }, "<"),
            ] {
                let query = format!("SELECT count(*) FROM delivery WHERE received_at {test} ?1");
                let expected: i64 =
                    db.query_row(&query, [second * 1000], |row| row.get(0)).unwrap();
                let found = list(&db, &filter).unwrap().len() as i64;
                assert_eq!(found, expected, "{filter:?}");
            }
        }
    }

    #[test]
    fn what_can_be_replayed_comes_oldest_first_and_no_more_than_asked() {
        let db = inbox();
        let filter = Filter { after: Some(998), limit: Some(3), ..Filter::default() };
        assert_eq!(replayable(&db, &filter).unwrap(), [999, 1000, 1001]);
        let ready = Filter { state: Some(State::Ready), ..Filter::default() };
        assert_eq!(replayable(&db, &ready).unwrap(), Vec::<DeliveryId>::new());
    }

    #[test]
    fn large_rows_are_deleted_a_few_at_a_time_but_never_none() {
        let slow = |_: &i64| {
            std::thread::sleep(std::time::Duration::from_millis(6));
            Ok(1)
        };
        assert_eq!(rows::delete(&[1, 2, 3], slow).unwrap(), 1);
        assert_eq!(rows::delete(&[1, 2, 3], |_| Ok(1)).unwrap(), 3);
        assert_eq!(rows::delete(&[], |_| Ok(1)).unwrap(), 0);
    }
}
