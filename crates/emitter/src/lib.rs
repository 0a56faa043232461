//! The emitter, the sender's half: posts events to a receiver exactly as their vendor would, once or many times.
//!
//! It shares the catalog's samples and the dialects' header names with the receiver, and none of its code.
//!
//! It depends on the settings and what is below them, and knows nothing of the inbox and the receiver.

mod args;
mod attempt;
mod body;
mod dry_run;
pub mod hooks;
pub mod message;
mod plan;
pub mod proof;
mod report;
mod run;
mod schedule;
pub mod send_as;
pub mod set;
mod summary;
pub mod target;

use std::io::Write;
use std::process::ExitCode;

use contract::catalog::Table;
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use settings::Config;
use text::inert_lines;

pub use args::EmitArgs;
pub use message::{Message, fresh_id};
pub use plan::Plan;
pub use proof::{Proof, Tamper};
pub use report::{EmitReport, is_refusal};
pub use run::send;
pub use send_as::{SendAs, SigningMethod};
pub use set::put;

/// The outcome of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunOutcome {
    /// Every message was answered 2xx, every forgery 401, or nothing was to be sent.
    AsExpected,
    /// At least one message was answered differently, not answered or not sent.
    Unexpected,
}

impl From<RunOutcome> for ExitCode {
    fn from(verdict: RunOutcome) -> Self {
        ExitCode::from(match verdict {
            RunOutcome::AsExpected => 0,
            RunOutcome::Unexpected => 1,
        })
    }
}

/// Sends the messages that the arguments name and prints a report. An error means that nothing was sent: exit code 2.
///
/// The future is boxed, so that it is compiled here and not in each program.
///
/// # Errors
/// If the plan is invalid, no client can be set up or the output cannot be written.
pub fn run<'a>(
    args: EmitArgs,
    catalog: &'a Table,
    config: &'a Config,
) -> LocalBoxFuture<'a, anyhow::Result<RunOutcome>> {
    emit(args, catalog, config).boxed_local()
}

async fn emit(args: EmitArgs, catalog: &Table, config: &Config) -> anyhow::Result<RunOutcome> {
    if args.hooks.is_asked() {
        return hooks::run(&args, catalog, config).await;
    }
    let plan = Plan::new(&args, catalog, config)?;
    for warning in plan.warnings() {
        eprintln!("warning: {}", inert_lines(&warning.to_string()));
    }
    if args.dry_run {
        print(if args.json { plan.json()?.to_string() } else { plan.to_string() })?;
        return Ok(RunOutcome::AsExpected);
    }
    let report = send(&plan, interrupt()).await?;
    print(if args.json { report.json().to_string() } else { report.to_string() })?;
    Ok(if report.is_as_expected() { RunOutcome::AsExpected } else { RunOutcome::Unexpected })
}

/// Ready at the first Ctrl-C; the second ends the process.
async fn interrupt() {
    if tokio::signal::ctrl_c().await.is_err() {
        return std::future::pending().await;
    }
    eprintln!("stopping: waiting for open requests; Ctrl-C again to leave at once");
    tokio::spawn(async {
        let _ = tokio::signal::ctrl_c().await;
        std::process::exit(130);
    });
}

fn print(text: String) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{}", inert_lines(text.trim_end()))
}
