//! What the writer does besides calls: it gives waiting claims what is due, and answers them.

use std::time::{Duration, Instant};

use contract::time::Clock;
use rusqlite::Connection;
use store::{Queue, Work, Writer, fire_and_forget, stopped};
use tokio::sync::oneshot;

use super::super::{Claim, InboxError, Result, Verdict};
use super::state::{Tx, WriterState};
use super::waiting::Claimer;
use super::{browse, rows};

/// The longest that a claim waits, whatever its patience.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

impl store::WriterState for WriterState {
    type Message = Claimer;

    fn on_message(&mut self, claimer: Claimer) {
        self.waiting.add(claimer);
    }

    fn next_wakeup(&mut self) -> Option<Duration> {
        self.waiting.next_wakeup()
    }

    fn before_commit(&mut self, db: &Connection) -> rusqlite::Result<()> {
        if self.waiting.must_look() {
            let looked_at = Instant::now();
            for claimer in self.waiting.claimers() {
                let now = claimer.now();
                claimer.given.extend(rows::claim(db, claimer.room(), claimer.lease, now)?);
            }
            self.waiting.looked(looked_at, browse::next_due(db)?);
        }
        self.dedup.as_mut().map_or(Ok(()), |dedup| dedup.seal(db))
    }

    fn after_commit(&mut self, failure: Option<&store::Error>) -> Option<Work<Self>> {
        match (failure, &mut self.dedup) {
            (None, Some(dedup)) => dedup.committed(),
            (Some(_), Some(dedup)) => dedup.rolled_back(),
            (_, None) => {}
        }
        let failure = failure.cloned().map(InboxError::from);
        let left = self.waiting.answer(failure.as_ref());
        (!left.is_empty()).then(|| give_back(left))
    }
}

/// Waits in the writer for up to `max` deliveries that are due. What nobody waits for any more is given back.
pub(super) async fn claim(
    writer: &Writer<WriterState>,
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
    let queue = writer.send(Claimer { max, lease, clock, until, given: Vec::new(), reply })?;
    let mut claimed = Claimed { answer, queue };
    (&mut claimed.answer).await.map_err(|_| stopped())?
}

/// A claim's answer on its way. If its taker is gone when it comes, it goes back.
struct Claimed<'w> {
    answer: oneshot::Receiver<Result<Vec<Claim>>>,
    queue: &'w Queue<WriterState>,
}

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        self.answer.close();
        if let Ok(Ok(claims)) = self.answer.try_recv() {
            // A writer that has stopped leaves them to the end of their leases.
            self.queue.push(give_back(claims));
        }
    }
}

/// Releases what was claimed, at the time at which it was.
fn give_back(claims: Vec<Claim>) -> Work<WriterState> {
    fire_and_forget(move |tx: &mut Tx<'_>| {
        claims.iter().try_for_each(|Claim { lease, .. }| {
            rows::finish(tx, lease, &Verdict::Released, lease.started).map(drop)
        })
    })
}
