//! Hook execution: decodes the verified request, runs the handler and encodes the response, or passes the call through to
//! the vendor's own logic.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use bytes::Bytes;
use contract::catalog::{Handlers, HookHandler};
use contract::event::{DecodeError, without_bom};
use contract::hook::{
    CallbackError, CallbackTrace, HookFailure, RemoteError, Representation, UntypedCall,
};
use futures_util::FutureExt;
use serde_json::value::RawValue;
use source::Unhandled;
use tokio::time::timeout_at;

use super::text;

/// The answer to a hook call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookAnswer {
    /// The response model: 200.
    Response(Representation),
    /// The vendor's own logic failed: 500 with its unchanged body.
    VendorError(Representation),
    /// The hook failed: 500 in the vendor's format.
    Failed(HookFault),
    /// The request is not JSON: 400 with the reason.
    NotJson(String),
    /// No handler takes the hook, and the settings refuse such calls: 501.
    Unhandled,
}

/// Failure of a hook, with a message for the caller and a reason for the owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookFault {
    /// `failed`, `told`, `panicked`, `timed-out` or `unreadable`.
    pub outcome: &'static str,
    /// Error id, in the response and in the log.
    pub error_id: String,
    /// Message for the caller.
    pub message: String,
    /// Reason for the owner.
    pub reason: String,
}

impl HookFault {
    /// Body of the response.
    pub fn body(&self) -> Bytes {
        let error = RemoteError::new(&self.error_id, &self.message);
        serde_json::to_vec(&error).map(Bytes::from).unwrap_or_default()
    }
}

/// A finished call.
pub struct FinishedCall {
    /// The answer to a hook call.
    pub answer: HookAnswer,
    /// The id of the hook in the catalog, if it is known.
    pub hook: Option<&'static str>,
    /// True if a handler took it.
    pub is_handled: bool,
    /// Trace of the callback, if it was used.
    pub callback: Option<CallbackTrace>,
}

impl FinishedCall {
    /// Name of the outcome in the log, the metrics and the hook log.
    pub fn outcome(&self) -> &'static str {
        match &self.answer {
            HookAnswer::Response(_) if self.is_handled => "answered",
            HookAnswer::Response(_) => "passed-through",
            HookAnswer::VendorError(_) => "vendor-error",
            HookAnswer::Failed(fault) => fault.outcome,
            HookAnswer::NotJson(_) => "unreadable",
            HookAnswer::Unhandled => "unhandled",
        }
    }

    /// Reason of a failure, for the owner.
    pub fn reason(&self) -> Option<&str> {
        match &self.answer {
            HookAnswer::Response(_) => None,
            HookAnswer::VendorError(_) => Some("the vendor's own logic failed"),
            HookAnswer::Failed(fault) => Some(&fault.reason),
            HookAnswer::NotJson(reason) => Some(reason),
            HookAnswer::Unhandled => Some("no handler takes the hook"),
        }
    }

    /// Error id of a failure.
    pub fn error_id(&self) -> Option<&str> {
        match &self.answer {
            HookAnswer::Failed(fault) => Some(&fault.error_id),
            _ => None,
        }
    }
}

/// Runs the call until its deadline at the latest.
pub async fn run(handlers: &Handlers, unhandled: Unhandled, call: UntypedCall) -> FinishedCall {
    let trace = call.trace();
    let hook = handlers.table().hook(&call.meta.hook).map(|row| row.id);
    let handler = handlers.hook(&call.meta.hook);
    let answer = match (handler, unhandled) {
        (Some(handler), _) => handle(handler, call).await,
        (None, Unhandled::PassThrough) => pass_through(call).await,
        (None, Unhandled::Refuse) => HookAnswer::Unhandled,
    };
    FinishedCall { answer, hook, is_handled: handler.is_some(), callback: trace.take() }
}

async fn handle(handler: HookHandler<'_>, call: UntypedCall) -> HookAnswer {
    let (deadline, body) = (call.meta.deadline, call.body.clone());
    // The model is the fork's code, too: it may panic as the handler may.
    let begun = std::panic::catch_unwind(AssertUnwindSafe(|| handler.start(call)));
    let answer = match begun {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return unread(&body, &error),
        Err(panic) => return panicked("the model", &*panic),
    };
    match timeout_at(deadline, AssertUnwindSafe(answer).catch_unwind()).await {
        Ok(Ok(Ok(response))) => HookAnswer::Response(Representation::json(response)),
        Ok(Ok(Err(failure))) => failed(failure),
        Ok(Err(panic)) => panicked("the handler", &*panic),
        Err(_) => fault(
            "timed-out",
            FAILED,
            "the handler has not answered by the deadline (deadline in the source's hooks)",
        ),
    }
}

/// Runs the vendor's own logic on the unchanged bytes.
async fn pass_through(call: UntypedCall) -> HookAnswer {
    if let Err(error) = check_json(&call.body) {
        return HookAnswer::NotJson(error);
    }
    match call.callback.run(call.body).await {
        Ok(response) => HookAnswer::Response(response),
        Err(error) => failed(error.into()),
    }
}

const FAILED: &str = "The hook has failed.";
const NOT_READ: &str = "The hook could not read the request.";

fn failed(failure: HookFailure) -> HookAnswer {
    let error = match failure {
        HookFailure::UserMessage(message) => {
            return fault("told", &message, format!("the handler says: {message}"));
        }
        HookFailure::Internal(error) => error,
    };
    match error.downcast_ref::<CallbackError>() {
        Some(CallbackError::Vendor(answer)) => HookAnswer::VendorError(*answer.clone()),
        Some(CallbackError::TimedOut) => fault("timed-out", FAILED, format!("{error:#}")),
        _ => fault("failed", FAILED, format!("{error:#}")),
    }
}

fn unread(body: &[u8], error: &DecodeError) -> HookAnswer {
    match check_json(body) {
        Ok(()) => fault("unreadable", NOT_READ, format!("the body is not the model: {error}")),
        Err(error) => HookAnswer::NotJson(error),
    }
}

fn check_json(body: &[u8]) -> Result<(), String> {
    let json = serde_json::from_slice::<&RawValue>(without_bom(body));
    json.map(drop).map_err(|error| format!("the body is not JSON: {error}"))
}

fn panicked(who: &str, panic: &(dyn Any + Send)) -> HookAnswer {
    fault("panicked", FAILED, format!("{who} panicked: {}", text(panic)))
}

fn fault(outcome: &'static str, message: &str, reason: impl Into<String>) -> HookAnswer {
    let error_id = format!("{:08x}", fastrand::u32(..));
    HookAnswer::Failed(HookFault {
        outcome,
        error_id,
        message: message.to_owned(),
        reason: reason.into(),
    })
}
