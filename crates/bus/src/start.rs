//! Start of the bus: restores the subscriptions of the settings and of the outbox.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use settings::{BusConfig, SubscriptionConfig};
use tokio::time::Instant;
use tracing::warn;

use super::subscription::Subscription;
use super::{Bus, manage};
use crate::delivery_queue::DeliveryQueue;
use crate::health::{Status, SubscriptionHealth};
use client::guard::TargetRefused;

/// The largest number of target names that are resolved at once at the start, and the longest time for all of them.
const LOOKUPS: usize = 64;
const RESOLVING: Duration = Duration::from_secs(10);

impl Bus {
    /// Creates the queues of the declared subscriptions, and of those in the outbox.
    pub(super) async fn restore_subscriptions(
        self: &Arc<Self>,
        config: &BusConfig,
    ) -> anyhow::Result<()> {
        let now = self.time.now();
        let mut declared = self.declared(config).await?;
        self.outbox.declare(declared.keys().cloned().collect(), now).await?;
        let with_due = self.outbox.with_due().await?;
        let mut undeclared = Vec::new();
        for row in self.outbox.subscriptions().await? {
            let declared = declared.remove(&row.name);
            let is_declared = declared.is_some();
            let subscription = match (declared, &row.definition) {
                (Some(declared), _) => Ok(declared),
                (None, Some(text)) => manage::parsed(text)
                    .map_err(anyhow::Error::from)
                    .and_then(|definition| self.prepare(&row.name, definition)),
                (None, None) => {
                    undeclared.push(row.id);
                    continue;
                }
            };
            match subscription {
                Ok(subscription) => self.start(DeliveryQueue::new(
                    row.id,
                    subscription,
                    row.health,
                    is_declared,
                    with_due.contains(&row.id),
                )),
                Err(error) => {
                    warn!(
                        subscription = row.name,
                        error = format!("{error:#}"),
                        "invalid subscription"
                    );
                }
            }
        }
        let why = "no longer in the settings".to_owned();
        Ok(self
            .outbox
            .save_health(undeclared, SubscriptionHealth::new(Status::Removed, Some(why), now))
            .await?)
    }

    pub(super) fn start(self: &Arc<Self>, queue: Arc<DeliveryQueue>) {
        self.registry.add(Arc::clone(&queue));
        self.workers.spawn(Arc::clone(self).work(queue));
    }

    /// The subscription with the faults of this run.
    pub(super) fn prepare(
        &self,
        name: &str,
        mut config: SubscriptionConfig,
    ) -> anyhow::Result<Subscription> {
        if let Some(faults) = &self.faults {
            config.faults = faults.clone();
        }
        Subscription::new(name, config, &self.sources)
    }

    /// The subscriptions of the settings, by name.
    async fn declared(&self, config: &BusConfig) -> anyhow::Result<HashMap<String, Subscription>> {
        let declared = config.subscriptions.clone();
        let until = Instant::now() + RESOLVING;
        let check_declared = |(name, config)| self.check_declared(name, config, until);
        stream::iter(declared).map(check_declared).buffered(LOOKUPS).try_collect().await
    }

    /// Checks a subscription of the settings. A target that cannot be resolved now may be later.
    async fn check_declared(
        &self,
        name: String,
        config: SubscriptionConfig,
        until: Instant,
    ) -> anyhow::Result<(String, Subscription)> {
        let section = || format!("[bus.subscriptions.{name}]");
        let subscription = self.prepare(&name, config).with_context(section)?;
        match tokio::time::timeout_at(until, self.admit(&subscription)).await {
            Ok(Err(refused @ TargetRefused::Unresolved { .. })) => {
                warn!(subscription = name, error = %refused, "the target cannot be resolved now");
            }
            Ok(admitted) => admitted.context("target").with_context(section)?,
            Err(_) => warn!(subscription = name, "the target is not resolved in time"),
        }
        Ok((name, subscription))
    }

    /// Checks that the guard admits the target of a subscription.
    pub(super) async fn admit(&self, subscription: &Subscription) -> Result<(), TargetRefused> {
        let url = subscription.url("Event").map_err(|_| TargetRefused::InvalidTarget)?;
        match subscription.is_exposed(&url) {
            true => self.guard.in_plain_text().check(&url).await,
            false => self.guard.check(&url).await,
        }
    }
}
