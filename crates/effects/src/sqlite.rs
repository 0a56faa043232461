//! SQLite, through rusqlite.
//!
//! SQLite has one writer at a time: so has [`Sqlite`], and a handler that waits for something else while it holds the
//! transaction makes all others wait.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use chrono::DateTime;
use contract::effect::{Applied, Begun, DeferredEvent, EffectDb, EffectStore, Mark};
use contract::time::Timestamp;
pub use rusqlite;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Row, TransactionBehavior, params};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::spawn_blocking;

/// The transaction of a one-effect handler. It dereferences to [`rusqlite::Connection`], as rusqlite's own does.
pub type Tx<'t> = contract::effect::Tx<'t, Sqlite>;

/// The longest that a transaction waits for another process.
const BUSY: Duration = Duration::from_secs(5);

/// Age of the events that [`outbox`](EffectStore::outbox) returns without a cause, in seconds.
const LEFT_BEHIND: i64 = 10;

/// A database in a file, with one connection for all one-effect handlers. Clones share it.
#[derive(Debug, Clone)]
pub struct Sqlite(Arc<Mutex<Connection>>);

impl Sqlite {
    /// The statements that make the tables of marks and of deferred events, as the command `effects` prints them. They can be
    /// repeated.
    pub const MIGRATION: &'static str = crate::SQLITE_MIGRATION;

    /// Opens the database in a file, which is made if there is none, with its folder and the tables of marks and deferred
    /// events. What is committed is on disk.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open(path: impl AsRef<Path>) -> anyhow::Result<Self> {
        let path = path.as_ref();
        if let Some(folder) = path.parent() {
            let made = std::fs::create_dir_all(folder);
            made.with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        let open = || -> rusqlite::Result<Connection> {
            let db = Connection::open(path)?;
            db.pragma_update(None, "journal_mode", "WAL")?;
            db.pragma_update(None, "synchronous", "FULL")?;
            db.execute_batch(Self::MIGRATION)?;
            Ok(db)
        };
        let db = open().with_context(|| format!("cannot open the database {}", path.display()))?;
        Self::new(db)
    }

    /// Takes a connection of the caller's, with settings of its own. Its database needs the tables that the command `effects`
    /// prints.
    ///
    /// # Errors
    /// If the connection cannot be set up.
    pub fn new(db: Connection) -> anyhow::Result<Self> {
        db.busy_timeout(BUSY)?;
        Ok(Sqlite(Arc::new(Mutex::new(db))))
    }

    /// Runs the statements that make the handlers' own tables, which must be such that they can be repeated.
    ///
    /// # Errors
    /// If one of them fails, or a handler writes already.
    pub fn with_tables(self, statements: &str) -> anyhow::Result<Self> {
        self.0.try_lock()?.execute_batch(statements)?;
        Ok(self)
    }

    /// The connection, when no handler writes: for migrations and queries of the fork's own. A one-effect handler holds it, so
    /// that there this would wait for itself: its queries go through `tx`.
    pub async fn lock(&self) -> OwnedMutexGuard<Connection> {
        Arc::clone(&self.0).lock_owned().await
    }

    async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Connection) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let mut db = self.lock().await;
        spawn_blocking(move || call(&mut db)).await?
    }
}

impl Default for Sqlite {
    /// A database in memory, for tests.
    fn default() -> Self {
        let db = Connection::open_in_memory().expect("memory can be opened");
        db.execute_batch(Self::MIGRATION).expect("a new database has room for tables");
        Sqlite::new(db).expect("it can wait")
    }
}

/// A transaction, which is rolled back when it is dropped.
pub struct Transaction {
    db: OwnedMutexGuard<Connection>,
    /// Row of the mark, once it is written.
    mark: i64,
}

impl Deref for Transaction {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.db
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.db
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if !self.db.is_autocommit() {
            // If it cannot be rolled back, the next one cannot begin, and says so.
            let _ = self.db.execute_batch("ROLLBACK");
        }
    }
}

#[async_trait]
impl EffectDb for Sqlite {
    type Connection = Option<OwnedMutexGuard<Connection>>;
    type Transaction<'c> = Transaction;

    const MIGRATION: &'static str = Sqlite::MIGRATION;

    async fn connect(&self) -> anyhow::Result<Self::Connection> {
        Ok(Some(self.lock().await))
    }

    async fn begin<'c>(
        connection: &'c mut Self::Connection,
        mark: &Mark,
        _time_left: Duration,
    ) -> anyhow::Result<Begun<Transaction>> {
        let db = connection.take().context("the connection is in use")?;
        let mark = mark.clone();
        spawn_blocking(move || begin(Transaction { db, mark: 0 }, &mark)).await?
    }

    async fn commit(
        transaction: Self::Transaction<'_>,
        deferred: &[DeferredEvent],
    ) -> anyhow::Result<()> {
        let deferred = deferred.to_vec();
        spawn_blocking(move || {
            // An error, such as of a full disk, rolls back by itself, and so may a handler.
            let mark = "SELECT EXISTS (SELECT 1 FROM webhook_effect WHERE id = ?1)";
            let is_marked: bool = transaction
                .prepare_cached(mark)?
                .query_row([transaction.mark], |row| row.get(0))?;
            let is_open = is_marked && !transaction.is_autocommit();
            anyhow::ensure!(is_open, "the transaction has ended before the handler");
            for event in &deferred {
                add(&transaction, event)?;
            }
            Ok(transaction.execute_batch("COMMIT")?)
        })
        .await?
    }
}

