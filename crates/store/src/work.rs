//! Work for the writing thread, and the state that it keeps beside the file.

use std::convert::Infallible;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::error::{Error, Result};

/// State beside the file that the writing thread owns and keeps in agreement with it; `()` is a store without any.
pub trait WriterState: Send + Sized + 'static {
    /// A message to the writer besides calls; [`Infallible`] if there are none.
    type Message: Send;

    /// Takes in a message.
    fn on_message(&mut self, message: Self::Message);

    /// How long no transaction is needed but for calls; none if never. Zero begins one at once.
    fn next_wakeup(&mut self) -> Option<Duration> {
        None
    }

    /// The last step of every transaction.
    fn before_commit(&mut self, _: &Connection) -> rusqlite::Result<()> {
        Ok(())
    }

    /// Follows a transaction that is on disk or, with a `failure`, never was. Returns work for the next one.
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

/// The open transaction, as a call sees it.
pub struct Tx<'c, S> {
    /// The connection.
    pub db: &'c Connection,
    /// The writer's state.
    pub state: &'c mut S,
}

/// Something to do within a transaction.
pub struct Work<S> {
    pub(super) task: Box<dyn Task<S>>,
    pub(super) manner: Manner,
}

/// How work is done.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    /// Whether the transaction begins at once.
    pub(super) is_urgent: bool,
    /// About how many bytes it adds, if it adds rows.
    pub(super) adds: Option<u64>,
}

impl<S> Work<S> {
    /// Whether it adds rows.
    pub(super) fn adds(&self) -> bool {
        self.manner.adds.is_some()
    }

    pub(super) fn run(&mut self, tx: &mut Tx<'_, S>) -> rusqlite::Result<()> {
        self.task.run(tx)
    }

    /// It is not run; the caller is told why.
    pub(super) fn refuse(&mut self, error: Error) {
        self.task.refuse(error);
    }
}

/// Work whose result nobody waits for.
pub fn fire_and_forget<S, F>(work: F) -> Work<S>
where
    S: WriterState,
    F: FnOnce(&mut Tx<'_, S>) -> rusqlite::Result<()> + Send + 'static,
{
    let (reply, _) = oneshot::channel();
    let call = Call { work: Some(work), result: None, reply };
    Work { task: Box::new(call), manner: Manner { is_urgent: false, adds: None } }
}

/// A call with its types forgotten.
pub(super) trait Task<S>: Send {
    fn run(&mut self, tx: &mut Tx<'_, S>) -> rusqlite::Result<()>;
    fn refuse(&mut self, error: Error);
    fn reply(self: Box<Self>, failure: Option<&Error>);
}

pub(super) struct Call<T, F> {
    pub(super) work: Option<F>,
    pub(super) result: Option<Result<T>>,
    pub(super) reply: oneshot::Sender<Result<T>>,
}

impl<S, T, F> Task<S> for Call<T, F>
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
        // Nobody waits any more: whoever called has gone, and will come again.
        let _ = self.reply.send(result);
    }
}
