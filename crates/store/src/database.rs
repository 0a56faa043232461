//! The writer's connection: transactions, and the conditions under which one may be acknowledged.
//!
//! A transaction is acknowledged only if the log below it is whole, the files are still in their place, and there is room.
//! After a failed commit the log's later part may be missing on disk although every following sync succeeds. So nothing is
//! acknowledged until everything committed has been moved into the database file, synced there, and the log has begun
//! anew on other blocks.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, ErrorCode, MAIN_DB, TransactionBehavior, ffi};
use tracing::{error, info, warn};

use super::checkpoint::Waker;
use super::error::{Error, Result, is_busy, is_disk_full};
use super::place::Place;
use super::reserve::Reserve;
use super::schema;
use super::work::{Tx, Work, WriterState};

/// A page and its header in the log, in bytes.
const FRAME: u64 = 4096 + 24;

/// How long emptying the log waits for those who read it.
const READERS: Duration = Duration::from_millis(100);

/// The writer's connection and what it knows of its files.
pub(super) struct Database {
    db: Connection,
    place: Arc<Place>,
    reserve: Reserve,
    waker: Waker,
    noun: &'static str,
    /// How many frames the log has.
    frames: Arc<AtomicU32>,
    /// Whether every committed frame of the log is known to be on disk.
    is_whole: bool,
    /// Whether that has been said to be otherwise.
    has_failed: bool,
    /// Whether rows were refused when they were last to be added.
    was_full: bool,
}

