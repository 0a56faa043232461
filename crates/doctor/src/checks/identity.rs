//! Checks of authentication: the sender's keys are accepted, and no others.

use std::sync::Arc;

use emitter::{Proof, Tamper};
use secrecy::{ExposeSecret, SecretString};

use super::{accepted, forged};
use crate::check::{CheckOutcome, CheckResult, CheckVerdict};
use crate::probe::Prober;
use crate::probe_result::ProbeResult;

pub(crate) async fn key(probe: &Prober) -> CheckOutcome {
    let seen = probe.baseline().await;
    let is_ours = !probe.target.is_foreign;
    Ok(match seen.status() {
        Some(200..300) if is_ours && seen.echo().is_none() => CheckResult::fail(
            "accepted, but not taken for a probe: the receiver is not this program, or an older one",
        )
        .mend("for another program use --foreign; else let both ends have the same version"),
        Some(200..300) => CheckResult::pass("accepted"),
        Some(401 | 403) if is_ours && !seen.is_receivers() => {
            CheckResult::fail(format!("{}: something before the receiver asks for a login", seen.summary()))
                .mend("nginx: no auth_basic, auth_request or allow/deny for the webhooks' location")
        }
        Some(401 | 403) => not_accepted(probe, seen).await,
        _ => CheckResult::fail(seen.summary()),
    })
}

/// The receiver's reason, if its inbox is on this machine; otherwise the possible reasons.
async fn not_accepted(probe: &Prober, seen: &ProbeResult) -> CheckResult {
    let text = seen.summary();
    let Some(reason) = probe.reason(seen).await else {
        let log = seen.request_id().map(|id| format!("; its log says more under {id}"));
        return CheckResult::fail(format!(
            "{text}: the key is not the receiver's, its header does not arrive, or the body was changed{}",
            log.unwrap_or_default()
        ));
    };
    let finding = CheckResult::fail(format!("{text}: {reason}"));
    match reason.strip_prefix("no ").and_then(|rest| rest.split_once(" header")) {
        Some((name, _)) => {
            finding.mend(format!("the header was removed on the way; nginx: {}", forwarded(name)))
        }
        None => finding,
    }
}

/// The nginx directive that forwards a header.
pub(super) fn forwarded(name: &str) -> String {
    let variable = name.to_ascii_lowercase().replace('-', "_");
    format!("proxy_set_header {name} $http_{variable};")
}

pub(crate) async fn none(probe: &Prober) -> CheckOutcome {
    forged(probe, Proof::default(), "a delivery without any proof").await
}

pub(crate) async fn wrong(probe: &Prober) -> CheckOutcome {
    let proof = probe.target.keys.proof(0, Some(Tamper::Key))?;
    forged(probe, proof, "a delivery with an unknown key").await
}

pub(crate) async fn short(probe: &Prober) -> CheckOutcome {
    let keys = &probe.target.keys;
    let mut cut = keys.bearer.first().map_or("", ExposeSecret::expose_secret).to_owned();
    cut.pop();
    let cut: SecretString = cut.trim_end().into();
    if cut.expose_secret().is_empty() {
        return Ok(CheckResult::skip("the key has one character"));
    }
    let signing = keys.style.clone().zip(keys.signing.get(..1));
    forged(probe, Proof::new(Some(&cut), signing, None)?, "a key that is cut short").await
}

pub(crate) async fn other_environments(probe: &Prober) -> CheckOutcome {
    for (name, keys) in &probe.target.other_environments {
        let what = format!("the key of source `{name}`");
        let finding = forged(probe, keys.proof(0, None)?, &what).await?;
        if finding.verdict != CheckVerdict::Pass {
            return Ok(finding);
        }
    }
    Ok(CheckResult::pass("refused"))
}

pub(crate) async fn keys(probe: &Prober) -> CheckOutcome {
    let count = probe.target.keys.count();
    let refused = not_taken(probe, 0..count).await?;
    Ok(match refused.is_empty() {
        true => CheckResult::pass(format!("all {count} keys are accepted")),
        false => CheckResult::fail(format!("not accepted: {}", refused.join(", "))),
    })
}

/// Tries each key with punctuation alone: a proxy may damage one and not another.
pub(crate) async fn punctuation(probe: &Prober) -> CheckOutcome {
    let is_marked =
        |key: &SecretString| key.expose_secret().contains(|c: char| c.is_ascii_punctuation());
    let bearer = probe.target.keys.bearer.iter().enumerate();
    let marked: Vec<usize> =
        bearer.filter(|(_, key)| is_marked(key)).map(|(index, _)| index).collect();
    if marked.is_empty() {
        return Ok(CheckResult::skip("no key has punctuation"));
    }
    let refused = not_taken(probe, marked).await?;
    Ok(match refused.is_empty() {
        true => CheckResult::pass("a key with punctuation is accepted"),
        false => CheckResult::fail(format!(
            "has punctuation, and is not accepted: {}",
            refused.join(", ")
        )),
    })
}

/// The keys with these indices that are not accepted, with the responses.
async fn not_taken(
    probe: &Prober,
    indices: impl IntoIterator<Item = usize>,
) -> anyhow::Result<Vec<String>> {
    let mut refused = Vec::new();
    for index in indices {
        let proof = Arc::new(probe.target.keys.proof(index, None)?);
        let seen = probe.send(&probe.message(proof, &[])?).await;
        if !seen.is_accepted() {
            refused.push(format!("key number {} ({})", index + 1, seen.summary()));
        }
    }
    Ok(refused)
}

pub(crate) async fn headers(probe: &Prober) -> CheckOutcome {
    let request = probe.genuine(&[])?.request()?;
    let sent: Vec<String> = request.headers().keys().map(ToString::to_string).collect();
    let seen = probe.send_request(request).await;
    accepted(&seen, "a delivery")?;
    Ok(arrived(&sent, &seen))
}

/// Passes if all of the headers arrived.
pub(super) fn arrived(sent: &[String], seen: &ProbeResult) -> CheckResult {
    let Some(echo) = seen.echo() else { return CheckResult::skip("the receiver did not tell") };
    let lost: Vec<&str> =
        sent.iter().filter(|name| !echo.headers.contains(name)).map(String::as_str).collect();
    match lost.first() {
        None => CheckResult::pass(format!("all {} arrive", sent.len())),
        Some(name) => CheckResult::fail(format!("lost on the way: {}", lost.join(", "))).mend(format!(
            "nginx: {} proxy_pass_request_headers on; and underscores_in_headers on; for names with _",
            forwarded(name)
        )),
    }
}
