//! What the console's pages take on a large inbox while deliveries arrive, and what open live views cost.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use hdrhistogram::Histogram;
use inbox::{Inbox, InboxUrl, Options, Route, Verdict};
use tokio::task::JoinSet;

use crate::harness::postgres::Database;
use crate::postgres::{cluster, delivery, source_named};
use crate::process::{Server, TOKEN, load, median};

/// The flags of the benchmark.
#[derive(clap::Args)]
pub(crate) struct Console {
    /// Deliveries that are in the inbox before
    #[arg(long, default_value_t = 1_000_000)]
    deliveries: u64,
    /// On PostgreSQL instead of in a file
    #[arg(long)]
    postgres: bool,
    /// Requests for each page
    #[arg(long, default_value_t = 100)]
    requests: usize,
    /// Where the filled file is kept for the next run; about 1.6 KB a delivery
    #[arg(long, default_value = concat!(env!("CARGO_TARGET_TMPDIR"), "/bench-console"))]
    folder: PathBuf,
}

/// Deliveries a second that arrive meanwhile.
const RATE: f64 = 2_000.0;

/// Deliveries that are filled in at once.
const PRODUCERS: usize = 512;

/// Verdicts that are written at once, at most.
const FINISHING: usize = 2_048;

/// One of so many is dead, and as many have no handler.
const RARE: u64 = 200;

/// Requests for each page before those that are measured.
const WARM: usize = 5;

/// The pages, with the latency that is wanted at 95 %, in milliseconds.
const PAGES: [(&str, f64); 18] = [
    ("", 50.0),
    ("/deliveries", 50.0),
    ("/deliveries?state=dead", 50.0),
    ("/deliveries?state=unrouted&source=bench", 100.0),
    ("/deliveries?state=ready", 100.0),
    ("/deliveries?last=1h", 100.0),
    ("/deliveries?event=OrderEvent", 100.0),
    ("/deliveries?event=NoSuchEvent", 50.0),
    ("/deliveries?id=0", 50.0),
    ("/deliveries?error=handler", 50.0),
    ("/deliveries?text=nowhere", 50.0),
    ("/deliveries?before=500000", 50.0),
    ("/deliveries?conflicts=on", 100.0),
    ("/deliveries/1000", 50.0),
    ("/refused", 50.0),
    ("/sources", 50.0),
    ("/dispatch", 50.0),
    ("/retention", 50.0),
];

impl Console {
    pub(crate) fn run(self, rounds: usize, length: Duration) -> anyhow::Result<()> {
        let place = Place::filled(&self)?;
        self.pages(&place)?;
        Console::streams(&place, rounds, length)
    }

    fn pages(&self, place: &Place) -> anyhow::Result<()> {
        let server = place.serve()?;
        let all = PAGES.len() * self.requests;
        println!(
            "{} deliveries, {RATE} a second arrive, handlers running: milliseconds of {} requests",
            self.deliveries, self.requests
        );
        println!("{:>42} {:>8} {:>8} {:>8} {:>8}  bytes", "page", "p50", "p95", "max", "wanted");
        let server_of = server.address;
        let (is_over, arriving) = arrivals(&server)?;
        let measured = measure(server_of, self.requests);
        is_over.store(1, Ordering::Relaxed);
        let arrived = arriving.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
        let late: Vec<&str> = measured?;
        println!(
            "{all} pages beside {arrived} deliveries; slower than wanted: {}",
            if late.is_empty() { "none".to_owned() } else { late.join(", ") }
        );
        latency(server_of)?;
        server.stop()
    }

    /// Accepts with and without ten live views.
    fn streams(place: &Place, rounds: usize, length: Duration) -> anyhow::Result<()> {
        let server = place.serve()?;
        let rate = |views: usize| -> anyhow::Result<f64> {
            let open = Views::open(server.address, views)?;
            let seen = server.load(length, None)?;
            drop(open);
            Ok(seen.requests as f64 / seen.seconds)
        };
        rate(0)?;
        let mut ratios = Vec::new();
        for _ in 0..rounds {
            let (alone, watched) = (rate(0)?, rate(10)?);
            ratios.push(watched / alone);
            println!("accepts a second: {alone:.0} alone, {watched:.0} beside ten live views");
        }
        println!("ratio, median of {rounds}: {:.3}", median(ratios));
        server.stop()
    }
}

