//! The checks, by group.

pub(super) mod bodies;
pub(super) mod duplicates;
pub(super) mod events;
pub(super) mod exposure;
pub(super) mod hooks;
pub(super) mod identity;
pub(super) mod reach;
pub(super) mod signature;
pub(super) mod time;

use std::sync::Arc;

use emitter::Proof;

use super::check::{CheckOutcome, CheckResult};
use super::probe::Prober;
use super::probe_result::ProbeResult;

/// Sends a delivery with a proof that must be refused.
async fn forged(probe: &Prober, proof: Proof, what: &str) -> CheckOutcome {
    let message = probe.message(Arc::new(proof), &[])?;
    Ok(refused(&probe.send(&message).await, what))
}

/// Passes if a forgery is refused with 401.
fn refused(seen: &ProbeResult, what: &str) -> CheckResult {
    match seen.status() {
        Some(401) => CheckResult::pass("refused with 401"),
        Some(403) => CheckResult::pass("refused with 403"),
        Some(200..300) => CheckResult::fail(format!("{what} was let in: {}", seen.summary())),
        _ => CheckResult::fail(format!("{what} should be refused with 401; {}", seen.summary())),
    }
}

/// Fails unless a genuine delivery is accepted.
fn accepted(seen: &ProbeResult, what: &str) -> Result<(), CheckResult> {
    match seen.is_accepted() {
        true => Ok(()),
        false => Err(CheckResult::fail(format!("{what} was not accepted: {}", seen.summary()))),
    }
}
