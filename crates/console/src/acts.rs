//! Acts of operators: what was done, by whom and to how many; the preview of a new one, and its progress.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State as StateOf};
use axum::response::Response;
use axum::routing::{get, post};
use contract::event::DeliveryId;
use contract::time::Timestamp;
use inbox::{Act, ActKind, ActState, Filter, State, Summary};
use maud::{Markup, html};
use pages::{Column, FormError, FormFields, Table, Tone, ago, button, chip, facts, hidden, text};
use serde::Serialize;
use serde_json::json;
use tracing::info;

use crate::acting::{Order, Subject, begin};
use crate::deliveries::named;
use crate::filter::{self, FIELDS};
use crate::visit::{Failure, Visit, answer, now};
use crate::{Console, ConsoleState};

/// Number of acts on a page.
const PAGE: usize = 50;

/// The longest that a preview counts.
const COUNTING: Duration = Duration::from_secs(3);

/// Largest length of a reason, and of the record's subject, in characters.
const LONGEST_REASON: usize = 500;
const LONGEST_SUBJECT: usize = 4_000;

/// Time without progress after which a running act counts as interrupted: its process has gone.
const SILENT: chrono::TimeDelta = chrono::TimeDelta::seconds(60);

pub(crate) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/console/acts", get(list).post(confirm))
        .route("/console/acts/new", get(preview))
        .route("/console/acts/now", post(at_once))
        .route("/console/acts/{id}", get(show))
        .route("/console/acts/{id}/cancel", post(cancel))
}

async fn list(StateOf(console): ConsoleState, visit: Visit) -> Response {
    let shown = async {
        let before = visit.query.number("before")?;
        let acts = console.parts.inbox.acts(before, PAGE).await?;
        let now = now(&console);
        let content = || {
            let rows: Vec<Vec<Markup>> = acts.iter().map(|act| cells(act, now)).collect();
            let columns = [
                Column::text("Act"),
                Column::text("State"),
                Column::text("By"),
                Column::text("When"),
                Column::text("Subject"),
                Column::text("Reason"),
                Column::number("Done"),
            ];
            let empty = html! { p { "No one has acted yet. Replays, discards, prunes and pauses are written down here, and who asked to see what is redacted." } };
            let oldest = acts.last().filter(|_| acts.len() == PAGE);
            html! {
                (Table { name: "Acts", columns: &columns, rows: &rows, empty }.markup())
                @if let Some(oldest) = oldest { p { a rel="next" href={ "acts?before=" (oldest.id) } { "Older" } } }
            }
        };
        Ok(visit.list(&console, ("acts", "Acts"), (&acts, acts.as_slice()), content).await)
    };
    answer(&console, &visit, shown).await
}

fn cells(act: &Act, now: Timestamp) -> Vec<Markup> {
    vec![
        html! { a href={ "acts/" (act.id) } { (act.kind.as_str()) " " (act.id) } },
        state(act, now),
        html! { (act.actor) },
        ago(act.at, now),
        html! { (act.subject) },
        html! { (act.reason.as_deref().unwrap_or_default()) },
        html! { (act.done) @if act.total > 0 { " of " (act.total) } },
    ]
}

fn state(act: &Act, now: Timestamp) -> Markup {
    match act.state {
        ActState::Running if now - act.updated_at > SILENT => chip(Tone::Bad, "interrupted"),
        ActState::Running => chip(Tone::Plain, "running"),
        ActState::Done => chip(Tone::Good, "done"),
        ActState::Cancelled => chip(Tone::Warn, "cancelled"),
        ActState::Failed => chip(Tone::Bad, "failed"),
    }
}

/// The kinds of acts on deliveries that a form may ask for.
fn kind(fields: &FormFields) -> Result<ActKind, FormError> {
    let wanted = fields.some("kind").or(fields.some("all")).unwrap_or_default();
    ActKind::from_name(&wanted)
        .filter(|kind| matches!(kind, ActKind::Replay | ActKind::Resume | ActKind::Discard))
        .ok_or_else(|| FormError::new("kind", "write replay, resume or discard"))
}

/// The filter of an act: the selected deliveries, or all that match the filter of the list.
fn selected(fields: &FormFields, now: Timestamp) -> Result<(Filter, FormFields), Failure> {
    let mut query = FormFields::default();
    let selected: Vec<&str> = fields.all("id").collect();
    if fields.some("all").is_none() && !selected.is_empty() {
        query.set("number", selected.join(","));
    } else if fields.some("all").is_some() {
        for name in FIELDS.into_iter().chain(["before"]) {
            if let Some(value) = fields.some(&format!("filter.{name}")) {
                query.set(name, value);
            }
        }
    } else {
        return Err(FormError::new(
            "",
            "No delivery is selected. Tick some rows, or choose all that match.",
        )
        .into());
    }
    let filter = Filter { before: query.number("before")?, ..filter::read(&query, now)? };
    Ok((filter, query))
}

