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

    // The page has the paused one before the rest.
    let page = site.get("/admin/subscriptions").await.to_string();
    assert!(page.find("s-51").unwrap() < page.find("s-00").unwrap(), "{page}");
    assert!(page.contains("s-48") && !page.contains("s-49"), "{page}");
    assert!(page.contains("subscriptions?from=50") && page.contains("53 in all"), "{page}");
    let page = site.get("/admin/subscriptions?from=50").await.to_string();
    assert!(page.contains("s-52") && !page.contains("Next") && !page.contains("s-48"), "{page}");
    let page = site.get("/admin/subscriptions?status=paused").await.to_string();
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
    assert_eq!(answer.headers()["location"], "admin/subscriptions");
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
        "/admin/publish",
        "/admin/nope",
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
    assert!(
        policy.contains("default-src 'none'") && policy.contains("script-src 'self'"),
        "{policy}"
    );
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
        "/admin/attempts?q=%22%3E%3Cscript%3E&status=%3Cscript%3E&range=%3Cscript%3E",
        "/admin/events?q=%22%3E%3Cscript%3E&outcome=%3Cscript%3E",
        "/admin/subscriptions?name=%3Cscript%3E&status=%3Cscript%3E",
        "/admin/resend?subscription=%3Cscript%3E&rate=%3Cscript%3E",
        "/admin/publish?type=%22%3E%3Cscript%3E&data=%3C%2Ftextarea%3E%3Cscript%3E",
        "/admin/%3Cscript%3E",
        "/admin/subscriptions/%3Cscript%3E",
    ] {
        let page = site.call("get", path, None).await.1;
        let own = page.as_str().unwrap().split_once("<script src=\"script.js?").unwrap();
        let page = format!("{}{}", own.0, own.1.split_once("\" defer></script>").unwrap().1);
        assert!(page.contains("<h1>"), "{path}");
        assert!(!page.contains("<script") && !page.contains("k3y"), "{path}: {page}");
    }
}

/// The answer to a form.
struct Answer {
    status: u16,
    /// The page to which it leads.
    to: Option<String>,
    body: String,
}

