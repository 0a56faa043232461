//! Handshakes of each sender before it delivers, and of senders that only the settings know.

use contract::catalog::Catalog;
use contract::event::Dialect;
use fixture::senders::{self, SECRET};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use settings::parse;
use sha2::Sha256;

use crate::harness::client::{Answer, Request};
use crate::harness::genuine::Genuine;
use crate::harness::receiver::Receiver;

/// The signature of a form by OpenSSL.
const FIELDS_SIGNATURE: &str = "9lh4xxuY18K80pMrJn1z4WUTsIE=";

/// A signed source of the dialect at `/in`, or an open one if its senders do not sign.
fn settings(dialect: Dialect) -> String {
    let open = || senders::open(dialect, "one", "/in");
    senders::signed(dialect, "one", "/in").unwrap_or_else(open)
}

async fn start(settings: &str) -> Receiver {
    Receiver::start(settings, Catalog::<()>::new(), ()).await
}

/// The answer to a request, by a receiver that keeps nothing of it.
async fn answered(settings: &str, request: &Request) -> Answer {
    let receiver = start(settings).await;
    let answer = receiver.send(request).await;
    assert!(receiver.stop().await.deliveries().await.is_empty(), "a handshake is no delivery");
    answer
}

async fn echoed(settings: &str, request: &Request) -> (u16, String, String) {
    let answer = answered(settings, request).await;
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    let content_type = answer.header("content-type").to_owned();
    (answer.status, content_type, answer.text().to_owned())
}

fn plain(text: &str) -> (u16, String, String) {
    (200, "text/plain; charset=utf-8".into(), text.into())
}

fn json(text: &str) -> (u16, String, String) {
    (200, "application/json".into(), text.into())
}

/// The sender's request with this body, signed as its deliveries are.
fn signed(settings: &str, body: &str) -> Request {
    let config = parse(settings, [], "test").unwrap();
    Genuine::new(&config, "one").body(body).request()
}

/// A handshake that is signed is answered, and not without its signature.
async fn proved(dialect: Dialect, body: &str, expected: (u16, String, String)) {
    let settings = settings(dialect);
    let genuine = signed(&settings, body);
    assert_eq!(echoed(&settings, &genuine).await, expected, "{dialect}");
    let forged = Request::post("/in", body);
    assert_eq!(answered(&settings, &forged).await.problem(401, "unauthorized"), None, "{dialect}");
    let other = genuine.body(body.replacen('{', "{ ", 1));
    assert_eq!(answered(&settings, &other).await.problem(401, "unauthorized"), None, "{dialect}");
}

#[tokio::test]
async fn a_challenge_in_the_query_is_repeated() {
    let dropbox = settings(Dialect::Dropbox);
    let asked = Request::get("/in?challenge=a%2Fb%20c");
    assert_eq!(echoed(&dropbox, &asked).await, plain("a/b c"));
    let graph = settings(Dialect::MicrosoftGraph);
    let asked =
        Request::post("/in?validationToken=Validation%3a+x", "").set("Content-Type", "text/plain");
    assert_eq!(echoed(&graph, &asked).await, plain("Validation: x"));
    for none in ["/in", "/in?challenge=", "/in?other=1"] {
        answered(&dropbox, &Request::get(none)).await.problem(405, "method-not-allowed");
    }
}

