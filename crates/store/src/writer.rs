//! Writer thread with group commit: queued calls share a transaction, and so an fsync.

use std::panic::AssertUnwindSafe;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::error;

use super::database::Database;
use super::error::{Error, Result};
use super::work::{Tx, Work, WorkOptions, WriterCall, WriterState};

/// Largest number of calls that share one transaction.
const BATCH: usize = 512;

/// The longest that a call that is not urgent waits for others to share its transaction.
const BATCH_DELAY: Duration = Duration::from_millis(1);

/// Pause of the writer after a panic, so that a repeated one does not occupy a core.
const AFTER_PANIC: Duration = Duration::from_millis(100);

/// Handle to the writer thread. Dropping it lets the thread finish the queue, then closes the file.
pub struct Writer<S: WriterState> {
    queue: Option<Queue<S>>,
    thread: Option<JoinHandle<()>>,
}

/// Sending end of the writer's queue.
pub struct Queue<S: WriterState>(SyncSender<WriterRequest<S>>);

impl<S: WriterState> Writer<S> {
    /// Starts the thread; `queue` is the capacity of its queue, in calls.
    pub(super) fn spawn(db: Database, state: S, queue: usize, noun: &str) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(queue);
        let longest = db.longest_batch();
        let requests = WriterQueue { queue: receiver, batch: Vec::new(), bytes: 0, longest, state };
        let thread = std::thread::Builder::new()
            .name(format!("{noun}-writer"))
            .spawn(move || run(db, requests))?;
        Ok(Writer { queue: Some(Queue(sender)), thread: Some(thread) })
    }

    /// Runs `work` in a transaction; once this returns, the transaction is on disk.
    pub async fn call<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_, S>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.run(work, WorkOptions { is_urgent: true, adds: None }).await
    }

    /// Runs `work` as [`call`](Self::call) does, but waits a moment for other work to share its transaction.
    pub async fn call_soon<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_, S>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.run(work, WorkOptions { is_urgent: false, adds: None }).await
    }

    /// Runs `work` as [`call`](Self::call) does; it adds rows of about this many bytes. On a full disk it is refused with
    /// [`Error::Full`], so that other work can still be done.
    pub async fn add<T, F>(&self, bytes: usize, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_, S>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.run(work, WorkOptions { is_urgent: true, adds: Some(bytes as u64) }).await
    }

    /// Runs `work` as [`add`](Self::add) does, but waits a moment for other work to share its transaction.
    pub async fn add_soon<T, F>(&self, bytes: usize, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_, S>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.run(work, WorkOptions { is_urgent: false, adds: Some(bytes as u64) }).await
    }

    async fn run<T, F>(&self, work: F, options: WorkOptions) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_, S>) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let call = WriterCall { work: Some(work), result: None, reply };
        self.enqueue(WriterRequest::Run(Work { task: Box::new(call), options }))?;
        answer.await.map_err(|_| stopped())?
    }

    /// Sends a message to the writer's state.
    pub fn send(&self, message: S::Message) -> Result<&Queue<S>> {
        self.enqueue(WriterRequest::Message(message))
    }

    fn enqueue(&self, request: WriterRequest<S>) -> Result<&Queue<S>> {
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
            // After a panic every call has already failed.
            let _ = thread.join();
        }
    }
}

impl<S: WriterState> Queue<S> {
    /// Enqueues work, and waits while the queue is full. It is dropped if the writer has stopped.
    pub fn push(&self, work: Work<S>) {
        let _ = self.0.send(WriterRequest::Run(work));
    }
}

/// Error of a call whose writer has stopped.
pub fn stopped() -> Error {
    Error::Unavailable("its writer has stopped".into())
}

/// Item of the writer's queue.
enum WriterRequest<S: WriterState> {
    /// Work for the next transaction.
    Run(Work<S>),
    /// A message to the state.
    Message(S::Message),
}

/// The queue, and the batch for the next transaction.
struct WriterQueue<S: WriterState> {
    queue: Receiver<WriterRequest<S>>,
    batch: Vec<Work<S>>,
    /// Approximate size of the rows that the batch adds, and its limit, in bytes.
    bytes: u64,
    longest: u64,
    state: S,
}

impl<S: WriterState> WriterQueue<S> {
    /// Waits until a transaction has something to do. Returns false if the queue is closed.
    fn wait(&mut self) -> bool {
        loop {
            let wait = self.state.next_wakeup().unwrap_or(Duration::MAX);
            if !self.batch.is_empty() || wait.is_zero() {
                return true;
            }
            match self.queue.recv_timeout(wait) {
                Ok(request) => self.take(request),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// Collects further requests, and yields to other threads as long as that brings more: a transaction costs far more than
    /// the delay.
    ///
    /// Work that is not urgent waits up to [`BATCH_DELAY`] for more.
    fn gather(&mut self) {
        let end = Instant::now() + BATCH_DELAY;
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

    fn next(&mut self, end: Instant) -> Option<WriterRequest<S>> {
        let is_awake = self.state.next_wakeup() == Some(Duration::ZERO);
        if is_awake || self.batch.iter().any(|work| work.options.is_urgent) {
            std::thread::yield_now();
            return self.queue.try_recv().ok();
        }
        self.queue.recv_timeout(end.saturating_duration_since(Instant::now())).ok()
    }

    fn take(&mut self, request: WriterRequest<S>) {
        match request {
            WriterRequest::Run(work) => {
                self.bytes += work.options.adds.unwrap_or(0);
                self.batch.push(work);
            }
            WriterRequest::Message(message) => self.state.on_message(message),
        }
    }
}

fn run<S: WriterState>(mut db: Database, mut requests: WriterQueue<S>) {
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
                error!(
                    panic = words,
                    "the writer panicked; its calls have failed, and it continues"
                );
                db.note_panic();
                requests.end(Some(&failure), Some(&failure));
                std::thread::sleep(AFTER_PANIC);
            }
        }
    }
}

/// Waits for work and runs it in one transaction. Returns false if the queue is closed.
fn run_transaction<S: WriterState>(db: &mut Database, requests: &mut WriterQueue<S>) -> bool {
    if !requests.wait() {
        return false;
    }
    requests.gather();
    let committed = db.transact(&mut requests.batch, &mut requests.state);
    // A commit to files that have been removed meanwhile is not acknowledged.
    let kept = committed.clone().and_then(|()| db.check_files());
    requests.end(committed.err().as_ref(), kept.err().as_ref());
    db.shorten_log();
    true
}

impl<S: WriterState> WriterQueue<S> {
    /// Answers the batch. The state follows the commit; the callers also get the failure of a commit that will not last.
    fn end(&mut self, failure: Option<&Error>, reported: Option<&Error>) {
        for work in self.batch.drain(..) {
            work.task.reply(reported);
        }
        self.bytes = 0;
        self.batch.extend(self.state.after_commit(failure));
    }
}
