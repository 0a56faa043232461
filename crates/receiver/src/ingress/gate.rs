//! Authentication gate for deliveries and hook calls: the only way from a request to verified bytes.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use contract::time::Clock;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use inbox::RejectionLog;
use server::connections::Permit;
use server::problem::SOON;
use server::request_id::RequestId;
use settings::Limits;
use source::{Admission, Rejected, Source};
use tokio_util::sync::CancellationToken;

use super::body::BodyReader;
use super::diagnosis::{Arrival, Diagnoses};
use super::refused::{HttpRefusal, check_content, check_untyped, unavailable};

/// Authenticated request.
pub(super) struct Authentic<V, T> {
    pub(super) verified: V,
    /// Result of `admit` on the head.
    pub(super) admitted: T,
    pub(super) arrival: Arrival,
}

/// Gate shared by deliveries and hook calls.
pub(super) struct Gate {
    pub(super) reader: BodyReader,
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
        let reader = BodyReader::new(limits);
        let diagnoses = Diagnoses::new(sources, reader.clone(), rejections, stop.clone());
        Gate { reader, clock, diagnoses, stop }
    }

    /// Authenticates a request: its head before a byte of its body is read, then its body. `admit` checks the head in
    /// between, and `on_proof` runs once the sender is authenticated, which needs the body if it is signed.
    pub(super) async fn authenticate<A: Admission, T>(
        &self,
        source: &Arc<Source>,
        request: Request,
        id: RequestId,
        admit: impl FnOnce(&A) -> Result<T, HttpRefusal>,
        on_proof: impl FnOnce() -> Result<(), HttpRefusal>,
    ) -> Result<Authentic<A::Verified, T>, HttpRefusal> {
        if self.stop.is_cancelled() {
            return Err(unavailable(SOON, "stopping"));
        }
        let (mut head, body) = request.into_parts();
        let connection = head.extensions.remove::<Arc<Permit>>();
        let content = check_content(source, &head.headers, &body);
        let typed = head.headers.contains_key(CONTENT_TYPE);
        let headers = (!typed).then(|| head.headers.clone());
        let (method, uri) = (head.method.clone(), head.uri.clone());
        let arrival = Arrival { id, time: (self.clock)(), method, uri };
        let admission = match A::admit(source, head, arrival.time) {
            Ok(admission) => admission,
            Err(rejected) => return Err(self.reject(source, *rejected, &arrival, Some(body))),
        };
        content?;
        let admitted = admit(&admission)?;
        let proven = || {
            connection.iter().for_each(|connection| connection.prove());
            on_proof()
        };
        let is_proven = admission.is_proven();
        // A forgery does not count against the rate limit.
        let proven = if is_proven { proven().map(|()| None)? } else { Some(proven) };
        let body = self.reader.read(&source.name, is_proven, body).await?;
        headers.map_or(Ok(()), |headers| check_untyped(source, &headers, &body))?;
        let needed = admission.missing_keys(&body);
        let needed = needed.map_err(|refusal| {
            let rejected = Rejected { refusal, headers: HeaderMap::new(), body: None };
            self.reject(source, rejected, &arrival, None)
        })?;
        if let Some((keys, key)) = needed {
            keys.fetch(&key).await?;
        }
        let verified = admission
            .verify(body)
            .map_err(|rejected| self.reject(source, *rejected, &arrival, None))?;
        proven.map_or(Ok(()), |proven| proven())?;
        Ok(Authentic { verified, admitted, arrival })
    }

    /// Refuses the request, and starts its diagnosis for the owner.
    fn reject(
        &self,
        source: &Arc<Source>,
        rejected: Rejected,
        arrival: &Arrival,
        unread: Option<Body>,
    ) -> HttpRefusal {
        let refused = HttpRefusal::of(&rejected.refusal, source);
        self.diagnoses.begin(source, rejected, arrival, unread);
        refused
    }
}
