//! The form of a subscription: one table, from which the form is drawn, checked and read.

use ::pages::{FormError, FormFields, check as check_box, choice, copyable};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use contract::event::{Dialect, Environment};
use emitter::send_as::SigningMethod;
use maud::{Markup, html};
use serde_json::{Map, Value, json};
use signature::{KeyFormat, schemes};

use super::words::sentence;
use crate::retry_policy::{RETRY_POLICIES, RetryPolicy};
use crate::{BusError, EventTypes, SubscriptionView};

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
    /// A whole number from 1 to 1024.
    Count,
    Number,
    /// From 0 to 1.
    Share,
    /// A length of time.
    Time,
    Check,
    Dialect,
    Environment,
    Scheme,
    Retries,
    /// Check boxes of the catalog's events, and patterns one a line.
    Events,
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

/// A group of fields; a folded one is open if one of its fields is set or wrong.
struct Group {
    title: &'static str,
    is_folded: bool,
    rows: &'static [FormField],
}

const GROUPS: [Group; 6] = [
    Group {
        title: "Target",
        is_folded: false,
        rows: &[
            row(
                "target",
                "Target URL",
                FieldKind::Text,
                "A / at its end gets the event's name appended; {event} stands for the name.",
            ),
            row("description", "Description", FieldKind::Text, ""),
            row("dialect", "Dialect", FieldKind::Dialect, ""),
            row("environment", "Environment", FieldKind::Environment, ""),
            row("enabled", "Enabled", FieldKind::Check, ""),
        ],
    },
    Group {
        title: "Events",
        is_folded: false,
        rows: &[row(
            "events",
            "Other names or patterns",
            FieldKind::Events,
            "One a line; * stands for any text.",
        )],
    },
    Group {
        title: "Authentication",
        is_folded: false,
        rows: &[
            row("bearer_token", "Bearer key", FieldKind::Secret, ""),
            row("signing_key", "Signing key", FieldKind::Secret, ""),
            row(
                "headers",
                "Headers",
                FieldKind::Pairs,
                "One a line, as Name: value. A name without a value removes the header.",
            ),
            row("query", "Query parameters", FieldKind::Pairs, "One a line, as name: value."),
        ],
    },
    Group {
        title: "Format of deliveries",
        is_folded: true,
        rows: &[
            row(
                "scheme",
                "Signature scheme",
                FieldKind::Scheme,
                "Only if it differs from the dialect's.",
            ),
            row(
                "source",
                "Source",
                FieldKind::Text,
                "In place of a dialect: a source of the settings, whose sender is imitated.",
            ),
            row("client_id", "Client id", FieldKind::Text, "The account in each delivery."),
            row("include_record", "Include the object record", FieldKind::Check, ""),
        ],
    },
    Group {
        title: "Retries and limits",
        is_folded: true,
        rows: &[
            row(
                "retries",
                "Retries",
                FieldKind::Retries,
                "A known sender's name, or delays such as 10s, 5m, 1h. Empty for the dialect's.",
            ),
            row(
                "timeout",
                "Timeout",
                FieldKind::Time,
                "Such as 30s. Empty for that of the retries.",
            ),
            row("concurrency", "Requests at once", FieldKind::Count, "From 1 to 1024."),
            row("rate_limit", "Requests per second", FieldKind::Number, "Empty for no limit."),
            row("in_order", "Keep the order of events about the same object", FieldKind::Check, ""),
        ],
    },
    Group {
        title: "Faults, made on purpose for tests",
        is_folded: true,
        rows: &[
            row("faults.delay", "Delay every attempt by", FieldKind::Time, "Such as 2s."),
            row(
                "faults.duplicate",
                "Share of duplicates",
                FieldKind::Share,
                "From 0 to 1, as all shares.",
            ),
            row("faults.reorder", "Share of reordered deliveries", FieldKind::Share, ""),
            row("faults.drop", "Share of lost responses", FieldKind::Share, ""),
            row("faults.truncate", "Share of truncated bodies", FieldKind::Share, ""),
            row("faults.tamper", "Share of tampered bodies", FieldKind::Share, ""),
            row("faults.burst", "Burst size", FieldKind::Number, ""),
        ],
    },
];

/// The names of the fields that list secrets to be entered again, and the catalog's events that are ticked.
const AGAIN: &str = "again";
const TICKED: &str = "event";

