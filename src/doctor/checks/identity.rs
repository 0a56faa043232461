//! Whether the sender is recognised, and nobody else.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::{either, refused, unsent};
use crate::doctor::answer::Seen;
use crate::doctor::check::Finding;
use crate::doctor::probe::Probe;
use crate::doctor::target::Keys;
use crate::emitter::{Proof, Tamper};

pub(in crate::doctor) async fn key(probe: &Probe) -> Finding {
    let seen = probe.baseline().await;
    match seen.status() {
        Some(200..300) if !probe.target.is_foreign && seen.echo().is_none() => Finding::fail(
            "accepted, but not taken for a probe: the receiver is not this program, or its event's name was changed on the way",
        )
        .mend("for another program use --foreign; here, let every header of the sender through"),
        Some(200..300) => Finding::pass("accepted"),
        Some(401 | 403) if !seen.is_receivers() && !probe.target.is_foreign => {
            Finding::fail(format!("{}: something before the receiver asks for a login", seen.told()))
                .mend("nginx: no auth_basic, auth_request or allow/deny for the webhooks' location")
        }
        Some(401 | 403) => not_accepted(probe, seen).await,
        _ => Finding::fail(seen.told()),
    }
}

/// The receiver's own reason, if its inbox is on this machine; else what it may be.
async fn not_accepted(probe: &Probe, seen: &Seen) -> Finding {
    let told = seen.told();
    match probe.reason(seen).await {
        Some(reason) => {
            let stripped = reason.contains("no ") && reason.contains("header");
            let finding = Finding::fail(format!("{told}: {reason}"));
            match stripped {
                true => finding.mend(
                    "the header was removed on the way; nginx: proxy_set_header Authorization $http_authorization; and no proxy_pass_request_headers off;",
                ),
                false => finding,
            }
        }
        None => Finding::fail(format!(
            "{told}: the key is not the receiver's, its header does not arrive, or the body was changed{}",
            seen.request_id()
                .map(|id| format!("; its log says more under {id}"))
                .unwrap_or_default()
        )),
    }
}

pub(in crate::doctor) async fn none(probe: &Probe) -> Finding {
    forged(probe, Ok(Proof::default()), "a delivery without any proof").await
}

pub(in crate::doctor) async fn wrong(probe: &Probe) -> Finding {
    forged(probe, probe.target.keys.proof(0, Some(Tamper::Key)), "a delivery with an unknown key")
        .await
}

pub(in crate::doctor) async fn short(probe: &Probe) -> Finding {
    let Some(key) = probe.target.keys.bearer.first() else { return Finding::skip("no bearer key") };
    let text = key.expose_secret();
    let Some((last, _)) = text.char_indices().last().filter(|(last, _)| *last > 0) else {
        return Finding::skip("the key has one character");
    };
    let cut: SecretString = text[..last].trim_end().into();
    forged(probe, proof_with(&probe.target.keys, &cut), "a key that is cut short").await
}

/// The source's proof with another bearer key.
fn proof_with(keys: &Keys, bearer: &SecretString) -> anyhow::Result<Proof> {
    Proof::new(Some(bearer), keys.style.clone().zip(keys.signing.get(..1)), None)
}

pub(in crate::doctor) async fn rivals(probe: &Probe) -> Finding {
    for (name, keys) in &probe.target.rivals {
        let what = format!("the key of source `{name}`");
        let finding = forged(probe, keys.proof(0, None), &what).await;
        if finding.seen.contains(&what) {
            return finding;
        }
    }
    Finding::pass("refused with 401")
}

async fn forged(probe: &Probe, proof: anyhow::Result<Proof>, what: &str) -> Finding {
    match proof.and_then(|proof| probe.message(Arc::new(proof), &[])) {
        Ok(message) => refused(&probe.send(&message).await, what),
        Err(error) => unsent(&error),
    }
}

pub(in crate::doctor) async fn keys(probe: &Probe) -> Finding {
    let mut refused = Vec::new();
    for place in 0..probe.target.keys.count() {
        let seen = match with_key(probe, place).await {
            Ok(seen) => seen,
            Err(error) => return unsent(&error),
        };
        if !seen.is_accepted() {
            refused.push(format!("number {} ({})", place + 1, seen.told()));
        }
    }
    match refused.is_empty() {
        true => Finding::pass(format!("all {} keys are accepted", probe.target.keys.count())),
        false => Finding::fail(format!("not accepted: {}", refused.join(", "))),
    }
}

async fn with_key(probe: &Probe, place: usize) -> anyhow::Result<Seen> {
    let proof = probe.target.keys.proof(place, None)?;
    Ok(probe.send(&probe.message(Arc::new(proof), &[])?).await)
}

/// Each key with punctuation is tried by itself: what spoils one may let another through.
pub(in crate::doctor) async fn punctuation(probe: &Probe) -> Finding {
    let mut seen_any = false;
    for (place, key) in probe.target.keys.bearer.iter().enumerate() {
        let marks: String =
            key.expose_secret().chars().filter(char::is_ascii_punctuation).collect();
        if marks.is_empty() {
            continue;
        }
        seen_any = true;
        match with_key(probe, place).await {
            Ok(seen) if seen.is_accepted() => {}
            Ok(seen) => {
                return Finding::fail(format!(
                    "key number {} has punctuation and was not accepted: {}",
                    place + 1,
                    seen.told()
                ));
            }
            Err(error) => return unsent(&error),
        }
    }
    match seen_any {
        true => Finding::pass("a key with punctuation is accepted"),
        false => Finding::skip("no key has punctuation"),
    }
}

pub(in crate::doctor) async fn headers(probe: &Probe) -> Finding {
    either(try_headers(probe).await)
}

async fn try_headers(probe: &Probe) -> Result<Finding, Finding> {
    let message = probe.genuine(&[]).map_err(|error| unsent(&error))?;
    let request = message.request().map_err(|error| unsent(&error))?;
    let sent: Vec<String> = request.headers().keys().map(ToString::to_string).collect();
    let seen = probe.shoot(Ok(request)).await;
    super::accepted(&seen, "a delivery")?;
    let Some(echo) = seen.echo() else { return Err(Finding::skip("the receiver did not tell")) };
    let lost: Vec<&str> =
        sent.iter().filter(|name| !echo.headers.contains(name)).map(String::as_str).collect();
    Ok(match lost.is_empty() {
        true => Finding::pass(format!("all {} arrive", sent.len())),
        false => Finding::fail(format!("lost on the way: {}", lost.join(", "))),
    })
}
