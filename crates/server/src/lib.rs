//! What every HTTP server of the project shares: problem documents, the documentation pages, the login, and who may ask.

pub mod connections;
pub mod docs;
pub mod full_disk;
pub mod login;
pub mod open_files;
pub mod origin;
pub mod problem;
pub mod request_id;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;

/// Sees a request through even if whoever made it hangs up meanwhile, so that nothing it changes is left half done.
pub async fn seen_through(request: Request, next: Next) -> Response {
    match tokio::spawn(next.run(request)).await {
        Ok(response) => response,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// A response with this body as JSON.
pub fn json<T: Serialize>(status: StatusCode, kind: &'static str, body: &T) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => {
            (status, [(CONTENT_TYPE, HeaderValue::from_static(kind))], body).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
