//! What one-effect handlers take, each with one INSERT of its own, beside handlers that write the same without a mark; and
//! what it costs to defer an event. Everything is synced.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ::effects::postgres::deadpool_postgres::{Manager, ManagerConfig, Pool};
use ::effects::postgres::tokio_postgres::NoTls;
use ::effects::postgres::{self, Postgres};
use ::effects::sqlite;
use anyhow::Context as _;
use contract::catalog::{Catalog, Handlers};
use contract::effect::{DeferredEvent, Once};
use contract::event::{Delivery, Dialect, Environment, Event, Outcome};
use contract::time::system_clock;
use hdrhistogram::Histogram;
use inbox::{Inbox, InboxUrl, Options, Route};
use receiver::dispatch::{DispatchOptions, Dispatcher, Schedule};
use serde::{Deserialize, Serialize};
use source::Verified;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::postgres::cluster;

/// Deliveries of a round.
const DELIVERIES: usize = 40_000;

#[derive(clap::Args)]
pub(crate) struct Effects {
    /// Handlers that run at once
    #[arg(long, default_value_t = 64)]
    handlers: usize,
    /// Connections of the handlers' pool
    #[arg(long, default_value_t = 16)]
    connections: usize,
}

/// Callers that fill an inbox.
const CALLERS: usize = 64;

#[derive(Serialize, Deserialize, utoipa::ToSchema)]
struct Job {
    n: i64,
}

impl Event for Job {
    const TYPE: &'static str = "JobEvent";

    fn example() -> &'static str {
        r#"{"n":1}"#
    }
}

#[derive(Clone)]
struct Context<D> {
    db: D,
    left: Arc<(AtomicUsize, Notify)>,
}

impl<D> Context<D> {
    fn handled(&self) {
        if self.left.0.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.left.1.notify_one();
        }
    }
}

impl Once for Context<Postgres> {
    type Db = Postgres;

    fn db(&self) -> &Postgres {
        &self.db
    }
}

impl Once for Context<sqlite::Sqlite> {
    type Db = sqlite::Sqlite;

    fn db(&self) -> &sqlite::Sqlite {
        &self.db
    }
}

const INSERT: &str = "INSERT INTO job VALUES ($1)";

/// Does nothing.
async fn nothing<D>(cx: Context<D>, _: Delivery<Job>) -> Outcome {
    cx.handled();
    Ok(())
}

/// Writes in a transaction of its own.
async fn plain(cx: Context<Postgres>, job: Delivery<Job>) -> Outcome {
    let mut client = cx.db.pool().get().await?;
    let transaction = client.transaction().await?;
    let insert = transaction.prepare_cached(INSERT).await?;
    transaction.execute(&insert, &[&job.n]).await?;
    transaction.commit().await?;
    cx.handled();
    Ok(())
}

/// Writes with the mark.
async fn once(cx: Context<Postgres>, tx: &mut postgres::Tx<'_>, job: Delivery<Job>) -> Outcome {
    let insert = tx.prepare_cached(INSERT).await?;
    tx.execute(&insert, &[&job.n]).await?;
    cx.handled();
    Ok(())
}

async fn once_in_file(
    cx: Context<sqlite::Sqlite>,
    tx: &mut sqlite::Tx<'_>,
    job: Delivery<Job>,
) -> Outcome {
    tx.prepare_cached(INSERT)?.execute([job.n])?;
    cx.handled();
    Ok(())
}

