//! What becomes of a delivery after it was accepted. The clock stands still unless a test moves it.

use std::sync::Arc;
use std::time::Duration;

use contract::catalog::Catalog;
use contract::event::DeliveryId;
use inbox::{AcceptOutcome, Deliveries, Detail, Entry, Filter, Route, State};
use receiver::dispatch::{DispatchOptions, Dispatcher, Schedule};
use telemetry::Metrics;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::harness::deliveries::{PATIENCE, Store, at, keyed, message, route};
use crate::harness::jobs::{Context, Watcher, catalog, job};
use crate::harness::watched::Watched;

/// Longer than a lease with any timeout that is used here.
const LEASE: i64 = 100;

struct Fixture {
    watcher: Watcher,
    inbox: Arc<Watched>,
    timeout: Duration,
    store: Store,
}

impl Fixture {
    async fn new() -> Self {
        let store = Store::sqlite();
        Fixture {
            watcher: Watcher::new(),
            inbox: Watched::new(store.open().await),
            timeout: PATIENCE,
            store,
        }
    }

    /// A dispatcher that retries after 10 and after 100 seconds.
    fn dispatcher(&self, concurrency: usize) -> Arc<Dispatcher> {
        self.dispatcher_of(catalog(), concurrency)
    }

    fn dispatcher_of(&self, catalog: Catalog<Context>, slots: usize) -> Arc<Dispatcher> {
        let parts = DispatchOptions {
            schedule: Schedule::new([10, 100].map(Duration::from_secs).to_vec(), 0.0),
            timeout: self.timeout,
            concurrency: slots,
            clock: self.inbox.inbox.clock.clock(),
            metrics: Arc::new(Metrics::default()),
            tallies: Arc::default(),
        };
        let inbox = Arc::clone(&self.inbox) as Arc<dyn Deliveries>;
        let handlers = catalog.bind(&self.watcher.context()).unwrap();
        Dispatcher::new(inbox, Arc::new(handlers), parts)
    }

    async fn step(&self) -> usize {
        let dispatcher = self.dispatcher(8);
        let step = tokio::time::timeout(PATIENCE, dispatcher.step()).await;
        step.expect("it ends").unwrap()
    }

    async fn step_at(&self, seconds: i64) -> usize {
        self.inbox.inbox.clock.set(seconds);
        self.step().await
    }

    async fn send(&self, act: &str) -> DeliveryId {
        self.send_to(act, route()).await
    }

    async fn send_to(&self, act: &str, route: Route) -> DeliveryId {
        self.send_body(&job(act), route).await
    }

    async fn send_body(&self, body: &str, route: Route) -> DeliveryId {
        let id = format!("{}", fastrand::u64(..));
        let sent = message(&id).body(body).verified();
        let receipt = self.inbox.accept(sent, route).await.unwrap();
        assert_eq!(receipt.outcome, AcceptOutcome::New);
        receipt.id
    }

    async fn detail(&self, id: DeliveryId) -> Detail {
        self.inbox.inbox.show(id).await.unwrap().unwrap()
    }

    async fn entry(&self, id: DeliveryId) -> Entry {
        self.detail(id).await.entry
    }

    /// Its state, when it is due, and why it failed.
    async fn standing(&self, id: DeliveryId) -> (State, Option<i64>, String) {
        let entry = self.entry(id).await;
        let due = entry.due_at.map(|due| (due - at(0)).num_seconds());
        (entry.state, due, entry.last_error.unwrap_or_default())
    }

    async fn replay(&self, id: DeliveryId) {
        let filter = Filter { ids: vec![id], ..Filter::default() };
        assert_eq!(self.inbox.inbox.replay(filter).await.unwrap(), 1);
    }

    fn run(&self, concurrency: usize, drain: Duration) -> Running {
        let stop = CancellationToken::new();
        let ended = tokio::spawn(self.dispatcher(concurrency).run(stop.clone(), drain));
        Running { stop, ended }
    }
}

/// A dispatcher's loop.
struct Running {
    stop: CancellationToken,
    ended: JoinHandle<()>,
}

