//! Moves what is committed from the write-ahead log into the file, beside the writer, so that no call waits for it.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;

use super::schema;

/// How often the log is moved. The writer does it itself if the log outgrows its longest before.
const EVERY: Duration = Duration::from_secs(2);

/// The handle to the moving thread. Dropping it stops the thread.
pub(super) struct Checkpointer {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    pub(super) fn spawn(path: &Path, noun: &str) -> anyhow::Result<Self> {
        let db = schema::connect(path)?;
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name(format!("{noun}-checkpoint"))
            .spawn(move || run(&db, &stopped))?;
        Ok(Checkpointer { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A checkpoint that panicked left its work to the writer.
            let _ = thread.join();
        }
    }
}

fn run(db: &Connection, stopped: &Receiver<()>) {
    let mut version = None;
    while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
        // The version changes with every commit of another connection, so an idle file is left alone.
        let now: Option<i64> = db.pragma_query_value(None, "data_version", |row| row.get(0)).ok();
        if now != version {
            // What could not be moved now is moved the next time.
            let _ = db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
            version = now;
        }
    }
}
