//! Accepts and claims at a fixed rate beside a snapshot that is held open, as a long query or a dump holds one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use hdrhistogram::Histogram;
use inbox::Inbox;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::{delivery, open, route, source, work};
use crate::harness::postgres::{Database, Server};

/// Deliveries a second.
const RATE: u64 = 2_000;

/// Time between two rounds of upkeep.
const UPKEEP: Duration = Duration::from_secs(20);

pub(super) fn run(server: &'static Server, length: Duration) -> anyhow::Result<()> {
    println!("{RATE} deliveries of 1 KiB a second, no-op handlers, {length:?} each");
    println!(
        "{:>12} {:>12} {:>9} {:>9} {:>14}   dead rows at the end",
        "", "handled/s", "p50 ms", "p99 ms", "most dead rows"
    );
    let clean = row(server, length, false)?;
    let held = row(server, length, true)?;
    println!("held / clean: rate {:.3}, p99 {:.2}", held.rate / clean.rate, held.p99 / clean.p99);
    Ok(())
}

struct Row {
    rate: f64,
    p99: f64,
}

fn row(server: &'static Server, length: Duration, is_held: bool) -> anyhow::Result<Row> {
    let database = server.database();
    let snapshot = is_held.then(|| database.hold_snapshot());
    let (times, rate, most) = load(&database, length)?;
    let dead = database.run(&format!("{DEAD} LIMIT 4")).trim().replace('\n', ", ");
    drop(snapshot);
    let millis = |quantile| times.value_at_quantile(quantile) as f64 / 1000.0;
    let name = if is_held { "held" } else { "clean" };
    println!(
        "{name:>12} {rate:>12.0} {:>9.2} {:>9.2} {most:>14}   {dead}",
        millis(0.5),
        millis(0.99)
    );
    Ok(Row { rate, p99: millis(0.99) })
}

const DEAD: &str =
    "SELECT relname || ' ' || n_dead_tup FROM pg_stat_user_tables WHERE n_dead_tup > 0
    ORDER BY n_dead_tup DESC";

/// Latencies of the accepts in microseconds, the rate of the verdicts, and the most dead rows of a table at any time.
#[tokio::main]
async fn load(database: &Database, length: Duration) -> anyhow::Result<(Histogram<u64>, f64, u64)> {
    let inbox = open(database).await?;
    let (is_over, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let working = tokio::spawn({
        let (inbox, done, is_over) = (Arc::clone(&inbox), Arc::clone(&done), Arc::clone(&is_over));
        async move { work(inbox, &done, move || is_over.load(Ordering::Relaxed)).await }
    });
    let keeping_up = tokio::spawn(keep_up(Arc::clone(&inbox)));
    let source = source();
    let (started, mut most) = (Instant::now(), 0);
    let mut accepts = JoinSet::new();
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut times = Histogram::<u64>::new(3)?;
    let mut looked = Instant::now();
    while started.elapsed() < length {
        tick.tick().await;
        for _ in 0..RATE / 200 {
            let (inbox, delivery) = (Arc::clone(&inbox), delivery(&source)?);
            accepts.spawn(async move {
                let started = Instant::now();
                inbox.accept(delivery, route()).await.map(|_| started.elapsed())
            });
        }
        while let Some(accepted) = accepts.try_join_next() {
            times.record(u64::try_from(accepted??.as_micros())?)?;
        }
        if looked.elapsed() > Duration::from_secs(5) {
            looked = Instant::now();
            let dead = tokio::task::block_in_place(|| {
                database.run("SELECT max(n_dead_tup) FROM pg_stat_user_tables")
            });
            most = most.max(dead.trim().parse()?);
        }
    }
    while let Some(accepted) = accepts.join_next().await {
        times.record(u64::try_from(accepted??.as_micros())?)?;
    }
    let rate = done.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64();
    is_over.store(true, Ordering::Relaxed);
    working.await??;
    keeping_up.abort();
    ensure!(times.len() == done.load(Ordering::Relaxed), "everything is handled");
    Ok((times, rate, most))
}

/// The upkeep that a receiver does.
async fn keep_up(inbox: Arc<dyn Inbox>) {
    let day = Duration::from_secs(24 * 60 * 60);
    loop {
        if let Err(error) = inbox.tidy(day, 7 * day).await {
            eprintln!("upkeep: {error}");
        }
        tokio::time::sleep(UPKEEP).await;
    }
}
