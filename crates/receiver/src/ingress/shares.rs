//! Fair shares of a bounded resource: no source can take so much that nothing is left for the others.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Ratio of a source's largest holding to the free amount. A single source gets seven eighths; several busy ones get equal
/// shares, and something is always left for one more.
const HELD_PER_FREE: usize = 7;

/// Bounded resource, in any unit.
pub(super) struct Shares {
    /// Amount that every source may hold as long as it is free, whatever the others hold.
    floor: usize,
    /// Limit for the sum of all revocable shares: half of the total, but at least the floor.
    revocable: usize,
    state: Mutex<SharesState>,
}

struct SharesState {
    free: usize,
    /// Sum of all revocable shares.
    revocable: usize,
    next: u64,
    accounts: HashMap<String, SourceUsage>,
}

#[derive(Default)]
struct SourceUsage {
    held: usize,
    /// Sum of the source's revocable shares.
    revocable: usize,
    /// Revocable shares, by size and number.
    shares: BTreeMap<(usize, u64), CancellationToken>,
}

/// Error: nothing is left for this source.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

/// Share of the resource. Dropping it frees it.
pub(super) struct Share {
    shares: Arc<Shares>,
    source: String,
    number: u64,
    size: usize,
    revoked: Option<CancellationToken>,
}

impl Shares {
    pub(super) fn new(total: usize, floor: usize) -> Arc<Self> {
        let state = SharesState { free: total, revocable: 0, next: 0, accounts: HashMap::new() };
        Arc::new(Shares { floor, revocable: floor.max(total / 2), state: Mutex::new(state) })
    }

    /// Takes a share of this size.
    pub(super) fn take(self: &Arc<Self>, source: &str, size: usize) -> Result<Share, Exhausted> {
        let mut share = self.open(source, false);
        share.grow(size)?;
        Ok(share)
    }

    /// Creates an empty share. A revocable one is revoked if otherwise one that is not revocable, a smaller one of the same
    /// source, or one of a source that holds less would not fit.
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

    fn lock(&self) -> MutexGuard<'_, SharesState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SharesState {
    /// Adds a share; with a token it is revocable.
    fn hold(&mut self, source: &str, size: usize, number: u64, revoked: Option<CancellationToken>) {
        self.free -= size;
        let account = self.account(source);
        account.held += size;
        if let Some(revoked) = revoked {
            account.shares.insert((size, number), revoked);
            account.revocable += size;
            self.revocable += size;
        }
    }

    /// Removes a share, and returns its token if it was revocable.
    fn release(&mut self, source: &str, size: usize, number: u64) -> Option<CancellationToken> {
        self.free += size;
        let account = self.account(source);
        account.held -= size;
        let revoked = account.shares.remove(&(size, number))?;
        account.revocable -= size;
        self.revocable -= size;
        Some(revoked)
    }

    fn account(&mut self, source: &str) -> &mut SourceUsage {
        if !self.accounts.contains_key(source) {
            self.accounts.insert(source.to_owned(), SourceUsage::default());
        }
        self.accounts.get_mut(source).expect("it has just been inserted")
    }
}

impl Share {
    /// Enlarges the share, by revoking others if necessary.
    pub(super) fn grow(&mut self, more: usize) -> Result<(), Exhausted> {
        let mut state = self.shares.lock();
        if self.is_revoked() {
            return Err(Exhausted);
        }
        while !self.fits(more, &mut state) {
            let (source, size, number) = self.to_revoke(more, &state).ok_or(Exhausted)?;
            if let Some(revoked) = state.release(&source, size, number) {
                revoked.cancel();
            }
        }
        state.release(&self.source, self.size, self.number);
        self.size += more;
        state.hold(&self.source, self.size, self.number, self.revoked.clone());
        Ok(())
    }

    fn fits(&self, more: usize, state: &mut SharesState) -> bool {
        let most = self.shares.floor.max(state.free.saturating_mul(HELD_PER_FREE));
        let held = state.account(&self.source).held;
        let is_within =
            self.revoked.is_none() || state.revocable.saturating_add(more) <= self.shares.revocable;
        is_within && more <= state.free && held.saturating_add(more) <= most
    }

