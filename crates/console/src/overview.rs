//! The overview: what has come and gone over the last day, and what needs a person.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State as StateOf;
use axum::response::Response;
use axum::routing::get;
use chrono::TimeDelta;
use contract::time::Timestamp;
use inbox::{Filter, Group, HookFilter, State, StoreSize, Tally, TallyKind};
use maud::{Markup, html};
use pages::{ago, since, sparkline};
use serde::Serialize;
use settings::KeySort;

use crate::counts::{self, Counts};
use crate::deliveries::{named, shortened};
use crate::sources::retired_use;
use crate::visit::{Failure, Visit, answer, now};
use crate::{Console, ConsoleState};

/// The longest that a part of the page looks.
const PATIENCE: Duration = Duration::from_millis(5);

/// Time over which hooks and keys are looked at.
const LATELY: TimeDelta = TimeDelta::days(1);

/// Length of one bar of a chart: a quarter of an hour.
const BAR: i64 = 15 * 60;
const BARS: usize = 96;

/// Free part of a disk below which it needs attention.
const LITTLE: f64 = 0.1;

/// The kinds of needs of one sort that are shown.
const MOST: usize = 8;

pub(crate) fn routes() -> Router<Arc<Console>> {
    Router::new().route("/console", get(show)).route("/console/", get(show))
}

/// The figures of the page.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Overview {
    day: BTreeMap<&'static str, u64>,
    hour: BTreeMap<&'static str, u64>,
    /// None if counting takes long; so are the next.
    waiting: Option<u64>,
    running: Option<u64>,
    dead: Option<u64>,
    unrouted: Option<u64>,
    oldest_waiting: Option<Timestamp>,
    size: StoreSize,
    sources: Vec<SourceDay>,
    needs: Vec<Need>,
}

/// A source over the last day.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SourceDay {
    name: String,
    accepted: u64,
    refused: u64,
    duplicates: u64,
    /// Accepted in each quarter of an hour, the oldest first.
    chart: Vec<u64>,
    last: Option<Timestamp>,
}

/// Something that needs a person.
#[derive(Serialize)]
struct Need {
    urgent: bool,
    text: String,
    detail: Option<String>,
    /// Address of the page that shows it.
    href: String,
}

async fn show(StateOf(console): ConsoleState, visit: Visit) -> Response {
    let shown = async {
        let now = now(&console);
        let overview = overview(&console, now).await?;
        let content = || content(&overview, now);
        Ok(visit.show(&console, ("", "Overview"), &overview, content).await)
    };
    answer(&console, &visit, shown).await
}

async fn overview(console: &Arc<Console>, now: Timestamp) -> Result<Overview, Failure> {
    let (figures, needs) = tokio::join!(figures(console, now), needs(console, now));
    let (mut overview, week) = figures?;
    let mut needs = needs?;
    needs.extend(overview.sources.iter().filter_map(|source| silent(source, &week, now)));
    needs.extend(long_silent(console, &overview.sources, now).await?);
    needs.extend(disk(&overview.size));
    overview.needs = needs;
    Ok(overview)
}

/// The page without its needs, and the tallies that it was made from.
async fn figures(
    console: &Arc<Console>,
    now: Timestamp,
) -> Result<(Overview, Vec<Tally>), Failure> {
    let inbox = &console.parts.inbox;
    let (week, counts, size, oldest_waiting) = tokio::join!(
        inbox.tallies(now - TimeDelta::days(8)),
        Counts::get(console),
        inbox.size(),
        inbox.oldest_unended(),
    );
    let (week, counts) = (week?, counts?);
    let count = |state| counts::of(&counts, state);
    let sources = console.parts.sources.iter().map(|source| source_day(&source.name, &week, now));
    let overview = Overview {
        day: totals(&week, now - TimeDelta::days(1)),
        hour: totals(&week, now - TimeDelta::hours(1)),
        waiting: count(State::Ready),
        running: count(State::Running),
        dead: count(State::Dead),
        unrouted: count(State::Unrouted),
        oldest_waiting: oldest_waiting?,
        size: size?,
        sources: sources.collect(),
        needs: Vec::new(),
    };
    Ok((overview, week))
}

fn totals(week: &[Tally], since: Timestamp) -> BTreeMap<&'static str, u64> {
    let mut totals: BTreeMap<&'static str, u64> =
        TallyKind::ALL.iter().map(|kind| (kind.as_str(), 0)).collect();
    for tally in week.iter().filter(|tally| tally.at + TimeDelta::seconds(BAR) > since) {
        *totals.entry(tally.kind.as_str()).or_default() += tally.count;
    }
    totals
}

