//! The bus's API over HTTP, and its pages as a person sees them in a real browser.

use std::time::Duration;

use bus::serve_bus;
use bus::{BusOptions, TARGETS};
use contract::time::system_clock;
use reqwest::Client;
use serde_json::{Value, json};
use server::login::hash;
use settings::Config;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::harness::deliveries::PATIENCE;
use crate::harness::sink::Sink;
use crate::harness::webdriver::Browser;

const TAB: &str = "\u{E004}";
const ENTER: &str = "\u{E007}";

/// A bus with its API and pages; it stops when dropped.
struct Site {
    url: String,
    client: Client,
    _folder: TempDir,
    _stop: DropGuard,
}

impl Site {
    async fn open() -> Self {
        Site::open_with("").await
    }

    async fn open_with(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config: Config = settings::parse(settings, [], "test").unwrap();
        config.bus.outbox = format!("sqlite:{}", folder.path().join("outbox.db").display());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            let options = BusOptions {
                speed: 1.0,
                faults: None,
                is_open: true,
                targets: TARGETS,
                clock: system_clock(),
                drain: Duration::from_millis(100),
                sources: Default::default(),
            };
            serve_bus(&config, &fixture::table(), options, listener, stopped).await.unwrap();
        });
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().tls_certs_only([]).timeout(PATIENCE);
        let client = client.redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Site { url, client, _folder: folder, _stop: stop.drop_guard() }
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let method = method.to_uppercase().parse().unwrap();
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.call("get", path, None).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let (status, body) = self.call("post", path, Some(body)).await;
        assert!((200..300).contains(&status), "{path}: {status} {body}");
        body
    }

    async fn subscribe(&self, name: &str, sink: &Sink) {
        let definition =
            json!({"name": name, "events": "*", "target": sink.url(), "retries": "100ms"});
        self.post("/api/subscriptions", definition).await;
    }

    /// The attempts with this outcome, once there are so many.
    async fn attempts(&self, filter: &str, count: usize) -> Vec<Value> {
        let enough = async {
            loop {
                let page = self.get(&format!("/api/attempts?{filter}")).await;
                let items = page["items"].as_array().unwrap().clone();
                if items.len() >= count {
                    return items;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, enough).await.expect("so many attempts are made")
    }
}

#[tokio::test]
async fn a_subscription_is_made_changed_paused_tried_and_removed_through_the_api() {
    let (site, mut sink) = (Site::open().await, Sink::answering(200).await);
    let definition = json!({
        "name": "shop", "events": ["order*"], "target": sink.url(), "bearer_token": "k3y-bearer",
        "dialect": "standard-webhooks", "signing_key": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "headers": {"X-Own": "k3y-header"}, "query": {"code": "k3y-query"},
    });
    let made = site.post("/api/subscriptions", definition.clone()).await;
    assert_eq!(
        (&made["subscription"]["name"], &made["health"]["standing"]),
        (&json!("shop"), &json!("active"))
    );
    let (status, again) = site.call("post", "/api/subscriptions", Some(definition)).await;
    assert_eq!((status, &again["status"]), (409, &json!(409)));

    let patch = json!({"description": "the shop", "headers": {"X-Own": null}});
    let (status, changed) = site.call("patch", "/api/subscriptions/shop", Some(patch)).await;
    assert_eq!((status, &changed["subscription"]["headers"]), (200, &json!([])));
    let (status, wrong) =
        site.call("patch", "/api/subscriptions/shop", Some(json!({"signing_key": ["k3y"]}))).await;
    assert_eq!(status, 422, "{wrong}");

    let paused = site.call("post", "/api/subscriptions/shop/pause", None).await.1;
    assert_eq!(paused["health"]["standing"], "paused");
    site.post("/api/subscriptions/shop/resume", json!({})).await;
    let receipt = site.post("/api/subscriptions/shop/test", json!({"type": "OrderEvent"})).await;
    assert_eq!(sink.next().await.header("authorization"), "Bearer k3y-bearer");
    let rotated = site
        .post(
            "/api/subscriptions/shop/rotate",
            json!({"key": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "overlap": "1h"}),
        )
        .await;
    assert!(rotated["subscription"]["keys"]["old_signing"].is_string(), "{rotated}");

    let attempt = site.attempts("subscription=shop", 1).await.remove(0);
    let told = [
        site.get("/api/subscriptions").await,
        site.get(&format!("/api/events/{}", receipt["id"].as_str().unwrap())).await,
        site.get(&format!("/api/attempts/{}", attempt["id"])).await,
        wrong,
        made,
        rotated,
    ];
    let told = serde_json::to_string(&told).unwrap();
    for secret in ["k3y", "MfKQ9r8", "C2FVsBQ"] {
        assert!(!told.contains(secret), "{secret} in {told}");
    }

    assert_eq!(site.call("delete", "/api/subscriptions/shop", None).await.0, 204);
    assert_eq!(site.call("get", "/api/subscriptions/shop", None).await.0, 404);
}

#[tokio::test]
async fn logs_are_filtered_and_paged_and_what_was_given_up_is_sent_again_after_a_preview() {
    let (site, mut sink) = (Site::open().await, Sink::answering(500).await);
    site.subscribe("down", &sink).await;
    let events: Vec<_> = (0..5)
        .map(|n| json!({"type": "Own", "id": format!("e-{n}"), "data": {"n": n}, "object_type": "cat", "object_id": n % 2}))
        .collect();
    site.post("/api/events", json!(events)).await;
    site.attempts("outcome=given_up", 5).await;

    let ids = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap();
        items.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
    };
    let first = site.get("/api/events?limit=3").await;
    let second = site.get(&format!("/api/events?limit=3&before={}", first["next"])).await;
    assert_eq!(
        (ids(&first), ids(&second)),
        (vec!["e-4".into(), "e-3".into(), "e-2".into()], vec!["e-1".into(), "e-0".into()])
    );
    assert_eq!(
        ids(&site.get("/api/events?type=own&object_id=1&object_type=cat").await),
        ["e-3", "e-1"]
    );
    assert_eq!(
        ids(&site.get("/api/events?until=2020-01-01T00:00:00Z").await),
        Vec::<String>::new()
    );
    assert_eq!(
        site.get("/api/attempts?event=e-0&status=500").await["items"].as_array().unwrap().len(),
        2
    );
    for filter in ["type=", "foo=1", "since=noon", "limit=x"] {
        let (status, body) = site.call("get", &format!("/api/events?{filter}"), None).await;
        assert!(status == 422 || filter == "type=", "{filter}: {body}");
    }

    sink.answer_from_now_on(200);
    while sink.came().is_some() {}
    let failed = json!({"which": {"failed": {"subscription": "down"}}, "rate": 1000.0});
    let preview = site.post("/api/resend/preview", failed.clone()).await;
    assert_eq!(
        (&preview["deliveries"], preview["events"].as_array().unwrap().len()),
        (&json!(5), 5)
    );
    assert!(sink.came().is_none(), "a preview sends nothing");
    assert_eq!(site.post("/api/resend", failed.clone()).await["deliveries"], 5);
    site.attempts("outcome=delivered", 5).await;
    assert_eq!(site.post("/api/resend/preview", failed).await["deliveries"], 0);
}

