//! Request log: one line, the metrics and the rejection log for every request.

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
use inbox::{Rejection, RejectionLog, TallyKind};
use server::problem::{INTERNAL, Problem};
use server::request_id::{REQUEST_ID, RequestId};
use signature::Fingerprint;
use telemetry::Metrics;
use tracing::{info, warn};

use crate::tallies::TallyCounter;

/// Largest length of a logged method and path, in characters.
const LONGEST_TARGET: usize = 200;

/// Outcome of a handshake, which is no delivery.
pub(super) const HANDSHAKE: &str = "handshake";

/// Outcome of a canary, which is not counted.
pub(super) const PROBE: &str = "canary";

/// Shared facts about a request. One clone travels with the request, and the code that answers it adds to them.
#[derive(Clone, Default)]
pub(super) struct SharedFacts(Arc<Mutex<RequestFacts>>);

impl SharedFacts {
    /// The facts that travel with a request.
    pub(super) fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_default()
    }

    pub(super) fn note(&self, note: impl FnOnce(&mut RequestFacts)) {
        note(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn take(&self) -> RequestFacts {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The facts about a request for its log line; the other fields come from the response.
#[derive(Debug, Clone, Default)]
pub(super) struct RequestFacts {
    pub(super) source: Option<String>,
    pub(super) event_type: Option<String>,
    pub(super) message_id: Option<String>,
    pub(super) delivery: Option<DeliveryId>,
    pub(super) outcome: Option<&'static str>,
    /// Fingerprint of the key that authenticated it.
    pub(super) key: Option<Fingerprint>,
    /// Called hook; the request is then no delivery.
    pub(super) hook: Option<String>,
    /// Duration of the hook's callback, if it was used.
    pub(super) callback: Option<Duration>,
    /// Error id in the response of a failed hook.
    pub(super) error_id: Option<String>,
    /// Reason of the refusal, for the owner.
    pub(super) reason: Option<String>,
}

/// Sinks of request records.
#[derive(Clone)]
pub(super) struct Recorder {
    pub(super) metrics: Arc<Metrics>,
    pub(super) tallies: Arc<TallyCounter>,
    pub(super) clock: Clock,
    pub(super) rejections: RejectionLog,
}

impl Recorder {
    /// Counts an authentic delivery by its outcome.
    fn tally(&self, source: &str, outcome: &str) {
        match outcome {
            "duplicate" => self.tallies.add(source, TallyKind::Duplicate),
            "conflict" => self.tallies.add(source, TallyKind::Conflict),
            _ => self.tallies.add(source, TallyKind::Accepted),
        }
        if outcome == "unrouted" {
            self.tallies.add(source, TallyKind::Unrouted);
        }
    }
}

/// Middleware: assigns the request id, turns a panic into a 500, counts and logs.
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
    let facts = SharedFacts::default();
    request.extensions_mut().insert(facts.clone());
    let mut unanswered = Unanswered(Some(&id));
    let answered = AssertUnwindSafe(answer(request, number)).catch_unwind().await;
    unanswered.0 = None;
    let mut response = answered.unwrap_or_else(|_| {
        facts.note(|known| known.reason = Some("the request handling panicked".into()));
        Problem::new(&INTERNAL).instance(id.as_str()).into_response()
    });
    let known = facts.take();
    let status = response.status();
    let took = started.elapsed();
    match &known {
        RequestFacts { outcome: Some(HANDSHAKE | PROBE), .. } => {}
        RequestFacts { hook: Some(_), outcome: Some(_), .. } => {}
        RequestFacts { source: Some(source), outcome: Some(outcome), .. } => {
            recorder.metrics.delivery(source, outcome, took);
            recorder.tally(source, outcome);
        }
        _ if status.is_client_error() || status.is_server_error() => {
            recorder.metrics.refusal(status.as_u16());
            // Those of the rejection log: a page that asks for a login refuses no delivery.
            let source = known.source.as_deref();
            if source.is_some() || is_elsewhere(status) {
                recorder.tallies.add(source.unwrap_or_default(), TallyKind::Refused);
            }
        }
        _ => {}
    }
    if let Some(rejection) = rejection(&id, status, &known, || format!("{method} {}", uri.path())) {
        recorder.rejections.note(Rejection { at: (recorder.clock)(), ..rejection });
    }
    match known.source {
        // The path of a delivery may be a secret; its source is enough.
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

/// True for the answer to a request that is for no source and no page.
fn is_elsewhere(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED)
}

/// Entry for the rejection log, if the request was refused or known. The path is included only if it belongs to no source
/// and no page.
fn rejection(
    id: &str,
    status: StatusCode,
    known: &RequestFacts,
    target: impl FnOnce() -> String,
) -> Option<Rejection> {
    let is_known = matches!(known.outcome, Some("duplicate" | "conflict"));
    let is_rejection = match known.source {
        Some(_) => known.hook.is_none() && (known.reason.is_some() || is_known),
        None => is_elsewhere(status),
    };
    if !is_rejection {
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

/// Logs a request that is dropped because its sender disconnected before the response.
struct Unanswered<'i>(Option<&'i str>);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.0 {
            warn!(request.id = id, reason = "the sender hung up before the response", "request");
        }
    }
}

fn log_delivery(id: &str, status: StatusCode, took: Duration, known: &RequestFacts) {
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
