//! One database with several processes: order, gaps between ids, and a database that goes away in the middle of a call.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use contract::event::DeliveryId;
use inbox::{AcceptOutcome, Filter, HookFilter, Inbox, InboxError, Result, State, Verdict};

use crate::harness::deliveries::{Opened, PATIENCE, Place, Store, keyed, message, route};
use crate::harness::postgres::is_installed;
use crate::inbox::conformance::{LEASE, accept, accept_to, claim, finish, ids, replay, send};

/// Ids on both sides of the border between two parts, with gaps as undone transactions leave them.
#[tokio::test]
async fn order_is_that_of_commits_whoever_accepts_and_whatever_the_ids() {
    if !is_installed() {
        return;
    }
    let store = Store::postgres();
    let nodes = [store.open().await, store.open().await];
    store.place.run("SELECT setval('webhook_inbox.delivery_id', 999999970)");
    let mut accepted: Vec<DeliveryId> = Vec::new();
    for n in 0..12 {
        let node = &nodes[n % 3 % 2];
        accepted.push(accept_to(node, &n.to_string(), keyed("k"), 0).await);
        if n % 3 == 0 {
            store
                .place
                .run("SELECT nextval('webhook_inbox.delivery_id') FROM generate_series(1, 9)");
        }
    }
    assert!(accepted.is_sorted() && accepted[0] < 1_000_000_000 && accepted[11] > 1_000_000_000);
    let handle_all = async |verdict: Verdict| {
        let mut handled = Vec::new();
        for n in 0.. {
            let claims = claim(&nodes[n % 2], 8, 0).await;
            let Some(one) = claims.first() else { break };
            assert!(claims.len() == 1 && claim(&nodes[(n + 1) % 2], 8, 0).await.is_empty());
            assert!(finish(&nodes[(n + 1) % 2], &one.lease, verdict.clone(), 0).await);
            handled.extend(ids(&claims));
        }
        handled
    };
    assert_eq!(handle_all(Verdict::Dead { reason: "down".into() }).await, accepted);
    assert_eq!(replay(&nodes[0], &accepted, 0).await, 12);
    assert_eq!(handle_all(Verdict::Done).await, accepted);
    let mut paged = Vec::new();
    let mut before = None;
    loop {
        let page = Filter { before, limit: Some(5), ..Filter::default() };
        let page = nodes[1].list(page).await.unwrap();
        paged.extend(page.iter().map(|entry| entry.id));
        before = paged.last().copied();
        if page.len() < 5 {
            break;
        }
    }
    paged.reverse();
    assert_eq!(paged, accepted);
}

#[tokio::test]
async fn a_lease_is_nobody_elses_to_take_until_it_ends() {
    if !is_installed() {
        return;
    }
    let store = Store::postgres();
    let first = store.open().await;
    let id = accept(&first, "m", 0).await;
    let held = claim(&first, 1, 0).await.remove(0).lease;
    // Neither another process that starts, nor one that stops, changes anything.
    for now in [0, 59] {
        let second = store.open().await;
        assert!(claim(&second, 1, now).await.is_empty(), "at {now}");
    }
    let second = store.open().await;
    let taken = claim(&second, 1, 60).await.remove(0).lease;
    assert!(!finish(&first, &held, Verdict::Done, 61).await, "it was lost");
    assert!(finish(&second, &taken, Verdict::Done, 61).await);
    assert_eq!(inbox_state(&first, id).await, (State::Done, 2));
}

async fn inbox_state(inbox: &Opened, id: DeliveryId) -> (State, u32) {
    let entry = inbox.show(id).await.unwrap().unwrap().entry;
    (entry.state, entry.attempts)
}

