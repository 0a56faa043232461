//! The receiver beside qhook, the nearest peer: the same requests, checks and durability, in turn.

use std::fmt;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use contract::time;
use http::HeaderValue;
use rusqlite::Connection;
use signature::Stamp;

use crate::harness::postgres as server;
use crate::load::{Seen, signing_key};
use crate::postgres::cluster;
use crate::process::{Server, TOKEN, free_address, median};

/// The path in both programs: for qhook its last segment is the source, for the receiver the event type.
const PATH: &str = "/webhooks/CreateOrderEvent";

/// The scheme in both programs: an HMAC-SHA256 over the body.
const SCHEME: &str = "github";

const HEADER: &str = "\
64 connections, 1 KiB JSON; both check GitHub's HMAC-SHA256, find the message id in the body and refuse its repetition,
store delivery and job in one transaction, and answer after the commit; neither handles what it has stored.
SQLite: WAL and synchronous=FULL in both. qhook cannot set the journal: its file is made with WAL, which is faster for it.
PostgreSQL: one server, fsync and synchronous_commit on in both.
qhook commits each request alone, the receiver commits together those that wait: no answer comes before its commit.
qhook's SQLite syncs with fsync, the receiver's with fdatasync: a log that grows is as durable with either.
Other programs on this machine change the ratio, since qhook has more threads and backends that compete with them.";

/// The name of a store, its server, the connections with which qhook accepts most (10 are its default), and the wanted ratio.
type Row = (&'static str, Option<&'static server::Server>, u32, f64);

#[derive(Clone, Copy)]
enum Program<'a> {
    Receiver,
    Qhook { path: &'a Path, connections: u32 },
}

/// An empty store of one program, in one round.
enum Store {
    File(PathBuf),
    Database(server::Database),
}

pub(crate) fn run(qhook: &Path, rounds: usize, length: Duration) -> anyhow::Result<()> {
    if Command::new(qhook).arg("--help").stdout(Stdio::null()).status().is_err() {
        println!("{} is not installed: cargo install qhook --version 0.6.1", qhook.display());
        return Ok(());
    }
    println!("{HEADER}\nMedian of {rounds} paired rounds of {length:?}, each with a fresh store\n");
    println!("{:<28} {:>10} {:>9} {:>9}", "", "accepted/s", "p50 ms", "p99 ms");
    let postgres = cluster().map(|cluster| ("PostgreSQL", Some(cluster), 20, 3.0));
    if postgres.is_none() {
        println!("NOT TRIED: PostgreSQL is not installed");
    }
    for row in [Some(("SQLite", None, 10, 10.0)), postgres].into_iter().flatten() {
        let (name, cluster, connections, _) = row;
        let programs = [Program::Receiver, Program::Qhook { path: qhook, connections }];
        let mut seen = [Vec::new(), Vec::new()];
        for round in 0..rounds {
            // Each is first in every other round.
            for turn in [round % 2, 1 - round % 2] {
                eprint!("\r\x1b[K{name}: round {} of {rounds}, {}", round + 1, programs[turn]);
                seen[turn].push(once(programs[turn], cluster, length)?);
            }
        }
        eprint!("\r\x1b[K");
        print(row, &programs, &seen);
    }
    Ok(())
}

fn print((name, _, _, wanted): Row, programs: &[Program<'_>; 2], seen: &[Vec<Seen>; 2]) {
    for (program, seen) in programs.iter().zip(seen) {
        let of = |value: fn(&Seen) -> f64| median(seen.iter().map(value).collect());
        let (p50, p99) = (of(|seen| seen.p50 as f64 / 1e3), of(|seen| seen.p99 as f64 / 1e3));
        println!("{:<28} {:>10.0} {p50:>9.2} {p99:>9.2}", format!("{name}, {program}"), of(rate));
    }
    let ratios = seen[0].iter().zip(&seen[1]).map(|(ours, peer)| rate(ours) / rate(peer));
    let mut ratios: Vec<_> = ratios.collect();
    ratios.sort_by(f64::total_cmp);
    let each: Vec<_> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
    let label = format!("{name}, receiver / qhook");
    println!("{label:<28} {:>10.2}   of {}", median(ratios), each.join(", "));
    println!("{:<28} {wanted:>10.2} or more\n", "wanted");
}

/// A fresh process on a fresh store, and a second of load before the clock starts.
fn once(
    program: Program<'_>,
    cluster: Option<&'static server::Server>,
    length: Duration,
) -> anyhow::Result<Seen> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let store = program.store(folder.path(), cluster)?;
    let server = program.start(folder.path(), &store)?;
    check(server.address)?;
    let before = server.load_as(Duration::from_secs(1), SCHEME, PATH)?;
    let seen = server.load_as(length, SCHEME, PATH)?;
    server.stop()?;
    // One more is the check's.
    let accepted = before.requests + seen.requests + 1;
    for table in program.tables(&store) {
        let stored = store.count(table)?;
        ensure!(stored == accepted, "{program} answered {accepted} and has {stored} in {table}");
    }
    Ok(seen)
}

