//! What one attempt of a one-effect handler does, on each database.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use contract::catalog::Catalog;
use contract::effect::{
    Acceptor, Applied, Attempt, Begun, DeferredEvent, EffectDb, EffectStore, Handled, Mark, Once,
    Tx,
};
use contract::event::{Delivery, Event, Failure, Meta, Outcome};
use effects::postgres::{Postgres, tokio_postgres};
use effects::sqlite::{Sqlite, rusqlite};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

use crate::harness::deliveries::PATIENCE;
use crate::harness::postgres;

/// An order to write a row, and how to go on.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
struct Write {
    row: String,
    then: Option<String>,
}

impl Event for Write {
    const TYPE: &'static str = "WriteEvent";

    fn example() -> &'static str {
        r#"{"row":"a"}"#
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

/// A database with a table of unique rows.
#[async_trait]
trait Rows: EffectDb {
    async fn fresh() -> Option<(Self, Box<dyn Send + Sync>)>;

    fn add<'a>(
        tx: &'a mut Self::Transaction<'_>,
        row: &'a str,
    ) -> BoxFuture<'a, anyhow::Result<()>>;

    /// Ends the transaction, which is not the handler's to end.
    fn end<'a>(tx: &'a mut Self::Transaction<'_>) -> BoxFuture<'a, anyhow::Result<()>>;

    /// Begins another one.
    fn begin_another<'a>(tx: &'a mut Self::Transaction<'_>) -> BoxFuture<'a, anyhow::Result<()>> {
        let _ = tx;
        async { Ok(()) }.boxed()
    }

    /// The text that a query finds.
    async fn query(&self, query: &'static str) -> Vec<String>;

    /// Runs a statement.
    async fn run(&self, statement: &'static str);
}

#[async_trait]
impl Rows for Sqlite {
    async fn fresh() -> Option<(Self, Box<dyn Send + Sync>)> {
        let folder = tempfile::tempdir().unwrap();
        let db = Sqlite::open(folder.path().join("data.db")).unwrap();
        db.lock().await.execute_batch("CREATE TABLE rows (row TEXT UNIQUE)").unwrap();
        Some((db, Box::new(folder)))
    }

    fn add<'a>(
        tx: &'a mut Self::Transaction<'_>,
        row: &'a str,
    ) -> BoxFuture<'a, anyhow::Result<()>> {
        let added = tx.execute("INSERT INTO rows VALUES (?1)", [row]);
        async move { Ok(added.map(drop)?) }.boxed()
    }

    fn end<'a>(tx: &'a mut Self::Transaction<'_>) -> BoxFuture<'a, anyhow::Result<()>> {
        let ended = tx.execute_batch("ROLLBACK");
        async move { Ok(ended?) }.boxed()
    }

    fn begin_another<'a>(tx: &'a mut Self::Transaction<'_>) -> BoxFuture<'a, anyhow::Result<()>> {
        let begun = tx.execute_batch("BEGIN");
        async move { Ok(begun?) }.boxed()
    }

    async fn query(&self, query: &'static str) -> Vec<String> {
        let db = self.lock().await;
        let mut query = db.prepare(query).unwrap();
        let rows = query.query_map([], |row| row.get::<_, String>(0)).unwrap();
        rows.collect::<rusqlite::Result<_>>().unwrap()
    }

    async fn run(&self, statement: &'static str) {
        self.lock().await.execute_batch(statement).unwrap();
    }
}

#[async_trait]
impl Rows for Postgres {
    async fn fresh() -> Option<(Self, Box<dyn Send + Sync>)> {
        static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let database = tokio::task::spawn_blocking(|| {
            let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Some(postgres::server()?.empty(&format!("effects_{number}")))
        });
        let Some(database) = database.await.unwrap() else {
            println!("NOT TRIED: PostgreSQL is not installed");
            return None;
        };
        let db = Postgres::open(&database.url()).unwrap();
        let client = db.pool().get().await.unwrap();
        client.batch_execute(Postgres::MIGRATION).await.unwrap();
        client.batch_execute("CREATE TABLE rows (row text UNIQUE)").await.unwrap();
        drop(client);
        Some((db, Box::new(database)))
    }

