//! The one thread that writes: whatever waits for it shares a transaction, and so an fsync.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;

use super::{Error, Result};

/// The most calls that share one transaction.
const BATCH: usize = 512;

/// How long a call that need not wait for the disk may wait for one that must.
const RIDE: Duration = Duration::from_millis(1);

/// What the writing thread knows besides the file, and must agree with it.
pub(crate) trait Memory: Send + Sized + 'static {
    /// What comes to the writer besides calls; [`Infallible`](std::convert::Infallible) if nothing does.
    type Guest: Send;

    /// Takes in what has come.
    fn welcome(&mut self, guest: Self::Guest);

    /// How long no transaction is needed but for calls; none if never. Zero makes one at once.
    fn rest(&mut self) -> Option<Duration> {
        None
    }

    /// The last step of every transaction.
    fn seal(&mut self, _: &Connection) -> rusqlite::Result<()> {
        Ok(())
    }

    /// The transaction is on disk, or never was. Returns what the next one has to do.
    fn ended(&mut self, failure: Option<&Error>) -> Option<Work<Self>>;
}

/// The handle to the writing thread. Dropping it lets the thread finish what is queued, then closes the file.
pub(crate) struct Writer<M: Memory> {
    queue: Option<Queue<M>>,
    thread: Option<JoinHandle<()>>,
}

/// What leads to the writing thread.
pub(crate) struct Queue<M: Memory>(SyncSender<Turn<M>>);

/// The open transaction, as a call sees it.
pub(crate) struct Tx<'c, M> {
    pub(crate) db: &'c Connection,
    pub(crate) memory: &'c mut M,
}

impl<M: Memory> Writer<M> {
    /// Starts the thread; `queue` calls may wait for it.
    pub(super) fn spawn(
        db: Connection,
        memory: M,
        queue: usize,
        noun: &str,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(queue);
        let turns = Turns { queue: receiver, batch: Vec::new(), memory };
        let thread = std::thread::Builder::new()
            .name(format!("{noun}-writer"))
            .spawn(move || run(db, turns))?;
        Ok(Writer { queue: Some(Queue(sender)), thread: Some(thread) })
    }

    /// Runs `work` in a transaction; when this returns, the transaction is on disk.
    pub(crate) async fn call<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_, M>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.run(work, true).await
    }

    /// As [`call`](Self::call), for what may be lost with the power, though not with the process: it does not wait for
    /// the disk, which has it at the next [`call`](Self::call) or checkpoint.
    pub(crate) async fn call_soon<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_, M>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.run(work, false).await
    }

    async fn run<T, F>(&self, work: F, durable: bool) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_, M>) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let call = Call { work: Some(work), result: None, durable, reply };
        self.enqueue(Turn::Run(Work(Box::new(call))))?;
        answer.await.map_err(|_| stopped())?
    }

    /// Sends a guest to the writer. It is dropped when the writer has stopped.
    pub(crate) fn send(&self, guest: M::Guest) -> Result<&Queue<M>> {
        self.enqueue(Turn::Guest(guest))
    }

    fn enqueue(&self, turn: Turn<M>) -> Result<&Queue<M>> {
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        match queue.0.try_send(turn) {
            Ok(()) => Ok(queue),
            Err(TrySendError::Full(_)) => Err(Error::Busy),
            Err(TrySendError::Disconnected(_)) => Err(stopped()),
        }
    }
}

impl<M: Memory> Drop for Writer<M> {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A writer that panicked has already failed every call since.
            let _ = thread.join();
        }
    }
}

impl<M: Memory> Queue<M> {
    /// Waits for room. A writer that has stopped does nothing any more.
    pub(crate) fn push(&self, work: Work<M>) {
        let _ = self.0.send(Turn::Run(work));
    }
}

/// Why an answer does not come.
pub(crate) fn stopped() -> Error {
    Error::Unavailable("its writer has stopped".into())
}

/// Something to do within a transaction.
pub(crate) struct Work<M>(Box<dyn Task<M>>);

