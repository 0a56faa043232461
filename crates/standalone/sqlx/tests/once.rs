//! What one attempt of a one-effect handler does through sqlx, on a PostgreSQL server of the tests' own.

#![allow(clippy::unwrap_used)]

mod server;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use contract::catalog::Catalog;
use contract::effect::{
    Acceptor, Applied, Attempt, DeferredEvent, EffectDb as _, EffectStore as _, Handled, Once,
};
use contract::event::{Delivery, Event, Failure, Meta, Outcome};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use sqlx::Connection as _;
use sqlx::postgres::PgPoolOptions;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;
use webhook_receiver_sqlx::{Postgres, Tx};

/// The longest that a test waits.
const PATIENCE: Duration = Duration::from_secs(60);

/// An order to write a row, and how to go on.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
struct Write {
    row: String,
    then: String,
}

impl Event for Write {
    const TYPE: &'static str = "WriteEvent";

    fn example() -> &'static str {
        r#"{"row":"a","then":""}"#
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
struct Later {
    row: String,
}

impl Event for Later {
    const TYPE: &'static str = "LaterEvent";

    fn example() -> &'static str {
        r#"{"row":"a"}"#
    }
}

#[derive(Clone)]
struct Context {
    db: Postgres,
    /// A handler that is told to `wait` takes a permit; one that has written adds one to the other.
    go: Arc<Semaphore>,
    written: Arc<Semaphore>,
}

impl Once for Context {
    type Db = Postgres;

    fn db(&self) -> &Postgres {
        &self.db
    }
}

async fn write(cx: Context, tx: &mut Tx<'_>, order: Delivery<Write>) -> Outcome {
    let insert = || sqlx::query("INSERT INTO rows VALUES ($1)").bind(&order.row);
    insert().execute(tx.as_mut()).await?;
    cx.written.add_permits(1);
    match &*order.then {
        "fail" => return Err(Failure::reject("as it was told")),
        "panic" => panic!("as it was told"),
        "defer" => {
            tx.defer(Later { row: format!("{} 1", order.row) })?;
            tx.defer(Later { row: format!("{} 2", order.row) })?;
        }
        "wait" => cx.go.acquire().await?.forget(),
        // The row is there, so that it fails.
        "swallow" => drop(insert().execute(tx.as_mut()).await),
        "swallow in a savepoint" => {
            let mut savepoint = tx.begin().await?;
            drop(insert().execute(savepoint.as_mut()).await);
        }
        "drop the beginning of a savepoint" => {
            // Neither is answered at once.
            drop(sqlx::raw_sql("SELECT pg_sleep(0.1)").execute(tx.as_mut()).now_or_never());
            assert!(tx.begin().now_or_never().is_none());
        }
        "roll back" => drop(sqlx::raw_sql("ROLLBACK").execute(tx.as_mut()).await),
        _ => {}
    }
    Ok(())
}

/// Takes deferred events, or refuses them.
#[derive(Default)]
struct Inbox(Mutex<(Vec<DeferredEvent>, bool)>);

#[async_trait]
impl Acceptor for Inbox {
    async fn accept(&self, event: DeferredEvent) -> anyhow::Result<()> {
        let (events, is_down) = &mut *self.0.lock().await;
        anyhow::ensure!(!*is_down, "the inbox is down");
        events.push(event);
        Ok(())
    }
}

struct Fixture {
    context: Context,
    inbox: Arc<Inbox>,
}

impl Fixture {
    /// A database with the tables and a table of unique rows; none if PostgreSQL is not installed.
    async fn new() -> Option<Self> {
        let db = Postgres::new(server::database().await?);
        sqlx::raw_sql(Postgres::MIGRATION).execute(db.pool()).await.unwrap();
        sqlx::raw_sql("CREATE TABLE rows (row text UNIQUE)").execute(db.pool()).await.unwrap();
        let none = || Arc::new(Semaphore::new(0));
        let context = Context { db, go: none(), written: none() };
        Some(Fixture { context, inbox: Arc::default() })
    }

    /// One attempt, as dispatch starts it.
    fn start(
        &self,
        meta: Meta,
        row: &str,
        then: &str,
        lease: Duration,
    ) -> BoxFuture<'static, Result<Handled, Failure>> {
        let body = serde_json::to_vec(&Write { row: row.into(), then: then.into() }).unwrap();
        let handlers = Catalog::new().once(write).bind(&self.context).unwrap();
        let handler = handlers.event(Write::DIALECT, 1, Write::TYPE).unwrap();
        let acceptor = Arc::clone(&self.inbox) as _;
        let attempt = Attempt { lease_until: Instant::now() + lease, patience: lease, acceptor };
        handler.start(Delivery::new(meta, Bytes::from(body)), attempt).unwrap()
    }

    async fn run(&self, meta: Meta, row: &str, then: &str) -> Result<Handled, Failure> {
        let attempt = self.start(meta, row, then, PATIENCE);
        tokio::time::timeout(PATIENCE, attempt).await.expect("it ends")
    }

    async fn texts(&self, query: &'static str) -> Vec<String> {
        sqlx::query_scalar(query).fetch_all(self.context.db.pool()).await.unwrap()
    }

    async fn rows(&self) -> Vec<String> {
        self.texts("SELECT row FROM rows ORDER BY row").await
    }

    async fn marks(&self) -> Vec<String> {
        self.texts("SELECT message_id FROM webhook_effect ORDER BY message_id").await
    }

    async fn outbox(&self) -> Vec<String> {
        self.texts("SELECT event FROM webhook_deferred").await
    }

    /// Asserts that nothing is written.
    async fn assert_empty(&self) {
        let found = (self.rows().await.len(), self.marks().await.len(), self.outbox().await.len());
        assert_eq!(found, (0, 0, 0));
    }
}

