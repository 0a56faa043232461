//! Processes under measurement: the servers and the load.

use fixture::senders::RSA;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::load::Seen;

/// The key of the receiver under load.
pub(crate) const TOKEN: &str = "bench!key@with%punctuation$0123456789abcdef";

/// A running server.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// One of this program's own roles; it prints its address.
    pub(crate) fn role(arguments: &[&str]) -> anyhow::Result<Self> {
        Self::spawn(arguments, Stdio::inherit())
    }

    fn spawn(arguments: &[&str], log: Stdio) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        Ok(Server { child, address: line.trim().parse()? })
    }

    /// The receiver itself, as it ships, on the inbox in `folder`; its log goes to a file there.
    pub(crate) fn receiver(folder: &Path, paused: bool) -> anyhow::Result<Self> {
        let address = free_address()?;
        let config = settings(folder, address, paused)?;
        Self::serving(folder, address, &config)
    }

    /// The receiver with its workers on a database.
    pub(crate) fn on_database(folder: &Path, inbox: &str) -> anyhow::Result<Self> {
        let address = free_address()?;
        let config = settings(folder, address, false)?;
        let text = fs::read_to_string(&config)?;
        let own = format!("sqlite:{}", folder.join("inbox.db").display());
        fs::write(&config, text.replace(&own, inbox))?;
        Self::serving(folder, address, &config)
    }

    /// The receiver with one source that signs, handlers running.
    pub(crate) fn signed(folder: &Path) -> anyhow::Result<Self> {
        let address = free_address()?;
        let source = format!(
            "dialect = \"evolutionx\"\npath = \"/api/webhooks\"\nsigning_keys = [\"{TOKEN}\"]\n\
             [sources.rsa]\ndialect = \"generic\"\npath = \"/rsa\"\nsigning_keys = [\"\"\"{RSA}\"\"\"]\n\
             [sources.rsa.signature]\nheader = \"X-Signature\"\nalgorithm = \"rsa-sha256\"\nencoding = \"base64\"\n\
             [sources.token]\ndialect = \"generic\"\npath = \"/token\"\n[sources.token.jwt]\nalgorithms = \"RS256\"\n\
             keys_url = \"http://{}/keys\"\naudience = \"a\"\n",
            free_address()?
        );
        let config = write_settings(folder, address, false, &source)?;
        Self::serving(folder, address, &config)
    }

    /// The receiver with this program's handlers, whose hooks are called back at `vendor`.
    pub(crate) fn hooked(folder: &Path, vendor: SocketAddr, pattern: &str) -> anyhow::Result<Self> {
        let source = format!(
            "dialect = \"directscale\"\nbearer_tokens = [\"{TOKEN}\"]\n\
             [sources.bench.hooks]\ncallback_url = \"http://{vendor}\"\ncallback_key = \"{TOKEN}\""
        );
        let settings = write_settings(folder, free_address()?, false, &source)?;
        let log = File::create(folder.join("log"))?;
        let mut server =
            Self::spawn(&["hooked", &settings.to_string_lossy(), pattern], log.into())?;
        server.wait("/readyz")?;
        Ok(server)
    }

    /// The receiver itself, as it ships, with these settings; its log goes to a file in `folder`.
    pub(crate) fn serving(
        folder: &Path,
        address: SocketAddr,
        config: &Path,
    ) -> anyhow::Result<Self> {
        Self::running("serve", folder, address, config)
    }

    fn running(
        command: &str,
        folder: &Path,
        address: SocketAddr,
        config: &Path,
    ) -> anyhow::Result<Self> {
        let mut program = Command::new(env!("CARGO_BIN_EXE_fixture"));
        program.args([command, "--config"]).arg(config);
        program.stderr(File::create(folder.join("log"))?);
        Self::program(&mut program, address, "/readyz")
    }

    /// A program that answers `GET ready` with 200 once it serves at the address.
    pub(crate) fn program(
        program: &mut Command,
        address: SocketAddr,
        ready: &str,
    ) -> anyhow::Result<Self> {
        let mut server = Server { child: program.spawn()?, address };
        server.wait(ready)?;
        Ok(server)
    }

    /// The bus as it ships, with these subscriptions.
    pub(crate) fn bus(folder: &Path, subscriptions: &str) -> anyhow::Result<Self> {
        let address = free_address()?;
        let outbox = folder.join("outbox.db");
        let text = format!(
            "[log]\nfilter = \"warn\"\n[bus]\nlisten = \"{address}\"\noutbox = \"sqlite:{}\"\nallow_targets = [\"127.0.0.1\"]\n{subscriptions}",
            outbox.display()
        );
        let config = folder.join("bus.toml");
        fs::write(&config, text)?;
        Self::running("bus", folder, address, &config)
    }

    /// The receiver's checks in front of a file that is appended to.
    pub(crate) fn checked(folder: &Path) -> anyhow::Result<Self> {
        let settings = settings(folder, free_address()?, true)?;
        let log = File::create(folder.join("log"))?;
        let file = folder.join("appended");
        Self::spawn(&["checked", &settings.to_string_lossy(), &file.to_string_lossy()], log.into())
    }

    fn wait(&mut self, path: &str) -> anyhow::Result<()> {
        let end = Instant::now() + Duration::from_secs(120);
        while TcpStream::connect(self.address).is_err() || !self.ready(path) {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended: {status}");
            }
            if Instant::now() > end {
                bail!("the server does not listen");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The address is bound before the inbox is open; an answer says that it is.
    fn ready(&self, path: &str) -> bool {
        use std::io::{Read, Write};
        let Ok(mut stream) = TcpStream::connect(self.address) else { return false };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
        let mut answer = String::new();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .is_ok()
            && stream.read_to_string(&mut answer).is_ok()
            && answer.starts_with("HTTP/1.1 200")
    }

    /// Processor time so far, user and system.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields = stat.rsplit_once(") ").context("no process name")?.1;
        let ticks: u64 =
            fields.split(' ').skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
        // The kernel counts in hundredths of a second on every platform that Rust supports.
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Memory now, in MiB.
    pub(crate) fn memory(&self) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS")).context("no VmRSS")?;
        let kib: f64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
        Ok(kib / 1024.0)
    }

    /// Asks the server to stop, and waits until it has: then its store is whole.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        Command::new("kill").arg(self.child.id().to_string()).status()?;
        self.child.wait()?;
        Ok(())
    }

    /// Loads the server from another process.
    pub(crate) fn load(&self, length: Duration, rate: Option<f64>) -> anyhow::Result<Seen> {
        match rate {
            Some(rate) => self.load_with(length, 64, &["--rate", &rate.to_string()]),
            None => self.load_with(length, 64, &[]),
        }
    }

    /// Loads it with calls of a hook.
    pub(crate) fn load_hooks(&self, length: Duration, rate: Option<f64>) -> anyhow::Result<Seen> {
        match rate {
            Some(rate) => self.load_with(length, 64, &["--hook", "--rate", &rate.to_string()]),
            None => self.load_with(length, 64, &["--hook"]),
        }
    }

    /// Loads it with signed deliveries, or with forgeries.
    pub(crate) fn load_signed(
        &self,
        length: Duration,
        forge: Option<&str>,
    ) -> anyhow::Result<Seen> {
        match forge {
            Some(forgery) => self.load_with(length, 64, &["--forge", forgery]),
            None => self.load_with(length, 64, &["--sign", TOKEN]),
        }
    }

    /// Loads it with deliveries to a path, signed by a scheme.
    pub(crate) fn load_as(
        &self,
        length: Duration,
        scheme: &str,
        path: &str,
    ) -> anyhow::Result<Seen> {
        self.load_with(length, 64, &["--sign", TOKEN, "--scheme", scheme, "--path", path])
    }

    /// Loads a bus with events.
    pub(crate) fn publish(&self, length: Duration) -> anyhow::Result<Seen> {
        self.load_with(length, 64, &["--publish"])
    }

    fn load_with(
        &self,
        length: Duration,
        connections: usize,
        more: &[&str],
    ) -> anyhow::Result<Seen> {
        load_with(self.address, length, connections, more)
    }
}

