//! The layout of all pages, and their parts.

use axum::response::Html;
use contract::time::Timestamp;
use maud::{DOCTYPE, Markup, html};
use serde_json::value::RawValue;

use super::fields::FormFields;

/// The section of the site that a page belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tab {
    Subscriptions,
    Events,
    Attempts,
    Resend,
    None,
}

const TABS: [(Tab, &str, &str); 4] = [
    (Tab::Subscriptions, "/admin/subscriptions", "Subscriptions"),
    (Tab::Events, "/admin/events", "Events"),
    (Tab::Attempts, "/admin/attempts", "Attempts"),
    (Tab::Resend, "/admin/resend", "Send again"),
];

/// The number of rows on a page.
pub(super) const PAGE: usize = 50;

/// A whole page.
pub(super) fn page(title: &str, tab: Tab, body: Markup) -> Html<String> {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Event bus" }
                link rel="stylesheet" href="/admin/style.css";
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                header {
                    p.brand { "Event bus" }
                    nav aria-label="Main" {
                        @for (its, href, name) in TABS {
                            a href=(href) aria-current=[(its == tab).then_some("page")] { (name) }
                        }
                        a href="/swagger/" { "API" }
                    }
                }
                main id="content" tabindex="-1" {
                    h1 { (title) }
                    (body)
                }
            }
        }
    };
    Html(markup.into_string())
}

/// The confirmation of the last action, by the code in the query.
pub(super) fn note(query: &FormFields) -> Markup {
    const NOTES: [(&str, &str); 8] = [
        ("created", "The subscription is created."),
        ("changed", "The subscription is changed."),
        ("removed", "The subscription is removed; its waiting deliveries are cancelled."),
        ("paused", "The subscription is paused: its events wait."),
        ("resumed", "The subscription is resumed."),
        ("tried", "One delivery is being tried."),
        ("rotated", "The new key signs from now on, and the old one too until it expires."),
        ("published", "The event is published."),
    ];
    let text = NOTES.iter().find(|(code, _)| *code == query.get("note"));
    html! { @if let Some((_, text)) = text { p.note role="status" { (text) } } }
}

/// The error of a form.
pub(super) fn alert(error: Option<&str>) -> Markup {
    html! { @if let Some(error) = error { p.alert role="alert" { (error) } } }
}

pub(super) fn time(time: Timestamp) -> Markup {
    html! { time datetime=(time.to_rfc3339()) { (time.format("%Y-%m-%d %H:%M:%S")) } }
}

pub(super) fn some_time(at: Option<Timestamp>) -> Markup {
    html! { @match at { Some(at) => (time(at)), None => "–" } }
}

/// A badge of a status or outcome: the word tells it, the colour only repeats it.
pub(super) fn chip(word: &str) -> Markup {
    let class = match word {
        "active" | "delivered" => "good",
        "failing" | "given_up" | "gone" | "ended" => "bad",
        "paused" | "again" => "warn",
        _ => "plain",
    };
    html! { span class={ "chip " (class) } { (status_text(word)) } }
}

/// The text of a status or outcome.
fn status_text(word: &str) -> String {
    match word {
        "again" => "will retry".to_owned(),
        word => word.replace('_', " "),
    }
}

/// A labelled input of a form.
pub(super) fn field(name: &str, label: &str, hint: &str, input: Markup) -> Markup {
    html! {
        div.field {
            label for=(name) { (label) }
            (input)
            @if !hint.is_empty() { p.hint id={ (name) "-hint" } { (hint) } }
        }
    }
}

/// An input for one line of text.
pub(super) fn text(name: &str, label: &str, hint: &str, value: &str) -> Markup {
    input("text", name, label, hint, value)
}

/// An input for a time.
pub(super) fn moment(name: &str, label: &str, value: &str) -> Markup {
    input("datetime-local", name, label, "", value)
}

fn input(kind: &str, name: &str, label: &str, hint: &str, value: &str) -> Markup {
    let described = (!hint.is_empty()).then(|| format!("{name}-hint"));
    let input = html! {
        input type=(kind) id=(name) name=(name) value=(value) autocomplete="off" aria-describedby=[described];
    };
    field(name, label, hint, input)
}

/// A select input; the first option stands for none.
pub(super) fn choice(
    name: &str,
    label: &str,
    none: Option<&str>,
    options: &[&str],
    value: &str,
) -> Markup {
    let input = html! {
        select id=(name) name=(name) {
            @if let Some(none) = none { option value="" { (none) } }
            @for option in options {
                option value=(option) selected[*option == value] { (status_text(option)) }
            }
        }
    };
    field(name, label, "", input)
}

/// The filter form of a list.
pub(super) fn filters(home: &str, fields: Markup) -> Markup {
    html! {
        form method="get" action=(home) {
            fieldset {
                legend { "Filter" }
                div.fields { (fields) }
                p.bar { button type="submit" { "Apply" } a href=(home) { "Clear" } }
            }
        }
    }
}

/// A table with an accessible name.
pub(super) fn table(name: &str, heads: &[&str], rows: &[Markup], empty: &str) -> Markup {
    html! {
        @if rows.is_empty() {
            p.empty { (empty) }
        } @else {
            div.scroll role="region" aria-label=(name) tabindex="0" {
                table {
                    thead { tr { @for head in heads { th scope="col" { (head) } } } }
                    tbody { @for row in rows { tr { (row) } } }
                }
            }
        }
    }
}

/// Facts, one a line.
pub(super) fn facts(rows: &[(&str, Markup)]) -> Markup {
    html! { dl { @for (name, value) in rows { div { dt { (name) } dd { (value) } } } } }
}

/// A body, indented if it is JSON.
pub(super) fn body(text: &str) -> Markup {
    let pretty = serde_json::from_str::<Box<RawValue>>(text)
        .and_then(|_| serde_json::from_str::<serde_json::Value>(text))
        .and_then(|value| serde_json::to_string_pretty(&value));
    html! {
        @if text.is_empty() { p.empty { "Empty." } }
        @else { pre tabindex="0" { (pretty.unwrap_or_else(|_| text.to_owned())) } }
    }
}

/// A form of one button.
pub(super) fn button(action: &str, label: &str, about: &str) -> Markup {
    html! {
        form.inline method="post" action=(action) {
            button type="submit" { (label) span.unseen { " " (about) } }
        }
    }
}

/// The last row of a full page, after which there may be another page.
pub(super) fn last_of<T>(lines: &[T]) -> Option<&T> {
    lines.last().filter(|_| lines.len() == PAGE)
}

/// The link to the next page, by its cursor: name and value.
pub(super) fn further(
    path: &str,
    query: &FormFields,
    label: &str,
    cursor: Option<(&str, String)>,
) -> Markup {
    html! {
        @if let Some((name, value)) = cursor {
            p { a rel="next" href={ (path) "?" (query.with(name, value)) } { (label) } }
        }
    }
}
