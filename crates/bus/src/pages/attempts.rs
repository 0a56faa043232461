//! The attempts pages: the list, and each attempt with its request and response.

use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::super::{AttemptFilter, AttemptLogEntry, Exchange};
use super::fields::FormFields;
use super::layout::{
    PAGE, Tab, body, chip, choice, facts, filters, further, last_of, moment, page, table, text,
    time,
};
use super::{BusState, PageFailure, encoded};

const HOME: &str = "/admin/attempts";

pub(super) async fn list(
    State(bus): BusState,
    RawQuery(query): RawQuery,
) -> Result<Response, PageFailure> {
    let query = FormFields::read(query.unwrap_or_default().as_bytes())?;
    let filter = AttemptFilter { limit: Some(PAGE), ..query.filter()? };
    let attempts = bus.attempts(filter).await?;
    let cursor = last_of(&attempts).map(|last| ("before", last.id.to_string()));
    let content = html! {
        (filter_form(&query))
        (lines(&attempts))
        (further(HOME, &query, "Older", cursor))
    };
    Ok(page("Attempts", Tab::Attempts, content).into_response())
}

/// Attempts as a table.
pub(super) fn lines(attempts: &[AttemptLogEntry]) -> Markup {
    let rows: Vec<Markup> = attempts.iter().map(line).collect();
    let heads = [
        "Request",
        "Time (UTC)",
        "Event",
        "Subscription",
        "Attempt",
        "Response",
        "Duration",
        "Outcome",
    ];
    table("Attempts", &heads, &rows, "No attempt matches.")
}

fn line(attempt: &AttemptLogEntry) -> Markup {
    html! {
        td.num { a href={ (HOME) "/" (attempt.id) } { (attempt.id) } }
        td { (time(attempt.started_at)) }
        td { (event(attempt)) }
        td { (attempt.subscription.as_deref().unwrap_or("–")) }
        td.num { (attempt.attempt) }
        td { (response(attempt)) }
        td.num { (duration(attempt)) }
        td { (chip(attempt.outcome)) }
    }
}

fn event(attempt: &AttemptLogEntry) -> Markup {
    let name = attempt.event_type.as_deref().unwrap_or("pruned");
    html! {
        @if let Some(id) = &attempt.event { a href={ "/admin/events/" (encoded(id)) } { (name) } }
        @else { (name) }
    }
}

fn response(attempt: &AttemptLogEntry) -> Markup {
    // An error that only repeats the status is left out.
    let repeated = attempt.status.map(|status| format!("answered {status}"));
    let error = attempt.error.as_ref().filter(|error| repeated.as_ref() != Some(error));
    html! {
        @if let Some(status) = attempt.status { span.num { (status) } } @else { "none" }
        @if let Some(error) = error { p.why { (error) } }
        @if let Some(fault) = &attempt.fault { p.why { "on purpose: " (fault) } }
    }
}

fn duration(attempt: &AttemptLogEntry) -> String {
    format!("{:.1} ms", attempt.took_us as f64 / 1000.0)
}

fn filter_form(query: &FormFields) -> Markup {
    let outcomes = ["delivered", "again", "given_up", "gone", "copy"];
    let fields = html! {
        (text("subscription", "Subscription", "", query.get("subscription")))
        (text("event", "Event id", "", query.get("event")))
        (text("status", "Status", "", query.get("status")))
        (choice("outcome", "Outcome", Some("any"), &outcomes, query.get("outcome")))
        (moment("since", "Since (UTC)", query.get("since")))
        (moment("until", "Until (UTC)", query.get("until")))
    };
    filters(HOME, fields)
}

pub(super) async fn show(
    State(bus): BusState,
    Path(id): Path<i64>,
) -> Result<Response, PageFailure> {
    let detail = bus.attempt_log(id).await?;
    let attempt = &detail.attempt;
    let content = html! {
        p.bar {
            a.button href={ "/admin/resend?attempt=" (id) } { "Send again" }
        }
        (facts(&[
            ("Outcome", chip(attempt.outcome)),
            ("Event", event(attempt)),
            ("Subscription", html! { (attempt.subscription.as_deref().unwrap_or("–")) }),
            ("Attempt", html! { (attempt.attempt) }),
            ("Time (UTC)", time(attempt.started_at)),
            ("Duration", html! { (duration(attempt)) }),
            ("Response", response(attempt)),
        ]))
        @match &detail.exchange {
            Some(exchange) => (request_and_response(attempt, exchange)),
            None => p.empty { "The request and response are no longer kept." },
        }
    };
    Ok(page(&format!("Request {id}"), Tab::Attempts, content).into_response())
}

fn request_and_response(attempt: &AttemptLogEntry, exchange: &Exchange) -> Markup {
    html! {
        h2 { "Request" }
        p { code { (attempt.method) " " (attempt.uri) } }
        (headers(&exchange.request_headers))
        h3 { "Body" }
        (body(&exchange.request_body))
        h2 { "Response" }
        @if let Some(status) = attempt.status {
            p { code { (status) } }
            (headers(&exchange.response_headers))
            h3 { "Body" }
            (body(&exchange.response_body))
            @if exchange.is_cut { p.empty { "The response was longer; the rest is not kept." } }
        } @else {
            p.empty { "There was no response." }
        }
    }
}

fn headers(pairs: &[(String, String)]) -> Markup {
    let rows: Vec<_> =
        pairs.iter().map(|(name, value)| (name.as_str(), html! { (value) })).collect();
    html! { @if !rows.is_empty() { (facts(&rows)) } }
}
