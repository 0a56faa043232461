//! Whether the clock may be gone by where going by it deletes something.
//!
//! A clock that is set forward by weeks, by mistake or at a start without a battery, would make everything old at once.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use contract::time::Timestamp;

/// How far a clock may run ahead of what was expected. Clocks are corrected all the time, but by less.
const AHEAD: TimeDelta = TimeDelta::hours(1);

/// How far it may be ahead of the newest thing known at a start: nothing may have happened for days.
const AHEAD_AT_START: TimeDelta = TimeDelta::days(7);

/// How far it may be behind.
const BEHIND: TimeDelta = TimeDelta::minutes(1);

/// How long a clock that jumped must have gone on evenly before it is believed.
const DOUBT: Duration = Duration::from_secs(24 * 60 * 60);

/// Compares the clock with one that cannot be set.
#[derive(Debug)]
pub struct Trust {
    /// What the clock said when it was last believed.
    believed: Reading,
    /// What it said after it jumped.
    jumped: Option<Reading>,
}

#[derive(Debug, Clone, Copy)]
struct Reading {
    clock: Timestamp,
    at: Instant,
}

/// What a reading of the clock is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is as expected.
    Right,
    /// It has just jumped ahead by so much: nothing may be deleted by it.
    Jumped(TimeDelta),
    /// It has jumped, and not long enough ago.
    Doubted,
    /// It was set back by so much.
    Behind(TimeDelta),
}

impl Trust {
    /// From a start, before which `newest` is known to have been.
    pub fn new(clock: Timestamp, newest: Option<Timestamp>) -> Self {
        let is_far = |newest: &Timestamp| clock - *newest > AHEAD_AT_START;
        let expected = newest.filter(is_far).unwrap_or(clock);
        Trust { believed: Reading { clock: expected, at: Instant::now() }, jumped: None }
    }

    /// Judges what the clock says now.
    pub fn judge(&mut self, clock: Timestamp) -> Verdict {
        self.judge_at(Reading { clock, at: Instant::now() })
    }

    fn judge_at(&mut self, now: Reading) -> Verdict {
        let ahead = self.believed.ahead(now);
        if ahead > AHEAD {
            let jumped = self.jumped.filter(|jumped| jumped.ahead(now).abs() <= AHEAD);
            match jumped {
                None => {
                    self.jumped = Some(now);
                    return Verdict::Jumped(ahead);
                }
                Some(jumped) if now.at - jumped.at < DOUBT => return Verdict::Doubted,
                Some(_) => {}
            }
        }
        *self = Trust { believed: now, jumped: None };
        if ahead < -BEHIND { Verdict::Behind(-ahead) } else { Verdict::Right }
    }
}

impl Reading {
    /// By how much a later reading is ahead of what it should be.
    fn ahead(&self, later: Reading) -> TimeDelta {
        let passed = TimeDelta::from_std(later.at - self.at).unwrap_or(TimeDelta::MAX);
        (later.clock - self.clock).checked_sub(&passed).unwrap_or(TimeDelta::MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 60;

    /// Judges readings, each with the minutes that have passed and those that the clock says have.
    fn judged(newest: i64, readings: &[(i64, i64)]) -> Vec<Verdict> {
        let minutes = |minutes| Timestamp::UNIX_EPOCH + TimeDelta::minutes(minutes);
        let mut trust = Trust::new(minutes(0), Some(minutes(newest)));
        let start = trust.believed.at;
        let reading = |(passed, clock): &(i64, i64)| Reading {
            clock: minutes(*clock),
            at: start + Duration::from_secs(*passed as u64 * 60),
        };
        readings.iter().map(|given| trust.judge_at(reading(given))).collect()
    }

    fn minutes(minutes: i64) -> TimeDelta {
        TimeDelta::minutes(minutes)
    }

    #[test]
    fn a_clock_that_runs_evenly_is_right_however_long_between_two_readings() {
        let all = [Verdict::Right; 4];
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
                Verdict::Jumped(minutes(weeks)),
                Verdict::Doubted,
                Verdict::Doubted,
                Verdict::Right,
                Verdict::Right
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
                Verdict::Jumped(minutes(weeks)),
                Verdict::Jumped(minutes(2 * weeks - DAY)),
                Verdict::Doubted,
                Verdict::Right,
                Verdict::Right
            ]
        );
    }

    #[test]
    fn a_start_long_after_the_newest_delivery_is_doubted_and_one_before_it_is_not() {
        assert_eq!(judged(-40 * DAY, &[(0, 0)]), [Verdict::Jumped(minutes(40 * DAY))]);
        for newest in [120, -120, -3 * DAY] {
            assert_eq!(judged(newest, &[(0, 0), (1, 1)]), [Verdict::Right; 2], "{newest}");
        }
    }

    #[test]
    fn a_clock_that_is_set_back_is_followed_at_once() {
        assert_eq!(
            judged(0, &[(0, 0), (1, -59), (2, -58)]),
            [Verdict::Right, Verdict::Behind(minutes(60)), Verdict::Right]
        );
    }
}
