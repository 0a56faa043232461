//! The run: first the request that the others depend on, then the timed checks alone, then the others concurrently.

use std::io::{IsTerminal, stderr};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};

use super::check::{CheckResult, DoctorCheck};
use super::probe::Prober;
use super::report::{DoctorReport, ReportLine};
use super::table::CHECKS;
use super::target::ProbeTarget;

/// The number of concurrent checks.
const SIDE_BY_SIDE: usize = 8;

/// The group of checks that run alone.
const TIMED: &str = "time";

/// The checks and groups of these names, or all if none is named.
pub(super) fn chosen(only: &[String]) -> anyhow::Result<Vec<&'static DoctorCheck>> {
    let is = |check: &DoctorCheck, name: &String| check.id == name || check.group() == name;
    if let Some(unknown) = only.iter().find(|name| !CHECKS.iter().any(|check| is(check, name))) {
        let mut groups: Vec<_> = CHECKS.iter().map(DoctorCheck::group).collect();
        groups.dedup();
        anyhow::bail!(
            "--only: there is no check or group `{unknown}`; groups: {}",
            groups.join(", ")
        );
    }
    let wanted = |check: &&DoctorCheck| only.is_empty() || only.iter().any(|name| is(check, name));
    Ok(CHECKS.iter().filter(wanted).collect())
}

pub(super) async fn run(
    target: ProbeTarget,
    checks: &[&'static DoctorCheck],
) -> anyhow::Result<DoctorReport> {
    let start = Instant::now();
    let probe = Prober::new(target)?;
    let first = probe.plainest().and_then(|message| message.request());
    first.context("a genuine delivery cannot be made")?;
    let bar = progress(checks.len());
    // The first request decides which checks make sense.
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
    Ok(DoctorReport {
        url: probe.target.template.clone(),
        source: probe.target.source.clone(),
        sender: Arc::clone(&probe.target.sender),
        requests: probe.sent(),
        proof: probe.target.keys.places(),
        took: start.elapsed(),
        lines: lines.into_iter().map(|(_, line)| line).collect(),
    })
}

async fn one(probe: &Prober, check: &'static DoctorCheck) -> ReportLine {
    let start = Instant::now();
    let finding = match unmet(probe, check).await {
        Some(why) => CheckResult::skip(why),
        None => (check.run)(probe).await.unwrap_or_else(|early| early),
    };
    ReportLine { check, finding, took: start.elapsed() }
}

async fn unmet(probe: &Prober, check: &DoctorCheck) -> Option<&'static str> {
    for need in check.needs {
        if let Some(why) = need.unmet(probe).await {
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
