//! The live view: rows as deliveries arrive.

use std::time::Duration;

use super::Site;

#[tokio::test]
async fn a_delivery_is_sent_when_it_arrives_and_when_it_ends_and_others_are_not() {
    let site = Site::open().await;
    let stream = site.client.get(site.url("/deliveries/live?event=OrderEvent"));
    let mut stream = stream.send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    site.deliver("NoSuchEvent", "other", "{}").await;
    let id = site.deliver("OrderEvent", "1", r#"{"OrderId":1}"#).await;
    let mut text = String::new();
    while !text.contains(">done</span>") {
        let chunk = tokio::time::timeout(Duration::from_secs(10), stream.chunk()).await;
        text += std::str::from_utf8(&chunk.expect("it is sent").unwrap().unwrap()).unwrap();
    }
    assert!(text.contains("event: rows") && text.contains(&format!("id=\"d{id}\"")), "{text}");
    assert!(!text.contains("NoSuchEvent"), "{text}");
}

#[tokio::test]
async fn too_many_live_views_are_refused_and_others_take_their_place() {
    let site = Site::open().await;
    let mut open = Vec::new();
    let refused = loop {
        let stream = site.client.get(site.url("/deliveries/live")).send().await.unwrap();
        if stream.status() != 200 {
            break stream;
        }
        open.push(stream);
        assert!(open.len() < 1_000, "nothing limits them");
    };
    assert_eq!(refused.status(), 503);
    assert!(open.len() >= 50);
    assert_eq!(site.get("").await.status, 200, "pages are shown all the same");
    drop(open);
    site.wait(async || {
        site.client.get(site.url("/deliveries/live")).send().await.unwrap().status() == 200
    })
    .await;
}

#[tokio::test]
async fn an_open_live_view_does_not_hold_up_a_stop() {
    let Site { receiver, client, .. } = Site::open().await;
    let url = format!("http://{}/console/deliveries/live", receiver.address);
    let _stream = client.get(url).send().await.unwrap();
    let begun = std::time::Instant::now();
    receiver.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}
