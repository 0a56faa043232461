//! The log endpoints: events, attempts, and resending.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::routing::{get, post};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::{
    AttemptDetail, AttemptFilter, AttemptLogEntry, Bus, BusError, EventDetail, EventFilter,
    EventLogEntry, Preview, ResendSelection,
};
use super::{
    ApiError, ApiResult, ProblemDetails, RequestBody, filter, last_of_full, read, schemas,
};

pub(super) fn router() -> Router<Arc<Bus>> {
    Router::new()
        .route("/api/events", get(events))
        .route("/api/events/{id}", get(event))
        .route("/api/attempts", get(attempts))
        .route("/api/attempts/{id}", get(attempt))
        .route("/api/resend", post(resend))
        .route("/api/resend/preview", post(preview))
}

/// One page of the event log, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventPage {
    /// The events on this page.
    items: Vec<EventLogEntry>,
    /// The value of `before` for the next page; null if this page is not full, and so the last one.
    next: Option<i64>,
}

/// One page of the attempt log, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AttemptPage {
    /// The attempts on this page.
    items: Vec<AttemptLogEntry>,
    /// The value of `before` for the next page; null if this page is not full, and so the last one.
    next: Option<i64>,
}

/// The deliveries to send again, and the rate.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"which": {"failed": {}}, "rate": 10}))]
pub(super) struct ResendRequest {
    /// The deliveries to send again.
    #[schema(value_type = schemas::Selection)]
    which: ResendSelection,
    /// Deliveries per second; without it, all at once.
    #[schema(minimum = 0.001, maximum = 1_000_000)]
    rate: Option<f64>,
}

/// The result of a resend.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ResendReceipt {
    /// The number of deliveries that are due again.
    deliveries: u64,
}

/// The event log, newest first.
#[utoipa::path(get, path = "/api/events", operation_id = "listEvents", tag = "events", params(EventFilter), responses(
    (status = 200, description = "A page of events.", body = EventPage),
    (status = 422, description = "The filter is invalid.", body = ProblemDetails, content_type = "application/problem+json")))]
pub(super) async fn events(
    State(bus): State<Arc<Bus>>,
    RawQuery(query): RawQuery,
) -> ApiResult<EventPage> {
    let filter: EventFilter = filter(query)?;
    let limit = filter.limit;
    let items = bus.events(filter).await?;
    let next = last_of_full(&items, limit).map(|event| event.number);
    Ok(Json(EventPage { items, next }))
}

/// An event with its deliveries and its attempts.
#[utoipa::path(get, path = "/api/events/{id}", operation_id = "getEvent", tag = "events", params(("id" = String, Path, description = "The event's id.")), responses(
    (status = 200, description = "The event.", body = EventDetail),
    (status = 404, description = "No event has this id.", body = ProblemDetails, content_type = "application/problem+json")))]
pub(super) async fn event(
    State(bus): State<Arc<Bus>>,
    Path(id): Path<String>,
) -> ApiResult<EventDetail> {
    Ok(Json(bus.event(&id).await?))
}

/// The attempt log, newest first.
#[utoipa::path(get, path = "/api/attempts", operation_id = "listAttempts", tag = "attempts", params(AttemptFilter), responses(
    (status = 200, description = "A page of attempts.", body = AttemptPage),
    (status = 422, description = "The filter is invalid.", body = ProblemDetails, content_type = "application/problem+json")))]
pub(super) async fn attempts(
    State(bus): State<Arc<Bus>>,
    RawQuery(query): RawQuery,
) -> ApiResult<AttemptPage> {
    let filter: AttemptFilter = filter(query)?;
    let limit = filter.limit;
    let items = bus.attempts(filter).await?;
    let next = last_of_full(&items, limit).map(|attempt| attempt.id);
    Ok(Json(AttemptPage { items, next }))
}

/// An attempt with its request and its response, secrets left out.
#[utoipa::path(get, path = "/api/attempts/{id}", operation_id = "getAttempt", tag = "attempts", params(("id" = i64, Path, description = "The attempt's number.")), responses(
    (status = 200, description = "The attempt.", body = AttemptDetail),
    (status = 404, description = "No attempt has this number.", body = ProblemDetails, content_type = "application/problem+json")))]
pub(super) async fn attempt(
    State(bus): State<Arc<Bus>>,
    Path(id): Path<String>,
) -> ApiResult<AttemptDetail> {
    let number = id.parse().map_err(|_| BusError::Missing(format!("attempt {id}")))?;
    Ok(Json(bus.attempt_log(number).await?))
}

/// Previews a resend: the deliveries it would make and the time it would take.
#[utoipa::path(post, path = "/api/resend/preview", operation_id = "previewResend", tag = "send again", request_body = ResendRequest, responses(
    (status = 200, description = "The preview.", body = Preview),
    (status = 422, description = "The rate is invalid.", body = ProblemDetails, content_type = "application/problem+json")))]
pub(super) async fn preview(
    State(bus): State<Arc<Bus>>,
    RequestBody(body): RequestBody,
) -> ApiResult<Preview> {
    let request: ResendRequest = read(&body)?;
    Ok(Json(bus.preview(request.which, request.rate).await?))
}

/// Sends ended deliveries again, at the given rate.
#[utoipa::path(post, path = "/api/resend", operation_id = "resendDeliveries", tag = "send again", request_body = ResendRequest, responses(
    (status = 202, description = "The deliveries are due again.", body = ResendReceipt),
    (status = 422, description = "The rate is invalid.", body = ProblemDetails, content_type = "application/problem+json")))]
pub(super) async fn resend(
    State(bus): State<Arc<Bus>>,
    RequestBody(body): RequestBody,
) -> Result<(StatusCode, Json<ResendReceipt>), ApiError> {
    let request: ResendRequest = read(&body)?;
    let deliveries = bus.resend(request.which, request.rate).await?;
    Ok((StatusCode::ACCEPTED, Json(ResendReceipt { deliveries })))
}
