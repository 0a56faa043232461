//! Process Hooks in the OpenAPI document: request, response and the callback in between.

use contract::catalog::{BodyModel, HookRow, Table, segment};
use contract::hook::RemoteError;
use serde_json::Value;
use server::problem::{self, ProblemKind};
use source::{HookRoute, Unhandled};
use utoipa::ToSchema;
use utoipa::openapi::path::{
    Callback, HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, PathItem,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::ObjectBuilder;
use utoipa::openapi::{Content, ContentBuilder, Ref, Required, Response, ResponseBuilder, Type};

use super::components::{self, JSON};
use super::operations::{first_sentence, requirement};

/// Tag of hooks.
pub(super) const HOOKS: &str = "hooks";

/// Description of that tag.
pub(super) const ABOUT: &str = "Process Hooks: synchronous calls of the vendor. A handler may call the vendor's own logic back meanwhile; `dev` answers that with the vendor's samples, elsewhere it needs `callback_url` and its key.";

/// Refusals of a call, besides the hook's own failures.
const REFUSALS: [&ProblemKind; 9] = [
    &problem::BAD_REQUEST,
    &problem::UNAUTHORIZED,
    &problem::METHOD_NOT_ALLOWED,
    &problem::REQUEST_TIMEOUT,
    &problem::CONTENT_TOO_LARGE,
    &problem::URI_TOO_LONG,
    &problem::UNSUPPORTED_MEDIA_TYPE,
    &problem::HEAD_TOO_LARGE,
    &problem::UNAVAILABLE,
];

/// Paths of a hook route: one for each hook, and the single URL.
pub(super) fn paths(catalog: &Table, route: &HookRoute, tag: &str) -> Vec<(String, PathItem)> {
    let mut paths: Vec<_> = catalog
        .hooks()
        .map(|row| (format!("{}/{}", route.path, segment(row.id)), call(row, route, tag)))
        .collect();
    paths.push((route.path.clone(), any(route, tag)));
    paths
}

fn call(row: &HookRow, route: &HookRoute, tag: &str) -> PathItem {
    let description = description(row).unwrap_or_else(|| row.id.to_owned());
    let operation = exchange(route, tag, Some(row.id))
        .operation_id(Some(format!("{}_{}", route.source.name, row.id)))
        .summary(Some(first_sentence(&description)))
        .description(Some(description))
        .request_body(Some(
            RequestBodyBuilder::new()
                .required(Some(Required::True))
                .content(JSON, content(&row.request, row.example))
                .build(),
        ))
        .response("200", response("The hook's response.", &row.response, row.example_response))
        .callback("proceed", callback(row, route));
    PathItem::new(HttpMethod::Post, operation)
}

/// Operation of the single URL, which takes any hook by its header.
fn any(route: &HookRoute, tag: &str) -> PathItem {
    let description = match route.unhandled {
        Unhandled::PassThrough => {
            "A hook that no handler takes is answered by the vendor's own logic."
        }
        Unhandled::Refuse => "A hook that no handler takes is refused with 501.",
    };
    let json = || ContentBuilder::new().schema(Some(components::any_json())).build();
    let body =
        RequestBodyBuilder::new().required(Some(Required::True)).content(JSON, json()).build();
    let ok = ResponseBuilder::new().description("The hook's response.").content(JSON, json());
    let operation = exchange(route, tag, None)
        .operation_id(Some(format!("{}_any_hook", route.source.name)))
        .summary(Some("Any hook, identified by X-DirectScale-RequestName"))
        .description(Some(description))
        .request_body(Some(body))
        .response("200", ok);
    PathItem::new(HttpMethod::Post, operation)
}

/// Common part of all calls: key, headers, and the responses to failures.
fn exchange(route: &HookRoute, tag: &str, hook: Option<&str>) -> OperationBuilder {
    let operation = headers(hook)
        .into_iter()
        .fold(OperationBuilder::new(), |operation, header| operation.parameter(header));
    let failed =
        ContentBuilder::new().schema(Some(Ref::from_schema_name(RemoteError::name()))).build();
    let failed = ResponseBuilder::new()
        .description(
            "The hook failed, or the vendor's own logic failed; then the body is the vendor's.",
        )
        .content(JSON, failed);
    let operation = REFUSALS.iter().fold(operation.tag(tag), |operation, kind| {
        operation.response(kind.status.as_str(), components::refusal_ref(kind))
    });
    let operation = match route.unhandled {
        Unhandled::PassThrough => operation,
        Unhandled::Refuse => operation.response(
            problem::NOT_IMPLEMENTED.status.as_str(),
            components::refusal_ref(&problem::NOT_IMPLEMENTED),
        ),
    };
    let operation = operation.response("500", failed);
    match route.source.auth.bearer.is_empty() {
        true => operation,
        false => operation.security(requirement(&route.source.name)),
    }
}

fn headers(hook: Option<&str>) -> [ParameterBuilder; 3] {
    let header = |name: &str, description: &str, required: bool, example: &str| {
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Header)
            .required(if required { Required::True } else { Required::False })
            .description(Some(description))
            .example(Some(example.into()))
    };
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let something = || text().min_length(Some(1)).build();
    let name = match hook {
        Some(hook) => text().enum_values(Some([hook])).build(),
        None => text().min_length(Some(1)).pattern(Some("^[A-Za-z0-9._-]+$")).build(),
    };
    [
        header("X-DirectScale-CallbackToken", "Token that permits one callback.", true, "token-1")
            .schema(Some(something())),
        header(
            "X-DirectScale-RequestName",
            "The hook's id; if the path has one too, the same.",
            hook.is_none(),
            hook.unwrap_or("Autoships.CreateAutoship"),
        )
        .schema(Some(name)),
        header(
            "X-DirectScale-User",
            "The user on whose behalf the hook is called.",
            false,
            "jsmith",
        )
        .schema(Some(components::text())),
    ]
}

