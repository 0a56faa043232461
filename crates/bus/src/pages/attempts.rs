//! Attempts: listed, and each with its request and its answer.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::super::{AttemptEntry, AttemptFilter, Bus, Exchange};
use super::fields::Fields;
use super::layout::{
    PAGE, Tab, body, chip, choice, facts, filters, further, last_of, moment, page, table, text,
    time,
};
use super::{Failed, encoded};

const HOME: &str = "/admin/attempts";

type Shared = State<Arc<Bus>>;

pub(super) async fn list(
    State(bus): Shared,
    RawQuery(query): RawQuery,
) -> Result<Response, Failed> {
    let query = Fields::read(query.unwrap_or_default().as_bytes())?;
    let filter = AttemptFilter { limit: Some(PAGE), ..query.filter()? };
    let attempts = bus.attempts(filter).await?;
    let cursor = last_of(&attempts).map(|last| ("before", last.id.to_string()));
    let shown = html! {
        (filter_form(&query))
        (lines(&attempts))
        (further(HOME, &query, "Older", cursor))
    };
    Ok(page("Attempts", Tab::Attempts, shown).into_response())
}

/// Attempts as a table.
pub(super) fn lines(attempts: &[AttemptEntry]) -> Markup {
    let rows: Vec<Markup> = attempts.iter().map(line).collect();
    let heads =
        ["Request", "Made (UTC)", "Event", "Subscription", "Attempt", "Answer", "Took", "Outcome"];
    table("Attempts", &heads, &rows, "No attempt yet.")
}

fn line(attempt: &AttemptEntry) -> Markup {
    html! {
        td.num { a href={ (HOME) "/" (attempt.id) } { (attempt.id) } }
        td { (time(attempt.started_at)) }
        td { (event(attempt)) }
        td { (attempt.subscription.as_deref().unwrap_or("–")) }
        td.num { (attempt.attempt) }
        td { (answer(attempt)) }
        td.num { (took(attempt)) }
        td { (chip(attempt.outcome)) }
    }
}

fn event(attempt: &AttemptEntry) -> Markup {
    let name = attempt.event_type.as_deref().unwrap_or("forgotten");
    html! {
        @if let Some(id) = &attempt.event { a href={ "/admin/events/" (encoded(id)) } { (name) } }
        @else { (name) }
    }
}

fn answer(attempt: &AttemptEntry) -> Markup {
    // The status alone says as much.
    let said = attempt.status.map(|status| format!("answered {status}"));
    let error = attempt.error.as_ref().filter(|error| said.as_ref() != Some(error));
    html! {
        @if let Some(status) = attempt.status { span.num { (status) } } @else { "none" }
        @if let Some(error) = error { p.why { (error) } }
        @if let Some(fault) = &attempt.fault { p.why { "on purpose: " (fault) } }
    }
}

fn took(attempt: &AttemptEntry) -> String {
    format!("{:.1} ms", attempt.took_us as f64 / 1000.0)
}

fn filter_form(query: &Fields) -> Markup {
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

pub(super) async fn show(State(bus): Shared, Path(id): Path<i64>) -> Result<Response, Failed> {
    let detail = bus.attempt_log(id).await?;
    let attempt = &detail.attempt;
    let shown = html! {
        p.bar {
            a.button href={ "/admin/resend?attempt=" (id) } { "Send again" }
        }
        (facts(&[
            ("Outcome", chip(attempt.outcome)),
            ("Event", event(attempt)),
            ("Subscription", html! { (attempt.subscription.as_deref().unwrap_or("–")) }),
            ("Attempt", html! { (attempt.attempt) }),
            ("Made (UTC)", time(attempt.started_at)),
            ("Took", html! { (took(attempt)) }),
            ("Answer", answer(attempt)),
        ]))
        @match &detail.exchange {
            Some(exchange) => (said(attempt, exchange)),
            None => p.empty { "What was said in it is no longer kept." },
        }
    };
    Ok(page(&format!("Request {id}"), Tab::Attempts, shown).into_response())
}

fn said(attempt: &AttemptEntry, exchange: &Exchange) -> Markup {
    html! {
        h2 { "Request" }
        p { code { (attempt.method) " " (attempt.uri) } }
        (headers(&exchange.request_headers))
        h3 { "Body" }
        (body(&exchange.request_body))
        h2 { "Answer" }
        @if let Some(status) = attempt.status {
            p { code { (status) } }
            (headers(&exchange.response_headers))
            h3 { "Body" }
            (body(&exchange.response_body))
            @if exchange.is_cut { p.empty { "The answer was longer; the rest is not kept." } }
        } @else {
            p.empty { "There was none." }
        }
    }
}

fn headers(pairs: &[(String, String)]) -> Markup {
    let rows: Vec<_> =
        pairs.iter().map(|(name, value)| (name.as_str(), html! { (value) })).collect();
    html! { @if !rows.is_empty() { (facts(&rows)) } }
}
