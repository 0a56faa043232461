//! Clock monitor: detects jumps of the system clock, so that retention does not delete by a wrong time.
//!
//! A clock that is set forward by weeks, by mistake or at a start without a battery, would expire everything at once.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use contract::time::Timestamp;

/// Tolerance for a clock ahead of the expected time. Clocks are corrected all the time, but by less.
const AHEAD: TimeDelta = TimeDelta::hours(1);

/// Tolerance at start for a clock ahead of the newest known record, since nothing may have happened for days.
const AHEAD_AT_START: TimeDelta = TimeDelta::days(7);

/// Tolerance for a clock behind the expected time.
const BEHIND: TimeDelta = TimeDelta::minutes(1);

/// Time for which a clock that jumped must run evenly before it is trusted again.
const PROBATION: Duration = Duration::from_secs(24 * 60 * 60);

/// Compares the system clock with the monotonic clock.
#[derive(Debug)]
pub struct ClockMonitor {
    /// The last trusted reading.
    trusted: ClockReading,
    /// The first reading after a jump.
    jumped: Option<ClockReading>,
}

#[derive(Debug, Clone, Copy)]
struct ClockReading {
    clock: Timestamp,
    at: Instant,
}

/// Judgement of a clock reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockVerdict {
    /// The reading is as expected.
    Plausible,
    /// The clock has just jumped ahead by this much: nothing may be deleted by it.
    Jumped(TimeDelta),
    /// The clock jumped ahead less than the probation time ago.
    Suspect,
    /// The clock was set back by this much.
    Behind(TimeDelta),
}

impl ClockMonitor {
    /// Creates a monitor at a start; `newest` is the time of the newest known record.
    pub fn new(clock: Timestamp, newest: Option<Timestamp>) -> Self {
        let is_far = |newest: &Timestamp| clock - *newest > AHEAD_AT_START;
        let expected = newest.filter(is_far).unwrap_or(clock);
        ClockMonitor { trusted: ClockReading { clock: expected, at: Instant::now() }, jumped: None }
    }

    /// Judges the current reading of the clock.
    pub fn judge(&mut self, clock: Timestamp) -> ClockVerdict {
        self.judge_at(ClockReading { clock, at: Instant::now() })
    }

    fn judge_at(&mut self, now: ClockReading) -> ClockVerdict {
        let ahead = self.trusted.ahead(now);
        if ahead > AHEAD {
            let jumped = self.jumped.filter(|jumped| jumped.ahead(now).abs() <= AHEAD);
            match jumped {
                None => {
                    self.jumped = Some(now);
                    return ClockVerdict::Jumped(ahead);
                }
                Some(jumped) if now.at - jumped.at < PROBATION => return ClockVerdict::Suspect,
                Some(_) => {}
            }
        }
        *self = ClockMonitor { trusted: now, jumped: None };
        if ahead < -BEHIND { ClockVerdict::Behind(-ahead) } else { ClockVerdict::Plausible }
    }
}

impl ClockReading {
    /// Difference of a later reading from its expected time.
    fn ahead(&self, later: ClockReading) -> TimeDelta {
        let passed = TimeDelta::from_std(later.at - self.at).unwrap_or(TimeDelta::MAX);
        (later.clock - self.clock).checked_sub(&passed).unwrap_or(TimeDelta::MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 60;

    /// Judges readings, each with the elapsed minutes and the minutes that the clock shows.
    fn judged(newest: i64, readings: &[(i64, i64)]) -> Vec<ClockVerdict> {
        let minutes = |minutes| Timestamp::UNIX_EPOCH + TimeDelta::minutes(minutes);
        let mut monitor = ClockMonitor::new(minutes(0), Some(minutes(newest)));
        let start = monitor.trusted.at;
        let reading = |(passed, clock): &(i64, i64)| ClockReading {
            clock: minutes(*clock),
            at: start + Duration::from_secs(*passed as u64 * 60),
        };
        readings.iter().map(|given| monitor.judge_at(reading(given))).collect()
    }

    fn minutes(minutes: i64) -> TimeDelta {
        TimeDelta::minutes(minutes)
    }

    #[test]
    fn a_clock_that_runs_evenly_is_right_however_long_between_two_readings() {
        let all = [ClockVerdict::Plausible; 4];
        assert_eq!(judged(0, &[(0, 0), (1, 1), (60, 110), (90 * DAY, 90 * DAY + 50)]), all);
    }

    #[test]
    fn a_clock_that_jumps_by_weeks_is_believed_after_a_day_and_no_sooner() {
        let weeks = 40 * DAY;
        assert_eq!(
            judged(
                0,
                &[
                    (0, weeks),
                    (1, weeks + 1),
                    (DAY - 1, weeks + DAY - 1),
                    (DAY, weeks + DAY),
                    (DAY + 1, weeks + DAY + 1)
                ]
            ),
            [
                ClockVerdict::Jumped(minutes(weeks)),
                ClockVerdict::Suspect,
                ClockVerdict::Suspect,
                ClockVerdict::Plausible,
                ClockVerdict::Plausible
            ]
        );
    }

    #[test]
    fn a_clock_that_jumps_again_is_doubted_anew_and_one_set_right_is_believed() {
        let weeks = 40 * DAY;
        assert_eq!(
            judged(
                0,
                &[
                    (0, weeks),
                    (DAY, 2 * weeks),
                    (DAY + 1, 2 * weeks + 1),
                    (DAY + 2, DAY + 2),
                    (DAY + 3, DAY + 3)
                ]
            ),
            [
                ClockVerdict::Jumped(minutes(weeks)),
                ClockVerdict::Jumped(minutes(2 * weeks - DAY)),
                ClockVerdict::Suspect,
                ClockVerdict::Plausible,
                ClockVerdict::Plausible
            ]
        );
    }

    #[test]
    fn a_start_long_after_the_newest_delivery_is_doubted_and_one_before_it_is_not() {
        assert_eq!(judged(-40 * DAY, &[(0, 0)]), [ClockVerdict::Jumped(minutes(40 * DAY))]);
        for newest in [120, -120, -3 * DAY] {
            assert_eq!(judged(newest, &[(0, 0), (1, 1)]), [ClockVerdict::Plausible; 2], "{newest}");
        }
    }

    #[test]
    fn a_clock_that_is_set_back_is_followed_at_once() {
        assert_eq!(
            judged(0, &[(0, 0), (1, -59), (2, -58)]),
            [ClockVerdict::Plausible, ClockVerdict::Behind(minutes(60)), ClockVerdict::Plausible]
        );
    }
}
