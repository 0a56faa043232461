//! The page of a subscription: its health and settings, a test, its latest attempts; pause, resume, try, rotate, remove.

use std::time::Duration;

use ::pages::{alert, button, check, copyable, encoded, facts, field, input, note, text};
use axum::extract::{Path, State};
use maud::{Markup, html};

use super::definition::{self, Generated};
use super::request::{FormRequest, PageRequest};
use super::subscriptions::{HOME, address, day, status, toggle};
use super::words::{Now, count, sentence};
use super::{Admin, AdminState, PageResult, attempts, events};
use crate::health::Status;
use crate::outbox::AttemptSearch;
use crate::retry_policy::RetryPolicy;
use crate::summary::Summary;
use crate::{BusError, Publication};

/// The number of attempts on the page.
const ATTEMPTS: usize = 10;

pub(super) async fn show(
    State(admin): AdminState,
    Path(name): Path<String>,
    request: PageRequest,
) -> PageResult {
    let summary = admin.bus.summary(&name).await?;
    let search = AttemptSearch {
        subscription: Some(name.clone()),
        limit: ATTEMPTS,
        ..AttemptSearch::default()
    };
    let latest = admin.bus.outbox.search_attempts(search).await?;
    let now = Now::of(&admin.bus);
    let content = html! {
        (request.note(&admin))
        (actions(&summary))
        (health(now, &summary))
        (settings(&admin, &summary))
        h2 { "Latest attempts" }
        (attempts::table(&admin, now, &latest, &address(&name), html! { p { "No attempt yet. Send a sample below." } }))
        p {
            a href={ "attempts?subscription=" (encoded(&name)) } { "All attempts" } " · "
            a href={ "attempts?subscription=" (encoded(&name)) "&live=1" } { "Follow them" }
        }
        h2 { "Test" }
        (test_form(&admin, &name))
        @if summary.view.keys.signing.is_some() && !summary.is_declared { (rotate_form(&name)) }
    };
    Ok(request.page(HOME, &name).show(content))
}

fn actions(summary: &Summary) -> Markup {
    let (name, home) = (&summary.view.name, address(&summary.view.name));
    html! {
        div.bar {
            (toggle(summary))
            @if summary.health.status == Status::Failing { (button(&format!("{home}/try"), "Try now", name)) }
            @if summary.tally.given_up > 0 {
                a.button href={ "resend?preview=1&subscription=" (encoded(name)) } { "Resend failed deliveries" }
            }
            @if summary.is_declared {
                span.soft { "Declared in the settings; change it there." }
            } @else {
                a.button href={ (home) "/edit" } { "Change" }
                a.button.danger href={ (home) "/delete" } { "Remove" }
            }
        }
    }
}

fn health(now: Now, summary: &Summary) -> Markup {
    let tally = &summary.tally;
    facts(&[
        ("Status", status(now, summary)),
        ("Since", now.ago(summary.health.since)),
        ("Last success", now.some_ago(tally.last_success, "never")),
        ("24 h: delivered / failed", day(tally)),
        ("Waiting", html! { (tally.waiting) }),
        ("Given up", html! { (tally.given_up) }),
        ("Target", copyable(&summary.view.target)),
        ("Events", html! { (summary.view.events.join(", ")) }),
    ])
}

fn settings(admin: &Admin, summary: &Summary) -> Markup {
    let view = &summary.view;
    let plain = |text: &str| html! { @if text.is_empty() { "–" } @else { (text) } };
    let key =
        |key: &Option<String>| html! { @if let Some(key) = key { code { (key) } } @else { "–" } };
    let policy =
        admin.bus.running(&view.name).map(|(subscription, _)| subscription.retry_policy.clone());
    html! {
        details.group {
            summary { "Settings" }
            (facts(&[
                ("Description", plain(&view.description)),
                ("Dialect", plain(view.dialect.as_str())),
                ("Environment", plain(view.environment.as_str())),
                ("Bearer key", key(&view.keys.bearer)),
                ("Signing key", key(&view.keys.signing)),
                ("Old signing key", html! {
                    (key(&view.keys.old_signing))
                    @if let Some(until) = view.old_signing_key_until { " until " (::pages::time(until)) }
                }),
                ("Headers", plain(&view.headers.join(", "))),
                ("Query parameters", plain(&view.query.join(", "))),
                ("Retries", html! { (view.retries) @if let Some(policy) = &policy { p.why { (schedule(policy)) } } }),
                ("Timeout", plain(&view.timeout)),
                ("Requests at once", html! { (view.concurrency) }),
            ]))
        }
    }
}

/// A retry policy in words: the time of each further attempt after the first.
fn schedule(policy: &RetryPolicy) -> String {
    let mut after = Duration::ZERO;
    let times = policy.delays.iter().map(|delay| {
        after = after.saturating_add(*delay);
        humantime::format_duration(after).to_string()
    });
    let times: Vec<_> = times.collect();
    match times.as_slice() {
        [] => "One attempt, and no retry.".to_owned(),
        times => format!(
            "Retries {} after the first attempt; given up after {}.",
            times.join(", "),
            count(u64::from(policy.attempts()), "attempt", "attempts")
        ),
    }
}

