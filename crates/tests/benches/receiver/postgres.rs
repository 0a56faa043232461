//! What an inbox on PostgreSQL takes, on a cluster of its own, with everything synced.

mod keys;
mod snapshot;
mod throughput;
mod waiting;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use contract::event::Dialect;
use hdrhistogram::Histogram;
use http::{HeaderMap, Request};
use inbox::{Inbox, InboxUrl, Options, Route, Verdict};
use source::{Admission as _, Admitted, Auth, Source, Verified};
use tokio::task::JoinSet;

use crate::harness::postgres::{Database, Server};

/// Concurrent callers.
const CALLERS: usize = 64;

/// Deliveries that are claimed at once.
const CLAIMED: usize = 256;

const LEASE: Duration = Duration::from_secs(60);

/// A measurement.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum Measured {
    /// Accepts beside pgbench, claims with verdicts, and both at once
    Throughput,
    /// 2,000 deliveries a second beside a snapshot that is held open, and without; for 10 minutes each unless --seconds says otherwise
    Snapshot,
    /// Accepts with 10⁵ and with 10⁷ known ids
    Keys,
    /// Queries of a process that has nothing to do
    Idle,
    /// Time from an accept in one process to the claim in another
    Wake,
    /// Time from an accept to the claim beside another source with a million waiting
    Fair,
}

pub(crate) fn run(measured: Measured, rounds: usize, seconds: Option<u64>) -> anyhow::Result<()> {
    let server = cluster().context("PostgreSQL is not installed")?;
    let length = |usual| Duration::from_secs(seconds.unwrap_or(usual));
    match measured {
        Measured::Throughput => throughput::run(server, rounds, length(5)),
        Measured::Snapshot => snapshot::run(server, length(600)),
        Measured::Keys => keys::run(server, rounds, length(5)),
        Measured::Idle => waiting::idle(server, length(60)),
        Measured::Wake => waiting::wake(server),
        Measured::Fair => waiting::fair(server),
    }
}

struct Seen {
    rate: f64,
    p50: f64,
    p99: f64,
}

/// A server that syncs every commit and lives as long as this process; none if PostgreSQL is not installed.
pub(crate) fn cluster() -> Option<&'static Server> {
    let settings = "-c shared_buffers=1GB -c max_wal_size=8GB -c wal_compression=on";
    Some(Box::leak(Box::new(Server::start(settings)?)))
}

/// Deliveries that were made before, so that an accept is measured alone.
struct Prepared(Mutex<Vec<Verified>>);

/// More deliveries a second than are accepted here.
const MOST: u64 = 80_000;

impl Prepared {
    fn for_length(length: Duration, sources: &[&str]) -> anyhow::Result<Arc<Self>> {
        let sources: Vec<_> = sources.iter().map(|name| source_named(name)).collect();
        let sources = sources.iter().cycle().take(usize::try_from(MOST * length.as_secs())?);
        let deliveries = sources.map(delivery).collect::<anyhow::Result<_>>()?;
        Ok(Arc::new(Prepared(Mutex::new(deliveries))))
    }

    fn next(&self) -> anyhow::Result<Verified> {
        self.0.lock().expect("no caller panics").pop().context("too few deliveries were prepared")
    }
}

#[tokio::main]
async fn accepted(database: &Database, length: Duration, sources: &[&str]) -> anyhow::Result<Seen> {
    let inbox = open(database).await?;
    let prepared = Prepared::for_length(length, sources)?;
    let mut callers = JoinSet::new();
    let end = Instant::now() + length;
    for _ in 0..CALLERS {
        let (inbox, prepared) = (Arc::clone(&inbox), Arc::clone(&prepared));
        callers.spawn(async move {
            let mut times = Histogram::<u64>::new(3)?;
            while Instant::now() < end {
                let delivery = prepared.next()?;
                let started = Instant::now();
                inbox.accept(delivery, route()).await?;
                times.record(u64::try_from(started.elapsed().as_micros())?)?;
            }
            anyhow::Ok(times)
        });
    }
    let mut times = Histogram::<u64>::new(3)?;
    while let Some(seen) = callers.join_next().await {
        times.add(seen??)?;
    }
    let millis = |quantile| times.value_at_quantile(quantile) as f64 / 1000.0;
    let rate = times.len() as f64 / length.as_secs_f64();
    Ok(Seen { rate, p50: millis(0.5), p99: millis(0.99) })
}

/// Claims and finishes until nothing is due and `is_over`. A claim is made while the one before is being finished.
async fn work(
    inbox: Arc<dyn Inbox>,
    done: &Arc<AtomicU64>,
    is_over: impl Fn() -> bool,
) -> anyhow::Result<()> {
    let slots = Arc::new(tokio::sync::Semaphore::new(4 * CLAIMED));
    loop {
        let free = slots.available_permits().clamp(1, CLAIMED);
        let claims = inbox.claim(free, LEASE, Duration::from_millis(20)).await?;
        if claims.is_empty() && is_over() && slots.available_permits() == 4 * CLAIMED {
            return Ok(());
        }
        for claim in claims {
            let (inbox, done) = (Arc::clone(&inbox), Arc::clone(done));
            let slot = Arc::clone(&slots).acquire_owned().await?;
            tokio::spawn(async move {
                if let Ok(true) = inbox.finish(claim.lease, Verdict::Done).await {
                    done.fetch_add(1, Ordering::Relaxed);
                }
                drop(slot);
            });
        }
    }
}

async fn open(database: &Database) -> anyhow::Result<Arc<dyn Inbox>> {
    inbox::open(&InboxUrl::parse(&database.url().into())?, Options::receiver(4096)).await
}

fn source() -> Arc<Source> {
    source_named("one")
}

pub(crate) fn source_named(name: &str) -> Arc<Source> {
    Arc::new(Source::new(name, Dialect::DirectScale, "/api/webhooks", Auth::default()))
}

pub(crate) fn delivery(source: &Arc<Source>) -> anyhow::Result<Verified> {
    let mut head = Request::new(()).into_parts().0;
    let mut headers = HeaderMap::new();
    headers.insert("x-directscale-message-id", uuid::Uuid::new_v4().to_string().parse()?);
    headers.insert("content-type", "application/json".parse()?);
    head.headers = headers;
    let body = format!(r#"{{"Note":"{:x<1013}"}}"#, "");
    Ok(Admitted::admit(source, head, contract::time::now())?.verify(body.into())?)
}

fn route() -> Route {
    Route { event_type: "OrderEvent".into(), version: 1, handled: true, ordering_key: None }
}
