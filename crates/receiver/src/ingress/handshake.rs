//! What senders ask before they send: CloudEvents for consent, X for a signed token, Slack for its challenge.

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

/// The answer to a request that is no delivery, but asks something of which the source's senders ask.
pub(super) fn answer(source: &Source, request: &Request) -> Option<Response> {
    match *request.method() {
        Method::OPTIONS => consent(source, request.headers()),
        Method::GET => token(source, request.uri().query()?),
        _ => None,
    }
}

/// The signature of a token, which shows that the receiver has the sender's key.
fn token(source: &Source, query: &str) -> Option<Response> {
    #[derive(Serialize)]
    struct Signed {
        response_token: String,
    }
    let response_token = source.signed_token(query)?;
    Some(json(StatusCode::OK, "application/json", &Signed { response_token }))
}

/// The answer to a sender that asks for consent, if it asks and the source is of a kind that is asked.
///
/// Without the header that names the origin the answer is no consent, whatever its status.
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

/// Deliveries per minute.
fn rate(source: &Source) -> HeaderValue {
    match source.rate_limit {
        Some(rate) => (u64::from(rate.get()) * 60).into(),
        None => HeaderValue::from_static("*"),
    }
}

/// The answer to a challenge.
pub(super) fn echo(challenge: &str) -> Response {
    #[derive(Serialize)]
    struct Echo<'c> {
        challenge: &'c str,
    }
    json(StatusCode::OK, "application/json", &Echo { challenge })
}
