//! Probes are proved and deduplicated like any delivery, told what was seen of them, and reach nobody.

use contract::canary::CANARY;
use fixture::{Context, catalog};
use inbox::State;
use sha2::{Digest, Sha256};

use crate::harness::client::Request;
use crate::harness::process::{Process, printed, run};
use crate::harness::receiver::{KEY, Receiver, SOURCES};

const BODY: &str = r#"{"EventType":"webhook-receiver.canary"}"#;

/// A body that says what it is when nothing else does any more.
const MARKED: &str = r#"{"webhook-receiver.canary":"webhook-receiver.canary"}"#;

const HOOKS: &str = r#"
[sources.live]
dialect = "directscale"
bearer_tokens = ["Ab!c@d%e$f^g&h"]
[sources.live.hooks]
unhandled = "refuse"
"#;

async fn receiver() -> Receiver {
    Receiver::start(SOURCES, catalog(), Context::default()).await
}

fn canary(path: &str) -> Request {
    Request::live(path, BODY).id("c-1")
}

#[tokio::test]
async fn a_canary_is_told_what_was_seen_of_it() {
    let receiver = receiver().await;
    let answer = receiver.send(&canary("/api/webhooks/orderevent?a=%2F&b")).await;
    assert!(answer.kept().1);
    let echo = &answer.json()["canary"];
    assert_eq!(echo["sha256"], hex::encode(Sha256::digest(BODY)));
    assert_eq!(echo["size"], BODY.len());
    assert_eq!(echo["query"], "a=%2F&b");
    assert_eq!(echo["handles"], "OrderEvent");
    assert_eq!(echo["maxBody"], 1024 * 1024);
    assert_eq!(echo["conflict"], false);
    let headers = echo["headers"].as_array().unwrap();
    for name in ["authorization", "content-type", "x-directscale-message-id", "host"] {
        assert!(headers.iter().any(|header| header == name), "{headers:?}");
    }
    assert!(!String::from_utf8_lossy(&answer.body).contains(KEY));
}

#[tokio::test]
async fn a_canary_is_deduplicated_like_any_delivery() {
    let receiver = receiver().await;
    let (first, _) = receiver.send(&canary("/api/webhooks")).await.kept();
    assert_eq!(receiver.send(&canary("/api/webhooks")).await.kept(), (first, false));
    let other = canary("/api/webhooks").body(format!("{BODY} "));
    let answer = receiver.send(&other).await;
    assert_eq!(answer.kept(), (first, false));
    assert_eq!(answer.json()["canary"]["conflict"], true);
}

#[tokio::test]
async fn whoever_proves_nothing_is_told_nothing() {
    let receiver = receiver().await;
    let answer = receiver.send(&canary("/api/webhooks").bearer("another")).await;
    answer.problem(401, "unauthorized");
    assert!(answer.json().get("canary").is_none());
}

