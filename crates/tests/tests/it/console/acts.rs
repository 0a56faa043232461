//! Acts of operators: previewed, recorded, carried out in steps.

use inbox::{Filter, Options};
use serde_json::json;

use super::{Site, act};
use crate::harness::deliveries::open_file;

/// A body that is no order, so that the delivery is dead at once.
const NO_ORDER: &str = "{\"OrderId\":{\"x\":1}}";

async fn with_dead(count: usize) -> Site {
    let site = Site::open().await;
    for number in 0..count {
        let id = site.deliver("OrderEvent", &format!("order-{number}"), NO_ORDER).await;
        site.until(id, "dead").await;
    }
    site
}

#[tokio::test]
async fn all_that_match_are_previewed_and_then_replayed() {
    let site = with_dead(3).await;
    let unrouted = site.deliver("NoSuchEvent", "other", "{}").await;
    let preview = site.get("/acts/new?all=replay&filter.state=dead").await;
    assert_eq!(preview.status, 200);
    assert!(preview.text.contains("Replay 3 deliveries"), "{}", preview.text);
    assert!(preview.text.contains("the body is not the model"), "the first error");
    let field = |name: &str| {
        let value = preview.text.split(&format!("name=\"{name}\" value=\"")).nth(1).unwrap();
        value.split('"').next().unwrap().to_owned()
    };
    let (before, nonce) = (field("filter.before"), field("nonce"));
    let form = format!(
        "kind=replay&all=1&total=3&filter.state=dead&filter.before={before}&nonce={nonce}&reason=mended"
    );
    let later = site.deliver("OrderEvent", "later", NO_ORDER).await;
    site.until(later, "dead").await;
    let ended = site.ended(act(&site.post("/acts", &form).await)).await;
    assert_eq!(
        (&ended["state"], &ended["done"], &ended["total"]),
        (&json!("done"), &json!(3), &json!(3))
    );
    assert_eq!((&ended["actor"], &ended["reason"]), (&json!("local"), &json!("mended")));
    for id in 1..=3 {
        site.wait(async || site.json(&format!("/deliveries/{id}")).await["attempts"] == 2).await;
    }
    for id in [unrouted, later] {
        assert_eq!(site.json(&format!("/deliveries/{id}")).await["replays"], 0, "{id}");
    }
    let twice = site.post("/acts", &form).await;
    assert_eq!(twice.status, 400);
    assert!(twice.text.contains("was begun already"), "{}", twice.text);
}

#[tokio::test]
async fn selected_rows_are_previewed_and_one_row_is_replayed_at_once() {
    let site = with_dead(3).await;
    let preview = site.get("/acts/new?kind=replay&id=1&id=3&filter.state=dead").await;
    assert!(preview.text.contains("Replay 2 deliveries"), "{}", preview.text);
    let none = site.get("/acts/new?kind=replay&filter.state=dead").await;
    assert_eq!(none.status, 400);
    assert!(none.text.contains("No delivery is selected"), "{}", none.text);
    let ended = site.ended(act(&site.post("/acts/now?kind=replay&number=2", "").await)).await;
    assert_eq!(ended["done"], 1);
}

#[tokio::test]
async fn what_has_moved_on_since_the_preview_is_left_alone() {
    let site = with_dead(2).await;
    let inbox = open_file(&site.receiver.folder().join("inbox.db"), Options::command()).await;
    inbox.discard(Filter { ids: vec![1], ..Filter::default() }, "by another".into()).await.unwrap();
    let form = "kind=replay&all=1&total=2&filter.state=dead";
    let ended = site.ended(act(&site.post("/acts", form).await)).await;
    assert_eq!((&ended["done"], &ended["total"]), (&json!(1), &json!(2)));
    let page = site.get(&format!("/acts/{}", ended["id"])).await;
    assert!(page.text.contains("1 had changed since the preview"), "{}", page.text);
}

