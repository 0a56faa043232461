//! The one task that writes attempts down: many share a transaction.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::delivery_queue::DeliveryQueue;
use crate::outbox::{Attempt, Outbox};
use crate::registry::Registry;

/// How many attempts share a transaction at most.
const BATCH: usize = 512;

/// How long a store that cannot keep anything is left alone.
const PAUSE: Duration = Duration::from_millis(500);

/// An attempt that is over, and the queue that waits until it is written down.
pub(super) struct Record {
    pub(super) queue: Arc<DeliveryQueue>,
    pub(super) attempt: Attempt,
}

/// Writes down whatever comes until the `end`, and then what has come. What cannot be written is tried again; if the
/// process ends before, its deliveries are made once more.
pub(super) async fn keep(
    mut records: Receiver<Record>,
    outbox: Arc<Outbox>,
    registry: Arc<Registry>,
    end: CancellationToken,
) {
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            biased; // what has come is written before the end
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
                    warn!(%error, attempts = attempts.len(), "cannot write down attempts")
                }
            }
            tokio::time::sleep(PAUSE).await;
        };
        for (queue, attempt) in queues.iter().zip(attempts.iter()) {
            queue.recorded(attempt.delivery.id, &attempt.outcome);
        }
        due.into_iter().filter_map(|id| registry.get(id)).for_each(|queue| queue.notify());
    }
}
