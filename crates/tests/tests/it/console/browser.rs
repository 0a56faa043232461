//! The console as a person sees it, in a real browser.

use super::{PAGES, Site};
use crate::harness::webdriver::Browser;

#[tokio::test]
async fn a_dead_delivery_is_found_and_replayed_with_the_keyboard_alone() {
    let Some(browser) = Browser::open().await else { return };
    let site = Site::open().await;
    let id = site.deliver("OrderEvent", "1", r#"{"OrderId":{"x":1}}"#).await;
    site.until(id, "dead").await;
    browser.go(&site.url("/deliveries?state=dead")).await;
    browser.wait_for_text("tbody", "OrderEvent").await;
    browser.press("j").await;
    browser.press("r").await;
    browser.wait_for_text("h1", "Replay 1").await;
    browser.wait_for_text("main", "1 of 1").await;
    assert_no_complaints(&browser, &site).await;
}

#[tokio::test]
async fn live_rows_appear_by_themselves() {
    let Some(browser) = Browser::open().await else { return };
    let site = Site::open().await;
    site.deliver("OrderEvent", "1", r#"{"OrderId":1}"#).await;
    browser.go(&site.url("/deliveries?live=1")).await;
    browser.wait_for_text("#live-status", "Live").await;
    let id = site.deliver("OrderEvent", "2", r#"{"OrderId":2}"#).await;
    browser.wait_for_text(&format!("#d{id}"), "done").await;
    assert_no_complaints(&browser, &site).await;
}

#[tokio::test]
async fn no_page_is_wider_than_a_small_phone() {
    let Some(browser) = Browser::open().await else { return };
    let site = Site::open().await;
    let id = site.deliver("OrderEvent", &"long-id-".repeat(20), r#"{"OrderId":1}"#).await;
    let paths = PAGES.iter().map(|page| (*page).to_owned()).chain([format!("/deliveries/{id}")]);
    for path in paths {
        browser.resize(320).await;
        browser.go(&site.url(&path)).await;
        let width =
            browser.run("return document.documentElement.scrollWidth", serde_json::json!([])).await;
        assert!(width.as_i64().unwrap() <= 320, "{path}: {width}");
    }
}

/// The page loads from nowhere else, and breaks no rule of its own policy.
async fn assert_no_complaints(browser: &Browser, site: &Site) {
    let own = format!("http://{}", site.receiver.address);
    for url in browser.requested().await {
        assert!(url.starts_with(&own), "{url}");
    }
    let complaints = browser.complaints().await;
    assert!(complaints.is_empty(), "{complaints:?}");
}
