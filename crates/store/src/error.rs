//! Why a store cannot serve.

use rusqlite::{ErrorCode, ffi};

/// Why a store cannot serve. Every case means: come again later.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The queue in front of the writer is full.
    #[error("there is no room in its queue")]
    Busy,
    /// The disk has no room for new rows; nothing of the call was kept.
    #[error("the disk is full")]
    Full,
    /// The engine failed; nothing of the call was kept.
    #[error("{0}")]
    Unavailable(String),
}

/// A result of a store's call.
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

/// Whether there was no room, in the file or in what SQLite puts beside it.
pub(super) fn is_disk_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| {
        error.code == ErrorCode::DiskFull || error.extended_code == ffi::SQLITE_IOERR_SHMSIZE
    })
}

/// Whether a store cannot be opened because its disk is full, so that it can be when there is room.
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
