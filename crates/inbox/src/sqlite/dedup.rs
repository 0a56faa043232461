//! Dedup index: message ids already accepted. The writer looks up and adds within one transaction, so dedup is atomic.
//!
//! A B-tree over millions of random ids would dirty a separate page for every delivery. So the latest identities are
//! held in memory (a start reloads them from the deliveries), and every [`RUN`] of them are written at once as an
//! immutable *run*. A Bloom filter for each run excludes nearly all lookups. Every hit is compared with the delivery's own
//! columns. A run that is mostly pruned is merged into the next one and deleted.

use std::collections::HashMap;

use contract::event::DeliveryId;
use rusqlite::{Connection, OptionalExtension, params};

use super::super::identity::{DeliveryIdentity, IdentityHash};

/// Number of identities in a run.
const RUN: usize = 1 << 16;

/// Number of parts of a run, so small that a lookup reads one page.
const PARTS: u16 = 512;

/// Size of an entry, a hash and a delivery id, in bytes.
const ENTRY: usize = 16 + 8;

/// Number of parts sampled to decide whether a run is worth keeping.
const SAMPLE: u16 = 1;

/// Largest number of runs merged into a new one.
const MAX_MERGED: usize = 2;

/// Stored form of an identity.
type RunEntry = (IdentityHash, DeliveryId);

impl IdentityHash {
    fn number(self) -> u128 {
        u128::from_le_bytes(self.0)
    }

    /// Number of the part of a run that would hold it.
    fn part(self) -> u16 {
        (self.number() % u128::from(PARTS)) as u16
    }
}

/// Index of all known identities. Only one process may add to a file, since part of the index is in its memory.
pub(super) struct DedupIndex {
    /// Identities that are in no run yet.
    latest: HashMap<IdentityHash, DeliveryId>,
    runs: Vec<Run>,
    /// Identities of the open transaction, each with the delivery that it replaced in `latest`.
    added: Vec<(IdentityHash, Option<DeliveryId>)>,
    /// Run written by the open transaction.
    new_run: Option<Run>,
    /// Runs deleted by the open transaction.
    deleted_runs: Vec<i64>,
    run_length: usize,
}

struct Run {
    number: i64,
    filter: BloomFilter,
}

impl DedupIndex {
    /// Loads the filters, and the latest identities from the deliveries that are in no run.
    pub(super) fn load(db: &Connection) -> rusqlite::Result<Self> {
        db.execute("DELETE FROM run_part WHERE run NOT IN (SELECT run FROM run)", [])?;
        let runs = db
            .prepare("SELECT run, filter FROM run ORDER BY run")?
            .query_map([], |row| {
                Ok(Run { number: row.get(0)?, filter: BloomFilter(row.get::<_, Vec<u8>>(1)?) })
            })?
            .collect::<rusqlite::Result<_>>()?;
        let mut latest = HashMap::new();
        let mut rows = db.prepare(
            "SELECT source, client_id, message_id, id FROM delivery
             WHERE id > (SELECT coalesce(max(last), 0) FROM run)",
        )?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let text = |column| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
            latest.insert(DeliveryIdentity::new(text(0)?, text(1)?, text(2)?).hash, row.get(3)?);
        }
        Ok(DedupIndex {
            latest,
            runs,
            added: Vec::new(),
            new_run: None,
            deleted_runs: Vec::new(),
            run_length: RUN,
        })
    }

    /// Finds the delivery with this identity.
    pub(super) fn find(
        &self,
        db: &Connection,
        identity: &DeliveryIdentity<'_>,
    ) -> rusqlite::Result<Option<DeliveryId>> {
        if let Some(id) = self.latest.get(&identity.hash)
            && matches(db, *id, identity)?
        {
            return Ok(Some(*id));
        }
        for run in self.runs.iter().rev().filter(|run| run.filter.may_hold(identity.hash)) {
            let part: Option<Vec<u8>> = db
                .prepare_cached("SELECT entries FROM run_part WHERE run = ?1 AND part = ?2")?
                .query_row(params![run.number, identity.hash.part()], |row| row.get(0))
                .optional()?;
            for id in part.iter().flat_map(|part| entries(part, identity.hash)) {
                if matches(db, id, identity)? {
                    return Ok(Some(id));
                }
            }
        }
        Ok(None)
    }

    /// Adds an identity that [`find`](Self::find) did not find. It is found from now on, unless the transaction fails.
    pub(super) fn add(&mut self, identity: &DeliveryIdentity<'_>, delivery: DeliveryId) {
        let replaced = self.latest.insert(identity.hash, delivery);
        self.added.push((identity.hash, replaced));
    }

    /// Writes the latest identities as a run if there are enough; to be called before the commit.
    pub(super) fn write_run(&mut self, db: &Connection) -> rusqlite::Result<()> {
        if self.latest.len() < self.run_length {
            return Ok(());
        }
        let mut entries: Vec<RunEntry> =
            self.latest.iter().map(|(hash, id)| (*hash, *id)).collect();
        for run in &self.runs {
            if self.deleted_runs.len() < MAX_MERGED && run.is_mostly_pruned(db)? {
                run.entries(db, |entry| entries.push(entry))?;
                run.delete(db)?;
                self.deleted_runs.push(run.number);
            }
        }
        let number = self.runs.last().map_or(1, |run| run.number + 1);
        self.new_run = Some(Run::write(db, number, &entries)?);
        Ok(())
    }

    /// Follows a commit of the open transaction.
    pub(super) fn committed(&mut self) {
        self.added.clear();
        if let Some(run) = self.new_run.take() {
            self.runs.retain(|run| !self.deleted_runs.contains(&run.number));
            self.runs.push(run);
            self.deleted_runs.clear();
            self.latest = HashMap::new();
        }
    }

    /// Follows a rollback of the open transaction.
    pub(super) fn rolled_back(&mut self) {
        self.new_run = None;
        self.deleted_runs.clear();
        for (hash, replaced) in self.added.drain(..).rev() {
            match replaced {
                Some(id) => self.latest.insert(hash, id),
                None => self.latest.remove(&hash),
            };
        }
    }
}

