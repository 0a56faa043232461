//! Smoke-tests a live webhook configuration: sends marked probes the way that a sender's deliveries take, and says what is
//! wrong with it, why that matters for this sender, and what mends it.
//!
//! It sends with the emitter's messages and proofs, so what it finds holds for real deliveries.

mod answer;
mod args;
mod arrival;
mod card;
mod check;
mod checks;
mod expect;
mod keys;
mod model;
mod need;
mod note;
mod probe;
mod report;
mod retired;
mod run;
mod sender;
mod table;
mod target;
mod tls;

use contract::catalog::Table;
use settings::Config;

use target::Target;

pub use args::DoctorArgs;
pub use card::{CardArgs, cards};
pub use check::{Check, Finding, Verdict};
pub use expect::{Expected, expect};
pub use report::{Line, Report};
pub use sender::Sender;
pub use table::CHECKS;

/// The most requests that one run sends.
pub const BUDGET: usize = 200;

/// Runs every check that applies and reports what each has found, in the order of the table.
///
/// # Errors
/// If the arguments name no target that can be spoken to: nothing is sent then.
pub async fn examine(
    args: &DoctorArgs,
    catalog: &Table,
    config: &Config,
) -> anyhow::Result<Report> {
    let checks = run::chosen(&args.only)?;
    run::run(Target::new(args, catalog, config)?, &checks).await
}
