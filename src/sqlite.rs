//! What every embedded store is made of: a file that nobody else may read, one thread that writes it, and readers beside it.

mod checkpoint;
mod file;
mod schema;
mod writer;

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use rusqlite::Connection;

use checkpoint::Checkpointer;

pub(crate) use schema::Schema;
pub(crate) use writer::{Memory, Queue, Tx, Work, Writer, stopped, unheard};

/// Why a store cannot serve. Every case means: come again later.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Error {
    /// The queue in front of the writer is full.
    #[error("there is no room in its queue")]
    Busy,
    /// The engine failed; nothing of the call was kept.
    #[error("{0}")]
    Unavailable(String),
}

/// A result of a store's call.
pub(crate) type Result<T> = std::result::Result<T, Error>;

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Error::Unavailable(error.to_string())
    }
}

/// How a store is opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// How many calls may wait for the writer; more are refused with [`Error::Busy`].
    pub(crate) queue: usize,
    /// Whether this process is the file's one owner: it alone brings it up to date and empties its log.
    pub(crate) exclusive: bool,
}

/// A store in a SQLite file, and what its writer knows besides.
pub(crate) struct Store<M: Memory> {
    // Dropped in this order: the writer ends last, with the file's last connection, which empties the log.
    _checkpointer: Option<Checkpointer>,
    reader: Arc<Mutex<Connection>>,
    pub(crate) writer: Writer<M>,
    /// Held for as long as this process is the file's one owner.
    _lock: Option<File>,
}

impl<M: Memory> Store<M> {
    /// Opens the file, or makes it with its folder; `prepare` makes the writer's memory from what is in it.
    ///
    /// # Errors
    /// If it cannot be written, is another program's, is damaged, comes from a newer version, or has another owner.
    pub(crate) fn open(
        path: &Path,
        schema: &Schema,
        options: Options,
        prepare: impl FnOnce(&Connection) -> anyhow::Result<M>,
    ) -> anyhow::Result<Self> {
        let (noun, shown) = (schema.noun, path.display());
        file::make(path, noun)?;
        // One file has one lock, by whatever name it is opened.
        let path =
            &path.canonicalize().with_context(|| format!("cannot open the {noun} {shown}"))?;
        let lock = if options.exclusive { Some(file::lock(path, schema)?) } else { None };
        let db = schema::open(path, schema, options.exclusive)
            .with_context(|| format!("cannot open the {noun} {shown}"))?;
        let memory = prepare(&db).with_context(|| format!("cannot use the {noun} {shown}"))?;
        let checkpointer = match options.exclusive {
            true => Some(Checkpointer::spawn(path, noun)?),
            false => None,
        };
        let reader = schema::connect(path).with_context(|| format!("cannot read {shown}"))?;
        Ok(Store {
            _checkpointer: checkpointer,
            reader: Arc::new(Mutex::new(reader)),
            writer: Writer::spawn(db, memory, options.queue, noun)?,
            _lock: lock,
        })
    }

    /// Runs a query beside the writer.
    pub(crate) async fn read<T, F>(&self, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let reader = Arc::clone(&self.reader);
        let query = move || query(&reader.lock().unwrap_or_else(PoisonError::into_inner));
        match tokio::task::spawn_blocking(query).await {
            Ok(result) => result.map_err(Error::from),
            Err(error) => Err(Error::Unavailable(error.to_string())),
        }
    }
}