impl Running {
    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.ended).await.expect("it drains").unwrap();
    }
}

#[tokio::test]
async fn a_handled_delivery_is_done() {
    let fixture = Fixture::new().await;
    let id = fixture.send("done").await;
    assert_eq!(fixture.step().await, 1);
    let meta = fixture.watcher.call().await;
    assert_eq!((meta.id, meta.attempt, meta.is_replay()), (id, 1, false));
    assert_eq!(fixture.standing(id).await, (State::Done, None, String::new()));
    assert_eq!(fixture.step().await, 0);
}

#[tokio::test]
async fn a_failed_delivery_is_tried_again_on_the_schedule_and_then_dead() {
    let fixture = Fixture::new().await;
    let id = fixture.send("retry").await;
    assert_eq!(fixture.step().await, 1);
    assert_eq!(fixture.standing(id).await, (State::Ready, Some(10), "down".into()));
    assert_eq!(fixture.step_at(9).await, 0);
    assert_eq!(fixture.step_at(10).await, 1);
    assert_eq!(fixture.standing(id).await, (State::Ready, Some(110), "down".into()));
    assert_eq!(fixture.step_at(110).await, 1);
    let dead = (State::Dead, None, "down (attempt 3, the last)".into());
    assert_eq!(fixture.standing(id).await, dead);
    assert_eq!(fixture.step_at(1_000_000).await, 0);
    assert_eq!(fixture.detail(id).await.attempts.len(), 3);
}

#[tokio::test]
async fn a_replayed_dead_letter_has_the_whole_schedule_again() {
    let fixture = Fixture::new().await;
    let id = fixture.send("retry").await;
    for seconds in [0, 10, 110] {
        assert_eq!(fixture.step_at(seconds).await, 1);
        fixture.watcher.call().await;
    }
    fixture.replay(id).await;
    assert_eq!(fixture.step_at(200).await, 1);
    let meta = fixture.watcher.call().await;
    assert_eq!((meta.attempt, meta.replay), (4, 1));
    assert_eq!(fixture.standing(id).await, (State::Ready, Some(210), "down".into()));
}

#[tokio::test]
async fn a_handler_may_say_when_to_come_again() {
    let fixture = Fixture::new().await;
    let id = fixture.send("later").await;
    fixture.step().await;
    assert_eq!(fixture.standing(id).await, (State::Ready, Some(7), "busy".into()));
}

#[tokio::test]
async fn a_rejected_delivery_is_dead_at_once() {
    let fixture = Fixture::new().await;
    let id = fixture.send("reject").await;
    fixture.step().await;
    assert_eq!(fixture.standing(id).await, (State::Dead, None, "hopeless".into()));
}

#[tokio::test]
async fn a_panic_is_a_failure_with_its_message_and_harms_nobody_else() {
    let fixture = Fixture::new().await;
    let before = fixture.send("done").await;
    let id = fixture.send("panic").await;
    let after = fixture.send("done").await;
    assert_eq!(fixture.step().await, 3);
    let failed = (State::Ready, Some(10), "the handler panicked: oh no".into());
    assert_eq!(fixture.standing(id).await, failed);
    assert_eq!(fixture.entry(before).await.state, State::Done);
    assert_eq!(fixture.entry(after).await.state, State::Done);
}

#[tokio::test]
async fn a_handler_that_takes_too_long_has_failed() {
    let fixture = Fixture { timeout: Duration::from_millis(20), ..Fixture::new().await };
    let id = fixture.send("hang").await;
    assert_eq!(fixture.step().await, 1);
    let failed = (State::Ready, Some(10), "the handler took longer than 20ms".into());
    assert_eq!(fixture.standing(id).await, failed);
}

