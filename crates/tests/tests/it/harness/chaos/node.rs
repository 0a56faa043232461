//! A receiver or a worker under chaos: the real program as a process, with a network of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

use crate::harness::postgres::Database;
use crate::harness::proxy::Proxy;

/// How long a process may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// Number of warnings of a process that are kept.
const WARNINGS: usize = 40;

/// Settings of every process: a lease is 31 s long.
const SETTINGS: &str = "[sources.one]\ndialect = \"directscale\"\nauth = \"none\"\n\
    [dispatch]\ntimeout = \"1s\"\nschedule = [\"1s\", \"1s\", \"1s\"]\n\
    [log]\nformat = \"json\"\nfilter = \"info\"\n";

/// Length of a lease with these settings.
pub(crate) const LEASE: Duration = Duration::from_secs(31);

/// A handled delivery as the log tells it: the time in microseconds, the id and the number of the attempt.
pub(crate) type Handled = (i64, i64, u32);

/// Lines of the log of one place, over all the processes that were there.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) handled: Vec<Handled>,
    pub(crate) warnings: Vec<String>,
}

/// A place for one process after the other.
pub(crate) struct Node {
    pub(crate) role: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) proxy: Proxy,
    pub(crate) log: Arc<Mutex<Log>>,
    binary: PathBuf,
    folder: TempDir,
    url: String,
    child: Child,
}

impl Node {
    pub(crate) async fn start(role: &'static str, binary: &Path, database: &Database) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("receiver.toml"), SETTINGS).unwrap();
        let proxy = Proxy::to(database.socket()).await;
        let url = format!("postgres://webhook_node:hush@{}/{}", proxy.address, database.name());
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let log = Arc::default();
        let child = launch(role, free, binary, &folder, &url, &log, 0).await;
        let binary = binary.to_owned();
        Node { role, address: free, proxy, log, binary, folder, url, child }
    }

    /// Starts a process in place of the one that has ended.
    pub(crate) async fn start_again(&mut self) {
        self.launch(0).await;
    }

    /// The same with a clock that is ahead by this many seconds.
    pub(crate) async fn start_ahead(&mut self, seconds: i64) {
        self.launch(seconds).await;
    }

    /// Replaces the process by one of another version.
    pub(crate) async fn upgrade(&mut self, binary: &Path) {
        self.stop().await;
        self.binary = binary.to_owned();
        self.start_again().await;
    }

    async fn launch(&mut self, ahead: i64) {
        let Node { role, address, binary, folder, url, log, .. } = &*self;
        self.child = launch(role, *address, binary, folder, url, log, ahead).await;
    }

    pub(crate) async fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs").to_string();
        let sent = Command::new("sh").args(["-c", "kill -$0 $1", name, &id]).status().await;
        assert!(sent.unwrap().success());
    }

    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Ends the process as a service manager would.
    pub(crate) async fn stop(&mut self) {
        self.signal("TERM").await;
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = ended.expect("it stops").unwrap();
        assert!(status.success(), "{status}: {:#?}", self.log.lock().unwrap().warnings);
    }
}

/// Starts a process, and waits until it receives or works.
async fn launch(
    role: &str,
    address: SocketAddr,
    binary: &Path,
    folder: &TempDir,
    url: &str,
    log: &Arc<Mutex<Log>>,
    ahead: i64,
) -> Child {
    let mut command = Command::new(binary);
    if let Some(library) = faketime().filter(|_| ahead != 0) {
        command.env("LD_PRELOAD", library).env("FAKETIME", format!("{ahead:+}s"));
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }
    command.args(["serve", "--role", role, "--listen", &address.to_string()]);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RECEIVER_") {
            command.env_remove(name);
        }
    }
    command.env("RECEIVER_INBOX", url).current_dir(folder.path()).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let (begun, begins) = oneshot::channel();
    let kept = Arc::clone(log);
    tokio::spawn(async move {
        let mut begun = Some(begun);
        while let Ok(Some(line)) = lines.next_line().await {
            let entry: Value = serde_json::from_str(&line).unwrap_or_default();
            let is_begin = entry["message"] == "receiving" || entry["message"] == "working";
            if let Some(begun) = begun.take_if(|_| is_begin) {
                let _ = begun.send(());
            }
            kept.lock().unwrap().keep(&entry, line, ahead);
        }
    });
    let begins = tokio::time::timeout(PATIENCE, begins).await;
    let has_begun = begins.is_ok_and(|begins| begins.is_ok());
    assert!(has_begun, "{role} does not begin: {:#?}", log.lock().unwrap().warnings);
    child
}

/// The library that gives a program another clock, if it is installed.
pub(crate) fn faketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    let of = |folder: PathBuf| folder.join("faketime/libfaketime.so.1");
    folders.chain([PathBuf::from("/usr/lib")]).map(of).find(|library| library.exists())
}

impl Log {
    fn keep(&mut self, entry: &Value, line: String, ahead: i64) {
        if entry["outcome"] == "done" {
            let time: chrono::DateTime<chrono::Utc> =
                entry["timestamp"].as_str().unwrap().parse().unwrap();
            let attempt = entry["attempt"].as_u64().unwrap();
            let time = time.timestamp_micros() - ahead * 1_000_000;
            let id = entry["delivery.id"].as_i64().unwrap();
            self.handled.push((time, id, u32::try_from(attempt).unwrap()));
        } else if entry["level"] != "INFO" {
            if self.warnings.len() == WARNINGS {
                self.warnings.remove(0);
            }
            self.warnings.push(line);
        }
    }
}
