//! The dispatch: what runs, what waits behind what, and its pause.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State as StateOf;
use axum::response::Response;
use axum::routing::{get, post};
use contract::time::Timestamp;
use inbox::{ActKind, Blocked, Entry, Filter, NewPause, Pause, State};
use maud::{Markup, html};
use pages::{Column, FormFields, Table, ago, facts, text};
use serde_json::json;
use text::inert;

use crate::acting::note;
use crate::acts::reason;
use crate::deliveries::{named, shortened, state_chip};
use crate::visit::{Visit, answer, now};
use crate::{Console, ConsoleState};

/// The longest look for what runs, and the most of it.
const PATIENCE: Duration = Duration::from_millis(20);
const MOST: usize = 50;

pub(crate) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/console/dispatch", get(show))
        .route("/console/dispatch/pause", post(pause))
        .route("/console/dispatch/resume", post(resume))
}

async fn show(StateOf(console): ConsoleState, visit: Visit) -> Response {
    let shown = async {
        let inbox = &console.parts.inbox;
        let pause = inbox.paused().await?;
        let running =
            Filter { state: Some(State::Running), limit: Some(MOST), ..Filter::default() };
        let running = inbox.search(running, PATIENCE).await?.entries;
        let blocked = inbox.blocked(MOST).await?;
        let now = now(&console);
        let data = json!({ "paused": pause, "running": running, "blocked": blocked });
        let content = || content(&console, &visit, pause.as_ref(), &running, &blocked, now);
        Ok(visit.show(&console, ("dispatch", "Dispatch"), &data, content).await)
    };
    answer(&console, &visit, shown).await
}

fn content(
    console: &Console,
    visit: &Visit,
    pause: Option<&Pause>,
    running: &[Entry],
    blocked: &[Blocked],
    now: Timestamp,
) -> Markup {
    let settings = &console.parts.config.dispatch;
    let schedule: Vec<String> =
        settings.schedule.iter().map(|delay| pages::length(*delay)).collect();
    html! {
        @if visit.may_act() { (switch(pause)) }
        (facts(&[
            ("State", html! { @if pause.is_some() || settings.paused { "paused" } @else { "running" } }),
            ("This process", html! { @if console.parts.works { "handles deliveries, " (settings.concurrency) " at once" } @else { "receives only; workers handle" } }),
            ("Time limit of an attempt", html! { (pages::length(settings.timeout)) }),
            ("Delays between attempts", html! { (schedule.join(", ")) "; then dead" }),
        ]))
        h2 { "Running now" }
        (running_table(running, now))
        h2 { "Entities that wait" }
        p.hint { "Deliveries of one entity are handled one after the other. Here the first of each is named, if others wait behind it." }
        (blocked_table(blocked, visit.may_act(), now))
    }
}

/// The form that pauses, or resumes.
fn switch(pause: Option<&Pause>) -> Markup {
    html! {
        @if pause.is_some() {
            form.bar method="post" action="dispatch/resume" { button.primary type="submit" { "Resume dispatch" } }
        } @else {
            form method="post" action="dispatch/pause" {
                fieldset {
                    legend { "Pause" }
                    (text("reason", "Reason", "It is shown on every page, and written down.", ""))
                    p { button type="submit" { "Pause dispatch" } }
                    p.hint { "Deliveries are still accepted. Handlers that run now end as usual; hooks are answered as ever." }
                }
            }
        }
    }
}

fn running_table(running: &[Entry], now: Timestamp) -> Markup {
    let columns = [
        Column::text("Delivery"),
        Column::text("Source"),
        Column::number("Attempt"),
        Column::text("Worker"),
        Column::text("Lease ends"),
    ];
    let rows: Vec<Vec<Markup>> = running
        .iter()
        .map(|entry| vec![
            html! { a href={ "deliveries/" (entry.id) } { (named(&entry.event_type)) " " (entry.id) } },
            html! { (entry.source) },
            html! { (entry.attempts) },
            html! { (entry.owner.as_deref().unwrap_or("–")) },
            html! { @if let Some(until) = entry.due_at { (ago(until, now)) } },
        ])
        .collect();
    let empty = html! { p { "No handler is at work." } };
    Table { name: "Running now", columns: &columns, rows: &rows, empty }.markup()
}

fn blocked_table(blocked: &[Blocked], may_act: bool, now: Timestamp) -> Markup {
    let columns = [
        Column::text("Entity"),
        Column::number("Waiting"),
        Column::text("Behind"),
        Column::text("State"),
        Column::text("Next attempt"),
        Column::text("Last error"),
        Column::text("Act"),
    ];
    let rows: Vec<Vec<Markup>> = blocked
        .iter()
        .map(|one| vec![
            html! { a href={ "deliveries?state=ready&entity=" (pages::encoded(&one.ordering_key)) } { (shortened(&one.ordering_key, 60)) } },
            html! { (one.waiting) },
            html! { a href={ "deliveries/" (one.first.id) } { (named(&one.first.event_type)) " " (one.first.id) } },
            state_chip(one.first.state),
            html! { @if let Some(due) = one.first.due_at { (ago(due, now)) } },
            html! { (inert(text::first_line(one.first.last_error.as_deref().unwrap_or_default()))) },
            html! { @if may_act && one.first.state == State::Ready { a.button href={ "acts/new?kind=discard&id=" (one.first.id) } { "Skip…" } } },
        ])
        .collect();
    let empty = html! { p { "Nothing waits behind another." } };
    Table { name: "Entities that wait", columns: &columns, rows: &rows, empty }.markup()
}

async fn pause(StateOf(console): ConsoleState, visit: Visit, body: Bytes) -> Response {
    let shown = async {
        let fields = FormFields::read(&body)?;
        let reason = reason(&fields)?;
        let by = visit.actor.name.clone();
        console.parts.inbox.pause(NewPause { by, reason: reason.clone() }).await?;
        note(&console, &visit.actor, ActKind::Pause, "dispatch".into(), reason).await?;
        Ok(visit.to("dispatch"))
    };
    answer(&console, &visit, shown).await
}

async fn resume(StateOf(console): ConsoleState, visit: Visit) -> Response {
    let shown = async {
        console.parts.inbox.unpause().await?;
        note(&console, &visit.actor, ActKind::Unpause, "dispatch".into(), None).await?;
        Ok(visit.to("dispatch"))
    };
    answer(&console, &visit, shown).await
}
