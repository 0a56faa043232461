//! When a failed delivery is tried again.

use std::time::Duration;

use chrono::TimeDelta;

use crate::event::Timestamp;
use crate::inbox::Verdict;

/// The delays between attempts, varied at random so that deliveries that failed together do not return together.
#[derive(Debug, Clone)]
pub struct Schedule {
    delays: Vec<Duration>,
    jitter: f64,
}

impl Schedule {
    /// `delays` after the first, second, … failed attempt; `jitter` is the part by which each is varied, 0 to 1.
    pub fn new(delays: Vec<Duration>, jitter: f64) -> Self {
        Schedule { delays, jitter }
    }

    /// What becomes of a delivery whose `failed`th attempt of this run has failed.
    pub(super) fn verdict(
        &self,
        failed: u32,
        after: Option<Duration>,
        reason: String,
        now: Timestamp,
    ) -> Verdict {
        let place = usize::try_from(failed).unwrap_or(usize::MAX).saturating_sub(1);
        match self.delays.get(place) {
            None => Verdict::Dead { reason: format!("{reason} (attempt {failed}, the last)") },
            Some(delay) => {
                let delay = after.unwrap_or_else(|| self.vary(*delay));
                let at = TimeDelta::from_std(delay).ok().and_then(|d| now.checked_add_signed(d));
                Verdict::Retry { at: at.unwrap_or(Timestamp::MAX_UTC), reason }
            }
        }
    }

    /// Whether the last attempt has been before this one. Its verdict was never written: it took its worker with it.
    pub(super) fn is_over(&self, attempt: u32) -> bool {
        usize::try_from(attempt).unwrap_or(usize::MAX) > self.delays.len() + 1
    }

    fn vary(&self, delay: Duration) -> Duration {
        delay.mul_f64(1.0 + self.jitter * (2.0 * fastrand::f64() - 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule() -> Schedule {
        Schedule::new(vec![Duration::from_secs(10), Duration::from_secs(100)], 0.2)
    }

    fn delay(verdict: &Verdict) -> f64 {
        match verdict {
            Verdict::Retry { at, .. } => (*at - Timestamp::UNIX_EPOCH).as_seconds_f64(),
            other => panic!("{other:?}"),
        }
    }

    fn verdict(failed: u32, after: Option<Duration>) -> Verdict {
        schedule().verdict(failed, after, "down".into(), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn delays_grow_and_vary_within_the_jitter() {
        for _ in 0..1000 {
            assert!((8.0..=12.0).contains(&delay(&verdict(1, None))));
            assert!((80.0..=120.0).contains(&delay(&verdict(2, None))));
        }
    }

    #[test]
    fn the_attempt_after_the_last_delay_is_the_last() {
        assert_eq!(verdict(3, None), Verdict::Dead { reason: "down (attempt 3, the last)".into() });
    }

    #[test]
    fn a_handler_may_name_its_own_delay() {
        assert!((delay(&verdict(1, Some(Duration::from_secs(3)))) - 3.0).abs() < 1e-9);
    }
}
