//! The events pages: the list, and each event with its deliveries and attempts.

use ::pages::{
    Column, FormFields, Table, Tone, chip, choice, copyable, encoded, errors, facts, filters,
    hidden, live_switch, moment, suggested, text,
};
use axum::extract::{Path, State};
use maud::{Markup, html};

use super::live::LiveRow;
use super::request::{Filter, PageRequest};
use super::words::{Now, RANGES, outcome};
use super::{Admin, AdminState, PAGE, PageResult, attempts};
use crate::health::Status;
use crate::outbox::{
    AttemptSearch, DeliveryTally, EventOutcome, EventSearch, FoundDelivery, FoundEvent,
};
use crate::{BusError, EventLogEntry};

const HOME: &str = "events";

/// The largest number of attempts on the page of an event.
const ATTEMPTS: usize = 50;

/// The largest number of times to come that are shown.
const TIMES: usize = 5;

const OUTCOMES: [(&str, EventOutcome); 4] = [
    ("failed", EventOutcome::Failed),
    ("waiting", EventOutcome::Waiting),
    ("delivered", EventOutcome::Delivered),
    ("unmatched", EventOutcome::Unmatched),
];

const COLUMNS: [Column; 5] = [
    Column::text("Event"),
    Column::text("Published"),
    Column::text("Outcome"),
    Column::text("Object"),
    Column::text("Action"),
];

pub(super) async fn list(State(admin): AdminState, request: PageRequest) -> PageResult {
    let query = &request.query;
    let now = Now::of(&admin.bus);
    let mut filter = Filter::new(query, now.time);
    let search = search(&mut filter);
    let found = match filter.errors.as_slice() {
        [] => admin.bus.outbox.search_events(search).await?,
        _ => Vec::new(),
    };
    let ids: Vec<_> = found.iter().map(row_id).collect();
    let rows: Vec<_> = found.iter().map(|found| cells(now, found)).collect();
    let table = Table { name: "Events", columns: &COLUMNS, rows: &rows, empty: empty(&filter) };
    let last = found.last().filter(|_| found.len() == PAGE);
    let content = html! {
        (request.note(&admin))
        p.bar { a.button.primary href="publish" { "Publish an event" } }
        (errors(&filter.errors, request.here()))
        (filter_form(&admin, query))
        @if filter.errors.is_empty() {
            @if query.get("before").is_empty() {
                div.bar { (live_switch(&request.with_query("live/events"))) }
            }
            form method="post" action="resend" {
                (hidden("back", &request.with_query(HOME)))
                (table.markup_with_ids(&ids))
            }
            @if let Some(last) = last {
                p { a rel="next" href={ (HOME) "?" (query.with("before", &last.event.number.to_string())) } { "Older" } }
            }
        }
    };
    Ok(request.page(HOME, "Events").with_status(filter.status(), content))
}

fn empty(filter: &Filter<'_>) -> Markup {
    html! {
        @if filter.is_used() { p { "No event matches the filter. " a href=(HOME) { "Clear it" } "." } }
        @else { p { "No event yet. " a href="publish" { "Publish one" } ", or post it to " code { "/api/events" } "." } }
    }
}

fn search(filter: &mut Filter<'_>) -> EventSearch {
    let query = filter.query;
    EventSearch {
        text: query.some("q"),
        event_type: query.some("type"),
        object_type: query.some("object_type"),
        object_id: query.some("object_id"),
        user: query.some("user"),
        outcome: filter.one_of("outcome", &OUTCOMES),
        since: filter.since(),
        until: filter.until(),
        before: filter.number("before"),
        limit: PAGE,
    }
}

fn filter_form(admin: &Admin, query: &FormFields) -> Markup {
    let outcomes = [
        ("failed", "failed: given up"),
        ("waiting", "waiting, or will retry"),
        ("delivered", "delivered"),
        ("unmatched", "no subscription takes it"),
    ];
    let fields = html! {
        (text("q", "Search", "Part of a name, an id, an object's id or a user.", query.get("q")))
        (choice("outcome", "Outcome", Some("any"), &outcomes, query.get("outcome")))
        (suggested("type", "Event", "Whole or in part.", query.get("type"), admin.bus.types().iter().map(|kind| kind.name)))
        (choice("range", "Time", Some("any"), &RANGES, query.get("range")))
    };
    let more = ["object_type", "object_id", "user", "since", "until"];
    let is_open = more.iter().any(|name| query.some(name).is_some());
    let more = html! {
        (text("object_type", "Object type", "", query.get("object_type")))
        (text("object_id", "Object id", "", query.get("object_id")))
        (text("user", "User", "", query.get("user")))
        (moment("since", "Since (UTC)", query.get("since")))
        (moment("until", "Until (UTC)", query.get("until")))
    };
    filters(HOME, fields, Some((is_open, more)))
}

