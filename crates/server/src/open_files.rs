//! The process's limit of open files.

use tracing::warn;

/// Files beside the connections: the store's, the log's, those of name lookups.
const OTHER_FILES: u64 = 256;

/// Every connection is a file descriptor, and the usual soft limit of 1,024 is far below what is allowed. Returns how many
/// of `more` there may be beyond what is needed.
pub fn allow_connections(needed: usize, more: usize) -> usize {
    let needed = (needed as u64).saturating_add(OTHER_FILES);
    match rlimit::increase_nofile_limit(needed.saturating_add(more as u64)) {
        Ok(allowed) if allowed < needed => {
            warn!(allowed, needed, "the limit of open files is below what the settings allow");
            0
        }
        Ok(allowed) => usize::try_from(allowed - needed).unwrap_or(usize::MAX).min(more),
        Err(error) => {
            warn!(%error, "cannot raise the limit of open files");
            more
        }
    }
}
