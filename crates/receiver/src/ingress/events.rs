//! Deliveries: from a request to an answer.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use contract::canary::CANARY;
use contract::canary::Echo;
use contract::catalog::Table;
use http::{Method, StatusCode};
use inbox::{AcceptOutcome, DedupCache, Receipt, Route};
use server::problem::{NOT_FOUND, Problem, SOON};
use server::request_id::RequestId;
use source::{Admitted, Refusal, Verified};

use super::Parts;
use super::answer::{self, Answer, Status};
use super::call_log::CallLog;
use super::diagnosis::Arrival;
use super::endpoint::Endpoint;
use super::gate::{Authentic, Gate};
use super::handshake;
use super::hooks::{Hooks, Place};
use super::record::{Facts, HANDSHAKE, Known, PROBE};
use super::refused::{Refused, not_post, too_fast, unavailable};
use super::shares::Shares;

/// How long a request that proves nothing waits for its answer, with neither a turn nor its body held meanwhile:
/// a flood over kept connections slows itself down and leaves the machine to others.
const UNPROVEN_PAUSE: Duration = Duration::from_millis(5);

/// Accepts deliveries and answers hooks.
pub(super) struct Receiver {
    gate: Gate,
    endpoints: Vec<Endpoint>,
    catalog: Arc<Table>,
    front: DedupCache,
    turns: Arc<Shares>,
    hooks: Hooks,
}

/// Where a request goes that is a source's.
pub(super) enum Way<'r> {
    /// A delivery of the event that the path names; empty if it names none.
    Event(&'r Endpoint, String),
    /// A call of the hook that the path names, likewise.
    Hook(&'r Place, String),
}

impl Way<'_> {
    /// The source, for the log, and what the path names.
    fn note(&self, known: &mut Known) {
        match self {
            Way::Event(endpoint, event) => {
                known.source = Some(endpoint.source.name.clone());
                known.event_type = Some(event.clone());
            }
            Way::Hook(place, hook) => {
                known.source = Some(place.site.source.name.clone());
                known.hook = Some(hook.clone());
            }
        }
    }
}

