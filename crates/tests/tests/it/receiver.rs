//! A receiver in this process on a free port, and a client that sends exactly what it is told to.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use contract::catalog::Catalog;
use contract::event::DeliveryId;
use contract::time::{Clock, system_clock};
use http::{HeaderMap, HeaderName, HeaderValue};
use inbox::{self, Detail, Filter, HookEntry, HookFilter, Inbox, Options};
use receiver::serve::{Fork, serve};
use serde_json::Value;
use settings::{Config, parse};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A key of [`SOURCES`], with the punctuation that real keys have.
pub(crate) const KEY: &str = "Ab!c@d%e$f^g&h";

/// The key of the stage source.
pub(crate) const STAGE_KEY: &str = "stage-key";

/// A live source with two keys and a stage source with another.
pub(crate) const SOURCES: &str = r#"
[sources.live]
dialect = "directscale"
bearer_tokens = ["Ab!c@d%e$f^g&h", "the next one"]
[sources.stage]
dialect = "directscale"
environment = "stage"
path = "/stage/api/webhooks"
bearer_tokens = ["stage-key"]
"#;

/// How long deliveries may take to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running receiver; its inbox is deleted with it.
pub(crate) struct Receiver {
    pub(crate) address: String,
    folder: TempDir,
    stop: CancellationToken,
    serving: JoinHandle<anyhow::Result<()>>,
}

impl Receiver {
    /// Starts with these settings and an empty inbox.
    pub(crate) async fn start<C>(settings: &str, catalog: Catalog<C>, context: C) -> Receiver
    where
        C: Clone + Send + Sync + 'static,
    {
        Receiver::start_in(tempfile::tempdir().unwrap(), settings, catalog, context).await
    }

    /// Starts with a clock of its own.
    pub(crate) async fn start_at<C>(
        clock: Clock,
        settings: &str,
        catalog: Catalog<C>,
        context: C,
    ) -> Receiver
    where
        C: Clone + Send + Sync + 'static,
    {
        let folder = tempfile::tempdir().unwrap();
        Receiver::begin(folder, clock, settings, fork(catalog, &context)).await
    }

    /// Starts with the inbox of the receiver that [`stop`](Self::stop) has left.
    pub(crate) async fn start_in<C>(
        folder: TempDir,
        settings: &str,
        catalog: Catalog<C>,
        context: C,
    ) -> Receiver
    where
        C: Clone + Send + Sync + 'static,
    {
        Receiver::start_fork(folder, settings, fork(catalog, &context)).await
    }

    /// Starts with everything that a fork may bring.
    pub(crate) async fn start_fork(folder: TempDir, settings: &str, fork: Fork) -> Receiver {
        Receiver::begin(folder, system_clock(), settings, fork).await
    }

    async fn begin(folder: TempDir, clock: Clock, settings: &str, fork: Fork) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let config = Config { inbox: url(folder.path()), ..parse(settings, [], "test").unwrap() };
        let stop = CancellationToken::new();
        let serving = serve(config, fork, listener, clock, stop.clone());
        Receiver { address, folder, stop, serving: tokio::spawn(serving) }
    }

    /// Stops as soon as every delivery has ended.
    pub(crate) async fn finish(self) -> Stopped {
        let inbox = open(self.folder.path());
        let start = Instant::now();
        // The store has no signal for "all done"; a process beside the receiver can only look.
        while inbox.count().await.unwrap().iter().any(|(state, n)| !state.has_ended() && *n > 0) {
            assert!(start.elapsed() < PATIENCE, "some deliveries do not end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.stop().await
    }

    /// Drains: when this returns, every attempt that was begun has been written down.
    pub(crate) async fn stop(self) -> Stopped {
        self.stop.cancel();
        self.serving.await.unwrap().unwrap();
        Stopped(self.folder)
    }

    /// Sends a request and reads the answer.
    pub(crate) async fn send(&self, request: &Request) -> Answer {
        request.send(&self.address).await
    }
}

/// A fork without pages.
pub(crate) fn fork<C: Clone + Send + Sync + 'static>(catalog: Catalog<C>, context: &C) -> Fork {
    Fork { handlers: catalog.bind(context).unwrap(), pages: Router::new() }
}

/// What a receiver has left on disk.
pub(crate) struct Stopped(pub(crate) TempDir);

impl Stopped {
    /// The deliveries in order of acceptance.
    pub(crate) async fn deliveries(&self) -> Vec<Detail> {
        let inbox = open(self.0.path());
        let mut found = Vec::new();
        for entry in inbox.list(Filter::default()).await.unwrap().iter().rev() {
            found.push(inbox.show(entry.id).await.unwrap().unwrap());
        }
        found
    }

    /// The calls of hooks, newest first.
    pub(crate) async fn calls(&self) -> Vec<HookEntry> {
        open(self.0.path()).list_hooks(HookFilter::default()).await.unwrap()
    }

