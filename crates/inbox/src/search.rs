//! Searches that end when the caller's patience does. They walk windows of rows along the index that the filter has, or else
//! along the ids, so that no filter reads the whole inbox for one page.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use async_trait::async_trait;
use contract::event::DeliveryId;
use contract::time::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use super::{Entry, Filter, Result};

/// Number of rows in the first window of an engine whose statements cost nothing by themselves, and in the largest.
pub(crate) const FIRST: usize = 500;
const LARGEST: usize = 20_000;

/// How many times fewer rows the first window has if bodies are read, which may be large.
const BODY: usize = 32;

/// How many times fewer rows than the first window a later one may have.
const SMALLEST: usize = 4;

/// Part of the patience that one window may take.
const SHARE: u32 = 4;

/// Page of a search.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    /// The deliveries that were found, in the filter's order.
    pub entries: Vec<Entry>,
    /// Set if the search ended early: the last delivery that was looked at, from which the next search goes on (as `before`, or
    /// as `after` if the oldest come first).
    pub horizon: Option<DeliveryId>,
    /// Time of acceptance of that delivery.
    pub horizon_at: Option<Timestamp>,
}

/// Counts of matching deliveries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Counts by source and event, the largest first.
    pub groups: Vec<Group>,
    /// Number of different ordering keys.
    pub entities: u64,
    /// Set if the search ended early: the last delivery that was looked at.
    pub horizon: Option<DeliveryId>,
    /// Time of acceptance of that delivery.
    pub horizon_at: Option<Timestamp>,
}

/// Matching deliveries of one source and event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// The source.
    pub source: String,
    /// The event's name; empty if the sender gave none.
    pub event_type: String,
    /// Their number.
    pub count: u64,
    /// Time of acceptance of the oldest.
    pub oldest: Timestamp,
    /// Time of acceptance of the newest.
    pub newest: Timestamp,
    /// Last error of the oldest.
    pub error: Option<String>,
}

/// Ordering key whose oldest unfinished delivery has others waiting behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Blocked {
    /// The ordering key.
    pub ordering_key: String,
    /// The oldest unfinished delivery.
    pub first: Entry,
    /// Number of the deliveries behind it.
    pub waiting: u64,
}

/// Rows of a listing that are looked at together, in the filter's order.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// The only ids that can match, if an index says so; empty only if nothing follows.
    pub(crate) ids: Option<Vec<DeliveryId>>,
    /// The last row; none if nothing follows after these.
    pub(crate) last: Option<Mark>,
}

/// A delivery at which a window ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    pub(crate) id: DeliveryId,
    pub(crate) received_at: Timestamp,
}

/// Facts of a delivery that a summary reads.
pub(crate) struct Brief {
    pub(crate) id: DeliveryId,
    pub(crate) source: String,
    pub(crate) event_type: String,
    pub(crate) received_at: Timestamp,
    pub(crate) ordering_key: Option<String>,
}

/// Access of a search to an engine.
#[async_trait]
pub(crate) trait Searchable: Send + Sync {
    /// Number of rows in the first window: so many that the statements themselves do not cost most of the time.
    fn first_rows(&self, filter: &Filter) -> usize;

    /// Up to `rows` rows along the index by which the filter is looked up, after its cursor. They need not match.
    async fn window(&self, filter: &Filter, rows: usize) -> Result<Window>;

    /// The matching deliveries of one window.
    async fn entries(&self, filter: Filter) -> Result<Vec<Entry>>;

    /// The same, as far as a summary needs them.
    async fn briefs(&self, filter: Filter) -> Result<Vec<Brief>>;
}

/// Lists the matching deliveries until the patience is over.
pub(crate) async fn search(
    engine: &dyn Searchable,
    filter: Filter,
    patience: Duration,
) -> Result<Page> {
    let mut page = Page::default();
    let limit = filter.limit.unwrap_or(usize::MAX);
    let mut walk = Walk::begin(engine, &filter, patience);
    while page.entries.len() < limit
        && let Some(part) = walk.next(engine).await?
    {
        let left = limit - page.entries.len();
        let limit = filter.limit.map(|_| left);
        page.entries.extend(engine.entries(Filter { limit, ..part }).await?);
    }
    if page.entries.len() < limit {
        page.horizon = walk.horizon().map(|mark| mark.id);
        page.horizon_at = walk.horizon().map(|mark| mark.received_at);
    }
    Ok(page)
}