#[tokio::test]
async fn subscriptions_are_filtered_and_paged_in_the_api_and_on_the_page() {
    let (site, sink) = (Site::open().await, Sink::answering(200).await);
    for n in 0..53 {
        site.subscribe(&format!("s-{n:02}"), &sink).await;
    }
    site.post("/api/subscriptions/s-51/pause", json!({})).await;
    let names = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap();
        items.iter().map(|item| item["subscription"]["name"].as_str().unwrap().into()).collect()
    };
    let first = site.get("/api/subscriptions").await;
    assert_eq!((names(&first).len(), &first["next"]), (50, &json!("s-49")));
    let second = site.get("/api/subscriptions?after=s-49").await;
    assert_eq!(names(&second), ["s-50", "s-51", "s-52"]);
    let last = site.get("/api/subscriptions?after=s-52").await;
    assert_eq!((names(&last).len(), &last["next"]), (0, &Value::Null));
    assert_eq!(names(&site.get("/api/subscriptions?standing=paused").await), ["s-51"]);
    let named = names(&site.get("/api/subscriptions?name=-1&limit=3").await);
    assert_eq!(named, ["s-10", "s-11", "s-12"]);
    assert_eq!(site.call("get", "/api/subscriptions?standing=asleep", None).await.0, 422);

    let page = site.get("/admin/subscriptions?note=created").await.to_string();
    let next = "/admin/subscriptions?after=s-49";
    assert!(page.contains("s-49") && !page.contains("s-50"), "{page}");
    assert!(page.contains(next), "{page}");
    let page = site.get(next).await.to_string();
    assert!(page.contains("s-52") && !page.contains("Next"), "{page}");
    let page = site.get("/admin/subscriptions?standing=paused").await.to_string();
    assert!(page.contains("s-51") && !page.contains("s-50"), "{page}");
}

