//! The tables, their versions, and how a connection is set up.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use rusqlite::{Connection, OpenFlags};

/// Marks a file as an inbox: "whrx" in ASCII.
const APPLICATION_ID: i32 = 0x7768_7278;

/// One step a version. A step is never edited once it has shipped; a change is a new step.
const MIGRATIONS: [&str; 3] =
    [include_str!("v1.sql"), include_str!("v2.sql"), include_str!("v3.sql")];

/// The pages that the write-ahead log may have before the writer stops to move them into the file: 256 MiB.
pub(super) const LONGEST_LOG: u32 = 65_536;

/// Files up to this many pages are checked for damage at every start.
const CHECKED_PAGES: i64 = 16_384;

/// Opens the file for writing and brings its tables up to date, if it is the receiver that opens it.
pub(super) fn open(path: &Path, receiver: bool) -> anyhow::Result<Connection> {
    let mut db = bare(path)?;
    ensure!(!db.is_readonly("main")?, "the file is read-only");
    let version = version(&db)?;
    set_up(&db)?;
    if version == MIGRATIONS.len() {
        check_for_damage(&db)?;
        return Ok(db);
    }
    ensure!(
        receiver || version == 0,
        "it was written by an older version of this program; start the receiver once, which brings it up to date"
    );
    let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for step in &MIGRATIONS[version..] {
        tx.execute_batch(step)?;
    }
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", i64::try_from(MIGRATIONS.len())?)?;
    tx.commit()?;
    Ok(db)
}

/// A connection with the settings that durability and speed rest on.
pub(super) fn connect(path: &Path) -> anyhow::Result<Connection> {
    let db = bare(path)?;
    set_up(&db)?;
    Ok(db)
}

/// A connection that has not changed anything yet: the file may turn out to be somebody else's.
fn bare(path: &Path) -> anyhow::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(db)
}

fn set_up(db: &Connection) -> anyhow::Result<()> {
    db.execute_batch(&format!(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA cache_size = -32768;
         PRAGMA wal_autocheckpoint = {LONGEST_LOG};
         PRAGMA journal_size_limit = 268435456;
         PRAGMA temp_store = MEMORY;"
    ))?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// How many migration steps the file has seen.
fn version(db: &Connection) -> anyhow::Result<usize> {
    let pragma = |name| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables > 0 && pragma("application_id")? != i64::from(APPLICATION_ID) {
        bail!("it is a SQLite database, but not an inbox");
    }
    let version = usize::try_from(pragma("user_version")?).context("its version is negative")?;
    if version > MIGRATIONS.len() {
        bail!(
            "it was written by a newer version of this program (schema {version}, this program knows {}); update the program",
            MIGRATIONS.len()
        );
    }
    Ok(version)
}

/// A large file is not read whole at start; there, damage shows when a page is used.
fn check_for_damage(db: &Connection) -> anyhow::Result<()> {
    let pages: i64 = db.pragma_query_value(None, "page_count", |row| row.get(0))?;
    if pages <= CHECKED_PAGES {
        let verdict: String = db.pragma_query_value(None, "quick_check", |row| row.get(0))?;
        ensure!(verdict == "ok", "it is damaged: {verdict}; restore it from a backup");
    }
    Ok(())
}
