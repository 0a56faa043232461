//! One-effect handlers that are killed: workers in processes of their own, each with a point of an attempt at which it kills
//! itself, and the count of what they have written.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use async_trait::async_trait;
use contract::catalog::Catalog;
use contract::effect::{Begun, DeferredEvent, EffectDb, EffectStore, Mark, Once, Tx};
use contract::event::{Delivery, Dialect, Environment, Event, Failure, Outcome};
use contract::time::{Clock, Timestamp};
use effects::postgres::Postgres;
use effects::sqlite::Sqlite;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use inbox::{
    Claim, Deliveries, Filter, Inbox, InboxUrl, Lease, Options, Receipt, Route, State, Verdict,
};
use receiver::dispatch::{DispatchOptions, Dispatcher, Schedule};
use serde::{Deserialize, Serialize};
use source::Verified;
use tokio::process::Command;

use super::postgres;

/// The variable in which a worker finds its task.
const TASK: &str = "RECEIVER_TESTS_KILLED";

/// Deliveries for each life of a worker, which are added for some lives at once.
const FED: i64 = 4;

/// The most lives for which they are added at once.
const LIVES: usize = 16;

/// Time by the workers' clock from one life to the next: whatever waits is due again.
const LIFE: i64 = 4 * 60 * 60;

/// A point of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub(crate) enum Point {
    BeforeBegin,
    AfterMark,
    InHandler,
    BeforeCommit,
    /// The commit is on its way, or done, and its answer has not come.
    BeforeAnswer,
    /// A deferred event is a delivery, and its handler does not know.
    AfterHandover,
    /// The verdict is not written.
    BeforeFinish,
}

/// What a worker does.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Task {
    inbox: String,
    data: String,
    /// Seconds by which its clock is ahead of the beginning.
    offset: i64,
    /// The point at which it kills itself, at which pass.
    kill: Option<(Point, i64)>,
    /// Steps that it takes at most; the last worker takes any number, and its handlers do not fail.
    steps: Option<usize>,
}

/// The end that the worker of this process comes to.
static KILLER: OnceLock<(Point, AtomicI64)> = OnceLock::new();

/// True if this process ends what the others have begun.
static IS_LAST: AtomicBool = AtomicBool::new(false);

fn pass(point: Point) {
    if let Some((own, passes)) = KILLER.get()
        && *own == point
        && passes.fetch_sub(1, Ordering::Relaxed) == 1
    {
        die();
    }
}

fn die() -> ! {
    let own = rustix::process::getpid();
    rustix::process::kill_process(own, rustix::process::Signal::KILL).unwrap();
    unreachable!("it is dead");
}

/// An order to write one row and to defer the writing of another.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
struct Job {
    n: i64,
    entity: i64,
}

impl Event for Job {
    const TYPE: &'static str = "JobEvent";
    const ENTITY: Option<&'static str> = Some("entity");

    fn example() -> &'static str {
        r#"{"n":1,"entity":1}"#
    }
}

/// The deferred order.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
struct Echo {
    n: i64,
    entity: i64,
}

impl Event for Echo {
    const TYPE: &'static str = "EchoEvent";

    fn example() -> &'static str {
        r#"{"n":1,"entity":1}"#
    }
}

/// A database with the tables `job` and `echo`, whose rows may be there twice.
#[async_trait]
trait Rows: EffectDb {
    async fn prepare(&self) -> anyhow::Result<()>;

    fn add<'a>(
        transaction: &'a mut Self::Transaction<'_>,
        table: &'static str,
        n: i64,
    ) -> BoxFuture<'a, anyhow::Result<()>>;

    /// The numbers that a query finds.
    async fn numbers(&self, query: &str) -> anyhow::Result<Vec<i64>>;
}

#[async_trait]
impl Rows for Sqlite {
    async fn prepare(&self) -> anyhow::Result<()> {
        let tables = "CREATE TABLE IF NOT EXISTS job (n INTEGER); CREATE TABLE IF NOT EXISTS echo (n INTEGER)";
        Ok(self.lock().await.execute_batch(tables)?)
    }

