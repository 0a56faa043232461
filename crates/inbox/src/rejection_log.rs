//! Rejection log: the latest requests that were refused or brought nothing new, with the reason. Other processes read it
//! to explain why no delivery arrives. Requests that are refused alike leave room for others: a flood of one kind hides none.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use contract::event::DeliveryId;
use contract::time::Timestamp;
use serde::Serialize;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_util::sync::CancellationToken;

use super::Rejections;

/// Number of requests that the log keeps, and of those that were refused alike: from one source, with one status and reason.
pub(super) const KEPT: usize = 500;
pub(super) const KEPT_ALIKE: usize = 100;

/// Capacity of the queue, and the most requests that are written together of those that were refused alike. Further ones are
/// dropped, since a flood repeats itself.
const QUEUE: usize = 256;
const ALIKE: usize = 16;

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
pub struct RejectionLog {
    queue: Sender<Update>,
    shares: Arc<Shares>,
}

/// Numbers of requests that were refused alike since the last were written, by a hash of what they share.
#[derive(Debug, Default)]
struct Shares(Mutex<HashMap<u64, usize>>);

impl Shares {
    /// Counts a request; false if there were enough like it.
    fn take(&self, one: &Rejection) -> bool {
        let mut hasher = DefaultHasher::new();
        (&one.source, one.status, &one.reason).hash(&mut hasher);
        let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // An inbox that hangs begins no new share for a while.
        if shares.len() >= QUEUE && !shares.contains_key(&hasher.finish()) {
            return false;
        }
        let count = shares.entry(hasher.finish()).or_default();
        *count += 1;
        *count <= ALIKE
    }

    fn begin(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

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
    shares: Arc<Shares>,
    known: Known,
}

/// Requests and findings of the last time, for those that are still to come.
#[derive(Default)]
struct Known {
    /// Latest written requests, to which findings may still be added.
    recent: VecDeque<Rejection>,
    /// Findings that have come before their requests, by request id.
    early: VecDeque<(String, String)>,
}

impl RejectionLog {
    /// Creates the log of an inbox. Entries are written while the writer [runs](RejectionLogWriter::run).
    pub fn new(inbox: Arc<dyn Rejections>) -> (Self, RejectionLogWriter) {
        let (queue, updates) = channel(QUEUE);
        let shares = Arc::new(Shares::default());
        let log = RejectionLog { queue, shares: Arc::clone(&shares) };
        (log, RejectionLogWriter { inbox, updates, shares, known: Known::default() })
    }

    /// Adds a request, unless there are enough like it.
    pub fn note(&self, rejection: Rejection) {
        if self.shares.take(&rejection) {
            let _ = self.queue.try_send(Update::New(Box::new(rejection)));
        }
    }

    /// Adds the diagnosis to a request in the log.
    pub fn add_findings(&self, request_id: String, findings: String) {
        let _ = self.queue.try_send(Update::Findings { request_id, findings });
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
            self.shares.begin();
            let changed = self.known.changed(updates.drain(..));
            // They are in the program's log, too.
            let _ = self.inbox.note_rejections(changed).await;
        }
    }
}

impl Known {
    /// Requests to write: new ones, and those with new findings.
    fn changed(&mut self, updates: impl Iterator<Item = Update>) -> Vec<Rejection> {
        let mut changed: Vec<Rejection> = Vec::new();
        let mut all_findings = std::mem::take(&mut self.early);
        for update in updates {
            match update {
                Update::New(rejection) => changed.push(*rejection),
                Update::Findings { request_id, findings } => {
                    all_findings.push_back((request_id, findings));
                }
            }
        }
        for (request_id, findings) in all_findings {
            let is = |known: &&Rejection| known.request_id == request_id;
            let known = changed.iter().find(is).or(self.recent.iter().find(is)).cloned();
            match known {
                Some(known) => {
                    changed.retain(|other| other.request_id != request_id);
                    changed.push(Rejection { findings: Some(findings), ..known });
                }
                None => self.early.push_back((request_id, findings)),
            }
        }
        self.recent.extend(changed.iter().cloned());
        self.recent.drain(..self.recent.len().saturating_sub(QUEUE));
        self.early.drain(..self.early.len().saturating_sub(ALIKE));
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(id: &str, reason: &str) -> Rejection {
        Rejection {
            request_id: id.into(),
            at: Timestamp::UNIX_EPOCH,
            source: Some("one".into()),
            target: None,
            event_type: None,
            message_id: None,
            delivery: None,
            status: 401,
            reason: Some(reason.into()),
            findings: None,
        }
    }

    fn new(id: &str) -> Update {
        Update::New(Box::new(refused(id, "the key is unknown")))
    }

    fn findings(id: &str) -> Update {
        Update::Findings { request_id: id.into(), findings: format!("findings of {id}") }
    }

    #[test]
    fn findings_are_added_whenever_they_come() {
        let mut known = Known::default();
        let mut written = Vec::new();
        let batches = [
            vec![findings("a"), new("a"), new("b")],
            vec![findings("b"), findings("c")],
            vec![new("c"), new("d"), findings("d")],
        ];
        for batch in batches {
            for one in known.changed(batch.into_iter()) {
                written.retain(|other: &Rejection| other.request_id != one.request_id);
                written.push(one);
            }
        }
        for id in ["a", "b", "c", "d"] {
            let found = written.iter().find(|one| one.request_id == id).unwrap();
            assert_eq!(found.findings, Some(format!("findings of {id}")));
        }
    }

    #[test]
    fn a_flood_leaves_room_for_others() {
        let shares = Shares::default();
        let flood = (0..1_000).filter(|n| shares.take(&refused(&n.to_string(), "wrong"))).count();
        assert_eq!(flood, ALIKE);
        assert!(shares.take(&refused("other", "another reason")));
        shares.begin();
        assert!(shares.take(&refused("later", "wrong")));
        let kinds = (0..1_000).filter(|n| shares.take(&refused("", &n.to_string()))).count();
        assert!(kinds < QUEUE, "{kinds} kinds are remembered");
    }
}
