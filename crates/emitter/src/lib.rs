//! The sender's half: posts events to a receiver exactly as their vendor would, once or many times.
//!
//! It shares the catalog's samples and the dialects' header names with the receiver, and none of its code.

mod args;
mod attempt;
mod body;
mod dry_run;
pub mod hooks;
pub mod message;
mod plan;
pub mod proof;
mod report;
mod schedule;
pub mod set;
pub mod speaker;
mod summary;
pub mod target;
mod volley;

use std::io::Write;
use std::process::ExitCode;

use contract::catalog::Table;
use settings::Config;
use text::inert_lines;

pub use args::EmitArgs;
pub use message::{Message, fresh_id};
pub use plan::Plan;
pub use proof::{Proof, Tamper};
pub use report::Report;
pub use set::put;
pub use speaker::{Speaker, Style};
pub use volley::send;

/// Whether everything that was to be sent was answered as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Every message was answered 2xx, every forgery 401, or nothing was to be sent.
    AsExpected,
    /// At least one message was answered otherwise, not answered or not sent.
    Otherwise,
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> Self {
        ExitCode::from(match verdict {
            Verdict::AsExpected => 0,
            Verdict::Otherwise => 1,
        })
    }
}

/// Sends what the arguments ask for and prints what came of it. An error means that nothing was sent: exit code 2.
///
/// # Errors
/// If the plan does not hold, no client can be set up or the output cannot be written.
pub async fn run(args: EmitArgs, catalog: &Table, config: &Config) -> anyhow::Result<Verdict> {
    if args.hooks.is_asked() {
        return hooks::run(&args, catalog, config).await;
    }
    let plan = Plan::new(&args, catalog, config)?;
    for warning in plan.warnings() {
        eprintln!("warning: {}", inert_lines(&warning.to_string()));
    }
    if args.dry_run {
        print(if args.json { plan.json()?.to_string() } else { plan.to_string() })?;
        return Ok(Verdict::AsExpected);
    }
    let report = send(&plan, interrupt()).await?;
    print(if args.json { report.json().to_string() } else { report.to_string() })?;
    Ok(if report.is_as_expected() { Verdict::AsExpected } else { Verdict::Otherwise })
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