fn source_day(name: &str, week: &[Tally], now: Timestamp) -> SourceDay {
    let own = || week.iter().filter(|tally| tally.source == name);
    let begin = now.timestamp().div_euclid(BAR) - BARS as i64 + 1;
    let mut chart = vec![0; BARS];
    for tally in own().filter(|tally| tally.kind == TallyKind::Accepted) {
        let bar = tally.at.timestamp().div_euclid(BAR) - begin;
        if let Some(count) = usize::try_from(bar).ok().and_then(|bar| chart.get_mut(bar)) {
            *count += tally.count;
        }
    }
    let day = |kind| {
        let lately =
            own().filter(|tally| tally.kind == kind && tally.at > now - TimeDelta::days(1));
        lately.map(|tally| tally.count).sum()
    };
    let last = own().filter(|tally| tally.kind == TallyKind::Accepted).map(|tally| tally.at).max();
    SourceDay {
        name: name.to_owned(),
        accepted: day(TallyKind::Accepted),
        refused: day(TallyKind::Refused),
        duplicates: day(TallyKind::Duplicate),
        chart,
        last,
    }
}

/// What the inbox and the settings say needs a person.
async fn needs(console: &Console, now: Timestamp) -> Result<Vec<Need>, Failure> {
    let (pause, dead, unrouted, keys, hooks) = tokio::join!(
        console.parts.inbox.paused(),
        ended(console, State::Dead, now),
        ended(console, State::Unrouted, now),
        retired_keys(console, now),
        failing_hooks(console, now),
    );
    let mut needs = Vec::new();
    if console.parts.works && console.parts.config.dispatch.paused {
        let text = "Dispatch is paused by `paused = true` in [dispatch] of this process".to_owned();
        needs.push(Need { urgent: true, text, detail: None, href: "dispatch".into() });
    }
    if let Some(pause) = pause? {
        let text = format!("Dispatch is paused by {} for {}", pause.by, since(now - pause.since));
        needs.push(Need { urgent: true, text, detail: pause.reason, href: "dispatch".into() });
    }
    needs.extend(dead?);
    needs.extend(unrouted?);
    needs.extend(keys?);
    needs.extend(hooks?);
    Ok(needs)
}

/// Deliveries that have ended without being handled, by source and event.
async fn ended(console: &Console, state: State, now: Timestamp) -> Result<Vec<Need>, Failure> {
    let filter = Filter { state: Some(state), ..Filter::default() };
    let summary = console.parts.inbox.summarize(filter, PATIENCE).await?;
    let is_whole = summary.horizon.is_none();
    let need = |group| ended_group(group, state.as_str(), is_whole, now);
    Ok(summary.groups.iter().take(MOST).map(need).collect())
}

fn ended_group(group: &Group, word: &str, is_whole: bool, now: Timestamp) -> Need {
    let name = named(&group.event_type);
    let event = match group.event_type.as_str() {
        "" => String::new(),
        event => format!("&event={}", pages::encoded(event)),
    };
    Need {
        urgent: word == "dead",
        text: format!(
            "{}{} {word}: {name} of {}, the oldest for {}{}",
            if is_whole { "" } else { "at least " },
            group.count,
            group.source,
            since(now - group.oldest),
            if is_whole { "" } else { " or longer" }
        ),
        detail: group.error.as_deref().map(|error| shortened(text::first_line(error), 200)),
        href: format!("deliveries?state={word}&source={}{event}", pages::encoded(&group.source)),
    }
}

/// A source that has been silent for longer than it ever was in the days before.
fn silent(source: &SourceDay, week: &[Tally], now: Timestamp) -> Option<Need> {
    let mut times: Vec<i64> = week
        .iter()
        .filter(|tally| tally.source == source.name && tally.kind == TallyKind::Accepted)
        .map(|tally| tally.at.timestamp())
        .collect();
    times.sort_unstable();
    times.dedup();
    // From a few deliveries nothing can be learnt.
    let (first, last) = (times.first()?, times.last()?);
    if times.len() < 8 || now.timestamp() - first < 24 * 60 * 60 {
        return None;
    }
    let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max()?;
    let silence = now.timestamp() - last - BAR;
    (silence > longest + longest / 2).then(|| Need {
        urgent: false,
        text: format!(
            "{} has been silent for {}; the longest silence of the week before was {}",
            source.name,
            since(TimeDelta::seconds(silence)),
            since(TimeDelta::seconds(longest))
        ),
        detail: Some("Ask the sender, or look at what was refused.".into()),
        href: format!("refused?source={}", pages::encoded(&source.name)),
    })
}

