//! Handshakes of senders before they deliver: CloudEvents asks for consent, X for a signed token, Slack for its challenge.

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde::Serialize;
use server::json;
use source::Source;

const REQUEST_ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");
const REQUEST_RATE: HeaderName = HeaderName::from_static("webhook-request-rate");
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

/// Answers a handshake of the source's dialect, if the request is one.
pub(super) fn answer(source: &Source, request: &Request) -> Option<Response> {
    match *request.method() {
        Method::OPTIONS => consent(source, request.headers()),
        Method::GET => token(source, request.uri().query()?),
        _ => None,
    }
}

/// Signs a token, which proves that the receiver has the sender's key.
fn token(source: &Source, query: &str) -> Option<Response> {
    #[derive(Serialize)]
    struct TokenResponse {
        response_token: String,
    }
    let response_token = source.signed_token(query)?;
    Some(json(StatusCode::OK, "application/json", &TokenResponse { response_token }))
}

/// Answers a request for consent, if the source's dialect has one.
///
/// Without the header that names the origin the response is no consent, whatever its status.
fn consent(source: &Source, asked: &HeaderMap) -> Option<Response> {
    let origin = asked.get(REQUEST_ORIGIN).filter(|_| source.asks_permission())?;
    let mut response = StatusCode::OK.into_response();
    let headers = response.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static("POST"));
    if origin.to_str().is_ok_and(|origin| source.allows(origin.trim())) {
        headers.insert(ALLOWED_ORIGIN, origin.clone());
        if asked.contains_key(REQUEST_RATE) {
            headers.insert(ALLOWED_RATE, rate(source));
        }
    }
    Some(response)
}

/// Allowed rate in deliveries per minute.
fn rate(source: &Source) -> HeaderValue {
    match source.rate_limit {
        Some(rate) => (u64::from(rate.get()) * 60).into(),
        None => HeaderValue::from_static("*"),
    }
}

/// Answers a challenge.
pub(super) fn echo(challenge: &str) -> Response {
    #[derive(Serialize)]
    struct ChallengeResponse<'c> {
        challenge: &'c str,
    }
    json(StatusCode::OK, "application/json", &ChallengeResponse { challenge })
}
