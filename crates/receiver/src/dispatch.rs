//! Dispatch: claims deliveries, decodes them, runs their handlers and writes the verdicts.

pub mod hooks;
mod memory_permits;
mod schedule;

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use contract::catalog::{EventHandler, HandlerFuture, Handlers};
use contract::effect::{Attempt, Handled};
use contract::event::{DecodeError, Delivery, Failure, Meta};
use contract::time::Clock;
use contract::time::Timestamp;
use futures_util::FutureExt;
use inbox::{Claim, Deliveries, InboxError, Lease, TallyKind, Verdict};
use telemetry::Metrics;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::route::Deferrals;
use crate::tallies::TallyCounter;
pub use memory_permits::MemoryPermits;
pub use schedule::Schedule;

/// The longest that one claim waits for a due delivery.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pause after an inbox error.
const PAUSE: Duration = Duration::from_secs(1);

/// Margin of a lease over the longest attempt, which leaves time to write the verdict.
const LEASE_MARGIN: Duration = Duration::from_secs(30);

/// The longest that the verdict of an attempt is tried to be written, as when the database is restarted: most of the margin.
const VERDICT_PATIENCE: Duration = Duration::from_secs(25);

/// The same after the end of the drain time.
const LAST_PATIENCE: Duration = Duration::from_secs(3);

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The longest that a large body waits for memory before its delivery is postponed; less than the margin.
const MEMORY_PATIENCE: Duration = Duration::from_secs(15);

/// Delay of a delivery that is postponed for lack of memory.
const MEMORY_DELAY: Duration = Duration::from_secs(1);

/// Delay of a delivery that a one-effect handler puts off.
const PUT_OFF: Duration = Duration::from_secs(2);

/// Largest length of a stored failure reason, in bytes.
const LONGEST_REASON: usize = 4096;

/// Dispatcher: runs handlers on the inbox's deliveries.
pub struct Dispatcher {
    inbox: Arc<dyn Deliveries>,
    deferrals: Arc<Deferrals>,
    handlers: Arc<Handlers>,
    schedule: Schedule,
    timeout: Duration,
    slots: Arc<Semaphore>,
    memory: MemoryPermits,
    concurrency: usize,
    clock: Clock,
    metrics: Arc<Metrics>,
    tallies: Arc<TallyCounter>,
}

/// Options of a dispatcher.
pub struct DispatchOptions {
    /// Delays between the attempts.
    pub schedule: Schedule,
    /// Time limit of one attempt.
    pub timeout: Duration,
    /// Largest number of concurrent handlers.
    pub concurrency: usize,
    /// Clock.
    pub clock: Clock,
    /// Metrics of the attempts.
    pub metrics: Arc<Metrics>,
    /// Counts for the console.
    pub tallies: Arc<TallyCounter>,
}

impl Dispatcher {
    /// Creates a dispatcher, which works in [`step`](Self::step) and [`run`](Self::run).
    pub fn new(
        inbox: Arc<dyn Deliveries>,
        handlers: Arc<Handlers>,
        options: DispatchOptions,
    ) -> Arc<Self> {
        let DispatchOptions { schedule, timeout, concurrency, clock, metrics, tallies } = options;
        let slots = Arc::new(Semaphore::new(concurrency));
        let catalog = Arc::clone(handlers.table());
        Arc::new(Dispatcher {
            deferrals: Deferrals::new(Arc::clone(&inbox), catalog),
            inbox,
            handlers,
            schedule,
            timeout,
            slots,
            memory: MemoryPermits::default(),
            concurrency,
            clock,
            metrics,
            tallies,
        })
    }

    /// Handles the deliveries that are due now, up to the concurrency, and returns the number of attempts.
    ///
    /// # Errors
    /// If nothing could be claimed.
    pub async fn step(&self) -> Result<usize, InboxError> {
        let claims = self.claim(self.concurrency, Duration::ZERO).await?;
        let attempts = claims.len();
        let attempt = |claim| self.attempt(claim, None, CancellationToken::new());
        futures_util::future::join_all(claims.into_iter().map(attempt)).await;
        Ok(attempts)
    }

    /// Handles due deliveries until `stop`; then waits up to `drain` for running handlers, and releases the other deliveries.
    pub async fn run(self: Arc<Self>, stop: CancellationToken, drain: Duration) {
        let tasks = TaskTracker::new();
        let abandon = CancellationToken::new();
        let mut stopped = pin!(stop.cancelled());
        loop {
            let started = tokio::select! {
                biased; // nothing is started once the stop has fired
                () = &mut stopped => break,
                started = self.start(&tasks, &abandon) => started,
            };
            if let Err(error) = started {
                warn!(%error, "cannot claim deliveries");
                let _ = tokio::time::timeout(PAUSE, &mut stopped).await;
            }
        }
        tasks.close();
        if tokio::time::timeout(drain, tasks.wait()).await.is_err() {
            warn!(
                attempts = tasks.len(),
                "handlers still running at the end of the drain time are cancelled, and their deliveries released"
            );
            abandon.cancel();
            tasks.wait().await;
        }
        // Otherwise what the last claim has found would wait for its lease.
        let _ = tokio::time::timeout(LAST_PATIENCE, self.inbox.settle()).await;
    }

