//! The attempts pages: the list, and each attempt with its request and response.

use ::pages::{
    Column, FormFields, Table, alert, choice, copyable, curl, encoded, errors, facts, filters,
    hidden, live_switch, moment, suggested, text,
};
use axum::extract::{Path, State};
use maud::{Markup, html};

use super::live::LiveRow;
use super::request::{Filter, PageRequest};
use super::words::{Now, OUTCOMES, RANGES, outcome};
use super::{Admin, AdminState, PAGE, PageResult};
use crate::outbox::{AttemptSearch, FoundAttempt, Neighbours, Progress, ResponseKind, StoredBody};
use crate::{AttemptLogEntry, BusError, Exchange};

const HOME: &str = "attempts";

/// The statuses to choose from.
const RESPONSES: [(&str, &str); 6] = [
    ("2xx", "2xx: success"),
    ("3xx", "3xx: redirect"),
    ("4xx", "4xx: refused"),
    ("5xx", "5xx: failed"),
    ("timeout", "no answer in time"),
    ("none", "no response at all"),
];

const COLUMNS: [Column; 9] = [
    Column::text("Select"),
    Column::text("Attempt"),
    Column::text("Time"),
    Column::text("Event"),
    Column::text("Subscription"),
    Column::text("Response"),
    Column::text("Outcome"),
    Column::number("Duration"),
    Column::text("Action"),
];

pub(super) async fn list(State(admin): AdminState, request: PageRequest) -> PageResult {
    let query = &request.query;
    let now = Now::of(&admin.bus);
    let mut filter = Filter::new(query, now.time);
    let search = search(&mut filter);
    let found = match filter.errors.as_slice() {
        [] => admin.bus.outbox.search_attempts(search).await?,
        _ => Vec::new(),
    };
    let is_first = query.get("before").is_empty();
    let content = html! {
        (request.note(&admin))
        (errors(&filter.errors, request.here()))
        (filter_form(&admin, query))
        @if filter.errors.is_empty() {
            @if is_first {
                div.bar { (live_switch(&with_query("live/attempts", query))) }
            }
            (table(&admin, now, &found, &request.with_query(HOME), empty(&filter)))
            (older(query, &found))
        }
    };
    Ok(request.page(HOME, "Attempts").with_status(filter.status(), content))
}

fn with_query(address: &str, query: &FormFields) -> String {
    match query.query() {
        text if text.is_empty() => address.to_owned(),
        text => format!("{address}?{text}"),
    }
}

fn empty(filter: &Filter<'_>) -> Markup {
    html! {
        @if filter.is_used() { p { "No attempt matches the filter. " a href=(HOME) { "Clear it" } "." } }
        @else { p { "No attempt yet. " a href="publish" { "Publish an event" } " that a subscription takes." } }
    }
}

fn older(query: &FormFields, found: &[FoundAttempt]) -> Markup {
    let last = found.last().filter(|_| found.len() == PAGE);
    html! {
        @if let Some(last) = last {
            p { a rel="next" href={ (HOME) "?" (query.with("before", &last.attempt.id.to_string())) } { "Older" } }
        }
    }
}

fn search(filter: &mut Filter<'_>) -> AttemptSearch {
    let outcomes = OUTCOMES.map(|(name, _)| (name, name));
    let query = filter.query;
    AttemptSearch {
        text: query.some("q"),
        subscription: query.some("subscription"),
        event: query.some("event"),
        event_type: query.some("type"),
        response: response_kind(filter),
        outcome: filter.one_of("outcome", &outcomes),
        since: filter.since(),
        until: filter.until(),
        before: filter.number("before"),
        limit: PAGE,
    }
}

