//! The two stores: how the program runs on each, what is sent to it, and what must be in it afterwards.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

/// A store of acknowledged messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Store {
    /// The receiver's, `serve`.
    Inbox,
    /// The bus's, `bus`.
    Outbox,
}

const KEY: &str = "a-key-for-power-cuts";

impl Store {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Store::Inbox => "inbox",
            Store::Outbox => "outbox",
        }
    }

    /// The database on a volume: in a folder that is new as well.
    pub(crate) fn file(self, volume: &Path) -> PathBuf {
        volume.join("new/folder").join(format!("{}.db", self.name()))
    }

    fn settings(self, volume: &Path, target: &str) -> String {
        let file = self.file(volume);
        let file = file.display();
        match self {
            Store::Inbox => format!(
                "listen = '127.0.0.1:0'\n\
                 inbox = 'sqlite:{file}'\n\
                 [sources.live]\n\
                 dialect = 'directscale'\n\
                 bearer_tokens = ['{KEY}']\n"
            ),
            Store::Outbox => format!(
                "[bus]\n\
                 listen = '127.0.0.1:0'\n\
                 outbox = 'sqlite:{file}'\n\
                 allow_targets = ['127.0.0.1']\n\
                 [bus.subscriptions.all]\n\
                 events = '*'\n\
                 target = 'http://{target}'\n"
            ),
        }
    }

    /// The request with this message.
    pub(crate) fn request(self, address: &str, id: &str, padding: &str) -> String {
        let (path, head, body) = match self {
            Store::Inbox => (
                "/api/webhooks/OrderEvent",
                format!(
                    "Authorization: Bearer {KEY}\r\n\
                     X-Directscale-Client-Id: c\r\n\
                     X-Directscale-Message-Id: {id}\r\n"
                ),
                format!(r#"{{"OrderId":"{id}","EventType":"OrderEvent","Padding":"{padding}"}}"#),
            ),
            Store::Outbox => (
                "/api/events",
                String::new(),
                format!(
                    r#"{{"id":"{id}","type":"Own","object_id":"{id}","data":{{"id":"{id}","padding":"{padding}"}}}}"#
                ),
            ),
        };
        format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n{head}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    /// The messages that are there whole: with their bodies, and with the work that they are for.
    ///
    /// # Errors
    /// If the database cannot be read, or is damaged.
    pub(crate) fn messages(self, file: &Path) -> anyhow::Result<HashSet<String>> {
        if !file.try_exists()? {
            return Ok(HashSet::new());
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(file, flags)?;
        let verdict: String = db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        if verdict != "ok" {
            bail!("it is damaged: {verdict}");
        }
        let table = match self {
            Store::Inbox => "delivery",
            Store::Outbox => "event",
        };
        let exists = "SELECT count(*) FROM sqlite_schema WHERE name = ?1";
        if db.query_row(exists, [table], |row| row.get::<_, i64>(0))? == 0 {
            return Ok(HashSet::new());
        }
        let query = match self {
            Store::Inbox => {
                "SELECT message_id FROM delivery WHERE instr(CAST(body AS TEXT), message_id) > 0
                 AND EXISTS (SELECT 1 FROM work WHERE work.id = delivery.id)"
            }
            Store::Outbox => {
                "SELECT event_id FROM event WHERE instr(CAST(body AS TEXT), event_id) > 0
                 AND EXISTS (SELECT 1 FROM delivery WHERE delivery.event = event.id)"
            }
        };
        let mut query = db.prepare(query)?;
        let messages = query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok(messages)
    }

    /// Drops the database's clean pages from memory, as a shortage of it does.
    pub(crate) fn evict(self, volume: &Path) {
        let file = self.file(volume);
        for path in [file.with_extension("db-wal"), file] {
            // It is done again and again; a file that is not there yet has no pages.
            if let Ok(file) = File::open(path) {
                let _ = posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
            }
        }
    }
}

/// The program, running. Dropping it kills it.
pub(crate) struct Program {
    pub(crate) address: String,
    child: Child,
}

/// The longest that the program may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);

impl Program {
    /// Starts it on a volume, and waits until it listens.
    pub(crate) fn start(
        binary: &Path,
        store: Store,
        volume: &Path,
        settings: &Path,
        target: &str,
        log: Option<&Path>,
    ) -> anyhow::Result<Self> {
        std::fs::write(settings, store.settings(volume, target))?;
        let mut command = Command::new(binary);
        for (key, _) in std::env::vars_os() {
            if key.to_string_lossy().starts_with("RECEIVER_") {
                command.env_remove(key);
            }
        }
        let verb = match store {
            Store::Inbox => "serve",
            Store::Outbox => "bus",
        };
        let mut child = command
            .args([verb, "--log", "json", "--config"])
            .arg(settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", binary.display()))?;
        let lines = child.stderr.take();
        let mut program = Program { address: String::new(), child };
        let copy =
            log.map(|log| File::options().create(true).append(true).open(log)).transpose()?;
        program.address = address(lines.context("it has no log")?, copy)?;
        Ok(program)
    }
}

impl Program {
    /// The status with which it has ended by itself, if it has.
    pub(crate) fn end(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address on which it listens. Its log is read to the end, so that it never waits for a reader.
fn address(log: ChildStderr, mut copy: Option<File>) -> anyhow::Result<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            if let Some(copy) = &mut copy {
                let _ = writeln!(copy, "{line}");
            }
            let _ = sender.send(line);
        }
    });
    let mut said = Vec::new();
    while let Ok(line) = receiver.recv_timeout(PATIENCE) {
        let entry: Value = serde_json::from_str(&line).unwrap_or_default();
        let is_open =
            matches!(entry["message"].as_str(), Some("receiving" | "the bus accepts events"));
        match entry["address"].as_str() {
            Some(address) if is_open => return Ok(address.to_owned()),
            _ => said.push(line),
        }
    }
    bail!("it does not listen: {}", said.join("\n"))
}
