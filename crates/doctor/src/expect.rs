//! `doctor --expect`: watches the inbox beside a running receiver, and reports on the next delivery.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use contract::catalog::Table;
use contract::event::DeliveryId;
use inbox::{self, Browse, Detail, Entry, Filter, Inbox, InboxUrl, Options, Rejection, State};
use serde_json::{Value, json};
use settings::Config;
use text::inert;

use super::args::DoctorArgs;
use super::arrival::{Examination, examine};
use super::check::CheckVerdict;
use super::remark::Remark;

/// The time between two polls of the inbox.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// The longest wait for the handler of a new delivery.
const HANDLING_TIMEOUT: Duration = Duration::from_secs(2);

/// The report of `doctor --expect`.
pub struct ExpectReport {
    /// The delivery that arrived.
    pub(super) delivery: Option<Detail>,
    /// The remarks on it.
    pub(super) notes: Vec<Remark>,
    /// The changes that would make the model fit it.
    pub(super) diff: Option<String>,
    /// The requests that were refused, or were duplicates, meanwhile.
    pub(super) refused: Vec<Rejection>,
}

/// Waits for the wanted delivery until the time is up. Requests that are refused meanwhile are printed at once.
///
/// # Errors
/// If there is no inbox, or it cannot be read, or the source or event is unknown.
pub async fn expect(
    args: &DoctorArgs,
    catalog: &Table,
    config: &Config,
    mut tell: impl FnMut(&str),
) -> anyhow::Result<ExpectReport> {
    if let Some(name) = &args.source {
        ensure!(config.sources.contains_key(name), "there is no source `{name}`");
    }
    let url = InboxUrl::parse(&config.inbox)?;
    ensure!(
        inbox::exists(&url),
        "there is no inbox at {url}: start the receiver, and use its settings with --config"
    );
    let inbox = inbox::open(&url, Options::command()).await?;
    let mut watch = InboxWatcher::begin(args, inbox).await?;
    tell(&format!("waiting for {} in {url}; send it now", watch.description()));
    let end = Instant::now() + args.within;
    let stop = tokio::signal::ctrl_c();
    tokio::pin!(stop);
    let found = loop {
        if let Some(found) = watch.poll(catalog, &mut tell).await? {
            break Some(found);
        }
        let pause = end.saturating_duration_since(Instant::now()).min(POLL_INTERVAL);
        if pause.is_zero() {
            break None;
        }
        tokio::select! {
            _ = &mut stop => break None,
            () = tokio::time::sleep(pause) => {}
        }
    };
    let refused = watch.refused;
    let Some((id, note)) = found else {
        let notes = vec![nothing_arrived(&refused)];
        return Ok(ExpectReport { delivery: None, notes, diff: None, refused });
    };
    let detail = handled(watch.inbox.as_ref(), id).await?;
    let source =
        config.sources.get(&detail.entry.source).context("its source is not configured")?;
    let Examination { mut notes, diff } = examine(&detail, source, catalog)?;
    notes.splice(0..0, note);
    Ok(ExpectReport { delivery: Some(detail), notes, diff, refused })
}

fn nothing_arrived(refused: &[Rejection]) -> Remark {
    let text = match refused.len() {
        0 => {
            "nothing arrived, and nothing was refused: the sender sends elsewhere, a proxy stops it, or the receiver does not run; try `webhook-receiver doctor URL` from outside"
        }
        _ => "nothing arrived that was accepted; see what was refused",
    };
    Remark::new(CheckVerdict::Fail, text)
}

/// Watches for new entries; those that were there before do not count.
struct InboxWatcher<'a> {
    args: &'a DoctorArgs,
    inbox: Arc<dyn Inbox>,
    last: DeliveryId,
    seen: HashSet<String>,
    refused: Vec<Rejection>,
}

impl<'a> InboxWatcher<'a> {
    async fn begin(args: &'a DoctorArgs, inbox: Arc<dyn Inbox>) -> anyhow::Result<Self> {
        let newest = inbox.list(Filter { limit: Some(1), ..Filter::default() }).await?;
        let seen = inbox.rejections().await?.into_iter().map(|seen| seen.request_id).collect();
        let last = newest.first().map_or(0, |entry| entry.id);
        Ok(InboxWatcher { args, inbox, last, seen, refused: Vec::new() })
    }

