//! What every request to a source passes: its body's bounds, the clock, and what becomes of one that is refused.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use tokio_util::sync::CancellationToken;

use super::body::Reader;
use super::diagnosis::{Arrival, Diagnoses};
use super::record::Facts;
use super::refused::{Refused, SOON, unavailable};
use crate::config::Limits;
use crate::inbox::Sightings;
use crate::source::{Rejected, Source};
use crate::telemetry::Clock;

/// How long a request that proves nothing waits for its answer, with neither a turn nor its body held meanwhile:
/// a flood over kept connections slows itself down and leaves the machine to others.
const UNPROVEN_PAUSE: Duration = Duration::from_millis(5);

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
        let reader = Reader::new(limits.max_body, limits.body_timeout, limits.buffered);
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

/// The answer with what is to be logged of it; one that proves nothing waits for it.
pub(super) async fn answered(result: Result<Response, Refused>, mut facts: Facts) -> Response {
    let mut response = match result {
        Ok(response) => response,
        Err(refused) => {
            facts.reason = Some(refused.reason.into_owned());
            refused.problem.into_response()
        }
    };
    if response.status() == StatusCode::UNAUTHORIZED {
        tokio::time::sleep(UNPROVEN_PAUSE).await;
    }
    response.extensions_mut().insert(facts);
    response
}
