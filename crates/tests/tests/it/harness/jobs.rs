//! An event whose body says what its handler is to do, and a handler that reports and can be held up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use contract::catalog::Catalog;
use contract::event::{Delivery, DeliveryId, Event, Failure, Meta, Outcome};
use serde::Deserialize;
use tokio::sync::{Mutex, Semaphore, mpsc};

use crate::harness::deliveries::PATIENCE;

/// What a handler is to do.
#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct Job {
    act: String,
}

impl Event for Job {
    const TYPE: &'static str = "JobEvent";

    fn example() -> &'static str {
        r#"{"act":"done"}"#
    }
}

/// The body of a job.
pub(crate) fn job(act: &str) -> String {
    format!(r#"{{"act":{act:?}}}"#)
}

/// The handlers' context: the test's side of it is [`Watcher`].
#[derive(Clone)]
pub(crate) struct Context {
    calls: mpsc::UnboundedSender<Meta>,
    gate: Arc<Semaphore>,
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

/// Sees each call and lets those go on that wait.
pub(crate) struct Watcher {
    context: Context,
    calls: Mutex<mpsc::UnboundedReceiver<Meta>>,
}

impl Watcher {
    pub(crate) fn new() -> Self {
        let (calls, received) = mpsc::unbounded_channel();
        let context = Context {
            calls,
            gate: Arc::new(Semaphore::new(0)),
            running: Arc::default(),
            most: Arc::default(),
        };
        Watcher { context, calls: Mutex::new(received) }
    }

    pub(crate) fn context(&self) -> Context {
        self.context.clone()
    }

    /// The next call of a handler.
    pub(crate) async fn call(&self) -> Meta {
        let mut calls = self.calls.lock().await;
        let call = tokio::time::timeout(PATIENCE, calls.recv()).await;
        call.expect("a handler is called").unwrap()
    }

    pub(crate) async fn call_id(&self) -> DeliveryId {
        self.call().await.id
    }

    /// Whether no handler was called since the last [`call`](Self::call).
    pub(crate) async fn is_quiet(&self) -> bool {
        self.calls.lock().await.is_empty()
    }

    /// Lets so many jobs go on.
    pub(crate) fn let_go(&self, jobs: usize) {
        self.context.gate.add_permits(jobs);
    }

    /// The most handlers that ever ran at once.
    pub(crate) fn most_at_once(&self) -> usize {
        self.context.most.load(Ordering::SeqCst)
    }
}

pub(crate) fn catalog() -> Catalog<Context> {
    Catalog::new().on(handle)
}

async fn handle(cx: Context, job: Delivery<Job>) -> Outcome {
    let running = cx.running.fetch_add(1, Ordering::SeqCst) + 1;
    cx.most.fetch_max(running, Ordering::SeqCst);
    cx.calls.send(job.meta.clone())?;
    let outcome = act(&cx, &job.act).await;
    cx.running.fetch_sub(1, Ordering::SeqCst);
    outcome
}

async fn act(cx: &Context, act: &str) -> Outcome {
    match act {
        "done" => Ok(()),
        "wait" => {
            cx.gate.acquire().await?.forget();
            Ok(())
        }
        "retry" => Err(Failure::retry("down")),
        "later" => Err(Failure::retry_after(Duration::from_secs(7), "busy")),
        "reject" => Err(Failure::reject("hopeless")),
        "panic" => panic!("oh no"),
        "hang" => std::future::pending().await,
        other => Err(Failure::reject(format!("nobody can {other}"))),
    }
}
