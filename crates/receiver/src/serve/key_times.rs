//! When each accepted key was last used: noted in memory, kept in the inbox from time to time, shown as a metric.

use std::collections::BTreeMap;
use std::sync::Arc;

use contract::time::Timestamp;
use inbox::{Inbox, KeyUse, Result};
use signature::Fingerprint;
use source::Source;
use telemetry::Metrics;
use tracing::warn;

/// The keys of the running receiver, and what the inbox knows of them.
pub(super) struct KeyTimes {
    sources: Vec<Arc<Source>>,
    kept: Kept,
}

/// The times by source and fingerprint; absent if the key was never used.
type Kept = BTreeMap<(String, String), Timestamp>;

impl KeyTimes {
    /// Begins with what the inbox remembers from earlier runs.
    pub(super) async fn load(sources: Vec<Arc<Source>>, inbox: &dyn Inbox) -> Result<Self> {
        Ok(KeyTimes { sources, kept: times(inbox.keys().await?).collect() })
    }

    /// Keeps the times of what was used since the last call; a failure is made up for by the next.
    pub(super) async fn keep(&mut self, inbox: &dyn Inbox, metrics: &Metrics) {
        let news = self.news();
        for key in &news {
            metrics.key(&key.source, &key.key, Some(key.last_used));
        }
        if news.is_empty() {
            return;
        }
        match inbox.note_keys(news.clone()).await {
            Ok(()) => self.kept.extend(times(news)),
            Err(error) => warn!(%error, "cannot keep when keys were used"),
        }
    }

    /// Shows every accepted key in the metrics, also if it was never used.
    pub(super) fn show(&self, metrics: &Metrics) {
        for (source, key, _) in self.keys() {
            let kept = self.kept.get(&(source.clone(), key.clone()));
            metrics.key(&source, &key, kept.copied());
        }
    }

    /// The keys that were used later than the inbox knows.
    fn news(&self) -> Vec<KeyUse> {
        let used = self.keys().filter_map(|(source, key, last_used)| {
            Some(KeyUse { source, key, last_used: last_used? })
        });
        used.filter(|key| !self.is_kept(key)).collect()
    }

    fn is_kept(&self, key: &KeyUse) -> bool {
        let kept = self.kept.get(&(key.source.clone(), key.key.clone()));
        kept.is_some_and(|kept| *kept >= key.last_used)
    }

    /// Every accepted key with its source and when this process last saw it used.
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
