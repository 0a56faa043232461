//! Searches of the Admin pages: events with their outcome, attempts with their deliveries, and the figures of
//! subscriptions.

use contract::time::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use store::Result;

use super::browse::{Conditions, EVENT, STATES, attempt_entry, before, event_entry, name};
use super::write::ResendSelection;
use super::{AttemptLogEntry, EventLogEntry, Outbox, limit, millis, timestamp};

/// The most bytes of a response that a list shows.
const EXCERPT: usize = 160;

/// The largest number of deliveries that a page lists.
const LISTED: usize = 1000;

/// The outcome of an event, by which events are searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventOutcome {
    /// At least one delivery was given up.
    Failed,
    /// At least one delivery waits.
    Waiting,
    /// All deliveries have ended, none of them given up.
    Delivered,
    /// No subscription takes it.
    Unmatched,
}

/// A search for events. Every given condition must hold; texts stand anywhere in the field, in any case.
#[derive(Debug, Clone, Default)]
pub(crate) struct EventSearch {
    /// Text in the type, the id, the object's id, or the user.
    pub(crate) text: Option<String>,
    pub(crate) event_type: Option<String>,
    pub(crate) object_type: Option<String>,
    pub(crate) object_id: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) outcome: Option<EventOutcome>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
    pub(crate) before: Option<i64>,
    pub(crate) limit: usize,
}

/// The numbers of an event's deliveries, by their state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct DeliveryTally {
    pub(crate) waiting: u64,
    pub(crate) delivered: u64,
    pub(crate) given_up: u64,
    pub(crate) cancelled: u64,
}

/// An event and the states of its deliveries.
#[derive(Debug, Clone)]
pub(crate) struct FoundEvent {
    pub(crate) event: EventLogEntry,
    pub(crate) tally: DeliveryTally,
}

/// The response of an attempt, by which attempts are searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResponseKind {
    /// A status.
    Status(u16),
    /// A status that begins with this digit.
    Class(u16),
    /// No response in time.
    TimedOut,
    /// No response, for whatever reason.
    Missing,
}

/// A search for attempts. Every given condition must hold; texts stand anywhere in the field, in any case.
#[derive(Debug, Clone, Default)]
pub(crate) struct AttemptSearch {
    /// Text in the event's type or id, the subscription's name, or the error.
    pub(crate) text: Option<String>,
    pub(crate) subscription: Option<String>,
    pub(crate) event: Option<String>,
    pub(crate) event_type: Option<String>,
    pub(crate) response: Option<ResponseKind>,
    pub(crate) outcome: Option<&'static str>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
    pub(crate) before: Option<i64>,
    pub(crate) limit: usize,
}

/// How far a delivery has got.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    pub(crate) state: &'static str,
    /// The number of all attempts, and of those since it was last sent again by hand.
    pub(crate) attempts: u32,
    pub(crate) run_attempts: u32,
}

/// An attempt, its delivery, and the beginning of its response.
#[derive(Debug, Clone)]
pub(crate) struct FoundAttempt {
    pub(crate) attempt: AttemptLogEntry,
    pub(crate) progress: Option<Progress>,
    pub(crate) response: String,
}

/// A delivery of an event.
#[derive(Debug, Clone)]
pub(crate) struct FoundDelivery {
    pub(crate) id: i64,
    pub(crate) event: String,
    pub(crate) event_type: String,
    pub(crate) subscription: String,
    pub(crate) progress: Progress,
    pub(crate) due_at: Option<Timestamp>,
    pub(crate) ended_at: Option<Timestamp>,
    /// The error of the last attempt.
    pub(crate) error: Option<String>,
}

/// The figures of a subscription.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SubscriptionTally {
    /// The number of waiting deliveries.
    pub(crate) waiting: u64,
    /// The number of deliveries that were given up and are kept.
    pub(crate) given_up: u64,
    pub(crate) last_success: Option<Timestamp>,
    /// The numbers of attempts of the period that delivered, and that failed.
    pub(crate) delivered: u64,
    pub(crate) failed: u64,
}

/// The attempts before and after another of its delivery.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Neighbours {
    pub(crate) previous: Option<i64>,
    pub(crate) next: Option<i64>,
}

/// A stored body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoredBody {
    Request(i64),
    Response(i64),
}

impl Outbox {
    pub(crate) async fn search_events(&self, search: EventSearch) -> Result<Vec<FoundEvent>> {
        self.store.read(move |db| events(db, search)).await
    }

