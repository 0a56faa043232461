//! Runs of one-effect handlers in a fork's unit tests, against a real database.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::deferred::{Recorder, of_type};
use super::{Applied, Attempt, DeferredEvent, Handled, Once, OnceHandler, apply};
use crate::event::{Delivery, Event, Failure, Meta};
use crate::time::now;

/// A run of a one-effect handler in a unit test.
#[derive(Debug, Clone)]
pub struct OnceRun {
    /// The attempts' results: the first has applied it.
    pub attempts: Vec<Applied>,
    events: Vec<DeferredEvent>,
}

impl OnceRun {
    /// The events of one type that the handler has deferred.
    pub fn deferred<E: Event>(&self) -> Vec<E> {
        of_type(&self.events)
    }
}

impl<E: Event> Delivery<E> {
    /// Passes the delivery to a one-effect handler as the engine does: with the mark in the database of `context`, which is
    /// that of the test. It counts as a delivery of its own, whatever ran before.
    ///
    /// # Errors
    /// The handler's failure; then nothing is written.
    pub async fn once<C: Once, F: OnceHandler<C, E>>(
        self,
        context: &C,
        handler: F,
    ) -> Result<OnceRun, Failure> {
        self.attempts(context, handler, 1).await
    }

    /// As [`once`](Self::once), with a second attempt after the first, as after a crash before its verdict.
    ///
    /// # Errors
    /// As [`once`](Self::once).
    pub async fn twice<C: Once, F: OnceHandler<C, E>>(
        self,
        context: &C,
        handler: F,
    ) -> Result<OnceRun, Failure> {
        self.attempts(context, handler, 2).await
    }

    async fn attempts<C: Once, F: OnceHandler<C, E>>(
        self,
        context: &C,
        handler: F,
        count: u32,
    ) -> Result<OnceRun, Failure> {
        let mut meta = self.meta.clone();
        // Marks of earlier tests are in the same database.
        let now = now().timestamp_nanos_opt().unwrap_or_default();
        meta.message_id = format!("{}-{now}-{}", meta.message_id, next_number());
        let recorder = Arc::new(Recorder::default());
        let mut attempts = Vec::new();
        for number in 1..=count {
            let meta = Meta { attempt: number, ..meta.clone() };
            let delivery = Delivery::new(meta, self.raw().clone()).decode()?;
            let attempt = Attempt { acceptor: Arc::clone(&recorder) as _, ..Attempt::sample() };
            match apply(context.clone(), &handler, delivery, attempt).await? {
                Handled::Applied(applied) => attempts.push(applied),
                other => return Err(Failure::retry(format!("the attempt ended as {other:?}"))),
            }
        }
        let mut events = recorder.events();
        events.sort_by_key(|event| event.number);
        events.dedup_by_key(|event| event.number);
        Ok(OnceRun { attempts, events })
    }
}

/// A number that no other run of this process has.
fn next_number() -> u64 {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}
