//! Deliveries whose sender gives no id: two events are two, whatever tells them apart, and a resend is one.

use chrono::{TimeDelta, Utc};
use contract::catalog::Catalog;
use contract::time::Timestamp;
use signature::{Key, Scheme, Stamp};

use crate::harness::client::Request;
use crate::harness::receiver::Receiver;
use crate::receive::dialects::open_sources;

const BODY: &str = r#"{"AssociateId":7,"Username":"j"}"#;

async fn start(settings: &str) -> Receiver {
    Receiver::start(settings, Catalog::<()>::new(), ()).await
}

/// Every request is new when it is first sent and a duplicate when it is sent again.
async fn told_apart(settings: &str, requests: &[Request]) {
    let receiver = start(settings).await;
    for (number, request) in requests.iter().enumerate() {
        assert!(receiver.send(request).await.kept().1, "number {number} is taken for another");
    }
    for (number, request) in requests.iter().enumerate() {
        assert!(!receiver.send(request).await.kept().1, "number {number} is not recognised");
    }
    let deliveries = receiver.finish().await.deliveries().await;
    assert_eq!(deliveries.len(), requests.len());
    assert!(deliveries.iter().all(|delivery| delivery.entry.message_id_derived));
}

fn to(path: &str) -> Request {
    Request::post(path, BODY)
}

#[tokio::test]
async fn events_that_only_the_path_names_are_told_apart() {
    for dialect in ["directscale", "generic", "evolutionx", "shopify"] {
        let name = |name: &str| to(&format!("/in/{dialect}{name}"));
        let names =
            ["", "/CreateAssociateEvent", "/UpdateAssociateEvent", "/a%2fb", "/%ff", "/%fe"];
        told_apart(&open_sources(), &names.map(name)).await;
    }
}

#[tokio::test]
async fn events_that_a_header_names_are_told_apart() {
    let cases = [
        ("github", ["X-GitHub-Event", "X-GitHub-Event"]),
        ("shopify", ["X-Shopify-Topic", "X-Shopify-Triggered-At"]),
        ("shopify", ["X-Shopify-Topic", "X-Shopify-Shop-Domain"]),
        ("directscale", ["X-Directscale-Client-Id", "X-Directscale-User"]),
        ("generic", ["X-Acme-Account", "X-Acme-Account"]),
    ];
    for (dialect, [name, other]) in cases {
        let bare = to(&format!("/in/{dialect}"));
        let requests = [
            bare.clone(),
            bare.clone().set(name, "a"),
            bare.clone().set(name, "b"),
            bare.clone().set(name, b"Jos\xe9"),
            bare.clone().set(name, "a").add(name, "c"),
            bare.set(name, "a").set(other, "2"),
        ];
        told_apart(&open_sources(), &requests).await;
    }
}

#[tokio::test]
async fn two_ids_that_contradict_each_other_are_part_of_the_identity() {
    let ids = |first, second| {
        let request = to("/in/github").add("X-GitHub-Delivery", first);
        request.add("X-GitHub-Delivery", second)
    };
    told_apart(&open_sources(), &[to("/in/github"), ids("a", "b"), ids("a", "c")]).await;
}

#[tokio::test]
async fn one_event_is_the_same_in_every_spelling_of_its_path() {
    let settings =
        "[sources.a]\ndialect = \"directscale\"\npath = \"/api/webhooks\"\nauth = \"none\"\n";
    let receiver = start(settings).await;
    let (first, new) = receiver.send(&to("/api/webhooks/OrderEvent")).await.kept();
    assert!(new);
    for path in [
        "/api/webhooks/orderevent",
        "/API/Webhooks/OrderEvent/",
        "/api/webhooks/Order%45vent",
        "/api/v1/webhooks/OrderEvent",
        "/api/webhooks/OrderEvent?code=1",
    ] {
        let blank = to(path).add("X-Directscale-Message-Id", " ");
        assert_eq!(receiver.send(&blank).await.kept(), (first, false), "{path}");
    }
    receiver.stop().await;
}

fn signed(scheme: &str, id: &str, time: Timestamp) -> Request {
    let scheme = Scheme::named(scheme).unwrap();
    let key = Key::new(&scheme, &KEY.into()).unwrap();
    let headers = scheme.sign(&[&key], Stamp { id, time }, BODY.as_bytes()).unwrap();
    headers
        .into_iter()
        .fold(to("/in"), |request, (name, value)| request.set(String::leak(name), value.as_bytes()))
}

const KEY: &str = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTE=";

fn source(scheme: &str) -> String {
    format!(
        "[sources.signed]\ndialect = \"generic\"\nscheme = \"{scheme}\"\npath = \"/in\"\nsigning_keys = [\"{KEY}\"]\n"
    )
}

#[tokio::test]
async fn the_time_of_signing_tells_equal_bodies_apart() {
    let (now, earlier) = (Utc::now(), Utc::now() - TimeDelta::seconds(60));
    for scheme in ["stripe", "slack"] {
        told_apart(&source(scheme), &[now, earlier].map(|time| signed(scheme, "", time))).await;
    }
}

#[tokio::test]
async fn a_signed_id_that_no_place_names_tells_equal_bodies_apart_whenever_they_are_signed() {
    let (now, earlier) = (Utc::now(), Utc::now() - TimeDelta::seconds(60));
    let scheme = "standard-webhooks";
    told_apart(&source(scheme), &["a", "b"].map(|id| signed(scheme, id, now))).await;
    let receiver = start(&source(scheme)).await;
    let first = receiver.send(&signed(scheme, "a", earlier)).await.kept();
    assert_eq!(receiver.send(&signed(scheme, "a", now)).await.kept(), (first.0, false));
    receiver.stop().await;
}

#[tokio::test]
async fn an_id_that_is_too_long_is_an_id_all_the_same() {
    let long = |end: &str| "x".repeat(512) + end;
    let header = |name, end: &str| to("/in/github").set(name, long(end));
    let body = |end: &str| Request::post("/in/stripe", format!(r#"{{"id":"{}"}}"#, long(end)));
    let receiver = start(&open_sources()).await;
    for pair in [
        ["a", "b"].map(|end| header("X-GitHub-Delivery", end)),
        ["a", "b"].map(body),
        ["a", "b"].map(|end| header("X-GitHub-Event", end)),
    ] {
        let mut ids = Vec::new();
        for request in &pair {
            let (id, new) = receiver.send(request).await.kept();
            assert!(new);
            assert_eq!(receiver.send(request).await.kept(), (id, false));
            ids.push(id);
        }
        assert_ne!(ids[0], ids[1]);
    }
    let deliveries = receiver.stop().await.deliveries().await;
    let entry = &deliveries[0].entry;
    assert!(entry.message_id.starts_with("sha256:") && !entry.message_id_derived);
    assert!(deliveries[0].headers.contains(&long("a")), "the id itself is among the headers");
    assert!(deliveries[4].entry.event_type.starts_with("sha256:"));
}