    pub(crate) async fn search_attempts(&self, search: AttemptSearch) -> Result<Vec<FoundAttempt>> {
        self.store.read(move |db| attempts(db, search)).await
    }

    /// The deliveries of an event.
    pub(crate) async fn deliveries_of(&self, event: i64) -> Result<Vec<FoundDelivery>> {
        self.store.read(move |db| deliveries(db, "d.event = ?", vec![event.into()], LISTED)).await
    }

    /// The first deliveries that a resend would take.
    pub(crate) async fn chosen_deliveries(
        &self,
        selection: ResendSelection,
        most: usize,
    ) -> Result<Vec<FoundDelivery>> {
        let (condition, values) = selection.condition();
        self.store.read(move |db| deliveries(db, &condition, values, most)).await
    }

    /// The deliveries of these attempts that have ended.
    pub(crate) async fn deliveries_of_attempts(&self, attempts: Vec<i64>) -> Result<Vec<i64>> {
        self.store
            .read(move |db| {
                let mut one = db.prepare_cached("SELECT delivery FROM attempt WHERE id = ?1")?;
                let mut found = Vec::new();
                for id in attempts {
                    let delivery = one.query_row([id], |row| row.get::<_, i64>(0)).optional()?;
                    found.extend(delivery.filter(|delivery| !found.contains(delivery)));
                }
                Ok(found)
            })
            .await
    }

    pub(crate) async fn neighbours(&self, attempt: i64) -> Result<(Neighbours, Option<Progress>)> {
        self.store.read(move |db| neighbours(db, attempt)).await
    }

    /// The bytes of a body, as they were sent or came.
    pub(crate) async fn body(&self, body: StoredBody) -> Result<Option<Vec<u8>>> {
        let (column, id) = match body {
            StoredBody::Request(id) => ("coalesce(p.request_body, e.body, x'')", id),
            StoredBody::Response(id) => ("p.response_body", id),
        };
        let query = format!(
            "SELECT {column} FROM payload p JOIN attempt a ON a.id = p.attempt LEFT JOIN event e ON e.id = a.event
             WHERE p.attempt = ?1"
        );
        self.store.read(move |db| db.query_row(&query, [id], bytes).optional()).await
    }