/// Work whose result nobody waits for.
pub(crate) fn unheard<M, F>(work: F) -> Work<M>
where
    M: Memory,
    F: FnOnce(&mut Tx<'_, M>) -> rusqlite::Result<()> + Send + 'static,
{
    let (reply, _) = oneshot::channel();
    Work(Box::new(Call { work: Some(work), result: None, durable: false, reply }))
}

/// What comes to the writer.
enum Turn<M: Memory> {
    /// Work for the next transaction.
    Run(Work<M>),
    /// Something for the memory.
    Guest(M::Guest),
}

/// What has come.
struct Turns<M: Memory> {
    queue: Receiver<Turn<M>>,
    batch: Vec<Work<M>>,
    memory: M,
}

impl<M: Memory> Turns<M> {
    /// Waits until a transaction has something to do. `false` if nothing will come any more.
    fn wait(&mut self) -> bool {
        loop {
            let rest = self.memory.rest().unwrap_or(Duration::MAX);
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

    fn next(&mut self, end: Instant) -> Option<Turn<M>> {
        let must_look = self.memory.rest() == Some(Duration::ZERO);
        if must_look || self.batch.iter().any(|work| work.0.durable()) {
            std::thread::yield_now();
            return self.queue.try_recv().ok();
        }
        self.queue.recv_timeout(end.saturating_duration_since(Instant::now())).ok()
    }

    fn take(&mut self, turn: Turn<M>) {
        match turn {
            Turn::Run(work) => self.batch.push(work),
            Turn::Guest(guest) => self.memory.welcome(guest),
        }
    }
}

fn run<M: Memory>(mut db: Connection, mut turns: Turns<M>) {
    while turns.wait() {
        turns.gather();
        let failure = transact(&mut db, &mut turns).err().map(Error::from);
        for work in turns.batch.drain(..) {
            work.0.reply(failure.as_ref());
        }
        turns.batch.extend(turns.memory.ended(failure.as_ref()));
    }
}

/// Runs the batch in one transaction: all of it is on disk, or none.
fn transact<M: Memory>(
    db: &mut Connection,
    Turns { batch, memory, .. }: &mut Turns<M>,
) -> rusqlite::Result<()> {
    let level = if batch.iter().any(|work| work.0.durable()) { "FULL" } else { "NORMAL" };
    db.pragma_update(None, "synchronous", level)?;
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for work in batch {
        work.0.run(&mut Tx { db: &transaction, memory })?;
    }
    memory.seal(&transaction)?;
    transaction.commit()
}

/// A call with its types forgotten.
trait Task<M>: Send {
    fn durable(&self) -> bool;
    fn run(&mut self, tx: &mut Tx<'_, M>) -> rusqlite::Result<()>;
    fn reply(self: Box<Self>, failure: Option<&Error>);
}

struct Call<T, F> {
    work: Option<F>,
    result: Option<T>,
    durable: bool,
    reply: oneshot::Sender<Result<T>>,
}

impl<M, T, F> Task<M> for Call<T, F>
where
    T: Send,
    F: FnOnce(&mut Tx<'_, M>) -> rusqlite::Result<T> + Send,
{
    fn durable(&self) -> bool {
        self.durable
    }

    fn run(&mut self, tx: &mut Tx<'_, M>) -> rusqlite::Result<()> {
        if let Some(work) = self.work.take() {
            self.result = Some(work(tx)?);
        }
        Ok(())
    }

    fn reply(self: Box<Self>, failure: Option<&Error>) {
        let result = match (failure, self.result) {
            (None, Some(result)) => Ok(result),
            (Some(failure), _) => Err(failure.clone()),
            (None, None) => Err(Error::Unavailable("the call was not run".into())),
        };
        // Nobody waits any more: whoever called has gone, and will come again.
        let _ = self.reply.send(result);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    struct Nothing;

    impl Memory for Nothing {
        type Guest = Infallible;

        fn welcome(&mut self, guest: Infallible) {
            match guest {}
        }

        fn ended(&mut self, _: Option<&Error>) -> Option<Work<Self>> {
            None
        }
    }

    /// What a transaction waits for: 2 is the disk.
    fn level(tx: &mut Tx<'_, Nothing>) -> rusqlite::Result<i64> {
        tx.db.pragma_query_value(None, "synchronous", |row| row.get(0))
    }

    #[tokio::test]
    async fn a_call_waits_for_the_disk_also_after_one_that_does_not() {
        let db = Connection::open_in_memory().unwrap();
        let writer = Writer::spawn(db, Nothing, 4, "test").unwrap();
        for _ in 0..2 {
            assert_eq!(writer.call(level).await.unwrap(), 2);
            assert_eq!(writer.call_soon(level).await.unwrap(), 1);
        }
    }
}
