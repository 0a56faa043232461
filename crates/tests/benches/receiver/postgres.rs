//! What an inbox on PostgreSQL takes, beside pgbench on the same server, with everything synced.

#[path = "../../tests/it/harness/postgres.rs"]
#[allow(dead_code, clippy::unwrap_used)]
mod server;

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use contract::event::Dialect;
use hdrhistogram::Histogram;
use http::{HeaderMap, Request};
use inbox::{Inbox, InboxUrl, Options, Route, State, Verdict};
use server::{Database, Server};
use source::{Admission as _, Admitted, Auth, Source, Verified};
use tokio::task::JoinSet;

/// Concurrent callers.
const CALLERS: usize = 64;

/// Deliveries that are claimed at once.
const CLAIMED: usize = 256;

const LEASE: Duration = Duration::from_secs(60);

/// A row like a delivery's, inserted alone.
const INSERT: &str = "INSERT INTO webhook_inbox.delivery (id, source_id, client_id, message_id, message_id_derived, dialect,
    environment, event_type, version, received_at, digest, format, state, headers, body)
    VALUES (nextval('webhook_inbox.delivery_id'), 1, '', gen_random_uuid()::text, false, 'directscale', 'live', 'OrderEvent',
    1, 0, '\\x0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef', 'json', 0, '[]',
    repeat('x', 1024)::bytea);";

pub(crate) fn run(rounds: usize, length: Duration) -> anyhow::Result<()> {
    let settings = "-c shared_buffers=1GB -c max_wal_size=8GB -c wal_compression=on";
    let server = Server::start(settings).context("PostgreSQL is not installed")?;
    // It lives as long as the process.
    let server: &'static Server = Box::leak(Box::new(server));
    let sync = median_sync()?;
    println!(
        "median fdatasync: {sync:.2?}; {CALLERS} callers, 1 KiB bodies, {rounds} rounds of {length:?}"
    );
    println!("{:>28} {:>12} {:>9} {:>9} {:>9}", "", "per second", "p50 ms", "p99 ms", "ratio");
    let mut ratios = Vec::new();
    for _ in 0..rounds {
        let database = server.database();
        let single = pgbench(server, &database, length)?;
        println!("{:>28} {single:>12.0}", "pgbench, a row each");
        drop(database);
        let database = server.database();
        let seen = accepted(&database, length)?;
        ratios.push(seen.rate / single);
        println!(
            "{:>28} {:>12.0} {:>9.2} {:>9.2} {:>9.2}",
            "accept",
            seen.rate,
            seen.p50,
            seen.p99,
            seen.rate / single
        );
        let (claimed, rows) = handled(&database)?;
        println!("{:>28} {claimed:>12.0}   of {rows}", "claim and finish");
        drop(database);
        let database = server.database();
        let (rate, left) = end_to_end(&database, length)?;
        println!(
            "{:>28} {rate:>12.0} {:>29.2}   backlog gone after {left:.2?}",
            "end to end",
            rate / seen.rate
        );
        let dead = database.run(
            "SELECT relname || ' ' || n_dead_tup FROM pg_stat_user_tables WHERE n_dead_tup > 100 ORDER BY n_dead_tup DESC LIMIT 3",
        );
        println!("{:>28} {}", "dead rows", dead.trim().replace('\n', ", "));
    }
    ratios.sort_by(f64::total_cmp);
    println!("accept / pgbench, median of {rounds}: {:.2}", ratios[rounds / 2]);
    Ok(())
}

fn median_sync() -> anyhow::Result<Duration> {
    let mut file = tempfile::tempfile()?;
    let mut times = Vec::new();
    for _ in 0..200 {
        file.write_all(&[0; 1024])?;
        let started = Instant::now();
        file.sync_data()?;
        times.push(started.elapsed());
    }
    times.sort();
    Ok(times[times.len() / 2])
}

/// The best rate of pgbench with one row a transaction.
fn pgbench(server: &Server, database: &Database, length: Duration) -> anyhow::Result<f64> {
    let mut script = tempfile::NamedTempFile::new()?;
    script.write_all(INSERT.as_bytes())?;
    let script = script.into_temp_path();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    database.run("INSERT INTO webhook_inbox.source (name) VALUES ('one')");
    let mut best = 0.0_f64;
    for clients in ["32", "64", "128"] {
        let mut pgbench = server.program("pgbench", database.name());
        pgbench.args(["-n", "-M", "prepared", "-j", "2", "-c", clients, "-T"]);
        pgbench.arg((length.as_secs() / 3).max(2).to_string()).arg("-f").arg(&*script);
        let output = pgbench.output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout)?;
        let rate = text
            .lines()
            .find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        best = best.max(rate.context("pgbench prints a rate")?);
    }
    Ok(best)
}

struct Seen {
    rate: f64,
    p50: f64,
    p99: f64,
}

#[tokio::main]
async fn accepted(database: &Database, length: Duration) -> anyhow::Result<Seen> {
    let inbox = open(database).await?;
    let mut callers = JoinSet::new();
    let end = Instant::now() + length;
    for _ in 0..CALLERS {
        let inbox = Arc::clone(&inbox);
        callers.spawn(async move {
            let source = source();
            let mut times = Histogram::<u64>::new(3)?;
            while Instant::now() < end {
                let started = Instant::now();
                inbox.accept(delivery(&source)?, route()).await?;
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

/// Claims and finishes what was accepted.
#[tokio::main]
async fn handled(database: &Database) -> anyhow::Result<(f64, u64)> {
    let inbox = open(database).await?;
    let done = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    work(inbox, &done, || true).await?;
    let done = done.load(Ordering::Relaxed);
    Ok((done as f64 / started.elapsed().as_secs_f64(), done))
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

#[tokio::main]
async fn end_to_end(database: &Database, length: Duration) -> anyhow::Result<(f64, Duration)> {
    let inbox = open(database).await?;
    let (sent, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let end = Instant::now() + length;
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (inbox, sent) = (Arc::clone(&inbox), Arc::clone(&sent));
        callers.spawn(async move {
            let source = source();
            while Instant::now() < end {
                inbox.accept(delivery(&source)?, route()).await?;
                sent.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    let is_over =
        || Instant::now() > end && done.load(Ordering::Relaxed) >= sent.load(Ordering::Relaxed);
    work(Arc::clone(&inbox), &done, is_over).await?;
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    let left = end.elapsed();
    let counts = inbox.count().await?;
    ensure!(counts.iter().all(|(state, count)| *count == 0 || *state == State::Dead), "{counts:?}");
    Ok((done.load(Ordering::Relaxed) as f64 / (length + left).as_secs_f64(), left))
}

async fn open(database: &Database) -> anyhow::Result<Arc<dyn Inbox>> {
    inbox::open(&InboxUrl::parse(&database.url().into())?, Options::receiver(4096)).await
}

fn source() -> Arc<Source> {
    Arc::new(Source::new("one", Dialect::DirectScale, "/api/webhooks", Auth::default()))
}

fn delivery(source: &Arc<Source>) -> anyhow::Result<Verified> {
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