fn response_kind(filter: &mut Filter<'_>) -> Option<ResponseKind> {
    let text = filter.query.some("status")?;
    let class = text.strip_suffix("xx").and_then(|class| class.parse().ok());
    match (text.as_str(), class, text.parse()) {
        ("timeout", ..) => Some(ResponseKind::TimedOut),
        ("none", ..) => Some(ResponseKind::Missing),
        (_, Some(class @ 1..=5), _) => Some(ResponseKind::Class(class)),
        (_, _, Ok(status @ 100..=999)) => Some(ResponseKind::Status(status)),
        _ => {
            filter.refuse("status", &format!("{text:?} is neither a status such as 503, nor 2xx, 3xx, 4xx, 5xx, timeout or none"));
            None
        }
    }
}

fn filter_form(admin: &Admin, query: &FormFields) -> Markup {
    let (names, status) = (admin.bus.subscription_names(), query.get("status"));
    let own = [(status, status)];
    let is_own = !status.is_empty() && RESPONSES.iter().all(|(known, _)| *known != status);
    let responses: Vec<_> =
        RESPONSES.iter().chain(own.iter().filter(|_| is_own)).copied().collect();
    let fields = html! {
        (text("q", "Search", "Part of an event's name or id, a subscription, or an error.", query.get("q")))
        (choice("outcome", "Outcome", Some("any"), &OUTCOMES, query.get("outcome")))
        (choice("status", "Response", Some("any"), &responses, status))
        (suggested("subscription", "Subscription", "", query.get("subscription"), names.iter().map(String::as_str)))
        (choice("range", "Time", Some("any"), &RANGES, query.get("range")))
    };
    let more = ["event", "type", "since", "until"];
    let is_open = more.iter().any(|name| query.some(name).is_some());
    let more = html! {
        (text("event", "Event id", "Whole or in part.", query.get("event")))
        (suggested("type", "Event", "", query.get("type"), admin.bus.types().iter().map(|kind| kind.name)))
        (moment("since", "Since (UTC)", query.get("since")))
        (moment("until", "Until (UTC)", query.get("until")))
    };
    filters(HOME, fields, Some((is_open, more)))
}

/// Attempts as a table, each to be sent again, alone or with others; the forms lead back to the page at `back`.
pub(super) fn table(
    admin: &Admin,
    now: Now,
    found: &[FoundAttempt],
    back: &str,
    empty: Markup,
) -> Markup {
    let rows: Vec<_> = found.iter().map(|found| cells(admin, now, found)).collect();
    let ids: Vec<_> = found.iter().map(row_id).collect();
    let table = Table { name: "Attempts", columns: &COLUMNS, rows: &rows, empty };
    html! {
        @if found.is_empty() { (table.markup()) }
        @else {
            form method="post" action="resend" {
                (hidden("back", back))
                p.bar {
                    input type="checkbox" data-every hidden aria-label="Select all attempts";
                    button type="submit" { "Resend selected" }
                }
                (table.markup_with_ids(&ids))
            }
        }
    }
}

fn row_id(found: &FoundAttempt) -> String {
    format!("attempt-{}", found.attempt.id)
}

/// The rows of the list with this filter, for those who follow it.
pub(super) async fn live_rows(admin: &Admin, query: &FormFields) -> Result<Vec<LiveRow>, BusError> {
    let now = Now::of(&admin.bus);
    let mut filter = Filter::new(query, now.time);
    let search = search(&mut filter);
    if let Some(error) = filter.errors.first() {
        return Err(BusError::Invalid(error.reason.clone()));
    }
    let found = admin.bus.outbox.search_attempts(AttemptSearch { before: None, ..search }).await?;
    let table = Table { name: "", columns: &COLUMNS, rows: &[], empty: Markup::default() };
    let row = |found: &FoundAttempt| LiveRow {
        id: row_id(found),
        version: format!("{:?}", found.progress),
        row: table.row_with_id(&row_id(found), &cells(admin, now, found)),
    };
    Ok(found.iter().map(row).collect())
}

