//! What every engine of the inbox must do, whatever it stores in. A new engine is one line at the end of this file.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use contract::event::DeliveryId;
use inbox::{
    AcceptOutcome, AttemptEntry, Backlog, Claim, Detail, Filter, KeyUse, Lease, Receipt, Rejection,
    Route, State, Verdict,
};

use crate::harness::deliveries::{Message, Opened, Store, anonymous, at, keyed, message, route};
use crate::inbox::hook_log::{
    a_call_is_kept_as_it_ended, calls_are_pruned_in_steps_by_when_they_came,
    the_log_of_calls_and_the_deliveries_leave_each_other_alone,
    the_log_of_calls_is_filtered_and_paged,
};
use crate::inbox::model::random_operations_agree_with_a_model;
use crate::inbox::operate::{
    an_act_is_kept_with_its_progress, nothing_is_claimed_while_the_dispatch_is_paused,
    tallies_add_up_for_eight_days, the_size_of_a_store_is_known,
};
use crate::inbox::searches::{
    a_discard_ends_the_wait_of_what_is_behind_it, a_follower_sees_each_delivery_arrive_and_end,
    a_search_that_ends_early_goes_on_at_its_horizon, a_summary_counts_by_source_and_event,
    every_new_condition_selects, nobody_passes_who_runs_where_another_was_discarded,
    the_key_that_authenticated_a_delivery_selects_it, the_keys_with_most_waiting_come_first,
    what_is_discarded_ends_without_its_handler, who_waits_behind_what_is_discarded_has_its_turn,
};
use crate::inbox::waiting::{
    a_claim_that_is_not_awaited_any_more_takes_nothing, a_delivery_given_back_ends_the_wait,
    a_replay_by_a_command_ends_the_wait, a_replay_ends_the_wait,
    a_verdict_ends_the_wait_of_a_delivery_behind_it, a_wait_ends_when_its_patience_does,
    an_accept_ends_the_wait, of_those_who_wait_each_takes_another,
    the_end_of_a_lease_ends_the_wait, the_time_of_a_retry_ends_the_wait,
    what_a_waiting_claim_held_is_taken_over_after_a_crash,
    what_was_claimed_for_nobody_is_given_back, who_waits_is_given_the_same_as_who_comes_later,
    who_waits_is_not_given_what_is_not_due, who_waits_takes_no_more_than_asked,
};

/// A store of the engine under test, empty.
pub(crate) type Fresh = fn() -> Store;

pub(crate) const LEASE: Duration = Duration::from_secs(60);

pub(crate) async fn send(inbox: &Opened, message: &Message, route: Route, now: i64) -> Receipt {
    inbox.at(now).accept(message.verified(), route).await.unwrap()
}

pub(crate) async fn accept(inbox: &Opened, id: &str, now: i64) -> DeliveryId {
    accept_to(inbox, id, route(), now).await
}

pub(crate) async fn accept_to(inbox: &Opened, id: &str, route: Route, now: i64) -> DeliveryId {
    let receipt = send(inbox, &message(id), route, now).await;
    assert_eq!(receipt.outcome, AcceptOutcome::New, "{id}");
    receipt.id
}

/// What is due now; it does not wait.
pub(crate) async fn claim(inbox: &Opened, max: usize, now: i64) -> Vec<Claim> {
    inbox.at(now).claim(max, LEASE, Duration::ZERO).await.unwrap()
}

pub(crate) async fn claim_one(inbox: &Opened, now: i64) -> Claim {
    let mut claims = claim(inbox, 2, now).await;
    assert_eq!(claims.len(), 1);
    claims.remove(0)
}

/// The numbers of what is due, which is thereby claimed.
pub(crate) async fn due(inbox: &Opened, now: i64) -> Vec<DeliveryId> {
    ids(&claim(inbox, 100, now).await)
}

pub(crate) fn ids(claims: &[Claim]) -> Vec<DeliveryId> {
    claims.iter().map(|claim| claim.delivery.meta.id).collect()
}

pub(crate) async fn finish(inbox: &Opened, lease: &Lease, verdict: Verdict, now: i64) -> bool {
    inbox.at(now).finish(lease.clone(), verdict).await.unwrap()
}

/// Claims the one delivery that is due and ends the attempt at once.
pub(crate) async fn end_one(inbox: &Opened, verdict: Verdict, now: i64) -> DeliveryId {
    let claim = claim_one(inbox, now).await;
    assert!(finish(inbox, &claim.lease, verdict, now).await);
    claim.lease.id
}

pub(crate) async fn replay(inbox: &Opened, ids: &[DeliveryId], now: i64) -> u64 {
    inbox.at(now).replay(Filter { ids: ids.to_vec(), ..Filter::default() }).await.unwrap()
}

pub(crate) async fn show(inbox: &Opened, id: DeliveryId) -> Detail {
    inbox.show(id).await.unwrap().unwrap()
}

pub(crate) async fn state(inbox: &Opened, id: DeliveryId) -> State {
    show(inbox, id).await.entry.state
}

