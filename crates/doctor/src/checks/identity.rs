//! Whether the sender is recognised, and nobody else.

use std::sync::Arc;

use emitter::{Proof, Tamper};
use secrecy::{ExposeSecret, SecretString};

use super::{accepted, forged};
use crate::answer::Seen;
use crate::check::{Checked, Finding, Verdict};
use crate::probe::Probe;

pub(crate) async fn key(probe: &Probe) -> Checked {
    let seen = probe.baseline().await;
    let is_ours = !probe.target.is_foreign;
    Ok(match seen.status() {
        Some(200..300) if is_ours && seen.echo().is_none() => Finding::fail(
            "accepted, but not taken for a probe: the receiver is not this program, or an older one",
        )
        .mend("for another program use --foreign; else let both ends have the same version"),
        Some(200..300) => Finding::pass("accepted"),
        Some(401 | 403) if is_ours && !seen.is_receivers() => {
            Finding::fail(format!("{}: something before the receiver asks for a login", seen.told()))
                .mend("nginx: no auth_basic, auth_request or allow/deny for the webhooks' location")
        }
        Some(401 | 403) => not_accepted(probe, seen).await,
        _ => Finding::fail(seen.told()),
    })
}

/// The receiver's own reason, if its inbox is on this machine; else what it may be.
async fn not_accepted(probe: &Probe, seen: &Seen) -> Finding {
    let told = seen.told();
    let Some(reason) = probe.reason(seen).await else {
        let log = seen.request_id().map(|id| format!("; its log says more under {id}"));
        return Finding::fail(format!(
            "{told}: the key is not the receiver's, its header does not arrive, or the body was changed{}",
            log.unwrap_or_default()
        ));
    };
    let finding = Finding::fail(format!("{told}: {reason}"));
    match reason.strip_prefix("no ").and_then(|rest| rest.split_once(" header")) {
        Some((name, _)) => {
            finding.mend(format!("the header was removed on the way; nginx: {}", forwarded(name)))
        }
        None => finding,
    }
}

/// The directive that lets a header through.
pub(super) fn forwarded(name: &str) -> String {
    let variable = name.to_ascii_lowercase().replace('-', "_");
    format!("proxy_set_header {name} $http_{variable};")
}

pub(crate) async fn none(probe: &Probe) -> Checked {
    forged(probe, Proof::default(), "a delivery without any proof").await
}

pub(crate) async fn wrong(probe: &Probe) -> Checked {
    let proof = probe.target.keys.proof(0, Some(Tamper::Key))?;
    forged(probe, proof, "a delivery with an unknown key").await
}

pub(crate) async fn short(probe: &Probe) -> Checked {
    let keys = &probe.target.keys;
    let mut cut = keys.bearer.first().map_or("", ExposeSecret::expose_secret).to_owned();
    cut.pop();
    let cut: SecretString = cut.trim_end().into();
    if cut.expose_secret().is_empty() {
        return Ok(Finding::skip("the key has one character"));
    }
    let signing = keys.style.clone().zip(keys.signing.get(..1));
    forged(probe, Proof::new(Some(&cut), signing, None)?, "a key that is cut short").await
}

pub(crate) async fn rivals(probe: &Probe) -> Checked {
    for (name, keys) in &probe.target.rivals {
        let what = format!("the key of source `{name}`");
        let finding = forged(probe, keys.proof(0, None)?, &what).await?;
        if finding.verdict != Verdict::Pass {
            return Ok(finding);
        }
    }
    Ok(Finding::pass("refused with 401"))
}

pub(crate) async fn keys(probe: &Probe) -> Checked {
    let count = probe.target.keys.count();
    let refused = not_taken(probe, 0..count).await?;
    Ok(match refused.is_empty() {
        true => Finding::pass(format!("all {count} keys are accepted")),
        false => Finding::fail(format!("not accepted: {}", refused.join(", "))),
    })
}

/// Each key with punctuation is tried by itself: what spoils one may let another through.
pub(crate) async fn punctuation(probe: &Probe) -> Checked {
    let is_marked =
        |key: &SecretString| key.expose_secret().contains(|c: char| c.is_ascii_punctuation());
    let bearer = probe.target.keys.bearer.iter().enumerate();
    let marked: Vec<usize> =
        bearer.filter(|(_, key)| is_marked(key)).map(|(place, _)| place).collect();
    if marked.is_empty() {
        return Ok(Finding::skip("no key has punctuation"));
    }
    let refused = not_taken(probe, marked).await?;
    Ok(match refused.is_empty() {
        true => Finding::pass("a key with punctuation is accepted"),
        false => {
            Finding::fail(format!("has punctuation, and is not accepted: {}", refused.join(", ")))
        }
    })
}

/// Those of the keys at these places that are not accepted, with their answers.
async fn not_taken(
    probe: &Probe,
    places: impl IntoIterator<Item = usize>,
) -> anyhow::Result<Vec<String>> {
    let mut refused = Vec::new();
    for place in places {
        let proof = Arc::new(probe.target.keys.proof(place, None)?);
        let seen = probe.send(&probe.message(proof, &[])?).await;
        if !seen.is_accepted() {
            refused.push(format!("key number {} ({})", place + 1, seen.told()));
        }
    }
    Ok(refused)
}

pub(crate) async fn headers(probe: &Probe) -> Checked {
    let request = probe.genuine(&[])?.request()?;
    let sent: Vec<String> = request.headers().keys().map(ToString::to_string).collect();
    let seen = probe.shoot(request).await;
    accepted(&seen, "a delivery")?;
    Ok(arrived(&sent, &seen))
}

/// Whether all of the headers arrived.
pub(super) fn arrived(sent: &[String], seen: &Seen) -> Finding {
    let Some(echo) = seen.echo() else { return Finding::skip("the receiver did not tell") };
    let lost: Vec<&str> =
        sent.iter().filter(|name| !echo.headers.contains(name)).map(String::as_str).collect();
    match lost.first() {
        None => Finding::pass(format!("all {} arrive", sent.len())),
        Some(name) => Finding::fail(format!("lost on the way: {}", lost.join(", "))).mend(format!(
            "nginx: {} proxy_pass_request_headers on; and underscores_in_headers on; for names with _",
            forwarded(name)
        )),
    }
}
