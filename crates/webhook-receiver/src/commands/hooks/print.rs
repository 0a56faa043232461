//! Output of calls: a table and text.

use std::time::Duration;

use comfy_table::Table;
use inbox::{HookEntry, HookRecord};

use crate::commands::browse::cells;
use crate::commands::{plain, print, time};

pub(super) fn list(calls: &[HookEntry], json: bool) -> anyhow::Result<()> {
    if json {
        print(serde_json::to_string_pretty(calls)?)?;
    } else if calls.is_empty() {
        print("no calls")?;
    } else {
        print(table(calls))?;
    }
    Ok(())
}

fn table(calls: &[HookEntry]) -> Table {
    let mut table = plain();
    table.set_header([
        "ID",
        "OUTCOME",
        "STATUS",
        "SOURCE",
        "HOOK",
        "RECEIVED",
        "MS",
        "CALLBACK MS",
        "NOTE",
    ]);
    table.add_rows(calls.iter().map(|HookEntry { id, record }| {
        cells([
            id.to_string(),
            record.outcome.to_string(),
            record.status.to_string(),
            record.source.clone(),
            record.hook.clone(),
            time(record.received_at),
            millis(record.took),
            record.callback.as_ref().map_or_else(|| "-".into(), |callback| millis(callback.took)),
            record.error.clone().unwrap_or_default(),
        ])
    }));
    table
}

pub(super) fn call(call: &HookEntry, json: bool) -> anyhow::Result<()> {
    if json {
        return Ok(print(serde_json::to_string_pretty(call)?)?);
    }
    let mut text = facts(call).to_string();
    for (what, body) in call.record.bodies.iter().flat_map(|bodies| bodies.iter()) {
        let body = String::from_utf8_lossy(body);
        text += &format!("\n\n{what}:\n{body}");
    }
    Ok(print(text)?)
}

fn facts(HookEntry { id, record }: &HookEntry) -> Table {
    let optional = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
    let mut table = plain();
    let rows = [
        ["call", &id.to_string()],
        ["outcome", &format!("{} ({})", record.outcome, record.status)],
        ["source", &format!("{} ({})", record.source, record.environment)],
        ["hook", &record.hook],
        ["user", &optional(&record.user)],
        ["request id", &record.request_id],
        ["received", &time(record.received_at)],
        ["took", &format!("{} ms", millis(record.took))],
        ["callback", &callback(record)],
        ["error id", &optional(&record.error_id)],
        ["error", &optional(&record.error)],
        ["bodies", if record.bodies.is_some() { "below" } else { "not kept (record_bodies)" }],
    ];
    table.add_rows(rows.map(|row| cells(row.map(str::to_owned))));
    table
}

fn callback(record: &HookRecord) -> String {
    match &record.callback {
        None => "not used".into(),
        Some(callback) => {
            let failure = callback.error.as_ref().map(|error| format!("; {error}"));
            format!("{} ms{}", millis(callback.took), failure.unwrap_or_default())
        }
    }
}

fn millis(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e3)
}
