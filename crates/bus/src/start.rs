//! What a bus begins with: the subscriptions of the settings, and those that were made before.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use settings::{BusConfig, SubscriptionConfig};
use tokio::time::Instant;
use tracing::warn;

use super::guard::Refused;
use super::subscription::Subscription;
use super::{Bus, manage};
use crate::delivery_queue::DeliveryQueue;
use crate::health::{Health, Standing};

/// How many targets' names are looked up at once at the start, and how long that may take altogether.
const LOOKUPS: usize = 64;
const RESOLVING: Duration = Duration::from_secs(10);

impl Bus {
    /// Makes the queues of the subscriptions that are declared, and of those that were made before.
    pub(super) async fn take_up(self: &Arc<Self>, config: &BusConfig) -> anyhow::Result<()> {
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
                Ok(subscription) => self.start(DeliveryQueue::new(
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

    pub(super) fn start(self: &Arc<Self>, queue: Arc<DeliveryQueue>) {
        self.registry.add(Arc::clone(&queue));
        self.workers.spawn(Arc::clone(self).work(queue));
    }

    /// The subscription with the faults of this run.
    pub(super) fn ready(
        &self,
        name: &str,
        mut config: SubscriptionConfig,
    ) -> anyhow::Result<Subscription> {
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
    pub(super) async fn admit(&self, subscription: &Subscription) -> Result<(), Refused> {
        let url = subscription.url("Event").map_err(|_| Refused::NoTarget)?;
        match subscription.is_exposed(&url) {
            true => self.guard.in_plain_text().check(&url).await,
            false => self.guard.check(&url).await,
        }
    }
}
