//! Components of the OpenAPI document: schemas, bodies, headers, responses, security schemes.

use std::collections::BTreeMap;

use contract::catalog::{BodyModel, EventRow, HookRow, Table};
use contract::event::Dialect;
use contract::hook::RemoteError;
use serde_json::{Value, json};
use server::problem::{self, Problem, ProblemKind};
use source::{Fact, FieldLocators, HeaderLocator, Source};
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{AnyOfBuilder, SchemaType};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, Object, Ref, RefOr, Required, Response, ResponseBuilder, Schema, Type,
};
use utoipa::{PartialSchema, ToSchema};

use super::described_source::FIRST;
use crate::ingress::accepted::AcceptedBody;

pub(super) const JSON: &str = "application/json";

/// Refusals of a delivery.
pub(super) const REFUSALS: [&ProblemKind; 11] = [
    &problem::BAD_REQUEST,
    &problem::UNAUTHORIZED,
    &problem::METHOD_NOT_ALLOWED,
    &problem::REQUEST_TIMEOUT,
    &problem::CONTENT_TOO_LARGE,
    &problem::URI_TOO_LONG,
    &problem::UNSUPPORTED_MEDIA_TYPE,
    &problem::TOO_MANY_REQUESTS,
    &problem::HEAD_TOO_LARGE,
    &problem::INTERNAL,
    &problem::UNAVAILABLE,
];

/// Description of the header of a fact.
fn header_description(fact: Fact) -> &'static str {
    match fact {
        Fact::MessageId => {
            "The sender's id for the message, the same on every resend: duplicates are detected by it. Without it the SHA-256 of the body is the id."
        }
        Fact::ClientId => {
            "The sender's id for the client account. Required if the source lists the client ids it accepts."
        }
        Fact::User => "The user who caused the event, if there is one.",
        Fact::EventType => "The event's name.",
        Fact::EventTime => "The time of the event.",
        Fact::SpecVersion => "The version of the format.",
    }
}

/// Name of an event across dialects: its dialect and its name, with the version from the second on.
pub(super) fn name(row: &EventRow) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-._".contains(c) { c } else { '.' };
    let name: String = row.name.chars().map(plain).collect();
    format!("{}_{name}{}", row.dialect, suffix(row))
}

/// Name of an event within its dialect.
pub(super) fn short_name(row: &EventRow) -> String {
    format!("{}{}", row.name, suffix(row))
}

fn suffix(row: &EventRow) -> String {
    match row.version {
        FIRST => String::new(),
        version => format!("_v{version}"),
    }
}

/// Name of the body that may be any event of a dialect in a version.
pub(super) fn any_name(dialect: Dialect, version: Option<u16>) -> String {
    match version {
        None => format!("{dialect}_any"),
        Some(version) => format!("{dialect}_any_v{version}"),
    }
}

/// Description from the model's doc comment.
pub(super) fn description(row: &EventRow) -> String {
    let (_, schema) = (row.schema)();
    let schema = serde_json::to_value(schema).unwrap_or_default();
    schema["description"].as_str().unwrap_or(row.name).to_owned()
}

/// Two different schemas with one name. OpenAPI identifies types by name only, so one would silently replace the other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "two types are both named `{schema}` in the OpenAPI document: one of {first} and one of {second}; rename one with #[schema(as = …)]"
)]
pub struct SchemaClash {
    /// Name of both schemas.
    pub schema: String,
    /// User of the first.
    pub first: String,
    /// User of the second.
    pub second: String,
}

type Schemas = BTreeMap<String, RefOr<Schema>>;

/// Schemas of requests and responses; those of hooks only if there is a hook route.
pub(super) fn schemas(catalog: &Table, with_hooks: bool) -> Result<Schemas, SchemaClash> {
    let mut collector = SchemaCollector::default();
    collector.add_type::<AcceptedBody>("the responses to deliveries")?;
    collector.add_type::<Problem>("the problem documents")?;
    for row in catalog.events() {
        let owner = format!("{} (handled by {})", row.name, row.handler);
        let mut schemas = vec![(row.schema)()];
        (row.referred)(&mut schemas);
        collector.add(&owner, schemas)?;
    }
    if with_hooks {
        collector.add_type::<RemoteError>("the failures of hooks")?;
        for (owner, body) in catalog.hooks().flat_map(sides) {
            let mut schemas = vec![(body.schema)()];
            (body.referred)(&mut schemas);
            collector.add(&owner, schemas)?;
        }
    }
    Ok(collector.schemas)
}

