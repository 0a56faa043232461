//! What it costs to check who sent a delivery, per sort of proof, in this process.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use webhook_receiver::config;
use webhook_receiver::signature::{Key, Scheme, Stamp};
use webhook_receiver::source::Source;

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

/// Name, scheme, accepted keys; the last key signs.
const ROWS: [(&str, Option<&str>, &[&str]); 7] = [
    ("none", None, &[]),
    ("evolutionx, 1 key", Some("evolutionx"), &[KEYS[0]]),
    ("evolutionx, the last of 5 keys", Some("evolutionx"), &KEYS),
    ("stripe, the last of 5 keys", Some("stripe"), &KEYS),
    ("standard-webhooks, 1 key", Some("standard-webhooks"), &[KEYS[0]]),
    ("standard-webhooks, the last of 5 keys", Some("standard-webhooks"), &KEYS),
    ("standard-webhooks, ed25519", Some("standard-webhooks"), &[PAIR]),
];

/// A source and a request that it accepts.
struct Case {
    source: Arc<Source>,
    headers: HeaderMap,
    body: Bytes,
}

pub(crate) fn run(rounds: usize) -> anyhow::Result<()> {
    println!("checking a delivery of 1 KiB: median of {rounds} rounds of {CHECKS}\n");
    println!("{:<40} {:>8} {:>14}", "", "µs", "above none, µs");
    let cases: Vec<Case> =
        ROWS.iter().map(|(_, scheme, keys)| case(*scheme, keys)).collect::<anyhow::Result<_>>()?;
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

/// Microseconds a check.
fn once(case: &Case) -> anyhow::Result<f64> {
    let started = Instant::now();
    for _ in 0..CHECKS {
        let admitted = case.source.admit(case.headers.clone(), None, chrono::Utc::now())?;
        black_box(admitted.verify(case.body.clone())?);
    }
    Ok(started.elapsed().as_secs_f64() * 1e6 / f64::from(CHECKS))
}

fn case(scheme: Option<&str>, keys: &[&str]) -> anyhow::Result<Case> {
    let body = Bytes::from(format!(r#"{{"Note":"{:x<1013}"}}"#, ""));
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/json".parse()?);
    headers.insert("host", "127.0.0.1:8080".parse()?);
    let proof = match scheme {
        None => "auth = \"none\"".to_owned(),
        Some(name) => {
            let row = Scheme::named(name).context("no such scheme")?;
            let key = Key::new(&row, &(*keys.last().context("no key")?).into())?;
            let stamp = Stamp { id: "msg_1", time: chrono::Utc::now() };
            for (name, value) in row.sign(&[&key], stamp, &body)? {
                headers.insert(HeaderName::try_from(name)?, value);
            }
            format!("scheme = \"{name}\"\nsigning_keys = {keys:?}")
        }
    };
    let settings = format!("[sources.bench]\ndialect = \"generic\"\n{proof}\n");
    let source = config::parse(&settings, [], "bench")?.sources()?.remove(0);
    Ok(Case { source, headers, body })
}