/// The preview: how many, of which events, and what will happen.
async fn preview(StateOf(console): ConsoleState, visit: Visit) -> Response {
    let shown = async {
        let now = now(&console);
        let kind = kind(&visit.query)?;
        let (filter, mut query) = selected(&visit.query, now)?;
        if filter.body.is_some() && !visit.may_act() {
            return Err(FormError::new("text", "only operators search bodies").into());
        }
        let newest =
            console.parts.inbox.list(Filter { limit: Some(1), ..Filter::default() }).await?;
        freeze(&mut query, &filter, newest.first().map_or(0, |newest| newest.id));
        let _permit = console.long_looks.try_acquire().map_err(|_| Failure::Crowded)?;
        let (summary, done) = eligible(&console, kind, filter).await?;
        let title = format!("{} deliveries?", capitalised(kind));
        let data = json!({ "kind": kind, "filter": query.query(), "matching": summary });
        let content = || preview_page(kind, &query, (&summary, done), &console.nonce());
        Ok(visit.show(&console, ("deliveries", &title), &data, content).await)
    };
    answer(&console, &visit, shown).await
}

/// Fixes what is relative to now: deliveries that are accepted from now on are not meant.
fn freeze(query: &mut FormFields, filter: &Filter, newest: DeliveryId) {
    query.remove("last");
    for (name, time) in [("since", filter.since), ("until", filter.until)] {
        if let Some(time) = time {
            query.set(name, time.to_rfc3339());
        }
    }
    query.set("before", newest.saturating_add(1).to_string());
}

/// Counts the matching deliveries to which the act can be done, and those of them that are done already.
async fn eligible(
    console: &Console,
    kind: ActKind,
    filter: Filter,
) -> Result<(Summary, u64), Failure> {
    let states = match kind {
        ActKind::Discard => [State::Ready, State::Dead, State::Unrouted],
        _ => [State::Done, State::Dead, State::Unrouted],
    };
    let (mut all, mut done) = (Summary::default(), 0);
    for state in states {
        if filter.state.is_some_and(|wanted| wanted != state) {
            continue;
        }
        let filter = Filter { state: Some(state), ..filter.clone() };
        let found = console.parts.inbox.summarize(filter, COUNTING).await?;
        if state == State::Done {
            done = found.groups.iter().map(|group| group.count).sum();
        }
        all.groups.extend(found.groups);
        all.entities += found.entities;
        all.horizon = all.horizon.or(found.horizon);
        all.horizon_at = all.horizon_at.or(found.horizon_at);
    }
    Ok((all, done))
}

fn preview_page(
    kind: ActKind,
    query: &FormFields,
    (summary, done): (&Summary, u64),
    nonce: &str,
) -> Markup {
    let total: u64 = summary.groups.iter().map(|group| group.count).sum();
    let oldest = summary.groups.iter().map(|group| group.oldest).min();
    let newest = summary.groups.iter().map(|group| group.newest).max();
    let rows: Vec<Vec<Markup>> = summary
        .groups
        .iter()
        .map(|group| {
            vec![
                html! { (named(&group.event_type)) },
                html! { (group.source) },
                html! { (group.count) },
                html! { (group.error.as_deref().map(text::first_line).unwrap_or_default()) },
            ]
        })
        .collect();
    let columns = [
        Column::text("Event"),
        Column::text("Source"),
        Column::number("Deliveries"),
        Column::text("First error"),
    ];
    html! {
        (facts(&[
            ("Matching", html! { (total) @if summary.horizon.is_some() { " or more; counting was cut short" } }),
            ("Accepted", html! { (pages::some_time(oldest)) " – " (pages::some_time(newest)) }),
            ("Entities", html! { (summary.entities) " with an order of their own, which is kept" }),
            ("Consequence", html! { (consequence(kind)) }),
        ]))
        @if done > 0 {
            p.alert { (done) " of them are done already, and would be handled again. " a href={ "deliveries?" (query.with("state", "dead")) } { "Look at the dead ones alone" } }
        }
        h2 { "By event" }
        (Table { name: "Matching deliveries by event", columns: &columns, rows: &rows, empty: html! { p { "Nothing matches any more." } } }.markup())
        @if total > 0 {
            form method="post" action="acts" {
                (hidden("kind", kind.as_str()))
                (hidden("all", "1"))
                (hidden("total", &total.to_string()))
                (hidden("nonce", nonce))
                @for (name, value) in query.iter() { (hidden(&format!("filter.{name}"), value)) }
                fieldset {
                    legend { "Confirm" }
                    div.fields {
                        (text("reason", "Reason", "Written beside the act.", ""))
                        (text("rate", "Deliveries per second", "Empty for as fast as the receiver's own work permits.", ""))
                        @if kind == ActKind::Replay {
                            div.field { (pages::check("unapplied", "Go on with the run that has ended", false))
                                p.hint { "What a one-effect handler has applied in it is not applied again." } }
                        }
                    }
                }
                p.bar {
                    button.primary type="submit" { (capitalised(kind)) " " (total) @if summary.horizon.is_some() { " or more" } @if total == 1 { " delivery" } @else { " deliveries" } }
                    a.button href={ "deliveries?" (query.query()) } { "Look at them" }
                    a.button href={ "deliveries?" (query.query()) } { "Cancel" }
                }
            }
        } @else {
            p { a href="deliveries" { "Deliveries" } }
        }
    }
}

