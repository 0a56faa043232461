//! Hook calls: calls hooks as their vendor would, beside a mock of the vendor's callback and Extension
//! API, and shows what the hooks changed and called.

mod args;
mod behaviour;
mod diff;
mod mock_vendor;
mod plan;
mod report;
mod request;
mod services;
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
use super::{EmitArgs, RunOutcome, interrupt};
use plan::PlannedCall;
use report::{CallResult, ServiceResult};

pub use args::HookArgs;
pub use behaviour::{Logic, VendorBehaviour};
pub use mock_vendor::{CallbackRecord, MockVendor};
pub use plan::HookPlan;
pub use report::HookReport;
pub use request::HookRequest;
pub use services::{PostedEvents, ServiceRecord};
pub use tokens::CallbackRefusal;

/// The largest response that is compared, in bytes.
const ANSWER_LIMIT: usize = 8 * 1024 * 1024;

/// One difference between two JSON documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonChange {
    /// Path of the value, such as `LineItems[0].ItemId`; `.` is the document itself.
    pub path: String,
    /// The old value, as compact JSON text; none if it was added.
    pub was: Option<String>,
    /// The new value; none if it was removed.
    pub is: Option<String>,
}

/// The differences between two JSON documents; none if one of the two is not JSON.
pub fn changes(was: &[u8], is: &[u8]) -> Option<Vec<JsonChange>> {
    let (was, is) = (diff::Text::of(was)?, diff::Text::of(is)?);
    let text = |text: Option<diff::Text>| text.map(|text| text.get().to_owned());
    let change =
        |one: diff::Change| JsonChange { path: one.path, was: text(one.was), is: text(one.is) };
    Some(diff::diff(&was, &is).into_iter().map(change).collect())
}

/// Calls the hooks that the arguments name and prints a report.
pub(super) async fn run(
    args: &EmitArgs,
    catalog: &Table,
    config: &Config,
) -> anyhow::Result<RunOutcome> {
    let plan = HookPlan::new(args, catalog, config)?;
    if args.dry_run {
        print(if args.json { plan.json()?.to_string() } else { plan.to_string() })?;
        return Ok(RunOutcome::AsExpected);
    }
    let report = call(&plan, interrupt()).await?;
    print(if args.json { inert_lines(&report.json()?).into_owned() } else { report.to_string() })?;
    Ok(if report.is_as_expected() { RunOutcome::AsExpected } else { RunOutcome::Unexpected })
}

/// Calls the plan's hooks one after the other, beside the mock vendor; once `stop` is ready, starts no further call.
///
/// # Errors
/// If the mock vendor or the HTTP client cannot be set up. The failure of a call is in the report.
pub async fn call(plan: &HookPlan, stop: impl Future<Output = ()>) -> anyhow::Result<HookReport> {
    let https = plan.calls.iter().any(|call| call.url.scheme() == "https");
    let client = client(https, Some(plan.timeout))?;
    let vendor = plan.start_vendor().await?;
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
    call: &PlannedCall,
    vendor: &MockVendor,
) -> anyhow::Result<CallResult> {
    let (headers, body) = plan.signed(call, &vendor.token(&call.hook)?)?;
    let request = request(call.url.clone(), headers, body.clone())?;
    let start = Instant::now();
    let result = execute(client, request, ANSWER_LIMIT).await;
    let took = start.elapsed();
    let mut services = Vec::new();
    for call in vendor.take_service_calls() {
        let delivered = match call.posted_event() {
            Some(event) => Some(plan.deliver(event.clone()).await),
            None => None,
        };
        services.push(ServiceResult { call, delivered });
    }
    Ok(CallResult {
        hook: call.hook.clone(),
        url: call.url.clone(),
        request: body,
        took,
        callbacks: vendor.take_callbacks(),
        services,
        result,
    })
}

/// Prints with colours if standard output is a terminal that supports them.
fn print(text: String) -> std::io::Result<()> {
    writeln!(anstream::stdout(), "{}", text.trim_end())
}