pub(crate) async fn listed(inbox: &Opened, filter: Filter) -> Vec<DeliveryId> {
    inbox.list(filter).await.unwrap().iter().map(|entry| entry.id).collect()
}

pub(crate) fn retry(seconds: u64) -> Verdict {
    Verdict::Retry { after: Duration::from_secs(seconds), reason: "down".into() }
}

/// Deletes what has ended before so many seconds.
async fn prune(inbox: &Opened, state: State, before: i64, limit: usize) -> u64 {
    let age = Duration::from_secs(1_000_000);
    inbox.at(before + 1_000_000).prune(state, age, limit).await.unwrap()
}

pub(crate) fn dead() -> Verdict {
    Verdict::Dead { reason: "broken".into() }
}

pub(crate) fn outcomes(detail: &Detail) -> Vec<(u32, u32, &str)> {
    let outcome = |a: &'_ AttemptEntry| (a.attempt, a.replay);
    detail.attempts.iter().map(|a| (outcome(a).0, outcome(a).1, a.outcome.as_str())).collect()
}

async fn the_second_of_two_equal_deliveries_is_a_duplicate(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let first = send(&inbox, &message("m"), route(), 0).await;
    let second = send(&inbox, &message("m"), route(), 1).await;
    assert_eq!((first.outcome, second.outcome), (AcceptOutcome::New, AcceptOutcome::Duplicate));
    assert_eq!((second.id, second.message_id.as_str()), (first.id, "m"));
    assert_eq!(listed(&inbox, Filter::default()).await, [first.id]);
    assert_eq!(due(&inbox, 1).await, [first.id]);
}

async fn of_64_at_once_exactly_one_is_new(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let barrier = Arc::new(tokio::sync::Barrier::new(64));
    let at_once = (0..64).map(|_| {
        let (inbox, barrier) = (inbox.clone(), Arc::clone(&barrier));
        tokio::spawn(async move {
            barrier.wait().await;
            send(&inbox, &message("m"), route(), 0).await
        })
    });
    let receipts = futures_util::future::try_join_all(at_once).await.unwrap();
    let new = receipts.iter().filter(|receipt| receipt.outcome == AcceptOutcome::New).count();
    let numbers: HashSet<_> = receipts.iter().map(|receipt| receipt.id).collect();
    assert_eq!((new, numbers.len()), (1, 1));
    assert!(receipts.iter().all(|receipt| receipt.outcome != AcceptOutcome::Conflict));
    assert_eq!(due(&inbox, 0).await.len(), 1);
}

async fn the_parts_of_the_key_stay_apart(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let distinct = [
        message("bc").client("a"),
        message("c").client("ab"),
        message("abc"),
        message("a"),
        message("a").client("a"),
        message("a").client("b"),
        message("a").from("two"),
        message("A"),
    ];
    for message in &distinct {
        assert_eq!(
            send(&inbox, message, route(), 0).await.outcome,
            AcceptOutcome::New,
            "{message:?}"
        );
    }
    for message in &distinct {
        assert_eq!(
            send(&inbox, message, route(), 0).await.outcome,
            AcceptOutcome::Duplicate,
            "{message:?}"
        );
    }
}

async fn other_bytes_under_a_known_id_are_a_conflict_and_the_first_are_kept(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let first = send(&inbox, &message("m").body("{\"a\": 1}"), route(), 0).await;
    accept(&inbox, "other", 0).await;
    for conflicts in 1..=2 {
        let second = send(&inbox, &message("m").body("{\"a\":1}"), route(), 1).await;
        assert_eq!((second.outcome, second.id), (AcceptOutcome::Conflict, first.id));
        let kept = show(&inbox, first.id).await;
        assert_eq!((kept.entry.conflicts, &kept.body[..]), (conflicts, &b"{\"a\": 1}"[..]));
    }
    let conflicts = Filter { conflicts: true, ..Filter::default() };
    assert_eq!(listed(&inbox, conflicts).await, [first.id]);
    let third = send(&inbox, &message("m").body("{\"a\": 1}"), route(), 2).await;
    assert_eq!(third.outcome, AcceptOutcome::Duplicate);
}

async fn without_an_id_the_bytes_are_the_id(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let first = send(&inbox, &anonymous().body("1"), route(), 0).await;
    assert_eq!(
        send(&inbox, &anonymous().body("1"), route(), 0).await.outcome,
        AcceptOutcome::Duplicate
    );
    assert_eq!(send(&inbox, &anonymous().body("2"), route(), 0).await.outcome, AcceptOutcome::New);
    assert!(show(&inbox, first.id).await.entry.message_id_derived);
}

