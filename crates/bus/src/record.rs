//! The recorder: one task that writes finished attempts to the outbox, many in one transaction.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::delivery_queue::DeliveryQueue;
use crate::outbox::{FinishedAttempt, Outbox};
use crate::registry::Registry;

/// The largest number of attempts in one transaction.
const BATCH: usize = 512;

/// The pause after a failed write.
const PAUSE: Duration = Duration::from_millis(500);

/// A finished attempt, and the queue that waits for its record.
pub(super) struct Record {
    pub(super) queue: Arc<DeliveryQueue>,
    pub(super) attempt: FinishedAttempt,
}

/// Records attempts until `end` is cancelled, and then those that are left. A write that fails is repeated; if the
/// process ends before, the deliveries are made once more.
pub(super) async fn run(
    mut records: Receiver<Record>,
    outbox: Arc<Outbox>,
    registry: Arc<Registry>,
    end: CancellationToken,
) {
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            biased; // received attempts are recorded before the end
            received = records.recv_many(&mut batch, BATCH) => if received == 0 { return },
            () = end.cancelled() => return,
        }
        let (queues, attempts): (Vec<_>, Vec<_>) =
            batch.drain(..).map(|Record { queue, attempt }| (queue, attempt)).unzip();
        let attempts = Arc::new(attempts);
        let due = loop {
            match outbox.record(Arc::clone(&attempts)).await {
                Ok(due) => break due,
                Err(error) => {
                    warn!(%error, attempts = attempts.len(), "cannot record attempts")
                }
            }
            tokio::time::sleep(PAUSE).await;
        };
        for (queue, attempt) in queues.iter().zip(attempts.iter()) {
            queue.recorded(attempt.delivery.id, &attempt.outcome);
        }
        registry.notify(&due);
    }
}
