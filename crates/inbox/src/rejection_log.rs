//! Rejection log: the latest requests that were refused or brought nothing new, with the reason. Other processes read it
//! to explain why no delivery arrives.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use contract::event::DeliveryId;
use contract::time::Timestamp;
use serde::Serialize;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_util::sync::CancellationToken;

use super::Rejections;

/// Number of requests that the log keeps.
pub(super) const KEPT: usize = 500;

/// Capacity of the queue; further requests are dropped, since a flood repeats itself.
const QUEUE: usize = 64;

/// Time for which requests are collected before they are written together.
const COLLECT: Duration = Duration::from_millis(200);

/// Request that was refused, or was known already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rejection {
    /// Request id in the log.
    pub request_id: String,
    /// Time at which it was received.
    pub at: Timestamp,
    /// Source of the request's path, if the path belongs to one.
    pub source: Option<String>,
    /// Method and path, if the path belongs to no source.
    pub target: Option<String>,
    /// Event type that it names.
    pub event_type: Option<String>,
    /// Message id.
    pub message_id: Option<String>,
    /// Earlier delivery with this message id.
    pub delivery: Option<DeliveryId>,
    /// HTTP status of the response.
    pub status: u16,
    /// Reason of the refusal.
    pub reason: Option<String>,
    /// Diagnosis: the check that failed, and what would have matched.
    pub findings: Option<String>,
}

/// Sending half of the log, which never blocks. Clones share the queue.
#[derive(Debug, Clone)]
pub struct RejectionLog(Sender<Update>);

#[derive(Debug)]
enum Update {
    New(Box<Rejection>),
    /// The diagnosis, made after the response.
    Findings {
        request_id: String,
        findings: String,
    },
}

/// Writes the entries of a [`RejectionLog`].
pub struct RejectionLogWriter {
    inbox: Arc<dyn Rejections>,
    updates: Receiver<Update>,
    /// Latest written requests, to which findings may still be added.
    recent: VecDeque<Rejection>,
}

impl RejectionLog {
    /// Creates the log of an inbox. Entries are written while the writer [runs](RejectionLogWriter::run).
    pub fn new(inbox: Arc<dyn Rejections>) -> (Self, RejectionLogWriter) {
        let (sender, updates) = channel(QUEUE);
        (RejectionLog(sender), RejectionLogWriter { inbox, updates, recent: VecDeque::new() })
    }

    /// Adds a request.
    pub fn note(&self, rejection: Rejection) {
        let _ = self.0.try_send(Update::New(Box::new(rejection)));
    }

    /// Adds the diagnosis to a request in the log.
    pub fn add_findings(&self, request_id: String, findings: String) {
        let _ = self.0.try_send(Update::Findings { request_id, findings });
    }
}

impl RejectionLogWriter {
    /// Writes until `stop`, in batches, so that a flood costs few transactions. Requests that are still queued then are lost
    /// here, but are in the program's log.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut updates = Vec::new();
        while let Some(1..) =
            stop.run_until_cancelled(self.updates.recv_many(&mut updates, QUEUE)).await
        {
            stop.run_until_cancelled(tokio::time::sleep(COLLECT)).await;
            while let Ok(update) = self.updates.try_recv() {
                updates.push(update);
            }
            let changed = self.changed(updates.drain(..));
            self.recent.extend(changed.iter().cloned());
            self.recent.drain(..self.recent.len().saturating_sub(QUEUE));
            // They are in the program's log, too.
            let _ = self.inbox.note_rejections(changed).await;
        }
    }

    /// Requests to write: new ones, and those with new findings.
    fn changed(&self, updates: impl Iterator<Item = Update>) -> Vec<Rejection> {
        let mut changed: Vec<Rejection> = Vec::new();
        for update in updates {
            match update {
                Update::New(rejection) => changed.push(*rejection),
                Update::Findings { request_id, findings } => {
                    let is = |known: &&Rejection| known.request_id == request_id;
                    let known = changed.iter().find(is).or(self.recent.iter().find(is)).cloned();
                    changed.retain(|other| other.request_id != request_id);
                    let found = known.map(|known| Rejection { findings: Some(findings), ..known });
                    changed.extend(found);
                }
            }
        }
        changed
    }
}
