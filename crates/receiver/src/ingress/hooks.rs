//! Ingress of Process Hooks: from the synchronous request to the response, with its record.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use contract::canary::CANARY;
use contract::canary::CanaryReport;
use contract::catalog::{Handlers, respelled};
use contract::effect::{Deferrer, Origin};
use contract::hook::{HookMeta, UntypedCall};
use http::StatusCode;
use inbox::Deliveries;
use serde::Serialize;
use server::problem::SOON;
use server::request_id::RequestId;
use source::{AdmittedCall, Auth, HookRoute, Unhandled, VerifiedCall, versioned};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::accepted;
use super::call_log::{CallLog, PendingCall, RunningCall};
use super::diagnosis::Arrival;
use super::endpoint::{is_two_below, name_below};
use super::gate::{Authentic, Gate};
use super::hook_response::respond;
use super::record::{PROBE, SharedFacts};
use super::refused::{HttpRefusal, malformed, unavailable};
use crate::dispatch::MemoryPermits;
use crate::dispatch::hooks;
use crate::route::Deferrals;

/// Receiver of hook calls.
pub(super) struct Hooks {
    endpoints: Vec<HookEndpoint>,
    handlers: Arc<Handlers>,
    log: CallLog,
    memory: MemoryPermits,
    deferrals: Arc<Deferrals>,
}

/// Hook route with its path prefixes and concurrency slots.
pub(super) struct HookEndpoint {
    pub(super) route: Arc<HookRoute>,
    prefixes: [String; 2],
    slots: Arc<Semaphore>,
}

impl Hooks {
    pub(super) fn new(
        routes: Vec<Arc<HookRoute>>,
        handlers: Arc<Handlers>,
        log: CallLog,
        inbox: Arc<dyn Deliveries>,
    ) -> Self {
        let endpoint = |route: Arc<HookRoute>| HookEndpoint {
            prefixes: [versioned(&route.path, 1), route.path.clone()],
            slots: Arc::new(Semaphore::new(route.concurrency)),
            route,
        };
        let (endpoints, memory) =
            (routes.into_iter().map(endpoint).collect(), MemoryPermits::default());
        let deferrals = Deferrals::new(inbox, Arc::clone(handlers.table()));
        Hooks { endpoints, handlers, log, memory, deferrals }
    }

