//! The writer's connection: transactions, and the conditions under which one may be acknowledged.
//!
//! A transaction is acknowledged only if the log is intact, the files are still at their paths, and there is disk space.
//! After a failed commit the end of the log may be missing on disk although every following sync succeeds. So nothing is
//! acknowledged until all committed pages have been checkpointed into the database file, synced there, and the log has
//! been restarted on other blocks.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, ErrorCode, MAIN_DB, TransactionBehavior, ffi};
use tracing::{error, info, warn};

use super::checkpoint::Waker;
use super::error::{Error, Result, is_busy, is_disk_full};
use super::reserve::Reserve;
use super::schema;
use super::store_file::StoreFile;
use super::work::{Tx, Work, WriterState};

/// Size of a page with its header in the log, in bytes.
const FRAME: u64 = 4096 + 24;

/// The longest that emptying the log waits for readers.
const READERS: Duration = Duration::from_millis(100);

/// The writer's connection, with the condition of its files.
pub(super) struct Database {
    db: Connection,
    file: Arc<StoreFile>,
    reserve: Reserve,
    waker: Waker,
    noun: &'static str,
    /// Number of frames in the log.
    frames: Arc<AtomicU32>,
    /// True if every committed frame of the log is known to be on disk.
    is_log_intact: bool,
    /// True if a failure has been logged and not yet repaired.
    has_failed: bool,
    /// True if the latest attempt to add rows found the disk full.
    was_full: bool,
}

impl Database {
    /// Wraps the writer's connection. An owner also has to verify the existing log before its first transaction.
    pub(super) fn new(
        mut db: Connection,
        file: Arc<StoreFile>,
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
            file,
            reserve,
            waker,
            noun,
            frames,
            is_log_intact: !is_owner,
            has_failed: false,
            was_full: false,
        })
    }

    /// Preferred size of one transaction, in bytes.
    pub(super) fn longest_batch(&self) -> u64 {
        self.reserve.log / 4
    }

    /// Runs the batch in one transaction, all or nothing. Work that adds rows is refused on a full disk.
    pub(super) fn transact<S: WriterState>(
        &mut self,
        batch: &mut [Work<S>],
        state: &mut S,
    ) -> Result<()> {
        self.check_files()?;
        self.repair_log()?;
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

    /// Checks that the next start will open the same files.
    pub(super) fn check_files(&mut self) -> Result<()> {
        let Err(reason) = self.file.check() else { return Ok(()) };
        if !self.has_failed {
            error!("{reason}");
        }
        (self.is_log_intact, self.has_failed) = (false, true);
        Err(Error::Unavailable(reason))
    }

    /// Shortens a long log, after the batch has been answered.
    pub(super) fn shorten_log(&mut self) {
        let length = self.log();
        if length >= self.reserve.log / 4 * 3 {
            // The checkpoint thread has copied most of it, so this is quick, and the next transaction restarts the log.
            match self.db.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::PASSIVE) {
                Err(error) if is_busy(&error) => {}
                Err(error) => self.note_failure(&error),
                Ok(_) => {}
            }
        } else if length >= self.reserve.log / 8 {
            self.waker.wake();
        }
    }

    /// Marks the log as unverified: a panic may have left the connection in any state.
    pub(super) fn note_panic(&mut self) {
        self.is_log_intact = false;
    }

    fn note_failure(&mut self, error: &rusqlite::Error) {
        if !can_damage_log(error) {
            return;
        }
        if is_disk_full(error) {
            self.reserve.release();
        }
        if !self.has_failed {
            warn!(%error, "the {} could not be written; nothing is acknowledged until its log is intact again", self.noun);
        }
        (self.is_log_intact, self.has_failed) = (false, true);
    }

    /// Ensures that every committed frame is on disk, after any kind of failure.
    fn repair_log(&mut self) -> Result<()> {
        if self.is_log_intact {
            return Ok(());
        }
        let mut repaired = self.restart_log();
        // A checkpoint can need disk space, which the reserve frees.
        if matches!(&repaired, Err(error) if !is_busy(error)) && self.reserve.release() {
            repaired = self.restart_log();
        }
        if let Err(error) = repaired {
            if !std::mem::replace(&mut self.has_failed, true) {
                warn!(%error, "the log of the {} cannot be restarted; nothing is acknowledged until then, which may depend on another process that reads it", self.noun);
            }
            return Err(error.into());
        }
        if self.has_failed {
            info!("the {} can be written again, and its log is intact", self.noun);
        }
        (self.is_log_intact, self.has_failed) = (true, false);
        Ok(())
    }

    fn restart_log(&self) -> rusqlite::Result<()> {
        let _checkpointing = self.file.checkpointing.lock().unwrap_or_else(PoisonError::into_inner);
        self.file.restart_checkpoint().map_err(|error| {
            let code =
                ffi::Error { code: ErrorCode::SystemIoFailure, extended_code: ffi::SQLITE_IOERR };
            rusqlite::Error::SqliteFailure(code, Some(error.to_string()))
        })?;
        // The caller waits for the readers, too.
        self.db.busy_timeout(READERS)?;
        let emptied = self.db.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::TRUNCATE);
        self.db.busy_timeout(schema::BUSY)?;
        emptied?;
        self.file
            .restart_checkpoint()
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        // Writing the same number again writes and syncs a page, which proves that the new log can be written.
        let version: i64 = self.db.pragma_query_value(None, "user_version", |row| row.get(0))?;
        self.db.pragma_update(None, "user_version", version)
    }

    /// True if there is disk space for new rows.
    fn has_room(&mut self) -> bool {
        if !self.reserve.holds(self.log()) {
            // A long-running reader keeps the log from being emptied. It may have ended.
            let _ = self.restart_log();
        }
        let log = self.log();
        let has_room = (self.reserve.make() || self.has_spare_pages()) && self.reserve.holds(log);
        if has_room == self.was_full {
            match has_room {
                true => info!("the {} has space again", self.noun),
                false => warn!(
                    needed = self.reserve.needed(),
                    log,
                    "the disk of the {} is full: nothing new is accepted until `needed` bytes are free and `log` bytes of its log are checkpointed",
                    self.noun
                ),
            }
        }
        self.was_full = !has_room;
        has_room
    }

    /// Length of the log, in bytes.
    fn log(&self) -> u64 {
        u64::from(self.frames.load(Ordering::Relaxed)) * FRAME
    }

    fn has_spare_pages(&self) -> bool {
        let number = |name| self.db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let unused = number("freelist_count").unwrap_or(0).unsigned_abs() * 4096;
        let log = std::fs::metadata(self.file.log()).map_or(0, |log| log.len());
        self.reserve.is_spare(unused, log)
    }
}

impl Drop for Database {
    /// Keeps a log that is in doubt: the last connection to close would checkpoint and delete it.
    fn drop(&mut self) {
        if self.check_files().is_err() || self.repair_log().is_err() {
            // The next start repairs the log.
            let _ = schema::keep_log_on_close(&self.db, true);
        }
    }
}

/// True if a failure can leave the log on disk different from the one in memory. A call's own failure and a lock cannot.
fn can_damage_log(error: &rusqlite::Error) -> bool {
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
