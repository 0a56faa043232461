//! The real pattern of each sender's deliveries: several of one action, without an id, in other formats than JSON, with a
//! key in other places than `Authorization`. Nothing genuine is taken for a duplicate, and nothing is refused.

use std::sync::{Arc, Mutex};

use contract::catalog::Catalog;
use contract::event::{Delivery, Dialect, Event, Outcome};
use fixture::senders::{self, SECRET};
use flate2::Compression;
use flate2::write::GzEncoder;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use settings::{Config, parse};
use sha2::Sha256;

use crate::harness::client::Request;
use crate::harness::genuine::Genuine;
use crate::harness::receiver::Receiver;

async fn start(settings: &str) -> Receiver {
    Receiver::start(settings, Catalog::<()>::new(), ()).await
}

fn signed(dialect: Dialect) -> (String, Config) {
    let settings = senders::signed(dialect, "one", "/in").unwrap();
    let config = parse(&settings, [], "test").unwrap();
    (settings, config)
}

/// Sends each request, and then each again: all are kept once.
async fn kept_once(settings: &str, requests: &[Request]) {
    let receiver = start(settings).await;
    for _ in 0..2 {
        for request in requests {
            receiver.send(request).await.taken();
        }
    }
    assert_eq!(receiver.stop().await.deliveries().await.len(), requests.len());
}

