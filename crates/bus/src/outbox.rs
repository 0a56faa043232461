//! The bus's store: subscriptions, events, deliveries that wait, and the logs of attempts.

mod browse;
mod prune;
mod read;
mod rows;
mod subscriptions;
mod write;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use contract::time::Timestamp;
use store::{Backup, Result, Schema, Store, StoreOptions};

use crate::publication::Draft;

pub(super) use browse::page;
pub use browse::{
    AttemptEntry, AttemptFilter, DeliveryEntry, Detail, EventDetail, EventEntry, EventFilter,
    Exchange,
};
pub(super) use prune::Horizon;
pub(super) use read::{Due, Wanted};
pub(super) use rows::{Attempt, Delivery, New, Outcome, Recipient};
pub(super) use write::Made;
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

/// How many deliveries are sent again in one step, and how long others have the writer after it.
const STEP: usize = 200;
const PAUSE: Duration = Duration::from_millis(10);

type Tx<'c> = store::Tx<'c, ()>;

/// The store in a SQLite file.
pub(super) struct Outbox {
    store: Store<()>,
}

impl Outbox {
    /// Opens what a URL names, or makes it.
    pub(super) fn open(url: &str, queue: usize) -> anyhow::Result<Self> {
        let options = StoreOptions { queue, exclusive: true };
        Ok(Outbox { store: Store::open(file(url)?, &SCHEMA, options, |_| Ok(()))? })
    }

    /// Keeps the events that are new, each with a delivery for every one of its recipients that is still there. When this
    /// returns, they are durable.
    pub(super) async fn publish(&self, drafts: Vec<(Draft, Arc<[Recipient]>)>) -> Result<Made> {
        let bytes = drafts.iter().map(|(draft, _)| draft.body.len()).sum();
        self.store
            .writer
            .add(bytes, move |tx| {
                let mut made = Made::default();
                drafts.into_iter().try_for_each(|(draft, recipients)| {
                    write::publish(tx.db, draft, &recipients, &mut made)
                })?;
                Ok(made)
            })
            .await
    }

    /// Writes down some attempts, and returns the subscriptions for which that has made another delivery due. When this
    /// returns, it is durable.
    pub(super) async fn record(&self, attempts: Arc<Vec<Attempt>>) -> Result<BTreeSet<i64>> {
        let bytes = attempts.iter().map(|attempt| attempt.sent.size()).sum();
        self.store.writer.add(bytes, move |tx| write::record(tx.db, &attempts)).await
    }

    /// Makes deliveries due again, one every `1 / rate` seconds from `now` on; returns how many. `notify` is told of each
    /// subscription for which something is due, step by step.
    pub(super) async fn resend(
        &self,
        selection: Selection,
        rate: Option<f64>,
        now: Timestamp,
        notify: impl Fn(i64),
    ) -> Result<u64> {
        let chosen = self.store.read(move |db| write::chosen(db, &selection)).await?;
        let mut resent = 0;
        for (step, ids) in chosen.chunks(STEP).enumerate() {
            if step > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            let (ids, place) = (ids.to_vec(), step * STEP);
            let resend = move |tx: &mut Tx<'_>| write::resend(tx.db, &ids, place, rate, now);
            let due = self.store.writer.call(resend).await?;
            resent += due.len() as u64;
            due.into_iter().collect::<BTreeSet<_>>().into_iter().for_each(&notify);
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

/// Makes the outbox that a URL names, unless it is there.
///
/// # Errors
/// If it cannot be made, or another process owns it.
pub fn make_outbox(url: &str) -> anyhow::Result<()> {
    Outbox::open(url, 1).map(drop)
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
