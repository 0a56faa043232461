//! Deliveries made the honest way, stores to keep them in, and times that the tests own.

use std::sync::Arc;
use std::time::Duration;

use contract::event::{Dialect, Environment};
use contract::time::Clock;
use contract::time::Timestamp;
use http::{HeaderMap, HeaderName, HeaderValue};
use inbox::{self, Inbox, Options, Route};
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

/// A clock that stands still.
pub(crate) fn stopped(seconds: i64) -> Clock {
    Arc::new(move || at(seconds))
}

/// One engine's store, empty at first and gone with this value.
pub(crate) struct Store {
    url: String,
    _folder: tempfile::TempDir,
}

impl Store {
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("inbox.db").display());
        Store { url, _folder: folder }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// As the receiver opens it. Whatever was opened so before must be gone, as after the end of a process.
    pub(crate) fn open(&self) -> Arc<dyn Inbox> {
        inbox::open(&self.url, Options { queue: 1024, exclusive: true }).unwrap()
    }

    /// As a command opens it beside a running receiver.
    pub(crate) fn open_beside(&self) -> Arc<dyn Inbox> {
        inbox::open(&self.url, Options { queue: 16, exclusive: false }).unwrap()
    }
}
