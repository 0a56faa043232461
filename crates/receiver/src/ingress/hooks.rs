//! Process Hooks: from a request that its sender waits for to the answer, and what is logged of it.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use contract::canary::CANARY;
use contract::canary::CanaryReport;
use contract::catalog::Handlers;
use contract::hook::{HookMeta, UntypedCall};
use http::StatusCode;
use serde::Serialize;
use server::problem::SOON;
use server::request_id::RequestId;
use source::{AdmittedCall, HookRoute, Unhandled, VerifiedCall, versioned};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::answer;
use super::call_log::{CallLog, PendingCall, Running};
use super::diagnosis::Arrival;
use super::endpoint::name_below;
use super::gate::{Authentic, Gate};
use super::hook_response::respond;
use super::record::{Facts, PROBE};
use super::refused::{Refused, malformed, unavailable};
use crate::dispatch::Room;
use crate::dispatch::hooks;

/// Answers hooks.
pub(super) struct Hooks {
    places: Vec<Place>,
    handlers: Arc<Handlers>,
    log: CallLog,
    room: Room,
}

/// A site and what it may hold at once.
pub(super) struct Place {
    pub(super) site: Arc<HookRoute>,
    prefixes: [String; 2],
    turns: Arc<Semaphore>,
}

impl Hooks {
    pub(super) fn new(sites: Vec<Arc<HookRoute>>, handlers: Arc<Handlers>, log: CallLog) -> Self {
        let place = |site: Arc<HookRoute>| Place {
            prefixes: [versioned(&site.path, 1), site.path.clone()],
            turns: Arc::new(Semaphore::new(site.concurrency)),
            site,
        };
        let (places, room) = (sites.into_iter().map(place).collect(), Room::default());
        Hooks { places, handlers, log, room }
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
        path: &str,
        request: Request,
        id: RequestId,
        facts: &Facts,
    ) -> Result<Response, Refused> {
        let (site, deadline) = (&place.site, Instant::now() + place.site.deadline);
        let started = Instant::now();
        let named = |admitted: &AdmittedCall| {
            let ids = self.hook(path, admitted).map_err(|reason| malformed(reason.into_owned()))?;
            facts.note(|known| known.hook = Some(ids.0.clone()));
            Ok(ids)
        };
        let authentic = gate.authenticate(&site.source, request, id, named, || Ok(())).await?;
        let Authentic { verified, admitted: (hook, called), arrival } = authentic;
        facts.note(|known| known.key = verified.key);
        let turn = Arc::clone(&place.turns)
            .try_acquire_owned()
            .map_err(|_| unavailable(SOON, "more calls than concurrency in hooks"))?;
        if hook == CANARY || verified.canary().is_some() {
            facts.note(|known| known.outcome = Some(PROBE));
            return Ok(echoed(self.echo(&verified, &hook, &arrival, gate.reader.max)));
        }
        let meta = HookMeta {
            hook,
            source: site.source.name.clone(),
            environment: site.source.environment,
            user: verified.user_name(),
            received_at: arrival.time,
            deadline,
        };
        let VerifiedCall { token, user, body, .. } = verified;
        let call = UntypedCall::new(site.vendor(), meta, called, token, user, body);
        let pending = PendingCall::new(site, &call, id, started);
        Ok(self.run(site.unhandled, call, turn, pending, facts).await)
    }

    /// What was seen of a probe, and whether the hook that it asks about would be handled.
    fn echo(
        &self,
        probe: &VerifiedCall,
        hook: &str,
        arrival: &Arrival,
        max_body: usize,
    ) -> CanaryReport {
        let asked = probe.canary().filter(|asked| asked != CANARY);
        let row = self.handlers.table().hook(asked.as_deref().unwrap_or(hook));
        let handled = row.filter(|row| row.handler.is_some());
        CanaryReport {
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
        call: UntypedCall,
        turn: OwnedSemaphorePermit,
        pending: PendingCall,
        facts: &Facts,
    ) -> Response {
        let handlers = Arc::clone(&self.handlers);
        let room = self.room.clone();
        let work = async move {
            let _turn = turn;
            let _room = timeout_at(call.meta.deadline, room.take(&call.body)).await;
            hooks::run(&handlers, unhandled, call).await
        };
        let ended = Running::new(work, pending, self.log.clone()).await;
        facts.note(|known| {
            known.outcome = Some(ended.outcome());
            known.reason = ended.reason().map(str::to_owned);
            known.error_id = ended.error_id().map(str::to_owned);
            known.callback = ended.callback.as_ref().map(|callback| callback.took);
        });
        respond(ended.answer)
    }
}

fn echoed(canary: CanaryReport) -> Response {
    #[derive(Serialize)]
    struct Echoed {
        canary: CanaryReport,
    }
    server::json(StatusCode::OK, "application/json", &Echoed { canary })
}
