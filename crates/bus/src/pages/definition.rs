//! The form of a subscription: one table, from which the form is drawn and read.

use contract::event::{Dialect, Environment};
use maud::{Markup, html};
use serde_json::{Map, Value, json};

use super::super::SubscriptionView;
use super::super::retry_policy::RETRY_POLICIES;
use super::fields::FormFields;
use super::layout::{choice, field, text};

/// One field of the form: its name in the settings, and its presentation.
struct FormField {
    name: &'static str,
    label: &'static str,
    hint: &'static str,
    kind: FieldKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FieldKind {
    Text,
    Number,
    Check,
    Dialect,
    Environment,
    Retries,
    /// One entry a line.
    Lines,
    /// `name: value` a line. Values are write-only.
    Pairs,
    /// Write-only.
    Secret,
}

const fn row(
    name: &'static str,
    label: &'static str,
    kind: FieldKind,
    hint: &'static str,
) -> FormField {
    FormField { name, label, hint, kind }
}

const GROUPS: [(&str, &[FormField]); 4] = [
    (
        "Events and target",
        &[
            row(
                "target",
                "Target URL",
                FieldKind::Text,
                "A / at its end gets the event's name appended; {event} stands for the name.",
            ),
            row("description", "Description", FieldKind::Text, ""),
            row("events", "Events", FieldKind::Lines, "One a line; * stands for any text."),
            row("dialect", "Dialect", FieldKind::Dialect, ""),
            row(
                "source",
                "Source",
                FieldKind::Text,
                "Or the name of a source in the settings, whose sender is imitated.",
            ),
            row("environment", "Environment", FieldKind::Environment, ""),
            row("client_id", "Client id", FieldKind::Text, "The account in each delivery."),
            row("include_record", "Include the object record", FieldKind::Check, ""),
            row("enabled", "Enabled", FieldKind::Check, ""),
        ],
    ),
    (
        "Authentication",
        &[
            row("bearer_token", "Bearer key", FieldKind::Secret, ""),
            row("signing_key", "Signing key", FieldKind::Secret, ""),
            row("scheme", "Scheme", FieldKind::Text, "Only if it differs from the dialect's."),
            row(
                "headers",
                "Headers",
                FieldKind::Pairs,
                "One a line, as Name: value. A name without a value removes the header.",
            ),
            row("query", "Query parameters", FieldKind::Pairs, "One a line, as name: value."),
        ],
    ),
    (
        "Sending",
        &[
            row(
                "retries",
                "Retries",
                FieldKind::Retries,
                "A persona, or delays such as 10s, 5m, 1h. Empty for the dialect's.",
            ),
            row("timeout", "Timeout", FieldKind::Text, "Such as 30s. Empty for the persona's."),
            row("concurrency", "Concurrency", FieldKind::Number, ""),
            row("rate_limit", "Requests per second", FieldKind::Number, "Empty for no limit."),
            row("in_order", "Keep the order of events about the same object", FieldKind::Check, ""),
        ],
    ),
    (
        "Faults made on purpose",
        &[
            row("faults.delay", "Delay every attempt by", FieldKind::Text, "Such as 2s."),
            row(
                "faults.duplicate",
                "Share of duplicates",
                FieldKind::Number,
                "From 0 to 1, as all shares.",
            ),
            row("faults.reorder", "Share of reordered deliveries", FieldKind::Number, ""),
            row("faults.drop", "Share of lost responses", FieldKind::Number, ""),
            row("faults.truncate", "Share of truncated bodies", FieldKind::Number, ""),
            row("faults.tamper", "Share of tampered bodies", FieldKind::Number, ""),
            row("faults.burst", "Burst size", FieldKind::Number, ""),
        ],
    ),
];

fn rows() -> impl Iterator<Item = &'static FormField> {
    GROUPS.iter().flat_map(|(_, rows)| rows.iter())
}

/// The fields of a form for a new subscription.
pub(super) fn blank() -> FormFields {
    let mut fields = FormFields::default();
    for (name, text) in [("events", "*"), ("enabled", "on"), ("concurrency", "16")] {
        fields.set(name, text.to_owned());
    }
    fields
}