    fn add<'a>(
        tx: &'a mut Self::Transaction<'_>,
        row: &'a str,
    ) -> BoxFuture<'a, anyhow::Result<()>> {
        async move { Ok(tx.execute("INSERT INTO rows VALUES ($1)", &[&row]).await.map(drop)?) }
            .boxed()
    }

    fn end<'a>(tx: &'a mut Self::Transaction<'_>) -> BoxFuture<'a, anyhow::Result<()>> {
        async move { Ok(tx.batch_execute("ROLLBACK").await?) }.boxed()
    }

    async fn query(&self, query: &'static str) -> Vec<String> {
        let rows = self.pool().get().await.unwrap().query(query, &[]).await.unwrap();
        rows.iter().map(|row: &tokio_postgres::Row| row.get(0)).collect()
    }

    async fn run(&self, statement: &'static str) {
        self.pool().get().await.unwrap().batch_execute(statement).await.unwrap();
    }
}

#[derive(Clone)]
struct Context<D> {
    db: D,
    /// A handler that is told to `wait` takes a permit; one that has written adds one to the other.
    go: Arc<Semaphore>,
    written: Arc<Semaphore>,
}

impl<D: EffectDb> Once for Context<D> {
    type Db = D;

    fn db(&self) -> &D {
        &self.db
    }
}

async fn write<D: Rows>(cx: Context<D>, tx: &mut Tx<'_, D>, order: Delivery<Write>) -> Outcome {
    D::add(tx, &order.row).await?;
    cx.written.add_permits(1);
    match order.then.as_deref() {
        Some("fail") => Err(Failure::reject("as it was told")),
        Some("panic") => panic!("as it was told"),
        Some("swallow") => {
            // Fails, since the row is there.
            let _ = D::add(tx, &order.row).await;
            Ok(())
        }
        Some("begin another") => {
            D::end(tx).await?;
            Ok(D::begin_another(tx).await?)
        }
        Some("end") => {
            tx.defer(Later { row: order.row.clone() })?;
            Ok(D::end(tx).await?)
        }
        Some("defer") => {
            tx.defer(Later { row: format!("{} 1", order.row) })?;
            tx.defer(Later { row: format!("{} 2", order.row) })?;
            Ok(())
        }
        Some("wait") => {
            cx.go.acquire().await?.forget();
            Ok(())
        }
        Some("wait and fail") => {
            cx.go.acquire().await?.forget();
            Err(Failure::retry("as it was told"))
        }
        _ => Ok(()),
    }
}

/// PostgreSQL has undone what was written before, and would take the commit for a rollback.
#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql_an_error_that_is_swallowed_fails_the_attempt() {
    let Some(fixture) = Fixture::<Postgres>::new().await else { return };
    let reason = failure(fixture.run(meta("m", 1), "a", "swallow").await);
    assert!(reason.contains("current transaction is aborted"), "{reason}");
    assert_eq!((fixture.rows().await.len(), fixture.marks().await.len()), (0, 0));
}

/// SQLite undoes the failed statement alone.
#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_an_error_that_is_swallowed_is_the_handlers_own() {
    let Some(fixture) = Fixture::<Sqlite>::new().await else { return };
    applied(fixture.run(meta("m", 1), "a", "swallow").await);
    assert_eq!((fixture.rows().await.len(), fixture.marks().await.len()), (1, 1));
}

/// A transaction of the handler's own is not the engine's.
#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_a_handler_that_begins_another_transaction_has_applied_nothing() {
    let Some(fixture) = Fixture::<Sqlite>::new().await else { return };
    let reason = failure(fixture.run(meta("m", 1), "a", "begin another").await);
    assert!(reason.contains("the transaction has ended before the handler"), "{reason}");
    assert_eq!((fixture.rows().await.len(), fixture.marks().await.len()), (0, 0));
}

