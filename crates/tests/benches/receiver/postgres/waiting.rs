//! What happens while nothing is to be done, and how soon it ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tempfile::tempdir;

use super::{CLAIMED, LEASE, delivery, open, route, source};
use crate::harness::postgres::Server;
use crate::process;

/// Deliveries that are sent one by one.
const SENT: usize = 500;

/// The same without notifications, which takes more than a second each.
const SENT_UNNOTIFIED: usize = 60;

/// Prints the queries of a receiver and worker that has nothing to do.
pub(super) fn idle(server: &'static Server, length: Duration) -> anyhow::Result<()> {
    let database = server.database();
    let folder = tempdir()?;
    let _receiver = process::Server::on_database(folder.path(), &database.url())?;
    let queries = || -> anyhow::Result<u64> {
        let count = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()";
        Ok(database.run(count).trim().parse()?)
    };
    // Its transactions would be counted, too.
    database.run("ALTER SYSTEM SET autovacuum = off");
    database.run("SELECT pg_reload_conf()");
    // What is done at the start is over, and counted.
    std::thread::sleep(Duration::from_secs(5));
    let (before, started) = (queries()?, Instant::now());
    std::thread::sleep(length);
    let (after, took) = (queries()?, started.elapsed());
    println!("idle: {:.2} queries a second", (after - before) as f64 / took.as_secs_f64());
    Ok(())
}

/// Prints the times from an accept in one process to the claim in another, which waits for it.
#[tokio::main]
pub(super) async fn wake(server: &'static Server) -> anyhow::Result<()> {
    let database = server.database();
    let (receiver, worker) = (open(&database).await?, open(&database).await?);
    let (claimed, mut claims) = tokio::sync::mpsc::channel(1);
    let working = tokio::spawn(async move {
        loop {
            for claim in worker.claim(8, LEASE, Duration::from_secs(60)).await? {
                let at = Instant::now();
                worker.finish(claim.lease, inbox::Verdict::Done).await?;
                if claimed.send(at).await.is_err() {
                    return anyhow::Ok(());
                }
            }
        }
    });
    let source = source();
    for (is_notified, count) in [(true, SENT), (false, SENT_UNNOTIFIED)] {
        let mut times = Histogram::<u64>::new(3)?;
        for _ in 0..count {
            if !is_notified {
                let listening = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'LISTEN webhook_inbox'";
                tokio::task::block_in_place(|| database.run(listening));
            }
            let pause = Duration::from_millis(fastrand::u64(50..300));
            tokio::time::sleep(pause).await;
            receiver.accept(delivery(&source)?, route()).await?;
            let sent = Instant::now();
            let at = claims.recv().await.expect("the worker goes on");
            times.record(u64::try_from(at.saturating_duration_since(sent).as_micros())?)?;
            if !is_notified {
                // The worker listens again.
                tokio::time::sleep(Duration::from_millis(1300)).await;
            }
        }
        let millis = |quantile| times.value_at_quantile(quantile) as f64 / 1000.0;
        let name = if is_notified { "notified" } else { "by polling alone" };
        println!("wake, {name}: p50 {:.1} ms, p99 {:.1} ms of {count}", millis(0.5), millis(0.99));
    }
    working.abort();
    Ok(())
}

/// Deliveries of one source that wait for their first attempt, and those that wait for a later one.
const FIRST: u64 = 1_000_000;
const LATE: u64 = 200_000;

/// Prints the times from an accept to the claim beside another source with a million waiting, under a worker that is
/// always busy.
#[tokio::main]
pub(super) async fn fair(server: &'static Server) -> anyhow::Result<()> {
    let database = server.database();
    database.run(&format!(
        "INSERT INTO webhook_inbox.source (name) VALUES ('many');
         INSERT INTO webhook_inbox.delivery (id, source_id, client_id, message_id, message_id_derived, dialect, environment,
            event_type, version, received_at, digest, format, state, headers, body)
         SELECT n, 1, '', n::text, false, 'directscale', 'live', 'OrderEvent', 1, 0, '', 'json', 0, '[]', repeat('x', 1000)::bytea
         FROM generate_series(1::bigint, {FIRST} + {LATE}) n;
         INSERT INTO webhook_inbox.waiting (id, source_id, state, due_at, attempts, run_attempts, replays, lost)
         SELECT n, 1, 0, n, 1, 1, 0, 0 FROM generate_series(1::bigint, {LATE}) n;
         UPDATE webhook_inbox.source SET position = {LATE};
         SELECT setval('webhook_inbox.delivery_id', {FIRST} + {LATE});"
    ));
    database.run("VACUUM ANALYZE");
    let (receiver, worker) = (open(&database).await?, open(&database).await?);
    let (claimed, mut claims) = tokio::sync::mpsc::channel(64);
    let working = tokio::spawn(async move {
        let slots = Arc::new(tokio::sync::Semaphore::new(CLAIMED));
        loop {
            let free = slots.available_permits().max(1);
            for claim in worker.claim(free, LEASE, Duration::from_millis(20)).await? {
                if claim.delivery.meta.source == "one" {
                    claimed.send(Instant::now()).await?;
                }
                let slot = Arc::clone(&slots).acquire_owned().await?;
                let worker = Arc::clone(&worker);
                tokio::spawn(async move {
                    let _ = worker.finish(claim.lease, inbox::Verdict::Done).await;
                    drop(slot);
                });
            }
        }
        #[allow(unreachable_code)]
        anyhow::Ok(())
    });
    let source = source();
    let mut times = Histogram::<u64>::new(3)?;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(20..60))).await;
        receiver.accept(delivery(&source)?, route()).await?;
        let accepted = Instant::now();
        let at = claims.recv().await.expect("the worker goes on");
        times.record(u64::try_from(at.saturating_duration_since(accepted).as_micros())?)?;
    }
    working.abort();
    let left = receiver.count().await?;
    let millis = |quantile| times.value_at_quantile(quantile) as f64 / 1000.0;
    println!(
        "first attempts beside {FIRST} of another source and {LATE} late ones: p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms; left {left:?}",
        millis(0.5),
        millis(0.99),
        times.max() as f64 / 1000.0
    );
    Ok(())
}
