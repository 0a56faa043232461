//! Checks of duplicates: a message that is sent twice is stored once.

use std::time::Duration;

use futures_util::future::join_all;

use super::accepted;
use crate::check::{CheckOutcome, CheckResult};
use crate::probe::Prober;
use crate::probe_result::ProbeResult;

/// The number of simultaneous requests.
const AT_ONCE: usize = 10;

/// The pause before a late resend: long enough for a response that a cache on the way has stored to become stale.
const PAUSE: Duration = Duration::from_millis(1500);

pub(crate) async fn again(probe: &Prober) -> CheckOutcome {
    resent(probe, Duration::ZERO).await
}

pub(crate) async fn later(probe: &Prober) -> CheckOutcome {
    resent(probe, PAUSE).await
}

async fn resent(probe: &Prober, pause: Duration) -> CheckOutcome {
    let message = probe.genuine(&[])?;
    let first = probe.send(&message).await;
    accepted(&first, "the first")?;
    tokio::time::sleep(pause).await;
    let second = probe.send(&message).await;
    accepted(&second, "its resend")?;
    Ok(once(&[first, second], "accepted and duplicate"))
}

pub(crate) async fn together(probe: &Prober) -> CheckOutcome {
    let message = probe.genuine(&[])?;
    let seen = join_all((0..AT_ONCE).map(|_| probe.send(&message))).await;
    for one in &seen {
        accepted(one, &format!("one of {AT_ONCE} at once"))?;
    }
    Ok(once(&seen, &format!("of {AT_ONCE} at once, one is accepted and the others duplicate")))
}

/// Passes if exactly one is new, and all have its delivery id.
fn once(seen: &[ProbeResult], well: &str) -> CheckResult {
    let accepted: Vec<_> = seen.iter().filter_map(ProbeResult::accepted_body).collect();
    if accepted.len() < seen.len() {
        return CheckResult::skip("the answers do not say what became of them");
    }
    let new = accepted.iter().filter(|accepted| accepted.status == "accepted").count();
    let same = accepted.iter().all(|other| other.delivery_id == accepted[0].delivery_id);
    match (new, same) {
        (1, true) => CheckResult::pass(well),
        (0, _) => CheckResult::fail(
            "none of them is new: the message ids of different messages are the same",
        ),
        (1, false) => CheckResult::fail("a duplicate has another number than the first"),
        _ => CheckResult::fail(format!(
            "{new} of {} equal messages were taken for new",
            accepted.len()
        )),
    }
}

pub(crate) async fn conflict(probe: &Prober) -> CheckOutcome {
    let mut message = probe.genuine(&[])?;
    let first = probe.send(&message).await;
    accepted(&first, "the first")?;
    message.body = [message.body.as_ref(), b"\n"].concat().into();
    let second = probe.send(&message).await;
    accepted(&second, "the same id with other bytes")?;
    Ok(match second.echo() {
        Some(echo) if echo.conflict => {
            CheckResult::pass("the first is kept, and the conflict is noted")
        }
        _ => CheckResult::fail("other bytes under the same id were not noticed"),
    })
}
