//! Event bus (fan-out, outgoing webhooks): subscriptions, delivery queues, retries, and the logs of events and
//! attempts.
//!
//! ```text
//! POST /api/events ──▶ Publication ──catalog──▶ Draft ──outbox──▶ one delivery for each subscription
//!                                                                      │
//!                  target ◀──sender── attempt ◀──queue (one a target) ◀─┘   (at once, or when a retry is due)
//!                                        └──▶ record ──outbox──▶ delivered | retry | given up
//! ```
//!
//! It depends on the emitter, the server and the store, and knows nothing of the inbox and the receiver.

pub mod api;
mod attempt;
mod body;
mod delivery_queue;
mod glob;
mod health;
mod manage;
mod memory_budget;
mod outbox;
pub mod pages;
mod publication;
mod record;
mod registry;
pub mod rehearse;
pub mod retry_policy;
mod sender;
mod serve;
mod slots;
mod start;
mod subscription;
mod summary;
mod time;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use chrono::TimeDelta;
use contract::time::Clock;
use contract::time::Timestamp;
use settings::{BusConfig, FaultsConfig, SourceConfig};
use telemetry::clock_monitor::{ClockMonitor, ClockVerdict};
use tokio::sync::mpsc::Sender as Records;
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use client::guard::{AllowedTarget, Guard};
use memory_budget::MemoryBudget;
use outbox::{NewDelivery, Outbox, Recipient};
use publication::Draft;
use record::Record;
use registry::Registry;
use sender::Sender;
use slots::Slots;

pub use health::{Status, SubscriptionHealth};
pub use manage::{Overview, SubscriptionFilter};
pub use outbox::{
    AttemptDetail, AttemptFilter, AttemptLogEntry, DeliveryEntry, EventDetail, EventFilter,
    EventLogEntry, Exchange, Preview, ResendSelection, backup, make_outbox,
};
pub use publication::{
    EventType, EventTypes, NotPublished, Publication, PublishReceipt, PublishStatus,
};
pub use serve::serve_bus;
pub use subscription::{KeyFingerprints, SubscriptionView};
pub use time::BusClock;

/// The largest number of attempts that wait to be recorded. Beyond that, they hold their slots.
const RECORDS: usize = 4096;

/// The longest time that a stop waits for attempts to be recorded.
const RECORDING_GRACE: Duration = Duration::from_secs(5);

/// The time between two searches for old rows, and the pause of the writer between two steps of pruning.
const PRUNING: Duration = Duration::from_secs(60);
const PRUNE_PAUSE: Duration = Duration::from_millis(20);

/// An error of the bus.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// The input is invalid.
    #[error("{0}")]
    Invalid(String),
    /// There is no such subscription, event or attempt.
    #[error("there is no {0}")]
    Missing(String),
    /// The input exceeds a limit of the settings.
    #[error("{0}")]
    TooLarge(String),
    /// The request contradicts the present state.
    #[error("{0}")]
    Conflict(String),
    /// The outbox is unavailable; the request may be repeated.
    #[error("{0}")]
    Unavailable(String),
}

impl From<store::Error> for BusError {
    fn from(error: store::Error) -> Self {
        BusError::Unavailable(format!("the outbox is unavailable: {error}"))
    }
}

/// The number of targets that are sent to at once, if the system permits as many connections.
pub const TARGETS: usize = 10_240;

/// The run options of a bus, besides its settings.
#[derive(Clone)]
pub struct BusOptions {
    /// The speed of the schedule, as a multiple of the machine's clock.
    pub speed: f64,
    /// Faults for every target, in place of the subscriptions' own.
    pub faults: Option<FaultsConfig>,
    /// True if any address may be a target, as on a development machine.
    pub is_open: bool,
    /// The largest number of targets that are sent to at once; beyond that they wait for each other.
    pub targets: usize,
    /// The clock.
    pub clock: Clock,
    /// The longest time that a stop waits for requests in flight.
    pub drain: Duration,
    /// The configured sources, whose senders subscriptions may imitate.
    pub sources: Arc<BTreeMap<String, SourceConfig>>,
}

/// The faults of the configured subscriptions: those that would be refused, as text.
pub fn refusals(config: &BusConfig, sources: &BTreeMap<String, SourceConfig>) -> Vec<String> {
    let refusal = |(name, one): (&str, &settings::SubscriptionConfig)| {
        let refused = subscription::Subscription::new(name, one.clone(), sources).err()?;
        Some(format!("[bus.subscriptions.{name}] {refused:#}"))
    };
    config.readable_subscriptions().filter_map(refusal).collect()
}

