//! What a delivery costs with more and more rows in the inbox.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use http::HeaderMap;
use inbox::{Deliveries, Options, Route, Sqlite};
use source::{Admission, Admitted, Source, Verified};
use tokio::task::JoinSet;

use crate::process::{Server, median};
use crate::proof::head;

/// The size from which a store is used in place, in bytes.
const LARGE: u64 = 4 << 30;

/// How many deliveries are filled in at once.
const PRODUCERS: usize = 512;

struct Run {
    rate: f64,
    cpu: f64,
    p50: f64,
    p99: f64,
}

pub(crate) fn run(
    sizes: &[u64],
    folder: &Path,
    rounds: usize,
    length: Duration,
) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let filled: Vec<PathBuf> =
        sizes.iter().map(|rows| fill(folder, *rows)).collect::<anyhow::Result<_>>()?;
    let mut runs: Vec<Vec<Run>> = sizes.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (store, runs) in filled.iter().zip(&mut runs) {
            runs.push(once(store, length)?);
        }
    }
    println!("\n64 connections, handlers running: median of {rounds} rounds of {length:?}\n");
    println!(
        "{:>12} {:>9} {:>8} {:>8} {:>8} {:>11} {:>9}",
        "rows", "req/s", "p50 ms", "p99 ms", "CPU µs", "CPU ratio", "req ratio"
    );
    let of = |row: usize, value: fn(&Run) -> f64| median(runs[row].iter().map(value).collect());
    for (row, rows) in sizes.iter().enumerate() {
        println!(
            "{rows:>12} {:>9.0} {:>8.2} {:>8.2} {:>8.1} {:>11.2} {:>9.2}",
            of(row, |run| run.rate),
            of(row, |run| run.p50),
            of(row, |run| run.p99),
            of(row, |run| run.cpu),
            of(row, |run| run.cpu) / of(0, |run| run.cpu),
            of(row, |run| run.rate) / of(0, |run| run.rate),
        );
    }
    Ok(())
}

/// A copy is loaded, so that every round meets the same number of rows. Millions are not copied but linked: what a round
/// adds to them is a few in a hundred.
fn once(store: &Path, length: Duration) -> anyhow::Result<Run> {
    let folder = tempfile::tempdir_in(store.parent().unwrap_or(store))?;
    let inbox = folder.path().join("inbox.db");
    if fs::metadata(store)?.len() < LARGE {
        fs::copy(store, &inbox)?;
    } else {
        fs::hard_link(store, &inbox)?;
    }
    // What the copy left to write is not the receiver's cost.
    Command::new("sync").status()?;
    let server = Server::receiver(folder.path(), false)?;
    server.load(Duration::from_secs(1), None)?;
    let before = server.cpu()?;
    let seen = server.load(length, None)?;
    let cpu = server.cpu()? - before;
    server.stop()?;
    Ok(Run {
        rate: seen.requests as f64 / seen.seconds,
        cpu: cpu.as_secs_f64() * 1e6 / seen.requests as f64,
        p50: seen.p50 as f64 / 1e3,
        p99: seen.p99 as f64 / 1e3,
    })
}

/// An inbox with so many deliveries, kept for the next run. No handler took them, so that nothing is left to do.
fn fill(folder: &Path, rows: u64) -> anyhow::Result<PathBuf> {
    let store = folder.join(format!("{rows}.db"));
    if store.exists() {
        return Ok(store);
    }
    let started = Instant::now();
    let unfinished = folder.join("unfinished.db");
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{suffix}", unfinished.display()));
    }
    accept(&unfinished, rows)?;
    fs::rename(&unfinished, &store)?;
    eprintln!("\rfilled {rows} rows in {:.0?}", started.elapsed());
    Ok(store)
}

#[tokio::main]
async fn accept(store: &Path, rows: u64) -> anyhow::Result<()> {
    let inbox = Arc::new(Sqlite::open(store, Options::receiver(PRODUCERS)).await?);
    let left = Arc::new(AtomicI64::new(i64::try_from(rows)?));
    let open = "sources.directscale = { dialect = \"directscale\", auth = \"none\" }";
    let [source] = &settings::parse(open, [], "curve")?.sources()?[..] else { bail!("one source") };
    let mut producers = JoinSet::new();
    for _ in 0..PRODUCERS {
        let (inbox, left, source) = (Arc::clone(&inbox), Arc::clone(&left), Arc::clone(source));
        producers.spawn(async move {
            while left.fetch_sub(1, Ordering::Relaxed) > 0 {
                inbox.accept(delivery(&source)?, route()).await?;
            }
            anyhow::Ok(())
        });
    }
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            ended = producers.join_next() => match ended {
                Some(producer) => producer??,
                None => return Ok(()),
            },
            _ = tick.tick() => {
                eprint!("\rfilling {rows}: {} left   ", left.load(Ordering::Relaxed).max(0));
            }
        }
    }
}

fn delivery(source: &Arc<Source>) -> anyhow::Result<Verified> {
    let message_id = uuid::Uuid::new_v4().to_string();
    let headers = [
        ("host", "127.0.0.1:8080"),
        ("content-type", "application/json; charset=UTF-8"),
        ("x-directscale-client-id", "acme"),
        ("x-directscale-message-id", &message_id),
    ];
    let headers = headers.map(|(name, value)| Ok((name.parse()?, value.parse()?)));
    let headers: HeaderMap = headers.into_iter().collect::<anyhow::Result<_>>()?;
    let body = format!(r#"{{"Note":"{:x<1013}"}}"#, "");
    Ok(Admitted::admit(source, head(headers), contract::time::now())?.verify(body.into())?)
}

fn route() -> Route {
    Route { event_type: "Stored".into(), version: 1, handled: false, ordering_key: None }
}
