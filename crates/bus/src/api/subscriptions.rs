//! The subscription endpoints.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::routing::{get, post};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::super::{Bus, BusError, Overview, Publication, PublishReceipt, SubscriptionFilter};
use super::{
    ApiError, ApiResult, ProblemDetails, RequestBody, filter, last_of_full, read, schemas,
};

pub(super) fn router() -> Router<Arc<Bus>> {
    Router::new()
        .route("/api/subscriptions", get(list).post(create))
        .route("/api/subscriptions/{name}", get(show).patch(change).delete(remove))
        .route("/api/subscriptions/{name}/pause", post(pause))
        .route("/api/subscriptions/{name}/resume", post(resume))
        .route("/api/subscriptions/{name}/try", post(try_now))
        .route("/api/subscriptions/{name}/test", post(test))
        .route("/api/subscriptions/{name}/rotate", post(rotate))
}

/// The name in a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it is there for the document; axum reads the name itself")]
pub(super) struct NamePath {
    /// The name of the subscription.
    #[param(min_length = 1, max_length = 100, example = "warehouse")]
    name: String,
}

/// A subscription to create; its schema is in `schemas`.
#[derive(Debug, Deserialize)]
pub(super) struct NewSubscription {
    name: String,
    #[serde(flatten)]
    definition: Map<String, Value>,
}

/// The replacement of a signing key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RotationRequest {
    /// The new signing key.
    #[schema(min_length = 1, example = "a-signing-key-from-webhook-receiver-secret")]
    key: String,
    /// The time during which the present key signs too, such as `24h`.
    #[schema(pattern = r"^\d+ ?(ms|s|m|h|d)( \d+ ?(ms|s|m|h|d))*$", example = "24h")]
    overlap: String,
}

/// The reason for a pause.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PauseRequest {
    /// A reason for people; `paused by hand` if it is missing.
    why: Option<String>,
}

/// One page of subscriptions, by name.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SubscriptionPage {
    /// The subscriptions on this page.
    items: Vec<Overview>,
    /// The value of `after` for the next page; null if this page is not full, and so the last one.
    next: Option<String>,
}

/// Lists subscriptions, by name. Keys are shown as fingerprints.
#[utoipa::path(get, path = "/api/subscriptions", operation_id = "listSubscriptions", tag = "subscriptions", params(SubscriptionFilter), responses(
    (status = 200, description = "A page of subscriptions.", body = SubscriptionPage),
    (status = 422, description = "The filter is invalid.", body = ProblemDetails, content_type = "application/problem+json")))]
pub(super) async fn list(
    State(bus): State<Arc<Bus>>,
    RawQuery(query): RawQuery,
) -> ApiResult<SubscriptionPage> {
    let filter: SubscriptionFilter = filter(query)?;
    let limit = filter.limit;
    let items = bus.subscriptions(filter).await?;
    let next = last_of_full(&items, limit).map(|last| last.subscription.name.clone());
    Ok(Json(SubscriptionPage { items, next }))
}

/// Creates a subscription.
#[utoipa::path(post, path = "/api/subscriptions", operation_id = "createSubscription", tag = "subscriptions", request_body = schemas::NewSubscription, responses(
    (status = 201, description = "The subscription is created.", body = Overview),
    (status = 409, description = "The name is taken.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 422, description = "A field is invalid.", body = ProblemDetails, content_type = "application/problem+json")))]
pub(super) async fn create(
    State(bus): State<Arc<Bus>>,
    RequestBody(body): RequestBody,
) -> Result<(StatusCode, Json<Overview>), ApiError> {
    let new: NewSubscription = read(&body)?;
    let created = bus.create(&new.name, &Value::Object(new.definition)).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// Returns one subscription.
#[utoipa::path(get, path = "/api/subscriptions/{name}", operation_id = "getSubscription", params(NamePath), tag = "subscriptions", responses(
    (status = 200, description = "The subscription.", body = Overview),
    (status = 404, description = "No subscription has this name.", body = ProblemDetails, content_type = "application/problem+json")))]
pub(super) async fn show(
    State(bus): State<Arc<Bus>>,
    Path(name): Path<String>,
) -> ApiResult<Overview> {
    Ok(Json(bus.subscription(&name).await?))
}

