//! Registry of delivery queues, with the cached recipients of each event type.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use contract::event::Environment;

use crate::delivery_queue::DeliveryQueue;
use crate::outbox::Recipient;

/// The largest number of cached event types.
const REMEMBERED: usize = 4096;

/// All delivery queues, by the number and the name of their subscription.
#[derive(Default)]
pub(super) struct Registry {
    queues: RwLock<Queues>,
}

/// The key of the cache: an event type in lower case, and its environment.
type RouteKey = (String, Option<Environment>);

/// The subscriptions that an event is for.
type Recipients = Arc<[Recipient]>;

#[derive(Default)]
struct Queues {
    by_id: HashMap<i64, Arc<DeliveryQueue>>,
    by_name: BTreeMap<String, Arc<DeliveryQueue>>,
    recipients: HashMap<RouteKey, Recipients>,
}

impl Registry {
    fn queues(&self) -> RwLockReadGuard<'_, Queues> {
        self.queues.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn queues_mut(&self) -> RwLockWriteGuard<'_, Queues> {
        self.queues.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, id: i64) -> Option<Arc<DeliveryQueue>> {
        self.queues().by_id.get(&id).cloned()
    }

    /// Notifies the queues of these subscriptions that something in the file is due.
    pub(super) fn notify(&self, subscriptions: &BTreeSet<i64>) {
        subscriptions.iter().filter_map(|id| self.get(*id)).for_each(|queue| queue.notify());
    }

    /// Notifies all queues.
    pub(super) fn notify_all(&self) {
        self.queues().by_id.values().for_each(|queue| queue.notify());
    }

    pub(super) fn named(&self, name: &str) -> Option<Arc<DeliveryQueue>> {
        self.queues().by_name.get(name).cloned()
    }

    /// The next matching queues after this name, by name.
    pub(super) fn page(
        &self,
        after: Option<&str>,
        fits: impl Fn(&DeliveryQueue) -> bool,
        most: usize,
    ) -> Vec<Arc<DeliveryQueue>> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let queues = self.queues();
        let rest =
            queues.by_name.range::<str, _>((start, Bound::Unbounded)).map(|(_, queue)| queue);
        rest.filter(|queue| fits(queue)).take(most).cloned().collect()
    }

    pub(super) fn add(&self, queue: Arc<DeliveryQueue>) {
        let mut queues = self.queues_mut();
        queues.by_name.insert(queue.subscription().name.clone(), Arc::clone(&queue));
        queues.by_id.insert(queue.id, queue);
        queues.recipients.clear();
    }

    pub(super) fn remove(&self, id: i64) {
        let mut queues = self.queues_mut();
        if let Some(queue) = queues.by_id.remove(&id) {
            queues.by_name.remove(&queue.subscription().name);
        }
        queues.recipients.clear();
    }

    /// Clears the cached recipients, after a change of a subscription's events or status.
    pub(super) fn changed(&self) {
        self.queues_mut().recipients.clear();
    }

    /// The recipients of an event of this type.
    pub(super) fn recipients(
        &self,
        event_type: &str,
        environment: Option<Environment>,
    ) -> Recipients {
        let key = (event_type.to_ascii_lowercase(), environment);
        let queues = self.queues();
        if let Some(recipients) = queues.recipients.get(&key) {
            return Arc::clone(recipients);
        }
        drop(queues);
        let mut queues = self.queues_mut();
        let accepts = |queue: &&Arc<DeliveryQueue>| queue.accepts(&key.0, environment);
        let recipients: Recipients =
            queues.by_name.values().filter(accepts).map(|queue| queue.recipient()).collect();
        if queues.recipients.len() >= REMEMBERED {
            queues.recipients.clear();
        }
        queues.recipients.insert(key, Arc::clone(&recipients));
        recipients
    }
}
