//! Who has been here before: the index of identities, cut into generations so that it costs the same at any size.
//!
//! One index over millions of random ids would dirty a page of its own for every delivery. So each run of
//! [`GENERATION`] deliveries has its own part of the table, small enough to stay in memory while it is written, and
//! older parts are only read. A Bloom filter in memory tells which parts can hold an id at all: nearly always none.
//! A filter never misses an id that is there; if it names one that is not, the table decides.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use crate::event::DeliveryId;
use crate::source::Verified;

/// How many deliveries share a generation, as a power of two.
const GENERATION: u32 = 17;

/// Sixteen bits a delivery, in blocks of one cache line.
const BLOCKS: usize = (1 << GENERATION) * 16 / (8 * BLOCK);
const BLOCK: usize = 64;

/// Bits set for each id, all in one block.
const PROBES: usize = 8;

/// What makes two deliveries the same.
pub(super) struct Identity<'d> {
    source: &'d str,
    client_id: &'d str,
    message_id: &'d str,
    hash: [u8; 32],
}

impl<'d> Identity<'d> {
    pub(super) fn of(delivery: &'d Verified) -> Self {
        let client_id = delivery.client_id.as_deref().unwrap_or_default();
        Self::new(&delivery.source.name, client_id, &delivery.message_id)
    }

    /// The hash is fixed for ever, since filters are stored. Lengths keep the parts apart.
    fn new(source: &'d str, client_id: &'d str, message_id: &'d str) -> Self {
        let mut hash = Sha256::new();
        for part in [source, client_id, message_id] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Identity { source, client_id, message_id, hash: hash.finalize().into() }
    }
}

/// The filters of all generations. Only one process may add to a file, or they would not know all.
pub(super) struct Dedup {
    filters: BTreeMap<i64, Filter>,
}

impl Dedup {
    /// Reads the stored filters; builds those that are missing, of the last generation at least, from the table.
    pub(super) fn load(db: &Connection) -> rusqlite::Result<Self> {
        let mut filters = BTreeMap::new();
        let mut next = db.prepare(
            "SELECT min(g.generation), f.bits FROM (SELECT min(generation) AS generation FROM identity
                 WHERE generation > ?1) g LEFT JOIN filter f ON f.generation = g.generation",
        )?;
        let mut last = -1;
        loop {
            let (generation, stored): (Option<i64>, Option<Vec<u8>>) =
                next.query_row([last], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let Some(generation) = generation else { return Ok(Dedup { filters }) };
            let filter = match stored.and_then(Filter::from_bytes) {
                Some(filter) => filter,
                None => Filter::build(db, generation)?,
            };
            filters.insert(generation, filter);
            last = generation;
        }
    }

