//! Batches: calls that arrive while a batch is being written share the next one.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot};

use super::super::{InboxError, Result};
use super::LARGEST_BATCH;

/// A call that is written in a batch.
pub(super) trait Call: Send + 'static {
    /// Result for the caller.
    type Output: Send;
}

/// A call with its caller.
pub(super) struct Pending<C: Call> {
    pub(super) call: C,
    pub(super) reply: oneshot::Sender<Result<C::Output>>,
}

/// The queue in front of the tasks that write. They end with it, once it is empty.
pub(super) struct Batches<C: Call> {
    queue: mpsc::Sender<Pending<C>>,
}

impl<C: Call> Batches<C> {
    /// Starts as many tasks as there may be batches at once. `write` answers every call of its batch.
    pub(super) fn new<F>(
        capacity: usize,
        at_once: usize,
        write: impl Fn(Vec<Pending<C>>) -> F + Clone + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send,
    {
        let (queue, receiver) = mpsc::channel(capacity);
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..at_once {
            let (receiver, write) = (Arc::clone(&receiver), write.clone());
            tokio::spawn(async move {
                loop {
                    let mut batch = Vec::new();
                    if receiver.lock().await.recv_many(&mut batch, LARGEST_BATCH).await == 0 {
                        return;
                    }
                    write(batch).await;
                }
            });
        }
        Batches { queue }
    }

    /// Adds a call, and waits for its result.
    pub(super) async fn call(&self, call: C) -> Result<C::Output> {
        let (reply, result) = oneshot::channel();
        self.queue.try_send(Pending { call, reply }).map_err(|_| InboxError::Busy)?;
        result.await.map_err(|_| InboxError::Unavailable("its writer has stopped".into()))?
    }
}
