//! What a target sees of delays, exchanged places, rates and its own wishes for rest.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use serde_json::json;

use crate::harness::bus::{Home, attempts, outcomes, publish, publish_many};
use crate::harness::deliveries::PATIENCE;
use crate::harness::sink::Sink;

#[tokio::test]
async fn a_delay_holds_up_every_attempt() {
    let (bus, mut sink) = (Home::new().start().await, Sink::answering(500).await);
    let definition = json!({
        "events": "*", "target": sink.url(), "retries": "1ms", "faults": {"delay": "200ms"},
    });
    bus.create("late", &definition).await.unwrap();
    let start = Instant::now();
    publish_many(&bus, 1).await;
    sink.next().await;
    assert!(start.elapsed() >= Duration::from_millis(200));
    sink.next().await;
    assert!(start.elapsed() >= Duration::from_millis(400));
    assert_eq!(outcomes(&attempts(&bus, "late", 2).await), ["again", "given_up"]);
}

#[tokio::test]
async fn a_stop_waits_for_no_delay_and_what_was_delayed_is_sent_at_the_next_start() {
    let (home, mut sink) =
        (Home { drain: PATIENCE * 10, ..Home::new() }, Sink::answering(200).await);
    let bus = home.start().await;
    let faults = |delay: &str| json!({"faults": {"delay": delay}});
    bus.create("late", &json!({"events": "*", "target": sink.url()})).await.unwrap();
    bus.change("late", &faults("1h")).await.unwrap();
    publish_many(&bus, 1).await;
    tokio::time::timeout(PATIENCE, bus.stop()).await.expect("it does not wait for an hour");
    assert!(sink.came().is_none());
    drop(bus);
    let bus = home.start().await;
    bus.pause("late", None).await.unwrap();
    bus.change("late", &faults("1ms")).await.unwrap();
    bus.stop().await;
    drop(bus);
    let bus = home.start().await;
    bus.resume("late").await.unwrap();
    assert_eq!(sink.next().await.header("x-directscale-message-id"), "e-0");
    attempts(&bus, "late", 1).await;
}

#[tokio::test]
async fn events_change_places_with_the_next_and_none_is_put_off_twice() {
    let (bus, mut sink) = (Home::new().start().await, Sink::answering(200).await);
    let definition = json!({
        "events": "*", "target": sink.url(), "concurrency": 1, "faults": {"reorder": 1.0, "burst": 5},
    });
    bus.create("mixed", &definition).await.unwrap();
    publish_many(&bus, 5).await;
    let mut order = Vec::new();
    for _ in 0..5 {
        order.push(sink.next().await.header("x-directscale-message-id").to_owned());
    }
    assert_eq!(order, ["e-1", "e-0", "e-3", "e-2", "e-4"]);
}

#[tokio::test]
async fn events_arrive_no_faster_than_the_rate() {
    let (bus, mut sink) = (Home::new().start().await, Sink::answering(200).await);
    let definition = json!({"events": "*", "target": sink.url(), "rate_limit": 20});
    bus.create("slow", &definition).await.unwrap();
    let start = Instant::now();
    publish_many(&bus, 11).await;
    for _ in 0..11 {
        sink.next().await;
    }
    assert!(start.elapsed() >= Duration::from_millis(500), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_rate_holds_for_retries_too() {
    let (bus, mut sink) = (Home::new().start().await, Sink::answering(500).await);
    let definition =
        json!({"events": "*", "target": sink.url(), "rate_limit": 20, "retries": "1ms, 1ms"});
    bus.create("slow", &definition).await.unwrap();
    let start = Instant::now();
    publish_many(&bus, 4).await;
    for _ in 0..12 {
        sink.next().await;
    }
    assert!(start.elapsed() >= Duration::from_millis(550), "{:?}", start.elapsed());
}

/// How long after its first attempt an event was tried again by the bus's time, if it asked for rest so.
async fn rested(persona: &str, wish: &'static str) -> TimeDelta {
    let home = Home::fast(1_000_000.0);
    let (bus, sink) =
        (home.start().await, Sink::with_headers(503, vec![("retry-after", wish)]).await);
    let definition = json!({"events": "*", "target": sink.url(), "retries": persona});
    bus.create("tired", &definition).await.unwrap();
    publish(&bus, json!({"type": "Own", "data": {}})).await;
    let attempts = attempts(&bus, "tired", 2).await;
    attempts[1].started_at - attempts[0].started_at
}

#[tokio::test]
async fn a_target_is_left_alone_for_as_long_as_it_asks() {
    for persona in ["standard-webhooks", "10s, 10s"] {
        let rest = rested(persona, "7200").await;
        assert!(rest >= TimeDelta::hours(2), "{persona}: {rest}");
    }
}

/// When an event is due again, from the end of its first attempt, if its target asked for rest so.
async fn due_in(persona: &str, wish: &'static str) -> TimeDelta {
    let (bus, sink) =
        (Home::new().start().await, Sink::with_headers(503, vec![("retry-after", wish)]).await);
    let definition = json!({"events": "*", "target": sink.url(), "retries": persona});
    bus.create("tired", &definition).await.unwrap();
    let id = publish(&bus, json!({"type": "Own", "data": {}})).await.id;
    let first = attempts(&bus, "tired", 1).await.remove(0);
    let due = bus.event(&id).await.unwrap().deliveries[0].due_at.unwrap();
    due - first.started_at - TimeDelta::microseconds(first.took_us)
}

#[tokio::test]
async fn a_wish_for_rest_is_followed_within_bounds_only() {
    let (slack, day) = (TimeDelta::seconds(30), TimeDelta::days(1));
    let bounded = due_in("1h, 1h", "864000").await;
    assert!(bounded >= day - slack && bounded < day + slack, "{bounded}: a day at most");
    let shorter = due_in("1h, 1h", "1").await;
    assert!(shorter >= TimeDelta::minutes(50), "{shorter}: it shortens nothing");
    let ignored = due_in("directscale", "7200").await;
    assert!(ignored < TimeDelta::minutes(2), "{ignored}: that sender does not listen");
}