    /// Selects the share to revoke for this one: the largest of the source with the most revocable shares, or else of its own.
    ///
    /// Shares of another source are revoked while this one holds less; up to the floor, also for a share that is not revocable
    /// and for a smaller one.
    fn to_revoke(&self, more: usize, state: &SharesState) -> Option<(String, usize, u64)> {
        let largest = |source: &str| {
            let (&(size, number), _) = state.accounts.get(source)?.shares.last_key_value()?;
            Some((source.to_owned(), size, number))
        };
        let has_precedence = |size| self.revoked.is_none() || size > self.size + more;
        let wanted = state.accounts.get(&self.source)?.held + more;
        let (heaviest, account) =
            state.accounts.iter().max_by_key(|(_, account)| account.revocable)?;
        let others = largest(heaviest).filter(|&(_, size, _)| {
            account.revocable - size >= wanted
                || wanted <= self.shares.floor && has_precedence(size)
        });
        others.or_else(|| largest(&self.source).filter(|&(_, size, _)| has_precedence(size)))
    }

    /// Makes the share permanent: it can no longer be revoked.
    pub(super) fn make_permanent(&mut self) -> Result<(), Exhausted> {
        let mut state = self.shares.lock();
        if self.is_revoked() {
            return Err(Exhausted);
        }
        state.release(&self.source, self.size, self.number);
        state.hold(&self.source, self.size, self.number, None);
        self.revoked = None;
        Ok(())
    }

    /// Token that fires when the share is revoked; none if it is not revocable.
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
        state.release(&self.source, self.size, self.number);
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

    fn open(shares: &Arc<Shares>, source: &str, size: usize) -> Share {
        let mut share = shares.open(source, true);
        share.grow(size).unwrap();
        share
    }

    fn assert_all_free(shares: &Arc<Shares>, total: usize) {
        let state = shares.lock();
        assert_eq!((state.free, state.revocable), (total, 0));
        for account in state.accounts.values() {
            assert_eq!((account.held, account.revocable, account.shares.len()), (0, 0, 0));
        }
    }

    #[test]
    fn the_largest_revocable_share_gives_way_to_a_smaller_one_of_its_source() {
        let shares = Shares::new(160, 1);
        let (small, mut large) = (open(&shares, "one", 30), open(&shares, "one", 40));
        let mut newcomer = shares.open("one", true);
        assert_eq!(newcomer.grow(40), Err(Exhausted), "it is not smaller");
        newcomer.grow(11).unwrap();
        assert!(large.revoked().unwrap().is_cancelled() && !small.is_revoked());
        assert_eq!((large.grow(1), large.make_permanent()), (Err(Exhausted), Err(Exhausted)));
        drop(large);
        assert_eq!(shares.lock().free, 119);
        newcomer.make_permanent().unwrap();
        drop((small, newcomer));
        assert_all_free(&shares, 160);
    }

    #[test]
    fn revocable_shares_are_at_most_half_whatever_their_sources() {
        let shares = Shares::new(200, 1);
        let mut flood = Vec::new();
        for source in ["one", "two", "three"].iter().cycle().take(300) {
            let mut share = shares.open(source, true);
            if share.grow(9).is_ok() {
                flood.push(share);
            }
            assert!(shares.lock().revocable <= 100);
        }
        let proven = take_all(&shares, "four");
        assert!(proven.len() >= 80, "{}", proven.len());
        assert!(flood.iter().all(|share| !share.is_revoked()), "none had to");
        drop(proven);
        for (source, size) in [("one", 3), ("two", 3), ("three", 3), ("five", 15)] {
            let mut genuine = open(&shares, source, size);
            genuine.make_permanent().unwrap();
        }
        assert!(
            flood.iter().filter(|share| share.is_revoked()).count() <= 4,
            "no more than have to"
        );
        drop(flood);
        assert_all_free(&shares, 200);
    }

    #[test]
    fn a_source_that_holds_less_takes_from_the_one_that_holds_most_and_not_the_reverse() {
        let shares = Shares::new(200, 1);
        let modest = open(&shares, "modest", 30);
        let flood: Vec<_> = (0..7).map(|_| open(&shares, "flood", 10)).collect();
        assert_eq!(shares.open("flood", true).grow(10), Err(Exhausted));
        assert!(!modest.is_revoked());
        let more = open(&shares, "modest", 20);
        assert_eq!(flood.iter().filter(|share| share.is_revoked()).count(), 2);
        assert!(!modest.is_revoked() && !more.is_revoked());
    }

    #[test]
    fn what_cannot_be_taken_away_has_precedence_up_to_the_floor() {
        let shares = Shares::new(100, 100);
        let unproven = open(&shares, "signed", 100);
        let proven = shares.take("bearer", 100).unwrap();
        assert!(unproven.is_revoked());
        assert_eq!(shares.open("signed", true).grow(1), Err(Exhausted));
        drop((unproven, proven));
        assert_all_free(&shares, 100);
    }
}
