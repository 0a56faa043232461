//! The list of deliveries: filtered by its address, newest first, with a cursor both ways.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State as StateOf;
use axum::response::Response;
use axum::routing::get;
use contract::event::DeliveryId;
use contract::time::Timestamp;
use inbox::{Entry, Filter, Order, Page as Found, State, Summary};
use maud::{Markup, html};
use pages::{Column, FormFields, Table, Tone, ago, chip, hidden, live_switch};
use serde::Serialize;

use crate::filter::{self, FIELDS, SAVED};
use crate::visit::{Failure, Visit, answer, now};
use crate::{Console, ConsoleState, live};

/// Number of rows on a page.
const PAGE: usize = 50;

/// The most rows of a program's request.
const MOST: usize = 1_000;

/// The longest that a page looks for its rows, and counts the rest.
const PATIENCE: Duration = Duration::from_millis(20);
const COUNTING: Duration = Duration::from_millis(10);

/// The columns of the list.
const COLUMNS: [Column; 9] = [
    Column::text("Select"),
    Column::text("State"),
    Column::text("Event"),
    Column::text("Source"),
    Column::text("Message id"),
    Column::text("Accepted"),
    Column::number("Attempts"),
    Column::text("Last error"),
    Column::text("Act"),
];

pub(crate) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/console/deliveries", get(list))
        .route("/console/deliveries/live", get(live::deliveries))
}

/// A page of the list, as JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'l> {
    deliveries: &'l [Entry],
    /// Set if there are more: the cursor of the next page, as `before`.
    before: Option<DeliveryId>,
    /// Set if the search ended early: everything accepted since then was looked through.
    looked_through_since: Option<Timestamp>,
    matching: &'l Summary,
}

async fn list(StateOf(console): ConsoleState, visit: Visit) -> Response {
    answer(&console, &visit, show(&console, &visit)).await
}

async fn show(console: &Console, visit: &Visit) -> Result<Response, Failure> {
    let now = now(console);
    let query = &visit.query;
    let filter = match filter::of(visit, now) {
        Ok(filter) => filter,
        Err(error) if visit.is_page() => {
            let content = html! {
                (pages::alert(&error.to_string()))
                (filter::form(console, query))
            };
            return Ok(visit.page(console, "deliveries", "Deliveries", content).await);
        }
        Err(error) => return Err(error.into()),
    };
    let limit = query.number::<usize>("limit")?.unwrap_or(PAGE).clamp(1, MOST);
    let all = Filter { limit: None, ..filter.clone() };
    let counting = async {
        match all == Filter::default() {
            // There are too many of all deliveries to count them for each page.
            true => Ok(Summary::default()),
            false => console.parts.inbox.summarize(all, COUNTING).await,
        }
    };
    let (found, summary) = tokio::join!(page(console, &filter, query, limit), counting);
    let (found, summary) = (found?, summary?);
    let before = found.older;
    let listed = Listed {
        deliveries: &found.page.entries,
        before,
        looked_through_since: found.page.horizon_at,
        matching: &summary,
    };
    let data = (&listed, found.page.entries.as_slice());
    let heads = ("deliveries", "Deliveries");
    let content = || content(console, visit, &filter, &found, before, &summary, now);
    Ok(visit.list(console, heads, data, content).await)
}

/// A page, and the cursors of its neighbours.
struct Listing {
    page: Found,
    /// The cursor of the page with older deliveries, as `before`.
    older: Option<DeliveryId>,
    /// The cursor of the page with newer deliveries, as `after`.
    newer: Option<DeliveryId>,
}