fn cells(admin: &Admin, now: Now, found: &FoundAttempt) -> Vec<Markup> {
    let attempt = &found.attempt;
    let about =
        format!("attempt {} of event {}", attempt.attempt, attempt.event.as_deref().unwrap_or("–"));
    let has_ended = found.progress.is_some_and(|progress| progress.state != "waiting");
    vec![
        html! { input type="checkbox" name="id" value=(attempt.id) aria-label={ "Select " (about) }; },
        html! { a href={ (HOME) "/" (attempt.id) } { (number(admin, attempt, found.progress)) } },
        now.ago(attempt.started_at),
        event(attempt),
        subscription(attempt),
        response(attempt, &found.response),
        outcome(attempt.outcome),
        html! { (duration(attempt)) },
        html! {
            @if has_ended {
                button.copy type="submit" name="attempt" value=(attempt.id) data-key="r" { "Resend" span.unseen { " " (about) } }
            }
        },
    ]
}

/// The number of the attempt among those that its delivery had, or may have.
fn number(admin: &Admin, attempt: &AttemptLogEntry, progress: Option<Progress>) -> String {
    let all = progress.map(|progress| {
        let policy = attempt.subscription.as_deref().and_then(|name| admin.bus.running(name));
        match policy {
            Some((subscription, _)) if progress.state == "waiting" => {
                let earlier = progress.attempts.saturating_sub(progress.run_attempts);
                earlier.saturating_add(subscription.retry_policy.attempts())
            }
            _ => progress.attempts,
        }
    });
    match all {
        Some(all) if attempt.outcome != "copy" => {
            format!("{} of {}", attempt.attempt, all.max(attempt.attempt))
        }
        _ => attempt.attempt.to_string(),
    }
}

fn event(attempt: &AttemptLogEntry) -> Markup {
    let name = attempt.event_type.as_deref().unwrap_or("pruned");
    html! {
        @if let Some(id) = &attempt.event { a href={ "events/" (encoded(id)) } title=(id) { (name) } }
        @else { (name) }
    }
}

fn subscription(attempt: &AttemptLogEntry) -> Markup {
    html! {
        @match attempt.subscription.as_deref() {
            Some(name) => a href={ "subscriptions/" (encoded(name)) } { (name) },
            None => "–",
        }
    }
}

/// The status and why it failed: the error, or the first line of the answer.
fn response(attempt: &AttemptLogEntry, answer: &str) -> Markup {
    // An error that only repeats the status is left out.
    let repeated = attempt.status.map(|status| format!("answered {status}"));
    let error = attempt.error.as_deref().filter(|error| repeated.as_deref() != Some(*error));
    let answer = answer.lines().map(str::trim).find(|line| !line.is_empty());
    let answer = answer.filter(|_| error.is_none() && attempt.outcome != "delivered");
    html! {
        @if let Some(status) = attempt.status { span.num { (status) } } @else { "no response" }
        @if let Some(error) = error { p.why { (error) } }
        @if let Some(answer) = answer { p.why { (text_of(answer)) } }
        @if let Some(fault) = &attempt.fault { p.why { "fault on purpose: " (fault) } }
    }
}

fn text_of(answer: &str) -> String {
    ::text::inert(answer).into_owned()
}

fn duration(attempt: &AttemptLogEntry) -> String {
    format!("{:.1} ms", attempt.took_us as f64 / 1000.0)
}