/// The fields of a form for an existing subscription: everything but secrets.
pub(super) fn form_of(view: &SubscriptionView) -> FormFields {
    let value = serde_json::to_value(view).unwrap_or_default();
    let mut fields = FormFields::default();
    for row in rows() {
        let path = format!("/{}", row.name.replace('.', "/"));
        match value.pointer(&path) {
            Some(Value::Bool(true)) => fields.set(row.name, "on".into()),
            Some(Value::String(text)) => fields.set(row.name, text.clone()),
            Some(Value::Number(number)) if number.as_f64() != Some(0.0) => {
                fields.set(row.name, number.to_string());
            }
            Some(Value::Array(lines)) if row.kind == FieldKind::Lines => {
                let lines: Vec<_> = lines.iter().filter_map(Value::as_str).collect();
                fields.set(row.name, lines.join("\n"));
            }
            _ => {}
        }
    }
    // Defaults of the dialect and the retry policy are not filled in.
    let (retries, timeout) = view.set.clone();
    fields.set("retries", retries.unwrap_or_default());
    fields.set(
        "timeout",
        timeout.map(|time| humantime::format_duration(time).to_string()).unwrap_or_default(),
    );
    fields
}

/// The patch of an existing subscription: the fields that differ from the form as it was view.
pub(super) fn change(form: &FormFields, view: &SubscriptionView) -> Value {
    let current = form_of(view);
    patch_of(rows().filter(|row| value(row, form) != value(row, &current)), form)
}

/// The values of all fields.
fn patch(form: &FormFields) -> Value {
    patch_of(rows(), form)
}

fn patch_of<'r>(rows: impl Iterator<Item = &'r FormField>, form: &FormFields) -> Value {
    let mut patch = Map::new();
    for row in rows {
        let Some(value) = value(row, form) else { continue };
        match row.name.split_once('.') {
            None => drop(patch.insert(row.name.to_owned(), value)),
            Some((outer, inner)) => {
                let within = patch.entry(outer).or_insert_with(|| json!({}));
                within[inner] = value;
            }
        }
    }
    Value::Object(patch)
}

/// The definition in a form, without its empty fields.
pub(super) fn whole(form: &FormFields) -> Value {
    let mut definition = patch(form);
    leave_out_nulls(&mut definition);
    definition
}

fn leave_out_nulls(value: &mut Value) {
    if let Value::Object(members) = value {
        members.retain(|_, member| !member.is_null());
        members.values_mut().for_each(leave_out_nulls);
    }
}

/// The new value of a field; none if it is unchanged.
fn value(row: &FormField, form: &FormFields) -> Option<Value> {
    let text = form.get(row.name);
    match row.kind {
        FieldKind::Check => Some((text == "on").into()),
        FieldKind::Secret | FieldKind::Pairs if text.is_empty() => {
            (form.get(&format!("forget.{}", row.name)) == "on").then_some(Value::Null)
        }
        FieldKind::Secret => Some(text.into()),
        FieldKind::Pairs => Some(pairs(text)),
        FieldKind::Lines => Some(lines(text).collect()),
        _ if text.is_empty() => Some(Value::Null),
        FieldKind::Number => Some(number(text)),
        _ => Some(text.into()),
    }
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split(['\n', ',']).map(str::trim).filter(|line| !line.is_empty())
}

fn pairs(text: &str) -> Value {
    let pair = |line: &str| {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.trim();
        let value = if value.is_empty() { Value::Null } else { value.into() };
        (name.trim().to_owned(), value)
    };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Value::Object(lines.map(pair).collect())
}

/// Parses a number; other text is left for the settings to refuse.
fn number(text: &str) -> Value {
    serde_json::from_str::<serde_json::Number>(text).map_or_else(|_| text.into(), Value::Number)
}

/// The inputs of the form.
pub(super) fn inputs(form: &FormFields, view: Option<&SubscriptionView>) -> Markup {
    html! {
        @for (title, rows) in &GROUPS {
            fieldset {
                legend { (title) }
                div.fields { @for row in *rows { (input(row, form, view)) } }
            }
        }
    }
}

fn input(row: &FormField, form: &FormFields, view: Option<&SubscriptionView>) -> Markup {
    let FormField { name, label, hint, kind } = *row;
    let value = form.get(name);
    match kind {
        FieldKind::Check => html! {
            div.check {
                input type="checkbox" id=(name) name=(name) value="on" checked[value == "on"];
                label for=(name) { (label) }
            }
        },
        FieldKind::Dialect => {
            let names: Vec<_> = Dialect::ALL.iter().map(|dialect| dialect.as_str()).collect();
            choice(name, label, None, &names, value)
        }
        FieldKind::Environment => {
            let names = [Environment::Live, Environment::Stage].map(|world| world.as_str());
            choice(name, label, None, &names, value)
        }
        FieldKind::Retries => field(
            name,
            label,
            hint,
            html! {
                input type="text" id=(name) name=(name) value=(value) list="personas" autocomplete="off" aria-describedby={ (name) "-hint" };
                datalist id="personas" { @for persona in RETRY_POLICIES { option value=(persona.name) {} } }
            },
        ),
        FieldKind::Lines => field(
            name,
            label,
            hint,
            html! {
                textarea id=(name) name=(name) rows="3" aria-describedby={ (name) "-hint" } { (value) }
            },
        ),
        FieldKind::Secret | FieldKind::Pairs => secret(row, view),
        FieldKind::Text | FieldKind::Number => text(name, label, hint, value),
    }
}

