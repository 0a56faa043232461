//! Checks of signatures: forgeries of a signed delivery are refused.

use chrono::TimeDelta;
use emitter::Tamper;

use super::{forged, refused};
use crate::check::{CheckOutcome, CheckResult, CheckVerdict};
use crate::probe::{Prober, replaced};

/// The distance beyond the tolerance of a time that must be refused.
const BEYOND: TimeDelta = TimeDelta::seconds(60);

pub(crate) async fn body(probe: &Prober) -> CheckOutcome {
    tampered(probe, Tamper::Body, "an altered body").await
}

pub(crate) async fn signature(probe: &Prober) -> CheckOutcome {
    tampered(probe, Tamper::Signature, "an altered signature").await
}

pub(crate) async fn timestamp(probe: &Prober) -> CheckOutcome {
    tampered(probe, Tamper::Timestamp, "an altered timestamp").await
}

async fn tampered(probe: &Prober, tamper: Tamper, what: &str) -> CheckOutcome {
    forged(probe, probe.target.keys.proof(0, Some(tamper))?, what).await
}

pub(crate) async fn id(probe: &Prober) -> CheckOutcome {
    let Some(name) = probe.target.keys.id_header() else {
        return Ok(CheckResult::skip("no id is signed"));
    };
    let forgery = replaced(probe.genuine(&[])?.request()?, name, "doctor-another")?;
    Ok(refused(&probe.send_request(forgery).await, "an altered id"))
}

pub(crate) async fn stale(probe: &Prober) -> CheckOutcome {
    signed_at(probe, -beyond(probe), "a delivery signed long ago").await
}

pub(crate) async fn future(probe: &Prober) -> CheckOutcome {
    let result = signed_at(probe, beyond(probe), "a delivery signed far ahead").await?;
    Ok(match result.verdict {
        CheckVerdict::Fail if probe.target.is_foreign => {
            CheckResult { verdict: CheckVerdict::Warn, ..result }
                .mend("compare the time both ways; some senders' own libraries look back only")
        }
        _ => result,
    })
}

fn beyond(probe: &Prober) -> TimeDelta {
    TimeDelta::seconds(i64::try_from(probe.target.tolerance).unwrap_or(i64::MAX / 2000)) + BEYOND
}

async fn signed_at(probe: &Prober, offset: TimeDelta, what: &str) -> CheckOutcome {
    let mut message = probe.genuine(&[])?;
    message.offset = offset;
    Ok(refused(&probe.send(&message).await, what))
}
