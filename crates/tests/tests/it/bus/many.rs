//! Ten thousand subscriptions.

use std::collections::HashSet;

use bus::{Bus, BusError, SubscriptionFilter};
use serde_json::json;

use crate::harness::bus::{Home, publish};
use crate::harness::sink::Sink;

const MANY: usize = 10_000;

/// Fewer connections than targets, so that some wait for others.
const TARGETS: usize = 500;

async fn names(bus: &Bus) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    loop {
        let filter = SubscriptionFilter {
            after: names.last().cloned(),
            limit: Some(1000),
            ..SubscriptionFilter::default()
        };
        let page = bus.subscriptions(filter).await.unwrap();
        if page.is_empty() {
            return names;
        }
        names.extend(page.into_iter().map(|overview| overview.subscription.name));
    }
}

/// To how many subscriptions the event has come, once it has come to so many.
async fn reached(sink: &mut Sink, id: &str) {
    let mut reached = HashSet::new();
    while reached.len() < MANY {
        let seen = sink.next().await;
        if seen.header("x-directscale-message-id") == id {
            reached.insert(seen.header("x-subscriber").to_owned());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_ten_thousand_gets_its_event_before_and_after_a_restart() {
    rlimit::increase_nofile_limit(4 * TARGETS as u64).unwrap();
    let (home, mut sink) =
        (Home { targets: TARGETS, ..Home::new() }, Sink::answering_a_crowd(200, TARGETS).await);
    let definition = |n: usize| json!({"events": "*", "target": sink.url(), "headers": {"X-Subscriber": n.to_string()}});
    let mut config = home.config();
    for n in 1..MANY {
        let declared = serde_json::from_value(definition(n)).unwrap();
        config.subscriptions.insert(format!("declared-{n:05}"), declared);
    }
    let last = definition(MANY);
    let bus = home.start_with(&config).await;
    let (made, again) = tokio::join!(bus.create("made", &last), bus.create("made", &last));
    assert!(matches!(
        (made, again),
        (Ok(_), Err(BusError::Conflict(_))) | (Err(BusError::Conflict(_)), Ok(_))
    ));
    let listed = names(&bus).await;
    assert!(listed.is_sorted() && listed.len() == MANY, "{}", listed.len());

    let receipt = publish(&bus, json!({"type": "Own", "id": "e-1", "data": {}})).await;
    assert_eq!(receipt.deliveries, MANY);
    reached(&mut sink, "e-1").await;
    assert_eq!(sink.most_open(), TARGETS);

    publish(&bus, json!({"type": "Own", "id": "e-2", "data": {}})).await;
    bus.stop().await;
    drop(bus);
    let bus = home.start_with(&config).await;
    reached(&mut sink, "e-2").await;
    bus.stop().await;
}
