//! A stop, seen from inside: the receiver with handlers that take their time.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use chrono::TimeDelta;
use contract::event::DeliveryId;
use contract::time::system_clock;
use http::{Request, Response};
use inbox::{Browse, DedupCache, Detail, Filter, Inbox, RejectionLog, State};
use receiver::ingress::{IngressParts, Routes};
use receiver::serve::{Part, serve};
use settings::{Config, parse};
use telemetry::Metrics;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

use crate::harness::client::Wire;
use crate::harness::deliveries::{PATIENCE, Store};
use crate::harness::jobs::{self, Watcher, catalog, job};

/// A whole receiver in this process.
struct Fixture {
    address: SocketAddr,
    watcher: Watcher,
    stop: CancellationToken,
    served: JoinHandle<anyhow::Result<()>>,
    inbox: Arc<dyn Inbox>,
    _store: Store,
}

impl Fixture {
    async fn start(settings: &str) -> Self {
        let store = Store::sqlite();
        let config = config(&store, settings);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (watcher, stop) = (Watcher::new(), CancellationToken::new());
        let context = watcher.context();
        let served = serve(
            config,
            crate::harness::receiver::fork(catalog(), &context),
            Part::All(listener),
            None,
            stop.clone(),
        );
        let served = tokio::spawn(served);
        // The connection is answered as soon as the inbox is open.
        let mut wire = Wire::connect(address).await.unwrap();
        assert_eq!(wire.get("/readyz").await.unwrap().status, 200);
        let inbox = store.open_beside().await.inbox;
        Fixture { address, watcher, stop, served, inbox, _store: store }
    }

    async fn connect(&self) -> Wire {
        Wire::connect(self.address).await.unwrap()
    }

    async fn post(&self, act: &str) {
        let mut wire = self.connect().await;
        let id = fastrand::u64(..).to_string();
        assert_eq!(wire.post(&id, &with_type(act)).await.unwrap().status, 200);
    }

    async fn ended(self) -> Arc<dyn Inbox> {
        let served = tokio::time::timeout(PATIENCE, self.served).await;
        served.expect("it stops").unwrap().unwrap();
        self.inbox
    }
}

fn config(store: &Store, settings: &str) -> Config {
    let sources = "[sources.one]\ndialect = \"directscale\"\nauth = \"none\"\n";
    let text = format!("inbox = \"{}\"\n{sources}{settings}", store.url());
    parse(&text, [], "test").unwrap()
}

fn with_type(act: &str) -> String {
    job(act).replacen('{', "{\"EventType\":\"JobEvent\",", 1)
}

