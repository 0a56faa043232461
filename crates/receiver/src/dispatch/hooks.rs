//! One call, from its verified bytes to its answer: decode, call the handler, encode; or let the vendor's own logic answer.

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

/// What the caller is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The response model: 200.
    Response(Representation),
    /// The vendor's own logic failed: 500 with the very body that it answered.
    VendorError(Representation),
    /// The hook failed: 500 in the vendor's own shape.
    Failed(Fault),
    /// The request is not JSON: 400, with the reason.
    NotJson(String),
    /// No handler takes it, and the settings say that it is then refused: 501.
    Unhandled,
}

/// Why a hook failed: what the caller is told, and what its owner is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// `failed`, `told`, `panicked`, `timed-out` or `unreadable`.
    pub outcome: &'static str,
    /// The id that stands in the answer and in the log.
    pub error_id: String,
    /// What the caller is told.
    pub told: String,
    /// The reason, for the owner.
    pub reason: String,
}

impl Fault {
    /// The answer's body.
    pub fn body(&self) -> Bytes {
        let error = RemoteError::new(&self.error_id, &self.told);
        serde_json::to_vec(&error).map(Bytes::from).unwrap_or_default()
    }
}

/// A call that has its answer.
pub struct Ended {
    /// What the caller is answered.
    pub answer: Answer,
    /// The catalog's id of the hook, if it is known.
    pub hook: Option<&'static str>,
    /// Whether a handler took it.
    pub is_handled: bool,
    /// What came of the callback, if it was used.
    pub callback: Option<CallbackTrace>,
}

impl Ended {
    /// The outcome's name in the log, the metrics and the listing.
    pub fn outcome(&self) -> &'static str {
        match &self.answer {
            Answer::Response(_) if self.is_handled => "answered",
            Answer::Response(_) => "passed-through",
            Answer::VendorError(_) => "vendor-error",
            Answer::Failed(fault) => fault.outcome,
            Answer::NotJson(_) => "unreadable",
            Answer::Unhandled => "unhandled",
        }
    }

    /// Why there is no response, for the owner.
    pub fn reason(&self) -> Option<&str> {
        match &self.answer {
            Answer::Response(_) => None,
            Answer::VendorError(_) => Some("the vendor's own logic failed"),
            Answer::Failed(fault) => Some(&fault.reason),
            Answer::NotJson(reason) => Some(reason),
            Answer::Unhandled => Some("no handler takes the hook"),
        }
    }

    /// The id under which the caller is told of a failure.
    pub fn error_id(&self) -> Option<&str> {
        match &self.answer {
            Answer::Failed(fault) => Some(&fault.error_id),
            _ => None,
        }
    }
}

/// Answers the call, at its deadline at the latest.
pub async fn run(handlers: &Handlers, unhandled: Unhandled, call: UntypedCall) -> Ended {
    let trace = call.trace();
    let hook = handlers.table().hook(&call.meta.hook).map(|row| row.id);
    let handler = handlers.hook(&call.meta.hook);
    let answer = match (handler, unhandled) {
        (Some(handler), _) => handle(handler, call).await,
        (None, Unhandled::PassThrough) => pass_through(call).await,
        (None, Unhandled::Refuse) => Answer::Unhandled,
    };
    Ended { answer, hook, is_handled: handler.is_some(), callback: trace.take() }
}

async fn handle(handler: HookHandler<'_>, call: UntypedCall) -> Answer {
    let (deadline, body) = (call.meta.deadline, call.body.clone());
    // The model is the fork's too: it may panic as the handler may.
    let begun = std::panic::catch_unwind(AssertUnwindSafe(|| handler.start(call)));
    let answer = match begun {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return unread(&body, &error),
        Err(panic) => return panicked("the model", &*panic),
    };
    match timeout_at(deadline, AssertUnwindSafe(answer).catch_unwind()).await {
        Ok(Ok(Ok(response))) => Answer::Response(Representation::json(response)),
        Ok(Ok(Err(failure))) => failed(failure),
        Ok(Err(panic)) => panicked("the handler", &*panic),
        Err(_) => fault(
            "timed-out",
            FAILED,
            "the handler has not answered by the deadline (deadline in the source's hooks)",
        ),
    }
}

/// The vendor's own logic on the very bytes that came.
async fn pass_through(call: UntypedCall) -> Answer {
    if let Err(error) = check_json(&call.body) {
        return Answer::NotJson(error);
    }
    match call.callback.run(call.body).await {
        Ok(response) => Answer::Response(response),
        Err(error) => failed(error.into()),
    }
}

const FAILED: &str = "The hook has failed.";
const NOT_READ: &str = "The hook could not read the request.";

fn failed(failure: HookFailure) -> Answer {
    let error = match failure {
        HookFailure::UserMessage(message) => {
            return fault("told", &message, format!("the handler says: {message}"));
        }
        HookFailure::Internal(error) => error,
    };
    match error.downcast_ref::<CallbackError>() {
        Some(CallbackError::Vendor(answer)) => Answer::VendorError(*answer.clone()),
        Some(CallbackError::TimedOut) => fault("timed-out", FAILED, format!("{error:#}")),
        _ => fault("failed", FAILED, format!("{error:#}")),
    }
}

fn unread(body: &[u8], error: &DecodeError) -> Answer {
    match check_json(body) {
        Ok(()) => fault("unreadable", NOT_READ, format!("the body is not the model: {error}")),
        Err(error) => Answer::NotJson(error),
    }
}

fn check_json(body: &[u8]) -> Result<(), String> {
    let json = serde_json::from_slice::<&RawValue>(without_bom(body));
    json.map(drop).map_err(|error| format!("the body is not JSON: {error}"))
}

fn panicked(who: &str, panic: &(dyn Any + Send)) -> Answer {
    fault("panicked", FAILED, format!("{who} panicked: {}", text(panic)))
}

fn fault(outcome: &'static str, told: &str, reason: impl Into<String>) -> Answer {
    let error_id = format!("{:08x}", fastrand::u32(..));
    Answer::Failed(Fault { outcome, error_id, told: told.to_owned(), reason: reason.into() })
}
