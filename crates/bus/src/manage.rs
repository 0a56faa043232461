//! The management operations of the bus: subscriptions, logs, and resending.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use contract::event::without_value;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use settings::SubscriptionConfig;
use utoipa::{IntoParams, ToSchema};

use super::outbox::{
    AttemptDetail, AttemptFilter, AttemptLogEntry, EventDetail, EventFilter, EventLogEntry,
    Preview, ResendSelection, is_outcome, page, page_limit,
};
use super::publication::{Publication, PublishReceipt};
use super::subscription::{Subscription, SubscriptionView};
use super::time::later;
use super::{Bus, BusError};
use crate::delivery_queue::DeliveryQueue;
use crate::health::{Status, SubscriptionHealth};
use client::guard::TargetRefused;

type Result<T> = std::result::Result<T, BusError>;

/// A subscription and its health.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Overview {
    /// The definition.
    pub subscription: SubscriptionView,
    /// The health.
    pub health: SubscriptionHealth,
    /// The number of waiting deliveries.
    pub waiting: u64,
    /// True if the subscription is declared in the settings file, and can be changed only there.
    pub is_declared: bool,
}

/// A filter of subscriptions. Every given condition must hold.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SubscriptionFilter {
    /// Text in the name.
    pub name: Option<String>,
    /// The status.
    #[serde(rename = "standing")]
    #[param(inline)]
    pub status: Option<Status>,
    /// The name after which the page begins: the cursor for the next page.
    pub after: Option<String>,
    /// The largest number of entries, up to 1000.
    #[serde(default, deserialize_with = "page_limit")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<usize>,
}

impl Bus {
    /// Lists subscriptions, by name.
    ///
    /// # Errors
    /// [`BusError::Unavailable`] if the store cannot be read.
    pub async fn subscriptions(&self, filter: SubscriptionFilter) -> Result<Vec<Overview>> {
        let SubscriptionFilter { name, status, after, limit } = filter;
        let fits = |queue: &DeliveryQueue| {
            name.as_ref().is_none_or(|part| queue.subscription().name.contains(part))
                && status.is_none_or(|status| queue.health().status == status)
        };
        self.overviews(self.registry.page(after.as_deref(), fits, page(limit))).await
    }

    /// Returns one subscription.
    ///
    /// # Errors
    /// [`BusError::Missing`] if no subscription has this name.
    pub async fn subscription(&self, name: &str) -> Result<Overview> {
        let found = self.overviews(vec![self.queue(name)?]).await?;
        found.into_iter().next().ok_or_else(|| missing(name))
    }

    async fn overviews(&self, queues: Vec<Arc<DeliveryQueue>>) -> Result<Vec<Overview>> {
        let waiting = self.outbox.waiting(queues.iter().map(|queue| queue.id).collect()).await?;
        let overview = |(queue, waiting): (Arc<DeliveryQueue>, u64)| Overview {
            subscription: queue.subscription().view(),
            health: queue.health(),
            waiting,
            is_declared: queue.is_declared,
        };
        Ok(queues.into_iter().zip(waiting).map(overview).collect())
    }

    /// Creates a subscription from the JSON of a [`SubscriptionConfig`].
    ///
    /// # Errors
    /// [`BusError::Invalid`] with the invalid field, [`BusError::Conflict`] if the name is taken.
    pub async fn create(self: &Arc<Self>, name: &str, definition: &Value) -> Result<Overview> {
        let taken = || BusError::Conflict(format!("there is a subscription {name} already"));
        if self.registry.named(name).is_some() {
            return Err(taken());
        }
        let text = definition.to_string();
        let subscription = self.checked(name, &text).await?;
        let now = self.time.now();
        let id = self.outbox.make(name.to_owned(), text, now).await?.ok_or_else(taken)?;
        let health = SubscriptionHealth::new(Status::Active, None, now);
        self.start(DeliveryQueue::new(id, subscription, health, false, false));
        self.subscription(name).await
    }

    /// Changes the fields in the patch; a field that is null there is reset to its default.
    ///
    /// # Errors
    /// As [`create`](Self::create), and [`BusError::Conflict`] for one that is declared in the settings.
    pub async fn change(&self, name: &str, patch: &Value) -> Result<Overview> {
        let _guard = self.change_lock.lock().await;
        self.change_locked(name, patch).await
    }

    async fn change_locked(&self, name: &str, patch: &Value) -> Result<Overview> {
        let queue = self.editable(name)?;
        let text = self.outbox.definition(queue.id).await?.unwrap_or_default();
        let mut definition: Value = serde_json::from_str(&text).unwrap_or_else(|_| json!({}));
        merge(&mut definition, patch);
        let text = definition.to_string();
        let subscription = self.checked(name, &text).await?;
        self.outbox.redefine(queue.id, text).await?;
        queue.change(subscription);
        self.registry.changed();
        self.subscription(name).await
    }

