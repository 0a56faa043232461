//! Calls hooks as their vendor would, with the vendor's own logic played beside it, and shows what the hooks changed.

mod args;
mod diff;
mod manner;
mod plan;
mod report;
mod request;
mod stand_in;
mod summary;
mod tokens;

use std::io::Write;
use std::pin::pin;
use std::time::Instant;

use client::client;
use contract::catalog::Table;
use reqwest::Client;
use settings::Config;
use text::inert_lines;

use super::attempt::execute;
use super::message::request;
use super::{EmitArgs, Verdict, interrupt};
use plan::Call;
use report::Called;

pub use args::HookArgs;
pub use manner::{Logic, Manner};
pub use plan::HookPlan;
pub use report::HookReport;
pub use request::Said;
pub use stand_in::{Exchange, StandIn};
pub use tokens::Refusal;

/// The largest answer that is compared, in bytes.
const ANSWER_LIMIT: usize = 8 * 1024 * 1024;

/// Calls what the arguments ask for and prints what came of it.
pub(super) async fn run(
    args: &EmitArgs,
    catalog: &Table,
    config: &Config,
) -> anyhow::Result<Verdict> {
    let plan = HookPlan::new(args, catalog, config)?;
    if args.dry_run {
        print(if args.json { plan.json()?.to_string() } else { plan.to_string() })?;
        return Ok(Verdict::AsExpected);
    }
    let report = call(&plan, interrupt()).await?;
    print(if args.json { inert_lines(&report.json()?).into_owned() } else { report.to_string() })?;
    Ok(if report.is_as_expected() { Verdict::AsExpected } else { Verdict::Otherwise })
}

/// Calls the plan's hooks one after the other while the vendor is played; once `stop` is ready, no further one.
///
/// # Errors
/// If the vendor cannot be played or no HTTP client can be set up. What happens to a call is in the report.
pub async fn call(plan: &HookPlan, stop: impl Future<Output = ()>) -> anyhow::Result<HookReport> {
    let https = plan.calls.iter().any(|call| call.url.scheme() == "https");
    let client = client(https, Some(plan.timeout))?;
    let vendor = plan.play_vendor().await?;
    let mut calls = Vec::new();
    let (mut stop, mut stopped) = (pin!(stop), false);
    for planned in &plan.calls {
        let mut calling = pin!(call_one(&client, plan, planned, &vendor));
        let called = loop {
            tokio::select! {
                biased;
                () = &mut stop, if !stopped => stopped = true,
                called = &mut calling => break called?,
            }
        };
        calls.push(called);
        if stopped {
            break;
        }
    }
    vendor.stop().await;
    Ok(HookReport { planned: plan.calls.len(), is_forged: plan.is_forged, calls })
}

async fn call_one(
    client: &Client,
    plan: &HookPlan,
    call: &Call,
    vendor: &StandIn,
) -> anyhow::Result<Called> {
    let (headers, body) = plan.signed(call, &vendor.token(&call.hook)?)?;
    let request = request(call.url.clone(), headers, body.clone())?;
    let start = Instant::now();
    let result = execute(client, request, ANSWER_LIMIT).await;
    Ok(Called {
        hook: call.hook.clone(),
        url: call.url.clone(),
        request: body,
        took: start.elapsed(),
        callbacks: vendor.take_seen(),
        result,
    })
}

/// Prints with colours if that is a terminal that wants them.
fn print(text: String) -> std::io::Result<()> {
    writeln!(anstream::stdout(), "{}", text.trim_end())
}
