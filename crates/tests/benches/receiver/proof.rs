//! What it costs to check who sent a delivery, per sort of proof, in this process.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use bytes::Bytes;
use emitter::proof::HttpDraft;
use emitter::{Message, Proof, SigningMethod};
use fixture::senders::{ED25519, P256, RSA};
use http::{HeaderMap, HeaderName, Method, Uri};
use settings::{Config, SourceConfig};
use source::{Admission, Admitted, Source};

use crate::process::median;

/// Checks in every round of every row.
const CHECKS: u32 = 20_000;

/// The size of every body, in bytes.
const BODY: usize = 1024;

/// Keys that all schemes of shared secrets can read.
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

/// Name, lines of the source, accepted keys, and which of them sign.
type Row = (&'static str, &'static str, &'static [&'static str], Signing);

const EVOLUTIONX: &str = "dialect = \"generic\"\nscheme = \"evolutionx\"";
const STANDARD: &str = "dialect = \"generic\"\nscheme = \"standard-webhooks\"";
const RFC_9421: &str = "dialect = \"generic\"\nscheme = \"rfc9421\"";
const RSA_PSS: &str = "dialect = \"generic\"\nsignature = { header = \"X-S\", algorithm = \"rsa-pss-sha256\", encoding = \"base64\" }";

const ROWS: [Row; 18] = [
    ("evolutionx, 1 key", EVOLUTIONX, &[KEYS[0]], Signing::Last),
    ("evolutionx, 5 keys", EVOLUTIONX, &KEYS, Signing::Last),
    ("evolutionx, 5 keys, worst order", EVOLUTIONX, &KEYS, Signing::Backwards),
    ("standard-webhooks, 1 key", STANDARD, &[KEYS[0]], Signing::Last),
    ("standard-webhooks, 5 keys", STANDARD, &KEYS, Signing::Last),
    ("standard-webhooks, 5 keys, worst order", STANDARD, &KEYS, Signing::Backwards),
    ("stripe, 1 key", "dialect = \"stripe\"", &[KEYS[0]], Signing::Last),
    ("hubspot: method and URL", "dialect = \"hubspot\"", &[KEYS[0]], Signing::Last),
    ("twilio: SHA-1, URL and form", "dialect = \"twilio\"", &[KEYS[0]], Signing::Last),
    ("mailgun: signature in the body", "dialect = \"mailgun\"", &[KEYS[0]], Signing::Last),
    (
        "rfc9421, HMAC",
        RFC_9421,
        &["hmac-sha256:c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTE="],
        Signing::Last,
    ),
    ("gitlab: a key in a header", "dialect = \"gitlab\"", &[], Signing::Last),
    ("standard-webhooks, ed25519", STANDARD, &[PAIR], Signing::Last),
    ("discord: ed25519", "dialect = \"discord\"", &[ED25519], Signing::Last),
    ("sendgrid: ECDSA P-256", "dialect = \"sendgrid\"", &[P256], Signing::Last),
    ("plaid: JWT, ECDSA P-256", "dialect = \"plaid\"", &[P256], Signing::Last),
    ("sns: RSA, members of the body", "dialect = \"sns\"", &[RSA], Signing::Last),
    ("RSA-PSS", RSA_PSS, &[RSA], Signing::Last),
];

/// Two sources of one dialect, one of which asks for no proof, and requests that both accept.
struct Case {
    open: Arc<Source>,
    asking: Arc<Source>,
    requests: Vec<(Uri, HeaderMap, Bytes)>,
}

pub(crate) fn run(rounds: usize) -> anyhow::Result<()> {
    println!("checking a delivery of 1 KiB: median of {rounds} rounds of {CHECKS}\n");
    println!("{:<40} {:>8} {:>8} {:>14}", "", "none, µs", "µs", "above none, µs");
    let cases: Vec<Case> = ROWS.iter().map(case).collect::<anyhow::Result<_>>()?;
    let mut times = vec![(Vec::new(), Vec::new()); cases.len()];
    for _ in 0..rounds {
        for (case, (open, asking)) in cases.iter().zip(&mut times) {
            open.push(once(&case.open, &case.requests)?);
            asking.push(once(&case.asking, &case.requests)?);
        }
    }
    let times = times.into_iter().map(|(open, asking)| (median(open), median(asking)));
    for ((name, ..), (open, asking)) in ROWS.iter().zip(times) {
        println!("{name:<40} {open:>8.2} {asking:>8.2} {:>14.2}", asking - open);
    }
    Ok(())
}

