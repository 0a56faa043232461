//! Last use of each accepted key: noted in memory, saved to the inbox periodically, published as a metric.

use std::collections::BTreeMap;
use std::sync::Arc;

use contract::time::Timestamp;
use inbox::{KeyUse, KeyUses, Result};
use signature::Fingerprint;
use source::Source;
use telemetry::Metrics;
use tracing::warn;

/// Keys of the running receiver, with their times in the inbox.
pub(super) struct KeyTimes {
    sources: Vec<Arc<Source>>,
    stored: StoredTimes,
}

/// Times by source and fingerprint; absent if the key was never used.
type StoredTimes = BTreeMap<(String, String), Timestamp>;

impl KeyTimes {
    /// Loads the times of earlier runs from the inbox.
    pub(super) async fn load(sources: Vec<Arc<Source>>, inbox: &dyn KeyUses) -> Result<Self> {
        Ok(KeyTimes { sources, stored: times(inbox.keys().await?).collect() })
    }

    /// Saves the uses since the last call; after a failure the next call saves them.
    pub(super) async fn save(&mut self, inbox: &dyn KeyUses, metrics: &Metrics) {
        let unsaved = self.unsaved();
        for key in &unsaved {
            metrics.key(&key.source, &key.key, Some(key.last_used));
        }
        if unsaved.is_empty() {
            return;
        }
        match inbox.note_keys(unsaved.clone()).await {
            Ok(()) => self.stored.extend(times(unsaved)),
            Err(error) => warn!(%error, "cannot save the keys' last uses"),
        }
    }

    /// Publishes every accepted key in the metrics, even if it was never used.
    pub(super) fn publish(&self, metrics: &Metrics) {
        for (source, key, _) in self.keys() {
            let stored = self.stored.get(&(source.clone(), key.clone()));
            metrics.key(&source, &key, stored.copied());
        }
    }

    /// Uses of keys that are later than those in the inbox.
    fn unsaved(&self) -> Vec<KeyUse> {
        let used = self.keys().filter_map(|(source, key, last_used)| {
            Some(KeyUse { source, key, last_used: last_used? })
        });
        used.filter(|key| !self.is_stored(key)).collect()
    }

    fn is_stored(&self, key: &KeyUse) -> bool {
        let stored = self.stored.get(&(key.source.clone(), key.key.clone()));
        stored.is_some_and(|stored| *stored >= key.last_used)
    }

    /// Iterates over the accepted keys, each with its source and its last use in this process.
    fn keys(&self) -> impl Iterator<Item = (String, String, Option<Timestamp>)> {
        self.sources.iter().flat_map(|source| {
            let named =
                |(key, used): (Fingerprint, _)| (source.name.clone(), key.to_string(), used);
            source.auth.keys().map(named)
        })
    }
}

fn times(keys: Vec<KeyUse>) -> impl Iterator<Item = ((String, String), Timestamp)> {
    keys.into_iter().map(|key| ((key.source, key.key), key.last_used))
}
