//! Sends the messages of a plan, each when it is due, and reports the results.

use std::io::{IsTerminal, stderr};
use std::pin::pin;
use std::time::{Duration, Instant};

use client::client;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use indicatif::{ProgressBar, ProgressStyle};

use super::attempt::attempt;
use super::plan::Plan;
use super::report::EmitReport;
use super::schedule::due;

/// The number of messages below which no progress bar is shown.
const LONG_RUN: u64 = 200;

/// Sends the plan's messages until all are answered; once `stop` is ready, waits only for those in flight.
///
/// # Errors
/// If no HTTP client can be set up. The failure of a message is in the report.
pub async fn send(plan: &Plan, stop: impl Future<Output = ()>) -> anyhow::Result<EmitReport> {
    let https = plan.drafts.iter().any(|draft| draft.url.scheme() == "https");
    let client = client(https, Some(plan.timeout))?;
    let bar = progress_bar(plan);
    let mut report = EmitReport::new(plan.total(), plan.tamper);
    let mut in_flight = FuturesUnordered::new();
    let mut stop = pin!(stop);
    let finish = |report: &mut EmitReport, attempt| {
        report.finish(attempt);
        bar.inc(1);
    };
    let start = Instant::now();
    for (number, message) in (0..).zip(plan.messages()) {
        let due = start + due(plan.rate, number);
        let is_due = loop {
            tokio::select! {
                biased;
                () = &mut stop => break false,
                () = until(due), if in_flight.len() < plan.concurrency => break true,
                Some(attempt) = in_flight.next() => finish(&mut report, attempt),
            }
        };
        if !is_due {
            break;
        }
        report.start(plan.rate.map(|_| due.elapsed()));
        in_flight.push(attempt(&client, message));
    }
    while let Some(attempt) = in_flight.next().await {
        finish(&mut report, attempt);
    }
    report.end(start.elapsed());
    bar.finish_and_clear();
    Ok(report)
}

/// Returns at once if the time has passed, since the timer's resolution is a millisecond.
async fn until(due: Instant) {
    if Instant::now() < due {
        tokio::time::sleep_until(due.into()).await;
    }
}

fn progress_bar(plan: &Plan) -> ProgressBar {
    let total = plan.total();
    let long = total > LONG_RUN || due(plan.rate, total) > Duration::from_secs(3);
    if !long || !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {per_sec} {eta}");
    ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