    /// Finds the endpoint of `path`, and the hook that it names; empty for the one URL of all hooks.
    ///
    /// Two segments name no hook either, as in `/api/hooks/OrderHooks/SubmitOrderHook`: so the vendor's own sample lays
    /// out its URLs, by its classes and methods. The hook is then the one in `X-DirectScale-RequestName`.
    pub(super) fn find<'p>(&self, path: &'p str) -> Option<(&HookEndpoint, Cow<'p, str>)> {
        let named = self.endpoints.iter().find_map(|endpoint| {
            let hook = endpoint.prefixes.iter().find_map(|prefix| name_below(prefix, path))?;
            Some((endpoint, hook))
        });
        named.or_else(|| {
            let is_sample = |prefix: &String| is_two_below(prefix, path);
            let endpoint = self.endpoints.iter().find(|it| it.prefixes.iter().any(is_sample))?;
            Some((endpoint, Cow::Borrowed("")))
        })
    }

    /// Authenticates and answers a call.
    pub(super) async fn call(
        &self,
        gate: &Gate,
        endpoint: &HookEndpoint,
        path: &str,
        request: Request,
        id: RequestId,
        facts: &SharedFacts,
    ) -> Result<Response, HttpRefusal> {
        let (route, deadline) = (&endpoint.route, Instant::now() + endpoint.route.deadline);
        let started = Instant::now();
        let named = |admitted: &AdmittedCall| {
            let ids = self.hook(route, path, admitted).map_err(malformed)?;
            facts.note(|known| known.hook = Some(ids.0.clone()));
            Ok(ids)
        };
        let authentic = gate.authenticate(&route.source, request, id, named, || Ok(())).await?;
        let Authentic { verified, admitted: (hook, called), arrival } = authentic;
        facts.note(|known| known.key = verified.key);
        let slot = Arc::clone(&endpoint.slots)
            .try_acquire_owned()
            .map_err(|_| unavailable(SOON, "more calls than concurrency in hooks"))?;
        if hook == CANARY || verified.canary().is_some() {
            facts.note(|known| known.outcome = Some(PROBE));
            return Ok(echoed(self.echo(
                &verified,
                &hook,
                &arrival,
                (&route.source.auth, gate.reader.max),
            )));
        }
        let meta = HookMeta {
            hook,
            source: route.source.name.clone(),
            environment: route.source.environment,
            user: verified.user_name(),
            received_at: arrival.time,
            deadline,
        };
        let origin = Origin {
            // Two calls are never one cause.
            cause: format!("{id}-{}-{:x}", arrival.time.timestamp_millis(), fastrand::u64(..)),
            source: meta.source.clone(),
            environment: meta.environment,
            client_id: String::new(),
        };
        let deferrer = Deferrer::new(Arc::clone(&self.deferrals) as _, origin);
        let VerifiedCall { token, user, body, .. } = verified;
        let call = UntypedCall::new(route.vendor(), meta, called, token, user, body, deferrer);
        let pending = PendingCall::new(route, &call, id, started);
        Ok(self.run(route.unhandled, call, slot, pending, facts).await)
    }

    /// The report on a canary, with the handled hook that it asks about.
    fn echo(
        &self,
        probe: &VerifiedCall,
        hook: &str,
        arrival: &Arrival,
        (auth, max_body): (&Auth, usize),
    ) -> CanaryReport {
        let asked = probe.canary().filter(|asked| asked != CANARY);
        let row = self.handlers.table().hook(asked.as_deref().unwrap_or(hook));
        let handled = row.filter(|row| row.handler.is_some());
        CanaryReport {
            key: probe.key.map(|key| key.to_string()),
            headers: probe.header_names(),
            handles: handled.map(|row| row.id.to_owned()),
            ..accepted::echo(&probe.body, arrival, auth, max_body)
        }
    }

    /// The hook's id in the catalog, and the id used in the call and the callback; the caller's id if it is not known.
    fn hook(
        &self,
        route: &HookRoute,
        path: &str,
        call: &AdmittedCall,
    ) -> Result<(String, String), String> {
        let header = call.request_name().map_err(|refusal| refusal.to_string())?;
        let id = match (path, header.as_deref()) {
            ("", None) => {
                return Err(format!(
                    "neither the path nor X-DirectScale-RequestName names the hook; enter a URL that ends in the hook's id, e.g. {}/Autoships.CreateAutoship",
                    route.path
                ));
            }
            ("", Some(header)) => header,
            (path, None) => path,
            (path, Some(header)) if self.is_same(path, header) => header,
            (path, Some(header)) => {
                return Err(format!(
                    "the path names the hook {path:?}, but X-DirectScale-RequestName {header:?}; enter for each hook a URL that ends in its own id, e.g. {}/Autoships.CreateAutoship",
                    route.path
                ));
            }
        };
        // It becomes a segment of the callback URL.
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        match self.handlers.table().hook(id) {
            Some(row) => Ok((row.id.to_owned(), row.spelled(id).into_owned())),
            None if id.chars().all(plain) && id.contains(char::is_alphanumeric) => {
                Ok((id.to_owned(), id.to_owned()))
            }
            None => Err("a hook's id is letters, digits and . _ -".into()),
        }
    }

    fn is_same(&self, path: &str, header: &str) -> bool {
        let id = |name| self.handlers.table().hook(name).map(|row| row.id);
        path.eq_ignore_ascii_case(header)
            || respelled(path).is_some_and(|path| path.eq_ignore_ascii_case(header))
            || id(path).is_some_and(|path| id(header) == Some(path))
    }

    /// Runs the call to its end even if its caller disconnects, since the vendor's own logic may have run already.
    async fn run(
        &self,
        unhandled: Unhandled,
        call: UntypedCall,
        slot: OwnedSemaphorePermit,
        pending: PendingCall,
        facts: &SharedFacts,
    ) -> Response {
        let handlers = Arc::clone(&self.handlers);
        let memory = self.memory.clone();
        let work = async move {
            let _slot = slot;
            let _permit = timeout_at(call.meta.deadline, memory.take(&call.body)).await;
            hooks::run(&handlers, unhandled, call).await
        };
        let ended = RunningCall::new(work, pending, self.log.clone()).await;
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
    struct CanaryResponse {
        canary: CanaryReport,
    }
    server::json(StatusCode::OK, "application/json", &CanaryResponse { canary })
}
