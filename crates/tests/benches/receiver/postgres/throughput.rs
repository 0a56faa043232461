//! Accepts beside pgbench, claims with verdicts, and both at once.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use inbox::State;
use tokio::task::JoinSet;

use super::{CALLERS, Prepared, Seen, accepted, open, route, work};
use crate::harness::postgres::{Database, Server};

fn row(name: &str, seen: &Seen, single: f64) {
    println!(
        "{name:>28} {:>12.0} {:>9.2} {:>9.2} {:>9.2}",
        seen.rate,
        seen.p50,
        seen.p99,
        seen.rate / single
    );
}

/// A row like a delivery's, inserted alone.
const INSERT: &str = "INSERT INTO webhook_inbox.delivery (id, source_id, client_id, message_id, message_id_derived, dialect,
    environment, event_type, version, received_at, digest, format, state, headers, body)
    VALUES (nextval('webhook_inbox.delivery_id'), 1, '', gen_random_uuid()::text, false, 'directscale', 'live', 'OrderEvent',
    1, 0, '\\x0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef', 'json', 0, '[]',
    repeat('x', 1024)::bytea);";

pub(super) fn run(server: &'static Server, rounds: usize, length: Duration) -> anyhow::Result<()> {
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
        let seen = accepted(&database, length, &["one"])?;
        ratios.push(seen.rate / single);
        row("accept", &seen, single);
        let (claimed, rows) = handled(&database)?;
        println!("{:>28} {claimed:>12.0}   of {rows}", "claim and finish");
        drop(database);
        let database = server.database();
        let two = accepted(&database, length, &["one", "three"])?;
        row("accept of two sources", &two, single);
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

#[tokio::main]
async fn end_to_end(database: &Database, length: Duration) -> anyhow::Result<(f64, Duration)> {
    let inbox = open(database).await?;
    let (sent, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let prepared = Prepared::for_length(length, &["one"])?;
    let end = Instant::now() + length;
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (inbox, sent, prepared) =
            (Arc::clone(&inbox), Arc::clone(&sent), Arc::clone(&prepared));
        callers.spawn(async move {
            while Instant::now() < end {
                inbox.accept(prepared.next()?, route()).await?;
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
