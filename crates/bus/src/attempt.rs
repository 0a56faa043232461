//! A queue at work: it takes what is next, and sees each attempt through to its record.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use contract::time::Timestamp;
use settings::FaultsConfig;
use tracing::{info, warn};

use super::Bus;
use super::persona::{End, Step};
use super::sender::{Fault, Sent};
use super::slots::Slot;
use super::subscription::Subscription;
use super::time::later;
use crate::delivery_queue::{DeliveryQueue, Next};
use crate::health::{Health, Standing};
use crate::outbox::{Attempt, Delivery, Outcome, Wanted};
use crate::record::Record;

/// How many deliveries are read at once at most, and with about how many bytes.
const CHUNK: usize = 256;
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// How long a store that cannot be read is left alone.
const PAUSE: Duration = Duration::from_secs(1);

impl Bus {
    /// Works off a queue until it is removed or the bus stops.
    pub(super) async fn work(self: Arc<Self>, queue: Arc<DeliveryQueue>) {
        let mut waited = None;
        while !self.stop.is_cancelled() {
            let (now, load) = (self.time.now(), &self.load);
            let next = queue.next(now, &self.slots, &mut waited, load);
            // A slot that was waited for in vain is another's.
            waited = None;
            let until = match next {
                Next::Go(delivery, slot) => {
                    let bus = Arc::clone(&self);
                    self.attempts.spawn(bus.attempt(Arc::clone(&queue), delivery, slot));
                    continue;
                }
                Next::Crowded => {
                    tokio::select! {
                        () = self.stop.cancelled() => return,
                        slot = self.slots.turn() => waited = slot,
                    }
                    continue;
                }
                Next::Load { is_retry, held } => {
                    self.load(&queue, is_retry, held).await;
                    continue;
                }
                Next::Wait(until) => until.map(|until| self.time.instant(until)),
                Next::Pace(until) => Some(until),
                Next::End => return,
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
        warn!(%error, "cannot read what is due");
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(PAUSE) => queue.load_again(is_retry),
        }
    }

    /// Reads what is due: one queue after the other, so that each knows how much room the others have left.
    async fn read(
        &self,
        queue: &DeliveryQueue,
        is_retry: bool,
        held: HashSet<i64>,
    ) -> store::Result<()> {
        let _turn = self.reading.lock().await;
        if self.stop.is_cancelled() {
            return Ok(());
        }
        let wanted = Wanted {
            subscription: queue.id,
            is_retry,
            now: self.time.now(),
            held,
            most: CHUNK,
            // Without any room it is one delivery at a time, so that no target waits for others.
            bytes: self.load.room().min(CHUNK_BYTES),
        };
        queue.loaded(self.outbox.due(wanted).await?, is_retry, &self.load);
        Ok(())
    }

    /// Makes one attempt after the other, as long as the queue has another in hand.
    async fn attempt(
        self: Arc<Self>,
        queue: Arc<DeliveryQueue>,
        mut delivery: Delivery,
        mut slot: Slot,
    ) {
        loop {
            let is_retry = delivery.is_retry;
            self.attempt_and_copy(&queue, delivery).await;
            drop(slot);
            queue.finished(is_retry, self.after(self.probe));
            let next = match self.stop.is_cancelled() {
                true => None,
                false => queue.another(self.time.now(), &self.slots, &self.load),
            };
            match next {
                Some(next) => (delivery, slot) = next,
                None => return,
            }
        }
    }

    /// Makes one attempt, and a copy of it if that is to go wrong on purpose.
    async fn attempt_and_copy(&self, queue: &Arc<DeliveryQueue>, delivery: Delivery) {
        let subscription = queue.subscription();
        let faults = &subscription.config.faults;
        if !faults.delay.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(faults.delay) => {}
                // It is still due, and made at the next start.
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
        delivery: Delivery,
    ) {
        let fault = fault(&subscription.config.faults);
        let started_at = self.time.now();
        let sent = self.sender.send(subscription, &delivery.event, fault).await;
        let now = self.time.now();
        let (outcome, error) = self.outcome(subscription, &delivery, &sent, now);
        let (failures, since, end) = queue.judge(&outcome, now);
        self.stand_after(queue, &outcome, end, failures, now).await;
        if outcome != Outcome::Delivered {
            info!(
                subscription = subscription.name,
                event.id = delivery.event.is.event_id,
                attempt = delivery.attempts + 1,
                status = sent.status(),
                error = error.as_deref(),
                "not delivered"
            );
        }
        let attempt = Attempt {
            subscription: queue.id,
            delivery,
            outcome,
            started_at,
            ended_at: now,
            sent,
            error,
            fault: fault.map(Fault::as_str),
            failures: Some((failures, since)),
        };
        self.record(queue, attempt).await;
    }

    /// The same message once more, whose answer changes nothing.
    async fn attempt_copy(
        &self,
        queue: &Arc<DeliveryQueue>,
        subscription: &Subscription,
        delivery: Delivery,
    ) {
        let started_at = self.time.now();
        let sent = self.sender.send(subscription, &delivery.event, None).await;
        let attempt = Attempt {
            subscription: queue.id,
            delivery,
            outcome: Outcome::Copy,
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
        delivery: &Delivery,
        sent: &Sent,
        now: Timestamp,
    ) -> (Outcome, Option<String>) {
        let persona = &subscription.persona;
        let verdict = sent.verdict(persona.abort, contract::time::now());
        let outcome = match persona.next(delivery.run_attempts + 1, verdict, fastrand::f64()) {
            Step::Done => return (Outcome::Delivered, None),
            Step::Again(delay) => {
                let delay = TimeDelta::from_std(delay).unwrap_or(TimeDelta::MAX);
                Outcome::Again(later(now, delay))
            }
            Step::GiveUp => Outcome::GivenUp,
            Step::Gone => Outcome::Gone,
        };
        let answered = || sent.status().map(|status| format!("answered {status}"));
        (outcome, sent.error().or_else(answered))
    }

    /// Leaves a target alone that wants no more or has failed for too long, and takes up one that is well again.
    async fn stand_after(
        &self,
        queue: &Arc<DeliveryQueue>,
        outcome: &Outcome,
        end: Option<End>,
        failures: u64,
        now: Timestamp,
    ) {
        let (standing, why) = match (outcome, end) {
            (Outcome::Gone, _) => {
                (Standing::Ended, "its target answered 410: it wants no more".to_owned())
            }
            (_, Some(End::Dropped)) => {
                (Standing::Ended, format!("dropped after {failures} failed attempts in a row"))
            }
            (_, Some(End::Paused)) => {
                (Standing::Failing, format!("paused after {failures} failed attempts in a row"))
            }
            (Outcome::Delivered, None) if queue.health().standing == Standing::Failing => {
                info!(subscription = queue.subscription().name, "its target is well again");
                return self.stand(queue, Health::new(Standing::Active, None, now)).await;
            }
            _ => return,
        };
        warn!(subscription = queue.subscription().name, why, "no longer sent to");
        let known = queue.health();
        let health = Health { standing, why: Some(why), since: now, ..known };
        self.stand(queue, health).await;
    }

    async fn record(&self, queue: &Arc<DeliveryQueue>, attempt: Attempt) {
        let record = Record { queue: Arc::clone(queue), attempt };
        // Fails only when the bus has stopped, and then the delivery is made again.
        let _ = self.records.send(record).await;
    }

    /// When so much of the bus's time has passed.
    pub(super) fn after(&self, time: Duration) -> Timestamp {
        later(self.time.now(), TimeDelta::from_std(time).unwrap_or(TimeDelta::MAX))
    }
}

fn happens(share: f64) -> bool {
    share > 0.0 && fastrand::f64() < share
}

/// What goes wrong with this attempt on purpose; the first of several.
fn fault(faults: &FaultsConfig) -> Option<Fault> {
    let shares = [
        (Fault::Drop, faults.drop),
        (Fault::Truncate, faults.truncate),
        (Fault::Tamper, faults.tamper),
    ];
    shares.into_iter().find(|(_, share)| happens(*share)).map(|(fault, _)| fault)
}
