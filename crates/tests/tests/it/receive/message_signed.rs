//! Sources that ask for HTTP Message Signatures: their settings, and real requests.

use chrono::{TimeDelta, Utc};
use contract::time::Timestamp;
use emitter::{Plan, send};
use fixture::Context;
use http::header::{HeaderMap, HeaderValue};
use http::{Method, Uri};
use signature::{HttpMessage, MessageKey, MessageParameters};

use crate::harness::client::Request;
use crate::harness::emit::emit_args;
use crate::harness::receiver::Receiver;

const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=\n-----END PUBLIC KEY-----\n";
const SECRET: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF\n-----END PRIVATE KEY-----";
const SHARED: &str = "hmac-sha256:c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTE=";

const PATH: &str = "/in?shop=1";
const BODY: &str = r#"{"event_id":"evt_1"}"#;

fn source(more: &str) -> String {
    format!(
        "[sources.signed]\ndialect = \"generic\"\nscheme = \"rfc9421\"\npath = \"/in\"\n{more}\n"
    )
}

fn keys() -> String {
    source(&format!("signing_keys = [\"{SHARED}\", '''{PUBLIC}''']"))
}

fn signed(key: &str, time: Timestamp, covered: &[&str]) -> Request {
    let key = MessageKey::new(&key.into()).unwrap();
    let uri: Uri = PATH.parse().unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("localhost"));
    let message =
        HttpMessage { method: &Method::POST, uri: &uri, headers: &headers, public_url: None };
    let headers = message
        .sign(&[&key], covered, &MessageParameters::default(), time, BODY.as_bytes())
        .unwrap();
    headers.into_iter().fold(Request::post(PATH, BODY), |request, (name, value)| {
        request.set(String::leak(name), value.as_bytes())
    })
}

#[tokio::test]
async fn a_signed_message_comes_in_and_nothing_else() {
    let receiver = Receiver::start(&keys(), fixture::catalog(), Context::default()).await;
    let covered = ["@method", "@authority", "@path", "@query", "@target-uri"];
    let now = Utc::now();
    let genuine = signed(SECRET, now, &covered);
    let (id, new) = receiver.send(&genuine).await.kept();
    assert!(new);
    assert_eq!(receiver.send(&genuine).await.kept(), (id, false));
    let by_secret = signed(SHARED, now, &[]);
    assert_eq!(receiver.send(&by_secret).await.kept(), (id, false));
    let other = SHARED.replace("LTE=", "LTI=");
    let old = Utc::now() - TimeDelta::seconds(302);
    for forged in [
        genuine.clone().body("{}"),
        genuine.clone().set("content-digest", "sha-256=:AAAA:"),
        genuine.clone().without("signature"),
        genuine.clone().without("signature-input"),
        genuine.clone().without("content-digest"),
        Request::post(PATH, BODY),
        signed(&other, Utc::now(), &covered),
        signed(SECRET, old, &covered),
    ] {
        assert_eq!(receiver.send(&forged).await.problem(401, "unauthorized"), None);
    }
    receiver.stop().await;
}

fn sources(settings: &str) -> Result<(), String> {
    let config = settings::parse(settings, [], "receiver.toml").unwrap();
    config.sources().map(drop).map_err(|error| error.to_string())
}

#[test]
fn a_key_may_stand_in_a_file_in_pem() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key.pem");
    std::fs::write(&file, PUBLIC).unwrap();
    assert_eq!(sources(&source(&format!("signing_key_files = [{file:?}]"))), Ok(()));
}

#[test]
fn settings_that_prove_nothing_are_refused() {
    for (more, expected) in [
        ("", "[sources.signed] has no key; write signing_keys"),
        (
            "signing_keys = \"secret\"",
            "a signing key that rfc9421 cannot use: it is neither PEM nor",
        ),
        ("signing_keys = \"ed25519:AAAA\"", "cannot use: it has 3 bytes"),
        ("signing_keys = \"hmac-sha256:AA\\nAA\"", "control characters in it"),
        (
            "signing_keys = \"hmac-sha256:AAAA\"\ntolerance = \"0s\"",
            "tolerance must be at least \"1s\"",
        ),
        (
            "signing_keys = \"hmac-sha256:AAAA\"\ntolerance = \"30d\"",
            "tolerance is longer than half of window in [dedup]",
        ),
        (
            "signing_keys = \"hmac-sha256:AAAA\"\n[sources.signed.signature]\nheader = \"a\"",
            "has both scheme and [sources.signed.signature]",
        ),
    ] {
        let error = sources(&source(more)).unwrap_err();
        assert!(error.contains(expected), "{more}: {error}");
    }
    let unknown = sources(&source("").replace("rfc9421", "rfc")).unwrap_err();
    let named = sources(&source("signing_keys = \"k\"").replace("rfc9421", "rfc")).unwrap_err();
    assert!(unknown.contains("has no key"), "{unknown}");
    assert!(named.contains("did you mean \"rfc9421\"?"), "{named}");
}

/// What is signed ahead of the clock by as much as is tolerated stays fresh for twice as long.
#[test]
fn ids_are_known_for_as_long_as_a_signature_is_fresh() {
    let settings = |scheme: &str, key: &str, window: &str| {
        format!(
            "[dedup]\nwindow = \"{window}\"\n[sources.a]\ndialect = \"generic\"\nscheme = \"{scheme}\"\nsigning_keys = \"{key}\"\ntolerance = \"5m\"\n"
        )
    };
    for (scheme, key) in [("stripe", "whsec_0123456789abcdef"), ("rfc9421", SHARED)] {
        assert_eq!(sources(&settings(scheme, key, "10m")), Ok(()));
        let error = sources(&settings(scheme, key, "9m")).unwrap_err();
        assert!(error.contains("half of window"), "{error}");
    }
}

#[tokio::test]
async fn the_emitter_signs_so_and_each_forgery_is_refused() {
    let receiver = Receiver::start(&keys(), fixture::catalog(), Context::default()).await;
    let mut config = settings::parse(&keys(), [], "test").unwrap();
    config.listen = receiver.address.parse().unwrap();
    let line = ["emit", "thing", "--raw", "--data", "tests/it/receive/signed.json"];
    for more in [
        &[][..],
        &["--tamper", "body"],
        &["--tamper", "signature"],
        &["--tamper", "timestamp"],
        &["--tamper", "key"],
        &["--tamper", "header"],
    ] {
        let args = emit_args([&line, more].concat()).unwrap();
        let plan = Plan::new(&args, &fixture::table(), &config).unwrap();
        let report = send(&plan, std::future::pending()).await.unwrap();
        assert!(report.is_as_expected(), "{more:?}: {report}");
    }
    assert_eq!(receiver.stop().await.deliveries().await.len(), 1);
}

#[tokio::test]
async fn a_header_that_says_what_a_delivery_is_must_be_covered_if_it_is_there() {
    let settings =
        keys() + "[sources.signed.places]\nmessage_id = [\"header:X-Id\", \"/event_id\"]\n";
    let receiver = Receiver::start(&settings, fixture::catalog(), Context::default()).await;
    let genuine = signed(SECRET, Utc::now(), &[]);
    receiver.send(&genuine).await.kept();
    let renamed = genuine.clone().set("x-id", "another");
    assert_eq!(receiver.send(&renamed).await.problem(401, "unauthorized"), None);
    receiver.stop().await;
}
