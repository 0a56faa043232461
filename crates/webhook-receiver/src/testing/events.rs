//! The invariants of every event of a catalog.

use bytes::Bytes;
use contract::catalog::{EventRow, Handlers, Table};
use contract::effect::{Attempt, Handled};
use contract::event::{Delivery, Meta};
use serde_json::{Map, Value, json};
use source::{Fact, FieldLocator, FieldLocators};

use super::schemas::{SchemasByName, model};

/// An event, with everything that its rules read.
struct Subject<'s> {
    row: &'s EventRow,
    table: &'s Table,
    schemas: &'s SchemasByName,
    example: Value,
}

/// The rules, in the order in which they are reported.
const RULES: [fn(&Subject<'_>) -> Option<String>; 7] = [
    example_is_known,
    example_is_routed_to_its_own_event,
    entity_is_a_field,
    what_is_not_required_may_be_null_or_missing,
    an_id_may_be_a_number_or_a_string,
    keys_are_known_in_any_case,
    unknown_fields_are_kept,
];

/// The violations of the event's model.
pub(super) fn violations(row: &EventRow, table: &Table, schemas: &SchemasByName) -> Vec<String> {
    let Ok(example) = serde_json::from_str(row.example) else {
        return vec![format!("{}: the example is not JSON", row.name)];
    };
    let subject = Subject { row, table, schemas, example };
    let found = RULES.iter().filter_map(|rule| rule(&subject));
    found.map(|violation| format!("{}: {violation}", row.name)).collect()
}

/// The failure of the event's handler on the example, if there is one.
pub(super) async fn refusal(row: &EventRow, handlers: &Handlers) -> Option<String> {
    let sample = Meta::sample(row.dialect, row.name, row.version);
    // Marks of earlier runs may be in the same database.
    let meta = Meta { message_id: uuid::Uuid::new_v4().to_string(), ..sample };
    let delivery = Delivery::new(meta, Bytes::from_static(row.example.as_bytes()));
    let handler = handlers.event(row.dialect, row.version, row.name)?;
    let failure = match handler.start(delivery, Attempt::sample()) {
        Ok(attempt) => match attempt.await {
            Ok(Handled::Postponed(reason)) => Some(reason),
            ended => ended.err().map(|failure| format!("{failure:?}")),
        },
        // Reported as a violation of the model.
        Err(_) => None,
    };
    failure.map(|failure| format!("{}: its handler fails on the example: {failure}", row.name))
}

impl Subject<'_> {
    fn fields(&self) -> impl Iterator<Item = &String> {
        let example = self.example.as_object().filter(|_| self.row.needs_object);
        example.into_iter().flat_map(Map::keys)
    }

    /// The example with a change.
    fn changed(&self, change: impl FnOnce(&mut Map<String, Value>)) -> String {
        let mut body = self.example.clone();
        if let Some(fields) = body.as_object_mut() {
            change(fields);
        }
        body.to_string()
    }

    /// The fields that the model does not know, or the error of a body that does not fit it.
    fn unknown(&self, body: &str) -> Result<Map<String, Value>, String> {
        (self.row.check)(body.as_bytes()).map_err(|error| format!("{error}: {body}"))
    }
}

fn example_is_known(event: &Subject<'_>) -> Option<String> {
    match event.unknown(event.row.example) {
        Ok(unknown) if unknown.is_empty() => None,
        Ok(unknown) => Some(format!("the model does not know all of the example: {unknown:?}")),
        Err(error) => Some(format!("the example is not the model: {error}")),
    }
}

fn example_is_routed_to_its_own_event(event: &Subject<'_>) -> Option<String> {
    let places = FieldLocators::of(event.row.dialect);
    let name = places.at(Fact::EventType).iter().find_map(|place| match place {
        FieldLocator::Body(path) => {
            path.keys().try_fold(&event.example, |value, key| value.get(key))
        }
        FieldLocator::Header(_) | FieldLocator::Query(_) | FieldLocator::Template(_) => None,
    });
    let name = name.and_then(Value::as_str)?;
    let found = event.table.event(event.row.dialect, event.row.version, name).map(|row| row.name);
    (found != Some(event.row.name))
        .then(|| format!("its example names the event {name:?}, which is routed to {found:?}"))
}

fn entity_is_a_field(event: &Subject<'_>) -> Option<String> {
    let entity = event.row.entity?;
    let model = model(event.schemas, &(event.row.schema)().0);
    (!model["properties"][entity].is_object())
        .then(|| format!("ENTITY names {entity:?}, which is no field of the model"))
}

fn what_is_not_required_may_be_null_or_missing(event: &Subject<'_>) -> Option<String> {
    let model = model(event.schemas, &(event.row.schema)().0);
    let required = model["required"].as_array().cloned().unwrap_or_default();
    event.fields().find_map(|field| {
        let null = event.changed(|body| drop(body.insert(field.clone(), Value::Null)));
        let missing = event.changed(|body| drop(body.shift_remove(field)));
        let is_required = required.contains(&json!(field));
        [null, missing].iter().find_map(|body| match (event.unknown(body), is_required) {
            (Err(error), false) => Some(format!("{field} is not required, but {error}")),
            (Ok(_), true) => Some(format!("{field} is required, but may be missing or null")),
            _ => None,
        })
    })
}

fn an_id_may_be_a_number_or_a_string(event: &Subject<'_>) -> Option<String> {
    let is_id =
        |field: &&String| ["Id", "ID", "_id", "Number"].iter().any(|end| field.ends_with(end));
    event.fields().filter(is_id).find_map(|field| {
        [json!(7), json!("7")].into_iter().find_map(|id| {
            let body = event.changed(|body| drop(body.insert(field.clone(), id)));
            let error = event.unknown(&body).err()?;
            Some(format!("{field} must take a number and a string (use Id): {error}"))
        })
    })
}

fn keys_are_known_in_any_case(event: &Subject<'_>) -> Option<String> {
    if !event.row.needs_object {
        return None;
    }
    [str::to_ascii_lowercase, str::to_ascii_uppercase].into_iter().find_map(|spell| {
        let body = event.changed(|body| {
            *body = std::mem::take(body).into_iter().map(|(k, v)| (spell(&k), v)).collect();
        });
        match event.unknown(&body) {
            Ok(unknown) if unknown.is_empty() => None,
            other => Some(format!("keys in another case are not known: {other:?}")),
        }
    })
}

fn unknown_fields_are_kept(event: &Subject<'_>) -> Option<String> {
    if !event.row.needs_object {
        return None;
    }
    let body = event.changed(|body| drop(body.insert("AddedLater".into(), json!([1, null]))));
    let kept = event.unknown(&body).map(Value::Object);
    (kept != Ok(json!({"AddedLater": [1, null]})))
        .then(|| format!("a field that the model does not know is lost: {kept:?}"))
}
