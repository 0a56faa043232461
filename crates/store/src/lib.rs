//! What every embedded store is made of: a file that nobody else may read, one thread that writes it, and readers beside it.

mod backup;
mod checkpoint;
mod database;
mod error;
mod log;
mod place;
mod reserve;
mod schema;
mod work;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, ensure};
use rusqlite::Connection;
use tracing::warn;

use checkpoint::Checkpointer;
use database::Database;
use place::Place;
use reserve::Reserve;

pub use backup::Backup;
pub use backup::backup;
pub use error::{Error, Result, is_full};
pub use schema::Schema;
pub use work::{Tx, Work, WriterState, fire_and_forget};
pub use writer::{Queue, Writer, stopped};

/// How a store is opened.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How many calls may wait for the writer; more are refused with [`Error::Busy`].
    pub queue: usize,
    /// Whether this process is the file's one owner: it alone brings it up to date and empties its log.
    pub exclusive: bool,
}

/// A store in a SQLite file, and what its writer knows besides.
pub struct Store<S: WriterState> {
    // Dropped in this order: of these connections the writer's ends last. It alone may empty the log as it is closed.
    _checkpointer: Option<Checkpointer>,
    reader: Arc<Mutex<Connection>>,
    /// The writing thread.
    pub writer: Writer<S>,
    place: Arc<Place>,
}

impl<S: WriterState> Store<S> {
    /// Opens the file, or makes it with its folder; `prepare` makes the writer's state from what is in it.
    ///
    /// # Errors
    /// If it cannot be written, is another program's, is damaged, comes from a newer version, or has another owner.
    pub fn open(
        path: &Path,
        schema: &Schema,
        options: Options,
        prepare: impl Fn(&Connection) -> anyhow::Result<S>,
    ) -> anyhow::Result<Self> {
        let (noun, is_owner) = (schema.noun, options.exclusive);
        let mut place = Place::open(path, schema, is_owner)?;
        let reserve = Reserve::of(place.path());
        let mut is_damaged = false;
        if is_owner || place.is_unowned() {
            place.drop_cache();
            place.drop_log_cache();
            is_damaged = examine_log(&place, schema, is_owner)?;
        }
        if is_owner {
            reserve.make();
        }
        let begin = || -> anyhow::Result<_> {
            let db = schema::open(place.path(), schema, is_owner, is_damaged)
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
        let reader = schema::connect(place.path())
            .with_context(|| format!("cannot read the {noun} {}", path.display()))?;
        place.remember().with_context(|| format!("cannot watch the {noun}"))?;
        let place = Arc::new(place);
        let (waker, idle) = checkpoint::waker();
        let checkpointer =
            if is_owner { Some(idle.spawn(Arc::clone(&place), noun)?) } else { None };
        let db = Database::new(db, Arc::clone(&place), reserve, waker, noun, is_owner)?;
        Ok(Store {
            _checkpointer: checkpointer,
            reader: Arc::new(Mutex::new(reader)),
            writer: Writer::spawn(db, state, options.queue, noun)?,
            place,
        })
    }

    /// Whether what was committed is still in its place.
    pub fn is_in_place(&self) -> bool {
        self.place.check().is_ok()
    }

    /// Runs a query beside the writer.
    pub async fn read<T, F>(&self, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        // The place must outlive the connection, however long the query takes.
        let (reader, place) = (Arc::clone(&self.reader), Arc::clone(&self.place));
        let query = move || {
            let result = query(&reader.lock().unwrap_or_else(PoisonError::into_inner));
            drop((reader, place));
            result
        };
        match tokio::task::spawn_blocking(query).await {
            Ok(result) => result.map_err(Error::from),
            Err(error) => Err(Error::Unavailable(error.to_string())),
        }
    }
}

/// SQLite uses a damaged log up to the damage and says nothing. Returns whether it is damaged and will be used.
fn examine_log(place: &Place, schema: &Schema, is_owner: bool) -> anyhow::Result<bool> {
    let (noun, log) = (schema.noun, place.log());
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
        "the log of the {noun} is damaged: {}; start the {} once, which says what is lost",
        log.display(),
        schema.owner
    );
    let copy = copy_of(&log).with_context(|| {
        format!("the log of the {noun} is damaged, and {} cannot be copied", log.display())
    })?;
    // What has been moved is in the file already; the log before the damage would take it back.
    let is_used = log::moved(&log, &place.index()).unwrap_or(0) < damage.frame;
    if !is_used {
        std::fs::remove_file(&log).with_context(|| format!("cannot remove {}", log.display()))?;
    }
    warn!(
        file = %log.display(),
        frame = damage.frame,
        transactions = damage.transactions,
        copy = %copy.display(),
        "the log of the {noun} is damaged: up to so many of its latest transactions are lost, though they were acknowledged; ask the senders to send again"
    );
    Ok(is_used)
}

/// A copy beside the log, under a name that no earlier one has.
fn copy_of(log: &Path) -> std::io::Result<PathBuf> {
    let mut names = (1..).map(|number| place::beside(log, &format!("-damaged-{number}")));
    let copy = names.find(|name| !name.exists()).unwrap_or_default();
    std::fs::copy(log, &copy)?;
    Ok(copy)
}

#[cfg(test)]
mod tests;