#[tokio::test]
async fn other_deliveries_are_answered_as_ever() {
    let receiver = receiver().await;
    let mut number = 0;
    for event in ["Webhook-Receiver.Canary", "webhook-receiver.canary2", "OrderEvent"] {
        number += 1;
        let body = format!(r#"{{"EventType":"{event}","OrderId":1}}"#);
        // The path counts only where the body says nothing.
        let request = Request::live(&format!("/api/webhooks/{CANARY}"), body);
        let answer = receiver.send(&request.id(&number.to_string())).await;
        assert!(answer.kept().1);
        assert!(answer.json().get("canary").is_none(), "{event}");
    }
}

#[tokio::test]
async fn a_canary_is_marked_in_the_inbox_and_can_neither_be_handled_nor_replayed() {
    let receiver = receiver().await;
    receiver.send(&canary("/api/webhooks/OrderEvent")).await.kept();
    let stopped = receiver.finish().await;
    let kept = &stopped.deliveries().await[0];
    assert_eq!((kept.entry.state, kept.entry.attempts), (State::Canary, 0));
    assert_eq!(kept.entry.event_type, CANARY);
    let folder = stopped.0.path();
    let inbox = format!("sqlite:{}", folder.join("inbox.db").display());
    let listed = printed(run(folder, &["inbox", "list", "--state", "canary", "--inbox", &inbox]));
    assert!(listed.contains(CANARY), "{listed}");
    let replay = ["inbox", "replay", "--event", CANARY, "--inbox", &inbox];
    assert!(printed(run(folder, &replay)).contains("due again: 0"));
    assert!(printed(run(folder, &[&replay[..], &["--dry-run"]].concat())).contains(": 0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn canaries_are_not_counted_as_deliveries() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::serve(folder.path(), SOURCES);
    canary("/api/webhooks").send(&process.address).await.kept();
    let line = process.wait_for(|line| line["message"] == "request");
    assert_eq!((&line["outcome"], &line["event.type"]), (&"canary".into(), &CANARY.into()));
    let metrics = Request::get("/metrics").send(&process.address).await;
    let metrics = String::from_utf8(metrics.body).unwrap();
    assert!(!metrics.contains("webhook_deliveries_total{"), "{metrics}");
}

#[tokio::test]
async fn a_marked_body_is_a_canary_whatever_event_is_named() {
    let receiver = receiver().await;
    for (number, body) in
        [MARKED, &MARKED.replace('{', r#"{"EventType":"OrderEvent","OrderId":1,"#)]
            .into_iter()
            .enumerate()
    {
        let request = Request::live("/api/webhooks/OrderEvent", body).id(&number.to_string());
        let answer = receiver.send(&request).await;
        assert!(answer.kept().1);
        assert_eq!(answer.json()["canary"]["handles"], "OrderEvent");
        receiver.send(&request.bearer("another")).await.problem(401, "unauthorized");
    }
    let kept = receiver.finish().await.deliveries().await;
    assert_eq!(kept.len(), 2);
    assert!(kept.iter().all(|kept| kept.entry.state == State::Canary && kept.entry.attempts == 0));
}

#[tokio::test]
async fn the_mark_counts_only_where_it_stands_alone() {
    let receiver = receiver().await;
    for (number, body) in [
        r#"{"OrderId":1,"Note":"webhook-receiver.canary"}"#,
        r#"{"OrderId":1,"Note":{"webhook-receiver.canary":"x"}}"#,
        r#"{"OrderId":1,"Note":"{\"webhook-receiver.canary\":\"x\"}"}"#,
    ]
    .into_iter()
    .enumerate()
    {
        let request = Request::live("/api/webhooks/OrderEvent", body).id(&number.to_string());
        let answer = receiver.send(&request).await;
        assert!(answer.kept().1);
        assert!(answer.json().get("canary").is_none(), "{body}");
    }
    let kept = receiver.finish().await.deliveries().await;
    assert!(kept.iter().all(|kept| kept.entry.state == State::Done), "{kept:#?}");
}

#[tokio::test]
async fn a_canary_of_a_hook_is_proved_and_told_what_was_seen_but_runs_nothing() {
    let receiver = Receiver::start(HOOKS, catalog(), Context::default()).await;
    let named = |hook: &str, body: &str| {
        Request::live(&format!("/api/hooks/{hook}"), body).set("X-DirectScale-CallbackToken", "t")
    };
    for request in [named("Autoships.CreateAutoship", MARKED), named(CANARY, "not read")] {
        let answer = receiver.send(&request).await;
        assert_eq!(answer.status, 200, "{}", answer.body.escape_ascii());
        let headers = answer.json()["canary"]["headers"].to_string();
        assert!(headers.contains("x-directscale-callbacktoken"), "{headers}");
        let strange = receiver.send(&request.clone().bearer("another")).await;
        strange.problem(401, "unauthorized");
        let bare = receiver.send(&request.without("X-DirectScale-CallbackToken")).await;
        let detail = bare.problem(400, "bad-request").unwrap();
        assert_eq!(detail, "X-DirectScale-CallbackToken is missing");
    }
    assert!(receiver.stop().await.calls().await.is_empty());
}
