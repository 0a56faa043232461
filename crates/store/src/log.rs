//! Damage detection for a write-ahead log: SQLite itself silently uses the log up to the damage.
//!
//! The format is described in SQLite's "WAL-mode File Format".

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use super::store_file::CHECKPOINTED_FRAMES;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const MAGIC: u32 = 0x377f_0682;

/// Offset in the log's index of the salts, which identify its log.
const SALTS_OF_INDEX: std::ops::Range<usize> = 32..40;

/// Position of the damage in a log whose later transactions cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Damage {
    /// Number of the first damaged frame, from 1.
    pub(super) frame: u64,
    /// Number of transactions after it.
    pub(super) transactions: u64,
}

/// Number of frames of the log that had been checkpointed when the last process ended, by the log's index.
///
/// The number is 0 if the index belongs to another log, as after a power cut.
pub(super) fn checkpointed(log: &Path, index: &Path) -> io::Result<u64> {
    let (mut header, mut counts) = ([0; HEADER], [0; 100]);
    File::open(log)?.read_exact(&mut header)?;
    File::open(index)?.read_exact(&mut counts)?;
    let is_of_this_log = counts[SALTS_OF_INDEX] == header[16..24];
    let at = CHECKPOINTED_FRAMES as usize;
    let checkpointed = [counts[at], counts[at + 1], counts[at + 2], counts[at + 3]];
    Ok(if is_of_this_log { u32::from_ne_bytes(checkpointed).into() } else { 0 })
}

/// Finds the damage of a log that no process is writing to.
///
/// A crash can leave the last transaction incomplete, which was then not acknowledged: every transaction is synced
/// before the next one begins. So a log counts as damaged if more than one transaction cannot be read.
pub(super) fn damage(log: &Path) -> io::Result<Option<Damage>> {
    let file = match File::open(log) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => BufReader::new(file?),
    };
    let damage = read(file)?.filter(|damage| damage.transactions > 1);
    Ok(damage)
}

fn read(mut log: impl Read) -> io::Result<Option<Damage>> {
    let mut header = [0; HEADER];
    if !fill(&mut log, &mut header)? {
        return Ok(None);
    }
    let page = word(&header, 8);
    let mut sums = Sums { is_big: header[3] & 1 == 1, sums: [0, 0] };
    sums.add(&header[..24]);
    let is_header_valid = word(&header, 0) & !1 == MAGIC
        && (512..=65536).contains(&page)
        && page.is_power_of_two()
        && sums.are(&header[24..]);
    // Without a header the frames identify their log; every database of this program has this page size.
    let page = if is_header_valid { page as usize } else { 4096 };
    let mut salts = is_header_valid.then(|| header[16..24].to_vec());
    let mut damaged = (!is_header_valid).then_some(1);
    let mut frame = vec![0; FRAME_HEADER + page];
    let (mut number, mut transactions) = (0, 0);
    while fill(&mut log, &mut frame)? {
        number += 1;
        let is_ours = frame[8..16] == *salts.get_or_insert_with(|| frame[8..16].to_vec());
        if damaged.is_none() {
            sums.add(&frame[..8]);
            sums.add(&frame[FRAME_HEADER..]);
            if is_ours && sums.are(&frame[16..24]) {
                continue;
            }
            damaged = Some(number);
        }
        transactions += u64::from(is_ours && word(&frame, 4) > 0);
    }
    Ok(damaged.map(|frame| Damage { frame, transactions }))
}

/// Fills the buffer. Returns false if the file ends before.
fn fill(log: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match log.read_exact(buffer) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        filled => filled.map(|()| true),
    }
}

/// Big-endian word at an offset.
fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

/// Running checksum of a log.
struct Sums {
    is_big: bool,
    sums: [u32; 2],
}

impl Sums {
    fn add(&mut self, bytes: &[u8]) {
        let [mut first, mut second] = self.sums;
        let (pairs, _) = bytes.as_chunks::<8>();
        for pair in pairs {
            let (one, two) = (word(pair, 0), word(pair, 4));
            let (one, two) =
                if self.is_big { (one, two) } else { (one.swap_bytes(), two.swap_bytes()) };
            first = first.wrapping_add(one).wrapping_add(second);
            second = second.wrapping_add(two).wrapping_add(first);
        }
        self.sums = [first, second];
    }

    fn are(&self, written: &[u8]) -> bool {
        self.sums == [word(written, 0), word(written, 4)]
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    /// The log of five transactions, as SQLite writes it.
    fn log() -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA page_size = 4096;").unwrap();
        db.execute_batch("CREATE TABLE t (n)").unwrap();
        for n in 0..4 {
            db.execute("INSERT INTO t VALUES (?1)", [n]).unwrap();
        }
        std::fs::read(folder.path().join("test.db-wal")).unwrap()
    }

    fn flipped(at: usize) -> Option<Damage> {
        let mut log = log();
        log[at] ^= 1;
        read(&log[..]).unwrap()
    }

    #[test]
    fn a_whole_log_has_no_damage() {
        assert_eq!(read(&log()[..]).unwrap(), None);
        assert_eq!(read(&[][..]).unwrap(), None);
    }

    #[test]
    fn a_flipped_bit_is_found_with_the_transactions_behind_it() {
        let frames = (log().len() - HEADER) / (FRAME_HEADER + 4096);
        let third = HEADER + 2 * (FRAME_HEADER + 4096) + 1000;
        let damage = flipped(third).unwrap();
        assert_eq!(damage.frame, 3);
        assert_eq!(damage.transactions, frames as u64 - 2);
        assert!(damage.transactions > 1);
    }

    #[test]
    fn a_damaged_header_hides_every_transaction() {
        assert_eq!(flipped(17), Some(Damage { frame: 1, transactions: 5 }));
    }

    #[test]
    fn an_incomplete_last_transaction_is_no_damage() {
        let mut log = log();
        let last = log.len() - 10;
        log[last] ^= 1;
        assert_eq!(read(&log[..]).unwrap().unwrap().transactions, 1);
        assert_eq!(read(&log[..last]).unwrap(), None);
    }
}