/// The route for what is neither a source's nor any other route's.
pub(super) async fn not_found(State(receiver): State<Arc<Receiver>>, request: Request) -> Response {
    receiver.not_found(&request)
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
        let log = CallLog { log: parts.hook_log, metrics: parts.metrics, tasks: parts.calls };
        Receiver {
            endpoints: endpoints.collect(),
            gate: Gate::new(sources, &parts.limits, parts.clock, parts.rejections, parts.stop),
            turns: Shares::new(parts.limits.concurrency, 1),
            hooks: Hooks::new(parts.hooks, Arc::clone(&parts.handlers), log),
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
    pub(super) async fn receive(&self, way: &Way<'_>, request: Request, id: RequestId) -> Response {
        let facts = Facts::of(request.extensions());
        // The log names the source, and not the path, which may be a secret.
        facts.note(|known| way.note(known));
        let answered = match (request.method(), way) {
            // Some senders look whether there is anything before they take a URL. Any other method tells them as much.
            (&Method::HEAD, _) => {
                facts.note(|known| known.outcome = Some(HANDSHAKE));
                Ok(StatusCode::OK.into_response())
            }
            (&Method::POST, Way::Event(endpoint, event)) => {
                self.accept(endpoint, event, request, id, &facts).await
            }
            (&Method::POST, Way::Hook(place, hook)) => {
                self.hooks.call(&self.gate, place, hook, request, id, &facts).await
            }
            (_, Way::Event(endpoint, _)) => match handshake::answer(&endpoint.source, &request) {
                Some(response) => {
                    facts.note(|known| known.outcome = Some(HANDSHAKE));
                    Ok(response)
                }
                None => Err(not_post()),
            },
            (_, Way::Hook(..)) => Err(not_post()),
        };
        let response = answered.unwrap_or_else(|refused| {
            facts.note(|known| known.reason = Some(refused.reason.into_owned()));
            refused.problem.into_response()
        });
        if response.status() == StatusCode::UNAUTHORIZED {
            tokio::time::sleep(UNPROVEN_PAUSE).await;
        }
        response
    }

    /// Nothing is served there. If the path holds a source's secret one, the log names the source instead.
    fn not_found(&self, request: &Request) -> Response {
        let path = request.uri().path();
        if let Some(endpoint) = self.endpoints.iter().find(|endpoint| endpoint.is_revealed_by(path))
        {
            Facts::of(request.extensions()).note(|known| {
                known.source = Some(endpoint.source.name.clone());
                known.reason = Some(
                    "the path holds the source's secret, but is not its path and an event's name"
                        .into(),
                );
            });
        }
        Problem::new(&NOT_FOUND).into_response()
    }

    /// Accepts a delivery, or answers what its sender asks instead of delivering.
    async fn accept(
        &self,
        endpoint: &Endpoint,
        event: &str,
        request: Request,
        id: RequestId,
        facts: &Facts,
    ) -> Result<Response, Refused> {
        let source = &endpoint.source;
        let on_proof = || endpoint.admit_rate().map_err(too_fast);
        let nothing_more = |_: &Admitted| Ok(());
        let authentic = self.gate.authenticate(source, request, id, nothing_more, on_proof).await?;
        let Authentic { verified, arrival, .. } = authentic;
        let _turn =
            self.turns.take(&source.name, 1).map_err(|_| unavailable(SOON, "overloaded"))?;
        if let Some(challenge) = verified.challenge() {
            facts.note(|known| known.outcome = Some(HANDSHAKE));
            return Ok(handshake::echo(&challenge));
        }
        let route = self.route(endpoint.version, event, &verified)?;
        facts.note(|known| {
            known.event_type = Some(route.event_type.clone());
            known.message_id = Some(verified.message_id.clone());
            known.key = verified.key;
        });
        let handled = route.handled;
        let echo = route
            .is_canary()
            .then(|| Box::new(self.echo(endpoint.version, event, &verified, &arrival)));
        let receipt = self.front.accept(verified, route, (self.gate.clock)()).await?;
        facts.note(|known| {
            known.delivery = Some(receipt.id);
            known.outcome = Some(outcome(&receipt, handled, echo.is_some()));
            if receipt.outcome == AcceptOutcome::Conflict && echo.is_none() {
                known.reason = Some("seen before with other bytes; the first are kept".into());
            }
        });
        let canary = echo.map(|mut echo| {
            echo.conflict = receipt.outcome == AcceptOutcome::Conflict;
            echo
        });
        let status = StatusCode::from_u16(source.accepted_status).unwrap_or(StatusCode::OK);
        Ok(Answer { canary, ..receipt.into() }.respond(status))
    }

    /// What was seen of a canary, and whether the event that it asks about would be handled.
    fn echo(&self, version: u16, path: &str, canary: &Verified, arrival: &Arrival) -> Echo {
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

/// The outcome's name in the log and the metrics.
fn outcome(receipt: &Receipt, handled: bool, is_canary: bool) -> &'static str {
    match receipt.outcome {
        _ if is_canary => PROBE,
        AcceptOutcome::New if handled => "new",
        AcceptOutcome::New => "unrouted",
        AcceptOutcome::Duplicate => "duplicate",
        AcceptOutcome::Conflict => "conflict",
    }
}

/// One entity of one source: live and stage have the same numbers for different orders.
fn ordering_key(delivery: &Verified, field: &str, value: &str) -> String {
    format!("{} {field}={value}", delivery.source.name)
}

impl From<Receipt> for Answer {
    fn from(receipt: Receipt) -> Self {
        Answer {
            status: match receipt.outcome {
                AcceptOutcome::New => Status::Accepted,
                AcceptOutcome::Duplicate | AcceptOutcome::Conflict => Status::Duplicate,
            },
            delivery_id: receipt.id,
            message_id: receipt.message_id,
            canary: None,
        }
    }
}