    /// Replaces the signing key; the present key signs too for the time of `overlap`.
    ///
    /// # Errors
    /// As [`change`](Self::change).
    pub async fn rotate(&self, name: &str, key: &str, overlap: Duration) -> Result<Overview> {
        use secrecy::ExposeSecret as _;
        let _guard = self.change_lock.lock().await;
        let queue = self.editable(name)?;
        let old = queue.subscription().config.signing_key.clone();
        let old = old.ok_or_else(|| BusError::Invalid(format!("{name} is not signed yet")))?;
        // The receiver's clock counts, not the schedule's.
        let overlap = TimeDelta::from_std(overlap).unwrap_or(TimeDelta::MAX);
        let until = later(contract::time::now(), overlap);
        let patch = json!({
            "signing_key": key, "old_signing_key": old.expose_secret(), "old_signing_key_until": until,
        });
        self.change_locked(name, &patch).await
    }

    /// Removes a subscription and cancels its waiting deliveries.
    ///
    /// # Errors
    /// [`BusError::Missing`], or [`BusError::Conflict`] for one that is declared in the settings.
    pub async fn remove(&self, name: &str) -> Result<()> {
        let _guard = self.change_lock.lock().await;
        let queue = self.editable(name)?;
        let health = SubscriptionHealth::new(Status::Removed, None, self.time.now());
        // Nothing more may be queued for it before its waiting deliveries are cancelled.
        self.registry.remove(queue.id);
        if let Err(error) = self.outbox.save_health(vec![queue.id], health.clone()).await {
            self.registry.add(queue);
            return Err(error.into());
        }
        queue.set_health(health, None);
        Ok(())
    }

    /// Pauses a subscription: its events wait.
    ///
    /// # Errors
    /// [`BusError::Missing`] if no subscription has this name.
    pub async fn pause(&self, name: &str, why: Option<String>) -> Result<Overview> {
        let queue = self.queue(name)?;
        let why = why.unwrap_or_else(|| "paused by hand".into());
        let health = SubscriptionHealth {
            status: Status::Paused,
            why: Some(why),
            since: self.time.now(),
            ..queue.health()
        };
        self.save_health(&queue, health).await?;
        self.subscription(name).await
    }

    /// Resumes a subscription, whatever paused it.
    ///
    /// # Errors
    /// [`BusError::Missing`] if no subscription has this name.
    pub async fn resume(&self, name: &str) -> Result<Overview> {
        let queue = self.queue(name)?;
        let health = SubscriptionHealth::new(Status::Active, None, self.time.now());
        self.save_health(&queue, health).await?;
        queue.notify();
        self.subscription(name).await
    }

    /// Tries a target that was paused for its failures with one delivery, and resumes the subscription if it succeeds.
    ///
    /// # Errors
    /// [`BusError::Missing`], or [`BusError::Conflict`] if it was not paused for its failures.
    pub async fn try_now(&self, name: &str) -> Result<Overview> {
        let queue = self.queue(name)?;
        if queue.health().status != Status::Failing {
            return Err(BusError::Conflict(format!("{name} is not paused for its failures")));
        }
        queue.probe();
        self.subscription(name).await
    }

    /// Publishes an event for this subscription alone, even if the subscription does not match it.
    ///
    /// # Errors
    /// [`BusError::Missing`], or as [`publish`](Self::publish).
    pub async fn test(&self, name: &str, publication: Publication) -> Result<PublishReceipt> {
        let queue = self.queue(name)?;
        let draft = self.draft(1, publication, self.time.now())?;
        let receipts = self.publish_to(vec![(draft, Arc::new([queue.recipient()]))]).await?;
        receipts
            .into_iter()
            .next()
            .ok_or_else(|| BusError::Unavailable("nothing was stored".into()))
    }

    /// Lists the event log, newest first.
    ///
    /// # Errors
    /// [`BusError::Unavailable`] if the store cannot be read.
    pub async fn events(&self, filter: EventFilter) -> Result<Vec<EventLogEntry>> {
        Ok(self.outbox.events(filter).await?)
    }

    /// Returns one event with its deliveries and attempts.
    ///
    /// # Errors
    /// [`BusError::Missing`] if no event has this id, or it was pruned.
    pub async fn event(&self, id: &str) -> Result<EventDetail> {
        let found = self.outbox.event(id.to_owned()).await?;
        found.ok_or_else(|| BusError::Missing(format!("event {id}")))
    }

    /// Lists the attempt log, newest first.
    ///
    /// # Errors
    /// [`BusError::Invalid`] for an outcome that is none, [`BusError::Unavailable`] if the store cannot be read.
    pub async fn attempts(&self, filter: AttemptFilter) -> Result<Vec<AttemptLogEntry>> {
        if filter.outcome.as_deref().is_some_and(|outcome| !is_outcome(outcome)) {
            return Err(BusError::Invalid("outcome: there is none of this name".into()));
        }
        Ok(self.outbox.attempts(filter).await?)
    }

    /// Returns one attempt with its request and response.
    ///
    /// # Errors
    /// [`BusError::Missing`] if no attempt has this number, or it was pruned.
    pub async fn attempt_log(&self, id: i64) -> Result<AttemptDetail> {
        let found = self.outbox.attempt(id).await?;
        found.ok_or_else(|| BusError::Missing(format!("attempt {id}")))
    }

