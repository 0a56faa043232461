//! The bus's clock: the machine's, or one that runs faster.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use contract::time::Clock;
use contract::time::Timestamp;

/// The step by which a clock may be set back, as clocks are all the time, before it is not followed.
const SLACK: TimeDelta = TimeDelta::seconds(1);

/// The longest sleep before the clock is read again, which may have been set forward, or run on while the machine was
/// suspended.
const NAP: Duration = Duration::from_secs(30);

/// A clock that runs at its own speed from its start, never backwards: a machine clock that is set back delays no
/// retry.
pub struct BusClock {
    clock: Clock,
    speed: f64,
    last: Mutex<Last>,
}

struct Last {
    clock: Timestamp,
    at: Instant,
    now: Timestamp,
}

impl BusClock {
    /// A clock that begins at `start` and runs `speed` times as fast as the machine's.
    pub fn new(clock: Clock, speed: f64, start: Timestamp) -> Self {
        let last = Last { clock: clock(), at: Instant::now(), now: start };
        BusClock { clock, speed, last: Mutex::new(last) }
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (clock, at) = (self.clock.clone()(), Instant::now());
        let passed = passed(clock - last.clock, at - last.at);
        let now = later(last.now, scaled(passed, self.speed));
        *last = Last { clock, at, now };
        now
    }

    /// The instant of `due`, by the clock that the runtime sleeps by; or an earlier instant at which to check again, if
    /// that is far.
    pub(super) fn instant(&self, due: Timestamp) -> Instant {
        let rest = (due - self.now()).to_std().unwrap_or_default();
        let rest = Duration::try_from_secs_f64(rest.as_secs_f64() / self.speed);
        Instant::now() + rest.unwrap_or(Duration::MAX).min(NAP)
    }
}

/// The time that has passed by the clock, or if it was set back, by the steady clock.
fn passed(clock: TimeDelta, steady: Duration) -> TimeDelta {
    let steady = TimeDelta::from_std(steady).unwrap_or(TimeDelta::MAX);
    if clock + SLACK < steady { steady } else { clock.max(TimeDelta::zero()) }
}

fn scaled(time: TimeDelta, speed: f64) -> TimeDelta {
    if speed == 1.0 {
        return time;
    }
    let seconds = time.as_seconds_f64() * speed;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .and_then(|time| TimeDelta::from_std(time).ok())
        .unwrap_or(TimeDelta::MAX)
}

/// The time plus a duration; the latest representable time on overflow.
pub(super) fn later(time: Timestamp, by: TimeDelta) -> Timestamp {
    time.checked_add_signed(by).unwrap_or(Timestamp::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_clock_that_is_set_back_is_not_followed_and_one_that_is_set_forward_is() {
        let hour = TimeDelta::hours(1);
        assert_eq!(passed(-hour, Duration::from_secs(5)), TimeDelta::seconds(5));
        assert_eq!(passed(hour, Duration::from_secs(5)), hour);
        assert_eq!(passed(-TimeDelta::milliseconds(2), Duration::ZERO), TimeDelta::zero());
        let slow = TimeDelta::milliseconds(4990);
        assert_eq!(passed(slow, Duration::from_secs(5)), slow);
    }

    #[test]
    fn time_runs_at_its_speed_from_its_start() {
        let clock = Arc::new(Mutex::new(Timestamp::UNIX_EPOCH));
        let read = Arc::clone(&clock);
        let start = Timestamp::UNIX_EPOCH + TimeDelta::days(400);
        let time = BusClock::new(Arc::new(move || *read.lock().unwrap()), 3600.0, start);
        assert_eq!(time.now(), start);
        *clock.lock().unwrap() += TimeDelta::seconds(2);
        assert_eq!(time.now(), start + TimeDelta::hours(2));
        *clock.lock().unwrap() -= TimeDelta::days(1);
        assert!(time.now() >= start + TimeDelta::hours(2));
    }

    #[test]
    fn the_clock_is_read_again_before_a_long_time_is_over() {
        let time = BusClock::new(Arc::new(|| Timestamp::UNIX_EPOCH), 1.0, Timestamp::UNIX_EPOCH);
        let until = time.instant(Timestamp::UNIX_EPOCH + TimeDelta::days(2));
        assert!(until <= Instant::now() + NAP);
    }
}