#[tokio::test]
async fn a_discarded_delivery_is_done_and_says_why() {
    let site = with_dead(1).await;
    let form = "kind=discard&all=1&total=1&filter.number=1&reason=a+test+order";
    let ended = site.ended(act(&site.post("/acts", form).await)).await;
    assert_eq!(ended["done"], 1);
    let shown = site.json("/deliveries/1").await;
    assert_eq!(shown["state"], "done");
    let last = shown["attemptLog"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&last["outcome"], &last["error"]), (&json!("discarded"), &json!("a test order")));
}

#[tokio::test]
async fn an_act_keeps_to_its_rate_and_can_be_cancelled() {
    let site = with_dead(3).await;
    let form = "kind=replay&all=1&total=3&filter.state=dead&rate=0.01";
    let number = act(&site.post("/acts", form).await);
    site.wait(async || site.json(&format!("/acts/{number}")).await["done"] == 1).await;
    assert_eq!(site.post(&format!("/acts/{number}/cancel"), "").await.status, 303);
    assert_eq!(site.json(&format!("/acts/{number}")).await["state"], "cancelled");
    let bad = site.post("/acts", "kind=replay&all=1&filter.state=dead&rate=-1").await;
    assert_eq!(bad.status, 400);
}

#[tokio::test]
async fn a_pause_holds_deliveries_and_is_told_on_every_page() {
    let site = Site::open().await;
    assert_eq!(site.post("/dispatch/pause", "reason=stock+count").await.status, 303);
    let id = site.deliver("OrderEvent", "1", r#"{"OrderId":1}"#).await;
    let page = site.get("/catalog").await;
    assert!(page.text.contains("Dispatch is paused") && page.text.contains("stock count"));
    assert_eq!(site.json(&format!("/deliveries/{id}")).await["state"], "ready");
    assert_eq!(site.post("/dispatch/resume", "").await.status, 303);
    site.until(id, "done").await;
    let acts = site.json("/acts").await;
    let kinds: Vec<&str> =
        acts.as_array().unwrap().iter().map(|act| act["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["unpause", "pause"]);
}

#[tokio::test]
async fn old_deliveries_are_deleted_after_a_preview() {
    let site = with_dead(2).await;
    let preview = site.get("/retention?state=dead&age=0s").await;
    assert!(preview.text.contains("up to 2 dead deliveries"), "{}", preview.text);
    let ended = site.ended(act(&site.post("/retention", "state=dead&age=0s").await)).await;
    assert_eq!((&ended["kind"], &ended["state"]), (&json!("prune"), &json!("done")));
    // A file keeps its newest.
    assert_eq!(site.json("/deliveries").await["deliveries"].as_array().unwrap().len(), 1);
    assert_eq!(site.post("/retention", "state=ready&age=0s").await.status, 400);
    assert_eq!(site.post("/retention", "state=dead&age=old").await.status, 400);
}

#[tokio::test]
async fn what_is_redacted_is_shown_to_who_asks_and_that_is_written_down() {
    let site = Site::open().await;
    let id = site.deliver("OrderEvent", "1", r#"{"OrderId":1,"CardNumber":"4111-secret"}"#).await;
    let page = site.get(&format!("/deliveries/{id}")).await.text;
    assert!(page.contains("[redacted]") && !page.contains("4111-secret"), "{page}");
    let revealed = site.post(&format!("/deliveries/{id}/reveal"), "as=indented").await;
    assert!(revealed.text.contains("4111-secret"), "{}", revealed.text);
    let file = site.post(&format!("/deliveries/{id}/reveal"), "as=download").await;
    assert_eq!(file.text, r#"{"OrderId":1,"CardNumber":"4111-secret"}"#);
    assert_eq!(file.headers["content-type"], "application/octet-stream");
    let acts = site.json("/acts").await;
    let subjects: Vec<_> =
        acts.as_array().unwrap().iter().map(|act| (&act["kind"], &act["subject"])).collect();
    let expected = (&json!("reveal"), &json!(format!("delivery {id}")));
    assert_eq!(subjects, [expected, expected]);
}
