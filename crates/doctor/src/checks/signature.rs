//! Whether forgeries of a signed delivery are told from it.

use chrono::TimeDelta;
use emitter::Tamper;

use super::{forged, refused};
use crate::check::{Checked, Finding};
use crate::probe::{Probe, replaced};

/// How far beyond the tolerance a time lies that must be refused.
const BEYOND: TimeDelta = TimeDelta::seconds(60);

pub(crate) async fn body(probe: &Probe) -> Checked {
    tampered(probe, Tamper::Body, "an altered body").await
}

pub(crate) async fn signature(probe: &Probe) -> Checked {
    tampered(probe, Tamper::Signature, "an altered signature").await
}

pub(crate) async fn timestamp(probe: &Probe) -> Checked {
    tampered(probe, Tamper::Timestamp, "an altered timestamp").await
}

async fn tampered(probe: &Probe, tamper: Tamper, what: &str) -> Checked {
    forged(probe, probe.target.keys.proof(0, Some(tamper))?, what).await
}

pub(crate) async fn id(probe: &Probe) -> Checked {
    let Some(name) = probe.target.keys.id_header() else {
        return Ok(Finding::skip("no id is signed"));
    };
    let forgery = replaced(probe.genuine(&[])?.request()?, name, "doctor-another")?;
    Ok(refused(&probe.shoot(forgery).await, "an altered id"))
}

pub(crate) async fn stale(probe: &Probe) -> Checked {
    signed_at(probe, -beyond(probe), "a delivery signed long ago").await
}

pub(crate) async fn future(probe: &Probe) -> Checked {
    signed_at(probe, beyond(probe), "a delivery signed far ahead").await
}

fn beyond(probe: &Probe) -> TimeDelta {
    TimeDelta::seconds(i64::try_from(probe.target.tolerance).unwrap_or(i64::MAX / 2000)) + BEYOND
}

async fn signed_at(probe: &Probe, offset: TimeDelta, what: &str) -> Checked {
    let mut message = probe.genuine(&[])?;
    message.offset = offset;
    Ok(refused(&probe.send(&message).await, what))
}
