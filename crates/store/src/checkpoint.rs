//! Moves what is committed from the write-ahead log into the file, beside the writer, so that no call waits for it.

use std::sync::atomic::AtomicU32;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, MAIN_DB};
use tracing::warn;

use super::error::is_busy;
use super::place::Place;
use super::schema;

/// How often the log is moved if nobody asks for it.
const EVERY: Duration = Duration::from_secs(2);

/// The handle to the moving thread. Dropping it stops the thread.
pub(super) struct Checkpointer {
    wake: SyncSender<Wake>,
    thread: Option<JoinHandle<()>>,
}

/// Asks the moving thread for a move. Without such a thread nothing happens.
pub(super) struct Waker {
    frames: Arc<AtomicU32>,
    wake: SyncSender<Wake>,
}

enum Wake {
    Move,
    Stop,
}

/// The moving thread before it is started: `frames` counts the log's.
pub(super) fn waker() -> (Waker, Idle) {
    let (wake, woken) = sync_channel(1);
    let waker = Waker { frames: Arc::default(), wake: wake.clone() };
    (waker, Idle { wake, woken })
}

/// What the moving thread is started with.
pub(super) struct Idle {
    wake: SyncSender<Wake>,
    woken: Receiver<Wake>,
}

impl Waker {
    /// How many frames the log has.
    pub(super) fn frames(&self) -> &Arc<AtomicU32> {
        &self.frames
    }

    pub(super) fn wake(&self) {
        // One that has not begun yet will move these frames, too.
        let _ = self.wake.try_send(Wake::Move);
    }
}

impl Idle {
    pub(super) fn spawn(
        self,
        place: Arc<Place>,
        noun: &'static str,
    ) -> anyhow::Result<Checkpointer> {
        let db = schema::connect(place.path())?;
        let mover = Mover { db, place, noun, has_failed: false };
        let thread = std::thread::Builder::new()
            .name(format!("{noun}-checkpoint"))
            .spawn(move || mover.run(&self.woken))?;
        Ok(Checkpointer { wake: self.wake, thread: Some(thread) })
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        // One that panicked has left its work to the writer.
        let _ = self.wake.send(Wake::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Mover {
    db: Connection,
    place: Arc<Place>,
    noun: &'static str,
    has_failed: bool,
}

impl Mover {
    fn run(mut self, woken: &Receiver<Wake>) {
        let mut version = None;
        loop {
            match woken.recv_timeout(EVERY) {
                Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Wake::Move) => self.move_log(),
                Err(RecvTimeoutError::Timeout) => {
                    // The version changes with every commit of another connection, so an idle file is left alone.
                    let now = self
                        .db
                        .pragma_query_value(None, "data_version", |row| row.get::<_, i64>(0))
                        .ok();
                    if now != version {
                        self.move_log();
                        version = now;
                    }
                }
            }
        }
    }

    /// What could not be moved now is moved the next time, together with everything else that the log has.
    fn move_log(&mut self) {
        let _moving = self.place.moving.lock().unwrap_or_else(PoisonError::into_inner);
        match self.move_and_sync() {
            Ok(()) => self.has_failed = false,
            Err(error) => {
                let doubted = self.place.doubt().err();
                if !std::mem::replace(&mut self.has_failed, true) {
                    let index = doubted.map(tracing::field::display);
                    warn!(%error, index, "the log of the {} could not be moved into its file", self.noun);
                }
            }
        }
    }

    /// SQLite itself syncs only what is moved last, for which the writer would wait.
    fn move_and_sync(&self) -> anyhow::Result<()> {
        match self.db.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::PASSIVE) {
            Err(error) if is_busy(&error) => Ok(()),
            moved => {
                moved?;
                Ok(self.place.sync()?)
            }
        }
    }
}
