//! `verify`: checks a captured request against the keys of the settings, and diagnoses a refusal.

mod captured;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use chrono::{DateTime, TimeDelta};
use contract::time::Timestamp;
use serde_json::{Value, json};
use settings::Overrides;
use sha2::{Digest, Sha256};
use signature::{ClaimedStamp, RFC_9421};
use source::diagnose::{RefusedRequest, diagnose};
use source::{Admission, Admitted, Source};
use text::inert;

use captured::Captured;

const EXAMPLES: &str = "\
Examples:
  A request that was captured as two files, against the keys of the settings:
    webhook-receiver verify --source evolutionx --headers headers.txt --body body.json

  The same as if it arrived now, so that an old timestamp is refused, as by the receiver:
    webhook-receiver verify --source evolutionx --headers headers.txt --body body.json --at now

  A delivery from the inbox, headers and body in one:
    webhook-receiver inbox show 42 --json | webhook-receiver verify --source github --headers -

Exit code: 0 if it would be accepted, 1 if not, 2 if it could not be checked.";

const HEADERS_HELP: &str = "\
File with the headers, or - for standard input

One `Name: value` a line; a request line before them and blank lines are skipped. Or JSON: a list of name and value pairs, or the \
object that `inbox show --json` prints, whose body is then used if --body is not given. The inbox keeps signatures, but no \
bearer keys.";

const AT_HELP: &str = "\
Check as if it arrived at this time: now, 2026-01-31T12:00:00Z or Unix seconds [default: when it was signed]

A captured request is always old, so by default its own signed timestamp is taken for the time of the check: then everything but its age is \
checked. Without such a timestamp, or with one that lies in the future, it is checked as of now. With `--at now` the check is \
the receiver's own.";

const JSON_HELP: &str = "\
Print one JSON object instead of text

Keys: verified; source; environment; scheme; key (fingerprint) or null; reason or null; findings [text]; checked_at; signed \
{template, id, timestamp} or null; body {bytes, sha256}.";

/// The flags of `verify`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Configured source that the request was sent to; needed if there are several
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    #[arg(long, value_name = "FILE", help = text::first_line(HEADERS_HELP), long_help = HEADERS_HELP)]
    headers: String,
    /// File with the body, byte for byte, or - for standard input
    #[arg(long, value_name = "FILE")]
    body: Option<String>,
    #[arg(long, value_name = "TIME", value_parser = at, help = text::first_line(AT_HELP), long_help = AT_HELP)]
    at: Option<Timestamp>,
    #[arg(long, help = text::first_line(JSON_HELP), long_help = JSON_HELP)]
    json: bool,
    #[command(flatten)]
    settings: Overrides,
}

/// The result of the check.
struct VerifyReport {
    source: Arc<Source>,
    /// The fingerprint of the key that proved it, or the reason of the refusal.
    result: Result<Option<String>, String>,
    findings: Vec<String>,
    time: Timestamp,
    is_own_time: bool,
    stamps: Option<ClaimedStamp>,
    bytes: usize,
    digest: String,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let sources = settings::load(&args.settings)?.sources()?;
    let source = chosen(&sources, args.source.as_deref())?;
    let captured = Captured::read(&args.headers, args.body.as_deref())?;
    refuse_redacted(source, &captured)?;
    let report = check(source, &sources, &captured, args.at);
    super::print(match args.json {
        true => report.json().to_string(),
        false => report.to_string(),
    })?;
    Ok(if report.result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn chosen<'s>(sources: &'s [Arc<Source>], name: Option<&str>) -> anyhow::Result<&'s Arc<Source>> {
    let found = match (name, sources) {
        (Some(name), _) => sources.iter().find(|source| source.name == name),
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    found.with_context(|| {
        let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
        format!("choose the source it was sent to: --source {}", names.join(" | "))
    })
}

/// Refuses headers from an inbox, which keeps no keys, so that they cannot be checked.
fn refuse_redacted(source: &Source, captured: &Captured) -> anyhow::Result<()> {
    let has_keys = !source.auth.bearer.is_empty() || source.auth.token.is_some();
    let mut hidden = captured.headers.iter().filter(|(_, value)| *value == "[redacted]");
    match hidden.next() {
        Some((name, _)) if has_keys => bail!(
            "the headers come from an inbox, which keeps no keys; write the {} header that was sent into the file",
            name
        ),
        _ => Ok(()),
    }
}

fn check(
    source: &Arc<Source>,
    sources: &[Arc<Source>],
    captured: &Captured,
    at: Option<Timestamp>,
) -> VerifyReport {
    let scheme = source.auth.signature.as_ref().map(|signed| &signed.scheme);
    let stamps = scheme.map(|scheme| scheme.stamps(&captured.headers));
    let now = contract::time::now();
    let mut times = stamps.iter().flat_map(|stamps| &stamps.times).copied();
    let own = times.find(|time| is_past(*time, now));
    let time = at.or(own).unwrap_or(now);
    let (head, body) = (captured.head(&source.path), &captured.body);
    let headers = &captured.headers;
    let (method, uri) = (head.method.clone(), head.uri.clone());
    let verified = Admitted::admit(source, head, time).and_then(|admitted| {
        fetch_keys(&admitted, body);
        admitted.verify(body.clone())
    });
    let (result, findings) = match verified {
        Ok(verified) => (Ok(verified.key.map(|key| key.to_string())), Vec::new()),
        Err(rejected) => {
            let request =
                RefusedRequest { method: &method, uri: &uri, headers, body: Some(body), now: time };
            let findings = diagnose(source, sources, &rejected.refusal, request);
            (Err(rejected.refusal.to_string()), findings.iter().map(ToString::to_string).collect())
        }
    };
    VerifyReport {
        source: Arc::clone(source),
        result,
        findings,
        time,
        is_own_time: at.is_none() && own.is_some(),
        stamps,
        bytes: body.len(),
        digest: hex::encode(Sha256::digest(body)),
    }
}

/// Fetches the keys of the sender that the request needs. Without them verification says what is missing.
fn fetch_keys(admitted: &Admitted, body: &[u8]) {
    let Ok(Some((keys, key))) = admitted.missing_keys(body) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return };
    // The command itself runs on a runtime, whose threads must not wait for another one.
    let fetched =
        std::thread::scope(|scope| scope.spawn(|| runtime.block_on(keys.fetch(&key))).join());
    if let Ok(Err(error)) = fetched {
        eprintln!("warning: {error}");
    }
}

