//! A delivery: its facts, its attempts, its body as it came, and why it is where it is.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State as StateOf};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use contract::catalog::EventRow;
use contract::event::{BodyFormat, DeliveryId, Dialect, without_bom};
use contract::time::Timestamp;
use doctor::model_fit;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderName};
use inbox::{ActKind, Detail, Filter, Order, State};
use maud::{Markup, html};
use pages::{FormFields, Tone, ago, button, chip, copyable, facts, hidden, json as json_view};
use serde::Serialize;
use serde_json::Value;
use source::{SECRET_MEMBERS, is_secret_header, redacted};
use text::{inert, inert_lines, nearest};

use crate::acting::note;
use crate::acts::reason;
use crate::deliveries::{named, state_chip};
use crate::visit::{Failure, Visit, answer, now};
use crate::{Console, ConsoleState};

/// The longest search for a neighbour, and for what waits behind a delivery.
const PATIENCE: Duration = Duration::from_millis(10);

/// Largest size of a compressed body that is compared with its model, in bytes after it is decompressed.
const LARGEST_DECODED: usize = 16 * 1024 * 1024;

/// The most bytes of a raw body that are shown, and of one page of its bytes in hexadecimal.
const RAW: usize = 256 * 1024;
const HEX: usize = 4 * 1024;

pub(crate) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/console/deliveries/{id}", get(show))
        .route("/console/deliveries/{id}/reveal", post(reveal))
}

async fn show(
    StateOf(console): ConsoleState,
    visit: Visit,
    Path(id): Path<DeliveryId>,
) -> Response {
    let view = BodyView {
        form: BodyForm::of(&visit.query),
        find: visit.query.get("find").to_owned(),
        is_revealed: false,
    };
    answer(&console, &visit, present(&console, &visit, id, view)).await
}

/// Shows what is redacted, and writes down who asked.
async fn reveal(
    StateOf(console): ConsoleState,
    visit: Visit,
    Path(id): Path<DeliveryId>,
    body: Bytes,
) -> Response {
    let shown = async {
        let fields = FormFields::read(&body)?;
        note(&console, &visit.actor, ActKind::Reveal, format!("delivery {id}"), reason(&fields)?)
            .await?;
        if fields.get("as") == "download" {
            return download(&console, id).await;
        }
        let view = BodyView {
            form: BodyForm::of(&fields),
            find: fields.get("find").to_owned(),
            is_revealed: true,
        };
        present(&console, &visit, id, view).await
    };
    answer(&console, &visit, shown).await
}

async fn download(console: &Console, id: DeliveryId) -> Result<Response, Failure> {
    let detail = found(console, id).await?;
    // The bytes are the sender's: a browser must not show them as a page.
    let headers = [
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"delivery-{id}.bin\"")),
    ];
    Ok((headers, detail.body).into_response())
}

async fn found(console: &Console, id: DeliveryId) -> Result<Detail, Failure> {
    let detail = console.parts.inbox.show(id).await?;
    detail.ok_or_else(|| Failure::Missing(format!("There is no delivery {id} in the inbox.")))
}

/// Form in which a body is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyForm {
    Indented,
    Raw,
    Hex,
}

impl BodyForm {
    const ALL: [(BodyForm, &str); 3] =
        [(BodyForm::Indented, "indented"), (BodyForm::Raw, "raw"), (BodyForm::Hex, "hex")];

    fn of(fields: &FormFields) -> Self {
        let named = BodyForm::ALL.iter().find(|(_, name)| *name == fields.get("as"));
        named.map_or(BodyForm::Indented, |(form, _)| *form)
    }

    fn name(self) -> &'static str {
        BodyForm::ALL.iter().find(|(form, _)| *form == self).map_or("indented", |(_, name)| name)
    }
}

struct BodyView {
    form: BodyForm,
    find: String,
    is_revealed: bool,
}

/// A delivery with what surrounds it, as JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'s> {
    #[serde(flatten)]
    entry: &'s inbox::Entry,
    ordering_key: &'s Option<String>,
    key: &'s Option<String>,
    headers: Value,
    attempt_log: &'s [inbox::AttemptEntry],
    /// The body as text, redacted unless it was asked for; none if it is no text.
    body: Option<String>,
    handler: Option<&'static str>,
    waiting_behind: u64,
    resends: &'s [inbox::Rejection],
    /// Remarks on the body's fit to the model.
    model: Vec<String>,
}