async fn show(inbox: &dyn Browse, id: DeliveryId) -> Detail {
    inbox.show(id).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn running_handlers_finish_and_nothing_is_claimed_after_a_stop() {
    let receiver = Fixture::start("[dispatch]\nconcurrency = 1\n").await;
    receiver.post("wait").await;
    let running = receiver.watcher.call_id().await;
    receiver.post("wait").await;
    receiver.stop.cancel();
    receiver.watcher.let_go(2);
    let waiting = running + 1;
    let inbox = receiver.ended().await;
    assert_eq!(show(&*inbox, running).await.entry.state, State::Done);
    let kept = show(&*inbox, waiting).await.entry;
    assert_eq!((kept.state, kept.attempts), (State::Ready, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_longer_than_the_drain_time_is_given_back() {
    let receiver = Fixture::start("[limits]\ndrain = \"50ms\"\n").await;
    for _ in 0..3 {
        receiver.post("hang").await;
        receiver.watcher.call().await;
    }
    receiver.stop.cancel();
    let inbox = receiver.ended().await;
    let kept = inbox.list(Filter::default()).await.unwrap();
    assert_eq!(kept.len(), 3);
    for entry in kept {
        assert_eq!((entry.state, entry.attempts), (State::Ready, 0));
        assert!(show(&*inbox, entry.id).await.attempts.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_receiver_accepts_nothing_more() {
    let receiver = Fixture::start("").await;
    let mut started = receiver.connect().await;
    let expect = |id: &str| {
        let head = crate::harness::client::head(id);
        format!("{head}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    };
    started.send(&expect("started")).await.unwrap();
    assert_eq!(started.answer().await.unwrap().status, 100);
    let mut late = receiver.connect().await;
    late.send("POST /api/webhooks HTTP/1.1\r\n").await.unwrap();
    receiver.stop.cancel();
    let rest = "Host: test\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    let _ = late.send(rest).await;
    let refused = late.answer().await;
    assert!(refused.as_ref().map_or(true, |answer| answer.status == 503), "{refused:?}");
    started.send("{}").await.unwrap();
    assert_eq!(started.answer().await.unwrap().status, 200);
    let inbox = receiver.ended().await;
    assert_eq!(inbox.list(Filter::default()).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_head_does_not_hold_up_a_stop() {
    let receiver = Fixture::start("[limits]\ndrain = \"1h\"\nhead_timeout = \"1h\"\n").await;
    let mut halves = Vec::new();
    for served in [false, true] {
        let mut wire = receiver.connect().await;
        if served {
            assert_eq!(wire.post("1", "{}").await.unwrap().status, 200);
        }
        wire.send("POST /api/webhooks HTTP/1.1\r\nHost").await.unwrap();
        halves.push(wire);
    }
    let mut started = receiver.connect().await;
    let rest = "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    started.send(&format!("{}{rest}", crate::harness::client::head("2"))).await.unwrap();
    assert_eq!(started.answer().await.unwrap().status, 100);
    receiver.stop.cancel();
    for mut half in halves {
        half.closed().await;
    }
    started.send("{}").await.unwrap();
    assert_eq!(started.answer().await.unwrap().status, 200);
    let inbox = receiver.ended().await;
    assert_eq!(inbox.list(Filter::default()).await.unwrap().len(), 2);
}

/// The routes alone: a connection that is being drained may still bring a request.
fn routes(
    store: &Store,
    inbox: &Arc<dyn Inbox>,
    context: &jobs::Context,
    stop: &CancellationToken,
) -> Routes {
    let config = config(store, "");
    let parts = IngressParts {
        sources: config.sources().unwrap(),
        hooks: Vec::new(),
        calls: TaskTracker::new(),
        handlers: Arc::new(catalog().bind(context).unwrap()),
        dedup_cache: DedupCache::new(Arc::clone(inbox) as _, 0, TimeDelta::MAX, system_clock()),
        rejections: RejectionLog::new(Arc::clone(inbox) as _).0,
        hook_log: receiver::hook_log::HookLog::new(Arc::clone(inbox) as _, Arc::default()).0,
        inbox: Arc::clone(inbox) as _,
        limits: config.limits,
        clock: system_clock(),
        metrics: Arc::new(Metrics::default()),
        tallies: Arc::default(),
        stop: stop.clone(),
    };
    Routes::new(parts, Router::new())
}

async fn call(routes: &mut Routes, method: &str, path: &str) -> Response<Body> {
    let request = Request::builder().method(method).uri(path);
    let request = request.header("content-type", "application/json").body(Body::from("{}"));
    routes.call(request.unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_request_that_begins_after_the_stop_is_told_to_come_again() {
    let (store, stop) = (Store::sqlite(), CancellationToken::new());
    let inbox = store.open().await.inbox;
    let mut routes = routes(&store, &inbox, &Watcher::new().context(), &stop);
    assert_eq!(call(&mut routes, "GET", "/readyz").await.status(), 200);
    stop.cancel();
    let refused = call(&mut routes, "POST", "/api/webhooks/JobEvent").await;
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["retry-after"]),
        (503, &"1".parse().unwrap())
    );
    assert_eq!(call(&mut routes, "GET", "/readyz").await.status(), 503);
    assert!(inbox.list(Filter::default()).await.unwrap().is_empty());
}
