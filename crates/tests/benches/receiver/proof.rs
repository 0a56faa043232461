//! What it costs to check who sent a delivery, per sort of proof, in this process.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use signature::{Key, Scheme, Stamp};
use source::{Admission, Admitted, Source};

use crate::process::median;

/// Checks in every round of every row.
const CHECKS: u32 = 50_000;

/// Keys that all schemes of the table can read.
const KEYS: [&str; 5] = [
    "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTE=",
    "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTI=",
    "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTM=",
    "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTQ=",
    "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTU=",
];

/// An ed25519 key: any 32 bytes are one.
const PAIR: &str = "whsk_MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=";

/// Which keys sign.
#[derive(Clone, Copy)]
enum Signing {
    /// The last of the accepted ones, as when a key has been replaced.
    Last,
    /// Each in turn, backwards: then the right key is always tried last.
    Backwards,
}

/// Name, scheme, accepted keys, and which of them sign.
const ROWS: [(&str, Option<&str>, &[&str], Signing); 8] = [
    ("none", None, &[], Signing::Last),
    ("evolutionx, 1 key", Some("evolutionx"), &[KEYS[0]], Signing::Last),
    ("evolutionx, 5 keys", Some("evolutionx"), &KEYS, Signing::Last),
    ("evolutionx, 5 keys, worst order", Some("evolutionx"), &KEYS, Signing::Backwards),
    ("standard-webhooks, 1 key", Some("standard-webhooks"), &[KEYS[0]], Signing::Last),
    ("standard-webhooks, 5 keys", Some("standard-webhooks"), &KEYS, Signing::Last),
    (
        "standard-webhooks, 5 keys, worst order",
        Some("standard-webhooks"),
        &KEYS,
        Signing::Backwards,
    ),
    ("standard-webhooks, ed25519", Some("standard-webhooks"), &[PAIR], Signing::Last),
];

/// A source and requests that it accepts.
struct Case {
    source: Arc<Source>,
    requests: Vec<HeaderMap>,
    body: Bytes,
}

pub(crate) fn run(rounds: usize) -> anyhow::Result<()> {
    println!("checking a delivery of 1 KiB: median of {rounds} rounds of {CHECKS}\n");
    println!("{:<40} {:>8} {:>14}", "", "µs", "above none, µs");
    let cases: Vec<Case> = ROWS
        .iter()
        .map(|(_, scheme, keys, signing)| case(*scheme, keys, *signing))
        .collect::<anyhow::Result<_>>()?;
    let mut times = vec![Vec::new(); cases.len()];
    for _ in 0..rounds {
        for (case, times) in cases.iter().zip(&mut times) {
            times.push(once(case)?);
        }
    }
    let times: Vec<f64> = times.into_iter().map(median).collect();
    for ((name, ..), time) in ROWS.iter().zip(&times) {
        println!("{name:<40} {time:>8.2} {:>14.2}", time - times[0]);
    }
    Ok(())
}

/// The head of a request with these headers.
pub(crate) fn head(headers: HeaderMap) -> http::request::Parts {
    let mut head = http::Request::new(()).into_parts().0;
    head.headers = headers;
    head
}

/// Microseconds a check.
fn once(case: &Case) -> anyhow::Result<f64> {
    let started = Instant::now();
    for headers in case.requests.iter().cycle().take(CHECKS as usize) {
        let admitted = Admitted::admit(&case.source, head(headers.clone()), contract::time::now())?;
        black_box(admitted.verify(case.body.clone())?);
    }
    Ok(started.elapsed().as_secs_f64() * 1e6 / f64::from(CHECKS))
}

fn case(scheme: Option<&str>, keys: &[&str], signing: Signing) -> anyhow::Result<Case> {
    let body = Bytes::from(format!(r#"{{"Note":"{:x<1013}"}}"#, ""));
    let signers = match signing {
        Signing::Last => keys.iter().rev().take(1),
        Signing::Backwards => keys.iter().rev().take(keys.len()),
    };
    let (requests, proof) = match scheme {
        None => (vec![headers()?], "auth = \"none\"".to_owned()),
        Some(name) => {
            let row = Scheme::named(name).context("no such scheme")?;
            let requests = signers.map(|key| signed(&row, key, &body)).collect::<Result<_, _>>()?;
            (requests, format!("scheme = \"{name}\"\nsigning_keys = {keys:?}"))
        }
    };
    let settings = format!("[sources.bench]\ndialect = \"generic\"\n{proof}\n");
    let source = settings::parse(&settings, [], "bench")?.sources()?.remove(0);
    Ok(Case { source, requests, body })
}

fn headers() -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/json".parse()?);
    headers.insert("host", "127.0.0.1:8080".parse()?);
    Ok(headers)
}

fn signed(scheme: &Scheme, key: &str, body: &[u8]) -> anyhow::Result<HeaderMap> {
    let key = Key::new(scheme, &key.into())?;
    let stamp = Stamp { id: "msg_1", time: contract::time::now() };
    let mut headers = headers()?;
    for (name, value) in scheme.sign(&[&key], stamp, body)? {
        headers.insert(HeaderName::try_from(name)?, value);
    }
    Ok(headers)
}
