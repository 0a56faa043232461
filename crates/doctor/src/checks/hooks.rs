//! Checks of hook calls. Each call is a probe, which runs nothing.

use contract::canary::CANARY;
use emitter::Tamper;

use super::identity::arrived;
use super::refused;
use crate::check::{CheckOutcome, CheckResult};
use crate::probe::Prober;
use crate::probe_result::ProbeResult;

/// A hook name that differs from the one in the path.
const ANOTHER: &str = "webhook-receiver.another";

pub(crate) async fn path(probe: &Prober) -> CheckOutcome {
    let seen = probe.unproven_call().await;
    let text = seen.summary();
    Ok(match (seen.status(), seen.is_receivers()) {
        (Some(404 | 410), true) => CheckResult::fail(format!("{text}: no hooks have this path")),
        (Some(404 | 410), false) => CheckResult::fail(format!("{text}: it was not forwarded"))
            .mend("nginx: a location that matches the hooks' path, too, and has proxy_pass"),
        (Some(300..400), _) => CheckResult::fail(format!("{text}: calls are redirected"))
            .mend("remove the redirect for the hooks' path"),
        (Some(405 | 501..), _) | (None, _) => CheckResult::fail(text),
        (Some(_), _) => CheckResult::pass(format!("answered by {}", seen.answered_by())),
    })
}

pub(crate) async fn key(probe: &Prober) -> CheckOutcome {
    let none = refused(probe.unproven_call().await, "a call without any proof");
    let proof = probe.target.keys.proof(0, Some(Tamper::Key))?;
    let wrong = probe.send_request(probe.call(&proof, CANARY, !probe.target.is_foreign)?).await;
    let wrong = refused(&wrong, "a call with an unknown key");
    Ok(if wrong.verdict > none.verdict { wrong } else { none })
}

pub(crate) async fn call(probe: &Prober) -> CheckOutcome {
    let seen = genuine(probe, CANARY, true).await?;
    let text = seen.summary();
    Ok(match (seen.status(), seen.detail()) {
        (Some(200), _) if seen.echo().is_some() => CheckResult::pass("answered"),
        (Some(200), _) => CheckResult::fail(format!("{text}, but not taken for a probe"))
            .mend("let both ends have the same version of this program"),
        (_, Some(detail)) => CheckResult::fail(format!("{text}: {detail}")),
        (_, None) => CheckResult::fail(text),
    })
}

pub(crate) async fn token(probe: &Prober) -> CheckOutcome {
    let seen = genuine(probe, CANARY, false).await?;
    Ok(misunderstood(&seen, "a call without X-DirectScale-CallbackToken"))
}

pub(crate) async fn name(probe: &Prober) -> CheckOutcome {
    let seen = genuine(probe, ANOTHER, true).await?;
    Ok(misunderstood(&seen, "a call whose X-DirectScale-RequestName is not the path's"))
}

pub(crate) async fn headers(probe: &Prober) -> CheckOutcome {
    let request = probe.call(&probe.target.keys.proof(0, None)?, CANARY, true)?;
    let sent: Vec<String> = request.headers().keys().map(ToString::to_string).collect();
    let seen = probe.send_request(request).await;
    Ok(match seen.is_accepted() {
        true => arrived(&sent, &seen),
        false => CheckResult::skip("no call of a hook is answered"),
    })
}

async fn genuine(probe: &Prober, hook: &str, has_token: bool) -> anyhow::Result<ProbeResult> {
    let proof = probe.target.keys.proof(0, None)?;
    Ok(probe.send_request(probe.call(&proof, hook, has_token)?).await)
}

/// Passes if an incomplete call is refused with 400 and the reason.
fn misunderstood(seen: &ProbeResult, what: &str) -> CheckResult {
    match (seen.status(), seen.detail()) {
        (Some(400), Some(detail)) => CheckResult::pass(format!("refused with 400: {detail}")),
        (Some(200..300), _) => CheckResult::fail(format!("{what} was let in: {}", seen.summary())),
        _ => CheckResult::fail(format!("{what} should be refused with 400; {}", seen.summary())),
    }
}
