//! The database file and the files beside it: made for nobody else, locked for one owner, watched for removal.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, bail, ensure};
use rustix::fs::{Advice, fadvise};

use super::Schema;

/// Where the log's index counts the frames that have been moved into the database file: `nBackfill` in SQLite's
/// "WAL-mode File Format".
pub(super) const MOVED_FRAMES: u64 = 96;

/// A database file in use.
///
/// It holds descriptors of its own. Closing any descriptor of a file gives up all record locks that the process has on it,
/// SQLite's included, so a place must outlive the connections.
pub(super) struct Place {
    path: PathBuf,
    noun: &'static str,
    file: File,
    /// The log's index, once SQLite has opened it.
    index: Option<File>,
    /// Held by whoever moves the log while that may end in [doubt](Self::doubt), so that no other move counts meanwhile.
    pub(super) moving: Mutex<()>,
    /// The database file, its log and the log's index, as they were when they were opened.
    opened: Vec<(PathBuf, FileId)>,
}

/// Names a file whatever its path: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId(u64, u64);

impl From<&Metadata> for FileId {
    fn from(metadata: &Metadata) -> Self {
        FileId(metadata.dev(), metadata.ino())
    }
}

impl Place {
    /// Opens the database file, or makes it with its folder. An owner locks it until it ends.
    pub(super) fn open(path: &Path, schema: &Schema, is_owner: bool) -> anyhow::Result<Self> {
        let Schema { noun, owner, setting, .. } = schema;
        let shown = path.display();
        let is_new = make(path, noun)?;
        let path =
            path.canonicalize().with_context(|| format!("cannot open the {noun} {shown}"))?;
        let file = OpenOptions::new().read(true).write(true).open(&path);
        let file = file.with_context(|| format!("cannot open the {noun} {shown} for writing"))?;
        if is_owner && let Err(error) = file.try_lock() {
            // Closed here, it would take the record locks of another store of this process along.
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
                "made a new {noun}: nothing is known of earlier deliveries; if there was one before, see whether its volume is mounted"
            );
        }
        let moving = Mutex::default();
        Ok(Place { path, noun, file, index: None, moving, opened: Vec::new() })
    }

    /// Whether no owner has it open, so that what is found is what a crash has left.
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

    /// Notes which files have been opened, once SQLite has opened them.
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

    /// Whether the opened files are still the ones that the next start would find.
    ///
    /// # Errors
    /// With the file that is gone, in words for the log.
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

    /// Makes the next checkpoint write every page of the log into the database file again, and the disk take it.
    ///
    /// SQLite counts pages as moved before they are synced, and the kernel counts pages as clean whose write failed; on
    /// ext4, even writing such a page again through the cache reaches no block that a later mount would read.
    ///
    /// # Errors
    /// If the log's index cannot be written.
    pub(super) fn doubt(&self) -> io::Result<()> {
        self.drop_cache();
        match &self.index {
            Some(index) => index.write_all_at(&[0; 4], MOVED_FRAMES),
            None => Ok(()),
        }
    }

    /// Waits until the disk has what was moved into the database file.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Drops the cached pages of the database file: what is read from now on is the disk's.
    pub(super) fn drop_cache(&self) {
        // A file system without a cache has nothing to drop.
        let _ = fadvise(&self.file, 0, None, Advice::DontNeed);
    }

    /// As [`drop_cache`](Self::drop_cache), for the log; only while no connection of any process has written to it since
    /// its last sync.
    pub(super) fn drop_log_cache(&self) {
        if let Ok(log) = File::open(self.log()) {
            let _ = fadvise(&log, 0, None, Advice::DontNeed);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Not left to the closing: a child process that is just being started would hold the lock a little longer.
        let _ = self.file.unlock();
    }
}

/// Makes a new file, and its folder, that nobody else may read: it will hold personal data. SQLite gives the files beside
/// it the same mode. Returns whether the file is new.
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

/// The path with something added to its last name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(suffix);
    beside.into()
}
