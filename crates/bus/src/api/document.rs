//! The OpenAPI document of the bus.

use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};

use super::{logs, subscriptions};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Event bus",
        description = "The sender's half: subscriptions, publication, logs, and resending. Secrets are write-only."
    ),
    paths(
        super::publish,
        logs::events,
        logs::event,
        logs::attempts,
        logs::attempt,
        logs::preview,
        logs::resend,
        subscriptions::list,
        subscriptions::create,
        subscriptions::show,
        subscriptions::change,
        subscriptions::remove,
        subscriptions::pause,
        subscriptions::resume,
        subscriptions::try_now,
        subscriptions::test,
        subscriptions::rotate
    ),
    tags(
        (name = "events", description = "Published events and their deliveries."),
        (name = "subscriptions", description = "Subscriptions: which events go to which target, and how."),
        (name = "attempts", description = "The HTTP requests to targets."),
        (name = "send again", description = "Ended deliveries, sent once more.")
    )
)]
struct ApiDoc;

/// The document, with a security scheme if the API requires a key.
pub fn document(has_key: bool) -> utoipa::openapi::OpenApi {
    let mut document = ApiDoc::openapi();
    if has_key {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("key", SecurityScheme::Http(scheme));
        document.security = Some(vec![SecurityRequirement::new("key", Vec::<String>::new())]);
    }
    document
}
