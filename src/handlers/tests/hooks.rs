//! Every hook of the catalog, each with its own example.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::catalog::{Body, HookRow};
use crate::handlers::{Context, catalog};
use crate::hook::{Call, HookCall, Script};
use crate::hooks::directscale::autoship::{CancelAutoship, CreateAutoship};

/// Both sides of every hook: a name for messages, the model, and its example.
fn sides() -> Vec<(String, Body, &'static str)> {
    let catalog = catalog();
    let both = |row: &HookRow<Context>| {
        let (asked, answered) = (format!("{}: request", row.id), format!("{}: response", row.id));
        [(asked, row.request, row.example), (answered, row.response, row.example_response)]
    };
    catalog.hooks().flat_map(both).collect()
}

/// The sides whose model is an object of its own, and not any JSON.
fn modelled() -> Vec<(String, Body, &'static str)> {
    sides().into_iter().filter(|(_, body, _)| (body.schema)().0 != "Json").collect()
}

/// JSON without the white space between its parts; digits stay as they are.
fn compact(json: &str) -> String {
    let mut quoted = false;
    let mut escaped = false;
    json.chars()
        .filter(|&c| {
            if c == '"' && !escaped {
                quoted = !quoted;
            }
            escaped = c == '\\' && !escaped;
            quoted || !c.is_whitespace()
        })
        .collect()
}

fn rewritten(body: &Body, json: &str) -> Result<String, String> {
    let written = (body.rewrite)(json.as_bytes()).map_err(|error| error.to_string())?;
    Ok(written.get().to_owned())
}

/// Where each object of a document is, from the outermost on.
fn objects(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.push(at.to_owned());
            members.iter().for_each(|(key, value)| objects(value, &format!("{at}/{key}"), found));
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(place, item)| objects(item, &format!("{at}/{place}"), found)),
        _ => {}
    }
}

fn every_object(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    objects(value, "", &mut found);
    found
}

fn members<'v>(value: &'v mut Value, at: &str) -> &'v mut Map<String, Value> {
    value.pointer_mut(at).and_then(Value::as_object_mut).unwrap()
}

/// The numbers and strings of a document, by where they are and in the order of their places.
fn scalars(json: &str) -> Vec<String> {
    let mut parts: Vec<String> =
        compact(json).split([',', '{', '}', '[', ']']).map(str::to_owned).collect();
    parts.sort_unstable();
    parts
}

#[test]
fn every_example_is_written_as_it_was_read_digit_for_digit() {
    for (name, body, example) in sides() {
        let written = rewritten(&body, example).unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(&written).unwrap(),
            serde_json::from_str::<Value>(example).unwrap(),
            "{name}"
        );
        assert_eq!(scalars(&written), scalars(example), "{name}");
    }
}

#[test]
fn every_member_of_an_example_is_known_to_its_model_in_any_case() {
    for (name, body, example) in modelled() {
        let example: Value = serde_json::from_str(example).unwrap();
        for spell in [str::to_ascii_uppercase, str::to_ascii_lowercase] {
            let json = spelled(&example, spell).to_string();
            let written: Value = serde_json::from_str(&rewritten(&body, &json).unwrap()).unwrap();
            assert_eq!(written, example, "{name}");
        }
    }
}

fn spelled(value: &Value, spell: fn(&str) -> String) -> Value {
    match value {
        Value::Object(members) => {
            members.iter().map(|(key, value)| (spell(key), spelled(value, spell))).collect()
        }
        Value::Array(items) => items.iter().map(|item| spelled(item, spell)).collect(),
        scalar => scalar.clone(),
    }
}

#[test]
fn what_no_model_knows_survives_at_every_depth() {
    for (name, body, example) in sides() {
        let example: Value = serde_json::from_str(example).unwrap();
        let mut added = example.clone();
        for at in every_object(&example) {
            let new = json!({"Deep": [1, null], "Text": "ü"});
            members(&mut added, &at).insert("AddedLater".into(), new);
        }
        let written: Value =
            serde_json::from_str(&rewritten(&body, &added.to_string()).unwrap()).unwrap();
        assert_eq!(written, added, "{name}");
    }
}

