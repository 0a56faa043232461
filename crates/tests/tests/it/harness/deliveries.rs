//! Deliveries made the honest way, stores to keep them in, and times that the tests own.

use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::harness::{pooler, postgres};
use contract::event::{Dialect, Environment};
use contract::time::{Clock, Timestamp};
use http::{HeaderMap, HeaderName, HeaderValue};
use inbox::{self, Inbox, InboxUrl, Options, Route};
use source::{Admission, Admitted, Auth, Source, Verified};

/// Longer than any step of a test may take, on however busy a machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What a sender sends.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    source: String,
    body: String,
    headers: HeaderMap,
}

/// A message with this id, from one source, without a client id.
pub(crate) fn message(id: &str) -> Message {
    anonymous().header("x-directscale-message-id", id)
}

/// A message without an id.
pub(crate) fn anonymous() -> Message {
    Message { source: "one".into(), body: "{}".into(), headers: HeaderMap::new() }
}

impl Message {
    pub(crate) fn from(self, source: &str) -> Self {
        Message { source: source.into(), ..self }
    }

    pub(crate) fn client(self, id: &str) -> Self {
        self.header("x-directscale-client-id", id)
    }

    pub(crate) fn body(self, body: impl Into<String>) -> Self {
        Message { body: body.into(), ..self }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).unwrap();
        self.headers.insert(HeaderName::from_static(name), value);
        self
    }

    /// As the receiver sees it, after both checks.
    pub(crate) fn verified(&self) -> Verified {
        let plain =
            Source::new(&self.source, Dialect::DirectScale, "/api/webhooks", Auth::default());
        let source = Arc::new(Source { environment: Environment::Stage, ..plain });
        let mut head = http::Request::new(()).into_parts().0;
        head.headers = self.headers.clone();
        let admitted = Admitted::admit(&source, head, chrono::Utc::now()).unwrap();
        admitted.verify(self.body.clone().into()).unwrap()
    }
}

/// To a handler, in no particular order.
pub(crate) fn route() -> Route {
    Route { event_type: "JobEvent".into(), version: 1, handled: true, ordering_key: None }
}

/// To a handler, one at a time for each key.
pub(crate) fn keyed(key: &str) -> Route {
    Route { ordering_key: Some(key.into()), ..route() }
}

/// So many seconds after the tests' own beginning of time.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
}

/// A clock that the tests set. It stands still unless it is let run.
#[derive(Clone)]
pub(crate) struct TestClock(Arc<Mutex<(Timestamp, Option<Instant>)>>);

impl TestClock {
    /// At the tests' own beginning of time.
    pub(crate) fn new() -> Self {
        TestClock(Arc::new(Mutex::new((at(0), None))))
    }

    /// Stops it at so many seconds after the beginning.
    pub(crate) fn set(&self, seconds: i64) {
        *self.0.lock().unwrap() = (at(seconds), None);
    }

    /// Lets it run, so that it is `due` in a moment.
    pub(crate) fn run_up_to(&self, due: i64) {
        let before = at(due) - Duration::from_millis(20);
        *self.0.lock().unwrap() = (before, Some(Instant::now()));
    }

    pub(crate) fn now(&self) -> Timestamp {
        let (time, running) = *self.0.lock().unwrap();
        time + running.map_or(Duration::ZERO, |since| since.elapsed())
    }

    pub(crate) fn clock(&self) -> Clock {
        let clock = self.clone();
        Arc::new(move || clock.now())
    }
}

/// An opened inbox with its clock.
#[derive(Clone)]
pub(crate) struct Opened {
    pub(crate) inbox: Arc<dyn Inbox>,
    pub(crate) clock: TestClock,
}

impl Opened {
    /// The inbox at so many seconds after the beginning.
    pub(crate) fn at(&self, seconds: i64) -> &dyn Inbox {
        self.clock.set(seconds);
        &*self.inbox
    }
}

impl Deref for Opened {
    type Target = dyn Inbox;

    fn deref(&self) -> &Self::Target {
        &*self.inbox
    }
}

/// The inbox in a file, by the machine's clock.
pub(crate) async fn open_file(file: &Path, options: Options) -> Arc<dyn Inbox> {
    inbox::open(&InboxUrl::Sqlite(file.to_owned()), options).await.unwrap()
}

/// One engine's store, empty at first and gone with this value.
pub(crate) struct Store {
    url: InboxUrl,
    pub(crate) clock: TestClock,
    pub(crate) place: Place,
}

/// Where a store is.
pub(crate) enum Place {
    /// Kept until the store is gone.
    Folder(#[allow(dead_code)] tempfile::TempDir),
    Database(postgres::Database),
}

impl Place {
    /// Runs a statement in the database, and returns what it prints.
    pub(crate) fn run(&self, statement: &str) -> String {
        match self {
            Place::Database(database) => database.run(statement),
            Place::Folder(_) => panic!("it is no database"),
        }
    }
}

impl Store {
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = InboxUrl::Sqlite(folder.path().join("inbox.db"));
        Store { url, clock: TestClock::new(), place: Place::Folder(folder) }
    }

    pub(crate) fn postgres() -> Self {
        let database = postgres::server().expect("PostgreSQL is installed").database();
        let url = InboxUrl::parse(&database.url().into()).unwrap();
        Store { url, clock: TestClock::new(), place: Place::Database(database) }
    }

    pub(crate) fn url(&self) -> &InboxUrl {
        &self.url
    }

    /// A database behind a transaction pooler.
    pub(crate) fn pooled() -> Self {
        let store = Store::postgres();
        let Place::Database(database) = &store.place else { panic!("it is a database") };
        let pooler = pooler::pooler().expect("pgbouncer is installed");
        let url = InboxUrl::parse(&pooler.url(database).into()).unwrap();
        Store { url, ..store }
    }

    /// The URL with what is secret in it.
    pub(crate) fn secret(&self) -> String {
        match (&self.place, &self.url) {
            (Place::Database(database), _) => database.url(),
            (Place::Folder(_), url) => url.to_string(),
        }
    }

    /// As the receiver opens it. Whatever was opened so before must be gone, as after the end of a process.
    pub(crate) async fn open(&self) -> Opened {
        self.open_as(Options::receiver(1024)).await
    }

    /// As a command opens it beside a running receiver.
    pub(crate) async fn open_beside(&self) -> Opened {
        self.open_as(Options::command()).await
    }

    /// True if it may have several receivers at once.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.place, Place::Database(_))
    }

    /// A second connection: of another receiver if there may be one, else of a command.
    pub(crate) async fn open_second(&self) -> Opened {
        if self.is_shared() { self.open().await } else { self.open_beside().await }
    }

    async fn open_as(&self, options: Options) -> Opened {
        let options = options.with_clock(self.clock.clock());
        let inbox = inbox::open(&self.url, options).await.unwrap();
        Opened { inbox, clock: self.clock.clone() }
    }
}
