//! HTTP ingress of deliveries and hook calls: routes and limits.

pub mod accepted;
mod body;
mod call_log;
mod diagnosis;
mod endpoint;
mod events;
mod gate;
mod handshake;
mod hook_response;
mod hooks;
pub mod page;
mod record;
mod refused;
mod shares;

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use contract::catalog::Handlers;
use contract::time::Clock;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use inbox::{DedupCache, Deliveries, RejectionLog};
use server::problem::Problem;
use settings::Limits;
use source::{HookRoute, Source};
use telemetry::Metrics;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

use crate::hook_log::HookLog;
use crate::tallies::TallyCounter;
use events::Receiver;
use record::{Recorder, record};

/// Dependencies of the routes.
pub struct IngressParts {
    /// The configured senders.
    pub sources: Vec<Arc<Source>>,
    /// The events and hooks, with their handlers.
    pub handlers: Arc<Handlers>,
    /// The hook routes.
    pub hooks: Vec<Arc<HookRoute>>,
    /// Running hook calls; closed and waited for at a stop.
    pub calls: TaskTracker,
    /// The inbox behind its cache of message ids.
    pub dedup_cache: DedupCache,
    /// The inbox itself, for readiness and for deferred events.
    pub inbox: Arc<dyn Deliveries>,
    /// The hook log.
    pub hook_log: HookLog,
    /// The rejection log.
    pub rejections: RejectionLog,
    /// Limits of requests.
    pub limits: Limits,
    /// Clock.
    pub clock: Clock,
    /// Metrics of requests.
    pub metrics: Arc<Metrics>,
    /// Counts for the console.
    pub tallies: Arc<TallyCounter>,
    /// Fires at a stop: from then on nothing is accepted.
    pub stop: CancellationToken,
}

/// The HTTP service: requests to a source go to it directly, all others to the router.
pub struct Routes(Arc<RoutesInner>);

struct RoutesInner {
    receiver: Arc<Receiver>,
    others: Router,
    recorder: Recorder,
}

impl Routes {
    /// Creates the routes of sources, hooks, health checks and `pages`.
    pub fn new(parts: IngressParts, pages: Router) -> Self {
        let recorder = Recorder {
            metrics: Arc::clone(&parts.metrics),
            tallies: Arc::clone(&parts.tallies),
            clock: Arc::clone(&parts.clock),
            rejections: parts.rejections.clone(),
        };
        let inbox = Arc::clone(&parts.inbox);
        let can_store = move || {
            let inbox = Arc::clone(&inbox);
            async move { inbox.check().await }.boxed()
        };
        let probes = probes(Arc::new(can_store), parts.stop.clone());
        let receiver = Arc::new(Receiver::new(parts));
        let others = Router::new()
            .fallback(events::not_found)
            .with_state(Arc::clone(&receiver))
            .merge(probes)
            .merge(pages);
        Routes(Arc::new(RoutesInner { receiver, others, recorder }))
    }
}

impl RoutesInner {
    async fn answer(&self, request: Request) -> Response {
        record(&self.recorder, request, async |request, id| {
            if let Some(destination) = self.receiver.find(request.uri().path()) {
                return self.receiver.receive(&destination, request, id).await;
            }
            let Ok(response) = self.others.clone().call(request).await;
            response
        })
        .await
    }
}

impl Clone for Routes {
    fn clone(&self) -> Self {
        Routes(Arc::clone(&self.0))
    }
}

impl Service<Request> for Routes {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let inner = Arc::clone(&self.0);
        async move { Ok(inner.answer(request).await) }.boxed()
    }
}

/// Route of `GET /metrics`, in the OpenMetrics text format.
pub fn metrics(metrics: Arc<Metrics>) -> Router {
    let text = [(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    Router::new().route("/metrics", get(async move || (text, metrics.text())))
}

/// Checks that the process can do its work now.
pub type ReadyCheck = Arc<dyn Fn() -> BoxFuture<'static, inbox::Result<()>> + Send + Sync>;

/// Routes of the health and readiness probes.
pub fn probes(check: ReadyCheck, stop: CancellationToken) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readiness).with_state(Readiness { check, stop }))
}

#[derive(Clone)]
struct Readiness {
    check: ReadyCheck,
    stop: CancellationToken,
}

/// Readiness probe: 200 if deliveries can be accepted now, or, by a worker, handled.
async fn readiness(State(health): State<Readiness>) -> Response {
    if health.stop.is_cancelled() {
        return unready("stopping");
    }
    match tokio::time::timeout(Duration::from_secs(5), (health.check)()).await {
        Ok(Ok(())) => (StatusCode::OK, "ready\n").into_response(),
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready");
            unready("the inbox is unavailable")
        }
        Err(_) => unready("the inbox does not answer"),
    }
}

fn unready(why: &str) -> Response {
    Problem::unavailable(Duration::from_secs(1)).detail(why).into_response()
}
