use std::cell::RefCell;
use std::collections::HashSet;

use futures_util::FutureExt as _;
use serde_json::{Value, json};

use super::*;
use crate::publication::{Draft, PublishedEvent};

struct Rig {
    queue: Arc<DeliveryQueue>,
    slots: Slots,
    budget: MemoryBudget,
    /// The numbers that the queue reported as held when it began to read.
    held: RefCell<HashSet<i64>>,
}

impl Rig {
    /// A queue with an outbox that has deliveries, or has none.
    fn new(has_more: bool) -> Self {
        Rig::with(Slots::new(1000, 1000), has_more)
    }

    fn with(slots: Slots, has_more: bool) -> Self {
        let config: Value = json!({"events": "*", "target": "http://x.test/"});
        let subscription =
            Subscription::new("one", serde_json::from_value(config).unwrap(), &Default::default())
                .unwrap();
        let health = SubscriptionHealth::new(Status::Active, None, Timestamp::default());
        let queue = DeliveryQueue::new(1, subscription, health, false, has_more);
        Rig { queue, slots, budget: MemoryBudget::default(), held: RefCell::default() }
    }

    fn next(&self) -> NextAction {
        self.queue.next(Timestamp::default(), &self.slots, &mut None, &self.budget)
    }

    /// The number of the delivery that is attempted next; it is in flight from now on.
    #[track_caller]
    fn goes(&self) -> i64 {
        match self.next() {
            NextAction::Attempt(delivery, slot) => {
                slot.forget();
                delivery.id
            }
            _ => panic!("nothing goes"),
        }
    }

    #[track_caller]
    fn reads(&self, retries: bool) {
        match self.next() {
            NextAction::Read { is_retry, held } if is_retry == retries => {
                drop(self.held.replace(held))
            }
            _ => panic!("nothing is read"),
        }
    }

    #[track_caller]
    fn idle_action(&self) {
        assert!(matches!(self.next(), NextAction::Wait(None)));
    }

    fn push(&self, id: i64) {
        self.queue.push(delivery(id, false), &self.budget);
    }

    /// Reports these deliveries as due in the outbox.
    fn finish_read(&self, ids: &[i64], is_retry: bool) {
        let held = self.held.take();
        let (passed, new): (Vec<i64>, Vec<i64>) = ids.iter().partition(|id| held.contains(id));
        let deliveries = new.into_iter().map(|id| delivery(id, is_retry)).collect();
        let due = DueDeliveries { deliveries, passed, has_more: false, next: None };
        self.queue.loaded(due, is_retry, &self.budget);
    }

    fn arrived(&self) {
        self.queue.finished(false, Timestamp::default());
    }

    fn written(&self, id: i64) {
        self.queue.recorded(id, &AttemptOutcome::Delivered);
    }
}

fn delivery(id: i64, is_retry: bool) -> QueuedDelivery {
    delivery_of(id, is_retry, b"{}".to_vec())
}

fn delivery_of(id: i64, is_retry: bool, body: Vec<u8>) -> QueuedDelivery {
    let draft = Draft {
        event_id: id.to_string(),
        event_type: "Own".into(),
        environment: None,
        object_type: None,
        object_id: None,
        source_user: None,
        happened_at: Timestamp::default(),
        published_at: Timestamp::default(),
        body: body.into(),
        record: None,
    };
    let event = Arc::new(PublishedEvent::new(id, draft));
    QueuedDelivery { id, event, attempts: 0, run_attempts: 0, is_retry, entity: None }
}

#[test]
fn what_comes_while_the_file_is_read_goes_once() {
    let rig = Rig::new(true);
    rig.reads(false);
    rig.push(1);
    rig.finish_read(&[1, 2], false);
    rig.reads(true);
    rig.finish_read(&[], true);
    assert_eq!([rig.goes(), rig.goes()], [1, 2]);
    rig.idle_action();
}

#[test]
fn what_a_reading_has_brought_is_not_sent_again_when_it_is_handed_over_late() {
    let rig = Rig::new(true);
    rig.reads(false);
    rig.finish_read(&[1, 2], false);
    rig.reads(true);
    rig.finish_read(&[], true);
    assert_eq!([rig.goes(), rig.goes()], [1, 2]);
    rig.arrived();
    rig.written(1);
    // The publisher hands it over only now.
    rig.push(1);
    rig.reads(false);
    rig.finish_read(&[], false);
    rig.push(3);
    assert_eq!(rig.goes(), 3);
}