    fn description(&self) -> String {
        let event = self.args.event.as_deref().unwrap_or("any event");
        match &self.args.source {
            Some(source) => format!("{event} of source {source}"),
            None => event.to_owned(),
        }
    }

    /// The wanted delivery, if it has arrived or was sent again.
    async fn poll(
        &mut self,
        catalog: &Table,
        tell: &mut impl FnMut(&str),
    ) -> anyhow::Result<Option<(DeliveryId, Option<Remark>)>> {
        let filter =
            Filter { limit: Some(100), source: self.args.source.clone(), ..Filter::default() };
        let mut entries = self.inbox.list(filter).await?;
        entries.retain(|entry| entry.id > self.last && entry.state != State::Canary);
        for entry in entries.iter().rev() {
            self.last = self.last.max(entry.id);
            if self.is_wanted(entry, catalog) {
                return Ok(Some((entry.id, None)));
            }
            tell(&format!("another event arrived: {} ({})", entry.event_type, entry.message_id));
        }
        for rejection in self.inbox.rejections().await? {
            let is_other = rejection.source.is_some()
                && self.args.source.is_some()
                && rejection.source != self.args.source;
            if is_other || !self.seen.insert(rejection.request_id.clone()) {
                continue;
            }
            if let Some(id) = rejection.delivery
                && let Some(detail) = self.inbox.show(id).await?
                && self.is_wanted(&detail.entry, catalog)
            {
                return Ok(Some((id, Some(resend_remark(&rejection, &detail)))));
            }
            tell(&summary(&rejection));
            self.refused.push(rejection);
        }
        Ok(None)
    }

    fn is_wanted(&self, entry: &Entry, catalog: &Table) -> bool {
        let Some(wanted) = &self.args.event else { return true };
        let is_alias = catalog.events().any(|row| {
            row.name == entry.event_type
                && row.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(wanted))
        });
        is_alias || entry.event_type.eq_ignore_ascii_case(wanted)
    }
}

fn resend_remark(rejection: &Rejection, detail: &Detail) -> Remark {
    let first = detail.entry.received_at.format("%Y-%m-%d %H:%M:%SZ");
    match &rejection.reason {
        Some(reason) => Remark::new(
            CheckVerdict::Warn,
            format!("the message came before, on {first}: {reason}"),
        ),
        None => Remark::new(
            CheckVerdict::Pass,
            format!("a resend: the message came before, on {first}, and is not handled again"),
        ),
    }
}

/// A refused request in one line.
fn summary(rejection: &Rejection) -> String {
    let what = rejection.target.as_ref().or(rejection.source.as_ref()).cloned().unwrap_or_default();
    let why = [rejection.reason.as_deref(), rejection.findings.as_deref()];
    let why: Vec<_> = why.into_iter().flatten().collect();
    let why = if why.is_empty() { "nothing is served there".to_owned() } else { why.join("; ") };
    format!("{} {what}: {why} ({})", rejection.status, rejection.request_id)
}

/// The delivery, once its handler has ended or its time is up.
async fn handled(inbox: &dyn Browse, id: DeliveryId) -> anyhow::Result<Detail> {
    let start = Instant::now();
    loop {
        let detail = inbox.show(id).await?.context("the delivery is gone already")?;
        if detail.entry.state.has_ended() || start.elapsed() > HANDLING_TIMEOUT {
            return Ok(detail);
        }
        tokio::time::sleep(POLL_INTERVAL / 4).await;
    }
}

impl ExpectReport {
    /// The worst verdict of all remarks.
    pub fn verdict(&self) -> CheckVerdict {
        self.notes.iter().map(|note| note.verdict).max().unwrap_or(CheckVerdict::Pass)
    }

    /// The report as `--json` prints it.
    pub fn json(&self) -> Value {
        json!({
            "delivery": self.delivery.as_ref().map(|detail| &detail.entry),
            "notes": self.notes,
            "diff": self.diff,
            "refused": self.refused,
        })
    }
}

impl fmt::Display for ExpectReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for note in &self.notes {
            writeln!(f, "{:<5} {}", note.verdict.as_str(), inert(&note.text))?;
        }
        if let Some(diff) = &self.diff {
            write!(f, "\n{diff}")?;
        }
        if !self.refused.is_empty() {
            writeln!(f, "\nrefused meanwhile:")?;
        }
        for rejection in &self.refused {
            writeln!(f, "  {}", inert(&summary(rejection)))?;
        }
        Ok(())
    }
}
