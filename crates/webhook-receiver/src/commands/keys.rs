//! `keys`: shows the keys that the sources accept, and the time of their last use.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use chrono::TimeDelta;
use contract::time::Timestamp;
use inbox::KeyUse;
use serde::Serialize;
use settings::{ConfiguredKey, Overrides};

use super::{open_beside, plain, print, time};

const EXAMPLES: &str = "\
Replacing a key without losing an event:
  1. Write the new key beside the old one and restart the receiver:
       bearer_tokens = [\"old\", \"new\"]
  2. Give the sender the new key, then see which of the two it uses:
       webhook-receiver keys
  3. When the old one is no longer used, move it to retired_keys: it is no longer accepted, and a
     request that still comes with it is logged.

A key is shown as its fingerprint, which is also the field `key` in the log's lines. The times come from the inbox, which a \
running receiver updates every 10 s.

Examples:
  Keys that are accepted, but were never used:
    webhook-receiver keys --json |
        jq -r '.[] | select(.sort != \"retired\" and .lastUsed == null) | .setting'

  Also those that are no longer in the settings:
    webhook-receiver keys --all";

const JSON_HELP: &str = "\
Print a JSON list instead of a table

Keys: source; sort (bearer, signing, retired, or removed with --all); key, the fingerprint; setting, its location, or null; \
lastUsed, or null for never.";

/// The time without use after which a key counts as unused.
const LATELY: TimeDelta = TimeDelta::days(7);

/// The flags of `keys`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    settings: Overrides,
    /// Show also used keys that are no longer in the settings
    #[arg(long)]
    all: bool,
    #[arg(long, help = text::first_line(JSON_HELP), long_help = JSON_HELP)]
    json: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = settings::load(&args.settings)?;
    let configured = config.keys()?;
    let used = match open_beside(&config).await? {
        Some(inbox) => inbox.keys().await?,
        None => Vec::new(),
    };
    let mut rows = rows(&configured, used);
    rows.retain(|row| args.all || row.sort != REMOVED);
    if args.json {
        print(serde_json::to_string_pretty(&rows)?)?;
    } else if rows.is_empty() {
        print("no keys")?;
    } else {
        let now = contract::time::now();
        print(table(&rows, now))?;
        hints(&rows, now).iter().try_for_each(|hint| print(format!("\n{hint}")))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The sort of a key that is no longer in the settings.
const REMOVED: &str = "removed";

/// One key of the list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    source: String,
    sort: &'static str,
    #[serde(skip)]
    is_accepted: bool,
    key: String,
    setting: Option<String>,
    last_used: Option<Timestamp>,
}

/// The configured keys in the order of the settings, then further keys in the inbox.
fn rows(configured: &[ConfiguredKey], used: Vec<KeyUse>) -> Vec<Row> {
    let mut used: BTreeMap<_, _> =
        used.into_iter().map(|key| ((key.source, key.key), key.last_used)).collect();
    let known = |key: &ConfiguredKey| Row {
        source: key.source.clone(),
        sort: key.sort.as_str(),
        is_accepted: key.sort.is_accepted(),
        key: key.fingerprint.to_string(),
        setting: Some(key.location.clone()),
        last_used: used.get(&(key.source.clone(), key.fingerprint.to_string())).copied(),
    };
    let mut rows: Vec<Row> = configured.iter().map(known).collect();
    for key in configured {
        used.remove(&(key.source.clone(), key.fingerprint.to_string()));
    }
    rows.extend(used.into_iter().map(|((source, key), last_used)| Row {
        source,
        sort: REMOVED,
        is_accepted: false,
        key,
        setting: None,
        last_used: Some(last_used),
    }));
    rows
}

fn table(rows: &[Row], now: Timestamp) -> comfy_table::Table {
    let mut table = plain();
    table.set_header(["SOURCE", "SORT", "KEY", "SETTING", "LAST USED"]);
    table.add_rows(rows.iter().map(|row| {
        [
            row.source.clone(),
            row.sort.to_owned(),
            row.key.clone(),
            row.setting.clone().unwrap_or_else(|| "-".into()),
            row.last_used.map_or_else(
                || "never".into(),
                |used| format!("{} ({})", time(used), ago(now - used)),
            ),
        ]
    }));
    table
}

/// The keys that can be removed, for each source and sort of which only one key is in use.
fn hints(rows: &[Row], now: Timestamp) -> Vec<String> {
    let mut groups: BTreeMap<(&str, &str), Vec<&Row>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.is_accepted) {
        groups.entry((&row.source, row.sort)).or_default().push(row);
    }
    groups.values().filter_map(|rows| hint(rows, now)).collect()
}

fn hint(rows: &[&Row], now: Timestamp) -> Option<String> {
    let is_in_use = |row: &&&Row| row.last_used.is_some_and(|used| now - used < LATELY);
    let in_use: BTreeSet<&str> =
        rows.iter().filter(is_in_use).map(|row| row.key.as_str()).collect();
    let others: Vec<&&Row> = rows.iter().filter(|row| !in_use.contains(row.key.as_str())).collect();
    if in_use.len() != 1 || others.is_empty() {
        return None;
    }
    let named =
        |row: &&&Row| format!("{} ({})", row.setting.as_deref().unwrap_or_default(), row.key);
    let mut hint = format!(
        "[sources.{}] Only {} was used in the last {} d, so the others can go: {}. Move them to retired_keys.",
        rows[0].source,
        in_use.into_iter().collect::<String>(),
        LATELY.num_days(),
        others.iter().map(named).collect::<Vec<_>>().join("; ")
    );
    if others.iter().any(|row| row.last_used.is_none()) {
        hint += " But keep one that was never used if the sender is still to change to it.";
    }
    Some(hint)
}

fn ago(age: TimeDelta) -> String {
    let units = [(age.num_days(), "d"), (age.num_hours(), "h"), (age.num_minutes(), "min")];
    let unit = units.into_iter().find(|(number, _)| *number > 0);
    let (number, unit) = unit.unwrap_or((age.num_seconds().max(0), "s"));
    format!("{number} {unit} ago")
}
