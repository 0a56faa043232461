//! What the checks do, group by group.

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

use super::answer::Seen;
use super::check::{Checked, Finding};
use super::probe::Probe;

/// Sends a delivery with a proof that must not be taken.
async fn forged(probe: &Probe, proof: Proof, what: &str) -> Checked {
    let message = probe.message(Arc::new(proof), &[])?;
    Ok(refused(&probe.send(&message).await, what))
}

/// A forgery must be refused with 401.
fn refused(seen: &Seen, what: &str) -> Finding {
    match seen.status() {
        Some(401) => Finding::pass("refused with 401"),
        Some(403) => Finding::pass("refused with 403"),
        Some(200..300) => Finding::fail(format!("{what} was let in: {}", seen.told())),
        _ => Finding::fail(format!("{what} should be refused with 401; {}", seen.told())),
    }
}

/// A genuine delivery must be accepted.
fn accepted(seen: &Seen, what: &str) -> Result<(), Finding> {
    match seen.is_accepted() {
        true => Ok(()),
        false => Err(Finding::fail(format!("{what} was not accepted: {}", seen.told()))),
    }
}