/// Who has no connection in time has not begun.
#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_waits_for_others_is_postponed() {
    let Some(fixture) = Fixture::<Sqlite>::new().await else { return };
    let held = fixture.context.db.lock().await;
    let handlers = Catalog::new().once(write::<Sqlite>).bind(&fixture.context).unwrap();
    let handler = handlers.event(Write::DIALECT, 1, Write::TYPE).unwrap();
    let attempt = Attempt { patience: Duration::from_millis(10), ..Attempt::sample() };
    let delivery = Delivery::new(meta("m", 1), Bytes::from_static(br#"{"row":"a"}"#));
    let ended = handler.start(delivery, attempt).unwrap().await.unwrap();
    assert!(matches!(ended, Handled::Postponed(_)), "{ended:?}");
    drop(held);
    assert_eq!(fixture.rows().await.len(), 0);
}

/// Takes deferred events, or refuses them.
#[derive(Default)]
struct Inbox(Mutex<(Vec<DeferredEvent>, bool)>);

#[async_trait]
impl Acceptor for Inbox {
    async fn accept(&self, event: DeferredEvent) -> anyhow::Result<()> {
        let (events, is_down) = &mut *self.0.lock().await;
        anyhow::ensure!(!*is_down, "the inbox is down");
        if events.iter().all(|other| other.message_id() != event.message_id()) {
            events.push(event);
        }
        Ok(())
    }
}

struct Fixture<D: Rows> {
    context: Context<D>,
    inbox: Arc<Inbox>,
    _store: Box<dyn Send + Sync>,
}

impl<D: Rows> Fixture<D> {
    async fn new() -> Option<Self> {
        let (db, store) = D::fresh().await?;
        let none = || Arc::new(Semaphore::new(0));
        let context = Context { db, go: none(), written: none() };
        Some(Fixture { context, inbox: Arc::default(), _store: store })
    }

    /// One attempt, as dispatch starts it.
    fn start(
        &self,
        meta: Meta,
        row: &str,
        then: &str,
        lease: Duration,
    ) -> BoxFuture<'static, Result<Handled, Failure>> {
        let body = serde_json::to_vec(&Write { row: row.into(), then: Some(then.into()) }).unwrap();
        let handlers = Catalog::new().once(write::<D>).bind(&self.context).unwrap();
        let handler = handlers.event(Write::DIALECT, 1, Write::TYPE).unwrap();
        let acceptor = Arc::clone(&self.inbox) as _;
        let attempt = Attempt { lease_until: Instant::now() + lease, patience: PATIENCE, acceptor };
        handler.start(Delivery::new(meta, Bytes::from(body)), attempt).unwrap()
    }

    async fn run(&self, meta: Meta, row: &str, then: &str) -> Result<Handled, Failure> {
        let attempt = self.start(meta, row, then, Duration::from_secs(60));
        tokio::time::timeout(PATIENCE, attempt).await.expect("it ends")
    }

    async fn rows(&self) -> Vec<String> {
        self.context.db.query("SELECT row FROM rows ORDER BY row").await
    }

    async fn marks(&self) -> Vec<String> {
        self.context.db.query("SELECT message_id FROM webhook_effect ORDER BY message_id").await
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

macro_rules! on_each_database {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name::<super::Sqlite>().await;
            })+
        }
        mod postgresql {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name::<super::Postgres>().await;
            })+
        }
    };
}

on_each_database!(
    a_second_attempt_finds_what_the_first_has_applied,
    what_fails_or_panics_is_rolled_back,
    a_violation_of_the_handlers_own_is_the_handlers,
    a_handler_that_rolls_back_has_applied_nothing,
    a_lost_lease_rolls_back,
    a_second_attempt_waits_for_the_first,
    a_second_attempt_applies_what_the_first_has_rolled_back,
    every_part_of_a_mark_counts,
    a_dropped_attempt_is_rolled_back,
    a_lost_answer_of_a_commit_is_found_out,
    deferred_events_come_with_the_commit,
    deferred_events_wait_for_the_inbox,
    old_marks_are_pruned,
    missing_tables_are_named,
    a_test_runs_it_once_and_twice,
);

async fn a_second_attempt_finds_what_the_first_has_applied<D: Rows>() {
    let Some(fixture) = Fixture::<D>::new().await else { return };
    let first = applied(fixture.run(meta("m", 1), "a", "").await);
    assert_eq!(first.attempt, 1);
    let age = (chrono::Utc::now() - first.at).num_seconds();
    assert!((-5..60).contains(&age), "{age}");
    assert_eq!(applied(fixture.run(meta("m", 2), "a", "").await), first);
    assert_eq!((fixture.rows().await, fixture.marks().await), (vec!["a".into()], vec!["m".into()]));
}

