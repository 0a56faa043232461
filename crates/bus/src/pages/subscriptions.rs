//! The subscriptions pages: list, create, change, pause, try and remove.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};

use super::super::{
    AttemptFilter, Bus, BusError, Overview, Publication, Status, SubscriptionFilter,
};
use super::fields::FormFields;
use super::layout::{
    PAGE, Tab, alert, button, chip, choice, facts, field, filters, further, last_of, note, page,
    some_time, table, text, time,
};
use super::{BusState, PageFailure, attempts, definition, encoded, status};

const HOME: &str = "/admin/subscriptions";

pub(super) async fn list(
    State(bus): BusState,
    RawQuery(query): RawQuery,
) -> Result<Response, PageFailure> {
    let query = FormFields::read(query.unwrap_or_default().as_bytes())?;
    let filter = SubscriptionFilter { limit: Some(PAGE), ..query.filter()? };
    let all = bus.subscriptions(filter).await?;
    let rows: Vec<Markup> = all.iter().map(line).collect();
    let cursor = last_of(&all).map(|last| ("after", last.subscription.name.clone()));
    let heads = ["Name", "Events", "Target", "Status", "Waiting", "Actions"];
    let body = html! {
        (note(&query))
        p.bar {
            a.button.primary href={ (HOME) "/new" } { "New subscription" }
            a.button href="/admin/events/new" { "Publish an event" }
        }
        (filter_form(&query))
        (table("Subscriptions", &heads, &rows, "No subscription matches."))
        (further(HOME, &query, "Next", cursor))
    };
    Ok(page("Subscriptions", Tab::Subscriptions, body).into_response())
}

fn filter_form(query: &FormFields) -> Markup {
    let statuses = [Status::Active, Status::Paused, Status::Failing, Status::Ended].map(word);
    let fields = html! {
        (text("name", "Name contains", "", query.get("name")))
        (choice("standing", "Status", Some("any"), &statuses, query.get("standing")))
    };
    filters(HOME, fields)
}

fn line(overview: &Overview) -> Markup {
    let view = &overview.subscription;
    html! {
        td { a href=(address(&view.name)) { (view.name) } @if !view.description.is_empty() { p.why { (view.description) } } }
        td { (view.events.join(", ")) }
        td { (view.target) }
        td { (status_cell(overview)) }
        td.num { (overview.waiting) }
        td { (toggle(overview)) }
    }
}

fn status_cell(overview: &Overview) -> Markup {
    let health = &overview.health;
    html! {
        (chip(word(health.status)))
        @if !overview.subscription.enabled { " " (chip("disabled")) }
        @if let Some(why) = &health.why { p.why { (why) } }
    }
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Active => "active",
        Status::Paused => "paused",
        Status::Failing => "failing",
        Status::Ended => "ended",
        Status::Removed => "removed",
    }
}

fn toggle(overview: &Overview) -> Markup {
    let name = &overview.subscription.name;
    match overview.health.status {
        Status::Active => button(&format!("{}/pause", address(name)), "Pause", name),
        _ => button(&format!("{}/resume", address(name)), "Resume", name),
    }
}

fn address(name: &str) -> String {
    format!("{HOME}/{}", encoded(name))
}

pub(super) async fn new() -> Response {
    form_page("New subscription", HOME, &definition::blank(), None, None).into_response()
}

pub(super) async fn create(State(bus): BusState, body: Bytes) -> Result<Response, PageFailure> {
    let form = FormFields::read(&body)?;
    let name = form.get("name");
    match bus.create(name, &definition::whole(&form)).await {
        Ok(_) => Ok(redirect(name, "created")),
        Err(error) => {
            let why = error.to_string();
            let page = form_page("New subscription", HOME, &form, None, Some(&why));
            Ok((status(&error), page).into_response())
        }
    }
}

pub(super) async fn edit(
    State(bus): BusState,
    Path(name): Path<String>,
) -> Result<Response, PageFailure> {
    let overview = bus.subscription(&name).await?;
    let form = definition::form_of(&overview.subscription);
    Ok(edit_page(&overview, &form, None).into_response())
}

