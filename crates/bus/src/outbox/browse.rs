//! Queries for people: the event log, deliveries, the attempt log, and requests with their responses.

use contract::event::Environment;
use contract::time::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use store::Result;
use utoipa::openapi::schema::{Array, ArrayBuilder, Object, ObjectBuilder, Type};
use utoipa::{IntoParams, ToSchema};

use super::{Outbox, Preview, ResendSelection, limit, millis, timestamp, write};

/// The default and the largest number of rows on a page.
const PAGE: usize = 50;
const LARGEST_PAGE: usize = 1000;

/// A filter of events. Every given condition must hold.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventFilter {
    /// The event type.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// The event id.
    pub id: Option<String>,
    /// The type of the object that the event is about.
    pub object_type: Option<String>,
    /// The id of the object that the event is about.
    pub object_id: Option<String>,
    /// The user who caused the event.
    pub user: Option<String>,
    /// The earliest time of publication.
    #[param(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// The time before which the event was published.
    #[param(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// The number before which the page begins: the cursor for the next page.
    pub before: Option<i64>,
    /// The largest number of entries, up to 1000.
    #[serde(default, deserialize_with = "page_limit")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<usize>,
}

/// One entry of the event log.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct EventLogEntry {
    /// The number: the cursor for the next page.
    pub number: i64,
    /// The event id.
    pub id: String,
    /// The event type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The environment, `live` or `stage`; null for any.
    #[schema(value_type = Option<Environment>)]
    pub environment: Option<String>,
    /// The type of the object that the event is about.
    pub object_type: Option<String>,
    /// The id of the object that the event is about.
    pub object_id: Option<String>,
    /// The application and user who caused the event.
    pub user: Option<String>,
    /// The time at which the event happened.
    #[schema(value_type = String, format = DateTime)]
    pub happened_at: Timestamp,
    /// The time of publication.
    #[schema(value_type = String, format = DateTime)]
    pub published_at: Timestamp,
}

/// An event with its data, deliveries and attempts.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct EventDetail {
    /// The log entry.
    pub event: EventLogEntry,
    /// The published data.
    pub data: String,
    /// The object record.
    pub record: Option<String>,
    /// The deliveries, one for each subscription.
    pub deliveries: Vec<DeliveryEntry>,
    /// The attempts, oldest first.
    pub attempts: Vec<AttemptLogEntry>,
}

/// One event on its way to one target.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DeliveryEntry {
    /// The number.
    pub id: i64,
    /// The name of the subscription.
    pub subscription: String,
    /// `waiting`, `delivered`, `given_up` or `cancelled`.
    #[schema(schema_with = state_schema)]
    pub state: &'static str,
    /// The number of attempts.
    pub attempts: u32,
    /// The time at which it is due; null if it has ended, or waits behind another about the same object.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub due_at: Option<Timestamp>,
    /// The time at which it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
}

/// A filter of attempts. Every given condition must hold.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AttemptFilter {
    /// The name of the subscription.
    pub subscription: Option<String>,
    /// The event id.
    pub event: Option<String>,
    /// The HTTP status of the response.
    #[serde(default, deserialize_with = "http_status")]
    #[param(minimum = 100, maximum = 999)]
    pub status: Option<u16>,
    /// `delivered`, `again` (will retry), `given_up`, `gone` or `copy`.
    #[param(schema_with = outcome_schema)]
    pub outcome: Option<String>,
    /// The earliest time of the attempt.
    #[param(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// The time before which the attempt was made.
    #[param(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// The number before which the page begins: the cursor for the next page.
    pub before: Option<i64>,
    /// The largest number of entries, up to 1000.
    #[serde(default, deserialize_with = "page_limit")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<usize>,
}

/// One entry of the attempt log.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AttemptLogEntry {
    /// The number: the request id, and the cursor for the next page.
    pub id: i64,
    /// The event id; null once the event is pruned.
    pub event: Option<String>,
    /// The event type.
    pub event_type: Option<String>,
    /// The name of the subscription.
    pub subscription: Option<String>,
    /// The number of the delivery.
    pub delivery: i64,
    /// The number of the attempt within its delivery, counted from 1.
    pub attempt: u32,
    /// The time of the attempt.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// The time until the response, in microseconds.
    pub took_us: i64,
    /// The HTTP method.
    pub method: &'static str,
    /// The URL, without query parameters.
    pub uri: String,
    /// The HTTP status of the response.
    pub status: Option<u16>,
    /// `delivered`, `again` (will retry), `given_up`, `gone` or `copy`.
    #[schema(schema_with = outcome_schema)]
    pub outcome: &'static str,
    /// The reason of the failure.
    pub error: Option<String>,
    /// The fault that was made on purpose.
    pub fault: Option<String>,
}

