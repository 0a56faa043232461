//! The OpenAPI documents of the fixture and of the bus, by the rules that validators and generators of clients apply.

use std::collections::BTreeSet;

use fixture::table;
use receiver::openapi::committed;
use serde_json::{Value, json};

fn built() -> Value {
    serde_json::from_str(&committed(&table()).unwrap()).unwrap()
}

/// The receiver's document, and the bus's without and with a key.
fn documents() -> [Value; 3] {
    let bus = |has_key| serde_json::to_value(bus::api::document(has_key)).unwrap();
    [built(), bus(false), bus(true)]
}

/// An operation: its path, its method and itself.
struct Operation<'d> {
    place: String,
    path: &'d str,
    value: &'d Value,
}

/// The operations of all paths and webhooks, and of their callbacks.
fn operations(document: &Value) -> Vec<Operation<'_>> {
    let mut found = Vec::new();
    for section in ["paths", "webhooks"] {
        for (path, item) in document[section].as_object().into_iter().flatten() {
            add_operations(path, item, &mut found);
        }
    }
    found
}

fn add_operations<'d>(path: &'d str, item: &'d Value, found: &mut Vec<Operation<'d>>) {
    for (method, value) in item.as_object().unwrap() {
        found.push(Operation { place: format!("{method} {path}"), path, value });
        let callbacks = value["callbacks"].as_object().into_iter().flatten();
        for (path, item) in callbacks.flat_map(|(_, callback)| callback.as_object().unwrap()) {
            add_operations(path, item, found);
        }
    }
}

/// The value, or what it refers to.
fn resolved<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    match value["$ref"].as_str() {
        Some(reference) => document.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
        None => value,
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_component_is_referred_to() {
    for document in documents() {
        let mut references = Vec::new();
        collect_references(&document, &mut references);
        assert!(!references.is_empty());
        for reference in &references {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        for (kind, named) in document["components"].as_object().unwrap() {
            let names = named.as_object().unwrap().keys();
            for name in names.filter(|_| kind != "securitySchemes") {
                let reference = format!("#/components/{kind}/{name}");
                assert!(references.contains(&reference), "{reference} is unused");
            }
        }
    }
}

#[test]
fn the_parameters_of_a_path_are_those_of_its_operations() {
    for document in documents() {
        for Operation { place, path, value } in operations(&document) {
            let parameters = value["parameters"].as_array().into_iter().flatten();
            let parameters: Vec<&Value> = parameters.map(|one| resolved(&document, one)).collect();
            let mut known = BTreeSet::new();
            for parameter in &parameters {
                let (name, location) = (&parameter["name"], &parameter["in"]);
                assert!(known.insert((name.as_str(), location.as_str())), "{place}: {name} twice");
                assert!(parameter["schema"].is_object(), "{place}: {name}");
            }
            let declared: BTreeSet<&str> = parameters
                .iter()
                .filter(|parameter| parameter["in"] == "path")
                .inspect(|parameter| assert_eq!(parameter["required"], true, "{place}"))
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            let is_callback = path.contains("://");
            let in_path = path.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0));
            let in_path: BTreeSet<&str> = in_path.filter(|_| !is_callback).collect();
            assert_eq!(declared, in_path, "{place}");
        }
    }
}

#[test]
fn every_operation_has_an_id_of_its_own_its_refusals_and_a_word_on_security() {
    for document in documents() {
        let mut ids = BTreeSet::new();
        let schemes = &document["components"]["securitySchemes"];
        for Operation { place, value, .. } in operations(&document) {
            let id = value["operationId"].as_str().unwrap_or_else(|| panic!("{place} has no id"));
            assert!(ids.insert(id), "{place}: {id} twice");
            let statuses: Vec<_> = value["responses"].as_object().unwrap().keys().collect();
            assert!(statuses.iter().any(|status| status.starts_with('2')), "{place}: {statuses:?}");
            assert!(statuses.iter().any(|status| status.starts_with('4')), "{place}: {statuses:?}");
            let security = value.get("security").or(document.get("security"));
            let requirements =
                security.unwrap_or_else(|| panic!("{place} is neither open nor not"));
            for name in requirements
                .as_array()
                .unwrap()
                .iter()
                .flat_map(|one| one.as_object().unwrap().keys())
            {
                assert!(schemes[name].is_object(), "{place}: {name}");
            }
        }
    }
}

