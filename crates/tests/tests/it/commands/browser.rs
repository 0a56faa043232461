//! The documentation pages as a person sees them, in a real browser.

use fixture::{Context, catalog};
use inbox::State;
use serde_json::json;
use server::login::hash;

use crate::harness::process::{Process, command};
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

    authorize(&browser, KEY).await;
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

#[tokio::test]
async fn swagger_tries_out_the_buss_operations_and_hooks_beside_dev() {
    let Some(browser) = Browser::open().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut dev = Process::start(&mut command(folder.path(), &["dev", "--listen", "127.0.0.1:0"]));
    let welcome = dev.stdout_until(|line| line.starts_with("  -d '"));
    let (_, bus) = welcome.split_once("Bus        http://").unwrap();
    let bus = bus.split("/admin").next().unwrap();

    browser.go(&format!("http://{bus}/swagger/")).await;
    let shown = tried(&browser, "#operations-events-publishEvents", None, "202").await;
    assert!(shown.contains("accepted"), "{shown}");
    let shown = tried(&browser, "#operations-subscriptions-listSubscriptions", None, "200").await;
    assert!(shown.contains("OrderEvent"), "{shown}");
    let pause = "#operations-subscriptions-pauseSubscription";
    let shown = tried(&browser, pause, Some("OrderEvent"), "200").await;
    assert!(shown.contains("paused"), "{shown}");

    let key = std::fs::read_to_string(folder.path().join("data/dev/token")).unwrap();
    browser.go(&format!("http://{}/swagger/", dev.address)).await;
    authorize(&browser, key.trim_end()).await;
    tried(&browser, "[id^=operations-hooks-][id$=CreateAutoship]", None, "200").await;
}

/// Executes an operation of an open page with what is filled in, after the name if it has one, and returns its answer.
async fn tried(browser: &Browser, operation: &str, name: Option<&str>, status: &str) -> String {
    browser.click(&format!("{operation} .opblock-summary-control")).await;
    if let Some(name) = name {
        browser.fill(&format!("{operation} tr[data-param-name=name] input"), name).await;
    }
    browser.click(&format!("{operation} .execute")).await;
    let response = format!("{operation} .live-responses-table .response");
    browser.wait_for_text(&format!("{response} .response-col_status"), status).await;
    browser.text(&format!("{response} .response-col_description")).await
}

#[tokio::test]
async fn swagger_fits_narrow_screens_and_dark_rooms_finds_operations_and_keeps_no_key() {
    let Some(browser) = Browser::open().await else { return };
    let receiver = serve("").await;
    browser.emulate(390, "dark").await;
    browser.go(&format!("http://{}/swagger/", receiver.address)).await;
    browser.click(&format!("{OPERATION} .opblock-summary-control")).await;
    authorize(&browser, KEY).await;
    execute(&browser).await;
    browser.wait_for_text(&shown(".response-col_status"), "200").await;
    browser.screenshot("narrow-dark", OPERATION).await;
    let overflow =
        "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
    assert_eq!(browser.run(overflow, json!([])).await, 0);
    let background =
        "return getComputedStyle(document.querySelector('.swagger-ui')).backgroundColor";
    let dark = browser.run(background, json!([])).await;
    browser.emulate(390, "light").await;
    browser.wait_for_another(background, &dark).await;

    browser.fill(".operation-filter-input", "StockLevel").await;
    let found = "return [...document.querySelectorAll('.opblock-tag-section .opblock-summary-path')].map(path => path.dataset.path)";
    assert_eq!(browser.run(found, json!([])).await, json!(["/api/webhooks/StockLevelEvent"]));
    assert_eq!(browser.run("return document.title", json!([])).await, "Webhook receiver · API");
    assert_eq!(
        browser.run("return localStorage.length + sessionStorage.length", json!([])).await,
        0
    );
}

const OPERATION: &str = "#operations-order-directscale_OrderEvent";

fn shown(selector: &str) -> String {
    format!("{OPERATION} .live-responses-table .response {selector}")
}

async fn execute(browser: &Browser) {
    browser.click(&format!("{OPERATION} .execute")).await;
}

async fn authorize(browser: &Browser, key: &str) {
    browser.click(".scheme-container .authorize").await;
    browser.fill(".modal-ux input", key).await;
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
