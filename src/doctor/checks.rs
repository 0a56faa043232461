//! What the checks do, group by group.

pub(super) mod bodies;
pub(super) mod duplicates;
pub(super) mod exposure;
pub(super) mod identity;
pub(super) mod reach;
pub(super) mod signature;
pub(super) mod time;

use super::answer::Seen;
use super::check::Finding;

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

/// What could not even be built is the doctor's own fault, and said as such.
fn unsent(error: &anyhow::Error) -> Finding {
    Finding::skip(format!("could not be sent: {error:#}"))
}

/// Either finding: what a check that may end early returns.
fn either(finding: Result<Finding, Finding>) -> Finding {
    finding.unwrap_or_else(|early| early)
}
