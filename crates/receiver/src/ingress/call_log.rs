//! Recording of hook calls, including those whose caller has disconnected.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use contract::hook::{HookMeta, UntypedCall};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use inbox::{HookBodies, HookCallback, HookRecord};
use server::request_id::RequestId;
use source::{HookRoute, redacted};
use telemetry::Metrics;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::hook_response::status;
use crate::dispatch::hooks::{FinishedCall, HookAnswer};
use crate::hook_log::HookLog;

/// Metrics and log of hook calls.
#[derive(Clone)]
pub(super) struct CallLog {
    pub(super) log: HookLog,
    pub(super) metrics: Arc<Metrics>,
    /// The running calls: a stop waits for them, even if their callers have disconnected.
    pub(super) tasks: TaskTracker,
}

/// A call that has not finished, with the facts for its record.
pub(super) struct PendingCall {
    started: Instant,
    route: Arc<HookRoute>,
    meta: HookMeta,
    request_id: String,
    request: Bytes,
}

impl PendingCall {
    pub(super) fn new(
        route: &Arc<HookRoute>,
        call: &UntypedCall,
        id: RequestId,
        started: Instant,
    ) -> Self {
        PendingCall {
            started,
            route: Arc::clone(route),
            meta: call.meta.clone(),
            request_id: id.to_string(),
            request: call.body.clone(),
        }
    }

    /// Bodies of the call, with secrets redacted.
    fn bodies(&self, ended: &FinishedCall) -> HookBodies {
        let redact = |body: &Bytes| redacted(body, &self.route.recording.redact);
        let callback = ended.callback.as_ref();
        HookBodies {
            request: redact(&self.request),
            callback_request: callback.map(|callback| redact(&callback.request)),
            callback_response: callback.and_then(|callback| callback.response.as_ref()).map(redact),
            response: match &ended.answer {
                HookAnswer::Response(answer) | HookAnswer::VendorError(answer) => {
                    Some(redact(&answer.decoded().unwrap_or_else(|_| answer.body.clone())))
                }
                HookAnswer::Failed(fault) => Some(fault.body()),
                HookAnswer::NotJson(_) | HookAnswer::Unhandled => None,
            },
        }
    }
}

impl CallLog {
    /// Counts and records a finished call; `is_connected` if its caller received the response.
    fn record(&self, entry: PendingCall, ended: &FinishedCall, is_connected: bool) {
        let took = entry.started.elapsed();
        let outcome = if is_connected { ended.outcome() } else { "hung-up" };
        let callback = ended.callback.as_ref();
        let spent = callback.map(|callback| callback.took);
        self.metrics.hook(ended.hook.unwrap_or_default(), outcome, took, spent);
        let bodies = entry.route.recording.bodies.then(|| entry.bodies(ended));
        let PendingCall { meta, request_id, .. } = entry;
        self.log.record(HookRecord {
            source: meta.source,
            environment: meta.environment,
            hook: meta.hook,
            user: meta.user,
            request_id,
            received_at: meta.received_at,
            took,
            status: status(&ended.answer).as_u16(),
            outcome: outcome.into(),
            error_id: ended.error_id().map(str::to_owned),
            error: ended.reason().map(str::to_owned),
            callback: callback.map(|c| HookCallback { took: c.took, error: c.error.clone() }),
            bodies,
        });
    }
}

/// A running call. It runs to its end even if its caller disconnects, since the vendor's own logic may have run.
pub(super) struct RunningCall {
    /// None once it has finished.
    open: Option<OpenCall>,
    log: CallLog,
}

struct OpenCall {
    work: BoxFuture<'static, FinishedCall>,
    entry: PendingCall,
    counted: TaskTrackerToken,
}

impl RunningCall {
    pub(super) fn new(
        work: impl Future<Output = FinishedCall> + Send + 'static,
        entry: PendingCall,
        log: CallLog,
    ) -> Self {
        let open = OpenCall { work: work.boxed(), entry, counted: log.tasks.token() };
        RunningCall { open: Some(open), log }
    }
}

impl Future for RunningCall {
    type Output = FinishedCall;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<FinishedCall> {
        let Some(open) = &mut self.open else { return Poll::Pending };
        let Poll::Ready(ended) = open.work.poll_unpin(context) else { return Poll::Pending };
        if let Some(open) = self.open.take() {
            self.log.record(open.entry, &ended, true);
        }
        Poll::Ready(ended)
    }
}

impl Drop for RunningCall {
    fn drop(&mut self) {
        let (Some(open), Ok(runtime)) = (self.open.take(), Handle::try_current()) else { return };
        let OpenCall { work, entry, counted } = open;
        let log = self.log.clone();
        runtime.spawn(async move {
            log.record(entry, &work.await, false);
            drop(counted);
        });
    }
}