    /// The delivery that is kept under this identity.
    pub(super) fn find(
        &self,
        db: &Connection,
        identity: &Identity<'_>,
    ) -> rusqlite::Result<Option<DeliveryId>> {
        let candidates = self.filters.iter().rev().filter(|(_, f)| f.may_hold(&identity.hash));
        for (generation, _) in candidates {
            let mut find = db.prepare_cached(
                "SELECT delivery FROM identity
                 WHERE generation = ?1 AND source = ?2 AND client_id = ?3 AND message_id = ?4",
            )?;
            let Identity { source, client_id, message_id, .. } = identity;
            let key = params![generation, source, client_id, message_id];
            let found = find.query_row(key, |row| row.get(0)).optional()?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Keeps an identity that [`find`](Self::find) did not find, in the same transaction.
    ///
    /// If the transaction fails, the filter keeps a bit too many, which costs a look and decides nothing.
    pub(super) fn insert(
        &mut self,
        db: &Connection,
        identity: &Identity<'_>,
        delivery: DeliveryId,
    ) -> rusqlite::Result<()> {
        let generation = delivery >> GENERATION;
        let Identity { source, client_id, message_id, .. } = identity;
        db.prepare_cached(
            "INSERT INTO identity (generation, source, client_id, message_id, delivery)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![generation, source, client_id, message_id, delivery])?;
        if !self.filters.contains_key(&generation) {
            self.seal(db)?;
        }
        self.filters.entry(generation).or_insert_with(Filter::empty).add(&identity.hash);
        Ok(())
    }

    /// Stores the newest filter, whose generation is complete, and deletes those whose generation is pruned away.
    fn seal(&self, db: &Connection) -> rusqlite::Result<()> {
        db.prepare_cached(
            "DELETE FROM filter WHERE NOT EXISTS
                 (SELECT 1 FROM identity WHERE identity.generation = filter.generation)",
        )?
        .execute([])?;
        if let Some((generation, filter)) = self.filters.last_key_value() {
            db.prepare_cached("INSERT OR REPLACE INTO filter (generation, bits) VALUES (?1, ?2)")?
                .execute(params![generation, filter.to_bytes()])?;
        }
        Ok(())
    }
}

/// Forgets the identity of a delivery that is deleted.
pub(super) fn forget(db: &Connection, delivery: DeliveryId) -> rusqlite::Result<()> {
    db.prepare_cached(
        "DELETE FROM identity WHERE (generation, source, client_id, message_id) =
             (SELECT ?2, source, client_id, message_id FROM delivery WHERE id = ?1)",
    )?
    .execute(params![delivery, delivery >> GENERATION])?;
    Ok(())
}

/// A blocked Bloom filter: about one id in a thousand is taken for one that is there.
struct Filter {
    blocks: Box<[[u8; BLOCK]]>,
}

impl Filter {
    fn empty() -> Self {
        Filter { blocks: vec![[0; BLOCK]; BLOCKS].into_boxed_slice() }
    }

    fn build(db: &Connection, generation: i64) -> rusqlite::Result<Self> {
        let mut filter = Filter::empty();
        let mut rows =
            db.prepare("SELECT source, client_id, message_id FROM identity WHERE generation = ?1")?;
        let mut rows = rows.query([generation])?;
        while let Some(row) = rows.next()? {
            let text = |column| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
            filter.add(&Identity::new(text(0)?, text(1)?, text(2)?).hash);
        }
        Ok(filter)
    }

    fn add(&mut self, hash: &[u8; 32]) {
        let block = &mut self.blocks[place(hash)];
        bits(hash).for_each(|(byte, bit)| block[byte] |= bit);
    }

    fn may_hold(&self, hash: &[u8; 32]) -> bool {
        let block = &self.blocks[place(hash)];
        bits(hash).all(|(byte, bit)| block[byte] & bit != 0)
    }

    fn to_bytes(&self) -> &[u8] {
        self.blocks.as_flattened()
    }

    /// `None` if the bytes are not a filter of this size: then it is built anew.
    fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        let (blocks, []) = bytes.as_chunks::<BLOCK>() else { return None };
        (blocks.len() == BLOCKS).then(|| Filter { blocks: blocks.into() })
    }
}

/// The block of a hash: its first eight bytes choose it.
fn place(hash: &[u8; 32]) -> usize {
    let number = u64::from_le_bytes([
        hash[0], hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], hash[7],
    ]);
    // The remainder is below BLOCKS, which is a usize.
    (number % BLOCKS as u64) as usize
}

/// The bits of a hash in its block: each of the next pairs of bytes chooses one of 512.
fn bits(hash: &[u8; 32]) -> impl Iterator<Item = (usize, u8)> + '_ {
    hash[8..].chunks_exact(2).take(PROBES).map(|pair| {
        let bit = usize::from(u16::from_le_bytes([pair[0], pair[1]])) % (BLOCK * 8);
        (bit / 8, 1 << (bit % 8))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(message_id: &str) -> [u8; 32] {
        Identity::new("source", "client", message_id).hash
    }

    #[test]
    fn a_full_filter_misses_nothing_and_rarely_errs() {
        let mut filter = Filter::empty();
        let full = 1 << GENERATION;
        (0..full).for_each(|n| filter.add(&hash(&n.to_string())));
        assert!((0..full).all(|n| filter.may_hold(&hash(&n.to_string()))));
        let errors = (full..2 * full).filter(|n| filter.may_hold(&hash(&n.to_string()))).count();
        assert!(errors < full / 200, "{errors} of {full}");
    }

    #[test]
    fn a_stored_filter_is_the_same_filter() {
        let mut filter = Filter::empty();
        filter.add(&hash("a"));
        let stored = Filter::from_bytes(filter.to_bytes().to_vec()).unwrap();
        assert!(stored.may_hold(&hash("a")) && !stored.may_hold(&hash("b")));
        assert!(Filter::from_bytes(vec![0; 7]).is_none());
    }

    #[test]
    fn the_hash_keeps_the_parts_apart_and_never_changes() {
        assert_ne!(Identity::new("a", "bc", "d").hash, Identity::new("ab", "c", "d").hash);
        assert_eq!(hex::encode(&hash("m")[..8]), "9730416d0c17ce3c");
    }

    /// The tables of an inbox, in memory.
    fn database() -> Connection {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(include_str!("v1.sql")).unwrap();
        db
    }

    fn identity(message_id: &str) -> Identity<'_> {
        Identity::new("source", "client", message_id)
    }

    /// Keeps identities under these delivery numbers, each with its number as message id.
    fn insert(dedup: &mut Dedup, db: &Connection, deliveries: &[DeliveryId]) {
        for delivery in deliveries {
            dedup.insert(db, &identity(&delivery.to_string()), *delivery).unwrap();
        }
    }

    fn assert_known(dedup: &Dedup, db: &Connection, deliveries: &[DeliveryId]) {
        for delivery in deliveries {
            let found = dedup.find(db, &identity(&delivery.to_string())).unwrap();
            assert_eq!(found, Some(*delivery));
        }
        assert_eq!(dedup.find(db, &identity("unknown")).unwrap(), None);
    }

    fn stored_filters(db: &Connection) -> Vec<i64> {
        let mut stored = db.prepare("SELECT generation FROM filter ORDER BY 1").unwrap();
        stored.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }

    const FULL: DeliveryId = 1 << GENERATION;

    /// Two at each end of the first three generations, and one in the ninth.
    const SPREAD: [DeliveryId; 8] =
        [1, 2, FULL - 1, FULL, 2 * FULL - 1, 2 * FULL, 3 * FULL - 1, 8 * FULL + 5];

    #[test]
    fn ids_are_known_across_the_boundary_of_generations() {
        let db = database();
        let mut dedup = Dedup::load(&db).unwrap();
        insert(&mut dedup, &db, &SPREAD);
        assert_known(&dedup, &db, &SPREAD);
        assert_eq!(dedup.filters.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 8]);
        assert_eq!(stored_filters(&db), [0, 1, 2]);
    }

