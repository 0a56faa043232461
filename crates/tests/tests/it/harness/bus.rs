//! A bus within this process, and what its tests ask of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bus::{
    AttemptFilter, AttemptLogEntry, Bus, BusOptions, EventTypes, Publication, PublishReceipt,
    TARGETS,
};
use contract::time::{Clock, system_clock};
use serde_json::{Value, json};
use settings::{BusConfig, SourceConfig};
use tempfile::TempDir;

use crate::harness::deliveries::PATIENCE;

/// An outbox, and one bus on it after the other.
pub(crate) struct Home {
    pub(crate) folder: Arc<TempDir>,
    pub(crate) speed: f64,
    pub(crate) is_open: bool,
    pub(crate) targets: usize,
    pub(crate) clock: Clock,
    /// How long a stop waits for requests.
    pub(crate) drain: Duration,
    /// The configured sources.
    pub(crate) sources: BTreeMap<String, SourceConfig>,
}

impl Home {
    pub(crate) fn new() -> Self {
        Home {
            folder: Arc::new(tempfile::tempdir().unwrap()),
            speed: 1.0,
            is_open: true,
            targets: TARGETS,
            clock: system_clock(),
            drain: Duration::from_millis(200),
            sources: BTreeMap::new(),
        }
    }

    /// A bus whose schedule runs so much faster.
    pub(crate) fn fast(speed: f64) -> Self {
        Home { speed, ..Home::new() }
    }

    pub(crate) fn config(&self) -> BusConfig {
        let outbox = format!("sqlite:{}", self.folder.path().join("outbox.db").display());
        BusConfig { outbox, ..BusConfig::default() }
    }

    pub(crate) async fn start(&self) -> Arc<Bus> {
        self.start_with(&self.config()).await
    }

    pub(crate) async fn start_with(&self, config: &BusConfig) -> Arc<Bus> {
        self.try_start_with(config).await.unwrap()
    }

    /// The folder is there as long as the bus is: its clock holds it.
    pub(crate) async fn try_start_with(&self, config: &BusConfig) -> anyhow::Result<Arc<Bus>> {
        let (folder, clock) = (Arc::clone(&self.folder), Arc::clone(&self.clock));
        let clock: Clock = Arc::new(move || {
            let _ = &folder;
            clock()
        });
        let options = BusOptions {
            speed: self.speed,
            faults: None,
            is_open: self.is_open,
            targets: self.targets,
            clock,
            drain: self.drain,
            sources: Arc::new(self.sources.clone()),
        };
        Bus::open(config, EventTypes::of(&fixture::table()), options).await
    }
}

pub(crate) fn publication(json: Value) -> Publication {
    serde_json::from_str(&json.to_string()).unwrap()
}

pub(crate) async fn publish(bus: &Bus, json: Value) -> PublishReceipt {
    bus.publish(vec![publication(json)]).await.unwrap().remove(0)
}

/// So many events of one's own, `e-0`, `e-1`, …
pub(crate) async fn publish_many(bus: &Bus, count: usize) {
    let events = (0..count)
        .map(|n| publication(json!({"type": "Own", "id": format!("e-{n}"), "data": {"n": n}})));
    bus.publish(events.collect()).await.unwrap();
}

/// The attempts at a subscription, oldest first, once there are so many.
pub(crate) async fn attempts(bus: &Bus, subscription: &str, count: usize) -> Vec<AttemptLogEntry> {
    let filter = AttemptFilter {
        subscription: Some(subscription.into()),
        limit: Some(1000),
        ..AttemptFilter::default()
    };
    let enough = async {
        loop {
            let mut attempts = bus.attempts(filter.clone()).await.unwrap();
            if attempts.len() >= count {
                attempts.reverse();
                return attempts;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, enough).await.expect("so many attempts are made")
}

pub(crate) fn outcomes(attempts: &[AttemptLogEntry]) -> Vec<&str> {
    attempts.iter().map(|attempt| attempt.outcome).collect()
}
