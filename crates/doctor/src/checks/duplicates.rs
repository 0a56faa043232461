//! Whether a message that comes twice is kept once.

use std::time::Duration;

use futures_util::future::join_all;

use super::accepted;
use crate::answer::Seen;
use crate::check::{Checked, Finding};
use crate::probe::Probe;

/// How many come at once.
const AT_ONCE: usize = 10;

/// The pause before a late resend: long enough for an answer that is kept in a cache on the way to be a stale one.
const PAUSE: Duration = Duration::from_millis(1500);

pub(crate) async fn again(probe: &Probe) -> Checked {
    resent(probe, Duration::ZERO).await
}

pub(crate) async fn later(probe: &Probe) -> Checked {
    resent(probe, PAUSE).await
}

async fn resent(probe: &Probe, pause: Duration) -> Checked {
    let message = probe.genuine(&[])?;
    let first = probe.send(&message).await;
    accepted(&first, "the first")?;
    tokio::time::sleep(pause).await;
    let second = probe.send(&message).await;
    accepted(&second, "its resend")?;
    Ok(once(&[first, second], "accepted and duplicate"))
}

pub(crate) async fn together(probe: &Probe) -> Checked {
    let message = probe.genuine(&[])?;
    let seen = join_all((0..AT_ONCE).map(|_| probe.send(&message))).await;
    for one in &seen {
        accepted(one, &format!("one of {AT_ONCE} at once"))?;
    }
    Ok(once(&seen, &format!("of {AT_ONCE} at once, one is accepted and the others duplicate")))
}

/// Exactly one is new, and all have its number.
fn once(seen: &[Seen], well: &str) -> Finding {
    let kept: Vec<_> = seen.iter().filter_map(Seen::kept).collect();
    if kept.len() < seen.len() {
        return Finding::skip("the answers do not say what became of them");
    }
    let new = kept.iter().filter(|kept| kept.status == "accepted").count();
    let same = kept.iter().all(|other| other.delivery_id == kept[0].delivery_id);
    match (new, same) {
        (1, true) => Finding::pass(well),
        (0, _) => {
            Finding::fail("none of them is new: the message ids of different messages are the same")
        }
        (1, false) => Finding::fail("a duplicate has another number than the first"),
        _ => Finding::fail(format!("{new} of {} equal messages were taken for new", kept.len())),
    }
}

pub(crate) async fn conflict(probe: &Probe) -> Checked {
    let mut message = probe.genuine(&[])?;
    let first = probe.send(&message).await;
    accepted(&first, "the first")?;
    message.body = [message.body.as_ref(), b"\n"].concat().into();
    let second = probe.send(&message).await;
    accepted(&second, "the same id with other bytes")?;
    Ok(match second.echo() {
        Some(echo) if echo.conflict => {
            Finding::pass("the first is kept, and the conflict is noted")
        }
        _ => Finding::fail("other bytes under the same id were not noticed"),
    })
}
