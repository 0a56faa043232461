//! What a hook costs: an override beside bare axum, a callback in between beside the callback alone, and what open calls
//! leave of the speed of deliveries.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use contract::catalog::Catalog;
use contract::event::{Delivery, Open, Outcome};
use contract::hook::{Hook, HookCall, HookOutcome};
use receiver::serve::{Fork, Part, serve};
use settings::Overrides;
use telemetry::start_log;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use vendors::directscale::hooks::autoship::CreateAutoship;
use vendors::directscale::order_lifecycle::CreateOrderEvent;

use crate::baseline;
use crate::load::Seen;
use crate::process::{Server, median};

type Request = <CreateAutoship as Hook>::Request;
type Response = <CreateAutoship as Hook>::Response;

/// How many calls are open beside the deliveries.
const OPEN: usize = 200;

/// How many calls or deliveries come per second where times are compared: as fast as they are answered, each would wait
/// for the others.
const RATE: f64 = 2_000.0;

/// What the handlers do with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Pattern {
    /// Answer without a callback.
    Override,
    /// Change the request, call back, and return the response.
    Before,
}

/// Bare axum that reads the same request and writes the same response.
pub(crate) fn bare() -> anyhow::Result<()> {
    baseline::serve(Router::new().fallback(async |body: Bytes| {
        match serde_json::from_slice::<Open<Request>>(&body) {
            Ok(request) => answered(&response(&request)).into_response(),
            Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
        }
    }))
}

fn response(_: &Request) -> Response {
    serde_json::from_str(CreateAutoship::example_response()).expect("the example fits its model")
}

fn answered(response: &Response) -> impl IntoResponse + use<> {
    let json = serde_json::to_vec(response).expect("a response is written as JSON");
    ([("content-type", "application/json")], json)
}

/// The receiver with this program's handlers; it prints its address.
#[tokio::main]
pub(crate) async fn receiver(settings: &Path, pattern: Pattern) -> anyhow::Result<()> {
    let overrides = Overrides { config: Some(settings.to_owned()), ..Overrides::default() };
    let config = settings::load(&overrides)?;
    let _log = start_log(&config.log)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let catalog = Catalog::new().on(created).hook(create);
    let stop = CancellationToken::new();
    serve(
        config,
        Fork { handlers: catalog.bind(&pattern)?, pages: Router::new(), console: None },
        Part::All(listener),
        None,
        stop,
    )
    .await
}

async fn created(_: Pattern, _: Delivery<CreateOrderEvent>) -> Outcome {
    Ok(())
}

async fn create(pattern: Pattern, call: HookCall<CreateAutoship>) -> HookOutcome<CreateAutoship> {
    if pattern == Pattern::Override {
        return Ok(response(&call.request).into());
    }
    let mut request = call.request;
    let custom = request.autoship_info.custom.get_or_insert_default();
    custom.field1 = Some("This message was added from the CreateAutoshipHook".into());
    Ok(call.callback.proceed(request).await?)
}

pub(crate) fn run(rounds: usize, length: Duration) -> anyhow::Result<()> {
    println!(
        "CreateAutoship of {} bytes, 64 connections, median of {rounds} rounds of {length:?}\n",
        CreateAutoship::example().len()
    );
    println!("{:<44} {:>10} {:>10} {:>10}", "", "calls/s", "p50, µs", "p99, µs");
    let names = ["bare axum, same model", "override hook"];
    let seen = compare(names, [None, Some("override")], None, rounds, length)?;
    println!("  override / bare axum {:.2}\n", paired(&seen, |bare, over| rate(over) / rate(bare)));
    let names = ["the callback alone, at a fixed rate", "before hook, with callback"];
    let seen = compare(names, [None, Some("before")], Some(RATE), rounds, length)?;
    let above = paired(&seen, |alone, before| before.p50 as f64 - alone.p50 as f64);
    println!("  before above its callback at p50 {above:.0} µs\n");
    beside(rounds, length)
}