/// True if the delivery exists and has this identity. It may have been pruned since.
fn matches(
    db: &Connection,
    id: DeliveryId,
    identity: &DeliveryIdentity<'_>,
) -> rusqlite::Result<bool> {
    let DeliveryIdentity { source, client_id, message_id, .. } = identity;
    db.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM delivery
             WHERE id = ?1 AND source = ?2 AND client_id = ?3 AND message_id = ?4)",
    )?
    .query_row(params![id, source, client_id, message_id], |row| row.get(0))
}

impl Run {
    fn write(db: &Connection, number: i64, entries: &[RunEntry]) -> rusqlite::Result<Self> {
        let mut filter = BloomFilter::for_entries(entries.len());
        let mut parts = vec![Vec::new(); usize::from(PARTS)];
        for (hash, id) in entries {
            filter.add(*hash);
            let part = &mut parts[usize::from(hash.part())];
            part.extend_from_slice(&hash.0);
            part.extend_from_slice(&id.to_le_bytes());
        }
        let mut insert =
            db.prepare_cached("INSERT INTO run_part (run, part, entries) VALUES (?1, ?2, ?3)")?;
        for (part, entries) in (0..PARTS).zip(&parts) {
            insert.execute(params![number, part, entries])?;
        }
        db.prepare_cached("INSERT INTO run (run, last, filter) VALUES (?1, ?2, ?3)")?
            .execute(params![number, entries.iter().map(|(_, id)| id).max(), filter.0])?;
        Ok(Run { number, filter })
    }

    fn delete(&self, db: &Connection) -> rusqlite::Result<()> {
        db.prepare_cached("DELETE FROM run_part WHERE run = ?1")?.execute([self.number])?;
        db.prepare_cached("DELETE FROM run WHERE run = ?1")?.execute([self.number])?;
        Ok(())
    }

    /// True if an eighth or less of its deliveries exist, by a sample.
    fn is_mostly_pruned(&self, db: &Connection) -> rusqlite::Result<bool> {
        let (mut sampled, mut left) = (0, 0);
        for part in self.parts(db, SAMPLE)? {
            for (_, id) in all_entries(&part) {
                sampled += 1;
                left += usize::from(exists(db, id)?);
            }
        }
        Ok(sampled > 0 && left * 8 <= sampled)
    }

    /// Passes on every entry whose delivery still exists.
    fn entries(&self, db: &Connection, mut pass_on: impl FnMut(RunEntry)) -> rusqlite::Result<()> {
        for part in self.parts(db, PARTS)? {
            for entry in all_entries(&part) {
                if exists(db, entry.1)? {
                    pass_on(entry);
                }
            }
        }
        Ok(())
    }

    /// Reads the first parts that are not empty.
    fn parts(&self, db: &Connection, most: u16) -> rusqlite::Result<Vec<Vec<u8>>> {
        db.prepare_cached(
            "SELECT entries FROM run_part WHERE run = ?1 AND length(entries) > 0 ORDER BY part LIMIT ?2",
        )?
        .query_map(params![self.number, most], |row| row.get(0))?
        .collect()
    }
}

fn exists(db: &Connection, id: DeliveryId) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT EXISTS (SELECT 1 FROM delivery WHERE id = ?1)")?
        .query_row([id], |row| row.get(0))
}

