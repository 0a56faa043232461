//! Checks of events: each one is routed to a handler.

use contract::canary::CANARY;

use crate::check::{CheckOutcome, CheckResult};
use crate::probe::Prober;
use crate::probe_result::ProbeResult;

pub(crate) async fn routes(probe: &Prober) -> CheckOutcome {
    let (mut missing, mut unhandled) = (Vec::new(), Vec::new());
    for event in &probe.target.events {
        let seen = asked(probe, event).await?;
        if !seen.is_accepted() {
            missing.push(format!("{event} ({})", seen.summary()));
        } else if seen.echo().is_none_or(|echo| echo.handles.is_none()) {
            unhandled.push(event.as_str());
        }
    }
    Ok(match (missing.is_empty(), unhandled.is_empty()) {
        (true, true) => CheckResult::pass(format!(
            "{} events are routed and handled",
            probe.target.events.len()
        )),
        (false, _) => CheckResult::fail(format!("not routed: {}", missing.join(", "))),
        (true, false) => CheckResult::fail(format!("no handler takes {}", unhandled.join(", ")))
            .mend("register a handler with .on(…) in src/handlers/, or do not subscribe to it"),
    })
}

/// Sends a canary to the event's own URL that asks for the event's handler.
async fn asked(probe: &Prober, event: &str) -> anyhow::Result<ProbeResult> {
    let mut message = probe.genuine(&[(CANARY, &serde_json::Value::from(event).to_string())])?;
    message.url = probe.target.url_for(event)?;
    Ok(probe.send(&message).await)
}
