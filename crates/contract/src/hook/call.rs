//! A call before decoding.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use http::HeaderValue;

use super::callback::TraceSlot;
use super::{CallbackTrace, HookMeta, UntypedCallback, Vendor};
use crate::effect::Deferrer;

/// A verified call that is not yet decoded.
pub struct UntypedCall {
    /// The caller, the hook and the deadline.
    pub meta: HookMeta,
    /// The request, byte for byte as received.
    pub body: Bytes,
    /// The callback, for one use.
    pub callback: UntypedCallback,
    /// Defers events of the fork's own.
    pub deferrer: Deferrer,
}

impl UntypedCall {
    /// A call under the id `called` of a source that calls back `vendor`, with the one-time token and the user of the
    /// request.
    pub fn new(
        vendor: Arc<dyn Vendor>,
        meta: HookMeta,
        called: String,
        token: HeaderValue,
        user: Option<HeaderValue>,
        body: Bytes,
        deferrer: Deferrer,
    ) -> Self {
        let callback = UntypedCallback {
            vendor,
            hook: called,
            token,
            user,
            deadline: meta.deadline,
            trace: TraceSlot::default(),
        };
        UntypedCall { meta, body, callback, deferrer }
    }

    /// A handle to the callback's trace, which is filled in later.
    pub fn trace(&self) -> TraceHandle {
        TraceHandle(Arc::clone(&self.callback.trace))
    }
}

/// A handle to the trace of a call's callback.
pub struct TraceHandle(TraceSlot);

impl TraceHandle {
    /// The trace, if the callback was used.
    pub fn take(self) -> Option<CallbackTrace> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