/// Counts the matching deliveries until the patience is over.
pub(crate) async fn summarize(
    engine: &dyn Searchable,
    filter: Filter,
    patience: Duration,
) -> Result<Summary> {
    let filter = Filter { limit: None, ..filter };
    let mut counts: BTreeMap<(String, String), (Group, DeliveryId)> = BTreeMap::new();
    let (hasher, mut entities) = (RandomState::new(), HashSet::new());
    let mut walk = Walk::begin(engine, &filter, patience);
    while let Some(part) = walk.next(engine).await? {
        for brief in engine.briefs(part).await? {
            entities.extend(brief.ordering_key.as_ref().map(|key| hasher.hash_one(key)));
            add(&mut counts, brief);
        }
    }
    let horizon = walk.horizon();
    let mut groups: Vec<(Group, DeliveryId)> = counts.into_values().collect();
    groups.sort_by_key(|(group, _)| std::cmp::Reverse(group.count));
    for part in groups.chunks_mut(FIRST) {
        let ids = part.iter().map(|(_, oldest)| *oldest).collect();
        let oldest = engine.entries(Filter { ids, ..Filter::default() }).await?;
        let errors: BTreeMap<DeliveryId, Option<String>> =
            oldest.into_iter().map(|entry| (entry.id, entry.last_error)).collect();
        for (group, id) in part {
            group.error = errors.get(id).cloned().flatten();
        }
    }
    Ok(Summary {
        groups: groups.into_iter().map(|(group, _)| group).collect(),
        entities: entities.len() as u64,
        horizon: horizon.map(|mark| mark.id),
        horizon_at: horizon.map(|mark| mark.received_at),
    })
}

fn add(counts: &mut BTreeMap<(String, String), (Group, DeliveryId)>, brief: Brief) {
    let Brief { id, source, event_type, received_at, .. } = brief;
    let key = (source, event_type);
    let Some((group, oldest)) = counts.get_mut(&key) else {
        let (source, event_type) = key.clone();
        let (oldest, newest) = (received_at, received_at);
        let group = Group { source, event_type, count: 1, oldest, newest, error: None };
        counts.insert(key, (group, id));
        return;
    };
    group.count += 1;
    group.oldest = group.oldest.min(received_at);
    group.newest = group.newest.max(received_at);
    *oldest = id.min(*oldest);
}

/// A walk through the windows of a filter.
struct Walk {
    /// Filter of what was not looked at yet.
    rest: Filter,
    /// Number of rows of the next window.
    rows: usize,
    /// The fewest rows of a window.
    smallest: usize,
    /// End of the patience; none if it is too far away.
    until: Option<Instant>,
    /// Longest time that one window should take.
    share: Duration,
    /// The window that is being looked at: its begin, and its last row unless nothing follows.
    current: Option<(Instant, Option<Mark>)>,
    /// The last row that was looked at, if the patience was over there.
    horizon: Option<Mark>,
}

impl Walk {
    fn begin(engine: &dyn Searchable, filter: &Filter, patience: Duration) -> Self {
        let first = engine.first_rows(filter) / if filter.body.is_some() { BODY } else { 1 };
        Walk {
            rest: filter.clone(),
            rows: first,
            smallest: (first / SMALLEST).max(1),
            until: Instant::now().checked_add(patience),
            share: patience / SHARE,
            current: None,
            horizon: None,
        }
    }