/// The store that the receiver runs on.
struct Place {
    folder: tempfile::TempDir,
    database: Option<Database>,
}

impl Place {
    fn filled(args: &Console) -> anyhow::Result<Place> {
        fs::create_dir_all(&args.folder)?;
        let folder = tempfile::tempdir_in(&args.folder)?;
        if args.postgres {
            let database = cluster().context("PostgreSQL is not installed")?.database();
            fill(&InboxUrl::parse(&database.url().into())?, args.deliveries)?;
            database.run("VACUUM ANALYZE");
            return Ok(Place { folder, database: Some(database) });
        }
        let kept = args.folder.join(format!("{}.db", args.deliveries));
        if !kept.exists() {
            let unfinished = folder.path().join("unfinished.db");
            fill(
                &InboxUrl::parse(&format!("sqlite:{}", unfinished.display()).into())?,
                args.deliveries,
            )?;
            fs::rename(&unfinished, &kept)?;
        }
        fs::copy(&kept, folder.path().join("inbox.db"))?;
        Ok(Place { folder, database: None })
    }

    fn serve(&self) -> anyhow::Result<Server> {
        match &self.database {
            Some(database) => Server::on_database(self.folder.path(), &database.url()),
            None => Server::receiver(self.folder.path(), false),
        }
    }
}

/// Accepts and handles deliveries: most are done, some dead or without a handler.
#[tokio::main]
async fn fill(url: &InboxUrl, rows: u64) -> anyhow::Result<()> {
    let started = Instant::now();
    let inbox = inbox::open(url, Options::receiver(PRODUCERS + FINISHING)).await?;
    let left = Arc::new(AtomicI64::new(i64::try_from(rows)?));
    let mut producers = JoinSet::new();
    let source = source_named("bench");
    for _ in 0..PRODUCERS {
        let (inbox, left, source) = (Arc::clone(&inbox), Arc::clone(&left), Arc::clone(&source));
        producers.spawn(async move {
            loop {
                let number = left.fetch_sub(1, Ordering::Relaxed);
                if number <= 0 {
                    return anyhow::Ok(());
                }
                let handled = number.unsigned_abs() % RARE != 1;
                let route = Route {
                    event_type: "OrderEvent".into(),
                    version: 1,
                    handled,
                    ordering_key: None,
                };
                inbox.accept(delivery(&source)?, route).await?;
            }
        });
    }
    let working = tokio::spawn(work(Arc::clone(&inbox), Arc::clone(&left)));
    while let Some(producer) = producers.join_next().await {
        producer??;
    }
    working.await??;
    eprintln!("filled {rows} deliveries in {:.0?}", started.elapsed());
    Ok(())
}

async fn work(inbox: Arc<dyn Inbox>, left: Arc<AtomicI64>) -> anyhow::Result<()> {
    let mut finishing = JoinSet::new();
    loop {
        let claims = inbox.claim(256, Duration::from_secs(60), Duration::from_millis(50)).await?;
        if claims.is_empty() && left.load(Ordering::Relaxed) <= 0 && finishing.is_empty() {
            return Ok(());
        }
        for claim in claims {
            let inbox = Arc::clone(&inbox);
            let verdict = match claim.lease.id.unsigned_abs() % RARE {
                0 => Verdict::Dead { reason: "the handler does not take it".into() },
                _ => Verdict::Done,
            };
            finishing.spawn(async move { inbox.finish(claim.lease, verdict).await });
        }
        while finishing.len() > FINISHING - 256 {
            finishing.join_next().await;
        }
        while finishing.try_join_next().is_some() {}
    }
}

type Arriving = std::thread::JoinHandle<anyhow::Result<u64>>;