/// Request and response model of a hook, each with its owner for messages.
fn sides(row: &HookRow) -> [(String, BodyModel); 2] {
    let owner = |side| format!("{side} of hook {} (in {})", row.id, row.claimant());
    [(owner("the request"), row.request), (owner("the response"), row.response)]
}

#[derive(Default)]
struct SchemaCollector {
    schemas: Schemas,
    owners: BTreeMap<String, String>,
}

impl SchemaCollector {
    fn add_type<T: ToSchema>(&mut self, owner: &str) -> Result<(), SchemaClash> {
        let mut schemas = vec![(T::name().into_owned(), <T as PartialSchema>::schema())];
        T::schemas(&mut schemas);
        self.add(owner, schemas)
    }

    fn add(&mut self, owner: &str, new: Vec<(String, RefOr<Schema>)>) -> Result<(), SchemaClash> {
        for (name, schema) in new {
            if self.schemas.get(&name).is_some_and(|known| *known != schema) {
                let first = self.owners.remove(&name).unwrap_or_default();
                return Err(SchemaClash { schema: name, first, second: owner.to_owned() });
            }
            self.owners.entry(name.clone()).or_insert_with(|| owner.to_owned());
            self.schemas.insert(name, schema);
        }
        Ok(())
    }
}

/// Headers of a delivery: those that differ between events in full, the others by reference.
///
/// Each operation has a different message id as its sample, so that one event is not taken for another's duplicate.
pub(super) fn headers(
    places: &FieldLocators,
    id: &str,
    event: Option<&str>,
) -> (Vec<ParameterBuilder>, Vec<Ref>) {
    let (mut own, mut shared) = (Vec::new(), Vec::new());
    for fact in Fact::ALL {
        let Some(header) = places.header(fact) else { continue };
        let parameter = header_parameter(places, fact, header);
        match (fact, event) {
            (Fact::MessageId, _) => own.push(parameter.example(Some(format!("{id}-1").into()))),
            (Fact::EventType, Some(event)) => own.push(parameter.example(Some(event.into()))),
            _ => shared.push(reference("parameters", &parameter_name(fact, header))),
        }
    }
    (own, shared)
}

/// Headers of all field locators, under the names by which [`headers`] refers to them.
pub(super) fn parameters<'p>(
    all: impl Iterator<Item = &'p FieldLocators>,
) -> BTreeMap<String, RefOr<Parameter>> {
    all.flat_map(|places| {
        let facts = Fact::ALL.into_iter().filter(|fact| *fact != Fact::MessageId);
        facts.filter_map(|fact| {
            let header = places.header(fact)?;
            let parameter = header_parameter(places, fact, header).build();
            Some((parameter_name(fact, header), parameter.into()))
        })
    })
    .collect()
}

/// Name of a header parameter. It includes the fact, since two sources may read different facts from one header.
fn parameter_name(fact: Fact, header: &HeaderLocator) -> String {
    format!("{fact:?}_{}", header.name)
}

fn header_parameter(
    places: &FieldLocators,
    fact: Fact,
    header: &HeaderLocator,
) -> ParameterBuilder {
    let required = places.required.contains(&fact);
    ParameterBuilder::new()
        .name(&*header.spelling)
        .parameter_in(ParameterIn::Header)
        .required(if required { Required::True } else { Required::False })
        .description(Some(header_description(fact)))
        .example(match fact {
            Fact::SpecVersion => Some("1.0".into()),
            Fact::ClientId if required => Some("/example".into()),
            _ => None,
        })
        .schema(Some(text()))
}

/// One body for each event, and one for any of them.
pub(super) fn bodies(catalog: &Table) -> BTreeMap<String, RefOr<RequestBody>> {
    let mut bodies: BTreeMap<String, RefOr<RequestBody>> =
        catalog.events().map(|row| (name(row), body(row).into())).collect();
    for row in catalog.events() {
        for version in [None, Some(row.version)] {
            bodies.entry(any_name(row.dialect, version)).or_insert_with(|| {
                let same = |other: &&EventRow| {
                    other.dialect == row.dialect
                        && version.is_none_or(|version| other.version == version)
                };
                any_body(catalog.events().filter(same)).into()
            });
        }
    }
    bodies
}

fn body(row: &EventRow) -> RequestBody {
    let content =
        ContentBuilder::new().schema(Some(schema_of(row))).example(Some(example(row))).build();
    required(content)
}

