//! Whether forgeries of a signed delivery are told from it.

use std::sync::Arc;

use chrono::TimeDelta;

use super::{refused, unsent};
use crate::doctor::check::Finding;
use crate::doctor::probe::{Probe, replaced};
use crate::emitter::Tamper;

/// How far beyond the tolerance a stale time lies.
const BEYOND: TimeDelta = TimeDelta::seconds(60);

pub(in crate::doctor) async fn body(probe: &Probe) -> Finding {
    tampered(probe, Tamper::Body, "an altered body").await
}

pub(in crate::doctor) async fn signature(probe: &Probe) -> Finding {
    tampered(probe, Tamper::Signature, "an altered signature").await
}

pub(in crate::doctor) async fn timestamp(probe: &Probe) -> Finding {
    tampered(probe, Tamper::Timestamp, "an altered timestamp").await
}

async fn tampered(probe: &Probe, tamper: Tamper, what: &str) -> Finding {
    let proof = probe.target.keys.proof(0, Some(tamper));
    match proof.and_then(|proof| probe.message(Arc::new(proof), &[])) {
        Ok(message) => refused(&probe.send(&message).await, what),
        Err(error) => unsent(&error),
    }
}

pub(in crate::doctor) async fn id(probe: &Probe) -> Finding {
    let name = probe.target.keys.scheme().and_then(|scheme| scheme.headers[0].id.clone());
    let Some(name) = name else { return Finding::skip("no id is signed") };
    let request = probe.genuine(&[]).and_then(|message| message.request());
    let forged = request.and_then(|request| replaced(request, &name, "doctor-another"));
    refused(&probe.shoot(forged).await, "an altered id")
}

pub(in crate::doctor) async fn stale(probe: &Probe) -> Finding {
    let what = "a delivery signed long ago";
    signed_at(probe, -(tolerance(probe) + BEYOND), what).await
}

pub(in crate::doctor) async fn future(probe: &Probe) -> Finding {
    let what = "a delivery signed far ahead";
    signed_at(probe, tolerance(probe) + BEYOND, what).await
}

fn tolerance(probe: &Probe) -> TimeDelta {
    TimeDelta::seconds(i64::try_from(probe.target.tolerance).unwrap_or(i64::MAX / 2000))
}

async fn signed_at(probe: &Probe, offset: TimeDelta, what: &str) -> Finding {
    match probe.genuine(&[]) {
        Ok(mut message) => {
            message.offset = offset;
            refused(&probe.send(&message).await, what)
        }
        Err(error) => unsent(&error),
    }
}