#[tokio::test]
async fn a_body_that_is_not_the_model_is_dead_with_the_place() {
    let fixture = Fixture::new().await;
    let id = fixture.send_body(r#"{"act":{"deep":1}}"#, route()).await;
    assert_eq!(fixture.step().await, 1);
    let (state, _, error) = fixture.standing(id).await;
    assert_eq!(state, State::Dead);
    assert!(error.starts_with("the body is not the model: ") && error.contains("act"), "{error}");
    assert!(fixture.watcher.is_quiet().await);
}

#[tokio::test]
async fn a_body_that_would_fill_the_memory_is_kept_and_dead() {
    let fixture = Fixture::new().await;
    let body = |objects: usize| format!(r#"{{"act":"done","x":[{}1]}}"#, "{},".repeat(objects - 1));
    let mut states = Vec::new();
    for objects in [20_000, 20_001] {
        let id = fixture.send_body(&body(objects), route()).await;
        assert_eq!(fixture.step().await, 1);
        states.push(fixture.standing(id).await);
    }
    assert_eq!((states[0].0, states[1].0), (State::Done, State::Dead));
    assert!(states[1].2.contains("more than 20000 objects"), "{states:?}");
}

#[tokio::test]
async fn an_event_without_a_handler_waits_for_one() {
    let fixture = Fixture::new().await;
    let never_taken = fixture.send_to("done", Route { handled: false, ..route() }).await;
    let no_longer_taken = fixture.send("done").await;
    let nobody = fixture.dispatcher_of(Catalog::new(), 8);
    assert_eq!(nobody.step().await.unwrap(), 1);
    for id in [never_taken, no_longer_taken] {
        assert_eq!(fixture.entry(id).await.state, State::Unrouted);
        fixture.replay(id).await;
    }
    assert_eq!(fixture.step().await, 2);
    for id in [never_taken, no_longer_taken] {
        assert!(fixture.watcher.call().await.is_replay());
        assert_eq!(fixture.entry(id).await.state, State::Done);
    }
}

#[tokio::test]
async fn a_delivery_that_kills_its_worker_rests_ever_longer_and_is_never_dead() {
    let fixture = Fixture::new().await;
    let id = fixture.send("hang").await;
    let mut now = 0;
    for lost in 0..16_u32 {
        if lost >= 2 {
            assert_eq!(fixture.step_at(now).await, 1);
            let rest = (5 << (lost - 2)).min(3600);
            assert_eq!(fixture.standing(id).await, (State::Ready, Some(now + rest), String::new()));
            assert_eq!(fixture.entry(id).await.lost, lost);
            assert!(fixture.watcher.is_quiet().await);
            now += rest;
        }
        fixture.inbox.inbox.clock.set(now);
        let worker = fixture.dispatcher(1);
        let worker = tokio::spawn(async move { worker.step().await });
        assert_eq!(fixture.watcher.call().await.attempt, lost + 1);
        worker.abort();
        assert!(worker.await.unwrap_err().is_cancelled());
        now += LEASE;
    }
    let detail = fixture.detail(id).await;
    assert_eq!(detail.entry.state, State::Running);
    assert!(detail.attempts.iter().all(|attempt| attempt.outcome == "lost"), "{detail:?}");
}

#[tokio::test]
async fn a_step_takes_no_more_than_the_concurrency() {
    let fixture = Fixture::new().await;
    for _ in 0..5 {
        fixture.send("done").await;
    }
    let dispatcher = fixture.dispatcher(2);
    for taken in [2, 2, 1, 0] {
        assert_eq!(dispatcher.step().await.unwrap(), taken);
    }
}

#[tokio::test]
async fn a_step_that_cannot_claim_says_so() {
    let fixture = Fixture::new().await;
    fixture.inbox.set_broken(true);
    assert!(fixture.dispatcher(1).step().await.is_err());
}

#[tokio::test]
async fn no_more_handlers_run_than_are_allowed() {
    let fixture = Fixture::new().await;
    for _ in 0..10 {
        fixture.send("wait").await;
    }
    let running = fixture.run(3, PATIENCE);
    for _ in 0..3 {
        fixture.watcher.call().await;
    }
    for _ in 3..10 {
        assert!(fixture.watcher.is_quiet().await);
        fixture.watcher.let_go(1);
        fixture.watcher.call().await;
    }
    fixture.watcher.let_go(3);
    running.stop().await;
    assert_eq!(fixture.watcher.most_at_once(), 3);
    let done = Filter { state: Some(State::Done), ..Filter::default() };
    assert_eq!(fixture.inbox.inbox.list(done).await.unwrap().len(), 10);
}

/// Without the wake-up each of these would wait for the clock, which looks once a second.
#[tokio::test]
async fn a_commit_wakes_the_loop() {
    let fixture = Fixture::new().await;
    let running = fixture.run(4, PATIENCE);
    let rounds = async {
        for _ in 0..30 {
            let id = fixture.send("done").await;
            assert_eq!(fixture.watcher.call_id().await, id);
        }
    };
    tokio::time::timeout(Duration::from_secs(10), rounds).await.expect("the commit wakes");
    running.stop().await;
}

#[tokio::test]
async fn what_another_process_made_due_is_found_by_the_clock() {
    let fixture = Fixture::new().await;
    let id = fixture.send("done").await;
    fixture.step().await;
    fixture.watcher.call().await;
    let running = fixture.run(4, PATIENCE);
    let beside = fixture.store.open_beside().await;
    beside.replay(Filter { ids: vec![id], ..Filter::default() }).await.unwrap();
    assert_eq!(fixture.watcher.call_id().await, id);
    running.stop().await;
}

#[tokio::test]
async fn one_key_is_handled_in_order_however_many_slots_are_free() {
    let fixture = Fixture::new().await;
    let mut sent = Vec::new();
    for _ in 0..6 {
        sent.push(fixture.send_to("wait", keyed("k")).await);
    }
    let running = fixture.run(8, PATIENCE);
    for id in sent {
        assert_eq!(fixture.watcher.call_id().await, id);
        assert!(fixture.watcher.is_quiet().await);
        fixture.watcher.let_go(1);
    }
    running.stop().await;
    assert_eq!(fixture.watcher.most_at_once(), 1);
}

#[tokio::test]
async fn a_stop_lets_handlers_finish_and_claims_nothing_more() {
    let fixture = Fixture::new().await;
    let first = fixture.send("wait").await;
    let second = fixture.send("wait").await;
    let running = fixture.run(1, PATIENCE);
    assert_eq!(fixture.watcher.call_id().await, first);
    running.stop.cancel();
    fixture.watcher.let_go(2);
    running.stop().await;
    assert!(fixture.watcher.is_quiet().await);
    assert_eq!(fixture.entry(first).await.state, State::Done);
    assert_eq!(fixture.entry(second).await.attempts, 0);
}

#[tokio::test]
async fn at_the_end_of_the_drain_time_deliveries_are_given_back() {
    let fixture = Fixture::new().await;
    let id = fixture.send("hang").await;
    let running = fixture.run(1, Duration::from_millis(20));
    fixture.watcher.call().await;
    running.stop().await;
    let detail = fixture.detail(id).await;
    assert_eq!((detail.entry.state, detail.entry.attempts), (State::Ready, 0));
    assert!(detail.attempts.is_empty());
}

#[tokio::test]
async fn a_verdict_is_written_when_the_inbox_is_back() {
    let fixture = Fixture::new().await;
    let id = fixture.send("wait").await;
    let running = fixture.run(1, PATIENCE);
    fixture.watcher.call().await;
    fixture.inbox.set_broken(true);
    let writes = fixture.inbox.writes();
    fixture.watcher.let_go(1);
    fixture.inbox.wrote(writes + 2).await;
    assert_eq!(fixture.entry(id).await.state, State::Running);
    fixture.inbox.set_broken(false);
    running.stop().await;
    assert_eq!(fixture.entry(id).await.state, State::Done);
}

#[tokio::test]
async fn a_broken_inbox_is_not_asked_without_a_pause() {
    let fixture = Fixture::new().await;
    fixture.send("done").await;
    fixture.inbox.set_broken(true);
    let writes = fixture.inbox.writes();
    let running = fixture.run(1, PATIENCE);
    let asked_often = fixture.inbox.wrote(writes + 10);
    assert!(tokio::time::timeout(Duration::from_millis(500), asked_often).await.is_err());
    fixture.inbox.set_broken(false);
    fixture.watcher.call().await;
    running.stop().await;
}
