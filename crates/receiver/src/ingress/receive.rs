//! From a request to an answer: admit, read, verify, keep.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use contract::canary::CANARY;
use contract::canary::Echo;
use contract::catalog::Table;
use futures_util::FutureExt;
use http::header::{ALLOW, HeaderValue};
use http::{Method, StatusCode, Uri};
use inbox::{Front, Receipt, Route, Seen};
use server::connections::Permit;
use server::problem::{METHOD_NOT_ALLOWED, NOT_FOUND, Problem, SOON};
use server::request_id::RequestId;
use source::{Refusal, Verified};

use super::Parts;
use super::answer::{self, Answer, Status};
use super::diagnosis::Arrival;
use super::endpoint::Endpoint;
use super::gate::Gate;
use super::handshake;
use super::hooks::{Hooks, Place};
use super::ledger::Ledger;
use super::record::{Facts, HANDSHAKE, PROBE};
use super::refused::{Refused, check_content, panicked, too_fast, unavailable};
use super::shares::Shares;

/// How long a request that proves nothing waits for its answer, with neither a turn nor its body held meanwhile:
/// a flood over kept connections slows itself down and leaves the machine to others.
const UNPROVEN_PAUSE: Duration = Duration::from_millis(5);

/// Accepts deliveries and answers hooks.
pub(super) struct Receiver {
    gate: Gate,
    endpoints: Vec<Endpoint>,
    catalog: Arc<Table>,
    front: Front,
    turns: Arc<Shares>,
    hooks: Hooks,
}

/// What has come of an authentic request.
enum Accepted {
    /// A delivery that is in the inbox.
    Kept(Answer),
    /// The sender only asked to have its challenge repeated.
    Challenge(String),
}

/// Where a request goes that is a source's.
pub(super) enum Way<'r> {
    /// A delivery of the event that the path names; empty if it names none.
    Event(&'r Endpoint, String),
    /// A call of the hook that the path names, likewise.
    Hook(&'r Place, String),
}

impl Way<'_> {
    /// What is known of a request before it is looked into.
    fn facts(&self) -> Facts {
        let (source, event_type, hook) = match self {
            Way::Event(endpoint, event) => (&endpoint.source, Some(event.clone()), None),
            Way::Hook(place, hook) => (&place.site.source, None, Some(hook.clone())),
        };
        Facts { source: Some(source.name.clone()), event_type, hook, ..Facts::default() }
    }
}

/// The route for what is neither a source's nor any other route's.
pub(super) async fn not_found(State(receiver): State<Arc<Receiver>>, uri: Uri) -> Response {
    receiver.not_found(uri.path())
}

pub(super) fn not_post(facts: &mut Facts) -> Response {
    facts.reason = Some("only POST is received".into());
    let mut response = Problem::new(&METHOD_NOT_ALLOWED).into_response();
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST, HEAD"));
    response
}

impl Receiver {
    pub(super) fn new(parts: Parts) -> Self {
        let mut versions: Vec<u16> =
            parts.handlers.table().events().map(|row| row.version).collect();
        versions.push(1);
        versions.sort_unstable();
        versions.dedup();
        let sources = &parts.sources;
        let endpoints = sources.iter().flat_map(|source| Endpoint::of(source, &versions));
        let ledger = Ledger { log: parts.hook_log, metrics: parts.metrics, tasks: parts.calls };
        Receiver {
            endpoints: endpoints.collect(),
            gate: Gate::new(sources, &parts.limits, parts.clock, parts.sightings, parts.stop),
            turns: Shares::new(parts.limits.concurrency, 1),
            hooks: Hooks::new(parts.hooks, Arc::clone(&parts.handlers), ledger),
            catalog: Arc::clone(parts.handlers.table()),
            front: parts.front,
        }
    }

