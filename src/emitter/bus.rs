//! The event bus: who gets which event, and what becomes of an event that its target does not take.
//!
//! ```text
//! POST /api/events ──▶ Publication ──catalog──▶ Draft ──outbox──▶ one delivery for each subscription
//!                                                                      │
//!                  target ◀──sender── attempt ◀──lane (one a target) ◀─┘   (at once, or when a retry is due)
//!                                        └──▶ record ──outbox──▶ delivered | again | given up
//! ```

pub mod api;
mod attempt;
mod body;
mod glob;
pub mod guard;
mod lane;
mod manage;
mod outbox;
pub mod pages;
pub mod persona;
mod publication;
mod record;
pub mod rehearse;
mod roster;
mod sender;
mod slots;
mod subscription;
mod time;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use chrono::TimeDelta;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::mpsc::Sender as Records;
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::config::{BusConfig, FaultsConfig, SubscriptionConfig};
use crate::event::Timestamp;
use crate::sqlite;
use crate::telemetry::Clock;
use guard::{Allowed, Guard, Refused};
use lane::Lane;
use outbox::Outbox;
use record::Record;
use roster::Roster;
use sender::Sender;
use slots::Slots;
use subscription::Subscription;

pub use lane::{Health, Standing};
pub use manage::{Overview, SubscriptionFilter};
pub use outbox::{
    AttemptEntry, AttemptFilter, DeliveryEntry, Detail, EventDetail, EventEntry, EventFilter,
    Exchange, Preview, Selection,
};
pub use publication::{NotPublished, Publication, Published, Receipt, Type, Types};
pub use subscription::{Keys, Shown};
pub use time::Time;

/// How many attempts may wait to be written down. Beyond that, they hold their places at their targets.
const RECORDS: usize = 4096;

/// How many targets' names are looked up at once at the start, and how long that may take altogether.
const LOOKUPS: usize = 64;
const RESOLVING: Duration = Duration::from_secs(10);

/// How long a stop waits for what came of attempts to be written down.
const KEEPING: Duration = Duration::from_secs(5);

/// How often old rows are looked for, and how long the writer rests between two steps of forgetting them.
const PRUNING: Duration = Duration::from_secs(60);
const PRUNE_PAUSE: Duration = Duration::from_millis(20);

/// Why the bus does not do what it is asked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// What was given cannot be used.
    #[error("{0}")]
    Invalid(String),
    /// There is no such subscription, event or attempt.
    #[error("there is no {0}")]
    Missing(String),
    /// It is larger than the settings let it be.
    #[error("{0}")]
    TooLarge(String),
    /// It contradicts what is there.
    #[error("{0}")]
    Conflict(String),
    /// Nothing can be kept now; it may be tried again.
    #[error("{0}")]
    Unavailable(String),
}

impl From<sqlite::Error> for BusError {
    fn from(error: sqlite::Error) -> Self {
        BusError::Unavailable(format!("the outbox is unavailable: {error}"))
    }
}

/// As many targets are sent to at once, if the system lets there be so many connections.
pub const TARGETS: usize = 10_240;

/// How a bus is run, besides its settings.
pub struct Options {
    /// How much faster than the machine's clock its schedule runs.
    pub speed: f64,
    /// What goes wrong on purpose with every target, instead of what subscriptions say.
    pub faults: Option<FaultsConfig>,
    /// Whether it may send to any address, as on a machine of one's own.
    pub is_open: bool,
    /// How many targets may be sent to at once; beyond that they wait for each other.
    pub targets: usize,
    /// Tells the time.
    pub clock: Clock,
    /// How long a stop waits for requests that are on their way.
    pub drain: Duration,
}

/// The event bus. It works from [`open`](Self::open) to [`stop`](Self::stop).
pub struct Bus {
    types: Types,
    outbox: Arc<Outbox>,
    roster: Arc<Roster>,
    sender: Sender,
    guard: Guard,
    time: Time,
    slots: Slots,
    /// Held by the lane that reads what is due.
    reading: AsyncMutex<()>,
    /// Held by whoever changes a subscription: what is changed is read before.
    changing: AsyncMutex<()>,
    records: Records<Record>,
    /// Writes the records down until it is told that no more will come.
    keeper: Mutex<Option<JoinHandle<()>>>,
    end: CancellationToken,
    lanes: TaskTracker,
    attempts: TaskTracker,
    stop: CancellationToken,
    drain: Duration,
    probe: Duration,
    kept: [Duration; 3],
    max_event: usize,
    faults: Option<FaultsConfig>,
}

