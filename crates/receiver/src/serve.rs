//! Receiver process: starts inbox, dispatcher, routes and maintenance, and stops them in order.

mod effects;
mod key_times;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use chrono::TimeDelta;
use contract::catalog::{Handlers, Table};
use contract::time::{Clock, Timestamp, system_clock};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, OptionFuture};
use inbox::{
    Backlog, DedupCache, Inbox, InboxError, InboxUrl, Options, RejectionLog, STEP_ROWS, State,
    Upkeep, throttled_step,
};
use server::full_disk::wait_for_disk_space;
use server::login::{Login, require_login};
use server::open_files::allow_connections;
use server::origin::local_only;
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
use crate::route::Deferrals;
use crate::tallies::TallyCounter;
use key_times::KeyTimes;

/// Retention of canaries: long enough to inspect them after a run of `doctor`.
const CANARY_RETENTION: Duration = Duration::from_secs(60 * 60);

/// Interval of maintenance: retention, backlog metrics and the keys' last uses.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(20);

/// A fork's handlers and pages.
pub struct Fork {
    /// The events and hooks, with their handlers.
    pub handlers: Handlers,
    /// The pages that a vendor shows in a frame, under their path in the settings.
    pub pages: Router,
    /// Makes the operators' console; none in a build without it.
    pub console: Option<MakeConsole>,
}

/// Makes the routes of the console, below `/console`; none if it must not be served on its address.
pub type MakeConsole = fn(ConsoleParts) -> anyhow::Result<Option<Router>>;

/// Dependencies of the console.
pub struct ConsoleParts {
    /// The settings.
    pub config: Config,
    /// The address that it is served on.
    pub address: SocketAddr,
    /// The inbox.
    pub inbox: Arc<dyn Inbox>,
    /// The events and hooks.
    pub table: Arc<Table>,
    /// The senders.
    pub sources: Vec<Arc<Source>>,
    /// The hooks of the senders.
    pub hooks: Vec<Arc<HookRoute>>,
    /// True if this process calls the handlers of events.
    pub works: bool,
    /// The address that this process receives on; none for a worker.
    pub receiver: Option<SocketAddr>,
    /// True if the API's documentation is served on the same address.
    pub has_docs: bool,
    /// Clock.
    pub clock: Clock,
    /// Fires at a stop.
    pub stop: CancellationToken,
}

/// Part of the work that a process does. With an inbox that is shared, each part has as many processes as it needs.
pub enum Part {
    /// Receives on the listener, and handles.
    All(TcpListener),
    /// Receives on the listener; the handlers of events are not called.
    Receive(TcpListener),
    /// Handles what others receive. A listener answers probes and shows the metrics.
    Work(Option<TcpListener>),
}

impl Part {
    fn listener(&self) -> Option<&TcpListener> {
        match self {
            Part::All(listener) | Part::Receive(listener) => Some(listener),
            Part::Work(_) => None,
        }
    }

    /// True if it calls the handlers of events.
    fn works(&self) -> bool {
        matches!(self, Part::All(_) | Part::Work(_))
    }
}

/// Runs a part of the receiver until `stop`, then drains. Tests give a clock; without one, each engine has its own.
///
/// The future is boxed, so that it is compiled here and not in each program.
///
/// # Errors
/// If the settings cannot be used or the inbox cannot be opened.
pub fn serve(
    config: Config,
    fork: Fork,
    part: Part,
    clock: Option<Clock>,
    stop: CancellationToken,
) -> BoxFuture<'static, anyhow::Result<()>> {
    run(config, fork, part, clock, stop).boxed()
}

/// What the parts of one process share.
struct Shared {
    config: Config,
    inbox: Arc<dyn Inbox>,
    handlers: Arc<Handlers>,
    clock: Clock,
    metrics: Arc<Metrics>,
    tallies: Arc<TallyCounter>,
    stop: CancellationToken,
}

