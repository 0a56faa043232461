//! Calls of Process Hooks: by outcome and by the error id that a caller reads out, and what a handler changed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use contract::time::Timestamp;
use inbox::{HOOK_OUTCOMES, HookEntry, HookFilter};
use maud::{Markup, html};
use pages::{
    Column, FormFields, Table, Tone, ago, chip, choice, facts, filters, json as json_view,
    suggested, text,
};
use serde::Serialize;
use serde_json::json;
use text::{inert, inert_lines};

use crate::deliveries::shortened;
use crate::overview::is_failure;
use crate::visit::{Failure, Visit, answer, now};
use crate::{Console, ConsoleState};

/// Number of rows on a page.
const PAGE: usize = 50;

/// Number of the latest calls from which the latencies are told.
const MEASURED: usize = 1_000;

pub(crate) fn routes() -> Router<Arc<Console>> {
    Router::new().route("/console/hooks", get(list)).route("/console/hooks/{id}", get(show))
}

/// Latencies of a hook.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Latency<'c> {
    hook: &'c str,
    calls: usize,
    failed: usize,
    #[serde(rename = "p50Us")]
    p50: u128,
    #[serde(rename = "p95Us")]
    p95: u128,
}

async fn list(State(console): ConsoleState, visit: Visit) -> Response {
    let shown = async {
        let now = now(&console);
        let query = &visit.query;
        let limit = query.number::<usize>("limit")?.unwrap_or(PAGE).clamp(1, MEASURED);
        let filter = filter(query, now, limit)?;
        let calls = console.parts.inbox.list_hooks(filter).await?;
        let latest = HookFilter { limit: Some(MEASURED), ..HookFilter::default() };
        let measured = console.parts.inbox.list_hooks(latest).await?;
        let latencies = latencies(&measured);
        let data = (&json!({ "calls": calls, "latencies": latencies }), calls.as_slice());
        let content = || content(&console, query, &calls, &latencies, now);
        Ok(visit.list(&console, ("hooks", "Hooks"), data, content).await)
    };
    answer(&console, &visit, shown).await
}

fn filter(query: &FormFields, now: Timestamp, limit: usize) -> Result<HookFilter, Failure> {
    let since = match query.some("last") {
        Some(_) => query.time("last", now)?,
        None => query.time("since", now)?,
    };
    Ok(HookFilter {
        source: query.some("source"),
        hook: query.some("hook"),
        outcome: query.some("outcome"),
        // As it is read out, in whatever letters.
        error_id: query.some("error_id").map(|id| id.to_ascii_lowercase()),
        since,
        until: query.time("until", now)?,
        before: query.number("before")?,
        limit: Some(limit),
    })
}

fn latencies(calls: &[HookEntry]) -> Vec<Latency<'_>> {
    let mut hooks: BTreeMap<&str, (Vec<Duration>, usize)> = BTreeMap::new();
    for call in calls {
        let known = hooks.entry(&call.record.hook).or_default();
        known.0.push(call.record.took);
        known.1 += usize::from(is_failure(&call.record.outcome));
    }
    let latency = |(hook, (mut took, failed)): (_, (Vec<Duration>, usize))| {
        took.sort_unstable();
        let at = |part: usize| took[(took.len() * part / 100).min(took.len() - 1)].as_micros();
        Latency { hook, calls: took.len(), failed, p50: at(50), p95: at(95) }
    };
    hooks.into_iter().map(latency).collect()
}

fn content(
    console: &Console,
    query: &FormFields,
    calls: &[HookEntry],
    latencies: &[Latency<'_>],
    now: Timestamp,
) -> Markup {
    let outcomes = HOOK_OUTCOMES.map(|outcome| (outcome, outcome));
    let ranges = [("1h", "last hour"), ("24h", "last 24 hours"), ("7d", "last 7 days")];
    let columns = [
        Column::text("Call"),
        Column::text("Outcome"),
        Column::text("User"),
        Column::text("When"),
        Column::number("Took"),
        Column::number("Callback"),
        Column::number("Status"),
        Column::text("Error id"),
        Column::text("Error"),
    ];
    let rows: Vec<Vec<Markup>> = calls.iter().map(|call| cells(call, now)).collect();
    let empty = html! {
        p { "No call matches." }
        p { "Try one: " code { "webhook-receiver emit --hook Autoships.CreateAutoship" } ", or in Swagger." }
    };
    let last = calls.last().filter(|_| calls.len() == PAGE);
    html! {
        (filters("hooks", html! {
            (text("error_id", "Error id", "That a caller reads out.", query.get("error_id")))
            (suggested("hook", "Hook", "", query.get("hook"), console.parts.table.hooks().map(|row| row.id)))
            (choice("outcome", "Outcome", Some("any"), &outcomes, query.get("outcome")))
            (choice("last", "Received", Some("any time"), &ranges, query.get("last")))
        }, None))
        (Table { name: "Calls", columns: &columns, rows: &rows, empty }.markup())
        @if let Some(last) = last { p { a rel="next" href={ "hooks?" (query.with("before", &last.id.to_string())) } { "Older" } } }
        @if !latencies.is_empty() { h2 { "Latency of the latest " (MEASURED) " calls" } (latency_table(console, latencies)) }
    }
}

fn cells(call: &HookEntry, now: Timestamp) -> Vec<Markup> {
    let record = &call.record;
    vec![
        html! { a href={ "hooks/" (call.id) } { (inert(&record.hook)) " " (call.id) } },
        outcome_chip(&record.outcome),
        html! { (inert(record.user.as_deref().unwrap_or("–"))) },
        ago(record.received_at, now),
        html! { (millis(record.took)) },
        html! { @if let Some(callback) = &record.callback { (millis(callback.took)) } },
        html! { (record.status) },
        html! { @if let Some(id) = &record.error_id { code { (id) } } },
        html! { (shortened(text::first_line(record.error.as_deref().unwrap_or_default()), 90)) },
    ]
}

fn outcome_chip(outcome: &str) -> Markup {
    let tone = match outcome {
        "answered" | "passed-through" => Tone::Good,
        outcome if is_failure(outcome) => Tone::Bad,
        _ => Tone::Warn,
    };
    chip(tone, outcome)
}

fn millis(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1000.0)
}

