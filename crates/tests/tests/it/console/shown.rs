//! What the console shows: the same data as a page and as JSON, untrusted text as text, and errors as pages.

use fixture::{Context, catalog};
use serde_json::{Value, json};

use super::{PAGES, Site};
use crate::harness::client::Request;
use crate::harness::receiver::{Receiver, SOURCES};

#[tokio::test]
async fn every_page_is_a_page_and_json() {
    let site = Site::open().await;
    let id = site.deliver("OrderEvent", "1", r#"{"OrderId":1}"#).await;
    let single = [
        format!("/deliveries/{id}"),
        "/sources/live".into(),
        "/catalog/directscale/1/OrderEvent".into(),
        "/acts/new?kind=replay&id=1".into(),
        "/".into(),
    ];
    for path in PAGES.iter().map(|page| (*page).to_owned()).chain(single) {
        let page = site.get(&path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(page.text.starts_with("<!DOCTYPE html>"), "{path}");
        assert!(page.text.contains("<base href"), "{path}");
        assert!(!site.json(&path).await.is_null(), "{path}");
    }
}

#[tokio::test]
async fn lists_are_json_lines_too() {
    let site = Site::open().await;
    for number in 0..3 {
        site.deliver("OrderEvent", &number.to_string(), r#"{"OrderId":1}"#).await;
    }
    let lines = site.client.get(site.url("/deliveries")).header("accept", "application/x-ndjson");
    let lines = super::shown(lines).await;
    assert_eq!(lines.headers["content-type"], "application/x-ndjson");
    let ids: Vec<Value> = lines
        .text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone())
        .collect();
    assert_eq!(ids, [json!(3), json!(2), json!(1)]);
}

#[tokio::test]
async fn pages_lead_both_ways_through_the_list() {
    let site = Site::open().await;
    for number in 0..7 {
        site.deliver("OrderEvent", &number.to_string(), r#"{"OrderId":1}"#).await;
    }
    let ids = async |path: &str| -> Vec<i64> {
        let listed = site.json(path).await;
        listed["deliveries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["id"].as_i64().unwrap())
            .collect()
    };
    assert_eq!(ids("/deliveries?limit=3").await, [7, 6, 5]);
    assert_eq!(site.json("/deliveries?limit=3").await["before"], 5);
    assert_eq!(ids("/deliveries?limit=3&before=5").await, [4, 3, 2]);
    assert_eq!(ids("/deliveries?limit=3&after=1").await, [4, 3, 2]);
    assert_eq!(ids("/deliveries?limit=3&after=7").await, Vec::<i64>::new());
}

#[tokio::test]
async fn every_field_of_the_filter_selects() {
    let site = Site::open().await;
    let first = site
        .deliver("OrderEvent", "abc-1", r#"{"OrderId":1,"Note":"blue","In":{"Id":"x7"}}"#)
        .await;
    site.until(first, "done").await;
    let second = site.deliver("OrderEvent", "xyz-2", r#"{"OrderId":{"a":1}}"#).await;
    site.until(second, "dead").await;
    let found = async |query: &str| -> Vec<i64> {
        let listed = site.json(&format!("/deliveries?{query}")).await;
        listed["deliveries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["id"].as_i64().unwrap())
            .collect()
    };
    let key = site.json("/deliveries/1").await["key"].as_str().unwrap().to_owned();
    for (query, expected) in [
        ("state=dead", vec![2]),
        ("source=live", vec![2, 1]),
        ("source=stage", vec![]),
        ("event=orderevent", vec![2, 1]),
        ("environment=live", vec![2, 1]),
        ("environment=stage", vec![]),
        ("id=abc", vec![1]),
        ("error=NOT+THE+MODEL", vec![2]),
        ("text=blue", vec![1]),
        ("member=%2FIn%2FId&value=x7", vec![1]),
        ("member=%2FIn%2FId&value=x", vec![]),
        (&format!("key={key}"), vec![2, 1]),
        ("last=1h", vec![2, 1]),
        ("until=2020-01-01", vec![]),
        ("replayed=on", vec![]),
        ("conflicts=on", vec![]),
        ("number=2", vec![2]),
    ] {
        assert_eq!(found(query).await, expected, "{query}");
    }
    let bad = site.get("/deliveries?since=yesterday").await;
    assert_eq!(bad.status, 200, "the form stays");
    assert!(bad.text.contains("is no time") && bad.text.contains("value=\"yesterday\""));
}

#[tokio::test]
async fn untrusted_text_is_text_on_every_page() {
    let site = Site::open().await;
    let evil = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>";
    let body = json!({ "OrderId": { evil: evil }, "EventType": evil }).to_string();
    let path = format!("/api/webhooks/{}", pages::encoded(evil));
    let request = Request::live(&path, &body)
        .id("evil-1")
        .set("X-Own", evil)
        .set("X-Directscale-User-Name", evil);
    let answer = site.receiver.send(&request).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let dead = Request::live("/api/webhooks/OrderEvent", &body).id(evil);
    assert_eq!(site.receiver.send(&dead).await.status, 200);
    let refused = Request::post(&path, &body).bearer("wrong").id(evil);
    assert_eq!(site.receiver.send(&refused).await.status, 401);
    site.receiver.send(&Request::get(&format!("/{}", pages::encoded(evil)))).await;
    site.until(2, "dead").await;
    site.post("/dispatch/pause", &format!("reason={}", pages::encoded(evil))).await;
    site.post("/acts/now?kind=replay&number=2", "").await;
    let encoded = pages::encoded(evil);
    let mut paths: Vec<String> = PAGES.iter().map(|page| (*page).to_owned()).collect();
    paths.extend([
        "/deliveries/1".into(),
        "/deliveries/2".into(),
        "/deliveries/2?as=raw".into(),
        "/deliveries/2?as=hex".into(),
        format!("/deliveries/2?find={encoded}"),
        "/acts/1".into(),
        "/acts/2".into(),
        "/acts/new?kind=replay&id=2".into(),
        format!("/nope/{encoded}"),
        format!("/sources/{encoded}"),
        format!("/catalog/{encoded}/1/{encoded}"),
    ]);
    for field in [
        "state", "source", "event", "client", "id", "entity", "key", "error", "text", "member",
        "since", "before",
    ] {
        paths.push(format!("/deliveries?{field}={encoded}"));
        paths.push(format!("/refused?{field}={encoded}"));
        paths.push(format!("/hooks?{field}={encoded}"));
    }
    for path in paths {
        let page = site.get(&path).await;
        assert!(page.status < 500, "{path}: {}", page.status);
        assert!(
            !page.text.contains("<script>alert") && !page.text.contains("<img src=x"),
            "{path}"
        );
        assert!(!page.text.contains("\"'&<"), "{path}: quotes are escaped");
    }
}

#[tokio::test]
async fn large_deep_and_strange_bodies_are_shown_as_far_as_they_can_be() {
    let site = Site::open_with("[limits]\nmax_body = 3000000\nbuffered = 9000000\n").await;
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(520_000), "]".repeat(520_000));
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(1_000_000));
    let many = format!("{{\"a\":[{}1]}}", "1,".repeat(400_000));
    for (number, body) in
        [deep, long, many, r#"{"p":1.10,"n":12345678901234567890123,"p":2,"u":"\u00e9"}"#.into()]
            .iter()
            .enumerate()
    {
        let id = site.deliver("NoSuchEvent", &number.to_string(), body).await;
        for form in ["indented", "raw", "hex"] {
            let page = site.get(&format!("/deliveries/{id}?as={form}")).await;
            assert_eq!(page.status, 200, "{number} {form}");
            assert!(page.text.len() < 1_500_000, "{number} {form}: {}", page.text.len());
        }
    }
    let exact = site.get("/deliveries/4").await.text;
    for text in ["1.10", "12345678901234567890123", "\\u00e9"] {
        assert!(exact.contains(text), "{text}");
    }
    assert_eq!(exact.matches(">&quot;p&quot;<").count(), 2, "a repeated member is shown twice");
}

#[tokio::test]
async fn unknown_addresses_are_pages_and_a_slash_at_the_end_is_left_out() {
    let site = Site::open().await;
    for path in ["/nope", "/deliveries/99", "/hooks/7", "/acts/7", "/sources/none", "/a/b/c/d"] {
        let page = site.get(path).await;
        assert_eq!(page.status, 404, "{path}");
        assert!(page.text.contains("role=\"alert\""), "{path}");
    }
    let moved = site.get("/deliveries/?state=dead").await;
    assert_eq!(
        (moved.status, moved.headers["location"].to_str().unwrap()),
        (308, "../deliveries?state=dead")
    );
}

#[tokio::test]
async fn why_a_delivery_is_unrouted_is_told() {
    let site = Site::open().await;
    let id = site.deliver("OrdrEvent", "1", "{}").await;
    let page = site.get(&format!("/deliveries/{id}")).await.text;
    assert!(page.contains("No handler takes") && page.contains("OrderEvent"), "{page}");
    assert!(page.contains(".on(ordr_event::handle)"), "{page}");
}

#[tokio::test]
async fn the_model_is_shown_beside_the_body() {
    let site = Site::open().await;
    let id = site.deliver("OrderEvent", "1", r#"{"OrderId":1,"GiftNote":"x"}"#).await;
    let shown = site.json(&format!("/deliveries/{id}")).await;
    let remarks = shown["model"].to_string();
    assert!(remarks.contains("the model does not know GiftNote"), "{remarks}");
    let page = site.get(&format!("/deliveries/{id}")).await.text;
    assert!(page.contains("pub gift_note: Option&lt;String&gt;"), "{page}");
}

#[tokio::test]
async fn refused_requests_are_counted_by_reason_with_what_would_have_matched() {
    let site = Site::open().await;
    for number in 0..3 {
        let request = Request::post("/api/webhooks/OrderEvent", "{}")
            .bearer("stage-key")
            .id(&number.to_string());
        assert_eq!(site.receiver.send(&request).await.status, 401);
    }
    site.wait(async || site.json("/refused").await["reasons"][0]["count"] == 3).await;
    let page = site.get("/refused?source=live").await.text;
    assert!(page.contains("the bearer key is not accepted by this source"), "{page}");
    assert_eq!(site.json("/refused?source=stage").await["requests"], json!([]));
}

#[tokio::test]
async fn a_request_with_a_retired_key_is_named_on_the_overview_and_the_sources_page() {
    let settings = SOURCES.replace(
        "[sources.stage]",
        "retired_keys = [\"hushFormerKey0123456789\"]\n[sources.stage]",
    );
    let site = Site::of(Receiver::start(&settings, catalog(), Context::default()).await);
    let keys = site.json("/sources/live").await["keys"].clone();
    let retired = keys.as_array().unwrap().iter().find(|key| key["sort"] == "retired").unwrap();
    assert_eq!(retired["lastUsed"], json!(null));
    assert_eq!(site.json("").await["needs"], json!([]));
    let request =
        Request::post("/api/webhooks/OrderEvent", "{}").bearer("hushFormerKey0123456789").id("1");
    assert_eq!(site.receiver.send(&request).await.status, 401);
    site.wait(async || site.json("").await["needs"] != json!([])).await;
    let need = site.json("").await["needs"][0]["text"].to_string();
    assert!(
        need.contains(&format!("The retired key {} of live", retired["key"].as_str().unwrap())),
        "{need}"
    );
    let page = site.get("/sources/live").await.text;
    assert!(page.contains("retired, in use"), "{page}");
}

#[tokio::test]
async fn the_next_request_is_listened_for() {
    let site = Site::open().await;
    let mut next = std::pin::pin!(site.json("/refused/next"));
    // Nothing tells when it begins to listen, so the sender comes again and again.
    let next = loop {
        let pause = tokio::time::sleep(std::time::Duration::from_millis(300));
        tokio::select! {
            next = &mut next => break next,
            () = pause => {
                let request = Request::post("/api/webhooks/OrderEvent", "{}").bearer("wrong");
                site.receiver.send(&request).await;
            }
        }
    };
    assert_eq!(next["status"], 401, "{next}");
}

#[tokio::test]
async fn the_overview_counts_and_names_what_needs_a_person() {
    let site = Site::open().await;
    let good = site.deliver("OrderEvent", "1", r#"{"OrderId":1}"#).await;
    let bad = site.deliver("OrderEvent", "2", r#"{"OrderId":[]}"#).await;
    site.deliver("OrderEvent", "1", r#"{"OrderId":1}"#).await;
    site.until(good, "done").await;
    site.until(bad, "dead").await;
    site.wait(async || site.json("").await["day"]["duplicate"] == 1).await;
    // A page does not wait long for its counts.
    site.wait(async || site.json("").await["dead"].is_number()).await;
    let overview = site.json("").await;
    assert_eq!((&overview["day"]["accepted"], &overview["dead"]), (&json!(2), &json!(1)));
    let need = &overview["needs"][0];
    assert!(need["text"].as_str().unwrap().starts_with("1 dead: OrderEvent of live"), "{need}");
    let href = need["href"].as_str().unwrap();
    let listed = site.json(&format!("/{href}")).await;
    assert_eq!(listed["deliveries"][0]["id"], bad, "the link leads to it");
}

#[tokio::test]
async fn a_canary_is_sent_by_a_button() {
    let site = Site::open().await;
    let page = site.post("/sources/live/canary", "").await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("marked requests were sent"), "{}", page.text);
    assert!(!page.text.contains(">fail<"), "it arrives and is accepted: {}", page.text);
    let canaries = site.json("/deliveries?state=canary").await;
    assert!(!canaries["deliveries"].as_array().unwrap().is_empty(), "{canaries}");
}

#[tokio::test]
async fn an_inbox_that_is_away_is_told_on_a_page() {
    let site = Site::open().await;
    site.deliver("OrderEvent", "1", r#"{"OrderId":1}"#).await;
    let file = site.receiver.folder().join("inbox.db");
    let broken = rusqlite::Connection::open(file).unwrap();
    broken.execute_batch("ALTER TABLE delivery RENAME TO elsewhere").unwrap();
    let page = site.get("/deliveries").await;
    assert_eq!(page.status, 503);
    assert!(page.text.contains("the inbox is unavailable"), "{}", page.text);
    broken.execute_batch("ALTER TABLE elsewhere RENAME TO delivery").unwrap();
    assert_eq!(site.get("/deliveries").await.status, 200);
}
