//! Comparison of a body with its event's model, and the changes that would make the model fit.

use std::fmt::Write as _;

use contract::catalog::EventRow;
use contract::event::{DecodeError, NetDateTime};
use serde_json::{Map, Value};

use super::check::CheckVerdict::{Fail, Pass, Warn};
use super::remark::Remark;

/// The result of a comparison.
pub(super) struct ModelFit {
    pub(super) notes: Vec<Remark>,
    pub(super) diff: Option<String>,
}

pub(super) fn fit(row: &EventRow, body: &[u8], payload: &Value) -> ModelFit {
    let model = ModelSchema::of(row);
    let mut notes = Vec::new();
    let mut lines = String::new();
    match (row.check)(body) {
        Ok(unknown) => {
            for (name, value) in &unknown {
                model.add(&mut lines, name, value);
            }
            notes.push(match unknown.len() {
                0 => Remark::new(Pass, "the body is its model"),
                _ => {
                    Remark::new(Warn, format!("the model does not know {}", names(unknown.keys())))
                }
            });
        }
        Err(error) => {
            model.change(&mut lines, &error, payload);
            notes.push(Remark::new(Fail, format!("the body is not its model: {error}")));
        }
    }
    let absent: Vec<&String> = model.fields.keys().filter(|name| !has(payload, name)).collect();
    if !absent.is_empty() {
        notes.push(Remark::new(Pass, format!("not in the body: {}", names(absent.into_iter()))));
    }
    let diff = (!lines.is_empty()).then(|| format!(" pub struct {} {{\n{lines} }}\n", model.name));
    ModelFit { notes, diff }
}

fn names<'n>(names: impl Iterator<Item = &'n String>) -> String {
    names.map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn member<'v>(object: &'v Value, name: &str) -> Option<&'v Value> {
    let mut members = object.as_object()?.iter();
    members.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn has(object: &Value, name: &str) -> bool {
    member(object, name).is_some()
}

/// The schema of the model in the OpenAPI document, and its sample.
struct ModelSchema {
    name: String,
    fields: Map<String, Value>,
    required: Vec<String>,
    sample: Value,
}

impl ModelSchema {
    fn of(row: &EventRow) -> Self {
        let (name, schema) = (row.schema)();
        let mut schema = serde_json::to_value(schema).unwrap_or_default();
        let required = schema["required"].as_array().into_iter().flatten();
        ModelSchema {
            name,
            required: required.filter_map(|name| Some(name.as_str()?.to_owned())).collect(),
            fields: schema["properties"].as_object_mut().map(std::mem::take).unwrap_or_default(),
            sample: serde_json::from_str(row.example).unwrap_or_default(),
        }
    }

    /// Writes a line for a field that the model lacks.
    fn add(&self, lines: &mut String, name: &str, value: &Value) {
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "+    /// …");
        self.rename(lines, name);
        let _ = writeln!(lines, "+    pub {}: Option<{}>,", snake(name), kind(name, value));
    }

    /// Writes the lines for a field that has changed or is missing.
    fn change(&self, lines: &mut String, error: &DecodeError, payload: &Value) {
        let missing =
            error.message.strip_prefix("missing field `").map(|rest| rest.split('`').next());
        let name = match missing.flatten() {
            Some(name) => name,
            None => error.path.split(['.', '[']).next().unwrap_or_default(),
        };
        let Some(known) = self.fields.keys().find(|known| known.eq_ignore_ascii_case(name)) else {
            return;
        };
        let was = member(&self.sample, known).map_or_else(|| "…".to_owned(), |v| kind(known, v));
        let old = match self.required.contains(known) {
            true => was.clone(),
            false => format!("Option<{was}>"),
        };
        let new = member(payload, known).map_or(was, |value| kind(known, value));
        // A sender that has changed a field once may also omit it.
        let _ = writeln!(lines, "-    pub {}: {old},", snake(known));
        let _ = writeln!(lines, "+    pub {}: Option<{new}>,", snake(known));
    }

    fn rename(&self, lines: &mut String, name: &str) {
        let is_upper = |name: &String| name.starts_with(|c: char| c.is_ascii_uppercase());
        let is_pascal = self.fields.keys().next().is_some_and(is_upper);
        let derived = if is_pascal { pascal(&snake(name)) } else { snake(name) };
        if derived != name {
            let _ = writeln!(lines, "+    #[serde(rename = {name:?})]");
        }
    }
}