pub(super) async fn show(
    State(admin): AdminState,
    Path(id): Path<String>,
    request: PageRequest,
) -> PageResult {
    let number_of = id.parse().map_err(|_| BusError::Missing(format!("attempt {id}")))?;
    let detail = admin.bus.attempt_log(number_of).await?;
    let (neighbours, progress) = admin.bus.outbox.neighbours(number_of).await?;
    let attempt = &detail.attempt;
    let now = Now::of(&admin.bus);
    let bodies = match &detail.exchange {
        Some(_) => {
            let outbox = &admin.bus.outbox;
            let sent = outbox.body(StoredBody::Request(number_of)).await?.unwrap_or_default();
            let came = outbox.body(StoredBody::Response(number_of)).await?.unwrap_or_default();
            Some((sent, came))
        }
        None => None,
    };
    let content = html! {
        (request.note(&admin))
        (actions(attempt, detail.exchange.as_ref(), neighbours, progress, request.here()))
        (facts(&[
            ("Outcome", outcome(attempt.outcome)),
            ("Response", response(attempt, "")),
            ("Event", html! { (event(attempt)) @if let Some(id) = &attempt.event { " " (copyable(id)) } }),
            ("Subscription", subscription(attempt)),
            ("Time", html! { (now.ago(attempt.started_at)) " · " (::pages::time(attempt.started_at)) }),
            ("Duration", html! { (duration(attempt)) }),
        ]))
        @match (&detail.exchange, &bodies) {
            (Some(exchange), Some((sent, came))) => (request_and_response(attempt, exchange, sent, came)),
            _ => p.empty { "The request and response are no longer kept." },
        }
    };
    let title = format!("Attempt {}", number(&admin, attempt, progress));
    Ok(request.page(HOME, &title).show(content))
}

fn actions(
    attempt: &AttemptLogEntry,
    exchange: Option<&Exchange>,
    Neighbours { previous, next }: Neighbours,
    progress: Option<Progress>,
    here: &str,
) -> Markup {
    let can_resend = progress.is_some_and(|progress| progress.state != "waiting");
    html! {
        div.bar {
            @if can_resend {
                form.inline method="post" action="resend" {
                    (hidden("back", here)) (hidden("attempt", &attempt.id.to_string()))
                    button.primary type="submit" data-key="r" { "Resend" }
                }
            } @else if progress.is_some() { span.soft { "Its delivery is still on its way." } }
            @if let Some(exchange) = exchange {
                button type="button" hidden data-copy=(command(attempt, exchange)) { "Copy as cURL" }
            }
            @if let Some(id) = &attempt.event { a.button href={ (HOME) "?event=" (encoded(id)) } { "Attempts of this event" } }
            @if let Some(id) = previous { a.button rel="prev" href={ (HOME) "/" (id) } { "Previous attempt" } }
            @if let Some(id) = next { a.button rel="next" href={ (HOME) "/" (id) } { "Next attempt" } }
        }
    }
}

/// The request as a command line; secrets are left out, as everywhere.
fn command(attempt: &AttemptLogEntry, exchange: &Exchange) -> String {
    let headers = exchange.request_headers.iter();
    let headers = headers.map(|(name, value)| (name.as_str(), value.as_str()));
    curl(attempt.method, &attempt.uri, headers, &exchange.request_body)
}

fn request_and_response(
    attempt: &AttemptLogEntry,
    exchange: &Exchange,
    sent: &[u8],
    came: &[u8],
) -> Markup {
    let here = format!("{HOME}/{}", attempt.id);
    html! {
        h2 { "Request" }
        p { code { (attempt.method) } " " (copyable(&attempt.uri)) }
        (headers("Headers of the request", &exchange.request_headers))
        h3 { "Body" }
        (::pages::body(sent, "", &format!("{here}/request")))
        h2 { "Response" }
        @if let Some(status) = attempt.status {
            p { "Status " code { (status) } }
            (headers("Headers of the response", &exchange.response_headers))
            h3 { "Body" }
            (::pages::body(came, "", &format!("{here}/response")))
            @if exchange.is_cut { p.hint { "The response was longer; the rest is not kept." } }
        } @else {
            (alert(attempt.error.as_deref().unwrap_or("There was no response.")))
        }
    }
}

fn headers(name: &str, pairs: &[(String, String)]) -> Markup {
    let rows: Vec<_> =
        pairs.iter().map(|(name, value)| (name.as_str(), html! { (value) })).collect();
    html! {
        @if !rows.is_empty() { details.group open { summary { (name) } (facts(&rows)) } }
    }
}