/// Ids of the deliveries with this hash in a part.
fn entries(part: &[u8], hash: IdentityHash) -> impl Iterator<Item = DeliveryId> + '_ {
    all_entries(part).filter(move |entry| entry.0 == hash).map(|(_, id)| id)
}

fn all_entries(part: &[u8]) -> impl Iterator<Item = RunEntry> + '_ {
    let (entries, _) = part.as_chunks::<ENTRY>();
    entries.iter().map(|entry| {
        let (mut hash, mut id) = ([0; 16], [0; 8]);
        hash.copy_from_slice(&entry[..16]);
        id.copy_from_slice(&entry[16..]);
        (IdentityHash(hash), DeliveryId::from_le_bytes(id))
    })
}

/// Blocked Bloom filter with sixteen bits for each entry: no false negatives, about one false positive in five hundred.
struct BloomFilter(Vec<u8>);

/// Block size, one cache line, in bytes.
const BLOCK: usize = 64;

/// Number of bits set for each entry, all in one block.
const PROBES: u32 = 7;

impl BloomFilter {
    fn for_entries(entries: usize) -> Self {
        BloomFilter(vec![0; (entries * 2).next_multiple_of(BLOCK)])
    }

    fn add(&mut self, hash: IdentityHash) {
        bits(self.0.len(), hash).for_each(|(byte, bit)| self.0[byte] |= bit);
    }

    fn may_hold(&self, hash: IdentityHash) -> bool {
        bits(self.0.len(), hash).all(|(byte, bit)| self.0[byte] & bit != 0)
    }
}

