//! Both halves against each other: what the emitter and the bus send with the settings that they need and no others, the
//! receiver accepts, in every dialect.

use contract::catalog::Catalog;
use contract::event::Dialect;
use emitter::{Plan, send};
use fixture::Context;
use fixture::senders::{self, SECRET, signing_key};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use settings::parse;
use signature::Scheme;
use source::Sender;

use crate::harness::bus::{Home, attempts, publish};
use crate::harness::client::Request;
use crate::harness::client::Wire;
use crate::harness::emit::emit_args;
use crate::harness::receiver::Receiver;
use crate::harness::sink::Sink;
use crate::receive::dialects::open_sources;

/// An open source for each dialect, and a signed one for each whose senders sign.
fn sources() -> String {
    let signed = |dialect: &Dialect| {
        senders::signed(*dialect, &format!("signed-{dialect}"), &format!("/signed/{dialect}"))
    };
    Dialect::ALL.iter().filter_map(signed).collect::<String>() + &open_sources()
}

#[tokio::test]
async fn every_event_goes_from_the_bus_to_the_receiver_in_every_dialect() {
    let receiver = Receiver::start(&sources(), Catalog::<()>::new(), ()).await;
    let bus = Home::new().start().await;
    let mut names = Vec::new();
    for dialect in Dialect::ALL {
        let target = |path: &str| format!("http://{}/{path}/{dialect}/", receiver.address);
        let open = json!({"events": "*", "dialect": dialect, "target": target("in")});
        bus.create(&format!("open-{dialect}"), &open).await.unwrap();
        names.push(format!("open-{dialect}"));
        // What the bus cannot know is in `signed_by_the_bus`.
        let scheme = Scheme::named(dialect.as_str());
        if let Some(scheme) = scheme.filter(|scheme| scheme.signed.value_names().next().is_none()) {
            let key = signing_key(&scheme);
            let signed = json!({"events": "*", "dialect": dialect, "target": target("signed"), "signing_key": key});
            bus.create(&format!("signed-{dialect}"), &signed).await.unwrap();
            names.push(format!("signed-{dialect}"));
        }
    }
    let catalog = fixture::table();
    let mut events: Vec<Value> = catalog
        .events()
        .filter(|row| row.version == 1)
        .map(|row| json!({"type": row.name}))
        .collect();
    events.extend(
        ["orders/create", "a..b", "é", "a%2fb"].map(|name| json!({"type": name, "data": {}})),
    );
    for event in &events {
        let draft = match event.get("data") {
            None => json!({"type": event["type"], "data": {"n": 1}, "raw": true}),
            Some(_) => event.clone(),
        };
        publish(&bus, draft).await;
    }
    for name in &names {
        for attempt in attempts(&bus, name, events.len()).await {
            assert_eq!(
                (attempt.status, attempt.outcome),
                (Some(if is_empty(name) { 204 } else { 200 }), "delivered"),
                "{name} {attempt:?}"
            );
        }
    }
    let deliveries = receiver.stop().await.deliveries().await;
    for name in &names {
        let source = name.strip_prefix("open-").unwrap_or(name);
        let own = deliveries.iter().filter(|own| own.entry.source == source).count();
        assert_eq!(own, events.len(), "{name}");
    }
    let source = |name: &str| deliveries.iter().find(|d| d.entry.source == name).unwrap();
    assert_eq!(source("cloudevents").entry.client_id.as_deref(), Some("webhook-receiver"));
}