/// Finds a page: after the cursor `before`, before the cursor `after`, or the newest.
async fn page(
    console: &Console,
    filter: &Filter,
    query: &FormFields,
    limit: usize,
) -> Result<Listing, Failure> {
    let (before, after) = (query.number("before")?, query.number("after")?);
    let inbox = &console.parts.inbox;
    let limited = Filter { limit: Some(limit), ..filter.clone() };
    if let (Some(after), None) = (after, before) {
        let filter = Filter { after: Some(after), order: Order::OldestFirst, ..limited };
        let mut page = inbox.search(filter, PATIENCE).await?;
        page.entries.reverse();
        let newest = page.entries.first().map(|first| first.id);
        let has_newer = page.entries.len() == limit || page.horizon.is_some();
        let newer = page.horizon.or(newest).filter(|_| has_newer);
        let older = page.entries.last().map_or(after.saturating_add(1), |last| last.id);
        // It was looked through from the other end.
        page.horizon_at = None;
        return Ok(Listing { page, older: Some(older), newer });
    }
    let page = inbox.search(Filter { before, ..limited }, PATIENCE).await?;
    let (first, last) = (page.entries.first(), page.entries.last());
    let has_older = page.entries.len() == limit || page.horizon.is_some();
    let older = page.horizon.or(last.map(|last| last.id)).filter(|_| has_older);
    let newer = before.map(|before| first.map_or(before.saturating_sub(1), |first| first.id));
    Ok(Listing { page, older, newer })
}

fn content(
    console: &Console,
    visit: &Visit,
    filter: &Filter,
    found: &Listing,
    before: Option<DeliveryId>,
    summary: &Summary,
    now: Timestamp,
) -> Markup {
    let query = &visit.query;
    let own = query.only(&FIELDS);
    let newest = found.page.entries.first().map_or(0, |first| first.id);
    let rows: Vec<Vec<Markup>> =
        found.page.entries.iter().map(|entry| cells(entry, now, visit.may_act())).collect();
    let is_first = found.newer.is_none();
    html! {
        (note(query))
        nav aria-label="Saved views" { ul.saved {
            @for (name, saved) in SAVED { li { a href={ "deliveries" @if !saved.is_empty() { "?" (saved) } } { (name) } } }
        } }
        (filter::form(console, query))
        p.bar {
            span { (counted(summary, filter)) }
            @if is_first {
                (live_switch(&format!("deliveries/live?{}", own.with("from", &newest.to_string()))))
            }
            a href={ "deliveries?" (own.query()) } { "Newest" }
        }
        @if visit.may_act() {
            form method="get" action="acts/new" {
                // What Enter in a field of the form does.
                button.unseen type="submit" name="kind" value="replay" tabindex="-1" aria-hidden="true" { "Replay selected…" }
                @for (name, value) in own.iter() { (hidden(&format!("filter.{name}"), value)) }
                (table(&rows, found))
                @if !rows.is_empty() {
                    p.bar {
                        label.inline { input type="checkbox" hidden data-every="1" aria-label="Select all rows of this page"; }
                        button type="submit" name="kind" value="replay" { "Replay selected…" }
                        button type="submit" name="kind" value="discard" { "Discard selected…" }
                        button type="submit" name="all" value="replay" { "Replay all that match…" }
                        button type="submit" name="all" value="discard" { "Discard all that match…" }
                    }
                }
            }
        } @else {
            (table(&rows, found))
        }
        (horizon(found))
        nav aria-label="Pages" { p.bar {
            @if let Some(newer) = found.newer {
                a rel="prev" href={ "deliveries?" (own.with("after", &newer.to_string())) } { "Newer" }
            }
            @if let Some(before) = before {
                a rel="next" href={ "deliveries?" (own.with("before", &before.to_string())) } { @if found.page.entries.is_empty() { "Look further" } @else { "Older" } }
            }
        } }
        (keys())
    }
}

fn table(rows: &[Vec<Markup>], found: &Listing) -> Markup {
    let ids: Vec<String> = found.page.entries.iter().map(|entry| row_id(entry.id)).collect();
    Table { rows, empty: empty(found), ..TABLE }.markup_with_ids(&ids)
}

/// The list without its rows.
const TABLE: Table<'static> = Table {
    name: "Deliveries",
    columns: &COLUMNS,
    rows: &[],
    empty: maud::PreEscaped(String::new()),
};

/// The id of a row, by which a live view replaces it.
pub(crate) fn row_id(id: DeliveryId) -> String {
    format!("d{id}")
}

