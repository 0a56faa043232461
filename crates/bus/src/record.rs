//! What came of an attempt, and the one task that writes it down: many attempts share a transaction.

use std::sync::Arc;
use std::time::Duration;

use contract::time::Timestamp;
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::lane::{Job, Lane};
use super::outbox::Outbox;
use super::sender::Sent;

/// How many attempts share a transaction at most.
const BATCH: usize = 512;

/// How long a store that cannot keep anything is left alone.
const PAUSE: Duration = Duration::from_millis(500);

/// What becomes of a delivery after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It has arrived.
    Delivered,
    /// It is tried again then.
    Again(Timestamp),
    /// It is not tried again.
    GivenUp,
    /// It is not tried again, since its target wants no more of any kind.
    Gone,
    /// Nothing: the request was a copy, made on purpose.
    Copy,
}

impl Outcome {
    /// Its number in the file, for ever.
    pub(super) fn number(self) -> i64 {
        match self {
            Outcome::Delivered => 0,
            Outcome::Again(_) => 1,
            Outcome::GivenUp => 2,
            Outcome::Gone => 3,
            Outcome::Copy => 4,
        }
    }
}

/// An attempt that is over.
pub(super) struct Record {
    pub(super) lane: Arc<Lane>,
    pub(super) job: Job,
    pub(super) outcome: Outcome,
    pub(super) started_at: Timestamp,
    pub(super) ended_at: Timestamp,
    pub(super) sent: Sent,
    pub(super) error: Option<String>,
    pub(super) fault: Option<&'static str>,
    /// How many attempts of the target have failed in a row, and since when; none if that is as it was.
    pub(super) failures: Option<(u64, Timestamp)>,
}

/// Writes down whatever comes until the `end`, and then what has come. What cannot be written is tried again; if the
/// process ends before, its deliveries are made once more.
pub(super) async fn keep(
    mut records: Receiver<Record>,
    outbox: Arc<Outbox>,
    end: CancellationToken,
) {
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            biased; // what has come is written before the end
            received = records.recv_many(&mut batch, BATCH) => if received == 0 { return },
            () = end.cancelled() => return,
        }
        let written = Arc::new(std::mem::take(&mut batch));
        while let Err(error) = outbox.record(Arc::clone(&written)).await {
            warn!(%error, attempts = written.len(), "cannot write down what came of attempts");
            tokio::time::sleep(PAUSE).await;
        }
        for Record { lane, job, outcome, .. } in written.iter() {
            lane.recorded(job.id, outcome);
        }
    }
}
