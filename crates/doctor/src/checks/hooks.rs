//! Whether calls of hooks get through. Every one of them is a probe, which runs nothing.

use contract::canary::CANARY;
use emitter::Tamper;

use super::identity::arrived;
use super::refused;
use crate::answer::Seen;
use crate::check::{Checked, Finding};
use crate::probe::Probe;

/// Another name than the one in the path.
const ANOTHER: &str = "webhook-receiver.another";

pub(crate) async fn path(probe: &Probe) -> Checked {
    let seen = probe.unproven_call().await;
    let told = seen.told();
    Ok(match (seen.status(), seen.is_receivers()) {
        (Some(404 | 410), true) => Finding::fail(format!("{told}: no hooks have this path")),
        (Some(404 | 410), false) => Finding::fail(format!("{told}: it was not forwarded"))
            .mend("nginx: a location that matches the hooks' path, too, and has proxy_pass"),
        (Some(300..400), _) => Finding::fail(format!("{told}: calls are redirected"))
            .mend("remove the redirect for the hooks' path"),
        (Some(405 | 501..), _) | (None, _) => Finding::fail(told),
        (Some(_), _) => Finding::pass(format!("answered by {}", seen.who())),
    })
}

pub(crate) async fn key(probe: &Probe) -> Checked {
    let none = refused(probe.unproven_call().await, "a call without any proof");
    let proof = probe.target.keys.proof(0, Some(Tamper::Key))?;
    let wrong = probe.shoot(probe.call(&proof, CANARY, !probe.target.is_foreign)?).await;
    let wrong = refused(&wrong, "a call with an unknown key");
    Ok(if wrong.verdict > none.verdict { wrong } else { none })
}

pub(crate) async fn call(probe: &Probe) -> Checked {
    let seen = genuine(probe, CANARY, true).await?;
    let told = seen.told();
    Ok(match (seen.status(), seen.detail()) {
        (Some(200), _) if seen.echo().is_some() => Finding::pass("answered"),
        (Some(200), _) => Finding::fail(format!("{told}, but not taken for a probe"))
            .mend("let both ends have the same version of this program"),
        (_, Some(detail)) => Finding::fail(format!("{told}: {detail}")),
        (_, None) => Finding::fail(told),
    })
}

pub(crate) async fn token(probe: &Probe) -> Checked {
    let seen = genuine(probe, CANARY, false).await?;
    Ok(misunderstood(&seen, "a call without X-DirectScale-CallbackToken"))
}

pub(crate) async fn name(probe: &Probe) -> Checked {
    let seen = genuine(probe, ANOTHER, true).await?;
    Ok(misunderstood(&seen, "a call whose X-DirectScale-RequestName is not the path's"))
}

pub(crate) async fn headers(probe: &Probe) -> Checked {
    let request = probe.call(&probe.target.keys.proof(0, None)?, CANARY, true)?;
    let sent: Vec<String> = request.headers().keys().map(ToString::to_string).collect();
    let seen = probe.shoot(request).await;
    Ok(match seen.is_accepted() {
        true => arrived(&sent, &seen),
        false => Finding::skip("no call of a hook is answered"),
    })
}

async fn genuine(probe: &Probe, hook: &str, has_token: bool) -> anyhow::Result<Seen> {
    let proof = probe.target.keys.proof(0, None)?;
    Ok(probe.shoot(probe.call(&proof, hook, has_token)?).await)
}

/// A call that lacks what it needs must be refused with 400 and the reason.
fn misunderstood(seen: &Seen, what: &str) -> Finding {
    match (seen.status(), seen.detail()) {
        (Some(400), Some(detail)) => Finding::pass(format!("refused with 400: {detail}")),
        (Some(200..300), _) => Finding::fail(format!("{what} was let in: {}", seen.told())),
        _ => Finding::fail(format!("{what} should be refused with 400; {}", seen.told())),
    }
}