/// Characters that stand for other text elsewhere, and here only for themselves.
const ELSEWHERE: &[char] = &['[', ']', '{', '}', '?', '!', '|', '^', '$', '\\', '(', ')'];

fn rows() -> impl Iterator<Item = &'static FormField> {
    GROUPS.iter().flat_map(|group| group.rows.iter())
}

/// The fields of a form for a new subscription.
pub(super) fn blank() -> FormFields {
    let mut fields = FormFields::default();
    for (name, text) in [("events", "*"), ("enabled", "on"), ("concurrency", "16")] {
        fields.set(name, text);
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
            Some(Value::Bool(true)) => fields.set(row.name, "on"),
            Some(Value::String(text)) if !text.is_empty() => fields.set(row.name, text.clone()),
            Some(Value::Number(number)) if number.as_f64() != Some(0.0) => {
                fields.set(row.name, number.to_string());
            }
            Some(Value::Array(lines)) if row.kind == FieldKind::Events => {
                let lines: Vec<_> = lines.iter().filter_map(Value::as_str).collect();
                fields.set(row.name, lines.join("\n"));
            }
            _ => {}
        }
    }
    // Defaults of the dialect and the retry policy are not filled in.
    let (retries, timeout) = view.set.clone();
    let timeout = timeout.map(|time| humantime::format_duration(time).to_string());
    for (name, text) in [("retries", retries), ("timeout", timeout)] {
        fields.remove(name);
        if let Some(text) = text {
            fields.set(name, text);
        }
    }
    fields
}

/// The patch of an existing subscription: the fields that differ from the form as it was shown.
pub(super) fn change(form: &FormFields, view: &SubscriptionView) -> Value {
    let current = form_of(view);
    let differs = |row: &&FormField| match row.kind {
        FieldKind::Events => sorted(patterns(form)) != sorted(patterns(&current)),
        _ => value(row, form) != value(row, &current),
    };
    patch_of(rows().filter(differs), form)
}

fn sorted(mut patterns: Vec<String>) -> Vec<String> {
    patterns.sort();
    patterns
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
        FieldKind::Check => Some(form.is_on(row.name).into()),
        FieldKind::Events => Some(patterns(form).into()),
        FieldKind::Secret | FieldKind::Pairs if text.is_empty() => {
            form.is_on(&forget(row.name)).then_some(Value::Null)
        }
        FieldKind::Secret => Some(text.into()),
        FieldKind::Pairs => Some(pairs(text)),
        _ if text.is_empty() => Some(Value::Null),
        FieldKind::Number | FieldKind::Share | FieldKind::Count => Some(number(text)),
        _ => Some(text.into()),
    }
}

fn forget(name: &str) -> String {
    format!("forget.{name}")
}

fn generate(name: &str) -> String {
    format!("generate.{name}")
}

/// The patterns of a form: the events that are ticked, and the lines.
fn patterns(form: &FormFields) -> Vec<String> {
    let mut patterns: Vec<String> = Vec::new();
    let lines =
        form.get("events").split(['\n', ',']).map(str::trim).filter(|line| !line.is_empty());
    for pattern in form.all(TICKED).chain(lines) {
        if !patterns.iter().any(|known| known == pattern) {
            patterns.push(pattern.to_owned());
        }
    }
    patterns
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

/// The errors of a form that show without the bus, in the order of its fields.
pub(super) fn errors(form: &FormFields, is_new: bool) -> Vec<FormError> {
    let mut errors = Vec::new();
    if is_new && form.get("name").is_empty() {
        errors.push(FormError::new("name", "Name: give the subscription one."));
    }
    for row in rows() {
        let reason = match wrong(row, form) {
            Some(reason) => reason,
            None if is_missing_again(row, form) => {
                "enter it once more: a form that is sent back never has what is secret".to_owned()
            }
            None => continue,
        };
        errors.push(FormError::new(row.name, format!("{}: {reason}.", label(row))));
    }
    errors
}

fn label(row: &FormField) -> &'static str {
    if row.kind == FieldKind::Events { "Events" } else { row.label }
}

