//! A disk with a volatile cache: every write and flush is journaled, and some fail as planned.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use memchr::memmem;

use crate::image::Image;

/// Begins the id of every message that is sent, and nothing else on the disk: it tells writes of data from those of the
/// file system.
pub(crate) const MARK: &str = "acknowledge-";

/// One entry of a disk's journal.
pub(crate) enum Entry {
    /// Bytes that are in the disk's cache since.
    Write { offset: u64, data: Box<[u8]> },
    /// Everything before the entry `covers` is on the medium since.
    Flush { covers: usize },
}

/// A write as the fault sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// Any that carries data of messages.
    Data,
    /// Data on its way into the write-ahead log.
    Log,
    /// Data on its way from the log into the database.
    Database,
    /// Any at all, the file system's own among them.
    Anything,
}

/// The writes and flushes that fail next.
#[derive(Default)]
struct Faults {
    writes: Option<(Target, u64)>,
    flushes: u64,
}

/// A disk.
pub(crate) struct Disk(Mutex<State>);

struct State {
    image: Image,
    flush_time: Duration,
    recording: Option<Recording>,
    faults: Faults,
    failed_writes: u64,
    failed_flushes: u64,
}

/// A disk's content at first, and its journal since.
pub(crate) struct Recording {
    pub(crate) base: Image,
    pub(crate) entries: Vec<Entry>,
}

/// The disk did not do what it was asked to.
pub(crate) struct Failed;

impl Disk {
    pub(crate) fn new(image: Image) -> Self {
        let state = State {
            image,
            flush_time: Duration::ZERO,
            recording: None,
            faults: Faults::default(),
            failed_writes: 0,
            failed_flushes: 0,
        };
        Disk(Mutex::new(state))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn size(&self) -> u64 {
        self.state().image.size()
    }

    pub(crate) fn read(&self, offset: u64, length: usize) -> Vec<u8> {
        self.state().image.read(offset, length)
    }

    pub(crate) fn write(&self, offset: u64, data: &[u8]) -> Result<(), Failed> {
        let mut state = self.state();
        if let Some((target, left)) = state.faults.writes
            && target.is_met(data)
        {
            state.faults.writes = (left > 1).then_some((target, left - 1));
            state.failed_writes += 1;
            return Err(Failed);
        }
        state.image.write(offset, data);
        if let Some(Recording { entries, .. }) = &mut state.recording {
            entries.push(Entry::Write { offset, data: data.into() });
        }
        Ok(())
    }

    /// Writes that come during a flush need not be covered by it.
    pub(crate) fn flush(&self) -> Result<(), Failed> {
        let covers = self.position();
        let flush_time = self.state().flush_time;
        std::thread::sleep(flush_time);
        let mut state = self.state();
        if state.faults.flushes > 0 {
            state.faults.flushes -= 1;
            state.failed_flushes += 1;
            return Err(Failed);
        }
        if let Some(Recording { entries, .. }) = &mut state.recording {
            entries.push(Entry::Flush { covers });
        }
        Ok(())
    }

    /// Starts the journal: what is there now is on the medium. From now on a flush takes its time.
    pub(crate) fn record(&self, flush_time: Duration) {
        let mut state = self.state();
        state.flush_time = flush_time;
        state.recording = Some(Recording { base: state.image.clone(), entries: Vec::new() });
    }

    /// Ends the journal.
    pub(crate) fn recorded(&self) -> Option<Recording> {
        self.state().recording.take()
    }

    /// The length of the journal.
    pub(crate) fn position(&self) -> usize {
        self.state().recording.as_ref().map_or(0, |recording| recording.entries.len())
    }

    /// Lets the next `count` writes of this kind fail.
    pub(crate) fn fail_writes(&self, target: Target, count: u64) {
        self.state().faults.writes = (count > 0).then_some((target, count));
    }

    /// Lets the next `count` flushes fail.
    pub(crate) fn fail_flushes(&self, count: u64) {
        self.state().faults.flushes = count;
    }

    /// The numbers of writes and flushes that have failed.
    pub(crate) fn failed(&self) -> (u64, u64) {
        let state = self.state();
        (state.failed_writes, state.failed_flushes)
    }
}

impl Target {
    fn is_met(self, data: &[u8]) -> bool {
        let has_mark = |data: &[u8]| memmem::find(data, MARK.as_bytes()).is_some();
        match self {
            Target::Anything => true,
            Target::Data => has_mark(data),
            Target::Database => has_mark(data) && is_of_a_database(data),
            Target::Log => has_mark(data) && !is_of_a_database(data),
        }
    }
}

/// Pages of a database stand at multiples of their size; in the log a header stands before each.
fn is_of_a_database(data: &[u8]) -> bool {
    data.len().is_multiple_of(PAGE) && data.chunks(PAGE).any(is_page)
}

const PAGE: usize = 4096;

/// A page of a table or an index: its first byte says so, and the rest of its head makes sense.
fn is_page(page: &[u8]) -> bool {
    let word = |at: usize| usize::from(page[at]) << 8 | usize::from(page[at + 1]);
    let (cells, content) = (word(3), word(5));
    let is_tree = matches!(page[0], 0x02 | 0x05 | 0x0a | 0x0d);
    is_tree && cells > 0 && content <= PAGE && content >= 8 + 2 * cells && page[7] <= 60
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Vec<u8> {
        let mut page = vec![0; PAGE];
        page[..8].copy_from_slice(&[0x0d, 0, 0, 0, 2, 0x0e, 0, 0]);
        page[0x0f00..][..MARK.len()].copy_from_slice(MARK.as_bytes());
        page
    }

    #[test]
    fn a_write_fails_once_and_only_where_it_is_meant_to() {
        let disk = Disk::new(Image::new(1 << 20));
        disk.record(Duration::ZERO);
        let log = [vec![1; 56], page(), vec![1; PAGE - 56]].concat();
        disk.fail_writes(Target::Database, 1);
        assert!(disk.write(0, &[0; PAGE]).is_ok(), "it has no data");
        assert!(disk.write(0, &log).is_ok(), "it is the log's");
        assert!(disk.write(8192, &page()).is_err());
        assert!(disk.write(8192, &page()).is_ok(), "one has failed");
        disk.fail_writes(Target::Log, 1);
        assert!(disk.write(8192, &page()).is_ok());
        assert!(disk.write(0, &log).is_err());
        assert_eq!(disk.failed(), (2, 0));
        assert_eq!(disk.position(), 4, "what has failed is not on the disk");
    }
}