async fn a_delivery_is_kept_and_claimed_as_it_was_received(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let body = "{ \"EventDateUtc\":\"2021-10-12T18:07:26Z\",\"Name\":\"Zoë\" }";
    let sent = message("m").client("acme").header("x-directscale-user", "eve").body(body);
    let sent = sent.header("authorization", "Bearer hidden").header("x-other", "kept");
    let id = send(&inbox, &sent, keyed("k"), 5).await.id;

    let meta = claim_one(&inbox, 6).await.delivery.meta;
    assert_eq!((meta.id, meta.source.as_str(), meta.message_id.as_str()), (id, "one", "m"));
    assert_eq!((meta.client_id.as_deref(), meta.user.as_deref()), (Some("acme"), Some("eve")));
    assert_eq!((meta.event_type.as_str(), meta.version), ("JobEvent", 1));
    assert_eq!((meta.environment.as_str(), meta.dialect.as_str()), ("stage", "directscale"));
    assert_eq!(meta.event_time.unwrap().to_rfc3339(), "2021-10-12T18:07:26+00:00");
    assert_eq!((meta.received_at, meta.attempt, meta.replay), (at(5), 1, 0));
    assert!(!meta.message_id_derived);

    let kept = show(&inbox, id).await;
    assert_eq!(kept.body, body);
    assert_eq!(kept.entry.size, body.len() as u64);
    assert_eq!(kept.ordering_key.as_deref(), Some("k"));
    assert!(kept.headers.contains("[\"x-other\",\"kept\"]"), "{}", kept.headers);
    assert!(!kept.headers.contains("hidden"), "{}", kept.headers);
}

async fn claims_come_in_order_of_acceptance_and_no_more_than_asked(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let mut accepted = Vec::new();
    for id in ["a", "b", "c", "d", "e"] {
        accepted.push(accept(&inbox, id, 0).await);
    }
    assert!(accepted.is_sorted());
    assert_eq!(ids(&claim(&inbox, 2, 0).await), accepted[..2]);
    assert_eq!(ids(&claim(&inbox, 2, 0).await), accepted[2..4]);
    assert_eq!(ids(&claim(&inbox, 2, 0).await), accepted[4..]);
    assert!(claim(&inbox, 2, 0).await.is_empty());
    assert!(claim(&inbox, 0, 1000).await.is_empty());
}

async fn two_workers_never_hold_the_same_delivery(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    for n in 0..40 {
        accept(&inbox, &n.to_string(), 0).await;
    }
    let workers = (0..8).map(|_| {
        let inbox = inbox.clone();
        tokio::spawn(async move { ids(&claim(&inbox, 10, 0).await) })
    });
    let claimed = futures_util::future::try_join_all(workers).await.unwrap().concat();
    assert_eq!(claimed.len(), 40);
    assert_eq!(claimed.iter().collect::<HashSet<_>>().len(), 40);
}

async fn a_lease_that_runs_out_is_taken_over_and_the_attempt_is_lost(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let id = accept(&inbox, "m", 0).await;
    assert_eq!(due(&inbox, 10).await, [id]);
    assert!(due(&inbox, 69).await.is_empty());
    let second = claim_one(&inbox, 70).await;
    assert_eq!((second.run_attempt, second.lost, second.delivery.meta.attempt), (1, 1, 2));
    let kept = show(&inbox, id).await;
    assert_eq!(outcomes(&kept), [(1, 0, "lost")]);
    assert_eq!((kept.attempts[0].started_at, kept.attempts[0].ended_at), (at(10), at(70)));
    assert!(finish(&inbox, &second.lease, Verdict::Done, 71).await);
    assert_eq!(outcomes(&show(&inbox, id).await), [(1, 0, "lost"), (2, 0, "done")]);
}

async fn the_verdict_of_a_lost_lease_is_refused(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let id = accept(&inbox, "m", 0).await;
    let stale = claim_one(&inbox, 0).await.lease;
    let held = claim_one(&inbox, 60).await.lease;
    for verdict in [Verdict::Done, dead(), retry(61), Verdict::Unrouted, Verdict::Released] {
        assert!(!finish(&inbox, &stale, verdict, 61).await);
        assert_eq!(state(&inbox, id).await, State::Running);
    }
    assert!(finish(&inbox, &held, Verdict::Done, 62).await);
    assert!(!finish(&inbox, &held, dead(), 63).await);
    assert_eq!(state(&inbox, id).await, State::Done);
}

async fn a_late_verdict_counts_while_nobody_else_holds_the_delivery(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let id = accept(&inbox, "m", 0).await;
    let lease = claim_one(&inbox, 0).await.lease;
    assert!(finish(&inbox, &lease, Verdict::Done, 1000).await);
    assert_eq!(state(&inbox, id).await, State::Done);
    assert!(due(&inbox, 2000).await.is_empty());
}

async fn a_released_attempt_does_not_count(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let id = accept(&inbox, "m", 0).await;
    let released = claim_one(&inbox, 0).await.lease;
    assert!(finish(&inbox, &released, Verdict::Released, 1).await);
    let kept = show(&inbox, id).await;
    assert_eq!((kept.entry.state, kept.entry.attempts), (State::Ready, 0));
    assert!(kept.attempts.is_empty());
    let again = claim_one(&inbox, 1).await;
    assert_eq!((again.run_attempt, again.delivery.meta.attempt), (1, 1));
}

