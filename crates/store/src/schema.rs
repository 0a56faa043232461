//! Schema migrations, and the settings of a connection.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

/// Schema of one kind of store file, and its name in messages.
pub struct Schema {
    /// Name of the file in messages, such as `inbox`.
    pub noun: &'static str,
    /// Name of the owning program, such as `receiver`.
    pub owner: &'static str,
    /// Setting that chooses the file, such as `--inbox`.
    pub setting: &'static str,
    /// SQLite application id of this kind of file.
    pub application_id: i32,
    /// Migration steps, one for each version. A step is never edited once it has shipped; a change is a new step.
    pub migrations: &'static [&'static str],
}

/// The longest that a connection waits for a lock of another process.
pub(super) const BUSY: std::time::Duration = std::time::Duration::from_secs(5);

/// Size in pages up to which files are checked for damage at every start.
const CHECKED_PAGES: i64 = 16_384;

/// Opens the file for writing; an owner also migrates its tables.
///
/// A damaged log is left as it is until the file has been checked together with it.
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

/// Sets whether the last connection leaves the log to the next start, instead of checkpointing and deleting it.
pub(super) fn keep_log_on_close(db: &Connection, keeps: bool) -> rusqlite::Result<()> {
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keeps).map(drop)
}

/// Opens a connection with the settings for durability and speed. It leaves the log to the writer's connection.
pub(super) fn connect(path: &Path) -> anyhow::Result<Connection> {
    let db = bare(path)?;
    keep_log_on_close(&db, true)?;
    set_up(&db)?;
    Ok(db)
}

/// Opens a connection without changing anything, since the file may belong to another program.
fn bare(path: &Path) -> anyhow::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(BUSY)?;
    Ok(db)
}

fn set_up(db: &Connection) -> anyhow::Result<()> {
    // No automatic checkpoints: a failed one would go unnoticed. The log is truncated only if it has become very long:
    // blocks that are written again are synced faster.
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

/// Schema version of the file: the number of migration steps applied.
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

/// Checks the file for damage. A large file is not read whole at start; its damage shows when a page is used.
fn check_for_damage(db: &Connection, whatever_size: bool) -> anyhow::Result<()> {
    let pages: i64 = db.pragma_query_value(None, "page_count", |row| row.get(0))?;
    if pages <= CHECKED_PAGES || whatever_size {
        let verdict: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        ensure!(verdict == "ok", "it is damaged: {verdict}; restore it from a backup");
    }
    Ok(())
}
