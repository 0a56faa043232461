//! What every engine must do with a claim that waits; the engines are listed in `conformance`.

use std::collections::HashSet;
use std::pin::Pin;
use std::time::{Duration, Instant};

use contract::event::DeliveryId;
use futures_util::FutureExt;
use futures_util::future::{join_all, select_all};
use inbox::{Claim, Result, Route, State, Verdict};

use crate::harness::deliveries::{Opened, PATIENCE, at, keyed, message, route};
use crate::inbox::conformance::{
    Fresh, LEASE, accept, accept_to, claim, claim_one, finish, ids, outcomes, replay, retry, send,
    show, state,
};

type Waiting<'i> = Pin<Box<dyn Future<Output = Result<Vec<Claim>>> + Send + 'i>>;

/// A claim that nothing has ended so far, and that the engine has had time to look at.
pub(crate) async fn wait(inbox: &Opened, max: usize, now: i64) -> Waiting<'_> {
    inbox.clock.set(now);
    wait_by(inbox, max).await
}

async fn wait_by(inbox: &Opened, max: usize) -> Waiting<'_> {
    let mut claim = inbox.claim(max, LEASE, PATIENCE);
    assert!((&mut claim).now_or_never().is_none());
    inbox.check().await.unwrap();
    claim
}

/// Ends the wait for one delivery.
async fn one(waiting: Waiting<'_>) -> Claim {
    let mut claims = waiting.await.unwrap();
    assert_eq!(claims.len(), 1);
    claims.remove(0)
}

/// Rounds that would take longer if an engine only looked from time to time.
async fn at_once(round: impl AsyncFn(i64)) {
    let rounds = async {
        for number in 0..20 {
            round(number).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), rounds).await.expect("the wait ends at once");
}

/// A delivery that is claimed.
async fn running(inbox: &Opened, id: &str, route: Route, now: i64) -> Claim {
    accept_to(inbox, id, route, now).await;
    claim_one(inbox, now).await
}

pub(crate) async fn an_accept_ends_the_wait(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    at_once(async |now| {
        let waiting = wait(&inbox, 9, now).await;
        let id = accept(&inbox, &now.to_string(), now).await;
        let claim = one(waiting).await;
        assert_eq!((claim.lease.id, claim.run_attempt), (id, 1));
        assert!(finish(&inbox, &claim.lease, Verdict::Done, now).await);
    })
    .await;
}

pub(crate) async fn a_verdict_ends_the_wait_of_a_delivery_behind_it(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    at_once(async |now| {
        let first = running(&inbox, &format!("first {now}"), keyed("k"), now).await;
        let waiting = wait(&inbox, 9, now).await;
        let second = accept_to(&inbox, &format!("second {now}"), keyed("k"), now).await;
        assert!(finish(&inbox, &first.lease, Verdict::Done, now).await);
        let claim = one(waiting).await;
        assert_eq!(claim.lease.id, second);
        assert!(finish(&inbox, &claim.lease, Verdict::Done, now).await);
    })
    .await;
}

pub(crate) async fn a_delivery_given_back_ends_the_wait(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    at_once(async |now| {
        let claim = running(&inbox, &now.to_string(), route(), now).await;
        let waiting = wait(&inbox, 9, now).await;
        assert!(finish(&inbox, &claim.lease, Verdict::Released, now).await);
        let again = one(waiting).await;
        assert_eq!((again.lease.id, again.run_attempt), (claim.lease.id, 1));
        assert!(finish(&inbox, &again.lease, Verdict::Done, now).await);
    })
    .await;
}

pub(crate) async fn a_replay_ends_the_wait(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let lease = running(&inbox, "m", route(), 0).await.lease;
    assert!(finish(&inbox, &lease, Verdict::Done, 0).await);
    at_once(async |now| {
        let waiting = wait(&inbox, 9, now).await;
        assert_eq!(replay(&inbox, &[lease.id], now).await, 1);
        let claim = one(waiting).await;
        assert_eq!(claim.delivery.meta.replay, now as u32 + 1);
        assert!(finish(&inbox, &claim.lease, Verdict::Done, now).await);
    })
    .await;
}

pub(crate) async fn the_time_of_a_retry_ends_the_wait(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    at_once(async |now| {
        let claim = running(&inbox, &now.to_string(), route(), now).await;
        let waiting = wait(&inbox, 9, now).await;
        assert!(finish(&inbox, &claim.lease, retry(1), now).await);
        inbox.clock.run_up_to(now + 1);
        let again = one(waiting).await;
        assert_eq!((again.lease.id, again.run_attempt), (claim.lease.id, 2));
        assert!(inbox.clock.now() >= at(now + 1));
        assert!(finish(&inbox, &again.lease, Verdict::Done, now + 1).await);
    })
    .await;
}

pub(crate) async fn the_end_of_a_lease_ends_the_wait(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let lost = running(&inbox, "m", route(), 0).await.lease;
    inbox.clock.run_up_to(60);
    let again = one(wait_by(&inbox, 9).await).await;
    assert_eq!((again.lease.id, again.run_attempt, again.lost), (lost.id, 1, 1));
    assert_eq!(outcomes(&show(&inbox, lost.id).await), [(1, 0, "lost")]);
}