/// Neighbours of a delivery, and the requests and deliveries that depend on it.
struct Surroundings {
    newer: Option<DeliveryId>,
    older: Option<DeliveryId>,
    behind: u64,
    /// The oldest unfinished delivery of its entity, if it is another.
    ahead: Option<DeliveryId>,
    resends: Vec<inbox::Rejection>,
}

async fn present(
    console: &Console,
    visit: &Visit,
    id: DeliveryId,
    view: BodyView,
) -> Result<Response, Failure> {
    let detail = found(console, id).await?;
    let around = surroundings(console, &detail).await?;
    let row = row(console, &detail);
    let body = body_text(&detail, view.is_revealed);
    let headers = headers(&detail, view.is_revealed);
    let fit = row.map(|row| fit(row, &detail));
    let entry = &detail.entry;
    let remarks = fit.iter().flat_map(|fit| fit.notes.iter().map(|(_, note)| note.clone()));
    let data = Shown {
        entry,
        ordering_key: &detail.ordering_key,
        key: &detail.key,
        headers: headers.iter().map(|(name, value)| serde_json::json!([name, value])).collect(),
        attempt_log: &detail.attempts,
        body: body.clone(),
        handler: row.map(|row| row.handler),
        waiting_behind: around.behind,
        resends: &around.resends,
        model: remarks.collect(),
    };
    let title = format!("{} {id}", named(&entry.event_type));
    let content = || {
        html! {
            (actions(visit, &detail, &around))
            @if entry.state == State::Unrouted { (unrouted(console, &detail)) }
            @if let Some(ahead) = around.ahead {
                p.banner { "It waits for " a href={ "deliveries/" (ahead) } { "delivery " (ahead) } " of the same entity, which comes before it." }
            }
            div.columns {
                section aria-labelledby="facts" { h2 id="facts" { "Facts" } (fact_list(console, &detail, &around, row, now(console))) }
                section aria-labelledby="attempts" { h2 id="attempts" { "Timeline" } (timeline(&detail, now(console))) }
            }
            div.columns {
                section aria-labelledby="body" { h2 id="body" { "Body" } (body_section(visit, &detail, body.as_deref(), &view)) }
                @if let Some(fit) = &fit {
                    section aria-labelledby="model" { h2 id="model" { "Model" } (model(fit)) }
                }
            }
            h2 { "Headers" }
            (header_list(&headers, view.is_revealed))
            @if !around.resends.is_empty() { h2 { "Resends" } (resends(&around.resends, now(console))) }
        }
    };
    Ok(visit.show(console, ("deliveries", &title), &data, content).await)
}

async fn surroundings(console: &Console, detail: &Detail) -> Result<Surroundings, Failure> {
    let inbox = &console.parts.inbox;
    let id = detail.entry.id;
    let one = Filter { limit: Some(1), ..Filter::default() };
    let older = inbox.list(Filter { before: Some(id), ..one.clone() }).await?;
    let newer =
        inbox.list(Filter { after: Some(id), order: Order::OldestFirst, ..one.clone() }).await?;
    let (mut behind, mut ahead) = (0, None);
    if let Some(key) = &detail.ordering_key
        && !detail.entry.state.has_ended()
    {
        let entity = Filter {
            ordering_key: Some(key.clone()),
            source: Some(detail.entry.source.clone()),
            state: Some(State::Ready),
            ..Filter::default()
        };
        let waiting =
            inbox.summarize(Filter { after: Some(id), ..entity.clone() }, PATIENCE).await?;
        behind = waiting.groups.iter().map(|group| group.count).sum();
        let first = Filter { state: None, before: Some(id), order: Order::OldestFirst, ..entity };
        for state in [State::Running, State::Ready] {
            let first = Filter { state: Some(state), limit: Some(1), ..first.clone() };
            let found = inbox.search(first, PATIENCE).await?;
            ahead = ahead.or(found.entries.first().map(|entry| entry.id));
        }
    }
    let resends = inbox.rejections().await?.into_iter().filter(|seen| seen.delivery == Some(id));
    let first = |entries: Vec<inbox::Entry>| entries.first().map(|entry| entry.id);
    Ok(Surroundings {
        newer: first(newer),
        older: first(older),
        behind,
        ahead,
        resends: resends.collect(),
    })
}

