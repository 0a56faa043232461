//! Common rules of the OpenAPI documents: what validators and generators of clients expect of each, applied at the end.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{
    AdditionalProperties, AnyOfBuilder, ArrayItems, OneOf, SchemaType, Type,
};
use utoipa::openapi::{Components, OpenApi, RefOr, Schema, Server};

/// Finishes a document: a nullable reference admits null once, an operation without security says so, the server is the
/// one that serves the document, and components that nothing refers to are left out.
pub fn finish(document: &mut OpenApi) {
    if document.servers.is_none() {
        let mut server = Server::new("/");
        server.description = Some("The server of this document.".into());
        document.servers = Some(vec![server]);
    }
    let is_secured = document.security.is_some();
    let webhooks = document.webhooks.iter_mut().flat_map(|webhooks| webhooks.paths.values_mut());
    for item in document.paths.paths.values_mut().chain(webhooks) {
        operations(item, &mut |operation| {
            schemas_of(operation).for_each(admit_null_once);
            if !is_secured {
                operation.security.get_or_insert_default();
            }
        });
    }
    if let Some(components) = &mut document.components {
        components.schemas.values_mut().for_each(admit_null_once);
    }
    remove_unused(document);
}

/// Calls `visit` with each operation of a path, and with those of their callbacks.
pub fn operations(item: &mut PathItem, visit: &mut impl FnMut(&mut Operation)) {
    let known = [
        &mut item.get,
        &mut item.put,
        &mut item.post,
        &mut item.delete,
        &mut item.options,
        &mut item.head,
        &mut item.patch,
        &mut item.trace,
    ];
    for operation in known.into_iter().flatten() {
        visit(operation);
        for callback in operation.callbacks.values_mut() {
            let items = inline(callback).into_iter().flat_map(BTreeMap::values_mut);
            items.filter_map(inline).for_each(|item| operations(item, visit));
        }
    }
}

/// The schemas that an operation itself contains.
fn schemas_of(operation: &mut Operation) -> impl Iterator<Item = &mut RefOr<Schema>> {
    let parameters = operation.parameters.iter_mut().flatten().filter_map(inline);
    let parameters = parameters.filter_map(|parameter| parameter.schema.as_mut());
    let body = operation.request_body.iter_mut().filter_map(inline);
    let body = body.flat_map(|body| body.content.values_mut());
    let responses = operation.responses.responses.values_mut().filter_map(inline);
    let responses = responses.flat_map(|response| response.content.values_mut());
    let content = body.chain(responses).filter_map(inline);
    parameters.chain(content.filter_map(|content| content.schema.as_mut()))
}

fn inline<T>(value: &mut RefOr<T>) -> Option<&mut T> {
    match value {
        RefOr::T(value) => Some(value),
        RefOr::Ref(_) => None,
    }
}

/// `oneOf` of null and of a schema that may itself admit null refuses null, since both match: it becomes `anyOf`.
fn admit_null_once(schema: &mut RefOr<Schema>) {
    let RefOr::T(schema) = schema else { return };
    if let Schema::OneOf(one_of) = schema
        && one_of.items.iter().any(is_null)
    {
        *schema = any_of(std::mem::take(one_of));
    }
    match schema {
        Schema::Array(array) => {
            if let ArrayItems::RefOrSchema(items) = &mut array.items {
                admit_null_once(items);
            }
        }
        Schema::Object(object) => {
            object.properties.values_mut().for_each(admit_null_once);
            if let Some(AdditionalProperties::RefOr(values)) =
                object.additional_properties.as_deref_mut()
            {
                admit_null_once(values);
            }
        }
        Schema::OneOf(one_of) => one_of.items.iter_mut().for_each(admit_null_once),
        Schema::AllOf(all_of) => all_of.items.iter_mut().for_each(admit_null_once),
        Schema::AnyOf(any_of) => any_of.items.iter_mut().for_each(admit_null_once),
        _ => {}
    }
}

