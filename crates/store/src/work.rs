//! Work items for the writer thread, and its in-memory state.

use std::convert::Infallible;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::error::{Error, Result};

/// In-memory state that the writer thread owns and keeps consistent with the file; `()` is a store without any.
pub trait WriterState: Send + Sized + 'static {
    /// Message to the state, outside of transactions; [`Infallible`] if there are none.
    type Message: Send;

    /// Handles a message.
    fn on_message(&mut self, message: Self::Message);

    /// Time until the state needs a transaction of its own; none if never. Zero begins one at once.
    fn next_wakeup(&mut self) -> Option<Duration> {
        None
    }

    /// Runs as the last step of every transaction.
    fn before_commit(&mut self, _: &Connection) -> rusqlite::Result<()> {
        Ok(())
    }

    /// Follows a transaction that was committed or, with a `failure`, rolled back. Returns work for the next one.
    fn after_commit(&mut self, failure: Option<&Error>) -> Option<Work<Self>>;
}

impl WriterState for () {
    type Message = Infallible;

    fn on_message(&mut self, message: Infallible) {
        match message {}
    }

    fn after_commit(&mut self, _: Option<&Error>) -> Option<Work<Self>> {
        None
    }
}

/// The open transaction, as passed to a call.
pub struct Tx<'c, S> {
    /// The connection.
    pub db: &'c Connection,
    /// The writer's state.
    pub state: &'c mut S,
}

/// Unit of work within a transaction.
pub struct Work<S> {
    pub(super) task: Box<dyn Task<S>>,
    pub(super) options: WorkOptions,
}

/// Scheduling options of a unit of work.
#[derive(Clone, Copy)]
pub(super) struct WorkOptions {
    /// True if the transaction begins at once.
    pub(super) is_urgent: bool,
    /// Approximate size of the added rows in bytes, if it adds rows.
    pub(super) adds: Option<u64>,
}

impl<S> Work<S> {
    /// True if it adds rows.
    pub(super) fn adds(&self) -> bool {
        self.options.adds.is_some()
    }

    pub(super) fn run(&mut self, tx: &mut Tx<'_, S>) -> rusqlite::Result<()> {
        self.task.run(tx)
    }

    /// Refuses the work with an error for the caller.
    pub(super) fn refuse(&mut self, error: Error) {
        self.task.refuse(error);
    }
}

/// Work whose result is discarded.
pub fn fire_and_forget<S, F>(work: F) -> Work<S>
where
    S: WriterState,
    F: FnOnce(&mut Tx<'_, S>) -> rusqlite::Result<()> + Send + 'static,
{
    let (reply, _) = oneshot::channel();
    let call = WriterCall { work: Some(work), result: None, reply };
    Work { task: Box::new(call), options: WorkOptions { is_urgent: false, adds: None } }
}

/// Type-erased call.
pub(super) trait Task<S>: Send {
    fn run(&mut self, tx: &mut Tx<'_, S>) -> rusqlite::Result<()>;
    fn refuse(&mut self, error: Error);
    fn reply(self: Box<Self>, failure: Option<&Error>);
}

pub(super) struct WriterCall<T, F> {
    pub(super) work: Option<F>,
    pub(super) result: Option<Result<T>>,
    pub(super) reply: oneshot::Sender<Result<T>>,
}

impl<S, T, F> Task<S> for WriterCall<T, F>
where
    T: Send,
    F: FnOnce(&mut Tx<'_, S>) -> rusqlite::Result<T> + Send,
{
    fn run(&mut self, tx: &mut Tx<'_, S>) -> rusqlite::Result<()> {
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
        // It fails if the caller has been dropped.
        let _ = self.reply.send(result);
    }
}
