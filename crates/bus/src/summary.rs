//! Summaries for the Admin pages: subscriptions by their health, retry schedules, and resends of single deliveries.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::TimeDelta;
use contract::time::Timestamp;

use crate::delivery_queue::DeliveryQueue;
use crate::health::{Status, SubscriptionHealth};
use crate::outbox::SubscriptionTally;
use crate::retry_policy::RetryPolicy;
use crate::subscription::{Subscription, SubscriptionView};
use crate::time::later;
use crate::{Bus, BusError};

/// The health of a subscription in one word, the sickest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Condition {
    /// Its latest attempts have failed, or it was paused or ended for that.
    Failing,
    /// Paused by hand, or disabled.
    Paused,
    /// Events are sent.
    Active,
}

impl Condition {
    pub(crate) const ALL: [Condition; 3] =
        [Condition::Failing, Condition::Paused, Condition::Active];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Condition::Failing => "failing",
            Condition::Paused => "paused",
            Condition::Active => "active",
        }
    }

    fn of(health: &SubscriptionHealth, is_enabled: bool) -> Self {
        match health.status {
            Status::Failing | Status::Ended => Condition::Failing,
            Status::Paused | Status::Removed => Condition::Paused,
            Status::Active if !is_enabled => Condition::Paused,
            Status::Active if health.failures > 0 => Condition::Failing,
            Status::Active => Condition::Active,
        }
    }
}

/// A subscription, its health and its figures.
#[derive(Debug, Clone)]
pub(crate) struct Summary {
    pub(crate) view: SubscriptionView,
    pub(crate) health: SubscriptionHealth,
    pub(crate) condition: Condition,
    pub(crate) tally: SubscriptionTally,
    pub(crate) is_declared: bool,
}

/// A page of subscriptions, the sickest first.
#[derive(Debug)]
pub(crate) struct SummaryPage {
    pub(crate) summaries: Vec<Summary>,
    /// The number of subscriptions that match, on all pages.
    pub(crate) matching: usize,
    /// The number of all subscriptions.
    pub(crate) all: usize,
}

impl Bus {
    /// The subscriptions with this text in their name or target, failing ones first, then paused ones, then the rest;
    /// each by name.
    pub(crate) async fn summaries(
        &self,
        text: &str,
        condition: Option<Condition>,
        first: usize,
        most: usize,
    ) -> Result<SummaryPage, BusError> {
        let text = text.to_ascii_lowercase();
        let queues = self.registry.page(None, |_| true, usize::MAX);
        let all = queues.len();
        let mut matching: Vec<(Condition, Arc<DeliveryQueue>)> = queues
            .into_iter()
            .filter_map(|queue| {
                let subscription = queue.subscription();
                let its = Condition::of(&queue.health(), subscription.config.enabled);
                let has_text = |field: &str| field.to_ascii_lowercase().contains(&text);
                let fits = condition.is_none_or(|condition| condition == its)
                    && (has_text(&subscription.name) || has_text(&subscription.config.target));
                fits.then_some((its, queue))
            })
            .collect();
        // The order by name stays.
        matching.sort_by_key(|(condition, _)| *condition);
        let count = matching.len();
        let page = matching.into_iter().skip(first).take(most).map(|(_, queue)| queue).collect();
        Ok(SummaryPage { summaries: self.summarized(page).await?, matching: count, all })
    }

    /// One subscription.
    pub(crate) async fn summary(&self, name: &str) -> Result<Summary, BusError> {
        let missing = || BusError::Missing(format!("subscription {name}"));
        let queue = self.registry.named(name).ok_or_else(missing)?;
        self.summarized(vec![queue]).await?.pop().ok_or_else(missing)
    }