    /// The data and the object record of an event, as they were published.
    pub(crate) async fn event_bodies(
        &self,
        id: String,
    ) -> Result<Option<(Vec<u8>, Option<Vec<u8>>)>> {
        self.store
            .read(move |db| {
                db.query_row("SELECT body, record FROM event WHERE event_id = ?1", [id], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .optional()
            })
            .await
    }

    /// The figures of these subscriptions, with the attempts since this time.
    pub(crate) async fn tallies(
        &self,
        subscriptions: Vec<i64>,
        since: Timestamp,
    ) -> Result<Vec<SubscriptionTally>> {
        self.store
            .read(move |db| subscriptions.iter().map(|id| tally(db, *id, since)).collect())
            .await
    }
}

fn bytes(row: &Row<'_>) -> rusqlite::Result<Vec<u8>> {
    Ok(row.get_ref(0)?.as_bytes().map(<[u8]>::to_vec)?)
}

fn events(db: &Connection, search: EventSearch) -> rusqlite::Result<Vec<FoundEvent>> {
    let (query, values) = events_query(search);
    let mut states =
        db.prepare_cached("SELECT state, count(*) FROM delivery WHERE event = ?1 GROUP BY state")?;
    let mut found = Vec::new();
    let mut rows = db.prepare_cached(&query)?;
    let mut rows = rows.query(params_from_iter(values))?;
    while let Some(row) = rows.next()? {
        let event = event_entry(row)?;
        let mut tally = DeliveryTally::default();
        let mut counts = states.query([event.number])?;
        while let Some(row) = counts.next()? {
            let count = row.get::<_, i64>(1)?.unsigned_abs();
            match row.get::<_, i64>(0)? {
                0 => tally.waiting = count,
                1 => tally.delivered = count,
                2 => tally.given_up = count,
                _ => tally.cancelled = count,
            }
        }
        found.push(FoundEvent { event, tally });
    }
    Ok(found)
}

/// A condition that a text stands in a column, in any case.
fn contains(column: &str) -> String {
    format!("instr(lower({column}), ?) > 0")
}

fn lower(text: Option<String>) -> Option<String> {
    text.map(|text| text.to_ascii_lowercase())
}

/// Newest first, in the order of the index on the time, so that no page sorts rows that it does not show.
fn events_query(search: EventSearch) -> (String, Vec<Value>) {
    let mut conditions = Conditions::new()
        .and(&contains("e.event_type"), lower(search.event_type))
        .and(&contains("e.object_type"), lower(search.object_type))
        .and(&contains("e.object_id"), lower(search.object_id))
        .and(&contains("e.source_user"), lower(search.user))
        .and("e.published_at >= ?", search.since.map(millis))
        .and("e.published_at < ?", search.until.map(millis));
    let anywhere =
        ["e.event_type", "e.event_id", "coalesce(e.object_id, '')", "coalesce(e.source_user, '')"]
            .join(" || char(10) || ");
    conditions = conditions.and(&contains(&anywhere), lower(search.text));
    if let Some(outcome) = search.outcome {
        conditions.0.push_str(" AND ");
        conditions.0.push_str(of_outcome(outcome));
    }
    if let Some(number) = search.before {
        before(&mut conditions, number);
    }
    let Conditions(condition, values) = conditions;
    let query = format!(
        "SELECT {EVENT} FROM event e INDEXED BY event_published WHERE {condition}
         ORDER BY e.published_at DESC, e.id DESC LIMIT {}",
        limit(search.limit)
    );
    (query, values)
}

/// The condition of an outcome. What has failed and what waits is little beside the rest, and has indexes of its own.
fn of_outcome(outcome: EventOutcome) -> &'static str {
    match outcome {
        EventOutcome::Failed => "e.id IN (SELECT event FROM delivery WHERE state = 2)",
        EventOutcome::Waiting => {
            "e.id IN (SELECT event FROM delivery WHERE due_at IS NOT NULL
                 UNION SELECT event FROM delivery WHERE entity IS NOT NULL AND state = 0)"
        }
        EventOutcome::Delivered => {
            "EXISTS (SELECT 1 FROM delivery WHERE event = e.id)
                 AND NOT EXISTS (SELECT 1 FROM delivery WHERE event = e.id AND state IN (0, 2))"
        }
        EventOutcome::Unmatched => "NOT EXISTS (SELECT 1 FROM delivery WHERE event = e.id)",
    }
}

fn attempts(db: &Connection, search: AttemptSearch) -> rusqlite::Result<Vec<FoundAttempt>> {
    let (query, values) = attempts_query(db, search)?;
    db.prepare_cached(&query)?.query_map(params_from_iter(values), found_attempt)?.collect()
}

fn found_attempt(row: &Row<'_>) -> rusqlite::Result<FoundAttempt> {
    let state: Option<i64> = row.get(13)?;
    let progress = match state {
        Some(state) => Some(Progress {
            state: name(&STATES, state),
            attempts: row.get(14)?,
            run_attempts: row.get(15)?,
        }),
        None => None,
    };
    let response: Option<Vec<u8>> = row.get(16)?;
    let response = String::from_utf8_lossy(&response.unwrap_or_default()).into_owned();
    Ok(FoundAttempt { attempt: attempt_entry(row)?, progress, response })
}

