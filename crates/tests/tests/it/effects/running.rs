//! One-effect handlers and hooks that defer, in a running receiver, with data in SQLite.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use contract::catalog::Catalog;
use contract::effect::Once;
use contract::event::{Delivery, Event, Failure, Json, Outcome};
use contract::hook::{Hook, HookCall, HookOutcome};
use effects::sqlite::{Sqlite, Tx};
use inbox::{Detail, Filter, Options, State};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::sync::Semaphore;
use utoipa::ToSchema;

use crate::harness::client::Request;
use crate::harness::deliveries::{PATIENCE, open_file};
use crate::harness::receiver::{KEY, Receiver, fork};
use crate::harness::vendor::{Reply, VENDOR_KEY, Vendor};

#[derive(Clone)]
struct Context {
    db: Sqlite,
    /// A third party that answers only when it has a permit.
    third_party: Arc<Semaphore>,
}

impl Once for Context {
    type Db = Sqlite;

    fn db(&self) -> &Sqlite {
        &self.db
    }
}

#[derive(Deserialize, ToSchema)]
struct Order {
    number: i64,
}

impl Event for Order {
    const TYPE: &'static str = "OrderEvent";
    const ENTITY: Option<&'static str> = Some("number");

    fn example() -> &'static str {
        r#"{"number":1}"#
    }
}

/// The fork's own event.
#[derive(Serialize, Deserialize, ToSchema)]
struct Tell {
    number: i64,
    text: String,
}

impl Event for Tell {
    const TYPE: &'static str = "TellEvent";
    const ENTITY: Option<&'static str> = Some("number");

    fn example() -> &'static str {
        r#"{"number":1,"text":"a"}"#
    }
}

async fn placed(_: Context, tx: &mut Tx<'_>, order: Delivery<Order>) -> Outcome {
    tx.execute("INSERT INTO orders VALUES (?1, ?2)", (order.number, order.meta.replay))?;
    for text in ["first", "second"] {
        tx.defer(Tell { number: order.number, text: text.into() })?;
    }
    Ok(())
}

async fn told(cx: Context, tell: Delivery<Tell>) -> Outcome {
    match cx.third_party.try_acquire() {
        Ok(permit) => permit.forget(),
        Err(_) => {
            return Err(Failure::retry_after(Duration::from_millis(10), "the third party is down"));
        }
    }
    let row = (tell.number, &tell.text, tell.meta.attempt);
    cx.db.lock().await.execute("INSERT INTO told VALUES (?1, ?2, ?3)", row)?;
    Ok(())
}

#[derive(ToSchema)]
struct Finalize;

impl Hook for Finalize {
    const ID: &'static str = "Orders.Finalize";
    type Request = Json;
    type Response = Json;

    fn example() -> &'static str {
        r#"{"number":1}"#
    }

    fn example_response() -> &'static str {
        "{}"
    }
}

/// After: the vendor's own logic, and then an event for what it must not wait for.
async fn finalize(_: Context, call: HookCall<Finalize>) -> HookOutcome<Finalize> {
    let Order { number } = call.request.read()?;
    let response = call.callback.proceed(call.request).await?;
    call.deferrer.defer(Tell { number, text: "finalized".into() }).await?;
    Ok(response)
}

fn catalog() -> Catalog<Context> {
    Catalog::new().once(placed).on(told).hook(finalize)
}

struct Fixture {
    context: Context,
    _folder: TempDir,
}

const SETTINGS: &str =
    "[sources.one]\ndialect = \"directscale\"\nbearer_tokens = [\"Ab!c@d%e$f^g&h\"]\n";

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = Sqlite::open(folder.path().join("data.db")).unwrap();
        let tables = "CREATE TABLE orders (number INTEGER, run INTEGER);
            CREATE TABLE told (number INTEGER, text TEXT, attempt INTEGER)";
        db.lock().await.execute_batch(tables).unwrap();
        let third_party = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        Fixture { context: Context { db, third_party }, _folder: folder }
    }

    async fn start(&self, folder: TempDir, more: &str) -> Receiver {
        let settings = format!("{SETTINGS}{more}");
        Receiver::start_fork(folder, &settings, fork(catalog(), &self.context)).await
    }

    async fn rows(&self, query: &str) -> Vec<(i64, String)> {
        let db = self.context.db.lock().await;
        let mut query = db.prepare(query).unwrap();
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }
}