    fn add<'a>(
        transaction: &'a mut Self::Transaction<'_>,
        table: &'static str,
        n: i64,
    ) -> BoxFuture<'a, anyhow::Result<()>> {
        let added = transaction.execute(&format!("INSERT INTO {table} VALUES (?1)"), [n]);
        async move { Ok(added.map(drop)?) }.boxed()
    }

    async fn numbers(&self, query: &str) -> anyhow::Result<Vec<i64>> {
        let db = self.lock().await;
        let mut query = db.prepare(query)?;
        let rows = query.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

#[async_trait]
impl Rows for Postgres {
    async fn prepare(&self) -> anyhow::Result<()> {
        let tables =
            "CREATE TABLE IF NOT EXISTS job (n bigint); CREATE TABLE IF NOT EXISTS echo (n bigint)";
        let client = self.pool().get().await?;
        client.batch_execute(Postgres::MIGRATION).await?;
        Ok(client.batch_execute(tables).await?)
    }

    fn add<'a>(
        transaction: &'a mut Self::Transaction<'_>,
        table: &'static str,
        n: i64,
    ) -> BoxFuture<'a, anyhow::Result<()>> {
        async move {
            let add = format!("INSERT INTO {table} VALUES ($1)");
            Ok(transaction.execute(&add, &[&n]).await.map(drop)?)
        }
        .boxed()
    }

    async fn numbers(&self, query: &str) -> anyhow::Result<Vec<i64>> {
        let rows = self.pool().get().await?.query(query, &[]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}

/// A database whose user may kill itself.
#[derive(Clone)]
struct Killing<D>(D);

#[async_trait]
impl<D: EffectDb> EffectDb for Killing<D> {
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
        pass(Point::BeforeBegin);
        let begun = D::begin(connection, mark, time_left).await;
        if let Ok(Begun::Marked(..)) = &begun {
            pass(Point::AfterMark);
        }
        begun
    }

    async fn commit(
        transaction: D::Transaction<'_>,
        deferred: &[DeferredEvent],
    ) -> anyhow::Result<()> {
        pass(Point::BeforeCommit);
        let is_asked = matches!(KILLER.get(), Some((Point::BeforeAnswer, passes))
            if passes.fetch_sub(1, Ordering::Relaxed) == 1);
        let mut commit = D::commit(transaction, deferred);
        if is_asked {
            // The first step sends it, or what comes before it.
            let rounds = fastrand::usize(1..4);
            for _ in 0..rounds {
                let _ = (&mut commit).now_or_never();
                std::thread::sleep(Duration::from_micros(fastrand::u64(0..400)));
            }
            die();
        }
        commit.await
    }
}

#[async_trait]
impl<D: EffectDb> EffectStore for Killing<D> {
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

/// An inbox whose user may kill itself.
struct KillingInbox(Arc<dyn Inbox>);

#[async_trait]
impl Deliveries for KillingInbox {
    async fn accept(&self, delivery: Verified, route: Route) -> inbox::Result<Receipt> {
        let accepted = self.0.accept(delivery, route).await;
        pass(Point::AfterHandover);
        accepted
    }

    async fn claim(
        &self,
        max: usize,
        lease: Duration,
        patience: Duration,
    ) -> inbox::Result<Vec<Claim>> {
        self.0.claim(max, lease, patience).await
    }

    async fn settle(&self) {
        self.0.settle().await;
    }

    async fn finish(&self, lease: Lease, verdict: Verdict) -> inbox::Result<bool> {
        pass(Point::BeforeFinish);
        self.0.finish(lease, verdict).await
    }

    async fn check(&self) -> inbox::Result<()> {
        self.0.check().await
    }
}

#[derive(Clone)]
struct Worker<D>(Killing<D>);

impl<D: EffectDb> Once for Worker<D> {
    type Db = Killing<D>;

