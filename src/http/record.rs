//! One log line a request, written from what the route left in its response.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::{HeaderName, HeaderValue, StatusCode};
use tracing::{info, warn};

use super::problem::{INTERNAL, Problem};
use crate::event::DeliveryId;
use crate::signature::Fingerprint;
use crate::telemetry::Metrics;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The outcome of a request that only asked whether it may send; it is no delivery.
pub(super) const HANDSHAKE: &str = "handshake";

/// The outcome of a canary; nobody waits for it, so it is not counted.
pub(super) const PROBE: &str = "canary";

/// Sixteen random hexadecimal digits: enough to find a line, not meant to be a secret.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestId(u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What receiving found out about a request; the rest of the line is the response's.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    pub(super) source: Option<String>,
    pub(super) event_type: Option<String>,
    pub(super) message_id: Option<String>,
    pub(super) delivery: Option<DeliveryId>,
    pub(super) outcome: Option<&'static str>,
    /// The fingerprint of the key that proved it.
    pub(super) key: Option<Fingerprint>,
    /// The hook that is called; the request is then no delivery.
    pub(super) hook: Option<String>,
    /// How long the hook's callback took, if it was used.
    pub(super) callback: Option<Duration>,
    /// The id that the answer of a failed hook has.
    pub(super) error_id: Option<String>,
    /// Why it was refused, in words for the owner.
    pub(super) reason: Option<String>,
}

/// Gives the request an id, turns a panic into a 500, counts, and logs.
pub(super) async fn record(
    State(metrics): State<Arc<Metrics>>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let id = RequestId(fastrand::u64(..));
    request.extensions_mut().insert(id);
    let id = id.to_string();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut unanswered = Unanswered(Some(&id));
    let answered = std::panic::AssertUnwindSafe(next.run(request)).catch_unwind().await;
    unanswered.0 = None;
    let mut response =
        answered.unwrap_or_else(|_| Problem::new(&INTERNAL).instance(id.as_str()).into_response());
    let facts = response.extensions_mut().remove::<Facts>();
    let status = response.status();
    let took = started.elapsed();
    match &facts {
        Some(Facts { outcome: Some(HANDSHAKE | PROBE), .. }) => {}
        Some(Facts { hook: Some(_), outcome: Some(_), .. }) => {}
        Some(Facts { source: Some(source), outcome: Some(outcome), .. }) => {
            metrics.delivery(source, outcome, took);
        }
        _ if status.is_client_error() || status.is_server_error() => {
            metrics.refusal(status.as_u16());
        }
        _ => {}
    }
    match facts {
        // The path of a delivery may be a secret; its source says enough.
        Some(facts) => log_delivery(&id, status, took, &facts),
        None => info!(
            request.id = id,
            %method,
            path,
            status = status.as_u16(),
            duration_us = micros(took),
            "request"
        ),
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// Logs the request whose sender hangs up first: then nobody waits for its answer any more, and it is dropped.
struct Unanswered<'i>(Option<&'i str>);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.0 {
            warn!(request.id = id, reason = "the sender hung up before its answer", "request");
        }
    }
}

fn log_delivery(id: &str, status: StatusCode, took: Duration, facts: &Facts) {
    macro_rules! line {
        ($level:ident) => {
            $level!(
                request.id = id,
                source = facts.source,
                event.r#type = facts.event_type,
                message.id = facts.message_id,
                delivery.id = facts.delivery,
                hook = facts.hook,
                callback_us = facts.callback.map(micros),
                error.id = facts.error_id,
                key = facts.key.map(tracing::field::display),
                outcome = facts.outcome.unwrap_or("refused"),
                reason = facts.reason,
                status = status.as_u16(),
                duration_us = micros(took),
                "request"
            )
        };
    }
    if facts.reason.is_some() { line!(warn) } else { line!(info) }
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}