fn rate(seen: &Seen) -> f64 {
    seen.requests as f64 / seen.seconds
}

/// The median of what each round's two measurements make: they were made one right after the other.
fn paired([first, second]: &[Vec<Seen>; 2], of: impl Fn(&Seen, &Seen) -> f64) -> f64 {
    median(first.iter().zip(second).map(|(first, second)| of(first, second)).collect())
}

fn row(name: &str, seen: &[Seen]) {
    let of = |value: fn(&Seen) -> f64| median(seen.iter().map(value).collect());
    let (p50, p99) = (of(|seen| seen.p50 as f64), of(|seen| seen.p99 as f64));
    println!("{name:<44} {:>10.0} {p50:>10.0} {p99:>10.0}", of(rate));
}

/// Two rows, round by round; the vendor itself where there is no pattern.
fn compare(
    names: [&str; 2],
    patterns: [Option<&str>; 2],
    rate: Option<f64>,
    rounds: usize,
    length: Duration,
) -> anyhow::Result<[Vec<Seen>; 2]> {
    let mut seen = [Vec::new(), Vec::new()];
    for round in 1..=rounds {
        for (row, seen) in seen.iter_mut().enumerate() {
            eprint!("\r\x1b[Kround {round} of {rounds}: {}", names[row]);
            seen.push(once(patterns[row], rate, length)?);
        }
    }
    eprint!("\r\x1b[K");
    names.iter().zip(&seen).for_each(|(name, seen)| row(name, seen));
    Ok(seen)
}

fn once(pattern: Option<&str>, rate: Option<f64>, length: Duration) -> anyhow::Result<Seen> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let vendor = Server::role(&["bare"])?;
    let hooked = pattern.map(|pattern| Server::hooked(folder.path(), vendor.address, pattern));
    let hooked = hooked.transpose()?;
    let server = hooked.as_ref().unwrap_or(&vendor);
    server.load_hooks(Duration::from_secs(1), rate)?;
    server.load_hooks(length, rate)
}

/// What deliveries take alone, and beside calls whose vendor does not answer.
fn beside(rounds: usize, length: Duration) -> anyhow::Result<()> {
    let mut seen = [Vec::new(), Vec::new()];
    for round in 1..=rounds {
        for (open, seen) in [0, OPEN].into_iter().zip(&mut seen) {
            eprint!("\r\x1b[Kround {round} of {rounds}: {open} open calls");
            seen.push(delivered(open, length)?);
        }
    }
    eprint!("\r\x1b[K");
    println!("{RATE} deliveries per second");
    for (open, seen) in [0, OPEN].into_iter().zip(&seen) {
        row(&format!("beside {open} open calls"), seen);
    }
    let ratio = paired(&seen, |alone, beside| beside.p99 as f64 / alone.p99 as f64);
    println!("  p99 beside calls / alone {ratio:.2}");
    Ok(())
}

fn delivered(open: usize, length: Duration) -> anyhow::Result<Seen> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    // It takes connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0")?;
    let server = Server::hooked(folder.path(), silent.local_addr()?, "before")?;
    server.load(Duration::from_secs(1), Some(RATE))?;
    let calls = open_calls(server.address, open)?;
    let called_back = (0..open).map(|_| silent.accept()).collect::<Result<Vec<_>, _>>()?;
    let seen = server.load(length, Some(RATE))?;
    drop((calls, called_back));
    Ok(seen)
}

fn open_calls(to: SocketAddr, open: usize) -> anyhow::Result<Vec<std::net::TcpStream>> {
    use std::io::Write;
    let request =
        crate::load::hook_request(to, crate::process::TOKEN, &contract::time::now().to_string());
    let call = || -> anyhow::Result<_> {
        let mut stream = std::net::TcpStream::connect(to)?;
        stream.write_all(&request)?;
        Ok(stream)
    };
    (0..open).map(|_| call()).collect()
}