#[test]
fn every_tag_is_described() {
    for document in documents() {
        let tags = document["tags"].as_array().unwrap();
        let described: BTreeSet<&str> = tags
            .iter()
            .filter(|tag| tag["description"].as_str().is_some_and(|text| !text.is_empty()))
            .map(|tag| tag["name"].as_str().unwrap())
            .collect();
        for Operation { place, value, .. } in operations(&document) {
            for tag in value["tags"].as_array().into_iter().flatten() {
                assert!(described.contains(tag.as_str().unwrap()), "{place}: {tag}");
            }
        }
    }
}

#[test]
fn schemas_are_those_that_generators_of_clients_accept() {
    for document in documents() {
        let mut schemas = 0;
        each_schema(&document["components"]["schemas"], &mut |schema| {
            schemas += 1;
            if schema["type"] == "array" {
                assert!(schema["items"].is_object(), "{schema}");
            }
            let one_of = schema["oneOf"].as_array().into_iter().flatten();
            for alternative in one_of {
                assert_ne!(alternative["type"], "null", "null may fit twice: {schema}");
            }
            let required = schema["required"].as_array().into_iter().flatten();
            for name in required.map(|name| name.as_str().unwrap()) {
                assert!(schema["properties"][name].is_object(), "{name} is required: {schema}");
            }
            if let (Some(default), Some(kind)) = (schema.get("default"), schema.get("type")) {
                let kinds: Vec<&Value> =
                    kind.as_array().map_or(vec![kind], |all| all.iter().collect());
                assert!(kinds.iter().any(|kind| is_of(default, kind)), "{default}: {schema}");
            }
        });
        assert!(schemas > 100);
    }
}

/// True if the value is of this type of JSON Schema.
fn is_of(value: &Value, kind: &Value) -> bool {
    match kind.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        kind => kind == "object" && value.is_object(),
    }
}

fn each_schema(value: &Value, visit: &mut impl FnMut(&Value)) {
    match value {
        Value::Object(members) => {
            if members.get("type").is_some_and(|kind| kind.is_string() || kind.is_array())
                || members.contains_key("oneOf")
            {
                visit(value);
            }
            let nested = members.iter().filter(|(name, _)| {
                !matches!(name.as_str(), "example" | "examples" | "default" | "enum")
            });
            nested.for_each(|(_, member)| each_schema(member, visit));
        }
        Value::Array(items) => items.iter().for_each(|item| each_schema(item, visit)),
        _ => {}
    }
}

#[test]
fn a_subscription_to_create_has_its_name_beside_its_definition() {
    let [_, bus, _] = documents();
    let schema = &bus["components"]["schemas"]["NewSubscription"];
    assert_eq!(schema["required"], json!(["name", "events", "target"]));
    assert_eq!((&schema["allOf"], &schema["additionalProperties"]), (&Value::Null, &json!(false)));
    for member in ["name", "events", "target", "dialect", "retries", "faults"] {
        assert!(schema["properties"][member].is_object(), "{member}");
    }
    let change = &bus["components"]["schemas"]["SubscriptionChange"];
    assert_eq!((&change["required"], &change["properties"]["name"]), (&Value::Null, &Value::Null));
    assert_eq!(change["properties"]["timeout"]["type"], json!(["string", "null"]));
}

#[test]
fn no_two_hooks_have_the_same_summary() {
    let document = built();
    let paths = document["paths"].as_object().unwrap();
    let hooks = paths.iter().filter(|(path, _)| path.starts_with("/api/hooks/"));
    let mut summaries: Vec<_> =
        hooks.map(|(_, path)| path["post"]["summary"].to_string()).collect();
    let all = summaries.len();
    summaries.sort();
    summaries.dedup();
    assert!(all > 20 && summaries.len() == all, "{summaries:#?}");
}

fn collect_references(value: &Value, found: &mut Vec<String>) {
    if let Some(reference) = value["$ref"].as_str() {
        found.push(reference.to_owned());
    }
    match value {
        Value::Object(fields) => fields.values().for_each(|field| collect_references(field, found)),
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, found)),
        _ => {}
    }
}
