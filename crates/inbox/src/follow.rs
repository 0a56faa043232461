//! Follower of an inbox: deliveries as they arrive, and again when an attempt of theirs has ended.
//!
//! Ids are given in the order of arrival, but on an engine with several writers a delivery can become visible after one with a
//! greater id. So ids that are missing are looked for again for some time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use contract::event::DeliveryId;
use tokio::time::Instant;

use super::{Browse, Entry, Filter, Order, Result, State};

/// Largest number of new deliveries that one call returns, and of watched ones that it looks at.
const BATCH: usize = 500;

/// Time for which missing ids are looked for: longer than the transaction of an accept may take.
const MISSING_FOR: Duration = Duration::from_secs(20);

/// Largest number of missing ids that are looked for.
const MOST_MISSING: usize = 2_000;

/// Largest gap between two ids that is looked for: larger ones are those between parts of ids, or of pruned deliveries.
const WIDEST_GAP: DeliveryId = 1_000;

/// Largest number of unfinished deliveries that are watched, as a multiple of a batch.
const MOST_WATCHED: usize = 20;

/// A follower. Its state changes only with a call that succeeds, so that a failed one loses and repeats nothing.
#[derive(Debug, Clone)]
pub struct Follower {
    filter: Filter,
    /// Largest number of new deliveries of one call.
    batch: usize,
    /// True if older ones are left out if more have arrived.
    newest_only: bool,
    /// The newest delivery that was looked at.
    newest: DeliveryId,
    /// True if the last call has read as many new deliveries as it may.
    has_more: bool,
    /// True once the ids before the first delivery were looked at, too.
    has_begun: bool,
    /// Ids that were missing, with the time at which that was noticed.
    missing: BTreeMap<DeliveryId, Instant>,
    /// Unfinished deliveries, with what was last known of them.
    watched: BTreeMap<DeliveryId, Known>,
    /// The watched delivery at which the next call begins to look.
    next_watched: DeliveryId,
}

/// Known progress of an unfinished delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    /// Number of attempts that have ended.
    ended: u32,
    error: Option<String>,
}

impl Known {
    fn of(entry: &Entry) -> Self {
        let is_running = entry.state == State::Running;
        let ended = entry.attempts.saturating_sub(u32::from(is_running));
        Known { ended, error: entry.last_error.clone() }
    }

    /// True if the entry, which was known as this before, has ended, or an attempt of it has failed since.
    fn has_changed(&self, entry: &Entry) -> bool {
        let now = Known::of(entry);
        entry.state.has_ended() || now.error.is_some() && now != *self
    }
}

impl Follower {
    /// Follows the deliveries after this one.
    pub fn new(after: DeliveryId) -> Self {
        Follower {
            filter: Filter::default(),
            batch: BATCH,
            newest_only: false,
            newest: after,
            has_more: false,
            has_begun: false,
            missing: BTreeMap::new(),
            watched: BTreeMap::new(),
            next_watched: 0,
        }
    }

    /// Follows only those that match, when they arrive or once they have changed. The filter's bounds and order do not count.
    #[must_use]
    pub fn with_filter(self, filter: Filter) -> Self {
        let filter = Filter {
            ids: Vec::new(),
            before: None,
            after: None,
            limit: None,
            order: Order::OldestFirst,
            ..filter
        };
        Follower { filter, ..self }
    }

    /// Looks at no more than so many of the deliveries that have arrived between two calls, the newest: for a view that somebody
    /// watches, which must not fall behind.
    #[must_use]
    pub fn newest_only(self, batch: usize) -> Self {
        Follower { batch, newest_only: true, ..self }
    }

    /// The delivery after which another follower goes on, without missing any: the newest one up to which none is missing.
    pub fn position(&self) -> DeliveryId {
        self.missing.keys().next().map_or(self.newest, |first| self.newest.min(first - 1))
    }

    /// True unless there may be more that have arrived than the last call has returned.
    pub fn is_up_to_date(&self) -> bool {
        !self.has_more
    }

    /// Returns the deliveries that have arrived since the last call, and those of which an attempt has ended since, by id.
    ///
    /// # Errors
    /// If the inbox is unavailable. The next call goes on where this one began.
    pub async fn next(&mut self, inbox: &dyn Browse) -> Result<Vec<Entry>> {
        let mut next = self.clone();
        let mut found = next.arrived(inbox).await?;
        found.extend(next.changed(inbox).await?);
        found.sort_by_key(|entry| entry.id);
        let found = next.matching(inbox, found).await?;
        *self = next;
        Ok(found)
    }

