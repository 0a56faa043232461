//! Diagnosis of refused requests for the owner: what would have matched. It runs after the response and is rate-limited.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use contract::time::Timestamp;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use http::header::{EXPECT, HeaderMap};
use http::{Method, Uri};
use inbox::RejectionLog;
use server::request_id::RequestId;
use source::diagnose::{self, diagnose};
use source::{Refusal, RefusalKind, Rejected, Source};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::body::BodyReader;

/// Time between two diagnoses for one source.
const PERIOD: Duration = Duration::from_secs(10);

/// Number of diagnoses allowed at once after a pause.
const BURST: NonZeroU32 = NonZeroU32::new(3).expect("three is not zero");

/// The longest wait for the body of a refused request; its sender may have stopped sending it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Diagnoses refused requests: a few for each source, one at a time, so that a flood of forgeries stays cheap.
pub(super) struct Diagnoses {
    sources: Arc<[Arc<Source>]>,
    rates: HashMap<String, DefaultDirectRateLimiter>,
    reader: BodyReader,
    permit: Arc<Semaphore>,
    rejections: RejectionLog,
    stop: CancellationToken,
}

/// Request id, time of arrival and request line of a request.
pub(super) struct Arrival {
    pub(super) id: RequestId,
    pub(super) time: Timestamp,
    pub(super) method: Method,
    pub(super) uri: Uri,
}

/// Refused request to diagnose.
struct RequestToDiagnose {
    source: Arc<Source>,
    id: String,
    time: Timestamp,
    method: Method,
    uri: Uri,
    refusal: Refusal,
    headers: HeaderMap,
}

impl Diagnoses {
    pub(super) fn new(
        sources: &[Arc<Source>],
        reader: BodyReader,
        rejections: RejectionLog,
        stop: CancellationToken,
    ) -> Self {
        let quota =
            Quota::with_period(PERIOD).expect("ten seconds are not zero").allow_burst(BURST);
        let rate = |source: &Arc<Source>| (source.name.clone(), RateLimiter::direct(quota));
        Diagnoses {
            sources: sources.into(),
            rates: sources.iter().map(rate).collect(),
            reader,
            permit: Arc::new(Semaphore::new(1)),
            rejections,
            stop,
        }
    }

    /// Starts the diagnosis in the background, within the source's rate. `unread` is the body, if it was not read yet.
    pub(super) fn begin(
        &self,
        source: &Arc<Source>,
        rejected: Rejected,
        arrival: &Arrival,
        unread: Option<Body>,
    ) {
        let Rejected { refusal, headers, body } = rejected;
        let is_within_rate = |rate: &DefaultDirectRateLimiter| rate.check().is_ok();
        if refusal.kind() != RefusalKind::Unauthentic
            || !self.rates.get(&source.name).is_some_and(is_within_rate)
        {
            return;
        }
        let refused = RequestToDiagnose {
            source: Arc::clone(source),
            id: arrival.id.to_string(),
            time: arrival.time,
            method: arrival.method.clone(),
            uri: arrival.uri.clone(),
            refusal,
            headers,
        };
        let unread = unread.filter(|_| refused.needs_body());
        let (reader, stop) = (self.reader.clone(), self.stop.clone());
        let rejections = self.rejections.clone();
        let (sources, permit) = (Arc::clone(&self.sources), Arc::clone(&self.permit));
        tokio::spawn(async move {
            let body = match (body, unread) {
                (None, Some(unread)) => {
                    let reading = reader.read(&refused.source.name, false, unread);
                    let reading = tokio::time::timeout(PATIENCE, reading);
                    stop.run_until_cancelled(reading).await.and_then(|read| read.ok()?.ok())
                }
                (body, _) => body,
            };
            let Ok(_permit) = permit.acquire().await else { return };
            // A failed diagnosis is ignored.
            let _ = tokio::task::spawn_blocking(move || {
                refused.report(&sources, body.as_ref(), &rejections)
            })
            .await;
        });
    }
}

impl RequestToDiagnose {
    /// True if the diagnosis needs the body. A sender that waits for `100 Continue` is not asked for it.
    fn needs_body(&self) -> bool {
        matches!(self.refusal, Refusal::Signature(_)) && !self.headers.contains_key(EXPECT)
    }

    fn report(&self, sources: &[Arc<Source>], body: Option<&Bytes>, rejections: &RejectionLog) {
        let request = diagnose::RefusedRequest {
            headers: &self.headers,
            method: &self.method,
            uri: &self.uri,
            body: body.map(AsRef::as_ref),
            now: self.time,
        };
        let findings = diagnose(&self.source, sources, &self.refusal, request);
        if !findings.is_empty() {
            warn!(request.id = self.id, source = self.source.name, "rejected: {findings}");
            rejections.add_findings(self.id.clone(), findings.to_string());
        }
    }
}