async fn run(
    config: Config,
    fork: Fork,
    part: Part,
    clock: Option<Clock>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let Fork { handlers, pages, console } = fork;
    let needs_none = matches!(part, Part::Work(_)) && config.sources.is_empty();
    let sources = if needs_none { Vec::new() } else { config.sources()? };
    config.check()?;
    let hooks = config.hook_sites(&sources)?;
    config.warnings().iter().for_each(|warning| warn!("{warning}"));
    let url = InboxUrl::parse(&config.inbox)?;
    ensure!(
        url.file().is_none() || matches!(part, Part::All(_)),
        "the inbox {url} is a file, which one process uses; leave out --role, or set an inbox on PostgreSQL"
    );
    if let (true, Some(effects)) = (part.works(), handlers.effects()) {
        effects.check().await?;
    }
    if part.listener().is_some() {
        allow_connections(config.limits.connections, 0);
    }
    let Some(inbox) = open(&config, &url, &part, clock.clone(), &stop).await? else {
        return Ok(());
    };
    let shared = Shared {
        tallies: Arc::new(TallyCounter::new(&sources)),
        handlers: Arc::new(handlers),
        clock: clock.unwrap_or_else(system_clock),
        metrics: Arc::default(),
        inbox,
        stop,
        config,
    };
    let clock_monitor = catch_up(shared.inbox.as_ref()).await;
    let mut keys = KeyTimes::load(sources.clone(), shared.inbox.as_ref()).await?;
    keys.publish(&shared.metrics);
    let works = part.works();
    let (listener, monitor) = match part {
        Part::All(listener) | Part::Receive(listener) => (Some(listener), None),
        Part::Work(monitor) => (None, monitor),
    };
    let address = |listener: &Option<TcpListener>| -> anyhow::Result<Option<String>> {
        let address = listener.as_ref().map(TcpListener::local_addr).transpose()?;
        Ok(address.map(|address| address.to_string()))
    };
    match address(&listener)? {
        Some(address) => info!(address, inbox = %url, "receiving"),
        None => info!(monitor = address(&monitor)?, inbox = %url, "working"),
    }
    let receiver = listener.as_ref().map(TcpListener::local_addr).transpose()?;
    let own = receiver.or(monitor.as_ref().map(TcpListener::local_addr).transpose()?);
    let console = Consoles::make(console, &shared, own, &sources, &hooks, works, receiver).await?;
    let monitoring =
        monitor.map(|listener| monitored(&shared, listener, console.beside.clone())).transpose()?;
    let pages = Pages { own: &pages, console: console.beside };
    let receiving = receive(&shared, listener, sources, hooks, pages)?;
    let handling = async {
        if works {
            work(&shared).await;
        }
    };
    let maintaining = run_maintenance(&shared, clock_monitor, &mut keys);
    let tallying = shared.tallies.run(shared.inbox.as_ref(), &shared.clock, &shared.stop);
    let apart = console.apart.map(|(listener, routes)| {
        server::connections::serve(
            listener,
            routes,
            &shared.config.limits,
            None,
            shared.stop.clone(),
        )
    });
    let (monitoring, apart) = (OptionFuture::from(monitoring), OptionFuture::from(apart));
    tokio::join!(receiving, monitoring, apart, handling, tallying, maintaining);
    // The last requests of the drain have used keys, too.
    keys.save(shared.inbox.as_ref(), &shared.metrics).await;
    shared.tallies.save(shared.inbox.as_ref(), &shared.clock).await;
    info!("stopped");
    Ok(())
}