/// In about a second, and in any case long before the claim has waited long enough.
pub(crate) async fn a_replay_by_a_command_ends_the_wait(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let id = running(&inbox, "m", route(), 0).await.lease;
    assert!(finish(&inbox, &id, Verdict::Done, 0).await);
    let beside = store.open_beside().await;
    let waiting = wait(&inbox, 9, 1).await;
    assert_eq!(replay(&beside, &[id.id], 1).await, 1);
    let noticed = tokio::time::timeout(PATIENCE / 2, one(waiting)).await;
    assert_eq!(noticed.expect("it is noticed").lease.id, id.id);
}

pub(crate) async fn a_wait_ends_when_its_patience_does(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let patience = Duration::from_millis(50);
    let started = Instant::now();
    assert!(inbox.claim(9, LEASE, patience).await.unwrap().is_empty());
    assert!((patience..PATIENCE).contains(&started.elapsed()), "{:?}", started.elapsed());
}

pub(crate) async fn who_waits_is_given_the_same_as_who_comes_later(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let body = "{ \"EventDateUtc\":\"2021-10-12T18:07:26.5577689Z\",\"Name\":\"Zoë\" }";
    let sent = message("m").client("acme").header("x-directscale-user", "eve").body(body);
    let waiting = wait(&inbox, 9, 7).await;
    let id = send(&inbox, &sent, keyed("k"), 7).await.id;
    let given = one(waiting).await;
    let kept = show(&inbox, id).await.entry;
    assert_eq!((kept.state, kept.attempts, kept.due_at), (State::Running, 1, Some(at(67))));
    assert!(finish(&inbox, &given.lease, Verdict::Released, 7).await);
    let later = claim_one(&inbox, 7).await;
    assert_eq!(given.delivery.meta, later.delivery.meta);
    assert_eq!(given.delivery.raw(), later.delivery.raw());
    assert_ne!(given.lease.token, later.lease.token);
    assert_eq!((given.lease.attempt, given.run_attempt), (later.lease.attempt, later.run_attempt));
}

pub(crate) async fn what_a_waiting_claim_held_is_taken_over_after_a_crash(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let waiting = wait(&inbox, 9, 0).await;
    let id = accept(&inbox, "m", 0).await;
    one(waiting).await;
    drop(inbox);
    let inbox = store.open().await;
    let again = claim_one(&inbox, 60).await;
    assert_eq!((again.lease.id, again.run_attempt, again.lost), (id, 1, 1));
    assert_eq!(outcomes(&show(&inbox, id).await), [(1, 0, "lost")]);
}

pub(crate) async fn a_claim_that_is_not_awaited_any_more_takes_nothing(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    drop(wait(&inbox, 9, 0).await);
    let id = accept(&inbox, "m", 0).await;
    let kept = show(&inbox, id).await.entry;
    assert_eq!((kept.state, kept.attempts), (State::Ready, 0));
    assert_eq!(claim_one(&inbox, 0).await.run_attempt, 1);
}

pub(crate) async fn what_was_claimed_for_nobody_is_given_back(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    for now in 0..20 {
        let waiting = wait(&inbox, 9, now).await;
        let id = accept(&inbox, &now.to_string(), now).await;
        drop(waiting);
        let claim = one(inbox.claim(9, LEASE, PATIENCE)).await;
        assert_eq!((claim.lease.id, claim.run_attempt), (id, 1));
        assert!(finish(&inbox, &claim.lease, Verdict::Done, now).await);
        assert_eq!(outcomes(&show(&inbox, id).await), [(1, 0, "done")]);
    }
}

pub(crate) async fn who_waits_takes_no_more_than_asked(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let waiting = wait(&inbox, 2, 0).await;
    let accepted = accept_many(&inbox, 8).await;
    let mut taken = ids(&waiting.await.unwrap());
    assert!((1..=2).contains(&taken.len()), "{taken:?}");
    taken.extend(ids(&claim(&inbox, 9, 0).await));
    assert_eq!(taken.len(), 8);
    assert_eq!(taken.into_iter().collect::<HashSet<_>>(), accepted);
}

pub(crate) async fn of_those_who_wait_each_takes_another(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let mut waiting = join_all((0..4).map(|_| wait(&inbox, 1, 0))).await;
    let accepted = accept_many(&inbox, 4).await;
    let mut taken = HashSet::new();
    while !waiting.is_empty() {
        let (claims, _, others) = select_all(waiting).await;
        taken.extend(ids(&claims.unwrap()));
        waiting = others;
    }
    assert_eq!(taken, accepted);
}

/// Accepted at once, so that some of them may share a transaction.
async fn accept_many(inbox: &Opened, count: usize) -> HashSet<DeliveryId> {
    let ids = join_all((0..count).map(async |n| accept(inbox, &n.to_string(), 0).await)).await;
    ids.into_iter().collect()
}

pub(crate) async fn who_waits_is_not_given_what_is_not_due(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    running(&inbox, "running", keyed("k"), 0).await;
    let later = running(&inbox, "later", route(), 0).await.lease;
    assert!(finish(&inbox, &later, retry(1), 0).await);
    let waiting = wait(&inbox, 9, 0).await;
    let behind = accept_to(&inbox, "behind", keyed("k"), 0).await;
    let unhandled = Route { handled: false, ..route() };
    let unrouted = accept_to(&inbox, "unrouted", unhandled, 0).await;
    for (id, expected) in [(behind, State::Ready), (unrouted, State::Unrouted)] {
        assert_eq!(state(&inbox, id).await, expected);
    }
    let due = accept(&inbox, "due", 0).await;
    assert_eq!(one(waiting).await.lease.id, due);
    assert_eq!(ids(&claim(&inbox, 9, 1).await), [later.id]);
}