fn wrong(row: &FormField, form: &FormFields) -> Option<String> {
    let text = form.get(row.name);
    if row.name == "target" && text.is_empty() {
        return Some("write the URL to which events are posted".to_owned());
    }
    if row.kind == FieldKind::Events {
        return wrong_pattern(&patterns(form));
    }
    if text.is_empty() {
        return None;
    }
    let within = |least: f64, most: f64| {
        text.parse().is_ok_and(|number: f64| (least..=most).contains(&number))
    };
    match row.kind {
        FieldKind::Time if humantime::parse_duration(text).is_err() => {
            Some(format!("{text:?} is no time with its unit; write for example 30s or 2m"))
        }
        FieldKind::Share if !within(0.0, 1.0) => {
            Some(format!("{text:?} is no share; write a number from 0 to 1"))
        }
        FieldKind::Count if !text.parse().is_ok_and(|number: u16| (1..=1024).contains(&number)) => {
            Some(format!("{text:?} is no whole number from 1 to 1024"))
        }
        FieldKind::Number if !within(0.0, 1e6) => Some(format!("{text:?} is no number")),
        FieldKind::Retries => text.parse::<RetryPolicy>().err().map(|error| error.to_string()),
        _ => None,
    }
}

fn wrong_pattern(patterns: &[String]) -> Option<String> {
    if patterns.is_empty() {
        return Some("tick at least one, or write a pattern; * stands for all".to_owned());
    }
    let strange =
        |pattern: &&String| pattern.contains(ELSEWHERE) || pattern.chars().any(char::is_control);
    let found = patterns.iter().find(strange)?;
    let sign = found.chars().find(|c| ELSEWHERE.contains(c) || c.is_control()).unwrap_or_default();
    Some(format!(
        "{found:?} is no pattern: only * stands for other text, and {sign:?} is in no event's name"
    ))
}

/// True if a secret had to be entered again, and is not.
fn is_missing_again(row: &FormField, form: &FormFields) -> bool {
    let is_given = !form.get(row.name).is_empty()
        || form.is_on(&generate(row.name))
        || form.is_on(&forget(row.name));
    form.all(AGAIN).any(|name| name == row.name) && !is_given
}

/// True if a secret was typed into a form that is sent back, and so is lost.
fn is_emptied(row: &FormField, form: &FormFields) -> bool {
    let is_secret = matches!(row.kind, FieldKind::Secret | FieldKind::Pairs);
    is_secret && (!form.get(row.name).is_empty() || is_missing_again(row, form))
}

/// The error of the bus as that of its field, in the words of the form.
pub(super) fn of_bus(error: &str) -> FormError {
    if error.contains("is no name") || error.contains("there is a subscription") {
        return FormError::new("name", format!("Name: {error}."));
    }
    let first = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.');
    let name = error.split(first).next().unwrap_or_default();
    match rows().find(|row| row.name == name) {
        Some(row) => {
            let rest = error[name.len()..].trim_start_matches([':', ' ']);
            FormError::new(row.name, sentence(&format!("{}: {rest}", label(row))))
        }
        None => FormError::new("", sentence(error)),
    }
}

/// A key that the bus made, to be shown once.
pub(super) struct Generated {
    label: &'static str,
    pub(super) key: String,
}

impl Generated {
    /// A bearer key.
    fn bearer() -> Result<Self, BusError> {
        Ok(Generated { label: "Bearer key", key: hexadecimal(&random()?) })
    }

    /// A signing key in the format of a scheme.
    pub(super) fn signing(scheme: &str) -> Result<Self, BusError> {
        let bytes = random()?;
        let formats = match SigningMethod::named(scheme) {
            Some(SigningMethod::Scheme(scheme)) => {
                scheme.kinds.iter().map(|kind| kind.key.clone()).collect()
            }
            Some(_) => vec![KeyFormat::Text],
            None => Vec::new(),
        };
        let written = |format: &KeyFormat| match format {
            KeyFormat::Text | KeyFormat::Hex => Some(hexadecimal(&bytes)),
            KeyFormat::Base64 { prefix } => {
                Some(format!("{prefix}{}", BASE64_STANDARD.encode(bytes)))
            }
            KeyFormat::Pair { secret, .. } => {
                Some(format!("{secret}{}", BASE64_STANDARD.encode(bytes)))
            }
            KeyFormat::Document => None,
        };
        match formats.iter().find_map(written) {
            Some(key) => Ok(Generated { label: "Signing key", key }),
            None => Err(BusError::Invalid(format!(
                "signing_key: for {scheme} none can be generated here; enter one that was made elsewhere"
            ))),
        }
    }
}