/// Newest first, in the order of their numbers. A whole id and a whole name are looked up, which is faster than to
/// compare each.
fn attempts_query(
    db: &Connection,
    search: AttemptSearch,
) -> rusqlite::Result<(String, Vec<Value>)> {
    let count = |query: &str, text: &String| -> rusqlite::Result<i64> {
        db.prepare_cached(query)?.query_row([text], |row| row.get(0))
    };
    let of_name = |text: &String| count("SELECT count(*) FROM subscription WHERE name = ?", text);
    let of_subscription = match search.subscription.as_ref().map(of_name).transpose()? {
        Some(0) => {
            "+a.subscription IN (SELECT id FROM subscription WHERE instr(lower(name), lower(?)) > 0)"
        }
        Some(1) => "a.subscription = (SELECT id FROM subscription WHERE name = ?)",
        _ => "+a.subscription IN (SELECT id FROM subscription WHERE name = ?)",
    };
    let of_id = |text: &String| count("SELECT count(*) FROM event WHERE event_id = ?", text);
    let of_event = match search.event.as_ref().map(of_id).transpose()? {
        Some(0) => "instr(lower(e.event_id), lower(?)) > 0",
        _ => "a.event = (SELECT id FROM event WHERE event_id = ?)",
    };
    let outcome = search
        .outcome
        .and_then(|name| super::browse::OUTCOMES.iter().position(|known| *known == name));
    let anywhere = [
        "coalesce(e.event_type, '')",
        "coalesce(e.event_id, '')",
        "coalesce(s.name, '')",
        "coalesce(a.error, '')",
    ]
    .join(" || char(10) || ");
    let mut conditions = Conditions::new()
        .and(of_subscription, search.subscription)
        .and(of_event, search.event)
        .and(&contains("e.event_type"), lower(search.event_type))
        .and(&contains(&anywhere), lower(search.text))
        .and("+a.outcome = ?", outcome.map(limit))
        .and("a.started_at >= ?", search.since.map(millis))
        .and("a.started_at < ?", search.until.map(millis))
        .and("a.id < ?", search.before);
    conditions = match search.response {
        Some(ResponseKind::Status(status)) => {
            conditions.and("a.status = ?", Some(i64::from(status)))
        }
        Some(ResponseKind::Class(class)) => {
            conditions.and("a.status / 100 = ?", Some(i64::from(class)))
        }
        Some(ResponseKind::TimedOut) => conditions
            .and("a.status IS NULL AND a.error = ?", Some(crate::sender::TIMED_OUT.to_owned())),
        Some(ResponseKind::Missing) => conditions.and("a.status IS NULL AND ?", Some(1)),
        None => conditions,
    };
    let Conditions(condition, values) = conditions;
    let query = format!(
        "SELECT a.id, e.event_id, e.event_type, s.name, a.delivery, a.attempt, a.started_at, a.took, a.uri, a.status,
             a.outcome, a.error, a.fault, d.state, d.attempts, d.run_attempts,
             (SELECT CAST(substr(response_body, 1, {EXCERPT}) AS BLOB) FROM payload WHERE attempt = a.id)
         FROM attempt a LEFT JOIN event e ON e.id = a.event LEFT JOIN subscription s ON s.id = a.subscription
             LEFT JOIN delivery d ON d.id = a.delivery
         WHERE {condition} ORDER BY a.id DESC LIMIT {}",
        limit(search.limit)
    );
    Ok((query, values))
}

fn deliveries(
    db: &Connection,
    condition: &str,
    values: Vec<Value>,
    most: usize,
) -> rusqlite::Result<Vec<FoundDelivery>> {
    let query = format!(
        "SELECT d.id, e.event_id, e.event_type, s.name, d.state, d.attempts, d.run_attempts, d.due_at, d.ended_at,
             (SELECT error FROM attempt WHERE event = d.event AND delivery = d.id ORDER BY id DESC LIMIT 1)
         FROM delivery d JOIN subscription s ON s.id = d.subscription JOIN event e ON e.id = d.event
         WHERE {condition} ORDER BY d.id LIMIT {}",
        limit(most)
    );
    let time = |row: &Row<'_>, column| -> rusqlite::Result<Option<Timestamp>> {
        Ok(row.get::<_, Option<i64>>(column)?.map(timestamp))
    };
    db.prepare_cached(&query)?
        .query_map(params_from_iter(values), |row| {
            Ok(FoundDelivery {
                id: row.get(0)?,
                event: row.get(1)?,
                event_type: row.get(2)?,
                subscription: row.get(3)?,
                progress: Progress {
                    state: name(&STATES, row.get(4)?),
                    attempts: row.get(5)?,
                    run_attempts: row.get(6)?,
                },
                due_at: time(row, 7)?,
                ended_at: time(row, 8)?,
                error: row.get(9)?,
            })
        })?
        .collect()
}

fn neighbours(db: &Connection, attempt: i64) -> rusqlite::Result<(Neighbours, Option<Progress>)> {
    let neighbours = db
        .prepare_cached(
            "SELECT (SELECT max(id) FROM attempt WHERE event = a.event AND delivery = a.delivery AND id < a.id),
                 (SELECT min(id) FROM attempt WHERE event = a.event AND delivery = a.delivery AND id > a.id)
             FROM attempt a WHERE a.id = ?1",
        )?
        .query_row([attempt], |row| Ok(Neighbours { previous: row.get(0)?, next: row.get(1)? }))
        .optional()?;
    let progress = db
        .prepare_cached(
            "SELECT d.state, d.attempts, d.run_attempts FROM attempt a JOIN delivery d ON d.id = a.delivery
             WHERE a.id = ?1",
        )?
        .query_row([attempt], |row| {
            let state = name(&STATES, row.get(0)?);
            Ok(Progress { state, attempts: row.get(1)?, run_attempts: row.get(2)? })
        })
        .optional()?;
    Ok((neighbours.unwrap_or_default(), progress))
}

