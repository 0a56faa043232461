//! Checks of time: clocks agree, and responses come in time.

use std::time::Duration;

use chrono::TimeDelta;
use contract::time::Timestamp;

use crate::check::{CheckOutcome, CheckResult};
use crate::probe::Prober;
use crate::probe_result::ProbeResult;
use crate::sender::{limit, limit_in_words};

/// The difference between two clocks that is worth a warning.
const NOTABLE: TimeDelta = TimeDelta::seconds(30);

/// The number of responses over a reused connection that are timed.
const WARM: usize = 5;

/// Usual errors of clocks, in minutes: a little more than the tolerance, or a zone that was taken for UTC.
const SHIFTS: [i64; 16] =
    [8, -8, 16, -16, 30, -30, 60, -60, 120, -120, 180, -180, 300, -300, 480, -480];

pub(crate) async fn clock(probe: &Prober) -> CheckOutcome {
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

fn by_date(seen: &ProbeResult, window: TimeDelta) -> CheckResult {
    match seen.date() {
        // A date has whole seconds.
        Some(date) => {
            judged(ahead(date + TimeDelta::milliseconds(500), seen), window, "by the answer's Date")
        }
        None => CheckResult::skip("the answers have no Date"),
    }
}

fn ahead(theirs: Timestamp, seen: &ProbeResult) -> TimeDelta {
    let half = TimeDelta::from_std(seen.took / 2).unwrap_or_default();
    theirs - (seen.at - half)
}

fn judged(ahead: TimeDelta, window: TimeDelta, how: &str) -> CheckResult {
    let seconds = ahead.num_seconds();
    let text = match seconds {
        0 => format!("the clocks agree, {how}"),
        1.. => format!("the receiver's clock is {seconds} s ahead of this one, {how}"),
        _ => format!("the receiver's clock is {} s behind this one, {how}", -seconds),
    };
    match ahead.abs() {
        off if off >= window => CheckResult::fail(text),
        off if off > NOTABLE => CheckResult::warn(text),
        _ => CheckResult::pass(text),
    }
}

/// The shift of the signed time, in minutes, that makes a delivery acceptable.
async fn shifted(probe: &Prober) -> anyhow::Result<Option<i64>> {
    for minutes in SHIFTS {
        let mut message = probe.genuine(&[])?;
        message.offset = TimeDelta::minutes(minutes);
        if probe.send(&message).await.is_accepted() {
            return Ok(Some(minutes));
        }
    }
    Ok(None)
}

pub(crate) async fn first(probe: &Prober) -> CheckOutcome {
    let message = probe.plainest()?;
    Ok(timed(probe, &[probe.send_first(&message).await]))
}

pub(crate) async fn warm(probe: &Prober) -> CheckOutcome {
    let mut seen: Vec<ProbeResult> = Vec::new();
    let mut spent = Duration::ZERO;
    while seen.len() < WARM && spent < limit(&probe.target.sender) / 2 {
        let answer = probe.send(&probe.genuine(&[])?).await;
        spent += answer.took;
        seen.push(answer);
    }
    Ok(timed(probe, &seen))
}

fn timed(probe: &Prober, seen: &[ProbeResult]) -> CheckResult {
    if let Some(lost) = seen.iter().find(|seen| seen.result.is_err()) {
        return CheckResult::fail(lost.summary());
    }
    let slowest = seen.iter().map(|seen| seen.took).max().unwrap_or_default();
    let limit = limit(&probe.target.sender);
    let text =
        format!("{} ms at most; {}", slowest.as_millis(), limit_in_words(&probe.target.sender));
    match () {
        () if slowest >= limit => CheckResult::fail(text),
        () if slowest * 4 >= limit => CheckResult::warn(text),
        () => CheckResult::pass(text),
    }
}