/// The event's row in the catalog, if the program knows it.
fn row<'c>(console: &'c Console, detail: &Detail) -> Option<&'c EventRow> {
    let entry = &detail.entry;
    console.parts.table.event(dialect(console, detail)?, entry.version, &entry.event_type)
}

fn dialect(console: &Console, detail: &Detail) -> Option<Dialect> {
    let source = console.parts.sources.iter().find(|source| source.name == detail.entry.source);
    source.map(|source| source.dialect)
}

fn actions(visit: &Visit, detail: &Detail, around: &Surroundings) -> Markup {
    let entry = &detail.entry;
    let id = entry.id;
    let now = |kind: &str| format!("acts/now?kind={kind}&number={id}");
    let waits = entry.state == State::Ready;
    html! {
        div.bar {
            (state_chip(entry.state))
            @if visit.may_act() {
                @if entry.state.can_be_replayed() {
                    form.inline method="post" action=(now("replay")) { button.primary type="submit" data-key="r" { "Replay" } }
                }
                @if entry.state == State::Dead { (button(&now("resume"), "Replay in the same run", "")) }
                @if waits || matches!(entry.state, State::Dead | State::Unrouted) {
                    a.button.danger href={ "acts/new?kind=discard&id=" (id) } { @if waits { "Skip…" } @else { "Discard…" } }
                }
            }
            @if let Some(newer) = around.newer { a rel="prev" href={ "deliveries/" (newer) } { "Newer" } }
            @if let Some(older) = around.older { a rel="next" href={ "deliveries/" (older) } { "Older" } }
        }
    }
}

/// Reason for which no handler takes a delivery, and the lines to add.
fn unrouted(console: &Console, detail: &Detail) -> Markup {
    let event = detail.entry.event_type.as_str();
    let dialect = dialect(console, detail);
    let rows = || console.parts.table.events().filter(|row| Some(row.dialect) == dialect);
    let near = nearest(event, rows().flat_map(|row| row.names()), 0.8);
    let handler = snake(event);
    html! {
        div.banner {
            p { "No handler takes "
                @if event.is_empty() { "an event without a name" } @else { code { (inert(event)) } }
                " (version " (detail.entry.version) ") of source " (detail.entry.source) "."
                @if let Some(near) = near { " The nearest name in the catalog is " code { (near) } "." }
            }
            @if !event.is_empty() {
                p { "To handle it, write its model and a handler, and add the handler to the catalog in " code { "src/handlers/mod.rs" } "; then replay it:" }
                pre { "mod " (handler) ";\n…\n    .on(" (handler) "::handle)" }
            }
            p { a href="catalog" { "The catalog" } }
        }
    }
}

fn snake(name: &str) -> String {
    let mut snake = String::new();
    let mut before = '_';
    for c in name.chars().take(60) {
        let is_start = c.is_ascii_uppercase() && before.is_ascii_lowercase();
        if (is_start || !c.is_ascii_alphanumeric()) && !snake.is_empty() && !snake.ends_with('_') {
            snake.push('_');
        }
        if c.is_ascii_alphanumeric() {
            snake.push(c.to_ascii_lowercase());
        }
        before = c;
    }
    let snake = snake.trim_end_matches('_').to_owned();
    if snake.starts_with(|c: char| c.is_ascii_alphabetic()) {
        snake
    } else {
        format!("event_{snake}")
    }
}

