//! The schemas of a catalog, by their names in the OpenAPI document.

use std::collections::BTreeMap;

use contract::catalog::{NamedSchema, Table};
use serde_json::{Value, json};

/// All schemas, by name.
pub(super) type SchemasByName = BTreeMap<String, Value>;

/// The schemas of all models and of the types that they refer to, and the violations of their rules. Two types that
/// agree in name, fields and descriptions are one schema.
pub(super) fn of(table: &Table) -> (SchemasByName, Vec<String>) {
    let (mut schemas, mut found) = (SchemasByName::new(), Vec::new());
    let own = table.events().map(|row| (row.schema)());
    for (name, schema) in own {
        if schemas.insert(name.clone(), json!(schema)).is_some() {
            found.push(format!("two events have a model called {name}"));
        }
    }
    for (name, schema) in others(table) {
        let schema = json!(schema);
        if *schemas.entry(name.clone()).or_insert_with(|| schema.clone()) != schema {
            found.push(format!(
                "two types are called {name} in the OpenAPI document; rename one with #[schema(as = …)]"
            ));
        }
    }
    found.extend(schemas.iter().flat_map(|(name, schema)| undescribed(name, schema)));
    (schemas, found)
}

fn others(table: &Table) -> Vec<NamedSchema> {
    let mut others = Vec::new();
    table.events().for_each(|row| (row.referred)(&mut others));
    for model in table.hooks().flat_map(|row| [row.request, row.response]) {
        others.push((model.schema)());
        (model.referred)(&mut others);
    }
    others
}

fn undescribed(name: &str, schema: &Value) -> Vec<String> {
    let fields = schema["properties"].as_object().into_iter().flatten();
    let is_described = |property: &Value| {
        property.get("description").or(property.pointer("/oneOf/0/description")).is_some()
    };
    let mut found: Vec<String> = fields
        .filter(|(_, property)| !is_described(property))
        .map(|(field, _)| format!("{name}.{field} has no description; write a doc comment"))
        .collect();
    if !schema["description"].is_string() {
        found.push(format!("{name} has no description; write a doc comment"));
    }
    found
}

/// The schema of a model's own fields: a model that two events share is behind a reference.
pub(super) fn model<'s>(schemas: &'s SchemasByName, name: &str) -> &'s Value {
    let own = &schemas[name];
    let shared = own["$ref"].as_str().and_then(|path| schemas.get(path.rsplit('/').next()?));
    shared.unwrap_or(own)
}