    fn db(&self) -> &Killing<D> {
        &self.0
    }
}

/// Writes, and fails now and then.
async fn job<D: Rows>(_: Worker<D>, tx: &mut Tx<'_, Killing<D>>, job: Delivery<Job>) -> Outcome {
    D::add(tx, "job", job.n).await?;
    pass(Point::InHandler);
    tx.defer(Echo { n: job.n, entity: job.entity })?;
    match fastrand::u8(..) {
        _ if IS_LAST.load(Ordering::Relaxed) => Ok(()),
        0..8 => Err(Failure::retry("it failed after it had written")),
        8..12 => panic!("it panicked after it had written"),
        _ => Ok(()),
    }
}

async fn echo<D: Rows>(_: Worker<D>, tx: &mut Tx<'_, Killing<D>>, echo: Delivery<Echo>) -> Outcome {
    Ok(D::add(tx, "echo", echo.n).await?)
}

/// Works if this process is a worker; then it does not return.
pub(crate) fn work_if_asked() {
    let Ok(task) = std::env::var(TASK) else { return };
    let task: Task = serde_json::from_str(&task).unwrap();
    std::panic::set_hook(Box::new(|_| {}));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let worked = runtime.unwrap().block_on(async {
        match task.data.strip_prefix("sqlite:") {
            Some(file) => work(&task, Sqlite::open(file)?).await,
            None => work(&task, Postgres::open(&task.data)?).await,
        }
    });
    if let Err(error) = worked {
        eprintln!("{error:#}");
        std::process::exit(3);
    }
    std::process::exit(0);
}

async fn work<D: Rows>(task: &Task, db: D) -> anyhow::Result<()> {
    let inbox = open(&task.inbox, task.offset).await?;
    let catalog = Catalog::new().once(job::<D>).once(echo::<D>);
    let handlers = catalog.bind(&Worker(Killing(db)))?;
    let options = DispatchOptions {
        schedule: Schedule::new(vec![Duration::from_secs(1); 1000], 0.0),
        timeout: Duration::from_secs(10),
        concurrency: 4,
        clock: clock(task.offset),
        metrics: Arc::default(),
        tallies: Arc::default(),
    };
    let dispatcher = Dispatcher::new(Arc::new(KillingInbox(inbox)), Arc::new(handlers), options);
    if let Some((point, passes)) = task.kill {
        let _ = KILLER.set((point, passes.into()));
    }
    IS_LAST.store(task.steps.is_none(), Ordering::Relaxed);
    for _ in 0..task.steps.unwrap_or(usize::MAX) {
        if dispatcher.step().await? == 0 {
            break;
        }
    }
    Ok(())
}

fn clock(offset: i64) -> Clock {
    let began = Instant::now();
    let start = Timestamp::from_timestamp(1_700_000_000 + offset, 0).unwrap_or_default();
    Arc::new(move || start + began.elapsed())
}

async fn open(url: &str, offset: i64) -> anyhow::Result<Arc<dyn Inbox>> {
    let options = Options::receiver(1024).with_clock(clock(offset));
    inbox::open(&InboxUrl::parse(&url.to_owned().into())?, options).await
}

/// Where the inbox and the handlers' data are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Stores {
    /// The inbox in a file, data in another.
    Files,
    /// The inbox in a file, data on PostgreSQL.
    FileAndDatabase,
    /// The inbox on PostgreSQL, data in the same database.
    Database,
    /// The inbox on PostgreSQL, data in another database.
    Databases,
}

impl Stores {
    /// Both, empty; none if PostgreSQL is not installed.
    pub(crate) fn stage(self) -> Option<Stage> {
        let folder = || tempfile::tempdir().unwrap();
        let file = |folder: &tempfile::TempDir, name| {
            format!("sqlite:{}", folder.path().join(name).display())
        };
        let database = || Some(postgres::server()?.database());
        Some(match self {
            Stores::Files => {
                let folder = folder();
                let (inbox, data) = (file(&folder, "inbox.db"), file(&folder, "data.db"));
                Stage { inbox, data, _stores: Box::new(folder) }
            }
            Stores::FileAndDatabase => {
                let (folder, database) = (folder(), database()?);
                let (inbox, data) = (file(&folder, "inbox.db"), database.url());
                Stage { inbox, data, _stores: Box::new((folder, database)) }
            }
            Stores::Database => {
                let database = database()?;
                let (inbox, data) = (database.url(), database.url());
                Stage { inbox, data, _stores: Box::new(database) }
            }
            Stores::Databases => {
                let databases = [database()?, database()?];
                let [inbox, data] = databases.each_ref().map(postgres::Database::url);
                Stage { inbox, data, _stores: Box::new(databases) }
            }
        })
    }
}

/// An inbox and a database of handlers, gone with this value.
pub(crate) struct Stage {
    inbox: String,
    data: String,
    _stores: Box<dyn Send>,
}

/// What was counted at the end of a run.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) kills: usize,
    pub(crate) deliveries: usize,
    /// Attempts that met the mark of another.
    pub(crate) applied_before: usize,
    pub(crate) lost: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { kills, deliveries, applied_before, lost } = self;
        write!(
            f,
            "{kills} killed; {deliveries} deliveries applied once, {applied_before} of them before the attempt that ended; {lost} attempts lost"
        )
    }
}