/// Bit positions of a hash in a filter of this many bytes: half of the hash selects the block, the other half the bits.
fn bits(bytes: usize, hash: IdentityHash) -> impl Iterator<Item = (usize, u8)> {
    let blocks = (bytes / BLOCK).max(1) as u64;
    let number = hash.number();
    let block = ((number >> 64) as u64 % blocks) as usize * BLOCK;
    (0..PROBES).map(move |probe| {
        let bit = (number >> (9 * probe)) as usize % (BLOCK * 8);
        (block + bit / 8, 1 << (bit % 8))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(message_id: &str) -> IdentityHash {
        DeliveryIdentity::new("source", "client", message_id).hash
    }

    #[test]
    fn a_full_filter_misses_nothing_and_rarely_errs() {
        let mut filter = BloomFilter::for_entries(RUN);
        (0..RUN).for_each(|n| filter.add(hash(&n.to_string())));
        assert!((0..RUN).all(|n| filter.may_hold(hash(&n.to_string()))));
        let errors = (RUN..2 * RUN).filter(|n| filter.may_hold(hash(&n.to_string()))).count();
        assert!(errors < RUN / 300, "{errors} of {RUN}");
    }

    #[test]
    fn the_hash_keeps_the_parts_apart_and_never_changes() {
        let of = |a, b, c| DeliveryIdentity::new(a, b, c).hash;
        assert_ne!(of("a", "bc", "d"), of("ab", "c", "d"));
        // Computed apart from this program.
        assert_eq!(hex::encode(&hash("m").0[..8]), "9730416d0c17ce3c");
    }

    /// An inbox with small runs.
    struct TestInbox {
        db: Connection,
        dedup: DedupIndex,
    }

    impl TestInbox {
        fn new() -> Self {
            Self::of(4)
        }

        fn of(run_length: usize) -> Self {
            let db = Connection::open_in_memory().unwrap();
            db.execute_batch(include_str!("v1.sql")).unwrap();
            let dedup = DedupIndex { run_length, ..DedupIndex::load(&db).unwrap() };
            TestInbox { db, dedup }
        }

        fn reopened(self) -> Self {
            let run_length = self.dedup.run_length;
            let dedup = DedupIndex { run_length, ..DedupIndex::load(&self.db).unwrap() };
            TestInbox { dedup, ..self }
        }

        /// Accepts deliveries one by one, each with its number as message id.
        fn accept(&mut self, deliveries: impl IntoIterator<Item = DeliveryId>) {
            for delivery in deliveries {
                self.write([delivery]);
                self.dedup.committed();
            }
        }

        /// Writes deliveries as a transaction does before its commit.
        fn write(&mut self, deliveries: impl IntoIterator<Item = DeliveryId>) {
            for id in deliveries {
                self.db
                    .execute(
                        "INSERT INTO delivery VALUES (?1, 'source', 'client', ?1, 0, '', '', '', 1, NULL, NULL, 0, x'', '', x'')",
                        [id],
                    )
                    .unwrap();
                self.dedup.add(&identity(&id.to_string()), id);
            }
            self.dedup.write_run(&self.db).unwrap();
        }

        fn find(&self, identity: &DeliveryIdentity<'_>) -> Option<DeliveryId> {
            self.dedup.find(&self.db, identity).unwrap()
        }

        fn runs(&self) -> usize {
            let count = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
            let stored = self.db.query_row("SELECT count(*) FROM run", [], count).unwrap();
            assert_eq!(usize::try_from(stored).unwrap(), self.dedup.runs.len());
            self.dedup.runs.len()
        }

        #[track_caller]
        fn assert_finds(&self, deliveries: impl IntoIterator<Item = DeliveryId>) {
            for delivery in deliveries {
                assert_eq!(self.find(&identity(&delivery.to_string())), Some(delivery));
            }
            assert_eq!(self.find(&identity("unknown")), None);
        }
    }

    fn identity(message_id: &str) -> DeliveryIdentity<'_> {
        DeliveryIdentity::new("source", "client", message_id)
    }

    #[test]
    fn ids_are_known_within_and_beyond_runs_and_after_reopening() {
        let mut inbox = TestInbox::new();
        inbox.accept(1..=10);
        assert_eq!(inbox.runs(), 2);
        inbox.assert_finds(1..=10);
        let mut inbox = inbox.reopened();
        assert_eq!((inbox.runs(), inbox.dedup.latest.len()), (2, 2));
        inbox.assert_finds(1..=10);
        inbox.accept(11..=12);
        assert_eq!(inbox.runs(), 3);
        inbox.reopened().assert_finds(1..=12);
    }

    #[test]
    fn a_transaction_that_fails_is_forgotten_with_its_run() {
        let mut inbox = TestInbox::new();
        inbox.accept(1..=3);
        inbox.db.execute_batch("BEGIN").unwrap();
        inbox.write(4..=5);
        inbox.db.execute_batch("ROLLBACK").unwrap();
        inbox.dedup.rolled_back();
        assert_eq!((inbox.runs(), inbox.find(&identity("4"))), (0, None));
        inbox.accept(4..=5);
        assert_eq!(inbox.runs(), 1);
        inbox.assert_finds(1..=5);
        inbox.reopened().assert_finds(1..=5);
    }

    #[test]
    fn a_pruned_delivery_is_unknown_and_its_run_goes_with_the_last_of_it() {
        let mut inbox = TestInbox::new();
        inbox.accept(1..=8);
        inbox.db.execute("DELETE FROM delivery WHERE id = 2", []).unwrap();
        assert_eq!(inbox.find(&identity("2")), None);
        inbox.db.execute("DELETE FROM delivery WHERE id < 5", []).unwrap();
        inbox.accept(9..=12);
        assert_eq!(inbox.runs(), 2);
        inbox.assert_finds(5..=12);
        inbox.reopened().assert_finds(5..=12);
    }

    #[test]
    fn what_is_left_of_a_pruned_run_moves_to_the_next() {
        let mut inbox = TestInbox::of(64);
        inbox.accept(1..=128);
        inbox.db.execute("DELETE FROM delivery WHERE id < 128 AND id <> 7", []).unwrap();
        inbox
            .dedup
            .runs
            .iter()
            .for_each(|run| assert!(run.parts(&inbox.db, PARTS).unwrap().len() > 1));
        (129..=640).for_each(|id| inbox.accept([id]));
        assert_eq!(inbox.runs(), 8, "ten less the two that were pruned");
        inbox.assert_finds([7].into_iter().chain(128..=640));
        inbox.reopened().assert_finds([7].into_iter().chain(128..=640));
    }

    #[test]
    fn a_failed_transaction_gives_back_what_it_replaced() {
        let mut inbox = TestInbox::new();
        inbox.accept(1..=1);
        inbox.db.execute_batch("BEGIN").unwrap();
        inbox.dedup.add(&identity("1"), 2);
        inbox.db.execute_batch("ROLLBACK").unwrap();
        inbox.dedup.rolled_back();
        inbox.assert_finds(1..=1);
    }

    #[test]
    fn where_a_filter_errs_the_columns_keep_the_parts_apart() {
        let mut inbox = TestInbox::new();
        inbox.accept(1..=8);
        inbox.dedup.runs.iter_mut().for_each(|run| run.filter.0.fill(0xFF));
        inbox.assert_finds(1..=8);
        for (source, client) in [("source", "other"), ("other", "client"), ("source", "")] {
            assert_eq!(inbox.find(&DeliveryIdentity::new(source, client, "1")), None);
        }
        // Even if the hashes were the same.
        let hash = identity("1").hash;
        assert_eq!(
            inbox.find(&DeliveryIdentity { hash, ..DeliveryIdentity::new("source", "other", "1") }),
            None
        );
    }
}
