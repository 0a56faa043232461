//! The report of a run, counted while it goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use http::StatusCode;

use super::attempt::{HttpResponse, SendAttempt};
use super::proof::Tamper;

/// The longest measured time: an hour, in microseconds.
const LONGEST: u64 = 3_600_000_000;

/// The report of a run.
#[derive(Debug)]
pub struct EmitReport {
    /// The forgery of the messages, if any.
    pub(super) tamper: Option<Tamper>,
    pub(super) planned: u64,
    pub(super) sent: u64,
    pub(super) accepted: u64,
    pub(super) answers: BTreeMap<(StatusCode, Option<String>), u64>,
    /// The first body of each status that is not 2xx.
    pub(super) examples: BTreeMap<StatusCode, Vec<u8>>,
    pub(super) errors: BTreeMap<String, u64>,
    /// Microseconds from the request to the whole response.
    latency: Histogram<u64>,
    pub(super) max_lag: Duration,
    pub(super) elapsed: Duration,
    /// The attempt, if only one was planned.
    pub(super) single: Option<SendAttempt>,
}

/// True if a forgery with this answer was refused: 401, or what another receiver answers in its place.
pub fn is_refusal(status: StatusCode) -> bool {
    let for_haste = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
    status.is_client_error() && !for_haste.contains(&status)
}

impl EmitReport {
    pub(super) fn new(planned: u64, tamper: Option<Tamper>) -> Self {
        EmitReport {
            tamper,
            planned,
            sent: 0,
            accepted: 0,
            answers: BTreeMap::new(),
            examples: BTreeMap::new(),
            errors: BTreeMap::new(),
            latency: Histogram::new_with_bounds(1, LONGEST, 3).expect("the bounds are in order"),
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

    pub(super) fn finish(&mut self, attempt: SendAttempt) {
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

    /// True if every planned message was answered 2xx, or every forgery refused.
    pub fn is_as_expected(&self) -> bool {
        match self.tamper {
            None => self.accepted == self.planned,
            Some(_) => self.refused() == self.planned,
        }
    }

    /// The number of messages that were refused, with any status of a client's error but those for haste.
    pub(super) fn refused(&self) -> u64 {
        self.refusals().map(|(_, count)| count).sum()
    }

    /// The statuses of refusals, and their numbers.
    pub(super) fn refusals(&self) -> impl Iterator<Item = (StatusCode, u64)> {
        let answers = self.answers.iter().map(|((status, _), count)| (*status, *count));
        answers.filter(|(status, _)| is_refusal(*status))
    }

    fn answered(&mut self, answer: &HttpResponse, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.latency.saturating_record(micros);
        *self.answers.entry((answer.status, answer.status_field())).or_default() += 1;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(took: Duration, status: u16, body: &str) -> SendAttempt {
        let status = StatusCode::from_u16(status).unwrap();
        SendAttempt {
            event: "PingEvent".into(),
            url: "http://127.0.0.1/".parse().unwrap(),
            message_id: "m-1".into(),
            took,
            result: Ok(HttpResponse { status, body: body.into() }),
        }
    }

    #[test]
    fn latencies_are_told_apart_from_microseconds_to_minutes() {
        let mut report = EmitReport::new(100, None);
        for took in [10, 5_000, 20_000, 59_000_000].map(Duration::from_micros) {
            report.finish(attempt(took, 200, "{}"));
        }
        let [p50, p90, p99, max] = report.percentiles().unwrap().map(|(_, took)| took.as_millis());
        assert_eq!(p50, 5);
        assert!([p90, p99, max].iter().all(|took| (58_900..59_100).contains(took)), "{max}");
    }

    #[test]
    fn the_json_keys_are_stable() {
        let mut report = EmitReport::new(1, None);
        report.start(Some(Duration::from_millis(2)));
        report.finish(attempt(Duration::from_millis(8), 401, "no\u{1b}[2J"));
        report.end(Duration::from_secs(2));
        assert_eq!(
            report.json().to_string(),
            concat!(
                r#"{"tampered":null,"planned":1,"sent":1,"accepted":0,"interrupted":false,"#,
                r#""answers":[{"status":401,"answer":null,"count":1,"example":"no\u001b[2J"}],"errors":[],"#,
                r#""latency_ms":{"p50":8.003,"p90":8.003,"p99":8.003,"max":8.003},"#,
                r#""seconds":2.0,"rate":0.5,"max_lag_ms":2.0,"message":{"event":"PingEvent","id":"m-1","#,
                r#""url":"http://127.0.0.1/","status":401,"body":"no\u001b[2J","error":null}}"#,
            )
        );
        assert!(!report.to_string().contains('\u{1b}'));
    }
}
