//! What the writer knows besides the file, who has been here and who waits, and the claims that wait there.

use std::time::{Duration, Instant};

use contract::time::Clock;
use rusqlite::Connection;
use store::{Queue, Work, Writer, stopped, unheard};
use tokio::sync::oneshot;

use super::super::{Claim, InboxError, Result, Verdict};
use super::dedup::Dedup;
use super::rows;
use super::waiting::{Claimer, Waiting};

/// The longest that a claim waits, whatever its patience.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// The open transaction, as a call sees it.
pub(super) type Tx<'c> = store::Tx<'c, Memory>;

/// What the writer knows besides the file.
pub(super) struct Memory {
    pub(super) waiting: Waiting,
    dedup: Option<Dedup>,
}

impl Memory {
    /// `dedup` if this process is the one that may add identities.
    pub(super) fn new(dedup: Option<Dedup>) -> Self {
        Memory { waiting: Waiting::default(), dedup }
    }

    /// The known identities, if this process is the one that may add to them.
    pub(super) fn dedup(&mut self) -> rusqlite::Result<&mut Dedup> {
        self.dedup.as_mut().ok_or(rusqlite::Error::InvalidQuery)
    }
}

impl store::Memory for Memory {
    type Guest = Claimer;

    fn welcome(&mut self, claimer: Claimer) {
        self.waiting.add(claimer);
    }

    fn rest(&mut self) -> Option<Duration> {
        self.waiting.rest()
    }

    fn seal(&mut self, db: &Connection) -> rusqlite::Result<()> {
        self.waiting.look(db)?;
        self.dedup.as_mut().map_or(Ok(()), |dedup| dedup.seal(db))
    }

    fn ended(&mut self, failure: Option<&store::Error>) -> Option<Work<Self>> {
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
    writer: &Writer<Memory>,
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
    queue: &'w Queue<Memory>,
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
fn give_back(claims: Vec<Claim>) -> Work<Memory> {
    unheard(move |tx: &mut Tx<'_>| {
        claims.iter().try_for_each(|Claim { lease, .. }| {
            rows::finish(tx, lease, &Verdict::Released, lease.started).map(drop)
        })
    })
}
