//! Which tables a file has, their versions, and how a connection is set up.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

/// What is particular to one sort of file.
pub struct Schema {
    /// What the file is called in messages, such as `inbox`.
    pub noun: &'static str,
    /// Who is its one owner, such as `receiver`.
    pub owner: &'static str,
    /// What names another file, such as `--inbox`.
    pub setting: &'static str,
    /// Marks a file as of this sort.
    pub application_id: i32,
    /// One step a version. A step is never edited once it has shipped; a change is a new step.
    pub migrations: &'static [&'static str],
}

/// How long a connection waits for one of another process.
pub(super) const BUSY: std::time::Duration = std::time::Duration::from_secs(5);

/// Files up to this many pages are checked for damage at every start.
const CHECKED_PAGES: i64 = 16_384;

/// Opens the file for writing and brings its tables up to date, if it is its owner that opens it.
///
/// If the log is `damaged`, it is left as it is until the file with it has been read through.
pub(super) fn open(
    path: &Path,
    schema: &Schema,
    is_owner: bool,
    is_damaged: bool,
) -> anyhow::Result<Connection> {
    let mut db = bare(path)?;
    keep_log_on_close(&db, is_damaged || !is_owner)?;
    ensure!(!db.is_readonly("main")?, "the file is read-only");
    let version = version(&db, schema)?;
    set_up(&db)?;
    if version > 0 {
        check_for_damage(&db, is_damaged)?;
    }
    keep_log_on_close(&db, !is_owner)?;
    let steps = schema.migrations;
    if version == steps.len() {
        return Ok(db);
    }
    ensure!(
        is_owner || version == 0,
        "it was written by an older version of this program; start the {} once, which brings it up to date",
        schema.owner
    );
    let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for step in &steps[version..] {
        tx.execute_batch(step)?;
    }
    tx.pragma_update(None, "application_id", schema.application_id)?;
    tx.pragma_update(None, "user_version", i64::try_from(steps.len())?)?;
    tx.commit()?;
    Ok(db)
}

/// Whether the last connection leaves the log to the next start, instead of moving and deleting it.
pub(super) fn keep_log_on_close(db: &Connection, keeps: bool) -> rusqlite::Result<()> {
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keeps).map(drop)
}

/// A connection with the settings that durability and speed rest on. It leaves the log to the writer's.
pub(super) fn connect(path: &Path) -> anyhow::Result<Connection> {
    let db = bare(path)?;
    keep_log_on_close(&db, true)?;
    set_up(&db)?;
    Ok(db)
}

/// A connection that has not changed anything yet: the file may turn out to be somebody else's.
fn bare(path: &Path) -> anyhow::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(BUSY)?;
    Ok(db)
}

fn set_up(db: &Connection) -> anyhow::Result<()> {
    // Not moved by itself: a failed move would go unnoticed. Shortened only if it has become very long: blocks that are
    // written again are synced faster.
    db.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA cache_size = -32768;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA journal_size_limit = 33554432;
         PRAGMA temp_store = MEMORY;",
    )?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// How many migration steps the file has seen.
fn version(db: &Connection, schema: &Schema) -> anyhow::Result<usize> {
    let pragma = |name| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables > 0 && pragma("application_id")? != i64::from(schema.application_id) {
        bail!("it is a SQLite database, but not an {}", schema.noun);
    }
    let version = usize::try_from(pragma("user_version")?).context("its version is negative")?;
    if version > schema.migrations.len() {
        bail!(
            "it was written by a newer version of this program (schema {version}, this program knows {}); update the program",
            schema.migrations.len()
        );
    }
    Ok(version)
}

/// A large file is not read whole at start; there, damage shows when a page is used.
fn check_for_damage(db: &Connection, whatever_size: bool) -> anyhow::Result<()> {
    let pages: i64 = db.pragma_query_value(None, "page_count", |row| row.get(0))?;
    if pages <= CHECKED_PAGES || whatever_size {
        let verdict: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        ensure!(verdict == "ok", "it is damaged: {verdict}; restore it from a backup");
    }
    Ok(())
}
