//! Whether clocks agree, and answers come in time.

use std::time::Duration;

use chrono::TimeDelta;
use contract::time::Timestamp;

use crate::answer::Seen;
use crate::check::{Checked, Finding};
use crate::probe::Probe;

/// A clock that is off by more than this is worth a word.
const NOTABLE: TimeDelta = TimeDelta::seconds(30);

/// How many answers over a kept connection are timed.
const WARM: usize = 5;

/// By how many minutes clocks are wrong: a little more than the tolerance, or a zone that was taken for UTC.
const SHIFTS: [i64; 16] =
    [8, -8, 16, -16, 30, -30, 60, -60, 120, -120, 180, -180, 300, -300, 480, -480];

pub(crate) async fn clock(probe: &Probe) -> Checked {
    let seen = probe.baseline().await;
    let window = TimeDelta::seconds(i64::try_from(probe.target.tolerance).unwrap_or(300));
    if seen.status() == Some(401) && probe.target.keys.is_timed() && probe.target.may_deliver {
        return Ok(match shifted(probe).await? {
            Some(minutes) => judged(TimeDelta::minutes(minutes), window, "by what it accepts"),
            None => by_date(seen, window),
        });
    }
    Ok(match seen.echo() {
        Some(echo) => judged(ahead(echo.received_at, seen), window, "by its own word"),
        None => by_date(seen, window),
    })
}

fn by_date(seen: &Seen, window: TimeDelta) -> Finding {
    match seen.date() {
        // A date has whole seconds.
        Some(date) => {
            judged(ahead(date + TimeDelta::milliseconds(500), seen), window, "by the answer's Date")
        }
        None => Finding::skip("the answers have no Date"),
    }
}

fn ahead(theirs: Timestamp, seen: &Seen) -> TimeDelta {
    let half = TimeDelta::from_std(seen.took / 2).unwrap_or_default();
    theirs - (seen.at - half)
}

fn judged(ahead: TimeDelta, window: TimeDelta, how: &str) -> Finding {
    let seconds = ahead.num_seconds();
    let told = match seconds {
        0 => format!("the clocks agree, {how}"),
        1.. => format!("the receiver's clock is {seconds} s ahead of this one, {how}"),
        _ => format!("the receiver's clock is {} s behind this one, {how}", -seconds),
    };
    match ahead.abs() {
        off if off >= window => Finding::fail(told),
        off if off > NOTABLE => Finding::warn(told),
        _ => Finding::pass(told),
    }
}

/// By how many minutes a time of signing must be shifted to be accepted.
async fn shifted(probe: &Probe) -> anyhow::Result<Option<i64>> {
    for minutes in SHIFTS {
        let mut message = probe.genuine(&[])?;
        message.offset = TimeDelta::minutes(minutes);
        if probe.send(&message).await.is_accepted() {
            return Ok(Some(minutes));
        }
    }
    Ok(None)
}

pub(crate) async fn first(probe: &Probe) -> Checked {
    let message = probe.plainest()?;
    Ok(timed(probe, &[probe.send_first(&message).await]))
}

pub(crate) async fn warm(probe: &Probe) -> Checked {
    let mut seen: Vec<Seen> = Vec::new();
    let mut spent = Duration::ZERO;
    while seen.len() < WARM && spent < probe.target.sender.limit() / 2 {
        let answer = probe.send(&probe.genuine(&[])?).await;
        spent += answer.took;
        seen.push(answer);
    }
    Ok(timed(probe, &seen))
}

fn timed(probe: &Probe, seen: &[Seen]) -> Finding {
    if let Some(lost) = seen.iter().find(|seen| seen.result.is_err()) {
        return Finding::fail(lost.told());
    }
    let slowest = seen.iter().map(|seen| seen.took).max().unwrap_or_default();
    let limit = probe.target.sender.limit();
    let told =
        format!("{} ms at most; {}", slowest.as_millis(), probe.target.sender.limit_in_words());
    match () {
        () if slowest >= limit => Finding::fail(told),
        () if slowest * 4 >= limit => Finding::warn(told),
        () => Finding::pass(told),
    }
}
