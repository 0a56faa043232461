//! What came of a run, counted while it goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use http::StatusCode;

use super::attempt::{Answer, Attempt};

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    pub(super) planned: u64,
    pub(super) sent: u64,
    pub(super) accepted: u64,
    pub(super) answers: BTreeMap<(StatusCode, Option<String>), u64>,
    /// The first body of each status that is not 2xx.
    pub(super) examples: BTreeMap<StatusCode, Vec<u8>>,
    pub(super) errors: BTreeMap<String, u64>,
    /// Microseconds from the request to the whole answer.
    latency: Histogram<u64>,
    pub(super) max_lag: Duration,
    pub(super) elapsed: Duration,
    /// The attempt, if only one was planned.
    pub(super) single: Option<Attempt>,
}

impl Report {
    pub(super) fn new(planned: u64) -> Self {
        Report {
            planned,
            sent: 0,
            accepted: 0,
            answers: BTreeMap::new(),
            examples: BTreeMap::new(),
            errors: BTreeMap::new(),
            latency: Histogram::new(3).expect("three significant digits are allowed"),
            max_lag: Duration::ZERO,
            elapsed: Duration::ZERO,
            single: None,
        }
    }

    /// Counts a message that starts now, `lag` after it was due.
    pub(super) fn start(&mut self, lag: Option<Duration>) {
        self.sent += 1;
        self.max_lag = self.max_lag.max(lag.unwrap_or_default());
    }

    pub(super) fn finish(&mut self, attempt: Attempt) {
        match &attempt.result {
            Ok(answer) => self.answered(answer, attempt.took),
            Err(cause) => *self.errors.entry(cause.clone()).or_default() += 1,
        }
        if self.planned == 1 {
            self.single = Some(attempt);
        }
    }

    pub(super) fn end(&mut self, elapsed: Duration) {
        self.elapsed = elapsed;
    }

    /// Whether everything that was planned was answered 2xx.
    pub fn is_accepted(&self) -> bool {
        self.accepted == self.planned
    }

    fn answered(&mut self, answer: &Answer, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.latency.saturating_record(micros);
        *self.answers.entry((answer.status, answer.said())).or_default() += 1;
        if answer.status.is_success() {
            self.accepted += 1;
        } else {
            self.examples.entry(answer.status).or_insert_with(|| answer.body.clone());
        }
    }

    pub(super) fn is_interrupted(&self) -> bool {
        self.sent < self.planned
    }

    pub(super) fn rate(&self) -> f64 {
        self.sent as f64 / self.elapsed.as_secs_f64().max(1e-6)
    }

    pub(super) fn percentiles(&self) -> Option<[(&'static str, Duration); 4]> {
        let at = |quantile| Duration::from_micros(self.latency.value_at_quantile(quantile));
        let max = Duration::from_micros(self.latency.max());
        (!self.latency.is_empty())
            .then(|| [("p50", at(0.5)), ("p90", at(0.9)), ("p99", at(0.99)), ("max", max)])
    }
}
