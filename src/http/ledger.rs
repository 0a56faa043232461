//! The record of a hook's call: made beside its answer, and of a call whose sender has hung up, too.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::hooks::status;
use super::record::RequestId;
use crate::dispatch::hooks::{Answer, Ended};
use crate::hook::{Call, HookMeta, Site, redacted};
use crate::inbox::{HookBodies, HookCallback, HookLog, HookRecord};
use crate::telemetry::Metrics;

/// Where calls are counted and recorded.
#[derive(Clone)]
pub(super) struct Ledger {
    pub(super) log: HookLog,
    pub(super) metrics: Arc<Metrics>,
    /// The calls that run: a stop waits for them, also for those that nobody waits for any more.
    pub(super) tasks: TaskTracker,
}

/// What is known of a call before it ends.
pub(super) struct Entry {
    pub(super) started: Instant,
    site: Arc<Site>,
    meta: HookMeta,
    request_id: String,
    request: Bytes,
}

impl Entry {
    pub(super) fn new(
        site: &Arc<Site>,
        call: &Call,
        id: Option<RequestId>,
        started: Instant,
    ) -> Self {
        Entry {
            started,
            site: Arc::clone(site),
            meta: call.meta.clone(),
            request_id: id.map(|id| id.to_string()).unwrap_or_default(),
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
                Answer::Response(body) | Answer::VendorError(body) => Some(kept(body)),
                Answer::Failed(fault) => Some(fault.body()),
                Answer::NotJson(_) | Answer::Unhandled => None,
            },
        }
    }
}

impl Ledger {
    /// Counts and records a call that has ended; `heard` if its sender was still there.
    pub(super) fn enter(&self, entry: Entry, ended: &Ended, took: Duration, heard: bool) {
        let outcome = if heard { ended.outcome() } else { "hung-up" };
        let callback = ended.callback.as_ref();
        let spent = callback.map(|callback| callback.took);
        self.metrics.hook(ended.hook.unwrap_or_default(), outcome, took, spent);
        let bodies = entry.site.recording.bodies.then(|| entry.bodies(ended));
        let Entry { meta, request_id, .. } = entry;
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
