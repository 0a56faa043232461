//! The record of a hook's call: made with its answer, and of a call whose sender has hung up, too.

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
use crate::dispatch::hooks::{Answer, Ended};
use crate::hook_log::HookLog;

/// Where calls are counted and recorded.
#[derive(Clone)]
pub(super) struct CallLog {
    pub(super) log: HookLog,
    pub(super) metrics: Arc<Metrics>,
    /// The calls that run: a stop waits for them, also for those that nobody waits for any more.
    pub(super) tasks: TaskTracker,
}

/// What is known of a call before it ends.
pub(super) struct PendingCall {
    started: Instant,
    site: Arc<HookRoute>,
    meta: HookMeta,
    request_id: String,
    request: Bytes,
}

impl PendingCall {
    pub(super) fn new(
        site: &Arc<HookRoute>,
        call: &UntypedCall,
        id: RequestId,
        started: Instant,
    ) -> Self {
        PendingCall {
            started,
            site: Arc::clone(site),
            meta: call.meta.clone(),
            request_id: id.to_string(),
            request: call.body.clone(),
        }
    }

    /// What was said, without what must not be kept.
    fn bodies(&self, ended: &Ended) -> HookBodies {
        let kept = |body: &Bytes| redacted(body, &self.site.recording.redact);
        let callback = ended.callback.as_ref();
        HookBodies {
            request: kept(&self.request),
            callback_request: callback.map(|callback| kept(&callback.request)),
            callback_response: callback.and_then(|callback| callback.response.as_ref()).map(kept),
            response: match &ended.answer {
                Answer::Response(answer) | Answer::VendorError(answer) => {
                    Some(kept(&answer.decoded().unwrap_or_else(|_| answer.body.clone())))
                }
                Answer::Failed(fault) => Some(fault.body()),
                Answer::NotJson(_) | Answer::Unhandled => None,
            },
        }
    }
}

impl CallLog {
    /// Counts and records a call that has ended; `heard` if its sender was still there.
    fn enter(&self, entry: PendingCall, ended: &Ended, heard: bool) {
        let took = entry.started.elapsed();
        let outcome = if heard { ended.outcome() } else { "hung-up" };
        let callback = ended.callback.as_ref();
        let spent = callback.map(|callback| callback.took);
        self.metrics.hook(ended.hook.unwrap_or_default(), outcome, took, spent);
        let bodies = entry.site.recording.bodies.then(|| entry.bodies(ended));
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

/// A call on its way to its answer. It runs to its end even if its sender hangs up: the vendor's own logic may have run.
pub(super) struct Running {
    /// None once it has ended.
    open: Option<Open>,
    log: CallLog,
}

struct Open {
    work: BoxFuture<'static, Ended>,
    entry: PendingCall,
    counted: TaskTrackerToken,
}

impl Running {
    pub(super) fn new(
        work: impl Future<Output = Ended> + Send + 'static,
        entry: PendingCall,
        log: CallLog,
    ) -> Self {
        let open = Open { work: work.boxed(), entry, counted: log.tasks.token() };
        Running { open: Some(open), log }
    }
}

impl Future for Running {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Ended> {
        let Some(open) = &mut self.open else { return Poll::Pending };
        let Poll::Ready(ended) = open.work.poll_unpin(context) else { return Poll::Pending };
        if let Some(open) = self.open.take() {
            self.log.enter(open.entry, &ended, true);
        }
        Poll::Ready(ended)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let (Some(open), Ok(runtime)) = (self.open.take(), Handle::try_current()) else { return };
        let Open { work, entry, counted } = open;
        let log = self.log.clone();
        runtime.spawn(async move {
            log.enter(entry, &work.await, false);
            drop(counted);
        });
    }
}
