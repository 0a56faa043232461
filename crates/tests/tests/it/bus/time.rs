//! The bus and a clock that is set back and forward by hours.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use serde_json::json;

use crate::harness::bus::{Home, attempts, outcomes, publish_many};
use crate::harness::sink::Sink;

/// A clock that somebody sets.
#[derive(Clone, Default)]
struct Wrong(Arc<AtomicI64>);

impl Wrong {
    fn home(&self) -> Home {
        let by = Arc::clone(&self.0);
        let clock = move || Utc::now() + TimeDelta::hours(by.load(Ordering::SeqCst));
        Home { clock: Arc::new(clock), ..Home::new() }
    }

    fn set_by_hours(&self, hours: i64) {
        self.0.store(hours, Ordering::SeqCst);
    }
}

const RETRY: &str = "800ms, 800ms";

/// What is left of it if the jitter takes most.
const LEAST: Duration = Duration::from_millis(720);

#[tokio::test]
async fn a_clock_that_is_set_back_neither_loses_a_retry_nor_hurries_it() {
    let clock = Wrong::default();
    let (bus, mut sink) = (clock.home().start().await, Sink::answering(500).await);
    let definition = json!({"events": "*", "target": sink.url(), "retries": RETRY});
    bus.create("one", &definition).await.unwrap();
    let start = Instant::now();
    publish_many(&bus, 1).await;
    sink.next().await;
    clock.set_by_hours(-5);
    sink.next().await;
    assert!(start.elapsed() >= LEAST, "{:?}", start.elapsed());
    clock.set_by_hours(-48);
    sink.next().await;
    assert!(start.elapsed() >= LEAST * 2, "{:?}", start.elapsed());
    let made = attempts(&bus, "one", 3).await;
    assert_eq!(outcomes(&made), ["again", "again", "given_up"]);
    assert!(made.is_sorted_by_key(|attempt| attempt.started_at));
}

#[tokio::test]
async fn a_clock_that_was_set_back_before_a_start_neither_loses_a_retry_nor_hurries_it() {
    let clock = Wrong::default();
    let (home, mut sink) = (clock.home(), Sink::answering(500).await);
    let bus = home.start().await;
    let definition = json!({"events": "*", "target": sink.url(), "retries": RETRY});
    bus.create("one", &definition).await.unwrap();
    let start = Instant::now();
    publish_many(&bus, 1).await;
    sink.next().await;
    attempts(&bus, "one", 1).await;
    bus.stop().await;
    drop(bus);
    clock.set_by_hours(-5);
    let bus = home.start().await;
    sink.next().await;
    assert!(start.elapsed() >= LEAST, "{:?}", start.elapsed());
    publish_many(&bus, 2).await;
    sink.next().await;
}

#[tokio::test]
async fn a_clock_that_is_set_forward_is_followed_and_back_again_it_holds_nothing_up() {
    let clock = Wrong::default();
    let (bus, mut sink) = (clock.home().start().await, Sink::answering(500).await);
    let definition = json!({"events": "*", "target": sink.url(), "retries": "4h, 500ms"});
    bus.create("one", &definition).await.unwrap();
    publish_many(&bus, 1).await;
    sink.next().await;
    attempts(&bus, "one", 1).await;
    clock.set_by_hours(5);
    // Whatever wakes the lane has it look at the clock; at rest it does so by itself.
    bus.resume("one").await.unwrap();
    sink.next().await;
    clock.set_by_hours(0);
    sink.next().await;
    assert_eq!(outcomes(&attempts(&bus, "one", 3).await), ["again", "again", "given_up"]);
}
