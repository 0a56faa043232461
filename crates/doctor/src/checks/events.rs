//! Whether every event has its way to a handler.

use contract::canary::CANARY;

use crate::answer::Seen;
use crate::check::{Checked, Finding};
use crate::probe::Probe;

pub(crate) async fn routes(probe: &Probe) -> Checked {
    let (mut missing, mut unhandled) = (Vec::new(), Vec::new());
    for event in &probe.target.events {
        let seen = asked(probe, event).await?;
        if !seen.is_accepted() {
            missing.push(format!("{event} ({})", seen.told()));
        } else if seen.echo().is_none_or(|echo| echo.handles.is_none()) {
            unhandled.push(event.as_str());
        }
    }
    Ok(match (missing.is_empty(), unhandled.is_empty()) {
        (true, true) => {
            Finding::pass(format!("{} events are routed and handled", probe.target.events.len()))
        }
        (false, _) => Finding::fail(format!("not routed: {}", missing.join(", "))),
        (true, false) => Finding::fail(format!("no handler takes {}", unhandled.join(", ")))
            .mend("register a handler with .on(…) in src/handlers/, or do not subscribe to it"),
    })
}

/// A canary to the event's own URL that asks who would handle the event.
async fn asked(probe: &Probe, event: &str) -> anyhow::Result<Seen> {
    let mut message = probe.genuine(&[(CANARY, &serde_json::Value::from(event).to_string())])?;
    message.url = probe.target.url_for(event)?;
    Ok(probe.send(&message).await)
}
