//! The bus's store: subscriptions, events, deliveries that wait, and the logs of attempts.

mod browse;
mod prune;
mod read;
mod subscriptions;
mod write;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use contract::time::Timestamp;
use store::{Backup, Options, Result, Schema, Store, Work};

use super::lane::{Job, Lane};
use super::publication::{Draft, Receipt};
use super::record::Record;
use super::roster::Roster;

pub(super) use browse::page;
pub use browse::{
    AttemptEntry, AttemptFilter, DeliveryEntry, Detail, EventDetail, EventEntry, EventFilter,
    Exchange,
};
pub(super) use prune::Horizon;
pub(super) use read::{Due, Wanted};
pub use write::{Preview, Selection};

/// One step a version. A step is never edited once it has shipped; a change is a new step.
const MIGRATIONS: [&str; 1] = [include_str!("outbox/v1.sql")];

const SCHEMA: Schema = Schema {
    noun: "outbox",
    owner: "bus",
    setting: "outbox in [bus]",
    application_id: 0x7768_7362, // "whsb" in ASCII
    migrations: &MIGRATIONS,
};

/// How many deliveries of one transaction are handed over in memory.
const HANDED: usize = 65_536;

/// How many deliveries are sent again in one step, and how long others have the writer after it.
const STEP: usize = 200;
const PAUSE: Duration = Duration::from_millis(10);

type Tx<'c> = store::Tx<'c, Memory>;

/// What the writer hands over once it is on disk.
pub(super) struct Memory {
    roster: Arc<Roster>,
    /// What is due at once, and for whom.
    made: Vec<(Arc<Lane>, Job)>,
    /// Who has something in the file that is due.
    poked: BTreeSet<i64>,
}

impl Memory {
    /// Lets the lane have the job at once; beyond some, the lane is to read it.
    fn hand_over(&mut self, lane: Arc<Lane>, job: Job) {
        match self.made.len() < HANDED {
            true => self.made.push((lane, job)),
            false => drop(self.poked.insert(lane.id)),
        }
    }
}

impl store::Memory for Memory {
    type Guest = Infallible;

    fn welcome(&mut self, guest: Infallible) {
        match guest {}
    }

    fn ended(&mut self, failure: Option<&store::Error>) -> Option<Work<Self>> {
        if failure.is_some() {
            self.made.clear();
            self.poked.clear();
        }
        for (lane, job) in self.made.drain(..) {
            lane.push(job, &self.roster.load);
        }
        for id in std::mem::take(&mut self.poked) {
            if let Some(lane) = self.roster.get(id) {
                lane.poke();
            }
        }
        None
    }
}

/// The store in a SQLite file.
pub(super) struct Outbox {
    store: Store<Memory>,
}

impl Outbox {
    /// Opens what a URL names, or makes it.
    pub(super) fn open(url: &str, queue: usize, roster: Arc<Roster>) -> anyhow::Result<Self> {
        let path = file(url)?;
        let options = Options { queue, exclusive: true };
        let memory = |_: &_| {
            Ok(Memory { roster: Arc::clone(&roster), made: Vec::new(), poked: BTreeSet::new() })
        };
        Ok(Outbox { store: Store::open(path, &SCHEMA, options, memory)? })
    }

    /// Keeps the events that are new, with a delivery for everyone who asks for them, or for one alone. When this returns,
    /// they are durable.
    pub(super) async fn publish(
        &self,
        drafts: Vec<Draft>,
        only: Option<Arc<Lane>>,
    ) -> Result<Vec<Receipt>> {
        let bytes = drafts.iter().map(|draft| draft.body.len()).sum();
        self.store
            .writer
            .add(bytes, move |tx| {
                drafts.into_iter().map(|draft| write::publish(tx, draft, only.as_ref())).collect()
            })
            .await
    }

    /// Writes what came of some attempts. When this returns, it is durable.
    pub(super) async fn record(&self, records: Arc<Vec<Record>>) -> Result<()> {
        let bytes = records.iter().map(|record| record.sent.size()).sum();
        self.store.writer.add(bytes, move |tx| write::record(tx, &records)).await
    }

    /// Sends deliveries again, one every `1 / rate` seconds from `now` on; returns how many.
    pub(super) async fn resend(
        &self,
        selection: Selection,
        rate: Option<f64>,
        now: Timestamp,
    ) -> Result<u64> {
        let chosen = self.store.read(move |db| write::chosen(db, &selection)).await?;
        let mut resent = 0;
        for (step, ids) in chosen.chunks(STEP).enumerate() {
            if step > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            let (ids, place) = (ids.to_vec(), step * STEP);
            let resend = move |tx: &mut Tx<'_>| write::resend(tx, &ids, place, rate, now);
            resent += self.store.writer.call(resend).await?;
        }
        Ok(resent)
    }

    /// What is due for a subscription.
    pub(super) async fn due(&self, wanted: Wanted) -> Result<Due> {
        self.store.read(move |db| read::due(db, &wanted)).await
    }

    /// The latest time in the store, if there is anything in it.
    pub(super) async fn latest(&self) -> Result<Option<Timestamp>> {
        self.store.read(read::latest).await
    }

    /// Takes a turn of the writer: proof that something can be kept.
    pub(super) async fn check(&self) -> Result<()> {
        self.store.writer.add(0, |_| Ok(())).await
    }
}

fn file(url: &str) -> anyhow::Result<&Path> {
    match url.split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() => Ok(Path::new(path)),
        _ => anyhow::bail!(
            "outbox = {url:?} in [bus] is no store's URL; write outbox = \"sqlite:data/outbox.db\""
        ),
    }
}

/// Copies the outbox that a URL names to a file that is not there yet, beside a running bus or without one.
///
/// # Errors
/// If the copy cannot be made whole; then nothing is left of it.
pub fn backup(url: &str, to: &Path) -> anyhow::Result<Backup> {
    store::backup(file(url)?, to, &SCHEMA, "event")
}

fn millis(time: Timestamp) -> i64 {
    time.timestamp_millis()
}

fn timestamp(millis: i64) -> Timestamp {
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}

fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}
