//! The memory of recent ids in front of the inbox: it saves writes and decides nothing.

use std::sync::Arc;

use chrono::TimeDelta;
use inbox::{AcceptOutcome, DedupCache, Receipt, Result};

use crate::harness::deliveries::{Message, Store, message, route};
use crate::harness::watched::Watched;

/// How long the front remembers, in seconds.
const WINDOW: i64 = 100;

struct Fixture {
    store: Store,
    inbox: Arc<Watched>,
    front: DedupCache,
}

impl Fixture {
    async fn new(capacity: usize) -> Self {
        let store = Store::sqlite();
        let inbox = Watched::new(store.open().await);
        let front = DedupCache::new(
            Arc::clone(&inbox) as _,
            capacity,
            TimeDelta::try_seconds(WINDOW).unwrap(),
            inbox.inbox.clock.clock(),
        );
        Fixture { store, inbox, front }
    }

    async fn try_send(&self, message: &Message, now: i64) -> Result<Receipt> {
        self.inbox.inbox.clock.set(now);
        self.front.accept(message.verified(), route()).await
    }

    async fn send(&self, message: &Message, now: i64) -> AcceptOutcome {
        self.try_send(message, now).await.unwrap().outcome
    }
}

#[tokio::test]
async fn a_duplicate_is_answered_without_the_engine_and_with_the_first_number() {
    let inbox = Fixture::new(10).await;
    let first = inbox.try_send(&message("m"), 0).await.unwrap();
    let second = inbox.try_send(&message("m"), 1).await.unwrap();
    assert_eq!(
        (first.outcome, second.outcome, second.id),
        (AcceptOutcome::New, AcceptOutcome::Duplicate, first.id)
    );
    assert_eq!(second.message_id, "m");
    assert_eq!(inbox.inbox.writes(), 1);
}

#[tokio::test]
async fn an_id_that_was_not_kept_is_not_remembered() {
    let inbox = Fixture::new(10).await;
    inbox.inbox.set_broken(true);
    assert!(inbox.try_send(&message("m"), 0).await.is_err());
    assert!(inbox.try_send(&message("m"), 1).await.is_err());
    inbox.inbox.set_broken(false);
    assert_eq!(inbox.send(&message("m"), 2).await, AcceptOutcome::New);
    inbox.inbox.set_broken(true);
    assert_eq!(inbox.send(&message("m"), 3).await, AcceptOutcome::Duplicate);
}

#[tokio::test]
async fn after_the_window_the_engine_is_asked() {
    let inbox = Fixture::new(10).await;
    inbox.send(&message("m"), 0).await;
    inbox.send(&message("m"), WINDOW - 1).await;
    assert_eq!(inbox.inbox.writes(), 1);
    assert_eq!(inbox.send(&message("m"), WINDOW).await, AcceptOutcome::Duplicate);
    assert_eq!(inbox.inbox.writes(), 2);
}

#[tokio::test]
async fn a_conflict_is_the_engines_to_note() {
    let inbox = Fixture::new(10).await;
    let id = inbox.try_send(&message("m"), 0).await.unwrap().id;
    let other = message("m").body("[]");
    assert_eq!(inbox.send(&other, 1).await, AcceptOutcome::Conflict);
    assert_eq!(inbox.send(&other, 1).await, AcceptOutcome::Conflict);
    assert_eq!(inbox.inbox.inbox.show(id).await.unwrap().unwrap().entry.conflicts, 2);
    assert_eq!(inbox.send(&message("m"), 2).await, AcceptOutcome::Duplicate);
}

#[tokio::test]
async fn the_parts_of_the_key_stay_apart_in_memory_too() {
    let inbox = Fixture::new(10).await;
    let distinct = [
        message("bc").client("a"),
        message("c").client("ab"),
        message("c"),
        message("c").from("x"),
    ];
    for message in &distinct {
        assert_eq!(inbox.send(message, 0).await, AcceptOutcome::New, "{message:?}");
    }
}

#[tokio::test]
async fn what_is_forgotten_for_want_of_room_is_still_a_duplicate() {
    let inbox = Fixture::new(2).await;
    for id in ["a", "b", "a", "c"] {
        inbox.send(&message(id), 0).await;
    }
    assert_eq!(inbox.inbox.writes(), 3);
    assert_eq!(inbox.send(&message("a"), 0).await, AcceptOutcome::Duplicate);
    assert_eq!(inbox.inbox.writes(), 3);
    assert_eq!(inbox.send(&message("b"), 0).await, AcceptOutcome::Duplicate);
    assert_eq!(inbox.inbox.writes(), 4);
}

#[tokio::test]
async fn without_capacity_the_engine_is_always_asked() {
    let inbox = Fixture::new(0).await;
    assert_eq!(inbox.send(&message("m"), 0).await, AcceptOutcome::New);
    assert_eq!(inbox.send(&message("m"), 0).await, AcceptOutcome::Duplicate);
    assert_eq!(inbox.inbox.writes(), 2);
}

#[tokio::test]
async fn after_a_restart_the_engine_still_knows() {
    let Fixture { store, inbox, front } = Fixture::new(10).await;
    front.accept(message("m").verified(), route()).await.unwrap();
    drop((inbox, front));
    let inbox = store.open().await;
    let front = DedupCache::new(inbox.inbox, 10, TimeDelta::MAX, inbox.clock.clock());
    let receipt = front.accept(message("m").verified(), route()).await.unwrap();
    assert_eq!(receipt.outcome, AcceptOutcome::Duplicate);
}
