//! The invariants of every hook of a catalog, for its request and its response.

use contract::catalog::{BodyModel, HookRow};
use serde_json::{Map, Value, json};

/// One side of a hook: its request or its response.
struct Side {
    name: &'static str,
    model: BodyModel,
    example: &'static str,
}

/// The rules, in the order in which they are reported. Only the first two apply to a side whose model is any JSON.
const RULES: [fn(&Side, &Value) -> Option<String>; 6] = [
    example_is_written_as_it_was_read,
    unknown_members_survive_at_every_depth,
    members_are_known_in_any_case,
    unknown_digits_are_kept,
    what_is_not_required_may_be_null_or_missing,
    an_id_may_be_a_number_or_a_string,
];

/// The violations of the hook's models.
pub(super) fn violations(row: &HookRow) -> Vec<String> {
    let sides = [
        Side { name: "request", model: row.request, example: row.example },
        Side { name: "response", model: row.response, example: row.example_response },
    ];
    let found = sides.iter().flat_map(Side::violations);
    found.map(|violation| format!("{}: {violation}", row.id)).collect()
}

impl Side {
    fn violations(&self) -> Vec<String> {
        let Ok(example) = serde_json::from_str::<Value>(self.example) else {
            return vec![format!("the {}'s example is not JSON", self.name)];
        };
        let is_any = (self.model.schema)().0 == "Json";
        let rules = RULES.iter().take(if is_any { 2 } else { RULES.len() });
        let found = rules.filter_map(|rule| rule(self, &example));
        found.map(|violation| format!("{}: {violation}", self.name)).collect()
    }

    /// The body, parsed and serialized by the model.
    fn rewritten(&self, json: &str) -> Result<String, String> {
        let written = (self.model.rewrite)(json.as_bytes());
        written.map(|json| json.get().to_owned()).map_err(|error| error.to_string())
    }

    /// The body, parsed and serialized by the model, as a JSON value.
    fn again(&self, body: &Value) -> Result<Value, String> {
        let written = self.rewritten(&body.to_string())?;
        serde_json::from_str(&written).map_err(|error| error.to_string())
    }

    fn requires(&self, field: &str) -> bool {
        let schema = json!((self.model.schema)().1);
        schema["required"].as_array().is_some_and(|fields| fields.contains(&json!(field)))
    }
}

fn example_is_written_as_it_was_read(side: &Side, example: &Value) -> Option<String> {
    match side.rewritten(side.example) {
        Err(error) => Some(format!("the example is not the model: {error}")),
        Ok(written) => {
            let is_same = serde_json::from_str::<Value>(&written).ok().as_ref() == Some(example);
            (!is_same || scalars(&written) != scalars(side.example))
                .then(|| format!("the example is written as {written}"))
        }
    }
}

fn members_are_known_in_any_case(side: &Side, example: &Value) -> Option<String> {
    [str::to_ascii_uppercase, str::to_ascii_lowercase].into_iter().find_map(|spell| {
        let written = side.again(&spelled(example, spell));
        (written.as_ref() != Ok(example))
            .then(|| format!("members in another case are not known: {written:?}"))
    })
}

fn unknown_members_survive_at_every_depth(side: &Side, example: &Value) -> Option<String> {
    let mut added = example.clone();
    for at in every_object(example) {
        let new = json!({"Deep": [1, null], "Text": "ü"});
        members(&mut added, &at)?.insert("AddedLater".into(), new);
    }
    let written = side.again(&added);
    (written.as_ref() != Ok(&added))
        .then(|| format!("members that the model does not know are lost (use Open): {written:?}"))
}

fn unknown_digits_are_kept(side: &Side, _: &Value) -> Option<String> {
    let kept = r#""AddedLater":[1.50,1e400,12345678901234567890.10]"#;
    let example = compact(side.example);
    let rest = example.strip_prefix('{')?;
    let comma = if rest == "}" { "" } else { "," };
    let written = side.rewritten(&format!("{{{kept}{comma}{rest}"));
    (!written.as_ref().is_ok_and(|written| written.contains(kept)))
        .then(|| format!("digits of unknown members change: {written:?}"))
}

fn what_is_not_required_may_be_null_or_missing(side: &Side, example: &Value) -> Option<String> {
    every_member(example).into_iter().find_map(|(at, key)| {
        let (mut null, mut missing) = (example.clone(), example.clone());
        members(&mut null, &at)?.insert(key.clone(), Value::Null);
        members(&mut missing, &at)?.shift_remove(&key);
        [null, missing].into_iter().find_map(|changed| match side.again(&changed) {
            Ok(written) if written == changed => None,
            Ok(written) => Some(format!("{at}/{key}: null or missing is written as {written}")),
            Err(_) if side.requires(&key) => None,
            Err(error) => Some(format!("{at}/{key} is not required, but {error}")),
        })
    })
}

fn an_id_may_be_a_number_or_a_string(side: &Side, example: &Value) -> Option<String> {
    let is_id = |key: &str| ["Id", "ID", "Number"].iter().any(|end| key.ends_with(end));
    every_member(example).into_iter().filter(|(_, key)| is_id(key)).find_map(|(at, key)| {
        let value = &example.pointer(&at)?[&key];
        if value.is_object() || value.is_array() {
            return None;
        }
        [json!(7), json!("7"), json!("AB-7")].into_iter().find_map(|id| {
            let mut changed = example.clone();
            members(&mut changed, &at)?.insert(key.clone(), id);
            let written = side.again(&changed);
            (written.as_ref() != Ok(&changed)).then(|| {
                format!("{at}/{key} must take a number and a string (use Id): {written:?}")
            })
        })
    })
}

/// JSON without whitespace between its parts; digits are unchanged.
fn compact(json: &str) -> String {
    let (mut is_quoted, mut is_escaped) = (false, false);
    json.chars()
        .filter(|&c| {
            if c == '"' && !is_escaped {
                is_quoted = !is_quoted;
            }
            is_escaped = c == '\\' && !is_escaped;
            is_quoted || !c.is_whitespace()
        })
        .collect()
}

/// The numbers and strings of a document, sorted, since fields may be serialized in another order.
fn scalars(json: &str) -> Vec<String> {
    let compact = compact(json);
    let mut parts: Vec<String> =
        compact.split([',', '{', '}', '[', ']']).map(str::to_owned).collect();
    parts.sort_unstable();
    parts
}

/// The document with every member's name respelled.
fn spelled(value: &Value, spell: fn(&str) -> String) -> Value {
    match value {
        Value::Object(members) => {
            members.iter().map(|(key, value)| (spell(key), spelled(value, spell))).collect()
        }
        Value::Array(items) => items.iter().map(|item| spelled(item, spell)).collect(),
        scalar => scalar.clone(),
    }
}

/// The JSON pointers of a document's objects, from the outermost on.
fn every_object(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect_objects(value, "", &mut found);
    found
}

fn collect_objects(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.push(at.to_owned());
            for (key, value) in members {
                collect_objects(value, &format!("{at}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect_objects(item, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

/// Every member of a document: the pointer of its object, and its name.
fn every_member(value: &Value) -> Vec<(String, String)> {
    let of = |at: String| {
        let names = value.pointer(&at).and_then(Value::as_object).into_iter().flat_map(Map::keys);
        names.map(|name| (at.clone(), name.clone())).collect::<Vec<_>>()
    };
    every_object(value).into_iter().flat_map(of).collect()
}

fn members<'v>(value: &'v mut Value, at: &str) -> Option<&'v mut Map<String, Value>> {
    value.pointer_mut(at)?.as_object_mut()
}
