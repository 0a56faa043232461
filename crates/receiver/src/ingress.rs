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
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, VARY};
use inbox::{DedupCache, Deliveries, RejectionLog};
use server::problem::Problem;
use server::security;
use settings::Limits;
use source::{HookRoute, Source};
use telemetry::Metrics;
use text::field::list;
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

/// Route of `GET /metrics`: in the OpenMetrics text format for a client that accepts it, otherwise in the older one.
pub fn metrics(metrics: Arc<Metrics>) -> Router {
    let answer = async move |headers: HeaderMap| {
        let (kind, text) = match accepts_open_metrics(&headers) {
            true => (OPEN_METRICS, metrics.text()),
            false => (PLAIN_METRICS, metrics.plain_text()),
        };
        let kind = (CONTENT_TYPE, HeaderValue::from_static(kind));
        let vary = (VARY, HeaderValue::from_static("accept"));
        ([kind, vary, security::NOSNIFF, security::NO_STORE], text)
    };
    Router::new().route("/metrics", get(answer))
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN_METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// True if the client names OpenMetrics among the types that it accepts; a browser does not, and would download it.
fn accepts_open_metrics(headers: &HeaderMap) -> bool {
    list(headers.get_all(ACCEPT)).any(|accepted| {
        let mut parts = accepted.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let is_named = parts
            .next()
            .is_some_and(|kind| kind.eq_ignore_ascii_case(b"application/openmetrics-text"));
        let is_refused = |part: &[u8]| {
            let weight = part.strip_prefix(b"q=").or(part.strip_prefix(b"Q="));
            weight.is_some_and(|weight| weight.iter().all(|byte| b"0.".contains(byte)))
        };
        is_named && !parts.any(is_refused)
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_are_for_clients_that_name_them() {
        let accepts = |accept: &'static str| {
            accepts_open_metrics(&HeaderMap::from_iter([(
                ACCEPT,
                HeaderValue::from_static(accept),
            )]))
        };
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert!(accepts(prometheus) && accepts("text/plain, Application/OpenMetrics-Text"));
        for other in ["", "*/*", "text/html, */*;q=0.8", "application/openmetrics-text; q=0.0"] {
            assert!(!accepts(other), "{other}");
        }
        assert!(!accepts_open_metrics(&HeaderMap::new()));
    }
}