/// Loads the server at an address at a fixed rate, from another process.
pub(crate) fn load(address: SocketAddr, length: Duration, rate: f64) -> anyhow::Result<Seen> {
    load_with(address, length, 64, &["--rate", &rate.to_string()])
}

fn load_with(
    address: SocketAddr,
    length: Duration,
    connections: usize,
    more: &[&str],
) -> anyhow::Result<Seen> {
    let output = Command::new(std::env::current_exe()?)
        .args(["load", "--connections", &connections.to_string(), "--token", TOKEN])
        .args(["--to", &address.to_string()])
        .args(["--millis", &length.as_millis().to_string()])
        .args(more)
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        bail!("the load failed");
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn settings(folder: &Path, address: SocketAddr, paused: bool) -> anyhow::Result<PathBuf> {
    let source = format!("dialect = \"directscale\"\nbearer_tokens = [\"{TOKEN}\"]");
    write_settings(folder, address, paused, &source)
}

fn write_settings(
    folder: &Path,
    address: SocketAddr,
    paused: bool,
    source: &str,
) -> anyhow::Result<PathBuf> {
    let file = folder.join("receiver.toml");
    let inbox = folder.join("inbox.db");
    let text = format!(
        r#"
listen = "{address}"
inbox = "sqlite:{}"
[sources.bench]
{source}
[dispatch]
paused = {paused}
"#,
        inbox.display()
    );
    fs::write(&file, text)?;
    Ok(file)
}

pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