/// True if a request could have been signed at this time: not in the future, and not before there were webhooks.
fn is_past(time: Timestamp, now: Timestamp) -> bool {
    time.timestamp() > 1_000_000_000 && time < now + TimeDelta::days(1)
}

impl VerifyReport {
    fn scheme(&self) -> &str {
        match &self.source.auth.signature {
            Some(signed) => &signed.scheme.name,
            None if self.source.auth.message.is_some() => RFC_9421,
            None if self.source.auth.token.is_some() => "jwt",
            None if self.source.auth.is_none() => "none",
            None => "bearer",
        }
    }

    fn template(&self) -> Option<String> {
        self.source.auth.signature.as_ref().map(|signed| signed.scheme.signed.to_string())
    }

    fn json(&self) -> Value {
        let signed = self.stamps.as_ref().map(|stamps| {
            json!({ "template": self.template(), "id": stamps.id, "timestamp": stamps.timestamp })
        });
        json!({
            "verified": self.result.is_ok(),
            "source": self.source.name,
            "environment": self.source.environment.to_string(),
            "scheme": self.scheme(),
            "key": self.result.as_ref().ok(),
            "reason": self.result.as_ref().err(),
            "findings": self.findings,
            "checked_at": self.time,
            "signed": signed,
            "body": { "bytes": self.bytes, "sha256": self.digest },
        })
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = Vec::new();
        lines.push(match &self.result {
            Ok(_) => ("result", "verified".to_owned()),
            Err(reason) => ("result", format!("refused: {reason}")),
        });
        lines.extend(self.findings.iter().map(|finding| ("found", finding.clone())));
        let Source { name, environment, .. } = self.source.as_ref();
        lines.push(("source", format!("{name} ({environment})")));
        lines.push(("scheme", self.scheme().to_owned()));
        if let Ok(Some(key)) = &self.result {
            lines.push(("key", key.clone()));
        }
        let own = if self.is_own_time { ", when it was signed; see --at" } else { "" };
        let time = self.time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        lines.push(("checked at", format!("{time}{own}")));
        if let (Some(stamps), Some(template)) = (&self.stamps, self.template()) {
            lines.push(("signed", template.clone()));
            let parts =
                [("id", "{id}", &stamps.id), ("timestamp", "{timestamp}", &stamps.timestamp)];
            for (name, _, value) in parts.into_iter().filter(|part| template.contains(part.1)) {
                lines.push((name, value.clone().unwrap_or_else(|| "missing".into())));
            }
        }
        lines.push(("body", format!("{} bytes, SHA-256 {}", self.bytes, self.digest)));
        lines
    }
}

impl std::fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (number, (name, value)) in self.lines().iter().enumerate() {
            let end = if number > 0 { "\n" } else { "" };
            write!(f, "{end}{name:<12}{}", inert(value))?;
        }
        Ok(())
    }
}

fn at(text: &str) -> Result<Timestamp, String> {
    if text == "now" {
        return Ok(contract::time::now());
    }
    let seconds = text.parse().ok().and_then(DateTime::from_timestamp_secs);
    let time = || DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc());
    seconds.or_else(time).ok_or_else(|| "write now, 2026-01-31T12:00:00Z or Unix seconds".into())
}
