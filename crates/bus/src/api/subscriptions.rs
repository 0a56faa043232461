//! Subscriptions through the API.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::routing::{get, post};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use settings::SubscriptionConfig;
use utoipa::ToSchema;

use super::super::{Bus, BusError, Overview, Publication, Receipt, SubscriptionFilter};
use super::{Body, Failure, Refusal, filter, read};

type Answer<T> = Result<Json<T>, Refusal>;

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

/// A subscription to be made.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct NewSubscription {
    /// Its name: letters, digits and `- . _`. It stays.
    #[schema(example = "warehouse")]
    name: String,
    #[serde(flatten)]
    #[schema(value_type = SubscriptionConfig)]
    definition: Map<String, Value>,
}

/// Another key to sign with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotation {
    /// The new key.
    key: String,
    /// How long the present one signs too, such as `24h`.
    #[schema(example = "24h")]
    overlap: String,
}

/// Why a subscription is paused.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Pause {
    /// For people; `paused by hand` if it does not say.
    why: Option<String>,
}

/// One page of subscriptions, by name.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Subscriptions {
    /// They.
    items: Vec<Overview>,
    /// What `after` is for the page after it; null if this one is empty.
    next: Option<String>,
}

/// Subscriptions, by name. Keys are shown as fingerprints.
#[utoipa::path(get, path = "/api/subscriptions", tag = "subscriptions", params(SubscriptionFilter), responses(
    (status = 200, description = "A page of subscriptions.", body = Subscriptions),
    (status = 422, description = "The filter cannot be used.", body = Failure, content_type = "application/problem+json")))]
pub(super) async fn list(
    State(bus): State<Arc<Bus>>,
    RawQuery(query): RawQuery,
) -> Answer<Subscriptions> {
    let items = bus.subscriptions(filter(query)?).await?;
    let next = items.last().map(|last| last.subscription.name.clone());
    Ok(Json(Subscriptions { items, next }))
}

/// Makes a subscription.
#[utoipa::path(post, path = "/api/subscriptions", tag = "subscriptions", request_body = NewSubscription, responses(
    (status = 201, description = "It is made.", body = Overview),
    (status = 409, description = "The name is taken.", body = Failure, content_type = "application/problem+json"),
    (status = 422, description = "A field cannot be used.", body = Failure, content_type = "application/problem+json")))]
pub(super) async fn create(
    State(bus): State<Arc<Bus>>,
    Body(body): Body,
) -> Result<(StatusCode, Json<Overview>), Refusal> {
    let new: NewSubscription = read(&body)?;
    let made = bus.create(&new.name, &Value::Object(new.definition)).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// One subscription.
#[utoipa::path(get, path = "/api/subscriptions/{name}", tag = "subscriptions", responses(
    (status = 200, description = "The subscription.", body = Overview),
    (status = 404, description = "There is none of this name.", body = Failure, content_type = "application/problem+json")))]
pub(super) async fn show(
    State(bus): State<Arc<Bus>>,
    Path(name): Path<String>,
) -> Answer<Overview> {
    Ok(Json(bus.subscription(&name).await?))
}

/// Changes the fields that are given; null gives one its default back.
#[utoipa::path(patch, path = "/api/subscriptions/{name}", tag = "subscriptions", request_body = SubscriptionConfig, responses(
    (status = 200, description = "It is changed.", body = Overview),
    (status = 409, description = "It stands in the settings.", body = Failure, content_type = "application/problem+json"),
    (status = 422, description = "A field cannot be used.", body = Failure, content_type = "application/problem+json")))]
pub(super) async fn change(
    State(bus): State<Arc<Bus>>,
    Path(name): Path<String>,
    Body(body): Body,
) -> Answer<Overview> {
    let patch: Map<String, Value> = read(&body)?;
    Ok(Json(bus.change(&name, &Value::Object(patch)).await?))
}

/// Removes a subscription; what waits for it is cancelled, the logs stay.
#[utoipa::path(delete, path = "/api/subscriptions/{name}", tag = "subscriptions", responses(
    (status = 204, description = "It is removed."),
    (status = 409, description = "It stands in the settings.", body = Failure, content_type = "application/problem+json")))]
pub(super) async fn remove(
    State(bus): State<Arc<Bus>>,
    Path(name): Path<String>,
) -> Result<StatusCode, Refusal> {
    bus.remove(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Pauses a subscription: its events wait.
#[utoipa::path(post, path = "/api/subscriptions/{name}/pause", tag = "subscriptions", request_body = Option<Pause>, responses(
    (status = 200, description = "It is paused.", body = Overview)))]
pub(super) async fn pause(
    State(bus): State<Arc<Bus>>,
    Path(name): Path<String>,
    Body(body): Body,
) -> Answer<Overview> {
    let asked: Pause = if body.is_empty() { Pause::default() } else { read(&body)? };
    Ok(Json(bus.pause(&name, asked.why).await?))
}

/// Goes on with a subscription, whyever it was left alone.
#[utoipa::path(post, path = "/api/subscriptions/{name}/resume", tag = "subscriptions", responses(
    (status = 200, description = "It goes on.", body = Overview)))]
pub(super) async fn resume(
    State(bus): State<Arc<Bus>>,
    Path(name): Path<String>,
) -> Answer<Overview> {
    Ok(Json(bus.resume(&name).await?))
}

/// Tries a target that was paused for its failures with one delivery, and goes on if that arrives.
#[utoipa::path(post, path = "/api/subscriptions/{name}/try", tag = "subscriptions", responses(
    (status = 200, description = "One delivery is being tried.", body = Overview),
    (status = 409, description = "It was not paused for its failures.", body = Failure, content_type = "application/problem+json")))]
pub(super) async fn try_now(
    State(bus): State<Arc<Bus>>,
    Path(name): Path<String>,
) -> Answer<Overview> {
    Ok(Json(bus.try_now(&name).await?))
}

/// Publishes an event for this subscription alone, whatever it asks for.
#[utoipa::path(post, path = "/api/subscriptions/{name}/test", tag = "subscriptions", request_body = Publication, responses(
    (status = 202, description = "It is on its way.", body = Receipt),
    (status = 422, description = "It cannot be published.", body = Failure, content_type = "application/problem+json")))]
pub(super) async fn test(
    State(bus): State<Arc<Bus>>,
    Path(name): Path<String>,
    Body(body): Body,
) -> Result<(StatusCode, Json<Receipt>), Refusal> {
    Ok((StatusCode::ACCEPTED, Json(bus.test(&name, read(&body)?).await?)))
}

/// Signs with another key from now on, and for a time with the present one too.
#[utoipa::path(post, path = "/api/subscriptions/{name}/rotate", tag = "subscriptions", request_body = Rotation, responses(
    (status = 200, description = "The new key signs.", body = Overview),
    (status = 422, description = "It is not signed, or the key cannot be used.", body = Failure, content_type = "application/problem+json")))]
pub(super) async fn rotate(
    State(bus): State<Arc<Bus>>,
    Path(name): Path<String>,
    Body(body): Body,
) -> Answer<Overview> {
    let rotation: Rotation = read(&body)?;
    let overlap: Duration = humantime::parse_duration(&rotation.overlap)
        .map_err(|_| BusError::Invalid("overlap: write a time such as \"24h\"".into()))?;
    Ok(Json(bus.rotate(&name, &rotation.key, overlap).await?))
}
