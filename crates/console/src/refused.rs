//! Refused requests, and those that brought nothing new: by reason, with what would have matched.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use contract::time::Timestamp;
use inbox::{Entry, Filter, Rejection};
use maud::{Markup, html};
use pages::{Column, FormFields, Table, Tone, ago, chip, choice, filters, text};
use serde::Serialize;
use serde_json::json;
use text::inert;
use tokio::time::Instant;

use crate::deliveries::{named, shortened, state_chip};
use crate::sources::shown_path;
use crate::visit::{Failure, Visit, answer, answer_within, now};
use crate::{Console, ConsoleState};

/// The longest wait for the next request, and the time between two looks.
const LISTENING: Duration = Duration::from_secs(25);
const INTERVAL: Duration = Duration::from_millis(200);

/// The number of single requests on a page.
const MOST: usize = 100;

pub(crate) fn routes() -> Router<Arc<Console>> {
    Router::new().route("/console/refused", get(list)).route("/console/refused/next", get(listen))
}

/// Requests with the same status, source and reason.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Reason<'r> {
    status: u16,
    source: Option<&'r str>,
    reason: &'r str,
    findings: Option<&'r str>,
    count: usize,
    first: Timestamp,
    last: Timestamp,
}

async fn list(State(console): ConsoleState, visit: Visit) -> Response {
    let shown = async {
        let mut seen = console.parts.inbox.rejections().await?;
        for one in &mut seen {
            one.target = one.target.as_deref().map(shown_path);
        }
        let kept = seen.len();
        seen.reverse();
        let status = visit.query.number::<u16>("status")?;
        let wanted = visit.query.get("text").to_lowercase();
        seen.retain(|one| {
            let source = visit.query.some("source");
            source.is_none_or(|source| one.source.as_deref() == Some(source.as_str()))
                && status.is_none_or(|status| one.status == status)
                && (wanted.is_empty() || text_of(one).to_lowercase().contains(&wanted))
        });
        let reasons = reasons(&seen);
        let now = now(&console);
        let data = (&json!({ "reasons": reasons, "requests": seen }), seen.as_slice());
        let content = || content(&console, &visit.query, &reasons, &seen, kept, now);
        Ok(visit.list(&console, ("refused", "Refused requests"), data, content).await)
    };
    answer(&console, &visit, shown).await
}

fn text_of(one: &Rejection) -> String {
    let parts = [&one.reason, &one.findings, &one.event_type, &one.message_id, &one.target];
    let parts: Vec<&str> =
        parts.into_iter().flatten().map(String::as_str).chain([one.request_id.as_str()]).collect();
    parts.join(" ")
}

/// The requests by reason, the latest first.
fn reasons(seen: &[Rejection]) -> Vec<Reason<'_>> {
    let mut reasons: Vec<Reason<'_>> = Vec::new();
    for one in seen {
        let reason = why(one);
        let is = |known: &&mut Reason<'_>| {
            known.status == one.status
                && known.source == one.source.as_deref()
                && known.reason == reason
        };
        match reasons.iter_mut().find(is) {
            Some(known) => {
                known.count += 1;
                known.first = known.first.min(one.at);
                known.last = known.last.max(one.at);
                known.findings = known.findings.or(one.findings.as_deref());
            }
            None => reasons.push(Reason {
                status: one.status,
                source: one.source.as_deref(),
                reason,
                findings: one.findings.as_deref(),
                count: 1,
                first: one.at,
                last: one.at,
            }),
        }
    }
    reasons
}

fn why(one: &Rejection) -> &str {
    match (&one.reason, one.delivery, &one.source) {
        (Some(reason), _, _) => reason,
        (None, Some(_), _) => "a resend with the same bytes: a duplicate",
        (None, None, None) => "nothing is served at this address",
        (None, None, Some(_)) => "refused",
    }
}

