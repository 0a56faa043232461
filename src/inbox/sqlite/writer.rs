//! The one thread that writes: whatever waits for it shares a transaction, and so an fsync.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;

use super::super::{Claim, InboxError, Result, Verdict};
use super::dedup::Dedup;
use super::rows;
use super::waiting::{Claimer, Waiting};
use crate::telemetry::Clock;

/// The most calls that share one transaction.
const BATCH: usize = 512;

/// How long a call that need not wait for the disk may wait for one that must.
const RIDE: Duration = Duration::from_millis(1);

/// The longest that a claim waits, whatever its patience.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// The handle to the writing thread. Dropping it lets the thread finish what is queued, then closes the file.
pub(super) struct Writer {
    queue: Option<SyncSender<Turn>>,
    thread: Option<JoinHandle<()>>,
}

/// The open transaction, as a call sees it.
pub(super) struct Tx<'c> {
    pub(super) db: &'c Connection,
    pub(super) waiting: &'c mut Waiting,
    dedup: Option<&'c mut Dedup>,
}

impl Tx<'_> {
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
    ) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(queue);
        let turns = Turns { queue: receiver, batch: Vec::new(), waiting: Waiting::default() };
        let thread = std::thread::Builder::new()
            .name("inbox-writer".into())
            .spawn(move || run(db, dedup, turns))?;
        Ok(Writer { queue: Some(sender), thread: Some(thread) })
    }

    /// Runs `work` in a transaction; when this returns, the transaction is on disk.
    pub(super) async fn call<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.run(work, true).await
    }

    /// As [`call`](Self::call), for what may be lost with the power, though not with the process: it does not wait for
    /// the disk, which has it at the next [`call`](Self::call) or checkpoint.
    pub(super) async fn call_soon<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.run(work, false).await
    }

    async fn run<T, F>(&self, work: F, durable: bool) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Turn::Run(Box::new(Call { work: Some(work), result: None, durable, reply })))?;
        answer.await.map_err(|_| stopped())?
    }

    /// Waits in the writer for up to `max` deliveries that are due. What nobody waits for any more is given back.
    pub(super) async fn claim(
        &self,
        max: usize,
        lease: Duration,
        clock: Clock,
        patience: Duration,
    ) -> Result<Vec<Claim>> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let (reply, answer) = oneshot::channel();
        let until = Instant::now() + patience.min(LONGEST_WAIT);
        let claimer = Claimer { max, lease, clock, until, given: Vec::new(), reply };
        let queue = self.enqueue(Turn::Wait(claimer))?;
        let mut claimed = Claimed { answer, queue };
        (&mut claimed.answer).await.map_err(|_| stopped())?
    }

    fn enqueue(&self, turn: Turn) -> Result<&SyncSender<Turn>> {
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        match queue.try_send(turn) {
            Ok(()) => Ok(queue),
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

fn stopped() -> InboxError {
    InboxError::Unavailable("its writer has stopped".into())
}

/// A claim's answer on its way. If its taker is gone when it comes, it goes back.
struct Claimed<'w> {
    answer: oneshot::Receiver<Result<Vec<Claim>>>,
    queue: &'w SyncSender<Turn>,
}

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        self.answer.close();
        if let Ok(Ok(claims)) = self.answer.try_recv() {
            // A writer that has stopped leaves them to the end of their leases.
            let _ = self.queue.send(Turn::Run(give_back(claims)));
        }
    }
}

/// Releases what was claimed, at the time at which it was.
fn give_back(claims: Vec<Claim>) -> Box<dyn Task> {
    let work = move |tx: &mut Tx<'_>| {
        claims.iter().try_for_each(|Claim { lease, .. }| {
            rows::finish(tx, lease, &Verdict::Released, lease.started).map(drop)
        })
    };
    let (reply, _) = oneshot::channel();
    Box::new(Call { work: Some(work), result: None, durable: false, reply })
}

/// What comes to the writer.
enum Turn {
    /// Work for the next transaction.
    Run(Box<dyn Task>),
    /// A claim, to be answered when something is due.
    Wait(Claimer),
}

/// What has come.
struct Turns {
    queue: Receiver<Turn>,
    batch: Vec<Box<dyn Task>>,
    waiting: Waiting,
}

impl Turns {
    /// Waits until a transaction has something to do. `false` if nothing will come any more.
    fn wait(&mut self) -> bool {
        loop {
            let rest = self.waiting.rest().unwrap_or(Duration::MAX);
            if !self.batch.is_empty() || rest.is_zero() {
                return true;
            }
            match self.queue.recv_timeout(rest) {
                Ok(turn) => self.take(turn),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// Takes what else waits, and gives way for as long as that brings more: a transaction costs far more than the
    /// moment.
    ///
    /// What need not be on disk at once waits a little for something that must be, and shares its transaction.
    fn gather(&mut self) {
        let end = Instant::now() + RIDE;
        while let Some(turn) = self.next(end) {
            self.take(turn);
            while self.batch.len() < BATCH
                && let Ok(turn) = self.queue.try_recv()
            {
                self.take(turn);
            }
            if self.batch.len() >= BATCH {
                return;
            }
        }
    }

    fn next(&mut self, end: Instant) -> Option<Turn> {
        let urgent = self.batch.iter().any(|task| task.durable()) || self.waiting.must_look();
        if urgent {
            std::thread::yield_now();
            return self.queue.try_recv().ok();
        }
        self.queue.recv_timeout(end.saturating_duration_since(Instant::now())).ok()
    }

    fn take(&mut self, turn: Turn) {
        match turn {
            Turn::Run(task) => self.batch.push(task),
            Turn::Wait(claimer) => self.waiting.add(claimer),
        }
    }
}

fn run(mut db: Connection, mut dedup: Option<Dedup>, mut turns: Turns) {
    while turns.wait() {
        turns.gather();
        let failure = commit(&mut db, dedup.as_mut(), &mut turns).err();
        for task in turns.batch.drain(..) {
            task.reply(failure.as_ref());
        }
        let left = turns.waiting.answer(failure.as_ref());
        if !left.is_empty() {
            turns.batch.push(give_back(left));
        }
    }
}

/// Runs the batch in one transaction: all of it is on disk, or none.
fn commit(db: &mut Connection, mut dedup: Option<&mut Dedup>, turns: &mut Turns) -> Result<()> {
    let committed = transact(db, dedup.as_deref_mut(), turns);
    match (&committed, dedup) {
        (Ok(()), Some(dedup)) => dedup.committed(),
        (Err(_), Some(dedup)) => dedup.rolled_back(),
        (_, None) => {}
    }
    Ok(committed?)
}

fn transact(
    db: &mut Connection,
    dedup: Option<&mut Dedup>,
    Turns { batch, waiting, .. }: &mut Turns,
) -> rusqlite::Result<()> {
    let level = if batch.iter().any(|task| task.durable()) { "FULL" } else { "NORMAL" };
    db.pragma_update(None, "synchronous", level)?;
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut tx = Tx { db: &transaction, waiting, dedup };
    for task in batch {
        task.run(&mut tx)?;
    }
    tx.waiting.look(tx.db)?;
    if let Some(dedup) = &mut tx.dedup {
        dedup.seal(tx.db)?;
    }
    transaction.commit()
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
        let writer = Writer::spawn(db, None, 4).unwrap();
        for _ in 0..2 {
            assert_eq!(writer.call(level).await.unwrap(), 2);
            assert_eq!(writer.call_soon(level).await.unwrap(), 1);
        }
    }
}
