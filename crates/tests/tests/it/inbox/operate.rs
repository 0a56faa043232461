//! What operators' consoles keep in an inbox: acts, the pause of the dispatch, tallies; and its size.

use std::time::Duration;

use inbox::{ActKind, ActProgress, ActState, NewAct, NewPause, Pause, Tally, TallyKind, Verdict};

use crate::harness::deliveries::{PATIENCE, at, keyed};
use crate::inbox::conformance::{
    Fresh, LEASE, accept, accept_to, claim, claim_one, due, end_one, finish,
};
use crate::inbox::waiting::wait;

fn act(number: u64) -> NewAct {
    NewAct {
        kind: ActKind::Replay,
        actor: "ann\0".into(),
        subject: format!("{{\"state\":\"dead\",\"n\":{number}}}"),
        reason: Some("fixed".into()),
        total: number,
        state: ActState::Running,
    }
}

pub(crate) async fn an_act_is_kept_with_its_progress(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let first = inbox.at(1).begin_act(act(7)).await.unwrap();
    let progress = |done, state| ActProgress { done, state, error: None };
    assert!(inbox.at(2).update_act(first, progress(3, ActState::Running)).await.unwrap());
    let kept = store.open_beside().await.act(first).await.unwrap().unwrap();
    assert_eq!((kept.id, kept.at, kept.updated_at), (first, at(1), at(2)));
    assert_eq!((kept.kind, kept.actor.as_str()), (ActKind::Replay, "ann\0"));
    assert_eq!((kept.subject, kept.reason.as_deref()), (act(7).subject, Some("fixed")));
    assert_eq!((kept.total, kept.done, kept.state, kept.error), (7, 3, ActState::Running, None));
    assert!(inbox.update_act(first, progress(7, ActState::Done)).await.unwrap());
    assert!(!inbox.update_act(first, progress(1, ActState::Running)).await.unwrap(), "it is over");
    assert!(!inbox.cancel_act(first).await.unwrap());
    assert_eq!(inbox.act(first).await.unwrap().unwrap().done, 7);

    let second = inbox.begin_act(act(9)).await.unwrap();
    assert!(store.open_beside().await.cancel_act(second).await.unwrap());
    assert!(!inbox.cancel_act(second).await.unwrap(), "once");
    let failed = ActProgress { done: 4, state: ActState::Failed, error: Some("down".into()) };
    assert!(!inbox.update_act(second, failed.clone()).await.unwrap());
    let kept = inbox.act(second).await.unwrap().unwrap();
    assert_eq!(
        (kept.state, kept.done, kept.error.as_deref()),
        (ActState::Cancelled, 4, Some("down"))
    );
    assert!(!inbox.update_act(999, failed).await.unwrap());
    assert_eq!(inbox.act(999).await.unwrap(), None);

    let at_once = NewAct { kind: ActKind::Reveal, reason: None, state: ActState::Done, ..act(1) };
    let third = inbox.begin_act(at_once).await.unwrap();
    let listed = async |before, limit| {
        let acts = inbox.acts(before, limit).await.unwrap();
        acts.iter().map(|act| (act.id, act.done)).collect::<Vec<_>>()
    };
    assert_eq!(listed(None, 9).await, [(third, 1), (second, 4), (first, 7)]);
    assert_eq!(listed(Some(third), 1).await, [(second, 4)]);
    assert_eq!(listed(Some(first), 9).await, []);
}