impl Database {
    /// `is_owner` if the process has the files for itself: then the log that it finds has to prove whole, too.
    pub(super) fn new(
        mut db: Connection,
        place: Arc<Place>,
        reserve: Reserve,
        waker: Waker,
        noun: &'static str,
        is_owner: bool,
    ) -> rusqlite::Result<Self> {
        let frames = Arc::clone(waker.frames());
        let counted = Arc::clone(&frames);
        db.wal_hook(Some(move |_: &mut _, pages: i32| {
            counted.store(pages.unsigned_abs(), Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(Database {
            db,
            place,
            reserve,
            waker,
            noun,
            frames,
            is_whole: !is_owner,
            has_failed: false,
            was_full: false,
        })
    }

    /// How many bytes of one transaction the log takes well.
    pub(super) fn longest_batch(&self) -> u64 {
        self.reserve.log / 4
    }

    /// Runs the batch in one transaction: all of it is on disk, or none. Work that adds rows is refused on a full disk.
    pub(super) fn transact<S: WriterState>(
        &mut self,
        batch: &mut [Work<S>],
        state: &mut S,
    ) -> Result<()> {
        self.check_place()?;
        self.mend()?;
        if batch.iter().any(Work::adds) && !self.has_room() {
            batch.iter_mut().filter(|work| work.adds()).for_each(|work| work.refuse(Error::Full));
        }
        let committed = self.commit(batch, state);
        if let Err(error) = &committed {
            self.note_failure(error);
        }
        Ok(committed?)
    }

    fn commit<S: WriterState>(&self, batch: &mut [Work<S>], state: &mut S) -> rusqlite::Result<()> {
        let transaction =
            rusqlite::Transaction::new_unchecked(&self.db, TransactionBehavior::Immediate)?;
        for work in batch {
            work.run(&mut Tx { db: &transaction, state })?;
        }
        state.before_commit(&transaction)?;
        transaction.commit()
    }

    /// Whether what is committed will be found by the next start.
    pub(super) fn check_place(&mut self) -> Result<()> {
        let Err(reason) = self.place.check() else { return Ok(()) };
        if !self.has_failed {
            error!("{reason}");
        }
        (self.is_whole, self.has_failed) = (false, true);
        Err(Error::Unavailable(reason))
    }

    /// Shortens the log if it has grown long, after the batch has been answered.
    pub(super) fn tidy(&mut self) {
        let length = self.log();
        if length >= self.reserve.log / 4 * 3 {
            // Most of it has been moved beside the writer, so the rest is quick, and the next transaction begins anew.
            match self.db.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::PASSIVE) {
                Err(error) if is_busy(&error) => {}
                Err(error) => self.note_failure(&error),
                Ok(_) => {}
            }
        } else if length >= self.reserve.log / 8 {
            self.waker.wake();
        }
    }

    /// A panic may have left the connection in any state.
    pub(super) fn note_panic(&mut self) {
        self.is_whole = false;
    }

    fn note_failure(&mut self, error: &rusqlite::Error) {
        if !spoils(error) {
            return;
        }
        if is_disk_full(error) {
            self.reserve.release();
        }
        if !self.has_failed {
            warn!(%error, "the {} could not be written; nothing is acknowledged until its log is whole again", self.noun);
        }
        (self.is_whole, self.has_failed) = (false, true);
    }

    /// Makes sure that every committed frame is on disk, however the log came to be in doubt.
    fn mend(&mut self) -> Result<()> {
        if self.is_whole {
            return Ok(());
        }
        let mut mended = self.begin_log_anew();
        // Moving the log can take room, which the reserve has.
        if matches!(&mended, Err(error) if !is_busy(error)) && self.reserve.release() {
            mended = self.begin_log_anew();
        }
        if let Err(error) = mended {
            if !std::mem::replace(&mut self.has_failed, true) {
                warn!(%error, "the log of the {} cannot be begun anew; nothing is acknowledged until then, which may wait for another process that reads it", self.noun);
            }
            return Err(error.into());
        }
        if self.has_failed {
            info!("the {} can be written again, and its log is whole", self.noun);
        }
        (self.is_whole, self.has_failed) = (true, false);
        Ok(())
    }

    fn begin_log_anew(&self) -> rusqlite::Result<()> {
        let _moving = self.place.moving.lock().unwrap_or_else(PoisonError::into_inner);
        self.place.doubt().map_err(|error| {
            let code =
                ffi::Error { code: ErrorCode::SystemIoFailure, extended_code: ffi::SQLITE_IOERR };
            rusqlite::Error::SqliteFailure(code, Some(error.to_string()))
        })?;
        // Whoever waits for the answer waits for those who read, too.
        self.db.busy_timeout(READERS)?;
        let moved = self.db.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::TRUNCATE);
        self.db.busy_timeout(schema::BUSY)?;
        moved?;
        self.place
            .doubt()
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        // Writing the same number again writes and syncs a page: the new log can be written.
        let version: i64 = self.db.pragma_query_value(None, "user_version", |row| row.get(0))?;
        self.db.pragma_update(None, "user_version", version)
    }

    /// Whether rows may be added.
    fn has_room(&mut self) -> bool {
        if !self.reserve.holds(self.log()) {
            // A long reader keeps the log from being emptied, however much is written. Perhaps it has gone.
            let _ = self.begin_log_anew();
        }
        let log = self.log();
        let has_room = (self.reserve.make() || self.has_spare_pages()) && self.reserve.holds(log);
        if has_room == self.was_full {
            match has_room {
                true => info!("the {} has room again", self.noun),
                false => warn!(
                    needed = self.reserve.needed(),
                    log,
                    "the disk of the {} is full: nothing new is accepted until so many bytes are free, and so many of its log moved",
                    self.noun
                ),
            }
        }
        self.was_full = !has_room;
        has_room
    }

    /// The log's length in bytes.
    fn log(&self) -> u64 {
        u64::from(self.frames.load(Ordering::Relaxed)) * FRAME
    }

    fn has_spare_pages(&self) -> bool {
        let number = |name| self.db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let unused = number("freelist_count").unwrap_or(0).unsigned_abs() * 4096;
        let log = std::fs::metadata(self.place.log()).map_or(0, |log| log.len());
        self.reserve.is_spare(unused, log)
    }
}

impl Drop for Database {
    /// The last connection to be closed moves what is left of the log and deletes it, which it must not if that is in doubt.
    fn drop(&mut self) {
        if self.check_place().is_err() || self.mend().is_err() {
            // The next start finds the log and mends it.
            let _ = schema::keep_log_on_close(&self.db, true);
        }
    }
}

/// Whether a failure can leave the log other on disk than in memory. A call's own failure cannot, and a lock is only waited for.
fn spoils(error: &rusqlite::Error) -> bool {
    match error.sqlite_error_code() {
        None => false,
        Some(code) => !matches!(
            code,
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::ConstraintViolation
                | ErrorCode::TypeMismatch
                | ErrorCode::TooBig
        ),
    }
}