/// The name of an act's progress: a replay is done when the deliveries are in the queue again.
fn what_is_done(kind: ActKind) -> &'static str {
    match kind {
        ActKind::Replay | ActKind::Resume => "Put back into the queue",
        _ => "Done",
    }
}

fn consequence(kind: ActKind) -> &'static str {
    match kind {
        ActKind::Discard => {
            "They end as done, without being handled; the reason stands in their attempts. What waits behind them has its turn."
        }
        _ => "Those that have ended are handled again, the oldest first. Others are left alone.",
    }
}

fn capitalised(kind: ActKind) -> &'static str {
    match kind {
        ActKind::Replay => "Replay",
        ActKind::Resume => "Resume",
        ActKind::Discard => "Discard",
        ActKind::Prune => "Prune",
        ActKind::Pause => "Pause",
        ActKind::Unpause => "Resume dispatch",
        ActKind::Reveal => "Reveal",
    }
}

async fn confirm(StateOf(console): ConsoleState, visit: Visit, body: Bytes) -> Response {
    let shown = async {
        let fields = FormFields::read(&body)?;
        let now = now(&console);
        let kind = match kind(&fields)? {
            ActKind::Replay if fields.is_on("unapplied") => ActKind::Resume,
            kind => kind,
        };
        let (filter, query) = selected(&fields, now)?;
        let rate = fields.number::<f64>("rate")?;
        if rate.is_some_and(|rate| !(0.01..=1_000_000.0).contains(&rate)) {
            return Err(
                FormError::new("rate", "write a number of deliveries per second, above 0").into()
            );
        }
        let total = fields.number("total")?.unwrap_or_default();
        let reason = reason(&fields)?;
        let words = words(query.query());
        if let Some(nonce) = fields.some("nonce")
            && !console.use_nonce(&nonce)
        {
            return Err(FormError::new("", "This act was begun already; see the acts.").into());
        }
        let subject = Subject::Deliveries(Box::new(filter));
        let id = begin(&console, &visit.actor, Order { kind, subject, words, reason, total, rate })
            .await?;
        Ok(begun(&console, &visit, id).await)
    };
    answer(&console, &visit, shown).await
}

/// The reason in a form.
///
/// # Errors
/// If it is too long to be kept ten thousand times, and shown on a page.
pub(crate) fn reason(fields: &FormFields) -> Result<Option<String>, FormError> {
    match fields.some("reason") {
        Some(reason) if reason.chars().count() > LONGEST_REASON => {
            Err(FormError::new("reason", format!("write at most {LONGEST_REASON} characters")))
        }
        reason => Ok(reason),
    }
}

/// The subject of an act for its record, which names a large selection by its beginning.
fn words(subject: String) -> String {
    match subject.char_indices().nth(LONGEST_SUBJECT) {
        Some((end, _)) => format!("{}…", &subject[..end]),
        None => subject,
    }
}

