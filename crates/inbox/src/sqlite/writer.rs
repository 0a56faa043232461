//! The writer's own work: it gives due deliveries to pending claims, and answers them.

use std::time::{Duration, Instant};

use rusqlite::Connection;
use store::{Queue, Work, Writer, fire_and_forget, stopped};
use tokio::sync::oneshot;

use super::super::{Claim, InboxError, Result, Verdict};
use super::pending_claims::PendingClaim;
use super::writer_state::{InboxTx, InboxWriterState};
use super::{browse, rows};

/// Upper bound of a claim's patience.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

impl store::WriterState for InboxWriterState {
    type Message = PendingClaim;

    fn on_message(&mut self, claim: PendingClaim) {
        self.claims.add(claim);
    }

    fn next_wakeup(&mut self) -> Option<Duration> {
        self.claims.next_wakeup()
    }

    fn before_commit(&mut self, db: &Connection) -> rusqlite::Result<()> {
        if self.claims.must_check() {
            let (checked_at, now) = (Instant::now(), self.now());
            let next = match self.is_paused(db)? {
                true => None,
                false => {
                    for claim in self.claims.iter_mut() {
                        let (max, lease) = (claim.capacity_left(), claim.lease);
                        claim.given.extend(rows::claim(db, max, lease, &self.owner, now)?);
                    }
                    browse::next_due(db)?
                }
            };
            self.claims.checked(checked_at, next);
        }
        self.dedup.as_mut().map_or(Ok(()), |dedup| dedup.write_run(db))
    }

    fn after_commit(&mut self, failure: Option<&store::Error>) -> Option<Work<Self>> {
        self.is_paused = None;
        match (failure, &mut self.dedup) {
            (None, Some(dedup)) => dedup.committed(),
            (Some(_), Some(dedup)) => dedup.rolled_back(),
            (_, None) => {}
        }
        let failure = failure.cloned().map(InboxError::from);
        let left = self.claims.answer(failure.as_ref());
        (!left.is_empty()).then(|| give_back(left))
    }
}

/// Waits in the writer for up to `max` due deliveries. They are released if the caller has gone.
pub(super) async fn claim(
    writer: &Writer<InboxWriterState>,
    max: usize,
    lease: Duration,
    patience: Duration,
) -> Result<Vec<Claim>> {
    if max == 0 {
        return Ok(Vec::new());
    }
    let (reply, answer) = oneshot::channel();
    let until = Instant::now() + patience.min(LONGEST_WAIT);
    let queue = writer.send(PendingClaim { max, lease, until, given: Vec::new(), reply })?;
    let mut claimed = Claimed { answer, queue };
    (&mut claimed.answer).await.map_err(|_| stopped())?
}

/// Reply to a claim in transit. Dropping it releases the claimed deliveries.
struct Claimed<'w> {
    answer: oneshot::Receiver<Result<Vec<Claim>>>,
    queue: &'w Queue<InboxWriterState>,
}

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        self.answer.close();
        if let Ok(Ok(claims)) = self.answer.try_recv() {
            // If the writer has stopped, their leases expire.
            self.queue.push(give_back(claims));
        }
    }
}

/// Releases claims.
fn give_back(claims: Vec<Claim>) -> Work<InboxWriterState> {
    fire_and_forget(move |tx: &mut InboxTx<'_>| {
        claims.iter().try_for_each(|Claim { lease, .. }| {
            rows::finish(tx, lease, &Verdict::Released).map(drop)
        })
    })
}
