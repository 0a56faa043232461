//! The one thread that writes: whatever waits for it shares a transaction, and so an fsync.

use std::panic::AssertUnwindSafe;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::oneshot;
use tracing::error;

use super::database::Database;
use super::{Error, Result};

/// The most calls that share one transaction.
const BATCH: usize = 512;

/// How long a call that is not urgent may wait for another, to share its transaction.
const RIDE: Duration = Duration::from_millis(1);

/// How long the writer rests after a panic, so that one that comes again and again does not take a core.
const AFTER_PANIC: Duration = Duration::from_millis(100);

/// What the writing thread knows besides the file, and must agree with it.
pub trait Memory: Send + Sized + 'static {
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
pub struct Writer<M: Memory> {
    queue: Option<Queue<M>>,
    thread: Option<JoinHandle<()>>,
}

/// What leads to the writing thread.
pub struct Queue<M: Memory>(SyncSender<Turn<M>>);

/// The open transaction, as a call sees it.
pub struct Tx<'c, M> {
    pub db: &'c Connection,
    pub memory: &'c mut M,
}

impl<M: Memory> Writer<M> {
    /// Starts the thread; `queue` calls may wait for it.
    pub(super) fn spawn(
        db: Database,
        memory: M,
        queue: usize,
        noun: &str,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(queue);
        let longest = db.longest_batch();
        let turns = Turns { queue: receiver, batch: Vec::new(), bytes: 0, longest, memory };
        let thread = std::thread::Builder::new()
            .name(format!("{noun}-writer"))
            .spawn(move || run(db, turns))?;
        Ok(Writer { queue: Some(Queue(sender)), thread: Some(thread) })
    }

    /// Runs `work` in a transaction; when this returns, the transaction is on disk.
    pub async fn call<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_, M>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.run(work, Manner { is_urgent: true, adds: None }).await
    }

    /// As [`call`](Self::call), for work that may wait a moment for other work to share its transaction.
    pub async fn call_soon<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_, M>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.run(work, Manner { is_urgent: false, adds: None }).await
    }

    /// As [`call`](Self::call), for work that adds rows of about so many bytes. On a full disk it is refused with
    /// [`Error::Full`], so that other work can still be done.
    pub async fn add<T, F>(&self, bytes: usize, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_, M>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.run(work, Manner { is_urgent: true, adds: Some(bytes as u64) }).await
    }

    /// As [`add`](Self::add), for work that may wait a moment.
    pub async fn add_soon<T, F>(&self, bytes: usize, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_, M>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.run(work, Manner { is_urgent: false, adds: Some(bytes as u64) }).await
    }

    async fn run<T, F>(&self, work: F, manner: Manner) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_, M>) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let call = Call { work: Some(work), result: None, reply };
        self.enqueue(Turn::Run(Work { task: Box::new(call), manner }))?;
        answer.await.map_err(|_| stopped())?
    }

    /// Sends a guest to the writer. It is dropped when the writer has stopped.
    pub fn send(&self, guest: M::Guest) -> Result<&Queue<M>> {
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
    pub fn push(&self, work: Work<M>) {
        let _ = self.0.send(Turn::Run(work));
    }
}

/// Why an answer does not come.
pub fn stopped() -> Error {
    Error::Unavailable("its writer has stopped".into())
}

/// Something to do within a transaction.
pub struct Work<M> {
    task: Box<dyn Task<M>>,
    manner: Manner,
}

/// How work is done.
#[derive(Clone, Copy)]
struct Manner {
    /// Whether the transaction begins at once.
    is_urgent: bool,
    /// About how many bytes it adds, if it adds rows.
    adds: Option<u64>,
}

impl<M> Work<M> {
    /// Whether it adds rows.
    pub(super) fn adds(&self) -> bool {
        self.manner.adds.is_some()
    }

    pub(super) fn run(&mut self, tx: &mut Tx<'_, M>) -> rusqlite::Result<()> {
        self.task.run(tx)
    }

    /// It is not run; the caller is told why.
    pub(super) fn refuse(&mut self, error: Error) {
        self.task.refuse(error);
    }
}

