//! The HTTP side of a hook's answer.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use server::problem::{NOT_IMPLEMENTED, Problem};

use super::refused::malformed;
use crate::dispatch::hooks::Answer;

/// The answer as a response.
pub(super) fn respond(answer: Answer) -> Response {
    let status = status(&answer);
    match answer {
        Answer::Response(answer) | Answer::VendorError(answer) => {
            (status, answer.metadata().clone(), answer.body).into_response()
        }
        Answer::Failed(fault) => json(status, fault.body()),
        Answer::NotJson(reason) => malformed(reason).problem.into_response(),
        Answer::Unhandled => Problem::new(&NOT_IMPLEMENTED).into_response(),
    }
}

/// The answer's status.
pub(super) fn status(answer: &Answer) -> StatusCode {
    match answer {
        Answer::Response(_) => StatusCode::OK,
        Answer::VendorError(_) | Answer::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        Answer::NotJson(_) => StatusCode::BAD_REQUEST,
        Answer::Unhandled => StatusCode::NOT_IMPLEMENTED,
    }
}

fn json(status: StatusCode, body: Bytes) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}
