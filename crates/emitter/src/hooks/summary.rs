//! Output of a hook report: text for people, one JSON object for scripts.

use std::fmt;

use clap::builder::styling::{AnsiColor, Style};
use http::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;

use super::diff::{Change, Text};
use super::mock_vendor::{CallbackRecord, HOOKS};
use super::report::{CallResult, HookReport, ServiceResult};
use super::services::SERVICES;
use crate::summary::{millis, printable};

const OLD: Style = AnsiColor::Red.on_default();
const NEW: Style = AnsiColor::Green.on_default();
const TITLE: Style = Style::new().bold();

impl HookReport {
    /// The report as `--json` prints it.
    ///
    /// # Errors
    /// No known error: everything in it can be serialized.
    pub fn json(&self) -> serde_json::Result<String> {
        #[derive(Serialize)]
        struct ReportJson<'r> {
            planned: usize,
            as_expected: usize,
            hooks: Vec<HookJson<'r>>,
        }
        serde_json::to_string(&ReportJson {
            planned: self.planned,
            as_expected: self.as_expected(),
            hooks: self.calls.iter().map(HookJson::of).collect(),
        })
    }
}

#[derive(Serialize)]
struct HookJson<'r> {
    hook: &'r str,
    url: &'r str,
    took_ms: f64,
    request: Option<Box<RawValue>>,
    callbacks: Vec<CallbackJson<'r>>,
    extension_calls: Vec<ServiceJson<'r>>,
    before: Option<Vec<Change>>,
    after: Option<Vec<Change>>,
    status: Option<u16>,
    answer: Option<Box<RawValue>>,
    error: Option<&'r str>,
}

#[derive(Serialize)]
struct CallbackJson<'r> {
    hook: &'r str,
    user: Option<&'r str>,
    refusal: Option<&'static str>,
    request: Option<Box<RawValue>>,
    status: Option<u16>,
    response: Option<Box<RawValue>>,
}

#[derive(Serialize)]
struct ServiceJson<'r> {
    service: &'r str,
    method: &'r str,
    refusal: Option<&'static str>,
    request: Option<Box<RawValue>>,
    status: u16,
    response: Option<Box<RawValue>>,
    /// Of a posted event: the receiver's status, or the reason why there is none.
    delivered: Option<u16>,
    delivery_error: Option<&'r str>,
}

impl<'r> HookJson<'r> {
    fn of(call: &'r CallResult) -> Self {
        let answer = call.result.as_ref().ok();
        HookJson {
            hook: &call.hook,
            url: call.url.as_str(),
            took_ms: millis(call.took),
            request: raw(&call.request),
            callbacks: call.callbacks.iter().map(CallbackJson::of).collect(),
            extension_calls: call.services.iter().map(ServiceJson::of).collect(),
            before: call.before(),
            after: call.after(),
            status: answer.map(|answer| answer.status.as_u16()),
            answer: answer.and_then(|answer| raw(&answer.body)),
            error: call.result.as_ref().err().map(String::as_str),
        }
    }
}

impl<'r> CallbackJson<'r> {
    fn of(exchange: &'r CallbackRecord) -> Self {
        let answer = exchange.answer.as_ref();
        CallbackJson {
            hook: &exchange.hook,
            user: exchange.user.as_deref(),
            refusal: exchange.refusal.map(|refusal| refusal.as_str()),
            request: raw(&exchange.request),
            status: answer.map(|(status, _)| status.as_u16()),
            response: answer.and_then(|(_, body)| raw(body)),
        }
    }
}

impl<'r> ServiceJson<'r> {
    fn of(ServiceResult { call, delivered }: &'r ServiceResult) -> Self {
        let (status, response) = &call.answer;
        let delivered = delivered.as_ref();
        ServiceJson {
            service: &call.service,
            method: &call.method,
            refusal: call.refusal.map(|refusal| refusal.as_str()),
            request: raw(&call.request),
            status: status.as_u16(),
            response: raw(response),
            delivered: delivered.and_then(|it| it.as_ref().ok()).map(StatusCode::as_u16),
            delivery_error: delivered.and_then(|it| it.as_ref().err()).map(String::as_str),
        }
    }
}

/// A body digit for digit if it is JSON, otherwise as a string.
fn raw(body: &[u8]) -> Option<Box<RawValue>> {
    match Text::of(body) {
        Some(text) => Some(text.into_raw()),
        None => serde_json::value::to_raw_value(&String::from_utf8_lossy(body)).ok(),
    }
}

