//! A bounded resource that sources share: no source can take so much of it that the others are left with none.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// A source may hold this many times as much as is free. Alone it gets seven eighths; of several busy ones each gets
/// the same, and something is always left for one more.
const GREED: usize = 7;

/// The resource, in whatever unit it is counted.
pub(super) struct Shares {
    /// As much as this every source may hold while there is any, whatever the others hold.
    floor: usize,
    state: Mutex<State>,
}

struct State {
    free: usize,
    next: u64,
    accounts: HashMap<String, Account>,
}

#[derive(Default)]
struct Account {
    held: usize,
    /// The shares that can be taken away, by size and number.
    revocable: BTreeMap<(usize, u64), CancellationToken>,
}

/// There is no more for this source.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

/// A part of the resource. It is given back when it is dropped.
pub(super) struct Share {
    shares: Arc<Shares>,
    source: String,
    number: u64,
    size: usize,
    revoked: Option<CancellationToken>,
}

impl Shares {
    pub(super) fn new(total: usize, floor: usize) -> Arc<Self> {
        let state = State { free: total, next: 0, accounts: HashMap::new() };
        Arc::new(Shares { floor, state: Mutex::new(state) })
    }

    /// A share of this size.
    pub(super) fn take(self: &Arc<Self>, source: &str, size: usize) -> Result<Share, Exhausted> {
        let mut share = self.open(source, false);
        share.grow(size)?;
        Ok(share)
    }

    /// An empty share. One that is revocable is taken away when a smaller one of the same source would not fit otherwise.
    pub(super) fn open(self: &Arc<Self>, source: &str, is_revocable: bool) -> Share {
        let mut state = self.lock();
        state.next += 1;
        Share {
            shares: Arc::clone(self),
            source: source.to_owned(),
            number: state.next,
            size: 0,
            revoked: is_revocable.then(CancellationToken::new),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn account(&mut self, source: &str) -> &mut Account {
        if !self.accounts.contains_key(source) {
            self.accounts.insert(source.to_owned(), Account::default());
        }
        self.accounts.get_mut(source).expect("it has just been inserted")
    }
}

impl Share {
    /// Makes it larger, at the cost of the source's largest revocable share if there is no other way.
    pub(super) fn grow(&mut self, more: usize) -> Result<(), Exhausted> {
        let mut state = self.shares.lock();
        if self.is_revoked() {
            return Err(Exhausted);
        }
        loop {
            let free = state.free;
            let account = state.account(&self.source);
            let wanted = account.held.saturating_add(more);
            if more <= free && wanted <= self.shares.floor.max(free.saturating_mul(GREED)) {
                account.held = wanted;
                let key = (self.size, self.number);
                self.size += more;
                if let Some(revoked) = &self.revoked {
                    account.revocable.remove(&key);
                    account.revocable.insert((self.size, self.number), revoked.clone());
                }
                state.free -= more;
                return Ok(());
            }
            let largest = account.revocable.last_entry();
            let Some(largest) = largest.filter(|largest| largest.key().0 > self.size + more) else {
                return Err(Exhausted);
            };
            let ((size, _), revoked) = largest.remove_entry();
            revoked.cancel();
            account.held -= size;
            state.free += size;
        }
    }

    /// From now on it cannot be taken away.
    pub(super) fn keep(&mut self) -> Result<(), Exhausted> {
        let mut state = self.shares.lock();
        if self.is_revoked() {
            return Err(Exhausted);
        }
        state.account(&self.source).revocable.remove(&(self.size, self.number));
        self.revoked = None;
        Ok(())
    }

    /// Fires when it is taken away; none if it cannot be.
    pub(super) fn revoked(&self) -> Option<CancellationToken> {
        self.revoked.clone()
    }

    fn is_revoked(&self) -> bool {
        self.revoked.as_ref().is_some_and(CancellationToken::is_cancelled)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut state = self.shares.lock();
        if self.is_revoked() {
            return;
        }
        let account = state.account(&self.source);
        account.revocable.remove(&(self.size, self.number));
        account.held -= self.size;
        state.free += self.size;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_all(shares: &Arc<Shares>, source: &str) -> Vec<Share> {
        std::iter::from_fn(|| shares.take(source, 1).ok()).collect()
    }

    #[test]
    fn one_source_gets_most_and_leaves_something_to_each_of_the_others() {
        let shares = Shares::new(1024, 1);
        let first = take_all(&shares, "first");
        assert_eq!(first.len(), 896);
        let second = take_all(&shares, "second");
        assert_eq!(second.len(), 112);
        assert!(shares.take("third", 1).is_ok());
        drop(first);
        assert!(take_all(&shares, "second").len() > 700);
    }

    #[test]
    fn what_is_small_is_used_up_to_the_end() {
        for total in [1, 2] {
            let shares = Shares::new(total, 1);
            let _first = shares.take("one", 1).unwrap();
            assert_eq!(take_all(&shares, "one").len(), total - 1);
        }
        let shares = Shares::new(100, 100);
        let all = take_all(&shares, "one");
        assert_eq!(all.len(), 100);
        assert!(shares.take("two", 1).is_err());
    }

    #[test]
    fn the_largest_revocable_share_gives_way_to_a_smaller_one_of_its_source() {
        let shares = Shares::new(80, 1);
        let open = |source, size| {
            let mut share = shares.open(source, true);
            share.grow(size).unwrap();
            share
        };
        let (small, mut large) = (open("one", 30), open("one", 40));
        assert!(shares.take("two", 11).is_err(), "others do not lose theirs");
        let mut newcomer = shares.open("one", true);
        assert_eq!(newcomer.grow(40), Err(Exhausted), "it is not smaller");
        newcomer.grow(5).unwrap();
        assert!(large.revoked().unwrap().is_cancelled() && !small.is_revoked());
        assert_eq!((large.grow(1), large.keep()), (Err(Exhausted), Err(Exhausted)));
        drop(large);
        assert_eq!(shares.lock().free, 45);
        newcomer.keep().unwrap();
        drop((small, newcomer));
        let state = shares.lock();
        assert_eq!((state.free, state.accounts["one"].held), (80, 0));
        assert!(state.accounts["one"].revocable.is_empty());
    }
}
