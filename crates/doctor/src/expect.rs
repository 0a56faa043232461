//! The other end: watches the inbox beside a running receiver, and says what arrived and what is wrong with it.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use contract::catalog::Table;
use contract::event::DeliveryId;
use inbox::{self, Detail, Entry, Filter, Inbox, Options, Rejection, State};
use serde_json::{Value, json};
use settings::Config;
use text::inert;

use super::args::DoctorArgs;
use super::arrival::{Look, examine};
use super::check::Verdict;
use super::note::Note;

/// How often the inbox is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// How long a new delivery's handler is waited for.
const HANDLING: Duration = Duration::from_secs(2);

/// What came of the wait.
pub struct Expected {
    /// What arrived.
    pub(super) delivery: Option<Detail>,
    /// What is to be said of it.
    pub(super) notes: Vec<Note>,
    /// How the model would fit it.
    pub(super) diff: Option<String>,
    /// What was refused, or known already, meanwhile.
    pub(super) refused: Vec<Rejection>,
}

/// Waits for the next delivery that is meant, or for the end of its time. What is refused meanwhile is told at once.
///
/// # Errors
/// If there is no inbox, or it cannot be read, or the source or event is not known.
pub async fn expect(
    args: &DoctorArgs,
    catalog: &Table,
    config: &Config,
    mut tell: impl FnMut(&str),
) -> anyhow::Result<Expected> {
    if let Some(name) = &args.source {
        ensure!(config.sources.contains_key(name), "there is no source `{name}`");
    }
    let url = &config.inbox;
    ensure!(
        inbox::exists(url)?,
        "there is no inbox at {url}: start the receiver, and use its settings with --config"
    );
    let inbox = inbox::open(url, Options { queue: 16, exclusive: false })?;
    let mut watch = Watch::begin(args, inbox).await?;
    tell(&format!("waiting for {} in {url}; send it now", watch.meant()));
    let end = Instant::now() + args.within;
    let stop = tokio::signal::ctrl_c();
    tokio::pin!(stop);
    let found = loop {
        if let Some(found) = watch.look(catalog, &mut tell).await? {
            break Some(found);
        }
        let rest = end.saturating_duration_since(Instant::now()).min(LOOK);
        if rest.is_zero() {
            break None;
        }
        tokio::select! {
            _ = &mut stop => break None,
            () = tokio::time::sleep(rest) => {}
        }
    };
    let refused = watch.refused;
    let Some((id, note)) = found else {
        let notes = vec![nothing(&refused)];
        return Ok(Expected { delivery: None, notes, diff: None, refused });
    };
    let detail = handled(watch.inbox.as_ref(), id).await?;
    let source =
        config.sources.get(&detail.entry.source).context("its source is not configured")?;
    let Look { mut notes, diff } = examine(&detail, source, catalog)?;
    notes.splice(0..0, note);
    Ok(Expected { delivery: Some(detail), notes, diff, refused })
}

fn nothing(refused: &[Rejection]) -> Note {
    let text = match refused.len() {
        0 => {
            "nothing arrived, and nothing was refused: the sender sends elsewhere, something before the receiver keeps it, or the receiver does not run; try `webhook-receiver doctor URL` from outside"
        }
        _ => "nothing arrived that was accepted; see what was refused",
    };
    Note::new(Verdict::Fail, text)
}

/// What was there before does not count.
struct Watch<'a> {
    args: &'a DoctorArgs,
    inbox: Arc<dyn Inbox>,
    last: DeliveryId,
    seen: HashSet<String>,
    refused: Vec<Rejection>,
}

impl<'a> Watch<'a> {
    async fn begin(args: &'a DoctorArgs, inbox: Arc<dyn Inbox>) -> anyhow::Result<Self> {
        let newest = inbox.list(Filter { limit: Some(1), ..Filter::default() }).await?;
        let seen = inbox.rejections().await?.into_iter().map(|seen| seen.request_id).collect();
        let last = newest.first().map_or(0, |entry| entry.id);
        Ok(Watch { args, inbox, last, seen, refused: Vec::new() })
    }

    fn meant(&self) -> String {
        let event = self.args.event.as_deref().unwrap_or("any event");
        match &self.args.source {
            Some(source) => format!("{event} of source {source}"),
            None => event.to_owned(),
        }
    }

    /// The delivery that is meant, if it has come, or has come again.
    async fn look(
        &mut self,
        catalog: &Table,
        tell: &mut impl FnMut(&str),
    ) -> anyhow::Result<Option<(DeliveryId, Option<Note>)>> {
        let filter =
            Filter { limit: Some(100), source: self.args.source.clone(), ..Filter::default() };
        let mut entries = self.inbox.list(filter).await?;
        entries.retain(|entry| entry.id > self.last && entry.state != State::Canary);
        for entry in entries.iter().rev() {
            self.last = self.last.max(entry.id);
            if self.is_meant(entry, catalog) {
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
                && self.is_meant(&detail.entry, catalog)
            {
                return Ok(Some((id, Some(again(&rejection, &detail)))));
            }
            tell(&shown(&rejection));
            self.refused.push(rejection);
        }
        Ok(None)
    }

    fn is_meant(&self, entry: &Entry, catalog: &Table) -> bool {
        let Some(wanted) = &self.args.event else { return true };
        let is_alias = catalog.events().any(|row| {
            row.name == entry.event_type
                && row.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(wanted))
        });
        is_alias || entry.event_type.eq_ignore_ascii_case(wanted)
    }
}

fn again(rejection: &Rejection, detail: &Detail) -> Note {
    let first = detail.entry.received_at.format("%Y-%m-%d %H:%M:%SZ");
    match &rejection.reason {
        Some(reason) => {
            Note::new(Verdict::Warn, format!("the message came before, on {first}: {reason}"))
        }
        None => Note::new(
            Verdict::Pass,
            format!("a resend: the message came before, on {first}, and is not handled again"),
        ),
    }
}

/// A refused attempt in one line.
fn shown(rejection: &Rejection) -> String {
    let what = rejection.target.as_ref().or(rejection.source.as_ref()).cloned().unwrap_or_default();
    let why = [rejection.reason.as_deref(), rejection.findings.as_deref()];
    let why: Vec<_> = why.into_iter().flatten().collect();
    let why = if why.is_empty() { "nothing is served there".to_owned() } else { why.join("; ") };
    format!("{} {what}: {why} ({})", rejection.status, rejection.request_id)
}

/// The delivery, once its handler has ended or has had its time.
async fn handled(inbox: &dyn Inbox, id: DeliveryId) -> anyhow::Result<Detail> {
    let start = Instant::now();
    loop {
        let detail = inbox.show(id).await?.context("the delivery is gone already")?;
        if detail.entry.state.has_ended() || start.elapsed() > HANDLING {
            return Ok(detail);
        }
        tokio::time::sleep(LOOK / 4).await;
    }
}

impl Expected {
    /// The worst that is to be said.
    pub fn verdict(&self) -> Verdict {
        self.notes.iter().map(|note| note.verdict).max().unwrap_or(Verdict::Pass)
    }

    /// As `--json` prints it.
    pub fn json(&self) -> Value {
        json!({
            "delivery": self.delivery.as_ref().map(|detail| &detail.entry),
            "notes": self.notes,
            "diff": self.diff,
            "refused": self.refused,
        })
    }
}

impl fmt::Display for Expected {
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
            writeln!(f, "  {}", inert(&shown(rejection)))?;
        }
        Ok(())
    }
}