fn order(id: &str, number: i64) -> Request {
    Request::post("/api/webhooks/OrderEvent", format!(r#"{{"number":{number}}}"#))
        .set("Content-Type", "application/json")
        .set("X-Directscale-Message-Id", id)
        .set("X-Directscale-Client-Id", "acme")
        .bearer(KEY)
}

async fn details(folder: &Path) -> Vec<Detail> {
    let inbox = open_file(&folder.join("inbox.db"), Options::command()).await;
    let mut details = inbox.details(Filter::default()).await.unwrap();
    details.reverse();
    details
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_written_once_and_what_it_defers_is_delivered_in_order() {
    let fixture = Fixture::new().await;
    let receiver = fixture.start(tempfile::tempdir().unwrap(), "").await;
    for (id, number) in [("m-1", 1), ("m-2", 2), ("m-1", 1)] {
        assert_eq!(receiver.send(&order(id, number)).await.status, 200);
    }
    let stopped = receiver.finish().await;
    let orders = fixture.rows("SELECT number, run || '' FROM orders ORDER BY number").await;
    assert_eq!(orders, [(1, "0".into()), (2, "0".into())]);
    let told = fixture.rows("SELECT number, text FROM told ORDER BY number, rowid").await;
    let texts: Vec<_> = told.iter().map(|(number, text)| (*number, &**text)).collect();
    assert_eq!(texts, [(1, "first"), (1, "second"), (2, "first"), (2, "second")]);

    let details = details(stopped.0.path()).await;
    assert_eq!(details.len(), 6);
    let (orders, tells): (Vec<_>, Vec<_>) =
        details.iter().partition(|detail| detail.entry.event_type == "OrderEvent");
    for detail in orders {
        let applied = detail.attempts[0].applied.expect("its record says what has applied it");
        assert_eq!((detail.attempts.len(), applied.attempt), (1, 1));
        assert!(applied.at <= detail.attempts[0].ended_at + Duration::from_secs(1));
    }
    for detail in tells {
        assert_eq!(detail.attempts[0].applied, None);
        assert_eq!(
            (&*detail.entry.source, detail.entry.client_id.as_deref()),
            ("one", Some("acme"))
        );
        assert!(detail.ordering_key.as_ref().unwrap().starts_with("one number="));
    }
    assert_eq!(fixture.rows("SELECT number, cause FROM webhook_deferred").await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_applies_again_and_a_resumed_run_does_not() {
    let fixture = Fixture::new().await;
    let receiver = fixture.start(tempfile::tempdir().unwrap(), "").await;
    receiver.send(&order("m-1", 1)).await;
    let mut stopped = receiver.finish().await;
    for (is_new_run, runs) in [(false, "0"), (true, "0 1"), (false, "0 1")] {
        let inbox = open_file(&stopped.0.path().join("inbox.db"), Options::command()).await;
        let filter = Filter { ids: vec![1], ..Filter::default() };
        let due = match is_new_run {
            true => inbox.replay(filter).await.unwrap(),
            false => inbox.resume(filter).await.unwrap(),
        };
        assert_eq!(due, 1);
        drop(inbox);
        stopped = fixture.start(stopped.0, "").await.finish().await;
        let written = fixture.rows("SELECT 1, group_concat(run, ' ') FROM orders").await;
        assert_eq!(written[0].1, runs);
    }
    let details = details(stopped.0.path()).await;
    let attempts = &details[0].attempts;
    let by: Vec<_> = attempts.iter().map(|it| (it.replay, it.applied.unwrap().attempt)).collect();
    assert_eq!(by, [(0, 1), (0, 1), (1, 3), (1, 3)]);
    assert_eq!(details.len(), 1 + 4, "a run that is resumed defers nothing again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_defers_what_its_caller_does_not_wait_for() {
    let vendor = Vendor::start(Reply::Says(200, "{\"done\":1.50}")).await;
    let mut fixture = Fixture::new().await;
    fixture.context.third_party = Arc::new(Semaphore::new(0));
    let hooks = format!(
        "[sources.one.hooks]\ncallback_url = \"{}\"\ncallback_key = \"{VENDOR_KEY}\"\n",
        vendor.url
    );
    let receiver = fixture.start(tempfile::tempdir().unwrap(), &hooks).await;
    let call = Request::post("/api/hooks/Orders.Finalize", r#"{"number":5}"#)
        .set("Content-Type", "application/json")
        .set("X-DirectScale-CallbackToken", "token-1")
        .bearer(KEY);
    let answer = receiver.send(&call).await;
    assert_eq!((answer.status, &*answer.body), (200, b"{\"done\":1.50}".as_slice()));
    // The third party is down, and the caller has its answer.
    let [tell] = details(receiver.folder()).await.try_into().unwrap();
    assert!(!tell.entry.state.has_ended());
    assert_eq!((&*tell.entry.event_type, &*tell.entry.source), ("TellEvent", "one"));
    assert_eq!(tell.body, r#"{"number":5,"text":"finalized"}"#);
    fixture.context.third_party.add_permits(1);
    let stopped = receiver.finish().await;
    let told = fixture.rows("SELECT number, text FROM told").await;
    assert_eq!(told, [(5, "finalized".into())]);
    assert_eq!(details(stopped.0.path()).await[0].entry.state, State::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_process_left_in_the_outbox_is_collected() {
    let fixture = Fixture::new().await;
    fixture
        .context
        .db
        .lock()
        .await
        .execute_batch(
            "INSERT INTO webhook_deferred VALUES ('c', 0, 'one', 'stage', '', 'directscale', 'TellEvent', 1,
                 CAST('{\"number\":1,\"text\":\"left\"}' AS BLOB), 0)",
        )
        .unwrap();
    let receiver = fixture.start(tempfile::tempdir().unwrap(), "").await;
    let told = async {
        while fixture.rows("SELECT number, text FROM told").await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("it is told");
    receiver.finish().await;
    assert_eq!(fixture.rows("SELECT number, text FROM told").await, [(1, "left".into())]);
    assert_eq!(fixture.rows("SELECT number, cause FROM webhook_deferred").await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_tables_a_receiver_does_not_start() {
    let fixture = Fixture::new().await;
    fixture.context.db.lock().await.execute_batch("DROP TABLE webhook_effect").unwrap();
    let receiver = fixture.start(tempfile::tempdir().unwrap(), "").await;
    let error = receiver.ended().await.unwrap_err().to_string();
    assert!(error.contains("webhook-receiver effects"), "{error}");
}