#[tokio::test]
async fn the_bus_sends_as_any_configured_source_is_sent_to() {
    let settings = r#"
[sources.acme]
dialect = "generic"
path = "/acme"
signing_keys = ["a secret of sixteen"]
[sources.acme.places]
message_id = "/meta/id"
event_type = "header:X-Acme-Event"
event_time = "/meta/time"
client_id = "/meta/account"
user = "query:user"
[sources.acme.signature]
place = "/meta/proof"
timestamp_header = "X-Acme-Time"
timestamp_unit = "milliseconds"
signed = "{method} {path}?{query} {timestamp} {/meta/id} {/meta/account} {/n}"
algorithm = "hmac-sha512"
encoding = "base64-url"

[sources.paypal]
dialect = "paypal"
path = "/paypal"
signing_keys = ["""KEY"""]
values = { webhook_id = "w-1" }

[sources.token]
dialect = "plaid"
path = "/token"
signing_keys = ["""P256"""]

[sources.header]
dialect = "gitlab"
path = "/header"
bearer_tokens = ["a-key-in-a-header-of-its-own"]
"#
    .replace("KEY", senders::RSA)
    .replace("P256", senders::P256);
    let receiver = Receiver::start(&settings, Catalog::<()>::new(), ()).await;
    let sources = parse(&settings, [], "test").unwrap().sources;
    let bus = Home { sources, ..Home::new() }.start().await;
    let to = |name: &str| format!("http://{}/{name}", receiver.address);
    let subscribe = async |name: &str, more: Value| {
        let mut definition = json!({"events": "*", "source": name, "target": to(name)});
        definition.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        bus.create(name, &definition).await.map(drop).map_err(|error| error.to_string())
    };
    subscribe("acme", json!({"signing_key": "a secret of sixteen", "client_id": "a-1"}))
        .await
        .unwrap();
    subscribe("paypal", json!({"signing_key": senders::RSA})).await.unwrap();
    subscribe("token", json!({"signing_key": senders::P256})).await.unwrap();
    let bearer = json!({"bearer_token": "a-key-in-a-header-of-its-own"});
    subscribe("header", bearer).await.unwrap();
    let refused = subscribe("nobody", json!({})).await.unwrap_err();
    assert!(refused.contains("there is no [sources.nobody]"), "{refused}");
    let event = json!({"type": "order paid", "data": {"n": 1.50}, "raw": true, "user": "jo"});
    publish(&bus, event).await;
    for name in ["acme", "paypal", "token", "header"] {
        let attempt = attempts(&bus, name, 1).await.remove(0);
        assert_eq!((attempt.status, attempt.outcome), (Some(200), "delivered"), "{name}");
    }
    let deliveries = receiver.stop().await.deliveries().await;
    assert_eq!(deliveries.len(), 4);
    let acme = deliveries.iter().find(|own| own.entry.source == "acme").unwrap();
    assert_eq!(acme.entry.event_type, "order paid");
    assert!(!acme.entry.message_id_derived && acme.entry.event_time.is_some());
    assert_eq!(acme.entry.client_id.as_deref(), Some("a-1"));
}

/// True if the sender needs an answer without a body.
fn is_empty(name: &str) -> bool {
    let dialect = name.trim_start_matches("open-").trim_start_matches("signed-");
    Sender::of(Dialect::from_name(dialect).unwrap()).answer.status == Some(204)
}

#[tokio::test]
async fn what_emit_sends_unasked_is_accepted_in_every_dialect() {
    let receiver = Receiver::start(&sources(), fixture::catalog(), Context::default()).await;
    let config = parse(&sources(), [], "test").unwrap();
    for (name, source) in &config.sources {
        let to = format!("http://{}{}/", receiver.address, source.path);
        let keys = source.signing_keys(name).unwrap();
        let key = keys.first().map_or(SECRET, |key| key.expose_secret());
        let key = format!("--signing-key={key}");
        let line = ["emit", "--source", name, "--to", &to, &key];
        let known = fixture::table().events().any(|row| row.dialect == source.dialect);
        let what: &[&str] = if known { &["--all"] } else { &["thing"] };
        let args = emit_args([&line, what].concat()).unwrap();
        let plan = Plan::new(&args, &fixture::table(), &config).unwrap();
        let report = send(&plan, std::future::pending()).await.unwrap();
        assert!(report.is_as_expected(), "{name}");
    }
    receiver.stop().await;
}

#[tokio::test]
async fn headers_of_ones_own_replace_neither_proof_nor_identity() {
    let bus = Home::new().start().await;
    let sink = Sink::answering(200).await;
    let refused = async |dialect: &str, more: Value, header: &str| {
        let mut definition = json!({"events": "*", "dialect": dialect, "target": sink.url(), "headers": {header: "x"}});
        definition.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let refused = bus.create("own", &definition).await.err();
        refused.unwrap_or_else(|| panic!("{dialect} {header}")).to_string()
    };
    let signed = || json!({"signing_key": SECRET});
    for (dialect, more, header) in [
        ("directscale", json!({}), "X-Directscale-Message-Id"),
        ("directscale", json!({}), "x-directscale-client-id"),
        ("directscale", json!({"bearer_token": "k"}), "Authorization"),
        ("github", json!({}), "X-GITHUB-EVENT"),
        ("github", signed(), "X-Hub-Signature-256"),
        ("shopify", json!({}), "X-Shopify-Topic"),
        ("shopify", signed(), "X-Shopify-Hmac-Sha256"),
        ("cloudevents", json!({}), "ce-source"),
        ("standard-webhooks", json!({}), "svix-id"),
        ("standard-webhooks", signed(), "Webhook-Timestamp"),
        ("standard-webhooks", signed(), "svix-signature"),
        ("stripe", signed(), "Stripe-Signature"),
        ("slack", signed(), "X-Slack-Request-Timestamp"),
        (
            "generic",
            json!({"scheme": "rfc9421", "signing_key": format!("hmac-sha256:{SECRET}")}),
            "Content-Digest",
        ),
        (
            "generic",
            json!({"scheme": "rfc9421", "signing_key": format!("hmac-sha256:{SECRET}")}),
            "signature-input",
        ),
    ] {
        let words = refused(dialect, more, header).await;
        assert!(words.contains(&format!("headers: {header} is set by the bus itself")), "{words}");
    }
    for header in [
        "Content-Encoding",
        "content-length",
        "Transfer-Encoding",
        "Expect",
        "TE",
        "Trailer",
        "Upgrade",
        "Connection",
        "Proxy-Connection",
        "Keep-Alive",
        "Host",
    ] {
        let words = refused("generic", json!({}), header).await;
        assert!(words.contains(&format!("headers: {header} is set by the bus itself")), "{words}");
    }
    let twice =
        json!({"events": "*", "target": sink.url(), "headers": {"X-Tenant": "x", "x-tenant": "y"}});
    let words = bus.create("twice", &twice).await.unwrap_err().to_string();
    assert!(words.contains("X-Tenant and x-tenant are two spellings of one name"), "{words}");
    let own = json!({"events": "*", "target": sink.url(), "headers": {"X-Tenant": "x", "Stripe-Signature": "x"}});
    bus.create("own", &own).await.unwrap();
}

