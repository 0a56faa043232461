//! The bus and real targets, within this process: who gets what, and what becomes of what fails.

use std::collections::HashSet;
use std::time::Duration;

use bus::{Bus, BusError, PublishStatus, ResendSelection, Status, SubscriptionFilter};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::harness::bus::{Home, attempts, outcomes, publication, publish, publish_many};
use crate::harness::deliveries::PATIENCE;
use crate::harness::sink::Sink;
use crate::harness::vendor::{Reply, Vendor};

async fn stands(bus: &Bus, name: &str, status: Status) {
    let there = async {
        while bus.subscription(name).await.unwrap().health.status != status {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, there).await.unwrap_or_else(|_| panic!("{name}: {status:?}"));
}

#[tokio::test]
async fn an_event_reaches_those_who_ask_for_it_and_is_logged() {
    let (bus, mut orders, mut all) =
        (Home::new().start().await, Sink::answering(200).await, Sink::answering(200).await);
    let definition = json!({
        "events": ["*order*"], "target": orders.url(), "bearer_token": "k3y-of-the-orders",
        "query": {"code": "s3cret"}, "headers": {"X-Own": "s3cret-too"}, "client_id": "acme",
    });
    bus.create("orders", &definition).await.unwrap();
    bus.create("all", &json!({"events": "*", "target": all.url()})).await.unwrap();
    let order = publish(&bus, json!({"type": "OrderEvent", "user": "ann"})).await;
    let daily = publish(&bus, json!({"type": "DailyEvent"})).await;
    assert_eq!((order.deliveries, daily.deliveries), (2, 1));

    let seen = orders.next().await;
    assert_eq!(seen.uri, "/in/OrderEvent?code=s3cret");
    assert_eq!(seen.header("authorization"), "Bearer k3y-of-the-orders");
    assert_eq!(seen.header("x-own"), "s3cret-too");
    assert_eq!(seen.header("x-directscale-message-id"), order.id);
    assert_eq!(seen.header("x-directscale-client-id"), "acme");
    assert_eq!(seen.header("x-directscale-user"), "ann");
    assert_eq!(seen.json()["EventType"], "OrderEvent");
    let both = [all.next().await, all.next().await].map(|seen| seen.uri.to_string());
    assert_eq!(
        HashSet::from(both),
        HashSet::from(["/in/OrderEvent".into(), "/in/DailyEvent".into()])
    );

    let attempt = attempts(&bus, "orders", 1).await.remove(0);
    assert_eq!((attempt.status, attempt.outcome, attempt.attempt), (Some(200), "delivered", 1));
    let detail = bus.attempt_log(attempt.id).await.unwrap();
    let said = serde_json::to_string(&detail).unwrap();
    assert!(!said.contains("s3cret") && !said.contains("k3y"), "{said}");
    let exchange = detail.exchange.unwrap();
    assert_eq!(exchange.request_body.as_bytes(), &seen.body[..]);
    assert_eq!((exchange.response_body.as_str(), exchange.is_cut), ("thank you", false));
    let shown =
        serde_json::to_string(&bus.subscriptions(SubscriptionFilter::default()).await.unwrap())
            .unwrap();
    assert!(!shown.contains("s3cret") && !shown.contains("k3y"), "{shown}");
}

#[tokio::test]
async fn an_id_is_published_once() {
    let (bus, mut sink) = (Home::new().start().await, Sink::answering(200).await);
    bus.create("all", &json!({"events": "*", "target": sink.url()})).await.unwrap();
    let event = json!({"type": "Own", "id": "evt_1", "data": {"a": 1}});
    assert_eq!(publish(&bus, event.clone()).await.status, PublishStatus::Accepted);
    assert_eq!(publish(&bus, event).await.status, PublishStatus::Duplicate);
    let other = json!({"type": "Own", "id": "evt_1", "data": {"a": 2}});
    assert_eq!(publish(&bus, other).await.status, PublishStatus::Conflict);
    publish(&bus, json!({"type": "Own", "id": "evt_2", "data": {}})).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        ids.push(sink.next().await.header("x-directscale-message-id").to_owned());
    }
    ids.sort();
    assert_eq!(ids, ["evt_1", "evt_2"]);
}