#[tokio::test]
async fn a_challenge_in_a_header_is_repeated() {
    let okta = settings(Dialect::Okta);
    let asked = Request::get("/in").add("X-Okta-Verification-Challenge", "my\"verification");
    assert_eq!(echoed(&okta, &asked).await, json(r#"{"verification":"my\"verification"}"#));
}

#[tokio::test]
async fn metas_token_is_compared() {
    let meta = settings(Dialect::Meta);
    let asked = |token: &str| {
        Request::get(&format!(
            "/in?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token={token}"
        ))
    };
    assert_eq!(echoed(&meta, &asked("handshake-token")).await, plain("1158201444"));
    for wrong in ["", "handshake-toke", "handshake-tokens"] {
        let refused = answered(&meta, &asked(wrong)).await;
        assert_eq!(refused.problem(401, "unauthorized"), None, "{wrong}");
    }
}

#[tokio::test]
async fn an_echo_has_no_more_than_text() {
    let graph = settings(Dialect::MicrosoftGraph);
    let long = format!("/in?validationToken={}", "a".repeat(5000));
    for odd in ["/in?validationToken=%00", "/in?validationToken=%ff", &long] {
        answered(&graph, &Request::post(odd, "")).await.problem(401, "unauthorized");
    }
    let html = Request::post("/in?validationToken=%3Cscript%3E", "");
    assert_eq!(echoed(&graph, &html).await, plain("<script>"));
}

#[tokio::test]
async fn zooms_token_is_signed() {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(b"qgg8vlvZRS6UYooatFL8Aw");
    let signed = hex::encode(mac.finalize().into_bytes());
    proved(
        Dialect::Zoom,
        r#"{"payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"},"event_ts":1654503849680,"event":"endpoint.url_validation"}"#,
        json(&format!(r#"{{"plainToken":"qgg8vlvZRS6UYooatFL8Aw","encryptedToken":"{signed}"}}"#)),
    )
    .await;
}

#[tokio::test]
async fn handshakes_that_are_signed_are_answered_only_then() {
    proved(
        Dialect::Slack,
        r#"{"token":"t","challenge":"3eZbrw1a","type":"url_verification"}"#,
        json(r#"{"challenge":"3eZbrw1a"}"#),
    )
    .await;
    proved(
        Dialect::Discord,
        r#"{"version":1,"application_id":"1","type":0}"#,
        (204, "application/json".into(), String::new()),
    )
    .await;
    proved(Dialect::DiscordInteractions, r#"{"id":"1","type":1}"#, json(r#"{"type":1}"#)).await;
    proved(
        Dialect::Xero,
        r#"{"events":[],"firstEventSequence":0,"lastEventSequence":0,"entropy":"S0m3"}"#,
        (200, String::new(), String::new()),
    )
    .await;
}

#[tokio::test]
async fn twitchs_challenge_needs_its_header_and_its_signature() {
    let twitch = settings(Dialect::Twitch);
    let body = r#"{"subscription":{"type":"channel.follow"},"challenge":"pogchamp-kappa"}"#;
    let kind = "Twitch-Eventsub-Message-Type";
    let genuine = signed(&twitch, body).without(kind).add(kind, "webhook_callback_verification");
    assert_eq!(echoed(&twitch, &genuine).await, plain("pogchamp-kappa"));
    let unsigned = Request::post("/in", body).add(kind, "webhook_callback_verification");
    assert_eq!(answered(&twitch, &unsigned).await.problem(401, "unauthorized"), None);
}

#[tokio::test]
async fn event_grid_is_answered_with_its_code_if_the_key_is_right() {
    let grid = "[sources.one]\ndialect = \"event-grid\"\npath = \"/in\"\nbearer_tokens = [\"a-key-in-the-query\"]\n";
    let body = r#"[{"id":"1","topic":"t","subject":"","data":{"validationCode":"0000-1111"},"eventType":"Microsoft.EventGrid.SubscriptionValidationEvent"}]"#;
    let genuine = Request::post("/in?key=a-key-in-the-query", body);
    let answer = json(r#"{"validationResponse":"0000-1111"}"#);
    assert_eq!(echoed(grid, &genuine).await, answer);
    let forged = Request::post("/in?key=another-key-in-the-query", body);
    assert_eq!(answered(grid, &forged).await.problem(401, "unauthorized"), None);
}

#[tokio::test]
async fn a_ping_in_another_content_type_is_answered() {
    let woo = settings(Dialect::WooCommerce);
    let ping = Request::post("/in", "webhook_id=5")
        .set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8");
    assert_eq!(echoed(&woo, &ping).await, (200, String::new(), String::new()));
}

#[tokio::test]
async fn a_head_is_answered_wherever_something_is_received() {
    for dialect in [Dialect::Trello, Dialect::DirectScale] {
        let answer = answered(&settings(dialect), &Request::get("/in").method("HEAD")).await;
        assert_eq!((answer.status, answer.body.len()), (200, 0));
    }
}

#[tokio::test]
async fn three_senders_of_nobody_are_described_in_the_settings_alone() {
    let fields = r#"
[sources.fields]
dialect = "generic"
path = "/fields"
signing_keys = ["a secret of sixteen"]
bodies = ["form"]
[sources.fields.places]
message_id = "{/order} {/state}"
[sources.fields.signature]
header = "X-Fields-Signature"
signed = "{method}\n{path}\n{form}"
algorithm = "hmac-sha1"
encoding = "base64"
[[sources.fields.handshakes]]
method = "GET"
when = { "query:hello" = "*" }
answer = "hello {query:hello}"

[sources.computed]
dialect = "generic"
path = "/computed"
signing_keys = ["a secret of sixteen"]
[sources.computed.signature]
place = "/proof/mac"
timestamp_place = "/proof/time"
signed = "{timestamp}.{/event/id}.{/event/amount}"
[[sources.computed.handshakes]]
when = { "/event/id" = "hello", "/challenge" = "*" }
answer = '{"mac":"{/challenge|hmac-sha256}"}'

[sources.greeted]
dialect = "generic"
path = "/greeted"
bearer_tokens = ["a-token-in-the-body"]
handshake_tokens = ["well met"]
token = "/auth/token"
accepted_status = 202
accepted_body = "ok"
[[sources.greeted.handshakes]]
method = "GET"
when = { "query:mode" = "greet" }
token = "query:word"
status = 204
answer = ""
"#;
    let receiver = start(fields).await;
    let mac = |text: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"a secret of sixteen").unwrap();
        mac.update(text.as_bytes());
        hex::encode(mac.finalize().into_bytes())
    };
    let hello = receiver.send(&Request::get("/fields?hello=you")).await;
    assert_eq!((hello.status, hello.text()), (200, "hello you"));
    let now = chrono::Utc::now().timestamp();
    let proof = mac(&format!("{now}.hello.0"));
    let asked = format!(
        r#"{{"event":{{"id":"hello","amount":0}},"challenge":"abc","proof":{{"time":{now},"mac":"{proof}"}}}}"#
    );
    let answer = receiver.send(&Request::post("/computed", &asked)).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"mac": mac("abc")})));
    let forged = asked.replace(&proof, &mac("x"));
    assert_eq!(receiver.send(&Request::post("/computed", forged)).await.status, 401);
    assert_eq!(receiver.send(&Request::get("/greeted?mode=greet&word=well+met")).await.status, 204);
    assert_eq!(receiver.send(&Request::get("/greeted?mode=greet&word=bad")).await.status, 401);

    // Computed elsewhere: HMAC-SHA1 of "POST\n/fields\namount7order1stateopen" in Base64.
    let form = Request::post("/fields", "state=open&order=1&amount=7")
        .set("Content-Type", "application/x-www-form-urlencoded")
        .add("X-Fields-Signature", FIELDS_SIGNATURE);
    assert!(receiver.send(&form).await.kept().1);
    assert_eq!(receiver.send(&form.clone().body("state=open&order=1&amount=8")).await.status, 401);
    let proof = mac(&format!("{now}.e1.9.50"));
    let body = format!(
        r#"{{"event":{{"id":"e1","amount":9.50}},"proof":{{"time":{now},"mac":"{proof}"}}}}"#
    );
    assert!(receiver.send(&Request::post("/computed", &body)).await.kept().1);
    let forged = body.replace("9.50", "9.51");
    assert_eq!(receiver.send(&Request::post("/computed", forged)).await.status, 401);
    let body = r#"{"auth":{"token":"a-token-in-the-body"},"n":1}"#;
    let taken = receiver.send(&Request::post("/greeted", body)).await;
    assert_eq!((taken.status, taken.text()), (202, "ok"));
    let forged = body.replace("body\"", "bod\"");
    assert_eq!(receiver.send(&Request::post("/greeted", forged)).await.status, 401);
    let deliveries = receiver.stop().await.deliveries().await;
    assert_eq!(deliveries.len(), 3);
    let ids: Vec<_> = deliveries.iter().map(|own| own.entry.message_id.as_str()).collect();
    assert_eq!(ids[0], "1 open");
}