/// Sources that have been silent for longer than there are tallies, if a delivery of theirs is found in a short time.
async fn long_silent(
    console: &Console,
    sources: &[SourceDay],
    now: Timestamp,
) -> Result<Vec<Need>, Failure> {
    let mut needs = Vec::new();
    for source in sources.iter().filter(|source| source.last.is_none()).take(MOST) {
        let name = Some(source.name.clone());
        let filter = Filter { source: name, limit: Some(1), ..Filter::default() };
        let found = console.parts.inbox.search(filter, PATIENCE).await?;
        let Some(last) = found.entries.first().map(|last| last.received_at) else { continue };
        if now - last > TimeDelta::days(8) {
            needs.push(Need {
                urgent: false,
                text: format!("{} has been silent for {}", source.name, since(now - last)),
                detail: Some("Ask the sender, or take the source out of the settings.".into()),
                href: format!("deliveries?source={}", pages::encoded(&source.name)),
            });
        }
    }
    Ok(needs)
}

async fn retired_keys(console: &Console, now: Timestamp) -> Result<Vec<Need>, Failure> {
    let keys = console.parts.config.keys().unwrap_or_default();
    let retired = keys.iter().filter(|key| key.sort == KeySort::Retired);
    let rejections = console.parts.inbox.rejections().await?;
    let last_used = |key| Some((key, retired_use(key, &rejections)?));
    let lately = retired.filter_map(last_used).filter(|(_, used)| now - *used < LATELY);
    Ok(lately
        .map(|(key, used)| Need {
            urgent: true,
            text: format!(
                "The retired key {} of {} was used {} ago",
                key.fingerprint,
                key.source,
                since(now - used)
            ),
            detail: Some("Requests that come with it are refused.".into()),
            href: format!("refused?source={}", pages::encoded(&key.source)),
        })
        .collect())
}

async fn failing_hooks(console: &Console, now: Timestamp) -> Result<Vec<Need>, Failure> {
    if console.parts.hooks.is_empty() {
        return Ok(Vec::new());
    }
    let filter =
        HookFilter { since: Some(now - LATELY), limit: Some(500), ..HookFilter::default() };
    let calls = console.parts.inbox.list_hooks(filter).await?;
    let mut failed: BTreeMap<&str, (u64, Option<&str>)> = BTreeMap::new();
    for call in calls.iter().filter(|call| is_failure(&call.record.outcome)) {
        let known = failed.entry(&call.record.hook).or_default();
        known.0 += 1;
        known.1 = known.1.or(call.record.error.as_deref());
    }
    Ok(failed
        .into_iter()
        .take(MOST)
        .map(|(hook, (count, error))| Need {
            urgent: true,
            text: format!("{count} of the latest calls of {hook} have failed"),
            detail: error.map(|error| shortened(text::first_line(error), 200)),
            href: format!("hooks?hook={}", pages::encoded(hook)),
        })
        .collect())
}

/// True for the outcomes of a hook's call that are its handler's or its vendor's failure.
pub(crate) fn is_failure(outcome: &str) -> bool {
    matches!(outcome, "failed" | "panicked" | "timed-out" | "vendor-error" | "unreadable")
}

fn disk(size: &StoreSize) -> Option<Need> {
    let free = size.free?;
    let part = free as f64 / (free + size.bytes).max(1) as f64;
    (part < LITTLE || free < 256 * 1024 * 1024).then(|| Need {
        urgent: true,
        text: format!("The inbox's disk has {} left", bytes(free)),
        detail: Some(format!(
            "The inbox itself has {}. A full disk is answered 503.",
            bytes(size.bytes)
        )),
        href: "retention".into(),
    })
}

/// A number of bytes by its largest unit.
pub(crate) fn bytes(number: u64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut value = number as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{number} bytes") } else { format!("{value:.1} {}", units[unit]) }
}

