//! The list of subscriptions, the sickest first.

use ::pages::{
    Column, FormFields, Table, Tone, button, chip, choice, encoded, errors, filters, share_bar,
    text,
};
use axum::extract::State;
use maud::{Markup, html};

use super::request::{Filter, PageRequest};
use super::words::{Now, count};
use super::{AdminState, PAGE, PageResult};
use crate::health::Status;
use crate::outbox::SubscriptionTally;
use crate::summary::{Condition, Summary, SummaryPage};

pub(super) const HOME: &str = "subscriptions";

const COLUMNS: [Column; 7] = [
    Column::text("Name"),
    Column::text("Target"),
    Column::text("Last success"),
    Column::text("24 h: delivered / failed"),
    Column::number("Waiting"),
    Column::number("Given up"),
    Column::text("Action"),
];

pub(super) async fn list(State(admin): AdminState, request: PageRequest) -> PageResult {
    let query = &request.query;
    let now = Now::of(&admin.bus);
    let mut filter = Filter::new(query, now.time);
    let conditions = Condition::ALL.map(|condition| (condition.as_str(), condition));
    let condition = filter.one_of("status", &conditions);
    let first = filter.number("from").and_then(|from| usize::try_from(from).ok()).unwrap_or(0);
    let content = html! {
        (request.note(&admin))
        p.bar {
            a.button.primary href="new-subscription" { "New subscription" }
            a.button href="publish" { "Publish an event" }
        }
        (errors(&filter.errors, request.here()))
        (filter_form(query))
        @if filter.errors.is_empty() {
            (table(now, query, first, &admin.bus.summaries(query.get("name"), condition, first, PAGE).await?))
        }
    };
    Ok(request.page(HOME, "Subscriptions").with_status(filter.status(), content))
}

fn filter_form(query: &FormFields) -> Markup {
    let statuses = [("failing", "failing"), ("paused", "paused or disabled"), ("active", "active")];
    let fields = html! {
        (text("name", "Search", "Part of a name or a target.", query.get("name")))
        (choice("status", "Status", Some("any"), &statuses, query.get("status")))
    };
    filters(HOME, fields, None)
}

fn table(now: Now, query: &FormFields, first: usize, page: &SummaryPage) -> Markup {
    let rows: Vec<_> = page.summaries.iter().map(|summary| cells(now, summary)).collect();
    let empty = html! {
        @if page.all == 0 {
            p { "No subscription yet: events go nowhere. " a href="new-subscription" { "Make the first" } "." }
        } @else {
            p { "None of the " (page.all) " subscriptions matches the filter. " a href=(HOME) { "Clear it" } "." }
        }
    };
    let next = first.saturating_add(PAGE);
    html! {
        (Table { name: "Subscriptions", columns: &COLUMNS, rows: &rows, empty }.markup())
        @if next < page.matching {
            p { a rel="next" href={ (HOME) "?" (query.with("from", &next.to_string())) } { "Next" } " · " (page.matching) " in all" }
        }
    }
}

fn cells(now: Now, summary: &Summary) -> Vec<Markup> {
    let Summary { view, tally, .. } = summary;
    let name = encoded(&view.name);
    vec![
        html! {
            a href=(address(&view.name)) { (view.name) }
            " " (status(now, summary))
            @if !view.description.is_empty() { p.why { (view.description) } }
        },
        html! { (view.target) p.why { (events(&view.events)) } },
        now.some_ago(tally.last_success, "never"),
        day(tally),
        html! { @if tally.waiting > 0 { a href={ "events?outcome=waiting" } { (tally.waiting) } } @else { "0" } },
        html! {
            @if tally.given_up > 0 { a href={ "resend?preview=1&subscription=" (name) } { (tally.given_up) } } @else { "0" }
        },
        toggle(summary),
    ]
}

/// The patterns, the first few of many.
fn events(patterns: &[String]) -> String {
    const FEW: usize = 4;
    let shown = patterns.iter().take(FEW).cloned().collect::<Vec<_>>().join(", ");
    match patterns.len().saturating_sub(FEW) {
        0 => shown,
        rest => format!("{shown} and {rest} more"),
    }
}

/// The attempts of a day, as a bar and in figures.
pub(super) fn day(tally: &SubscriptionTally) -> Markup {
    let SubscriptionTally { delivered, failed, .. } = *tally;
    let label = format!(
        "{delivered} delivered, {} in 24 hours",
        count(failed, "failed attempt", "failed attempts")
    );
    html! { (share_bar(delivered, failed, &label)) span.num aria-hidden="true" { (delivered) " / " (failed) } }
}

/// The status in a word, and the reason.
pub(super) fn status(now: Now, Summary { view, health, condition, .. }: &Summary) -> Markup {
    let (tone, word) = match (health.status, condition) {
        (Status::Failing, _) => (Tone::Bad, "failing: paused"),
        (Status::Ended, _) => (Tone::Bad, "ended"),
        (Status::Removed, _) => (Tone::Plain, "removed"),
        (_, Condition::Failing) => (Tone::Bad, "failing"),
        (Status::Paused, _) => (Tone::Warn, "paused"),
        (_, Condition::Paused) => (Tone::Warn, "disabled"),
        (_, Condition::Active) => (Tone::Good, "active"),
    };
    html! {
        (chip(tone, word))
        @if !view.enabled && word != "disabled" { " " (chip(Tone::Warn, "disabled")) }
        @if let Some(why) = &health.why { p.why { (why) } }
        @if health.failures > 0 {
            p.why {
                (count(health.failures, "attempt has failed", "attempts have failed")) " in a row"
                @if let Some(first) = health.failing_since { ", the first " (now.ago(first)) }
            }
        }
    }
}

pub(super) fn toggle(summary: &Summary) -> Markup {
    let name = &summary.view.name;
    match summary.health.status {
        Status::Active => button(&format!("{}/pause", address(name)), "Pause", name),
        _ => button(&format!("{}/resume", address(name)), "Resume", name),
    }
}

pub(super) fn address(name: &str) -> String {
    format!("{HOME}/{}", encoded(name))
}