fn test_form(admin: &Admin, name: &str) -> Markup {
    let matched = admin.bus.matched_types(name);
    let others =
        admin.bus.types().iter().map(|kind| kind.name).filter(|name| !matched.contains(name));
    html! {
        form method="post" action={ (address(name)) "/test" } {
            fieldset {
                legend { "Send a sample to this target alone" }
                (field("type", "Event", "", html! {
                    select id="type" name="type" {
                        @if !matched.is_empty() {
                            optgroup label="Events of this subscription" {
                                @for name in &matched { option value=(name) { (name) } }
                            }
                        }
                        optgroup label="Others" { @for name in others { option value=(name) { (name) } } }
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
            details.group {
                summary { "Change the signing key" }
                div.fields {
                    (input("password", "key", "New key", "Or generate one below.", ""))
                    (text("overlap", "Overlap with the old key", "Such as 24h.", "24h"))
                }
                (check("generate", "Generate a strong key, and show it once", false))
                p { button type="submit" { "Change the key" } }
            }
        }
    }
}

pub(super) async fn confirm(
    State(admin): AdminState,
    Path(name): Path<String>,
    request: PageRequest,
) -> PageResult {
    let summary = admin.bus.summary(&name).await?;
    let waiting = count(summary.tally.waiting, "waiting delivery is", "waiting deliveries are");
    let content = html! {
        p { "Nothing more is sent to " (summary.view.target) ". " (waiting) " cancelled; the logs stay." }
        form.bar method="post" action={ (address(&name)) "/delete" } {
            button.danger type="submit" { "Remove" }
            a.button href=(address(&name)) { "Cancel" }
        }
    };
    Ok(request.page(HOME, &format!("Remove {name}?")).show(content))
}

pub(super) async fn remove(
    State(admin): AdminState,
    Path(name): Path<String>,
    FormRequest { page, .. }: FormRequest,
) -> PageResult {
    admin.bus.remove(&name).await?;
    let said = format!("The subscription {name} is removed; its waiting deliveries are cancelled.");
    Ok(page.redirect_with(&admin, HOME, note(&said)))
}

pub(super) async fn test(
    State(admin): AdminState,
    Path(name): Path<String>,
    FormRequest { page, form }: FormRequest,
) -> PageResult {
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
    match admin.bus.test(&name, sample).await {
        Ok(receipt) => {
            let said = format!("A sample is on its way to {name}.");
            Ok(page.redirect_with(&admin, &events::address(&receipt.id), note(&said)))
        }
        Err(error) => refused(&admin, &page, &name, error),
    }
}

pub(super) async fn rotate(
    State(admin): AdminState,
    Path(name): Path<String>,
    FormRequest { page, form }: FormRequest,
) -> PageResult {
    match rotated(&admin, &name, &form).await {
        Ok(key) => {
            let said = html! {
                (note("The new key signs from now on, and the old one too until it expires."))
                @if let Some(key) = key { (definition::shown_once(&[key])) }
            };
            Ok(page.redirect_with(&admin, &address(&name), said))
        }
        Err(BusError::Invalid(reason)) => {
            let reason = format!("{reason}; the key is unchanged, enter the new one again");
            refused(&admin, &page, &name, BusError::Invalid(reason))
        }
        Err(error) => refused(&admin, &page, &name, error),
    }
}

async fn rotated(
    admin: &Admin,
    name: &str,
    form: &pages::FormFields,
) -> Result<Option<Generated>, BusError> {
    let overlap = humantime::parse_duration(form.get("overlap"))
        .map_err(|_| BusError::Invalid("overlap: write a time such as 24h".into()))?;
    let generated = match form.is_on("generate") {
        true => {
            let view = admin.bus.subscription(name).await?.subscription;
            let scheme = view.scheme.as_deref().unwrap_or(view.dialect.as_str());
            Some(Generated::signing(scheme)?)
        }
        false => None,
    };
    let key = generated.as_ref().map_or(form.get("key"), |generated| &generated.key);
    if key.is_empty() {
        return Err(BusError::Invalid(
            "there is no new key: enter one, or have one generated".into(),
        ));
    }
    admin.bus.rotate(name, key, overlap).await?;
    Ok(generated)
}

/// The actions pause, resume and try.
pub(super) async fn action(
    State(admin): AdminState,
    Path((name, act)): Path<(String, String)>,
    FormRequest { page, .. }: FormRequest,
) -> PageResult {
    let bus = &admin.bus;
    let done = match act.as_str() {
        "pause" => bus.pause(&name, None).await.map(|_| "is paused: its events wait"),
        "resume" => bus.resume(&name).await.map(|_| "is resumed"),
        "try" => bus.try_now(&name).await.map(|_| "is tried with one delivery"),
        _ => return Err(BusError::Missing("such page".into()).into()),
    };
    match done {
        Ok(done) => Ok(page.redirect_with(
            &admin,
            &address(&name),
            note(&format!("The subscription {name} {done}.")),
        )),
        Err(error) => refused(&admin, &page, &name, error),
    }
}

/// Leads back to the subscription, and says why nothing was done.
fn refused(admin: &Admin, page: &PageRequest, name: &str, error: BusError) -> PageResult {
    match error {
        BusError::Missing(_) | BusError::Unavailable(_) => Err(error.into()),
        error => {
            Ok(page.redirect_with(admin, &address(name), alert(&sentence(&error.to_string()))))
        }
    }
}