fn row_id(found: &FoundEvent) -> String {
    format!("event-{}", found.event.number)
}

/// The rows of the list with this filter, for those who follow it.
pub(super) async fn live_rows(admin: &Admin, query: &FormFields) -> Result<Vec<LiveRow>, BusError> {
    let now = Now::of(&admin.bus);
    let mut filter = Filter::new(query, now.time);
    let search = search(&mut filter);
    if let Some(error) = filter.errors.first() {
        return Err(BusError::Invalid(error.reason.clone()));
    }
    let found = admin.bus.outbox.search_events(EventSearch { before: None, ..search }).await?;
    let table = Table { name: "", columns: &COLUMNS, rows: &[], empty: Markup::default() };
    let row = |found: &FoundEvent| LiveRow {
        id: row_id(found),
        version: format!("{:?}", found.tally),
        row: table.row_with_id(&row_id(found), &cells(now, found)),
    };
    Ok(found.iter().map(row).collect())
}

fn cells(now: Now, FoundEvent { event, tally }: &FoundEvent) -> Vec<Markup> {
    vec![
        html! {
            a href=(address(&event.id)) { (event.event_type) }
            p.why { (event.id) }
            @if let Some(environment) = &event.environment { (chip(Tone::Plain, environment)) }
        },
        now.ago(event.published_at),
        tally_of(*tally),
        html! { @if let Some(object) = object(event) { (object) } @if let Some(user) = &event.user { p.why { "by " (user) } } },
        html! {
            @if tally.given_up > 0 {
                button.copy type="submit" name="failed" value=(event.id) data-key="r" { "Resend failed" span.unseen { " of event " (event.id) } }
            }
        },
    ]
}

/// The states of an event's deliveries, the worst first.
fn tally_of(tally: DeliveryTally) -> Markup {
    let parts = [
        (tally.given_up, Tone::Bad, "given up"),
        (tally.waiting, Tone::Warn, "waiting"),
        (tally.delivered, Tone::Good, "delivered"),
        (tally.cancelled, Tone::Plain, "cancelled"),
    ];
    html! {
        @if tally == DeliveryTally::default() { (chip(Tone::Plain, "no subscription")) }
        @for (count, tone, word) in parts {
            @if count > 0 { (chip(tone, &format!("{count} {word}"))) " " }
        }
    }
}

fn object(event: &EventLogEntry) -> Option<String> {
    let parts = [event.object_type.as_deref(), event.object_id.as_deref()];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}

pub(super) fn address(id: &str) -> String {
    format!("{HOME}/{}", encoded(id))
}

pub(super) async fn show(
    State(admin): AdminState,
    Path(id): Path<String>,
    request: PageRequest,
) -> PageResult {
    let bus = &admin.bus;
    let event = bus.event(&id).await?.event;
    let deliveries = bus.outbox.deliveries_of(event.number).await?;
    let search =
        AttemptSearch { event: Some(id.clone()), limit: ATTEMPTS, ..AttemptSearch::default() };
    let attempts = bus.outbox.search_attempts(search).await?;
    let (data, record) = bus.outbox.event_bodies(id.clone()).await?.unwrap_or_default();
    let now = Now::of(bus);
    let (here, all) = (address(&id), format!("attempts?event={}", encoded(&id)));
    let mut rows = vec![
        ("Id", copyable(&event.id)),
        (
            "Published",
            html! { (now.ago(event.published_at)) " · " (::pages::time(event.published_at)) },
        ),
        (
            "Happened",
            html! { (now.ago(event.happened_at)) " · " (::pages::time(event.happened_at)) },
        ),
        (
            "Environment",
            html! { (event.environment.as_deref().unwrap_or("none: for subscriptions of any")) },
        ),
    ];
    rows.extend(object(&event).map(|object| ("Object", html! { (object) })));
    rows.extend(event.user.as_ref().map(|user| ("User", html! { (user) })));
    let content = html! {
        (request.note(&admin))
        (actions(&id, &here, &deliveries))
        (facts(&rows))
        h2 { "Deliveries" }
        (delivery_table(&admin, now, &here, &deliveries))
        h2 { "Attempts" }
        (attempts::table(&admin, now, &attempts, &here, html! { p { "No attempt yet." } }))
        p { a href=(all) { "All attempts of this event" } " · " a href={ (all) "&live=1" } { "Follow them" } }
        h2 { "Data" }
        (::pages::body(&data, "", &format!("{here}/data")))
        @if let Some(record) = &record {
            h2 { "Object record" }
            (::pages::body(record, "", &format!("{here}/record")))
        }
    };
    Ok(request.page(HOME, &event.event_type).show(content))
}

