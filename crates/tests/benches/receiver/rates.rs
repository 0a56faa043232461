//! The servers, in turn, round after round.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;
use rusqlite::Connection;

use crate::load::Seen;
use crate::process::{Server, median};

const ROWS: [(&str, Kind); 5] = [
    ("a  axum echo, nothing kept", Kind::Echo),
    ("b  append to a file, group fdatasync", Kind::Append),
    ("b+ the same, behind the receiver's checks", Kind::Checked),
    ("c  receiver, handlers running", Kind::Receiver { paused: false }),
    ("d  receiver, dispatch paused", Kind::Receiver { paused: true }),
];

/// The requests per second of the open loop.
const FIXED: f64 = 2000.0;

#[derive(Clone, Copy)]
enum Kind {
    Echo,
    Append,
    Checked,
    Receiver { paused: bool },
}

struct Run {
    seen: Seen,
    cpu: Duration,
    memory: f64,
    /// How long after the load the last delivery was handled.
    behind: Option<Duration>,
}

pub(crate) fn run(rounds: usize, length: Duration) -> anyhow::Result<()> {
    println!(
        "64 keep-alive connections, 1 KiB JSON, closed loop: median of {rounds} rounds of {length:?}\n"
    );
    let closed = measure(rounds, length, None)?;
    print(&closed);
    ratios(&closed);
    println!("\n{FIXED} requests per second, open loop: median of {rounds} rounds of {length:?}\n");
    print(&measure(rounds, length, Some(FIXED))?);
    println!("\nIdle memory of the receiver: {:.1} MiB", idle_memory()?);
    Ok(())
}

fn measure(rounds: usize, length: Duration, rate: Option<f64>) -> anyhow::Result<Vec<Vec<Run>>> {
    let mut runs: Vec<Vec<Run>> = ROWS.iter().map(|_| Vec::new()).collect();
    for round in 1..=rounds {
        for ((name, kind), runs) in ROWS.iter().zip(&mut runs) {
            eprint!("\r\x1b[Kround {round} of {rounds}: {name}");
            runs.push(once(*kind, length, rate)?);
        }
    }
    eprint!("\r\x1b[K");
    Ok(runs)
}

/// The latencies at saturation over a time in which the log is emptied many times.
pub(crate) fn tail(length: Duration) -> anyhow::Result<()> {
    println!("64 keep-alive connections, 1 KiB JSON, closed loop, one round of {length:?} each\n");
    println!(
        "{:<42} {:>9} {:>8} {:>8} {:>9} {:>8} {:>10}",
        "", "req/s", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "p99 / p50"
    );
    for (name, kind) in &ROWS[1..] {
        let run = once(*kind, length, None)?;
        let Seen { p50, p99, p999, max, .. } = run.seen;
        println!(
            "{name:<42} {:>9.0} {:>8.2} {:>8.2} {:>9.2} {:>8.1} {:>10.2}",
            rate(&run),
            p50 as f64 / 1e3,
            p99 as f64 / 1e3,
            p999 as f64 / 1e3,
            max as f64 / 1e3,
            p99 as f64 / p50 as f64,
        );
    }
    Ok(())
}

/// A fresh process and a fresh store for every round, and a second of load before the clock starts.
fn once(kind: Kind, length: Duration, rate: Option<f64>) -> anyhow::Result<Run> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let file = folder.path().join("appended");
    let server = match kind {
        Kind::Echo => Server::role(&["echo"])?,
        Kind::Append => Server::role(&["append", &file.to_string_lossy()])?,
        Kind::Checked => Server::checked(folder.path())?,
        Kind::Receiver { paused } => Server::receiver(folder.path(), paused)?,
    };
    server.load(Duration::from_secs(1), rate)?;
    let before = server.cpu()?;
    let seen = server.load(length, rate)?;
    let behind = match kind {
        Kind::Receiver { paused: false } => Some(handled(&folder.path().join("inbox.db"))?),
        _ => None,
    };
    Ok(Run { seen, cpu: server.cpu()? - before, memory: server.memory()?, behind })
}

/// How long it takes from now until no delivery waits.
fn handled(inbox: &Path) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let db = Connection::open(inbox)?;
    let mut waiting =
        db.prepare("SELECT count(*) FROM work WHERE state < 2 AND due_at IS NOT NULL")?;
    while waiting.query_row([], |row| row.get::<_, i64>(0))? > 0 {
        if started.elapsed() > Duration::from_secs(60) {
            bail!("deliveries are still waiting a minute after the load");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(started.elapsed())
}

fn print(rows: &[Vec<Run>]) {
    println!(
        "{:<42} {:>9} {:>8} {:>8} {:>9} {:>8} {:>8} {:>8}",
        "", "req/s", "p50 ms", "p99 ms", "p99.9 ms", "CPU µs", "RSS MiB", "behind s"
    );
    for ((name, _), runs) in ROWS.iter().zip(rows) {
        let of = |value: fn(&Run) -> f64| median(runs.iter().map(value).collect());
        let behind = runs.iter().filter_map(|run| run.behind).max();
        println!(
            "{name:<42} {:>9.0} {:>8.2} {:>8.2} {:>9.2} {:>8.1} {:>8.1} {:>8}",
            of(rate),
            of(|run| run.seen.p50 as f64 / 1e3),
            of(|run| run.seen.p99 as f64 / 1e3),
            of(|run| run.seen.p999 as f64 / 1e3),
            of(|run| run.cpu.as_secs_f64() * 1e6 / run.seen.requests as f64),
            of(|run| run.memory),
            behind.map_or_else(String::new, |behind| format!("{:.2}", behind.as_secs_f64())),
        );
    }
}

fn ratios(rows: &[Vec<Run>]) {
    let of = |row: usize, value: fn(&Run) -> f64| median(rows[row].iter().map(value).collect());
    let p99 = |run: &Run| run.seen.p99 as f64;
    for (name, baseline) in [("b ", 1), ("b+", 2)] {
        println!("\nd / {name} in req/s  {:.2}", of(4, rate) / of(baseline, rate));
        println!("d / {name} in p99    {:.2}", of(4, p99) / of(baseline, p99));
        println!("c / {name} in req/s  {:.2}", of(3, rate) / of(baseline, rate));
    }
}

fn rate(run: &Run) -> f64 {
    run.seen.requests as f64 / run.seen.seconds
}

fn idle_memory() -> anyhow::Result<f64> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let server = Server::receiver(folder.path(), false)?;
    std::thread::sleep(Duration::from_secs(2));
    server.memory()
}