impl Site {
    /// Sends a form from a page of the bus.
    async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let pairs: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{}={}", percent(name), percent(value)))
            .collect();
        let request = self.client.post(format!("{}{path}", self.url)).header("origin", &self.url);
        let response = request.body(pairs.join("&")).send().await.unwrap();
        let status = response.status().as_u16();
        let location = response.headers().get("location").map(|to| to.to_str().unwrap().to_owned());
        let to = location.map(|to| {
            let to = response.url().join(&to).unwrap();
            format!(
                "{}{}",
                to.path(),
                to.query().map(|query| format!("?{query}")).unwrap_or_default()
            )
        });
        Answer { status, to, body: response.text().await.unwrap() }
    }

    /// The page to which a form leads.
    async fn after(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let answer = self.form(path, fields).await;
        assert_eq!(answer.status, 303, "{path}: {}", answer.body);
        self.page(&answer.to.unwrap()).await
    }

    async fn page(&self, path: &str) -> String {
        self.get(path).await.as_str().unwrap().to_owned()
    }
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn a_form_with_an_error_keeps_what_was_typed_and_asks_for_each_secret_again() {
    let (site, sink) = (Site::open().await, Sink::answering(200).await);
    let target = sink.url();
    let fields = |timeout: &'static str, key: &'static str, header: &'static str| {
        [
            ("name", "rotated".to_owned()),
            ("target", target.clone()),
            ("events", "Order*".to_owned()),
            ("event", "DailyEvent".to_owned()),
            ("enabled", "on".to_owned()),
            ("timeout", timeout.to_owned()),
            ("bearer_token", key.to_owned()),
            ("headers", header.to_owned()),
        ]
    };
    let send = async |path: &str, fields: Vec<(&str, String)>| {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        site.form(path, &fields).await
    };
    let wrong = send("/admin/subscriptions", fields("30", "k3y", "X-Api-Key: k3y").to_vec()).await;
    assert_eq!(wrong.status, 422);
    for expected in [
        "id=\"error\" tabindex=\"-1\" autofocus",
        "href=\"subscriptions#timeout\"",
        "value=\"rotated\"",
        ">Order*</textarea>",
        "value=\"DailyEvent\" checked",
        "id=\"bearer_token\" name=\"bearer_token\" autocomplete=\"new-password\" required aria-invalid=\"true\"",
        "autocomplete=\"off\" required aria-invalid=\"true\" aria-describedby=\"headers-hint headers-error\"",
        "Enter this once more",
        "<title>Not saved yet: New subscription",
    ] {
        assert!(wrong.body.contains(expected), "{expected}: {}", wrong.body);
    }
    assert!(!wrong.body.contains("k3y"));
    // A program that sends the form without them is refused as a browser would.
    let mut again = fields("30s", "", "").to_vec();
    again.extend([("again", "bearer_token".to_owned()), ("again", "headers".to_owned())]);
    let refused = send("/admin/subscriptions", again).await;
    assert_eq!(refused.status, 422);
    assert!(refused.body.contains("Bearer key: enter it once more"), "{}", refused.body);
    assert_eq!(site.call("get", "/api/subscriptions/rotated", None).await.0, 404);

    let saved = send("/admin/subscriptions", fields("30s", "k3y", "X-Api-Key: k3y").to_vec()).await;
    assert_eq!(saved.status, 303, "{}", saved.body);
    let one = site.get("/api/subscriptions/rotated").await;
    assert_eq!(one["subscription"]["events"], json!(["DailyEvent", "Order*"]));
    let before = &one["subscription"]["keys"]["bearer"];
    let edit = "/admin/subscriptions/rotated/edit";
    let wrong = send(edit, fields("30", "k3y-new", "").to_vec()).await;
    assert!(wrong.body.contains("required aria-invalid=\"true\""), "{}", wrong.body);
    let mut again = fields("30s", "", "").to_vec();
    again.push(("again", "bearer_token".to_owned()));
    assert_eq!(send(edit, again).await.status, 422);
    assert_eq!(
        &site.get("/api/subscriptions/rotated").await["subscription"]["keys"]["bearer"],
        before
    );
}

#[tokio::test]
async fn all_errors_of_a_form_are_named_at_once_in_its_own_words() {
    let site = Site::open().await;
    let wrong = site
        .form(
            "/admin/subscriptions",
            &[("events", "Bad[Glob"), ("concurrency", "many"), ("faults.drop", "2")],
        )
        .await;
    assert_eq!(wrong.status, 422);
    for expected in [
        "5 fields need your attention",
        "Name: give the subscription one.",
        "Target URL: write the URL",
        "only * stands for other text",
        "Requests at once: ",
        "Share of lost responses: ",
    ] {
        assert!(wrong.body.contains(expected), "{expected}: {}", wrong.body);
    }
    // Names of settings are for the API.
    assert!(!wrong.body.contains("faults: drop"), "{}", wrong.body);
    let misfit =
        site.form("/admin/events", &[("type", "OrderEvent"), ("data", "{\"OrderId\":[1]}")]).await;
    assert_eq!(misfit.status, 422);
    assert!(
        misfit.body.contains("tick “Publish it even if")
            && !misfit.body.contains("raw&quot;: true"),
        "{}",
        misfit.body
    );
    let no_json = site.form("/admin/events", &[("data", "{")]).await;
    assert!(no_json.body.contains("2 fields need your attention"), "{}", no_json.body);
    assert!(no_json.body.contains("href=\"events#data\""), "{}", no_json.body);
}