impl Bus {
    /// Opens the outbox and goes on with what waits in it.
    ///
    /// # Errors
    /// If the settings cannot be used or the outbox cannot be opened.
    pub async fn open(
        config: &BusConfig,
        types: Types,
        options: Options,
    ) -> anyhow::Result<Arc<Self>> {
        config.check()?;
        anyhow::ensure!(
            (1e-3..=1e6).contains(&options.speed),
            "a speed is a number from 0.001 to 1000000"
        );
        let guard = Guard::new(allowed(config)?);
        let guard = if options.is_open { guard.open() } else { guard };
        let sender = Sender::new(guard.clone(), config)?;
        let roster = Arc::<Roster>::default();
        let outbox = open(config, Arc::clone(&roster)).await?;
        // A schedule that ran fast is not waited for to be caught up with.
        let now = (options.clock)();
        let start = outbox.latest().await?.map_or(now, |latest| latest.max(now));
        let (records, kept) = mpsc::channel(RECORDS);
        let end = CancellationToken::new();
        let keeper = tokio::spawn(record::keep(kept, Arc::clone(&outbox), end.clone()));
        let bus = Arc::new(Bus {
            types,
            sender,
            guard,
            time: Time::new(options.clock, options.speed, start),
            slots: Slots::new(options.targets, config.concurrency),
            reading: AsyncMutex::new(()),
            changing: AsyncMutex::new(()),
            records,
            keeper: Mutex::new(Some(keeper)),
            end,
            lanes: TaskTracker::new(),
            attempts: TaskTracker::new(),
            stop: CancellationToken::new(),
            drain: options.drain,
            probe: config.probe,
            kept: [config.keep_events, config.keep_attempts, config.keep_payloads],
            max_event: config.max_event,
            faults: options.faults,
            outbox,
            roster,
        });
        bus.take_up(config).await?;
        bus.lanes.spawn(Arc::clone(&bus).keep_house());
        Ok(bus)
    }

    /// Makes the lanes of the subscriptions that are declared, and of those that were made before.
    async fn take_up(self: &Arc<Self>, config: &BusConfig) -> anyhow::Result<()> {
        let now = self.time.now();
        let mut declared = self.declared(config).await?;
        self.outbox.declare(declared.keys().cloned().collect(), now).await?;
        let awaited = self.outbox.awaited().await?;
        let mut undeclared = Vec::new();
        for kept in self.outbox.subscriptions().await? {
            let declared = declared.remove(&kept.name);
            let is_declared = declared.is_some();
            let subscription = match (declared, &kept.definition) {
                (Some(declared), _) => Ok(declared),
                (None, Some(text)) => manage::parsed(text)
                    .map_err(anyhow::Error::from)
                    .and_then(|definition| self.ready(&kept.name, definition)),
                (None, None) => {
                    undeclared.push(kept.id);
                    continue;
                }
            };
            match subscription {
                Ok(subscription) => self.start(Lane::new(
                    kept.id,
                    subscription,
                    kept.health,
                    is_declared,
                    awaited.contains(&kept.id),
                )),
                Err(error) => {
                    warn!(subscription = kept.name, error = format!("{error:#}"), "cannot be used");
                }
            }
        }
        let why = "it stands no longer in the settings".to_owned();
        Ok(self.outbox.stand(undeclared, Health::new(Standing::Removed, Some(why), now)).await?)
    }

    fn start(self: &Arc<Self>, lane: Arc<Lane>) {
        self.roster.add(Arc::clone(&lane));
        self.lanes.spawn(Arc::clone(self).work(lane));
    }

    /// The subscription with the faults of this run.
    fn ready(&self, name: &str, mut config: SubscriptionConfig) -> anyhow::Result<Subscription> {
        if let Some(faults) = &self.faults {
            config.faults = faults.clone();
        }
        Subscription::new(name, config)
    }

    /// The subscriptions of the settings, by name.
    async fn declared(&self, config: &BusConfig) -> anyhow::Result<HashMap<String, Subscription>> {
        let declared = config.subscriptions.clone();
        let until = Instant::now() + RESOLVING;
        let understood = |(name, config)| self.understood(name, config, until);
        stream::iter(declared).map(understood).buffered(LOOKUPS).try_collect().await
    }

    /// A subscription of the settings. A target that cannot be resolved now may be later.
    async fn understood(
        &self,
        name: String,
        config: SubscriptionConfig,
        until: Instant,
    ) -> anyhow::Result<(String, Subscription)> {
        let section = || format!("[bus.subscriptions.{name}]");
        let subscription = self.ready(&name, config).with_context(section)?;
        match tokio::time::timeout_at(until, self.admit(&subscription)).await {
            Ok(Err(refused @ Refused::Unknown { .. })) => {
                warn!(subscription = name, error = %refused, "cannot be sent to now");
            }
            Ok(admitted) => admitted.context("target").with_context(section)?,
            Err(_) => warn!(subscription = name, "its target's name is not resolved in time"),
        }
        Ok((name, subscription))
    }

