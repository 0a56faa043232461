//! Where deliveries and hooks are received by HTTP: routes and limits.

pub mod answer;
mod body;
mod connections;
mod diagnosis;
mod endpoint;
mod gate;
mod handshake;
mod hooks;
mod ledger;
pub mod page;
mod receive;
mod record;
mod refused;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::catalog::Catalog;
use crate::config::Limits;
use crate::hook::Site;
use crate::inbox::{Front, HookLog, Inbox, Sightings};
use crate::source::Source;
use crate::telemetry::{Clock, Metrics};
use crate::web::problem::Problem;

pub use connections::serve;

/// What the routes need.
pub struct Parts<C> {
    /// The configured senders.
    pub sources: Vec<Arc<Source>>,
    /// The events and their handlers.
    pub catalog: Arc<Catalog<C>>,
    /// Where hooks are received.
    pub hooks: Vec<Arc<Site>>,
    /// The calls of hooks that run; closed and waited for at a stop.
    pub calls: TaskTracker,
    /// What the handlers of hooks are given; cloned for each call.
    pub context: C,
    /// The inbox behind its memory of recent ids.
    pub front: Front,
    /// The inbox itself, for readiness.
    pub inbox: Arc<dyn Inbox>,
    /// Keeps how calls of hooks end.
    pub hook_log: HookLog,
    /// Notes what brings nothing new.
    pub sightings: Sightings,
    /// What a request may cost.
    pub limits: Limits,
    /// Tells the time.
    pub clock: Clock,
    /// Counts the requests.
    pub metrics: Arc<Metrics>,
    /// Fires when the process is to stop: from then on nothing is accepted.
    pub stop: CancellationToken,
}

/// All routes: receiving and health, and `pages` beside them.
pub fn router<C: Clone + Send + Sync + 'static>(parts: Parts<C>, pages: Router) -> Router {
    let sightings = parts.sightings.clone();
    let recorder = record::Recorder {
        metrics: Arc::clone(&parts.metrics),
        clock: Arc::clone(&parts.clock),
        sightings,
    };
    let health = Health { inbox: Arc::clone(&parts.inbox), stop: parts.stop.clone() };
    let receiver = Arc::new(receive::Receiver::new(parts));
    Router::new()
        .fallback(receive::receive::<C>)
        .with_state(receiver)
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readiness).with_state(health))
        .merge(pages)
        .layer(middleware::from_fn_with_state(recorder, record::record))
}

/// `GET /metrics` in the OpenMetrics text format.
pub fn metrics(metrics: Arc<Metrics>) -> Router {
    let text = [(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    Router::new().route("/metrics", get(async move || (text, metrics.text())))
}

#[derive(Clone)]
struct Health {
    inbox: Arc<dyn Inbox>,
    stop: CancellationToken,
}

/// Whether deliveries can be accepted now.
async fn readiness(State(health): State<Health>) -> Response {
    if health.stop.is_cancelled() {
        return unready("stopping");
    }
    match tokio::time::timeout(Duration::from_secs(5), health.inbox.check()).await {
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