async fn a_released_lease_is_used_up(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let id = accept(&inbox, "m", 0).await;
    let released = claim_one(&inbox, 0).await.lease;
    assert!(finish(&inbox, &released, Verdict::Released, 1).await);
    assert!(!finish(&inbox, &released, Verdict::Done, 1).await);
    let held = claim_one(&inbox, 2).await.lease;
    assert!(!finish(&inbox, &released, Verdict::Done, 3).await);
    assert_eq!(state(&inbox, id).await, State::Running);
    assert!(finish(&inbox, &held, Verdict::Done, 3).await);
}

async fn a_crash_between_claim_and_finish_costs_no_attempt_of_the_run(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let id = accept(&inbox, "m", 0).await;
    let before = claim_one(&inbox, 0).await.lease;
    drop(inbox);
    let inbox = store.open().await;
    assert_eq!(send(&inbox, &message("m"), route(), 60).await.outcome, AcceptOutcome::Duplicate);
    let again = claim_one(&inbox, 60).await;
    assert_eq!((again.lease.id, again.run_attempt, again.lost), (id, 1, 1));
    assert!(!finish(&inbox, &before, Verdict::Done, 61).await);
    assert!(finish(&inbox, &again.lease, Verdict::Done, 61).await);
    assert_eq!(outcomes(&show(&inbox, id).await), [(1, 0, "lost"), (2, 0, "done")]);
}

async fn lost_attempts_are_counted_apart_until_one_ends(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let id = accept(&inbox, "m", 0).await;
    for lost in 0..20 {
        let claim = claim_one(&inbox, i64::from(lost) * 60).await;
        assert_eq!((claim.run_attempt, claim.lost, claim.lease.attempt), (1, lost, lost + 1));
        assert_eq!(show(&inbox, id).await.entry.lost, lost);
    }
    let claim = claim_one(&inbox, 1200).await;
    let postponed = Verdict::Postponed { after: Duration::from_secs(800) };
    assert!(finish(&inbox, &claim.lease, postponed, 1200).await);
    let entry = show(&inbox, id).await.entry;
    assert_eq!((entry.state, entry.due_at, entry.lost), (State::Ready, Some(at(2000)), 20));
    assert!(due(&inbox, 1999).await.is_empty());
    let rested = claim_one(&inbox, 2000).await;
    assert_eq!((rested.run_attempt, rested.lost), (1, 0));
    assert!(finish(&inbox, &rested.lease, retry(1), 2000).await);
    assert_eq!(show(&inbox, id).await.entry.lost, 0);
    let failed = claim_one(&inbox, 2001).await;
    assert_eq!((failed.run_attempt, failed.lost), (2, 0));
}

async fn what_was_due_at_once_does_not_wait_for_a_clock_that_was_ahead(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let failed = end_and_accept(&inbox, retry(4999)).await;
    let new = accept(&inbox, "accepted ahead", 1000).await;
    let standing = inbox.at(500).catch_up().await.unwrap();
    let expected = Backlog {
        now: at(500),
        newest: Some(at(1000)),
        made_due: standing.made_due.min(1),
        waiting: 1,
        next: Some(at(5000)),
    };
    assert_eq!(standing, expected);
    assert_eq!(due(&inbox, 500).await, [new]);
    let again = inbox.at(500).catch_up().await.unwrap();
    assert_eq!(again, Backlog { made_due: 0, ..expected }, "nor is it taken from who has it");
    assert_eq!(due(&inbox, 5000).await, [new, failed], "the retry waits for its time");
}

async fn a_retry_is_not_due_before_its_time(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let id = end_and_accept(&inbox, retry(99)).await;
    assert!(due(&inbox, 99).await.is_empty());
    let kept = show(&inbox, id).await;
    assert_eq!((kept.entry.state, kept.entry.due_at), (State::Ready, Some(at(100))));
    assert_eq!(kept.entry.last_error.as_deref(), Some("down"));
    let again = claim_one(&inbox, 100).await;
    assert_eq!((again.lease.id, again.run_attempt), (id, 2));
}

/// One delivery that was accepted at 0 and ended so at 1.
async fn end_and_accept(inbox: &Opened, verdict: Verdict) -> DeliveryId {
    let id = accept(inbox, "m", 0).await;
    assert_eq!(end_one(inbox, verdict, 1).await, id);
    id
}

async fn a_dead_letter_is_kept_with_its_reason(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let id = end_and_accept(&inbox, dead()).await;
    assert!(due(&inbox, 1_000_000).await.is_empty());
    let kept = show(&inbox, id).await;
    assert_eq!((kept.entry.state, kept.entry.ended_at), (State::Dead, Some(at(1))));
    assert_eq!(kept.entry.last_error.as_deref(), Some("broken"));
    assert_eq!(kept.attempts[0].error.as_deref(), Some("broken"));
    assert_eq!(send(&inbox, &message("m"), route(), 2).await.outcome, AcceptOutcome::Duplicate);
    assert_eq!(state(&inbox, id).await, State::Dead);
}