fn tally(db: &Connection, id: i64, since: Timestamp) -> rusqlite::Result<SubscriptionTally> {
    let count = |query: &str, values: &[i64]| -> rusqlite::Result<u64> {
        let count = db
            .prepare_cached(query)?
            .query_row(params_from_iter(values), |row| row.get::<_, i64>(0))?;
        Ok(count.unsigned_abs())
    };
    let since = millis(since);
    let last: Option<i64> = db
        .prepare_cached(
            "SELECT max(started_at) FROM attempt WHERE subscription = ?1 AND outcome = 0",
        )?
        .query_row(params![id], |row| row.get(0))?;
    Ok(SubscriptionTally {
        waiting: count(super::browse::WAITING, &[id])?,
        given_up: count(
            "SELECT count(*) FROM delivery WHERE subscription = ?1 AND state = 2",
            &[id],
        )?,
        last_success: last.map(timestamp),
        delivered: count(
            "SELECT count(*) FROM attempt WHERE subscription = ?1 AND outcome = 0 AND started_at >= ?2",
            &[id, since],
        )?,
        failed: count(
            "SELECT count(*) FROM attempt WHERE subscription = ?1 AND outcome IN (1, 2, 3) AND started_at >= ?2",
            &[id, since],
        )?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox() -> Connection {
        let db = Connection::open_in_memory().unwrap();
        super::super::MIGRATIONS.iter().for_each(|step| db.execute_batch(step).unwrap());
        for (id, states) in [
            ("failed", &[1, 2][..]),
            ("waiting", &[1, 0]),
            ("delivered", &[1, 3]),
            ("Unmatched", &[]),
        ] {
            db.execute(
                "INSERT INTO event (event_id, event_type, happened_at, published_at, body)
                 VALUES (?1, 'OrderEvent', 0, 0, x'7b7d')",
                [id],
            )
            .unwrap();
            let event = db.last_insert_rowid();
            for (subscription, state) in (1..).zip(states) {
                db.execute(
                    "INSERT INTO delivery (event, subscription, state, is_retry, due_at)
                     VALUES (?1, ?2, ?3, 0, CASE WHEN ?3 = 0 THEN 5 END)",
                    params![event, subscription, state],
                )
                .unwrap();
            }
        }
        for name in ["crm-live", "crm-stage"] {
            db.execute(
                "INSERT INTO subscription (name, standing, since, made_at) VALUES (?1, 0, 0, 0)",
                [name],
            )
            .unwrap();
        }
        for (subscription, status, outcome, error, at) in [
            (1, Some(200), 0, None, 10),
            (1, Some(503), 1, Some("answered 503"), 20),
            (2, Some(404), 2, Some("answered 404"), 30),
            (2, None, 1, Some(crate::sender::TIMED_OUT), 40),
            (2, None, 1, Some("connection refused"), 50),
        ] {
            db.execute(
                "INSERT INTO attempt (delivery, event, subscription, attempt, started_at, took, uri, status, outcome, error)
                 VALUES (?1, 1, ?1, 1, ?5, 1, 'http://x.test/', ?2, ?3, ?4)",
                params![subscription, status, outcome, error, at],
            )
            .unwrap();
        }
        db
    }

    fn ids(search: EventSearch) -> Vec<String> {
        let found = events(&outbox(), EventSearch { limit: 9, ..search }).unwrap();
        found.into_iter().map(|found| found.event.id).collect()
    }

    #[test]
    fn events_are_found_by_their_outcome() {
        for (outcome, expected) in [
            (EventOutcome::Failed, "failed"),
            (EventOutcome::Waiting, "waiting"),
            (EventOutcome::Delivered, "delivered"),
            (EventOutcome::Unmatched, "Unmatched"),
        ] {
            assert_eq!(
                ids(EventSearch { outcome: Some(outcome), ..EventSearch::default() }),
                [expected]
            );
        }
        let found = events(&outbox(), EventSearch { limit: 9, ..EventSearch::default() }).unwrap();
        let tally = found.iter().find(|found| found.event.id == "failed").unwrap().tally;
        assert_eq!(tally, DeliveryTally { delivered: 1, given_up: 1, ..DeliveryTally::default() });
    }

    #[test]
    fn a_text_stands_anywhere_in_any_case() {
        let text = |text: &str| EventSearch { text: Some(text.into()), ..EventSearch::default() };
        assert_eq!(ids(text("unmat")), ["Unmatched"]);
        assert_eq!(ids(text("ORDER")).len(), 4);
        assert_eq!(ids(text("%")), Vec::<String>::new());
        assert_eq!(
            ids(EventSearch { event_type: Some("order".into()), ..EventSearch::default() }).len(),
            4
        );
    }

    #[test]
    fn attempts_are_found_by_the_response_and_by_parts_of_names() {
        let db = outbox();
        let numbers = |search: AttemptSearch| -> Vec<i64> {
            let found = attempts(&db, AttemptSearch { limit: 9, ..search }).unwrap();
            found.into_iter().map(|found| found.attempt.id).collect()
        };
        for (response, expected) in [
            (ResponseKind::Class(5), vec![2]),
            (ResponseKind::Class(4), vec![3]),
            (ResponseKind::Status(200), vec![1]),
            (ResponseKind::TimedOut, vec![4]),
            (ResponseKind::Missing, vec![5, 4]),
        ] {
            let search = AttemptSearch { response: Some(response), ..AttemptSearch::default() };
            assert_eq!(numbers(search), expected, "{response:?}");
        }
        let of = |name: &str| AttemptSearch {
            subscription: Some(name.into()),
            ..AttemptSearch::default()
        };
        assert_eq!(numbers(of("crm-live")), [2, 1]);
        assert_eq!(numbers(of("CRM")).len(), 5);
        let of = |id: &str| AttemptSearch { event: Some(id.into()), ..AttemptSearch::default() };
        assert_eq!(
            (numbers(of("failed")).len(), numbers(of("ail")).len(), numbers(of("x")).len()),
            (5, 5, 0)
        );
        let text = AttemptSearch { text: Some("REFUSED".into()), ..AttemptSearch::default() };
        assert_eq!(numbers(text), [5]);
    }

    #[test]
    fn a_subscription_has_its_figures() {
        let db = outbox();
        let tally = tally(&db, 2, timestamp(35)).unwrap();
        let expected = SubscriptionTally {
            waiting: 1,
            given_up: 1,
            last_success: None,
            delivered: 0,
            failed: 2,
        };
        assert_eq!(tally, expected);
        let first = super::tally(&db, 1, timestamp(0)).unwrap();
        assert_eq!(
            (first.last_success, first.delivered, first.failed),
            (Some(timestamp(10)), 1, 1)
        );
    }

    #[test]
    fn no_page_sorts_and_what_has_failed_is_in_an_index() {
        let db = outbox();
        let plan = |query: &str, values: &[Value]| -> String {
            let mut plan = db.prepare(&format!("EXPLAIN QUERY PLAN {query}")).unwrap();
            let steps =
                plan.query_map(params_from_iter(values), |row| row.get::<_, String>(3)).unwrap();
            steps.collect::<rusqlite::Result<Vec<_>>>().unwrap().join("; ")
        };
        let failed = Some(EventOutcome::Failed);
        for outcome in [None, failed, Some(EventOutcome::Delivered), Some(EventOutcome::Unmatched)]
        {
            let (query, values) = events_query(EventSearch {
                outcome,
                before: Some(3),
                text: Some("x".into()),
                ..EventSearch::default()
            });
            let steps = plan(&query, &values);
            assert!(!steps.contains("TEMP B-TREE FOR ORDER"), "{steps}");
            assert!(outcome != failed || steps.contains("delivery_failed"), "{steps}");
        }
        for subscription in [None, Some("crm".to_owned()), Some("crm-live".to_owned())] {
            let search = AttemptSearch {
                subscription,
                outcome: Some("delivered"),
                ..AttemptSearch::default()
            };
            let (query, values) = attempts_query(&db, search).unwrap();
            let steps = plan(&query, &values);
            assert!(!steps.contains("TEMP B-TREE FOR ORDER"), "{steps}");
        }
        let steps =
            plan("SELECT max(started_at) FROM attempt WHERE subscription = 1 AND outcome = 0", &[]);
        assert!(steps.contains("attempt_outcome"), "{steps}");
    }
}