impl fmt::Display for HookReport {
    /// Writes colours, which the caller must strip where they are unwanted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for call in &self.calls {
            if self.planned == 1 || !self.is_call_as_expected(call) {
                write_exchanges(f, call)?;
            }
            write_end(f, call)?;
            write_changes(f, call)?;
            write_services(f, call)?;
        }
        if self.planned > 1 || !self.is_as_expected() {
            let (met, planned) = (self.as_expected(), self.planned);
            let what = if self.is_forged { "refused" } else { "answered 200" };
            writeln!(f, "{met} of {planned} {what}")?;
        }
        Ok(())
    }
}

/// Writes all requests and responses but the final status.
fn write_exchanges(f: &mut fmt::Formatter<'_>, call: &CallResult) -> fmt::Result {
    writeln!(f, "{TITLE}POST {}{TITLE:#}\n{}\n", call.url, line(&call.request))?;
    for callback in &call.callbacks {
        let hook = printable(callback.hook.as_bytes());
        write!(f, "{TITLE}callback POST {HOOKS}{hook}{TITLE:#}")?;
        if let Some(user) = &callback.user {
            write!(f, " for {}", printable(user.as_bytes()))?;
        }
        writeln!(f, "\n{}", line(&callback.request))?;
        match &callback.answer {
            Some((status, body)) => writeln!(f, "{status}\n{}\n", line(body))?,
            None => writeln!(f, "no answer\n")?,
        }
    }
    for ServiceResult { call, .. } in &call.services {
        let (service, method) =
            (printable(call.service.as_bytes()), printable(call.method.as_bytes()));
        writeln!(f, "{TITLE}extension POST {SERVICES}{service}/v1/{method}{TITLE:#}")?;
        let (status, body) = &call.answer;
        writeln!(f, "{}\n{status}\n{}\n", line(&call.request), line(body))?;
    }
    if let Ok(answer) = &call.result {
        writeln!(f, "{TITLE}answer{TITLE:#}\n{}\n", line(&answer.body))?;
    }
    Ok(())
}

fn write_end(f: &mut fmt::Formatter<'_>, call: &CallResult) -> fmt::Result {
    let took = millis(call.took);
    let hook = &call.hook;
    match &call.result {
        Ok(answer) => {
            let colour = if answer.status == StatusCode::OK { NEW } else { OLD };
            writeln!(
                f,
                "{TITLE}{hook}{TITLE:#}: {colour}{}{colour:#} in {took} ms",
                answer.status
            )?;
            match call.error_id() {
                Some(id) => {
                    writeln!(f, "  why it failed: webhook-receiver hooks list --error-id {id}")
                }
                None => Ok(()),
            }
        }
        Err(cause) => {
            writeln!(f, "{TITLE}{hook}{TITLE:#}: {OLD}no answer{OLD:#} after {took} ms: {cause}")
        }
    }
}

fn write_changes(f: &mut fmt::Formatter<'_>, call: &CallResult) -> fmt::Result {
    for refusal in call.callbacks.iter().filter_map(|callback| callback.refusal) {
        writeln!(f, "  a callback was refused: {refusal}")?;
    }
    let answered = call.result.as_ref().is_ok_and(|answer| answer.status == StatusCode::OK);
    match call.callback() {
        None if answered => writeln!(f, "  override: the callback was not used"),
        None => Ok(()),
        Some(_) => {
            write_part(f, "before the callback", call.before())?;
            write_part(f, "after the callback", call.after())
        }
    }
}

fn write_services(f: &mut fmt::Formatter<'_>, call: &CallResult) -> fmt::Result {
    for ServiceResult { call, delivered } in &call.services {
        let name = printable(format!("{}.{}", call.service, call.method).as_bytes());
        write!(f, "  extension call {name}: {}", call.answer.0)?;
        match delivered {
            None => writeln!(f)?,
            Some(Ok(status)) => writeln!(f, "; the event was delivered: {status}")?,
            Some(Err(cause)) => writeln!(f, "; the event was not delivered: {cause}")?,
        }
    }
    Ok(())
}

fn write_part(f: &mut fmt::Formatter<'_>, part: &str, changes: Option<Vec<Change>>) -> fmt::Result {
    let Some(changes) = changes else {
        return writeln!(f, "  {part}: nothing to compare");
    };
    if changes.is_empty() {
        return writeln!(f, "  {part}: nothing changed");
    }
    writeln!(f, "  {part}:")?;
    for Change { path, was, is } in &changes {
        let path = printable(path.as_bytes());
        for (sign, colour, side) in [('-', OLD, was), ('+', NEW, is)] {
            if let Some(text) = side {
                let text = printable(text.get().as_bytes());
                writeln!(f, "  {colour}{sign} {path}: {text}{colour:#}")?;
            }
        }
    }
    Ok(())
}

/// A body in one line if it is JSON, otherwise unchanged.
fn line(body: &[u8]) -> String {
    Text::of(body).map_or_else(|| printable(body), |text| printable(text.get().as_bytes()))
}
