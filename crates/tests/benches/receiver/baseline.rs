//! What the receiver is measured against: an echo, the least that a durable acceptance can be, and the receiver's own
//! checks in front of that.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use chrono::TimeDelta;
use contract::time::system_clock;
use inbox::{
    self, AcceptOutcome, Claim, DedupCache, Deliveries, HookCalls, HookEntry, HookFilter,
    HookRecord, InboxError, Lease, Receipt, Rejection, RejectionLog, Rejections, Result, Route,
    Verdict,
};
use receiver::ingress;
use settings::Overrides;
use source::Verified;
use telemetry::start_log;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

type Append = (Bytes, oneshot::Sender<()>);

/// Answers with the request's own body.
pub(crate) fn echo() -> anyhow::Result<()> {
    serve(Router::new().fallback(async |body: Bytes| body))
}

/// Takes whatever comes.
pub(crate) fn sink() -> anyhow::Result<()> {
    serve(Router::new().fallback(async |_: Bytes| "ok"))
}

/// Appends each body to a file.
pub(crate) fn append(file: &Path) -> anyhow::Result<()> {
    serve(Router::new().fallback(keep).with_state(AppendFile::open(file)?))
}

async fn keep(State(file): State<AppendFile>, body: Bytes) -> &'static str {
    file.append(body).await;
    r#"{"status":"accepted"}"#
}

/// The receiver as it ships, but with a file that is appended to in the place of its inbox.
pub(crate) fn checked(settings: &Path, file: &Path) -> anyhow::Result<()> {
    let overrides = Overrides { config: Some(settings.to_owned()), ..Overrides::default() };
    let config = settings::load(&overrides)?;
    let _log = start_log(&config.log)?;
    let inbox = Arc::new(AppendFile::open(file)?);
    let parts = ingress::IngressParts {
        sources: config.sources()?,
        hooks: Vec::new(),
        calls: TaskTracker::new(),
        handlers: Arc::new(fixture::catalog().bind(&fixture::Context::default())?),
        dedup_cache: DedupCache::new(
            Arc::clone(&inbox) as _,
            config.dedup.remembered,
            TimeDelta::days(7),
            system_clock(),
        ),
        hook_log: receiver::hook_log::HookLog::new(Arc::clone(&inbox) as _, Arc::default()).0,
        rejections: RejectionLog::new(Arc::clone(&inbox) as _).0,
        inbox,
        limits: config.limits,
        clock: system_clock(),
        metrics: Arc::default(),
        tallies: Arc::default(),
        stop: CancellationToken::new(),
    };
    serve(Router::new().fallback_service(ingress::Routes::new(parts, Router::new())))
}

/// A file with a writing thread: bodies that arrive during a sync share the next one.
#[derive(Clone)]
struct AppendFile {
    queue: mpsc::Sender<Append>,
}

impl AppendFile {
    fn open(file: &Path) -> anyhow::Result<Self> {
        let mut file = OpenOptions::new().create(true).append(true).open(file)?;
        let (sender, mut queue) = mpsc::channel::<Append>(4096);
        std::thread::spawn(move || {
            let (mut bytes, mut waiting) = (Vec::new(), Vec::new());
            while let Some(first) = queue.blocking_recv() {
                let rest = std::iter::from_fn(|| queue.try_recv().ok()).take(511);
                for (body, reply) in std::iter::once(first).chain(rest) {
                    bytes.extend_from_slice(&body);
                    waiting.push(reply);
                }
                file.write_all(&bytes).expect("the disk has room");
                file.sync_data().expect("the disk syncs");
                bytes.clear();
                for reply in waiting.drain(..) {
                    // The load has ended meanwhile.
                    let _ = reply.send(());
                }
            }
        });
        Ok(AppendFile { queue: sender })
    }

    async fn append(&self, body: Bytes) {
        let (reply, done) = oneshot::channel();
        self.queue.send((body, reply)).await.expect("the writer runs");
        done.await.expect("the writer answers");
    }
}

#[async_trait]
impl Deliveries for AppendFile {
    async fn accept(&self, delivery: Verified, _: Route) -> Result<Receipt> {
        self.append(delivery.body).await;
        Ok(Receipt { id: 1, message_id: delivery.message_id, outcome: AcceptOutcome::New })
    }

    async fn claim(&self, _: usize, _: Duration, _: Duration) -> Result<Vec<Claim>> {
        nothing()
    }

    async fn finish(&self, _: Lease, _: Verdict) -> Result<bool> {
        nothing()
    }

    async fn check(&self) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl Rejections for AppendFile {
    async fn note_rejections(&self, _: Vec<Rejection>) -> Result<()> {
        nothing()
    }

    async fn rejections(&self) -> Result<Vec<Rejection>> {
        nothing()
    }
}

#[async_trait]
impl HookCalls for AppendFile {
    async fn log_hooks(&self, _: Vec<HookRecord>) -> Result<()> {
        nothing()
    }

    async fn list_hooks(&self, _: HookFilter) -> Result<Vec<HookEntry>> {
        nothing()
    }

    async fn show_hook(&self, _: i64) -> Result<Option<HookEntry>> {
        nothing()
    }
}

fn nothing<T>() -> Result<T> {
    Err(InboxError::Unavailable("a baseline only accepts".into()))
}

#[tokio::main]
pub(crate) async fn serve(router: Router) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    Ok(axum::serve(listener, router).await?)
}
