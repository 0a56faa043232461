//! From a request to an answer: admit, read, verify, keep.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::Parts;
use super::answer::{Answer, Status};
use super::body::{Reader, Unread};
use super::diagnosis::{Arrival, Diagnoses};
use super::endpoint::Endpoint;
use super::handshake;
use super::problem::{
    BAD_REQUEST, CONTENT_TOO_LARGE, METHOD_NOT_ALLOWED, NOT_FOUND, Problem, REQUEST_TIMEOUT,
    UNAUTHORIZED, UNSUPPORTED_MEDIA_TYPE,
};
use super::record::{Facts, HANDSHAKE, RequestId};
use crate::catalog::Catalog;
use crate::inbox::{Front, InboxError, Receipt, Route, Seen};
use crate::source::{Refusal, RefusalKind, Rejected, Source, Verified};
use crate::telemetry::Clock;

/// When a sender that met a full receiver should come again.
const SOON: Duration = Duration::from_secs(1);

/// When a sender that met a receiver without an inbox should come again.
const LATER: Duration = Duration::from_secs(10);

/// How long a request that proves nothing waits for its answer, with neither a turn nor its body held meanwhile:
/// a flood over kept connections slows itself down and leaves the machine to others.
const UNPROVEN_PAUSE: Duration = Duration::from_millis(5);

/// Accepts deliveries. `C` is the fork's context, which only dispatch uses.
pub(super) struct Receiver<C> {
    endpoints: Vec<Endpoint>,
    catalog: Arc<Catalog<C>>,
    front: Front,
    reader: Reader,
    diagnoses: Diagnoses,
    turns: Semaphore,
    clock: Clock,
    stop: CancellationToken,
}

/// What has come of an authentic request.
enum Accepted {
    /// A delivery that is in the inbox.
    Kept(Answer),
    /// The sender only asked to have its challenge repeated.
    Challenge(String),
}

/// Why a request is not accepted: what the sender may know, and what the owner should.
struct Refused {
    problem: Box<Problem>,
    reason: Cow<'static, str>,
}

/// The route for everything that no other route takes.
pub(super) async fn receive<C: Send + Sync + 'static>(
    State(receiver): State<Arc<Receiver<C>>>,
    request: Request,
) -> Response {
    let path = request.uri().path();
    let found = receiver.endpoints.iter().find_map(|e| e.event(path).map(|event| (e, event)));
    let Some((endpoint, event)) = found else {
        return receiver.not_found(path);
    };
    let event = event.into_owned();
    let mut facts = Facts {
        source: Some(endpoint.source.name.clone()),
        event_type: Some(event.clone()),
        ..Facts::default()
    };
    if let Some(mut response) = handshake::answer(&endpoint.source, &request) {
        facts.outcome = Some(HANDSHAKE);
        response.extensions_mut().insert(facts);
        return response;
    }
    if request.method() != Method::POST {
        return not_post(facts);
    }
    let mut response = match receiver.accept(endpoint, &event, request, &mut facts).await {
        Ok(Accepted::Kept(answer)) => {
            let status = StatusCode::from_u16(endpoint.source.accepted_status);
            answer.respond(status.unwrap_or(StatusCode::OK))
        }
        Ok(Accepted::Challenge(challenge)) => handshake::echo(&challenge),
        Err(refused) => {
            facts.reason = Some(refused.reason.into_owned());
            refused.problem.into_response()
        }
    };
    if response.status() == StatusCode::UNAUTHORIZED {
        tokio::time::sleep(UNPROVEN_PAUSE).await;
    }
    response.extensions_mut().insert(facts);
    response
}

fn not_post(facts: Facts) -> Response {
    let mut response = Problem::new(&METHOD_NOT_ALLOWED).into_response();
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    let reason = Some("only POST is received".into());
    response.extensions_mut().insert(Facts { reason, ..facts });
    response
}