/// A call whose connection is cut while it waits for a lock, in the middle of its transaction.
async fn interrupt<T: Send + 'static, F>(store: &Store, call: impl FnOnce(Arc<dyn Inbox>) -> F)
where
    F: Future<Output = Result<T>> + Send + 'static,
{
    let Place::Database(database) = &store.place else { panic!("it is a database") };
    let inbox = store.open().await;
    let locked = database.lock_tables();
    let call = tokio::spawn(call(Arc::clone(&inbox.inbox)));
    while !call.is_finished() {
        database.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND application_name = 'webhook-receiver' AND wait_event_type = 'Lock'",
        );
    }
    drop(locked);
    let interrupted = call.await.unwrap();
    assert!(matches!(interrupted, Err(InboxError::Unavailable(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_goes_away_in_the_middle_of_a_call_has_not_done_half_of_it() {
    if !is_installed() {
        return;
    }
    let store = Store::postgres();
    let inbox = store.open().await;
    interrupt(&store, |inbox| async move { inbox.accept(message("m").verified(), route()).await })
        .await;
    let id = accept(&inbox, "m", 0).await;
    assert_eq!(send(&inbox, &message("m"), route(), 0).await.outcome, AcceptOutcome::Duplicate);
    interrupt(&store, |inbox| async move { inbox.claim(1, LEASE, Duration::ZERO).await }).await;
    let lease = claim(&inbox, 1, 0).await.remove(0).lease;
    assert_eq!(lease.attempt, 1);
    let held = lease.clone();
    interrupt(&store, |inbox| async move { inbox.finish(held, Verdict::Done).await }).await;
    assert_eq!(inbox_state(&inbox, id).await, (State::Running, 1));
    assert!(finish(&inbox, &lease, Verdict::Done, 0).await);
    let all = move || Filter { ids: vec![id], ..Filter::default() };
    interrupt(&store, move |inbox| async move { inbox.replay(all()).await }).await;
    assert_eq!(inbox_state(&inbox, id).await, (State::Done, 1));
    interrupt(&store, |inbox| async move { inbox.prune(State::Done, Duration::ZERO, 9).await })
        .await;
    assert_eq!(inbox.list(Filter::default()).await.unwrap().len(), 1);
    interrupt(&store, |inbox| async move { inbox.list(Filter::default()).await }).await;
    interrupt(&store, move |inbox| async move { inbox.show(id).await }).await;
    interrupt(&store, move |inbox| async move { inbox.replayable(all()).await }).await;
    interrupt(&store, |inbox| async move { inbox.count().await }).await;
    interrupt(&store, |inbox| async move { inbox.list_hooks(HookFilter::default()).await }).await;
    interrupt(&store, |inbox| async move { inbox.show_hook(1).await }).await;
    interrupt(&store, |inbox| async move { inbox.prune_hooks(Duration::ZERO, 9).await }).await;
    interrupt(&store, |inbox| async move { inbox.keys().await }).await;
    interrupt(&store, |inbox| async move { inbox.rejections().await }).await;
    interrupt(&store, |inbox| async move { inbox.lead(LEASE).await }).await;
    interrupt(&store, |inbox| async move { inbox.tidy(LEASE, LEASE).await }).await;
    interrupt(&store, |inbox| async move { inbox.catch_up().await }).await;
    // The same process goes on with new connections.
    assert!(inbox.lead(LEASE).await.unwrap());
    inbox.tidy(LEASE, LEASE).await.unwrap();
    inbox.check().await.unwrap();
    assert_eq!(replay(&inbox, &[id], 0).await, 1);
    assert_eq!(ids(&claim(&inbox, 1, 0).await), [id]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_during_a_dump_neither_waits_nor_blocks() {
    if !is_installed() {
        return;
    }
    let store = Store::postgres();
    let Place::Database(database) = &store.place else { panic!("it is a database") };
    let dump = database.hold_snapshot();
    let all = async {
        let inbox = store.open().await;
        let id = accept(&inbox, "m", 0).await;
        assert!(inbox.lead(LEASE).await.unwrap());
        for seconds in [0, 1000, 1_000_000] {
            inbox.at(seconds).tidy(LEASE, LEASE).await.unwrap();
        }
        let lease = claim(&inbox, 1, 1_000_000).await.remove(0).lease;
        assert!(finish(&inbox, &lease, Verdict::Done, 1_000_000).await);
        assert_eq!(inbox_state(&inbox, id).await, (State::Done, 1));
        let migration = inbox::migrate(store.url(), false).await.unwrap().unwrap();
        assert_eq!(migration.from, migration.to);
    };
    tokio::time::timeout(PATIENCE, all).await.expect("nothing waits for the dump");
    drop(dump);
}