/// An attempt with its request and response, as long as they are kept.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AttemptDetail {
    /// The log entry.
    pub attempt: AttemptLogEntry,
    /// The request and response; null once they are pruned.
    pub exchange: Option<Exchange>,
}

/// A request and its response.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Exchange {
    /// The request's headers, secrets left out.
    #[schema(schema_with = request_headers_schema)]
    pub request_headers: Vec<(String, String)>,
    /// The request's body.
    pub request_body: String,
    /// The response's headers.
    #[schema(schema_with = response_headers_schema)]
    pub response_headers: Vec<(String, String)>,
    /// The response's body, or the beginning of it.
    pub response_body: String,
    /// True if the response was longer than the part that is kept.
    pub is_cut: bool,
}

pub(super) const EVENT: &str =
    "e.id, e.event_id, e.event_type, e.environment, e.object_type, e.object_id,
     e.source_user, e.happened_at, e.published_at";

const ATTEMPT: &str = "a.id, e.event_id, e.event_type, s.name, a.delivery, a.attempt, a.started_at,
     a.took, a.uri, a.status, a.outcome, a.error, a.fault
     FROM attempt a LEFT JOIN event e ON e.id = a.event LEFT JOIN subscription s ON s.id = a.subscription";

pub(super) const STATES: [&str; 4] = ["waiting", "delivered", "given_up", "cancelled"];

pub(super) const OUTCOMES: [&str; 5] = ["delivered", "again", "given_up", "gone", "copy"];

/// The number of waiting deliveries of a subscription: those that are due, and those behind another of their entity.
pub(super) const WAITING: &str = "SELECT (SELECT count(*) FROM delivery WHERE subscription = ?1 AND due_at IS NOT NULL)
     + (SELECT count(*) FROM delivery WHERE subscription = ?1 AND entity IS NOT NULL AND state = 0 AND due_at IS NULL)";

impl Outbox {
    pub(in super::super) async fn events(&self, filter: EventFilter) -> Result<Vec<EventLogEntry>> {
        self.store.read(move |db| events(db, filter)).await
    }

    pub(in super::super) async fn event(&self, id: String) -> Result<Option<EventDetail>> {
        self.store.read(move |db| event(db, id)).await
    }

    pub(in super::super) async fn attempts(
        &self,
        filter: AttemptFilter,
    ) -> Result<Vec<AttemptLogEntry>> {
        self.store.read(move |db| attempts(db, filter)).await
    }

    pub(in super::super) async fn attempt(&self, id: i64) -> Result<Option<AttemptDetail>> {
        self.store.read(move |db| attempt(db, id)).await
    }

    pub(in super::super) async fn preview(
        &self,
        selection: ResendSelection,
        rate: Option<f64>,
    ) -> Result<Preview> {
        self.store.read(move |db| write::preview(db, &selection, rate)).await
    }

    /// Counts the waiting deliveries of each of these subscriptions.
    pub(in super::super) async fn waiting(&self, subscriptions: Vec<i64>) -> Result<Vec<u64>> {
        self.store
            .read(move |db| {
                let mut count = db.prepare_cached(WAITING)?;
                let count = |id| count.query_row([id], |row| row.get::<_, i64>(0));
                subscriptions.iter().map(count).map(|count| count.map(i64::unsigned_abs)).collect()
            })
            .await
    }
}

/// The schema of a delivery's state.
fn state_schema() -> Object {
    one_of("The state of the delivery.", &STATES)
}

/// The schema of an attempt's outcome.
fn outcome_schema() -> Object {
    one_of("The outcome of the attempt; `again` will be retried.", &OUTCOMES)
}

fn one_of(description: &str, names: &[&str]) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
        .enum_values(Some(names.iter().copied()))
        .build()
}

fn request_headers_schema() -> Array {
    headers_schema("The request's headers, each with its name and its value, secrets left out.")
}

fn response_headers_schema() -> Array {
    headers_schema("The response's headers, each with its name and its value.")
}