#[tokio::test]
async fn a_retry_has_the_same_id_and_a_new_signature() {
    let (bus, mut sink) = (Home::fast(20.0).start().await, Sink::answering(500).await);
    let definition = json!({
        "events": "*", "target": sink.url(), "dialect": "standard-webhooks", "retries": "40s, 40s",
        "signing_key": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "old_signing_key": "whsec_AAAQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "old_signing_key_until": "2999-01-01T00:00:00Z",
    });
    bus.create("signed", &definition).await.unwrap();
    let id = publish(
        &bus,
        json!({"type": "order.created", "data": {"event_id": "x", "n": 1}, "raw": true}),
    )
    .await
    .id;
    let first = sink.next().await;
    sink.answer_from_now_on(204);
    let second = sink.next().await;
    for seen in [&first, &second] {
        assert_eq!(seen.header("webhook-id"), id);
        assert_eq!(seen.header("webhook-signature").split(' ').count(), 2, "both keys sign");
        assert_eq!(seen.json()["type"], "order.created");
        assert_eq!(seen.json()["data"]["n"], 1);
    }
    assert_ne!(first.header("webhook-timestamp"), second.header("webhook-timestamp"));
    assert_ne!(first.header("webhook-signature"), second.header("webhook-signature"));
    assert_eq!(outcomes(&attempts(&bus, "signed", 2).await), ["again", "delivered"]);
}

#[tokio::test]
async fn a_kept_connection_that_the_target_closes_costs_no_attempt() {
    let (bus, target) = (Home::new().start().await, Vendor::start(Reply::OnceEach("")).await);
    bus.create("one", &json!({"events": "*", "target": target.url})).await.unwrap();
    for done in 1..=3 {
        publish(&bus, json!({"type": "Own", "data": {"n": done}})).await;
        let attempts = attempts(&bus, "one", done).await;
        assert_eq!(outcomes(&attempts), vec!["delivered"; done]);
    }
    assert_eq!(target.asked().len(), 5, "all but the first are asked twice");
}

#[tokio::test]
async fn what_is_given_up_is_sent_again_by_hand_after_a_preview() {
    let (bus, mut sink) = (Home::new().start().await, Sink::answering(503).await);
    bus.create("once", &json!({"events": "*", "target": sink.url(), "retries": "github"}))
        .await
        .unwrap();
    publish_many(&bus, 3).await;
    assert_eq!(outcomes(&attempts(&bus, "once", 3).await), ["given_up"; 3]);
    sink.answer_from_now_on(200);
    let failed =
        || ResendSelection::Failed { subscription: Some("once".into()), since: None, until: None };
    let preview = bus.preview(failed(), Some(2.0)).await.unwrap();
    assert_eq!((preview.deliveries, preview.seconds), (3, 1.0));
    assert_eq!(preview.events, ["e-0", "e-1", "e-2"]);
    assert_eq!(bus.resend(failed(), None).await.unwrap(), 3);
    let all = attempts(&bus, "once", 6).await;
    assert_eq!(outcomes(&all[3..]), ["delivered"; 3]);
    assert_eq!(bus.preview(failed(), None).await.unwrap().deliveries, 0);
    assert_eq!(bus.resend(ResendSelection::Attempt(all[0].id), None).await.unwrap(), 1);
    assert_eq!(bus.resend(ResendSelection::Event("e-1".into()), None).await.unwrap(), 1);
    attempts(&bus, "once", 8).await;
    while sink.came().is_some() {}
}

#[tokio::test]
async fn only_200_is_a_success_with_directscale_and_a_redirect_with_nobody() {
    let (bus, mut sink) = (Home::new().start().await, Sink::answering(202).await);
    bus.create("ds", &json!({"events": "*", "target": sink.url()})).await.unwrap();
    bus.create("sw", &json!({"events": "*", "target": sink.url(), "retries": "standard-webhooks"}))
        .await
        .unwrap();
    publish_many(&bus, 1).await;
    assert_eq!(outcomes(&attempts(&bus, "ds", 1).await), ["again"]);
    assert_eq!(outcomes(&attempts(&bus, "sw", 1).await), ["delivered"]);
    let moved = Sink::with_headers(302, vec![("location", "/elsewhere")]).await;
    bus.create("moved", &json!({"events": "*", "target": moved.url()})).await.unwrap();
    publish(&bus, json!({"type": "Own", "data": {}})).await;
    let attempt = attempts(&bus, "moved", 1).await.remove(0);
    assert_eq!((attempt.outcome, attempt.status), ("again", Some(302)));
    while let Some(seen) = sink.came() {
        assert!(seen.uri.path().starts_with("/in/"));
    }
}

