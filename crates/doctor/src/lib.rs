//! Smoke test of a live webhook configuration: sends marked probes along the path of a sender's deliveries, and reports
//! each fault with its consequence for this sender and its remedy.
//!
//! It sends with the emitter's messages and proofs, so its results hold for real deliveries.
//!
//! It depends on the emitter and the inbox: it sends as a sender does, and reads beside a receiver.

mod args;
mod arrival;
mod check;
mod checks;
mod expect;
mod keys;
mod model;
mod precondition;
mod probe;
mod probe_result;
mod remark;
mod report;
mod run;
mod sender;
mod sender_pages;
mod setup_guide;
mod table;
mod target;
mod tls;

use contract::catalog::Table;
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use settings::Config;

use target::ProbeTarget;

pub use args::DoctorArgs;
pub use check::{CheckResult, CheckVerdict, DoctorCheck};
pub use expect::{ExpectReport, expect};
pub use report::{DoctorReport, ReportLine};
pub use setup_guide::{SetupGuideArgs, setup_guides};
pub use table::CHECKS;

/// The largest number of requests of one run.
pub const BUDGET: usize = 200;

/// Runs every check that applies and reports the results in the order of the table.
///
/// The future is boxed, so that it is compiled here and not in each program.
///
/// # Errors
/// If the arguments name no valid target: nothing is sent then.
pub fn examine<'a>(
    args: &'a DoctorArgs,
    catalog: &'a Table,
    config: &'a Config,
) -> LocalBoxFuture<'a, anyhow::Result<DoctorReport>> {
    let examine = async move {
        let checks = run::chosen(&args.only)?;
        run::run(ProbeTarget::new(args, catalog, config)?, &checks).await
    };
    examine.boxed_local()
}
