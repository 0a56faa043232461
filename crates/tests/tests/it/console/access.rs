//! Access to the console: who may see it, who may act, and from where.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use reqwest::Method;
use serde_json::Value;

use super::{PAGES, Site, shown};

#[tokio::test]
async fn without_a_login_every_page_answers_names_of_this_machine_only() {
    let site = Site::open().await;
    let paths = PAGES.map(|page| format!("/console{page}"));
    let others =
        ["/swagger/", "/openapi.json", "/metrics", "/console/style.css"].map(str::to_owned);
    for path in paths.iter().chain(&others) {
        let url = format!("http://{}{path}", site.receiver.address);
        let get = |host: &str| site.client.get(&url).header("host", host);
        assert_eq!(shown(get("localhost")).await.status, 200, "{path}");
        assert_eq!(shown(get("hooks.example.com")).await.status, 403, "{path}");
        assert_eq!(shown(get("127.0.0.1.example.com")).await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn forms_are_accepted_from_its_own_pages_only() {
    let site = Site::open().await;
    let id = site.deliver("OrderEvent", "1", "{}").await;
    site.until(id, "dead").await;
    let path = format!("/acts/now?kind=replay&number={id}");
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1"] {
        let request = site.request(Method::POST, &path).header("origin", origin);
        assert_eq!(shown(request).await.status, 403, "{origin}");
    }
    assert_eq!(shown(site.request(Method::POST, &path)).await.status, 403, "no origin");
    assert_eq!(site.json("/acts").await, serde_json::json!([]));
    assert_eq!(site.post(&path, "").await.status, 303);
}

#[tokio::test]
async fn every_answer_has_the_same_security_headers() {
    let site = Site::guarded().await;
    for path in ["", "/deliveries", "/nope", "/login", "/style.css", "/deliveries/1"] {
        let shown = site.get(path).await;
        let header = |name: &str| shown.headers[name].to_str().unwrap().to_owned();
        assert!(header("content-security-policy").starts_with("default-src 'none'"), "{path}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("x-frame-options"), "DENY", "{path}");
        assert_eq!(header("referrer-policy"), "same-origin", "{path}");
        let is_asset = path == "/style.css";
        assert_eq!(header("cache-control") == "no-store", !is_asset, "{path}");
    }
}

#[tokio::test]
async fn it_can_be_switched_off_and_has_an_address_of_its_own() {
    let off = Site::open_with("[console]\nenabled = false\n").await;
    assert_eq!(off.get("").await.status, 404);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let apart = Site::open_with(&format!("[console]\nlisten = \"{free}\"\n")).await;
    assert_eq!(apart.get("").await.status, 404, "it is not on the receiver's address");
    let own = apart.client.get(format!("http://{free}/console")).header("accept", "text/html");
    assert_eq!(shown(own).await.status, 200);
    let other = apart.client.get(format!("http://{free}/openapi.json"));
    assert_eq!(shown(other).await.status, 404, "nothing else is");
    let open = std::net::TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap();
    let far = Site::open_with(&format!("[console]\nlisten = \"{open}\"\n")).await;
    assert_eq!(far.get("").await.status, 404);
    let refused = far.client.get(format!("http://127.0.0.1:{}/console", open.port())).send().await;
    assert!(refused.is_err(), "without a password it is not served beyond loopback");
}

#[tokio::test]
async fn a_person_logs_in_goes_on_where_it_was_and_logs_out() {
    let mut site = Site::guarded().await;
    let asked = site.get("/deliveries?state=dead").await;
    assert_eq!(asked.status, 401);
    assert!(asked.text.contains("value=\"deliveries?state=dead\""), "{}", asked.text);
    let wrong = site.log_in("ann", "guess").await;
    assert_eq!(wrong.status, 401);
    assert!(wrong.text.contains("The password is wrong.") && wrong.text.contains("value=\"ann\""));
    let inside = site.log_in("ann", "do it").await;
    assert_eq!(inside.status, 303);
    let cookie = inside.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    let page = site.get("").await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("ann (operator)"));
    assert_eq!(site.post("/logout", "").await.status, 303);
    assert_eq!(site.get("").await.status, 401, "the session has ended");
}

#[tokio::test]
async fn a_program_logs_in_with_each_request() {
    let site = Site::guarded().await;
    let get = || site.client.get(site.url("/deliveries")).header("accept", "application/json");
    let challenged = shown(get()).await;
    assert_eq!(challenged.status, 401);
    assert!(challenged.headers["www-authenticate"].to_str().unwrap().starts_with("Basic"));
    assert_eq!(shown(get().basic_auth("bot", Some("see"))).await.status, 200);
    assert_eq!(shown(get().basic_auth("bot", Some("no"))).await.status, 401);
}

#[tokio::test]
async fn guesses_are_limited() {
    let mut site = Site::guarded().await;
    let mut tries = 0;
    while site.log_in("eve", "guess").await.status == 401 {
        tries += 1;
        assert!(tries < 50, "nothing stops them");
    }
    let limited = site.log_in("eve", "do it").await;
    assert_eq!(limited.status, 429);
    assert!(limited.text.contains("too many attempts"), "{}", limited.text);
}

#[tokio::test]
async fn viewers_do_not_search_bodies_which_hold_what_is_redacted() {
    let mut site = Site::guarded().await;
    site.deliver("OrderEvent", "1", r#"{"OrderId":1,"CardNumber":"4111"}"#).await;
    for (password, status) in [("see", 400), ("do it", 200)] {
        site.log_in("ann", password).await;
        for query in ["text=4111", "member=%2FCardNumber&value=4111"] {
            let get = site.request(Method::GET, &format!("/deliveries?{query}"));
            assert_eq!(
                shown(get.header("accept", "application/json")).await.status,
                status,
                "{query}"
            );
        }
    }
}

/// What a person can change, and the record of it.
async fn snapshot(site: &Site) -> Vec<Value> {
    let mut parts = Vec::new();
    for path in ["/deliveries?limit=1000", "/acts", "/dispatch"] {
        parts.push(site.json(path).await);
    }
    parts
}

#[tokio::test]
async fn no_request_of_a_viewer_changes_anything() {
    let mut site = Site::guarded().await;
    let dead = site.deliver("OrderEvent", "dead", "{}").await;
    let unrouted = site.deliver("NoSuchEvent", "unrouted", "{}").await;
    site.log_in("ann", "see").await;
    site.until(dead, "dead").await;
    let before = snapshot(&site).await;
    let paths = [
        format!("/acts/now?kind=replay&number={dead}"),
        format!("/acts/now?kind=discard&number={dead},{unrouted}"),
        format!("/acts/new?kind=replay&id={dead}"),
        "/acts".into(),
        "/acts/1/cancel".into(),
        "/dispatch/pause".into(),
        "/dispatch/resume".into(),
        "/retention".into(),
        format!("/deliveries/{dead}/reveal"),
        format!("/deliveries/{dead}"),
        "/sources/live/canary".into(),
        "/deliveries".into(),
        "".into(),
    ];
    let path = prop::sample::select(paths.to_vec());
    let method =
        prop::sample::select(vec!["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]);
    let pair = prop_oneof![
        Just("kind=replay".to_owned()),
        Just("all=1".to_owned()),
        Just(format!("id={dead}")),
        Just("filter.state=dead".to_owned()),
        Just("state=dead&age=0s".to_owned()),
        Just("reason=x".to_owned()),
        Just("as=download".to_owned()),
        "[a-z=&%]{0,12}",
    ];
    let form = prop::collection::vec(pair, 0..4).prop_map(|pairs| pairs.join("&"));
    let own = prop::bool::ANY;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..200 {
        let case = (path.clone(), method.clone(), form.clone(), own).new_tree(&mut runner).unwrap();
        let (path, method, form, is_own) = case.current();
        let mut request =
            site.request(method.parse().unwrap(), &path).header("accept", "text/html");
        if is_own {
            request = request.header("origin", format!("http://{}", site.receiver.address));
        }
        let request =
            request.header("content-type", "application/x-www-form-urlencoded").body(form.clone());
        let answer = shown(request).await;
        assert!(answer.status < 500, "{method} {path} {form}: {}", answer.status);
        if !matches!(method, "GET" | "HEAD" | "OPTIONS") {
            assert!(
                matches!(answer.status, 403..=405),
                "{method} {path} {form}: {}",
                answer.status
            );
        }
    }
    assert_eq!(snapshot(&site).await, before);
}