#[test]
fn digits_of_what_no_model_knows_are_kept() {
    let kept = r#""AddedLater":[1.50,1e400,12345678901234567890.10]"#;
    for (name, body, example) in modelled() {
        let example = compact(example);
        let rest = example.strip_prefix('{').unwrap();
        let comma = if rest == "}" { "" } else { "," };
        let written = rewritten(&body, &format!("{{{kept}{comma}{rest}")).unwrap();
        assert!(written.contains(kept), "{name}: {written}");
    }
}

#[test]
fn what_is_not_required_may_be_null_or_missing_and_stays_so() {
    for (name, body, example) in modelled() {
        let example: Value = serde_json::from_str(example).unwrap();
        for at in every_object(&example) {
            for key in example.pointer(&at).unwrap().as_object().unwrap().keys() {
                let (mut null, mut missing) = (example.clone(), example.clone());
                members(&mut null, &at).insert(key.clone(), Value::Null);
                members(&mut missing, &at).shift_remove(key);
                for changed in [null, missing] {
                    match rewritten(&body, &changed.to_string()) {
                        Ok(written) => {
                            let written: Value = serde_json::from_str(&written).unwrap();
                            assert_eq!(written, changed, "{name}: {at}/{key}");
                        }
                        Err(error) => {
                            assert!(required(&body, key), "{name}: {at}/{key}: {error}");
                        }
                    }
                }
            }
        }
    }
}

fn required(body: &Body, key: &str) -> bool {
    let schema = json!((body.schema)().1);
    schema["required"].as_array().is_some_and(|keys| keys.contains(&json!(key)))
}

#[test]
fn an_id_may_be_a_number_or_a_string_and_is_written_as_it_came() {
    for (name, body, example) in modelled() {
        let example: Value = serde_json::from_str(example).unwrap();
        for at in every_object(&example) {
            for (key, value) in example.pointer(&at).unwrap().as_object().unwrap() {
                let named = ["Id", "ID", "Number"].iter().any(|end| key.ends_with(end));
                if !named || value.is_object() || value.is_array() {
                    continue;
                }
                for id in [json!(7), json!("7"), json!("AB-7")] {
                    let mut changed = example.clone();
                    members(&mut changed, &at).insert(key.clone(), id);
                    let written = rewritten(&body, &changed.to_string()).unwrap();
                    let written: Value = serde_json::from_str(&written).unwrap();
                    assert_eq!(written, changed, "{name}: {at}/{key}");
                }
            }
        }
    }
}

#[test]
fn every_id_and_every_alias_finds_its_hook() {
    let catalog = catalog();
    for row in catalog.hooks() {
        for id in row.aliases.iter().chain([&row.id]) {
            for spell in [str::to_ascii_lowercase, str::to_ascii_uppercase] {
                let found = catalog.get_hook(&spell(id));
                assert_eq!(found.map(|row| row.id), Some(row.id), "{id}");
            }
        }
    }
}

#[tokio::test]
async fn a_logic_may_answer_nothing_where_nothing_is_expected() {
    for nothing in ["", "null", "{}"] {
        let call = HookCall::<CancelAutoship>::example(Script::answers(nothing)).unwrap();
        let answer = call.callback.proceed(call.request).await.unwrap();
        assert_eq!(serde_json::to_string(&answer).unwrap(), "{}", "{nothing}");
    }
    let call = HookCall::<CreateAutoship>::example(Script::answers("")).unwrap();
    assert!(call.callback.proceed(call.request).await.is_err());
}

#[tokio::test]
async fn every_shipped_handler_leaves_the_answer_to_the_vendor() {
    for row in catalog().hooks() {
        let vendor = Script::answers(row.example_response);
        let call = Call::sample(row.id, row.example, Arc::clone(&vendor) as _);
        let Some(handler) = &row.handler else { continue };
        let answer = handler.start(Context::default(), call).unwrap().await.unwrap();
        assert_eq!(scalars(&text(&answer)), scalars(row.example_response), "{}", row.id);
        assert_eq!(scalars(&text(&vendor.asked().unwrap())), scalars(row.example), "{}", row.id);
    }
}

fn text(json: &[u8]) -> String {
    String::from_utf8(json.to_vec()).unwrap()
}
