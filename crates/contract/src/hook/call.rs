//! A call before it has its type.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use http::HeaderValue;

use super::callback::Trace;
use super::{CallbackTrace, HookMeta, Ticket, Vendor};

/// A verified call that has no type yet.
pub struct Call {
    /// Who calls, for what, and until when.
    pub meta: HookMeta,
    /// The request, byte for byte as it came.
    pub body: Bytes,
    /// The callback, to be redeemed once.
    pub ticket: Ticket,
}

impl Call {
    /// A call under the id `called` of a source that calls back `vendor`, with the one-time token and the user that came with it.
    pub fn new(
        vendor: Arc<dyn Vendor>,
        meta: HookMeta,
        called: String,
        token: HeaderValue,
        user: Option<HeaderValue>,
        body: Bytes,
    ) -> Self {
        let ticket = Ticket {
            vendor,
            hook: called,
            token,
            user,
            deadline: meta.deadline,
            trace: Trace::default(),
        };
        Call { meta, body, ticket }
    }

    /// Where the callback will leave what came of it.
    pub fn traced(&self) -> Traced {
        Traced(Arc::clone(&self.ticket.trace))
    }
}

/// What will have come of a call's callback.
pub struct Traced(Trace);

impl Traced {
    /// The callback, if it was used.
    pub fn take(self) -> Option<CallbackTrace> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