fn headers_schema(description: &str) -> Array {
    let text = Object::with_type(Type::String);
    let pair = ArrayBuilder::new().items(text).min_items(Some(2)).max_items(Some(2));
    ArrayBuilder::new().items(pair).description(Some(description)).build()
}

/// The size of a page, if it is one.
pub(in super::super) fn page_limit<'de, D>(
    deserializer: D,
) -> std::result::Result<Option<usize>, D::Error>
where
    D: Deserializer<'de>,
{
    match Option::deserialize(deserializer)? {
        Some(limit) if !(1..=LARGEST_PAGE).contains(&limit) => {
            Err(D::Error::custom(format_args!("limit: 1 to {LARGEST_PAGE} entries")))
        }
        limit => Ok(limit),
    }
}

fn http_status<'de, D>(deserializer: D) -> std::result::Result<Option<u16>, D::Error>
where
    D: Deserializer<'de>,
{
    match Option::deserialize(deserializer)? {
        Some(status) if !(100..=999).contains(&status) => {
            Err(D::Error::custom("status: a number from 100 to 999"))
        }
        status => Ok(status),
    }
}

/// True if this is the name of an outcome.
pub(in super::super) fn is_outcome(name: &str) -> bool {
    OUTCOMES.contains(&name)
}

/// A WHERE clause: conditions in SQL, and the values of their parameters.
pub(super) struct Conditions(pub(super) String, pub(super) Vec<Value>);

impl Conditions {
    pub(super) fn new() -> Self {
        Conditions("1".into(), Vec::new())
    }

    pub(super) fn and(mut self, test: &str, value: Option<impl Into<Value>>) -> Self {
        if let Some(value) = value {
            self.0.push_str(" AND ");
            self.0.push_str(test);
            self.1.push(value.into());
        }
        self
    }
}

/// The name of a state or outcome by its number in the outbox.
pub(super) fn name(names: &[&'static str], number: i64) -> &'static str {
    usize::try_from(number).ok().and_then(|index| names.get(index)).copied().unwrap_or_default()
}

/// The number of rows of a page.
pub(in super::super) fn page(asked: Option<usize>) -> usize {
    asked.unwrap_or(PAGE).min(LARGEST_PAGE)
}

fn events(db: &Connection, filter: EventFilter) -> rusqlite::Result<Vec<EventLogEntry>> {
    let (query, values) = events_query(filter);
    db.prepare(&query)?.query_map(params_from_iter(values), event_entry)?.collect()
}

/// Newest first, in the order of the index on the time, so that no page sorts rows that it does not show.
fn events_query(filter: EventFilter) -> (String, Vec<Value>) {
    let table = match &filter.id {
        Some(_) => "event e",
        None => "event e INDEXED BY event_published",
    };
    let mut conditions = Conditions::new()
        .and("e.event_type = ? COLLATE NOCASE", filter.event_type)
        .and("e.event_id = ?", filter.id)
        .and("e.object_type = ?", filter.object_type)
        .and("e.object_id = ?", filter.object_id)
        .and("e.source_user = ?", filter.user)
        .and("e.published_at >= ?", filter.since.map(millis))
        .and("e.published_at < ?", filter.until.map(millis));
    if let Some(number) = filter.before {
        before(&mut conditions, number);
    }
    let Conditions(condition, values) = conditions;
    let query = format!(
        "SELECT {EVENT} FROM {table} WHERE {condition} ORDER BY e.published_at DESC, e.id DESC LIMIT {}",
        limit(page(filter.limit))
    );
    (query, values)
}

/// The condition that an event stands after that with this number, newest first. A row that was pruned meanwhile stood
/// before the newest of those with a smaller number.
pub(super) fn before(conditions: &mut Conditions, number: i64) {
    conditions.0.push_str(
        " AND (e.published_at, e.id) < (coalesce((SELECT published_at FROM event WHERE id = ?),
             (SELECT max(published_at) FROM event WHERE id < ?)), ?)",
    );
    conditions.1.extend([number, number, number].map(Value::from));
}