pub(crate) async fn nothing_is_claimed_while_the_dispatch_is_paused(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let beside = store.open_beside().await;
    let running = accept_to(&inbox, "running", keyed("k"), 0).await;
    let lease = claim_one(&inbox, 0).await.lease;
    assert_eq!(inbox.paused().await.unwrap(), None);
    let pause =
        |reason: Option<&str>| NewPause { by: "ann".into(), reason: reason.map(Into::into) };
    beside.at(1).pause(pause(None)).await.unwrap();
    beside.at(2).pause(pause(Some("down"))).await.unwrap();
    let kept = Pause { since: at(1), by: "ann".into(), reason: Some("down".into()) };
    assert_eq!(inbox.paused().await.unwrap(), Some(kept));
    // A claim that waits is given nothing that arrives.
    let waiting = wait(&inbox, 9, 2).await;
    let second = accept(&inbox, "second", 2).await;
    let behind = accept_to(&inbox, "behind", keyed("k"), 2).await;
    assert!(due(&inbox, 3).await.is_empty());
    assert!(finish(&inbox, &lease, Verdict::Done, 3).await, "what runs ends as usual");
    assert!(due(&inbox, 300).await.is_empty());
    let fresh_claim = inbox.claim(9, LEASE, Duration::from_millis(50)).await.unwrap();
    assert!(fresh_claim.is_empty());
    beside.unpause().await.unwrap();
    let claims = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
    let mut ids: Vec<_> = claims.iter().map(|claim| claim.lease.id).collect();
    ids.extend(claim(&inbox, 9, 300).await.iter().map(|claim| claim.lease.id));
    ids.sort_unstable();
    assert_eq!(ids, [second, behind]);
    assert!(running < second);
    assert_eq!(inbox.paused().await.unwrap(), None);
    inbox.unpause().await.unwrap();
    accept(&inbox, "later", 300).await;
    end_one(&inbox, Verdict::Done, 300).await;
}

fn tally(minute: i64, source: &str, kind: TallyKind, count: u64) -> Tally {
    Tally {
        at: at(0) + Duration::from_secs(60 * minute as u64),
        source: source.into(),
        kind,
        count,
    }
}

pub(crate) async fn tallies_add_up_for_eight_days(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let begin = (at(0).timestamp() / 900) * 900;
    let quarter = |number: i64| at(begin - at(0).timestamp() + 900 * number);
    inbox
        .at(0)
        .add_tallies(vec![
            tally(0, "two", TallyKind::Handled, 1),
            tally(0, "one", TallyKind::Accepted, 2),
            tally(1, "one", TallyKind::Accepted, 3),
        ])
        .await
        .unwrap();
    inbox.add_tallies(vec![tally(15, "one", TallyKind::Refused, 4)]).await.unwrap();
    store
        .open_second()
        .await
        .add_tallies(vec![tally(0, "two", TallyKind::Handled, 5)])
        .await
        .unwrap();
    inbox.add_tallies(Vec::new()).await.unwrap();
    let expected = [
        Tally { at: quarter(0), ..tally(0, "one", TallyKind::Accepted, 5) },
        Tally { at: quarter(0), ..tally(0, "two", TallyKind::Handled, 6) },
        Tally { at: quarter(1), ..tally(0, "one", TallyKind::Refused, 4) },
    ];
    assert_eq!(inbox.tallies(at(-900)).await.unwrap(), expected);
    assert_eq!(inbox.tallies(quarter(1)).await.unwrap(), expected[2..]);
    let day = 24 * 60;
    inbox
        .at(8 * day * 60)
        .add_tallies(vec![tally(8 * day, "one", TallyKind::Dead, 1)])
        .await
        .unwrap();
    let kept = inbox.tallies(at(-900)).await.unwrap();
    assert_eq!(
        kept.iter().map(|tally| tally.kind).collect::<Vec<_>>(),
        [TallyKind::Refused, TallyKind::Dead]
    );
}

pub(crate) async fn the_size_of_a_store_is_known(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    assert_eq!(inbox.size().await.unwrap().deliveries, 0);
    for id in ["a", "b", "c"] {
        accept(&inbox, id, 0).await;
    }
    let size = inbox.size().await.unwrap();
    assert_eq!(size.deliveries, 3);
    assert!(size.bytes > 10_000, "{size:?}");
    assert_eq!(size.free.is_some_and(|free| free > 0), !store.is_shared());
}
