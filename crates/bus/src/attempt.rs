//! The worker of a delivery queue: takes the next delivery, makes the attempt, and hands it on to be recorded.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use contract::time::Timestamp;
use settings::FaultsConfig;
use tracing::{info, warn};

use super::Bus;
use super::retry_policy::{DisableAction, RetryDecision};
use super::sender::{InjectedFault, SentRequest};
use super::slots::Slot;
use super::subscription::Subscription;
use super::time::later;
use crate::delivery_queue::{DeliveryQueue, NextAction};
use crate::health::{Status, SubscriptionHealth};
use crate::outbox::{AttemptOutcome, DueQuery, FinishedAttempt, QueuedDelivery};
use crate::record::Record;

/// The largest number of deliveries that are read at once, and about the largest number of their bytes.
const CHUNK: usize = 256;
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// The pause after a store error before it is read again.
const PAUSE: Duration = Duration::from_secs(1);

impl Bus {
    /// Works off a queue until the queue is removed or the bus stops.
    pub(super) async fn work(self: Arc<Self>, queue: Arc<DeliveryQueue>) {
        let mut waited = None;
        while !self.stop.is_cancelled() {
            let (now, budget) = (self.time.now(), &self.budget);
            let next = queue.next(now, &self.slots, &mut waited, budget);
            // An awaited slot that was not used goes back.
            waited = None;
            let until = match next {
                NextAction::Attempt(delivery, slot) => {
                    let bus = Arc::clone(&self);
                    self.attempts.spawn(bus.attempt(Arc::clone(&queue), delivery, slot));
                    continue;
                }
                NextAction::AwaitSlot => {
                    tokio::select! {
                        () = self.stop.cancelled() => return,
                        slot = self.slots.acquire() => waited = slot,
                    }
                    continue;
                }
                NextAction::Read { is_retry, held } => {
                    self.load(&queue, is_retry, held).await;
                    continue;
                }
                NextAction::Wait(until) => until.map(|until| self.time.instant(until)),
                NextAction::SleepUntil(until) => Some(until),
                NextAction::Stop => return,
            };
            let time = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = queue.woken() => {}
                () = time => {}
            }
        }
    }

    async fn load(&self, queue: &DeliveryQueue, is_retry: bool, held: HashSet<i64>) {
        let Err(error) = self.read(queue, is_retry, held).await else { return };
        warn!(%error, "cannot read due deliveries");
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(PAUSE) => queue.load_again(is_retry),
        }
    }

    /// Reads the due deliveries: one queue after the other, so that each knows the memory that the others have left.
    async fn read(
        &self,
        queue: &DeliveryQueue,
        is_retry: bool,
        held: HashSet<i64>,
    ) -> store::Result<()> {
        let _guard = self.read_lock.lock().await;
        if self.stop.is_cancelled() {
            return Ok(());
        }
        let wanted = DueQuery {
            subscription: queue.id,
            is_retry,
            now: self.time.now(),
            held,
            most: CHUNK,
            // Without free memory, one delivery at a time is read, so that no target waits for others.
            bytes: self.budget.free_bytes().min(CHUNK_BYTES),
        };
        queue.loaded(self.outbox.due(wanted).await?, is_retry, &self.budget);
        Ok(())
    }

    /// Makes one attempt after the other, as long as the queue has another in memory.
    async fn attempt(
        self: Arc<Self>,
        queue: Arc<DeliveryQueue>,
        mut delivery: QueuedDelivery,
        mut slot: Slot,
    ) {
        loop {
            let is_retry = delivery.is_retry;
            self.attempt_and_copy(&queue, delivery).await;
            drop(slot);
            queue.finished(is_retry, self.after(self.probe));
            let next = match self.stop.is_cancelled() {
                true => None,
                false => queue.another(self.time.now(), &self.slots, &self.budget),
            };
            match next {
                Some(next) => (delivery, slot) = next,
                None => return,
            }
        }
    }

    /// Makes one attempt, and a copy of it if the faults ask for a duplicate.
    async fn attempt_and_copy(&self, queue: &Arc<DeliveryQueue>, delivery: QueuedDelivery) {
        let subscription = queue.subscription();
        let faults = &subscription.config.faults;
        if !faults.delay.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(faults.delay) => {}
                // The delivery is still due, and is made at the next start.
                () = self.stop.cancelled() => return,
            }
        }
        let copy = happens(faults.duplicate).then(|| delivery.clone());
        self.attempt_once(queue, &subscription, delivery).await;
        if let Some(delivery) = copy {
            self.attempt_copy(queue, &subscription, delivery).await;
        }
    }

    async fn attempt_once(
        &self,
        queue: &Arc<DeliveryQueue>,
        subscription: &Subscription,
        delivery: QueuedDelivery,
    ) {
        let fault = fault(&subscription.config.faults);
        let started_at = self.time.now();
        let sent = self.sender.send(subscription, &delivery.event, fault).await;
        let now = self.time.now();
        let (outcome, error) = self.outcome(subscription, &delivery, &sent, now);
        let (failures, since, end) = queue.count_outcome(&outcome, now);
        self.update_health(queue, &outcome, end, failures, now).await;
        if outcome != AttemptOutcome::Delivered {
            info!(
                subscription = subscription.name,
                event.id = delivery.event.draft.event_id,
                attempt = delivery.attempts + 1,
                status = sent.status(),
                error = error.as_deref(),
                "not delivered"
            );
        }
        let attempt = FinishedAttempt {
            subscription: queue.id,
            delivery,
            outcome,
            started_at,
            ended_at: now,
            sent,
            error,
            fault: fault.map(InjectedFault::as_str),
            failures: Some((failures, since)),
        };
        self.record(queue, attempt).await;
    }

    /// Sends the same message once more; the response changes nothing.
    async fn attempt_copy(
        &self,
        queue: &Arc<DeliveryQueue>,
        subscription: &Subscription,
        delivery: QueuedDelivery,
    ) {
        let started_at = self.time.now();
        let sent = self.sender.send(subscription, &delivery.event, None).await;
        let attempt = FinishedAttempt {
            subscription: queue.id,
            delivery,
            outcome: AttemptOutcome::Copy,
            started_at,
            ended_at: self.time.now(),
            error: sent.error(),
            sent,
            fault: Some("duplicate"),
            failures: None,
        };
        self.record(queue, attempt).await;
    }

    fn outcome(
        &self,
        subscription: &Subscription,
        delivery: &QueuedDelivery,
        sent: &SentRequest,
        now: Timestamp,
    ) -> (AttemptOutcome, Option<String>) {
        let persona = &subscription.retry_policy;
        let verdict = sent.verdict(persona.abort, contract::time::now());
        let outcome = match persona.next(delivery.run_attempts + 1, verdict, fastrand::f64()) {
            RetryDecision::Done => return (AttemptOutcome::Delivered, None),
            RetryDecision::Retry(delay) => {
                let delay = TimeDelta::from_std(delay).unwrap_or(TimeDelta::MAX);
                AttemptOutcome::Retry(later(now, delay))
            }
            RetryDecision::GiveUp => AttemptOutcome::GivenUp,
            RetryDecision::Gone => AttemptOutcome::Gone,
        };
        let answered = || sent.status().map(|status| format!("answered {status}"));
        (outcome, sent.error().or_else(answered))
    }

    /// Pauses or ends a subscription whose target has answered 410 or has failed for too long, and resumes one whose
    /// target has recovered.
    async fn update_health(
        &self,
        queue: &Arc<DeliveryQueue>,
        outcome: &AttemptOutcome,
        end: Option<DisableAction>,
        failures: u64,
        now: Timestamp,
    ) {
        let (status, why) = match (outcome, end) {
            (AttemptOutcome::Gone, _) => (Status::Ended, "its target answered 410".to_owned()),
            (_, Some(DisableAction::Drop)) => {
                (Status::Ended, format!("dropped after {failures} failed attempts in a row"))
            }
            (_, Some(DisableAction::Pause)) => {
                (Status::Failing, format!("paused after {failures} failed attempts in a row"))
            }
            (AttemptOutcome::Delivered, None) if queue.health().status == Status::Failing => {
                info!(subscription = queue.subscription().name, "its target has recovered");
                return self
                    .set_health(queue, SubscriptionHealth::new(Status::Active, None, now))
                    .await;
            }
            _ => return,
        };
        warn!(subscription = queue.subscription().name, why, "paused or ended");
        let known = queue.health();
        let health = SubscriptionHealth { status, why: Some(why), since: now, ..known };
        self.set_health(queue, health).await;
    }

    async fn record(&self, queue: &Arc<DeliveryQueue>, attempt: FinishedAttempt) {
        let record = Record { queue: Arc::clone(queue), attempt };
        // Fails only when the bus has stopped; the delivery is then made again.
        let _ = self.records.send(record).await;
    }

    /// The bus's time after this duration.
    pub(super) fn after(&self, time: Duration) -> Timestamp {
        later(self.time.now(), TimeDelta::from_std(time).unwrap_or(TimeDelta::MAX))
    }
}

fn happens(share: f64) -> bool {
    share > 0.0 && fastrand::f64() < share
}

/// The fault that this attempt is given on purpose; the first of several.
fn fault(faults: &FaultsConfig) -> Option<InjectedFault> {
    let shares = [
        (InjectedFault::Drop, faults.drop),
        (InjectedFault::Truncate, faults.truncate),
        (InjectedFault::Tamper, faults.tamper),
    ];
    shares.into_iter().find(|(_, share)| happens(*share)).map(|(fault, _)| fault)
}
