//! Every dialect through real HTTP: what lands in the inbox, what a handler is given, what is asked before.

use std::sync::{Arc, Mutex};

use contract::catalog::Catalog;
use contract::event::{Delivery, Dialect, Event, Outcome};
use contract::time::Timestamp;
use emitter::{Plan, send};
use fixture::{Context, senders};
use inbox::{Detail, Entry, State};
use serde::Deserialize;
use serde_json::{Value, json};
use settings::{Config, parse};
use source::{FieldLocators, Unidentified};

use crate::harness::client::{Answer, Request};
use crate::harness::emit::emit_args;
use crate::harness::receiver::Receiver;

/// One open source for each dialect, under the dialect's name.
pub(crate) fn open_sources() -> String {
    let one =
        |dialect: &Dialect| senders::open(*dialect, dialect.as_str(), &format!("/in/{dialect}"));
    Dialect::ALL.iter().map(one).collect::<String>() + PLACES
}

const PLACES: &str = r#"
[sources.generic.places]
message_id = ["header:X-Acme-Id", "/meta/id"]
event_type = "/meta/type"
event_time = "/meta/times/0"
user = "/actor/na~1me"
client_id = "header:x-acme-account"
"#;

fn post(dialect: Dialect, body: &str) -> Request {
    Request::post(&format!("/in/{dialect}"), body)
}