async fn what_no_handler_takes_is_kept_until_it_is_replayed(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let unhandled = Route { handled: false, ..route() };
    let id = accept_to(&inbox, "m", unhandled, 0).await;
    assert_eq!(state(&inbox, id).await, State::Unrouted);
    assert!(due(&inbox, 1000).await.is_empty());
    assert_eq!(replay(&inbox, &[id], 1000).await, 1);
    assert_eq!(end_one(&inbox, Verdict::Unrouted, 1000).await, id);
    assert_eq!(state(&inbox, id).await, State::Unrouted);
}

async fn a_replay_is_a_new_run(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let id = accept(&inbox, "m", 0).await;
    end_one(&inbox, retry(1), 0).await;
    end_one(&inbox, dead(), 1).await;
    assert_eq!(replay(&inbox, &[id], 2).await, 1);
    let kept = show(&inbox, id).await.entry;
    assert_eq!((kept.state, kept.ended_at, kept.replays), (State::Ready, None, 1));
    let claim = claim_one(&inbox, 2).await;
    let meta = &claim.delivery.meta;
    assert_eq!((claim.run_attempt, meta.attempt, meta.replay), (1, 3, 1));
    assert!(meta.is_replay());
    assert!(finish(&inbox, &claim.lease, Verdict::Done, 3).await);
    let kept = show(&inbox, id).await;
    assert_eq!(outcomes(&kept), [(1, 0, "retry"), (2, 0, "dead"), (3, 1, "done")]);
    assert_eq!(kept.entry.last_error, None);
}

async fn only_what_has_ended_is_replayed(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let running = accept(&inbox, "running", 0).await;
    let lease = claim_one(&inbox, 0).await.lease;
    let waiting = accept(&inbox, "waiting", 0).await;
    end_one(&inbox, retry(500), 0).await;
    let ready = accept(&inbox, "ready", 0).await;
    assert_eq!(replay(&inbox, &[running, waiting, ready], 1).await, 0);
    assert_eq!(inbox.at(1).replay(Filter::default()).await.unwrap(), 0);
    assert_eq!(due(&inbox, 1).await, [ready]);
    assert!(finish(&inbox, &lease, Verdict::Done, 1).await);
    assert_eq!(inbox.at(2).replay(Filter::default()).await.unwrap(), 1);
    assert_eq!(due(&inbox, 2).await, [running]);
}

async fn one_key_is_handled_one_at_a_time_in_order(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let mut accepted = Vec::new();
    for id in ["a", "b", "c"] {
        accepted.push(accept_to(&inbox, id, keyed("k"), 0).await);
    }
    for (n, id) in accepted.into_iter().enumerate() {
        let now = n as i64;
        let claim = claim_one(&inbox, now).await;
        assert_eq!(claim.lease.id, id);
        assert!(due(&inbox, now).await.is_empty());
        assert!(finish(&inbox, &claim.lease, Verdict::Done, now).await);
    }
    assert!(due(&inbox, 100).await.is_empty());
}

async fn a_retry_and_a_lost_lease_hold_their_key_back(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let first = accept_to(&inbox, "a", keyed("k"), 0).await;
    let second = accept_to(&inbox, "b", keyed("k"), 0).await;
    assert_eq!(end_one(&inbox, retry(100), 0).await, first);
    assert!(due(&inbox, 99).await.is_empty());
    assert_eq!(due(&inbox, 100).await, [first]);
    assert_eq!(end_one(&inbox, Verdict::Released, 160).await, first);
    assert_eq!(end_one(&inbox, Verdict::Done, 161).await, first);
    assert_eq!(end_one(&inbox, Verdict::Done, 161).await, second);
}

async fn a_dead_letter_lets_its_key_go_on(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    for verdict in [dead(), Verdict::Unrouted] {
        let key = format!("{verdict:?}");
        let first = accept_to(&inbox, &format!("1 {key}"), keyed(&key), 0).await;
        let second = accept_to(&inbox, &format!("2 {key}"), keyed(&key), 0).await;
        assert_eq!(end_one(&inbox, verdict, 0).await, first);
        assert_eq!(end_one(&inbox, Verdict::Done, 0).await, second);
    }
}

async fn a_replay_waits_for_its_key(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let first = accept_to(&inbox, "a", keyed("k"), 0).await;
    let second = accept_to(&inbox, "b", keyed("k"), 0).await;
    assert_eq!(end_one(&inbox, dead(), 0).await, first);
    let running = claim_one(&inbox, 0).await.lease;
    assert_eq!(replay(&inbox, &[first], 1).await, 1);
    assert!(due(&inbox, 1).await.is_empty());
    assert!(finish(&inbox, &running, Verdict::Done, 2).await);
    assert_eq!(end_one(&inbox, Verdict::Done, 2).await, first);
    assert_eq!(replay(&inbox, &[second, first], 3).await, 2);
    assert_eq!(end_one(&inbox, Verdict::Done, 3).await, first);
    assert_eq!(end_one(&inbox, Verdict::Done, 3).await, second);
}

