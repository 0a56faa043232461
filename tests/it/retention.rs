//! What is past its time is deleted by the running receiver.

use webhook_receiver::inbox::{self, HookFilter, Options};

use super::hook_log::call;
use super::process::{Process, printed, run};
use super::receiver::Request;

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
    let url = format!("sqlite:{}", folder.path().join("data/inbox.db").display());
    let inbox = inbox::open(&url, Options { queue: 16, exclusive: true }).unwrap();
    inbox.log_hooks((0..3).map(|n| call(&n.to_string(), n)).collect()).await.unwrap();
    drop(inbox);
    let mut process = Process::serve(folder.path(), SETTINGS);
    process.wait_for(|line| line["message"] == "pruned" && line["state"] == "hooks");
    process.stop();
    let inbox = inbox::open(&url, Options { queue: 16, exclusive: false }).unwrap();
    let left = inbox.list_hooks(HookFilter::default()).await.unwrap();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0].record.request_id, "2");
}