fn event(db: &Connection, id: String) -> rusqlite::Result<Option<EventDetail>> {
    let query = format!("SELECT {EVENT}, e.body, e.record FROM event e WHERE e.event_id = ?1");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let found = db
        .query_row(&query, [id], |row| {
            Ok(EventDetail {
                event: event_entry(row)?,
                data: text(row.get(9)?),
                record: row.get::<_, Option<Vec<u8>>>(10)?.map(text),
                deliveries: Vec::new(),
                attempts: Vec::new(),
            })
        })
        .optional()?;
    let Some(detail) = found else { return Ok(None) };
    let number = detail.event.number;
    let attempts =
        format!("SELECT {ATTEMPT} WHERE a.event = ?1 ORDER BY a.id LIMIT {LARGEST_PAGE}");
    Ok(Some(EventDetail {
        deliveries: deliveries(db, number)?,
        attempts: db
            .prepare_cached(&attempts)?
            .query_map([number], attempt_entry)?
            .collect::<rusqlite::Result<_>>()?,
        ..detail
    }))
}

pub(super) fn event_entry(row: &Row<'_>) -> rusqlite::Result<EventLogEntry> {
    Ok(EventLogEntry {
        number: row.get(0)?,
        id: row.get(1)?,
        event_type: row.get(2)?,
        environment: row.get(3)?,
        object_type: row.get(4)?,
        object_id: row.get(5)?,
        user: row.get(6)?,
        happened_at: timestamp(row.get(7)?),
        published_at: timestamp(row.get(8)?),
    })
}

fn deliveries(db: &Connection, event: i64) -> rusqlite::Result<Vec<DeliveryEntry>> {
    db.prepare_cached(
        "SELECT d.id, s.name, d.state, d.attempts, d.due_at, d.ended_at
         FROM delivery d JOIN subscription s ON s.id = d.subscription
         WHERE d.event = ?1 ORDER BY d.id LIMIT 1000",
    )?
    .query_map([event], |row| {
        let time = |column| row.get::<_, Option<i64>>(column).map(|millis| millis.map(timestamp));
        Ok(DeliveryEntry {
            id: row.get(0)?,
            subscription: row.get(1)?,
            state: name(&STATES, row.get(2)?),
            attempts: row.get(3)?,
            due_at: time(4)?,
            ended_at: time(5)?,
        })
    })?
    .collect()
}

fn attempts(db: &Connection, filter: AttemptFilter) -> rusqlite::Result<Vec<AttemptLogEntry>> {
    let (query, values) = attempts_query(db, filter)?;
    db.prepare(&query)?.query_map(params_from_iter(values), attempt_entry)?.collect()
}

/// Newest first. The attempts of one subscription are in order in their index; those of several that had the same name,
/// one after the other, are not.
fn attempts_query(
    db: &Connection,
    filter: AttemptFilter,
) -> rusqlite::Result<(String, Vec<Value>)> {
    let of_name = |name: &String| {
        db.prepare_cached("SELECT count(*) FROM subscription WHERE name = ?1")?
            .query_row([name], |row| row.get::<_, i64>(0))
    };
    let of_subscription = match filter.subscription.as_ref().map(of_name).transpose()? {
        Some(2..) => "+a.subscription IN (SELECT id FROM subscription WHERE name = ?)",
        _ => "a.subscription = (SELECT id FROM subscription WHERE name = ?)",
    };
    let outcome = filter.outcome.map(|name| OUTCOMES.iter().position(|known| *known == name));
    let Conditions(condition, values) = Conditions::new()
        .and(of_subscription, filter.subscription)
        .and("a.event = (SELECT id FROM event WHERE event_id = ?)", filter.event)
        .and("a.status = ?", filter.status.map(i64::from))
        .and("a.outcome = ?", outcome.map(|index| index.map_or(-1, limit)))
        .and("a.started_at >= ?", filter.since.map(millis))
        .and("a.started_at < ?", filter.until.map(millis))
        .and("a.id < ?", filter.before);
    let query = format!(
        "SELECT {ATTEMPT} WHERE {condition} ORDER BY a.id DESC LIMIT {}",
        limit(page(filter.limit))
    );
    Ok((query, values))
}

fn attempt(db: &Connection, id: i64) -> rusqlite::Result<Option<AttemptDetail>> {
    let query = format!("SELECT {ATTEMPT} WHERE a.id = ?1");
    let Some(attempt) = db.query_row(&query, [id], attempt_entry).optional()? else {
        return Ok(None);
    };
    let exchange = db
        .query_row(
            "SELECT p.request_headers, coalesce(p.request_body, e.body, ''), p.response_headers,
                 p.response_body, p.is_cut
             FROM payload p JOIN attempt a ON a.id = p.attempt LEFT JOIN event e ON e.id = a.event
             WHERE p.attempt = ?1",
            [id],
            exchange,
        )
        .optional()?;
    Ok(Some(AttemptDetail { attempt, exchange }))
}