fn fact_list(
    console: &Console,
    detail: &Detail,
    around: &Surroundings,
    row: Option<&EventRow>,
    now: Timestamp,
) -> Markup {
    let entry = &detail.entry;
    let optional =
        |text: &Option<String>| html! { @match text { Some(text) => (inert(text)), None => "–" } };
    let at = |time: Option<Timestamp>| html! { @match time { Some(time) => (ago(time, now)), None => "–" } };
    let link = |field: &str, value: &str| html! { a href={ "deliveries?" (field) "=" (pages::encoded(value)) } { (inert(value)) } };
    facts(&[
        ("Event", html! { (link("event", &named(&entry.event_type))) " v" (entry.version) }),
        ("Handler", html! { @match row { Some(row) => code { (row.handler) }, None => "none" } }),
        ("Source", html! { (link("source", &entry.source)) " (" (entry.environment) ")" }),
        (
            "Message id",
            html! { (copyable(&inert(&entry.message_id))) @if entry.message_id_derived { p.hint { "Derived: the sender gave none." } } },
        ),
        (
            "Client id",
            html! { @match &entry.client_id { Some(client) => (link("client", client)), None => "–" } },
        ),
        ("User", optional(&entry.user)),
        (
            "Entity",
            html! { @match &detail.ordering_key { Some(key) => { (link("entity", key)) @if around.behind > 0 { p { a href={ "deliveries?state=ready&entity=" (pages::encoded(key)) } { (around.behind) " wait behind this one" } } } }, None => "–" } },
        ),
        (
            "Key",
            html! { @match &detail.key { Some(key) => a href={ "deliveries?key=" (key) } { code { (key) } }, None => "–" } },
        ),
        ("Happened", at(entry.event_time)),
        ("Accepted", ago(entry.received_at, now)),
        (
            "Next attempt",
            html! { @match (entry.state, entry.due_at) {
                (State::Ready, Some(due)) => (ago(due, now)),
                (State::Ready, None) => "after the one before it of the same entity",
                (State::Running, Some(until)) => { "running on " (entry.owner.as_deref().unwrap_or("a worker")) "; its lease ends " (ago(until, now)) },
                _ => "–",
            } },
        ),
        ("Ended", at(entry.ended_at)),
        (
            "Attempts",
            html! { (entry.attempts) " (up to " (console.parts.config.dispatch.schedule.len() + 1) " a run)" @if entry.replays > 0 { ", " (entry.replays) " replays" } },
        ),
        (
            "Conflicts",
            html! { @if entry.conflicts > 0 { (chip(Tone::Warn, &format!("{} resends with other bytes", entry.conflicts))) } @else { "none" } },
        ),
        ("Body", html! { (entry.size) " bytes, " (entry.format) }),
        ("Send it again", html! { (copyable(&emit_line(detail))) }),
        ("As curl", html! { (copyable(&curl_line(console, detail))) }),
    ])
}

/// The command that sends the same message to the receiver as its sender would.
fn emit_line(detail: &Detail) -> String {
    let entry = &detail.entry;
    format!(
        "webhook-receiver inbox show {} --json | jq -r .bodyBase64 | base64 -d | webhook-receiver emit {} --source {} --message-id {} --raw --data -",
        entry.id,
        quoted(&named(&entry.event_type)),
        quoted(&entry.source),
        quoted(&entry.message_id)
    )
}

/// The request without its proof, which covers one message and is not kept.
fn curl_line(console: &Console, detail: &Detail) -> String {
    let source = console.parts.sources.iter().find(|source| source.name == detail.entry.source);
    let path = source.map_or("/", |source| source.path.as_str());
    let path = match path.split('/').any(source::is_secret) {
        true => "/…",
        false => path,
    };
    // Without its message id it would be another delivery.
    let headers = headers(detail, false).into_iter().filter(|(name, value)| {
        name.eq_ignore_ascii_case("content-type") || *value == detail.entry.message_id
    });
    let headers: String = headers
        .map(|(name, value)| format!(" -H {}", quoted(&format!("{name}: {value}"))))
        .collect();
    format!(
        "curl -H \"Authorization: Bearer $KEY\"{headers} --data-binary @delivery-{}.bin {}",
        detail.entry.id,
        quoted(&format!("http://{}{path}/{}", console.receiver(), detail.entry.event_type))
    )
}

/// Text as one word of a shell.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", inert(text).replace('\'', "'\\''")),
    }
}