fn meta(id: &str, attempt: u32) -> Meta {
    let sample = Meta::sample(Write::DIALECT, Write::TYPE, 1);
    Meta { message_id: id.into(), attempt, ..sample }
}

fn applied(result: Result<Handled, Failure>) -> Applied {
    match result.unwrap() {
        Handled::Applied(applied) => applied,
        other => panic!("a one-effect handler says what has applied it: {other:?}"),
    }
}

fn failure(result: Result<Handled, Failure>) -> String {
    match result.unwrap_err() {
        Failure::Retry { reason, .. } => reason,
        Failure::Reject { reason } => format!("rejected: {reason}"),
    }
}

#[tokio::test]
async fn a_second_attempt_finds_what_the_first_has_applied() {
    let Some(fixture) = Fixture::new().await else { return };
    let first = applied(fixture.run(meta("m", 1), "a", "").await);
    assert_eq!(first.attempt, 1);
    let age = (chrono::Utc::now() - first.at).num_seconds();
    assert!((-5..60).contains(&age), "{age}");
    assert_eq!(applied(fixture.run(meta("m", 2), "a", "").await), first);
    // An id that only differs by a character that PostgreSQL does not take is another.
    assert_eq!(applied(fixture.run(meta("m\0", 2), "b", "").await).attempt, 2);
    assert_eq!(applied(fixture.run(meta("m\0", 3), "b", "").await).attempt, 2);
    assert_eq!(
        (fixture.rows().await, fixture.marks().await.len()),
        (vec!["a".into(), "b".into()], 2)
    );
}

#[tokio::test]
async fn what_fails_or_panics_is_rolled_back() {
    let Some(fixture) = Fixture::new().await else { return };
    assert_eq!(failure(fixture.run(meta("m", 1), "a", "fail").await), "rejected: as it was told");
    let panicked = std::panic::AssertUnwindSafe(fixture.run(meta("m", 2), "a", "panic"));
    assert!(panicked.catch_unwind().await.is_err());
    fixture.assert_empty().await;
    assert_eq!(applied(fixture.run(meta("m", 3), "a", "").await).attempt, 3);
}

#[tokio::test]
async fn a_violation_of_the_handlers_own_is_the_handlers() {
    let Some(fixture) = Fixture::new().await else { return };
    applied(fixture.run(meta("m", 1), "a", "").await);
    let reason = failure(fixture.run(meta("another", 1), "a", "").await);
    assert!(reason.contains("duplicate key value violates unique constraint"), "{reason}");
    assert_eq!(fixture.marks().await, ["m"]);
}

#[tokio::test]
async fn a_second_attempt_waits_for_the_first() {
    let Some(fixture) = Fixture::new().await else { return };
    let first = tokio::spawn(fixture.start(meta("m", 1), "a", "wait", PATIENCE));
    fixture.context.written.acquire().await.unwrap().forget();
    let mut second = tokio::spawn(fixture.start(meta("m", 2), "a", "", PATIENCE));
    let early = tokio::time::timeout(Duration::from_millis(200), &mut second).await;
    assert!(early.is_err(), "it waits");
    // No longer than its lease.
    let third = fixture.start(meta("m", 3), "a", "", Duration::from_millis(200));
    let reason = failure(tokio::time::timeout(PATIENCE, third).await.expect("it ends"));
    assert!(reason.contains("lock timeout"), "{reason}");
    fixture.context.go.add_permits(1);
    let [first, second] = [first.await.unwrap(), second.await.unwrap()].map(applied);
    assert_eq!((first.attempt, second), (1, first));
    assert_eq!(fixture.rows().await, ["a"]);
}