impl<C: 'static> Receiver<C> {
    pub(super) fn new(parts: Parts<C>) -> Self {
        let mut versions: Vec<u16> = parts.catalog.iter().map(|row| row.version).collect();
        versions.push(1);
        versions.sort_unstable();
        versions.dedup();
        let limits = &parts.limits;
        let reader = Reader::new(limits.max_body, limits.body_timeout, limits.buffered);
        Receiver {
            endpoints: parts
                .sources
                .iter()
                .flat_map(|source| Endpoint::of(source, &versions))
                .collect(),
            diagnoses: Diagnoses::new(&parts.sources, reader.clone(), parts.stop.clone()),
            reader,
            turns: Semaphore::new(limits.concurrency),
            catalog: parts.catalog,
            front: parts.front,
            clock: parts.clock,
            stop: parts.stop,
        }
    }

    /// Nothing is served there. If the path holds a source's secret one, the log names the source instead.
    fn not_found(&self, path: &str) -> Response {
        let mut response = Problem::new(&NOT_FOUND).into_response();
        if let Some(endpoint) = self.endpoints.iter().find(|endpoint| endpoint.is_revealed_by(path))
        {
            response.extensions_mut().insert(Facts {
                source: Some(endpoint.source.name.clone()),
                reason: Some(
                    "the path holds the source's secret, but is not its path and an event's name"
                        .into(),
                ),
                ..Facts::default()
            });
        }
        response
    }

    async fn accept(
        &self,
        endpoint: &Endpoint,
        event: &str,
        request: Request,
        facts: &mut Facts,
    ) -> Result<Accepted, Refused> {
        if self.stop.is_cancelled() {
            return Err(unavailable(SOON, "stopping"));
        }
        let _turn = self.turns.try_acquire().map_err(|_| unavailable(SOON, "overloaded"))?;
        let (head, body) = request.into_parts();
        let content = check_content(&head.headers);
        let uri = head.uri.clone();
        let arrival = Arrival {
            id: head.extensions.get::<RequestId>().copied(),
            time: (self.clock)(),
            query: uri.query(),
        };
        let source = &endpoint.source;
        let admitted = match source.admit(head, arrival.time) {
            Ok(admitted) => admitted,
            Err(rejected) => return Err(self.reject(source, *rejected, &arrival, Some(body))),
        };
        endpoint.admit_rate().map_err(too_fast)?;
        content?;
        let body = self.reader.read(body).await?;
        let verified = admitted
            .verify(body)
            .map_err(|rejected| self.reject(source, *rejected, &arrival, None))?;
        if let Some(challenge) = verified.challenge() {
            facts.outcome = Some(HANDSHAKE);
            return Ok(Accepted::Challenge(challenge));
        }
        let route = self.route(endpoint.version, event, &verified)?;
        facts.event_type = Some(route.event_type.clone());
        facts.message_id = Some(verified.message_id.clone());
        facts.key = verified.key;
        let handled = route.handled;
        let receipt = self.front.accept(verified, route, (self.clock)()).await?;
        facts.delivery = Some(receipt.id);
        facts.outcome = Some(match receipt.seen {
            Seen::New if handled => "new",
            Seen::New => "unrouted",
            Seen::Duplicate => "duplicate",
            Seen::Conflict => "conflict",
        });
        if receipt.seen == Seen::Conflict {
            facts.reason = Some("seen before with other bytes; the first are kept".into());
        }
        Ok(Accepted::Kept(receipt.into()))
    }

    /// The refusal for the sender, while the owner is told more.
    fn reject(
        &self,
        source: &Arc<Source>,
        rejected: Rejected,
        arrival: &Arrival<'_>,
        unread: Option<Body>,
    ) -> Refused {
        let refused = Refused::of(&rejected.refusal, source);
        self.diagnoses.begin(source, rejected, arrival, unread);
        refused
    }

    /// The event that the body names, if the catalog knows it; else the one that the path names.
    fn route(&self, version: u16, path: &str, delivery: &Verified) -> Result<Route, Refused> {
        let dialect = delivery.source.dialect;
        let said = delivery.event_type.as_deref();
        let row = said
            .and_then(|said| self.catalog.get(dialect, version, said))
            .or_else(|| self.catalog.get(dialect, version, path));
        let Some(row) = row else {
            let event_type = said.unwrap_or(path).to_owned();
            return Ok(Route { event_type, version, handled: false, ordering_key: None });
        };
        if row.needs_object && !delivery.is_object {
            let refusal = Refusal::NotObject(row.name.to_owned());
            return Err(Refused::of(&refusal, &delivery.source));
        }
        let entity = row.entity.and_then(|field| Some((field, delivery.field(field)?)));
        Ok(Route {
            event_type: row.name.to_owned(),
            version,
            handled: true,
            ordering_key: entity.map(|(field, value)| ordering_key(delivery, field, &value)),
        })
    }
}

