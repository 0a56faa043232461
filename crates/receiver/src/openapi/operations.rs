//! Operations of the OpenAPI document: deliveries, health and metrics, and the emitter's requests.

use contract::catalog::EventRow;
use server::problem;
use source::{Fact, FieldLocator, FieldLocators};
use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::ObjectBuilder;
use utoipa::openapi::{
    ContentBuilder, PathItem, Required, Response, ResponseBuilder, Responses, ResponsesBuilder,
    SecurityRequirement, Type,
};

use super::components::{self, REFUSALS};
use super::described_source::{DescribedSource, family};

/// Tag of paths that accept any event.
pub(super) const ANY: &str = "any event";

/// Description of that tag.
pub(super) const ABOUT_ANY: &str = "Paths that accept any event, by its name. Events without a handler, and bodies that do not fit their model, are stored all the same.";

/// Tag of the emitter's requests.
pub(super) const SENT: &str = "sent by the emitter";

/// Description of that tag.
pub(super) const ABOUT_SENT: &str = "The requests that the emitter and the bus send to a receiver.";

/// Tag of health checks and metrics.
pub(super) const HEALTH: &str = "health and metrics";

/// Description of that tag.
pub(super) const ABOUT_HEALTH: &str = "Probes for orchestrators, and metrics for Prometheus.";

/// Security scheme of the metrics off loopback.
pub(super) const LOGIN: &str = "login";

/// Operation of one event at its own path.
pub(super) fn receive(described: &DescribedSource<'_>, row: &EventRow) -> PathItem {
    let description = components::description(row);
    let (body, id) = (components::name(row), components::short_name(row));
    let operation = delivery(OperationBuilder::new(), described, &body, &id, Some(row.name))
        .tag(described.tag(&family(row)))
        .summary(Some(first_sentence(&description)))
        .description(Some(description));
    PathItem::new(HttpMethod::Post, operation)
}

/// Operation of any event of any version at the single URL.
pub(super) fn receive_any(described: &DescribedSource<'_>) -> PathItem {
    let body = components::any_name(described.source.dialect, None);
    let operation = delivery(OperationBuilder::new(), described, &body, "any", None)
        .tag(described.tag(ANY))
        .summary(Some("Any event, identified by its name"))
        .description(Some(event_name_location(&described.source.locators)));
    PathItem::new(HttpMethod::Post, operation)
}

/// Description of the field locators of the event name.
fn event_name_location(places: &FieldLocators) -> String {
    let named = places.at(Fact::EventType).iter().map(|locator| match locator {
        FieldLocator::Header(header) => format!("the header `{}`", header.spelling),
        FieldLocator::Body(path) => format!("`{path}` in the body"),
        FieldLocator::Query(name) => format!("`{name}` in the query"),
        FieldLocator::Template(template) => format!("`{template}`"),
    });
    match named.collect::<Vec<_>>().join(" or else ").as_str() {
        "" => "The request does not name its event: it is stored in the inbox without a handler."
            .into(),
        named => {
            format!(
                "The event's name is {named}. An event that no handler takes is stored all the same."
            )
        }
    }
}

/// Operation of any event of one version at that version's single URL.
pub(super) fn receive_any_of(described: &DescribedSource<'_>, version: u16) -> PathItem {
    let operation = versioned(OperationBuilder::new(), described, version, "any")
        .summary(Some(format!("Any event in version {version}, identified by its name")))
        .description(Some(event_name_location(&described.source.locators)));
    PathItem::new(HttpMethod::Post, operation)
}

/// Operation of any event of one version at its own path, as a template.
pub(super) fn receive_named(
    described: &DescribedSource<'_>,
    version: u16,
    names: &[&str],
) -> PathItem {
    let event = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(names.iter().copied()))
        .build();
    let event = path_parameter("event", "The event's name, matched without regard to case.")
        .schema(Some(event));
    let operation =
        versioned(OperationBuilder::new().parameter(event), described, version, "named")
            .summary(Some(format!("One event in version {version}")))
            .description(Some("The same as the event's own path, with the version pinned."));
    PathItem::new(HttpMethod::Post, operation)
}

fn versioned(
    operation: OperationBuilder,
    described: &DescribedSource<'_>,
    version: u16,
    id: &str,
) -> OperationBuilder {
    let body = components::any_name(described.source.dialect, Some(version));
    delivery(operation, described, &body, &format!("{id}_v{version}"), None).tag(described.tag(ANY))
}

/// Common part of all deliveries: keys, headers, body and responses.
fn delivery(
    operation: OperationBuilder,
    described: &DescribedSource<'_>,
    body: &str,
    id: &str,
    event: Option<&str>,
) -> OperationBuilder {
    let operation = described.keys.iter().fold(operation, |operation, key| {
        let key =
            path_parameter(key, "The secret part of the path.").schema(Some(components::text()));
        operation.parameter(key)
    });
    let operation = exchange(operation, &described.source.locators, body, id, event)
        .operation_id(Some(format!("{}_{id}", described.source.name)))
        .responses(answers(described.source.accepted_status));
    if described.source.auth.bearer.is_empty() {
        return operation;
    }
    operation.security(requirement(&described.source.name))
}