fn any_body<'a>(rows: impl Iterator<Item = &'a EventRow>) -> RequestBody {
    let mut schema = AnyOfBuilder::new();
    let mut examples = Vec::new();
    for row in rows {
        schema = schema.item(schema_of(row));
        let example = ExampleBuilder::new().value(Some(example(row))).build();
        examples.push((name(row), example));
    }
    required(
        ContentBuilder::new()
            .schema(Some(Schema::AnyOf(schema.build())))
            .examples_from_iter(examples)
            .build(),
    )
}

fn required(content: utoipa::openapi::Content) -> RequestBody {
    RequestBodyBuilder::new().required(Some(Required::True)).content(JSON, content).build()
}

fn schema_of(row: &EventRow) -> Ref {
    Ref::from_schema_name((row.schema)().0)
}

/// Sample of an event; as text if it is not JSON.
fn example(row: &EventRow) -> Value {
    serde_json::from_str(row.example).unwrap_or_else(|_| row.example.into())
}

/// One response for each kind of refusal, and the one for success.
pub(super) fn responses() -> BTreeMap<String, RefOr<Response>> {
    let refusals = REFUSALS.into_iter().chain([&problem::NOT_IMPLEMENTED, &problem::FORBIDDEN]);
    let refusals = refusals.map(|kind| (refusal_name(kind), refusal(kind).into()));
    refusals.chain([("Accepted".to_owned(), accepted().into())]).collect()
}

/// Reference to the response for a kind of refusal.
pub(super) fn refusal_ref(kind: &ProblemKind) -> Ref {
    Ref::from_response_name(refusal_name(kind))
}

fn refusal_name(kind: &ProblemKind) -> String {
    kind.status.canonical_reason().unwrap_or(kind.title).replace(' ', "")
}

/// Reference to the response for success.
pub(super) fn accepted_ref() -> Ref {
    Ref::from_response_name("Accepted")
}

/// Reference to a body.
pub(super) fn body_ref(name: &str) -> Ref {
    reference("requestBodies", name)
}

fn accepted() -> Response {
    let example = |status: &str, summary: &str| {
        let value = json!({"status": status, "deliveryId": 1, "messageId": "OrderEvent-1"});
        let example = ExampleBuilder::new().summary(summary).value(Some(value)).build();
        (status.to_owned(), example)
    };
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(AcceptedBody::name())))
        .examples_from_iter([
            example("accepted", "New delivery"),
            example("duplicate", "Duplicate"),
        ])
        .build();
    ResponseBuilder::new()
        .description("The delivery is stored; it need not be sent again. A body that does not fit its model is stored, too, and ends as `dead`.")
        .content(JSON, content)
        .build()
}

fn refusal(kind: &ProblemKind) -> Response {
    let status = kind.status.as_u16();
    let example = json!({"type": kind.uri, "title": kind.title, "status": status});
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(Problem::name())))
        .example(Some(example))
        .build();
    let response =
        ResponseBuilder::new().description(kind.when).content(problem::CONTENT_TYPE, content);
    match kind.header {
        Some(header) => response.header(header, header_of(header)).build(),
        None => response.build(),
    }
}

fn header_of(name: &str) -> utoipa::openapi::Header {
    let (schema, description) = match name {
        "Retry-After" => (Type::Integer, "The seconds after which to send the request again."),
        "Allow" => (Type::String, "The methods that the path accepts."),
        _ => (Type::String, "The authentication scheme that the path accepts."),
    };
    let schema = Object::with_type(SchemaType::new(schema));
    HeaderBuilder::new().schema(Some(schema)).description(Some(description)).build()
}

pub(super) fn bearer(source: &Source) -> SecurityScheme {
    let description = format!(
        "A bearer key of the source `{}` ({}, {}).",
        source.name, source.dialect, source.environment
    );
    let scheme =
        HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(description)).build();
    SecurityScheme::Http(scheme)
}

/// The login of the documentation pages and the metrics.
pub(super) fn login() -> SecurityScheme {
    let description =
        "`user` and the password in `[docs]` of the settings; without them on loopback only.";
    let scheme =
        HttpBuilder::new().scheme(HttpAuthScheme::Basic).description(Some(description)).build();
    SecurityScheme::Http(scheme)
}

/// Schema of any JSON value.
pub(super) fn any_json() -> Object {
    Object::with_type(SchemaType::AnyValue)
}

/// Schema of plain text.
pub(super) fn text() -> Object {
    Object::with_type(Type::String)
}

fn reference(kind: &str, name: &str) -> Ref {
    Ref::new(format!("#/components/{kind}/{name}"))
}
