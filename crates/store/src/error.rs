//! The store's error type.

use rusqlite::{ErrorCode, ffi};

/// Reason why a store cannot serve. Every variant is temporary: the caller should retry later.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The queue in front of the writer is full.
    #[error("there is no room in its queue")]
    Busy,
    /// The disk has no space for new rows; nothing of the call was stored.
    #[error("the disk is full")]
    Full,
    /// The engine failed; nothing of the call was stored.
    #[error("{0}")]
    Unavailable(String),
}

/// Result of a store call.
pub type Result<T> = std::result::Result<T, Error>;

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        match is_disk_full(&error) {
            true => Error::Full,
            false => Error::Unavailable(error.to_string()),
        }
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Error::Unavailable(error.to_string())
    }
}

/// True if the disk was full, for the file or for SQLite's companion files.
pub(super) fn is_disk_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| {
        error.code == ErrorCode::DiskFull || error.extended_code == ffi::SQLITE_IOERR_SHMSIZE
    })
}

/// True if a store cannot be opened because its disk is full, so that a later try can succeed.
pub fn is_full(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let sqlite = cause.downcast_ref::<rusqlite::Error>();
        let store = cause.downcast_ref::<Error>();
        let io = cause.downcast_ref::<std::io::Error>();
        matches!(store, Some(Error::Full))
            || sqlite.is_some_and(is_disk_full)
            || io.is_some_and(|error| error.kind() == std::io::ErrorKind::StorageFull)
    })
}

/// True if another connection holds a lock.
pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}