    #[test]
    fn reopening_knows_all_ids_with_and_without_stored_filters() {
        let db = database();
        insert(&mut Dedup::load(&db).unwrap(), &db, &SPREAD);
        assert_known(&Dedup::load(&db).unwrap(), &db, &SPREAD);
        db.execute("UPDATE filter SET bits = x'00' WHERE generation = 1", []).unwrap();
        db.execute("DELETE FROM filter WHERE generation = 2", []).unwrap();
        assert_known(&Dedup::load(&db).unwrap(), &db, &SPREAD);
        db.execute("DELETE FROM filter", []).unwrap();
        let mut reopened = Dedup::load(&db).unwrap();
        assert_known(&reopened, &db, &SPREAD);
        insert(&mut reopened, &db, &[9 * FULL]);
        assert_eq!(stored_filters(&db), [8]);
    }

    #[test]
    fn a_stored_filter_is_used_as_it_is() {
        let db = database();
        insert(&mut Dedup::load(&db).unwrap(), &db, &SPREAD);
        let empty = Filter::empty();
        db.execute("UPDATE filter SET bits = ?1 WHERE generation = 0", [empty.to_bytes()]).unwrap();
        assert_eq!(Dedup::load(&db).unwrap().find(&db, &identity("1")).unwrap(), None);
    }

    #[test]
    fn a_boundary_that_is_rolled_back_loses_no_id() {
        let mut db = database();
        let mut dedup = Dedup::load(&db).unwrap();
        insert(&mut dedup, &db, &[FULL - 2]);
        let tx = db.transaction().unwrap();
        insert(&mut dedup, &tx, &[FULL - 1, FULL]);
        tx.rollback().unwrap();
        insert(&mut dedup, &db, &[FULL - 1, FULL]);
        for dedup in [dedup, Dedup::load(&db).unwrap()] {
            assert_known(&dedup, &db, &[FULL - 2, FULL - 1, FULL]);
        }
    }

    #[test]
    fn the_filter_of_a_pruned_generation_is_deleted() {
        let db = database();
        let mut dedup = Dedup::load(&db).unwrap();
        insert(&mut dedup, &db, &SPREAD);
        db.execute("DELETE FROM identity WHERE generation = 1", []).unwrap();
        insert(&mut dedup, &db, &[9 * FULL]);
        assert_eq!(stored_filters(&db), [0, 2, 8]);
    }

    #[test]
    fn where_a_filter_errs_the_table_keeps_the_parts_apart() {
        let db = database();
        insert(&mut Dedup::load(&db).unwrap(), &db, &SPREAD);
        let holds_all = vec![0xFF; BLOCKS * BLOCK];
        db.execute("UPDATE filter SET bits = ?1", [holds_all]).unwrap();
        let dedup = Dedup::load(&db).unwrap();
        assert_known(&dedup, &db, &SPREAD);
        for other in [
            Identity::new("source", "other", "1"),
            Identity::new("other", "client", "1"),
            Identity::new("source", "", "1"),
            Identity::new("sourceclient", "", "1"),
        ] {
            assert_eq!(dedup.find(&db, &other).unwrap(), None);
        }
    }
}
