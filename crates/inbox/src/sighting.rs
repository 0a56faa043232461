//! The latest requests that brought nothing new, for whoever asks beside the running receiver why nothing arrives.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use contract::event::DeliveryId;
use contract::time::Timestamp;
use serde::Serialize;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_util::sync::CancellationToken;

use super::Inbox;

/// How many are kept.
pub(super) const KEPT: usize = 500;

/// How many may wait to be written; more are lost, for the flood tells the same again and again.
const QUEUE: usize = 64;

/// How long they are collected before they are written together.
const COLLECT: Duration = Duration::from_millis(200);

/// A request that was refused, or was known already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sighting {
    /// The id under which the log has it.
    pub request_id: String,
    /// When it came.
    pub at: Timestamp,
    /// The source whose path it took, if it took one's.
    pub source: Option<String>,
    /// Its method and path, if the path is no source's.
    pub target: Option<String>,
    /// The event that it names.
    pub event_type: Option<String>,
    /// The message's id.
    pub message_id: Option<String>,
    /// The delivery that had come before under this id.
    pub delivery: Option<DeliveryId>,
    /// The status of the answer.
    pub status: u16,
    /// Why it was refused.
    pub reason: Option<String>,
    /// What would have matched.
    pub findings: Option<String>,
}

/// Takes what was seen, and never waits. Clones share the queue.
#[derive(Debug, Clone)]
pub struct Sightings(Sender<Note>);

#[derive(Debug)]
enum Note {
    Seen(Box<Sighting>),
    /// What would have matched, found out after the answer.
    Found {
        request_id: String,
        findings: String,
    },
}

/// Writes what [`Sightings`] take.
pub struct SightingsWriter {
    inbox: Arc<dyn Inbox>,
    notes: Receiver<Note>,
    /// Those written last may still be added to.
    recent: VecDeque<Sighting>,
}

impl Sightings {
    /// Sightings for the inbox. What is taken is kept while the other half [runs](SightingsWriter::run).
    pub fn new(inbox: Arc<dyn Inbox>) -> (Self, SightingsWriter) {
        let (sender, notes) = channel(QUEUE);
        (Sightings(sender), SightingsWriter { inbox, notes, recent: VecDeque::new() })
    }

    /// Notes a request.
    pub fn saw(&self, sighting: Sighting) {
        let _ = self.0.try_send(Note::Seen(Box::new(sighting)));
    }

    /// Adds what would have matched to a request that was noted.
    pub fn found(&self, request_id: String, findings: String) {
        let _ = self.0.try_send(Note::Found { request_id, findings });
    }
}

impl SightingsWriter {
    /// Writes until `stop`, in steps, so that a flood costs few transactions. What is still queued then is lost: the log
    /// has it, too.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut notes = Vec::new();
        while let Some(1..) =
            stop.run_until_cancelled(self.notes.recv_many(&mut notes, QUEUE)).await
        {
            stop.run_until_cancelled(tokio::time::sleep(COLLECT)).await;
            while let Ok(note) = self.notes.try_recv() {
                notes.push(note);
            }
            let changed = self.changed(notes.drain(..));
            self.recent.extend(changed.iter().cloned());
            self.recent.drain(..self.recent.len().saturating_sub(QUEUE));
            // The log has them, too.
            let _ = self.inbox.note_sightings(changed).await;
        }
    }

    /// What has to be written: new ones, and those that are added to.
    fn changed(&self, notes: impl Iterator<Item = Note>) -> Vec<Sighting> {
        let mut changed: Vec<Sighting> = Vec::new();
        for note in notes {
            match note {
                Note::Seen(sighting) => changed.push(*sighting),
                Note::Found { request_id, findings } => {
                    let is = |known: &&Sighting| known.request_id == request_id;
                    let known = changed.iter().find(is).or(self.recent.iter().find(is)).cloned();
                    changed.retain(|other| other.request_id != request_id);
                    let found = known.map(|known| Sighting { findings: Some(findings), ..known });
                    changed.extend(found);
                }
            }
        }
        changed
    }
}