/// Ensures that another key's signature is refused, and sends one delivery twice, which the caller finds stored once.
fn check(to: SocketAddr) -> anyhow::Result<()> {
    let (scheme, key) = signing_key(SCHEME, TOKEN)?;
    let (_, other) = signing_key(SCHEME, "another key of sufficient length")?;
    let body = r#"{"RequestId":"sent-twice"}"#;
    for (key, accepted) in [(&other, false), (&key, true), (&key, true)] {
        let stamp = Stamp { id: "", time: time::now() };
        let headers = scheme.sign(&[key], stamp, body.as_bytes())?;
        let status = post(to, &headers, body)?;
        ensure!((status == 200) == accepted && status < 500, "answered {status}");
    }
    Ok(())
}

/// The status of the answer.
fn post(to: SocketAddr, headers: &[(String, HeaderValue)], body: &str) -> anyhow::Result<u16> {
    let mut stream = TcpStream::connect(to)?;
    write!(stream, "POST {PATH} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n")?;
    for (name, value) in headers {
        write!(stream, "{name}: {}\r\n", value.to_str()?)?;
    }
    let length = body.len();
    write!(stream, "Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split(' ').nth(1).context("no status")?.parse()?)
}

impl Program<'_> {
    fn store(
        self,
        folder: &Path,
        cluster: Option<&'static server::Server>,
    ) -> anyhow::Result<Store> {
        Ok(match (self, cluster) {
            (Program::Receiver, None) => Store::File(folder.join("inbox.db")),
            (Program::Receiver, Some(cluster)) => Store::Database(cluster.database()),
            (Program::Qhook { .. }, None) => {
                let file = folder.join("qhook.db");
                Connection::open(&file)?.pragma_update(None, "journal_mode", "WAL")?;
                Store::File(file)
            }
            (Program::Qhook { .. }, Some(cluster)) => Store::Database(cluster.empty("qhook")),
        })
    }

    fn start(self, folder: &Path, store: &Store) -> anyhow::Result<Server> {
        let address = free_address()?;
        let (file, url) = (folder.join("settings"), store.url());
        match self {
            Program::Receiver => {
                let settings = format!(
                    "listen = \"{address}\"\ninbox = \"{url}\"\n[dispatch]\npaused = true\n\
                     [sources.bench]\ndialect = \"generic\"\nscheme = \"{SCHEME}\"\npath = \"/webhooks\"\n\
                     signing_keys = [\"{TOKEN}\"]\n[sources.bench.places]\nmessage_id = \"/RequestId\"\n"
                );
                fs::write(&file, settings)?;
                Server::serving(folder, address, &file)
            }
            // A queue that is fetched from, and never is: an HTTP handler would cost qhook a delivery.
            Program::Qhook { path, connections } => {
                let (driver, _) = url.split_once(':').context("no scheme")?;
                let settings = format!(
                    "database: {{ driver: {driver}, url: '{url}', max_connections: {connections} }}\n\
                     server: {{ port: {} }}\n\
                     sources:\n  CreateOrderEvent: {{ type: webhook, verify: {SCHEME}, secret: '{TOKEN}' }}\n\
                     queues:\n  bench: {{ source: CreateOrderEvent, idempotency_key: $.RequestId }}\n",
                    address.port()
                );
                fs::write(&file, settings)?;
                let log = File::create(folder.join("log"))?;
                let mut program = Command::new(path);
                program.args(["start", "--config"]).arg(&file).current_dir(folder);
                // It would write several lines for every request.
                program.env("RUST_LOG", "qhook=warn").stdout(log.try_clone()?).stderr(log);
                Server::program(&mut program, address, "/health")
            }
        }
    }

    /// The tables that have a row for every accepted request.
    fn tables(self, store: &Store) -> &'static [&'static str] {
        match (self, store) {
            (Program::Receiver, Store::File(_)) => &["delivery", "work"],
            (Program::Receiver, Store::Database(_)) => &["webhook_inbox.delivery"],
            (Program::Qhook { .. }, _) => &["events", "jobs"],
        }
    }
}

impl fmt::Display for Program<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Program::Receiver => "receiver",
            Program::Qhook { .. } => "qhook",
        })
    }
}

impl Store {
    fn url(&self) -> String {
        match self {
            Store::File(file) => format!("sqlite:{}", file.display()),
            Store::Database(database) => database.url(),
        }
    }

    fn count(&self, table: &str) -> anyhow::Result<u64> {
        let statement = format!("SELECT count(*) FROM {table}");
        Ok(match self {
            Store::File(file) => Connection::open(file)?
                .query_row(&statement, [], |row| row.get::<_, i64>(0))?
                .try_into()?,
            Store::Database(database) => database.run(&statement).trim().parse()?,
        })
    }
}

fn rate(seen: &Seen) -> f64 {
    seen.requests as f64 / seen.seconds
}