/// Deliveries at the fixed rate until the flag is set; the thread returns their number.
fn arrivals(server: &Server) -> anyhow::Result<(Arc<AtomicU64>, Arriving)> {
    let is_over = Arc::new(AtomicU64::new(0));
    let address = server.address;
    let flag = Arc::clone(&is_over);
    let arriving = std::thread::spawn(move || {
        let mut arrived = 0;
        while flag.load(Ordering::Relaxed) == 0 {
            let seen = load(address, Duration::from_secs(2), RATE)?;
            ensure!(seen.requests > 0, "nothing arrived");
            arrived += seen.requests;
        }
        Ok(arrived)
    });
    Ok((is_over, arriving))
}

/// Prints the latencies of the pages; returns those that are slower than wanted.
#[tokio::main]
async fn measure(address: SocketAddr, requests: usize) -> anyhow::Result<Vec<&'static str>> {
    let client = client()?;
    let mut late = Vec::new();
    for (page, wanted) in PAGES {
        let url = format!("http://{address}/console{page}");
        let mut times = Histogram::<u64>::new(3)?;
        let mut bytes = 0;
        for number in 0..requests + WARM {
            let started = Instant::now();
            let answer = client.get(&url).header("accept", "text/html").send().await?;
            ensure!(answer.status() == 200, "{page}: {}", answer.status());
            bytes = answer.bytes().await?.len();
            if number >= WARM {
                times.record(u64::try_from(started.elapsed().as_micros())?)?;
            }
        }
        let millis = |quantile| times.value_at_quantile(quantile) as f64 / 1_000.0;
        let name = if page.is_empty() { "overview" } else { page };
        println!(
            "{name:>42} {:>8.1} {:>8.1} {:>8.1} {wanted:>8.0}  {bytes}",
            millis(0.5),
            millis(0.95),
            millis(1.0)
        );
        if millis(0.95) > wanted {
            late.push(name);
        }
    }
    Ok(late)
}

/// Prints the time from the beginning of a request to its row in a live view.
#[tokio::main]
async fn latency(address: SocketAddr) -> anyhow::Result<()> {
    let client = client()?;
    let mut stream = client.get(format!("http://{address}/console/deliveries/live")).send().await?;
    let mut times = Histogram::<u64>::new(3)?;
    for number in 0..100 {
        let started = Instant::now();
        let url = format!("http://{address}/api/webhooks/OrderEvent");
        let sent = client.post(url).bearer_auth(TOKEN).header("content-type", "application/json");
        let sent = sent
            .header("x-directscale-message-id", format!("live-{}-{number}", uuid::Uuid::new_v4()));
        let answer: serde_json::Value =
            serde_json::from_slice(&sent.body(r#"{"OrderId":1}"#).send().await?.bytes().await?)?;
        let row = format!("id=\"d{}\"", answer["deliveryId"]);
        let mut text = String::new();
        while !text.contains(&row) {
            let chunk = stream.chunk().await?.context("the stream has ended")?;
            text.push_str(&String::from_utf8_lossy(&chunk));
        }
        times.record(u64::try_from(started.elapsed().as_micros())?)?;
    }
    let millis = |quantile| times.value_at_quantile(quantile) as f64 / 1_000.0;
    println!(
        "from arrival to the live row: p50 {:.0} ms, p95 {:.0} ms (wanted 300)",
        millis(0.5),
        millis(0.95)
    );
    Ok(())
}

/// Live views that are read until dropped.
struct Views {
    _runtime: tokio::runtime::Runtime,
}

impl Views {
    fn open(address: SocketAddr, count: usize) -> anyhow::Result<Views> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let client = client()?;
        for _ in 0..count {
            let stream = client.get(format!("http://{address}/console/deliveries/live"));
            let mut stream = runtime.block_on(stream.send())?;
            ensure!(stream.status() == 200, "a live view is refused: {}", stream.status());
            runtime.spawn(async move { while let Ok(Some(_)) = stream.chunk().await {} });
        }
        Ok(Views { _runtime: runtime })
    }
}

fn client() -> anyhow::Result<reqwest::Client> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(reqwest::Client::builder().build()?)
}