/// Work whose result nobody waits for.
pub fn unheard<M, F>(work: F) -> Work<M>
where
    M: Memory,
    F: FnOnce(&mut Tx<'_, M>) -> rusqlite::Result<()> + Send + 'static,
{
    let (reply, _) = oneshot::channel();
    let call = Call { work: Some(work), result: None, reply };
    Work { task: Box::new(call), manner: Manner { is_urgent: false, adds: None } }
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
    /// About how many bytes the batch adds, and how many it should at most.
    bytes: u64,
    longest: u64,
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
    /// What is not urgent waits a little for more, and shares its transaction.
    fn gather(&mut self) {
        let end = Instant::now() + RIDE;
        while let Some(turn) = self.next(end) {
            self.take(turn);
            while !self.is_full()
                && let Ok(turn) = self.queue.try_recv()
            {
                self.take(turn);
            }
            if self.is_full() {
                return;
            }
        }
    }

    fn is_full(&self) -> bool {
        self.batch.len() >= BATCH || self.bytes >= self.longest
    }

    fn next(&mut self, end: Instant) -> Option<Turn<M>> {
        let must_look = self.memory.rest() == Some(Duration::ZERO);
        if must_look || self.batch.iter().any(|work| work.manner.is_urgent) {
            std::thread::yield_now();
            return self.queue.try_recv().ok();
        }
        self.queue.recv_timeout(end.saturating_duration_since(Instant::now())).ok()
    }

    fn take(&mut self, turn: Turn<M>) {
        match turn {
            Turn::Run(work) => {
                self.bytes += work.manner.adds.unwrap_or(0);
                self.batch.push(work);
            }
            Turn::Guest(guest) => self.memory.welcome(guest),
        }
    }
}

fn run<M: Memory>(mut db: Database, mut turns: Turns<M>) {
    loop {
        let turn = || take_turn(&mut db, &mut turns);
        match std::panic::catch_unwind(AssertUnwindSafe(turn)) {
            Ok(true) => {}
            Ok(false) => return,
            Err(panic) => {
                // Its transaction has been rolled back.
                let failure = Error::Unavailable("its writer panicked".into());
                let words = panic.downcast_ref::<String>().map(String::as_str);
                let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
                error!(panic = words, "the writer panicked; its calls have failed, and it goes on");
                db.note_panic();
                turns.end(Some(&failure), Some(&failure));
                std::thread::sleep(AFTER_PANIC);
            }
        }
    }
}

/// Waits for work and does it. `false` if none will come any more.
fn take_turn<M: Memory>(db: &mut Database, turns: &mut Turns<M>) -> bool {
    if !turns.wait() {
        return false;
    }
    turns.gather();
    let committed = db.transact(&mut turns.batch, &mut turns.memory);
    // What was committed to files that have been removed meanwhile is not acknowledged.
    let kept = committed.clone().and_then(|()| db.check_place());
    turns.end(committed.err().as_ref(), kept.err().as_ref());
    db.tidy();
    true
}

impl<M: Memory> Turns<M> {
    /// Answers the batch. The memory follows what was committed; the callers are told whether it will last.
    fn end(&mut self, failure: Option<&Error>, told: Option<&Error>) {
        for work in self.batch.drain(..) {
            work.task.reply(told);
        }
        self.bytes = 0;
        self.batch.extend(self.memory.ended(failure));
    }
}

/// A call with its types forgotten.
trait Task<M>: Send {
    fn run(&mut self, tx: &mut Tx<'_, M>) -> rusqlite::Result<()>;
    fn refuse(&mut self, error: Error);
    fn reply(self: Box<Self>, failure: Option<&Error>);
}

struct Call<T, F> {
    work: Option<F>,
    result: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<M, T, F> Task<M> for Call<T, F>
where
    T: Send,
    F: FnOnce(&mut Tx<'_, M>) -> rusqlite::Result<T> + Send,
{
    fn run(&mut self, tx: &mut Tx<'_, M>) -> rusqlite::Result<()> {
        if let Some(work) = self.work.take() {
            self.result = Some(Ok(work(tx)?));
        }
        Ok(())
    }

    fn refuse(&mut self, error: Error) {
        self.work = None;
        self.result = Some(Err(error));
    }

    fn reply(self: Box<Self>, failure: Option<&Error>) {
        let result = match (failure, self.result) {
            (None, Some(result)) => result,
            (Some(failure), _) => Err(failure.clone()),
            (None, None) => Err(Error::Unavailable("the call was not run".into())),
        };
        // Nobody waits any more: whoever called has gone, and will come again.
        let _ = self.reply.send(result);
    }
}