fn is_null(schema: &RefOr<Schema>) -> bool {
    matches!(schema, RefOr::T(Schema::Object(object)) if object.schema_type == SchemaType::Type(Type::Null))
}

fn any_of(one_of: OneOf) -> Schema {
    let OneOf { items, description, default, examples, extensions, .. } = one_of;
    let any_of = items.into_iter().fold(AnyOfBuilder::new(), AnyOfBuilder::item);
    let any_of = any_of.description(description).default(default).examples(examples);
    Schema::AnyOf(any_of.extensions(extensions).build())
}

/// Removes the components that no path and no webhook refers to, directly or through others.
fn remove_unused(document: &mut OpenApi) {
    let Ok(json) = serde_json::to_value(&*document) else { return };
    let mut used = BTreeSet::new();
    collect_used(&json, &json["paths"], &mut used);
    collect_used(&json, &json["webhooks"], &mut used);
    let Some(components) = &mut document.components else { return };
    let Components { schemas, responses, parameters, request_bodies, .. } = components;
    let is_used = |kind: &str, name: &str| used.contains(&format!("#/components/{kind}/{name}"));
    schemas.retain(|name, _| is_used("schemas", name));
    responses.retain(|name, _| is_used("responses", name));
    parameters.retain(|name, _| is_used("parameters", name));
    request_bodies.retain(|name, _| is_used("requestBodies", name));
}

fn collect_used(document: &Value, value: &Value, used: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref")
                && used.insert(reference.clone())
                && let Some(target) = document.pointer(reference.trim_start_matches('#'))
            {
                collect_used(document, target, used);
            }
            members.values().for_each(|member| collect_used(document, member, used));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_used(document, item, used)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn finished(document: Value) -> Value {
        let mut document: OpenApi = serde_json::from_value(document).unwrap();
        finish(&mut document);
        serde_json::to_value(document).unwrap()
    }

    fn document(operation: Value) -> Value {
        json!({
            "openapi": "3.1.0",
            "info": {"title": "Test", "version": "1"},
            "paths": {"/": {"get": operation}},
            "components": {"schemas": {
                "Ring": {"type": "object", "properties": {"next": {
                    "description": "The next one.",
                    "oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/Ring"}],
                }}},
                "Other": {"type": "object", "properties": {
                    "ring": {"$ref": "#/components/schemas/Ring"},
                }},
            }},
        })
    }

    fn answering(schema: Value) -> Value {
        json!({"responses": {"200": {
            "description": "It rings.",
            "content": {"application/json": {"schema": schema}},
        }}})
    }

    #[test]
    fn what_may_be_null_is_any_of_two() {
        let null_or_ring =
            json!({"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/Ring"}]});
        let document = finished(document(answering(null_or_ring.clone())));
        let next = &document["components"]["schemas"]["Ring"]["properties"]["next"];
        assert_eq!(next["anyOf"], null_or_ring["oneOf"]);
        assert_eq!((&next["oneOf"], &next["description"]), (&Value::Null, &json!("The next one.")));
        let answer = &document["paths"]["/"]["get"]["responses"]["200"]["content"];
        assert_eq!(answer["application/json"]["schema"]["anyOf"], null_or_ring["oneOf"]);
    }

    #[test]
    fn what_nothing_refers_to_is_left_out() {
        let ring = json!({"$ref": "#/components/schemas/Ring"});
        let document = finished(document(answering(ring)));
        let schemas = document["components"]["schemas"].as_object().unwrap();
        assert_eq!(schemas.keys().collect::<Vec<_>>(), ["Ring"]);
    }

    #[test]
    fn an_operation_without_security_says_so_unless_the_document_has_one_for_all() {
        let open = document(answering(json!({"type": "string"})));
        let secured = |security: Value| {
            let mut document = open.clone();
            document["security"] = security;
            finished(document)["paths"]["/"]["get"]["security"].clone()
        };
        assert_eq!(finished(open.clone())["paths"]["/"]["get"]["security"], json!([]));
        assert_eq!(secured(json!([{"key": []}])), Value::Null);
    }
}
