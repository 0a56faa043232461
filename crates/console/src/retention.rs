//! Retention: what is deleted when, the size of the inbox, and pruning by hand.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State as StateOf;
use axum::response::Response;
use axum::routing::get;
use inbox::{Filter, State, StoreSize, Summary};
use maud::{Markup, html};
use pages::{Column, FormError, FormFields, Table, choice, facts, hidden, text};
use serde_json::json;

use crate::acts::{PRUNED, prune, reason};
use crate::counts::{self, ByState, Counts};
use crate::overview::bytes;
use crate::visit::{Failure, Visit, answer, now};
use crate::{Console, ConsoleState};

/// The longest that the preview counts.
const COUNTING: Duration = Duration::from_secs(2);

pub(crate) fn routes() -> Router<Arc<Console>> {
    Router::new().route("/console/retention", get(show).post(confirm))
}

/// A prune that a form asks for.
struct Wanted {
    state: State,
    age: Duration,
}

impl Wanted {
    /// Reads the form; none if nothing is asked for.
    fn of(fields: &FormFields) -> Result<Option<Wanted>, FormError> {
        let Some(state) = fields.some("state") else { return Ok(None) };
        let state = PRUNED.into_iter().find(|own| own.as_str() == state);
        let state =
            state.ok_or_else(|| FormError::new("state", "write done, unrouted, dead or canary"))?;
        let age = humantime::parse_duration(fields.get("age"));
        let age = age.map_err(|_| FormError::new("age", "write a time such as 30d"))?;
        Ok(Some(Wanted { state, age }))
    }
}

async fn show(StateOf(console): ConsoleState, visit: Visit) -> Response {
    let shown = async {
        let inbox = &console.parts.inbox;
        let (size, counts) = tokio::join!(inbox.size(), Counts::get(&console));
        let (size, counts) = (size?, counts?);
        let wanted = match Wanted::of(&visit.query) {
            Ok(wanted) => Ok(wanted),
            Err(error) if visit.is_page() => Err(error),
            Err(error) => return Err(error.into()),
        };
        let preview = match &wanted {
            Ok(Some(wanted)) => Some(matching(&console, wanted).await?),
            _ => None,
        };
        let data = json!({ "size": size, "counts": counts, "matching": preview });
        let content = || {
            html! {
                @if let Err(error) = &wanted { (pages::alert(&error.to_string())) }
                (rules(&console, &size, &counts))
                @if visit.may_act() {
                    h2 { "Delete by hand" }
                    (form(&visit.query))
                    @if let (Ok(Some(wanted)), Some(preview)) = (&wanted, &preview) { (confirmation(wanted, preview, &visit.query)) }
                }
            }
        };
        Ok(visit.show(&console, ("retention", "Retention"), &data, content).await)
    };
    answer(&console, &visit, shown).await
}

/// Counts by the time of acceptance, which is at most that of the end: what ended before was accepted before.
async fn matching(console: &Console, wanted: &Wanted) -> Result<Summary, Failure> {
    let age = chrono::TimeDelta::from_std(wanted.age).unwrap_or(chrono::TimeDelta::days(100_000));
    let until = now(console).checked_sub_signed(age);
    let filter = Filter { state: Some(wanted.state), until, ..Filter::default() };
    Ok(console.parts.inbox.summarize(filter, COUNTING).await?)
}

fn rules(console: &Console, size: &StoreSize, counts: &Option<ByState>) -> Markup {
    let config = &console.parts.config;
    let kept = |age: Duration| pages::length(age.max(config.dedup.window));
    let columns = [
        Column::text("What"),
        Column::text("Kept for"),
        Column::text("Setting"),
        Column::number("Now"),
    ];
    let count =
        |state| html! { @match counts::of(counts, state) { Some(count) => (count), None => "…" } };
    let row = |what: &str, kept: String, setting: &str, now: Markup| {
        vec![html! { (what) }, html! { (kept) }, html! { code { (setting) } }, now]
    };
    let rows = [
        row(
            "Handled deliveries (done)",
            kept(config.retention.done),
            "done in [retention]",
            Markup::default(),
        ),
        row(
            "Deliveries without a handler (unrouted)",
            kept(config.retention.unrouted),
            "unrouted in [retention]",
            count(State::Unrouted),
        ),
        row(
            "Dead deliveries",
            "until a person replays, discards or deletes them".into(),
            "–",
            count(State::Dead),
        ),
        row("Waiting deliveries", "until they are handled".into(), "–", count(State::Ready)),
        row(
            "Hook calls",
            pages::length(config.retention.hooks),
            "hooks in [retention]",
            Markup::default(),
        ),
        row(
            "Ids of messages, to recognise resends",
            pages::length(config.dedup.window),
            "window in [dedup]",
            Markup::default(),
        ),
        row("Canaries", "1 h".into(), "–", Markup::default()),
        row("Refused requests", "the latest 500".into(), "–", Markup::default()),
        row("Acts of operators", "the latest 10,000".into(), "–", Markup::default()),
    ];
    html! {
        (facts(&[
            ("Size of the inbox", html! { (bytes(size.bytes)) }),
            ("Free on its disk", html! { @match size.free { Some(free) => (bytes(free)), None => "the database's own matter" } }),
            ("Deliveries", html! { "about " (size.deliveries) }),
        ]))
        h2 { "Rules" }
        (Table { name: "Rules", columns: &columns, rows: &rows, empty: Markup::default() }.markup())
    }
}

fn form(query: &FormFields) -> Markup {
    let states = PRUNED.map(|state| (state.as_str(), state.as_str()));
    html! {
        form method="get" action="retention" {
            fieldset {
                legend { "Ended deliveries" }
                div.fields {
                    (choice("state", "State", None, &states, query.get("state")))
                    (text("age", "Ended longer ago than", "Such as 30d.", query.get("age")))
                }
                p { button type="submit" { "Preview" } }
            }
        }
    }
}

fn confirmation(wanted: &Wanted, preview: &Summary, query: &FormFields) -> Markup {
    let count: u64 = preview.groups.iter().map(|group| group.count).sum();
    html! {
        section aria-labelledby="preview" {
            h3 id="preview" { "Preview" }
            p { @if preview.horizon.is_some() { "At least " } "up to " (count) " " (wanted.state.as_str()) " deliveries were accepted before then; those that also ended before then are deleted for good. A resend of one is new again." }
            form method="post" action="retention" {
                @for name in ["state", "age"] { (hidden(name, query.get(name))) }
                (text("reason", "Reason", "Written beside the act.", ""))
                p { button.danger type="submit" { "Delete them" } }
            }
        }
    }
}

async fn confirm(StateOf(console): ConsoleState, visit: Visit, body: Bytes) -> Response {
    let shown = async {
        let fields = FormFields::read(&body)?;
        let wanted = Wanted::of(&fields)?;
        let wanted = wanted.ok_or_else(|| FormError::new("state", "name the state"))?;
        prune(&console, &visit, wanted.state, wanted.age, reason(&fields)?).await
    };
    answer(&console, &visit, shown).await
}
