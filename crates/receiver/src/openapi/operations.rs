//! The operations of the document: what the receiver takes, what it says of itself, what the emitter sends.

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

/// The tag of paths that take any event.
pub(super) const ANY: &str = "any event";

/// The tag of the emitter's side.
pub(super) const SENT: &str = "sent by the emitter";

/// The tag of what the receiver says of itself.
pub(super) const HEALTH: &str = "health and metrics";

/// One event at its own path.
pub(super) fn receive(site: &DescribedSource<'_>, row: &EventRow) -> PathItem {
    let description = components::description(row);
    let (body, id) = (components::name(row), components::short_name(row));
    let operation = delivery(OperationBuilder::new(), site, &body, &id, Some(row.name))
        .tag(site.tag(&family(row)))
        .summary(Some(first_sentence(&description)))
        .description(Some(description));
    PathItem::new(HttpMethod::Post, operation)
}

/// Any event of any version at the single URL.
pub(super) fn receive_any(site: &DescribedSource<'_>) -> PathItem {
    let body = components::any_name(site.source.dialect, None);
    let operation = delivery(OperationBuilder::new(), site, &body, "any", None)
        .tag(site.tag(ANY))
        .summary(Some("Any event, told apart by its name"))
        .description(Some(naming(&site.source.locators)));
    PathItem::new(HttpMethod::Post, operation)
}

/// Where the name of an event is looked for.
fn naming(places: &FieldLocators) -> String {
    let named = places.at(Fact::EventType).iter().map(|place| match place {
        FieldLocator::Header(header) => format!("the header `{}`", header.spelling),
        FieldLocator::Body(path) => format!("`{path}` in the body"),
    });
    match named.collect::<Vec<_>>().join(" or else ").as_str() {
        "" => "Nothing says which event it is: it is kept for whoever looks at the inbox.".into(),
        named => {
            format!("The event's name is {named}. One that no handler takes is kept all the same.")
        }
    }
}

/// Any event of one version at that version's single URL.
pub(super) fn receive_any_of(site: &DescribedSource<'_>, version: u16) -> PathItem {
    let operation = versioned(OperationBuilder::new(), site, version, "any")
        .summary(Some(format!("Any event in version {version}, told apart by its name")));
    PathItem::new(HttpMethod::Post, operation)
}

/// Any event of one version at its own path, as a template.
pub(super) fn receive_named(site: &DescribedSource<'_>, version: u16, names: &[&str]) -> PathItem {
    let event = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(names.iter().copied()))
        .build();
    let event = path_parameter("event", "The event's name, matched without regard to case.")
        .schema(Some(event));
    let operation = versioned(OperationBuilder::new().parameter(event), site, version, "named")
        .summary(Some(format!("One event in version {version}")))
        .description(Some("The same as the event's own path, with the version pinned."));
    PathItem::new(HttpMethod::Post, operation)
}

fn versioned(
    operation: OperationBuilder,
    site: &DescribedSource<'_>,
    version: u16,
    id: &str,
) -> OperationBuilder {
    let body = components::any_name(site.source.dialect, Some(version));
    delivery(operation, site, &body, &format!("{id}_v{version}"), None).tag(site.tag(ANY))
}

/// What every delivery has: keys, headers, a body, the answers.
fn delivery(
    operation: OperationBuilder,
    site: &DescribedSource<'_>,
    body: &str,
    id: &str,
    event: Option<&str>,
) -> OperationBuilder {
    let operation = site.keys.iter().fold(operation, |operation, key| {
        let key =
            path_parameter(key, "The secret part of the path.").schema(Some(components::text()));
        operation.parameter(key)
    });
    let operation = exchange(operation, &site.source.locators, body, id, event)
        .operation_id(Some(format!("{}_{id}", site.source.name)))
        .responses(answers(site.source.accepted_status));
    if site.source.auth.bearer.is_empty() {
        return operation;
    }
    operation.security(requirement(&site.source.name))
}

/// The headers and the body of a delivery.
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

fn path_parameter(name: &str, says: &str) -> ParameterBuilder {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(says))
}

/// What the emitter sends for an event, and what it makes of the answer.
pub(super) fn send(row: &EventRow) -> PathItem {
    let description = components::description(row);
    let name = components::name(row);
    let responses = ResponsesBuilder::new()
        .response("200", Response::new("Delivered; it is not sent again."))
        .response("default", Response::new("Not delivered; it is sent again later."))
        .build();
    let (places, id) = (FieldLocators::of(row.dialect), components::short_name(row));
    let operation = exchange(OperationBuilder::new(), &places, &name, &id, Some(row.name))
        .operation_id(Some(format!("send_{name}")))
        .tag(SENT)
        .summary(Some(first_sentence(&description)))
        .responses(responses);
    PathItem::new(HttpMethod::Post, operation)
}

const TEXT: &str = "text/plain";
const OPEN_METRICS: &str = "application/openmetrics-text";

/// The paths that belong to no source.
pub(super) fn of_the_receiver() -> [(&'static str, PathItem); 3] {
    let unavailable = (problem::UNAVAILABLE.status, components::refusal_ref(&problem::UNAVAILABLE));
    let login = (problem::UNAUTHORIZED.status, components::refusal_ref(&problem::UNAUTHORIZED));
    let plain = |id: &str, media: &str, summary: &str, says: &str| {
        let ok = ResponseBuilder::new()
            .description(says)
            .content(media, ContentBuilder::new().schema(Some(components::text())).build());
        OperationBuilder::new()
            .operation_id(Some(id))
            .tag(HEALTH)
            .summary(Some(summary))
            .response("200", ok)
    };
    let get = |operation: OperationBuilder| PathItem::new(HttpMethod::Get, operation);
    let healthz = plain("healthz", TEXT, "Is the process alive?", "It is.");
    let readyz = plain("readyz", TEXT, "Can deliveries be kept?", "They can.")
        .response(unavailable.0.as_str(), unavailable.1);
    let metrics = plain(
        "metrics",
        OPEN_METRICS,
        "Counters and timings for Prometheus",
        "The metrics as text.",
    )
    .description(Some("Behind the login of these pages, unless the listener is loopback."))
    .response(login.0.as_str(), login.1);
    [("/healthz", get(healthz)), ("/readyz", get(readyz)), ("/metrics", get(metrics))]
}

/// The first sentence of a description, without its full stop and line breaks.
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
