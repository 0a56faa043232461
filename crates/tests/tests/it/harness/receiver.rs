//! A receiver in this process on a free port, and a client that sends exactly what it is told to.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use contract::catalog::Catalog;
use contract::event::DeliveryId;
use contract::time::{Clock, system_clock};
use inbox::{self, Detail, Filter, HookEntry, HookFilter, Inbox, Options};
use receiver::serve::{Fork, Part, serve};
use settings::{Config, parse};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::harness::client::{Answer, Request};
use crate::harness::deliveries::open_file;

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
        let config =
            Config { inbox: url(folder.path()).into(), ..parse(settings, [], "test").unwrap() };
        let stop = CancellationToken::new();
        let serving = serve(config, fork, Part::All(listener), Some(clock), stop.clone());
        Receiver { address, folder, stop, serving: tokio::spawn(serving) }
    }

    /// Stops as soon as every delivery has ended.
    pub(crate) async fn finish(self) -> Stopped {
        let inbox = open(self.folder.path()).await;
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

    /// The folder of the inbox.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Waits until it ends by itself.
    pub(crate) async fn ended(self) -> anyhow::Result<()> {
        self.serving.await.unwrap()
    }

    /// Sends a request and reads the answer.
    pub(crate) async fn send(&self, request: &Request) -> Answer {
        request.send(&self.address).await
    }
}

/// A fork without pages.
pub(crate) fn fork<C: Clone + Send + Sync + 'static>(catalog: Catalog<C>, context: &C) -> Fork {
    Fork {
        handlers: catalog.bind(context).unwrap(),
        pages: Router::new(),
        console: Some(console::routes),
    }
}

/// What a receiver has left on disk.
pub(crate) struct Stopped(pub(crate) TempDir);

impl Stopped {
    /// The deliveries in order of acceptance.
    pub(crate) async fn deliveries(&self) -> Vec<Detail> {
        let inbox = open(self.0.path()).await;
        let mut found = Vec::new();
        for entry in inbox.list(Filter::default()).await.unwrap().iter().rev() {
            found.push(inbox.show(entry.id).await.unwrap().unwrap());
        }
        found
    }

    /// The calls of hooks, newest first.
    pub(crate) async fn calls(&self) -> Vec<HookEntry> {
        open(self.0.path()).await.list_hooks(HookFilter::default()).await.unwrap()
    }

    /// One call of a hook, with its bodies.
    pub(crate) async fn call(&self, id: i64) -> HookEntry {
        open(self.0.path()).await.show_hook(id).await.unwrap().unwrap()
    }

    /// Asks for a delivery to be handled again.
    pub(crate) async fn replay(&self, id: DeliveryId) {
        let filter = Filter { ids: vec![id], ..Filter::default() };
        assert_eq!(open(self.0.path()).await.replay(filter).await.unwrap(), 1);
    }
}

async fn open(folder: &Path) -> Arc<dyn Inbox> {
    open_file(&folder.join("inbox.db"), Options::command()).await
}

fn url(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("inbox.db").display())
}