    /// One call of a hook, with its bodies.
    pub(crate) async fn call(&self, id: i64) -> HookEntry {
        open(self.0.path()).show_hook(id).await.unwrap().unwrap()
    }

    /// Asks for a delivery to be handled again.
    pub(crate) async fn replay(&self, id: DeliveryId) {
        let filter = Filter { ids: vec![id], ..Filter::default() };
        assert_eq!(open(self.0.path()).replay(filter, chrono::Utc::now()).await.unwrap(), 1);
    }
}

fn open(folder: &Path) -> Arc<dyn Inbox> {
    inbox::open(&url(folder), Options { queue: 16, exclusive: false }).unwrap()
}

fn url(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("inbox.db").display())
}

/// A request, header by header.
#[derive(Clone)]
pub(crate) struct Request {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
    chunked: bool,
}

impl Request {
    /// A JSON body without a key.
    pub(crate) fn post(path: &str, body: impl AsRef<[u8]>) -> Request {
        let headers = vec![("Content-Type", b"application/json; charset=UTF-8".to_vec())];
        let body = body.as_ref().to_vec();
        Request { method: "POST", path: path.to_owned(), headers, body, chunked: false }
    }

    /// What the sender would send: with the live source's key.
    pub(crate) fn live(path: &str, body: impl AsRef<[u8]>) -> Request {
        Request::post(path, body).bearer(KEY)
    }

    pub(crate) fn get(path: &str) -> Request {
        Request { headers: Vec::new(), ..Request::post(path, "").method("GET") }
    }

    pub(crate) fn method(self, method: &'static str) -> Request {
        Request { method, ..self }
    }

    pub(crate) fn bearer(self, key: &str) -> Request {
        self.set("Authorization", format!("Bearer {key}"))
    }

    pub(crate) fn id(self, id: &str) -> Request {
        self.set("X-Directscale-Message-Id", id)
    }

    /// One header in place of all of its name.
    pub(crate) fn set(self, name: &'static str, value: impl AsRef<[u8]>) -> Request {
        self.without(name).add(name, value)
    }

    pub(crate) fn add(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Request {
        self.headers.push((name, value.as_ref().to_vec()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Request {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    pub(crate) fn body(self, body: impl AsRef<[u8]>) -> Request {
        Request { body: body.as_ref().to_vec(), ..self }
    }

    /// Sends the body in chunks, without its length.
    pub(crate) fn chunked(self) -> Request {
        Request { chunked: true, ..self }
    }

    /// The head alone, which asks to be told when the body is wanted.
    pub(crate) fn expecting(self) -> Vec<u8> {
        let bytes = self.clone().set("Expect", "100-continue").bytes();
        bytes[..bytes.len() - self.body.len()].to_vec()
    }

    /// Sends it and reads the answer.
    pub(crate) async fn send(&self, address: &str) -> Answer {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&self.bytes()).await.unwrap();
        Answer::read(&mut stream).await
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes =
            format!("{} {} HTTP/1.1\r\nHost: x\r\n", self.method, self.path).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        let length = match self.chunked {
            true => "Transfer-Encoding: chunked".to_owned(),
            false => format!("Content-Length: {}", self.body.len()),
        };
        bytes.extend(format!("{length}\r\nConnection: close\r\n\r\n").bytes());
        if !self.chunked {
            bytes.extend(&self.body);
            return bytes;
        }
        for chunk in self.body.chunks(100) {
            bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
            bytes.extend([chunk, b"\r\n"].concat());
        }
        bytes.extend(b"0\r\n\r\n");
        bytes
    }
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Reads to the end of the connection.
    pub(crate) async fn read(stream: &mut TcpStream) -> Answer {
        let mut bytes = Vec::new();
        // A connection that is closed with a body unread may end in a reset, after the answer.
        while stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {}
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no answer: {}", bytes.escape_ascii()));
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
        };
        Answer { status, headers: lines.map(header).collect(), body: bytes[end + 4..].to_vec() }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.body.escape_ascii()))
    }

    /// The number of the delivery, and whether it was new, of a 200.
    pub(crate) fn kept(&self) -> (DeliveryId, bool) {
        assert_eq!(self.status, 200, "{}", self.body.escape_ascii());
        assert_eq!(self.header("content-type"), "application/json");
        let answer = self.json();
        let new = match answer["status"].as_str() {
            Some("accepted") => true,
            Some("duplicate") => false,
            other => panic!("{other:?}"),
        };
        (answer["deliveryId"].as_i64().unwrap(), new)
    }

    /// Asserts that the answer is this problem, whole, and returns its detail.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, kind: &str) -> Option<String> {
        assert_eq!(self.status, status, "{}", self.body.escape_ascii());
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["type"], format!("/problems/{kind}"));
        assert_eq!(problem["status"], status);
        assert!(problem["title"].is_string(), "{problem}");
        assert_eq!(self.header("x-request-id").len(), 16);
        problem["detail"].as_str().map(str::to_owned)
    }
}
