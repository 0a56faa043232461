//! The bus's HTTP API: publication, subscriptions, logs and resending.

mod document;
mod logs;
mod schemas;
mod subscriptions;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use contract::event::{without_bom, without_value};
use http::header::{CONTENT_TYPE, HOST, HeaderMap, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Method, StatusCode};
use secrecy::SecretString;
use serde::Serialize;
use serde::de::DeserializeOwned;
use server::connections::Permit;
use server::origin::is_loopback_host;
use server::security;
use source::has_bearer;
use text::field::MediaType;
use utoipa::ToSchema;

use super::outbox::page;
use super::{Bus, BusError, Publication};

pub use document::document;

/// The largest number of events that one request publishes.
const BATCH: usize = 1000;

/// The largest request, in bytes, not counting the largest event.
const LARGEST: usize = 32 * 1024 * 1024;

/// The result of an endpoint with a JSON response.
type ApiResult<T> = Result<Json<T>, ApiError>;

/// The routes of the API. Without a key they serve this machine alone.
pub fn router(bus: Arc<Bus>, key: Option<SecretString>) -> Router {
    let largest = LARGEST.saturating_add(bus.max_event());
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readiness))
        .route("/api/events", post(publish))
        .merge(subscriptions::router())
        .merge(logs::router())
        .layer(DefaultBodyLimit::max(largest))
        .layer(from_fn_with_state(key.map(Arc::new), admit))
        .layer(map_response(guarded))
        .with_state(bus)
}

/// Adds the headers by which browsers neither guess the type of a response nor store it: bodies contain what was published.
async fn guarded(mut response: Response) -> Response {
    security::add(&mut response, [security::NOSNIFF, security::NO_STORE]);
    response
}

/// Admits a request that has the key; without a configured key, one from this machine that no other site's page sent.
async fn admit(
    State(key): State<Option<Arc<SecretString>>>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let passes = match &key {
        Some(key) => has_bearer(headers, key),
        None => is_loopback_host(headers) && !is_another_sites(headers),
    };
    let is_probe = matches!(request.uri().path(), "/healthz" | "/readyz");
    if !passes && !is_probe {
        return match key {
            Some(_) => ApiError::new(StatusCode::UNAUTHORIZED, "the API's key is missing or wrong"),
            None => ApiError::new(
                StatusCode::FORBIDDEN,
                "without a key the bus serves this machine alone, and no pages of other sites",
            ),
        }
        .into_response();
    }
    if passes && let Some(connection) = request.extensions().get::<Arc<Permit>>() {
        connection.prove();
    }
    // A page of another site can post text, but not JSON without a CORS preflight. A request without a body needs no
    // type.
    if request.method() == Method::POST
        && headers.contains_key(CONTENT_TYPE)
        && !is_json(headers)
        && request.uri().path().starts_with("/api/")
    {
        let why = "the content type must be application/json";
        return ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why).into_response();
    }
    next.run(request).await
}

fn is_another_sites(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
    let says_other = site.is_some_and(|site| site != b"same-origin" && site != b"none");
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let origin = headers.get("origin").and_then(|origin| origin.to_str().ok());
    says_other
        || origin.is_some_and(|origin| origin.split_once("://").is_none_or(|(_, own)| own != host))
}

fn is_json(headers: &HeaderMap) -> bool {
    MediaType::of(headers).is_some_and(|media| media.essence == "application/json")
}

async fn readiness(State(bus): State<Arc<Bus>>) -> Response {
    match bus.check().await {
        Ok(()) => "ready\n".into_response(),
        Err(error) => ApiError::from(error).into_response(),
    }
}

/// Publishes one event, or a list of up to 1000. The events are on disk before the response is sent.
#[utoipa::path(post, path = "/api/events", operation_id = "publishEvents", tag = "events", request_body = schemas::Publications, responses(
    (status = 202, description = "The events are published, or were published before.", body = schemas::PublishReceipts),
    (status = 413, description = "An event is larger than `max_event` in the settings, or the request is too large; nothing is published.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 422, description = "An event is invalid; none is published.", body = ProblemDetails, content_type = "application/problem+json")))]
async fn publish(
    State(bus): State<Arc<Bus>>,
    RequestBody(body): RequestBody,
) -> Result<Response, ApiError> {
    let is_list = body.trim_ascii_start().first() == Some(&b'[');
    let publications: Vec<Publication> = match is_list {
        true => read(&body)?,
        false => vec![read(&body)?],
    };
    if publications.is_empty() || publications.len() > BATCH {
        let why = format!("a list has 1 to {BATCH} events");
        return Err(ApiError::new(StatusCode::BAD_REQUEST, why));
    }
    let receipts = bus.publish(publications).await?;
    Ok(match receipts.as_slice() {
        [receipt] if !is_list => json_of(StatusCode::ACCEPTED, receipt),
        receipts => json_of(StatusCode::ACCEPTED, &receipts),
    })
}

/// The body of a request. A body that is too large is refused with a problem document, like any other error.
struct RequestBody(Bytes);

impl<S: Send + Sync> FromRequest<S> for RequestBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        Bytes::from_request(request, state).await.map(RequestBody).map_err(|rejection| {
            let why = match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => {
                    "the request is too large; publish fewer events at once".to_owned()
                }
                _ => rejection.body_text(),
            };
            ApiError::new(rejection.status(), why)
        })
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(without_bom(body))
        .map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, without_value(&error.to_string())))
}

fn filter<T: DeserializeOwned>(query: Option<String>) -> Result<T, BusError> {
    serde_urlencoded::from_str(&query.unwrap_or_default())
        .map_err(|error| BusError::Invalid(format!("filter: {error}")))
}

/// The last entry of a page, if it is full: others may follow.
fn last_of_full<T>(items: &[T], limit: Option<usize>) -> Option<&T> {
    items.last().filter(|_| items.len() >= page(limit))
}

fn json_of<T: Serialize>(status: StatusCode, body: &T) -> Response {
    let body = serde_json::to_vec(body).unwrap_or_default();
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}

/// The problem document (RFC 9457) of a refused request.
#[derive(Debug, Serialize, ToSchema)]
struct ProblemDetails {
    /// Always `about:blank`: the status determines the type of the problem.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status, repeated.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// The reason for the refusal.
    detail: String,
}

/// An error response: its status and its reason.
struct ApiError {
    status: StatusCode,
    detail: String,
}

impl ApiError {
    fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        ApiError { status, detail: detail.into() }
    }
}

/// The HTTP status of an error.
pub(super) fn status(error: &BusError) -> StatusCode {
    match error {
        BusError::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
        BusError::Missing(_) => StatusCode::NOT_FOUND,
        BusError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        BusError::Conflict(_) => StatusCode::CONFLICT,
        BusError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

impl From<BusError> for ApiError {
    fn from(error: BusError) -> Self {
        ApiError::new(status(&error), error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or_default();
        let body = ProblemDetails {
            kind: "about:blank",
            title,
            status: self.status.as_u16(),
            detail: self.detail,
        };
        let mut response = server::json(self.status, "application/problem+json", &body);
        match self.status {
            StatusCode::UNAUTHORIZED => {
                response
                    .headers_mut()
                    .insert(WWW_AUTHENTICATE, http::HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                let soon = Duration::from_secs(1).as_secs();
                response.headers_mut().insert(RETRY_AFTER, soon.into());
            }
            _ => {}
        }
        response
    }
}
