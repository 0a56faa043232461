//! The embedded store: a private SQLite file, one writer thread with group commit, and concurrent readers.
//!
//! It depends on no crate of the engine; the inbox and the outbox are built on it.

mod backup;
mod checkpoint;
mod database;
mod error;
mod log;
mod readers;
mod reserve;
mod schema;
mod store_file;
mod work;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use rusqlite::Connection;
use tracing::warn;

use checkpoint::Checkpointer;
use database::Database;
use readers::Readers;
use reserve::Reserve;
use store_file::StoreFile;

pub use backup::Backup;
pub use backup::backup;
pub use error::{Error, Result, is_full};
pub use schema::Schema;
pub use work::{Tx, Work, WriterState, fire_and_forget};
pub use writer::{Queue, Writer, stopped};

/// Options for opening a store.
#[derive(Debug, Clone, Copy)]
pub struct StoreOptions {
    /// Capacity of the writer's queue, in calls; further calls are refused with [`Error::Busy`].
    pub queue: usize,
    /// True if this process is the file's one owner: only the owner migrates the schema and checkpoints the log.
    pub exclusive: bool,
}

/// A store in a SQLite file, with the writer's in-memory state.
pub struct Store<S: WriterState> {
    // Dropped in this order: the writer's connection closes last. It alone may empty the log when it closes.
    _checkpointer: Option<Checkpointer>,
    readers: Arc<Readers>,
    /// The writing thread.
    pub writer: Writer<S>,
    file: Arc<StoreFile>,
}

impl<S: WriterState> Store<S> {
    /// Opens the file, or creates it with its folder; `prepare` loads the writer's state from it.
    ///
    /// # Errors
    /// If the file cannot be written, belongs to another program, is damaged, comes from a newer version, or has another owner.
    pub fn open(
        path: &Path,
        schema: &Schema,
        options: StoreOptions,
        prepare: impl Fn(&Connection) -> anyhow::Result<S>,
    ) -> anyhow::Result<Self> {
        let (noun, is_owner) = (schema.noun, options.exclusive);
        let mut file = StoreFile::open(path, schema, is_owner)?;
        let reserve = Reserve::of(file.path());
        let mut is_damaged = false;
        if is_owner || file.is_unowned() {
            file.drop_cache();
            file.drop_log_cache();
            is_damaged = check_log(&file, schema, is_owner)?;
        }
        if is_owner {
            reserve.make();
        }
        let begin = || -> anyhow::Result<_> {
            let db = schema::open(file.path(), schema, is_owner, is_damaged)
                .with_context(|| format!("cannot open the {noun} {}", path.display()))?;
            let state = prepare(&db)
                .with_context(|| format!("cannot use the {noun} {}", path.display()))?;
            Ok((db, state))
        };
        let begun = match begin() {
            Err(error) if is_full(&error) && reserve.release() => begin(),
            begun => begun,
        };
        let (db, state) = begun?;
        let readers = Readers::open(file.path())
            .with_context(|| format!("cannot read the {noun} {}", path.display()))?;
        file.remember().with_context(|| format!("cannot watch the {noun}"))?;
        let file = Arc::new(file);
        let (waker, idle) = checkpoint::waker();
        let checkpointer = if is_owner { Some(idle.spawn(Arc::clone(&file), noun)?) } else { None };
        let db = Database::new(db, Arc::clone(&file), reserve, waker, noun, is_owner)?;
        Ok(Store {
            _checkpointer: checkpointer,
            readers: Arc::new(readers),
            writer: Writer::spawn(db, state, options.queue, noun)?,
            file,
        })
    }

    /// True if the opened files are still the ones at their paths.
    pub fn is_in_place(&self) -> bool {
        self.file.check().is_ok()
    }

    /// Bytes on disk of the store, and free bytes of its disk.
    pub fn disk(&self) -> (u64, Option<u64>) {
        self.file.disk()
    }

    /// Runs a query on a read connection, concurrently with the writer and with a few other queries.
    pub async fn read<T, F>(&self, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let turn = self.readers.turn().await;
        // The file must outlive the connection, however long the query takes.
        let (readers, file) = (Arc::clone(&self.readers), Arc::clone(&self.file));
        let query = move || {
            let result = readers.with_connection(query);
            drop((readers, file, turn));
            result
        };
        match tokio::task::spawn_blocking(query).await {
            Ok(result) => result,
            Err(error) => Err(Error::Unavailable(error.to_string())),
        }
    }
}

/// Checks the log for damage: SQLite silently uses a damaged log up to the damage. Returns true if the log is damaged and
/// will be used.
fn check_log(file: &StoreFile, schema: &Schema, is_owner: bool) -> anyhow::Result<bool> {
    let (noun, log) = (schema.noun, file.log());
    let damage = match log::damage(&log) {
        Ok(None) => return Ok(false),
        Ok(Some(damage)) => damage,
        Err(error) => {
            warn!(%error, "the log of the {noun} cannot be read");
            return Ok(false);
        }
    };
    ensure!(
        is_owner,
        "the log of the {noun} is damaged: {}; start the {} once, which reports what is lost",
        log.display(),
        schema.owner
    );
    let copy = copy_of(&log).with_context(|| {
        format!("the log of the {noun} is damaged, and {} cannot be copied", log.display())
    })?;
    // Checkpointed frames are in the file already; the older frames before the damage would overwrite them.
    let is_used = log::checkpointed(&log, &file.index()).unwrap_or(0) < damage.frame;
    if !is_used {
        std::fs::remove_file(&log).with_context(|| format!("cannot remove {}", log.display()))?;
    }
    warn!(
        file = %log.display(),
        frame = damage.frame,
        transactions = damage.transactions,
        copy = %copy.display(),
        "the log of the {noun} is damaged: up to this many of its latest transactions are lost, though they were acknowledged; ask the senders to send them again"
    );
    Ok(is_used)
}

/// Copies the log to a new file beside it, under an unused name.
fn copy_of(log: &Path) -> std::io::Result<PathBuf> {
    let mut names = (1..).map(|number| store_file::beside(log, &format!("-damaged-{number}")));
    let copy = names.find(|name| !name.exists()).unwrap_or_default();
    std::fs::copy(log, &copy)?;
    Ok(copy)
}

#[cfg(test)]
mod tests;