    /// Previews [`resend`](Self::resend).
    ///
    /// # Errors
    /// [`BusError::Invalid`] for an invalid rate.
    pub async fn preview(&self, selection: ResendSelection, rate: Option<f64>) -> Result<Preview> {
        check_rate(rate)?;
        Ok(self.outbox.preview(selection, rate).await?)
    }

    /// Sends ended deliveries again, at a rate per second of the bus's time; all at once without a rate.
    ///
    /// # Errors
    /// [`BusError::Invalid`] for an invalid rate.
    pub async fn resend(&self, selection: ResendSelection, rate: Option<f64>) -> Result<u64> {
        check_rate(rate)?;
        let (outbox, registry) = (Arc::clone(&self.outbox), Arc::clone(&self.registry));
        let now = self.time.now();
        // A task of its own: a caller that is dropped must not keep what is committed from its queues.
        let resending = tokio::spawn(async move {
            let notify = |due: &_| registry.notify(due);
            let resent = outbox.resend(selection, rate, now, notify).await;
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

    /// Sets the health of a subscription, at once and durably.
    pub(super) async fn set_health(&self, queue: &DeliveryQueue, health: SubscriptionHealth) {
        if let Err(error) = self.save_health(queue, health).await {
            tracing::warn!(%error, "the status of a subscription is lost at the next start");
        }
    }

    async fn save_health(&self, queue: &DeliveryQueue, health: SubscriptionHealth) -> Result<()> {
        let probe = (health.status == Status::Failing).then(|| self.after(self.probe));
        queue.set_health(health.clone(), probe);
        self.registry.changed();
        Ok(self.outbox.save_health(vec![queue.id], health).await?)
    }

    fn queue(&self, name: &str) -> Result<Arc<DeliveryQueue>> {
        self.registry.named(name).ok_or_else(|| missing(name))
    }

    /// A subscription that was created through the API, and may be changed through it.
    fn editable(&self, name: &str) -> Result<Arc<DeliveryQueue>> {
        let queue = self.queue(name)?;
        if queue.is_declared {
            return Err(BusError::Conflict(format!(
                "{name} is declared in the settings; change it there, in [bus.subscriptions.{name}]"
            )));
        }
        Ok(queue)
    }

    async fn checked(&self, name: &str, text: &str) -> Result<Subscription> {
        let config = parsed(text)?;
        if config.bearer_token_file.is_some() || config.signing_key_file.is_some() {
            let why = "bearer_token_file and signing_key_file are for the settings only; give the key itself";
            return Err(BusError::Invalid(why.into()));
        }
        let invalid = |error: anyhow::Error| BusError::Invalid(format!("{error:#}"));
        let subscription = self.prepare(name, config).map_err(invalid)?;
        let refused = |refused: TargetRefused| BusError::Invalid(format!("target: {refused}"));
        self.admit(&subscription).await.map_err(refused)?;
        Ok(subscription)
    }
}

/// Parses a stored definition. The message of a mismatch does not repeat the value, which may be a secret.
pub(super) fn parsed(text: &str) -> Result<SubscriptionConfig> {
    let mut json = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let message = without_value(&error.inner().to_string());
        let message = message.split(" at line ").next().unwrap_or_default().to_owned();
        BusError::Invalid(match error.path().to_string().as_str() {
            "." => message,
            path => format!("{path}: {message}"),
        })
    })
}

/// JSON merge patch (RFC 7396): members of the patch replace those of the value, and null removes them.
fn merge(value: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let Value::Object(object) = value else { return };
    for (key, change) in patch {
        if change.is_null() {
            object.remove(key);
        } else {
            merge(object.entry(key.clone()).or_insert(Value::Null), change);
        }
    }
}

fn check_rate(rate: Option<f64>) -> Result<()> {
    match rate {
        Some(rate) if !(1e-3..=1e6).contains(&rate) => {
            Err(BusError::Invalid("rate: a number of deliveries per second above 0".into()))
        }
        _ => Ok(()),
    }
}

fn missing(name: &str) -> BusError {
    BusError::Missing(format!("subscription {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_replaces_what_it_names_and_takes_away_what_is_null() {
        let mut value = json!({"a": 1, "b": {"c": 2, "d": 3}});
        merge(&mut value, &json!({"a": null, "b": {"c": 4}, "e": [5]}));
        assert_eq!(value, json!({"b": {"c": 4, "d": 3}, "e": [5]}));
    }

    #[test]
    fn what_does_not_fit_is_named_without_its_value() {
        let error = parsed(r#"{"events":"*","target":"x","signing_key":["k3y"]}"#).unwrap_err();
        assert!(!error.to_string().contains("k3y"), "{error}");
        let error = parsed(r#"{"bearer":"k3y"}"#).unwrap_err().to_string();
        assert!(error.contains("bearer") && !error.contains("k3y"), "{error}");
    }
}
