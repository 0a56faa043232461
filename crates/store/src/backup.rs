//! Backup of a store while its owner runs: a complete copy, or none.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use rusqlite::{Connection, OpenFlags};

use super::store_file::beside;
use super::{Schema, schema};

/// Size of a finished backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backup {
    /// Rows of the store's main table.
    pub rows: u64,
    /// The copy's size, in bytes.
    pub bytes: u64,
}

/// Copies the store at `from` to a new file; `table` is the store's main table, numbered by `id`.
///
/// The copy is a consistent snapshot, however much is written meanwhile. It gets its name once it has been checked.
///
/// # Errors
/// If the copy cannot be made, or is incomplete; then it is removed.
pub fn backup(from: &Path, to: &Path, schema: &Schema, table: &str) -> anyhow::Result<Backup> {
    ensure!(
        fs::symlink_metadata(to).is_err(),
        "{} is there already; name a file that is not",
        to.display()
    );
    let unfinished = Unfinished::make(to)?;
    let is_linked = fs::metadata(from).is_ok_and(|file| file.nlink() > 1);
    ensure!(
        !is_linked,
        "{} has a second name (a hard link): the newest rows may be in the other one's log",
        from.display()
    );
    let newest = format!("SELECT coalesce(max(id), 0) FROM {table}");
    let newest = |db: &Connection| db.query_row(&newest, [], |row| row.get::<_, i64>(0));
    let source = open(from).with_context(|| format!("cannot open the {}", schema.noun))?;
    let is_of = |db: &Connection| -> rusqlite::Result<bool> {
        let id: i64 = db.pragma_query_value(None, "application_id", |row| row.get(0))?;
        Ok(id == i64::from(schema.application_id))
    };
    ensure!(is_of(&source)?, "{} is no {}", from.display(), schema.noun);
    let before = newest(&source)?;
    let name = unfinished.0.to_str().context("the file's name is no text")?;
    source
        .execute("VACUUM INTO ?1", [name])
        .with_context(|| format!("cannot write {}", to.display()))?;
    let copy = open(&unfinished.0)?;
    let verdict: String = copy.pragma_query_value(None, "quick_check", |row| row.get(0))?;
    ensure!(verdict == "ok", "the copy is damaged: {verdict}");
    ensure!(is_of(&copy)? && newest(&copy)? >= before, "the copy is incomplete");
    let count = format!("SELECT count(*) FROM {table}");
    let rows = copy.query_row(&count, [], |row| row.get::<_, i64>(0))?.unsigned_abs();
    drop(copy);
    let bytes = unfinished.finish(to).with_context(|| format!("cannot write {}", to.display()))?;
    Ok(Backup { rows, bytes })
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    schema::keep_log_on_close(&db, true)?;
    db.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(db)
}

/// Copy under a temporary name, removed unless it is finished.
struct Unfinished(PathBuf);

impl Unfinished {
    /// Creates an empty file readable only by this user, since it will hold personal data.
    fn make(to: &Path) -> anyhow::Result<Self> {
        let path = beside(to, &format!(".unfinished-{:08x}", fastrand::u32(..)));
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Unfinished(path))
    }

    fn finish(self, to: &Path) -> std::io::Result<u64> {
        let file = File::open(&self.0)?;
        file.sync_all()?;
        // Not renamed: that would replace a file that was created there meanwhile.
        fs::hard_link(&self.0, to)?;
        fs::remove_file(&self.0)?;
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(file.metadata()?.len())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After `finish` there is no such file.
        let _ = fs::remove_file(&self.0);
    }
}
