//! What every request to a source passes: its body's bounds, the clock, and what is told of one that is refused.

use std::sync::Arc;

use axum::body::Body;
use contract::time::Clock;
use inbox::Sightings;
use server::problem::SOON;
use settings::Limits;
use source::{Rejected, Source};
use tokio_util::sync::CancellationToken;

use super::body::Reader;
use super::diagnosis::{Arrival, Diagnoses};
use super::refused::{Refused, unavailable};

/// What deliveries and calls share.
pub(super) struct Gate {
    pub(super) reader: Reader,
    pub(super) clock: Clock,
    diagnoses: Diagnoses,
    stop: CancellationToken,
}

impl Gate {
    pub(super) fn new(
        sources: &[Arc<Source>],
        limits: &Limits,
        clock: Clock,
        sightings: Sightings,
        stop: CancellationToken,
    ) -> Self {
        let reader = Reader::new(limits);
        let diagnoses = Diagnoses::new(sources, reader.clone(), sightings, stop.clone());
        Gate { reader, clock, diagnoses, stop }
    }

    /// From the stop on nothing new is let in.
    pub(super) fn check_open(&self) -> Result<(), Refused> {
        if self.stop.is_cancelled() { Err(unavailable(SOON, "stopping")) } else { Ok(()) }
    }

    /// The refusal for the sender, while the owner is told more.
    pub(super) fn reject(
        &self,
        source: &Arc<Source>,
        rejected: Rejected,
        arrival: &Arrival<'_>,
        unread: Option<Body>,
    ) -> Refused {
        let refused = Refused::of(&rejected.refusal, source);
        self.diagnoses.begin(source, rejected, arrival, unread);
        refused
    }
}