    /// The filter of the next window; none at the end of the rows, or of the patience.
    async fn next(&mut self, engine: &dyn Searchable) -> Result<Option<Filter>> {
        let now = Instant::now();
        if let Some((begun, last)) = self.current.take() {
            let Some(last) = last else { return Ok(None) };
            self.rest = self.rest.beyond(last.id);
            let took = now - begun;
            self.resize(took);
            // The next window takes about as long.
            if self.until.is_some_and(|until| now + took / 2 >= until) {
                self.horizon = Some(last);
                return Ok(None);
            }
        }
        let Window { ids, last } = engine.window(&self.rest, self.rows).await?;
        self.current = Some((now, last));
        let part = last.map_or_else(|| self.rest.clone(), |last| self.rest.up_to(last.id));
        Ok(match ids {
            // No ids would be those of every delivery.
            Some(ids) if ids.is_empty() => None,
            Some(ids) => Some(Filter { ids, ..part }),
            None => Some(part),
        })
    }

    /// Adapts the number of rows to the time that the last window took.
    fn resize(&mut self, took: Duration) {
        if took * 2 < self.share {
            self.rows = (self.rows * 2).min(LARGEST);
        } else if took > self.share {
            self.rows = (self.rows / 2).max(self.smallest);
        }
    }

    /// The last row that was looked at, if rows were left when the patience was over.
    fn horizon(&self) -> Option<Mark> {
        self.horizon
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// An engine whose windows take a second each, and whose every delivery matches.
    struct Slow {
        ids: Vec<DeliveryId>,
        windows: Mutex<Vec<usize>>,
    }

    impl Slow {
        fn with(ids: impl Iterator<Item = DeliveryId>) -> Self {
            Slow { ids: ids.collect(), windows: Mutex::default() }
        }

        fn of<'s>(&'s self, filter: &'s Filter) -> impl Iterator<Item = DeliveryId> + 's {
            let ids = self.ids.iter().copied();
            ids.filter(|id| filter.after.is_none_or(|after| *id > after))
        }
    }

    #[async_trait]
    impl Searchable for Slow {
        fn first_rows(&self, _: &Filter) -> usize {
            FIRST
        }

        async fn window(&self, filter: &Filter, rows: usize) -> Result<Window> {
            self.windows.lock().unwrap().push(rows);
            tokio::time::sleep(Duration::from_secs(1)).await;
            let last = self.of(filter).nth(rows - 1);
            let mark = |id| Mark { id, received_at: Timestamp::UNIX_EPOCH };
            Ok(Window { ids: None, last: last.map(mark) })
        }

        async fn entries(&self, _: Filter) -> Result<Vec<Entry>> {
            Ok(Vec::new())
        }

        async fn briefs(&self, filter: Filter) -> Result<Vec<Brief>> {
            let before = filter.before.unwrap_or(DeliveryId::MAX);
            let ids = self.of(&filter).filter(|id| *id < before);
            let brief = |id| Brief {
                id,
                source: "one".into(),
                event_type: String::new(),
                received_at: Timestamp::UNIX_EPOCH,
                ordering_key: Some((id % 10).to_string()),
            };
            Ok(ids.map(brief).collect())
        }
    }

    fn oldest_first() -> Filter {
        Filter { order: super::super::Order::OldestFirst, ..Filter::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_summary_looks_at_each_delivery_once_and_at_all_of_them() {
        let engine = Slow::with(1..=2_345);
        let summary = summarize(&engine, oldest_first(), Duration::from_secs(1_000)).await.unwrap();
        assert_eq!((summary.groups[0].count, summary.entities), (2_345, 10));
        assert_eq!(summary.horizon, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_search_ends_with_the_patience_and_says_where() {
        let engine = Slow::with(1..=100_000);
        let page = search(&engine, oldest_first(), Duration::from_secs(4)).await.unwrap();
        let windows = engine.windows.lock().unwrap().clone();
        assert_eq!(windows.len(), 4, "{windows:?}");
        assert_eq!(page.horizon, Some(windows.iter().sum::<usize>() as DeliveryId));
        assert!(page.horizon_at.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_search_without_patience_looks_at_one_window() {
        let engine = Slow::with(1..=100_000);
        let page = search(&engine, oldest_first(), Duration::ZERO).await.unwrap();
        assert_eq!(page.horizon, Some(FIRST as DeliveryId));
        let page = search(&Slow::with(0..0), oldest_first(), Duration::ZERO).await.unwrap();
        assert_eq!(page.horizon, None);
    }
}
