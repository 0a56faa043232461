//! The OpenAPI document of the fixture.

use fixture::table;
use receiver::openapi::committed;
use serde_json::Value;

fn built() -> Value {
    serde_json::from_str(&committed(&table()).unwrap()).unwrap()
}

#[test]
fn every_reference_leads_somewhere() {
    let document = built();
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    assert!(!references.is_empty());
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
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
