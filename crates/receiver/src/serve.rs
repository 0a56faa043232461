//! The receiver, put together: inbox, dispatcher, routes, retention, and the order in which they stop.

mod key_times;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::middleware::from_fn_with_state;
use chrono::TimeDelta;
use contract::catalog::{Handlers, Table};
use contract::time::Clock;
use contract::time::Timestamp;
use futures_util::FutureExt as _;
use inbox::{
    Backlog, DedupCache, Inbox, InboxError, Options, RejectionLog, STEP_ROWS, State, throttled_step,
};
use server::full_disk::wait_for_disk_space;
use server::login::{Login, require_login};
use server::open_files::allow_connections;
use settings::{Config, is_loopback};
use source::{HookRoute, Source};
use telemetry::Metrics;
use telemetry::clock_monitor::{ClockMonitor, ClockVerdict};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::dispatch::{self, Dispatcher, Schedule};
use crate::hook_log::HookLog;
use crate::ingress;
use crate::openapi;
use key_times::KeyTimes;

/// How long canaries are kept: as long as somebody may want to look at them after a run of `doctor`.
const CANARIES: Duration = Duration::from_secs(60 * 60);

/// How often retention, the backlog's metrics and the times of keys are looked after.
const HOUSEKEEPING: Duration = Duration::from_secs(10);

/// A fork's handlers and pages.
pub struct Fork {
    /// The events and hooks, with their handlers.
    pub handlers: Handlers,
    /// The pages that a vendor shows in a frame, below the path that the settings give them.
    pub pages: Router,
}

/// Runs the receiver on `listener` until `stop`, then drains.
///
/// # Errors
/// If the settings cannot be used or the inbox cannot be opened.
pub async fn serve(
    config: Config,
    fork: Fork,
    listener: TcpListener,
    clock: Clock,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let Fork { handlers, pages: own_pages } = fork;
    config.check()?;
    let sources = config.sources()?;
    let hooks = config.hook_sites(&sources)?;
    config.warnings().iter().for_each(|warning| warn!("{warning}"));
    let handlers = Arc::new(handlers);
    let metrics = Arc::new(Metrics::default());
    allow_connections(config.limits.connections, 0);
    let inbox = || open(&config).boxed();
    let inbox =
        wait_for_disk_space(inbox, inbox::is_full, &listener, &config.limits, &stop).await?;
    let Some(inbox) = inbox else { return Ok(()) };
    let trust = catch_up(inbox.as_ref(), clock()).await;
    let mut keys = KeyTimes::load(sources.clone(), inbox.as_ref()).await?;
    keys.show(&metrics);
    let (rejections, rejections_writer) = RejectionLog::new(Arc::clone(&inbox));
    let (hook_log, log_writer) = HookLog::new(Arc::clone(&inbox), Arc::clone(&metrics));
    let own_pages = ingress::page::router(&hooks, &own_pages);
    let pages = pages(&config, handlers.table(), &sources, &hooks, &metrics)?.merge(own_pages);
    let calls = TaskTracker::new();
    let routes = ingress::Routes::new(
        ingress::Parts {
            sources,
            hooks,
            calls: calls.clone(),
            handlers: Arc::clone(&handlers),
            front: front(&inbox, &config.dedup),
            inbox: Arc::clone(&inbox),
            hook_log,
            rejections,
            limits: config.limits.clone(),
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
            stop: stop.clone(),
        },
        pages,
    );
    let parts = dispatching(&config.dispatch, &clock, &metrics);
    let dispatcher = Dispatcher::new(Arc::clone(&inbox), handlers, parts);
    let drain = config.limits.drain;
    info!(address = %listener.local_addr()?, inbox = config.inbox, "receiving");
    let handling = async {
        if config.dispatch.paused {
            warn!("paused = true in [dispatch]: deliveries are kept, but not handled");
        } else {
            dispatcher.run(stop.clone(), drain).await;
        }
    };
    let keeping_house =
        keep_house(&config, inbox.as_ref(), &clock, trust, &metrics, &mut keys, stop.clone());
    // The log of calls ends after the last call of the drain.
    let answered = CancellationToken::new();
    let receiving = async {
        server::connections::serve(
            listener,
            routes,
            &config.limits,
            Some(Arc::clone(&metrics)),
            stop.clone(),
        )
        .await;
        // What still runs, nobody waits for; but the vendor's own logic may have run for it.
        calls.close();
        let _ = tokio::time::timeout(drain, calls.wait()).await;
        answered.cancel();
    };
    let logging = async {
        tokio::join!(log_writer.run(answered.clone()), rejections_writer.run(stop.clone()))
    };
    tokio::join!(receiving, handling, keeping_house, logging);
    // The last requests of the drain have used keys, too.
    keys.keep(inbox.as_ref(), &metrics).await;
    info!("stopped");
    Ok(())
}

fn front(inbox: &Arc<dyn Inbox>, dedup: &settings::Dedup) -> DedupCache {
    let window = TimeDelta::from_std(dedup.window).unwrap_or(TimeDelta::MAX);
    DedupCache::new(Arc::clone(inbox), dedup.remembered, window)
}

fn dispatching(
    config: &settings::Dispatch,
    clock: &Clock,
    metrics: &Arc<Metrics>,
) -> dispatch::Parts {
    dispatch::Parts {
        schedule: Schedule::new(config.schedule.clone(), config.jitter),
        timeout: config.timeout,
        concurrency: config.concurrency,
        clock: Arc::clone(clock),
        metrics: Arc::clone(metrics),
    }
}

