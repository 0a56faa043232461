//! What a delivery costs with more and more rows in the inbox.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use webhook_receiver::inbox::{Options, Sqlite};

use crate::process::{Server, median};

/// Rows of one filling transaction.
const STEP: u64 = 50_000;

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

/// A copy is loaded, so that every round meets the same number of rows.
fn once(store: &Path, length: Duration) -> anyhow::Result<Run> {
    let folder = tempfile::tempdir_in(store.parent().unwrap_or(store))?;
    fs::copy(store, folder.path().join("inbox.db"))?;
    let server = Server::receiver(folder.path(), false)?;
    server.load(Duration::from_secs(1), None)?;
    let before = server.cpu()?;
    let seen = server.load(length, None)?;
    let cpu = server.cpu()? - before;
    Ok(Run {
        rate: seen.requests as f64 / seen.seconds,
        cpu: cpu.as_secs_f64() * 1e6 / seen.requests as f64,
        p50: seen.p50 as f64 / 1e3,
        p99: seen.p99 as f64 / 1e3,
    })
}

/// An inbox with so many handled deliveries, as the receiver itself would have left them. Kept for the next run.
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
    drop(Sqlite::open(&unfinished, Options { queue: 1, exclusive: false })?);
    let mut db = Connection::open(&unfinished)?;
    db.execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -524288;")?;
    let body = vec![b'x'; 1024];
    for first in (1..=rows).step_by(STEP as usize) {
        let tx = db.transaction()?;
        for id in first..=rows.min(first + STEP - 1) {
            insert(&tx, i64::try_from(id)?, &body)?;
        }
        tx.commit()?;
        eprint!("\rfilling {rows}: {} %", first * 100 / rows);
    }
    db.close().map_err(|(_, error)| error)?;
    fs::rename(&unfinished, &store)?;
    eprintln!("\rfilled {rows} rows in {:.0?}", started.elapsed());
    Ok(store)
}

fn insert(db: &Connection, id: i64, body: &[u8]) -> rusqlite::Result<()> {
    let message_id = uuid::Uuid::new_v4().to_string();
    let headers = r#"[["host","127.0.0.1:8080"],["content-type","application/json; charset=UTF-8"],["authorization","[redacted]"],["x-directscale-client-id","acme"]]"#;
    db.prepare_cached(
        "INSERT INTO delivery VALUES (?1, 'directscale', 'acme', ?2, 0, 'directscale', 'live', 'CreateOrderEvent', 1, NULL, 0, 0, ?3, ?4, ?5)",
    )?
    .execute(params![id, message_id, [0_u8; 32].as_slice(), headers, body])?;
    db.prepare_cached("INSERT INTO identity VALUES (?1, 'directscale', 'acme', ?2, ?3)")?
        .execute(params![id >> 17, message_id, id])?;
    // Ended in the future, so that retention leaves them alone.
    db.prepare_cached(
        "INSERT INTO work (id, state, attempts, run_attempts, started_at, ended_at) VALUES (?1, 2, 1, 1, 0, 9000000000000)",
    )?
    .execute([id])?;
    db.prepare_cached("INSERT INTO attempt VALUES (?1, 1, 0, 0, 0, 'done', NULL)")?
        .execute([id])?;
    Ok(())
}
