//! All lanes, and which of them ask for an event.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use contract::event::Environment;

use super::lane::Lane;

/// How many names of events are remembered with those who ask for them.
const REMEMBERED: usize = 4096;

/// How many bytes of events wait in memory, besides one event for each target; what comes beyond that is read again when
/// it is its turn.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// All lanes, by the number and the name of their subscription.
#[derive(Default)]
pub(super) struct Roster {
    lanes: RwLock<Lanes>,
    pub(super) load: Load,
}

/// An event's name in lower case, and its world.
type Asked = (String, Option<Environment>);

/// Who asks for an event.
type Takers = Arc<[Arc<Lane>]>;

#[derive(Default)]
struct Lanes {
    by_id: HashMap<i64, Arc<Lane>>,
    by_name: BTreeMap<String, Arc<Lane>>,
    takers: HashMap<Asked, Takers>,
}

impl Roster {
    fn lanes(&self) -> RwLockReadGuard<'_, Lanes> {
        self.lanes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed_lanes(&self) -> RwLockWriteGuard<'_, Lanes> {
        self.lanes.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, id: i64) -> Option<Arc<Lane>> {
        self.lanes().by_id.get(&id).cloned()
    }

    pub(super) fn named(&self, name: &str) -> Option<Arc<Lane>> {
        self.lanes().by_name.get(name).cloned()
    }

    /// The first so many after this name that fit, by name.
    pub(super) fn page(
        &self,
        after: Option<&str>,
        fits: impl Fn(&Lane) -> bool,
        most: usize,
    ) -> Vec<Arc<Lane>> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let lanes = self.lanes();
        let rest = lanes.by_name.range::<str, _>((start, Bound::Unbounded)).map(|(_, lane)| lane);
        rest.filter(|lane| fits(lane)).take(most).cloned().collect()
    }

    pub(super) fn add(&self, lane: Arc<Lane>) {
        let mut lanes = self.changed_lanes();
        lanes.by_name.insert(lane.subscription().name.clone(), Arc::clone(&lane));
        lanes.by_id.insert(lane.id, lane);
        lanes.takers.clear();
    }

    pub(super) fn remove(&self, id: i64) {
        let mut lanes = self.changed_lanes();
        if let Some(lane) = lanes.by_id.remove(&id) {
            lanes.by_name.remove(&lane.subscription().name);
        }
        lanes.takers.clear();
    }

    /// To be told when a lane asks for other events than before, or for none.
    pub(super) fn changed(&self) {
        self.changed_lanes().takers.clear();
    }

    /// Who asks for events of this name.
    pub(super) fn takers(&self, event_type: &str, environment: Option<Environment>) -> Takers {
        let key = (event_type.to_ascii_lowercase(), environment);
        let lanes = self.lanes();
        if let Some(takers) = lanes.takers.get(&key) {
            return Arc::clone(takers);
        }
        drop(lanes);
        let mut lanes = self.changed_lanes();
        let takes = |lane: &&Arc<Lane>| lane.takes(&key.0, environment);
        let takers: Takers = lanes.by_name.values().filter(takes).cloned().collect();
        if lanes.takers.len() >= REMEMBERED {
            lanes.takers.clear();
        }
        lanes.takers.insert(key, Arc::clone(&takers));
        takers
    }
}

/// How many bytes wait in memory.
#[derive(Default)]
pub(super) struct Load(AtomicUsize);

impl Load {
    /// How many bytes more may wait.
    pub(super) fn room(&self) -> usize {
        MOST_BYTES.saturating_sub(self.0.load(Ordering::Relaxed))
    }

    pub(super) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn take(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}
