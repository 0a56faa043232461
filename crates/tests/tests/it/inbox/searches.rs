//! Searches, summaries, and what an operator does with their results.

use std::sync::Arc;
use std::time::Duration;

use contract::event::{DeliveryId, Dialect, Environment};
use inbox::{BodyTest, Filter, Follower, Order, Route, State, Summary, Verdict};
use source::{AcceptedKey, Admission as _, Admitted, Auth, Source};

use crate::harness::deliveries::{Opened, at, keyed, message, route};
use crate::inbox::conformance::{
    Fresh, accept, accept_to, claim, claim_one, dead, due, end_one, finish, listed, outcomes,
    replay, retry, send, show, state,
};

/// Longer than a search of a few deliveries takes.
const LONG: Duration = Duration::from_secs(60);

fn any() -> Filter {
    Filter::default()
}

fn member(pointer: &str, value: &str) -> Filter {
    let test = BodyTest::Member { pointer: pointer.into(), value: value.into() };
    Filter { body: Some(test), ..any() }
}

fn contains(text: &str) -> Filter {
    Filter { body: Some(BodyTest::Contains(text.into())), ..any() }
}

pub(crate) async fn every_new_condition_selects(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let first = message("ab-1").client("c").body(r#"{"a":{"b~/":"x\u00e9"},"n":[1.50,true]}"#);
    let a = send(&inbox, &first, keyed("k"), 0).await.id;
    let b = send(&inbox, &message("ab_2").body("\"json 50% _\""), keyed("K"), 1).await.id;
    let c = send(
        &inbox,
        &message("AB-3").from("two").body("\u{feff}{\"n\":[0,\"true\"]}"),
        keyed("k"),
        2,
    )
    .await
    .id;
    let deep = format!("{}{}", "[".repeat(500_000), "]".repeat(500_000));
    let d = send(&inbox, &message("d").body(deep), route(), 3).await.id;
    // One of them waits behind another.
    while let claims @ [_, ..] = claim(&inbox, 100, 4).await.as_slice() {
        for claim in claims {
            let verdict = match claim.lease.id {
                id if id == a => Verdict::Dead { reason: "HTTP 500 from Ünder".into() },
                id if id == b => retry(100),
                _ => Verdict::Done,
            };
            assert!(finish(&inbox, &claim.lease, verdict, 4).await);
        }
    }
    assert_eq!(replay(&inbox, &[d], 5).await, 1);

    let error = |text: &str| Filter { error: Some(text.into()), ..any() };
    let prefix = |text: &str| Filter { message_id_prefix: Some(text.into()), ..any() };
    let key = |text: &str| Filter { ordering_key: Some(text.into()), ..any() };
    let cases = [
        (Filter { environment: Some(Environment::Stage), ..any() }, vec![d, c, b, a]),
        (Filter { environment: Some(Environment::Live), ..any() }, vec![]),
        (Filter { client_id: Some("c".into()), ..any() }, vec![a]),
        (prefix("ab"), vec![b, a]),
        (prefix("ab_"), vec![b]),
        (prefix("ab%"), vec![]),
        (key("k"), vec![c, a]),
        (key(""), vec![]),
        (Filter { state: Some(State::Ready), ..key("K") }, vec![b]),
        (Filter { state: Some(State::Ready), ..key("none") }, vec![]),
        (Filter { key: Some("f00".into()), ..any() }, vec![]),
        (error("http 500 FROM"), vec![a]),
        (error("down"), vec![b]),
        (error("ünder"), vec![]),
        (error("Ünder"), vec![a]),
        (contains("\"n\":["), vec![c, a]),
        (contains("json 50%"), vec![b]),
        (contains("json%_"), vec![]),
        (member("/a/b~0~1", "xé"), vec![a]),
        (member("/n/0", "1.50"), vec![a]),
        (member("/n/0", "1.5"), vec![]),
        (member("/n/1", "true"), vec![c, a]),
        (member("/n", "[1.50,true]"), vec![a]),
        (member("n", "1"), vec![]),
        (member("/0/0/0", "[]"), vec![]),
        (Filter { replayed: true, ..any() }, vec![d]),
        (Filter { replayed: true, state: Some(State::Dead), ..any() }, vec![]),
        (Filter { order: Order::OldestFirst, ..any() }, vec![a, b, c, d]),
        (Filter { order: Order::OldestFirst, limit: Some(2), after: Some(a), ..any() }, vec![b, c]),
        (Filter { limit: Some(1), ..member("/n/1", "true") }, vec![c]),
        (Filter { limit: Some(1), order: Order::OldestFirst, ..member("/n/1", "true") }, vec![a]),
        (Filter { limit: Some(0), ..any() }, vec![]),
        (Filter { state: Some(State::Ready), before: Some(d), ..any() }, vec![b]),
        (
            Filter { ids: vec![d, b, a, b], order: Order::OldestFirst, after: Some(a), ..any() },
            vec![b, d],
        ),
    ];
    for (filter, expected) in cases {
        assert_eq!(listed(&inbox, filter.clone()).await, expected, "{filter:?}");
        let page = inbox.search(filter.clone(), LONG).await.unwrap();
        let found: Vec<DeliveryId> = page.entries.iter().map(|entry| entry.id).collect();
        assert_eq!((found, page.horizon), (expected.clone(), None), "{filter:?}");
        if filter.limit.is_none() {
            let summary = inbox.summarize(filter.clone(), LONG).await.unwrap();
            assert_eq!(total(&summary), expected.len() as u64, "{filter:?}");
        }
        let replayable = inbox.replayable(filter.clone()).await.unwrap();
        let oldest_first: Vec<DeliveryId> =
            [a, c].into_iter().filter(|id| expected.contains(id)).collect();
        if filter.limit.is_none() {
            assert_eq!(replayable, oldest_first, "{filter:?}");
        }
    }
    let details = inbox.details(Filter { order: Order::OldestFirst, ..key("k") }).await.unwrap();
    assert_eq!(details.iter().map(|detail| detail.entry.id).collect::<Vec<_>>(), [a, c]);
}

fn total(summary: &Summary) -> u64 {
    summary.groups.iter().map(|group| group.count).sum()
}

pub(crate) async fn a_search_that_ends_early_goes_on_at_its_horizon(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let mut all = Vec::new();
    for n in 0..1_200 {
        all.push(accept(&inbox, &n.to_string(), n).await);
    }
    for order in [Order::OldestFirst, Order::NewestFirst] {
        // The first windows of bodies are small on both engines.
        let body = Some(BodyTest::Contains("{}".into()));
        let mut filter = Filter { source: Some("one".into()), body, order, ..any() };
        let (mut found, mut horizons) = (Vec::new(), 0);
        loop {
            let page = inbox.search(filter.clone(), Duration::ZERO).await.unwrap();
            found.extend(page.entries.iter().map(|entry| entry.id));
            let Some(horizon) = page.horizon else { break };
            let seconds = all.iter().position(|id| *id == horizon).unwrap() as i64;
            assert_eq!(page.horizon_at, Some(at(seconds)));
            assert_eq!(found.last(), Some(&horizon));
            horizons += 1;
            match order {
                Order::OldestFirst => filter.after = Some(horizon),
                Order::NewestFirst => filter.before = Some(horizon),
            }
        }
        assert!(horizons > 0);
        found.sort_unstable();
        assert_eq!(found, all);
    }
}

pub(crate) async fn a_summary_counts_by_source_and_event(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let order = |key: &str| Route { event_type: "OrderEvent".into(), ..keyed(key) };
    for (n, source) in [(1, "one"), (2, "one"), (3, "two")] {
        send(&inbox, &message(&n.to_string()).from(source), order(&(n % 2).to_string()), n).await;
        let reason = format!("broken {n}");
        end_one(&inbox, Verdict::Dead { reason }, n).await;
    }
    accept(&inbox, "done", 9).await;
    end_one(&inbox, Verdict::Done, 9).await;
    let filter = Filter { state: Some(State::Dead), limit: Some(1), ..any() };
    let Summary { groups, entities, horizon, .. } = inbox.summarize(filter, LONG).await.unwrap();
    let groups: Vec<_> = groups
        .iter()
        .map(|group| {
            let error = group.error.as_deref().unwrap();
            (group.source.as_str(), group.count, group.oldest, group.newest, error)
        })
        .collect();
    assert_eq!(
        groups,
        [("one", 2, at(1), at(2), "broken 1"), ("two", 1, at(3), at(3), "broken 3")]
    );
    assert_eq!((entities, horizon), (2, None));
}

async fn discard(inbox: &Opened, ids: &[DeliveryId], now: i64) -> u64 {
    let filter = Filter { ids: ids.to_vec(), ..any() };
    inbox.at(now).discard(filter, "a test order".into()).await.unwrap()
}

pub(crate) async fn what_is_discarded_ends_without_its_handler(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let dead_one = accept(&inbox, "dead", 0).await;
    end_one(&inbox, dead(), 0).await;
    let done = accept(&inbox, "done", 0).await;
    end_one(&inbox, Verdict::Done, 0).await;
    let unrouted = accept_to(&inbox, "u", Route { handled: false, ..route() }, 0).await;
    let retried = accept(&inbox, "retried", 0).await;
    end_one(&inbox, retry(10), 0).await;
    let running = accept(&inbox, "running", 0).await;
    let lease = claim_one(&inbox, 0).await.lease;
    let fresh_one = accept(&inbox, "fresh", 0).await;
    let all = [dead_one, done, unrouted, retried, running, fresh_one];
    assert_eq!(discard(&inbox, &all, 5).await, 4);
    assert_eq!(discard(&inbox, &all, 5).await, 0, "once");
    assert!(due(&inbox, 30).await.is_empty());
    for (id, attempts) in [(dead_one, 2), (unrouted, 1), (retried, 2), (fresh_one, 1)] {
        let detail = show(&inbox, id).await;
        let entry = &detail.entry;
        assert_eq!(
            (entry.state, entry.attempts, entry.ended_at),
            (State::Done, attempts, Some(at(5)))
        );
        assert_eq!((entry.due_at, entry.last_error.as_deref()), (None, Some("a test order")));
        assert_eq!(outcomes(&detail).last(), Some(&(attempts, 0, "discarded")));
        assert_eq!(detail.attempts.last().unwrap().error.as_deref(), Some("a test order"));
    }
    assert!(finish(&inbox, &lease, Verdict::Done, 6).await, "what runs is left alone");
    let counts = inbox.count().await.unwrap();
    assert!(counts.iter().all(|(_, count)| *count == 0), "{counts:?}");
    assert_eq!(replay(&inbox, &[fresh_one, dead_one], 7).await, 2);
    assert_eq!(due(&inbox, 7).await.len(), 2);
}

pub(crate) async fn who_waits_behind_what_is_discarded_has_its_turn(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let mut ids = Vec::new();
    for n in 0..6 {
        ids.push(accept_to(&inbox, &n.to_string(), keyed("k"), 0).await);
    }
    assert_eq!(end_one(&inbox, retry(1000), 0).await, ids[0]);
    assert!(due(&inbox, 1).await.is_empty());
    assert_eq!(discard(&inbox, &[ids[0], ids[1], ids[4]], 1).await, 3);
    let lease = claim_one(&inbox, 1).await.lease;
    assert_eq!(lease.id, ids[2]);
    assert_eq!(discard(&inbox, &[ids[3]], 2).await, 1);
    assert!(due(&inbox, 2).await.is_empty(), "one runs");
    assert!(finish(&inbox, &lease, Verdict::Done, 3).await);
    assert_eq!(end_one(&inbox, Verdict::Done, 3).await, ids[5]);
}

pub(crate) async fn nobody_passes_who_runs_where_another_was_discarded(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    accept_to(&inbox, "running", keyed("k"), 0).await;
    let lease = claim_one(&inbox, 0).await.lease;
    let behind = accept_to(&inbox, "behind", keyed("k"), 0).await;
    assert!(due(&inbox, 0).await.is_empty());
    assert_eq!(discard(&inbox, &[behind], 1).await, 1);
    let newest = accept_to(&inbox, "newest", keyed("k"), 1).await;
    assert!(due(&inbox, 1).await.is_empty());
    let again = Filter { ids: vec![behind], ..Filter::default() };
    assert_eq!(inbox.at(1).replay(again).await.unwrap(), 1);
    assert!(due(&inbox, 1).await.is_empty());
    assert!(finish(&inbox, &lease, Verdict::Done, 2).await);
    assert_eq!(end_one(&inbox, Verdict::Done, 2).await, behind);
    assert_eq!(end_one(&inbox, Verdict::Done, 2).await, newest);
}

pub(crate) async fn a_discard_ends_the_wait_of_what_is_behind_it(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let first = accept_to(&inbox, "first", keyed("k"), 0).await;
    let second = accept_to(&inbox, "second", keyed("k"), 0).await;
    end_one(&inbox, retry(1000), 0).await;
    let waiting = crate::inbox::waiting::wait(&inbox, 1, 1).await;
    assert_eq!(discard(&inbox, &[first], 1).await, 1);
    let claims = waiting.await.unwrap();
    assert_eq!(claims.iter().map(|claim| claim.lease.id).collect::<Vec<_>>(), [second]);
}

pub(crate) async fn the_keys_with_most_waiting_come_first(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let mut first = Vec::new();
    for (key, count) in [("alone", 1), ("two", 2), ("four", 4), ("three", 3)] {
        for n in 0..count {
            let id = accept_to(&inbox, &format!("{key} {n}"), keyed(key), 0).await;
            if n == 0 {
                first.push(id);
            }
        }
    }
    let expected = [("four", first[2], 3), ("three", first[3], 2), ("two", first[1], 1)];
    let blocked = async || {
        let blocked = inbox.blocked(9).await.unwrap();
        let rows = blocked.into_iter().map(|one| (one.ordering_key, one.first.id, one.waiting));
        rows.collect::<Vec<_>>()
    };
    let expected = expected.map(|(key, id, waiting)| (key.to_owned(), id, waiting));
    assert_eq!(blocked().await, expected, "none is claimed");
    let claims = claim(&inbox, 9, 0).await;
    assert_eq!(claims.len(), 4);
    assert_eq!(blocked().await, expected, "the first of each runs");
    for claim in &claims {
        assert!(finish(&inbox, &claim.lease, retry(1000), 0).await);
    }
    assert_eq!(blocked().await, expected, "the first of each is tried again");
    assert_eq!(inbox.blocked(1).await.unwrap().len(), 1);
    assert_eq!(state(&inbox, first[2]).await, State::Ready);
}

pub(crate) async fn a_follower_sees_each_delivery_arrive_and_end(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let old = accept(&inbox, "old", 0).await;
    end_one(&inbox, Verdict::Done, 0).await;
    let beside = store.open_beside().await;
    let mut follower = Follower::new(old);
    let mut of_dead = Follower::new(old).with_filter(Filter { state: Some(State::Dead), ..any() });
    let seen = async |follower: &mut Follower| -> Vec<(DeliveryId, State)> {
        let found = follower.next(&*beside.inbox).await.unwrap();
        found.iter().map(|entry| (entry.id, entry.state)).collect()
    };
    assert_eq!(seen(&mut follower).await, []);
    let a = accept(&inbox, "a", 1).await;
    let b = accept(&inbox, "b", 1).await;
    assert_eq!(seen(&mut follower).await, [(a, State::Ready), (b, State::Ready)]);
    assert_eq!(seen(&mut of_dead).await, []);
    let claims = claim(&inbox, 9, 1).await;
    assert_eq!(seen(&mut follower).await, []);
    assert!(finish(&inbox, &claims[0].lease, retry(5), 1).await);
    assert!(finish(&inbox, &claims[1].lease, Verdict::Done, 1).await);
    assert_eq!(seen(&mut follower).await, [(a, State::Ready), (b, State::Done)]);
    assert_eq!(seen(&mut follower).await, []);
    end_one(&inbox, dead(), 6).await;
    let c = accept(&inbox, "c", 6).await;
    end_one(&inbox, Verdict::Done, 6).await;
    assert_eq!(seen(&mut follower).await, [(a, State::Dead), (c, State::Done)]);
    assert_eq!(seen(&mut of_dead).await, [(a, State::Dead)]);
    assert_eq!(seen(&mut of_dead).await, []);
    assert_eq!(seen(&mut follower).await, []);
    assert_eq!(follower.position(), c);
}

pub(crate) async fn the_key_that_authenticated_a_delivery_selects_it(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    accept(&inbox, "without", 0).await;
    let mut ids = Vec::new();
    for secret in ["first secret", "second secret"] {
        let keys = ["first secret", "second secret"].map(|key| AcceptedKey::bearer(&key.into()));
        let path = "/api/webhooks";
        let source = Source::new("keyed", Dialect::DirectScale, path, Auth::bearer(keys));
        let mut head = http::Request::new(()).into_parts().0;
        head.headers.insert("authorization", format!("Bearer {secret}").parse().unwrap());
        let admitted = Admitted::admit(&Arc::new(source), head, chrono::Utc::now()).unwrap();
        let verified = admitted.verify(format!("{{\"of\":\"{secret}\"}}").into()).unwrap();
        ids.push(inbox.at(0).accept(verified, route()).await.unwrap().id);
    }
    let key = show(&inbox, ids[1]).await.key;
    assert!(key.is_some() && key != show(&inbox, ids[0]).await.key);
    assert_eq!(listed(&inbox, Filter { key, ..any() }).await, [ids[1]]);
}
