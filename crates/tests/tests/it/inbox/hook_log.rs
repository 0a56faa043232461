//! What every engine must do with the log of calls of hooks; the cases are run by `conformance`.

use std::time::Duration;

use inbox::{HookBodies, HookCallback, HookEntry, HookFilter, HookRecord};

use crate::harness::calls::{call, full_call};
use crate::harness::deliveries::{Opened, at};
use crate::inbox::conformance::{Fresh, accept};

async fn log(inbox: &Opened, calls: impl IntoIterator<Item = HookRecord>) {
    inbox.log_hooks(calls.into_iter().collect()).await.unwrap();
}

/// Deletes calls received before so many seconds.
async fn prune(inbox: &Opened, before: i64, limit: usize) -> u64 {
    let age = Duration::from_secs(1000);
    inbox.at(before + 1000).prune_hooks(age, limit).await.unwrap()
}

/// The request ids of the calls that match, newest first.
async fn listed(inbox: &Opened, filter: HookFilter) -> Vec<String> {
    let entries = inbox.list_hooks(filter).await.unwrap();
    entries.into_iter().map(|entry| entry.record.request_id).collect()
}

pub(crate) async fn a_call_is_kept_as_it_ended(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let calls = [
        full_call("a", 0),
        call("b", 1),
        HookRecord { bodies: Some(HookBodies::default()), ..call("c", 2) },
        HookRecord {
            callback: Some(HookCallback { took: Duration::ZERO, error: None }),
            ..call("d", 3)
        },
    ];
    log(&inbox, calls.clone()).await;
    log(&inbox, []).await;
    drop(inbox);
    let inbox = store.open().await;
    let mut entries = inbox.list_hooks(HookFilter::default()).await.unwrap();
    entries.reverse();
    assert!(entries.is_sorted_by_key(|entry| entry.id));
    for (HookEntry { id, record }, call) in entries.into_iter().zip(calls) {
        assert_eq!(record, HookRecord { bodies: None, ..call.clone() }, "a listing has no bodies");
        assert_eq!(inbox.show_hook(id).await.unwrap().unwrap(), HookEntry { id, record: call });
    }
    assert_eq!(inbox.show_hook(77).await.unwrap(), None);
}

pub(crate) async fn the_log_of_calls_is_filtered_and_paged(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    log(
        &inbox,
        [
            call("a", 0),
            HookRecord { source: "two".into(), ..call("b", 1) },
            HookRecord { hook: "Autoships.GetAutoships".into(), ..call("c", 2) },
            full_call("d", 3),
            call("e", 4),
        ],
    )
    .await;
    let all = HookFilter::default();
    for (filter, expected) in [
        (all.clone(), "edcba"),
        (HookFilter { source: Some("two".into()), ..all.clone() }, "b"),
        (HookFilter { hook: Some("autoships.getautoships".into()), ..all.clone() }, "c"),
        (HookFilter { outcome: Some("failed".into()), ..all.clone() }, "d"),
        (HookFilter { since: Some(at(3)), ..all.clone() }, "ed"),
        (HookFilter { until: Some(at(3)), ..all.clone() }, "cba"),
        (
            HookFilter { since: Some(at(1)), until: Some(at(4)), limit: Some(2), ..all.clone() },
            "dc",
        ),
        (
            HookFilter {
                source: Some("two".into()),
                outcome: Some("failed".into()),
                ..all.clone()
            },
            "",
        ),
        (HookFilter { limit: Some(0), ..all.clone() }, ""),
    ] {
        assert_eq!(listed(&inbox, filter.clone()).await.concat(), expected, "{filter:?}");
    }
    let mut pages = Vec::new();
    let mut before = None;
    loop {
        let page = HookFilter { before, limit: Some(2), ..HookFilter::default() };
        let Some(last) = inbox.list_hooks(page.clone()).await.unwrap().pop() else { break };
        pages.push(listed(&inbox, page).await.concat());
        before = Some(last.id);
    }
    assert_eq!(pages, ["ed", "cb", "a"]);
}

pub(crate) async fn calls_are_pruned_in_steps_by_when_they_came(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    assert_eq!(prune(&inbox, 100, 9).await, 0);
    // A call that took long is logged after later ones.
    log(&inbox, [call("b", 5), call("a", 1), call("c", 6), call("e", 2), call("d", 7)]).await;
    let all = inbox.list_hooks(HookFilter::default()).await.unwrap();
    let newest = all.iter().map(|call| call.id).max().unwrap();
    for (page, call) in all.iter().enumerate() {
        let after = HookFilter { before: Some(call.id), ..HookFilter::default() };
        assert_eq!(inbox.list_hooks(after).await.unwrap(), all[page + 1..]);
    }
    assert_eq!(prune(&inbox, 6, 1).await, 1);
    assert_eq!(listed(&inbox, HookFilter::default()).await.concat(), "dcbe");
    assert_eq!(prune(&inbox, 6, 9).await, 2);
    assert_eq!(listed(&inbox, HookFilter::default()).await.concat(), "dc");
    let beside = store.open_beside().await;
    let pruned = prune(&beside, 100, 9).await;
    let left = listed(&inbox, HookFilter::default()).await.concat();
    assert!([(1, "d"), (2, "")].contains(&(pruned, &left)), "the newest may be kept: {left}");
    drop((inbox, beside));
    let inbox = store.open().await;
    log(&inbox, [call("f", 8)]).await;
    assert!(inbox.list_hooks(HookFilter::default()).await.unwrap()[0].id > newest);
}

pub(crate) async fn the_log_of_calls_and_the_deliveries_leave_each_other_alone(fresh: Fresh) {
    let store = fresh();
    let inbox = store.open().await;
    let delivery = accept(&inbox, "m", 0).await;
    log(&inbox, [call("a", 0), call("b", 200)]).await;
    assert_eq!(prune(&inbox, 100, 9).await, 1);
    assert!(inbox.show(delivery).await.unwrap().is_some());
    assert_eq!(inbox.list(Default::default()).await.unwrap().len(), 1);
    assert_eq!(listed(&store.open_beside().await, HookFilter::default()).await.concat(), "b");
}