#[tokio::test]
async fn a_request_that_is_too_large_is_a_problem_like_any_other() {
    let site = Site::open().await;
    // A little more than is taken, so that the rest of it fits into the connection.
    let body = json!("x".repeat((33 << 20) + 100));
    let (status, problem) = site.call("post", "/api/events", Some(body)).await;
    assert_eq!((status, &problem["status"]), (413, &json!(413)), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("fewer events"), "{problem}");
}

#[tokio::test]
async fn one_event_that_is_too_large_refuses_its_batch_and_names_the_setting() {
    let site = Site::open_with("[bus]\nmax_event = 1000\n").await;
    let event = |id: &str, size: usize| {
        // {"x":"…"}
        json!({"type": "Own", "id": id, "data": {"x": "y".repeat(size - 8)}})
    };
    let batch = json!([event("fits", 1000), event("not", 1001)]);
    let (status, problem) = site.call("post", "/api/events", Some(batch)).await;
    assert_eq!((status, &problem["status"]), (413, &json!(413)));
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("event 2") && detail.contains("max_event in [bus]"), "{detail}");
    assert_eq!(site.get("/api/events").await["items"], json!([]), "none of the batch");
    let with_record = json!({"type": "Own", "data": {}, "record": {"x": "y".repeat(1000)}});
    assert_eq!(site.call("post", "/api/events", Some(with_record)).await.0, 413);
    site.post("/api/events", event("fits", 1000)).await;
}

#[tokio::test]
async fn the_bus_itself_leads_to_its_pages() {
    let site = Site::open().await;
    let answer = site.client.get(&site.url).send().await.unwrap();
    assert_eq!(answer.status(), 303);
    assert_eq!(answer.headers()["location"], "/admin/subscriptions");
}

