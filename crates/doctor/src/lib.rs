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

use contract::catalog::{EventRow, Table};
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use serde_json::Value;
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

/// The fit of a body to its event's model: remarks, the worst of which is the verdict, and the lines that would make it fit.
pub fn model_fit(
    row: &EventRow,
    body: &[u8],
    payload: &Value,
) -> (Vec<(CheckVerdict, String)>, Option<String>) {
    let model::ModelFit { notes, diff } = model::fit(row, body, payload);
    (notes.into_iter().map(|note| (note.verdict, note.text)).collect(), diff)
}

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