fn with(request: Request, headers: &[(&'static str, &str)]) -> Request {
    headers.iter().fold(request, |request, (name, value)| request.set(name, value))
}

async fn kept(requests: &[Request]) -> Vec<Detail> {
    let receiver = Receiver::start(&open_sources(), Catalog::<()>::new(), ()).await;
    for request in requests {
        receiver.send(request).await.taken();
    }
    receiver.finish().await.deliveries().await
}

async fn answer(request: Request) -> Answer {
    Receiver::start(&open_sources(), Catalog::<()>::new(), ()).await.send(&request).await
}

/// Type, id, account, user and time of a delivery.
fn said(entry: &Entry) -> (&str, &str, Option<&str>, Option<&str>, Option<Timestamp>) {
    let (client, user) = (entry.client_id.as_deref(), entry.user.as_deref());
    assert!(!entry.message_id_derived, "{entry:?}");
    (&entry.event_type, &entry.message_id, client, user, entry.event_time)
}

#[tokio::test]
async fn what_a_delivery_says_of_itself_lands_in_the_inbox() {
    let at = |seconds| Timestamp::from_timestamp(seconds, 0);
    let march = at(1_709_294_400);
    let cases = [
        (
            post(
                Dialect::EvolutionX,
                r#"{"event_id":"evt_1","event_type":"order.updated","source_user_type":"admin"}"#,
            ),
            ("order.updated", "evt_1", None, Some("admin"), None),
        ),
        (
            with(
                post(
                    Dialect::StandardWebhooks,
                    r#"{"type":"a.b","timestamp":"2024-03-01T12:00:00Z","data":{"type":"no"}}"#,
                ),
                &[("webhook-id", "msg_1")],
            ),
            ("a.b", "msg_1", None, None, march),
        ),
        (
            with(post(Dialect::StandardWebhooks, r#"{"type":"a.b"}"#), &[("svix-id", "msg_2")]),
            ("a.b", "msg_2", None, None, None),
        ),
        (
            with(
                post(Dialect::GitHub, r#"{"sender":{"login":"ada"}}"#),
                &[("X-GitHub-Event", "star"), ("X-GitHub-Delivery", "d-1")],
            ),
            ("star", "d-1", None, Some("ada"), None),
        ),
        (
            post(
                Dialect::Stripe,
                r#"{"id":"evt_9","type":"charge.failed","created":1709294400,"account":"acct_1"}"#,
            ),
            ("charge.failed", "evt_9", Some("acct_1"), None, march),
        ),
        (
            with(
                post(Dialect::Shopify, "{}"),
                &[
                    ("X-Shopify-Topic", "orders/create"),
                    ("X-Shopify-Event-Id", "e-1"),
                    ("X-Shopify-Webhook-Id", "w-1"),
                    ("X-Shopify-Shop-Domain", "acme.example.com"),
                    ("X-Shopify-Triggered-At", "2024-03-01T12:00:00.000000000Z"),
                ],
            ),
            ("orders/create", "w-1", Some("acme.example.com"), None, march),
        ),
        (
            post(
                Dialect::Slack,
                r#"{"type":"event_callback","event":{"type":"message","user":"U1"},"event_id":"Ev1","event_time":1709294400,"team_id":"T1"}"#,
            ),
            ("message", "Ev1", Some("T1"), Some("U1"), march),
        ),
        (
            post(Dialect::Slack, r#"{"type":"app_rate_limited","event_id":"Ev2"}"#),
            ("app_rate_limited", "Ev2", None, None, None),
        ),
        (
            with(post(Dialect::CloudEvents, r#"{"id":"no"}"#), &BINARY),
            ("a.b", "1 é", Some("/shop"), None, march),
        ),
        (
            structured(
                r#"{"specversion":"1.0","id":"2","source":"/shop","type":"a.b","time":"2024-03-01T12:00:00Z"}"#,
            ),
            ("a.b", "2", Some("/shop"), None, march),
        ),
        (
            with(
                post(
                    Dialect::Generic,
                    r#"{"meta":{"id":"no","type":"x","times":[1709294400]},"actor":{"na/me":"jo"}}"#,
                ),
                &[("X-Acme-Id", "g-1"), ("X-Acme-Account", "acme")],
            ),
            ("x", "g-1", Some("acme"), Some("jo"), march),
        ),
        (
            post(Dialect::Generic, r#"{"meta":{"type":"x","id":7,"times":["?"]}}"#),
            ("x", "7", None, None, None),
        ),
    ];
    let requests = cases.clone().map(|(request, _)| request);
    let deliveries = kept(&requests).await;
    assert_eq!(deliveries.len(), cases.len());
    for (delivery, (_, expected)) in deliveries.iter().zip(cases) {
        assert_eq!(said(&delivery.entry), expected);
        assert_eq!(delivery.entry.state, State::Unrouted);
    }
}

/// Senders without ids, whose bodies repeat, must not lose a delivery.
#[tokio::test]
async fn without_an_id_the_digest_is_one_unless_the_sender_repeats_its_bodies() {
    let receiver = Receiver::start(&open_sources(), Catalog::<()>::new(), ()).await;
    let dialects = || Dialect::ALL.iter().filter(|dialect| **dialect != Dialect::CloudEvents);
    for &dialect in dialects() {
        for _ in 0..2 {
            receiver.send(&post(dialect, "{}")).await.taken();
        }
    }
    let deliveries = receiver.stop().await.deliveries().await;
    for &dialect in dialects() {
        let own = deliveries.iter().filter(|own| own.entry.source == dialect.as_str());
        let own: Vec<_> = own.collect();
        let is_distinct = FieldLocators::of(dialect).unidentified == Unidentified::Distinct;
        assert_eq!(own.len(), if is_distinct { 2 } else { 1 }, "{dialect}");
        assert!(own.iter().all(|own| own.entry.message_id_derived), "{dialect}");
        let recognised: u32 = own.iter().map(|own| own.entry.recognised).sum();
        assert_eq!(recognised, u32::from(!is_distinct), "{dialect}");
    }
    for repeating in [Dialect::Dropbox, Dialect::MicrosoftGraph, Dialect::Grafana] {
        assert_eq!(FieldLocators::of(repeating).unidentified, Unidentified::Distinct);
    }
}

#[tokio::test]
async fn an_account_in_the_body_is_checked_like_one_in_a_header() {
    let settings = open_sources()
        .replace("[sources.slack]\n", "[sources.slack]\nclient_ids = [\"T1\"]\n")
        .replace("[sources.cloudevents]\n", "[sources.cloudevents]\nclient_ids = [\"/shop\"]\n");
    let receiver = Receiver::start(&settings, Catalog::<()>::new(), ()).await;
    receiver.send(&post(Dialect::Slack, r#"{"type":"x","team_id":"T1"}"#)).await.taken();
    receiver.send(&with(post(Dialect::CloudEvents, "{}"), &BINARY)).await.taken();
    let asked = post(Dialect::Slack, r#"{"type":"url_verification","challenge":"x"}"#);
    assert_eq!(receiver.send(&asked).await.status, 200, "there is no account yet");
    for refused in [
        post(Dialect::Slack, r#"{"type":"x","team_id":"T2"}"#),
        post(Dialect::Slack, r#"{"type":"x"}"#),
        with(post(Dialect::CloudEvents, "{}"), &BINARY).set("ce-source", "/other"),
        structured(r#"{"specversion":"1.0","id":"2","source":"/other","type":"t"}"#),
    ] {
        assert_eq!(receiver.send(&refused).await.problem(401, "unauthorized"), None);
    }
    assert_eq!(receiver.stop().await.deliveries().await.len(), 2);
}

#[tokio::test]
async fn a_second_name_of_the_id_can_say_nothing_else() {
    let bare = post(Dialect::StandardWebhooks, r#"{"type":"a"}"#);
    let both = bare.clone().add("svix-id", "m").add("webhook-id", "m");
    assert_eq!(kept(std::slice::from_ref(&both)).await[0].entry.message_id, "m");
    for request in [
        bare.clone().add("svix-id", "m").add("webhook-id", "n"),
        bare.add("svix-id", "m").add("svix-id", "n"),
        both.add("webhook-id", "n"),
    ] {
        let said = answer(request).await.problem(400, "bad-request").unwrap();
        assert_eq!(said, "webhook-id and svix-id have different values");
    }
}

/// An event in binary mode, percent-encoded where it must be and where it need not.
const BINARY: [(&str, &str); 5] = [
    ("ce-specversion", "1.0"),
    ("ce-id", "1%20%C3%A9"),
    ("ce-source", "%2fshop"),
    ("ce-type", "a.b"),
    ("ce-time", "2024-03-01T12:00:00Z"),
];

fn structured(body: &str) -> Request {
    let media = "application/cloudevents+json; charset=utf-8";
    post(Dialect::CloudEvents, body).set("Content-Type", media)
}

#[tokio::test]
async fn cloud_events_are_told_apart_by_source_and_id_in_both_modes() {
    let binary = |source, id| {
        with(post(Dialect::CloudEvents, "{}"), &BINARY).set("ce-source", source).set("ce-id", id)
    };
    let body = r#"{"specversion":"1.0","id":"1","source":"/a","type":"a.b"}"#;
    let deliveries =
        kept(&[binary("/a", "1"), binary("/b", "1"), binary("/a", "2"), structured(body)]).await;
    let ids: Vec<_> = deliveries
        .iter()
        .map(|d| (d.entry.client_id.as_deref().unwrap(), d.entry.message_id.as_str()))
        .collect();
    assert_eq!(ids, [("/a", "1"), ("/b", "1"), ("/a", "2")]);
    assert_eq!(deliveries[0].entry.conflicts, 1, "the same event in another form");
}

#[tokio::test]
async fn a_cloud_event_without_a_required_attribute_is_refused_by_its_name() {
    let binary = with(post(Dialect::CloudEvents, r#"{"id":"1","source":"/s"}"#), &BINARY);
    for name in ["ce-id", "ce-source", "ce-type", "ce-specversion"] {
        let refused = answer(binary.clone().without(name)).await;
        let said = refused.problem(400, "bad-request").unwrap();
        assert_eq!(said, format!("{name} is missing"));
    }
    let refused = answer(binary.clone().set("ce-id", "%ff")).await;
    assert_eq!(refused.problem(400, "bad-request").unwrap(), "ce-id is not percent-encoded UTF-8");
    let whole = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t"});
    for name in ["id", "source", "type", "specversion"] {
        let mut body = whole.clone();
        body.as_object_mut().unwrap().remove(name);
        let refused = answer(with(structured(&body.to_string()), &[("ce-id", "1")])).await;
        let said = refused.problem(400, "bad-request").unwrap();
        assert_eq!(said, format!("/{name} in the body is missing"));
    }
}

#[tokio::test]
async fn a_batch_of_cloud_events_is_refused_with_the_way_out() {
    for media in ["application/cloudevents-batch+json", "Application/CloudEvents-Batch"] {
        let refused = answer(structured("[]").set("Content-Type", media)).await;
        let said = refused.problem(415, "unsupported-media-type").unwrap();
        assert_eq!(said, "batches of CloudEvents are not supported; send each event alone");
    }
}

#[derive(Deserialize, utoipa::ToSchema)]
#[allow(dead_code)]
struct Shipped {
    parcel: String,
}

impl Event for Shipped {
    const TYPE: &'static str = "parcel.shipped";
    const DIALECT: Dialect = Dialect::CloudEvents;
    const ENTITY: Option<&'static str> = Some("parcel");

    fn example() -> &'static str {
        r#"{"parcel":"P1"}"#
    }
}

/// What a handler was given: the payload, what the model does not name, and the whole body.
type Given = Arc<Mutex<Vec<(String, Value, String)>>>;

async fn shipped(given: Given, event: Delivery<Shipped>) -> Outcome {
    let raw = String::from_utf8_lossy(event.raw()).into_owned();
    let unknown = Value::Object(event.unknown.clone());
    given.lock().unwrap().push((event.parcel.clone(), unknown, raw));
    Ok(())
}

#[tokio::test]
async fn one_handler_serves_both_modes_of_cloud_events() {
    let given = Given::default();
    let catalog = Catalog::new().on(shipped);
    let receiver = Receiver::start(&open_sources(), catalog, Arc::clone(&given)).await;
    let event = |id: &str, data: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"parcel.shipped",{data}}}"#
        )
    };
    let data = r#"{"parcel":"P1", "more":1.0}"#;
    let (json, base64) = (event("2", &format!(r#""data": {data}"#)), event("3", BASE64));
    let binary = with(post(Dialect::CloudEvents, data), &BINARY).set("ce-type", "parcel.shipped");
    for request in [&binary, &structured(&json), &structured(&base64)] {
        receiver.send(request).await.taken();
    }
    let no_object = receiver.send(&structured(&event("4", r#""data":[]"#))).await;
    let said = no_object.problem(400, "bad-request").unwrap();
    assert_eq!(said, "the body is JSON, but parcel.shipped is an object");
    receiver.send(&structured(&event("5", r#""data":{"parcel":7}"#))).await.taken();
    let deliveries = receiver.finish().await.deliveries().await;
    let error = deliveries[3].entry.last_error.as_deref().unwrap();
    assert!(error.contains("(at data.parcel)"), "{error}");
    let bodies: Vec<String> = given.lock().unwrap().iter().map(|(.., raw)| raw.clone()).collect();
    assert_eq!(bodies, [data.to_owned(), json, base64]);
    for (parcel, unknown, _) in given.lock().unwrap().iter() {
        assert_eq!((parcel.as_str(), unknown), ("P1", &json!({"more": 1.0})));
    }
}

/// `{"parcel":"P1", "more":1.0}`.
const BASE64: &str = r#""data_base64":"eyJwYXJjZWwiOiJQMSIsICJtb3JlIjoxLjB9""#;

fn asking(dialect: Dialect) -> Request {
    post(dialect, "").method("OPTIONS").set("WebHook-Request-Origin", "events.example.com")
}

#[tokio::test]
async fn a_sender_of_cloud_events_gets_consent_if_it_is_configured() {
    const ORIGIN: &str = "webhook-allowed-origin";
    const RATE: &str = "webhook-allowed-rate";
    let consents = |origins: &str| {
        let more = format!("[sources.cloudevents]\nallowed_origins = {origins}\n");
        let settings = open_sources().replace("[sources.cloudevents]\n", &more);
        async move {
            let receiver = Receiver::start(&settings, Catalog::<()>::new(), ()).await;
            let asked = asking(Dialect::CloudEvents).set("WebHook-Request-Rate", "120");
            let answer = receiver.send(&asked).await;
            assert_eq!((answer.status, answer.header("allow")), (200, "POST"));
            assert!(receiver.stop().await.deliveries().await.is_empty());
            (answer.header(ORIGIN).to_owned(), answer.header(RATE).to_owned())
        }
    };
    let consent = ("events.example.com".to_owned(), "*".to_owned());
    assert_eq!(consents(r#"["other", "Events.Example.com"]"#).await, consent);
    assert_eq!(consents("\"*\"").await, consent);
    for none in ["[]", "\"example.com\"", "\"xevents.example.com\""] {
        assert_eq!(consents(none).await, Default::default(), "{none}");
    }
    let more = "[sources.cloudevents]\nallowed_origins = \"*\"\nrate_limit = 2\n";
    let settings = open_sources().replace("[sources.cloudevents]\n", more);
    let receiver = Receiver::start(&settings, Catalog::<()>::new(), ()).await;
    let asked = asking(Dialect::CloudEvents);
    assert_eq!(receiver.send(&asked).await.header(RATE), "", "only if it is asked for");
    let asked = asked.set("WebHook-Request-Rate", "1000");
    assert_eq!(receiver.send(&asked).await.header(RATE), "120", "a minute");
}

#[tokio::test]
async fn nobody_else_is_asked() {
    for &dialect in Dialect::ALL.iter().filter(|dialect| **dialect != Dialect::CloudEvents) {
        let refused = answer(asking(dialect)).await;
        refused.problem(405, "method-not-allowed");
        assert_eq!(refused.header("allow"), "POST, HEAD");
    }
    let silent = asking(Dialect::CloudEvents).without("WebHook-Request-Origin");
    answer(silent).await.problem(405, "method-not-allowed");
}

#[tokio::test]
async fn slacks_challenge_is_repeated_and_not_kept() {
    let receiver = Receiver::start(&open_sources(), Catalog::<()>::new(), ()).await;
    let asked = r#"{"token":"t","challenge":"3eZbrw1a","type":"url_verification"}"#;
    let answer = receiver.send(&post(Dialect::Slack, asked)).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"challenge": "3eZbrw1a"})));
    for delivery in [
        post(Dialect::Slack, r#"{"type":"url_verification"}"#),
        post(Dialect::Slack, r#"{"type":"x","challenge":"c","event":{"type":"url_verification"}}"#),
        post(Dialect::Stripe, asked),
    ] {
        receiver.send(&delivery).await.taken();
    }
    assert_eq!(receiver.stop().await.deliveries().await.len(), 3);
}

fn plan(line: &[&str], catalog: &contract::catalog::Table) -> Plan {
    let config: Config = parse(&open_sources(), [], "test").unwrap();
    let args = emit_args([&["emit"], line].concat()).unwrap();
    Plan::new(&args, catalog, &config).unwrap_or_else(|error| panic!("{line:?}: {error:#}"))
}

#[tokio::test]
async fn every_event_of_the_catalog_is_emitted_received_and_handled() {
    for dialect in [Dialect::DirectScale, Dialect::EvolutionX, Dialect::GitHub] {
        let source = dialect.as_str();
        let receiver =
            Receiver::start(&open_sources(), fixture::catalog(), Context::default()).await;
        let to = format!("http://{}/in/{source}", receiver.address);
        let line = ["--all", "--source", source, "--to", &to, "--count", "2", "--duplicate", "1"];
        // A URL without the event's name: the message itself has to say it.
        let plan = plan(&[&line[..], &["--concurrency", "1"]].concat(), &fixture::table());
        let report = send(&plan, std::future::pending()).await.unwrap();
        assert!(report.is_as_expected());
        let rows = fixture::table().events().filter(|row| row.dialect == dialect).count();
        let deliveries = receiver.finish().await.deliveries().await;
        assert_eq!(deliveries.len(), 2 * rows, "{dialect}");
        for delivery in deliveries {
            let entry = delivery.entry;
            assert!(!entry.message_id_derived);
            assert_eq!(entry.state, State::Done, "{dialect} {}", entry.event_type);
        }
    }
}

#[test]
fn a_message_says_of_itself_what_its_dialect_has_places_for() {
    let dry = |source: &str, line: &[&str]| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), r#"{"meta":{"id":"old","type":"x"},"id":"old"}"#).unwrap();
        let path = file.path().to_str().unwrap();
        let own = ["thing", "--raw", "--source", source, "--data", path, "--message-id", "m 1"];
        let request =
            plan(&[&own, line].concat(), &contract::catalog::Table::default()).json().unwrap();
        let request = &request["requests"][0];
        let headers: Vec<(String, String)> =
            serde_json::from_value(request["headers"].clone()).unwrap();
        (headers, request["body"].as_str().unwrap().to_owned())
    };
    let named = |headers: &[(String, String)], name: &str| {
        headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    };
    let (headers, body) = dry("github", &[]);
    assert_eq!(named(&headers, "X-GitHub-Event").as_deref(), Some("thing"));
    assert_eq!(named(&headers, "X-GitHub-Delivery").as_deref(), Some("m 1"));
    assert_eq!(body, r#"{"meta":{"id":"old","type":"x"},"id":"old"}"#);
    let (headers, body) = dry("stripe", &["--client-id", "acct_1"]);
    assert_eq!(headers.len(), 2, "type and agent only: {headers:?}");
    assert_eq!(body, r#"{"meta":{"id":"old","type":"x"},"id":"m 1","account":"acct_1"}"#);
    let (headers, _) = dry("cloudevents", &["--client-id", "/é"]);
    for (name, value) in [
        ("ce-id", "m%201"),
        ("ce-source", "/%C3%A9"),
        ("ce-type", "thing"),
        ("ce-specversion", "1.0"),
    ] {
        assert_eq!(named(&headers, name).as_deref(), Some(value), "{name}");
    }
    assert!(named(&headers, "ce-time").is_some());
    let (headers, body) = dry("generic", &["--user", "jo"]);
    assert_eq!(named(&headers, "X-Acme-Id").as_deref(), Some("m 1"));
    assert!(body.ends_with(r#""actor":{"na/me":"jo"}}"#), "{body}");
    let (headers, _) = dry("shopify", &[]);
    assert_eq!(named(&headers, "X-Shopify-Topic").as_deref(), Some("thing"));
    let (headers, _) = dry("standard-webhooks", &[]);
    assert_eq!(named(&headers, "webhook-id").as_deref(), Some("m 1"));
    let (_, body) = dry("slack", &[]);
    assert!(body.ends_with(r#""event_id":"m 1"}"#), "{body}");
}