fn latency_table(console: &Console, latencies: &[Latency<'_>]) -> Markup {
    let columns = [
        Column::text("Hook"),
        Column::number("Calls"),
        Column::number("Failed"),
        Column::number("Median"),
        Column::number("95 %"),
        Column::number("Deadline"),
    ];
    let deadline = console.parts.hooks.iter().map(|route| route.deadline).min();
    let rows: Vec<Vec<Markup>> = latencies
        .iter()
        .map(|latency| {
            let ms = |micros: u128| format!("{:.1} ms", micros as f64 / 1000.0);
            let is_late = deadline.is_some_and(|deadline| latency.p95 * 2 > deadline.as_micros());
            vec![
                html! { a href={ "hooks?hook=" (pages::encoded(latency.hook)) } { (inert(latency.hook)) } },
                html! { (latency.calls) },
                html! { (latency.failed) },
                html! { (ms(latency.p50)) },
                html! { @if is_late { (chip(Tone::Warn, &ms(latency.p95))) } @else { (ms(latency.p95)) } },
                html! { @match deadline { Some(deadline) => (millis(deadline)), None => "–" } },
            ]
        })
        .collect();
    Table { name: "Latencies", columns: &columns, rows: &rows, empty: Markup::default() }.markup()
}

async fn show(State(console): ConsoleState, visit: Visit, Path(id): Path<i64>) -> Response {
    let shown = async {
        let call = console.parts.inbox.show_hook(id).await?;
        let call = call
            .ok_or_else(|| Failure::Missing(format!("There is no call {id} in the hook log.")))?;
        let title = format!("{} {id}", call.record.hook);
        let now = now(&console);
        let content = || call_page(&call, now);
        Ok(visit.show(&console, ("hooks", &title), &call, content).await)
    };
    answer(&console, &visit, shown).await
}

fn call_page(call: &HookEntry, now: Timestamp) -> Markup {
    let record = &call.record;
    let optional =
        |text: &Option<String>| html! { @match text { Some(text) => (inert(text)), None => "–" } };
    html! {
        (facts(&[
            ("Outcome", outcome_chip(&record.outcome)),
            ("Source", html! { (record.source) " (" (record.environment.as_str()) ")" }),
            ("User", optional(&record.user)),
            ("Received", ago(record.received_at, now)),
            ("Took", html! { (millis(record.took)) @if let Some(callback) = &record.callback { ", of which the callback " (millis(callback.took)) } }),
            ("Status", html! { (record.status) }),
            ("Error id", html! { @match &record.error_id { Some(id) => code { (id) }, None => "–" } }),
            ("Error", html! { @match &record.error { Some(error) => pre { (inert_lines(error)) }, None => "–" } }),
            ("Callback's error", html! { @match record.callback.as_ref().and_then(|callback| callback.error.as_ref()) { Some(error) => (inert(error)), None => "–" } }),
            ("Request id", html! { code { (record.request_id) } }),
        ]))
        @match &record.bodies {
            Some(bodies) => {
                (changes("What the handler asked the vendor for, in place of what the caller sent", Some(&bodies.request), bodies.callback_request.as_ref()))
                (changes("What the handler answered, in place of the vendor's answer", bodies.callback_response.as_ref(), bodies.response.as_ref()))
                div.columns { @for (name, body) in bodies.iter() {
                    section { h2 { (capital(name)) } (body_view(body)) }
                } }
            }
            None => p.hint { "Bodies are not kept; " code { "record_bodies = true" } " in the [hooks] of its source keeps them, redacted." },
        }
    }
}

fn capital(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// The differences between two bodies; nothing if one is missing.
fn changes(title: &str, was: Option<&Bytes>, is: Option<&Bytes>) -> Markup {
    let changes = was.zip(is).and_then(|(was, is)| emitter::hooks::changes(was, is));
    html! {
        @if let Some(changes) = changes {
            h2 { (title) }
            @if changes.is_empty() { p.empty { "No change." } } @else {
                pre tabindex="0" { @for emitter::hooks::JsonChange { path, was, is } in &changes {
                    (inert(path)) "\n"
                    @if let Some(was) = was { span.del { "- " (shortened(was, 2_000)) "\n" } }
                    @if let Some(is) = is { span.add { "+ " (shortened(is, 2_000)) "\n" } }
                } }
            }
        }
    }
}

fn body_view(body: &Bytes) -> Markup {
    let text = String::from_utf8_lossy(body);
    match json_view(&text, "") {
        Some(json) => json.markup,
        None if text.is_empty() => html! { p.empty { "Empty." } },
        None => {
            html! { pre tabindex="0" { (inert_lines(&text[..text.floor_char_boundary(64 * 1024)])) } }
        }
    }
}