    /// The deliveries that were not visible before.
    async fn arrived(&mut self, inbox: &dyn Browse) -> Result<Vec<Entry>> {
        let now = Instant::now();
        if !self.has_begun {
            self.has_begun = true;
            let before = Some(self.newest.saturating_add(1));
            let filter = Filter { before, limit: Some(BATCH), ..Filter::default() };
            let mut earlier = inbox.list(filter).await?;
            earlier.reverse();
            if let Some(first) = earlier.first() {
                let newest = self.newest;
                let ids = earlier.iter().skip(1).map(|entry| entry.id);
                self.note_missing(first.id, ids, now);
                self.newest = newest;
            }
        }
        self.missing.retain(|_, since| now - *since < MISSING_FOR);
        let mut found = Vec::new();
        if !self.missing.is_empty() {
            let ids: Vec<DeliveryId> = self.missing.keys().copied().collect();
            found =
                inbox.list(Filter { ids, order: Order::OldestFirst, ..Filter::default() }).await?;
        }
        let order = if self.newest_only { Order::NewestFirst } else { Order::OldestFirst };
        let (after, limit) = (Some(self.newest), Some(self.batch));
        let mut new = inbox.list(Filter { after, limit, order, ..Filter::default() }).await?;
        new.sort_by_key(|entry| entry.id);
        self.has_more = new.len() == self.batch && !self.newest_only;
        let before = match new.first() {
            Some(first) if new.len() == self.batch && self.newest_only => first.id - 1,
            _ => self.newest,
        };
        self.note_missing(before, new.iter().map(|entry| entry.id), now);
        found.extend(new);
        for entry in &found {
            self.missing.remove(&entry.id);
            if !entry.state.has_ended() {
                self.watched.insert(entry.id, Known::of(entry));
            }
        }
        while self.watched.len() > MOST_WATCHED * self.batch {
            self.watched.pop_first();
        }
        Ok(found)
    }

    /// Notes the ids that are missing between these, which follow after `last`.
    fn note_missing(
        &mut self,
        mut last: DeliveryId,
        ids: impl Iterator<Item = DeliveryId>,
        now: Instant,
    ) {
        for id in ids {
            if id - last <= WIDEST_GAP {
                self.missing.extend((last + 1..id).map(|missing| (missing, now)));
            }
            last = id;
        }
        self.newest = self.newest.max(last);
        while self.missing.len() > MOST_MISSING {
            self.missing.pop_first();
        }
    }

    /// Watched deliveries of which an attempt has ended, of a part of them.
    async fn changed(&mut self, inbox: &dyn Browse) -> Result<Vec<Entry>> {
        let from = self.watched.range(self.next_watched..);
        let ids: Vec<DeliveryId> = from
            .chain(self.watched.range(..self.next_watched))
            .map(|(id, _)| *id)
            .take(self.batch)
            .collect();
        let Some(last) = ids.last() else { return Ok(Vec::new()) };
        self.next_watched = last + 1;
        let entries = inbox.list(Filter { ids: ids.clone(), ..Filter::default() }).await?;
        let mut gone: BTreeSet<DeliveryId> = ids.into_iter().collect();
        let mut changed = Vec::new();
        for entry in entries {
            let known = Known::of(&entry);
            if !entry.state.has_ended() {
                gone.remove(&entry.id);
            }
            let before = self.watched.insert(entry.id, known);
            if before.is_some_and(|before| before.has_changed(&entry)) {
                changed.push(entry);
            }
        }
        self.watched.retain(|id, _| !gone.contains(id));
        Ok(changed)
    }

    /// Those that match the filter, as they are now.
    async fn matching(&mut self, inbox: &dyn Browse, found: Vec<Entry>) -> Result<Vec<Entry>> {
        let any = Filter { order: self.filter.order, ..Filter::default() };
        if found.is_empty() || self.filter == any {
            return Ok(found);
        }
        let ids = found.iter().map(|entry| entry.id).collect();
        let found = inbox.list(Filter { ids, ..self.filter.clone() }).await?;
        for entry in &found {
            match entry.state.has_ended() {
                true => drop(self.watched.remove(&entry.id)),
                false => drop(self.watched.insert(entry.id, Known::of(entry))),
            }
        }
        Ok(found)
    }
}
