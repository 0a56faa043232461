//! Counter of tallies: what the process has received and handled since it last wrote its counts to the inbox.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use contract::time::Clock;
use inbox::{Tallies, Tally, TallyKind};
use source::Source;
use tokio_util::sync::CancellationToken;

/// Time between two writes. A process that is killed loses what it has counted since.
const INTERVAL: Duration = Duration::from_secs(5);

const KINDS: usize = TallyKind::ALL.len();

/// Counts by source and kind.
pub struct TallyCounter {
    /// The sources, by name; the last is for requests that belong to none.
    sources: Vec<(String, [AtomicU64; KINDS])>,
}

impl Default for TallyCounter {
    fn default() -> Self {
        TallyCounter::new(&[])
    }
}

impl TallyCounter {
    /// A counter for these sources.
    pub fn new(sources: &[Arc<Source>]) -> Self {
        let names = sources.iter().map(|source| source.name.clone()).chain([String::new()]);
        TallyCounter { sources: names.map(|name| (name, Default::default())).collect() }
    }

    /// Counts one. A source that is not configured is counted as none: a worker may handle what another process receives.
    pub fn add(&self, source: &str, kind: TallyKind) {
        let own = self.sources.iter().find(|(name, _)| name == source).or(self.sources.last());
        if let Some((_, counts)) = own {
            counts[kind as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes the counts every few seconds until `stop`.
    pub async fn run(
        &self,
        inbox: &(impl Tallies + ?Sized),
        clock: &Clock,
        stop: &CancellationToken,
    ) {
        while tokio::time::timeout(INTERVAL, stop.cancelled()).await.is_err() {
            self.save(inbox, clock).await;
        }
    }

    /// Writes what was counted since the last time. Counts that cannot be written are written with the next ones.
    pub async fn save(&self, inbox: &(impl Tallies + ?Sized), clock: &Clock) {
        let counted = self.take(clock);
        if counted.is_empty() {
            return;
        }
        if inbox.add_tallies(counted.clone()).await.is_err() {
            self.put_back(&counted);
        }
    }

    fn take(&self, clock: &Clock) -> Vec<Tally> {
        let at = clock();
        let mut counted = Vec::new();
        for (source, counts) in &self.sources {
            for (kind, count) in TallyKind::ALL.into_iter().zip(counts) {
                let count = count.swap(0, Ordering::Relaxed);
                if count > 0 {
                    counted.push(Tally { at, source: source.clone(), kind, count });
                }
            }
        }
        counted
    }

    fn put_back(&self, counted: &[Tally]) {
        for tally in counted {
            let own = self.sources.iter().find(|(name, _)| *name == tally.source);
            if let Some((_, counts)) = own {
                counts[tally.kind as usize].fetch_add(tally.count, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use contract::time::{Timestamp, system_clock};
    use inbox::InboxError;

    use super::*;

    #[derive(Default)]
    struct Kept {
        tallies: Mutex<Vec<Tally>>,
        is_down: std::sync::atomic::AtomicBool,
    }

    #[async_trait]
    impl Tallies for Kept {
        async fn add_tallies(&self, tallies: Vec<Tally>) -> inbox::Result<()> {
            if self.is_down.load(Ordering::Relaxed) {
                return Err(InboxError::Busy);
            }
            self.tallies.lock().unwrap().extend(tallies);
            Ok(())
        }

        async fn tallies(&self, _: Timestamp) -> inbox::Result<Vec<Tally>> {
            Ok(self.tallies.lock().unwrap().clone())
        }
    }

    #[tokio::test]
    async fn counts_are_written_once_also_if_the_inbox_was_away() {
        let (counter, kept, clock) = (TallyCounter::new(&[]), Kept::default(), system_clock());
        counter.add("unknown", TallyKind::Refused);
        kept.is_down.store(true, Ordering::Relaxed);
        counter.save(&kept, &clock).await;
        counter.add("", TallyKind::Refused);
        kept.is_down.store(false, Ordering::Relaxed);
        counter.save(&kept, &clock).await;
        counter.save(&kept, &clock).await;
        let tallies = kept.tallies(Timestamp::UNIX_EPOCH).await.unwrap();
        assert_eq!(tallies.len(), 1);
        assert_eq!((tallies[0].kind, tallies[0].count), (TallyKind::Refused, 2));
    }
}