#[tokio::test]
async fn all_that_one_order_in_a_shop_causes_is_kept() {
    let (settings, config) = signed(Dialect::Shopify);
    let topics = [
        "orders/create",
        "orders/paid",
        "inventory_levels/update",
        "fulfillment_orders/order_routing_complete",
        "orders/updated",
    ];
    let delivery = |(number, topic): (usize, &str), id: Option<&str>| {
        // Two of them have the same bytes.
        let body = if topic.starts_with("orders/") { r#"{"id":1}"# } else { r#"{"item":1}"# };
        let request = Genuine::new(&config, "one").body(body).request();
        let request = request.set("X-Shopify-Topic", topic).set("X-Shopify-Event-Id", "action-1");
        let request = request.without("X-Shopify-Webhook-Id");
        match id {
            Some(id) => request.set("X-Shopify-Webhook-Id", format!("{id}{number}")),
            None => request,
        }
    };
    let burst = |id| topics.into_iter().enumerate().map(move |topic| delivery(topic, id));
    kept_once(&settings, &burst(Some("webhook-")).collect::<Vec<_>>()).await;
    kept_once(&settings, &burst(None).collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn what_a_shop_sends_within_one_second_is_kept() {
    let (settings, config) = signed(Dialect::WooCommerce);
    let delivery = |body: &str, topic: &'static str| {
        let request = Genuine::new(&config, "one").body(body).request();
        request.set("X-WC-Webhook-Topic", topic)
    };
    let order = r#"{"id":727,"status":"processing"}"#;
    let requests = [
        delivery(order, "order.updated"),
        delivery(order, "order.created"),
        delivery(r#"{"id":728,"status":"processing"}"#, "order.updated"),
    ];
    kept_once(&settings, &requests).await;
}

#[tokio::test]
async fn a_sender_whose_notifications_are_all_alike_loses_none() {
    for dialect in [Dialect::Dropbox, Dialect::Grafana] {
        let (settings, config) = signed(dialect);
        let receiver = start(&settings).await;
        for _ in 0..3 {
            receiver.send(&Genuine::new(&config, "one").request()).await.taken();
        }
        let deliveries = receiver.stop().await.deliveries().await;
        assert_eq!(deliveries.len(), 3, "{dialect}");
        assert!(deliveries.iter().all(|own| own.entry.recognised == 0));
    }
}

#[tokio::test]
async fn the_settings_say_what_a_resend_is() {
    let source = |message_id: &str| {
        format!(
            "[sources.a]\ndialect = \"generic\"\npath = \"/in\"\nauth = \"none\"\n[sources.a.places]\nmessage_id = {message_id}\n"
        )
    };
    let twice = |message_id: &'static str, body: &'static str| async move {
        let receiver = start(&source(message_id)).await;
        for _ in 0..2 {
            receiver.send(&Request::post("/in", body)).await.kept();
        }
        let deliveries = receiver.stop().await.deliveries().await;
        let recognised: u32 = deliveries.iter().map(|own| own.entry.recognised).sum();
        (deliveries.len(), recognised)
    };
    let (with, without) = (r#"{"id":"1"}"#, r#"{"n":1}"#);
    assert_eq!(twice("\"digest\"", with).await, (1, 1));
    assert_eq!(twice("\"none\"", with).await, (2, 0));
    assert_eq!(twice("\"/id\"", with).await, (1, 0));
    assert_eq!(twice("\"/id\"", without).await, (1, 1));
    assert_eq!(twice("[\"/id\", \"none\"]", with).await, (1, 0));
    assert_eq!(twice("[\"/id\", \"none\"]", without).await, (2, 0));
    assert_eq!(twice("[\"/n\", \"/id\"]", without).await, (1, 0));
    assert_eq!(twice("\"{/id} {/n?}\"", with).await, (1, 0));
}

#[tokio::test]
async fn a_digest_takes_in_the_query_that_names_the_event() {
    let settings = "[sources.a]\ndialect = \"generic\"\npath = \"/in\"\nauth = \"none\"\n[sources.a.places]\nevent_type = \"query:topic\"\n";
    let to = |query: &str| Request::post(&format!("/in?{query}"), "{}");
    kept_once(settings, &[to("topic=a"), to("topic=b")]).await;
}

/// A source of the dialect with a bearer key.
fn keyed(dialect: &str) -> String {
    format!(
        "[sources.one]\ndialect = \"{dialect}\"\npath = \"/in\"\nbearer_tokens = [\"the-key-of-this-source\"]\n"
    )
}

/// The genuine request is accepted, each other is refused, and so is the genuine one with another key.
async fn only_with_its_key(settings: &str, genuine: Request, forged: &[Request]) {
    let receiver = start(settings).await;
    receiver.send(&genuine).await.taken();
    for (number, forged) in forged.iter().enumerate() {
        let answer = receiver.send(forged).await;
        assert_eq!(answer.problem(401, "unauthorized"), None, "number {number}");
    }
    assert_eq!(receiver.stop().await.deliveries().await.len(), 1);
}

#[tokio::test]
async fn a_key_is_read_where_its_sender_puts_it() {
    let bare = Request::post("/in", r#"{"object_kind":"push"}"#);
    let token = |value: &str| bare.clone().set("X-Gitlab-Token", value);
    let forged = [
        bare.clone(),
        token("the-key-of-this-sourcE"),
        token("the-key-of-this-source").add("X-Gitlab-Token", "the-key-of-this-source"),
        bare.clone().bearer("the-key-of-this-source"),
    ];
    only_with_its_key(&keyed("gitlab"), token("the-key-of-this-source"), &forged).await;

    let notes = |states: &[&str]| {
        let note = |state: &&str| format!(r#"{{"changeType":"created","clientState":"{state}"}}"#);
        let notes: Vec<_> = states.iter().map(note).collect();
        Request::post("/in", format!(r#"{{"value":[{}]}}"#, notes.join(",")))
    };
    let right = "the-key-of-this-source";
    let forged = [
        notes(&[right, "another"]),
        notes(&["another", right]),
        notes(&[]),
        Request::post("/in", r#"{"value":[{"changeType":"created"}]}"#),
        Request::post(
            "/in",
            format!(r#"{{"value":[{{"clientState":"{right}"}},{{"changeType":"x"}}]}}"#),
        ),
        Request::post(
            "/in",
            format!(r#"{{"value":[{{"clientState":"{right}","clientState":"x"}}]}}"#),
        ),
    ];
    only_with_its_key(&keyed("microsoft-graph"), notes(&[right, right]), &forged).await;

    let basic = keyed("generic").replace("the-key-of-this-source", "user:pass word");
    let basic = format!("{basic}token = \"basic\"\n");
    let request = Request::post("/in", "{}");
    let auth = |value: &str| request.clone().set("Authorization", value);
    let forged =
        [auth("Basic dXNlcjpwYXNzd29yZA=="), auth("Bearer user:pass word"), request.clone()];
    only_with_its_key(&basic, auth("Basic dXNlcjpwYXNzIHdvcmQ="), &forged).await;
}

#[tokio::test]
async fn what_is_signed_as_a_form_proves_no_other_body() {
    let source = |signed: &str, more: &str| {
        format!(
            "[sources.a]\ndialect = \"generic\"\npath = \"/in\"\nsigning_keys = [\"a secret of sixteen\"]\nbodies = [\"json\", \"form\"]\n\
             [sources.a.signature]\nheader = \"X-S\"\nsigned = \"{signed}\"\n{more}"
        )
    };
    let sign = |text: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"a secret of sixteen").unwrap();
        mac.update(text.as_bytes());
        hex::encode(mac.finalize().into_bytes())
    };
    let form = |body: &str, signature: String| {
        let request = Request::post("/in", body).add("X-S", signature);
        request.set("Content-Type", "application/x-www-form-urlencoded")
    };
    let receiver = start(&source("{path}{form}", "")).await;
    let signature = sign("/ina1");
    assert!(receiver.send(&form("a=1", signature.clone())).await.kept().1);
    let empty = Request::post("/in", r#"{"a":2}"#).add("X-S", sign("/in"));
    assert_eq!(receiver.send(&empty).await.status, 401, "no form, so nothing of it is signed");
    let json = form(r#"{"a":2}"#, sign(r#"/in{"a":2}"#));
    receiver.send(&json).await.problem(400, "bad-request");
    let marked = form("\u{feff}[1,\"&a=1\"]", sign("/in\"]1\u{feff}[1,\""));
    assert!([400, 401].contains(&receiver.send(&marked).await.status));
    receiver.stop().await;
    let unsigned =
        source("{path}{timestamp}", "timestamp_header = \"X-T\"\nbody_digest = \"header:X-D\"\n");
    let refused = parse(&unsigned, [], "test").unwrap().sources().unwrap_err().to_string();
    assert!(refused.contains("does not have the place of body_digest"), "{refused}");
}

#[tokio::test]
async fn the_address_that_is_configured_wins_over_that_of_the_request() {
    let settings = |more: &str| {
        format!(
            "[sources.one]\ndialect = \"hubspot\"\npath = \"/in\"\nsigning_keys = [\"a secret of sixteen\"]\n{more}"
        )
    };
    let signed_for = |url: &str| {
        let config = parse(&settings(&format!("public_url = \"{url}\"\n")), [], "test").unwrap();
        Genuine::new(&config, "one").request()
    };
    let receiver = start(&settings("public_url = \"https://hooks.prod.example/hubspot\"\n")).await;
    receiver.send(&signed_for("https://hooks.prod.example/hubspot")).await.taken();
    let stage = signed_for("https://stage.example");
    assert_eq!(receiver.send(&stage).await.status, 401);
    receiver.stop().await;
}

#[derive(Deserialize, utoipa::ToSchema)]
struct Command {
    command: String,
    text: String,
}

impl Event for Command {
    const TYPE: &'static str = "/weather";
    const DIALECT: Dialect = Dialect::Slack;
    const ENTITY: Option<&'static str> = None;

    fn example() -> &'static str {
        r#"{"command":"/weather","text":"94070"}"#
    }
}

type Given = Arc<Mutex<Vec<(String, String, Vec<u8>)>>>;

async fn asked(given: Given, command: Delivery<Command>) -> Outcome {
    let own = (command.command.clone(), command.text.clone(), command.raw().to_vec());
    given.lock().unwrap().push(own);
    Ok(())
}

#[tokio::test]
async fn a_handler_is_given_the_model_of_form_fields() {
    let given = Given::default();
    let (settings, config) = signed(Dialect::Slack);
    let receiver = Receiver::start(&settings, Catalog::new().on(asked), Arc::clone(&given)).await;
    let form = "command=%2Fweather&text=94070+%26+more&trigger_id=13345224609.738474920";
    let genuine = Genuine::new(&config, "one").body(form).request();
    let genuine = genuine.set("Content-Type", "application/x-www-form-urlencoded");
    let answer = receiver.send(&genuine).await;
    assert_eq!((answer.status, answer.text()), (200, ""), "Slack shows what it is answered");
    receiver.send(&genuine).await.taken();
    let deliveries = receiver.finish().await.deliveries().await;
    assert_eq!(deliveries.len(), 1);
    assert_eq!(deliveries[0].entry.message_id, "13345224609.738474920");
    assert_eq!(*deliveries[0].body, *form.as_bytes(), "the bytes as they came");
    let given = given.lock().unwrap();
    assert_eq!(given.len(), 1);
    let (command, text, raw) = &given[0];
    assert_eq!((command.as_str(), text.as_str()), ("/weather", "94070 & more"));
    assert_eq!(raw, form.as_bytes());
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

const LARGEST: usize = 2000;

fn accepting(more: &str) -> String {
    format!(
        "[limits]\nmax_body = {LARGEST}\n[sources.a]\ndialect = \"generic\"\npath = \"/in\"\nauth = \"none\"\n{more}\n[sources.a.places]\nmessage_id = \"/id\"\n"
    )
}

#[tokio::test]
async fn bodies_in_other_formats_are_accepted_where_a_source_allows_them() {
    let receiver =
        start(&accepting("bodies = [\"json\", \"text\", \"form\", \"any\", \"empty\"]")).await;
    let post = |kind: &str, body: &[u8]| {
        Request::post("/in", body).without("Content-Type").set("Content-Type", kind)
    };
    let json = b"\xef\xbb\xbf{\"id\":\"1\"}";
    for (request, id) in [
        (post("application/json", json), "1"),
        (post("text/plain; charset=utf-8", b"{\"id\":\"2\"}"), "2"),
        (Request::post("/in", "{\"id\":\"3\"}").without("Content-Type"), "3"),
        (post("application/x-www-form-urlencoded", b"id=4&x=%20"), "4"),
        (post("application/problem+json", b"{\"id\":\"5\"}"), "5"),
    ] {
        assert_eq!(receiver.send(&request).await.json()["messageId"], id);
    }
    let digested = [
        post("application/xml", b"<id>6</id>"),
        post("application/octet-stream", b"\x00\xff"),
        Request::post("/in", "").without("Content-Type"),
    ];
    for request in digested {
        assert!(receiver.send(&request).await.kept().1);
        assert!(!receiver.send(&request).await.kept().1);
    }
    let deliveries = receiver.finish().await.deliveries().await;
    assert_eq!(deliveries.len(), 8);
    assert_eq!(*deliveries[6].body, *b"\x00\xff");
}

#[tokio::test]
async fn a_refusal_names_what_came_and_what_would_do() {
    let receiver = start(&accepting("")).await;
    for (kind, words) in [
        (Some("text/plain"), "text/plain"),
        (Some("application/x-www-form-urlencoded"), "application/x-www-form-urlencoded"),
        (None, "the content type is missing"),
        (Some("nonsense"), "malformed"),
    ] {
        let bare = Request::post("/in", "{}").without("Content-Type");
        let request = kind.iter().fold(bare, |request, kind| request.set("Content-Type", kind));
        let said = receiver.send(&request).await.problem(415, "unsupported-media-type").unwrap();
        assert!(said.contains(words) && said.contains("application/json"), "{said}");
    }
    let coded = Request::post("/in", gzip(b"{}")).set("Content-Encoding", "gzip");
    let said = receiver.send(&coded).await.problem(415, "unsupported-media-type").unwrap();
    assert!(said.contains("gzip"), "{said}");
    receiver.stop().await;
}

#[tokio::test]
async fn a_compressed_body_is_read_within_the_limits() {
    let receiver = start(&accepting("gzip = true")).await;
    let post = |bytes: &[u8]| Request::post("/in", bytes).set("Content-Encoding", "gzip");
    let body = br#"{"id":"zipped","text":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}"#;
    let answer = receiver.send(&post(&gzip(body))).await;
    assert_eq!((answer.status, answer.json()["messageId"].as_str()), (200, Some("zipped")));
    let bomb = gzip(format!(r#"{{"id":"{}"}}"#, "a".repeat(50 * LARGEST)).as_bytes());
    assert!(bomb.len() < LARGEST);
    receiver.send(&post(&bomb)).await.problem(413, "content-too-large");
    let cut = &gzip(body)[..20];
    for bad in [cut, b"{}", b""] {
        receiver.send(&post(bad)).await.problem(400, "bad-request");
    }
    let other = Request::post("/in", "{}").set("Content-Encoding", "br");
    receiver.send(&other).await.problem(415, "unsupported-media-type");
    let deliveries = receiver.stop().await.deliveries().await;
    assert_eq!(deliveries.len(), 1);
    assert_eq!(*deliveries[0].body, *gzip(body), "the bytes as they came");
}

/// What is written below a row's name can be pasted into the settings of a sender without a dialect.
#[tokio::test]
async fn a_row_of_the_table_is_the_same_in_the_settings() {
    let own = [
        "title",
        "docs",
        "page",
        "key",
        "url_per_event",
        "timeout",
        "failure",
        "resends",
        "note",
        "sends",
        "required",
    ];
    for row in senders::every() {
        let Some(settings) = senders::signed(row, "one", "/in") else { continue };
        let sender = ::senders::row(row.as_str()).unwrap();
        let mut table = sender.settings.clone();
        own.iter().for_each(|name| drop(table.remove(*name)));
        let answer = table.remove("answer").and_then(|answer| answer.as_table().cloned());
        for (name, value) in answer.into_iter().flatten() {
            table.insert(format!("accepted_{name}"), value);
        }
        let mut both: toml::Table = settings.parse().unwrap();
        let mine = both["sources"]["one"].as_table_mut().unwrap();
        mine.insert("dialect".into(), "generic".into());
        mine.extend(table);
        let described = both.to_string();
        let config = parse(&settings, [], "test").unwrap();
        let request = Genuine::new(&config, "one").request();
        let mut kept = Vec::new();
        for settings in [&settings, &described] {
            let receiver = start(settings).await;
            let answer = receiver.send(&request).await;
            answer.taken();
            let forged = receiver.send(&request.clone().body(format!("{} ", SECRET))).await;
            let deliveries = receiver.stop().await.deliveries().await;
            let entry = &deliveries[0].entry;
            kept.push((
                (answer.status, answer.header("content-type").to_owned(), forged.status),
                // Another dialect has another digest.
                entry.message_id_derived.then(String::new).unwrap_or(entry.message_id.clone()),
                (entry.message_id_derived, entry.event_type.clone()),
                (entry.client_id.clone(), entry.user.clone(), entry.event_time),
            ));
        }
        assert_eq!(kept[0], kept[1], "{row}");
    }
}
