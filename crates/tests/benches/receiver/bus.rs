//! What the event bus delivers, signed and logged, and how fast it takes events.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rusqlite::Connection;
use serde_json::json;

use crate::process::{Server, median};

/// How many events each round delivers to one target, and how many to nine.
const EVENTS: usize = 60_000;
const EVENTS_FOR_NINE: usize = 5_000;

/// How many events one request publishes.
const BATCH: usize = 250;

/// The size of a body, in bytes.
const BODY: usize = 1024;

/// The longest that deliveries are waited for.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn run(rounds: usize, length: Duration) -> anyhow::Result<()> {
    println!(
        "1 KiB events, signed, to a target on this machine: median of {rounds} rounds,\nratios of each round's neighbours\n"
    );
    let mut rates = [const { Vec::new() }; 5];
    for round in 1..=rounds {
        eprint!("\r\x1b[Kround {round} of {rounds}");
        let nine: Vec<usize> = vec![16; 9];
        rates[0].push(delivered(&[64], EVENTS, false)?);
        rates[1].push(delivered(&nine, EVENTS_FOR_NINE, false)?);
        rates[2].push(delivered(&nine, EVENTS_FOR_NINE, true)?);
        rates[3].push(accepted(length)?);
        rates[4].push(published(length)?);
    }
    eprint!("\r\x1b[K");
    let paired = |first: usize, second: usize| {
        median(rates[first].iter().zip(&rates[second]).map(|(one, other)| other / one).collect())
    };
    let (dead, publishing) = (paired(1, 2), paired(3, 4));
    let [one, nine, beside, receiver, bus] = rates.map(median);
    println!("deliveries/s, one target, 64 requests at once     {one:>9.0}");
    println!("deliveries/s, nine targets                        {nine:>9.0}");
    println!("the same beside a target that never answers       {beside:>9.0}  {dead:.2}");
    println!("the receiver accepts deliveries/s, 64 connections {receiver:>9.0}");
    println!("the bus accepts events/s, 64 connections          {bus:>9.0}  {publishing:.2}");
    Ok(())
}

/// Deliveries per second, from the first publication until the last is written down. Targets have so many requests at once.
fn delivered(targets: &[usize], events: usize, with_dead: bool) -> anyhow::Result<f64> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let sink = Server::role(&["sink"])?;
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let mut subscriptions = String::new();
    for (place, concurrency) in targets.iter().enumerate() {
        subscriptions += &subscription(&format!("well-{place}"), sink.address, *concurrency);
    }
    if with_dead {
        subscriptions += &subscription("dead", silent.local_addr()?, 16);
    }
    let bus = Server::bus(folder.path(), &subscriptions)?;
    let started = Instant::now();
    publish(&bus, events)?;
    let expected = targets.len() * events;
    wait(&folder.path().join("outbox.db"), expected)?;
    Ok(expected as f64 / started.elapsed().as_secs_f64())
}

fn subscription(name: &str, to: std::net::SocketAddr, concurrency: usize) -> String {
    format!(
        "[bus.subscriptions.{name}]\nevents = \"*\"\ntarget = \"http://{to}/\"\ndialect = \"evolutionx\"\n\
         signing_key = \"bench-signing-key-0123456789\"\nconcurrency = {concurrency}\ntimeout = \"60s\"\n"
    )
}

#[tokio::main(flavor = "current_thread")]
async fn publish(bus: &Server, events: usize) -> anyhow::Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build()?;
    let text = "x".repeat(BODY - 100);
    for first in (0..events).step_by(BATCH) {
        let event = |n| json!({"type": "bench.made", "data": {"n": n, "text": text}});
        let batch: Vec<_> = (first..events.min(first + BATCH)).map(event).collect();
        let request = client.post(format!("http://{}/api/events", bus.address));
        let request = request.header("content-type", "application/json");
        let response = request.body(serde_json::to_vec(&batch)?).send().await?;
        ensure!(response.status() == 202, "{}", response.text().await?);
    }
    Ok(())
}

/// Waits until so many deliveries are written down as delivered.
fn wait(outbox: &Path, expected: usize) -> anyhow::Result<()> {
    let db = Connection::open(outbox)?;
    let mut last = db.prepare("SELECT coalesce(max(id), 0) FROM attempt")?;
    let end = Instant::now() + PATIENCE;
    while last.query_row([], |row| row.get::<_, i64>(0))? < i64::try_from(expected)? {
        ensure!(Instant::now() < end, "deliveries are still waiting");
        std::thread::sleep(Duration::from_millis(5));
    }
    let failed = "SELECT count(*) FROM attempt WHERE outcome <> 0";
    let failed: i64 = db.query_row(failed, [], |row| row.get(0)).context("the log")?;
    ensure!(failed == 0, "{failed} attempts failed");
    Ok(())
}

fn accepted(length: Duration) -> anyhow::Result<f64> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let seen = Server::receiver(folder.path(), true)?.load(length, None)?;
    Ok(seen.requests as f64 / seen.seconds)
}

fn published(length: Duration) -> anyhow::Result<f64> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let seen = Server::bus(folder.path(), "")?.publish(length)?;
    Ok(seen.requests as f64 / seen.seconds)
}