#[tokio::test]
async fn a_target_that_is_gone_gets_nothing_more() {
    let (bus, mut sink) = (Home::new().start().await, Sink::answering(410).await);
    bus.create("gone", &json!({"events": "*", "target": sink.url()})).await.unwrap();
    publish(&bus, json!({"type": "Own", "data": {}})).await;
    stands(&bus, "gone", Status::Ended).await;
    let why = bus.subscription("gone").await.unwrap().health.why.unwrap();
    assert!(why.contains("410"), "{why}");
    assert_eq!(publish(&bus, json!({"type": "Own", "data": {}})).await.deliveries, 0);
    sink.next().await;
    assert!(sink.came().is_none());
}

#[tokio::test]
async fn a_target_that_fails_for_too_long_is_paused_and_well_again_after_a_probe() {
    let home = Home::fast(200_000.0);
    let (bus, mut sink) = (home.start().await, Sink::answering(500).await);
    bus.create(
        "ill",
        &json!({"events": "*", "target": sink.url(), "retries": "1d,1d,1d,1d,1d,1d,1d"}),
    )
    .await
    .unwrap();
    publish_many(&bus, 2).await;
    stands(&bus, "ill", Status::Failing).await;
    let health = bus.subscription("ill").await.unwrap().health;
    assert!(health.why.unwrap().contains("failed attempts in a row"));
    sink.answer_from_now_on(200);
    stands(&bus, "ill", Status::Active).await;
    assert_eq!(bus.subscription("ill").await.unwrap().health.failures, 0);
    while sink.came().is_some() {}
}

#[tokio::test]
async fn a_paused_subscription_keeps_its_events_over_a_restart() {
    let (home, mut sink) = (Home::new(), Sink::answering(200).await);
    let bus = home.start().await;
    bus.create("one", &json!({"events": "*", "target": sink.url()})).await.unwrap();
    bus.pause("one", None).await.unwrap();
    publish_many(&bus, 700).await;
    assert_eq!(bus.subscription("one").await.unwrap().waiting, 700);
    bus.stop().await;
    drop(bus);
    let bus = home.start().await;
    assert_eq!(bus.subscription("one").await.unwrap().health.status, Status::Paused);
    assert!(sink.came().is_none());
    bus.resume("one").await.unwrap();
    let mut ids = HashSet::new();
    for _ in 0..700 {
        ids.insert(sink.next().await.header("x-directscale-message-id").to_owned());
    }
    assert_eq!(ids.len(), 700, "each once");
    attempts(&bus, "one", 700).await;
    assert!(sink.came().is_none());
}

#[tokio::test]
async fn a_dead_target_delays_no_other_and_never_has_more_requests_than_it_may() {
    let (bus, mut well) = (Home::new().start().await, Sink::answering(200).await);
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = format!("http://{}/", silent.local_addr().unwrap());
    bus.create("dead", &json!({"events": "*", "target": dead, "timeout": "60s"})).await.unwrap();
    bus.create("well", &json!({"events": "*", "target": well.url(), "concurrency": 2}))
        .await
        .unwrap();
    publish_many(&bus, 300).await;
    for _ in 0..300 {
        well.next().await;
    }
    assert!(well.most_open() <= 2);
    assert_eq!(bus.subscription("dead").await.unwrap().waiting, 300);
    bus.stop().await;
}

/// A target that does something else than HTTP servers do.
async fn strange(answer: &'static [u8], goes_on: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer).await;
                let piece = [b'x'; 64 * 1024];
                while goes_on && stream.write_all(&piece).await.is_ok() {}
                std::future::pending::<()>().await;
            });
        }
    });
    format!("http://{address}/")
}

