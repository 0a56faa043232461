//! Signed sources, through real HTTP: what is let in, what is refused, and what a resend is.

use chrono::{TimeDelta, Utc};
use webhook_receiver::event::Timestamp;
use webhook_receiver::handlers::{self, Context};
use webhook_receiver::signature::{Key, Scheme, Stamp, schemes};

use super::receiver::{Answer, Receiver, Request};

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
    Receiver::start(settings, handlers::catalog(), Context::default()).await
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
    for scheme in schemes().iter().map(|scheme| scheme.name.as_str()) {
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