#[test]
fn a_reading_does_not_bring_back_what_is_written_down_meanwhile() {
    let rig = Rig::new(false);
    rig.push(1);
    assert_eq!(rig.goes(), 1);
    rig.queue.notify();
    rig.reads(false);
    rig.arrived();
    rig.written(1);
    rig.finish_read(&[1], false);
    rig.reads(true);
    rig.finish_read(&[], true);
    rig.idle_action();
    rig.queue.notify();
    rig.reads(false);
    rig.finish_read(&[], false);
    rig.reads(true);
    rig.finish_read(&[1], true);
    assert_eq!(rig.goes(), 1, "it is sent again by hand");
}

#[test]
fn what_is_sent_again_before_the_lane_hears_of_its_end_is_sent_again() {
    let rig = Rig::new(false);
    rig.push(1);
    assert_eq!(rig.goes(), 1);
    rig.arrived();
    // Its end is in the outbox, and so is the request to send it again; the queue knows of neither.
    rig.queue.notify();
    rig.reads(false);
    rig.finish_read(&[], false);
    rig.reads(true);
    rig.finish_read(&[1], true);
    rig.idle_action();
    rig.written(1);
    rig.reads(true);
    rig.finish_read(&[1], true);
    assert_eq!(rig.goes(), 1);
}

#[test]
fn a_lane_that_is_removed_holds_nothing_and_takes_nothing() {
    let rig = Rig::new(false);
    let all = rig.budget.free_bytes();
    rig.queue.push(delivery_of(1, false, vec![b' '; 65 << 20]), &rig.budget);
    assert_eq!(rig.budget.free_bytes(), 0);
    rig.queue
        .set_health(SubscriptionHealth::new(Status::Removed, None, Timestamp::default()), None);
    assert!(matches!(rig.next(), NextAction::Stop));
    assert_eq!(rig.budget.free_bytes(), all);
    rig.queue.push(delivery_of(2, false, vec![b' '; 65 << 20]), &rig.budget);
    assert_eq!(rig.budget.free_bytes(), all);
    assert!(matches!(rig.next(), NextAction::Stop));
    // It may have been sent again by hand before it was removed.
    rig.queue.set_health(SubscriptionHealth::new(Status::Paused, None, Timestamp::default()), None);
    assert_eq!(rig.queue.health().status, Status::Removed);
}

#[test]
fn what_finds_no_room_in_memory_is_read_when_it_is_its_turn() {
    let rig = Rig::new(false);
    for id in 1..=600 {
        rig.push(id);
    }
    let first: Vec<i64> = (1..=16).map(|_| rig.goes()).collect();
    assert_eq!(first, (1..=16).collect::<Vec<_>>());
    rig.idle_action();
    for id in 1..=512 {
        rig.arrived();
        rig.written(id);
        match id {
            ..=496 => assert_eq!(rig.goes(), id + 16),
            497 => rig.reads(false),
            _ => {}
        }
    }
    rig.finish_read(&(513..=600).collect::<Vec<_>>(), false);
    assert_eq!(rig.goes(), 513);
}

#[tokio::test]
async fn while_others_have_all_connections_a_target_waits_for_its_turn() {
    let rig = Rig::with(Slots::new(1, 16), false);
    let other = rig.slots.try_acquire(0).unwrap();
    rig.push(1);
    assert!(matches!(rig.next(), NextAction::AwaitSlot));
    let mut turn = std::pin::pin!(rig.slots.acquire());
    assert!(turn.as_mut().now_or_never().is_none());
    drop(other);
    assert!(rig.slots.try_acquire(0).is_none(), "it is another's turn");
    let mut waited = turn.await;
    let next = rig.queue.next(Timestamp::default(), &rig.slots, &mut waited, &rig.budget);
    assert!(matches!(next, NextAction::Attempt(QueuedDelivery { id: 1, .. }, _)));
    assert!(waited.is_none());
}

#[test]
fn a_lane_that_is_paused_leaves_its_deliveries_in_the_file() {
    let rig = Rig::new(false);
    let all = rig.budget.free_bytes();
    (1..=3).for_each(|id| rig.push(id));
    assert_eq!(rig.goes(), 1);
    let pause = |status| SubscriptionHealth::new(status, None, Timestamp::default());
    rig.queue.set_health(pause(Status::Paused), None);
    rig.idle_action();
    assert_eq!(rig.budget.free_bytes(), all);
    rig.push(4);
    assert_eq!(rig.budget.free_bytes(), all);
    rig.queue.set_health(pause(Status::Active), None);
    rig.reads(false);
    rig.finish_read(&[1, 2, 3, 4], false);
    rig.reads(true);
    rig.finish_read(&[], true);
    assert_eq!([rig.goes(), rig.goes(), rig.goes()], [2, 3, 4]);
}