fn exchange(row: &Row<'_>) -> rusqlite::Result<Exchange> {
    let pairs = |column| -> rusqlite::Result<Vec<(String, String)>> {
        let text: String = row.get(column)?;
        Ok(serde_json::from_str(&text).unwrap_or_default())
    };
    let text = |column| -> rusqlite::Result<String> {
        Ok(String::from_utf8_lossy(row.get_ref(column)?.as_bytes()?).into_owned())
    };
    Ok(Exchange {
        request_headers: pairs(0)?,
        request_body: text(1)?,
        response_headers: pairs(2)?,
        response_body: text(3)?,
        is_cut: row.get(4)?,
    })
}

pub(super) fn attempt_entry(row: &Row<'_>) -> rusqlite::Result<AttemptLogEntry> {
    Ok(AttemptLogEntry {
        id: row.get(0)?,
        event: row.get(1)?,
        event_type: row.get(2)?,
        subscription: row.get(3)?,
        delivery: row.get(4)?,
        attempt: row.get(5)?,
        started_at: timestamp(row.get(6)?),
        took_us: row.get(7)?,
        method: "POST",
        uri: row.get(8)?,
        status: row.get(9)?,
        outcome: name(&OUTCOMES, row.get(10)?),
        error: row.get(11)?,
        fault: row.get(12)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox() -> Connection {
        let db = Connection::open_in_memory().unwrap();
        super::super::MIGRATIONS.iter().for_each(|step| db.execute_batch(step).unwrap());
        db
    }

    fn assert_unsorted(db: &Connection, query: &str, values: &[Value]) {
        let mut plan = db.prepare(&format!("EXPLAIN QUERY PLAN {query}")).unwrap();
        let steps =
            plan.query_map(params_from_iter(values), |row| row.get::<_, String>(3)).unwrap();
        let steps = steps.collect::<rusqlite::Result<Vec<_>>>().unwrap().join("; ");
        assert!(!steps.contains("TEMP B-TREE"), "{query}: {steps}");
    }

    #[test]
    fn no_page_sorts_what_it_does_not_show() {
        let db = outbox();
        for standing in [4, 0] {
            db.execute(
                "INSERT INTO subscription (name, standing, since, made_at) VALUES ('two', ?1, 0, 0)",
                [standing],
            )
            .unwrap();
        }
        let time = Some(timestamp(0));
        for filter in [
            EventFilter::default(),
            EventFilter { since: time, until: time, before: Some(9), ..EventFilter::default() },
            EventFilter { event_type: Some("A".into()), since: time, ..EventFilter::default() },
        ] {
            let (query, values) = events_query(filter);
            assert_unsorted(&db, &query, &values);
        }
        for subscription in [None, Some("one".into()), Some("two".into())] {
            for event in [None, Some("e".into())] {
                let (since, before) = (time, Some(9));
                let subscription = subscription.clone();
                let filter = AttemptFilter {
                    subscription,
                    event,
                    since,
                    before,
                    ..AttemptFilter::default()
                };
                let (query, values) = attempts_query(&db, filter).unwrap();
                assert_unsorted(&db, &query, &values);
            }
        }
    }

    #[test]
    fn events_are_paged_by_when_they_were_published() {
        let db = outbox();
        for (id, published) in [(1, 10), (2, 30), (3, 20), (4, 40), (5, 20)] {
            db.execute(
                "INSERT INTO event (id, event_id, event_type, happened_at, published_at, body)
                 VALUES (?1, ?1, 'Own', 0, ?2, x'7b7d')",
                [id, published],
            )
            .unwrap();
        }
        let page = |before, limit| {
            let filter = EventFilter { before, limit: Some(limit), ..EventFilter::default() };
            let events = events(&db, filter).unwrap();
            events.into_iter().map(|event| event.number).collect::<Vec<_>>()
        };
        assert_eq!(page(None, 9), [4, 2, 5, 3, 1]);
        for (index, number) in [4, 2, 5, 3].into_iter().enumerate() {
            assert_eq!(page(Some(number), 9), [4, 2, 5, 3, 1][index + 1..]);
        }
    }
}
