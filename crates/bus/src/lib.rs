//! The event bus: who gets which event, and what becomes of an event that its target does not take.
//!
//! ```text
//! POST /api/events ──▶ Publication ──catalog──▶ Draft ──outbox──▶ one delivery for each subscription
//!                                                                      │
//!                  target ◀──sender── attempt ◀──queue (one a target) ◀─┘   (at once, or when a retry is due)
//!                                        └──▶ record ──outbox──▶ delivered | again | given up
//! ```

pub mod api;
mod attempt;
mod body;
mod delivery_queue;
mod glob;
pub mod guard;
mod health;
mod load;
mod manage;
mod outbox;
pub mod pages;
pub mod persona;
mod publication;
mod record;
mod registry;
pub mod rehearse;
mod sender;
mod serve;
mod slots;
mod start;
mod subscription;
mod time;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use chrono::TimeDelta;
use contract::time::Clock;
use contract::time::Timestamp;
use settings::{BusConfig, FaultsConfig};
use telemetry::clock_monitor::{ClockMonitor, ClockVerdict};
use tokio::sync::mpsc::Sender as Records;
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use guard::{Allowed, Guard};
use load::Load;
use outbox::{New, Outbox, Recipient};
use publication::Draft;
use record::Record;
use registry::Registry;
use sender::Sender;
use slots::Slots;

pub use health::{Health, Standing};
pub use manage::{Overview, SubscriptionFilter};
pub use outbox::{
    AttemptEntry, AttemptFilter, DeliveryEntry, Detail, EventDetail, EventEntry, EventFilter,
    Exchange, Preview, Selection, backup, make_outbox,
};
pub use publication::{NotPublished, Publication, Published, Receipt, Type, Types};
pub use serve::serve_bus;
pub use subscription::{Keys, Shown};
pub use time::Time;

/// How many attempts may wait to be written down. Beyond that, they hold their places at their targets.
const RECORDS: usize = 4096;

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

impl From<store::Error> for BusError {
    fn from(error: store::Error) -> Self {
        BusError::Unavailable(format!("the outbox is unavailable: {error}"))
    }
}

/// As many targets are sent to at once, if the system lets there be so many connections.
pub const TARGETS: usize = 10_240;

/// How a bus is run, besides its settings.
#[derive(Clone)]
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
    registry: Arc<Registry>,
    load: Load,
    sender: Sender,
    guard: Guard,
    time: Time,
    slots: Slots,
    /// Held by the queue that reads what is due.
    reading: AsyncMutex<()>,
    /// Held by whoever changes a subscription: what is changed is read before.
    changing: AsyncMutex<()>,
    records: Records<Record>,
    /// Writes the records down until it is told that no more will come.
    keeper: Mutex<Option<JoinHandle<()>>>,
    end: CancellationToken,
    workers: TaskTracker,
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
        let registry = Arc::<Registry>::default();
        let outbox = open(config).await?;
        // A schedule that ran fast is not waited for to be caught up with.
        let now = (options.clock)();
        let latest = outbox.latest().await?;
        let start = latest.map_or(now, |latest| latest.max(now));
        let (monitor, clock) = (ClockMonitor::new(now, latest), Arc::clone(&options.clock));
        let (records, kept) = mpsc::channel(RECORDS);
        let end = CancellationToken::new();
        let keeper = tokio::spawn(record::keep(
            kept,
            Arc::clone(&outbox),
            Arc::clone(&registry),
            end.clone(),
        ));
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
            workers: TaskTracker::new(),
            attempts: TaskTracker::new(),
            stop: CancellationToken::new(),
            drain: options.drain,
            probe: config.probe,
            kept: [config.keep_events, config.keep_attempts, config.keep_payloads],
            max_event: config.max_event,
            faults: options.faults,
            outbox,
            registry,
            load: Load::default(),
        });
        bus.take_up(config).await?;
        bus.workers.spawn(Arc::clone(&bus).keep_house(monitor, clock));
        Ok(bus)
    }

    /// Publishes events; those that were published before are not published again. When this returns, they are durable.
    ///
    /// # Errors
    /// [`BusError::Invalid`] or [`BusError::TooLarge`] for the first that cannot be published; then none is.
    pub async fn publish(&self, publications: Vec<Publication>) -> Result<Vec<Receipt>, BusError> {
        let now = self.time.now();
        let draft = |(place, publication)| self.draft(place, publication, now);
        let drafts = (1..).zip(publications).map(draft).collect::<Result<Vec<_>, _>>()?;
        let recipients = |draft: Draft| {
            let recipients = self.registry.recipients(&draft.event_type, draft.environment);
            (draft, recipients)
        };
        self.publish_to(drafts.into_iter().map(recipients).collect()).await
    }

    /// Keeps events for these recipients, and hands what is due at once to their queues.
    async fn publish_to(
        &self,
        drafts: Vec<(Draft, Arc<[Recipient]>)>,
    ) -> Result<Vec<Receipt>, BusError> {
        let recipients = drafts.iter().flat_map(|(_, recipients)| recipients.iter());
        let mut handover = Handover {
            registry: &self.registry,
            left: recipients.map(|recipient| recipient.subscription).collect(),
        };
        let made = self.outbox.publish(drafts).await?;
        handover.left = made.left;
        for New { subscription, delivery } in made.due {
            if let Some(queue) = self.registry.get(subscription) {
                queue.push(delivery, &self.load);
            }
        }
        Ok(made.receipts)
    }

    /// The event at this place of its batch, counted from 1.
    fn draft(
        &self,
        place: usize,
        publication: Publication,
        now: Timestamp,
    ) -> Result<Draft, BusError> {
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
        self.workers.close();
        self.workers.wait().await;
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
    async fn keep_house(self: Arc<Self>, mut monitor: ClockMonitor, clock: Clock) {
        while !self.stop.is_cancelled() {
            let verdict = monitor.judge(clock());
            if let ClockVerdict::Jumped(ahead) = verdict {
                let ahead_s = ahead.num_seconds();
                warn!(
                    ahead_s,
                    "the clock is far ahead of what was expected: nothing is pruned by it for a day"
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
        let before = |kept| {
            let kept = TimeDelta::from_std(kept).unwrap_or(TimeDelta::MAX);
            now.checked_sub_signed(kept).unwrap_or(Timestamp::MIN_UTC)
        };
        let [events, attempts, payloads] = self.kept.map(before);
        outbox::Horizon { events, attempts, payloads }
    }
}

/// Notifies delivery queues that something in the file is due for them: also if the call that has put it there is dropped
/// before it could hand it over.
struct Handover<'b> {
    registry: &'b Registry,
    left: BTreeSet<i64>,
}

impl Drop for Handover<'_> {
    fn drop(&mut self) {
        let queues = self.left.iter().filter_map(|id| self.registry.get(*id));
        queues.for_each(|queue| queue.notify());
    }
}

async fn open(config: &BusConfig) -> anyhow::Result<Arc<Outbox>> {
    let (url, queue) = (config.outbox.clone(), config.queue);
    let open = move || Outbox::open(&url, queue);
    Ok(Arc::new(tokio::task::spawn_blocking(open).await.context("opening the outbox")??))
}

fn allowed(config: &BusConfig) -> anyhow::Result<Vec<Allowed>> {
    let parsed = config.allow_targets.iter().map(|text| text.parse());
    parsed.collect::<Result<_, _>>().context("allow_targets in [bus]")
}
