//! The real binary: started, told to stop, killed.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinHandle;

use crate::harness::deliveries::PATIENCE;

const BINARY: &str = env!("CARGO_BIN_EXE_fixture");

/// The settings and the inbox of one receiver after the other.
pub(crate) struct Home {
    folder: TempDir,
    prefix: Vec<String>,
}

/// A receiver that is receiving. It is killed with this value.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    child: Child,
    log: JoinHandle<Vec<String>>,
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) log: String,
}

impl Home {
    /// A receiver on a free port of this machine with one source that proves nothing; `settings` are tables to add.
    pub(crate) fn new(settings: &str) -> Self {
        let home = Home { folder: tempfile::tempdir().unwrap(), prefix: Vec::new() };
        fs::create_dir(home.data()).unwrap();
        let text = format!(
            "listen = \"127.0.0.1:0\"\ninbox = \"sqlite:{}\"\n\
             [sources.one]\ndialect = \"directscale\"\nauth = \"none\"\n\
             [log]\nformat = \"json\"\nfilter = \"warn,webhook_receiver_receiver::serve=info\"\n{settings}",
            home.inbox().display()
        );
        fs::write(home.folder.path().join("receiver.toml"), text).unwrap();
        home
    }

    /// Runs everything through another program.
    pub(crate) fn through(self, prefix: &[&str]) -> Self {
        Home { prefix: prefix.iter().map(ToString::to_string).collect(), ..self }
    }

    /// The folder of the inbox, with nothing else in it.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn inbox(&self) -> PathBuf {
        self.data().join("inbox.db")
    }

    /// A receiver that starts.
    pub(crate) async fn start(&self) -> Receiver {
        self.try_start().await.unwrap_or_else(|ended| panic!("{ended:?}"))
    }

    pub(crate) async fn try_start(&self) -> Result<Receiver, Ended> {
        let mut child = self.command(&["serve"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut log = Vec::new();
        let start = tokio::time::timeout(PATIENCE, address(&mut lines, &mut log));
        let Some(address) = start.await.expect("it starts or ends") else {
            let code = child.wait().await.unwrap().code();
            return Err(Ended { code, log: log.join("\n") });
        };
        let log = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                log.push(line);
            }
            log
        });
        Ok(Receiver { address, child, log })
    }

    /// The output of a command that succeeds.
    pub(crate) async fn run(&self, args: &[&str]) -> String {
        let output = self.command(args).output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The complaint of a command that fails.
    pub(crate) async fn try_run(&self, args: &[&str]) -> String {
        let output = self.command(args).output().await.unwrap();
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Every delivery in the inbox, as the command lists it.
    pub(crate) async fn deliveries(&self) -> Vec<Value> {
        let list = self.run(&["inbox", "list", "--json", "--limit", "1000000"]).await;
        serde_json::from_str(&list).unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let config = self.folder.path().join("receiver.toml");
        let mut line = self.prefix.clone();
        line.push(BINARY.into());
        line.extend(args.iter().map(ToString::to_string));
        line.extend(["--config".into(), config.display().to_string()]);
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).current_dir(self.folder.path()).kill_on_drop(true);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RECEIVER_")) {
            command.env_remove(name);
        }
        command
    }
}

/// Reads the log up to the first line that tells the address.
async fn address(
    lines: &mut Lines<BufReader<ChildStderr>>,
    log: &mut Vec<String>,
) -> Option<SocketAddr> {
    while let Some(line) = lines.next_line().await.unwrap() {
        let entry: Value = serde_json::from_str(&line).unwrap_or_default();
        log.push(line);
        if let Some(address) = entry["address"].as_str() {
            return Some(address.parse().unwrap());
        }
    }
    None
}

impl Receiver {
    pub(crate) fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// SIGKILL.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM.
    pub(crate) async fn terminate(&self) {
        let id = self.id().to_string();
        let sent = Command::new("sh").args(["-c", "kill -TERM $0", &id]).status().await.unwrap();
        assert!(sent.success());
    }

    pub(crate) async fn ended(mut self) -> Ended {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it ends");
        Ended { code: status.unwrap().code(), log: self.log.await.unwrap().join("\n") }
    }
}