fn actions(id: &str, here: &str, deliveries: &[FoundDelivery]) -> Markup {
    let is_failed = deliveries.iter().any(|delivery| delivery.progress.state == "given_up");
    let has_ended = deliveries.iter().any(|delivery| delivery.progress.state != "waiting");
    html! {
        div.bar {
            @if is_failed {
                form.inline method="post" action="resend" {
                    (hidden("back", here)) (hidden("failed", id))
                    button.primary type="submit" { "Resend failed" }
                }
            }
            @if has_ended {
                form.inline method="post" action="resend" {
                    (hidden("back", here)) (hidden("event", id))
                    button type="submit" { "Resend to all" }
                }
            }
            a.button href=(here) { "Refresh" }
        }
    }
}

fn delivery_table(admin: &Admin, now: Now, here: &str, deliveries: &[FoundDelivery]) -> Markup {
    let columns = [
        Column::text("Subscription"),
        Column::text("State"),
        Column::text("Attempts"),
        Column::text("Next attempts"),
        Column::text("Ended"),
        Column::text("Action"),
    ];
    let rows: Vec<_> =
        deliveries.iter().map(|delivery| delivery_cells(admin, now, delivery)).collect();
    let empty = html! {
        p { "No subscription takes this event, so nothing was sent. " a href="new-subscription" { "Make one" } " for events to come." }
    };
    html! {
        form method="post" action="resend" {
            (hidden("back", here))
            (Table { name: "Deliveries", columns: &columns, rows: &rows, empty }.markup())
        }
    }
}

fn delivery_cells(admin: &Admin, now: Now, delivery: &FoundDelivery) -> Vec<Markup> {
    let (name, progress) = (&delivery.subscription, delivery.progress);
    let is_waiting = progress.state == "waiting";
    let word = if is_waiting && progress.run_attempts > 0 { "again" } else { progress.state };
    vec![
        html! { a href={ "subscriptions/" (encoded(name)) } { (name) } },
        html! {
            (outcome(word))
            @if let Some(error) = delivery.error.as_ref().filter(|_| progress.state != "delivered") { p.why { (error) } }
        },
        html! { (progress.attempts) },
        html! { @if is_waiting { (schedule(admin, now, delivery)) } },
        html! { @if let Some(ended) = delivery.ended_at { (now.ago(ended)) } },
        html! {
            @if !is_waiting {
                button.copy type="submit" name="delivery" value=(delivery.id) { "Resend" span.unseen { " to " (name) } }
            }
        },
    ]
}

/// The times to come of a waiting delivery.
fn schedule(admin: &Admin, now: Now, delivery: &FoundDelivery) -> Markup {
    let Some((subscription, health)) = admin.bus.running(&delivery.subscription) else {
        return html! { "never: its subscription is gone" };
    };
    match (health.status, delivery.due_at) {
        (Status::Paused | Status::Ended, _) => html! { "when resumed" },
        (Status::Failing, _) => html! { "when its target has recovered" },
        (_, None) => html! { "after another about the same object" },
        (_, Some(due)) => {
            let times = subscription.retry_policy.times(delivery.progress.run_attempts, due);
            let rest = times.len().saturating_sub(TIMES);
            html! {
                @for (index, time) in times.iter().take(TIMES).enumerate() {
                    @if index > 0 { ", " }
                    @if index == 0 && *time <= now.time { "now" } @else { (now.ago(*time)) }
                }
                @if rest > 0 { " and " (rest) " more" }
                @if times.len() > 1 { p.why { "the later ones if it fails" } }
            }
        }
    }
}
