//! `bus rehearse`: the cost of an outage of the receiver with each sender.

use std::process::ExitCode;
use std::time::Duration;

use bus::rehearse::{Outage, OutageCost, SubscriptionEnd, rehearse};
use bus::retry_policy::{AttemptResult, RETRY_POLICIES, RetryPolicy};
use serde_json::{Value, json};

use crate::commands::{plain, print};

const EXAMPLES: &str = "\
Examples:
  The cost of a weekend, for every sender:
    webhook-receiver bus rehearse --down 60h

  Five hours, with a shop that sends 20 events a second:
    webhook-receiver bus rehearse --down 5h --persona shopify --rate 20

  A sender with your own delays, and a receiver that hangs:
    webhook-receiver bus rehearse --down 2h --persona '10s, 5m, 1h' --answer timeout

Nothing is sent. Exit code: 0, or 2 if it cannot be simulated.";

const JSON_HELP: &str = "\
Print a JSON array instead of a table

Keys of its objects, one for each persona: persona, source; events, failures, late, given_up, lost, kept (counts); \
first_given_up_s, longest_s, caught_up_s (seconds or null); subscription (paused, dropped, gone, or null if it stays) and \
ended_s; peak {requests, usual, after_s} of a minute, or null.";

/// The flags of `bus rehearse`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Duration of the outage, e.g. 5h or 3days
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    down: Duration,
    /// Sender: a persona, or delays such as '10s, 5m, 1h'; may be repeated [default: every persona]
    #[arg(long, value_name = "NAME")]
    persona: Vec<RetryPolicy>,
    /// Events per second
    #[arg(long, value_name = "R", default_value_t = 1.0)]
    rate: f64,
    /// Answer of the receiver meanwhile: none (it cannot be reached), timeout, or a status
    #[arg(long, value_name = "WHAT", default_value = "none", value_parser = answer)]
    answer: AttemptResult,
    /// Seed of the jitter; the same seed gives the same figures
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    #[arg(long, help = text::first_line(JSON_HELP), long_help = JSON_HELP)]
    json: bool,
}

fn answer(text: &str) -> Result<AttemptResult, &'static str> {
    match text {
        "none" => Ok(AttemptResult::ConnectionFailed),
        "timeout" => Ok(AttemptResult::TimedOut),
        status => match status.parse() {
            Ok(status @ 100..=599) => Ok(AttemptResult::status(status)),
            _ => Err("write none, timeout or a status such as 503"),
        },
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Args { down, rate, answer, seed, .. } = *args;
    let outage = Outage { down, rate, answer, seed };
    let personas = if args.persona.is_empty() { RETRY_POLICIES } else { &args.persona };
    let costs: Vec<_> = personas
        .iter()
        .map(|persona| rehearse(persona, &outage).map(|cost| (persona, cost)))
        .collect::<Result<_, _>>()?;
    if args.json {
        let rows: Vec<_> = costs.iter().map(|(persona, cost)| row(persona, cost)).collect();
        print(Value::from(rows))?;
    } else {
        print(table(&costs))?;
        print(LEGEND)?;
        if let [(persona, _)] = costs.as_slice() {
            print(format_args!("\n{}", persona.source))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One line of the table: its label, and the text of its cell.
type CostLine = (&'static str, fn(&OutageCost) -> String);

const LINES: [CostLine; 12] = [
    ("events during it", |cost| cost.events.to_string()),
    ("failed attempts", |cost| cost.failures.to_string()),
    ("arrive late", |cost| cost.late.to_string()),
    ("given up", |cost| cost.given_up.to_string()),
    ("first after", |cost| time(cost.first_given_up)),
    ("lost", |cost| cost.lost.to_string()),
    ("kept for a resume", |cost| cost.kept.to_string()),
    ("subscription", |cost| match cost.end {
        None => "stays".into(),
        Some((fate, at)) => format!("{} after {}", word(fate), span(at)),
    }),
    ("longest delay", |cost| time(cost.longest)),
    ("caught up after", |cost| time(cost.caught_up)),
    ("peak a minute", |cost| match cost.peak {
        None => "-".into(),
        Some(peak) => format!("{} (usually {})", peak.requests, peak.usual),
    }),
    ("peak begins after", |cost| time(cost.peak.map(|peak| peak.after))),
];

const LEGEND: &str = "\nTimes of the first event given up and of the subscription are from the start of the outage, those of caught up and the peak from its end.";

fn table(costs: &[(&RetryPolicy, OutageCost)]) -> comfy_table::Table {
    let mut table = plain();
    let names = costs.iter().map(|(persona, _)| persona.name.to_owned());
    table.set_header(std::iter::once(String::new()).chain(names));
    for (name, cell) in LINES {
        let cells = costs.iter().map(|(_, cost)| cell(cost));
        table.add_row(std::iter::once(name.to_owned()).chain(cells));
    }
    table
}

fn row(persona: &RetryPolicy, cost: &OutageCost) -> Value {
    let seconds = |time: Option<Duration>| time.map(|time| time.as_secs());
    json!({
        "persona": persona.to_string(),
        "source": persona.source,
        "events": cost.events,
        "failures": cost.failures,
        "late": cost.late,
        "given_up": cost.given_up,
        "lost": cost.lost,
        "kept": cost.kept,
        "first_given_up_s": seconds(cost.first_given_up),
        "subscription": cost.end.map(|(fate, _)| word(fate)),
        "ended_s": seconds(cost.end.map(|(_, at)| at)),
        "longest_s": seconds(cost.longest),
        "caught_up_s": seconds(cost.caught_up),
        "peak": cost.peak.map(|peak| json!({
            "requests": peak.requests,
            "usual": peak.usual,
            "after_s": peak.after.as_secs(),
        })),
    })
}

fn word(fate: SubscriptionEnd) -> &'static str {
    match fate {
        SubscriptionEnd::Paused => "paused",
        SubscriptionEnd::Dropped => "dropped",
        SubscriptionEnd::Gone => "gone",
    }
}

fn time(time: Option<Duration>) -> String {
    time.map_or("-".into(), span)
}

/// A duration in whole seconds below an hour, in whole minutes above.
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let rounded = if seconds < 3600 { seconds } else { seconds - seconds % 60 };
    humantime::format_duration(Duration::from_secs(rounded)).to_string()
}
