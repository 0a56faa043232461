//! The OpenAPI document of the bus.

use std::collections::BTreeMap;

use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{Object, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{OpenApi, ToSchema};

use super::{ProblemDetails, logs, subscriptions};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Event bus",
        description = "The sender's half: subscriptions, publication, logs, and resending. Secrets are write-only.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
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

/// A refusal that more than one operation gives.
struct Refusal {
    status: &'static str,
    name: &'static str,
    description: &'static str,
}

const MALFORMED: Refusal = Refusal {
    status: "400",
    name: "Malformed",
    description: "The head is malformed, or the body is not the JSON of a request.",
};

const NO_KEY: Refusal =
    Refusal { status: "401", name: "NoKey", description: "The API's key is missing or wrong." };

const ELSEWHERE: Refusal = Refusal {
    status: "403",
    name: "Elsewhere",
    description: "Without a key the bus serves this machine alone, and no pages of other sites.",
};

const NO_SUBSCRIPTION: Refusal = Refusal {
    status: "404",
    name: "NoSubscription",
    description: "No subscription has this name.",
};

const TOO_LARGE: Refusal =
    Refusal { status: "413", name: "TooLarge", description: "The request is too large." };

const NOT_JSON: Refusal =
    Refusal { status: "415", name: "NotJson", description: "The content type is not JSON." };

const UNAVAILABLE: Refusal = Refusal {
    status: "503",
    name: "Unavailable",
    description: "The outbox is full, or cannot be read or written. Send the request again later.",
};

/// The document, with a security scheme if the API requires a key.
pub fn document(has_key: bool) -> utoipa::openapi::OpenApi {
    let mut document = ApiDoc::openapi();
    let refused = if has_key { NO_KEY } else { ELSEWHERE };
    for (path, item) in &mut document.paths.paths {
        let is_named = path.contains("{name}");
        server::openapi::operations(item, &mut |operation| {
            add_refusals(operation, &refused, is_named);
        });
    }
    let components = document.components.get_or_insert_default();
    let all = [MALFORMED, refused, NO_SUBSCRIPTION, TOO_LARGE, NOT_JSON, UNAVAILABLE];
    components.responses = all.iter().map(response).collect::<BTreeMap<_, _>>();
    if has_key {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("`api_key` in `[bus]` of the settings."))
            .build();
        components.add_security_scheme("key", SecurityScheme::Http(scheme));
        document.security = Some(vec![SecurityRequirement::new("key", Vec::<String>::new())]);
    }
    server::openapi::finish(&mut document);
    document
}

/// Adds the refusals that an operation shares with others to its own.
fn add_refusals(operation: &mut Operation, refused: &Refusal, is_named: bool) {
    let has_body = operation.request_body.is_some();
    let shared = [
        (&MALFORMED, true),
        (refused, true),
        (&NO_SUBSCRIPTION, is_named),
        (&TOO_LARGE, has_body),
        (&NOT_JSON, has_body),
        (&UNAVAILABLE, true),
    ];
    for (refusal, _) in shared.into_iter().filter(|(_, applies)| *applies) {
        let reference = || Ref::from_response_name(refusal.name).into();
        let responses = &mut operation.responses.responses;
        responses.entry(refusal.status.to_owned()).or_insert_with(reference);
    }
}

fn response(refusal: &Refusal) -> (String, RefOr<Response>) {
    let problem = Ref::from_schema_name(ProblemDetails::name());
    let content = ContentBuilder::new().schema(Some(problem)).build();
    let response = ResponseBuilder::new()
        .description(refusal.description)
        .content("application/problem+json", content);
    let header = |kind: Type, description: &str| {
        let schema = Object::with_type(kind);
        HeaderBuilder::new().schema(Some(schema)).description(Some(description)).build()
    };
    let response = match refusal.status {
        "401" => response.header(
            "WWW-Authenticate",
            header(Type::String, "The authentication scheme: `Bearer`."),
        ),
        "503" => response.header(
            "Retry-After",
            header(Type::Integer, "The seconds after which to send the request again."),
        ),
        _ => response,
    };
    (refusal.name.to_owned(), response.build().into())
}
