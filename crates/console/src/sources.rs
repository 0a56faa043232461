//! Sources and their keys: what to enter at the sender, what arrives, and the steps of a rotation.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use chrono::TimeDelta;
use contract::time::Timestamp;
use doctor::{CheckVerdict, DoctorArgs, DoctorReport, SetupGuideArgs};
use inbox::{KeyUse, Rejection, TallyKind};
use maud::{Markup, html};
use pages::{Column, Table, Tone, ago, button, chip, copyable, facts};
use serde::Serialize;
use settings::{ConfiguredKey, KeySort};
use source::diagnose::Finding;
use source::is_secret;
use text::{inert, inert_lines};

use crate::visit::{Failure, Visit, answer, answer_within, now};
use crate::{Console, ConsoleState};

/// Time without use after which a key counts as unused.
const LATELY: TimeDelta = TimeDelta::days(7);

/// The checks of a canary: whether it arrives, is accepted, and comes out of the inbox again.
const CANARY: [&str; 5] =
    ["reach.connect", "reach.path", "identity.key", "identity.wrong", "duplicates.again"];

pub(crate) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/console/sources", get(list))
        .route("/console/sources/{name}", get(show))
        .route("/console/sources/{name}/canary", post(canary))
}

/// A source, as JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SourceView {
    name: String,
    dialect: &'static str,
    environment: &'static str,
    /// Path that the sender posts to; its secret segments are left out.
    path: String,
    auth: &'static str,
    accepted_in_day: u64,
    refused_in_day: u64,
    keys: Vec<KeyView>,
}

/// A key, as JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyView {
    key: String,
    sort: &'static str,
    setting: String,
    last_used: Option<Timestamp>,
}

async fn list(State(console): ConsoleState, visit: Visit) -> Response {
    let shown = async {
        let now = now(&console);
        let sources = sources(&console, now).await?;
        let content = || {
            let columns = [
                Column::text("Source"),
                Column::text("Sender"),
                Column::text("Path"),
                Column::text("Authentication"),
                Column::number("Accepted, 24 h"),
                Column::number("Refused, 24 h"),
                Column::text("Keys"),
            ];
            let rows: Vec<Vec<Markup>> = sources.iter().map(|source| cells(source, now)).collect();
            let empty =
                html! { p { "This process has no source in its settings: a worker needs none." } };
            html! { (Table { name: "Sources", columns: &columns, rows: &rows, empty }.markup()) }
        };
        Ok(visit
            .list(&console, ("sources", "Sources"), (&sources, sources.as_slice()), content)
            .await)
    };
    answer(&console, &visit, shown).await
}

async fn sources(console: &Console, now: Timestamp) -> Result<Vec<SourceView>, Failure> {
    let inbox = &console.parts.inbox;
    let day = inbox.tallies(now - TimeDelta::days(1)).await?;
    let (used, rejections) = (inbox.keys().await?, inbox.rejections().await?);
    let keys = console.parts.config.keys().unwrap_or_default();
    let count = |name: &str, kind| {
        let own = day.iter().filter(|tally| tally.source == name && tally.kind == kind);
        own.map(|tally| tally.count).sum()
    };
    let view = |source: &Arc<source::Source>| SourceView {
        name: source.name.clone(),
        dialect: source.dialect.as_str(),
        environment: source.environment.as_str(),
        path: shown_path(&source.path),
        auth: auth(source),
        accepted_in_day: count(&source.name, TallyKind::Accepted),
        refused_in_day: count(&source.name, TallyKind::Refused),
        keys: keys
            .iter()
            .filter(|key| key.source == source.name)
            .map(|key| key_view(key, &used, &rejections))
            .collect(),
    };
    Ok(console.parts.sources.iter().map(view).collect())
}

/// The last request, of the rejection log, that came with a retired key.
pub(crate) fn retired_use(key: &ConfiguredKey, rejections: &[Rejection]) -> Option<Timestamp> {
    let finding = Finding::Retired(key.fingerprint).to_string();
    let own = rejections.iter().filter(|seen| {
        seen.source.as_ref() == Some(&key.source)
            && seen.findings.as_ref().is_some_and(|findings| findings.contains(&finding))
    });
    own.map(|seen| seen.at).max()
}

fn key_view(key: &ConfiguredKey, used: &[KeyUse], rejections: &[Rejection]) -> KeyView {
    let fingerprint = key.fingerprint.to_string();
    let own = used.iter().find(|used| used.source == key.source && used.key == fingerprint);
    let last_used = match key.sort {
        // What came with it before it was retired is no matter.
        KeySort::Retired => retired_use(key, rejections),
        _ => own.map(|used| used.last_used),
    };
    KeyView { last_used, key: fingerprint, sort: key.sort.as_str(), setting: key.location.clone() }
}

