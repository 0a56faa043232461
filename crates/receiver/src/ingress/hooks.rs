//! Process Hooks: from a request that its sender waits for to the answer, and what is logged of it.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use contract::canary::CANARY;
use contract::canary::Echo;
use contract::catalog::Handlers;
use contract::hook::{Call, HookMeta};
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use serde::Serialize;
use server::connections::Permit;
use server::problem::{NOT_IMPLEMENTED, Problem, SOON};
use server::request_id::RequestId;
use source::{AdmittedCall, HookRoute, Unhandled, VerifiedCall, versioned};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::answer;
use super::diagnosis::Arrival;
use super::endpoint::name_below;
use super::gate::Gate;
use super::ledger::{Entry, Ledger, Running};
use super::receive::not_post;
use super::record::{Facts, PROBE};
use super::refused::{Refused, check_content, malformed, unavailable};
use crate::dispatch::Room;
use crate::dispatch::hooks::{self, Answer};

/// Answers hooks.
pub(super) struct Hooks {
    places: Vec<Place>,
    handlers: Arc<Handlers>,
    ledger: Ledger,
    room: Room,
}

/// A site and what it may hold at once.
pub(super) struct Place {
    pub(super) site: Arc<HookRoute>,
    prefixes: [String; 2],
    turns: Arc<Semaphore>,
}

/// What has come of an authentic request.
enum Accepted {
    /// A call, and its turn.
    Call(Call, OwnedSemaphorePermit),
    /// A probe, which runs nothing.
    Probe(Echo),
}

impl Hooks {
    pub(super) fn new(sites: Vec<Arc<HookRoute>>, handlers: Arc<Handlers>, ledger: Ledger) -> Self {
        let place = |site: Arc<HookRoute>| Place {
            prefixes: [versioned(&site.path, 1), site.path.clone()],
            turns: Arc::new(Semaphore::new(site.concurrency)),
            site,
        };
        let (places, room) = (sites.into_iter().map(place).collect(), Room::default());
        Hooks { places, handlers, ledger, room }
    }