async fn keys_do_not_wait_for_each_other(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let mut accepted = Vec::new();
    for id in ["x1", "y1", "x2", "z1", "y2", "x3"] {
        accepted.push(accept_to(&inbox, id, keyed(&id[..1]), 0).await);
    }
    let free = accept(&inbox, "free", 0).await;
    let [x1, y1, x2, z1, y2, x3] = accepted.try_into().unwrap();
    let claims = claim(&inbox, 100, 0).await;
    assert_eq!(ids(&claims), [x1, y1, z1, free]);
    assert!(finish(&inbox, &claims[1].lease, dead(), 1).await);
    assert_eq!(due(&inbox, 1).await, [y2]);
    assert!(finish(&inbox, &claims[0].lease, retry(4), 1).await);
    assert!(due(&inbox, 4).await.is_empty());
    assert_eq!(end_one(&inbox, Verdict::Done, 5).await, x1);
    assert_eq!(end_one(&inbox, Verdict::Done, 5).await, x2);
    assert_eq!(end_one(&inbox, Verdict::Done, 5).await, x3);
}

async fn only_what_ended_before_is_pruned_in_steps(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let mut done = Vec::new();
    for (n, id) in ["a", "b", "c"].into_iter().enumerate() {
        done.push(accept(&inbox, id, 0).await);
        end_one(&inbox, Verdict::Done, 10 + n as i64).await;
    }
    let kept_dead = accept(&inbox, "dead", 0).await;
    end_one(&inbox, dead(), 10).await;
    let ready = accept(&inbox, "ready", 0).await;

    let prune = async |state, before, limit| prune(&inbox, state, before, limit).await;
    assert_eq!(prune(State::Done, 10, 9).await, 0);
    assert_eq!(prune(State::Ready, 1000, 9).await, 0);
    assert_eq!(prune(State::Running, 1000, 9).await, 0);
    assert_eq!(prune(State::Done, 12, 1).await, 1);
    assert_eq!(listed(&inbox, Filter::default()).await, [ready, kept_dead, done[2], done[1]]);
    assert_eq!(prune(State::Done, 12, 9).await, 1);
    assert_eq!(prune(State::Done, 13, 9).await, 1);
    assert_eq!(prune(State::Done, 1000, 9).await, 0);
    assert_eq!(listed(&inbox, Filter::default()).await, [ready, kept_dead]);
    assert_eq!(inbox.show(done[0]).await.unwrap(), None);
    assert_eq!(prune(State::Dead, 11, 9).await, 1);
}

async fn a_pruned_id_is_new_again_under_a_new_number(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let id = end_and_accept(&inbox, Verdict::Done).await;
    let other = accept(&inbox, "other", 0).await;
    assert_eq!(prune(&inbox, State::Done, 2, 9).await, 1);
    let again = accept(&inbox, "m", 3).await;
    assert!(again > other && other > id);
    assert_eq!(send(&inbox, &message("m"), route(), 3).await.outcome, AcceptOutcome::Duplicate);
    assert!(show(&inbox, again).await.attempts.is_empty());
}

async fn no_number_is_given_twice_even_when_everything_is_pruned(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let id = end_and_accept(&inbox, Verdict::Done).await;
    prune(&inbox, State::Done, 100, 9).await;
    drop(inbox);
    let inbox = store.open().await;
    assert!(accept(&inbox, "next", 101).await > id);
}

async fn a_listing_is_filtered_and_paged(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let order = || Route { event_type: "OrderEvent".into(), ..route() };
    let a = send(&inbox, &message("a"), route(), 0).await.id;
    let b = send(&inbox, &message("b").from("two"), order(), 10).await.id;
    let c = send(&inbox, &message("c"), order(), 20).await.id;
    let d = send(&inbox, &message("a").from("two"), route(), 30).await.id;
    end_one_of(&inbox, c, 40).await;

    let any = Filter::default;
    let cases = [
        (any(), vec![d, c, b, a]),
        (Filter { ids: vec![a, c, 999], ..any() }, vec![c, a]),
        (Filter { state: Some(State::Done), ..any() }, vec![c]),
        (Filter { state: Some(State::Ready), ..any() }, vec![d, b, a]),
        (Filter { state: Some(State::Dead), ..any() }, vec![]),
        (Filter { source: Some("two".into()), ..any() }, vec![d, b]),
        (Filter { event_type: Some("orderEVENT".into()), ..any() }, vec![c, b]),
        (Filter { message_id: Some("a".into()), ..any() }, vec![d, a]),
        (Filter { since: Some(at(10)), ..any() }, vec![d, c, b]),
        (Filter { until: Some(at(20)), ..any() }, vec![b, a]),
        (Filter { conflicts: true, ..any() }, vec![]),
        (Filter { before: Some(c), ..any() }, vec![b, a]),
        (Filter { after: Some(b), ..any() }, vec![d, c]),
        (Filter { limit: Some(2), ..any() }, vec![d, c]),
        (Filter { limit: Some(2), before: Some(c), ..any() }, vec![b, a]),
        (
            Filter { source: Some("two".into()), since: Some(at(20)), limit: Some(9), ..any() },
            vec![d],
        ),
    ];
    for (filter, expected) in cases {
        assert_eq!(listed(&inbox, filter.clone()).await, expected, "{filter:?}");
    }
    assert_eq!(inbox.show(999).await.unwrap(), None);
    assert_eq!(inbox.replayable(any()).await.unwrap(), [c]);
}

