//! Output of a report: text for people, one JSON object for scripts.

use std::fmt;
use std::time::Duration;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, Table};
use http::StatusCode;
use serde_json::{Value, json};
use text::inert_lines;

use super::attempt::SendAttempt;
use super::proof::Tamper;
use super::report::EmitReport;

/// The lag behind the schedule that is worth a note.
const LATE: Duration = Duration::from_millis(50);

impl EmitReport {
    /// The report as `--json` prints it.
    pub fn json(&self) -> Value {
        json!({
            "tampered": self.tamper.map(Tamper::as_str),
            "planned": self.planned,
            "sent": self.sent,
            "accepted": self.accepted,
            "interrupted": self.is_interrupted(),
            "answers": self.answers_json(),
            "errors": self.errors.iter().map(|(cause, count)| json!({"cause": cause, "count": count})).collect::<Vec<_>>(),
            "latency_ms": self.latency_json(),
            "seconds": round(self.elapsed.as_secs_f64()),
            "rate": round(self.rate()),
            "max_lag_ms": millis(self.max_lag),
            "message": self.single.as_ref().map(message_json),
        })
    }

    /// Writes the result of forgeries, if there were any.
    fn write_forged(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(tamper) = self.tamper else { return Ok(()) };
        let (refused, planned) = (self.refused(), self.planned);
        let word = if self.is_as_expected() { "as it should be" } else { "NOT as it should be" };
        let mut statuses: Vec<String> =
            self.refusals().map(|(status, _)| status.as_u16().to_string()).collect();
        statuses.dedup();
        let with = if statuses.is_empty() { "401".to_owned() } else { statuses.join(" or ") };
        writeln!(
            f,
            "forged {}: {refused} of {planned} refused with {with}, {word}",
            tamper.as_str()
        )?;
        if statuses.iter().any(|status| status != "401") {
            writeln!(f, "401 is usual; see that a genuine one is accepted there")?;
        }
        Ok(())
    }

    fn answers_json(&self) -> Vec<Value> {
        let row = |((status, answer), count): (&(StatusCode, Option<String>), &u64)| {
            let example = self.examples.get(status).map(|body| body_json(body));
            json!({"status": status.as_u16(), "answer": answer, "count": count, "example": example})
        };
        self.answers.iter().map(row).collect()
    }

    fn latency_json(&self) -> Option<Value> {
        let members =
            self.percentiles()?.map(|(name, took)| (name.to_owned(), millis(took).into()));
        Some(Value::Object(members.into_iter().collect()))
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(UTF8_HORIZONTAL_ONLY).set_header(["answer", "messages"]);
        for ((status, answer), count) in &self.answers {
            let answer = answer.as_deref().unwrap_or_default();
            table.add_row([printable(format!("{status} {answer}").as_bytes()), count.to_string()]);
        }
        for (cause, count) in &self.errors {
            table.add_row([format!("none: {cause}"), count.to_string()]);
        }
        if let Some(counts) = table.column_mut(1) {
            counts.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}

impl fmt::Display for EmitReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(attempt) = &self.single {
            write_single(f, attempt)?;
            return self.write_forged(f);
        }
        writeln!(f, "{}", self.table())?;
        for (status, body) in &self.examples {
            writeln!(f, "first {}: {}", status.as_u16(), printable(body))?;
        }
        let EmitReport { planned, sent, accepted, .. } = self;
        let seconds = self.elapsed.as_secs_f64();
        writeln!(
            f,
            "{accepted} accepted, {sent} of {planned} sent in {seconds:.1} s ({:.1}/s)",
            self.rate()
        )?;
        self.write_forged(f)?;
        if let Some(latency) = self.percentiles() {
            let parts = latency.map(|(name, took)| format!("{name} {} ms", millis(took)));
            writeln!(f, "latency: {}", parts.join(", "))?;
        }
        if self.max_lag > LATE {
            writeln!(
                f,
                "behind schedule by up to {} ms: raise --concurrency or lower --rate",
                millis(self.max_lag)
            )?;
        }
        Ok(())
    }
}

fn write_single(f: &mut fmt::Formatter<'_>, attempt: &SendAttempt) -> fmt::Result {
    writeln!(f, "POST {}", attempt.url)?;
    writeln!(f, "{} {}", attempt.event, attempt.message_id)?;
    let took = millis(attempt.took);
    match &attempt.result {
        Ok(answer) => writeln!(f, "{} in {took} ms\n{}", answer.status, printable(&answer.body)),
        Err(cause) => writeln!(f, "no answer after {took} ms: {cause}"),
    }
}

fn message_json(attempt: &SendAttempt) -> Value {
    let answer = attempt.result.as_ref().ok();
    json!({
        "event": &*attempt.event,
        "id": &*attempt.message_id,
        "url": attempt.url.as_str(),
        "status": answer.map(|answer| answer.status.as_u16()),
        "body": answer.map(|answer| body_json(&answer.body)),
        "error": attempt.result.as_ref().err(),
    })
}

/// A body as JSON if it is JSON, otherwise as text.
fn body_json(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|_| String::from_utf8_lossy(body).into())
}

/// Untrusted text without terminal control characters.
pub(super) fn printable(text: &[u8]) -> String {
    inert_lines(&String::from_utf8_lossy(text)).into_owned()
}

pub(super) fn millis(time: Duration) -> f64 {
    round(time.as_secs_f64() * 1e3)
}

fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