/// The path without the segments that are secrets.
pub(crate) fn shown_path(path: &str) -> String {
    let segments = path.split('/').map(|segment| if is_secret(segment) { "…" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

fn auth(source: &source::Source) -> &'static str {
    let auth = &source.auth;
    match (!auth.bearer.is_empty(), auth.signature.is_some(), auth.token.is_some()) {
        (true, true, _) => "bearer key and signature",
        (true, false, _) => "bearer key",
        (false, true, _) => "signature",
        (false, false, true) => "token of the sender",
        (false, false, false) => "none but the path, or another proof",
    }
}

fn cells(source: &SourceView, now: Timestamp) -> Vec<Markup> {
    let keys = source.keys.iter().map(|key| html! { (key_chip(key, now)) " " });
    vec![
        html! { a href={ "sources/" (pages::encoded(&source.name)) } { (source.name) } },
        html! { (source.dialect) ", " (source.environment) },
        html! { code { (source.path) } },
        html! { (source.auth) },
        html! { a href={ "deliveries?last=24h&source=" (pages::encoded(&source.name)) } { (source.accepted_in_day) } },
        html! { a href={ "refused?source=" (pages::encoded(&source.name)) } { (source.refused_in_day) } },
        html! { @for key in keys { (key) } },
    ]
}

fn key_chip(key: &KeyView, now: Timestamp) -> Markup {
    let is_used = key.last_used.is_some_and(|used| now - used < LATELY);
    match (key.sort == KeySort::Retired.as_str(), is_used) {
        (true, true) => chip(Tone::Bad, &format!("{} retired, in use", key.key)),
        (true, false) => chip(Tone::Plain, &format!("{} retired", key.key)),
        (false, true) => chip(Tone::Good, &format!("{} in use", key.key)),
        (false, false) => chip(Tone::Warn, &format!("{} not used", key.key)),
    }
}

async fn show(State(console): ConsoleState, visit: Visit, Path(name): Path<String>) -> Response {
    let shown = async {
        let source = one(&console, &name).await?;
        let guide = guide(&console, &name);
        let now = now(&console);
        let content = || source_page(&console, &source, &guide, visit.may_act(), now);
        Ok(visit.show(&console, ("sources", &source.name), &source, content).await)
    };
    answer(&console, &visit, shown).await
}

async fn one(console: &Console, name: &str) -> Result<SourceView, Failure> {
    let sources = sources(console, now(console)).await?;
    let own = sources.into_iter().find(|source| source.name == name);
    own.ok_or_else(|| {
        Failure::Missing(format!("There is no source {:?} in the settings.", inert(name)))
    })
}

fn guide(console: &Console, name: &str) -> String {
    let args = SetupGuideArgs::of_source(name, None);
    doctor::setup_guides(&args, &console.parts.table, &console.parts.config)
        .unwrap_or_else(|error| format!("{error:#}"))
}

fn source_page(
    console: &Console,
    source: &SourceView,
    guide: &str,
    may_act: bool,
    now: Timestamp,
) -> Markup {
    let name = pages::encoded(&source.name);
    let columns = [
        Column::text("Key"),
        Column::text("Type"),
        Column::text("Setting"),
        Column::text("Last used"),
        Column::text("State"),
    ];
    let rows: Vec<Vec<Markup>> = source
        .keys
        .iter()
        .map(|key| {
            vec![
                html! { a href={ "deliveries?key=" (key.key) } { code { (key.key) } } },
                html! { (key.sort) },
                html! { (key.setting) },
                html! { @match key.last_used { Some(used) => (ago(used, now)), None => "never" } },
                key_chip(key, now),
            ]
        })
        .collect();
    let empty = html! { p { "It has no key: something else proves its requests." } };
    html! {
        div.bar {
            @if may_act { (button(&format!("sources/{name}/canary"), "Send a canary", "")) }
            a.button href={ "deliveries?source=" (name) } { "Deliveries" }
            a.button href={ "refused?source=" (name) } { "Refused" }
        }
        (facts(&[
            ("Sender", html! { (source.dialect) ", " (source.environment) }),
            ("Address", html! {
                @if source.path.contains('…') { code { (source.path) } p.hint { "The path is a secret, which stands in the settings." } }
                @else { (copyable(&format!("http://{}{}", console.receiver(), source.path))) p.hint { "As this machine sees it; the sender needs the public address in front of it." } }
            }),
            ("Authentication", html! { (source.auth) }),
            ("Accepted in 24 h", html! { (source.accepted_in_day) }),
            ("Refused in 24 h", html! { (source.refused_in_day) }),
        ]))
        h2 { "Keys" }
        (Table { name: "Keys", columns: &columns, rows: &rows, empty }.markup())
        (rotation(source, now))
        h2 { "Setup guide" }
        pre tabindex="0" { (inert_lines(guide)) }
    }
}

/// The steps of replacing a key, with the one that is due.
fn rotation(source: &SourceView, now: Timestamp) -> Markup {
    let accepted: Vec<&KeyView> =
        source.keys.iter().filter(|key| key.sort != KeySort::Retired.as_str()).collect();
    let Some(sort) = accepted.first().map(|key| key.sort) else { return Markup::default() };
    let same: Vec<&&KeyView> = accepted.iter().filter(|key| key.sort == sort).collect();
    let ages = same.iter().filter_map(|key| key.last_used.map(|used| now - used));
    let (used, left): (Vec<_>, Vec<_>) = ages.partition(|age| *age < LATELY);
    // A key that was never used is the new one: the sender does not have it yet.
    let step = match (same.len(), used.len(), left.len()) {
        (1, _, _) => 1,
        (_, 1.., 1..) => 3,
        _ => 2,
    };
    let (setting, settings) = match sort {
        "signing" => ("signing_keys", "retired_keys"),
        _ => ("bearer_tokens", "retired_keys"),
    };
    html! {
        h3 { "Replacing a key without losing an event" }
        ol {
            li aria-current=[(step == 1).then_some("step")] { "Make a key with " code { "webhook-receiver secret" } ", write it beside the old one in " code { (setting) } ", and restart the receiver." }
            li aria-current=[(step == 2).then_some("step")] { "Give the sender the new key, and watch here which of the two it uses." }
            li aria-current=[(step == 3).then_some("step")] { "When the old one is no longer used, move it to " code { (settings) } " and restart the receiver: a request that still comes with it is refused, and named on the overview." @if step == 3 { " " strong { "One of them has not been used for 7 days." } } }
        }
    }
}

/// The longest that the checks of a canary take.
const LONGEST_CANARY: Duration = Duration::from_secs(120);

/// Sends marked requests, which no handler ever sees, and reports on them.
async fn canary(State(console): ConsoleState, visit: Visit, Path(name): Path<String>) -> Response {
    let shown = async {
        let source = one(&console, &name).await?;
        let report = send(&console, &source.name).await;
        let title = format!("Canary of {}", source.name);
        let (data, content) = match &report {
            Ok(report) => (report.json(), report_page(report)),
            Err(error) => (serde_json::json!({ "error": error }), html! { (pages::alert(error)) }),
        };
        let content = || {
            html! {
                (content)
                p.bar { a.button href={ "sources/" (pages::encoded(&name)) } { (name) } }
            }
        };
        Ok(visit.show(&console, ("sources", &title), &data, content).await)
    };
    answer_within(LONGEST_CANARY, &console, &visit, shown).await
}

async fn send(console: &Console, name: &str) -> Result<DoctorReport, String> {
    let (config, table) = (console.parts.config.clone(), Arc::clone(&console.parts.table));
    let own = console.parts.sources.iter().find(|source| source.name == name);
    let path = own.map_or_else(String::new, |source| source.path.clone());
    let url = format!("http://{}{path}/", console.receiver());
    let name = name.to_owned();
    // The examination stays on one thread.
    let examine = move || -> anyhow::Result<DoctorReport> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let args = DoctorArgs::of_source(&url, &name, &CANARY)?;
        runtime.block_on(doctor::examine(&args, &table, &config))
    };
    match tokio::task::spawn_blocking(examine).await {
        Ok(Ok(report)) => Ok(report),
        Ok(Err(error)) => Err(format!("{error:#}")),
        Err(error) => Err(error.to_string()),
    }
}

fn report_page(report: &DoctorReport) -> Markup {
    let columns = [
        Column::text("Check"),
        Column::text("Verdict"),
        Column::text("Seen"),
        Column::text("Remedy"),
    ];
    let tone = |verdict| match verdict {
        CheckVerdict::Pass => Tone::Good,
        CheckVerdict::Warn => Tone::Warn,
        CheckVerdict::Fail => Tone::Bad,
        _ => Tone::Plain,
    };
    let rows: Vec<Vec<Markup>> = report
        .lines
        .iter()
        .map(|line| {
            vec![
                html! { (line.check.asks) },
                chip(tone(line.finding.verdict), line.finding.verdict.as_str()),
                html! { (inert(&line.finding.seen)) },
                html! { (inert(&line.remedy(&report.proof).unwrap_or_default())) },
            ]
        })
        .collect();
    html! {
        p { (report.requests) " marked requests were sent to this receiver as the sender would. No handler sees them." }
        (Table { name: "Checks", columns: &columns, rows: &rows, empty: Markup::default() }.markup())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_in_a_path_is_not_shown() {
        assert_eq!(shown_path("/api/a1b2c3d4e5f6g7h8i9j0k1l2/x"), "/api/…/x");
        assert_eq!(shown_path("/api/webhooks"), "/api/webhooks");
    }
}
