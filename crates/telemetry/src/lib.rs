//! Logging, metrics, and the check of the system clock.
//!
//! It depends on the settings and what is below them; whatever runs depends on it.

pub mod clock_monitor;
mod inert;
mod log_buffer;

use std::collections::HashSet;
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

use inert::InertFormat;
use log_buffer::LogBuffer;

pub use log_buffer::{LogGuard, print_error};

/// Starts the log on standard error. Keep the guard until the program ends: it writes out the last lines.
///
/// A separate thread writes the lines; if it falls far behind, lines are lost rather than requests delayed.
///
/// # Errors
/// If the filter cannot be read.
pub fn start_log(log: &Log) -> anyhow::Result<LogGuard> {
    let filter = filter(log)?;
    let terminal = std::io::stderr().is_terminal();
    let writer = LogBuffer::default();
    // A separate file: the standard library's handle has a lock, which would also wait for a slow reader.
    let out = File::from(std::io::stderr().as_fd().try_clone_to_owned()?);
    let guard = writer.clone().write_to(out)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let lines = lines.with_ansi(false);
    match log.format {
        LogFormat::Auto | LogFormat::Json if log.format == LogFormat::Json || !terminal => {
            let lines = lines.json().flatten_event(true);
            let lines = lines.with_current_span(false).with_span_list(false);
            lines.map_event_format(|format| InertFormat { format, has_colours: false }).init();
        }
        _ => {
            let lines = lines.with_target(false);
            lines.map_event_format(|format| InertFormat { format, has_colours: terminal }).init();
        }
    }
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(place = panic.location().map(tracing::field::display), "panic");
    }));
    Ok(guard)
}

/// Creates the filter of the log's lines.
///
/// # Errors
/// If the filter cannot be read.
pub fn filter(log: &Log) -> anyhow::Result<EnvFilter> {
    EnvFilter::try_new(&log.filter).map_err(|error| {
        anyhow::anyhow!("filter = {:?} in [log] cannot be read: {error}", log.filter)
    })
}

/// Metrics of the receiver, for `/metrics`.
pub struct Metrics {
    registry: Registry,
    deliveries: Family<DeliveryLabels, Counter>,
    refusals: Family<RefusalLabels, Counter>,
    evicted: Counter,
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

/// Upper bounds of the histogram buckets in seconds, from a tenth of a millisecond to half a minute.
const BUCKETS: [f64; 14] =
    [1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0];

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("webhook");
        let metrics = Metrics {
            deliveries: Family::default(),
            refusals: Family::default(),
            evicted: Counter::default(),
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
            "Connections that were closed to make room for new ones at the connection limit",
            metrics.evicted.clone(),
        );
        registry.register_with_unit(
            "accept",
            "Time from the request's head to its response, for authentic deliveries",
            Unit::Seconds,
            metrics.accept.clone(),
        );
        registry.register(
            "attempts",
            "Handler runs by outcome: done, retry, dead, unrouted, lost",
            metrics.attempts.clone(),
        );
        registry.register_with_unit(
            "handling",
            "Duration of a handler run",
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
            "Time of the last use of each accepted key, in seconds since 1970; 0 if never used",
            Unit::Seconds,
            metrics.keys.clone(),
        );
        registry.register("hook_calls", "Hook calls by outcome", metrics.hooks.clone());
        registry.register_with_unit(
            "hook",
            "Time from a hook call's head to its response, the callback included",
            Unit::Seconds,
            metrics.hook.clone(),
        );
        registry.register_with_unit(
            "hook_callback",
            "Duration of a hook's callback",
            Unit::Seconds,
            metrics.hook_callback.clone(),
        );
        registry.register(
            "hook_records_lost",
            "Hook calls that were answered but are missing from the hook log",
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

    /// Counts a connection that was closed to make room for a new one.
    pub fn connection_evicted(&self) {
        self.evicted.inc();
    }

    /// Counts a handler run.
    pub fn attempt(&self, event: &str, outcome: &'static str, took: Duration) {
        let labels = AttemptLabels { event: event.to_owned(), outcome };
        self.attempts.get_or_create(&labels).inc();
        self.handling.observe(took.as_secs_f64());
    }

    /// Counts a lost handler run, whose worker ended before a verdict.
    pub fn attempt_lost(&self, event: &str) {
        let labels = AttemptLabels { event: event.to_owned(), outcome: "lost" };
        self.attempts.get_or_create(&labels).inc();
    }

    /// Counts a hook call. `hook` is the catalog's id, or empty if the catalog does not know it: a caller must not be able to
    /// create labels.
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

    /// Counts hook calls whose records are lost.
    pub fn hook_records_lost(&self, records: u64) {
        self.hook_records_lost.inc_by(records);
    }

    /// Removes the numbers of deliveries, since another process shows them.
    pub fn forget_backlog(&self) {
        self.backlog.clear();
    }

    /// Sets the number of deliveries in the inbox in one state.
    pub fn backlog(&self, state: &'static str, count: u64) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.backlog.get_or_create(&StateLabels { state }).set(count);
    }

    /// Sets the time of a key's last use, if it was ever used.
    pub fn key(&self, source: &str, key: &str, last_used: Option<Timestamp>) {
        let labels = KeyLabels { source: source.to_owned(), key: key.to_owned() };
        let seconds = last_used.map_or(0, |time| time.timestamp());
        self.keys.get_or_create(&labels).set(seconds);
    }

    /// Returns all metrics in the OpenMetrics text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// Returns all metrics in the text format of Prometheus before OpenMetrics, version 0.0.4.
    pub fn plain_text(&self) -> String {
        plain(&self.text())
    }
}

/// Metrics in the older text format: counters are described under the names of their samples, and there are neither
/// units nor an end.
fn plain(open_metrics: &str) -> String {
    let described = |line: &str, what: &str| {
        let (name, rest) = line.strip_prefix(what)?.split_once(' ')?;
        Some((name.to_owned(), rest.to_owned()))
    };
    let types = open_metrics.lines().filter_map(|line| described(line, "# TYPE "));
    let counters: HashSet<String> =
        types.filter(|(_, kind)| kind == "counter").map(|(name, _)| name).collect();
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        if line.starts_with("# UNIT ") || line == "# EOF" {
            continue;
        }
        let renamed = ["# HELP ", "# TYPE "].into_iter().find_map(|what| {
            let (name, rest) = described(line, what).filter(|(name, _)| counters.contains(name))?;
            Some(format!("{what}{name}_total {rest}"))
        });
        text.push_str(renamed.as_deref().unwrap_or(line));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_describes_counters_under_the_names_of_their_samples() {
        let metrics = Metrics::default();
        metrics.refusal(401);
        let (open, plain) = (metrics.text(), metrics.plain_text());
        let has = |text: &str, line: &str| text.lines().any(|known| known == line);
        assert!(has(&open, "# TYPE webhook_refusals counter") && has(&open, "# EOF"));
        assert!(has(&plain, "# TYPE webhook_refusals_total counter"), "{plain}");
        assert!(has(&plain, "webhook_refusals_total{status=\"401\"} 1"), "{plain}");
        assert!(has(&plain, "# TYPE webhook_accept_seconds histogram"), "{plain}");
        assert!(!plain.contains("# UNIT") && !plain.contains("# EOF"), "{plain}");
    }

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
