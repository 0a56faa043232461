//! Everything between a parsed request and its answer: paths, methods, content types, handshakes, limits, problems.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use chrono::{DateTime, TimeDelta, Utc};
use contract::event::DeliveryId;
use contract::time::Clock;
use fixture::{Context, catalog};
use inbox::{
    AcceptOutcome, Backlog, Claim, DedupCache, Detail, Entry, Filter, HookEntry, HookFilter,
    HookRecord, Inbox, KeyUse, Lease, Receipt, Rejection, RejectionLog, Result, Route, State,
    Verdict,
};
use receiver::hook_log::HookLog;
use receiver::ingress::{IngressParts, Routes};
use source::Verified;
use telemetry::Metrics;
use tower::ServiceExt;
use webhook_receiver_fuzz::{NOW, config, request};

/// Keeps nothing: what is behind the routes has tests of its own.
struct Nowhere;

type Time = DateTime<Utc>;

#[async_trait]
impl Inbox for Nowhere {
    async fn accept(&self, delivery: Verified, _: Route, _: Time) -> Result<Receipt> {
        Ok(Receipt { id: 1, message_id: delivery.message_id, outcome: AcceptOutcome::New })
    }

    async fn claim(&self, _: usize, _: Duration, _: Clock, _: Duration) -> Result<Vec<Claim>> {
        Ok(Vec::new())
    }

    async fn finish(&self, _: Lease, _: Verdict, _: Time) -> Result<bool> {
        Ok(true)
    }

    async fn list(&self, _: Filter) -> Result<Vec<Entry>> {
        Ok(Vec::new())
    }

    async fn show(&self, _: DeliveryId) -> Result<Option<Detail>> {
        Ok(None)
    }

    async fn replayable(&self, _: Filter) -> Result<Vec<DeliveryId>> {
        Ok(Vec::new())
    }

    async fn replay(&self, _: Filter, _: Time) -> Result<u64> {
        Ok(0)
    }

    async fn prune(&self, _: State, _: Time, _: usize) -> Result<u64> {
        Ok(0)
    }

    async fn catch_up(&self, _: Time) -> Result<Backlog> {
        Ok(Backlog::default())
    }

    async fn count(&self) -> Result<Vec<(State, u64)>> {
        Ok(Vec::new())
    }

    async fn note_keys(&self, _: Vec<KeyUse>) -> Result<()> {
        Ok(())
    }

    async fn keys(&self) -> Result<Vec<KeyUse>> {
        Ok(Vec::new())
    }

    async fn log_hooks(&self, _: Vec<HookRecord>) -> Result<()> {
        Ok(())
    }

    async fn list_hooks(&self, _: HookFilter) -> Result<Vec<HookEntry>> {
        Ok(Vec::new())
    }

    async fn show_hook(&self, _: i64) -> Result<Option<HookEntry>> {
        Ok(None)
    }

    async fn prune_hooks(&self, _: Time, _: usize) -> Result<u64> {
        Ok(0)
    }

    async fn note_rejections(&self, _: Vec<Rejection>) -> Result<()> {
        Ok(())
    }

    async fn rejections(&self) -> Result<Vec<Rejection>> {
        Ok(Vec::new())
    }

    async fn check(&self) -> Result<()> {
        Ok(())
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
        dedup_cache: DedupCache::new(inbox.clone(), 16, TimeDelta::days(7)),
        inbox,
        limits: config.limits,
        clock: Arc::new(|| NOW),
        metrics: Arc::new(Metrics::default()),
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