impl Stage {
    /// Kills workers at a point until so many are dead, lets one finish, and checks what they have written. `worker` makes the
    /// command that calls [`work_if_asked`].
    pub(crate) async fn run(
        &self,
        point: Point,
        kills: usize,
        worker: impl Fn() -> Command,
    ) -> anyhow::Result<Counts> {
        let is_shared = self.inbox.starts_with("postgres");
        let start = async |task: Task| {
            let task = serde_json::to_string(&task)?;
            let mut worker = worker();
            worker.env(TASK, task).stdin(Stdio::null()).stdout(Stdio::null());
            anyhow::Ok(worker.stderr(Stdio::piped()).spawn()?)
        };
        let task = |offset, kill, steps| Task {
            inbox: self.inbox.clone(),
            data: self.data.clone(),
            offset,
            kill,
            steps,
        };
        self.prepare().await?;
        let (mut killed, mut fed, mut life) = (0, 0, 0);
        let at_once = kills.clamp(1, LIVES) as i64;
        while killed < kills {
            let offset = (life + 1) * LIFE;
            if life % at_once == 0 {
                self.feed(fed..fed + FED * at_once, offset).await?;
                fed += FED * at_once;
            }
            life += 1;
            ensure!(life <= 10 * kills as i64 + 10, "{killed} of {life} workers were killed");
            let first = start(task(offset, Some((point, fastrand::i64(1..6))), Some(100))).await?;
            // A second worker, whose clock takes the leases of the first for lost.
            let second = match is_shared {
                true => Some(start(task(offset + LIFE / 2, None, Some(2))).await?),
                false => None,
            };
            for worker in [Some(first), second].into_iter().flatten() {
                use std::os::unix::process::ExitStatusExt as _;
                let ended = worker.wait_with_output().await?;
                match (ended.status.signal(), ended.status.code()) {
                    (Some(9), _) => killed += 1,
                    (_, Some(0)) => {}
                    _ => anyhow::bail!(
                        "{:?}: {}",
                        ended.status,
                        String::from_utf8_lossy(&ended.stderr)
                    ),
                }
            }
        }
        for end in 1..=40 {
            let last = start(task((life + end) * LIFE, None, None)).await?;
            let ended = last.wait_with_output().await?;
            ensure!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
            let inbox = open(&self.inbox, (life + end) * LIFE).await?;
            if inbox.count().await?.iter().all(|(_, count)| *count == 0) {
                break;
            }
        }
        let counts = self.check(fed).await?;
        Ok(Counts { kills: killed, ..counts })
    }

    async fn prepare(&self) -> anyhow::Result<()> {
        match self.data.strip_prefix("sqlite:") {
            Some(file) => Sqlite::open(file)?.prepare().await,
            None => Postgres::open(&self.data)?.prepare().await,
        }
    }

    async fn feed(&self, numbers: Range<i64>, offset: i64) -> anyhow::Result<()> {
        let inbox = open(&self.inbox, offset).await?;
        for n in numbers {
            let entity = n % 3;
            let delivery = Verified::deferred(DeferredEvent {
                cause: n.to_string(),
                number: 0,
                source: "one".into(),
                environment: Environment::Stage,
                client_id: String::new(),
                dialect: Dialect::DirectScale,
                event_type: Job::TYPE.into(),
                version: 1,
                body: serde_json::to_vec(&Job { n, entity })?.into(),
            });
            let route = Route {
                event_type: Job::TYPE.into(),
                version: 1,
                handled: true,
                ordering_key: Some(entity.to_string()),
            };
            inbox.accept(delivery, route).await?;
        }
        Ok(())
    }

    /// Every job and every echo is written once, with a mark each, and nothing else has a mark.
    async fn check(&self, fed: i64) -> anyhow::Result<Counts> {
        let inbox =
            inbox::open(&InboxUrl::parse(&self.inbox.clone().into())?, Options::command()).await?;
        let details = inbox.details(Filter::default()).await?;
        let unhandled = details.iter().find(|detail| detail.entry.state != State::Done);
        ensure!(unhandled.is_none(), "not handled: {unhandled:?}");
        ensure!(details.len() as i64 == 2 * fed, "{} deliveries of {}", details.len(), 2 * fed);
        match self.data.strip_prefix("sqlite:") {
            Some(file) => check_rows(&Sqlite::open(file)?, fed).await?,
            None => check_rows(&Postgres::open(&self.data)?, fed).await?,
        }
        let mut counts = Counts { deliveries: details.len(), ..Counts::default() };
        for detail in &details {
            let last = detail.attempts.last().context("it was attempted")?;
            let applied = last.applied.context("its record says what has applied it")?;
            counts.applied_before += usize::from(applied.attempt < last.attempt);
            counts.lost += detail.attempts.iter().filter(|it| it.outcome == "lost").count();
        }
        Ok(counts)
    }
}

async fn check_rows<D: Rows>(db: &D, fed: i64) -> anyhow::Result<()> {
    for (table, event) in [("job", Job::TYPE), ("echo", Echo::TYPE)] {
        let mut times: BTreeMap<i64, usize> = (0..fed).map(|n| (n, 0)).collect();
        for n in db.numbers(&format!("SELECT n FROM {table}")).await? {
            *times.entry(n).or_default() += 1;
        }
        let wrong: Vec<_> = times.iter().filter(|(_, times)| **times != 1).collect();
        ensure!(wrong.is_empty(), "{table} was not written once: {wrong:?}");
        let marks = format!("SELECT count(*) FROM webhook_effect WHERE event = '{event}'");
        let marks = db.numbers(&marks).await?;
        ensure!(marks == [fed], "{marks:?} marks of {fed} {event}s");
    }
    Ok(())
}
