//! Pool of read connections, so that a long query does not delay the others.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::{Error, Result};
use super::schema;

/// Largest number of concurrent queries; further ones wait.
const READERS: usize = 8;

/// The pool. Connections are opened when they are needed, and kept.
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    turns: Arc<Semaphore>,
}

impl Readers {
    /// Opens the first connection.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let idle = Mutex::new(vec![schema::connect(path)?]);
        Ok(Readers { path: path.to_owned(), idle, turns: Arc::new(Semaphore::new(READERS)) })
    }

    /// Waits for the right to run a query.
    pub(super) async fn turn(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.turns).acquire_owned().await.expect("the turns are never closed")
    }

    /// Runs a query. A connection whose query panics is not used again.
    pub(super) fn with_connection<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.connect().map_err(|error| Error::Unavailable(format!("{error:#}")))?,
        };
        let result = query(&connection).map_err(Error::from);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        result
    }

    /// A further connection, with a small cache: it is rarely used.
    fn connect(&self) -> anyhow::Result<Connection> {
        let connection = schema::connect(&self.path)?;
        connection.pragma_update(None, "cache_size", -4096)?;
        Ok(connection)
    }
}