/// The event bus. It runs from [`open`](Self::open) to [`stop`](Self::stop).
pub struct Bus {
    types: EventTypes,
    outbox: Arc<Outbox>,
    registry: Arc<Registry>,
    budget: Arc<MemoryBudget>,
    sender: Sender,
    guard: Guard,
    time: BusClock,
    slots: Slots,
    /// Held by the queue that reads its due deliveries.
    read_lock: AsyncMutex<()>,
    /// Held during a change of a subscription, which reads before it writes.
    change_lock: AsyncMutex<()>,
    records: Records<Record>,
    /// The task that records attempts until `end` is cancelled.
    recorder: Mutex<Option<JoinHandle<()>>>,
    end: CancellationToken,
    workers: TaskTracker,
    attempts: TaskTracker,
    stop: CancellationToken,
    drain: Duration,
    probe: Duration,
    retention: [Duration; 3],
    max_event: usize,
    faults: Option<FaultsConfig>,
    sources: Arc<BTreeMap<String, SourceConfig>>,
}

impl Bus {
    /// Opens the outbox and resumes its waiting deliveries.
    ///
    /// # Errors
    /// If the settings cannot be used or the outbox cannot be opened.
    pub async fn open(
        config: &BusConfig,
        types: EventTypes,
        options: BusOptions,
    ) -> anyhow::Result<Arc<Self>> {
        config.check()?;
        anyhow::ensure!(
            (1e-3..=1e6).contains(&options.speed),
            "a speed is a number from 0.001 to 1000000"
        );
        let guard = Guard::new(allowed(config)?);
        let guard = if options.is_open { guard.open() } else { guard };
        let sender = Sender::new(guard.clone(), config)?;
        let registry = Arc::<Registry>::default();
        let outbox = open(config).await?;
        // The time of a schedule that ran fast is kept, rather than waiting until the clock has caught up.
        let now = (options.clock)();
        let latest = outbox.latest().await?;
        let start = latest.map_or(now, |latest| latest.max(now));
        let (monitor, clock) = (ClockMonitor::new(now, latest), Arc::clone(&options.clock));
        let (records, finished) = mpsc::channel(RECORDS);
        let end = CancellationToken::new();
        let recorder = tokio::spawn(record::run(
            finished,
            Arc::clone(&outbox),
            Arc::clone(&registry),
            end.clone(),
        ));
        let bus = Arc::new(Bus {
            types,
            sender,
            guard,
            time: BusClock::new(options.clock, options.speed, start),
            slots: Slots::new(options.targets, config.concurrency),
            read_lock: AsyncMutex::new(()),
            change_lock: AsyncMutex::new(()),
            records,
            recorder: Mutex::new(Some(recorder)),
            end,
            workers: TaskTracker::new(),
            attempts: TaskTracker::new(),
            stop: CancellationToken::new(),
            drain: options.drain,
            probe: config.probe,
            retention: [config.keep_events, config.keep_attempts, config.keep_payloads],
            max_event: config.max_event,
            faults: options.faults,
            sources: options.sources,
            outbox,
            registry,
            budget: Arc::default(),
        });
        bus.restore_subscriptions(config).await?;
        bus.workers.spawn(Arc::clone(&bus).prune_loop(monitor, clock));
        Ok(bus)
    }

    /// Publishes events; an event that was published before is not published again. When this returns, they are
    /// durable.
    ///
    /// # Errors
    /// [`BusError::Invalid`] or [`BusError::TooLarge`] for the first that cannot be published; then none is.
    pub async fn publish(
        &self,
        publications: Vec<Publication>,
    ) -> Result<Vec<PublishReceipt>, BusError> {
        let now = self.time.now();
        let draft = |(index, publication)| self.draft(index, publication, now);
        let drafts = (1..).zip(publications).map(draft).collect::<Result<Vec<_>, _>>()?;
        let recipients = |draft: Draft| {
            let recipients = self.registry.recipients(&draft.event_type, draft.environment);
            (draft, recipients)
        };
        self.publish_to(drafts.into_iter().map(recipients).collect()).await
    }

    /// Stores events for these recipients, and hands the deliveries that are due at once to their queues.
    ///
    /// It is a task of its own: a caller that is dropped must not keep what is committed from its queues.
    async fn publish_to(
        &self,
        drafts: Vec<(Draft, Arc<[Recipient]>)>,
    ) -> Result<Vec<PublishReceipt>, BusError> {
        let (outbox, registry) = (Arc::clone(&self.outbox), Arc::clone(&self.registry));
        let budget = Arc::clone(&self.budget);
        let publishing = tokio::spawn(publish_and_hand_over(outbox, registry, budget, drafts));
        match publishing.await {
            Ok(published) => Ok(published?),
            Err(error) => Err(BusError::Unavailable(format!("publishing has ended: {error}"))),
        }
    }