#[tokio::test]
async fn a_lost_lease_or_a_dropped_attempt_is_rolled_back() {
    let Some(fixture) = Fixture::new().await else { return };
    let start = |id, lease| tokio::spawn(fixture.start(meta(id, 1), "a", "wait", lease));
    let lost = start("m", Duration::from_millis(200));
    fixture.context.written.acquire().await.unwrap().forget();
    tokio::time::sleep(Duration::from_millis(300)).await;
    fixture.context.go.add_permits(1);
    let reason = failure(lost.await.unwrap());
    assert!(reason.contains("lease"), "{reason}");
    let dropped = start("n", PATIENCE);
    fixture.context.written.acquire().await.unwrap().forget();
    dropped.abort();
    assert!(dropped.await.is_err());
    fixture.assert_empty().await;
    assert_eq!(applied(fixture.run(meta("n", 2), "a", "").await).attempt, 2);
}

/// PostgreSQL or sqlx would commit nothing, and report no error.
#[tokio::test]
async fn a_transaction_that_is_not_whole_fails_the_attempt() {
    let Some(fixture) = Fixture::new().await else { return };
    for (then, why) in [
        ("swallow", "current transaction is aborted"),
        ("drop the beginning of a savepoint", "SAVEPOINT can only be used in transaction blocks"),
        ("roll back", "SAVEPOINT can only be used in transaction blocks"),
    ] {
        let reason = failure(fixture.run(meta("m", 1), "a", then).await);
        assert!(reason.contains(why), "{then}: {reason}");
        fixture.assert_empty().await;
    }
    applied(fixture.run(meta("m", 2), "a", "swallow in a savepoint").await);
    assert_eq!((fixture.rows().await, fixture.marks().await), (vec!["a".into()], vec!["m".into()]));
}

#[tokio::test]
async fn a_beginning_that_is_dropped_leaves_no_transaction_open() {
    let Some(fixture) = Fixture::new().await else { return };
    let one = PgPoolOptions::new().max_connections(1);
    let options = fixture.context.db.pool().connect_options();
    let db = Postgres::new(one.connect_with((*options).clone()).await.unwrap());
    for steps in 1..6 {
        let mut connection = db.connect();
        for _ in 0..steps {
            if (&mut connection).now_or_never().is_some() {
                break;
            }
            // By then the server has answered.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        drop(connection);
        tokio::time::sleep(Duration::from_millis(20)).await;
        let savepoint = sqlx::raw_sql("SAVEPOINT s").execute(db.pool()).await;
        let error = savepoint.unwrap_err().to_string();
        assert!(error.contains("can only be used in transaction blocks"), "{error}");
    }
}

#[tokio::test]
async fn deferred_events_come_with_the_commit() {
    let Some(fixture) = Fixture::new().await else { return };
    let meta = Meta { client_id: Some("c\0".into()), ..meta("m", 1) };
    fixture.inbox.0.lock().await.1 = true;
    let ended = fixture.run(meta.clone(), "a", "defer").await.unwrap();
    assert!(
        matches!(&ended, Handled::Postponed(why) if why.ends_with("inbox is down")),
        "{ended:?}"
    );
    assert_eq!((fixture.rows().await.len(), fixture.outbox().await.len()), (1, 2));
    assert!(fixture.context.db.outbox(None).await.unwrap().is_empty(), "they are too new");
    fixture.inbox.0.lock().await.1 = false;
    assert_eq!(applied(fixture.run(Meta { attempt: 2, ..meta }, "a", "defer").await).attempt, 1);
    let events = fixture.inbox.0.lock().await.0.clone();
    let rows: Vec<_> = events.iter().map(|event| event.decode::<Later>().unwrap().row).collect();
    assert_eq!(rows, ["a 1", "a 2"]);
    assert_eq!(events.iter().map(|event| event.number).collect::<Vec<_>>(), [0, 1]);
    assert_eq!((&*events[1].source, &*events[1].client_id), ("sample", "c\0"));
    // They leave the outbox in their own time.
    let outbox = async {
        while !fixture.outbox().await.is_empty() {
            tokio::task::yield_now().await
        }
    };
    tokio::time::timeout(PATIENCE, outbox).await.expect("they are removed");
    // Its row is there.
    failure(fixture.run(self::meta("n", 1), "a", "defer").await);
    assert_eq!(fixture.outbox().await.len(), 0, "none without a commit");
}

#[tokio::test]
async fn old_marks_are_pruned() {
    let Some(fixture) = Fixture::new().await else { return };
    for number in ["0", "1", "2"] {
        applied(fixture.run(meta(number, 1), number, "").await);
    }
    let db = &fixture.context.db;
    assert_eq!(db.prune(Duration::from_secs(60)).await.unwrap(), 0);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(db.prune(Duration::from_millis(10)).await.unwrap(), 3);
    assert_eq!(fixture.marks().await.len(), 0);
}

#[tokio::test]
async fn missing_tables_are_named() {
    let Some(fixture) = Fixture::new().await else { return };
    let db = &fixture.context.db;
    db.check().await.unwrap();
    sqlx::raw_sql("DROP TABLE webhook_deferred").execute(db.pool()).await.unwrap();
    let error = db.check().await.unwrap_err().to_string();
    assert!(error.contains("webhook-receiver effects"), "{error}");
}
