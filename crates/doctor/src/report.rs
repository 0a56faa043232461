//! The report of a run: a table for people, JSON for scripts, JUnit XML for build servers.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table};
use serde_json::{Value, json};
use source::Sender;
use text::inert_lines;

use super::check::{CheckResult, CheckVerdict, DoctorCheck};

/// One check with its result.
pub struct ReportLine {
    /// The check.
    pub check: &'static DoctorCheck,
    /// The result.
    pub finding: CheckResult,
    /// The duration.
    pub took: Duration,
}

/// The report of a run.
pub struct DoctorReport {
    /// The URL as it was given.
    pub url: String,
    /// The configured source, if there is one.
    pub source: Option<String>,
    /// The profile of the sender.
    pub sender: Arc<Sender>,
    /// The number of requests sent.
    pub requests: usize,
    /// The places of the sender's proof, in words.
    pub proof: String,
    /// The duration of the run.
    pub took: Duration,
    /// One line for each check, in the order of the table.
    pub lines: Vec<ReportLine>,
}

impl ReportLine {
    /// The consequence, for a warning or a failure.
    pub fn why(&self, sender: &Sender) -> Option<String> {
        let is_told = self.finding.verdict >= CheckVerdict::Warn;
        let why = self.check.why.replace("{sender}", &sender.title);
        is_told.then(|| why.replace("{on_failure}", &sender.failure))
    }

    /// The remedy, for a warning or a failure. `proof` names the places of the sender's proof.
    pub fn remedy(&self, proof: &str) -> Option<String> {
        let is_told = self.finding.verdict >= CheckVerdict::Warn;
        let remedy = self.finding.remedy.as_deref().unwrap_or(self.check.remedy);
        is_told.then(|| remedy.replace("{proof}", proof))
    }
}

impl DoctorReport {
    /// The worst of all verdicts; a skipped check counts as passed.
    pub fn verdict(&self) -> CheckVerdict {
        let verdicts = self.lines.iter().map(|line| line.finding.verdict);
        verdicts.max().unwrap_or(CheckVerdict::Pass).max(CheckVerdict::Pass)
    }

    fn count(&self, verdict: CheckVerdict) -> usize {
        self.lines.iter().filter(|line| line.finding.verdict == verdict).count()
    }

    /// The report as `--json` prints it.
    pub fn json(&self) -> Value {
        let line = |line: &ReportLine| {
            json!({
                "id": line.check.id,
                "group": line.check.group(),
                "asks": line.check.asks,
                "verdict": line.finding.verdict,
                "seen": line.finding.seen,
                "why": line.why(&self.sender),
                "remedy": line.remedy(&self.proof),
            })
        };
        json!({
            "url": self.url,
            "source": self.source,
            "sender": self.sender.title,
            "requests": self.requests,
            "seconds": (self.took.as_secs_f64() * 1e3).round() / 1e3,
            "verdict": self.verdict(),
            "checks": self.lines.iter().map(line).collect::<Vec<_>>(),
        })
    }

    /// The report as JUnit XML: warnings are passed tests with output.
    pub fn junit(&self) -> String {
        let mut xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"webhook-receiver doctor\" tests=\"{}\" failures=\"{}\" skipped=\"{}\" time=\"{:.3}\">\n",
            self.lines.len(),
            self.count(CheckVerdict::Fail),
            self.count(CheckVerdict::Skip),
            self.took.as_secs_f64()
        );
        for line in &self.lines {
            let (group, id) = (line.check.group(), line.check.id);
            let seen = escaped(&line.finding.seen);
            let more = [line.why(&self.sender), line.remedy(&self.proof)];
            let more = escaped(&more.into_iter().flatten().collect::<Vec<_>>().join("\n"));
            let inside = match line.finding.verdict {
                CheckVerdict::Pass => String::new(),
                CheckVerdict::Skip => format!("<skipped message=\"{seen}\"/>"),
                CheckVerdict::Warn => format!("<system-out>{seen}\n{more}</system-out>"),
                CheckVerdict::Fail => format!("<failure message=\"{seen}\">{more}</failure>"),
            };
            // Writing to a string cannot fail.
            let _ = writeln!(
                xml,
                "  <testcase classname=\"{group}\" name=\"{id}\" time=\"{:.3}\">{inside}</testcase>",
                line.took.as_secs_f64()
            );
        }
        xml + "</testsuite>\n"
    }

    /// The report for people, in colour or not.
    pub fn table(&self, is_coloured: bool) -> String {
        let mut table = Table::new();
        table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        if is_coloured {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        for line in &self.lines {
            let verdict = line.finding.verdict;
            let mut cell = Cell::new(verdict.as_str());
            if is_coloured {
                cell = cell.fg(colour(verdict)).add_attribute(Attribute::Bold);
            }
            table.add_row([
                cell,
                Cell::new(line.check.id),
                Cell::new(inert_lines(&self.cell_text(line))),
            ]);
        }
        format!("{table}\n\n{self}")
    }

    fn cell_text(&self, line: &ReportLine) -> String {
        let mut text = line.finding.seen.clone();
        for (what, more) in [("why", line.why(&self.sender)), ("fix", line.remedy(&self.proof))] {
            if let Some(more) = more {
                let _ = write!(text, "\n{what}: {more}");
            }
        }
        text
    }
}

impl fmt::Display for DoctorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |verdict| self.count(verdict);
        write!(
            f,
            "{} failed, {} warnings, {} passed, {} skipped; {} requests in {:.1} s",
            count(CheckVerdict::Fail),
            count(CheckVerdict::Warn),
            count(CheckVerdict::Pass),
            count(CheckVerdict::Skip),
            self.requests,
            self.took.as_secs_f64()
        )
    }
}

fn colour(verdict: CheckVerdict) -> Color {
    match verdict {
        CheckVerdict::Pass => Color::Green,
        CheckVerdict::Warn => Color::Yellow,
        CheckVerdict::Fail => Color::Red,
        CheckVerdict::Skip => Color::DarkGrey,
    }
}

fn escaped(text: &str) -> String {
    inert_lines(text)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