    /// The place that `path` leads to, and the hook that it names; empty for the one URL that takes all hooks.
    pub(super) fn find<'p>(&self, path: &'p str) -> Option<(&Place, Cow<'p, str>)> {
        self.places.iter().find_map(|place| {
            let hook = place.prefixes.iter().find_map(|prefix| name_below(prefix, path))?;
            Some((place, hook))
        })
    }

    /// Answers a call.
    pub(super) async fn call(
        &self,
        gate: &Gate,
        place: &Place,
        hook: &str,
        request: Request,
        id: RequestId,
        facts: &mut Facts,
    ) -> Result<Response, Refused> {
        if request.method() != Method::POST {
            return Ok(not_post(facts));
        }
        let started = Instant::now();
        Ok(match self.accept(gate, place, hook, request, id, facts).await? {
            Accepted::Call(call, turn) => {
                let entry = Entry::new(&place.site, &call, id, started);
                self.run(place.site.unhandled, call, turn, entry, facts).await
            }
            Accepted::Probe(echo) => {
                facts.outcome = Some(PROBE);
                echoed(echo)
            }
        })
    }

    /// A call that is its sender's, or a probe of one.
    async fn accept(
        &self,
        gate: &Gate,
        place: &Place,
        path: &str,
        request: Request,
        id: RequestId,
        facts: &mut Facts,
    ) -> Result<Accepted, Refused> {
        let (site, deadline) = (&place.site, Instant::now() + place.site.deadline);
        gate.check_open()?;
        let (mut head, body) = request.into_parts();
        let connection = head.extensions.remove::<Arc<Permit>>();
        let content = check_content(&head.headers, &body);
        let uri = head.uri.clone();
        let arrival = Arrival { id, time: (gate.clock)(), query: uri.query() };
        let admitted = match site.source.admit_call(head, arrival.time) {
            Ok(admitted) => admitted,
            Err(rejected) => {
                return Err(gate.reject(&site.source, *rejected, &arrival, Some(body)));
            }
        };
        let content = content?;
        let (hook, called) =
            self.hook(path, &admitted).map_err(|reason| malformed(reason.into_owned()))?;
        facts.hook = Some(hook.clone());
        let body = gate.reader.read(&site.source.name, admitted.is_proven(), body).await?;
        content.check(&body)?;
        let verified = admitted
            .verify(body)
            .map_err(|rejected| gate.reject(&site.source, *rejected, &arrival, None))?;
        facts.key = verified.key;
        connection.iter().for_each(|connection| connection.prove());
        let turn = Arc::clone(&place.turns)
            .try_acquire_owned()
            .map_err(|_| unavailable(SOON, "more calls than concurrency in hooks"))?;
        if hook == CANARY || verified.mark().is_some() {
            let echo = self.echo(&verified, &hook, &arrival, gate.reader.max);
            return Ok(Accepted::Probe(echo));
        }
        let meta = HookMeta {
            hook,
            source: site.source.name.clone(),
            environment: site.source.environment,
            user: verified.user_name(),
            received_at: arrival.time,
            deadline,
        };
        let call =
            Call::new(site.vendor(), meta, called, verified.token, verified.user, verified.body);
        Ok(Accepted::Call(call, turn))
    }

    /// What was seen of a probe, and whether the hook that it asks about would be handled.
    fn echo(
        &self,
        probe: &VerifiedCall,
        hook: &str,
        arrival: &Arrival<'_>,
        max_body: usize,
    ) -> Echo {
        let asked = probe.mark().filter(|asked| asked != CANARY);
        let row = self.handlers.table().hook(asked.as_deref().unwrap_or(hook));
        let handled = row.filter(|row| row.handler.is_some());
        Echo {
            key: probe.key.map(|key| key.to_string()),
            headers: probe.header_names(),
            handles: handled.map(|row| row.id.to_owned()),
            ..answer::echo(&probe.body, arrival, max_body)
        }
    }

    /// The hook's id in the catalog, and the one by which it is called and called back; the caller's if it is not known.
    fn hook(&self, path: &str, call: &AdmittedCall) -> Result<(String, String), Cow<'static, str>> {
        let header = call.request_name().map_err(|refusal| refusal.to_string())?;
        let id = match (path, header.as_deref()) {
            ("", None) => {
                return Err("neither the path nor X-DirectScale-RequestName names the hook".into());
            }
            ("", Some(header)) => header,
            (path, None) => path,
            (path, Some(header)) if self.is_same(path, header) => header,
            (path, Some(header)) => {
                return Err(format!(
                    "the path names the hook {path:?}, but X-DirectScale-RequestName {header:?}"
                )
                .into());
            }
        };
        // It becomes a segment of the callback's address.
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        match self.handlers.table().hook(id) {
            Some(row) => Ok((row.id.to_owned(), row.spelled(id).to_owned())),
            None if id.chars().all(plain) && id.contains(char::is_alphanumeric) => {
                Ok((id.to_owned(), id.to_owned()))
            }
            None => Err("a hook's id is letters, digits and . _ -".into()),
        }
    }

    fn is_same(&self, path: &str, header: &str) -> bool {
        let id = |name| self.handlers.table().hook(name).map(|row| row.id);
        path.eq_ignore_ascii_case(header) || id(path).is_some_and(|path| id(header) == Some(path))
    }

    /// Runs the call to its end even if its sender hangs up: the vendor's own logic may have run already.
    async fn run(
        &self,
        unhandled: Unhandled,
        call: Call,
        turn: OwnedSemaphorePermit,
        entry: Entry,
        facts: &mut Facts,
    ) -> Response {
        let handlers = Arc::clone(&self.handlers);
        let room = self.room.clone();
        let work = async move {
            let _turn = turn;
            let _room = timeout_at(call.meta.deadline, room.take(&call.body)).await;
            hooks::run(&handlers, unhandled, call).await
        };
        let ended = Running::new(work, entry, self.ledger.clone()).await;
        facts.outcome = Some(ended.outcome());
        facts.reason = ended.reason().map(str::to_owned);
        facts.error_id = ended.error_id().map(str::to_owned);
        facts.callback = ended.callback.as_ref().map(|callback| callback.took);
        respond(ended.answer)
    }
}

fn echoed(canary: Echo) -> Response {
    #[derive(Serialize)]
    struct Echoed {
        canary: Echo,
    }
    server::json(StatusCode::OK, "application/json", &Echoed { canary })
}

fn respond(answer: Answer) -> Response {
    let status = status(&answer);
    match answer {
        Answer::Response(answer) | Answer::VendorError(answer) => {
            (status, answer.metadata().clone(), answer.body).into_response()
        }
        Answer::Failed(fault) => json(status, fault.body()),
        Answer::NotJson(reason) => malformed(reason).problem.into_response(),
        Answer::Unhandled => Problem::new(&NOT_IMPLEMENTED).into_response(),
    }
}

/// The answer's status.
pub(super) fn status(answer: &Answer) -> StatusCode {
    match answer {
        Answer::Response(_) => StatusCode::OK,
        Answer::VendorError(_) | Answer::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        Answer::NotJson(_) => StatusCode::BAD_REQUEST,
        Answer::Unhandled => StatusCode::NOT_IMPLEMENTED,
    }
}

fn json(status: StatusCode, body: Bytes) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}
