//! Everything between a parsed request and its answer: paths, methods, content types, handshakes, limits, problems.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use chrono::TimeDelta;
use fixture::{Context, catalog};
use inbox::{
    AcceptOutcome, Claim, DedupCache, Deliveries, HookCalls, HookEntry, HookFilter, HookRecord, Lease,
    Receipt, Rejection, RejectionLog, Rejections, Result, Route, Verdict,
};
use receiver::hook_log::HookLog;
use receiver::ingress::{IngressParts, Routes};
use source::Verified;
use telemetry::Metrics;
use tower::ServiceExt;
use webhook_receiver_fuzz::{NOW, config, request};

/// Keeps nothing: what is behind the routes has tests of its own.
struct Nowhere;

#[async_trait]
impl Deliveries for Nowhere {
    async fn accept(&self, delivery: Verified, _: Route) -> Result<Receipt> {
        Ok(Receipt { id: 1, message_id: delivery.message_id, outcome: AcceptOutcome::New })
    }

    async fn claim(&self, _: usize, _: Duration, _: Duration) -> Result<Vec<Claim>> {
        Ok(Vec::new())
    }

    async fn finish(&self, _: Lease, _: Verdict) -> Result<bool> {
        Ok(true)
    }

    async fn check(&self) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl HookCalls for Nowhere {
    async fn log_hooks(&self, _: Vec<HookRecord>) -> Result<()> {
        Ok(())
    }

    async fn list_hooks(&self, _: HookFilter) -> Result<Vec<HookEntry>> {
        Ok(Vec::new())
    }

    async fn show_hook(&self, _: i64) -> Result<Option<HookEntry>> {
        Ok(None)
    }
}

#[async_trait]
impl Rejections for Nowhere {
    async fn note_rejections(&self, _: Vec<Rejection>) -> Result<()> {
        Ok(())
    }

    async fn rejections(&self) -> Result<Vec<Rejection>> {
        Ok(Vec::new())
    }
}

static ROUTES: LazyLock<Routes> = LazyLock::new(|| {
    let (config, inbox) = (config(), Arc::new(Nowhere));
    let sources = config.sources().unwrap();
    let parts = IngressParts {
        hooks: config.hook_sites(&sources).unwrap(),
        sources,
        handlers: Arc::new(catalog().bind(&Context::default()).unwrap()),
        calls: Default::default(),
        rejections: RejectionLog::new(inbox.clone()).0,
        hook_log: HookLog::new(inbox.clone(), Arc::default()).0,
        dedup_cache: DedupCache::new(inbox.clone(), 16, TimeDelta::days(7), Arc::new(|| NOW)),
        inbox,
        limits: config.limits,
        clock: Arc::new(|| NOW),
        metrics: Arc::new(Metrics::default()),
        tallies: Arc::default(),
        stop: Default::default(),
    };
    Routes::new(parts, Router::new())
});

thread_local! {
    /// Its clock stands still, so nothing is waited for.
    static RUNTIME: tokio::runtime::Runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((head, body)) = request(data) else { return };
    let request = http::Request::from_parts(head, Body::from(body));
    let response = RUNTIME.with(|runtime| runtime.block_on(ROUTES.clone().oneshot(request)));
    let status = response.unwrap().status();
    assert_ne!(status, 500, "a request has made the receiver panic");
});