    /// Checks the event with this index in its batch, counted from 1.
    fn draft(
        &self,
        index: usize,
        publication: Publication,
        now: Timestamp,
    ) -> Result<Draft, BusError> {
        let invalid = |error| BusError::Invalid(format!("event {index}: {error}"));
        let draft = self.types.draft(publication, now).map_err(invalid)?;
        let (size, most) = (draft.size(), self.max_event);
        if size > most {
            return Err(BusError::TooLarge(format!(
                "event {index}: its data and record have {size} bytes, and max_event in [bus] is {most}"
            )));
        }
        Ok(draft)
    }

    /// The largest event: its data and its record, in bytes.
    pub fn max_event(&self) -> usize {
        self.max_event
    }

    /// The events of the catalog.
    pub fn types(&self) -> &EventTypes {
        &self.types
    }

    /// The bus's time.
    pub fn now(&self) -> Timestamp {
        self.time.now()
    }

    /// Checks that the outbox accepts writes.
    ///
    /// # Errors
    /// [`BusError::Unavailable`] if it does not.
    pub async fn check(&self) -> Result<(), BusError> {
        Ok(self.outbox.check().await?)
    }

    /// Starts no more attempts, waits for those in flight, and records them.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.workers.close();
        self.workers.wait().await;
        self.attempts.close();
        if tokio::time::timeout(self.drain, self.attempts.wait()).await.is_err() {
            warn!(
                "requests still open at the end of the drain time are made again at the next start"
            );
        }
        self.end.cancel();
        let recorder = self.recorder.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(recorder) = recorder
            && tokio::time::timeout(RECORDING_GRACE, recorder).await.is_err()
        {
            warn!("the last attempts cannot be recorded; they are made again");
        }
    }

    /// Prunes old rows, in small steps.
    async fn prune_loop(self: Arc<Self>, mut monitor: ClockMonitor, clock: Clock) {
        while !self.stop.is_cancelled() {
            let verdict = monitor.judge(clock());
            if let ClockVerdict::Jumped(ahead) = verdict {
                let ahead_s = ahead.num_seconds();
                warn!(
                    ahead_s,
                    "the clock is far ahead of the expected time: nothing is pruned for a day"
                );
            }
            let may_prune = matches!(verdict, ClockVerdict::Plausible | ClockVerdict::Behind(_));
            let mut pruned = 0;
            while may_prune && !self.stop.is_cancelled() {
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
        let before = |age| {
            let age = TimeDelta::from_std(age).unwrap_or(TimeDelta::MAX);
            now.checked_sub_signed(age).unwrap_or(Timestamp::MIN_UTC)
        };
        let [events, attempts, payloads] = self.retention.map(before);
        outbox::Horizon { events, attempts, payloads }
    }
}

async fn publish_and_hand_over(
    outbox: Arc<Outbox>,
    registry: Arc<Registry>,
    budget: Arc<MemoryBudget>,
    drafts: Vec<(Draft, Arc<[Recipient]>)>,
) -> store::Result<Vec<PublishReceipt>> {
    let recipients = drafts.iter().flat_map(|(_, recipients)| recipients.iter());
    let recipients: BTreeSet<i64> = recipients.map(|recipient| recipient.subscription).collect();
    let made = match outbox.publish(drafts).await {
        Ok(made) => made,
        Err(error) => {
            // What was committed all the same is in the file.
            if !matches!(error, store::Error::Busy | store::Error::Full) {
                registry.notify(&recipients);
            }
            return Err(error);
        }
    };
    for NewDelivery { subscription, delivery } in made.due {
        if let Some(queue) = registry.get(subscription) {
            queue.push(delivery, &budget);
        }
    }
    registry.notify(&made.left);
    Ok(made.receipts)
}

async fn open(config: &BusConfig) -> anyhow::Result<Arc<Outbox>> {
    let (url, queue) = (config.outbox.clone(), config.queue);
    let open = move || Outbox::open(&url, queue);
    Ok(Arc::new(tokio::task::spawn_blocking(open).await.context("opening the outbox")??))
}

fn allowed(config: &BusConfig) -> anyhow::Result<Vec<AllowedTarget>> {
    let parsed = config.allow_targets.iter().map(|text| text.parse());
    parsed.collect::<Result<_, _>>().context("allow_targets in [bus]")
}
