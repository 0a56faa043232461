//! Authentication of every request to a source, event or hook: the one way from a request to verified bytes.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use contract::time::Clock;
use inbox::RejectionLog;
use server::connections::Permit;
use server::problem::SOON;
use server::request_id::RequestId;
use settings::Limits;
use source::{Admission, Rejected, Source};
use tokio_util::sync::CancellationToken;

use super::body::Reader;
use super::diagnosis::{Arrival, Diagnoses};
use super::refused::{Refused, check_content, unavailable};

/// An authentic request.
pub(super) struct Authentic<V, T> {
    pub(super) verified: V,
    /// What `admit` found in the head.
    pub(super) admitted: T,
    pub(super) arrival: Arrival,
}

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
        rejections: RejectionLog,
        stop: CancellationToken,
    ) -> Self {
        let reader = Reader::new(limits);
        let diagnoses = Diagnoses::new(sources, reader.clone(), rejections, stop.clone());
        Gate { reader, clock, diagnoses, stop }
    }

    /// Authenticates a request: its head before a byte of its body is read, then its body. `admit` looks at the head in
    /// between, and `on_proof` is asked once the sender is proven, which takes the body if it is signed.
    pub(super) async fn authenticate<A: Admission, T>(
        &self,
        source: &Arc<Source>,
        request: Request,
        id: RequestId,
        admit: impl FnOnce(&A) -> Result<T, Refused>,
        on_proof: impl FnOnce() -> Result<(), Refused>,
    ) -> Result<Authentic<A::Verified, T>, Refused> {
        if self.stop.is_cancelled() {
            return Err(unavailable(SOON, "stopping"));
        }
        let (mut head, body) = request.into_parts();
        let connection = head.extensions.remove::<Arc<Permit>>();
        let content = check_content(&head.headers, &body);
        let query = head.uri.query().map(str::to_owned);
        let arrival = Arrival { id, time: (self.clock)(), query };
        let admission = match A::admit(source, head, arrival.time) {
            Ok(admission) => admission,
            Err(rejected) => return Err(self.reject(source, *rejected, &arrival, Some(body))),
        };
        let content = content?;
        let admitted = admit(&admission)?;
        let proven = || {
            connection.iter().for_each(|connection| connection.prove());
            on_proof()
        };
        let is_proven = admission.is_proven();
        // A forgery takes no part of the rate.
        let proven = if is_proven { proven().map(|()| None)? } else { Some(proven) };
        let body = self.reader.read(&source.name, is_proven, body).await?;
        content.check(&body)?;
        let verified = admission
            .verify(body)
            .map_err(|rejected| self.reject(source, *rejected, &arrival, None))?;
        proven.map_or(Ok(()), |proven| proven())?;
        Ok(Authentic { verified, admitted, arrival })
    }

    /// The refusal for the sender, while the owner is told more.
    fn reject(
        &self,
        source: &Arc<Source>,
        rejected: Rejected,
        arrival: &Arrival,
        unread: Option<Body>,
    ) -> Refused {
        let refused = Refused::of(&rejected.refusal, source);
        self.diagnoses.begin(source, rejected, arrival, unread);
        refused
    }
}