/// Opens the inbox; a listener answers meanwhile while the disk is full. None if `stop` comes first.
async fn open(
    config: &Config,
    url: &InboxUrl,
    part: &Part,
    clock: Option<Clock>,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Arc<dyn Inbox>>> {
    let options = Options { clock, ..Options::receiver(config.limits.queue) };
    let open =
        || async { inbox::open(url, options.clone()).await.context("opening the inbox") }.boxed();
    match part.listener() {
        Some(listener) => {
            wait_for_disk_space(open, inbox::is_full, listener, &config.limits, stop).await
        }
        None => open().await.map(Some),
    }
}

/// Prepares to receive on a listener; the future runs until the stop, and then drains.
fn receive<'s>(
    shared: &'s Shared,
    listener: Option<TcpListener>,
    sources: Vec<Arc<Source>>,
    hooks: Vec<Arc<HookRoute>>,
    other: Pages<'_>,
) -> anyhow::Result<BoxFuture<'s, ()>> {
    let Shared { config, inbox, handlers, clock, metrics, tallies, stop } = shared;
    let Some(listener) = listener else { return Ok(async {}.boxed()) };
    let (rejections, rejections_writer) = RejectionLog::new(Arc::clone(inbox) as _);
    let (hook_log, log_writer) = HookLog::new(Arc::clone(inbox) as _, Arc::clone(metrics));
    let own_pages = ingress::page::router(&hooks, other.own);
    let pages = pages(config, handlers.table(), &sources, &hooks, metrics)?
        .merge(own_pages)
        .merge(other.console);
    let calls = TaskTracker::new();
    let routes = ingress::Routes::new(
        ingress::IngressParts {
            sources,
            hooks,
            calls: calls.clone(),
            handlers: Arc::clone(handlers),
            dedup_cache: dedup_cache(inbox, &config.dedup, clock),
            inbox: Arc::clone(inbox) as _,
            hook_log,
            rejections,
            limits: config.limits.clone(),
            clock: Arc::clone(clock),
            metrics: Arc::clone(metrics),
            tallies: Arc::clone(tallies),
            stop: stop.clone(),
        },
        pages,
    );
    let drain = config.limits.drain;
    // The hook log ends after the last call of the drain.
    let answered = CancellationToken::new();
    let logged = answered.clone();
    let serving = async move {
        let (limits, metrics) = (&config.limits, Some(Arc::clone(metrics)));
        server::connections::serve(listener, routes, limits, metrics, stop.clone()).await;
        // Callers of the remaining calls have gone, but the vendor's own logic may have run for them.
        calls.close();
        let _ = tokio::time::timeout(drain, calls.wait()).await;
        answered.cancel();
    };
    Ok(async move {
        tokio::join!(serving, log_writer.run(logged), rejections_writer.run(stop.clone()));
    }
    .boxed())
}

/// Prepares to answer probes and to show the metrics on a listener; the future runs until the stop.
fn monitored(
    shared: &Shared,
    listener: TcpListener,
    console: Router,
) -> anyhow::Result<BoxFuture<'_, ()>> {
    let Shared { config, inbox, metrics, stop, .. } = shared;
    let ready = Arc::clone(inbox);
    let ready = move || {
        let inbox = Arc::clone(&ready);
        async move { inbox.now().await.map(drop) }.boxed()
    };
    let probes = ingress::probes(Arc::new(ready), stop.clone());
    let metrics = metrics_page(config, listener.local_addr()?, metrics)?;
    if metrics.is_none() {
        warn!(
            "the metrics are not shown on {}: set `user` and `password_hash` in [docs], or give --monitor an address of loopback",
            listener.local_addr()?
        );
    }
    let routes = probes.merge(metrics.unwrap_or_default()).merge(console);
    Ok(server::connections::serve(listener, routes, &config.limits, None, stop.clone()).boxed())
}

/// Handles deliveries until the stop, and then drains.
async fn work(shared: &Shared) {
    let Shared { config, inbox, handlers, clock, metrics, tallies, stop } = shared;
    let deferrals = Deferrals::new(Arc::clone(inbox) as _, Arc::clone(handlers.table()));
    let tending = handlers.effects().map(|effects| {
        effects::tend(effects.as_ref(), deferrals.as_ref(), config, inbox.as_ref(), stop)
    });
    let tending = OptionFuture::from(tending);
    if config.dispatch.paused {
        warn!("paused = true in [dispatch]: deliveries are stored, but not handled");
        tending.await;
        return;
    }
    let parts = dispatching(&config.dispatch, clock, metrics, tallies);
    let dispatcher = Dispatcher::new(Arc::clone(inbox) as _, Arc::clone(handlers), parts);
    tokio::join!(dispatcher.run(stop.clone(), config.limits.drain), tending);
}

fn dedup_cache(inbox: &Arc<dyn Inbox>, dedup: &settings::Dedup, clock: &Clock) -> DedupCache {
    let window = TimeDelta::from_std(dedup.window).unwrap_or(TimeDelta::MAX);
    DedupCache::new(Arc::clone(inbox) as _, dedup.remembered, window, Arc::clone(clock))
}

