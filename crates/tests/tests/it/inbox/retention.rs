//! What is past its time is deleted by the running receiver.

use std::sync::Arc;
use std::time::Duration;

use contract::canary::CANARY;
use inbox::{self, HookFilter, HookRecord, Options, Route, Verdict};

use crate::harness::calls::call;
use crate::harness::client::Request;
use crate::harness::deliveries::{message, open_file, route};
use crate::harness::process::{Process, printed, run};

const SETTINGS: &str = r#"
[sources.one]
dialect = "directscale"
bearer_tokens = ["key"]
[dedup]
window = "1ms"
[retention]
done = "1ms"
unrouted = "1ms"
hooks = "1ms"
"#;

/// More than one step of pruning.
const DELIVERIES: usize = 250;

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_long_enough_ago_is_pruned_in_steps_but_never_the_newest() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::serve(folder.path(), SETTINGS);
    for n in 0..DELIVERIES {
        let order = Request::post("/api/webhooks/OrderEvent", r#"{"OrderId":1}"#);
        order.bearer("key").id(&n.to_string()).send(&process.address).await.kept();
    }
    for _ in 0..DELIVERIES {
        process.wait_for(|line| line["message"] == "attempt" && line["outcome"] == "done");
    }
    process.stop();
    let mut process = Process::serve(folder.path(), SETTINGS);
    process.wait_for(|line| line["message"] == "pruned" && line["state"] == "done");
    process.stop();
    let left = printed(run(folder.path(), &["inbox", "list", "--json"]));
    let left: Vec<serde_json::Value> = serde_json::from_str(&left).unwrap();
    let ids: Vec<_> = left.iter().map(|entry| &entry["messageId"]).collect();
    assert_eq!(ids, [&(DELIVERIES - 1).to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_hooks_are_pruned_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data/inbox.db");
    let inbox = open_file(&file, Options::receiver(16)).await;
    let at = |n: i64| chrono::Utc::now() - chrono::TimeDelta::seconds(9 - n);
    let call = |n| HookRecord { received_at: at(n), ..call(&n.to_string(), n) };
    let calls = (0..3).map(call).collect();
    inbox.log_hooks(calls).await.unwrap();
    drop(inbox);
    let mut process = Process::serve(folder.path(), SETTINGS);
    process.wait_for(|line| line["message"] == "pruned" && line["state"] == "hooks");
    process.stop();
    let inbox = open_file(&file, Options::command()).await;
    let left = inbox.list_hooks(HookFilter::default()).await.unwrap();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0].record.request_id, "2");
}

/// Keeps a delivery that was accepted so many days before today, and was handled if asked for.
async fn kept(folder: &std::path::Path, days: i64, handled: bool) {
    let then = chrono::Utc::now() - chrono::TimeDelta::days(days);
    let options = Options::receiver(16).with_clock(Arc::new(move || then));
    let inbox = open_file(&folder.join("data/inbox.db"), options).await;
    let job = Route { event_type: "OrderEvent".into(), ..route() };
    inbox.accept(message("m").body(r#"{"OrderId":1}"#).verified(), job).await.unwrap();
    if handled {
        let claim = inbox.claim(1, Duration::from_secs(60), Duration::ZERO).await.unwrap();
        let lease = claim.into_iter().next().unwrap().lease;
        assert!(inbox.finish(lease, Verdict::Done).await.unwrap());
        // The newest is never pruned, so it must not be the one.
        let canary = Route { event_type: CANARY.into(), handled: false, ..route() };
        inbox.accept(message("newest").verified(), canary).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_weeks_ahead_of_the_newest_delivery_prunes_nothing_at_once() {
    let folder = tempfile::tempdir().unwrap();
    kept(folder.path(), 40, true).await;
    let mut process = Process::serve(folder.path(), SETTINGS);
    let warning = process.wait_for(|line| line["ahead_s"].is_i64());
    assert_eq!(warning["level"], "WARN");
    // The first look at what is past its time is over when the process has stopped.
    let lines = process.stop();
    assert!(lines.iter().all(|line| line["message"] != "pruned"), "{lines:#?}");
    let left = printed(run(folder.path(), &["inbox", "list", "--json"]));
    assert_eq!(left.matches("messageId\"").count(), 2, "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_a_clock_that_is_behind_handles_what_was_due_at_once() {
    let folder = tempfile::tempdir().unwrap();
    kept(folder.path(), -2, false).await;
    let mut process = Process::serve(folder.path(), SETTINGS);
    process.wait_for(|line| line["message"] == "attempt" && line["outcome"] == "done");
    let lines = process.stop();
    assert!(
        lines.iter().any(|line| line["deliveries"] == 1 && line["level"] == "WARN"),
        "{lines:#?}"
    );
}