#[tokio::test]
async fn a_target_is_told_what_is_wrong_with_it() {
    let bus = Home::new().start().await;
    for (target, words) in [
        ("http://127.0.0.1:1/in#part", "take away #"),
        ("http://127.0.0.1:1/in?a=b", "write its query parameters into query"),
        ("http://{event}.localhost/in", "in its host"),
    ] {
        let refused = bus.create("x", &json!({"events": "*", "target": target})).await.unwrap_err();
        assert!(refused.to_string().contains(words), "{target}: {refused}");
    }
}

#[tokio::test]
async fn an_answer_with_many_header_lines_is_an_answer() {
    let (bus, sink) =
        (Home::new().start().await, Sink::with_headers(200, vec![("x-many", "1"); 400]).await);
    bus.create("many", &json!({"events": "*", "target": sink.url()})).await.unwrap();
    publish(&bus, json!({"type": "Own", "data": {}})).await;
    let attempt = attempts(&bus, "many", 1).await.remove(0);
    assert_eq!((attempt.status, attempt.outcome), (Some(200), "delivered"));
}

fn binary(headers: &[(&'static str, &str)]) -> Request {
    let bare = Request::post("/in/cloudevents", "").without("Content-Type");
    let request = bare.add("ce-specversion", "1.0").add("ce-source", "/s").add("ce-type", "t");
    headers.iter().fold(request, |request, (name, value)| request.add(name, value))
}

#[tokio::test]
async fn a_cloud_event_without_data_is_kept_in_either_form() {
    let receiver = Receiver::start(&sources(), fixture::catalog(), Context::default()).await;
    let whole = r#"{"specversion":"1.0","id":"4","source":"/s","type":"t"}"#;
    for request in [
        binary(&[("ce-id", "1")]),
        binary(&[("ce-id", "2"), ("Content-Type", "application/json")]),
        Request::post("/in/cloudevents", whole).set("Content-Type", "application/cloudevents+json"),
        binary(&[("ce-id", "5")]).chunked(),
    ] {
        assert!(receiver.send(&request).await.kept().1);
    }
    let mut wire = Wire::connect(receiver.address.parse().unwrap()).await.unwrap();
    for (id, length) in [("6", "Content-Length: 00\r\n"), ("7", "")] {
        let head =
            "POST /in/cloudevents HTTP/1.1\r\nHost: h\r\nce-specversion: 1.0\r\nce-source: /s\r\n";
        wire.send(&format!("{head}ce-type: t\r\nce-id: {id}\r\n{length}\r\n")).await.unwrap();
        assert_eq!(wire.answer().await.unwrap().status, 200, "{length}");
    }
    let untyped = binary(&[("ce-id", "8")]).body("1");
    assert!(receiver.send(&untyped).await.kept().1, "data without a type is JSON");
    let other = Request::post("/in/directscale/OrderEvent", "").without("Content-Type");
    receiver.send(&other).await.problem(415, "unsupported-media-type");
    let deliveries = receiver.finish().await.deliveries().await;
    assert_eq!(deliveries.len(), 7);
    assert!(deliveries[0].body.is_empty());
}

#[tokio::test]
async fn an_attribute_that_is_there_twice_is_not_called_missing() {
    let receiver = Receiver::start(&sources(), fixture::catalog(), Context::default()).await;
    let said =
        async |request: Request| receiver.send(&request).await.problem(400, "bad-request").unwrap();
    let twice = binary(&[("ce-id", "1"), ("ce-id", "2")]);
    assert_eq!(said(twice).await, "the header ce-id is repeated");
    let twice = binary(&[("ce-id", "1"), ("ce-type", "u")]);
    assert_eq!(said(twice).await, "the header ce-type is repeated");
    assert_eq!(said(binary(&[])).await, "ce-id is missing");
    receiver.send(&binary(&[("ce-id", "1"), ("ce-id", "1")])).await.kept();
    receiver.stop().await;
}
