//! One log line a request, written from what answering it found out.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use contract::event::DeliveryId;
use contract::time::Clock;
use contract::time::Timestamp;
use futures_util::FutureExt;
use http::{Extensions, HeaderValue, StatusCode};
use inbox::{Rejection, RejectionLog};
use server::problem::{INTERNAL, Problem};
use server::request_id::{REQUEST_ID, RequestId};
use signature::Fingerprint;
use telemetry::Metrics;
use tracing::{info, warn};

/// As much of a stranger's path as is kept.
const LONGEST_TARGET: usize = 200;

/// The outcome of a request that only asked whether it may send; it is no delivery.
pub(super) const HANDSHAKE: &str = "handshake";

/// The outcome of a canary; nobody waits for it, so it is not counted.
pub(super) const PROBE: &str = "canary";

/// What is known of a request so far. Clones share it: one travels with the request, and whoever answers adds to it.
#[derive(Clone, Default)]
pub(super) struct Facts(Arc<Mutex<Known>>);

impl Facts {
    /// Those that travel with a request.
    pub(super) fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_default()
    }

    pub(super) fn note(&self, note: impl FnOnce(&mut Known)) {
        note(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn take(&self) -> Known {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The facts of a request, for its log line; the rest of the line is the response's.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
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

/// What a request leaves behind, besides its answer.
#[derive(Clone)]
pub(super) struct Recorder {
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
    pub(super) rejections: RejectionLog,
}

/// Gives the request an id, turns a panic into a 500, counts, and logs.
pub(super) async fn record<F>(
    recorder: &Recorder,
    mut request: Request,
    answer: impl FnOnce(Request, RequestId) -> F,
) -> Response
where
    F: Future<Output = Response>,
{
    let started = Instant::now();
    let number = RequestId::new();
    let id = number.to_string();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let facts = Facts::default();
    request.extensions_mut().insert(facts.clone());
    let mut unanswered = Unanswered(Some(&id));
    let answered = AssertUnwindSafe(answer(request, number)).catch_unwind().await;
    unanswered.0 = None;
    let mut response = answered.unwrap_or_else(|_| {
        facts.note(|known| known.reason = Some("answering it has panicked".into()));
        Problem::new(&INTERNAL).instance(id.as_str()).into_response()
    });
    let known = facts.take();
    let status = response.status();
    let took = started.elapsed();
    match &known {
        Known { outcome: Some(HANDSHAKE | PROBE), .. } => {}
        Known { hook: Some(_), outcome: Some(_), .. } => {}
        Known { source: Some(source), outcome: Some(outcome), .. } => {
            recorder.metrics.delivery(source, outcome, took);
        }
        _ if status.is_client_error() || status.is_server_error() => {
            recorder.metrics.refusal(status.as_u16());
        }
        _ => {}
    }
    if let Some(seen) = rejection(&id, status, &known, || format!("{method} {}", uri.path())) {
        recorder.rejections.note(Rejection { at: (recorder.clock)(), ..seen });
    }
    match known.source {
        // The path of a delivery may be a secret; its source says enough.
        Some(_) => log_delivery(&id, status, took, &known),
        None => info!(
            request.id = id,
            %method,
            path = uri.path(),
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

/// What is to be told of a request that brought nothing new. A path is told only if it is no source's and no page's.
fn rejection(
    id: &str,
    status: StatusCode,
    known: &Known,
    target: impl FnOnce() -> String,
) -> Option<Rejection> {
    let is_known = matches!(known.outcome, Some("duplicate" | "conflict"));
    let is_told = match known.source {
        Some(_) => known.hook.is_none() && (known.reason.is_some() || is_known),
        None => matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED),
    };
    if !is_told {
        return None;
    }
    let is_elsewhere = known.source.is_none();
    let target = is_elsewhere.then(|| target().chars().take(LONGEST_TARGET).collect());
    let known = known.clone();
    Some(Rejection {
        request_id: id.to_owned(),
        at: Timestamp::UNIX_EPOCH,
        source: known.source,
        target,
        event_type: known.event_type.filter(|event| !event.is_empty()),
        message_id: known.message_id,
        delivery: known.delivery,
        status: status.as_u16(),
        reason: known.reason,
        findings: None,
    })
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

fn log_delivery(id: &str, status: StatusCode, took: Duration, known: &Known) {
    macro_rules! line {
        ($level:ident) => {
            $level!(
                request.id = id,
                source = known.source,
                event.r#type = known.event_type,
                message.id = known.message_id,
                delivery.id = known.delivery,
                hook = known.hook,
                callback_us = known.callback.map(micros),
                error.id = known.error_id,
                key = known.key.map(tracing::field::display),
                outcome = known.outcome.unwrap_or("refused"),
                reason = known.reason,
                status = status.as_u16(),
                duration_us = micros(took),
                "request"
            )
        };
    }
    if known.reason.is_some() { line!(warn) } else { line!(info) }
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}