/// An act on deliveries that the address names, without a preview.
async fn at_once(StateOf(console): ConsoleState, visit: Visit) -> Response {
    let shown = async {
        let kind = kind(&visit.query)?;
        let ids = filter::ids(&visit.query, "number")?;
        if ids.is_empty() {
            return Err(FormError::new("number", "name the deliveries").into());
        }
        let total = ids.len() as u64;
        let numbers: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let words = words(format!("number={}", numbers.join(",")));
        let subject = Subject::Deliveries(Box::new(Filter { ids, ..Filter::default() }));
        let reason = reason(&visit.query)?;
        let id = begin(
            &console,
            &visit.actor,
            Order { kind, subject, words, reason, total, rate: None },
        )
        .await?;
        Ok(begun(&console, &visit, id).await)
    };
    answer(&console, &visit, shown).await
}

async fn begun(console: &Console, visit: &Visit, id: i64) -> Response {
    match visit.is_page() {
        true => visit.to(&format!("acts/{id}")),
        false => visit.show(console, ("acts", "Act"), &json!({ "act": id }), Markup::default).await,
    }
}

/// An act, as JSON.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    act: &'a Act,
    interrupted: bool,
}

async fn show(StateOf(console): ConsoleState, visit: Visit, Path(id): Path<i64>) -> Response {
    let shown = async {
        let act = console.parts.inbox.act(id).await?;
        let act = act.ok_or_else(|| Failure::Missing(format!("There is no act {id}.")))?;
        let now = now(&console);
        let is_running = act.state == ActState::Running;
        let interrupted = is_running && now - act.updated_at > SILENT;
        let title = format!("{} {id}", capitalised(act.kind));
        let data = Shown { act: &act, interrupted };
        let content = || act_page(&act, interrupted, visit.may_act(), now);
        let mut response = visit.show(&console, ("acts", &title), &data, content).await;
        if is_running && !interrupted && visit.is_page() {
            // The page follows the act without a script.
            response.headers_mut().insert("refresh", http::HeaderValue::from_static("2"));
        }
        Ok(response)
    };
    answer(&console, &visit, shown).await
}

fn act_page(act: &Act, interrupted: bool, may_act: bool, now: Timestamp) -> Markup {
    let is_running = act.state == ActState::Running && !interrupted;
    // A command records JSON, and a large selection its beginning: neither is a query.
    let is_query = matches!(act.kind, ActKind::Replay | ActKind::Resume | ActKind::Discard)
        && !act.subject.starts_with('{')
        && !act.subject.ends_with('…');
    html! {
        (facts(&[
            ("State", state(act, now)),
            (what_is_done(act.kind), html! {
                (act.done) @if act.total > 0 { " of " (act.total) }
                @if is_running && act.total > 0 { progress max=(act.total) value=(act.done) aria-label="Progress" {} }
            }),
            ("By", html! { (act.actor) }),
            ("Begun", ago(act.at, now)),
            ("Last progress", ago(act.updated_at, now)),
            ("Subject", html! { @if is_query { a href={ "deliveries?" (act.subject) } { (act.subject) } } @else { (act.subject) } }),
            ("Reason", html! { (act.reason.as_deref().unwrap_or("–")) }),
        ]))
        @if let Some(error) = &act.error { p.alert role="alert" { (error) } }
        @if interrupted { p.alert role="alert" { "There was no progress for a minute: the process that carried it out has gone. What is done is done; begin it again for the rest." } }
        @if act.state == ActState::Done && act.done < act.total {
            p.hint { (act.total - act.done) " had changed since the preview and were left alone." }
        }
        div.bar {
            @if act.state == ActState::Running && may_act { (button(&format!("acts/{}/cancel", act.id), "Cancel", "the act")) }
            a.button href="acts" { "All acts" }
            a.button href="deliveries" { "Deliveries" }
        }
    }
}

async fn cancel(StateOf(console): ConsoleState, visit: Visit, Path(id): Path<i64>) -> Response {
    let shown = async {
        if console.parts.inbox.cancel_act(id).await? {
            info!(act = id, user = visit.actor.name, "an operator has cancelled an act");
        }
        Ok(begun(&console, &visit, id).await)
    };
    answer(&console, &visit, shown).await
}

/// States of which old deliveries may be deleted.
pub(crate) const PRUNED: [State; 4] = [State::Done, State::Unrouted, State::Dead, State::Canary];

/// Begins to delete what ended longer ago than the age.
pub(crate) async fn prune(
    console: &Arc<Console>,
    visit: &Visit,
    state: State,
    age: Duration,
    reason: Option<String>,
) -> Result<Response, Failure> {
    let words = format!("{} that ended longer ago than {}", state.as_str(), pages::length(age));
    let subject = Subject::Ended(state, age);
    let order = Order { kind: ActKind::Prune, subject, words, reason, total: 0, rate: None };
    let id = begin(console, &visit.actor, order).await?;
    Ok(begun(console, visit, id).await)
}