fn timeline(detail: &Detail, now: Timestamp) -> Markup {
    let entry = &detail.entry;
    html! {
        ol.timeline {
            li { "Accepted " (ago(entry.received_at, now)) }
            @for (index, attempt) in detail.attempts.iter().enumerate() {
                @if index > 0 && attempt.replay != detail.attempts[index - 1].replay { li.warn { "Replayed" } }
                li class=(outcome_class(&attempt.outcome)) {
                    "Attempt " (attempt.attempt) ": " strong { (attempt.outcome) } ", "
                    (ago(attempt.started_at, now)) ", " ((attempt.ended_at - attempt.started_at).num_milliseconds()) " ms"
                    @if let Some(applied) = attempt.applied { ", applied by attempt " (applied.attempt) }
                    @if let Some(error) = &attempt.error { pre { (inert_lines(error)) } }
                }
            }
            @match (entry.state, entry.due_at) {
                (State::Ready, Some(due)) if due > now => li { "Next attempt " (ago(due, now)) },
                (State::Ready, _) => li { "Waits for its attempt" },
                (State::Running, _) => li { "Attempt " (entry.attempts) " is running" },
                _ => {}
            }
        }
    }
}

fn outcome_class(outcome: &str) -> &'static str {
    match outcome {
        "done" => "good",
        "dead" | "lost" => "bad",
        _ => "warn",
    }
}

/// The body as text, without what is redacted unless it is asked for; none if it is no text.
fn body_text(detail: &Detail, is_revealed: bool) -> Option<String> {
    if is_revealed {
        return std::str::from_utf8(&detail.body).ok().map(str::to_owned);
    }
    let names: Vec<String> = SECRET_MEMBERS.map(str::to_owned).to_vec();
    String::from_utf8(redacted(&detail.body, &names).to_vec()).ok()
}

fn body_section(visit: &Visit, detail: &Detail, body: Option<&str>, view: &BodyView) -> Markup {
    let id = detail.entry.id;
    let shown = match (view.form, body) {
        (BodyForm::Hex, _) if view.is_revealed => {
            html! { pre tabindex="0" { (hex_lines(&detail.body)) } }
        }
        (BodyForm::Hex, Some(body)) => html! { pre tabindex="0" { (hex_lines(body.as_bytes())) } },
        (_, None) => {
            html! { p.empty { "The body is no text. See it in hexadecimal, or download it." } }
        }
        (BodyForm::Raw, Some(body)) => raw(body),
        (BodyForm::Indented, Some(body)) => {
            let text = without_bom(body.as_bytes());
            let text = std::str::from_utf8(text).unwrap_or(body);
            match json_view(text, &view.find) {
                Some(json) => html! {
                    @if !view.find.is_empty() { p.hint { (json.found) " found" } }
                    (json.markup)
                },
                None => raw(body),
            }
        }
    };
    html! {
        @if !view.is_revealed {
            p.hint { "Payment data, credentials and government ids are redacted." }
        }
        div.bar {
            form.find method="get" action={ "deliveries/" (id) } {
                label for="find" class="unseen" { "Find in the body" }
                input type="search" id="find" name="find" value=(view.find) placeholder="Find in the body";
            }
            @for (form, name) in BodyForm::ALL {
                @if form == view.form { strong { (name) } } @else { a href={ "deliveries/" (id) "?as=" (name) } { (name) } }
            }
            button type="button" hidden data-fold="1" { "Fold" }
        }
        (shown)
        @if visit.may_act() {
            form.bar method="post" action={ "deliveries/" (id) "/reveal" } {
                (hidden("find", &view.find))
                @if !view.is_revealed { button type="submit" name="as" value=(view.form.name()) { "Reveal what is redacted" } }
                button type="submit" name="as" value="download" { "Download as it came" }
                span.hint { "Both are written down." }
            }
        }
    }
}

fn raw(body: &str) -> Markup {
    let shown = &body[..body.floor_char_boundary(RAW)];
    html! {
        @if body.is_empty() { p.empty { "Empty." } } @else { pre tabindex="0" { (inert_lines(shown)) } }
        @if shown.len() < body.len() { p.hint { (body.len() - shown.len()) " more bytes are not shown; download it." } }
    }
}

fn hex_lines(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(HEX)];
    let line = |(index, line): (usize, &[u8])| {
        let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let text: String = line
            .iter()
            .map(|&byte| if (b' '..=b'~').contains(&byte) { char::from(byte) } else { '.' })
            .collect();
        format!("{:08x}  {:47}  {text}\n", index * 16, hex.join(" "))
    };
    let mut lines: String = shown.chunks(16).enumerate().map(line).collect();
    if shown.len() < bytes.len() {
        lines.push_str(&format!("… {} more bytes\n", bytes.len() - shown.len()));
    }
    lines
}

