//! The documentation pages as a person sees them, in a real browser.

use fixture::{Context, catalog};
use inbox::State;
use server::login::hash;

use crate::harness::receiver::{KEY, Receiver, SOURCES};
use crate::harness::webdriver::Browser;

#[tokio::test]
async fn swagger_sends_an_event_with_the_key_and_shows_the_answer() {
    let Some(browser) = Browser::open().await else { return };
    let receiver = serve("").await;
    let server = format!("http://{}", receiver.address);
    browser.go(&server).await;
    browser.click(&format!("{OPERATION} .opblock-summary-control")).await;
    execute(&browser).await;
    assert_eq!(browser.text(&shown(".response-col_status")).await, "401");

    authorize(&browser).await;
    execute(&browser).await;
    browser.wait_for_text(&shown(".response-col_status"), "200").await;
    browser.wait_for_text(&shown(".response-col_description"), "accepted").await;
    browser.screenshot("accepted", &shown("")).await;
    browser.screenshot("event", OPERATION).await;

    execute(&browser).await;
    browser.wait_for_text(&shown(".response-col_description"), "duplicate").await;
    browser.screenshot("duplicate", &shown("")).await;
    assert_only_from(&browser, &server).await;

    let kept = receiver.finish().await.deliveries().await;
    let ends: Vec<_> = kept.iter().map(|d| (d.entry.event_type.as_str(), d.entry.state)).collect();
    assert_eq!(ends, [("OrderEvent", State::Done)]);
}

#[tokio::test]
async fn behind_a_login_swagger_still_loads_its_document() {
    let Some(browser) = Browser::open().await else { return };
    let hash = hash(&"secret".into()).unwrap();
    let docs =
        format!("listen = \"0.0.0.0:0\"\n[docs]\nuser = \"docs\"\npassword_hash = \"{hash}\"\n");
    let receiver = serve(&docs).await;
    browser.go(&format!("http://docs:secret@{}", receiver.address)).await;
    browser.go(&format!("http://{}", receiver.address)).await;
    browser.wait_for_text(OPERATION, "/api/webhooks/OrderEvent").await;
}

const OPERATION: &str = "#operations-order-directscale_OrderEvent";

fn shown(selector: &str) -> String {
    format!("{OPERATION} .live-responses-table .response {selector}")
}

async fn execute(browser: &Browser) {
    browser.click(&format!("{OPERATION} .execute")).await;
}

async fn authorize(browser: &Browser) {
    browser.click(".scheme-container .authorize").await;
    browser.fill(".modal-ux input", KEY).await;
    browser.click(".modal-ux .auth-btn-wrapper .authorize").await;
    browser.screenshot("authorized", ".modal-ux").await;
    browser.click(".modal-ux .btn-done").await;
}

/// The policy blocks other hosts; the browser's own record shows that the page did not even try.
async fn assert_only_from(browser: &Browser, server: &str) {
    let requested = browser.requested().await;
    assert!(requested.iter().any(|url| url.ends_with("/openapi.json")), "{requested:?}");
    for url in requested {
        assert!(url.starts_with(server), "{url}");
    }
    let complaints = browser.complaints().await;
    let violations: Vec<_> =
        complaints.iter().filter(|line| line.contains("Content Security")).collect();
    assert!(violations.is_empty(), "{violations:?}");
}

/// The real receiver with its events and one source.
async fn serve(settings: &str) -> Receiver {
    let one_source =
        SOURCES.split("[sources.stage]").next().unwrap().replace("live", "directscale");
    Receiver::start(&format!("{settings}{one_source}"), catalog(), Context::default()).await
}