/// Changes the given fields; null resets a field to its default.
#[utoipa::path(patch, path = "/api/subscriptions/{name}", operation_id = "changeSubscription", params(NamePath), tag = "subscriptions", request_body = schemas::SubscriptionChange, responses(
    (status = 200, description = "The subscription is changed.", body = Overview),
    (status = 409, description = "The subscription is declared in the settings.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 422, description = "A field is invalid.", body = ProblemDetails, content_type = "application/problem+json")))]
pub(super) async fn change(
    State(bus): State<Arc<Bus>>,
    Path(name): Path<String>,
    RequestBody(body): RequestBody,
) -> ApiResult<Overview> {
    let patch: Map<String, Value> = read(&body)?;
    Ok(Json(bus.change(&name, &Value::Object(patch)).await?))
}

/// Deletes a subscription. Its waiting deliveries are cancelled; the logs stay.
#[utoipa::path(delete, path = "/api/subscriptions/{name}", operation_id = "deleteSubscription", params(NamePath), tag = "subscriptions", responses(
    (status = 204, description = "The subscription is deleted."),
    (status = 409, description = "The subscription is declared in the settings.", body = ProblemDetails, content_type = "application/problem+json")))]
pub(super) async fn remove(
    State(bus): State<Arc<Bus>>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    bus.remove(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Pauses a subscription: its events wait.
#[utoipa::path(post, path = "/api/subscriptions/{name}/pause", operation_id = "pauseSubscription", params(NamePath), tag = "subscriptions", request_body = Option<PauseRequest>, responses(
    (status = 200, description = "The subscription is paused.", body = Overview)))]
pub(super) async fn pause(
    State(bus): State<Arc<Bus>>,
    Path(name): Path<String>,
    RequestBody(body): RequestBody,
) -> ApiResult<Overview> {
    let asked: Option<PauseRequest> = if body.is_empty() { None } else { read(&body)? };
    Ok(Json(bus.pause(&name, asked.unwrap_or_default().why).await?))
}

/// Resumes a subscription, whatever paused it.
#[utoipa::path(post, path = "/api/subscriptions/{name}/resume", operation_id = "resumeSubscription", params(NamePath), tag = "subscriptions", responses(
    (status = 200, description = "The subscription is active.", body = Overview)))]
pub(super) async fn resume(
    State(bus): State<Arc<Bus>>,
    Path(name): Path<String>,
) -> ApiResult<Overview> {
    Ok(Json(bus.resume(&name).await?))
}

/// Tries a target that was paused for its failures with one delivery, and resumes the subscription if it succeeds.
#[utoipa::path(post, path = "/api/subscriptions/{name}/try", operation_id = "trySubscription", params(NamePath), tag = "subscriptions", responses(
    (status = 200, description = "One delivery is being tried.", body = Overview),
    (status = 409, description = "The subscription is not paused for its failures.", body = ProblemDetails, content_type = "application/problem+json")))]
pub(super) async fn try_now(
    State(bus): State<Arc<Bus>>,
    Path(name): Path<String>,
) -> ApiResult<Overview> {
    Ok(Json(bus.try_now(&name).await?))
}

/// Publishes an event for this subscription alone, even if the subscription does not match it.
#[utoipa::path(post, path = "/api/subscriptions/{name}/test", operation_id = "testSubscription", params(NamePath), tag = "subscriptions", request_body = Publication, responses(
    (status = 202, description = "The event is published.", body = PublishReceipt),
    (status = 422, description = "The event is invalid.", body = ProblemDetails, content_type = "application/problem+json")))]
pub(super) async fn test(
    State(bus): State<Arc<Bus>>,
    Path(name): Path<String>,
    RequestBody(body): RequestBody,
) -> Result<(StatusCode, Json<PublishReceipt>), ApiError> {
    Ok((StatusCode::ACCEPTED, Json(bus.test(&name, read(&body)?).await?)))
}

/// Replaces the signing key; the present key signs too for a time.
#[utoipa::path(post, path = "/api/subscriptions/{name}/rotate", operation_id = "rotateSigningKey", params(NamePath), tag = "subscriptions", request_body = RotationRequest, responses(
    (status = 200, description = "The new key signs from now on.", body = Overview),
    (status = 409, description = "The subscription is declared in the settings.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 422, description = "The subscription has no signing key, or the new one is invalid.", body = ProblemDetails, content_type = "application/problem+json")))]
pub(super) async fn rotate(
    State(bus): State<Arc<Bus>>,
    Path(name): Path<String>,
    RequestBody(body): RequestBody,
) -> ApiResult<Overview> {
    let rotation: RotationRequest = read(&body)?;
    let overlap: Duration = humantime::parse_duration(&rotation.overlap)
        .map_err(|_| BusError::Invalid("overlap: write a time such as \"24h\"".into()))?;
    Ok(Json(bus.rotate(&name, &rotation.key, overlap).await?))
}
