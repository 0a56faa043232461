//! The schedule of a run: the due time of each message, independent of the responses.

use std::str::FromStr;
use std::time::Duration;

/// The latest due time, in seconds: thirty years.
const LATEST: f64 = 1e9;

/// Messages per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rate(f64);

impl FromStr for Rate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(rate) if (1e-6..=1e6).contains(&rate) => Ok(Rate(rate)),
            _ => Err("a rate is a number of messages per second above 0, e.g. 200 or 0.5"),
        }
    }
}

/// The time after the start at which the message with this number, counted from 0, is due.
pub(super) fn due(rate: Option<Rate>, number: u64) -> Duration {
    match rate {
        None => Duration::ZERO,
        Some(Rate(rate)) => Duration::from_secs_f64((number as f64 / rate).min(LATEST)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_due_at_even_distances_from_the_start() {
        let rate = Some("200".parse().unwrap());
        assert_eq!(due(rate, 0), Duration::ZERO);
        assert_eq!(due(rate, 1), Duration::from_millis(5));
        assert_eq!(due(rate, 1000), Duration::from_secs(5));
        assert_eq!(due(Some("0.5".parse().unwrap()), 3), Duration::from_secs(6));
        assert_eq!(due(rate, u64::MAX), Duration::from_secs(1_000_000_000));
    }

    #[test]
    fn without_a_rate_everything_is_due_at_once() {
        assert_eq!(due(None, 1_000_000), Duration::ZERO);
    }

    #[test]
    fn a_rate_is_positive_and_finite() {
        for text in ["0", "-1", "inf", "nan", "fast", ""] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
