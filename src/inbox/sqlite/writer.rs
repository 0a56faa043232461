//! The one thread that writes: whatever waits for it shares a transaction, and so an fsync.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{Notify, oneshot};

use super::super::{InboxError, Result};
use super::dedup::Dedup;

/// The most calls that share one transaction.
const BATCH: usize = 512;

/// How long a call that need not wait for the disk may wait for one that must.
const RIDE: Duration = Duration::from_micros(500);

/// The handle to the writing thread. Dropping it lets the thread finish what is queued, then closes the file.
pub(super) struct Writer {
    queue: Option<SyncSender<Box<dyn Task>>>,
    thread: Option<JoinHandle<()>>,
}

/// The open transaction, as a call sees it.
pub(super) struct Tx<'c> {
    pub(super) db: &'c Connection,
    dedup: Option<&'c mut Dedup>,
    due: Cell<bool>,
}

impl Tx<'_> {
    /// Says that a delivery becomes due with this transaction, so that the workers must be woken.
    pub(super) fn wake(&self) {
        self.due.set(true);
    }

    /// The known identities, if this process is the one that may add to them.
    pub(super) fn dedup(&mut self) -> rusqlite::Result<&mut Dedup> {
        self.dedup.as_deref_mut().ok_or(rusqlite::Error::InvalidQuery)
    }
}

impl Writer {
    pub(super) fn spawn(
        db: Connection,
        dedup: Option<Dedup>,
        queue: usize,
        wake: Arc<Notify>,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(queue);
        let thread = std::thread::Builder::new()
            .name("inbox-writer".into())
            .spawn(move || run(db, dedup, receiver, &wake))?;
        Ok(Writer { queue: Some(sender), thread: Some(thread) })
    }

    /// Runs `work` in a transaction; when this returns, the transaction is on disk.
    pub(super) async fn call<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.enqueue(work, true).await
    }

    /// As [`call`](Self::call), for what may be lost with the power, though not with the process: it does not wait for
    /// the disk, which has it at the next [`call`](Self::call) or checkpoint.
    pub(super) async fn call_soon<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.enqueue(work, false).await
    }

    async fn enqueue<T, F>(&self, work: F, durable: bool) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let stopped = || InboxError::Unavailable("its writer has stopped".into());
        let call = Call { work: Some(work), result: None, durable, reply };
        match self.queue.as_ref().ok_or_else(stopped)?.try_send(Box::new(call)) {
            Ok(()) => answer.await.map_err(|_| stopped())?,
            Err(TrySendError::Full(_)) => Err(InboxError::Busy),
            Err(TrySendError::Disconnected(_)) => Err(stopped()),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A writer that panicked has already failed every call since.
            let _ = thread.join();
        }
    }
}

fn run(
    mut db: Connection,
    mut dedup: Option<Dedup>,
    queue: Receiver<Box<dyn Task>>,
    wake: &Notify,
) {
    let mut batch = Vec::with_capacity(BATCH);
    while let Ok(first) = queue.recv() {
        batch.push(first);
        gather(&mut batch, &queue);
        let committed = commit(&mut db, dedup.as_mut(), &mut batch);
        for task in batch.drain(..) {
            task.reply(committed.as_ref().err());
        }
        if let Ok(true) = committed {
            wake.notify_one();
        }
    }
}

/// Takes what waits, and gives way for as long as that brings more: a transaction costs far more than the moment.
///
/// What need not be on disk at once waits a little for something that must be, and shares its transaction.
fn gather(batch: &mut Vec<Box<dyn Task>>, queue: &Receiver<Box<dyn Task>>) {
    let end = Instant::now() + RIDE;
    loop {
        let gathered = batch.len();
        if batch.iter().any(|task| task.durable()) {
            std::thread::yield_now();
        } else if let Ok(next) = queue.recv_timeout(end.saturating_duration_since(Instant::now())) {
            batch.push(next);
        }
        batch.extend(queue.try_iter().take(BATCH.saturating_sub(batch.len())));
        if batch.len() == gathered || batch.len() >= BATCH {
            return;
        }
    }
}

/// Runs the batch in one transaction: all of it is on disk, or none. Says whether a delivery became due.
fn commit(
    db: &mut Connection,
    mut dedup: Option<&mut Dedup>,
    batch: &mut [Box<dyn Task>],
) -> Result<bool> {
    let committed = transact(db, dedup.as_deref_mut(), batch);
    match (&committed, dedup) {
        (Ok(_), Some(dedup)) => dedup.committed(),
        (Err(_), Some(dedup)) => dedup.rolled_back(),
        (_, None) => {}
    }
    Ok(committed?)
}

fn transact(
    db: &mut Connection,
    dedup: Option<&mut Dedup>,
    batch: &mut [Box<dyn Task>],
) -> rusqlite::Result<bool> {
    let level = if batch.iter().any(|task| task.durable()) { "FULL" } else { "NORMAL" };
    db.pragma_update(None, "synchronous", level)?;
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut tx = Tx { db: &transaction, dedup, due: Cell::new(false) };
    for task in batch {
        task.run(&mut tx)?;
    }
    if let Some(dedup) = &mut tx.dedup {
        dedup.seal(tx.db)?;
    }
    let due = tx.due.get();
    transaction.commit()?;
    Ok(due)
}

/// A call with its types forgotten.
trait Task: Send {
    fn durable(&self) -> bool;
    fn run(&mut self, tx: &mut Tx<'_>) -> rusqlite::Result<()>;
    fn reply(self: Box<Self>, failure: Option<&InboxError>);
}

struct Call<T, F> {
    work: Option<F>,
    result: Option<T>,
    durable: bool,
    reply: oneshot::Sender<Result<T>>,
}

impl<T, F> Task for Call<T, F>
where
    T: Send,
    F: FnOnce(&mut Tx<'_>) -> rusqlite::Result<T> + Send,
{
    fn durable(&self) -> bool {
        self.durable
    }

    fn run(&mut self, tx: &mut Tx<'_>) -> rusqlite::Result<()> {
        if let Some(work) = self.work.take() {
            self.result = Some(work(tx)?);
        }
        Ok(())
    }

    fn reply(self: Box<Self>, failure: Option<&InboxError>) {
        let result = match (failure, self.result) {
            (None, Some(result)) => Ok(result),
            (Some(failure), _) => Err(failure.clone()),
            (None, None) => Err(InboxError::Unavailable("the call was not run".into())),
        };
        // Nobody waits any more: the sender hung up, and will come again.
        let _ = self.reply.send(result);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a transaction waits for: 2 is the disk.
    fn level(tx: &mut Tx<'_>) -> rusqlite::Result<i64> {
        tx.db.pragma_query_value(None, "synchronous", |row| row.get(0))
    }

    #[tokio::test]
    async fn a_call_waits_for_the_disk_also_after_one_that_does_not() {
        let db = Connection::open_in_memory().unwrap();
        let writer = Writer::spawn(db, None, 4, Arc::new(Notify::new())).unwrap();
        for _ in 0..2 {
            assert_eq!(writer.call(level).await.unwrap(), 2);
            assert_eq!(writer.call_soon(level).await.unwrap(), 1);
        }
    }
}
