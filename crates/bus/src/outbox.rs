//! The bus's store (outbox): subscriptions, events, waiting deliveries, and the logs of attempts.

mod browse;
mod prune;
mod read;
mod rows;
mod search;
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

pub use browse::{
    AttemptDetail, AttemptFilter, AttemptLogEntry, DeliveryEntry, EventDetail, EventFilter,
    EventLogEntry, Exchange,
};
pub(super) use browse::{is_outcome, page, page_limit};
pub(super) use prune::Horizon;
pub(super) use read::{DueDeliveries, DueQuery};
pub(super) use rows::{AttemptOutcome, FinishedAttempt, NewDelivery, QueuedDelivery, Recipient};
pub(super) use search::{
    AttemptSearch, DeliveryTally, EventOutcome, EventSearch, FoundAttempt, FoundDelivery,
    FoundEvent, Neighbours, Progress, ResponseKind, StoredBody, SubscriptionTally,
};
pub(super) use write::PublishedBatch;
pub use write::{Preview, ResendSelection};

/// One step a version. A step is never edited once it has shipped; a change is a new step.
const MIGRATIONS: [&str; 2] = [include_str!("outbox/v1.sql"), include_str!("outbox/v2.sql")];

const SCHEMA: Schema = Schema {
    noun: "outbox",
    owner: "bus",
    setting: "outbox in [bus]",
    application_id: 0x7768_7362, // "whsb" in ASCII
    migrations: &MIGRATIONS,
};

/// The number of deliveries that one step sends again, and the time for which other writers go first after it.
const STEP: usize = 200;
const PAUSE: Duration = Duration::from_millis(10);

type Tx<'c> = store::Tx<'c, ()>;

/// The store in a SQLite file.
pub(super) struct Outbox {
    store: Store<()>,
}

impl Outbox {
    /// Opens the store at a URL, or creates it.
    pub(super) fn open(url: &str, queue: usize) -> anyhow::Result<Self> {
        let options = StoreOptions { queue, exclusive: true };
        Ok(Outbox { store: Store::open(file(url)?, &SCHEMA, options, |_| Ok(()))? })
    }

    /// Stores the new events, each with a delivery for every recipient that still exists. When this returns, they are
    /// durable.
    pub(super) async fn publish(
        &self,
        drafts: Vec<(Draft, Arc<[Recipient]>)>,
    ) -> Result<PublishedBatch> {
        let bytes = drafts.iter().map(|(draft, _)| draft.body.len()).sum();
        self.store
            .writer
            .add(bytes, move |tx| {
                let mut made = PublishedBatch::default();
                drafts.into_iter().try_for_each(|(draft, recipients)| {
                    write::publish(tx.db, draft, &recipients, &mut made)
                })?;
                Ok(made)
            })
            .await
    }

    /// Records attempts, and returns the subscriptions for which another delivery has become due. When this returns,
    /// they are durable.
    pub(super) async fn record(
        &self,
        attempts: Arc<Vec<FinishedAttempt>>,
    ) -> Result<BTreeSet<i64>> {
        let bytes = attempts.iter().map(|attempt| attempt.sent.size()).sum();
        self.store.writer.add(bytes, move |tx| write::record(tx.db, &attempts)).await
    }

    /// Makes deliveries due again, one every `1 / rate` seconds from `now` on; returns their number. `notify` is
    /// called, step by step, for each subscription with a due delivery.
    pub(super) async fn resend(
        &self,
        selection: ResendSelection,
        rate: Option<f64>,
        now: Timestamp,
        notify: impl Fn(&BTreeSet<i64>),
    ) -> Result<u64> {
        let chosen = self.store.read(move |db| write::chosen(db, &selection)).await?;
        self.resend_deliveries(chosen, rate, now, notify).await
    }

    /// As [`resend`](Self::resend), of the deliveries with these numbers.
    pub(super) async fn resend_deliveries(
        &self,
        chosen: Vec<i64>,
        rate: Option<f64>,
        now: Timestamp,
        notify: impl Fn(&BTreeSet<i64>),
    ) -> Result<u64> {
        let mut resent = 0;
        for (step, ids) in chosen.chunks(STEP).enumerate() {
            if step > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            let (ids, first) = (ids.to_vec(), step * STEP);
            let resend = move |tx: &mut Tx<'_>| write::resend(tx.db, &ids, first, rate, now);
            let due = self.store.writer.call(resend).await?;
            resent += due.len() as u64;
            notify(&due.into_iter().collect());
        }
        Ok(resent)
    }

    /// Reads the due deliveries of a subscription.
    pub(super) async fn due(&self, wanted: DueQuery) -> Result<DueDeliveries> {
        self.store.read(move |db| read::due(db, &wanted)).await
    }

    /// The latest time in the store, if it has any.
    pub(super) async fn latest(&self) -> Result<Option<Timestamp>> {
        self.store.read(read::latest).await
    }

    /// Writes nothing, as a check that the store accepts writes.
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

/// Copies the outbox at a URL to a file that does not exist yet; a bus may be running on it.
///
/// # Errors
/// If the copy cannot be completed; then nothing is left of it.
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
