//! The one thread that writes: whatever waits for it shares a transaction, and so an fsync.

use std::panic::AssertUnwindSafe;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::error;

use super::database::Database;
use super::error::{Error, Result};
use super::work::{Call, Manner, Tx, Work, WriterState};

/// The most calls that share one transaction.
const BATCH: usize = 512;

/// How long a call that is not urgent may wait for another, to share its transaction.
const RIDE: Duration = Duration::from_millis(1);

/// How long the writer rests after a panic, so that one that comes again and again does not take a core.
const AFTER_PANIC: Duration = Duration::from_millis(100);

/// The handle to the writing thread. Dropping it lets the thread finish what is queued, then closes the file.
pub struct Writer<S: WriterState> {
    queue: Option<Queue<S>>,
    thread: Option<JoinHandle<()>>,
}

/// The sending end of the writer's queue.
pub struct Queue<S: WriterState>(SyncSender<Request<S>>);

impl<S: WriterState> Writer<S> {
    /// Starts the thread; `queue` calls may wait for it.
    pub(super) fn spawn(db: Database, state: S, queue: usize, noun: &str) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(queue);
        let longest = db.longest_batch();
        let requests = Requests { queue: receiver, batch: Vec::new(), bytes: 0, longest, state };
        let thread = std::thread::Builder::new()
            .name(format!("{noun}-writer"))
            .spawn(move || run(db, requests))?;
        Ok(Writer { queue: Some(Queue(sender)), thread: Some(thread) })
    }

    /// Runs `work` in a transaction; when this returns, the transaction is on disk.
    pub async fn call<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_, S>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.run(work, Manner { is_urgent: true, adds: None }).await
    }

    /// As [`call`](Self::call), for work that may wait a moment for other work to share its transaction.
    pub async fn call_soon<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_, S>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.run(work, Manner { is_urgent: false, adds: None }).await
    }

    /// As [`call`](Self::call), for work that adds rows of about so many bytes. On a full disk it is refused with
    /// [`Error::Full`], so that other work can still be done.
    pub async fn add<T, F>(&self, bytes: usize, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_, S>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.run(work, Manner { is_urgent: true, adds: Some(bytes as u64) }).await
    }

    /// As [`add`](Self::add), for work that may wait a moment.
    pub async fn add_soon<T, F>(&self, bytes: usize, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_, S>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.run(work, Manner { is_urgent: false, adds: Some(bytes as u64) }).await
    }

    async fn run<T, F>(&self, work: F, manner: Manner) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_, S>) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let call = Call { work: Some(work), result: None, reply };
        self.enqueue(Request::Run(Work { task: Box::new(call), manner }))?;
        answer.await.map_err(|_| stopped())?
    }

    /// Sends a message to the writer. It is dropped when the writer has stopped.
    pub fn send(&self, message: S::Message) -> Result<&Queue<S>> {
        self.enqueue(Request::Message(message))
    }

    fn enqueue(&self, request: Request<S>) -> Result<&Queue<S>> {
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        match queue.0.try_send(request) {
            Ok(()) => Ok(queue),
            Err(TrySendError::Full(_)) => Err(Error::Busy),
            Err(TrySendError::Disconnected(_)) => Err(stopped()),
        }
    }
}

impl<S: WriterState> Drop for Writer<S> {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A writer that panicked has already failed every call since.
            let _ = thread.join();
        }
    }
}

impl<S: WriterState> Queue<S> {
    /// Waits for room. A writer that has stopped does nothing any more.
    pub fn push(&self, work: Work<S>) {
        let _ = self.0.send(Request::Run(work));
    }
}

/// Why an answer does not come.
pub fn stopped() -> Error {
    Error::Unavailable("its writer has stopped".into())
}

/// What comes to the writer.
enum Request<S: WriterState> {
    /// Work for the next transaction.
    Run(Work<S>),
    /// Something for the state.
    Message(S::Message),
}

/// What has come.
struct Requests<S: WriterState> {
    queue: Receiver<Request<S>>,
    batch: Vec<Work<S>>,
    /// About how many bytes the batch adds, and how many it should at most.
    bytes: u64,
    longest: u64,
    state: S,
}

impl<S: WriterState> Requests<S> {
    /// Waits until a transaction has something to do. `false` if nothing will come any more.
    fn wait(&mut self) -> bool {
        loop {
            let rest = self.state.next_wakeup().unwrap_or(Duration::MAX);
            if !self.batch.is_empty() || rest.is_zero() {
                return true;
            }
            match self.queue.recv_timeout(rest) {
                Ok(request) => self.take(request),
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
        while let Some(request) = self.next(end) {
            self.take(request);
            while !self.is_full()
                && let Ok(request) = self.queue.try_recv()
            {
                self.take(request);
            }
            if self.is_full() {
                return;
            }
        }
    }

    fn is_full(&self) -> bool {
        self.batch.len() >= BATCH || self.bytes >= self.longest
    }

    fn next(&mut self, end: Instant) -> Option<Request<S>> {
        let must_look = self.state.next_wakeup() == Some(Duration::ZERO);
        if must_look || self.batch.iter().any(|work| work.manner.is_urgent) {
            std::thread::yield_now();
            return self.queue.try_recv().ok();
        }
        self.queue.recv_timeout(end.saturating_duration_since(Instant::now())).ok()
    }

    fn take(&mut self, request: Request<S>) {
        match request {
            Request::Run(work) => {
                self.bytes += work.manner.adds.unwrap_or(0);
                self.batch.push(work);
            }
            Request::Message(message) => self.state.on_message(message),
        }
    }
}

fn run<S: WriterState>(mut db: Database, mut requests: Requests<S>) {
    loop {
        let step = || run_transaction(&mut db, &mut requests);
        match std::panic::catch_unwind(AssertUnwindSafe(step)) {
            Ok(true) => {}
            Ok(false) => return,
            Err(panic) => {
                // Its transaction has been rolled back.
                let failure = Error::Unavailable("its writer panicked".into());
                let words = panic.downcast_ref::<String>().map(String::as_str);
                let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
                error!(panic = words, "the writer panicked; its calls have failed, and it goes on");
                db.note_panic();
                requests.end(Some(&failure), Some(&failure));
                std::thread::sleep(AFTER_PANIC);
            }
        }
    }
}

/// Waits for work and does it. `false` if none will come any more.
fn run_transaction<S: WriterState>(db: &mut Database, requests: &mut Requests<S>) -> bool {
    if !requests.wait() {
        return false;
    }
    requests.gather();
    let committed = db.transact(&mut requests.batch, &mut requests.state);
    // What was committed to files that have been removed meanwhile is not acknowledged.
    let kept = committed.clone().and_then(|()| db.check_place());
    requests.end(committed.err().as_ref(), kept.err().as_ref());
    db.tidy();
    true
}

impl<S: WriterState> Requests<S> {
    /// Answers the batch. The state follows what was committed; the callers are told whether it will last.
    fn end(&mut self, failure: Option<&Error>, told: Option<&Error>) {
        for work in self.batch.drain(..) {
            work.task.reply(told);
        }
        self.bytes = 0;
        self.batch.extend(self.state.after_commit(failure));
    }
}
