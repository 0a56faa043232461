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

use emitter::{Proof, is_refusal};
use http::StatusCode;

use super::check::{CheckOutcome, CheckResult};
use super::probe::Prober;
use super::probe_result::ProbeResult;

/// Sends a delivery with a proof that must be refused.
async fn forged(probe: &Prober, proof: Proof, what: &str) -> CheckOutcome {
    let message = probe.message(Arc::new(proof), &[])?;
    Ok(refused(&probe.send(&message).await, what))
}

/// Passes if a forgery is refused, with whatever status.
fn refused(seen: &ProbeResult, what: &str) -> CheckResult {
    let Some(status) = seen.status() else {
        return CheckResult::fail(format!("{what} should be refused; {}", seen.summary()));
    };
    match status {
        401 | 403 => CheckResult::pass(format!("refused with {status}")),
        200..300 => CheckResult::fail(format!("{what} was let in: {}", seen.summary())),
        _ if StatusCode::from_u16(status).is_ok_and(is_refusal) => {
            CheckResult::pass(format!("refused with {status}; 401 is usual"))
        }
        _ => CheckResult::warn(format!(
            "{what} was not let in, but not refused either: {}",
            seen.summary()
        ))
        .mend("answer what is not authentic with 401, so that the sender does not try it again"),
    }
}

/// Fails unless a genuine delivery is accepted.
fn accepted(seen: &ProbeResult, what: &str) -> Result<(), CheckResult> {
    match seen.is_accepted() {
        true => Ok(()),
        false => Err(CheckResult::fail(format!("{what} was not accepted: {}", seen.summary()))),
    }
}