fn content(
    console: &Console,
    query: &FormFields,
    reasons: &[Reason<'_>],
    seen: &[Rejection],
    kept: usize,
    now: Timestamp,
) -> Markup {
    let sources: Vec<(&str, &str)> = console
        .parts
        .sources
        .iter()
        .map(|source| (source.name.as_str(), source.name.as_str()))
        .collect();
    let columns = [
        Column::text("Status"),
        Column::text("Source"),
        Column::text("Reason"),
        Column::number("Requests"),
        Column::text("Last"),
    ];
    let rows: Vec<Vec<Markup>> = reasons
        .iter()
        .map(|reason| vec![
            status_chip(reason.status),
            html! { (reason.source.unwrap_or("none")) },
            html! { (inert(reason.reason)) @if let Some(findings) = reason.findings { p.why { (inert(findings)) } } },
            html! { (reason.count) },
            html! { (ago(reason.last, now)) @if reason.count > 1 { p.why { "since " (ago(reason.first, now)) } } },
        ])
        .collect();
    let empty = || {
        html! {
            p { "Nothing was refused" @if !query.query().is_empty() { " that matches" } "." }
            p { "A sender that never arrives is not refused: it sends elsewhere, or a proxy stops it. See the " a href="sources" { "address to enter" } "." }
        }
    };
    html! {
        p { "The latest " (kept) " requests that were refused, or brought nothing new. Older ones make room for new ones." }
        p.bar { a.button.primary href="refused/next" { "Listen for the next request" } }
        (filters("refused", html! {
            (choice("source", "Source", Some("any"), &sources, query.get("source")))
            (text("status", "Status", "", query.get("status")))
            (text("text", "Contains", "Reason, event, message id or request id.", query.get("text")))
        }, None))
        h2 { "By reason" }
        (Table { name: "Reasons", columns: &columns, rows: &rows, empty: empty() }.markup())
        @if !seen.is_empty() {
            h2 { "Requests" }
            (requests(seen, now))
        }
    }
}

fn requests(seen: &[Rejection], now: Timestamp) -> Markup {
    let columns = [
        Column::text("When"),
        Column::text("Status"),
        Column::text("Source or path"),
        Column::text("Event"),
        Column::text("Message id"),
        Column::text("Reason"),
        Column::text("Request id"),
        Column::text("Duplicate of"),
    ];
    let rows: Vec<Vec<Markup>> = seen
        .iter()
        .take(MOST)
        .map(|one| vec![
            ago(one.at, now),
            status_chip(one.status),
            html! { (place(one)) },
            html! { (inert(one.event_type.as_deref().unwrap_or_default())) },
            html! { (shortened(one.message_id.as_deref().unwrap_or_default(), 24)) },
            html! { (inert(why(one))) },
            html! { code { (one.request_id) } },
            html! { @if let Some(id) = one.delivery { a href={ "deliveries/" (id) } { (id) } } },
        ])
        .collect();
    html! {
        (Table { name: "Requests", columns: &columns, rows: &rows, empty: Markup::default() }.markup())
        @if seen.len() > MOST { p.hint { "Of " (seen.len()) " the latest " (MOST) " are shown; all of them come as JSON." } }
    }
}

/// The source of a request, or its method and path without what may be a secret.
fn place(one: &Rejection) -> String {
    match (&one.source, &one.target) {
        (Some(source), _) => source.clone(),
        (None, Some(target)) => inert(&shown_path(target)).into_owned(),
        (None, None) => "–".to_owned(),
    }
}

fn status_chip(status: u16) -> Markup {
    let tone = match status {
        200..300 => Tone::Plain,
        500.. => Tone::Bad,
        _ => Tone::Warn,
    };
    chip(tone, &status.to_string())
}

/// The next request to arrive, accepted or not.
#[derive(Serialize)]
#[serde(rename_all = "camelCase", untagged)]
enum Arrived {
    Accepted(Box<Entry>),
    Refused(Box<Rejection>),
    Nothing { nothing: bool },
}

/// The longest that listening takes, with an inbox that answers late.
const LONGEST_LISTENING: Duration = Duration::from_secs(60);

/// Waits for the next request, and says what became of it.
async fn listen(State(console): ConsoleState, visit: Visit) -> Response {
    let shown = async {
        let arrived = next(&console).await?;
        let content = || verdict(&arrived);
        let response =
            visit.show(&console, ("refused", "The next request"), &arrived, content).await;
        Ok(response)
    };
    answer_within(LONGEST_LISTENING, &console, &visit, shown).await
}

async fn next(console: &Console) -> Result<Arrived, Failure> {
    let _permit = console.long_looks.try_acquire().map_err(|_| Failure::Crowded)?;
    let inbox = &console.parts.inbox;
    let newest = async || inbox.list(Filter { limit: Some(1), ..Filter::default() }).await;
    let begin = newest().await?.first().map_or(0, |entry| entry.id);
    let before: HashSet<String> =
        inbox.rejections().await?.into_iter().map(|seen| seen.request_id).collect();
    let end = Instant::now() + LISTENING;
    while Instant::now() < end && !console.parts.stop.is_cancelled() {
        tokio::time::sleep(INTERVAL).await;
        if let Some(entry) = newest().await?.into_iter().next().filter(|entry| entry.id > begin) {
            return Ok(Arrived::Accepted(Box::new(entry)));
        }
        let fresh =
            inbox.rejections().await?.into_iter().find(|seen| !before.contains(&seen.request_id));
        // The findings follow the refusal.
        if let Some(seen) = fresh {
            tokio::time::sleep(2 * INTERVAL).await;
            let all = inbox.rejections().await?;
            let with_findings = all.into_iter().find(|other| other.request_id == seen.request_id);
            return Ok(Arrived::Refused(Box::new(with_findings.unwrap_or(seen))));
        }
    }
    Ok(Arrived::Nothing { nothing: true })
}

fn verdict(arrived: &Arrived) -> Markup {
    html! {
        @match arrived {
            Arrived::Accepted(entry) => {
                p.note { "It was accepted: " a href={ "deliveries/" (entry.id) } { (named(&entry.event_type)) " " (entry.id) } " of " (entry.source) ", " (state_chip(entry.state)) }
            }
            Arrived::Refused(one) => {
                p.alert { "It was answered " (one.status) ": " (inert(why(one))) }
                @if let Some(findings) = &one.findings { p { (inert(findings)) } }
                p.hint { "Request " code { (one.request_id) } ", " (place(one)) }
            }
            Arrived::Nothing { .. } => {
                p.alert { "Nothing arrived in " (LISTENING.as_secs()) " seconds, and nothing was refused: the sender sends elsewhere, or a proxy stops it." }
            }
        }
        p.bar { a.button.primary href="refused/next" { "Listen again" } a.button href="refused" { "All refused requests" } }
        p.hint { "The page waits for up to " (LISTENING.as_secs()) " seconds after a click: send something meanwhile." }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(source: Option<&str>, status: u16, reason: Option<&str>, second: i64) -> Rejection {
        Rejection {
            request_id: second.to_string(),
            at: Timestamp::UNIX_EPOCH + chrono::TimeDelta::seconds(second),
            source: source.map(str::to_owned),
            target: None,
            event_type: None,
            message_id: None,
            delivery: None,
            status,
            reason: reason.map(str::to_owned),
            findings: (second == 1).then(|| "another key".into()),
        }
    }

    #[test]
    fn requests_are_counted_by_reason() {
        let seen = [
            seen(Some("one"), 401, Some("wrong key"), 3),
            seen(Some("two"), 401, Some("wrong key"), 2),
            seen(Some("one"), 401, Some("wrong key"), 1),
            seen(None, 404, None, 0),
        ];
        let reasons = reasons(&seen);
        assert_eq!(reasons.iter().map(|reason| reason.count).collect::<Vec<_>>(), [2, 1, 1]);
        assert_eq!(reasons[0].findings, Some("another key"));
        assert_eq!((reasons[0].first.timestamp(), reasons[0].last.timestamp()), (1, 3));
        assert_eq!(reasons[2].reason, "nothing is served at this address");
    }
}