async fn what_fails_or_panics_is_rolled_back<D: Rows>() {
    let Some(fixture) = Fixture::<D>::new().await else { return };
    assert_eq!(failure(fixture.run(meta("m", 1), "a", "fail").await), "rejected: as it was told");
    let panicked = std::panic::AssertUnwindSafe(fixture.run(meta("m", 2), "a", "panic"));
    assert!(panicked.catch_unwind().await.is_err());
    assert_eq!((fixture.rows().await.len(), fixture.marks().await.len()), (0, 0));
    assert_eq!(applied(fixture.run(meta("m", 3), "a", "").await).attempt, 3);
    assert_eq!(fixture.rows().await, ["a"]);
}

async fn a_violation_of_the_handlers_own_is_the_handlers<D: Rows>() {
    let Some(fixture) = Fixture::<D>::new().await else { return };
    applied(fixture.run(meta("m", 1), "a", "").await);
    let reason = failure(fixture.run(meta("another", 1), "a", "").await);
    assert!(reason.contains("nique") || reason.contains("UNIQUE"), "{reason}");
    assert_eq!(fixture.marks().await, ["m"]);
}

async fn a_handler_that_rolls_back_has_applied_nothing<D: Rows>() {
    let Some(fixture) = Fixture::<D>::new().await else { return };
    let reason = failure(fixture.run(meta("m", 1), "a", "end").await);
    assert!(reason.starts_with("the transaction was not committed"), "{reason}");
    assert_eq!((fixture.rows().await.len(), fixture.marks().await.len()), (0, 0));
    assert_eq!(fixture.outbox().await.len(), 0);
    assert_eq!(applied(fixture.run(meta("m", 2), "a", "").await).attempt, 2);
}

async fn a_lost_lease_rolls_back<D: Rows>() {
    let Some(fixture) = Fixture::<D>::new().await else { return };
    let attempt = fixture.start(meta("m", 1), "a", "wait", Duration::from_millis(200));
    let attempt = tokio::spawn(attempt);
    fixture.context.written.acquire().await.unwrap().forget();
    tokio::time::sleep(Duration::from_millis(250)).await;
    fixture.context.go.add_permits(1);
    let reason = failure(attempt.await.unwrap());
    // PostgreSQL itself ends a transaction that is idle for so long.
    assert!(reason.contains("lease") || reason.contains("closed"), "{reason}");
    assert_eq!((fixture.rows().await.len(), fixture.marks().await.len()), (0, 0));
}

async fn a_second_attempt_waits_for_the_first<D: Rows>() {
    let Some(fixture) = Fixture::<D>::new().await else { return };
    let lease = Duration::from_secs(60);
    let first = tokio::spawn(fixture.start(meta("m", 1), "a", "wait", lease));
    fixture.context.written.acquire().await.unwrap().forget();
    let mut second = tokio::spawn(fixture.start(meta("m", 2), "a", "", lease));
    assert!(
        tokio::time::timeout(Duration::from_millis(200), &mut second).await.is_err(),
        "it waits"
    );
    fixture.context.go.add_permits(1);
    let [first, second] = [first.await.unwrap(), second.await.unwrap()].map(applied);
    assert_eq!((first.attempt, second), (1, first));
    assert_eq!(fixture.rows().await, ["a"]);
}

async fn a_second_attempt_applies_what_the_first_has_rolled_back<D: Rows>() {
    let Some(fixture) = Fixture::<D>::new().await else { return };
    let lease = Duration::from_secs(60);
    let first = tokio::spawn(fixture.start(meta("m", 1), "a", "wait and fail", lease));
    fixture.context.written.acquire().await.unwrap().forget();
    let second = tokio::spawn(fixture.start(meta("m", 2), "a", "", lease));
    fixture.context.go.add_permits(1);
    assert_eq!(failure(first.await.unwrap()), "as it was told");
    assert_eq!(applied(second.await.unwrap()).attempt, 2);
    assert_eq!(fixture.rows().await, ["a"]);
}