#[tokio::test]
async fn an_answer_that_does_not_end_is_cut_in_time_and_in_size() {
    let bus = Home::new().start().await;
    let endless = strange(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n", true).await;
    let slow = strange(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx", false).await;
    for (name, target) in [("endless", endless), ("slow", slow)] {
        let definition = json!({"events": "*", "target": target, "timeout": "300ms"});
        bus.create(name, &definition).await.unwrap();
    }
    publish(&bus, json!({"type": "Own", "data": {}})).await;
    let endless = attempts(&bus, "endless", 1).await.remove(0);
    assert_eq!(endless.outcome, "delivered");
    let exchange = bus.attempt_log(endless.id).await.unwrap().exchange.unwrap();
    assert_eq!((exchange.response_body.len(), exchange.is_cut), (64 * 1024, true));
    let slow = attempts(&bus, "slow", 1).await.remove(0);
    assert_eq!((slow.outcome, slow.error.as_deref()), ("again", Some("no answer in time")));
}

#[tokio::test]
async fn events_about_one_object_go_one_after_the_other_in_order() {
    let (bus, mut sink) = (Home::fast(20.0).start().await, Sink::answering(500).await);
    let definition =
        json!({"events": "*", "target": sink.url(), "in_order": true, "retries": "20s,20s,20s"});
    bus.create("ordered", &definition).await.unwrap();
    let event = |n: usize, object: &str| {
        publication(
            json!({"type": "Own", "id": format!("{object}-{n}"), "data": {}, "object_id": object}),
        )
    };
    bus.publish(vec![event(1, "a"), event(2, "a"), event(3, "a"), event(1, "b")]).await.unwrap();
    let id = |seen: crate::harness::sink::Seen| seen.header("x-directscale-message-id").to_owned();
    let first = HashSet::from([id(sink.next().await), id(sink.next().await)]);
    assert_eq!(first, HashSet::from(["a-1".into(), "b-1".into()]));
    sink.answer_from_now_on(200);
    let mut rest = Vec::new();
    for _ in 0..4 {
        rest.push(id(sink.next().await));
    }
    rest.retain(|id| id.starts_with('a'));
    assert_eq!(rest, ["a-1", "a-2", "a-3"]);
}

#[tokio::test]
async fn what_waits_behind_another_about_its_object_is_counted() {
    let (bus, sink) = (Home::new().start().await, Sink::answering(200).await);
    let definition = json!({"events": "*", "target": sink.url(), "in_order": true});
    bus.create("ordered", &definition).await.unwrap();
    bus.pause("ordered", None).await.unwrap();
    for _ in 0..3 {
        publish(&bus, json!({"type": "Own", "data": {}, "object_id": "a"})).await;
    }
    assert_eq!(bus.subscription("ordered").await.unwrap().waiting, 3);
}

#[tokio::test]
async fn first_attempts_are_not_starved_by_retries() {
    let (bus, mut sink) = (Home::fast(1000.0).start().await, Sink::answering(500).await);
    let delays = vec!["10s"; 100].join(",");
    let definition =
        json!({"events": "*", "target": sink.url(), "concurrency": 1, "retries": delays});
    bus.create("busy", &definition).await.unwrap();
    publish_many(&bus, 50).await;
    attempts(&bus, "busy", 200).await;
    publish(&bus, json!({"type": "Own", "id": "new", "data": {}})).await;
    let mut before = 0;
    while sink.came().is_some() {}
    while sink.next().await.header("x-directscale-message-id") != "new" {
        before += 1;
    }
    assert!(before < 50, "{before} retries went before it");
}

#[tokio::test]
async fn faults_on_purpose_are_what_the_target_sees() {
    let (bus, mut sink) = (Home::new().start().await, Sink::answering(200).await);
    let with = |fault: Value| json!({"events": "*", "target": sink.url(), "retries": "github", "faults": fault});
    bus.create("twice", &with(json!({"duplicate": 1.0}))).await.unwrap();
    bus.create("tampered", &with(json!({"tamper": 1.0}))).await.unwrap();
    bus.create("dropped", &with(json!({"drop": 1.0}))).await.unwrap();
    bus.create("truncated", &with(json!({"truncate": 1.0}))).await.unwrap();
    publish(&bus, json!({"type": "Own", "id": "e", "data": {"text": "xxxxxxxxxxxxxxxxxxxx"}}))
        .await;
    assert_eq!(outcomes(&attempts(&bus, "twice", 2).await), ["delivered", "copy"]);
    let tampered = attempts(&bus, "tampered", 1).await.remove(0);
    assert_eq!((tampered.outcome, tampered.fault.as_deref()), ("delivered", Some("tamper")));
    let dropped = attempts(&bus, "dropped", 1).await.remove(0);
    assert_eq!((dropped.outcome, dropped.fault.as_deref()), ("given_up", Some("drop")));
    let truncated = attempts(&bus, "truncated", 1).await.remove(0);
    assert_eq!((truncated.outcome, truncated.fault.as_deref()), ("given_up", Some("truncate")));
    let mut bodies = Vec::new();
    while let Some(seen) = sink.came() {
        bodies.push(seen.body.len());
    }
    bodies.sort();
    assert_eq!(
        bodies.len(),
        4,
        "two copies, the tampered and the dropped; the truncated never was a request"
    );
    assert_eq!(bodies[3], bodies[2] + 1);
}

#[tokio::test]
async fn a_burst_is_gathered_and_sent_together() {
    let (bus, mut sink) = (Home::new().start().await, Sink::answering(200).await);
    let definition = json!({"events": "*", "target": sink.url(), "faults": {"burst": 3}});
    bus.create("burst", &definition).await.unwrap();
    publish_many(&bus, 2).await;
    assert_eq!(bus.subscription("burst").await.unwrap().waiting, 2);
    assert!(sink.came().is_none());
    publish(&bus, json!({"type": "Own", "data": {}})).await;
    for _ in 0..3 {
        sink.next().await;
    }
}

#[tokio::test]
async fn outside_of_dev_targets_that_are_not_public_are_refused_unless_allowed() {
    let home = Home { is_open: false, ..Home::new() };
    let sink = Sink::answering(200).await;
    let definition = json!({"events": "*", "target": sink.url()});
    let bus = home.start().await;
    let refused = bus.create("inside", &definition).await.unwrap_err();
    assert!(refused.to_string().contains("allow_targets"), "{refused}");
    bus.stop().await;
    drop(bus);
    let mut config = home.config();
    config.allow_targets = vec!["127.0.0.1".into()];
    let bus = home.start_with(&config).await;
    bus.create("inside", &definition).await.unwrap();
    publish(&bus, json!({"type": "Own", "data": {}})).await;
    assert_eq!(outcomes(&attempts(&bus, "inside", 1).await), ["delivered"]);
}

#[tokio::test]
async fn secrets_go_nowhere_in_plain_text_but_to_this_machine_unless_it_is_allowed() {
    let (home, target) = (Home::new(), "http://1.1.1.1/in/");
    let bus = home.start().await;
    bus.create("bare", &json!({"events": "Nothing", "target": target})).await.unwrap();
    let secrets = [
        json!({"bearer_token": "k3y"}),
        json!({"dialect": "evolutionx", "signing_key": "the-first-signing-key"}),
        json!({"headers": {"X-Own": "k3y"}}),
        json!({"query": {"code": "k3y"}}),
    ];
    for secret in secrets {
        let refused = bus.change("bare", &secret).await.unwrap_err().to_string();
        assert!(refused.contains("https://") && refused.contains("allow_targets"), "{refused}");
        assert!(!refused.contains("k3y"), "{refused}");
    }
    bus.change("bare", &json!({"bearer_token": "k3y", "target": "https://1.1.1.1/"}))
        .await
        .unwrap();
    bus.stop().await;
    drop(bus);
    let mut config = home.config();
    let declared = json!({"events": "Nothing", "target": target, "bearer_token": "k3y"});
    config.subscriptions.insert("plain".into(), serde_json::from_value(declared).unwrap());
    let refused = home.try_start_with(&config).await.err().unwrap();
    let refused = format!("{refused:#}");
    assert!(
        refused.contains("[bus.subscriptions.plain]") && refused.contains("https://"),
        "{refused}"
    );
    let other = Home::new();
    config.outbox = other.config().outbox;
    config.allow_targets = vec!["1.1.1.1".into()];
    other.start_with(&config).await;
}

#[tokio::test]
async fn a_name_that_cannot_be_resolved_stops_no_start_but_is_refused_when_it_is_entered() {
    let home = Home { is_open: false, ..Home::new() };
    // No resolver is asked for a label that is too long.
    let definition = json!({"events": "*", "target": format!("https://{}.test/", "x".repeat(64)), "retries": "github"});
    let mut config = home.config();
    let declared = serde_json::from_value(definition.clone()).unwrap();
    config.subscriptions.insert("declared".into(), declared);
    let bus = home.start_with(&config).await;
    let refused = bus.create("entered", &definition).await.unwrap_err().to_string();
    assert!(refused.contains("cannot be resolved"), "{refused}");
    publish(&bus, json!({"type": "Own", "data": {}})).await;
    let attempt = attempts(&bus, "declared", 1).await.remove(0);
    assert_eq!((attempt.outcome, attempt.status), ("given_up", None));
}

#[tokio::test]
async fn a_declared_subscription_is_changed_in_the_settings_only() {
    let (home, sink) = (Home::new(), Sink::answering(200).await);
    let mut config = home.config();
    let declared = serde_json::from_value(json!({"events": "*", "target": sink.url()})).unwrap();
    config.subscriptions.insert("declared".into(), declared);
    let bus = home.start_with(&config).await;
    for refused in [
        bus.change("declared", &json!({"events": "x"})).await.map(drop),
        bus.remove("declared").await,
    ] {
        assert!(matches!(refused, Err(BusError::Conflict(_))), "{refused:?}");
    }
    bus.pause("declared", Some("for lunch".into())).await.unwrap();
    bus.stop().await;
    drop(bus);
    let bus = home.start_with(&config).await;
    assert_eq!(
        bus.subscription("declared").await.unwrap().health.why.as_deref(),
        Some("for lunch")
    );
    bus.stop().await;
    drop(bus);
    let bus = home.start().await;
    assert!(
        bus.subscriptions(SubscriptionFilter::default()).await.unwrap().is_empty(),
        "no longer in the settings"
    );
}

#[tokio::test]
async fn a_subscription_is_changed_rotated_tried_and_removed() {
    let (home, mut sink) = (Home::new(), Sink::answering(200).await);
    let bus = home.start().await;
    let definition = json!({
        "events": "Nothing", "target": sink.url(), "dialect": "evolutionx", "signing_key": "the-first-signing-key",
    });
    bus.create("one", &definition).await.unwrap();
    assert!(matches!(bus.create("one", &definition).await, Err(BusError::Conflict(_))));
    let changed =
        bus.change("one", &json!({"description": "changed", "concurrency": 3})).await.unwrap();
    assert_eq!(
        (changed.subscription.description.as_str(), changed.subscription.concurrency),
        ("changed", 3)
    );
    let before = changed.subscription.keys.signing.clone();
    let rotated =
        bus.rotate("one", "the-second-signing-key", Duration::from_secs(60)).await.unwrap();
    assert_eq!(rotated.subscription.keys.old_signing, before);
    let receipt = bus.test("one", publication(json!({"type": "order.created"}))).await.unwrap();
    assert_eq!(receipt.deliveries, 1);
    let seen = sink.next().await;
    assert_eq!(seen.json()["event_id"], receipt.id.as_str());
    assert_eq!(seen.header("evox-signature").len(), 64);
    bus.remove("one").await.unwrap();
    assert!(matches!(bus.subscription("one").await, Err(BusError::Missing(_))));
    bus.create("one", &definition).await.unwrap();
    for bad in [
        json!({"events": [], "target": sink.url()}),
        json!({"events": "*", "target": "ftp://x.test/"}),
        json!({"events": "*", "target": format!("{}?code=1", sink.url())}),
        json!({"events": "*", "target": sink.url(), "signing_key_file": "/etc/passwd"}),
        json!({"events": "*", "target": sink.url(), "headers": {"Host": "x"}}),
        json!({"events": "*", "target": sink.url(), "retries": "never"}),
        json!({"events": "*", "target": sink.url(), "scheme": "evolutionx"}),
        json!({"events": "*", "target": sink.url(), "faults": {"drop": 2}}),
        json!({"events": "*", "target": sink.url(), "colour": "red"}),
    ] {
        let refused = bus.create("bad", &bad).await;
        assert!(matches!(refused, Err(BusError::Invalid(_))), "{bad}: {refused:?}");
    }
}

#[tokio::test]
async fn what_is_past_its_time_is_forgotten_but_not_what_waits() {
    let home = Home::new();
    let sink = Sink::answering(200).await;
    let bus = home.start().await;
    bus.create("one", &json!({"events": "*", "target": sink.url()})).await.unwrap();
    publish_many(&bus, 3).await;
    attempts(&bus, "one", 3).await;
    bus.pause("one", None).await.unwrap();
    publish(&bus, json!({"type": "Own", "id": "waiting", "data": {}})).await;
    publish(&bus, json!({"type": "Own", "id": "newest", "data": {}})).await;
    bus.stop().await;
    drop(bus);
    let mut config = home.config();
    let zero = Duration::ZERO;
    (config.keep_events, config.keep_attempts, config.keep_payloads) = (zero, zero, zero);
    let bus = home.start_with(&config).await;
    let pruned = async {
        while bus.events(Default::default()).await.unwrap().len() > 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, pruned).await.unwrap();
    let left = bus.events(Default::default()).await.unwrap();
    let left: Vec<&str> = left.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(left, ["newest", "waiting"]);
}