#[tokio::test]
async fn every_path_of_the_document_is_served_and_every_route_is_in_it() {
    let site = Site::open().await;
    let document = site.get("/openapi.json").await;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let path = path.replace("{name}", "nobody").replace("{id}", "0");
        for method in operations.as_object().unwrap().keys() {
            let body = (method != "get" && method != "delete").then(|| json!({}));
            let (status, answer) = site.call(method, &path, body).await;
            assert_ne!(status, 405, "{method} {path}");
            assert_ne!(answer, "", "{method} {path}: {status}");
        }
    }
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for name in ["NewSubscription", "Publication", "Overview", "AttemptDetail"] {
        assert!(schemas.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn a_form_counts_only_from_a_page_of_the_bus_and_a_page_only_by_this_machines_name() {
    let site = Site::open().await;
    let form = async |origin: Option<&str>| {
        let mut request =
            site.client.post(format!("{}/admin/events", site.url)).body("type=DailyEvent");
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(form(Some(site.url.as_str())).await, 303);
    for origin in [None, Some("null"), Some("https://evil.test"), Some("http://127.0.0.1:1")] {
        assert_eq!(form(origin).await, 403, "{origin:?}");
    }
    let page = site.client.get(format!("{}/admin/events", site.url));
    assert_eq!(page.header("host", "rebound.evil.test").send().await.unwrap().status(), 403);
    assert_eq!(site.get("/api/events").await["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn with_a_login_every_page_asks_for_it() {
    let hash = hash(&"secret".into()).unwrap();
    let site =
        Site::open_with(&format!("[docs]\nuser = \"docs\"\npassword_hash = \"{hash}\"\n")).await;
    for path in [
        "/",
        "/admin/subscriptions",
        "/admin/events/new",
        "/admin/resend",
        "/swagger/",
        "/openapi.json",
    ] {
        assert_eq!(site.call("get", path, None).await.0, 401, "{path}");
    }
    let page = site.client.get(format!("{}/admin/subscriptions", site.url));
    let page = page.basic_auth("docs", Some("secret")).send().await.unwrap();
    assert_eq!(page.status(), 200);
    let policy = page.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("script-src"), "{policy}");
}

#[tokio::test]
async fn what_people_enter_is_shown_as_text_and_secrets_not_at_all() {
    let (site, sink) = (Site::open().await, Sink::answering(200).await);
    let evil = "<script>alert(1)</script>\"'&";
    let definition = json!({
        "name": "evil", "events": "*", "target": sink.url(), "description": evil,
        "bearer_token": "k3y-bearer", "headers": {"X-Own": "k3y-header"}, "query": {"code": "k3y-query"},
    });
    site.post("/api/subscriptions", definition).await;
    site.post(
        "/api/events",
        json!({"type": "Own", "id": evil.replace(' ', ""), "user": evil, "data": {"x": evil}}),
    )
    .await;
    let attempt = site.attempts("subscription=evil", 1).await.remove(0);
    let event = format!("/admin/events/{}", "%3Cscript%3Ealert%281%29%3C%2Fscript%3E%22%27%26");
    let request = format!("/admin/attempts/{}", attempt["id"]);
    for path in [
        "/admin/subscriptions",
        "/admin/subscriptions/evil",
        "/admin/subscriptions/evil/edit",
        "/admin/events",
        &event,
        "/admin/attempts",
        &request,
        "/admin/attempts?subscription=%22%3E%3Cscript%3E",
        "/admin/resend?event=%3Cscript%3E",
        "/admin/subscriptions/%3Cscript%3E",
    ] {
        let page = site.call("get", path, None).await.1;
        let page = page.as_str().unwrap();
        assert!(page.contains("<h1>"), "{path}");
        assert!(!page.contains("<script") && !page.contains("k3y"), "{path}: {page}");
    }
}

#[tokio::test]
async fn a_second_target_is_added_stopped_started_and_what_it_missed_is_sent_again() {
    let Some(browser) = Browser::open().await else { return };
    let (site, mut first, mut second) =
        (Site::open().await, Sink::answering(200).await, Sink::answering(200).await);
    site.subscribe("first", &first).await;

    browser.go(&site.url).await;
    browser.screenshot("bus-subscriptions", "h1").await;
    browser.click("a[href='/admin/subscriptions/new']").await;
    browser.fill("#name", "second").await;
    browser.fill("#target", &second.url()).await;
    browser.fill("#retries", "soon").await;
    browser.click("main form button").await;
    browser.wait_for_text(".alert", "retries").await;
    browser.fill("#retries", "100ms, 200ms").await;
    browser.fill("#bearer_token", "k3y-of-the-second").await;
    browser.screenshot("bus-form", "h1").await;
    browser.click("main form button").await;
    browser.wait_for_text(".note", "created").await;
    browser.screenshot("bus-subscription", "h1").await;

    publish(&browser, &site, "first-order").await;
    assert_eq!(first.next().await.json()["EventType"], "OrderEvent");
    assert_eq!(second.next().await.header("authorization"), "Bearer k3y-of-the-second");
    site.attempts("event=first-order&outcome=delivered", 2).await;
    browser.go(&format!("{}/admin/events/first-order", site.url)).await;
    for name in ["first", "second"] {
        browser.wait_for_text("main", name).await;
    }
    browser.screenshot("bus-event", "h1").await;

    second.answer_from_now_on(500);
    publish(&browser, &site, "second-order").await;
    site.attempts("event=second-order&outcome=again", 2).await;
    site.attempts("event=second-order&outcome=given_up", 1).await;
    browser.go(&format!("{}/admin/attempts?subscription=second&status=500", site.url)).await;
    browser.screenshot("bus-attempts", "h1").await;
    browser.click("tbody tr a").await;
    browser.wait_for_text("main", "thank you").await;
    browser.wait_for_text("main", "****").await;
    browser.screenshot("bus-attempt", "h1").await;

    second.answer_from_now_on(200);
    while second.came().is_some() {}
    browser.click("nav a[href='/admin/resend']").await;
    browser.click("main form button").await;
    browser.wait_for_text("#preview", "1 delivery").await;
    browser.wait_for_text("main", "second-order").await;
    browser.screenshot("bus-preview", "h1").await;
    browser.click("section form button").await;
    browser.wait_for_text(".note", "1 delivery due again").await;
    assert_eq!(second.next().await.header("x-directscale-message-id"), "second-order");

    for url in browser.requested().await {
        assert!(url.starts_with(&site.url), "{url}");
    }
    let complaints = browser.complaints().await;
    let violations: Vec<_> =
        complaints.iter().filter(|line| line.contains("Content Security")).collect();
    assert!(violations.is_empty(), "{violations:?}");
}

async fn publish(browser: &Browser, site: &Site, id: &str) {
    browser.go(&format!("{}/admin/events/new", site.url)).await;
    browser.fill("#type", "OrderEvent").await;
    browser.fill("#id", id).await;
    browser.click("main form button").await;
    browser.wait_for_text(".note", "published").await;
}

#[tokio::test]
async fn the_pages_are_used_with_the_keyboard_alone() {
    let Some(browser) = Browser::open().await else { return };
    let (site, sink) = (Site::open().await, Sink::answering(200).await);
    site.subscribe("one", &sink).await;
    browser.go(&site.url).await;
    browser.press(TAB).await;
    assert_eq!(focused(&browser).await, "Skip to the content");
    tab_to(&browser, "Pause one").await;
    browser.press(ENTER).await;
    browser.wait_for_text(".note", "paused").await;
    assert_eq!(site.get("/api/subscriptions/one").await["health"]["standing"], "paused");

    tab_to(&browser, "Events").await;
    browser.press(ENTER).await;
    browser.wait_for_text("h1", "Events").await;
    tab_to(&browser, "Publish an event").await;
    browser.press(ENTER).await;
    browser.wait_for_text("h1", "Publish an event").await;
    tab_to(&browser, "Event").await;
    browser.type_text("DailyEvent").await;
    browser.press(ENTER).await;
    browser.wait_for_text(".note", "published").await;
    assert_eq!(site.get("/api/events").await["items"][0]["type"], "DailyEvent");
}

/// Moves the focus forward until it is on what is called so, and sees to it that it can be seen.
async fn tab_to(browser: &Browser, name: &str) {
    for _ in 0..60 {
        browser.press(TAB).await;
        let script = "const style = getComputedStyle(document.activeElement); \
             return document.activeElement === document.body || style.outlineStyle !== 'none'";
        assert_eq!(
            browser.run(script, json!([])).await,
            true,
            "the focus on {}",
            focused(browser).await
        );
        if focused(browser).await == name {
            return;
        }
    }
    panic!("{name} is not reached");
}

/// What the focus is on: its label or its text.
async fn focused(browser: &Browser) -> String {
    let script =
        "const on = document.activeElement; return (on.labels?.[0] ?? on).textContent.trim()";
    browser.run(script, json!([])).await.as_str().unwrap_or_default().to_owned()
}
