//! Retries of an idempotent call: growing delays with jitter, within the call's time limit.

use std::time::Duration;

use tokio::time::Instant;

use super::ExtensionCause;

/// The delay after the first attempt; it doubles with each further one, up to the longest.
const FIRST: Duration = Duration::from_millis(250);

const LONGEST: Duration = Duration::from_secs(5);

/// The fraction by which each delay varies, so that handlers that fail together do not come again together.
const JITTER: f64 = 0.5;

/// The share of the time limit that one attempt may take: one that hangs leaves time for others.
const ATTEMPTS_IN_LIMIT: u32 = 3;

/// The retries of one call.
pub(super) struct Retries {
    end: Instant,
    /// The most time of one attempt.
    attempt: Duration,
    is_idempotent: bool,
    failed: u32,
}

impl Retries {
    pub(super) fn new(limit: Duration, is_idempotent: bool) -> Self {
        let attempt = if is_idempotent { limit / ATTEMPTS_IN_LIMIT } else { limit };
        Retries { end: Instant::now() + limit, attempt, is_idempotent, failed: 0 }
    }

    /// The end of the time limit.
    pub(super) fn end(&self) -> Instant {
        self.end
    }

    /// The deadline of an attempt that begins now.
    pub(super) fn attempt_deadline(&self) -> Instant {
        (Instant::now() + self.attempt).min(self.end)
    }

    /// The delay before the next attempt; none if it would not help, or come too late.
    pub(super) fn next_delay(&mut self, cause: &ExtensionCause) -> Option<Duration> {
        if !self.is_idempotent || !cause.is_transient() {
            return None;
        }
        let jitter = 1.0 + JITTER * (2.0 * fastrand::f64() - 1.0);
        let delay = delay(self.failed, cause.retry_after(), jitter);
        self.failed += 1;
        (delay < self.end.saturating_duration_since(Instant::now())).then_some(delay)
    }
}

/// The delay after a failed attempt, with `failed` others before it. `Retry-After` never shortens it.
fn delay(failed: u32, retry_after: Option<Duration>, jitter: f64) -> Duration {
    let backoff = FIRST.saturating_mul(2_u32.saturating_pow(failed)).min(LONGEST);
    backoff.mul_f64(jitter).max(retry_after.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_retry_after_never_shortens_one() {
        let millis = |failed, after| delay(failed, after, 1.0).as_millis();
        assert_eq!((millis(0, None), millis(1, None), millis(2, None)), (250, 500, 1000));
        assert_eq!((millis(5, None), millis(u32::MAX, None)), (5000, 5000));
        assert_eq!(millis(0, Some(Duration::from_secs(7))), 7000);
        assert_eq!(millis(1, Some(Duration::ZERO)), 500);
        assert_eq!(delay(1, None, 0.5).as_millis(), 250);
    }
}