/// Callback to the vendor's own logic, which a handler may run once.
fn callback(row: &HookRow, route: &HookRoute) -> Callback {
    let [token, ..] = headers(Some(row.id));
    let base = route.api.as_ref().map_or_else(|| "{callback_url}".to_owned(), |api| api.origin());
    let operation = OperationBuilder::new()
        .operation_id(Some(format!("{}_{}_callback", route.source.name, row.id)))
        .summary(Some("The vendor's own logic, when the handler proceeds"))
        .description(Some("A handler may call it once, with the token of its call. This program proves itself with the bearer key in `callback_key` of the settings, which is no key that a caller enters."))
        .parameter(token)
        .request_body(Some(
            RequestBodyBuilder::new()
                .required(Some(Required::True))
                .content(JSON, content(&row.request, row.example))
                .build(),
        ))
        .response("200", response("The response.", &row.response, row.example_response))
        .response("4XX", Response::new("It refused; its body becomes the hook's response."))
        .response("500", Response::new("It failed; its body becomes the hook's response."));
    let item = PathItem::new(HttpMethod::Post, operation);
    Callback::from([(format!("{base}/api/extension/hooks/{}", row.id), item.into())])
}

fn response(description: &str, body: &BodyModel, example: &str) -> Response {
    ResponseBuilder::new().description(description).content(JSON, content(body, example)).build()
}

fn content(body: &BodyModel, example: &str) -> Content {
    let example: Value = serde_json::from_str(example).unwrap_or_else(|_| example.into());
    let schema = Ref::from_schema_name((body.schema)().0);
    ContentBuilder::new().schema(Some(schema)).example(Some(example)).build()
}

/// Description from the hook's doc comment.
fn description(row: &HookRow) -> Option<String> {
    let schema = serde_json::to_value((row.about)()).unwrap_or_default();
    schema["description"].as_str().map(str::to_owned)
}
