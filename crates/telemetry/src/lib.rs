//! The log, the metrics and the clock.

mod inert;
mod lines;
pub mod trust;

use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::time::Duration;

use contract::time::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use settings::{Log, LogFormat};
use tracing_subscriber::EnvFilter;

use inert::Inert;
use lines::Lines;

pub use lines::{LogGuard, complain};

/// Starts the log on standard error. Keep the guard until the end: it writes out the last lines.
///
/// Lines are written by a thread of their own; when it falls far behind, lines are lost rather than requests delayed.
///
/// # Errors
/// If the filter cannot be read.
pub fn start_log(log: &Log) -> anyhow::Result<LogGuard> {
    let filter = filter(log)?;
    let terminal = std::io::stderr().is_terminal();
    let writer = Lines::default();
    // A file of its own: whoever waits for the lock of the standard library's waits for a reader, too.
    let out = File::from(std::io::stderr().as_fd().try_clone_to_owned()?);
    let guard = writer.clone().write_to(out)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let lines = lines.with_ansi(false);
    match log.format {
        LogFormat::Auto | LogFormat::Json if log.format == LogFormat::Json || !terminal => {
            let lines = lines.json().flatten_event(true);
            let lines = lines.with_current_span(false).with_span_list(false);
            lines.map_event_format(|format| Inert { format, has_colours: false }).init();
        }
        _ => {
            let lines = lines.with_target(false);
            lines.map_event_format(|format| Inert { format, has_colours: terminal }).init();
        }
    }
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(place = panic.location().map(tracing::field::display), "panic");
    }));
    Ok(guard)
}

/// Which lines are logged.
///
/// # Errors
/// If the filter cannot be read.
pub fn filter(log: &Log) -> anyhow::Result<EnvFilter> {
    EnvFilter::try_new(&log.filter).map_err(|error| {
        anyhow::anyhow!("filter = {:?} in [log] cannot be read: {error}", log.filter)
    })
}

/// What is counted, for `/metrics`.
pub struct Metrics {
    registry: Registry,
    deliveries: Family<DeliveryLabels, Counter>,
    refusals: Family<RefusalLabels, Counter>,
    gave_way: Counter,
    accept: Histogram,
    attempts: Family<AttemptLabels, Counter>,
    handling: Histogram,
    backlog: Family<StateLabels, Gauge>,
    keys: Family<KeyLabels, Gauge>,
    hooks: Family<HookLabels, Counter>,
    hook: Histogram,
    hook_callback: Histogram,
    hook_records_lost: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeliveryLabels {
    source: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    event: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KeyLabels {
    source: String,
    key: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HookLabels {
    hook: &'static str,
    outcome: &'static str,
}

/// Upper bounds in seconds, from a tenth of a millisecond to half a minute.
const BUCKETS: [f64; 14] =
    [1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0];

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("webhook");
        let metrics = Metrics {
            deliveries: Family::default(),
            refusals: Family::default(),
            gave_way: Counter::default(),
            accept: Histogram::new(BUCKETS),
            attempts: Family::default(),
            handling: Histogram::new(BUCKETS),
            backlog: Family::default(),
            keys: Family::default(),
            hooks: Family::default(),
            hook: Histogram::new(BUCKETS),
            hook_callback: Histogram::new(BUCKETS),
            hook_records_lost: Counter::default(),
            registry: Registry::default(),
        };
        registry.register(
            "deliveries",
            "Authentic deliveries by outcome: new, duplicate, conflict, unrouted",
            metrics.deliveries.clone(),
        );
        registry.register("refusals", "Requests not accepted, by status", metrics.refusals.clone());
        registry.register(
            "connections_gave_way",
            "Connections that were closed for others because all were taken",
            metrics.gave_way.clone(),
        );
        registry.register_with_unit(
            "accept",
            "From the request's head to its answer, for accepted deliveries",
            Unit::Seconds,
            metrics.accept.clone(),
        );
        registry.register(
            "attempts",
            "Runs of a handler by outcome: done, retry, dead, unrouted, lost",
            metrics.attempts.clone(),
        );
        registry.register_with_unit(
            "handling",
            "How long a handler ran",
            Unit::Seconds,
            metrics.handling.clone(),
        );
        registry.register(
            "inbox_deliveries",
            "Deliveries in the inbox that are not done, by state",
            metrics.backlog.clone(),
        );
        registry.register_with_unit(
            "key_last_used_timestamp",
            "When each accepted key was last used, since 1970; 0 for never",
            Unit::Seconds,
            metrics.keys.clone(),
        );
        registry.register("hook_calls", "Calls of hooks by outcome", metrics.hooks.clone());
        registry.register_with_unit(
            "hook",
            "From a hook call's head to its answer, the callback included",
            Unit::Seconds,
            metrics.hook.clone(),
        );
        registry.register_with_unit(
            "hook_callback",
            "How long a hook's callback took",
            Unit::Seconds,
            metrics.hook_callback.clone(),
        );
        registry.register(
            "hook_records_lost",
            "Hook calls that are not in the log of calls, though they were answered",
            metrics.hook_records_lost.clone(),
        );
        Metrics { registry, ..metrics }
    }
}

impl Metrics {
    /// Counts an authentic delivery.
    pub fn delivery(&self, source: &str, outcome: &'static str, took: Duration) {
        let labels = DeliveryLabels { source: source.to_owned(), outcome };
        self.deliveries.get_or_create(&labels).inc();
        self.accept.observe(took.as_secs_f64());
    }