/// Swagger, the OpenAPI document and the metrics: open on loopback, elsewhere behind the login or not at all.
fn pages(
    config: &Config,
    catalog: &Table,
    sources: &[Arc<Source>],
    hooks: &[Arc<HookRoute>],
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Router> {
    let login = Login::new(&config.docs)?;
    if login.is_none() && !is_loopback(config.listen.ip()) {
        return Ok(Router::new());
    }
    let document = openapi::document(catalog, sources, hooks)?;
    let metrics = ingress::metrics(Arc::clone(metrics));
    let metrics = match login.clone() {
        Some(login) => metrics.layer(from_fn_with_state(login, require_login)),
        None => metrics,
    };
    Ok(server::docs::router(&document, login)?.merge(metrics))
}

async fn open(config: &Config) -> anyhow::Result<Arc<dyn Inbox>> {
    let (url, queue) = (config.inbox.clone(), config.limits.queue);
    let open = move || inbox::open(&url, Options { queue, exclusive: true });
    tokio::task::spawn_blocking(open).await.context("opening the inbox")?
}

/// Lets nothing wait for a clock that was ahead, and remembers how far the inbox has come, if it can be asked now.
async fn catch_up(inbox: &dyn Inbox, now: Timestamp) -> Option<ClockMonitor> {
    let Backlog { newest, made_due, waiting, next } = match inbox.catch_up(now).await {
        Ok(backlog) => backlog,
        Err(error) => {
            warn!(%error, "what waits for the clock cannot be made due");
            return None;
        }
    };
    if made_due > 0 {
        warn!(
            deliveries = made_due,
            "accepted by a clock that was ahead of this one; they are due now"
        );
    }
    if newest > Some(now) && waiting > 0 {
        let next = next.map(tracing::field::display);
        warn!(
            deliveries = waiting,
            next, "the clock is behind: retries wait until it has caught up"
        );
    }
    Some(ClockMonitor::new(now, newest))
}

/// Says when the clock was set, and whether it may be pruned by.
async fn follow(inbox: &dyn Inbox, trust: &mut ClockMonitor, now: Timestamp) -> bool {
    match trust.judge(now) {
        ClockVerdict::Plausible => true,
        ClockVerdict::Suspect => false,
        ClockVerdict::Jumped(ahead) => {
            let ahead_s = ahead.num_seconds();
            warn!(
                ahead_s,
                "the clock is far ahead of what was expected: nothing is pruned by it for a day"
            );
            false
        }
        ClockVerdict::Behind(behind) => {
            warn!(behind_s = behind.num_seconds(), "the clock is behind what was expected");
            catch_up(inbox, now).await;
            true
        }
    }
}

/// Prunes what is past its time in small steps, and keeps the backlog's metrics and the times of keys current.
async fn keep_house(
    config: &Config,
    inbox: &dyn Inbox,
    clock: &Clock,
    mut trust: Option<ClockMonitor>,
    metrics: &Metrics,
    keys: &mut KeyTimes,
    stop: CancellationToken,
) {
    let kept = [
        (Kept::Ended(State::Done), config.retention.done.max(config.dedup.window)),
        (Kept::Ended(State::Unrouted), config.retention.unrouted.max(config.dedup.window)),
        (Kept::Hooks, config.retention.hooks),
        (Kept::Ended(State::Canary), CANARIES),
    ];
    while !stop.is_cancelled() {
        keys.keep(inbox, metrics).await;
        let now = clock();
        if trust.is_none() {
            trust = catch_up(inbox, now).await;
        }
        let may_prune = match &mut trust {
            Some(trust) => follow(inbox, trust, now).await,
            None => false,
        };
        for (what, kept) in kept.into_iter().filter(|_| may_prune) {
            let kept = TimeDelta::from_std(kept).unwrap_or(TimeDelta::MAX);
            let Some(before) = now.checked_sub_signed(kept) else { continue };
            match prune(inbox, what, before, &stop).await {
                Ok(0) => {}
                Ok(pruned) => info!(state = what.as_str(), pruned, "pruned"),
                Err(error) => warn!(state = what.as_str(), %error, "cannot prune"),
            }
        }
        if let Ok(counts) = inbox.count().await {
            counts.iter().for_each(|(state, count)| metrics.backlog(state.as_str(), *count));
        }
        let _ = tokio::time::timeout(HOUSEKEEPING, stop.cancelled()).await;
    }
}

/// What is kept for a while.
#[derive(Clone, Copy)]
enum Kept {
    /// Deliveries that have ended so.
    Ended(State),
    /// Calls of hooks.
    Hooks,
}

impl Kept {
    fn as_str(self) -> &'static str {
        match self {
            Kept::Ended(state) => state.as_str(),
            Kept::Hooks => "hooks",
        }
    }
}

/// Deletes what is from before, and returns how much that was.
async fn prune(
    inbox: &dyn Inbox,
    what: Kept,
    before: Timestamp,
    stop: &CancellationToken,
) -> Result<u64, InboxError> {
    let mut pruned = 0;
    while !stop.is_cancelled() {
        let step = throttled_step(|| match what {
            Kept::Ended(state) => inbox.prune(state, before, STEP_ROWS),
            Kept::Hooks => inbox.prune_hooks(before, STEP_ROWS),
        });
        match step.await? {
            0 => break,
            step => pruned += step,
        }
    }
    Ok(pruned)
}