fn secret(row: &FormField, view: Option<&SubscriptionView>) -> Markup {
    let FormField { name, label, hint, kind } = *row;
    let stored = view.and_then(|view| match name {
        "bearer_token" => view.keys.bearer.clone(),
        "signing_key" => view.keys.signing.clone(),
        "headers" => names(&view.headers),
        "query" => names(&view.query),
        _ => None,
    });
    let forget = format!("forget.{name}");
    html! {
        div {
            (field(name, label, hint, html! {
                @if kind == FieldKind::Pairs {
                    textarea id=(name) name=(name) rows="3" autocomplete="off" aria-describedby={ (name) "-hint" } {}
                } @else {
                    input type="password" id=(name) name=(name) autocomplete="new-password";
                }
            }))
            @if let Some(stored) = stored {
                p.hint { "Stored: " code { (stored) } ". Leave empty to keep it." }
                div.check {
                    input type="checkbox" id=(forget) name=(forget) value="on";
                    label for=(forget) { "Delete it" }
                }
            }
        }
    }
}

fn names(names: &[String]) -> Option<String> {
    (!names.is_empty()).then(|| names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_becomes_the_words_of_the_settings() {
        let form = b"target=https://x.test/&events=Order*%0D%0AStock,%20Daily&dialect=directscale&environment=live&enabled=on\
            &concurrency=4&rate_limit=0.5&headers=X-A:%20b%3Ac%0D%0AX-Old&faults.drop=0.25&faults.delay=2s";
        let patch = patch(&FormFields::read(form).unwrap());
        assert_eq!(patch["events"], json!(["Order*", "Stock", "Daily"]));
        assert_eq!(patch["headers"], json!({"X-A": "b:c", "X-Old": null}));
        assert_eq!((&patch["concurrency"], &patch["rate_limit"]), (&json!(4), &json!(0.5)));
        assert_eq!((&patch["enabled"], &patch["in_order"]), (&json!(true), &json!(false)));
        assert_eq!(patch["faults"]["drop"], 0.25);
        assert_eq!(patch["faults"]["tamper"], Value::Null);
        assert_eq!(patch["client_id"], Value::Null);
    }

    fn view_of(definition: Value) -> SubscriptionView {
        let config = serde_json::from_value(definition).unwrap();
        super::super::super::subscription::Subscription::new("one", config, &Default::default())
            .unwrap()
            .view()
    }

    #[test]
    fn a_form_that_is_saved_as_it_was_shown_changes_nothing() {
        for definition in [
            json!({"events": "*", "target": "https://x.test/"}),
            json!({"events": ["A", "b*"], "target": "https://x.test/", "dialect": "stripe", "enabled": false, "in_order": true}),
            json!({"events": "*", "target": "https://x.test/", "retries": "directscale", "timeout": "60s", "rate_limit": 0.5}),
            json!({"events": "*", "target": "https://x.test/", "retries": "1s, 2m", "faults": {"delay": "2s", "drop": 0.25, "burst": 3}}),
        ] {
            let view = view_of(definition);
            assert_eq!(change(&form_of(&view), &view), json!({}));
        }
    }

    #[test]
    fn another_dialect_brings_its_own_retries_unless_they_were_set() {
        let view = view_of(json!({"events": "*", "target": "https://x.test/", "timeout": "5s"}));
        let mut form = form_of(&view);
        assert_eq!((form.get("retries"), form.get("timeout")), ("", "5s"));
        form.set("dialect", "stripe".into());
        form.set("timeout", String::new());
        assert_eq!(change(&form, &view), json!({"dialect": "stripe", "timeout": null}));
    }

    #[test]
    fn a_new_definition_has_only_what_was_filled_in() {
        let whole =
            whole(&FormFields::read(b"target=https://x.test/&events=*&enabled=on").unwrap());
        let expected = json!({
            "target": "https://x.test/", "events": ["*"], "include_record": false, "enabled": true, "in_order": false,
            "faults": {},
        });
        assert_eq!(whole, expected);
    }

    #[test]
    fn an_empty_secret_stays_unless_it_is_to_be_forgotten() {
        let of = |form: &[u8]| patch(&FormFields::read(form).unwrap());
        assert_eq!(of(b"bearer_token=").get("bearer_token"), None);
        assert_eq!(of(b"bearer_token=k").get("bearer_token"), Some(&json!("k")));
        assert_eq!(of(b"forget.bearer_token=on").get("bearer_token"), Some(&Value::Null));
        assert_eq!(of(b"headers=").get("headers"), None);
    }
}
