//! Counts of deliveries by state. A page does not wait long for them: an engine may have to look at each delivery that is dead.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use inbox::State;
use tokio::time::Instant;

use crate::Console;
use crate::visit::Failure;

/// The longest that a page waits for the counts.
const PATIENCE: Duration = Duration::from_millis(20);

/// Age up to which counts are shown as they are, and up to which they are shown while others are being made.
const FRESH: Duration = Duration::from_secs(1);
const STALE: Duration = Duration::from_secs(60);

/// The deliveries in each state, except those that are done.
pub(crate) type ByState = Vec<(State, u64)>;

/// The latest counts.
#[derive(Default)]
pub(crate) struct Counts {
    latest: Mutex<Option<(Instant, ByState)>>,
    /// Held by the one who counts.
    turn: tokio::sync::Mutex<()>,
}

impl Counts {
    /// The counts; none if they take long and no recent ones are known.
    pub(crate) async fn get(console: &Arc<Console>) -> Result<Option<ByState>, Failure> {
        if let Some(counts) = console.counts.known(FRESH) {
            return Ok(Some(counts));
        }
        // A page that has not waited leaves its counts to the next.
        let counting = tokio::spawn(Counts::count(Arc::clone(console)));
        match tokio::time::timeout(PATIENCE, counting).await {
            Ok(Ok(counts)) => Ok(Some(counts?)),
            Ok(Err(_)) | Err(_) => Ok(console.counts.known(STALE)),
        }
    }

    async fn count(console: Arc<Console>) -> inbox::Result<ByState> {
        let own = &console.counts;
        let _turn = own.turn.lock().await;
        if let Some(counts) = own.known(FRESH) {
            return Ok(counts);
        }
        let counts = console.parts.inbox.count().await?;
        let latest = Some((Instant::now(), counts.clone()));
        *own.latest.lock().unwrap_or_else(PoisonError::into_inner) = latest;
        Ok(counts)
    }

    /// The latest counts, if they are no older.
    fn known(&self, age: Duration) -> Option<ByState> {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.as_ref().filter(|(at, _)| at.elapsed() <= age).map(|(_, counts)| counts.clone())
    }
}

/// The count of one state.
pub(crate) fn of(counts: &Option<ByState>, state: State) -> Option<u64> {
    let count = counts.as_ref()?.iter().find(|(own, _)| *own == state).map(|(_, count)| *count);
    Some(count.unwrap_or_default())
}