/// The Rust field name of a member: `OrderDateUTC` becomes `order_date_utc`.
fn snake(name: &str) -> String {
    let mut snake = String::new();
    let mut before = '_';
    for c in name.chars() {
        let is_start = c.is_ascii_uppercase() && before.is_ascii_lowercase();
        if is_start || (!c.is_ascii_alphanumeric() && before != '_') {
            snake.push('_');
        }
        if c.is_ascii_alphanumeric() {
            snake.push(c.to_ascii_lowercase());
        }
        before = if c.is_ascii_alphanumeric() { c } else { '_' };
    }
    snake
}

fn pascal(snake: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        let first = letters.next().map(|c| c.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    };
    snake.split('_').map(word).collect()
}

/// The Rust type for a value, by the rules of the README.
fn kind(name: &str, value: &Value) -> String {
    let is_id = name.to_ascii_lowercase().ends_with("id") || name.ends_with("Number");
    match value {
        Value::Bool(_) => "bool".into(),
        Value::Number(_) | Value::String(_) if is_id => "Id".into(),
        Value::Number(number) if number.is_f64() => "Money".into(),
        Value::Number(_) => "i64".into(),
        Value::String(text) if is_time(text) => "NetDateTime".into(),
        Value::String(_) => "String".into(),
        Value::Array(items) => {
            format!(
                "Vec<{}>",
                items.first().map_or("serde_json::Value".into(), |item| kind("", item))
            )
        }
        Value::Object(_) | Value::Null => "serde_json::Value".into(),
    }
}

fn is_time(text: &str) -> bool {
    text.len() >= 10 && serde_json::from_value::<NetDateTime>(text.into()).is_ok()
}

#[cfg(test)]
mod tests {
    use contract::catalog::Catalog;
    use contract::event::{Delivery, Outcome};
    use serde_json::json;
    use vendors::directscale::order::OrderEvent;

    use super::*;

    async fn placed(_: (), _: Delivery<OrderEvent>) -> Outcome {
        Ok(())
    }

    fn fitted(body: &Value) -> ModelFit {
        let table = Catalog::new().on(placed).table().unwrap();
        let row = table.event(contract::event::Dialect::DirectScale, 1, "OrderEvent").unwrap();
        fit(row, body.to_string().as_bytes(), body)
    }

    #[test]
    fn names_become_fields_and_values_types() {
        let names =
            [("OrderDateUtc", "order_date_utc"), ("SKU", "sku"), ("gift-note", "gift_note")];
        for (name, field) in names {
            assert_eq!(snake(name), field);
        }
        let kinds = [
            ("GiftId", json!(1), "Id"),
            ("Tax", json!(1.5), "Money"),
            ("Count", json!(1), "i64"),
            ("When", json!("2021-10-12T18:07:26.497Z"), "NetDateTime"),
            ("Note", json!("2021"), "String"),
            ("Lines", json!([{}]), "Vec<serde_json::Value>"),
        ];
        for (name, value, expected) in kinds {
            assert_eq!(kind(name, &value), expected, "{name}");
        }
    }

    #[test]
    fn unknown_fields_become_lines_to_add() {
        let fit = fitted(&json!({"OrderId": 1, "GiftNote": "x", "SKU": "y"}));
        let diff = fit.diff.unwrap();
        assert!(diff.contains("pub struct OrderEvent {"), "{diff}");
        assert!(diff.contains("+    pub gift_note: Option<String>,"), "{diff}");
        assert!(
            diff.contains("+    #[serde(rename = \"SKU\")]\n+    pub sku: Option<String>,"),
            "{diff}"
        );
        assert!(!diff.contains("rename = \"GiftNote\""), "{diff}");
        assert!(fit.notes[0].text.contains("GiftNote, SKU"), "{:?}", fit.notes);
        assert!(fit.notes[1].text.contains("OrderTotal"), "{:?}", fit.notes);
    }

    #[test]
    fn what_changed_or_is_missing_becomes_a_line_to_replace() {
        let changed = fitted(&json!({"OrderId": {"value": 1}}));
        let lines = "-    pub order_id: Id,\n+    pub order_id: Option<serde_json::Value>,\n";
        assert!(changed.diff.unwrap().contains(lines));
        let missing = fitted(&json!({"OrderTotal": 1.5}));
        let lines = "-    pub order_id: Id,\n+    pub order_id: Option<Id>,\n";
        assert!(missing.diff.as_ref().unwrap().contains(lines), "{:?}", missing.diff);
    }

    #[test]
    fn a_body_that_fits_needs_no_lines() {
        assert!(fitted(&json!({"OrderId": 1})).diff.is_none());
    }
}
