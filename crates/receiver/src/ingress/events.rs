//! Ingress of deliveries: from the request to the response.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use contract::canary::CANARY;
use contract::canary::CanaryReport;
use contract::catalog::Table;
use http::{Method, StatusCode};
use inbox::{AcceptOutcome, DedupCache, Receipt};
use server::problem::{NOT_FOUND, Problem, SOON};
use server::request_id::RequestId;
use source::{Admitted, Verified};

use super::IngressParts;
use super::accepted::{self, AcceptedBody, AcceptedStatus};
use super::call_log::CallLog;
use super::diagnosis::Arrival;
use super::endpoint::Endpoint;
use super::gate::{Authentic, Gate};
use super::handshake;
use super::hooks::{HookEndpoint, Hooks};
use super::record::{HANDSHAKE, PROBE, RequestFacts, SharedFacts};
use super::refused::{HttpRefusal, not_post, too_fast, unavailable};
use super::shares::Shares;
use crate::route::route;

/// Delay of the response to an unauthenticated request, which holds neither a slot nor its body meanwhile: a flood over
/// kept-alive connections slows itself down.
const UNAUTHENTICATED_DELAY: Duration = Duration::from_millis(5);

/// Receiver of deliveries and hook calls.
pub(super) struct Receiver {
    gate: Gate,
    endpoints: Vec<Endpoint>,
    catalog: Arc<Table>,
    dedup_cache: DedupCache,
    slots: Arc<Shares>,
    hooks: Hooks,
}

/// Destination of a request to a source.
pub(super) enum Destination<'r> {
    /// Delivery of the event that the path names; empty if it names none.
    Event(&'r Endpoint, String),
    /// Call of the hook that the path names; empty if it names none.
    Hook(&'r HookEndpoint, String),
}

impl Destination<'_> {
    /// Notes the source and the name in the path, for the log.
    fn note(&self, known: &mut RequestFacts) {
        match self {
            Destination::Event(endpoint, event) => {
                known.source = Some(endpoint.source.name.clone());
                known.event_type = Some(event.clone());
            }
            Destination::Hook(hook_endpoint, hook) => {
                known.source = Some(hook_endpoint.route.source.name.clone());
                known.hook = Some(hook.clone());
            }
        }
    }
}

/// Fallback route: 404.
pub(super) async fn not_found(State(receiver): State<Arc<Receiver>>, request: Request) -> Response {
    receiver.not_found(&request)
}