/// One entity of one source: live and stage have the same numbers for different orders.
fn ordering_key(delivery: &Verified, field: &str, value: &str) -> String {
    format!("{} {field}={value}", delivery.source.name)
}

/// The content type must be JSON in UTF-8, not compressed.
fn check_content(headers: &HeaderMap) -> Result<(), Refused> {
    let plain = |encoding: &HeaderValue| encoding.as_bytes().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(CONTENT_ENCODING).iter().all(plain) {
        return Err(unsupported("the body is compressed"));
    }
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parts = value.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default().to_ascii_lowercase();
    if media.starts_with("application/cloudevents-batch") {
        return Err(unsupported("batches of CloudEvents are not received; send each event alone"));
    }
    if media != "application/json"
        && !(media.starts_with("application/") && media.ends_with("+json"))
    {
        return Err(unsupported("the content type is not application/json"));
    }
    let charset = parts
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
        .map(|(_, charset)| charset.trim().trim_matches('"'));
    match charset {
        Some(charset)
            if !["utf-8", "utf8", "us-ascii"].iter().any(|c| c.eq_ignore_ascii_case(charset)) =>
        {
            Err(malformed(format!("the charset is {charset}, not UTF-8")))
        }
        _ => Ok(()),
    }
}

impl Refused {
    fn new(problem: Problem, reason: impl Into<Cow<'static, str>>) -> Self {
        Refused { problem: Box::new(problem), reason: reason.into() }
    }

    /// A signature has no challenge that a client could answer; a bearer key has.
    fn of(refusal: &Refusal, source: &Source) -> Self {
        let reason = refusal.to_string();
        match refusal.kind() {
            RefusalKind::Malformed => malformed(reason),
            RefusalKind::Unauthentic if source.auth.bearer.is_empty() => {
                Refused::new(Problem::new(&UNAUTHORIZED), reason)
            }
            RefusalKind::Unauthentic => Refused::new(Problem::unauthorized("Bearer"), reason),
        }
    }
}

fn unavailable(after: Duration, reason: impl Into<Cow<'static, str>>) -> Refused {
    Refused::new(Problem::unavailable(after), reason)
}

fn too_fast(after: Duration) -> Refused {
    Refused::new(Problem::too_many_requests(after), "faster than the source's rate_limit")
}

fn unsupported(reason: &'static str) -> Refused {
    Refused::new(Problem::new(&UNSUPPORTED_MEDIA_TYPE).detail(reason), reason)
}

fn malformed(reason: String) -> Refused {
    Refused::new(Problem::new(&BAD_REQUEST).detail(reason.clone()), reason)
}

impl From<Unread> for Refused {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::TooLarge => {
                Refused::new(Problem::new(&CONTENT_TOO_LARGE), "the body is larger than max_body")
            }
            Unread::TooSlow => Refused::new(
                Problem::new(&REQUEST_TIMEOUT),
                "the body took longer than body_timeout",
            ),
            Unread::NoMemory => unavailable(SOON, "the memory for bodies is used up"),
            Unread::Broken(error) => malformed(format!("the body broke off: {error}")),
        }
    }
}

impl From<InboxError> for Refused {
    fn from(error: InboxError) -> Self {
        let after = match error {
            InboxError::Busy => SOON,
            InboxError::Unavailable(_) => LATER,
        };
        unavailable(after, error.to_string())
    }
}

impl From<Receipt> for Answer {
    fn from(receipt: Receipt) -> Self {
        Answer {
            status: match receipt.seen {
                Seen::New => Status::Accepted,
                Seen::Duplicate | Seen::Conflict => Status::Duplicate,
            },
            delivery_id: receipt.id,
            message_id: receipt.message_id,
        }
    }
}
