//! The documentation pages as a person sees them, in a real browser.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::{HeaderMap, StatusCode};
use webhook_receiver::config::Docs;
use webhook_receiver::handlers::catalog;
use webhook_receiver::http::answer::{Answer, Status};
use webhook_receiver::http::docs;
use webhook_receiver::http::login::{Login, hash};
use webhook_receiver::http::problem::Problem;
use webhook_receiver::openapi::{default_source, document};

use super::webdriver::Browser;

/// With the punctuation that real keys have.
const KEY: &str = "Ab!c@d%e$f^g&h";

#[tokio::test]
async fn swagger_sends_an_event_with_the_key_and_shows_the_answer() {
    let Some(browser) = Browser::open().await else { return };
    let server = serve(None).await;
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
}

#[tokio::test]
async fn behind_a_login_swagger_still_loads_its_document() {
    let Some(browser) = Browser::open().await else { return };
    let password_hash = Some(hash(&"secret".into()).unwrap().into());
    let login = Login::new(&Docs { user: Some("docs".into()), password_hash }).unwrap();
    let server = serve(login).await;
    browser.go(&server.replace("http://", "http://docs:secret@")).await;
    browser.go(&server).await;
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

/// The pages and a stand-in for the receiver; returns the address.
async fn serve(login: Option<Login>) -> String {
    let document = document(&catalog(), &[default_source()]).unwrap();
    let seen = Arc::new(Mutex::new(HashSet::new()));
    let app = Router::new()
        .route("/api/webhooks/{event}", post(receive))
        .with_state(seen)
        .merge(docs::router(&document, login).unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}")
}

type Seen = Arc<Mutex<HashSet<String>>>;

async fn receive(State(seen): State<Seen>, headers: HeaderMap, _: String) -> Response {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if text("authorization") != format!("Bearer {KEY}") {
        return Problem::unauthorized("Bearer").into_response();
    }
    let message_id = text("x-directscale-message-id").to_owned();
    let new = seen.lock().unwrap().insert(message_id.clone());
    let status = if new { Status::Accepted } else { Status::Duplicate };
    Answer { status, delivery_id: 1, message_id }.respond(StatusCode::OK)
}
