//! The receiver, put together: inbox, dispatcher, routes, retention, and the order in which they stop.

mod bus;
mod key_times;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::middleware::from_fn_with_state;
use chrono::TimeDelta;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::catalog::Catalog;
use crate::config::{Config, is_loopback};
use crate::dispatch::{self, Dispatcher, Schedule};
use crate::event::Timestamp;
use crate::http;
use crate::http::login::{Login, require_login};
use crate::inbox::{self, Front, Inbox, InboxError, Options, State};
use crate::openapi;
use crate::source::Source;
use crate::telemetry::{Clock, Metrics};
use key_times::KeyTimes;

pub use bus::serve_bus;

/// How many deliveries one pruning step deletes, so that accepts do not wait long behind it.
const PRUNE_STEP: usize = 100;

/// How long accepts have the writer for themselves between two steps.
const PRUNE_PAUSE: Duration = Duration::from_millis(20);

/// How often retention, the backlog's metrics and the times of keys are looked after.
const HOUSEKEEPING: Duration = Duration::from_secs(10);

/// Runs the receiver on `listener` until `stop`, then drains.
///
/// # Errors
/// If the settings cannot be used or the inbox cannot be opened.
pub async fn serve<C: Clone + Send + Sync + 'static>(
    config: Config,
    catalog: Catalog<C>,
    context: C,
    listener: TcpListener,
    clock: Clock,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    config.check()?;
    let sources = config.sources()?;
    config.warnings().iter().for_each(|warning| warn!("{warning}"));
    let catalog = Arc::new(catalog.checked()?);
    let metrics = Arc::new(Metrics::default());
    allow_many_connections(config.limits.connections);
    let inbox = open(&config).await?;
    let mut keys = KeyTimes::load(sources.clone(), inbox.as_ref()).await?;
    keys.show(&metrics);
    let pages = pages(&config, &catalog, &sources, &metrics)?;
    let router = http::router(
        http::Parts {
            sources,
            catalog: Arc::clone(&catalog),
            front: Front::new(
                Arc::clone(&inbox),
                config.dedup.remembered,
                TimeDelta::from_std(config.dedup.window).unwrap_or(TimeDelta::MAX),
            ),
            inbox: Arc::clone(&inbox),
            limits: config.limits.clone(),
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
            stop: stop.clone(),
        },
        pages,
    );
    let parts = dispatch::Parts {
        schedule: Schedule::new(config.dispatch.schedule.clone(), config.dispatch.jitter),
        timeout: config.dispatch.timeout,
        concurrency: config.dispatch.concurrency,
        clock: Arc::clone(&clock),
        metrics: Arc::clone(&metrics),
    };
    let dispatcher = Dispatcher::new(Arc::clone(&inbox), catalog, context, parts);
    let drain = config.limits.drain;
    info!(address = %listener.local_addr()?, inbox = config.inbox, "receiving");
    let dispatching = async {
        if config.dispatch.paused {
            warn!("paused = true in [dispatch]: deliveries are kept, but not handled");
        } else {
            dispatcher.run(stop.clone(), drain).await;
        }
    };
    let keeping_house =
        keep_house(&config, inbox.as_ref(), &clock, &metrics, &mut keys, stop.clone());
    tokio::join!(
        http::serve(listener, router, &config.limits, stop.clone()),
        dispatching,
        keeping_house
    );
    // The last requests of the drain have used keys, too.
    keys.keep(inbox.as_ref(), &metrics).await;
    info!("stopped");
    Ok(())
}

/// Swagger, the OpenAPI document and the metrics: open on loopback, elsewhere behind the login or not at all.
fn pages<C: 'static>(
    config: &Config,
    catalog: &Catalog<C>,
    sources: &[Arc<Source>],
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Router> {
    let login = Login::new(&config.docs)?;
    if login.is_none() && !is_loopback(config.listen.ip()) {
        return Ok(Router::new());
    }
    let document = openapi::document(catalog, sources)?;
    let metrics = http::metrics(Arc::clone(metrics));
    let metrics = match login.clone() {
        Some(login) => metrics.layer(from_fn_with_state(login, require_login)),
        None => metrics,
    };
    Ok(http::docs::router(&document, login)?.merge(metrics))
}

async fn open(config: &Config) -> anyhow::Result<Arc<dyn Inbox>> {
    let (url, queue) = (config.inbox.clone(), config.limits.queue);
    let open = move || inbox::open(&url, Options { queue, exclusive: true });
    tokio::task::spawn_blocking(open).await.context("opening the inbox")?
}

/// Prunes what is past its time in small steps, and keeps the backlog's metrics and the times of keys current.
async fn keep_house(
    config: &Config,
    inbox: &dyn Inbox,
    clock: &Clock,
    metrics: &Metrics,
    keys: &mut KeyTimes,
    stop: CancellationToken,
) {
    let kept = [
        (State::Done, config.retention.done.max(config.dedup.window)),
        (State::Unrouted, config.retention.unrouted.max(config.dedup.window)),
    ];
    while !stop.is_cancelled() {
        keys.keep(inbox, metrics).await;
        for (state, kept) in kept {
            let kept = TimeDelta::from_std(kept).unwrap_or(TimeDelta::MAX);
            let Some(before) = clock().checked_sub_signed(kept) else { continue };
            match prune(inbox, state, before, &stop).await {
                Ok(0) => {}
                Ok(pruned) => info!(state = state.as_str(), pruned, "pruned"),
                Err(error) => warn!(state = state.as_str(), %error, "cannot prune"),
            }
        }
        if let Ok(counts) = inbox.count().await {
            metrics.backlog(&counts);
        }
        let _ = tokio::time::timeout(HOUSEKEEPING, stop.cancelled()).await;
    }
}

/// Deletes what ended before, and returns how many deliveries that were.
async fn prune(
    inbox: &dyn Inbox,
    state: State,
    before: Timestamp,
    stop: &CancellationToken,
) -> Result<u64, InboxError> {
    let mut pruned = 0;
    while !stop.is_cancelled() {
        match inbox.prune(state, before, PRUNE_STEP).await? {
            0 => break,
            step => pruned += step,
        }
        tokio::time::sleep(PRUNE_PAUSE).await;
    }
    Ok(pruned)
}

/// Every connection is a file descriptor, and the usual soft limit of 1,024 is far below what is allowed.
fn allow_many_connections(connections: usize) {
    let wanted = connections as u64 + 256;
    match rlimit::increase_nofile_limit(wanted) {
        Ok(allowed) if allowed < wanted => {
            warn!(allowed, wanted, "the limit of open files is below connections in [limits]");
        }
        Ok(_) => {}
        Err(error) => warn!(%error, "cannot raise the limit of open files"),
    }
}
