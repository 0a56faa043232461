//! The logs through the API: events, attempts, and sending again.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::routing::{get, post};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::{
    AttemptEntry, AttemptFilter, Bus, BusError, Detail, EventDetail, EventEntry, EventFilter,
    Preview, Selection,
};
use super::{Body, Failure, Refusal, filter, read};

type Answer<T> = Result<Json<T>, Refusal>;

pub(super) fn router() -> Router<Arc<Bus>> {
    Router::new()
        .route("/api/events", get(events))
        .route("/api/events/{id}", get(event))
        .route("/api/attempts", get(attempts))
        .route("/api/attempts/{id}", get(attempt))
        .route("/api/resend", post(resend))
        .route("/api/resend/preview", post(preview))
}

/// One page of a log, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page<T> {
    /// Its lines.
    items: Vec<T>,
    /// What `before` is for the page after it; null if this one is empty.
    next: Option<i64>,
}

impl<T> Page<T> {
    fn new(items: Vec<T>, number: impl Fn(&T) -> i64) -> Json<Self> {
        let next = items.last().map(number);
        Json(Page { items, next })
    }
}

/// What is to be sent again, and how fast.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Again {
    /// Which deliveries.
    which: Selection,
    /// Deliveries per second; all at once if it does not say.
    rate: Option<f64>,
}

/// What is on its way.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Resent {
    /// How many deliveries.
    deliveries: u64,
}

/// The event log, newest first.
#[utoipa::path(get, path = "/api/events", tag = "events", params(EventFilter), responses(
    (status = 200, description = "A page of events.", body = Page<EventEntry>),
    (status = 422, description = "The filter cannot be used.", body = Failure, content_type = "application/problem+json")))]
pub(super) async fn events(
    State(bus): State<Arc<Bus>>,
    RawQuery(query): RawQuery,
) -> Answer<Page<EventEntry>> {
    Ok(Page::new(bus.events(filter(query)?).await?, |event| event.number))
}

/// An event with its deliveries and its attempts.
#[utoipa::path(get, path = "/api/events/{id}", tag = "events", params(("id" = String, Path, description = "The event's id.")), responses(
    (status = 200, description = "The event.", body = EventDetail),
    (status = 404, description = "There is none with this id.", body = Failure, content_type = "application/problem+json")))]
pub(super) async fn event(
    State(bus): State<Arc<Bus>>,
    Path(id): Path<String>,
) -> Answer<EventDetail> {
    Ok(Json(bus.event(&id).await?))
}

/// The attempt log, newest first.
#[utoipa::path(get, path = "/api/attempts", tag = "attempts", params(AttemptFilter), responses(
    (status = 200, description = "A page of attempts.", body = Page<AttemptEntry>),
    (status = 422, description = "The filter cannot be used.", body = Failure, content_type = "application/problem+json")))]
pub(super) async fn attempts(
    State(bus): State<Arc<Bus>>,
    RawQuery(query): RawQuery,
) -> Answer<Page<AttemptEntry>> {
    Ok(Page::new(bus.attempts(filter(query)?).await?, |attempt| attempt.id))
}

/// An attempt with its request and its answer, secrets left out.
#[utoipa::path(get, path = "/api/attempts/{id}", tag = "attempts", params(("id" = i64, Path, description = "The attempt's number.")), responses(
    (status = 200, description = "The attempt.", body = Detail),
    (status = 404, description = "There is none of this number.", body = Failure, content_type = "application/problem+json")))]
pub(super) async fn attempt(State(bus): State<Arc<Bus>>, Path(id): Path<String>) -> Answer<Detail> {
    let number = id.parse().map_err(|_| BusError::Missing(format!("attempt {id}")))?;
    Ok(Json(bus.attempt_log(number).await?))
}

/// Says what sending again would do.
#[utoipa::path(post, path = "/api/resend/preview", tag = "send again", request_body = Again, responses(
    (status = 200, description = "What it would do.", body = Preview),
    (status = 422, description = "The rate is none.", body = Failure, content_type = "application/problem+json")))]
pub(super) async fn preview(State(bus): State<Arc<Bus>>, Body(body): Body) -> Answer<Preview> {
    let again: Again = read(&body)?;
    Ok(Json(bus.preview(again.which, again.rate).await?))
}

/// Sends deliveries again that have ended, so many a second.
#[utoipa::path(post, path = "/api/resend", tag = "send again", request_body = Again, responses(
    (status = 202, description = "They are on their way.", body = Resent),
    (status = 422, description = "The rate is none.", body = Failure, content_type = "application/problem+json")))]
pub(super) async fn resend(
    State(bus): State<Arc<Bus>>,
    Body(body): Body,
) -> Result<(StatusCode, Json<Resent>), Refusal> {
    let again: Again = read(&body)?;
    let deliveries = bus.resend(again.which, again.rate).await?;
    Ok((StatusCode::ACCEPTED, Json(Resent { deliveries })))
}