pub(super) async fn change(
    State(bus): BusState,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Response, PageFailure> {
    let form = FormFields::read(&body)?;
    let overview = bus.subscription(&name).await?;
    match bus.change(&name, &definition::change(&form, &overview.subscription)).await {
        Ok(_) => Ok(redirect(&name, "changed")),
        Err(error) => {
            let why = error.to_string();
            Ok((status(&error), edit_page(&overview, &form, Some(&why))).into_response())
        }
    }
}

fn edit_page(
    overview: &Overview,
    form: &FormFields,
    error: Option<&str>,
) -> axum::response::Html<String> {
    let view = &overview.subscription;
    let action = format!("{}/edit", address(&view.name));
    form_page(&format!("Change {}", view.name), &action, form, Some(overview), error)
}

fn form_page(
    title: &str,
    action: &str,
    form: &FormFields,
    overview: Option<&Overview>,
    error: Option<&str>,
) -> axum::response::Html<String> {
    let back =
        overview.map_or_else(|| HOME.to_owned(), |overview| address(&overview.subscription.name));
    let body = html! {
        (alert(error))
        form method="post" action=(action) {
            @if overview.is_none() {
                fieldset {
                    legend { "Name" }
                    (text("name", "Name", "Letters, digits and - . _; it cannot be changed later.", form.get("name")))
                }
            }
            (definition::inputs(form, overview.map(|overview| &overview.subscription)))
            p.bar {
                button.primary type="submit" { "Save" }
                a.button href=(back) { "Cancel" }
            }
        }
    };
    page(title, Tab::Subscriptions, body)
}

pub(super) async fn show(
    State(bus): BusState,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, PageFailure> {
    let query = FormFields::read(query.unwrap_or_default().as_bytes())?;
    let overview = bus.subscription(&name).await?;
    let filter = AttemptFilter {
        subscription: Some(name.clone()),
        limit: Some(10),
        ..AttemptFilter::default()
    };
    let latest = bus.attempts(filter).await?;
    let body = html! {
        (note(&query))
        (actions(&overview))
        (about(&overview))
        h2 { "Test" }
        (test_form(&bus, &name))
        @if overview.subscription.keys.signing.is_some() && !overview.is_declared { (rotate_form(&name)) }
        h2 { "Latest attempts" }
        (attempts::lines(&latest))
        p { a href={ "/admin/attempts?subscription=" (encoded(&name)) } { "All attempts" } }
    };
    Ok(page(&name, Tab::Subscriptions, body).into_response())
}

fn actions(overview: &Overview) -> Markup {
    let (name, home) = (&overview.subscription.name, address(&overview.subscription.name));
    html! {
        div.bar {
            (toggle(overview))
            @if overview.health.status == Status::Failing { (button(&format!("{home}/try"), "Try now", name)) }
            @if overview.is_declared {
                span.empty { "Declared in the settings; change it there." }
            } @else {
                a.button href={ (home) "/edit" } { "Change" }
                a.button.danger href={ (home) "/delete" } { "Remove" }
            }
            a.button href={ "/admin/resend?subscription=" (encoded(name)) } { "Resend failed deliveries" }
        }
    }
}

fn about(overview: &Overview) -> Markup {
    let (view, health) = (&overview.subscription, &overview.health);
    let plain = |text: &str| html! { @if text.is_empty() { "–" } @else { (text) } };
    let print =
        |key: &Option<String>| html! { @if let Some(key) = key { code { (key) } } @else { "–" } };
    let since = html! { (time(health.since)) };
    let failures = html! { (health.failures) @if let Some(first) = health.failing_since { " since " (time(first)) } };
    facts(&[
        ("Status", status_cell(overview)),
        ("Since", since),
        ("Failures in a row", failures),
        ("Waiting", html! { (overview.waiting) }),
        ("Target", plain(&view.target)),
        ("Query parameters", plain(&view.query.join(", "))),
        ("Headers", plain(&view.headers.join(", "))),
        ("Events", plain(&view.events.join(", "))),
        ("Dialect", plain(view.dialect.as_str())),
        ("Environment", plain(view.environment.as_str())),
        ("Bearer key", print(&view.keys.bearer)),
        ("Signing key", print(&view.keys.signing)),
        (
            "Old signing key",
            html! {
                (print(&view.keys.old_signing)) @if view.old_signing_key_until.is_some() { " until " (some_time(view.old_signing_key_until)) }
            },
        ),
        ("Retries", plain(&view.retries)),
        ("Timeout", plain(&view.timeout)),
    ])
}

fn test_form(bus: &Bus, name: &str) -> Markup {
    html! {
        form method="post" action={ (address(name)) "/test" } {
            fieldset {
                legend { "Send a sample to this target alone" }
                (field("type", "Event", "", html! {
                    select id="type" name="type" {
                        @for kind in bus.types().iter() { option value=(kind.name) { (kind.name) } }
                    }
                }))
                p { button type="submit" { "Send a sample" } }
            }
        }
    }
}

fn rotate_form(name: &str) -> Markup {
    html! {
        form method="post" action={ (address(name)) "/rotate" } {
            fieldset {
                legend { "Change the signing key" }
                div.fields {
                    (field("key", "New key", "", html! {
                        input type="password" id="key" name="key" autocomplete="new-password" required;
                    }))
                    (text("overlap", "Overlap with the old key", "Such as 24h.", "24h"))
                }
                p { button type="submit" { "Change the key" } }
            }
        }
    }
}

pub(super) async fn confirm(
    State(bus): BusState,
    Path(name): Path<String>,
) -> Result<Response, PageFailure> {
    let overview = bus.subscription(&name).await?;
    let body = html! {
        p { "Nothing more is sent to " (overview.subscription.target) ". " (overview.waiting) " waiting deliveries are cancelled; the logs stay." }
        form.bar method="post" action={ (address(&name)) "/delete" } {
            button.danger type="submit" { "Remove" }
            a.button href=(address(&name)) { "Cancel" }
        }
    };
    Ok(page(&format!("Remove {name}?"), Tab::Subscriptions, body).into_response())
}

pub(super) async fn remove(
    State(bus): BusState,
    Path(name): Path<String>,
) -> Result<Response, PageFailure> {
    bus.remove(&name).await?;
    Ok(Redirect::to(&format!("{HOME}?note=removed")).into_response())
}

pub(super) async fn test(
    State(bus): BusState,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Response, PageFailure> {
    let form = FormFields::read(&body)?;
    let sample = Publication {
        id: None,
        event_type: form.get("type").to_owned(),
        data: None,
        record: None,
        environment: None,
        object_type: None,
        object_id: None,
        user: Some("admin".into()),
        time: None,
        raw: false,
    };
    let receipt = bus.test(&name, sample).await?;
    let event = format!("/admin/events/{}?note=published", encoded(&receipt.id));
    Ok(Redirect::to(&event).into_response())
}

pub(super) async fn rotate(
    State(bus): BusState,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Response, PageFailure> {
    let form = FormFields::read(&body)?;
    let overlap: Duration = humantime::parse_duration(form.get("overlap"))
        .map_err(|_| BusError::Invalid("overlap: write a time such as 24h".into()))?;
    bus.rotate(&name, form.get("key"), overlap).await?;
    Ok(redirect(&name, "rotated"))
}

/// The actions pause, resume and try.
pub(super) async fn action(
    State(bus): BusState,
    Path((name, act)): Path<(String, String)>,
) -> Result<Response, PageFailure> {
    let done = match act.as_str() {
        "pause" => bus.pause(&name, None).await.map(|_| "paused"),
        "resume" => bus.resume(&name).await.map(|_| "resumed"),
        "try" => bus.try_now(&name).await.map(|_| "tried"),
        _ => Err(BusError::Missing("such page".into())),
    };
    Ok(redirect(&name, done?))
}

fn redirect(name: &str, note: &str) -> Response {
    Redirect::to(&format!("{}?note={note}", address(name))).into_response()
}