fn random() -> Result<[u8; 32], BusError> {
    let mut bytes = [0; 32];
    let failed =
        |error| BusError::Unavailable(format!("the system gives no random bytes: {error}"));
    getrandom::fill(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Generates the keys for which the form asks, and fills them in.
pub(super) fn generate_keys(form: &mut FormFields) -> Result<Vec<Generated>, BusError> {
    let mut generated = Vec::new();
    if form.is_on(&generate("bearer_token")) {
        let key = Generated::bearer()?;
        form.set("bearer_token", key.key.clone());
        generated.push(key);
    }
    if form.is_on(&generate("signing_key")) {
        let scheme = form.some("scheme").unwrap_or_else(|| form.get("dialect").to_owned());
        let key = Generated::signing(&scheme)?;
        form.set("signing_key", key.key.clone());
        generated.push(key);
    }
    Ok(generated)
}

/// The keys that were generated, for the one time that they are shown.
pub(super) fn shown_once(keys: &[Generated]) -> Markup {
    html! {
        @for Generated { label, key } in keys {
            div.banner role="status" {
                p { strong { (label) } ", shown this once: enter it at the target now." }
                p.secret { (copyable(key)) }
            }
        }
    }
}

/// The inputs of the form. Where something is wrong, typed secrets have to be entered again.
pub(super) fn inputs(
    form: &FormFields,
    view: Option<&SubscriptionView>,
    wrong: &[FormError],
    types: &EventTypes,
) -> Markup {
    let drawer = Drawer { form, view, wrong, types };
    html! {
        @for row in rows() {
            @if !wrong.is_empty() && is_emptied(row, form) { (::pages::hidden(AGAIN, row.name)) }
        }
        @for group in &GROUPS { (drawer.group(group)) }
    }
}

/// Data of a form to be drawn.
struct Drawer<'f> {
    form: &'f FormFields,
    view: Option<&'f SubscriptionView>,
    wrong: &'f [FormError],
    types: &'f EventTypes,
}

impl Drawer<'_> {
    fn group(&self, group: &Group) -> Markup {
        let inputs = html! { div.fields { @for row in group.rows { (self.input(row)) } } };
        let default = blank();
        let is_open = group.rows.iter().any(|row| {
            self.form.get(row.name) != default.get(row.name)
                || self.wrong.iter().any(|error| error.field == row.name)
        });
        html! {
            @if group.is_folded { details.group open[is_open] { summary { (group.title) } (inputs) } }
            @else { fieldset { legend { (group.title) } (inputs) } }
        }
    }

    fn input(&self, row: &FormField) -> Markup {
        let FormField { name, label, hint, kind } = *row;
        let value = self.form.get(name);
        let control = |kind| control(self.form, self.wrong, name, label, hint, kind);
        match kind {
            FieldKind::Check => check_box(name, label, self.form.is_on(name)),
            FieldKind::Dialect => {
                let names: Vec<_> = Dialect::ALL
                    .iter()
                    .map(|dialect| (dialect.as_str(), dialect.as_str()))
                    .collect();
                choice(name, label, None, &names, value)
            }
            FieldKind::Environment => {
                let names = [Environment::Live, Environment::Stage]
                    .map(|world| (world.as_str(), world.as_str()));
                choice(name, label, None, &names, value)
            }
            FieldKind::Retries => control(Control::Suggested {
                options: RETRY_POLICIES.iter().map(|policy| policy.name.to_owned()).collect(),
                is_required: false,
            }),
            FieldKind::Scheme => control(Control::Suggested {
                options: schemes().iter().map(|scheme| scheme.name.clone()).collect(),
                is_required: false,
            }),
            FieldKind::Events => self.picker(row),
            FieldKind::Secret | FieldKind::Pairs => self.secret(row),
            FieldKind::Text if name == "target" => {
                html! { div.wide { (control(Control::Line { is_required: true })) } }
            }
            FieldKind::Text
            | FieldKind::Number
            | FieldKind::Share
            | FieldKind::Count
            | FieldKind::Time => control(Control::Line { is_required: false }),
        }
    }

    /// Check boxes for the events of the catalog, and the other patterns as lines.
    fn picker(&self, row: &FormField) -> Markup {
        let patterns = patterns(self.form);
        let is_ticked =
            |name: &str| patterns.iter().any(|pattern| pattern.eq_ignore_ascii_case(name));
        let is_listed = |pattern: &str| {
            pattern == "*" || self.types.iter().any(|kind| kind.name.eq_ignore_ascii_case(pattern))
        };
        let others: Vec<_> =
            patterns.iter().map(String::as_str).filter(|pattern| !is_listed(pattern)).collect();
        let mut shown = self.form.clone();
        shown.set(row.name, others.join("\n"));
        let ticked = self.types.iter().filter(|kind| is_ticked(kind.name)).count();
        let tick = |value: &str, label: &str| {
            let id = format!("{TICKED}.{value}");
            html! {
                div.check {
                    input type="checkbox" id=(id) name=(TICKED) value=(value) checked[is_ticked(value)];
                    label for=(id) { (label) }
                }
            }
        };
        html! {
            div.wide {
                (tick("*", "All events, those to come included"))
                details open[ticked > 0] {
                    summary { "Choose from the catalog" @if ticked > 0 { " (" (ticked) " chosen)" } }
                    div.picker role="group" aria-label="Events of the catalog" tabindex="0" {
                        @for kind in self.types.iter() { (tick(kind.name, kind.name)) }
                    }
                }
            }
            div.wide { (control(&shown, self.wrong, row.name, row.label, row.hint, Control::Lines(2))) }
        }
    }

    fn secret(&self, row: &FormField) -> Markup {
        let FormField { name, label, hint, kind } = *row;
        let stored = self.view.and_then(|view| match name {
            "bearer_token" => view.keys.bearer.clone(),
            "signing_key" => view.keys.signing.clone(),
            "headers" => names(&view.headers),
            "query" => names(&view.query),
            _ => None,
        });
        let is_emptied = !self.wrong.is_empty() && is_emptied(row, self.form);
        let control = control(
            self.form,
            self.wrong,
            name,
            label,
            hint,
            if kind == FieldKind::Pairs {
                Control::Pairs { is_emptied }
            } else {
                Control::Secret { is_emptied }
            },
        );
        html! {
            div class=[(kind == FieldKind::Pairs).then_some("wide")] {
                (control)
                @if let Some(stored) = stored.filter(|_| !is_emptied) {
                    p.hint { "Stored: " code { (stored) } ". Leave empty to keep it." }
                    (check_box(&forget(name), "Delete it", self.form.is_on(&forget(name))))
                }
                @if kind == FieldKind::Secret && !is_emptied {
                    (check_box(&generate(name), "Generate a strong key, and show it once", self.form.is_on(&generate(name))))
                }
            }
        }
    }
}