fn begin(mut db: Transaction, mark: &Mark) -> anyhow::Result<Begun<Transaction>> {
    db.execute_batch("BEGIN IMMEDIATE")?;
    let received_at = mark.received_at.timestamp_millis();
    let key =
        params![mark.source, mark.client_id, mark.message_id, received_at, mark.event, mark.run];
    let before = db
        .prepare_cached(
            "SELECT attempt, applied_at FROM webhook_effect
             WHERE source = ?1 AND client_id = ?2 AND message_id = ?3 AND received_at = ?4 AND event = ?5 AND run = ?6",
        )?
        .query_row(key, |row| Ok(Applied { attempt: row.get(0)?, at: time(row.get(1)?) }))
        .optional()?;
    if let Some(applied) = before {
        return Ok(Begun::AppliedBefore(applied));
    }
    let (at, row) = db
        .prepare_cached(
            "INSERT INTO webhook_effect (source, client_id, message_id, received_at, event, run, attempt)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) RETURNING applied_at, id",
        )?
        .query_row(
            params![
                mark.source,
                mark.client_id,
                mark.message_id,
                received_at,
                mark.event,
                mark.run,
                mark.attempt
            ],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
    db.mark = row;
    Ok(Begun::Marked(db, time(at)))
}

fn add(db: &Connection, event: &DeferredEvent) -> rusqlite::Result<usize> {
    db.prepare_cached(
        "INSERT INTO webhook_deferred (cause, number, source, environment, client_id, dialect, event, version, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        event.cause,
        event.number,
        event.source,
        event.environment.as_str(),
        event.client_id,
        event.dialect.as_str(),
        event.event_type,
        event.version,
        event.body.as_ref(),
    ])
}

#[async_trait]
impl EffectStore for Sqlite {
    async fn check(&self) -> anyhow::Result<()> {
        let names = "SELECT count(*) FROM sqlite_schema WHERE name IN ('webhook_effect', 'webhook_deferred')";
        self.call(move |db| {
            let tables: i64 = db.query_row(names, [], |row| row.get(0))?;
            anyhow::ensure!(tables == 2, crate::NO_TABLES);
            Ok(())
        })
        .await
    }

    async fn outbox(&self, cause: Option<&str>) -> anyhow::Result<Vec<DeferredEvent>> {
        let cause = cause.map(str::to_owned);
        self.call(move |db| {
            let mut rows = db.prepare_cached(
                "SELECT cause, number, source, environment, client_id, dialect, event, version, body
                 FROM webhook_deferred
                 WHERE cause = ?1 OR ?1 IS NULL AND deferred_at < (unixepoch('subsec') - ?2) * 1000
                 ORDER BY deferred_at, cause, number LIMIT 1000",
            )?;
            let mut rows = rows.query(params![cause, LEFT_BEHIND])?;
            let mut events = Vec::new();
            while let Some(row) = rows.next()? {
                events.push(event(row)?);
            }
            Ok(events)
        })
        .await
    }

    async fn remove(&self, events: &[DeferredEvent]) -> anyhow::Result<()> {
        let keys: Vec<_> = events.iter().map(|event| (event.cause.clone(), event.number)).collect();
        self.call(move |db| {
            let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for key in keys {
                tx.prepare_cached("DELETE FROM webhook_deferred WHERE cause = ?1 AND number = ?2")?
                    .execute(key)?;
            }
            Ok(tx.commit()?)
        })
        .await
    }

    async fn prune(&self, age: Duration) -> anyhow::Result<u64> {
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        self.call(move |db| {
            // The oldest have the smallest ids.
            let pruned = db.execute(
                "DELETE FROM webhook_effect WHERE id IN (SELECT id FROM webhook_effect ORDER BY id LIMIT 10000)
                 AND applied_at < unixepoch('subsec') * 1000 - ?1",
                [age],
            );
            match pruned {
                // A handler goes first.
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(0),
                pruned => Ok(pruned? as u64),
            }
        })
        .await
    }
}

fn event(row: &Row<'_>) -> anyhow::Result<DeferredEvent> {
    let (dialect, environment) =
        crate::names(&row.get::<_, String>(5)?, &row.get::<_, String>(3)?)?;
    Ok(DeferredEvent {
        cause: row.get(0)?,
        number: row.get(1)?,
        source: row.get(2)?,
        environment,
        client_id: row.get(4)?,
        dialect,
        event_type: row.get(6)?,
        version: row.get(7)?,
        body: row.get::<_, Vec<u8>>(8)?.into(),
    })
}

fn time(millis: i64) -> Timestamp {
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}
