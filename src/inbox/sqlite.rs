//! The embedded engine: one writer thread with group commit, write-ahead log, full sync.
//!
//! Calls that arrive while a transaction is being synced share the next one. Reading needs no turn of the writer.

mod browse;
mod checkpoint;
mod dedup;
mod hooks;
mod rows;
mod schema;
mod waiting;
mod writer;

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use async_trait::async_trait;
use rusqlite::Connection;

use super::{
    Claim, Detail, Entry, Filter, HookEntry, HookFilter, HookRecord, Inbox, InboxError, KeyUse,
    Lease, Options, Receipt, Result, Route, State, Verdict,
};
use crate::event::{DeliveryId, Timestamp};
use crate::source::Verified;
use crate::telemetry::Clock;
use checkpoint::Checkpointer;
use dedup::Dedup;
use writer::Writer;

/// The inbox in a SQLite file.
pub struct Sqlite {
    // Dropped in this order: the writer ends last, with the file's last connection, which empties the log.
    _checkpointer: Option<Checkpointer>,
    reader: Arc<Mutex<Connection>>,
    writer: Writer,
    /// Whether the last delivery could not be kept.
    failing: AtomicBool,
    /// Held for as long as this process is the file's one receiver.
    _lock: Option<File>,
}

impl Sqlite {
    /// Opens the file, or makes it with its folder.
    ///
    /// # Errors
    /// If it cannot be written, is no inbox, is damaged, comes from a newer version, or is in use by another receiver.
    pub fn open(path: &Path, options: Options) -> anyhow::Result<Self> {
        let shown = path.display();
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .with_context(|| format!("cannot make the inbox's folder {}", folder.display()))?;
        }
        only_ours(path)?;
        // One file has one lock, by whatever name it is opened.
        let path =
            &path.canonicalize().with_context(|| format!("cannot open the inbox {shown}"))?;
        let lock = if options.exclusive { Some(lock(path)?) } else { None };
        let db = schema::open(path, options.exclusive)
            .with_context(|| format!("cannot open the inbox {shown}"))?;
        let mut dedup = None;
        let mut checkpointer = None;
        if options.exclusive {
            rows::orphan_leases(&db).with_context(|| format!("cannot write the inbox {shown}"))?;
            dedup = Some(Dedup::load(&db).with_context(|| format!("cannot read {shown}"))?);
            checkpointer = Some(Checkpointer::spawn(path)?);
        }
        let reader = schema::connect(path).with_context(|| format!("cannot read {shown}"))?;
        Ok(Sqlite {
            _checkpointer: checkpointer,
            reader: Arc::new(Mutex::new(reader)),
            writer: Writer::spawn(db, dedup, options.queue)?,
            failing: AtomicBool::new(false),
            _lock: lock,
        })
    }

    /// Runs a query beside the writer.
    async fn read<T, F>(&self, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let reader = Arc::clone(&self.reader);
        let query = move || query(&reader.lock().unwrap_or_else(PoisonError::into_inner));
        match tokio::task::spawn_blocking(query).await {
            Ok(result) => result.map_err(InboxError::from),
            Err(error) => Err(InboxError::Unavailable(error.to_string())),
        }
    }
}

#[async_trait]
impl Inbox for Sqlite {
    async fn accept(&self, delivery: Verified, route: Route, now: Timestamp) -> Result<Receipt> {
        let headers = delivery.headers_json();
        let kept = self.writer.call(move |tx| {
            let receipt = rows::accept(tx, &delivery, &headers, &route, now)?;
            // Handed back to be freed by the thread that allocated it: the writer has better things to do.
            Ok((receipt, (delivery, headers, route)))
        });
        let kept = kept.await.map(|(receipt, _)| receipt);
        self.failing.store(matches!(kept, Err(InboxError::Unavailable(_))), Ordering::Relaxed);
        kept
    }

    async fn claim(
        &self,
        max: usize,
        lease: Duration,
        clock: Clock,
        patience: Duration,
    ) -> Result<Vec<Claim>> {
        self.writer.claim(max, lease, clock, patience).await
    }

    async fn finish(&self, lease: Lease, verdict: Verdict, now: Timestamp) -> Result<bool> {
        self.writer.call_soon(move |tx| rows::finish(tx, &lease, &verdict, now)).await
    }

    async fn list(&self, filter: Filter) -> Result<Vec<Entry>> {
        self.read(move |db| browse::list(db, &filter)).await
    }

    async fn show(&self, id: DeliveryId) -> Result<Option<Detail>> {
        self.read(move |db| browse::show(db, id)).await
    }

    async fn replay(&self, filter: Filter, now: Timestamp) -> Result<u64> {
        self.writer.call(move |tx| rows::replay(tx, &filter, now)).await
    }

    async fn prune(&self, state: State, before: Timestamp, limit: usize) -> Result<u64> {
        self.writer.call(move |tx| rows::prune(tx, state, before, limit)).await
    }

    async fn count(&self) -> Result<Vec<(State, u64)>> {
        self.read(browse::count).await
    }

    async fn note_keys(&self, uses: Vec<KeyUse>) -> Result<()> {
        self.writer.call_soon(move |tx| rows::note_keys(tx, &uses)).await
    }

    async fn keys(&self) -> Result<Vec<KeyUse>> {
        self.read(browse::keys).await
    }

    async fn log_hooks(&self, calls: Vec<HookRecord>) -> Result<()> {
        // Handed back to be freed elsewhere, as in `accept`.
        let kept = self.writer.call_soon(move |tx| hooks::log(tx.db, &calls).map(|()| calls));
        kept.await.map(drop)
    }

    async fn list_hooks(&self, filter: HookFilter) -> Result<Vec<HookEntry>> {
        self.read(move |db| hooks::list(db, &filter)).await
    }

    async fn show_hook(&self, id: i64) -> Result<Option<HookEntry>> {
        self.read(move |db| hooks::show(db, id)).await
    }

    async fn prune_hooks(&self, before: Timestamp, limit: usize) -> Result<u64> {
        self.writer.call(move |tx| hooks::prune(tx.db, before, limit)).await
    }

    /// After a failure, room is made sure of by taking it; otherwise a turn of the writer is proof enough.
    async fn check(&self) -> Result<()> {
        if self.failing.load(Ordering::Relaxed) {
            self.writer.call(|tx| rows::take_room(tx)).await?;
            self.writer.call(|tx| rows::give_room(tx)).await?;
            self.failing.store(false, Ordering::Relaxed);
        }
        self.writer.call(|_| Ok(())).await
    }
}

impl From<rusqlite::Error> for InboxError {
    fn from(error: rusqlite::Error) -> Self {
        InboxError::Unavailable(error.to_string())
    }
}

/// Makes a new file that nobody else may read: it will hold personal data. What SQLite puts beside it is like it.
fn only_ours(path: &Path) -> anyhow::Result<()> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match made {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("cannot open the inbox {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Makes this process the one receiver on the file, until it ends.
fn lock(path: &Path) -> anyhow::Result<File> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let beside = PathBuf::from(beside);
    let file = File::create(&beside)
        .with_context(|| format!("cannot write beside the inbox: {}", beside.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!(
            "another receiver is running on the inbox {}; stop it, or give this one another with --inbox",
            path.display()
        ),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", beside.display()))
        }
    }
}