    async fn summarized(&self, queues: Vec<Arc<DeliveryQueue>>) -> Result<Vec<Summary>, BusError> {
        let since = self.now() - TimeDelta::hours(24);
        let tallies =
            self.outbox.tallies(queues.iter().map(|queue| queue.id).collect(), since).await?;
        let summary = |(queue, tally): (Arc<DeliveryQueue>, SubscriptionTally)| {
            let (subscription, health) = (queue.subscription(), queue.health());
            let condition = Condition::of(&health, subscription.config.enabled);
            Summary {
                view: subscription.view(),
                health,
                condition,
                tally,
                is_declared: queue.is_declared,
            }
        };
        Ok(queues.into_iter().zip(tallies).map(summary).collect())
    }

    /// The names of all subscriptions.
    pub(crate) fn subscription_names(&self) -> Vec<String> {
        let queues = self.registry.page(None, |_| true, usize::MAX);
        queues.iter().map(|queue| queue.subscription().name.clone()).collect()
    }

    /// A running subscription and its health.
    pub(crate) fn running(&self, name: &str) -> Option<(Arc<Subscription>, SubscriptionHealth)> {
        let queue = self.registry.named(name)?;
        Some((queue.subscription(), queue.health()))
    }

    /// The events of the catalog that a subscription matches.
    pub(crate) fn matched_types(&self, name: &str) -> Vec<&'static str> {
        let Some((subscription, _)) = self.running(name) else { return Vec::new() };
        let matches = |name: &&str| subscription.matches(&name.to_ascii_lowercase());
        self.types().iter().map(|kind| kind.name).filter(matches).collect()
    }

    /// Sends these deliveries again, those that have ended; returns their number.
    ///
    /// It is a task of its own: a caller that is dropped must not keep what is committed from its queues.
    pub(crate) async fn resend_deliveries(&self, deliveries: Vec<i64>) -> Result<u64, BusError> {
        let (outbox, registry) = (Arc::clone(&self.outbox), Arc::clone(&self.registry));
        let now = self.now();
        let resending = tokio::spawn(async move {
            let notify = |due: &BTreeSet<i64>| registry.notify(due);
            let resent = outbox.resend_deliveries(deliveries, None, now, notify).await;
            if resent.is_err() {
                registry.notify_all();
            }
            resent
        });
        match resending.await {
            Ok(resent) => Ok(resent?),
            Err(error) => Err(BusError::Unavailable(format!("sending again has ended: {error}"))),
        }
    }
}

impl RetryPolicy {
    /// The times at which a waiting delivery is tried, without jitter: at `due`, and then as long as it fails.
    pub(crate) fn times(&self, run_attempts: u32, due: Timestamp) -> Vec<Timestamp> {
        let made = usize::try_from(run_attempts).unwrap_or(usize::MAX);
        let further = self.delays.iter().skip(made).scan(due, |at, delay| {
            *at = later(*at, TimeDelta::from_std(*delay).unwrap_or(TimeDelta::MAX));
            Some(*at)
        });
        std::iter::once(due).chain(further).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_failed_last_is_failing_although_it_is_sent_to() {
        let at = Timestamp::UNIX_EPOCH;
        let health = |status, failures| SubscriptionHealth {
            failures,
            ..SubscriptionHealth::new(status, None, at)
        };
        for (status, failures, is_enabled, expected) in [
            (Status::Active, 0, true, Condition::Active),
            (Status::Active, 12, true, Condition::Failing),
            (Status::Active, 0, false, Condition::Paused),
            (Status::Paused, 12, true, Condition::Paused),
            (Status::Failing, 0, true, Condition::Failing),
            (Status::Ended, 0, true, Condition::Failing),
        ] {
            assert_eq!(
                Condition::of(&health(status, failures), is_enabled),
                expected,
                "{status:?} {failures}"
            );
        }
    }

    #[test]
    fn the_times_to_come_are_those_of_the_delays_that_are_left() {
        let policy: RetryPolicy = "1s, 2s, 4s".parse().unwrap();
        let due = Timestamp::UNIX_EPOCH;
        let seconds =
            |made| policy.times(made, due).iter().map(|at| at.timestamp()).collect::<Vec<_>>();
        assert_eq!(seconds(0), [0, 1, 3, 7]);
        assert_eq!(seconds(2), [0, 4]);
        assert_eq!(seconds(9), [0]);
    }
}