/// Headers and body of a delivery.
fn exchange(
    operation: OperationBuilder,
    places: &FieldLocators,
    body: &str,
    id: &str,
    event: Option<&str>,
) -> OperationBuilder {
    let operation = operation.request_body_ref(Some(components::body_ref(body)));
    let (own, shared) = components::headers(places, id, event);
    let operation = own.into_iter().fold(operation, OperationBuilder::parameter);
    shared.into_iter().fold(operation, OperationBuilder::parameter_ref)
}

fn answers(accepted: u16) -> Responses {
    let answers =
        ResponsesBuilder::new().response(accepted.to_string(), components::accepted_ref());
    REFUSALS
        .iter()
        .fold(answers, |answers, kind| {
            answers.response(kind.status.as_str(), components::refusal_ref(kind))
        })
        .build()
}

pub(super) fn requirement(scheme: &str) -> SecurityRequirement {
    SecurityRequirement::new(scheme, std::iter::empty::<String>())
}

fn path_parameter(name: &str, description: &str) -> ParameterBuilder {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(description))
}

/// The emitter's request for an event, and its reading of the response; `key` is the security scheme of its receiver.
pub(super) fn send(row: &EventRow, key: Option<&str>) -> PathItem {
    let description = components::description(row);
    let name = components::name(row);
    let responses = ResponsesBuilder::new()
        .response("200", Response::new("Delivered; it is not sent again."))
        .response("4XX", Response::new("Not delivered; it is sent again later, after a 410 never."))
        .response("default", Response::new("Not delivered; it is sent again later."))
        .build();
    let (places, id) = (FieldLocators::of(row.dialect), components::short_name(row));
    let operation = exchange(OperationBuilder::new(), &places, &name, &id, Some(row.name))
        .operation_id(Some(format!("send_{name}")))
        .tag(SENT)
        .summary(Some(first_sentence(&description)))
        .description(Some(description))
        .securities(Some(key.map(requirement)))
        .responses(responses);
    PathItem::new(HttpMethod::Post, operation)
}

const TEXT: &str = "text/plain";
const OPEN_METRICS: &str = "application/openmetrics-text";

/// Operations that belong to no source.
pub(super) fn of_the_receiver() -> [(&'static str, PathItem); 3] {
    let plain = |id: &str, media: &[&str], summary: &str, description: &str| {
        let text = || ContentBuilder::new().schema(Some(components::text())).build();
        let ok = ResponseBuilder::new().description(description);
        let ok = media.iter().fold(ok, |ok, media| ok.content(*media, text()));
        OperationBuilder::new()
            .operation_id(Some(id))
            .tag(HEALTH)
            .summary(Some(summary))
            .response("200", ok)
    };
    let refused = |operation: OperationBuilder, kinds: &[&problem::ProblemKind]| {
        kinds.iter().fold(operation, |operation, kind| {
            operation.response(kind.status.as_str(), components::refusal_ref(kind))
        })
    };
    let get = |operation: OperationBuilder| PathItem::new(HttpMethod::Get, operation);
    let healthz = plain("healthz", &[TEXT], "Liveness probe", "The process is alive.")
        .description(Some("Says that the process answers, whatever the state of the inbox."));
    let readyz = plain("readyz", &[TEXT], "Readiness probe", "Deliveries can be accepted.")
        .description(Some("Says whether deliveries can be stored now."));
    let metrics = plain(
        "metrics",
        &[TEXT, OPEN_METRICS],
        "Counters and timings for Prometheus",
        "The metrics as text: OpenMetrics for a client that accepts it.",
    )
    .description(Some("Behind the login of these pages, unless the listener is loopback."))
    .securities(Some([SecurityRequirement::default(), requirement(LOGIN)]));
    let metrics_refusals = [&problem::BAD_REQUEST, &problem::UNAUTHORIZED, &problem::FORBIDDEN];
    [
        ("/healthz", get(refused(healthz, &[&problem::BAD_REQUEST]))),
        ("/readyz", get(refused(readyz, &[&problem::BAD_REQUEST, &problem::UNAVAILABLE]))),
        ("/metrics", get(refused(metrics, &metrics_refusals))),
    ]
}

/// First sentence of a description, without its full stop and line breaks.
pub(super) fn first_sentence(description: &str) -> String {
    let paragraph = description.split("\n\n").next().unwrap_or_default();
    let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    // A full stop before a small letter ends an abbreviation.
    let ends = |stop: &usize| line[stop + 2..].starts_with(|next: char| !next.is_lowercase());
    let end = line.match_indices(". ").map(|(stop, _)| stop).find(ends).unwrap_or(line.len());
    line[..end].trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_the_first_sentence() {
        assert_eq!(first_sentence("It rings\nonce. Then not."), "It rings once");
        assert_eq!(first_sentence("A ring, e.g. a bell.\n\nMore."), "A ring, e.g. a bell");
    }
}
