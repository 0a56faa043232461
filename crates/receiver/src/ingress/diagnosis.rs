//! Tells the owner what a refused request would have matched: after its answer, and only now and then.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use contract::time::Timestamp;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use http::header::{EXPECT, HeaderMap};
use inbox::RejectionLog;
use server::request_id::RequestId;
use source::diagnose::{Request, diagnose};
use source::{Refusal, RefusalKind, Rejected, Source};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::body::Reader;

/// How often a request of one source is looked into.
const PERIOD: Duration = Duration::from_secs(10);

/// How many may be looked into at once, if there was none for a while.
const BURST: NonZeroU32 = NonZeroU32::new(3).expect("three is not zero");

/// How long the body of a refused request is waited for; its sender may have stopped sending it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks into refused requests: a few of each source, one after the other, so that a flood of forgeries stays cheap.
pub(super) struct Diagnoses {
    sources: Arc<[Arc<Source>]>,
    rates: HashMap<String, DefaultDirectRateLimiter>,
    reader: Reader,
    turn: Arc<Semaphore>,
    rejections: RejectionLog,
    stop: CancellationToken,
}

/// How a request came, beyond its headers and its body.
pub(super) struct Arrival {
    pub(super) id: RequestId,
    pub(super) time: Timestamp,
    pub(super) query: Option<String>,
}

/// One refused request.
struct Case {
    source: Arc<Source>,
    id: String,
    time: Timestamp,
    query: Option<String>,
    refusal: Refusal,
    headers: HeaderMap,
}

impl Diagnoses {
    pub(super) fn new(
        sources: &[Arc<Source>],
        reader: Reader,
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
            turn: Arc::new(Semaphore::new(1)),
            rejections,
            stop,
        }
    }

    /// Looks into the request beside its answer, if it is this source's turn. `unread` is its body, if that is still to come.
    pub(super) fn begin(
        &self,
        source: &Arc<Source>,
        rejected: Rejected,
        arrival: &Arrival,
        unread: Option<Body>,
    ) {
        let Rejected { refusal, headers, body } = rejected;
        let is_turn = |rate: &DefaultDirectRateLimiter| rate.check().is_ok();
        if refusal.kind() != RefusalKind::Unauthentic
            || !self.rates.get(&source.name).is_some_and(is_turn)
        {
            return;
        }
        let case = Case {
            source: Arc::clone(source),
            id: arrival.id.to_string(),
            time: arrival.time,
            query: arrival.query.clone(),
            refusal,
            headers,
        };
        let unread = unread.filter(|_| case.needs_body());
        let (reader, stop) = (self.reader.clone(), self.stop.clone());
        let rejections = self.rejections.clone();
        let (sources, turn) = (Arc::clone(&self.sources), Arc::clone(&self.turn));
        tokio::spawn(async move {
            let body = match (body, unread) {
                (None, Some(unread)) => {
                    let reading = reader.read(&case.source.name, false, unread);
                    let reading = tokio::time::timeout(PATIENCE, reading);
                    stop.run_until_cancelled(reading).await.and_then(|read| read.ok()?.ok())
                }
                (body, _) => body,
            };
            let Ok(_turn) = turn.acquire().await else { return };
            // It ends with its line; there is nothing to do if it cannot.
            let _ = tokio::task::spawn_blocking(move || {
                case.tell(&sources, body.as_ref(), &rejections)
            })
            .await;
        });
    }
}

impl Case {
    /// Whether only the body can tell, and a sender that waits for leave to send it need not be asked for it.
    fn needs_body(&self) -> bool {
        matches!(self.refusal, Refusal::Unproven(_)) && !self.headers.contains_key(EXPECT)
    }

    fn tell(&self, sources: &[Arc<Source>], body: Option<&Bytes>, rejections: &RejectionLog) {
        let request = Request {
            headers: &self.headers,
            query: self.query.as_deref(),
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
