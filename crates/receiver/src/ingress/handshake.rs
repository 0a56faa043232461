//! Handshakes of senders before they deliver: those that a source's rows describe, and the consent that CloudEvents asks for.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::{
    ALLOW, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, StatusCode};
use server::problem::SOON;
use source::{HandshakeAnswer, HandshakeRefused, Refusal, Source};

use super::refused::{HttpRefusal, unavailable};

const REQUEST_ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");
const REQUEST_RATE: HeaderName = HeaderName::from_static("webhook-request-rate");
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

/// Answers a handshake that nothing proves, if the request is one.
pub(super) fn unproved(
    source: &Source,
    request: &Request,
) -> Option<Result<Response, HttpRefusal>> {
    if let Some(response) = consent(source, request.method(), request.headers()) {
        return Some(Ok(response));
    }
    let answer = source.unproved_handshake(request.method(), request.uri(), request.headers())?;
    Some(answer.map(|answer| respond(&answer)).map_err(|refused| refuse(refused, source)))
}

/// Answers a handshake that was proved. A confirmation that it asks for is fetched first.
pub(super) async fn proved(
    source: &Arc<Source>,
    answer: &HandshakeAnswer,
) -> Result<Response, HttpRefusal> {
    if let (Some(url), Some(remote)) = (&answer.fetch, &source.confirmations)
        && let Err(error) = remote.confirm(url).await
    {
        return Err(unavailable(
            SOON,
            format!("the sender's confirmation cannot be fetched: {error:#}"),
        ));
    }
    Ok(respond(answer))
}

fn refuse(refused: HandshakeRefused, source: &Source) -> HttpRefusal {
    HttpRefusal::of(&Refusal::from(refused), source)
}

fn respond(answer: &HandshakeAnswer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let mut response = (status, answer.body.clone()).into_response();
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    match HeaderValue::from_str(&answer.content_type) {
        Ok(value) if !answer.body.is_empty() || status == StatusCode::NO_CONTENT => {
            headers.insert(CONTENT_TYPE, value);
        }
        _ => drop(headers.remove(CONTENT_TYPE)),
    }
    response
}

/// Answers a request for consent, if the source's dialect has one.
///
/// Without the header that names the origin the response is no consent, whatever its status.
fn consent(source: &Source, method: &Method, asked: &HeaderMap) -> Option<Response> {
    let is_asked = *method == Method::OPTIONS && source.asks_permission();
    let origin = asked.get(REQUEST_ORIGIN).filter(|_| is_asked)?;
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