async fn every_part_of_a_mark_counts<D: Rows>() {
    let Some(fixture) = Fixture::<D>::new().await else { return };
    let base = meta("m", 1);
    let others = [
        base.clone(),
        Meta { source: "other".into(), ..base.clone() },
        Meta { client_id: Some("c".into()), ..base.clone() },
        Meta { message_id: "m\0".into(), ..base.clone() },
        Meta { message_id: "m\u{10FFFF}0".into(), ..base.clone() },
        Meta { event_type: "Other".into(), ..base.clone() },
        Meta { replay: 1, ..base.clone() },
        Meta { received_at: base.received_at + Duration::from_millis(1), ..base.clone() },
    ];
    for (number, meta) in others.into_iter().enumerate() {
        let row = format!("row {number}");
        // Whatever the event is called, this handler is called.
        applied(fixture.run(meta.clone(), &row, "").await);
        applied(fixture.run(Meta { attempt: 9, ..meta }, &row, "").await);
    }
    assert_eq!(fixture.rows().await.len(), 8);
}

async fn a_dropped_attempt_is_rolled_back<D: Rows>() {
    let Some(fixture) = Fixture::<D>::new().await else { return };
    let attempt = fixture.start(meta("m", 1), "a", "wait", Duration::from_secs(60));
    let attempt = tokio::spawn(attempt);
    fixture.context.written.acquire().await.unwrap().forget();
    attempt.abort();
    assert!(attempt.await.is_err());
    assert_eq!(applied(fixture.run(meta("m", 2), "a", "").await).attempt, 2);
}

/// A database whose commits fail after or before they are done.
#[derive(Clone)]
struct Unlucky<D>(D);

#[async_trait]
impl<D: EffectDb> EffectDb for Unlucky<D> {
    type Connection = D::Connection;
    type Transaction<'c> = D::Transaction<'c>;

    const MIGRATION: &'static str = D::MIGRATION;

    async fn connect(&self) -> anyhow::Result<D::Connection> {
        self.0.connect().await
    }

    async fn begin<'c>(
        connection: &'c mut D::Connection,
        mark: &Mark,
        time_left: Duration,
    ) -> anyhow::Result<Begun<D::Transaction<'c>>> {
        D::begin(connection, mark, time_left).await
    }

    async fn commit(
        transaction: D::Transaction<'_>,
        deferred: &[DeferredEvent],
    ) -> anyhow::Result<()> {
        // The events say it, since nothing else is there to say it.
        if deferred.len() == 2 {
            D::commit(transaction, deferred).await?;
        }
        anyhow::bail!("the connection is lost")
    }
}

#[async_trait]
impl<D: EffectDb> EffectStore for Unlucky<D> {
    async fn check(&self) -> anyhow::Result<()> {
        self.0.check().await
    }

    async fn outbox(&self, cause: Option<&str>) -> anyhow::Result<Vec<DeferredEvent>> {
        self.0.outbox(cause).await
    }

    async fn remove(&self, events: &[DeferredEvent]) -> anyhow::Result<()> {
        self.0.remove(events).await
    }

    async fn prune(&self, age: Duration) -> anyhow::Result<u64> {
        self.0.prune(age).await
    }
}

#[async_trait]
impl<D: Rows> Rows for Unlucky<D> {
    async fn fresh() -> Option<(Self, Box<dyn Send + Sync>)> {
        let (db, store) = D::fresh().await?;
        Some((Unlucky(db), store))
    }

    fn add<'a>(
        tx: &'a mut Self::Transaction<'_>,
        row: &'a str,
    ) -> BoxFuture<'a, anyhow::Result<()>> {
        D::add(tx, row)
    }

    fn end<'a>(tx: &'a mut Self::Transaction<'_>) -> BoxFuture<'a, anyhow::Result<()>> {
        D::end(tx)
    }

    async fn query(&self, query: &'static str) -> Vec<String> {
        self.0.query(query).await
    }

    async fn run(&self, statement: &'static str) {
        self.0.run(statement).await;
    }
}

async fn a_lost_answer_of_a_commit_is_found_out<D: Rows>() {
    let Some(fixture) = Fixture::<Unlucky<D>>::new().await else { return };
    let reason = failure(fixture.run(meta("lost", 1), "a", "").await);
    assert_eq!(reason, "the transaction was not committed: the connection is lost");
    assert_eq!(applied(fixture.run(meta("done", 1), "b", "defer").await).attempt, 1);
    assert_eq!(
        (fixture.rows().await, fixture.marks().await),
        (vec!["b".into()], vec!["done".into()])
    );
    assert_eq!(fixture.inbox.0.lock().await.0.len(), 2, "what it deferred is handed over");
}

