//! Checkpoint thread: copies committed pages from the write-ahead log into the database file, so that no call waits for it.

use std::sync::atomic::AtomicU32;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, MAIN_DB};
use tracing::warn;

use super::error::is_busy;
use super::schema;
use super::store_file::StoreFile;

/// Time between two checkpoints that nothing requested.
const EVERY: Duration = Duration::from_secs(2);

/// Handle to the checkpoint thread. Dropping it stops the thread.
pub(super) struct Checkpointer {
    wake: SyncSender<Wake>,
    thread: Option<JoinHandle<()>>,
}

/// Requests checkpoints. Without a checkpoint thread it has no effect.
pub(super) struct Waker {
    frames: Arc<AtomicU32>,
    wake: SyncSender<Wake>,
}

enum Wake {
    Checkpoint,
    Stop,
}

/// Creates the waker, and the checkpoint thread before its start. `frames` counts the log's frames.
pub(super) fn waker() -> (Waker, Idle) {
    let (wake, woken) = sync_channel(1);
    let waker = Waker { frames: Arc::default(), wake: wake.clone() };
    (waker, Idle { wake, woken })
}

/// Checkpoint thread before its start.
pub(super) struct Idle {
    wake: SyncSender<Wake>,
    woken: Receiver<Wake>,
}

impl Waker {
    /// Number of frames in the log.
    pub(super) fn frames(&self) -> &Arc<AtomicU32> {
        &self.frames
    }

    pub(super) fn wake(&self) {
        // A checkpoint that has not begun yet includes these frames.
        let _ = self.wake.try_send(Wake::Checkpoint);
    }
}

impl Idle {
    pub(super) fn spawn(
        self,
        file: Arc<StoreFile>,
        noun: &'static str,
    ) -> anyhow::Result<Checkpointer> {
        let db = schema::connect(file.path())?;
        let thread = CheckpointThread { db, file, noun, has_failed: false };
        let thread = std::thread::Builder::new()
            .name(format!("{noun}-checkpoint"))
            .spawn(move || thread.run(&self.woken))?;
        Ok(Checkpointer { wake: self.wake, thread: Some(thread) })
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        // After a panic the writer does the work.
        let _ = self.wake.send(Wake::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct CheckpointThread {
    db: Connection,
    file: Arc<StoreFile>,
    noun: &'static str,
    has_failed: bool,
}

impl CheckpointThread {
    fn run(mut self, woken: &Receiver<Wake>) {
        let mut version = None;
        loop {
            match woken.recv_timeout(EVERY) {
                Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Wake::Checkpoint) => self.checkpoint(),
                Err(RecvTimeoutError::Timeout) => {
                    // The version changes with every commit of another connection, so an idle file is left alone.
                    let now = self
                        .db
                        .pragma_query_value(None, "data_version", |row| row.get::<_, i64>(0))
                        .ok();
                    if now != version {
                        self.checkpoint();
                        version = now;
                    }
                }
            }
        }
    }

    /// Runs a checkpoint. The next one includes the frames that this one could not copy.
    fn checkpoint(&mut self) {
        let _checkpointing = self.file.checkpointing.lock().unwrap_or_else(PoisonError::into_inner);
        match self.checkpoint_and_sync() {
            Ok(()) => self.has_failed = false,
            Err(error) => {
                let index_error = self.file.restart_checkpoint().err();
                if !std::mem::replace(&mut self.has_failed, true) {
                    let index = index_error.map(tracing::field::display);
                    warn!(%error, index, "the log of the {} could not be copied into its file", self.noun);
                }
            }
        }
    }

    /// Syncs after every checkpoint: SQLite itself syncs only the last one, for which the writer would wait.
    fn checkpoint_and_sync(&self) -> anyhow::Result<()> {
        match self.db.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::PASSIVE) {
            Err(error) if is_busy(&error) => Ok(()),
            checkpointed => {
                checkpointed?;
                Ok(self.file.sync()?)
            }
        }
    }
}