    /// Whether what goes to a subscription's target may be sent there.
    async fn admit(&self, subscription: &Subscription) -> Result<(), Refused> {
        let url = subscription.url("Event").map_err(|_| Refused::NoTarget)?;
        match subscription.is_exposed(&url) {
            true => self.guard.in_plain_text().check(&url).await,
            false => self.guard.check(&url).await,
        }
    }

    /// Publishes events; those that were published before are not published again. When this returns, they are durable.
    ///
    /// # Errors
    /// [`BusError::Invalid`] or [`BusError::TooLarge`] for the first that cannot be published; then none is.
    pub async fn publish(&self, publications: Vec<Publication>) -> Result<Vec<Receipt>, BusError> {
        let now = self.time.now();
        let draft = |(place, publication)| self.draft(place, publication, now);
        let drafts = (1..).zip(publications).map(draft).collect::<Result<Vec<_>, _>>()?;
        Ok(self.outbox.publish(drafts, None).await?)
    }

    /// The event at this place of its batch, counted from 1.
    fn draft(
        &self,
        place: usize,
        publication: Publication,
        now: Timestamp,
    ) -> Result<publication::Draft, BusError> {
        let invalid = |error| BusError::Invalid(format!("event {place}: {error}"));
        let draft = self.types.draft(publication, now).map_err(invalid)?;
        let (size, most) = (draft.size(), self.max_event);
        if size > most {
            return Err(BusError::TooLarge(format!(
                "event {place}: its data and record have {size} bytes, and max_event in [bus] is {most}"
            )));
        }
        Ok(draft)
    }

    /// The largest event that is published: its data and its record, in bytes.
    pub fn max_event(&self) -> usize {
        self.max_event
    }

    /// What the catalog knows.
    pub fn types(&self) -> &Types {
        &self.types
    }

    /// What time it is on the bus.
    pub fn now(&self) -> Timestamp {
        self.time.now()
    }

    /// Whether anything can be kept now.
    ///
    /// # Errors
    /// [`BusError::Unavailable`] if not.
    pub async fn check(&self) -> Result<(), BusError> {
        Ok(self.outbox.check().await?)
    }

    /// Begins no more attempts, waits for those on their way, and writes down what came of them.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.lanes.close();
        self.lanes.wait().await;
        self.attempts.close();
        if tokio::time::timeout(self.drain, self.attempts.wait()).await.is_err() {
            warn!(
                "requests still open at the end of the drain time are made again at the next start"
            );
        }
        self.end.cancel();
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(keeper) = keeper
            && tokio::time::timeout(KEEPING, keeper).await.is_err()
        {
            warn!("what came of the last attempts cannot be written down; they are made again");
        }
    }

    /// Forgets what is past its time, in small steps.
    async fn keep_house(self: Arc<Self>) {
        while !self.stop.is_cancelled() {
            let mut pruned = 0;
            while !self.stop.is_cancelled() {
                match self.outbox.prune(self.horizon()).await {
                    Ok(0) => break,
                    Ok(rows) => pruned += rows,
                    Err(error) => {
                        warn!(%error, "cannot prune");
                        break;
                    }
                }
                tokio::time::sleep(PRUNE_PAUSE).await;
            }
            if pruned > 0 {
                info!(rows = pruned, "pruned");
            }
            let _ = tokio::time::timeout(PRUNING, self.stop.cancelled()).await;
        }
    }

    fn horizon(&self) -> outbox::Horizon {
        let now = self.time.now();
        let before = |kept| {
            let kept = TimeDelta::from_std(kept).unwrap_or(TimeDelta::MAX);
            now.checked_sub_signed(kept).unwrap_or(Timestamp::MIN_UTC)
        };
        let [events, attempts, payloads] = self.kept.map(before);
        outbox::Horizon { events, attempts, payloads }
    }
}

async fn open(config: &BusConfig, roster: Arc<Roster>) -> anyhow::Result<Arc<Outbox>> {
    let (url, queue) = (config.outbox.clone(), config.queue);
    let open = move || Outbox::open(&url, queue, roster);
    Ok(Arc::new(tokio::task::spawn_blocking(open).await.context("opening the outbox")??))
}

fn allowed(config: &BusConfig) -> anyhow::Result<Vec<Allowed>> {
    let parsed = config.allow_targets.iter().map(|text| text.parse());
    parsed.collect::<Result<_, _>>().context("allow_targets in [bus]")
}
