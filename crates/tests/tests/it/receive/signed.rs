//! Signed sources, through real HTTP: what is let in, what is refused, and what a resend is.

use chrono::{TimeDelta, Utc};
use contract::time::Timestamp;
use emitter::{Plan, send};
use fixture::Context;
use settings::{Config, parse};
use signature::{Key, Scheme, Stamp};

use crate::harness::client::{Answer, Request};
use crate::harness::emit::emit_args;
use crate::harness::receiver::Receiver;

/// A key that every scheme can read.
const KEY: &str = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTE=";
const NEXT_KEY: &str = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTI=";
const OTHER_KEY: &str = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTM=";

const BODY: &str = r#"{"event_id":"evt_1","event_type":"order.created"}"#;

/// A source that takes any body, signed by the scheme.
fn source(scheme: &str, more: &str) -> String {
    format!(
        "[sources.signed]\ndialect = \"generic\"\nscheme = \"{scheme}\"\npath = \"/in\"\nsigning_keys = [\"{KEY}\", \"{NEXT_KEY}\"]\n{more}"
    )
}

async fn start(settings: &str) -> Receiver {
    Receiver::start(settings, fixture::catalog(), Context::default()).await
}

fn signed(scheme: &str, key: &str, time: Timestamp, body: &str) -> Request {
    let scheme = Scheme::named(scheme).unwrap();
    let key = Key::new(&scheme, &key.into()).unwrap();
    let stamp = Stamp { id: "msg_1", time };
    let headers = scheme.sign(&[&key], stamp, body.as_bytes()).unwrap();
    headers.into_iter().fold(Request::post("/in", body), |request, (name, value)| {
        request.set(String::leak(name), value.as_bytes())
    })
}

#[track_caller]
fn refused(answer: &Answer) {
    assert_eq!(answer.problem(401, "unauthorized"), None, "the sender learns nothing");
}

#[tokio::test]
async fn every_scheme_lets_in_what_it_signed_and_nothing_else() {
    // Of the others a part is in the URL, the body or a certificate; `halves` has all.
    let in_headers = ["evolutionx", "standard-webhooks", "github", "stripe", "intercom", "zendesk"];
    for scheme in in_headers {
        let receiver = start(&source(scheme, "")).await;
        let genuine = signed(scheme, KEY, Utc::now(), BODY);
        let (id, new) = receiver.send(&genuine).await.kept();
        assert!(new, "{scheme}");
        assert_eq!(receiver.send(&genuine).await.kept(), (id, false), "{scheme}");
        refused(&receiver.send(&signed(scheme, OTHER_KEY, Utc::now(), BODY)).await);
        refused(&receiver.send(&genuine.clone().body("{}")).await);
        refused(&receiver.send(&Request::post("/in", BODY)).await);
        receiver.stop().await;
    }
}

#[tokio::test]
async fn a_resend_is_a_duplicate_inside_the_window_and_refused_outside() {
    let receiver = start(&source("evolutionx", "tolerance = \"10m\"\n")).await;
    let ago = |minutes| Utc::now() - TimeDelta::minutes(minutes);
    let early = signed("evolutionx", KEY, ago(9), BODY);
    assert!(receiver.send(&early).await.kept().1);
    assert!(!receiver.send(&early).await.kept().1);
    refused(&receiver.send(&signed("evolutionx", KEY, ago(11), BODY)).await);
    refused(&receiver.send(&signed("evolutionx", KEY, ago(-11), BODY)).await);
    receiver.stop().await;
}

#[tokio::test]
async fn two_keys_are_accepted_while_one_replaces_the_other() {
    let receiver = start(&source("stripe", "")).await;
    assert!(receiver.send(&signed("stripe", KEY, Utc::now(), "[1]")).await.kept().1);
    assert!(receiver.send(&signed("stripe", NEXT_KEY, Utc::now(), "[2]")).await.kept().1);
    receiver.stop().await;
}

#[tokio::test]
async fn a_source_may_ask_for_a_key_and_a_signature() {
    let receiver = start(&source("github", "bearer_tokens = [\"k3y\"]\n")).await;
    let signed = signed("github", KEY, Utc::now(), BODY);
    refused(&receiver.send(&signed).await);
    refused(&receiver.send(&Request::post("/in", BODY).bearer("k3y")).await);
    assert!(receiver.send(&signed.bearer("k3y")).await.kept().1);
    receiver.stop().await;
}

#[tokio::test]
async fn a_signed_body_need_not_be_text_to_be_verified() {
    let receiver = start(&source("github", "")).await;
    let scheme = Scheme::named("github").unwrap();
    let key = Key::new(&scheme, &KEY.into()).unwrap();
    let body = b"\xff\xfe\x00";
    let stamp = Stamp { id: "", time: Utc::now() };
    let headers = scheme.sign(&[&key], stamp, body).unwrap();
    let request = Request::post("/in", body).set("X-Hub-Signature-256", headers[0].1.as_bytes());
    // Authentic, but not JSON: refused for that.
    let detail = receiver.send(&request).await.problem(400, "bad-request");
    assert!(detail.unwrap().contains("UTF-8"));
    receiver.stop().await;
}

/// The settings of a receiver, for an emitter that speaks to it.
fn settings(receiver: &Receiver, source: &str) -> Config {
    let mut config = parse(source, [], "test").unwrap();
    config.listen = receiver.address.parse().unwrap();
    config
}