    /// Counts a request that was not accepted.
    pub fn refusal(&self, status: u16) {
        self.refusals.get_or_create(&RefusalLabels { status }).inc();
    }

    /// Counts a connection that was closed for another.
    pub fn connection_gave_way(&self) {
        self.gave_way.inc();
    }

    /// Counts a run of a handler.
    pub fn attempt(&self, event: &str, outcome: &'static str, took: Duration) {
        let labels = AttemptLabels { event: event.to_owned(), outcome };
        self.attempts.get_or_create(&labels).inc();
        self.handling.observe(took.as_secs_f64());
    }

    /// Counts a run of a handler that ended with its worker, before anybody could say how it went.
    pub fn attempt_lost(&self, event: &str) {
        let labels = AttemptLabels { event: event.to_owned(), outcome: "lost" };
        self.attempts.get_or_create(&labels).inc();
    }

    /// Counts a call of a hook. `hook` is the catalog's id, or empty if the catalog does not know it: whoever calls must
    /// not be able to make labels.
    pub fn hook(
        &self,
        hook: &'static str,
        outcome: &'static str,
        took: Duration,
        callback: Option<Duration>,
    ) {
        self.hooks.get_or_create(&HookLabels { hook, outcome }).inc();
        self.hook.observe(took.as_secs_f64());
        if let Some(callback) = callback {
            self.hook_callback.observe(callback.as_secs_f64());
        }
    }

    /// Counts calls of hooks whose records are lost.
    pub fn hook_records_lost(&self, records: u64) {
        self.hook_records_lost.inc_by(records);
    }

    /// Notes how many deliveries in one state are in the inbox.
    pub fn backlog(&self, state: &'static str, count: u64) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.backlog.get_or_create(&StateLabels { state }).set(count);
    }

    /// Notes when a key of a source was last used, if it ever was.
    pub fn key(&self, source: &str, key: &str, last_used: Option<Timestamp>) {
        let labels = KeyLabels { source: source.to_owned(), key: key.to_owned() };
        let seconds = last_used.map_or(0, |time| time.timestamp());
        self.keys.get_or_create(&labels).set(seconds);
    }

    /// All metrics in the OpenMetrics text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_is_counted_with_its_callback() {
        let metrics = Metrics::default();
        let second = Duration::from_secs(1);
        metrics.hook("Orders.SubmitOrder", "answered", second, Some(second));
        metrics.hook("", "passed-through", second, None);
        let text = metrics.text();
        for line in [
            "webhook_hook_calls_total{hook=\"Orders.SubmitOrder\",outcome=\"answered\"} 1",
            "webhook_hook_calls_total{hook=\"\",outcome=\"passed-through\"} 1",
            "webhook_hook_seconds_count 2",
            "webhook_hook_callback_seconds_count 1",
            "webhook_hook_records_lost_total 0",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}: {text}");
        }
    }
}