    /// Waits for a slot and a due delivery, and starts as many attempts as there are slots.
    async fn start(
        self: &Arc<Self>,
        tasks: &TaskTracker,
        abandon: &CancellationToken,
    ) -> Result<(), InboxError> {
        let mut slots = self.free_slots().await;
        for claim in self.claim(slots.num_permits(), PATIENCE).await? {
            let (dispatcher, abandon) = (Arc::clone(self), abandon.clone());
            let slot = slots.split(1);
            tasks.spawn(async move { dispatcher.attempt(claim, slot, abandon).await });
        }
        Ok(())
    }

    /// Takes all free slots, as soon as there is one. There may be only one caller at a time.
    async fn free_slots(&self) -> OwnedSemaphorePermit {
        let first = Arc::clone(&self.slots).acquire_owned().await;
        let mut slots = first.expect("the slots are never closed");
        let others = u32::try_from(self.slots.available_permits()).unwrap_or(u32::MAX);
        if let Ok(others) = Arc::clone(&self.slots).try_acquire_many_owned(others) {
            slots.merge(others);
        }
        slots
    }

    async fn claim(&self, max: usize, patience: Duration) -> Result<Vec<Claim>, InboxError> {
        let lease = self.timeout + LEASE_MARGIN;
        self.inbox.claim(max, lease, patience).await
    }

    /// Handles a claimed delivery, logs one line for the attempt, and writes the verdict. The slot is held until the verdict
    /// is on disk, so that verdicts do not pile up on a slow disk.
    async fn attempt(
        &self,
        claim: Claim,
        _slot: Option<OwnedSemaphorePermit>,
        abandon: CancellationToken,
    ) {
        if let Some(after) = self.note_lost(&claim) {
            return self.finish(claim.lease, Verdict::Postponed { after }, &abandon).await;
        }
        let started = tokio::time::Instant::now();
        let (lease, meta) = (claim.lease.clone(), claim.delivery.meta.clone());
        let handler = self.handlers.event(meta.dialect, meta.version, &meta.event_type);
        let body = claim.delivery.raw().clone();
        let handled = async {
            match tokio::time::timeout(MEMORY_PATIENCE, self.memory.take(&body)).await {
                Ok(_permit) => shortened(self.handle(handler, claim).await),
                // Deliveries that need less come first.
                Err(_) => Verdict::Postponed { after: MEMORY_DELAY },
            }
        };
        let verdict = tokio::select! {
            verdict = handled => verdict,
            () = abandon.cancelled() => Verdict::Released,
        };
        let event = handler.map_or("", |handler| handler.row.name);
        self.metrics.attempt(event, outcome(&verdict), started.elapsed());
        match &verdict {
            Verdict::Done | Verdict::Applied(_) => {
                self.tallies.add(&meta.source, TallyKind::Handled)
            }
            Verdict::Dead { .. } => self.tallies.add(&meta.source, TallyKind::Dead),
            _ => {}
        }
        self.log(&meta, &verdict, started.elapsed());
        self.finish(lease, verdict, &abandon).await;
    }

    /// Logs that the previous attempt was lost, and returns the delivery's delay. After several lost attempts in a row the
    /// delivery may be the cause of the crashes; it is delayed, but never given up for that.
    fn note_lost(&self, claim: &Claim) -> Option<Duration> {
        if claim.lost == 0 {
            return None;
        }
        let meta = &claim.delivery.meta;
        let delay = self.schedule.delay_after_lost(claim.lost);
        let delay = Some(delay).filter(|delay| !delay.is_zero());
        let row = self.handlers.table().event(meta.dialect, meta.version, &meta.event_type);
        self.metrics.attempt_lost(row.map_or("", |row| row.name));
        warn!(
            delivery.id = meta.id,
            message.id = meta.message_id,
            event.r#type = meta.event_type,
            source = meta.source,
            attempt = meta.attempt - 1,
            replay = meta.replay,
            outcome = "lost",
            lost = claim.lost,
            error = "its worker stopped",
            next = delay.and_then(|delay| self.time_after(delay)).map(tracing::field::display),
            "attempt"
        );
        delay
    }