#[tokio::test]
async fn a_body_is_shown_digit_for_digit_raw_and_as_a_file() {
    let (site, mut sink) = (Site::open().await, Sink::answering(200).await);
    site.subscribe("one", &sink).await;
    let data = r#"{"z":1,"big":12345678901234567890123,"price":1.10,"dup":1,"a":2,"dup":2,"u":"\u00e9\/"}"#;
    let event = format!(r#"{{"type":"NumEvent2","id":"exact","data":{data}}}"#);
    let request = site
        .client
        .post(format!("{}/api/events", site.url))
        .header("content-type", "application/json");
    assert_eq!(request.body(event).send().await.unwrap().status(), 202);
    let sent = sink.next().await;
    let attempt = site.attempts("event=exact", 1).await.remove(0);
    let (attempt, event) = (format!("/admin/attempts/{}", attempt["id"]), "/admin/events/exact");
    for path in [attempt.as_str(), event] {
        let page = site.page(path).await;
        for exact in ["12345678901234567890123", "1.10", "\\u00e9\\/"] {
            assert!(page.contains(exact), "{path}: {exact}");
        }
        let shown: Vec<_> = page.split("<span class=\"key\">").skip(1).collect();
        let is_dup = |part: &&&str| part.starts_with("&quot;dup&quot;");
        assert_eq!(shown.iter().filter(is_dup).count(), 2, "{path}");
    }
    for (path, expected) in [
        (format!("{attempt}/request"), sent.body.as_ref()),
        (format!("{event}/data"), data.as_bytes()),
    ] {
        let raw = site.client.get(format!("{}{path}", site.url)).send().await.unwrap();
        assert_eq!(raw.headers()["content-type"], "text/plain; charset=utf-8");
        assert_eq!(raw.headers()["x-content-type-options"], "nosniff");
        assert_eq!(raw.bytes().await.unwrap(), expected);
        let file = site.client.get(format!("{}{path}?download=1", site.url)).send().await.unwrap();
        assert!(file.headers()["content-disposition"].to_str().unwrap().starts_with("attachment;"));
    }
    let page = site.page(&attempt).await;
    assert!(page.contains("data-copy=\"curl -X POST '"), "{page}");
    for path in [
        format!("{attempt}/nope"),
        "/admin/events/exact/record".into(),
        "/admin/events/nope/data".into(),
    ] {
        assert_eq!(site.call("get", &path, None).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn what_has_failed_comes_first_and_is_found_in_every_list() {
    let site = Site::open().await;
    let (healthy, down) = (Sink::answering(200).await, Sink::answering(500).await);
    site.subscribe("a-healthy", &healthy).await;
    site.subscribe("b-paused", &healthy).await;
    site.subscribe("c-down", &down).await;
    site.post("/api/subscriptions/b-paused/pause", json!({})).await;
    for n in 0..3 {
        site.post("/api/events", json!({"type": "OrderEvent", "id": format!("order-{n}")})).await;
    }
    site.attempts("outcome=given_up", 3).await;
    site.attempts("outcome=delivered", 3).await;

    let page = site.page("/admin/subscriptions").await;
    let at = |name: &str| {
        page.find(&format!("href=\"subscriptions/{name}\"", name = name.replace('-', "%2D")))
            .unwrap()
    };
    assert!(at("c-down") < at("b-paused") && at("b-paused") < at("a-healthy"), "{page}");
    let row = &page[at("c-down")..at("b-paused")];
    for expected in [
        "failing",
        "6 attempts have failed in a row",
        "never",
        "0 delivered, 6 failed attempts",
        ">3</a>",
    ] {
        assert!(row.contains(expected), "{expected}: {row}");
    }
    let healthy_row = &page[at("a-healthy")..];
    assert!(
        healthy_row.contains("3 delivered, 0 failed") && healthy_row.contains("ago"),
        "{healthy_row}"
    );
    let failing = site.page("/admin/subscriptions?status=failing").await;
    assert!(failing.contains("c-down") && !failing.contains("a-healthy"), "{failing}");

    let events = site.page("/admin/events?outcome=failed&q=ORDER-1").await;
    assert!(events.contains("order-1") && !events.contains("order-2"), "{events}");
    assert!(
        events.contains("1 given up")
            && events.contains("1 waiting")
            && events.contains("1 delivered"),
        "{events}"
    );
    assert!(
        site.page("/admin/events?outcome=unmatched").await.contains("No event matches the filter")
    );
    for (filter, is_there) in [
        ("status=5xx", true),
        ("status=500", true),
        ("status=4xx", false),
        ("status=timeout", false),
        ("subscription=dow", true),
        ("subscription=crm", false),
        ("event=order-", true),
        ("type=Order", true),
        ("q=ORDER-1", true),
        ("range=15m", true),
        ("until=2020-01-01T00:00", false),
    ] {
        let page = site.page(&format!("/admin/attempts?{filter}")).await;
        let found = page.contains("subscriptions/c%2Ddown");
        assert_eq!(found, is_there, "{filter}: {page}");
        assert_eq!(page.contains("No attempt matches the filter"), !is_there, "{filter}");
    }
    // What waits behind a pause is not overdue.
    let event = site.page("/admin/events/order-1").await;
    assert!(event.contains("when resumed"), "{event}");
    let first =
        site.get("/api/attempts?outcome=again&event=order-1").await["items"][0]["id"].clone();
    let attempt = site.page(&format!("/admin/attempts/{first}")).await;
    assert!(attempt.contains("Attempt 1 of 2") && attempt.contains("Next attempt"), "{attempt}");
    assert!(
        attempt.contains("rel=\"next\"") && attempt.contains("attempts?event=order%2D1"),
        "{attempt}"
    );
}

#[tokio::test]
async fn the_times_to_come_of_a_waiting_delivery_are_shown() {
    let (site, sink) = (Site::open().await, Sink::answering(500).await);
    let definition =
        json!({"name": "slow", "events": "*", "target": sink.url(), "retries": "5m, 2h"});
    site.post("/api/subscriptions", definition).await;
    site.post("/api/events", json!({"type": "OrderEvent", "id": "later"})).await;
    site.attempts("event=later", 1).await;
    let event = site.page("/admin/events/later").await;
    // The delays vary a little.
    assert!(event.contains("in 4 min") || event.contains("in 5 min"), "{event}");
    assert!(event.contains("in 2 h") && event.contains("will retry"), "{event}");
    let page = site.page("/admin/subscriptions/slow").await;
    assert!(
        page.contains("Retries 5m, 2h 5m after the first attempt; given up after 3 attempts."),
        "{page}"
    );
}

#[tokio::test]
async fn a_publication_says_what_became_of_it() {
    let (site, sink) = (Site::open().await, Sink::answering(200).await);
    let publish = async |data: &str| {
        site.after("/admin/events", &[("type", "Own"), ("id", "flow-1"), ("data", data)]).await
    };
    assert!(publish("{}").await.contains("no subscription takes it"));
    assert!(publish("{}").await.contains("published before under the same id"));
    assert!(publish("{\"a\":1}").await.contains("Another event was published before"));
    site.subscribe("one", &sink).await;
    let said = site.after("/admin/events", &[("type", "DailyEvent")]).await;
    assert!(said.contains("published to 1 subscription."), "{said}");
}

#[tokio::test]
async fn empty_lists_teach_and_a_wrong_filter_keeps_its_form() {
    let site = Site::open().await;
    for (path, expected) in [
        ("/admin/subscriptions", "Make the first"),
        ("/admin/events", "No event yet."),
        ("/admin/attempts", "No attempt yet."),
        ("/admin/events?q=x", "Clear it"),
    ] {
        let page = site.page(path).await;
        assert!(page.contains(expected), "{path}: {page}");
    }
    for path in [
        "/admin/attempts?status=9xx&q=kept",
        "/admin/attempts?since=yesterday&q=kept",
        "/admin/attempts?outcome=nope&q=kept",
        "/admin/events?range=soon&q=kept",
        "/admin/events?before=x&q=kept",
        "/admin/subscriptions?status=asleep&name=kept",
        "/admin/resend?rate=fast&subscription=kept",
    ] {
        let (status, page) = site.call("get", path, None).await;
        let page = page.as_str().unwrap();
        assert_eq!(status, 422, "{path}");
        assert!(
            page.contains("value=\"kept\"") && page.contains("role=\"alert\""),
            "{path}: {page}"
        );
    }
}

#[tokio::test]
async fn an_unknown_address_is_a_page_and_a_slash_too_many_leads_to_one() {
    let site = Site::open().await;
    for path in
        ["/admin/nope", "/admin/attempts/x", "/admin/events/nope", "/admin/subscriptions/nope/edit"]
    {
        let answer = site.client.get(format!("{}{path}", site.url)).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
        assert!(
            answer.headers()["content-type"].to_str().unwrap().starts_with("text/html"),
            "{path}"
        );
        for header in ["content-security-policy", "x-content-type-options", "x-frame-options"] {
            assert!(answer.headers().contains_key(header), "{path}: {header}");
        }
        let page = answer.text().await.unwrap();
        assert!(page.contains("<h1>Not found</h1>") && page.contains("<nav"), "{path}: {page}");
    }
    assert_eq!(site.call("get", "/admin/subscriptions/one/pause", None).await.0, 405);
    for (path, to) in [
        ("/admin/", "subscriptions"),
        ("/admin/subscriptions/", "../subscriptions"),
        ("/admin/events/?q=x", "../events?q=x"),
        ("/admin/attempts/7/", "../../attempts/7"),
    ] {
        let answer = site.client.get(format!("{}{path}", site.url)).send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["location"].to_str().unwrap()),
            (303, to),
            "{path}"
        );
    }
    for path in ["/favicon.ico", "/api/nope"] {
        let answer = site.client.get(format!("{}{path}", site.url)).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{path}");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff", "{path}");
    }
}

#[tokio::test]
async fn a_browser_without_the_login_gets_a_page_and_its_style_which_is_cached() {
    let hash = hash(&"secret".into()).unwrap();
    let site =
        Site::open_with(&format!("[docs]\nuser = \"docs\"\npassword_hash = \"{hash}\"\n")).await;
    let page = site
        .client
        .get(format!("{}/admin/subscriptions", site.url))
        .header("accept", "text/html,*/*");
    let page = page.send().await.unwrap();
    assert_eq!(page.status(), 401);
    assert!(page.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic"));
    assert!(page.headers().contains_key("content-security-policy"));
    let text = page.text().await.unwrap();
    assert!(text.contains("<h1>Please log in</h1>"), "{text}");
    for asset in ["style.css", "script.js"] {
        let asset = site.client.get(format!("{}/admin/{asset}", site.url)).send().await.unwrap();
        assert_eq!(asset.status(), 200);
        assert_eq!(asset.headers()["cache-control"], "public, max-age=3600");
        assert_eq!(asset.headers()["x-content-type-options"], "nosniff");
    }
}

#[tokio::test]
async fn pages_work_below_a_path_behind_a_proxy() {
    let (site, sink) = (Site::open().await, Sink::answering(200).await);
    site.subscribe("one", &sink).await;
    site.post("/api/events", json!({"type": "OrderEvent", "id": "e-1"})).await;
    let attempt = site.attempts("event=e-1", 1).await.remove(0);
    let attempt = format!("/admin/attempts/{}", attempt["id"]);
    for path in [
        "/admin/subscriptions",
        "/admin/new-subscription",
        "/admin/subscriptions/one",
        "/admin/subscriptions/one/edit",
        "/admin/subscriptions/one/delete",
        "/admin/events",
        "/admin/events/e-1",
        "/admin/publish",
        "/admin/attempts",
        &attempt,
        "/admin/resend?preview=1",
    ] {
        let page = site.page(path).await;
        let base = page.split("<base href=\"").nth(1).unwrap().split('"').next().unwrap();
        let root = reqwest::Url::parse(&site.url).unwrap().join(path).unwrap().join(base).unwrap();
        assert_eq!(root.path(), "/admin/", "{path}");
        for part in page.split(['<', '>']) {
            for attribute in [" href=\"", " action=\"", " src=\"", " data-live=\""] {
                let Some(address) = part.split(attribute).nth(1) else { continue };
                let address = address.split('"').next().unwrap();
                assert!(!address.starts_with('/') && !address.contains("://"), "{path}: {address}");
            }
        }
    }
    let paused = site.form("/admin/subscriptions/one/pause", &[]).await;
    assert!(paused.to.unwrap().starts_with("/admin/subscriptions/one?note="));
}

#[tokio::test]
async fn a_delivery_is_resent_in_place_and_its_note_is_shown_once() {
    let (site, mut sink) = (Site::open().await, Sink::answering(500).await);
    site.subscribe("down", &sink).await;
    for id in ["e-1", "e-2"] {
        site.post("/api/events", json!({"type": "OrderEvent", "id": id})).await;
    }
    let failed = site.attempts("outcome=given_up", 2).await;
    sink.answer_from_now_on(200);
    while sink.came().is_some() {}
    let (number, here) = (failed[0]["id"].to_string(), format!("attempts/{}", failed[0]["id"]));
    let answer = site.form("/admin/resend", &[("attempt", &number), ("back", &here)]).await;
    let to = answer.to.unwrap();
    assert!(to.starts_with(&format!("/admin/{here}?note=")), "{to}");
    assert!(site.page(&to).await.contains("1 delivery is due again."));
    assert!(!site.page(&to).await.contains("due again"), "a reload does not repeat it");
    assert!(!site.page("/admin/subscriptions?note=removed").await.contains("role=\"status\">The"));
    sink.next().await;

    let other = failed[1]["event"].as_str().unwrap().to_owned();
    let page = site
        .after("/admin/resend", &[("failed", &other), ("back", &format!("events/{other}"))])
        .await;
    assert!(
        page.contains("1 delivery is due again.") && page.contains("Follow its attempts"),
        "{page}"
    );
    sink.next().await;
    site.attempts("outcome=delivered", 2).await;

    let ids: Vec<_> = failed.iter().map(|attempt| attempt["id"].to_string()).collect();
    let selected =
        [("id", ids[0].as_str()), ("id", ids[1].as_str()), ("back", "attempts?status=5xx")];
    let page = site.after("/admin/resend", &selected).await;
    assert!(page.contains("2 deliveries are due again."), "{page}");
    let none = site.after("/admin/resend", &[("back", "attempts")]).await;
    assert!(none.contains("Select at least one attempt."), "{none}");
    let away = site.form("/admin/resend", &[("attempt", &number), ("back", "//evil.test/")]).await;
    assert!(away.to.unwrap().starts_with("/admin/resend?note="));
}

#[tokio::test]
async fn a_key_is_generated_and_shown_once() {
    let (site, mut sink) = (Site::open().await, Sink::answering(200).await);
    let target = sink.url();
    let fields = [
        ("name", "keyed"),
        ("target", target.as_str()),
        ("event", "*"),
        ("enabled", "on"),
        ("generate.bearer_token", "on"),
        ("dialect", "standard-webhooks"),
        ("generate.signing_key", "on"),
    ];
    let answer = site.form("/admin/subscriptions", &fields).await;
    let to = answer.to.unwrap();
    let page = site.page(&to).await;
    let shown: Vec<_> = page.split("shown this once").skip(1).collect();
    assert_eq!(shown.len(), 2, "{page}");
    let key = |shown: &str| {
        shown.split("data-copy=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    };
    let (bearer, signing) = (key(shown[0]), key(shown[1]));
    assert!(bearer.len() == 64 && signing.starts_with("whsec_"), "{bearer} {signing}");
    for path in [to.as_str(), "/admin/subscriptions/keyed", "/admin/subscriptions/keyed/edit"] {
        let page = site.page(path).await;
        assert!(!page.contains(&bearer) && !page.contains(&signing), "{path}");
    }
    site.post("/api/events", json!({"type": "DailyEvent"})).await;
    assert_eq!(sink.next().await.header("authorization"), format!("Bearer {bearer}"));
    let rotated = site
        .after("/admin/subscriptions/keyed/rotate", &[("overlap", "1h"), ("generate", "on")])
        .await;
    assert!(rotated.contains("shown this once") && rotated.contains("whsec_"), "{rotated}");
    let neither = site.after("/admin/subscriptions/keyed/rotate", &[("overlap", "1h")]).await;
    assert!(neither.contains("There is no new key"), "{neither}");
}

#[tokio::test]
async fn a_sample_is_one_of_the_events_that_the_subscription_takes() {
    let (site, sink) = (Site::open().await, Sink::answering(200).await);
    let definition = json!({"name": "orders", "events": ["OrderEvent"], "target": sink.url()});
    site.post("/api/subscriptions", definition).await;
    let page = site.page("/admin/subscriptions/orders").await;
    let select = page.split("<select id=\"type\"").nth(1).unwrap();
    let first = select.split("<option value=\"").nth(1).unwrap();
    assert!(first.starts_with("OrderEvent\""), "{select}");
    assert_eq!(
        select.split("</select>").next().unwrap().matches("value=\"OrderEvent\"").count(),
        1
    );
}

#[tokio::test]
async fn a_live_list_sends_new_and_changed_rows_and_their_number_is_bounded() {
    let (site, sink) = (Site::open().await, Sink::answering(200).await);
    site.subscribe("one", &sink).await;
    let follow = async |path: &str| {
        site.client.get(format!("{}/admin/live/{path}", site.url)).send().await.unwrap()
    };
    let mut attempts = follow("attempts?q=live-1").await;
    assert_eq!(attempts.headers()["content-type"], "text/event-stream");
    let mut events = follow("events").await;
    site.post("/api/events", json!({"type": "OrderEvent", "id": "live-0"})).await;
    site.post("/api/events", json!({"type": "OrderEvent", "id": "live-1"})).await;
    let text = until(&mut attempts, "live%2D1").await;
    assert!(
        text.contains("event: rows\ndata: <tr id=\"attempt-") && !text.contains("live%2D0"),
        "{text}"
    );
    // The row comes again once its delivery has ended.
    until(&mut events, "1 delivered").await;

    let mut streams = vec![attempts, events];
    while streams.len() < 16 {
        let stream = follow("events").await;
        assert_eq!(stream.status(), 200);
        streams.push(stream);
    }
    let busy = follow("events").await;
    assert_eq!((busy.status().as_u16(), busy.headers().contains_key("retry-after")), (503, true));
    drop(streams);
    let free = async |path: &str| {
        let answer = async {
            loop {
                match follow(path).await.status().as_u16() {
                    503 => tokio::time::sleep(Duration::from_millis(20)).await,
                    status => return status,
                }
            }
        };
        tokio::time::timeout(PATIENCE, answer).await.expect("a place is free again")
    };
    assert_eq!(free("events").await, 200);
    assert_eq!(free("events?range=soon").await, 422);
}

/// What a stream sends until there is this text.
async fn until(stream: &mut reqwest::Response, text: &str) -> String {
    let mut sent = String::new();
    while !sent.contains(text) {
        let chunk = tokio::time::timeout(PATIENCE, stream.chunk()).await.expect(text).unwrap();
        sent.push_str(std::str::from_utf8(&chunk.expect(text)).unwrap());
    }
    sent
}

#[tokio::test]
async fn a_second_target_is_added_stopped_started_and_what_it_missed_is_sent_again() {
    let Some(browser) = Browser::open().await else { return };
    let (site, mut first, mut second) =
        (Site::open().await, Sink::answering(200).await, Sink::answering(200).await);
    site.subscribe("first", &first).await;

    browser.go(&site.url).await;
    browser.screenshot("bus-subscriptions", "h1").await;
    browser.click("a[href='new-subscription']").await;
    browser.fill("#name", "second").await;
    browser.fill("#target", &second.url()).await;
    browser.fill("#bearer_token", "k3y-lost").await;
    browser
        .run("document.querySelector('#retries').closest('details').open = true", json!([]))
        .await;
    browser.fill("#retries", "soon").await;
    browser.click("main form button.primary").await;
    browser.wait_for_text(".alert", "Retries").await;
    let focus = "return document.activeElement.id";
    assert_eq!(browser.run(focus, json!([])).await, "error", "the focus is on the error");
    browser.fill("#retries", "100ms, 200ms").await;
    // The key has to be entered again: the browser itself refuses the form without it.
    browser.click("main form button.primary").await;
    let missing = "return document.querySelector(':invalid:not(form, fieldset)').id";
    assert_eq!(browser.run(missing, json!([])).await, "bearer_token");
    browser.fill("#bearer_token", "k3y-of-the-second").await;
    browser.screenshot("bus-form", "h1").await;
    browser.click("main form button.primary").await;
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
    browser.click("tbody tr a[href^='attempts/']").await;
    browser.wait_for_text("main", "thank you").await;
    browser.wait_for_text("main", "****").await;
    browser.screenshot("bus-attempt", "h1").await;

    second.answer_from_now_on(200);
    while second.came().is_some() {}
    browser.click("nav a[href='resend']").await;
    browser.click("main form button").await;
    browser.wait_for_text("#preview", "1 delivery").await;
    browser.wait_for_text("main", "second-order").await;
    browser.screenshot("bus-preview", "h1").await;
    browser.click("section form button").await;
    browser.wait_for_text(".note", "1 delivery is due again").await;
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
    browser.go(&format!("{}/admin/publish", site.url)).await;
    browser.fill("#type", "OrderEvent").await;
    browser.fill("#id", id).await;
    browser.click("main form button.primary").await;
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

#[tokio::test]
async fn no_page_is_wider_than_a_phone_and_a_live_list_follows() {
    let Some(browser) = Browser::open().await else { return };
    let (site, sink) = (Site::open().await, Sink::answering(500).await);
    let long = "a-name-that-is-longer-than-any-phone.is_wide-and-has-no-space-in-it-at-all";
    site.subscribe(long, &sink).await;
    let id = "an-id-without-a-space-".repeat(6);
    let data = json!({"long": "x".repeat(400)});
    site.post("/api/events", json!({"type": "OrderEventOfOnesOwn", "id": id, "data": data})).await;
    let attempt = site.attempts("outcome=given_up", 1).await.remove(0);
    for width in [390, 320] {
        browser.resize(width).await;
        for path in [
            "subscriptions",
            "new-subscription",
            &format!("subscriptions/{long}"),
            &format!("subscriptions/{long}/edit"),
            &format!("subscriptions/{long}/delete"),
            "events",
            &format!("events/{id}"),
            "publish",
            "attempts",
            &format!("attempts/{}", attempt["id"]),
            "resend?preview=1",
            "attempts?status=9xx",
            "nope",
        ] {
            browser.go(&format!("{}/admin/{path}", site.url)).await;
            let wide = "return document.documentElement.scrollWidth";
            assert_eq!(browser.run(wide, json!([])).await, width, "{path}");
        }
    }
    browser.go(&format!("{}/admin/events", site.url)).await;
    let height = "return document.querySelector('tbody tr').offsetHeight";
    let height = browser.run(height, json!([])).await.as_i64().unwrap();
    assert!(height < 400, "a card of {height} px");

    browser.go(&format!("{}/admin/events?live=1", site.url)).await;
    browser.wait_for_text("#live-status", "Live").await;
    site.post("/api/events", json!({"type": "DailyEvent", "id": "fresh"})).await;
    browser.wait_for_text("tbody", "fresh").await;
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
