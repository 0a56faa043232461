//! HTTP response of a hook call.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use server::problem::{NOT_IMPLEMENTED, Problem};

use super::refused::malformed;
use crate::dispatch::hooks::HookAnswer;

/// Converts the answer to a response.
pub(super) fn respond(answer: HookAnswer) -> Response {
    let status = status(&answer);
    match answer {
        HookAnswer::Response(answer) | HookAnswer::VendorError(answer) => {
            (status, answer.metadata().clone(), answer.body).into_response()
        }
        HookAnswer::Failed(fault) => json(status, fault.body()),
        HookAnswer::NotJson(reason) => malformed(reason).problem.into_response(),
        HookAnswer::Unhandled => Problem::new(&NOT_IMPLEMENTED).into_response(),
    }
}

/// HTTP status of the answer.
pub(super) fn status(answer: &HookAnswer) -> StatusCode {
    match answer {
        HookAnswer::Response(_) => StatusCode::OK,
        HookAnswer::VendorError(_) | HookAnswer::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        HookAnswer::NotJson(_) => StatusCode::BAD_REQUEST,
        HookAnswer::Unhandled => StatusCode::NOT_IMPLEMENTED,
    }
}

fn json(status: StatusCode, body: Bytes) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}