/// Microseconds a check.
fn once(source: &Arc<Source>, requests: &[(Uri, HeaderMap, Bytes)]) -> anyhow::Result<f64> {
    let started = Instant::now();
    for (uri, headers, body) in requests.iter().cycle().take(CHECKS as usize) {
        let mut head = head(headers.clone());
        (head.method, head.uri) = (Method::POST, uri.clone());
        let admitted = Admitted::admit(source, head, contract::time::now())?;
        black_box(admitted.verify(body.clone())?);
    }
    Ok(started.elapsed().as_secs_f64() * 1e6 / f64::from(CHECKS))
}

/// The head of a request with these headers.
pub(crate) fn head(headers: HeaderMap) -> http::request::Parts {
    let mut head = http::Request::new(()).into_parts().0;
    head.headers = headers;
    head
}

fn case((_, lines, keys, signing): &Row) -> anyhow::Result<Case> {
    let begin = |name: &str| format!("[sources.{name}]\npath = \"/{name}\"\n{lines}\n");
    let quoted: Vec<_> = keys.iter().map(|key| format!("\"\"\"{key}\"\"\"")).collect();
    let proof = match keys.is_empty() {
        true => format!("bearer_tokens = [\"{}\"]\n", KEYS[0]),
        false => format!("signing_keys = [{}]\n", quoted.join(", ")),
    };
    let open: Vec<_> = begin("open")
        .lines()
        .filter(|line| !line.starts_with("scheme") && !line.starts_with("signature"))
        .map(str::to_owned)
        .collect();
    let text = format!("{}\nauth = \"none\"\n{}{proof}", open.join("\n"), begin("asking"));
    let config = settings::parse(&text, [], "bench")?;
    let sources = config.sources()?;
    let find =
        |name: &str| sources.iter().find(|own| own.name == name).cloned().context("no source");
    let signers = match signing {
        Signing::Last => keys.iter().rev().take(1),
        Signing::Backwards => keys.iter().rev().take(keys.len()),
    };
    let mut requests: Vec<_> =
        signers.map(|key| request(&config, Some(key))).collect::<anyhow::Result<_>>()?;
    if keys.is_empty() {
        requests.push(request(&config, None)?);
    }
    Ok(Case { open: find("open")?, asking: find("asking")?, requests })
}

/// The sample of the source's sender, filled up to the size of all bodies, and signed.
fn request(config: &Config, key: Option<&&str>) -> anyhow::Result<(Uri, HeaderMap, Bytes)> {
    let source: &SourceConfig = &config.sources["asking"];
    let method = SigningMethod::of_source("asking", source)?;
    let keys: Vec<_> = key.iter().map(|key| (**key).into()).collect();
    let bearer = source.bearer_keys("asking")?.into_iter().next();
    let proof = Proof::new(bearer.as_ref(), method.map(|method| (method, &keys[..])), None)?;
    let place = source.key_places("asking")?.remove(0);
    let places = source.field_locators("asking")?;
    let url = "http://127.0.0.1:8080/asking".parse()?;
    let body = filled(&source.sender().sends.body, &places.content_type);
    let message =
        Message::new("made", url, places.into(), proof.with_key_at(place).into(), body.into());
    let HttpDraft { url, headers, body } = message.with_id("msg_1").signed()?;
    let mut all = HeaderMap::new();
    all.insert("host", "127.0.0.1:8080".parse()?);
    for (name, value) in headers {
        all.insert(HeaderName::try_from(name.as_ref())?, value);
    }
    let target = url.as_str().strip_prefix("http://127.0.0.1:8080").context("another host")?;
    Ok((target.parse()?, all, body))
}

/// The sample with a note in it.
fn filled(sample: &str, content_type: &str) -> String {
    let note = "x".repeat(BODY.saturating_sub(sample.len() + 10));
    if content_type.starts_with(text::form::FORM) {
        let json = text::form::json(sample.as_bytes()).unwrap_or_default();
        return json.replacen('{', &format!("{{\"Note\":\"{note}\","), 1);
    }
    match sample {
        "{}" => format!("{{\"Note\":\"{note}\"}}"),
        _ => sample.replacen('{', &format!("{{\"Note\":\"{note}\","), 1),
    }
}