pub(crate) fn run(args: &Effects, rounds: usize) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let server = cluster().context("PostgreSQL is not installed")?;
    println!(
        "deliveries handled per second, {DELIVERIES} in each round, and their ratio to `.on` with a transaction of its own"
    );
    for is_inbox_in_file in [false, true] {
        let place = if is_inbox_in_file { "a file" } else { "PostgreSQL" };
        let mut rates = [const { Vec::new() }; 3];
        for _ in 0..rounds {
            for (row, rates) in ["nothing", "plain", "once"].into_iter().zip(&mut rates) {
                let (inbox_database, data) = (server.database(), server.database());
                let folder = tempfile::tempdir()?;
                let inbox = match is_inbox_in_file {
                    true => format!("sqlite:{}", folder.path().join("inbox.db").display()),
                    false => inbox_database.url(),
                };
                let rate = runtime.block_on(async {
                    let db = open_pool(&data.url(), args.connections)?;
                    let client = db.pool().get().await?;
                    client.batch_execute(Postgres::MIGRATION).await?;
                    client.batch_execute("CREATE TABLE job (n bigint)").await?;
                    drop(client);
                    let catalog = |catalog: Catalog<Context<Postgres>>| match row {
                        "nothing" => catalog.on(nothing),
                        "plain" => catalog.on(plain),
                        _ => catalog.once(once),
                    };
                    rate(&inbox, db, args.handlers, catalog).await
                })?;
                rates.push(rate);
            }
        }
        let [nothing, plain, once] = rates.map(median);
        println!(
            "inbox on {place}, data on PostgreSQL: `.once` {once:.0} ({:.2}), `.on` {plain:.0}, a handler that does nothing {nothing:.0}",
            once / plain
        );
    }
    let mut in_files = Vec::new();
    for _ in 0..rounds {
        let folder = tempfile::tempdir()?;
        let inbox = format!("sqlite:{}", folder.path().join("inbox.db").display());
        in_files.push(runtime.block_on(async {
            let db = sqlite::Sqlite::open(folder.path().join("data.db"))?;
            db.lock().await.execute_batch("CREATE TABLE job (n INTEGER)")?;
            let catalog = |catalog: Catalog<_>| catalog.once(once_in_file);
            rate(&inbox, db, args.handlers, catalog).await
        })?);
    }
    println!("inbox in a file, data in another: `.once` {:.0}", median(in_files));
    for is_file in [false, true] {
        let (folder, database) = (tempfile::tempdir()?, server.database());
        let (place, url) = match is_file {
            true => ("a file", format!("sqlite:{}", folder.path().join("inbox.db").display())),
            false => ("PostgreSQL", database.url()),
        };
        for callers in [1, 16, 64] {
            let times = runtime.block_on(deferred(&url, callers))?;
            let millis = |quantile| times.value_at_quantile(quantile) as f64 / 1000.0;
            println!(
                "an event deferred by a hook, inbox on {place}, {callers} at once: p50 {:.2} ms, p99 {:.2} ms",
                millis(0.5),
                millis(0.99)
            );
        }
    }
    Ok(())
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// The rate at which the catalog's handler takes deliveries that wait.
async fn rate<D: Clone + Send + Sync + 'static>(
    url: &str,
    db: D,
    handlers_at_once: usize,
    catalog: impl FnOnce(Catalog<Context<D>>) -> Catalog<Context<D>>,
) -> anyhow::Result<f64> {
    let inbox = open(url).await?;
    accept(&inbox).await?;
    let left = Arc::new((AtomicUsize::new(DELIVERIES), Notify::new()));
    let context = Context { db, left: Arc::clone(&left) };
    let handlers = catalog(Catalog::new()).bind(&context)?;
    let dispatcher = dispatcher(&inbox, handlers, handlers_at_once);
    let stop = CancellationToken::new();
    let began = Instant::now();
    let running = tokio::spawn(dispatcher.run(stop.clone(), Duration::from_secs(10)));
    left.1.notified().await;
    let rate = DELIVERIES as f64 / began.elapsed().as_secs_f64();
    stop.cancel();
    running.await?;
    Ok(rate)
}

fn open_pool(url: &str, connections: usize) -> anyhow::Result<Postgres> {
    let config: postgres::tokio_postgres::Config = url.parse()?;
    let manager = Manager::from_config(config, NoTls, ManagerConfig::default());
    Ok(Postgres::new(Pool::builder(manager).max_size(connections).build()?))
}

fn dispatcher(inbox: &Arc<dyn Inbox>, handlers: Handlers, concurrency: usize) -> Arc<Dispatcher> {
    let options = DispatchOptions {
        schedule: Schedule::new(vec![Duration::from_secs(1)], 0.0),
        timeout: Duration::from_secs(30),
        concurrency,
        clock: system_clock(),
        metrics: Arc::default(),
        tallies: Arc::default(),
    };
    Dispatcher::new(Arc::clone(inbox) as _, Arc::new(handlers), options)
}

async fn open(url: &str) -> anyhow::Result<Arc<dyn Inbox>> {
    inbox::open(&InboxUrl::parse(&url.to_owned().into())?, Options::receiver(8192)).await
}

fn delivery(n: usize) -> anyhow::Result<(Verified, Route)> {
    let event = DeferredEvent {
        cause: "bench".into(),
        number: u32::try_from(n)?,
        source: "one".into(),
        environment: Environment::Stage,
        client_id: String::new(),
        dialect: Dialect::DirectScale,
        event_type: Job::TYPE.into(),
        version: 1,
        body: serde_json::to_vec(&Job { n: i64::try_from(n)? })?.into(),
    };
    let event_type = Job::TYPE.to_owned();
    let route = Route { event_type, version: 1, handled: true, ordering_key: None };
    Ok((Verified::deferred(event), route))
}

async fn accept(inbox: &Arc<dyn Inbox>) -> anyhow::Result<()> {
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let inbox = Arc::clone(inbox);
        callers.spawn(async move {
            for n in (caller..DELIVERIES).step_by(CALLERS) {
                let (delivery, route) = delivery(n)?;
                inbox.accept(delivery, route).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(accepted) = callers.join_next().await {
        accepted??;
    }
    Ok(())
}

/// The times that it takes to defer events from so many calls at once, for five seconds.
async fn deferred(url: &str, callers: usize) -> anyhow::Result<Histogram<u64>> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let inbox = open(url).await?;
    let end = Instant::now() + Duration::from_secs(5);
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let inbox = Arc::clone(&inbox);
        tasks.spawn(async move {
            let mut times = Histogram::<u64>::new(3)?;
            while Instant::now() < end {
                let (delivery, route) = delivery(NUMBER.fetch_add(1, Ordering::Relaxed))?;
                let started = Instant::now();
                inbox.accept(delivery, route).await?;
                times.record(u64::try_from(started.elapsed().as_micros())?)?;
            }
            anyhow::Ok(times)
        });
    }
    let mut times = Histogram::<u64>::new(3)?;
    while let Some(seen) = tasks.join_next().await {
        times.add(seen??)?;
    }
    Ok(times)
}