fn names(names: &[String]) -> Option<String> {
    (!names.is_empty()).then(|| names.join(", "))
}

/// The kind of an input.
pub(super) enum Control {
    Line {
        is_required: bool,
    },
    Suggested {
        options: Vec<String>,
        is_required: bool,
    },
    /// Several lines, at first so many.
    Lines(u8),
    /// A key, which is never filled in; one that was typed into a form that is sent back has to be entered again.
    Secret {
        is_emptied: bool,
    },
    /// Lines of a name and a secret.
    Pairs {
        is_emptied: bool,
    },
}

/// A labelled input, with what is wrong about it.
pub(super) fn control(
    form: &FormFields,
    wrong: &[FormError],
    name: &str,
    label: &str,
    hint: &str,
    kind: Control,
) -> Markup {
    let value = form.get(name);
    let is_emptied =
        matches!(kind, Control::Secret { is_emptied: true } | Control::Pairs { is_emptied: true });
    let error = wrong.iter().find(|error| error.field == name).map(|error| error.reason.as_str());
    let error = error.or(is_emptied
        .then_some("Enter this once more: a form that is sent back never has what is secret."));
    let described: Vec<_> = [(!hint.is_empty(), "hint"), (error.is_some(), "error")]
        .iter()
        .filter(|(is_there, _)| *is_there)
        .map(|(_, part)| format!("{name}-{part}"))
        .collect();
    let described = (!described.is_empty()).then(|| described.join(" "));
    let invalid = error.map(|_| "true");
    let list = format!("{name}-list");
    html! {
        div.field {
            label for=(name) { (label) }
            @match &kind {
                Control::Line { is_required } => input type="text" id=(name) name=(name) value=(value) autocomplete="off"
                    required[*is_required] aria-invalid=[invalid] aria-describedby=[described];,
                Control::Suggested { options, is_required } => {
                    input type="text" id=(name) name=(name) value=(value) list=(list) autocomplete="off"
                        required[*is_required] aria-invalid=[invalid] aria-describedby=[described];
                    datalist id=(list) { @for option in options { option value=(option) {} } }
                },
                Control::Lines(rows) => textarea id=(name) name=(name) rows=(rows) aria-invalid=[invalid]
                    aria-describedby=[described] { (value) },
                Control::Secret { is_emptied } => input type="password" id=(name) name=(name) autocomplete="new-password"
                    required[*is_emptied] aria-invalid=[invalid] aria-describedby=[described];,
                Control::Pairs { is_emptied } => textarea id=(name) name=(name) rows="3" autocomplete="off"
                    required[*is_emptied] aria-invalid=[invalid] aria-describedby=[described] {},
            }
            @if let Some(error) = error { p.wrong id={ (name) "-error" } { (error) } }
            @if !hint.is_empty() { p.hint id={ (name) "-hint" } { (hint) } }
        }
    }
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
        crate::subscription::Subscription::new("one", config, &Default::default()).unwrap().view()
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
    fn ticked_events_and_patterns_are_one_list_whose_order_does_not_matter() {
        let view = view_of(json!({"events": ["b*", "A"], "target": "https://x.test/"}));
        let mut form = form_of(&view);
        form.remove("events");
        let ticked =
            FormFields::read(format!("{}&event=A&events=b*", form.query()).as_bytes()).unwrap();
        assert_eq!(change(&ticked, &view), json!({}));
        let more =
            FormFields::read(format!("{}&event=A&event=C&events=b*", form.query()).as_bytes())
                .unwrap();
        assert_eq!(change(&more, &view), json!({"events": ["A", "C", "b*"]}));
    }

    #[test]
    fn all_that_is_wrong_is_named_at_once() {
        let form = FormFields::read(
            b"events=Bad[Glob&timeout=30&concurrency=0&faults.drop=2&retries=soon",
        )
        .unwrap();
        let fields: Vec<_> = errors(&form, true).into_iter().map(|error| error.field).collect();
        assert_eq!(
            fields,
            ["name", "target", "events", "retries", "timeout", "concurrency", "faults.drop"]
        );
        let fine = FormFields::read(
            b"name=a&target=x&events=a*&timeout=30s&concurrency=7&faults.drop=0.5",
        )
        .unwrap();
        assert_eq!(errors(&fine, true), []);
    }

    #[test]
    fn an_error_of_the_bus_is_that_of_its_field_in_the_words_of_the_form() {
        let error = of_bus("target: 10.0.0.5 is a private address");
        assert_eq!(
            (error.field.as_str(), error.reason.as_str()),
            ("target", "Target URL: 10.0.0.5 is a private address.")
        );
        assert_eq!(of_bus("there is a subscription a already").field, "name");
        assert_eq!(of_bus("something else").field, "");
    }

    #[test]
    fn a_secret_that_was_asked_for_again_has_to_be_there() {
        let of = |form: &str| {
            let form = FormFields::read(format!("target=x&events=*&{form}").as_bytes()).unwrap();
            errors(&form, false).into_iter().map(|error| error.field).collect::<Vec<_>>()
        };
        assert_eq!(of("again=bearer_token&again=headers"), ["bearer_token", "headers"]);
        assert_eq!(
            of("again=bearer_token&bearer_token=k&again=headers&forget.headers=on"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_generated_key_fits_its_scheme() {
        for dialect in ["standard-webhooks", "stripe", "github", "shopify"] {
            let key = Generated::signing(dialect).unwrap().key;
            view_of(
                json!({"events": "*", "target": "https://x.test/", "dialect": dialect, "signing_key": key}),
            );
        }
        assert_ne!(Generated::bearer().unwrap().key, Generated::bearer().unwrap().key);
    }

    #[test]
    fn another_dialect_brings_its_own_retries_unless_they_were_set() {
        let view = view_of(json!({"events": "*", "target": "https://x.test/", "timeout": "5s"}));
        let mut form = form_of(&view);
        assert_eq!((form.get("retries"), form.get("timeout")), ("", "5s"));
        form.set("dialect", "stripe");
        form.remove("timeout");
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