/// Claims everything, ends the one as done and gives the rest back.
async fn end_one_of(inbox: &Opened, id: DeliveryId, now: i64) {
    for claim in claim(inbox, 100, now).await {
        let done = claim.lease.id == id;
        let verdict = if done { Verdict::Done } else { Verdict::Released };
        assert!(finish(inbox, &claim.lease, verdict, now).await);
    }
}

async fn what_waits_is_counted(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    for (id, verdict) in [("a", Verdict::Done), ("b", dead()), ("c", dead()), ("d", retry(500))] {
        accept(&inbox, id, 0).await;
        end_one(&inbox, verdict, 0).await;
    }
    accept_to(&inbox, "e", keyed("k"), 0).await;
    assert_eq!(due(&inbox, 0).await.len(), 1);
    accept_to(&inbox, "f", keyed("k"), 0).await;
    accept_to(&inbox, "g", Route { handled: false, ..route() }, 0).await;
    accept(&inbox, "h", 0).await;
    let mut counts = inbox.count().await.unwrap();
    counts.sort_by_key(|(state, _)| *state as u8);
    let expected = [(State::Ready, 3), (State::Running, 1), (State::Dead, 2), (State::Unrouted, 1)];
    assert_eq!(counts, expected);
}

async fn reopening_keeps_everything(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    for (id, verdict) in [("a", Verdict::Done), ("b", dead()), ("c", retry(500))] {
        accept_to(&inbox, id, keyed(id), 0).await;
        end_one(&inbox, verdict, 0).await;
    }
    accept_to(&inbox, "d", keyed("c"), 0).await;
    let everything = async |inbox: &Opened| {
        let mut details = Vec::new();
        for entry in inbox.list(Filter::default()).await.unwrap() {
            details.push(show(inbox, entry.id).await);
        }
        details
    };
    let before = everything(&inbox).await;
    drop(inbox);
    let inbox = store.open().await;
    assert_eq!(before.len(), 4);
    assert_eq!(everything(&inbox).await, before);
    for id in ["a", "b", "c", "d"] {
        assert_eq!(send(&inbox, &message(id), route(), 1).await.outcome, AcceptOutcome::Duplicate);
    }
    assert!(inbox.check().await.is_ok());
}

fn used(source: &str, key: &str, now: i64) -> KeyUse {
    KeyUse { source: source.into(), key: key.into(), last_used: at(now) }
}

async fn the_later_use_of_a_key_is_kept_for_each_source(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    assert_eq!(inbox.keys().await.unwrap(), []);
    inbox.note_keys(vec![used("two", "a", 5), used("one", "b", 5)]).await.unwrap();
    inbox.note_keys(vec![used("one", "a", 1), used("two", "a", 4)]).await.unwrap();
    inbox.note_keys(vec![used("one", "b", 9), used("one", "b", 7)]).await.unwrap();
    inbox.note_keys(Vec::new()).await.unwrap();
    let kept = [used("one", "a", 1), used("one", "b", 9), used("two", "a", 5)];
    assert_eq!(inbox.keys().await.unwrap(), kept);
    assert_eq!(store.open_beside().await.keys().await.unwrap(), kept, "a command sees them");
    drop(inbox);
    assert_eq!(store.open().await.keys().await.unwrap(), kept, "and the next receiver");
}

fn sighting(number: usize) -> Rejection {
    Rejection {
        request_id: number.to_string(),
        at: at(5),
        source: Some("one".into()),
        target: None,
        event_type: Some("OrderEvent".into()),
        message_id: None,
        delivery: Some(7),
        status: 401,
        reason: Some("no Authorization header".into()),
        findings: None,
    }
}

async fn the_latest_sightings_are_kept_and_may_be_added_to(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    inbox.note_rejections(vec![sighting(1), sighting(2)]).await.unwrap();
    let found = Rejection { findings: Some("another key".into()), ..sighting(1) };
    inbox.note_rejections(vec![found.clone()]).await.unwrap();
    let kept = store.open_beside().await.rejections().await.unwrap();
    assert_eq!(kept, [found, sighting(2)], "a command sees them");
    let other = Rejection { reason: Some("the body is no JSON".into()), ..sighting(3) };
    inbox.note_rejections(vec![other.clone()]).await.unwrap();
    inbox.note_rejections((4..2000).map(sighting).collect()).await.unwrap();
    let kept = inbox.rejections().await.unwrap();
    assert!((100..=1000).contains(&kept.len()), "{}", kept.len());
    assert!(kept.contains(&other), "a flood of one kind hides no other");
    assert_eq!(kept.last(), Some(&sighting(1999)));
}