fn dispatching(
    config: &settings::Dispatch,
    clock: &Clock,
    metrics: &Arc<Metrics>,
    tallies: &Arc<TallyCounter>,
) -> dispatch::DispatchOptions {
    dispatch::DispatchOptions {
        schedule: Schedule::new(config.schedule.clone(), config.jitter),
        timeout: config.timeout,
        concurrency: config.concurrency,
        clock: Arc::clone(clock),
        metrics: Arc::clone(metrics),
        tallies: Arc::clone(tallies),
    }
}

/// Swagger, the OpenAPI document and the metrics: public on loopback, otherwise behind the login or not served.
fn pages(
    config: &Config,
    catalog: &Table,
    sources: &[Arc<Source>],
    hooks: &[Arc<HookRoute>],
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Router> {
    let Some(metrics) = metrics_page(config, config.listen, metrics)? else {
        return Ok(Router::new());
    };
    let document = openapi::document(catalog, sources, hooks)?;
    let login = Login::new(&config.docs)?;
    let is_open = login.is_none();
    let docs = server::docs::router(&document, login)?;
    Ok(if is_open { docs.route_layer(from_fn(local_only)) } else { docs }.merge(metrics))
}

/// Pages beside those of the receiver itself.
struct Pages<'p> {
    /// The fork's, which a vendor shows in a frame.
    own: &'p Router,
    console: Router,
}

/// The console: on the address of the process, or on one of its own.
#[derive(Default)]
struct Consoles {
    beside: Router,
    apart: Option<(TcpListener, Router)>,
}

impl Consoles {
    async fn make(
        make: Option<MakeConsole>,
        shared: &Shared,
        beside: Option<SocketAddr>,
        sources: &[Arc<Source>],
        hooks: &[Arc<HookRoute>],
        works: bool,
        receiver: Option<SocketAddr>,
    ) -> anyhow::Result<Self> {
        let settings = &shared.config.console;
        let Some(make) = make.filter(|_| settings.enabled) else { return Ok(Self::default()) };
        let listener = match settings.listen {
            None => None,
            Some(address) => Some(TcpListener::bind(address).await.with_context(|| {
                format!("cannot listen on {address}; change `listen` in [console]")
            })?),
        };
        let own = listener.as_ref().map(TcpListener::local_addr).transpose()?;
        let Some(address) = own.or(beside) else { return Ok(Self::default()) };
        let routes = make(ConsoleParts {
            config: shared.config.clone(),
            address,
            inbox: Arc::clone(&shared.inbox),
            table: Arc::clone(shared.handlers.table()),
            sources: sources.to_vec(),
            hooks: hooks.to_vec(),
            works,
            receiver,
            has_docs: listener.is_none() && receiver.is_some(),
            clock: Arc::clone(&shared.clock),
            stop: shared.stop.clone(),
        })?;
        let Some(routes) = routes else {
            info!(%address, "the console is not served without a password in [console] on an address that is not loopback");
            return Ok(Self::default());
        };
        Ok(match listener {
            Some(listener) => {
                info!(%address, "the console is served, at /console");
                Consoles { beside: Router::new(), apart: Some((listener, routes)) }
            }
            None => Consoles { beside: routes, apart: None },
        })
    }
}

