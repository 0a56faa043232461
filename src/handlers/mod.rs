//! What this fork does with each event and in each hook.
//!
//! A new event of a family is one more function and one more `.on(…)` in the family's file, a new hook one more function
//! and one more `.hook(…)`. A new family is one more file and two lines here; `loyalty.rs` is the one to copy for events,
//! `shipping_hooks.rs` for hooks.

pub mod associate;
pub mod associate_hooks;
pub mod autoship_hooks;
pub mod client;
pub mod commission_hooks;
pub mod daily;
pub mod enrollment;
pub mod evolutionx;
pub mod github;
pub mod inventory;
pub mod loyalty;
pub mod order;
pub mod order_hooks;
pub mod order_lifecycle;
pub mod shipping_hooks;
pub mod stock;
pub mod subscription;
pub mod welcome;

use axum::Router;

use crate::catalog::Catalog;

/// What every handler is given: the fork's own connections and clients.
///
/// It is cloned for each delivery, so its fields are cheap to clone: a pool, a client, an `Arc`. The default is what
/// tests give to handlers.
#[derive(Debug, Clone, Default)]
pub struct Context {}

impl Context {
    /// Makes the context, once, before anything is received.
    ///
    /// # Errors
    /// If what the handlers need is not there; the receiver then does not start.
    pub async fn connect() -> anyhow::Result<Self> {
        Ok(Context {})
    }
}

/// The pages that the vendor shows in a frame, below `pages` of a source's hooks.
pub fn pages(cx: Context) -> Router {
    welcome::pages().with_state(cx)
}

/// Every event and every hook that is handled, with its handler.
pub fn catalog() -> Catalog<Context> {
    Catalog::new()
        .merge(associate::catalog())
        .merge(associate_hooks::catalog())
        .merge(autoship_hooks::catalog())
        .merge(client::catalog())
        .merge(commission_hooks::catalog())
        .merge(daily::catalog())
        .merge(enrollment::catalog())
        .merge(evolutionx::catalog())
        .merge(github::catalog())
        .merge(inventory::catalog())
        .merge(loyalty::catalog())
        .merge(order::catalog())
        .merge(order_hooks::catalog())
        .merge(order_lifecycle::catalog())
        .merge(shipping_hooks::catalog())
        .merge(stock::catalog())
        .merge(subscription::catalog())
}

#[cfg(test)]
mod tests {
    mod hooks;

    use std::collections::BTreeMap;

    use bytes::Bytes;
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::catalog::Row;
    use crate::event::{Delivery, Event, Meta, Outcome};
    use crate::source::{Fact, Place, Places};

    fn example<C>(row: &Row<C>) -> Value {
        serde_json::from_str(row.example).unwrap()
    }

    /// What the example says in the places that its dialect has in the body.
    fn said<C>(row: &Row<C>, fact: Fact) -> Option<String> {
        let example = example(row);
        let places = Places::of(row.dialect);
        let found = places.at(fact).iter().find_map(|place| match place {
            Place::Body(path) => path.keys().try_fold(&example, |value, key| value.get(key)),
            Place::Header(_) => None,
        });
        found.and_then(Value::as_str).map(str::to_owned)
    }

    /// The example with `change` made to it; only of events that are objects.
    fn changed<C>(row: &Row<C>, change: impl FnOnce(&mut Map<String, Value>)) -> String {
        let mut body = example(row);
        change(body.as_object_mut().unwrap());
        body.to_string()
    }

    fn objects() -> Vec<Row<Context>> {
        catalog().iter().filter(|row| row.needs_object).cloned().collect()
    }