fn content(overview: &Overview, now: Timestamp) -> Markup {
    let day = |kind: TallyKind| overview.day.get(kind.as_str()).copied().unwrap_or_default();
    let hour = |kind: TallyKind| overview.hour.get(kind.as_str()).copied().unwrap_or_default();
    let tile = |figure: Option<u64>, name: &str, href: &str, hint: Markup| {
        html! { li { a href=(href) { span.figure { @match figure { Some(figure) => (figure), None => "…" } } (name) } p { @if figure.is_some() { (hint) } @else { "is being counted; reload" } } } }
    };
    let last_hour = |kind| html! { (hour(kind)) " in the last hour" };
    html! {
        ul.tiles {
            (tile(Some(day(TallyKind::Accepted)), "accepted in 24 h", "deliveries?last=24h", last_hour(TallyKind::Accepted)))
            (tile(overview.waiting, "waiting", "deliveries?state=ready", html! {
                @match overview.oldest_waiting { Some(oldest) if overview.waiting.unwrap_or(1) + overview.running.unwrap_or(1) > 0 => { "oldest accepted " (ago(oldest, now)) }, _ => "nothing waits" }
            }))
            (tile(overview.running, "running", "deliveries?state=running", html! { "handlers at work" }))
            (tile(overview.dead, "dead", "deliveries?state=dead", html! { (hour(TallyKind::Dead)) " died in the last hour" }))
            (tile(overview.unrouted, "unrouted", "deliveries?state=unrouted", html! { "no handler takes them" }))
            (tile(Some(day(TallyKind::Refused)), "refused in 24 h", "refused", last_hour(TallyKind::Refused)))
            (tile(Some(day(TallyKind::Duplicate)), "duplicates in 24 h", "refused?status=200", html! { (day(TallyKind::Conflict)) " with other bytes" }))
        }
        h2 { "Needs you" }
        @if overview.needs.is_empty() {
            p.empty { "Nothing. Dead deliveries, silent sources, retired keys in use, failing hooks and a full disk are named here." }
        } @else {
            ul.needs { @for need in &overview.needs {
                li class=[need.urgent.then_some("bad")] { a href=(need.href) { (need.text) } @if let Some(detail) = &need.detail { p.why { (detail) } } }
            } }
        }
        h2 { "Sources" }
        (sources(overview, now))
        p.hint { "The inbox has about " (overview.size.deliveries) " deliveries, " (bytes(overview.size.bytes)) @if let Some(free) = overview.size.free { "; its disk has " (bytes(free)) " left" } ". Charts lag by a few seconds." }
    }
}

fn sources(overview: &Overview, now: Timestamp) -> Markup {
    use pages::{Column, Table};
    let columns = [
        Column::text("Source"),
        Column::text("Accepted, 24 h"),
        Column::number("Accepted"),
        Column::number("Duplicates"),
        Column::number("Refused"),
        Column::text("Last accepted, to a quarter of an hour"),
    ];
    let rows: Vec<Vec<Markup>> = overview
        .sources
        .iter()
        .map(|source| {
            let label = format!("{} accepted in the last 24 hours, by quarter of an hour", source.accepted);
            vec![
                html! { a href={ "deliveries?last=24h&source=" (pages::encoded(&source.name)) } { (source.name) } },
                sparkline(&source.chart, &label),
                html! { (source.accepted) },
                html! { (source.duplicates) },
                html! { a href={ "refused?source=" (pages::encoded(&source.name)) } { (source.refused) } },
                html! { @match source.last { Some(last) => (ago(last, now)), None => "none in 8 days" } },
            ]
        })
        .collect();
    let empty = html! { p { "This process has no source in its settings." } };
    Table { name: "Sources", columns: &columns, rows: &rows, empty }.markup()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(source: &str, seconds: i64) -> Tally {
        let at = Timestamp::UNIX_EPOCH + TimeDelta::seconds(seconds);
        Tally { at, source: source.into(), kind: TallyKind::Accepted, count: 1 }
    }

    fn is_silent(times: &[i64], now: i64) -> bool {
        let week: Vec<Tally> = times.iter().map(|time| tally("one", time * BAR)).collect();
        let now = Timestamp::UNIX_EPOCH + TimeDelta::seconds(now * BAR);
        silent(&source_day("one", &week, now), &week, now).is_some()
    }

    #[test]
    fn a_source_is_silent_if_it_never_was_for_so_long() {
        let hourly: Vec<i64> = (0..100).map(|hour| hour * 4).collect();
        assert!(!is_silent(&hourly, 99 * 4 + 5));
        assert!(is_silent(&hourly, 99 * 4 + 12));
        let nightly: Vec<i64> =
            (0..100).flat_map(|n| if n % 24 < 12 { Some(n * 4) } else { None }).collect();
        assert!(!is_silent(&nightly, 87 * 4 + 50), "it sleeps at night");
        assert!(!is_silent(&[0, 4], 1000), "too few to know");
        assert!(!is_silent(&[], 1000));
    }

    #[test]
    fn the_newest_bar_is_the_last() {
        let now = Timestamp::UNIX_EPOCH + TimeDelta::seconds(1000 * BAR + 7);
        let week = [
            tally("one", 1000 * BAR),
            tally("one", 905 * BAR),
            tally("one", 904 * BAR),
            tally("two", 1000 * BAR),
        ];
        let day = source_day("one", &week, now);
        assert_eq!((day.chart[BARS - 1], day.chart[0], day.chart.iter().sum()), (1, 1, 2));
    }

    #[test]
    fn bytes_have_a_unit() {
        assert_eq!(bytes(12), "12 bytes");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(5 << 30), "5.0 GiB");
    }
}
