//! The OpenAPI document of the bus.

use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};

use super::{logs, subscriptions};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Event bus",
        description = "The sender's half: subscriptions, publication, logs, and sending again. Secrets go in and never come out."
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
        (name = "events", description = "What is published, and what became of it."),
        (name = "subscriptions", description = "Who is told of which events, and how."),
        (name = "attempts", description = "The requests that were made."),
        (name = "send again", description = "What has ended is sent once more.")
    )
)]
struct Described;

/// The document; with a key if the API asks for one.
pub fn document(has_key: bool) -> utoipa::openapi::OpenApi {
    let mut document = Described::openapi();
    if has_key {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("key", SecurityScheme::Http(scheme));
        document.security = Some(vec![SecurityRequirement::new("key", Vec::<String>::new())]);
    }
    document
}