impl Receiver {
    pub(super) fn new(parts: IngressParts) -> Self {
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
            slots: Shares::new(parts.limits.concurrency, 1),
            hooks: Hooks::new(parts.hooks, Arc::clone(&parts.handlers), log, parts.inbox),
            catalog: Arc::clone(parts.handlers.table()),
            dedup_cache: parts.dedup_cache,
        }
    }

    /// Finds the destination of `path`, if it belongs to a source.
    pub(super) fn find(&self, path: &str) -> Option<Destination<'_>> {
        let event =
            |endpoint| Some(Destination::Event(endpoint, endpoint.event(path)?.into_owned()));
        self.endpoints.iter().find_map(event).or_else(|| {
            let (hook_endpoint, hook) = self.hooks.find(path)?;
            Some(Destination::Hook(hook_endpoint, hook.into_owned()))
        })
    }

    /// Answers a request to a source; the response to an unauthenticated one is delayed.
    pub(super) async fn receive(
        &self,
        destination: &Destination<'_>,
        request: Request,
        id: RequestId,
    ) -> Response {
        let facts = SharedFacts::of(request.extensions());
        // The log names the source, and not the path, which may be a secret.
        facts.note(|known| destination.note(known));
        let answered = match (request.method(), destination) {
            // Some senders probe a URL before they accept it. Other methods would tell them as much.
            (&Method::HEAD, _) => {
                facts.note(|known| known.outcome = Some(HANDSHAKE));
                Ok(StatusCode::OK.into_response())
            }
            (_, Destination::Event(endpoint, event)) => {
                match handshake::unproved(&endpoint.source, &request) {
                    Some(answered) => {
                        facts.note(|known| known.outcome = Some(HANDSHAKE));
                        answered
                    }
                    None if request.method() == Method::POST => {
                        self.accept(endpoint, event, request, id, &facts).await
                    }
                    None => Err(not_post()),
                }
            }
            (&Method::POST, Destination::Hook(hook_endpoint, hook)) => {
                self.hooks.call(&self.gate, hook_endpoint, hook, request, id, &facts).await
            }
            (_, Destination::Hook(..)) => Err(not_post()),
        };
        let mut is_unproven = false;
        let response = answered.unwrap_or_else(|refused| {
            is_unproven = refused.is_unproven;
            facts.note(|known| known.reason = Some(refused.reason.into_owned()));
            refused.problem.into_response()
        });
        if is_unproven || response.status() == StatusCode::UNAUTHORIZED {
            tokio::time::sleep(UNAUTHENTICATED_DELAY).await;
        }
        response
    }

    /// Answers 404. If the path contains a source's secret path, the log has the source instead of the path.
    fn not_found(&self, request: &Request) -> Response {
        let path = request.uri().path();
        if let Some(endpoint) = self.endpoints.iter().find(|endpoint| endpoint.is_revealed_by(path))
        {
            SharedFacts::of(request.extensions()).note(|known| {
                known.source = Some(endpoint.source.name.clone());
                known.reason = Some(
                    "the path contains the source's secret, but is not the source's path with an event name"
                        .into(),
                );
            });
        }
        Problem::new(&NOT_FOUND).into_response()
    }

    /// Accepts a delivery, or answers a handshake.
    async fn accept(
        &self,
        endpoint: &Endpoint,
        event: &str,
        request: Request,
        id: RequestId,
        facts: &SharedFacts,
    ) -> Result<Response, HttpRefusal> {
        let source = &endpoint.source;
        let on_proof = || endpoint.admit_rate().map_err(too_fast);
        let nothing_more = |_: &Admitted| Ok(());
        let authentic = self.gate.authenticate(source, request, id, nothing_more, on_proof).await?;
        let Authentic { verified, arrival, .. } = authentic;
        let _slot =
            self.slots.take(&source.name, 1).map_err(|_| unavailable(SOON, "overloaded"))?;
        if let Some(answer) = &verified.handshake {
            facts.note(|known| known.outcome = Some(HANDSHAKE));
            return handshake::proved(source, answer).await;
        }
        let route = route(&self.catalog, endpoint.version, event, &verified);
        let route = route.map_err(|refusal| HttpRefusal::of(&refusal, source))?;
        facts.note(|known| {
            known.event_type = Some(route.event_type.clone());
            known.message_id = Some(verified.message_id.clone());
            known.key = verified.key;
        });
        let handled = route.handled;
        let echo = route
            .is_canary()
            .then(|| Box::new(self.echo(endpoint.version, event, &verified, &arrival)));
        let receipt = self.dedup_cache.accept(verified, route).await?;
        facts.note(|known| {
            known.delivery = Some(receipt.id);
            known.outcome = Some(outcome(&receipt, handled, echo.is_some()));
            if receipt.outcome == AcceptOutcome::Conflict && echo.is_none() {
                known.reason = Some(
                    "the message id is known with other bytes; the first ones are kept".into(),
                );
            }
        });
        let canary = echo.map(|mut echo| {
            echo.conflict = receipt.outcome == AcceptOutcome::Conflict;
            echo
        });
        let status = StatusCode::from_u16(source.accepted_status).unwrap_or(StatusCode::OK);
        // A canary needs its report, which not every status has room for.
        let (status, body) = match &canary {
            Some(_) => (StatusCode::OK, None),
            None => (status, source.accepted_body.as_deref()),
        };
        Ok(AcceptedBody { canary, ..receipt.into() }.respond(status, body))
    }

    /// The report on a canary, with the handler of the event that it asks about.
    fn echo(&self, version: u16, path: &str, canary: &Verified, arrival: &Arrival) -> CanaryReport {
        let asked = canary.canary().filter(|asked| asked != CANARY);
        let event = asked.as_deref().unwrap_or(path);
        let row = self.catalog.event(canary.source.dialect, version, event);
        CanaryReport {
            key: canary.key.map(|key| key.to_string()),
            headers: canary.header_names(),
            handles: row.map(|row| row.name.to_owned()),
            ..accepted::echo(&canary.body, arrival, &canary.source.auth, self.gate.reader.max)
        }
    }
}

/// Name of the outcome in the log and the metrics.
fn outcome(receipt: &Receipt, handled: bool, is_canary: bool) -> &'static str {
    match receipt.outcome {
        _ if is_canary => PROBE,
        AcceptOutcome::New if handled => "new",
        AcceptOutcome::New => "unrouted",
        AcceptOutcome::Duplicate => "duplicate",
        AcceptOutcome::Conflict => "conflict",
    }
}

impl From<Receipt> for AcceptedBody {
    fn from(receipt: Receipt) -> Self {
        AcceptedBody {
            status: match receipt.outcome {
                AcceptOutcome::New => AcceptedStatus::Accepted,
                AcceptOutcome::Duplicate | AcceptOutcome::Conflict => AcceptedStatus::Duplicate,
            },
            delivery_id: receipt.id,
            message_id: receipt.message_id,
            canary: None,
        }
    }
}
