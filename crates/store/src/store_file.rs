//! The database file and its companion files: created private, locked for one owner, watched for removal.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, bail, ensure};
use rustix::fs::{Advice, fadvise, statvfs};

use super::Schema;

/// Offset in the log's index of the number of frames checkpointed into the database file: `nBackfill` in SQLite's
/// "WAL-mode File Format".
pub(super) const CHECKPOINTED_FRAMES: u64 = 96;

/// A database file in use.
///
/// The value holds its own descriptors. Closing any descriptor of a file gives up all record locks that the process has on it,
/// SQLite's included, so this value must outlive the connections.
pub(super) struct StoreFile {
    path: PathBuf,
    noun: &'static str,
    file: File,
    /// The log's index, once SQLite has opened it.
    index: Option<File>,
    /// Held during a checkpoint that may end in [`restart_checkpoint`](Self::restart_checkpoint), so that no other checkpoint
    /// counts meanwhile.
    pub(super) checkpointing: Mutex<()>,
    /// Identities of the database file, its log and the log's index at the time of opening.
    opened: Vec<(PathBuf, FileId)>,
}

/// Identity of a file, independent of its path: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId(u64, u64);

impl From<&Metadata> for FileId {
    fn from(metadata: &Metadata) -> Self {
        FileId(metadata.dev(), metadata.ino())
    }
}

impl StoreFile {
    /// Bytes of the database file and its log, and free bytes of their disk.
    pub(super) fn disk(&self) -> (u64, Option<u64>) {
        // Not opened: see above.
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let free = statvfs(folder).ok().map(|volume| volume.f_bavail * volume.f_frsize);
        (size(&self.path) + size(&self.log()), free)
    }

    /// Opens the database file, or creates it with its folder. An owner holds a lock on it until the process ends.
    pub(super) fn open(path: &Path, schema: &Schema, is_owner: bool) -> anyhow::Result<Self> {
        let Schema { noun, owner, setting, .. } = schema;
        let shown = path.display();
        let is_new = make(path, noun)?;
        let path =
            path.canonicalize().with_context(|| format!("cannot open the {noun} {shown}"))?;
        let file = OpenOptions::new().read(true).write(true).open(&path);
        let file = file.with_context(|| format!("cannot open the {noun} {shown} for writing"))?;
        if is_owner && let Err(error) = file.try_lock() {
            // Closing it here would release the record locks of another store in this process.
            std::mem::forget(file);
            match error {
                TryLockError::WouldBlock => bail!(
                    "another {owner} is running on the {noun} {shown}; stop it, or give this one another with {setting}"
                ),
                TryLockError::Error(error) => {
                    return Err(error).with_context(|| format!("cannot lock the {noun} {shown}"));
                }
            }
        }
        let metadata = file.metadata()?;
        ensure!(
            metadata.nlink() <= 1,
            "the {noun} {shown} has a second name (a hard link), and each name would have a log of its own; remove one, or copy the file"
        );
        if is_owner && is_new {
            tracing::warn!(
                file = %path.display(),
                "created a new {noun} without any earlier deliveries; if there was one before, check that its volume is mounted"
            );
        }
        let checkpointing = Mutex::default();
        Ok(StoreFile { path, noun, file, index: None, checkpointing, opened: Vec::new() })
    }

    /// True if no owner has the file open, so that its contents are those that a crash left.
    pub(super) fn is_unowned(&self) -> bool {
        let is_unowned = self.file.try_lock_shared().is_ok();
        if is_unowned {
            let _ = self.file.unlock();
        }
        is_unowned
    }

    /// The database file's path, without symbolic links.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The write-ahead log's path.
    pub(super) fn log(&self) -> PathBuf {
        beside(&self.path, "-wal")
    }

    /// The path of the log's index.
    pub(super) fn index(&self) -> PathBuf {
        beside(&self.path, "-shm")
    }

    /// Records the identities of the files, once SQLite has opened them.
    pub(super) fn remember(&mut self) -> io::Result<()> {
        let index = OpenOptions::new().read(true).write(true).open(self.index())?;
        self.index = Some(index);
        let files = [self.path.clone(), self.log(), self.index()];
        let identified = files.into_iter().map(|path| {
            let id = FileId::from(&std::fs::metadata(&path)?);
            Ok((path, id))
        });
        self.opened = identified.collect::<io::Result<_>>()?;
        Ok(())
    }

    /// Checks that the opened files are still the ones at their paths, which the next start would open.
    ///
    /// # Errors
    /// A message for the log that names the missing file.
    pub(super) fn check(&self) -> Result<(), String> {
        for (path, id) in &self.opened {
            match std::fs::metadata(path) {
                Ok(metadata) if FileId::from(&metadata) == *id => {}
                Ok(_) => return Err(self.gone(path, "replaced")),
                Err(_) => return Err(self.gone(path, "removed")),
            }
        }
        Ok(())
    }

    fn gone(&self, path: &Path, how: &str) -> String {
        format!(
            "{} was {how} while the {} was in use; put it back, or start again with what is there now",
            path.display(),
            self.noun
        )
    }

    /// Makes the next checkpoint write every page of the log into the database file again, through to the disk.
    ///
    /// SQLite counts pages as checkpointed before they are synced, and the kernel counts pages as clean whose write failed; on
    /// ext4, even writing such a page again through the cache reaches no block that a later mount would read.
    ///
    /// # Errors
    /// If the log's index cannot be written.
    pub(super) fn restart_checkpoint(&self) -> io::Result<()> {
        self.drop_cache();
        match &self.index {
            Some(index) => index.write_all_at(&[0; 4], CHECKPOINTED_FRAMES),
            None => Ok(()),
        }
    }

    /// Syncs the checkpointed pages of the database file to disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Drops the cached pages of the database file, so that later reads come from the disk.
    pub(super) fn drop_cache(&self) {
        // A file system without a cache has nothing to drop.
        let _ = fadvise(&self.file, 0, None, Advice::DontNeed);
    }

    /// Drops the cached pages of the log; only while no connection of any process has written to it since its last sync.
    pub(super) fn drop_log_cache(&self) {
        if let Ok(log) = File::open(self.log()) {
            let _ = fadvise(&log, 0, None, Advice::DontNeed);
        }
    }
}

impl Drop for StoreFile {
    fn drop(&mut self) {
        // Not left to the close: a child process that is just being started would hold the lock a little longer.
        let _ = self.file.unlock();
    }
}

/// Creates the file and its folder, readable only by this user, since the file will hold personal data. SQLite gives the
/// companion files the same mode. Returns true if the file is new.
fn make(path: &Path, noun: &str) -> anyhow::Result<bool> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("cannot make the {noun}'s folder {}", folder.display()))?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => {
            Err(error).with_context(|| format!("cannot open the {noun} {}", path.display()))
        }
    }
}

/// Path with a suffix added to its file name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(suffix);
    beside.into()
}