/// Whether all was answered as it should be.
async fn emit(receiver: &Receiver, source: &str, line: &[&str]) -> anyhow::Result<bool> {
    let line =
        [&["emit", "thing", "--raw", "--data", "tests/it/receive/signed.json"], line].concat();
    let args = emit_args(line).unwrap_or_else(|error| panic!("{error}"));
    let plan = Plan::new(&args, &fixture::table(), &settings(receiver, source))?;
    Ok(send(&plan, std::future::pending()).await?.is_as_expected())
}

#[tokio::test]
async fn the_emitter_signs_by_every_scheme_and_each_forgery_is_refused() {
    for scheme in ["evolutionx", "standard-webhooks", "github", "stripe", "intercom", "zendesk"] {
        let scheme = Scheme::named(scheme).unwrap();
        let source = source(&scheme.name, "");
        let receiver = start(&source).await;
        let well = emit(&receiver, &source, &[]).await.unwrap();
        assert!(well, "{}", scheme.name);
        for what in ["body", "signature", "timestamp", "key", "header"] {
            let well = emit(&receiver, &source, &["--tamper", what]).await;
            match (what, scheme.is_timed()) {
                ("timestamp", false) => assert!(well.is_err(), "{}", scheme.name),
                _ => assert!(well.unwrap(), "{} {what}", scheme.name),
            }
        }
        let stopped = receiver.stop().await;
        assert_eq!(stopped.deliveries().await.len(), 1, "{}", scheme.name);
    }
}

#[tokio::test]
async fn a_forgery_that_is_let_in_is_no_success() {
    let signed = source("github", "");
    let open = "[sources.open]\ndialect = \"generic\"\npath = \"/in\"\nauth = \"none\"\n";
    let receiver = start(open).await;
    let well = emit(&receiver, &signed, &["--tamper", "body"]).await.unwrap();
    assert!(!well);
    receiver.stop().await;
}

#[tokio::test]
async fn a_bearer_key_is_forged_too_but_protects_no_body() {
    let source = "[sources.bearer]\ndialect = \"generic\"\npath = \"/in\"\nbearer_tokens = [\"a-long-bearer-key\"]\n";
    let receiver = start(source).await;
    for what in ["key", "header"] {
        let well = emit(&receiver, source, &["--tamper", what]).await.unwrap();
        assert!(well, "{what}");
    }
    let error = emit(&receiver, source, &["--tamper", "body"]).await.unwrap_err().to_string();
    assert!(error.contains("a bearer key does not protect it"), "{error}");
    receiver.stop().await;
}

#[test]
fn whom_the_emitter_speaks_as_decides_how_it_signs() {
    let github = "[sources.hub]\ndialect = \"github\"\nsigning_keys = [\"hush-hush-hush-hush\"]\n";
    let plan = |line: &[&str]| {
        let args = emit_args([&["emit"], line].concat()).map_err(|e| e.to_string())?;
        let plan = Plan::new(&args, &fixture::table(), &parse(github, [], "test").unwrap());
        plan.map_err(|error| format!("{error:#}"))?.json().map_err(|error| error.to_string())
    };
    let headers = |line: &[&str]| plan(line).unwrap()["requests"][0]["headers"].to_string();
    assert!(headers(&["ping"]).contains("X-Hub-Signature-256"));
    assert!(headers(&["ping", "--as", "github"]).contains("sha256="));
    assert!(
        headers(&[
            "ping",
            "--as",
            "stripe",
            "--raw",
            "--to",
            "http://127.0.0.1:1/",
            "--signing-key",
            "k",
            "--data",
            "tests/it/receive/signed.json"
        ])
        .contains("Stripe-Signature")
    );
    let nobody = plan(&["order.created", "--as", "evolutionx"]).unwrap_err();
    assert!(nobody.contains("no evolutionx source is configured"), "{nobody}");
    let unknown = plan(&["ping", "--as", "pigeon"]).unwrap_err();
    assert!(unknown.contains("convoy-advanced") && unknown.contains("cloudevents"), "{unknown}");
    let elsewhere = plan(&["ping", "--to", "https://x.test/"]).unwrap_err();
    assert!(elsewhere.contains("--signing-key-file") && !elsewhere.contains("hush"), "{elsewhere}");
}

async fn asked(receiver: &Receiver, query: &str) -> Answer {
    receiver.send(&Request::post(String::leak(format!("/in{query}")), "").method("GET")).await
}

#[tokio::test]
async fn x_is_given_the_signature_of_its_token_and_never_that_of_a_delivery() {
    let receiver = start(&source("x", "")).await;
    let scheme = Scheme::named("x").unwrap();
    let key = Key::new(&scheme, &KEY.into()).unwrap();
    let stamp = Stamp { id: "", time: Utc::now() };
    let theirs = scheme.sign(&[&key], stamp, b"a/token=").unwrap()[0].1.clone();
    let answer = asked(&receiver, "?nonce=1&crc_token=a%2Ftoken%3D").await;
    let expected = serde_json::json!({ "response_token": theirs.to_str().unwrap() });
    assert_eq!((answer.status, answer.json()), (200, expected));
    for json in [
        "",
        "?crc_token=",
        "?crc_token=%7B%22a%22:1%7D",
        "?crc_token=1",
        "?crc_token=1767225600.%7B%7D",
        "?crc_token=1.5",
        "?crc_token=-1",
        "?crc_token=1e5",
    ] {
        let is_token = json.len() > "?crc_token=".len();
        let status = if is_token { 401 } else { 405 };
        assert_eq!(asked(&receiver, json).await.status, status, "{json}");
    }
    let others = start(&source("github", "")).await;
    asked(&others, "?crc_token=token").await.problem(405, "method-not-allowed");
    assert!(receiver.stop().await.deliveries().await.is_empty());
    others.stop().await;
}