    /// The source that `path` leads to, if it is one's.
    pub(super) fn find(&self, path: &str) -> Option<Way<'_>> {
        let event = |endpoint| Some(Way::Event(endpoint, endpoint.event(path)?.into_owned()));
        self.endpoints.iter().find_map(event).or_else(|| {
            let (place, hook) = self.hooks.find(path)?;
            Some(Way::Hook(place, hook.into_owned()))
        })
    }

    /// Answers a request that is a source's; one that proves nothing waits for its answer.
    pub(super) async fn receive(
        &self,
        way: &Way<'_>,
        request: Request,
        id: RequestId,
    ) -> (Response, Facts) {
        let mut facts = way.facts();
        // Some senders look whether there is anything before they take a URL. Any other method tells them as much.
        if request.method() == Method::HEAD {
            facts.outcome = Some(HANDSHAKE);
            return (StatusCode::OK.into_response(), facts);
        }
        let answering = async {
            match way {
                Way::Event(endpoint, event) => {
                    self.deliver(endpoint, event, request, id, &mut facts).await
                }
                Way::Hook(place, hook) => {
                    self.hooks.call(&self.gate, place, hook, request, id, &mut facts).await
                }
            }
        };
        let answered = AssertUnwindSafe(answering).catch_unwind().await;
        // The log names the source then, too, and not the path, which may be a secret.
        let answered = answered.unwrap_or_else(|_| Err(panicked(id)));
        let response = answered.unwrap_or_else(|refused| {
            facts.reason = Some(refused.reason.into_owned());
            refused.problem.into_response()
        });
        if response.status() == StatusCode::UNAUTHORIZED {
            tokio::time::sleep(UNPROVEN_PAUSE).await;
        }
        (response, facts)
    }

    async fn deliver(
        &self,
        endpoint: &Endpoint,
        event: &str,
        request: Request,
        id: RequestId,
        facts: &mut Facts,
    ) -> Result<Response, Refused> {
        if let Some(response) = handshake::answer(&endpoint.source, &request) {
            facts.outcome = Some(HANDSHAKE);
            return Ok(response);
        }
        if request.method() != Method::POST {
            return Ok(not_post(facts));
        }
        Ok(match self.accept(endpoint, event, request, id, facts).await? {
            Accepted::Kept(answer) => {
                let status = StatusCode::from_u16(endpoint.source.accepted_status);
                answer.respond(status.unwrap_or(StatusCode::OK))
            }
            Accepted::Challenge(challenge) => handshake::echo(&challenge),
        })
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
        id: RequestId,
        facts: &mut Facts,
    ) -> Result<Accepted, Refused> {
        self.gate.check_open()?;
        let (mut head, body) = request.into_parts();
        let connection = head.extensions.remove::<Arc<Permit>>();
        let content = check_content(&head.headers, &body);
        let uri = head.uri.clone();
        let arrival = Arrival { id, time: (self.gate.clock)(), query: uri.query() };
        let source = &endpoint.source;
        let admitted = match source.admit(head, arrival.time) {
            Ok(admitted) => admitted,
            Err(rejected) => return Err(self.gate.reject(source, *rejected, &arrival, Some(body))),
        };
        let content = content?;
        let is_proven = admitted.is_proven();
        if is_proven {
            connection.iter().for_each(|connection| connection.prove());
            endpoint.admit_rate().map_err(too_fast)?;
        }
        let body = self.gate.reader.read(&source.name, is_proven, body).await?;
        content.check(&body)?;
        let verified = admitted
            .verify(body)
            .map_err(|rejected| self.gate.reject(source, *rejected, &arrival, None))?;
        // A forgery takes neither a turn nor a part of the rate.
        if !is_proven {
            connection.iter().for_each(|connection| connection.prove());
            endpoint.admit_rate().map_err(too_fast)?;
        }
        let _turn =
            self.turns.take(&source.name, 1).map_err(|_| unavailable(SOON, "overloaded"))?;
        if let Some(challenge) = verified.challenge() {
            facts.outcome = Some(HANDSHAKE);
            return Ok(Accepted::Challenge(challenge));
        }
        let route = self.route(endpoint.version, event, &verified)?;
        facts.event_type = Some(route.event_type.clone());
        facts.message_id = Some(verified.message_id.clone());
        facts.key = verified.key;
        let handled = route.handled;
        let echo = route
            .is_canary()
            .then(|| Box::new(self.echo(endpoint.version, event, &verified, &arrival)));
        let receipt = self.front.accept(verified, route, (self.gate.clock)()).await?;
        facts.delivery = Some(receipt.id);
        if let Some(mut echo) = echo {
            facts.outcome = Some(PROBE);
            echo.conflict = receipt.seen == Seen::Conflict;
            return Ok(Accepted::Kept(Answer { canary: Some(echo), ..receipt.into() }));
        }
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

    /// What was seen of a canary, and whether the event that it asks about would be handled.
    fn echo(&self, version: u16, path: &str, canary: &Verified, arrival: &Arrival<'_>) -> Echo {
        let asked = canary.mark().filter(|asked| asked != CANARY);
        let event = asked.as_deref().unwrap_or(path);
        let row = self.catalog.event(canary.source.dialect, version, event);
        Echo {
            key: canary.key.map(|key| key.to_string()),
            headers: canary.header_names(),
            handles: row.map(|row| row.name.to_owned()),
            ..answer::echo(&canary.body, arrival, self.gate.reader.max)
        }
    }

    /// The event that the body names, if the catalog knows it; else the one that the path names. What is marked as a
    /// probe is one, whatever the path names.
    fn route(&self, version: u16, path: &str, delivery: &Verified) -> Result<Route, Refused> {
        let dialect = delivery.source.dialect;
        let said = delivery.event_type.as_deref();
        if said.unwrap_or(path) == CANARY || delivery.mark().is_some() {
            let event_type = CANARY.to_owned();
            return Ok(Route { event_type, version, handled: false, ordering_key: None });
        }
        let row = said
            .and_then(|said| self.catalog.event(dialect, version, said))
            .or_else(|| self.catalog.event(dialect, version, path));
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

impl From<Receipt> for Answer {
    fn from(receipt: Receipt) -> Self {
        Answer {
            status: match receipt.seen {
                Seen::New => Status::Accepted,
                Seen::Duplicate | Seen::Conflict => Status::Duplicate,
            },
            delivery_id: receipt.id,
            message_id: receipt.message_id,
            canary: None,
        }
    }
}