/// The row of a delivery, as a live view sends it.
pub(crate) fn live_row(entry: &Entry, now: Timestamp, may_act: bool) -> String {
    TABLE.row_with_id(&row_id(entry.id), &cells(entry, now, may_act)).into_string()
}

fn cells(entry: &Entry, now: Timestamp, may_act: bool) -> Vec<Markup> {
    let id = entry.id;
    vec![
        html! { @if may_act { input type="checkbox" name="id" value=(id) aria-label={ "Select delivery " (id) }; } },
        state_chip(entry.state),
        html! { a href={ "deliveries/" (id) } { (named(&entry.event_type)) } " " span.hint { (id) } },
        html! { (entry.source) @if entry.environment != "live" { " (" (entry.environment) ")" } },
        html! { span title=(text::inert(&entry.message_id)) { (shortened(&entry.message_id, 20)) } (remarks(entry)) },
        ago(entry.received_at, now),
        html! { (entry.attempts) @if let (State::Ready, Some(due)) = (entry.state, entry.due_at.filter(|due| *due > now)) { p.why { "next " (ago(due, now)) } } },
        html! { @if let Some(error) = &entry.last_error { span title=(text::inert(error)) { (shortened(text::first_line(error), 90)) } } },
        html! { @if may_act && entry.state.can_be_replayed() {
            button type="submit" formmethod="post" formaction={ "acts/now?kind=replay&number=" (id) } data-key="r" { "Replay" }
        } },
    ]
}

/// Conflicts, and resends that nothing but the bytes recognises.
fn remarks(entry: &Entry) -> Markup {
    html! {
        @if entry.conflicts > 0 { " " (chip(Tone::Warn, &format!("{} with other bytes", entry.conflicts))) }
        @if entry.replays > 0 { " " (chip(Tone::Plain, "replayed")) }
    }
}

/// The chip of a state.
pub(crate) fn state_chip(state: State) -> Markup {
    let tone = match state {
        State::Done => Tone::Good,
        State::Dead => Tone::Bad,
        State::Unrouted => Tone::Warn,
        State::Ready | State::Running | State::Canary => Tone::Plain,
    };
    chip(tone, state.as_str())
}

/// The name of an event.
pub(crate) fn named(event_type: &str) -> Cow<'_, str> {
    if event_type.is_empty() { Cow::Borrowed("(not named)") } else { text::inert(event_type) }
}

/// Text, cut to a number of characters.
pub(crate) fn shortened(text: &str, longest: usize) -> String {
    let text = text::inert(text);
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

fn counted(summary: &Summary, filter: &Filter) -> Markup {
    let count: u64 = summary.groups.iter().map(|group| group.count).sum();
    html! {
        @if *filter == Filter::default() { "All deliveries, newest first" }
        @else if summary.horizon.is_some() { (count) "+ match" }
        @else { (count) @if count == 1 { " matches" } @else { " match" } }
    }
}

fn horizon(found: &Listing) -> Markup {
    html! {
        @if let Some(at) = found.page.horizon_at {
            p.hint { "Looked through everything that was accepted since " (pages::time(at)) ". “Older” looks further." }
        }
    }
}

fn empty(found: &Listing) -> Markup {
    html! {
        @if found.page.horizon.is_some() { p { "Nothing found so far." } }
        @else {
            p { "No delivery matches." }
            p { "Nothing has arrived yet? Send one: " code { "webhook-receiver emit OrderEvent" } ", or see what was " a href="refused" { "refused" } "." }
        }
    }
}

/// The note on an act that was begun from this page.
fn note(query: &FormFields) -> Markup {
    html! {
        @if let Ok(Some(act)) = query.number::<i64>("act") {
            p.note role="status" { "Begun: " a href={ "acts/" (act) } { "act " (act) } "." }
        }
    }
}

fn keys() -> Markup {
    html! {
        details id="keys" { summary { "Keys" }
            p.hint { kbd { "/" } " filter, " kbd { "j" } " and " kbd { "k" } " next and previous row, " kbd { "Enter" } " open, " kbd { "x" } " select, " kbd { "r" } " replay, " kbd { "n" } " and " kbd { "p" } " older and newer page" }
        }
    }
}
