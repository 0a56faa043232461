//! Retry schedule of failed deliveries: backoff with jitter.

use std::time::Duration;

use inbox::Verdict;

/// Delay after two lost attempts in a row; it doubles with each further one, up to the longest.
const FIRST_LOST_DELAY: Duration = Duration::from_secs(5);
const LONGEST_LOST_DELAY: Duration = Duration::from_secs(60 * 60);

/// Delays between attempts, with jitter, so that deliveries that failed together are not retried together.
#[derive(Debug, Clone)]
pub struct Schedule {
    delays: Vec<Duration>,
    jitter: f64,
}

impl Schedule {
    /// Creates a schedule: `delays` after the first, second, … failed attempt; `jitter` is the fraction by which each varies,
    /// 0 to 1.
    pub fn new(delays: Vec<Duration>, jitter: f64) -> Self {
        Schedule { delays, jitter }
    }

    /// Verdict on a delivery after the `failed`th attempt of its run has failed.
    pub(super) fn verdict(&self, failed: u32, after: Option<Duration>, reason: String) -> Verdict {
        let index = usize::try_from(failed).unwrap_or(usize::MAX).saturating_sub(1);
        match self.delays.get(index) {
            None => Verdict::Dead { reason: format!("{reason} (attempt {failed}, the last)") },
            Some(delay) => {
                let after = after.unwrap_or_else(|| self.vary(*delay));
                Verdict::Retry { after, reason }
            }
        }
    }

    /// Delay after this many lost attempts in a row. One is a restart; more may be caused by this delivery, or by a concurrent
    /// one.
    pub(super) fn delay_after_lost(&self, lost: u32) -> Duration {
        let doublings = lost.saturating_sub(2).min(16);
        let delay = (FIRST_LOST_DELAY * 2_u32.pow(doublings)).min(LONGEST_LOST_DELAY);
        if lost < 2 { Duration::ZERO } else { self.vary(delay) }
    }

    /// A delay with jitter.
    pub(super) fn vary(&self, delay: Duration) -> Duration {
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
            Verdict::Retry { after, .. } => after.as_secs_f64(),
            other => panic!("{other:?}"),
        }
    }

    fn verdict(failed: u32, after: Option<Duration>) -> Verdict {
        schedule().verdict(failed, after, "down".into())
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
    fn a_worker_that_stops_once_costs_no_time_and_then_ever_more_up_to_an_hour() {
        let rest = |lost| schedule().delay_after_lost(lost).as_secs_f64();
        assert_eq!((rest(0), rest(1)), (0.0, 0.0));
        for (lost, seconds) in [(2, 5.0), (3, 10.0), (11, 2560.0), (12, 3600.0), (u32::MAX, 3600.0)]
        {
            assert!(
                (seconds * 0.8..=seconds * 1.2).contains(&rest(lost)),
                "{lost}: {}",
                rest(lost)
            );
        }
    }

    #[test]
    fn a_handler_may_name_its_own_delay() {
        assert!((delay(&verdict(1, Some(Duration::from_secs(3)))) - 3.0).abs() < 1e-9);
    }
}
