//! Runs the checks: first what the others rest on, then what is timed alone, then the rest side by side.

use std::io::{IsTerminal, stderr};
use std::time::Instant;

use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};

use super::check::{Check, Finding};
use super::probe::Probe;
use super::report::{Line, Report};
use super::table::CHECKS;
use super::target::Target;

/// How many checks run side by side.
const SIDE_BY_SIDE: usize = 8;

/// The group whose checks must have the receiver for themselves.
const TIMED: &str = "time";

/// The checks and groups of these names, or all if none is named.
pub(super) fn chosen(only: &[String]) -> anyhow::Result<Vec<&'static Check>> {
    let is = |check: &Check, name: &String| check.id == name || check.group() == name;
    if let Some(unknown) = only.iter().find(|name| !CHECKS.iter().any(|check| is(check, name))) {
        let mut groups: Vec<_> = CHECKS.iter().map(Check::group).collect();
        groups.dedup();
        anyhow::bail!(
            "--only: there is no check or group `{unknown}`; groups: {}",
            groups.join(", ")
        );
    }
    let wanted = |check: &&Check| only.is_empty() || only.iter().any(|name| is(check, name));
    Ok(CHECKS.iter().filter(wanted).collect())
}

pub(super) async fn run(target: Target, checks: &[&'static Check]) -> anyhow::Result<Report> {
    let start = Instant::now();
    let probe = Probe::new(target)?;
    let bar = progress(checks.len());
    // The first request decides what else makes sense.
    probe.baseline().await;
    let numbered = checks.iter().copied().enumerate();
    let (timed, others): (Vec<_>, Vec<_>) = numbered.partition(|(_, check)| check.group() == TIMED);
    let mut lines = Vec::new();
    for (together, checks) in [(1, timed), (SIDE_BY_SIDE, others)] {
        let mut findings = stream::iter(checks)
            .map(async |(number, check)| (number, one(&probe, check).await))
            .buffer_unordered(together);
        while let Some(line) = findings.next().await {
            bar.set_message(line.1.check.id);
            bar.inc(1);
            lines.push(line);
        }
    }
    bar.finish_and_clear();
    lines.sort_by_key(|(number, _)| *number);
    Ok(Report {
        url: probe.target.template.clone(),
        source: probe.target.source.clone(),
        sender: probe.target.sender,
        requests: probe.sent(),
        took: start.elapsed(),
        lines: lines.into_iter().map(|(_, line)| line).collect(),
    })
}

async fn one(probe: &Probe, check: &'static Check) -> Line {
    let start = Instant::now();
    let finding = match lacking(probe, check).await {
        Some(why) => Finding::skip(why),
        None => (check.run)(probe).await.unwrap_or_else(|early| early),
    };
    Line { check, finding, took: start.elapsed() }
}

async fn lacking(probe: &Probe, check: &Check) -> Option<&'static str> {
    for need in check.needs {
        if let Some(why) = need.lacking(probe).await {
            return Some(why);
        }
    }
    None
}

fn progress(checks: usize) -> ProgressBar {
    if !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}");
    ProgressBar::new(checks as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