    /// The schemas by name, as the document holds them, or the name that stands for two of them.
    ///
    /// Two types that agree in name, fields and descriptions are one schema, and no reader can be misled.
    fn schemas<C: 'static>(catalog: &Catalog<C>) -> Result<BTreeMap<String, Value>, String> {
        let mut schemas = BTreeMap::new();
        for row in catalog.iter() {
            let (name, schema) = (row.schema)();
            if schemas.insert(name.clone(), json!(schema)).is_some() {
                return Err(name);
            }
        }
        let mut others = Vec::new();
        catalog.iter().for_each(|row| (row.referred)(&mut others));
        for side in catalog.hooks().flat_map(|row| [row.request, row.response]) {
            others.push((side.schema)());
            (side.referred)(&mut others);
        }
        for (name, schema) in others {
            let schema = json!(schema);
            if *schemas.entry(name.clone()).or_insert_with(|| schema.clone()) != schema {
                return Err(name);
            }
        }
        Ok(schemas)
    }

    /// The schema of the row's own fields: a model that two events share is behind a reference.
    fn model(row: &Row<Context>) -> Value {
        let schemas = schemas(&catalog()).unwrap();
        let own = &schemas[&(row.schema)().0];
        match own["$ref"].as_str() {
            Some(path) => schemas[path.rsplit('/').next().unwrap()].clone(),
            None => own.clone(),
        }
    }

    #[test]
    fn nothing_is_claimed_twice() {
        assert!(catalog().checked().is_ok());
    }

    #[tokio::test]
    async fn every_example_is_known_to_its_model_and_handled() {
        for row in catalog().iter() {
            assert_eq!((row.check)(row.example.as_bytes()), Ok(Map::new()), "{}", row.name);
            let meta = Meta::sample(row.dialect, row.name, row.version);
            let delivery = Delivery::new(meta, Bytes::from_static(row.example.as_bytes()));
            let outcome = row.start(Context::default(), delivery).unwrap().await;
            assert!(outcome.is_ok(), "{}: {outcome:?}", row.name);
        }
    }

    #[test]
    fn every_example_is_routed_to_its_own_row_by_the_name_in_it() {
        let catalog = catalog();
        for row in catalog.iter() {
            if let Some(name) = said(row, Fact::EventType) {
                let found = catalog.get(row.dialect, row.version, &name);
                assert_eq!(found.map(|row| row.name), Some(row.name));
            }
        }
    }

    #[test]
    fn every_alias_finds_its_event() {
        let catalog = catalog();
        for row in catalog.iter() {
            for alias in row.aliases {
                let found = catalog.get(row.dialect, row.version, &alias.to_ascii_uppercase());
                assert_eq!(found.map(|row| row.name), Some(row.name), "{alias}");
            }
        }
    }

    #[test]
    fn the_entity_is_a_field_of_the_model() {
        for row in catalog().iter() {
            if let Some(entity) = row.entity {
                assert!(model(row)["properties"][entity].is_object(), "{}: {entity}", row.name);
            }
        }
    }

    #[test]
    fn every_schema_has_a_name_of_its_own() {
        assert_eq!(schemas(&catalog()).err(), None);
    }

    #[test]
    fn one_schema_name_for_two_types_is_found() {
        mod other {
            #[derive(serde::Deserialize, utoipa::ToSchema)]
            pub(super) struct Id {}

            #[derive(serde::Deserialize, utoipa::ToSchema)]
            pub(super) struct OtherEvent {
                #[expect(dead_code, reason = "only its schema matters")]
                id: Id,
            }
        }

        impl Event for other::OtherEvent {
            const TYPE: &'static str = "OtherEvent";

            fn example() -> &'static str {
                r#"{"id":{}}"#
            }
        }

        async fn handle(_: Context, _: Delivery<other::OtherEvent>) -> Outcome {
            Ok(())
        }

        let own = Catalog::new().on(handle);
        assert_eq!(schemas(&own).err(), None);
        assert_eq!(schemas(&own.merge(catalog())).err().as_deref(), Some("Id"));
    }

    #[test]
    fn every_model_and_every_field_is_described() {
        for (name, schema) in schemas(&catalog()).unwrap() {
            assert!(schema["description"].is_string(), "{name}");
            let properties = schema["properties"].as_object().into_iter().flatten();
            for (field, property) in properties {
                let described =
                    property.get("description").or(property.pointer("/oneOf/0/description"));
                assert!(described.is_some(), "{name}.{field}: {property}");
            }
        }
    }

    #[test]
    fn what_is_not_required_may_be_null_or_missing() {
        for row in objects() {
            let required = model(&row)["required"].as_array().cloned().unwrap_or_default();
            for field in example(&row).as_object().unwrap().keys() {
                let null = changed(&row, |body| drop(body.insert(field.clone(), Value::Null)));
                let missing = changed(&row, |body| drop(body.shift_remove(field)));
                for body in [null, missing] {
                    let decodes = (row.check)(body.as_bytes()).is_ok();
                    assert_eq!(decodes, !required.contains(&json!(field)), "{}: {body}", row.name);
                }
            }
        }
    }

    #[test]
    fn an_id_may_be_a_number_or_a_string() {
        for row in objects() {
            for field in example(&row).as_object().unwrap().keys() {
                if ["Id", "ID", "_id", "Number"].iter().any(|end| field.ends_with(end)) {
                    for id in [json!(7), json!("7")] {
                        let body = changed(&row, |body| drop(body.insert(field.clone(), id)));
                        assert!((row.check)(body.as_bytes()).is_ok(), "{}: {body}", row.name);
                    }
                }
            }
        }
    }

    #[test]
    fn keys_are_known_in_any_case() {
        for row in objects() {
            for spell in [str::to_ascii_lowercase, str::to_ascii_uppercase] {
                let body = changed(&row, |body| {
                    *body = std::mem::take(body).into_iter().map(|(k, v)| (spell(&k), v)).collect();
                });
                assert_eq!((row.check)(body.as_bytes()), Ok(Map::new()), "{}", row.name);
            }
        }
    }

    #[test]
    fn a_field_no_model_knows_is_kept() {
        for row in objects() {
            let body =
                changed(&row, |body| drop(body.insert("AddedLater".into(), json!([1, null]))));
            let unknown = (row.check)(body.as_bytes()).unwrap();
            assert_eq!(Value::Object(unknown), json!({"AddedLater": [1, null]}), "{}", row.name);
        }
    }
}