/// The metrics on a listener at this address; none if everyone could read them.
fn metrics_page(
    config: &Config,
    address: SocketAddr,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Option<Router>> {
    let metrics = ingress::metrics(Arc::clone(metrics));
    Ok(match Login::new(&config.docs)? {
        Some(login) => Some(metrics.layer(from_fn_with_state(login, require_login))),
        None => is_loopback(address.ip()).then(|| metrics.route_layer(from_fn(local_only))),
    })
}

/// Makes deliveries due that an earlier clock had put into the future, and creates the clock monitor, if the inbox answers.
async fn catch_up(inbox: &dyn Upkeep) -> Option<ClockMonitor> {
    let Backlog { now, newest, made_due, waiting, next } = match inbox.catch_up().await {
        Ok(backlog) => backlog,
        Err(error) => {
            warn!(%error, "cannot check the inbox for deliveries accepted by a clock that was ahead");
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

/// Logs jumps of the clock. Returns true if retention may use it.
async fn check_clock(inbox: &dyn Upkeep, monitor: &mut ClockMonitor, now: Timestamp) -> bool {
    match monitor.judge(now) {
        ClockVerdict::Plausible => true,
        ClockVerdict::Suspect => false,
        ClockVerdict::Jumped(ahead) => {
            let ahead_s = ahead.num_seconds();
            warn!(
                ahead_s,
                "the clock is far ahead of the expected time: nothing is pruned for a day"
            );
            false
        }
        ClockVerdict::Behind(behind) => {
            warn!(behind_s = behind.num_seconds(), "the clock is behind the expected time");
            catch_up(inbox).await;
            true
        }
    }
}

/// Runs maintenance until the stop: the keys' last uses, and, in one process of all, retention and backlog metrics.
async fn run_maintenance(
    shared: &Shared,
    mut clock_monitor: Option<ClockMonitor>,
    keys: &mut KeyTimes,
) {
    let Shared { config, inbox, metrics, stop, .. } = shared;
    while !stop.is_cancelled() {
        keys.save(inbox.as_ref(), metrics).await;
        if clock_monitor.is_none() {
            clock_monitor = catch_up(inbox.as_ref()).await;
        }
        let may_prune = match (&mut clock_monitor, inbox.now().await) {
            (Some(monitor), Ok(now)) => check_clock(inbox.as_ref(), monitor, now).await,
            _ => false,
        };
        if inbox.lead(3 * MAINTENANCE_INTERVAL).await.unwrap_or(false) {
            if may_prune {
                retain(config, inbox.as_ref(), stop).await;
            }
            if let Ok(counts) = inbox.count().await {
                counts.iter().for_each(|(state, count)| metrics.backlog(state.as_str(), *count));
            }
        } else {
            // Another process shows them.
            metrics.forget_backlog();
        }
        let _ = tokio::time::timeout(MAINTENANCE_INTERVAL, stop.cancelled()).await;
    }
}

/// Deletes what is older than the settings say, in small steps.
async fn retain(config: &Config, inbox: &dyn Inbox, stop: &CancellationToken) {
    let done = config.retention.done.max(config.dedup.window);
    let retention = [
        (Retained::Ended(State::Done), done),
        (Retained::Ended(State::Unrouted), config.retention.unrouted.max(config.dedup.window)),
        (Retained::Hooks, config.retention.hooks),
        (Retained::Ended(State::Canary), CANARY_RETENTION),
    ];
    let started = Instant::now();
    for (what, kept) in retention {
        match prune(inbox, what, kept, stop).await {
            Ok(0) => {}
            Ok(pruned) => info!(state = what.as_str(), pruned, "pruned"),
            Err(error) => warn!(state = what.as_str(), %error, "cannot prune"),
        }
    }
    // Another process may have taken over meanwhile.
    if started.elapsed() > MAINTENANCE_INTERVAL
        && !inbox.lead(3 * MAINTENANCE_INTERVAL).await.unwrap_or(false)
    {
        return;
    }
    if let Err(error) = inbox.tidy(config.dedup.window, done).await {
        warn!(%error, "cannot tidy the inbox");
    }
}

/// Kind of rows with a retention time.
#[derive(Clone, Copy)]
enum Retained {
    /// Deliveries in this ended state.
    Ended(State),
    /// Hook calls.
    Hooks,
}

impl Retained {
    fn as_str(self) -> &'static str {
        match self {
            Retained::Ended(state) => state.as_str(),
            Retained::Hooks => "hooks",
        }
    }
}

/// Deletes rows older than `age`, and returns their number.
async fn prune(
    inbox: &dyn Upkeep,
    what: Retained,
    age: Duration,
    stop: &CancellationToken,
) -> Result<u64, InboxError> {
    let mut pruned = 0;
    while !stop.is_cancelled() {
        let step = throttled_step(|| match what {
            Retained::Ended(state) => inbox.prune(state, age, STEP_ROWS),
            Retained::Hooks => inbox.prune_hooks(age, STEP_ROWS),
        });
        match step.await? {
            0 => break,
            step => pruned += step,
        }
    }
    Ok(pruned)
}
