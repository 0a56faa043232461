//! The latest requests that brought nothing new, for whoever asks beside the running receiver why nothing arrives.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::Inbox;
use crate::event::{DeliveryId, Timestamp};

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

impl Sightings {
    /// Starts to write what it takes to the inbox, until the last clone is gone.
    pub fn start(inbox: Arc<dyn Inbox>) -> Self {
        let (sender, receiver) = channel(QUEUE);
        tokio::spawn(write(inbox, receiver));
        Sightings(sender)
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

/// Writes in steps, so that a flood costs few transactions. Those written last may still be added to.
async fn write(inbox: Arc<dyn Inbox>, mut notes: Receiver<Note>) {
    let mut recent: VecDeque<Sighting> = VecDeque::new();
    let mut collected = Vec::new();
    while notes.recv_many(&mut collected, QUEUE).await > 0 {
        tokio::time::sleep(COLLECT).await;
        while let Ok(note) = notes.try_recv() {
            collected.push(note);
        }
        let mut changed: Vec<Sighting> = Vec::new();
        for note in collected.drain(..) {
            match note {
                Note::Seen(sighting) => changed.push(*sighting),
                Note::Found { request_id, findings } => {
                    let known = changed.iter().chain(&recent);
                    let known = known.rev().find(|known| known.request_id == request_id).cloned();
                    changed.retain(|other| other.request_id != request_id);
                    changed
                        .extend(known.map(|known| Sighting { findings: Some(findings), ..known }));
                }
            }
        }
        recent.extend(changed.iter().cloned());
        recent.drain(..recent.len().saturating_sub(QUEUE));
        // The log has them, too.
        let _ = inbox.note_sightings(changed).await;
    }
}