async fn a_command_beside_the_receiver_may_browse_replay_and_prune(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let id = end_and_accept(&inbox, Verdict::Done).await;
    let beside = store.open_beside().await;
    assert_eq!(listed(&beside, Filter::default()).await, [id]);
    assert_eq!(replay(&beside, &[id], 2).await, 1);
    assert_eq!(end_one(&inbox, Verdict::Done, 2).await, id);
    accept(&inbox, "newer", 3).await;
    assert_eq!(prune(&beside, State::Done, 3, 9).await, 1);
    assert_eq!(send(&inbox, &message("m"), route(), 4).await.outcome, AcceptOutcome::New);
}

/// One test for each case and engine.
macro_rules! conformance {
    ($($engine:ident: $fresh:expr, if $is_installed:expr;)+) => {
        $(conformance! { @cases $engine, $fresh, $is_installed,
            the_second_of_two_equal_deliveries_is_a_duplicate
            of_64_at_once_exactly_one_is_new
            the_parts_of_the_key_stay_apart
            other_bytes_under_a_known_id_are_a_conflict_and_the_first_are_kept
            without_an_id_the_bytes_are_the_id
            a_delivery_is_kept_and_claimed_as_it_was_received
            claims_come_in_order_of_acceptance_and_no_more_than_asked
            two_workers_never_hold_the_same_delivery
            a_lease_that_runs_out_is_taken_over_and_the_attempt_is_lost
            the_verdict_of_a_lost_lease_is_refused
            a_late_verdict_counts_while_nobody_else_holds_the_delivery
            a_released_attempt_does_not_count
            a_released_lease_is_used_up
            a_crash_between_claim_and_finish_costs_no_attempt_of_the_run
            lost_attempts_are_counted_apart_until_one_ends
            a_retry_is_not_due_before_its_time
            what_was_due_at_once_does_not_wait_for_a_clock_that_was_ahead
            a_dead_letter_is_kept_with_its_reason
            what_no_handler_takes_is_kept_until_it_is_replayed
            a_replay_is_a_new_run
            only_what_has_ended_is_replayed
            one_key_is_handled_one_at_a_time_in_order
            a_retry_and_a_lost_lease_hold_their_key_back
            a_dead_letter_lets_its_key_go_on
            a_replay_waits_for_its_key
            keys_do_not_wait_for_each_other
            only_what_ended_before_is_pruned_in_steps
            a_pruned_id_is_new_again_under_a_new_number
            no_number_is_given_twice_even_when_everything_is_pruned
            a_listing_is_filtered_and_paged
            every_new_condition_selects
            the_key_that_authenticated_a_delivery_selects_it
            a_search_that_ends_early_goes_on_at_its_horizon
            a_summary_counts_by_source_and_event
            what_is_discarded_ends_without_its_handler
            who_waits_behind_what_is_discarded_has_its_turn
            nobody_passes_who_runs_where_another_was_discarded
            a_discard_ends_the_wait_of_what_is_behind_it
            the_keys_with_most_waiting_come_first
            a_follower_sees_each_delivery_arrive_and_end
            an_act_is_kept_with_its_progress
            nothing_is_claimed_while_the_dispatch_is_paused
            tallies_add_up_for_eight_days
            the_size_of_a_store_is_known
            what_waits_is_counted
            an_accept_ends_the_wait
            a_verdict_ends_the_wait_of_a_delivery_behind_it
            a_delivery_given_back_ends_the_wait
            a_replay_ends_the_wait
            the_time_of_a_retry_ends_the_wait
            the_end_of_a_lease_ends_the_wait
            a_replay_by_a_command_ends_the_wait
            a_wait_ends_when_its_patience_does
            who_waits_is_given_the_same_as_who_comes_later
            what_a_waiting_claim_held_is_taken_over_after_a_crash
            a_claim_that_is_not_awaited_any_more_takes_nothing
            what_was_claimed_for_nobody_is_given_back
            who_waits_takes_no_more_than_asked
            of_those_who_wait_each_takes_another
            who_waits_is_not_given_what_is_not_due
            reopening_keeps_everything
            the_later_use_of_a_key_is_kept_for_each_source
            a_call_is_kept_as_it_ended
            the_log_of_calls_is_filtered_and_paged
            calls_are_pruned_in_steps_by_when_they_came
            the_log_of_calls_and_the_deliveries_leave_each_other_alone
            the_latest_sightings_are_kept_and_may_be_added_to
            a_command_beside_the_receiver_may_browse_replay_and_prune
            random_operations_agree_with_a_model
        })+
    };
    (@cases $engine:ident, $fresh:expr, $is_installed:expr, $($case:ident)+) => {
        mod $engine {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    if $is_installed {
                        super::$case($fresh).await;
                    }
                }
            )+
        }
    };
}

conformance! {
    sqlite: super::Store::sqlite, if true;
    postgres: super::Store::postgres, if crate::harness::postgres::is_installed();
    pooled: super::Store::pooled, if crate::harness::pooler::is_installed();
}