/// The fit of a body to its model.
struct Fit {
    notes: Vec<(Tone, String)>,
    diff: Option<String>,
}

fn fit(row: &EventRow, detail: &Detail) -> Fit {
    let decoded = BodyFormat::from_name(&detail.entry.format)
        .and_then(|format| format.decoded(&detail.body, LARGEST_DECODED).ok());
    let body = decoded.as_ref().map_or(detail.body.as_ref(), |(body, _)| body.as_ref());
    let body = without_bom(body);
    let payload: Value = serde_json::from_slice(body).unwrap_or_default();
    let (notes, diff) = model_fit(row, body, &payload);
    let tone = |verdict| match verdict {
        doctor::CheckVerdict::Fail => Tone::Bad,
        doctor::CheckVerdict::Warn => Tone::Warn,
        _ => Tone::Good,
    };
    Fit { notes: notes.into_iter().map(|(verdict, text)| (tone(verdict), text)).collect(), diff }
}

fn model(fit: &Fit) -> Markup {
    html! {
        ul.needs { @for (tone, note) in &fit.notes { li class=(tone.class()) { (inert(note)) } } }
        @if let Some(diff) = &fit.diff {
            p.hint { "These lines would make the model fit:" }
            pre tabindex="0" { @for line in diff.lines() {
                @let class = match line.chars().next() { Some('+') => "add", Some('-') => "del", _ => "" };
                span class=(class) { (inert(line)) "\n" }
            } }
        }
    }
}

/// The headers as they are shown: of some, only the name is harmless.
fn headers(detail: &Detail, is_revealed: bool) -> Vec<(String, String)> {
    let pairs: Vec<(String, String)> = serde_json::from_str(&detail.headers).unwrap_or_default();
    let shown = |(name, value): (String, String)| {
        let value = if is_revealed || is_harmless(&name) { value } else { "[redacted]".to_owned() };
        (name, value)
    };
    pairs.into_iter().map(shown).collect()
}

fn is_harmless(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let parts = ["cookie", "token", "key", "secret", "signature", "password", "forwarded", "-ip"];
    let may_be_secret = HeaderName::try_from(name).is_ok_and(|name| is_secret_header(&name));
    !may_be_secret
        && !lower.contains("authorization")
        && !parts.iter().any(|part| lower.contains(part))
}

fn header_list(headers: &[(String, String)], is_revealed: bool) -> Markup {
    let rows: Vec<(&str, Markup)> =
        headers.iter().map(|(name, value)| (name.as_str(), html! { (inert(value)) })).collect();
    html! {
        @if !is_revealed { p.hint { "Values that can hold a secret or an address are redacted; credentials are never kept." } }
        (facts(&rows))
    }
}

fn resends(resends: &[inbox::Rejection], now: Timestamp) -> Markup {
    html! {
        ul { @for seen in resends {
            li { (ago(seen.at, now)) ", request " code { (seen.request_id) } ": " (seen.reason.as_deref().unwrap_or("the same bytes again")) }
        } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_a_shell_is_one_word() {
        for (text, expected) in [
            ("order-1", "order-1"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's; rm -rf /", "'it'\\''s; rm -rf /'"),
            ("a\nb", "'a\\nb'"),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }

    #[test]
    fn names_become_modules() {
        for (name, module) in [
            ("OrderEvent", "order_event"),
            ("order.created", "order_created"),
            ("2x", "event_2x"),
            ("<b>", "b"),
        ] {
            assert_eq!(snake(name), module, "{name}");
        }
    }

    #[test]
    fn bytes_are_shown_in_lines_of_sixteen() {
        let lines = hex_lines(b"0123456789abcdef\x00\xff");
        assert_eq!(lines.lines().count(), 2);
        assert!(lines.starts_with("00000000  30 31 32"), "{lines}");
        assert!(
            lines.ends_with("00 ff                                            ..\n"),
            "{lines}"
        );
    }

    #[test]
    fn headers_that_can_hold_a_secret_are_not_harmless() {
        for name in [
            "Authorization",
            "Cookie",
            "X-Api-Key",
            "Stripe-Signature",
            "X-Forwarded-For",
            "CF-Connecting-IP",
        ] {
            assert!(!is_harmless(name), "{name}");
        }
        assert!(is_harmless("content-type") && is_harmless("user-agent"));
    }
}
