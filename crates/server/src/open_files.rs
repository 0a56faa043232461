//! Limit of open files of the process.

use tracing::warn;

/// Number of files besides connections: those of the store, the log and name lookups.
const OTHER_FILES: u64 = 256;

/// Raises the soft limit of open files, since every connection needs a descriptor and the usual limit is 1,024. Returns
/// how many of `more` are allowed beyond `needed`.
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
