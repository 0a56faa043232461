//! Times: relative ones to read, exact ones to compare.

use std::time::Duration;

use chrono::TimeDelta;
use contract::time::Timestamp;
use maud::{Markup, html};

/// A time as its distance from `now`, with the exact time as its title.
pub fn ago(time: Timestamp, now: Timestamp) -> Markup {
    let exact = exact(time);
    html! { time datetime=(time.to_rfc3339()) title=(exact) data-relative { (distance(time, now)) } }
}

/// An exact time in UTC.
pub fn time(time: Timestamp) -> Markup {
    html! { time datetime=(time.to_rfc3339()) { (exact(time)) } }
}

/// An exact time, or a dash.
pub fn some_time(at: Option<Timestamp>) -> Markup {
    html! { @match at { Some(at) => (time(at)), None => "–" } }
}

/// The length of a time, by its largest unit: `3 min`.
pub fn since(length: TimeDelta) -> String {
    let seconds = length.num_seconds().max(0);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// An exact length of time, in the largest unit that needs no other: `90 days`, `35 h`.
pub fn length(length: Duration) -> String {
    let millis = length.as_millis();
    let units = [(86_400_000, "days"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    let unit = units.iter().find(|(unit, _)| millis > 0 && millis.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{millis} ms"), |(unit, name)| format!("{} {name}", millis / unit))
}

fn exact(time: Timestamp) -> String {
    time.format("%Y-%m-%d %H:%M:%S%.3f UTC").to_string()
}

fn distance(time: Timestamp, now: Timestamp) -> String {
    match now - time {
        past if past >= TimeDelta::zero() => format!("{} ago", since(past)),
        ahead => format!("in {}", since(-ahead)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_exact() {
        let lengths = [
            (90 * 86_400_000, "90 days"),
            (126_000_000, "35 h"),
            (30_000, "30 s"),
            (1_500, "1500 ms"),
        ];
        for (millis, expected) in lengths {
            assert_eq!(length(Duration::from_millis(millis)), expected);
        }
    }

    #[test]
    fn a_distance_is_told_by_its_largest_unit() {
        let now = Timestamp::UNIX_EPOCH + TimeDelta::days(400);
        for (seconds, expected) in [
            (0, "0 s ago"),
            (59, "59 s ago"),
            (60, "1 min ago"),
            (7_300, "2 h ago"),
            (200_000, "2 days ago"),
            (-90, "in 1 min"),
        ] {
            assert_eq!(distance(now - TimeDelta::seconds(seconds), now), expected);
        }
    }
}
