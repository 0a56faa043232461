//! Shared parts of the HTTP servers: connections, problem documents, documentation pages, login and origin checks.
//!
//! It depends on the settings and the telemetry; the receiver and the bus listen with it.

pub mod connections;
pub mod docs;
pub mod full_disk;
pub mod login;
pub mod open_files;
pub mod openapi;
pub mod origin;
pub mod password;
pub mod problem;
pub mod request_id;
pub mod security;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;

/// Middleware: runs a request to its end even if the client disconnects, so that no change is left half done.
pub async fn run_to_completion(request: Request, next: Next) -> Response {
    match tokio::spawn(next.run(request)).await {
        Ok(response) => response,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// Response with a JSON body.
pub fn json<T: Serialize>(status: StatusCode, kind: &'static str, body: &T) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => {
            (status, [(CONTENT_TYPE, HeaderValue::from_static(kind))], body).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