async fn deferred_events_come_with_the_commit<D: Rows>() {
    let Some(fixture) = Fixture::<D>::new().await else { return };
    let meta = Meta { client_id: Some("c".into()), ..meta("m", 1) };
    applied(fixture.run(meta.clone(), "a", "defer").await);
    let events = fixture.inbox.0.lock().await.0.clone();
    let rows: Vec<_> = events.iter().map(|event| event.decode::<Later>().unwrap().row).collect();
    assert_eq!(rows, ["a 1", "a 2"]);
    assert_ne!(events[0].message_id(), events[1].message_id());
    let facts = (&*events[0].source, &*events[0].client_id, events[0].environment);
    assert_eq!(facts, ("sample", "c", meta.environment));
    // A second attempt hands over nothing twice.
    applied(fixture.run(Meta { attempt: 2, ..meta }, "a", "defer").await);
    assert_eq!(fixture.inbox.0.lock().await.0.len(), 2);
    // They leave the outbox in their own time.
    let outbox = async {
        while !fixture.outbox().await.is_empty() {
            tokio::task::yield_now().await
        }
    };
    tokio::time::timeout(PATIENCE, outbox).await.expect("they are removed");
    // Its row is there.
    failure(fixture.run(self::meta("n", 1), "a", "defer").await);
    assert_eq!(fixture.inbox.0.lock().await.0.len(), 2, "none without a commit");
}

impl<D: Rows> Fixture<D> {
    async fn outbox(&self) -> Vec<String> {
        self.context.db.query("SELECT event FROM webhook_deferred").await
    }
}

async fn deferred_events_wait_for_the_inbox<D: Rows>() {
    let Some(fixture) = Fixture::<D>::new().await else { return };
    fixture.inbox.0.lock().await.1 = true;
    let ended = fixture.run(meta("m", 1), "a", "defer").await.unwrap();
    assert!(
        matches!(&ended, Handled::Postponed(why) if why.ends_with("inbox is down")),
        "{ended:?}"
    );
    assert_eq!((fixture.rows().await.len(), fixture.outbox().await.len()), (1, 2));
    fixture.inbox.0.lock().await.1 = false;
    assert_eq!(applied(fixture.run(meta("m", 2), "a", "defer").await).attempt, 1);
    let events = fixture.inbox.0.lock().await.0.clone();
    assert_eq!(events.iter().map(|event| event.number).collect::<Vec<_>>(), [0, 1]);
}

async fn old_marks_are_pruned<D: Rows>() {
    let Some(fixture) = Fixture::<D>::new().await else { return };
    for number in 0..3 {
        applied(fixture.run(meta(&number.to_string(), 1), &number.to_string(), "").await);
    }
    let db = &fixture.context.db;
    assert_eq!(db.prune(Duration::from_secs(60)).await.unwrap(), 0);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(db.prune(Duration::from_millis(10)).await.unwrap(), 3);
    assert_eq!(fixture.marks().await.len(), 0);
}

async fn missing_tables_are_named<D: Rows>() {
    let Some(fixture) = Fixture::<D>::new().await else { return };
    let db = &fixture.context.db;
    db.check().await.unwrap();
    db.run("DROP TABLE webhook_deferred").await;
    let error = db.check().await.unwrap_err().to_string();
    assert!(error.contains("webhook-receiver effects"), "{error}");
}

async fn a_test_runs_it_once_and_twice<D: Rows>() {
    let Some(fixture) = Fixture::<D>::new().await else { return };
    let order = |json: &str| Delivery::<Write>::sample(json).unwrap();
    let context = &fixture.context;
    let once = order(r#"{"row":"a","then":"defer"}"#).once(context, write::<D>).await.unwrap();
    assert_eq!(once.attempts.len(), 1);
    let later = |row: &str| Later { row: row.into() };
    assert_eq!(once.deferred::<Later>(), [later("a 1"), later("a 2")]);
    let twice = order(r#"{"row":"b"}"#).twice(context, write::<D>).await.unwrap();
    assert_eq!(twice.attempts.len(), 2);
    assert_eq!(twice.attempts[0], twice.attempts[1], "the second has met the first");
    assert_eq!(fixture.rows().await, ["a", "b"]);
    // Another test with the same delivery is another delivery.
    assert!(order(r#"{"row":"b"}"#).once(context, write::<D>).await.is_err());
}
