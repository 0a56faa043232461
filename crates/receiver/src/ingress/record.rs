//! One log line a request, written from what answering it found out.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use contract::event::DeliveryId;
use contract::time::Clock;
use contract::time::Timestamp;
use futures_util::FutureExt;
use http::{HeaderValue, StatusCode};
use inbox::{Sighting, Sightings};
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

/// What a request leaves behind, besides its answer.
#[derive(Clone)]
pub(super) struct Recorder {
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
    pub(super) sightings: Sightings,
}

/// Gives the request an id, turns a panic into a 500, counts, and logs.
pub(super) async fn record<F>(
    recorder: &Recorder,
    request: Request,
    answer: impl FnOnce(Request, RequestId) -> F,
) -> Response
where
    F: Future<Output = (Response, Option<Facts>)>,
{
    let started = Instant::now();
    let number = RequestId::new();
    let id = number.to_string();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let mut unanswered = Unanswered(Some(&id));
    let answered = AssertUnwindSafe(answer(request, number)).catch_unwind().await;
    unanswered.0 = None;
    let (mut response, facts) = answered
        .unwrap_or_else(|_| (Problem::new(&INTERNAL).instance(id.as_str()).into_response(), None));
    let status = response.status();
    let took = started.elapsed();
    match &facts {
        Some(Facts { outcome: Some(HANDSHAKE | PROBE), .. }) => {}
        Some(Facts { hook: Some(_), outcome: Some(_), .. }) => {}
        Some(Facts { source: Some(source), outcome: Some(outcome), .. }) => {
            recorder.metrics.delivery(source, outcome, took);
        }
        _ if status.is_client_error() || status.is_server_error() => {
            recorder.metrics.refusal(status.as_u16());
        }
        _ => {}
    }
    if let Some(seen) = sighting(&id, status, facts.as_ref(), || format!("{method} {}", uri.path()))
    {
        recorder.sightings.saw(Sighting { at: (recorder.clock)(), ..seen });
    }
    match facts {
        // The path of a delivery may be a secret; its source says enough.
        Some(facts) => log_delivery(&id, status, took, &facts),
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
fn sighting(
    id: &str,
    status: StatusCode,
    facts: Option<&Facts>,
    target: impl FnOnce() -> String,
) -> Option<Sighting> {
    let is_known = |facts: &Facts| matches!(facts.outcome, Some("duplicate" | "conflict"));
    let is_told = match facts {
        Some(facts) => facts.hook.is_none() && (facts.reason.is_some() || is_known(facts)),
        None => matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED),
    };
    if !is_told {
        return None;
    }
    let target = facts.is_none().then(|| target().chars().take(LONGEST_TARGET).collect());
    let facts = facts.cloned().unwrap_or_default();
    Some(Sighting {
        request_id: id.to_owned(),
        at: Timestamp::UNIX_EPOCH,
        source: facts.source,
        target,
        event_type: facts.event_type.filter(|event| !event.is_empty()),
        message_id: facts.message_id,
        delivery: facts.delivery,
        status: status.as_u16(),
        reason: facts.reason,
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