    async fn handle(&self, handler: Option<EventHandler<'_>>, claim: Claim) -> Verdict {
        let Claim { delivery, run_attempt, claimed_at, .. } = claim;
        let Some(handler) = handler else { return Verdict::Unrouted };
        let lease_until = claimed_at + self.timeout + LEASE_MARGIN;
        let id = delivery.meta.id;
        let attempt = Attempt {
            lease_until,
            patience: self.timeout / 3,
            acceptor: Arc::clone(&self.deferrals) as _,
        };
        let attempt = match begin(handler, delivery, attempt) {
            Ok(attempt) => attempt,
            Err(error) => {
                return Verdict::Dead { reason: format!("the body is not the model: {error}") };
            }
        };
        match self.call(attempt).await {
            Ok(Handled::Done) => Verdict::Done,
            Ok(Handled::Applied(applied)) => Verdict::Applied(applied),
            Ok(Handled::Postponed(reason)) => {
                warn!(
                    delivery.id = id,
                    reason, "the delivery is put off, and the attempt does not count"
                );
                Verdict::Postponed { after: self.schedule.vary(PUT_OFF) }
            }
            Err(Failure::Reject { reason }) => Verdict::Dead { reason },
            Err(Failure::Retry { reason, after }) => {
                self.schedule.verdict(run_attempt, after, reason)
            }
        }
    }

    /// Runs the handler; a panic or a timeout is a failure to retry.
    async fn call(&self, attempt: HandlerFuture) -> Result<Handled, Failure> {
        match tokio::time::timeout(self.timeout, AssertUnwindSafe(attempt).catch_unwind()).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panic)) => {
                Err(Failure::retry(format!("the handler panicked: {}", text(&*panic))))
            }
            Err(_) => Err(Failure::retry(format!(
                "the handler took longer than {}",
                humantime::format_duration(self.timeout)
            ))),
        }
    }

    fn log(&self, meta: &Meta, verdict: &Verdict, took: Duration) {
        let (reason, next): (Option<&str>, Option<Timestamp>) = match verdict {
            Verdict::Retry { reason, after } => (Some(reason), self.time_after(*after)),
            Verdict::Dead { reason } => (Some(reason), None),
            _ => (None, None),
        };
        let failed = reason.is_some();
        let applied = match verdict {
            Verdict::Applied(applied) => Some(*applied),
            _ => None,
        };
        macro_rules! line {
            ($level:ident) => {
                $level!(
                    delivery.id = meta.id,
                    message.id = meta.message_id,
                    event.r#type = meta.event_type,
                    source = meta.source,
                    attempt = meta.attempt,
                    replay = meta.replay,
                    outcome = outcome(verdict),
                    duration_us = took.as_micros() as u64,
                    applied.by = applied.map(|applied| applied.attempt),
                    applied.at = applied.map(|applied| tracing::field::display(applied.at)),
                    error = reason,
                    next = next.map(tracing::field::display),
                    "attempt"
                )
            };
        }
        if failed { line!(warn) } else { line!(info) }
    }

    /// The time after a delay, for the log; none if it is too far away.
    fn time_after(&self, delay: Duration) -> Option<Timestamp> {
        (self.clock)().checked_add_signed(TimeDelta::from_std(delay).ok()?)
    }

    /// Writes the verdict. One that cannot be written is dropped: the lease expires, and the delivery is handled again.
    async fn finish(&self, lease: Lease, verdict: Verdict, abandon: &CancellationToken) {
        let (id, begun) = (lease.id, tokio::time::Instant::now());
        let mut pause = Duration::from_millis(50);
        let mut is_in_doubt = false;
        loop {
            let error = match self.inbox.finish(lease.clone(), verdict.clone()).await {
                Ok(true) => return,
                Ok(false) if is_in_doubt => {
                    return warn!(
                        delivery.id = id,
                        "the verdict was written by a try that seemed to fail, or else the lease was lost"
                    );
                }
                Ok(false) => {
                    return warn!(
                        delivery.id = id,
                        "the lease was lost before the attempt ended; the delivery is handled again"
                    );
                }
                Err(error) => error,
            };
            is_in_doubt = true;
            let patience = if abandon.is_cancelled() { LAST_PATIENCE } else { VERDICT_PATIENCE };
            if begun.elapsed() + pause > patience {
                return warn!(delivery.id = id, %error, "cannot write the verdict");
            }
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }
}

/// Decodes the delivery; a panic of the model counts as a decoding error.
fn begin(
    handler: EventHandler<'_>,
    delivery: Delivery,
    attempt: Attempt,
) -> Result<HandlerFuture, DecodeError> {
    let begun = std::panic::catch_unwind(AssertUnwindSafe(|| handler.start(delivery, attempt)));
    begun.unwrap_or_else(|panic| {
        let message = format!("the model panicked: {}", text(&*panic));
        Err(DecodeError { path: ".".into(), message })
    })
}

/// Truncates a long reason, since one is stored for every attempt.
fn shortened(mut verdict: Verdict) -> Verdict {
    if let Verdict::Retry { reason, .. } | Verdict::Dead { reason } = &mut verdict
        && reason.len() > LONGEST_REASON
    {
        reason.truncate(reason.floor_char_boundary(LONGEST_REASON));
        reason.push('…');
    }
    verdict
}

/// Name of the verdict in the log and the metrics.
fn outcome(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Done | Verdict::Applied(_) => "done",
        Verdict::Retry { .. } => "retry",
        Verdict::Dead { .. } => "dead",
        Verdict::Unrouted => "unrouted",
        Verdict::Released | Verdict::Postponed { .. } => "released",
    }
}

fn text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
