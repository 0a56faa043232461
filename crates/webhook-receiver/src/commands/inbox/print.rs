//! Output of deliveries: tables and text.

use comfy_table::Table;
use contract::effect::Applied;
use contract::time::Timestamp;
use inbox::{Detail, Entry};
use serde_json::{Value, json};
use text::inert;

use crate::commands::browse::cells;
use crate::commands::{plain, print, time};

pub(super) fn list(entries: &[Entry], json: bool) -> anyhow::Result<()> {
    if json {
        print(serde_json::to_string_pretty(entries)?)?;
    } else if entries.is_empty() {
        print("no deliveries")?;
    } else {
        print(table(entries))?;
    }
    Ok(())
}

fn table(entries: &[Entry]) -> Table {
    let mut table = plain();
    table.set_header([
        "ID",
        "STATE",
        "SOURCE",
        "EVENT",
        "MESSAGE ID",
        "ACCEPTED",
        "ATTEMPTS",
        "NOTE",
    ]);
    table.add_rows(entries.iter().map(|entry| {
        cells([
            entry.id.to_string(),
            entry.state.as_str().to_owned(),
            entry.source.clone(),
            named(&entry.event_type),
            entry.message_id.clone(),
            time(entry.received_at),
            entry.attempts.to_string(),
            note(entry),
        ])
    }));
    table
}

/// The last error, and other anomalies.
pub(in crate::commands) fn note(entry: &Entry) -> String {
    let mut notes = Vec::new();
    if entry.recognised > 0 {
        let resends = if entry.recognised == 1 { "resend" } else { "resends" };
        notes.push(format!("{} {resends} recognised by bytes alone", entry.recognised));
    }
    if entry.conflicts > 0 {
        notes.push(format!("{} resends with other bytes", entry.conflicts));
    }
    if entry.replays > 0 {
        notes.push(format!("{} replays", entry.replays));
    }
    if entry.lost > 0 {
        notes.push(format!("{} attempts in a row ended with their worker", entry.lost));
    }
    notes.extend(entry.last_error.clone());
    notes.join("; ")
}

pub(super) fn replayed(number: u64, dry_run: bool, json: bool) -> anyhow::Result<()> {
    super::super::print(match (json, dry_run) {
        (true, _) => json!({ "replayed": number, "dryRun": dry_run }).to_string(),
        (false, true) => format!("to be replayed: {number}"),
        (false, false) => format!("due again: {number}"),
    })?;
    Ok(())
}

pub(super) fn discarded(number: u64, dry_run: bool, json: bool) -> anyhow::Result<()> {
    super::super::print(match (json, dry_run) {
        (true, _) => json!({ "discarded": number, "dryRun": dry_run }).to_string(),
        (false, true) => format!("to be discarded: {number}"),
        (false, false) => format!("discarded: {number}"),
    })?;
    Ok(())
}

pub(super) fn detail(detail: &Detail, json: &Value, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        print(serde_json::to_string_pretty(json)?)?;
        return Ok(());
    }
    let mut text = format!("{}\n\n", facts(detail));
    if !detail.attempts.is_empty() {
        text += &format!("{}\n\n", attempts(detail));
    }
    for header in json["headers"].as_array().into_iter().flatten() {
        let [name, value] = [0, 1].map(|part| header[part].as_str().unwrap_or_default());
        text += &format!("{name}: {}\n", inert(value));
    }
    text += "\n";
    text += &String::from_utf8_lossy(&detail.body);
    Ok(print(text)?)
}

fn facts(detail: &Detail) -> Table {
    let entry = &detail.entry;
    let derived = if entry.message_id_derived { " (digest: the sender gave none)" } else { "" };
    let optional = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
    let at = |value: Option<Timestamp>| value.map_or_else(|| "-".into(), time);
    let mut table = plain();
    let rows = [
        ["delivery", &entry.id.to_string()],
        ["state", entry.state.as_str()],
        ["source", &format!("{} ({})", entry.source, entry.environment)],
        ["event", &format!("{} v{}", named(&entry.event_type), entry.version)],
        ["message id", &format!("{}{derived}", entry.message_id)],
        ["client id", &optional(&entry.client_id)],
        ["user", &optional(&entry.user)],
        ["key", &optional(&detail.key)],
        ["happened", &at(entry.event_time)],
        ["accepted", &time(entry.received_at)],
        ["worker", &optional(&entry.owner)],
        ["due", &at(entry.due_at)],
        ["ended", &at(entry.ended_at)],
        ["ordering key", &optional(&detail.ordering_key)],
        ["note", &note(entry)],
    ];
    table.add_rows(rows.map(|row| cells(row.map(str::to_owned))));
    table
}

fn attempts(detail: &Detail) -> Table {
    let mut table = plain();
    let has_effect = detail.attempts.iter().any(|attempt| attempt.applied.is_some());
    let mut header = vec!["ATTEMPT", "REPLAY", "STARTED", "MS", "OUTCOME", "ERROR"];
    header.extend(has_effect.then_some("APPLIED BY"));
    table.set_header(header);
    table.add_rows(detail.attempts.iter().map(|attempt| {
        let mut row = Vec::from(cells([
            attempt.attempt.to_string(),
            attempt.replay.to_string(),
            time(attempt.started_at),
            (attempt.ended_at - attempt.started_at).num_milliseconds().to_string(),
            attempt.outcome.clone(),
            attempt.error.clone().unwrap_or_default(),
        ]));
        let by = |applied: Applied| format!("attempt {}, {}", applied.attempt, time(applied.at));
        row.extend(has_effect.then(|| attempt.applied.map(by).unwrap_or_default()));
        row
    }));
    table
}

pub(in crate::commands) fn named(event_type: &str) -> String {
    if event_type.is_empty() { "(not named)".into() } else { event_type.to_owned() }
}
