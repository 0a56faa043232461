//! Process Hooks through real HTTP: the three patterns, every failure of a callback, and what is left in the log of calls.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use contract::catalog::Catalog;
use contract::event::{Delivery, Id, Json, Outcome};
use contract::hook::{Hook, HookCall, HookFailure, HookOutcome, RemoteError};
use inbox::HookEntry;
use receiver::ingress::page::PageUser;
use receiver::serve::Fork;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use utoipa::ToSchema;
use vendors::directscale::daily::DailyEvent;

use crate::harness::client::Request;
use crate::harness::receiver::{KEY, Receiver, STAGE_KEY};
use crate::harness::vendor::{Reply, VENDOR_KEY, Vendor};

/// What is to be done.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Act {
    act: String,
    note: Option<String>,
}

/// What was done.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Done {
    number: Id,
    note: Option<String>,
}

/// Something is to be done as it is told.
#[derive(ToSchema)]
struct Acting;

impl Hook for Acting {
    const ID: &'static str = "Tests.Act";
    const ALIASES: &'static [&'static str] = &["Test.Act"];
    type Request = Act;
    type Response = Done;

    fn example() -> &'static str {
        r#"{"Act":"before"}"#
    }

    fn example_response() -> &'static str {
        r#"{"Number":1}"#
    }
}

/// A hook of autoships.
#[derive(ToSchema)]
struct Skipping;

impl Hook for Skipping {
    const ID: &'static str = "Autoships.Skip";
    type Request = Json;
    type Response = Json;

    fn example() -> &'static str {
        "{}"
    }

    fn example_response() -> &'static str {
        "{}"
    }
}

/// The fork's context: a gate for handlers that wait, and a bell that they ring before it.
#[derive(Clone)]
struct Gate {
    open: Arc<Semaphore>,
    arrived: Arc<Semaphore>,
}

async fn act(gate: Gate, call: HookCall<Acting>) -> HookOutcome<Acting> {
    match call.request.act.as_str() {
        "before" => {
            let mut request = call.request;
            request.note = Some("changed before".into());
            Ok(call.callback.proceed(request).await?)
        }
        "after" => {
            let mut response = call.callback.proceed(call.request).await?;
            response.note = Some("changed after".into());
            Ok(response)
        }
        "override" => Ok(Done { number: 7.into(), note: None }.into()),
        "tell" => Err(HookFailure::user_message("Sold out.")),
        "fail" => Err(anyhow::anyhow!("the pool is empty").into()),
        "panic" => panic!("at the disco"),
        "wait" => {
            gate.arrived.add_permits(1);
            gate.open.acquire().await?.forget();
            Ok(Done { number: 8.into(), note: None }.into())
        }
        other => unreachable!("{other}"),
    }
}

async fn skip(_: Gate, call: HookCall<Skipping>) -> HookOutcome<Skipping> {
    Ok(call.callback.proceed(call.request).await?)
}

async fn daily(_: Gate, _: Delivery<DailyEvent>) -> Outcome {
    Ok(())
}

async fn page(user: PageUser) -> String {
    format!("{} of {} in {}", user.name, user.source, user.environment)
}

/// A live source whose hooks call `vendor` back, with `more` settings, and a stage source without hooks.
async fn start(vendor: &str, more: &str) -> (Receiver, Gate) {
    let settings = format!(
        "[sources.live]\ndialect = \"directscale\"\nbearer_tokens = [\"{KEY}\"]\n\
         [sources.live.hooks]\ncallback_url = \"{vendor}\"\ncallback_key = \"{VENDOR_KEY}\"\npages = \"/pages\"\n{more}\n\
         [sources.stage]\ndialect = \"directscale\"\nenvironment = \"stage\"\npath = \"/stage/api/webhooks\"\n\
         bearer_tokens = [\"{STAGE_KEY}\"]\n"
    );
    let closed = || Arc::new(Semaphore::new(0));
    let gate = Gate { open: closed(), arrived: closed() };
    let catalog = Catalog::new().on(daily).hook(act).hook(skip);
    let pages = Router::new().route("/who", get(page));
    let fork = Fork { handlers: catalog.bind(&gate).unwrap(), pages, console: None };
    (Receiver::start_fork(tempfile::tempdir().unwrap(), &settings, fork).await, gate)
}

/// A call as the vendor makes it.
fn call(path: &str, body: &str) -> Request {
    Request::post(path, body)
        .set("Content-Type", "application/json")
        .bearer(KEY)
        .set("X-DirectScale-CallbackToken", "token-1")
}

fn acting(act: &str) -> Request {
    call("/api/hooks/Tests.Act", &format!(r#"{{"Act":"{act}"}}"#))
}

fn error(body: &[u8]) -> (String, String) {
    let error: RemoteError = serde_json::from_slice(body).unwrap();
    let error = error.disco_remote_exception;
    assert_eq!((error.remote_stack_trace.len(), error.internal_stack_trace.as_str()), (0, ""));
    (error.error_id, error.error_message)
}

/// The calls in the order in which they came.
async fn calls(receiver: Receiver) -> Vec<HookEntry> {
    let mut calls = receiver.stop().await.calls().await;
    calls.reverse();
    calls
}

#[tokio::test]
async fn a_before_hook_changes_the_request_and_returns_what_the_vendors_logic_answers() {
    let vendor = Vendor::start(Reply::Says(200, r#"{"Number":5,"Later":1.50}"#)).await;
    let (receiver, _) = start(&vendor.url, "").await;
    let body = r#"{"act":"before","Amount":12345678901234567.890,"Lines":[{"X":1e400}]}"#;
    let request = call("/api/hooks", body)
        .set("X-DirectScale-RequestName", "tests.act")
        .set("X-DirectScale-User", "jsmith");
    let answer = receiver.send(&request).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    assert_eq!(answer.body.escape_ascii().to_string(), r#"{\"Number\":5,\"Later\":1.50}"#);
    let [asked] = vendor.asked().try_into().unwrap();
    assert!(asked.head.starts_with("POST /api/extension/hooks/Tests.Act HTTP/1.1"), "{asked:?}");
    assert_eq!(asked.header("x-directscale-callbacktoken"), Some("token-1"));
    assert_eq!(asked.header("authorization"), Some(&*format!("Bearer {VENDOR_KEY}")));
    assert_eq!(asked.header("x-directscale-user"), Some("jsmith"));
    assert_eq!(asked.header("content-type"), Some("application/json"));
    let expected = r#"{"Act":"before","Note":"changed before","Amount":12345678901234567.890,"Lines":[{"X":1e400}]}"#;
    assert_eq!(asked.body, expected);
}

#[tokio::test]
async fn an_after_hook_changes_the_response() {
    let vendor = Vendor::start(Reply::Says(200, r#"{"Number":"5","Later":true}"#)).await;
    let (receiver, _) = start(&vendor.url, "").await;
    let answer = receiver.send(&acting("after")).await;
    assert_eq!(answer.json().to_string(), r#"{"Number":"5","Note":"changed after","Later":true}"#);
    assert_eq!(vendor.asked()[0].header("x-directscale-user"), None);
}

#[tokio::test]
async fn a_hook_is_called_back_under_the_id_by_which_it_was_called() {
    let vendor = Vendor::start(Reply::Says(200, r#"{"Number":5}"#)).await;
    let (receiver, _) = start(&vendor.url, "").await;
    for (called, back) in [("tests.ACT", "Tests.Act"), ("test.act", "Test.Act")] {
        let path = format!("/api/hooks/{called}");
        assert_eq!(receiver.send(&call(&path, r#"{"Act":"after"}"#)).await.status, 200);
        let head = vendor.asked().pop().unwrap().head;
        assert!(head.starts_with(&format!("POST /api/extension/hooks/{back} ")), "{head}");
    }
    assert!(calls(receiver).await.iter().all(|call| call.record.hook == "Tests.Act"));
}

#[tokio::test]
async fn an_autoships_hook_is_taken_in_both_of_the_vendors_spellings() {
    let vendor = Vendor::start(Reply::Echo).await;
    let (receiver, _) = start(&vendor.url, "").await;
    let id = |hook: &str, known: &str| (hook.to_owned(), known.to_owned());
    let mut recorded = Vec::new();
    for (path, header, back, kept) in [
        ("/autoship.SKIP", None, "Autoship.Skip", id("Autoships.Skip", "answered")),
        ("/Autoships.Skip", None, "Autoships.Skip", id("Autoships.Skip", "answered")),
        ("", Some("AUTOSHIP.skip"), "Autoship.Skip", id("Autoships.Skip", "answered")),
        (
            "/Autoship.Skip",
            Some("Autoships.Skip"),
            "Autoships.Skip",
            id("Autoships.Skip", "answered"),
        ),
        // One that nobody has described: of two spellings, the header's is the vendor's.
        (
            "/Autoship.New",
            Some("Autoships.New"),
            "Autoships.New",
            id("Autoships.New", "passed-through"),
        ),
        ("/Autoship.New", None, "Autoship.New", id("Autoship.New", "passed-through")),
    ] {
        let request = call(&format!("/api/hooks{path}"), "{\"A\":1}");
        let request = match header {
            Some(name) => request.set("X-DirectScale-RequestName", name),
            None => request,
        };
        assert_eq!(receiver.send(&request).await.json().to_string(), "{\"A\":1}", "{path}");
        let head = vendor.asked().pop().unwrap().head;
        assert!(head.starts_with(&format!("POST /api/extension/hooks/{back} ")), "{head}");
        recorded.push(kept);
    }
    let calls = calls(receiver).await.into_iter();
    let calls: Vec<_> = calls.map(|it| (it.record.hook, it.record.outcome.to_string())).collect();
    assert_eq!(calls, recorded);
}

#[tokio::test]
async fn the_url_layout_of_the_vendors_sample_is_taken_by_the_header() {
    let vendor = Vendor::start(Reply::Echo).await;
    let (receiver, _) = start(&vendor.url, "").await;
    for path in ["/api/hooks/TestHooks/ActHook", "/API/v1/Hooks/TestHooksGeneric/Act/"] {
        let request = call(path, r#"{"Act":"override"}"#);
        let answer =
            receiver.send(&request.clone().set("X-DirectScale-RequestName", "Tests.Act")).await;
        assert_eq!(answer.json().to_string(), r#"{"Number":7}"#, "{path}");
        let said = receiver.send(&request).await.problem(400, "bad-request").unwrap();
        assert!(
            said.contains("ends in the hook's id, e.g. /api/hooks/Autoships.CreateAutoship"),
            "{said}"
        );
        receiver.send(&request.without("Authorization")).await.problem(401, "unauthorized");
    }
    receiver.send(&call("/api/hooks/a/b/c", "{}")).await.problem(404, "not-found");
    assert!(vendor.asked().is_empty());
}

#[tokio::test]
async fn an_override_hook_never_calls_back() {
    let vendor = Vendor::start(Reply::Echo).await;
    let (receiver, _) = start(&vendor.url, "").await;
    for path in ["/api/hooks/Tests.Act", "/API/Hooks/test.act", "/api/v1/hooks/Tests.Act/"] {
        let answer = receiver.send(&call(path, r#"{"Act":"override"}"#)).await;
        assert_eq!(answer.json().to_string(), r#"{"Number":7}"#, "{path}");
    }
    assert!(vendor.asked().is_empty());
}

#[tokio::test]
async fn what_the_vendors_logic_answers_with_500_is_handed_on_byte_for_byte() {
    let body = r#"{ "DiscoRemoteException": {"ErrorId":"abc","ErrorMessage":"No.","X":1.0} }"#;
    let vendor = Vendor::start(Reply::Says(500, body)).await;
    let (receiver, _) = start(&vendor.url, "").await;
    for request in [acting("before"), call("/api/hooks/Some.Other", "{}")] {
        let answer = receiver.send(&request).await;
        assert_eq!((answer.status, answer.body.as_slice()), (500, body.as_bytes()));
        assert_eq!(answer.header("content-type"), "application/json");
    }
    let outcomes: Vec<_> = calls(receiver).await.into_iter().map(|c| c.record.outcome).collect();
    assert_eq!(outcomes, ["vendor-error", "vendor-error"]);
}

#[tokio::test]
async fn every_other_failure_of_a_callback_is_told_by_an_id_and_explained_in_the_log() {
    let closed = "http://127.0.0.1:1";
    for (reply, reason) in [
        (Some(Reply::Says(401, "{}")), "refused with 401"),
        (Some(Reply::Says(403, "{}")), "refused with 403"),
        (Some(Reply::Says(302, "")), "302, a redirect"),
        (Some(Reply::Says(404, "<html>")), "was answered 404"),
        (Some(Reply::Says(204, "")), "was answered 204"),
        (Some(Reply::Says(200, "<html>")), "not the hook's response"),
        (Some(Reply::Says(200, "")), "not the hook's response"),
        (Some(Reply::Says(200, r#"{"OrderNumber":1}"#)), "missing field `Number`"),
        (Some(Reply::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"Num")), "failed"),
        (Some(Reply::Bytes(b"not HTTP\r\n\r\n")), "failed"),
        (Some(Reply::Bytes(b"")), "failed"),
        (None, "cannot connect"),
    ] {
        let vendor = match reply {
            Some(reply) => Some(Vendor::start(reply).await),
            None => None,
        };
        let url = vendor.as_ref().map_or(closed, |vendor| &vendor.url);
        let (receiver, _) = start(url, "").await;
        let answer = receiver.send(&acting("after")).await;
        assert_eq!(answer.status, 500, "{reason}");
        let (id, message) = error(&answer.body);
        assert_eq!(message, format!("The hook has failed. (Error Id: {id})"));
        // One attempt only: the token is used up.
        assert!(vendor.as_ref().is_none_or(|vendor| vendor.asked().len() == 1), "{reason}");
        let [call] = calls(receiver).await.try_into().unwrap();
        assert_eq!(call.record.error_id, Some(id));
        let told = call.record.error.unwrap();
        assert!(told.contains(reason), "{told}");
        assert_eq!(call.record.outcome, "failed");
        assert!(
            call.record.callback.unwrap().error.is_some()
                || reason.contains("hook's response")
                || reason.contains("missing")
        );
    }
}

#[tokio::test]
async fn a_silent_vendor_costs_no_more_than_the_deadline() {
    let vendor = Vendor::start(Reply::Silence).await;
    let (receiver, _) = start(&vendor.url, "deadline = \"100ms\"").await;
    for request in [acting("before"), acting("wait"), call("/api/hooks/Some.Other", "{}")] {
        let answer = receiver.send(&request).await;
        assert_eq!(answer.status, 500);
        assert!(error(&answer.body).1.starts_with("The hook has failed."));
    }
    for call in calls(receiver).await {
        assert_eq!(call.record.outcome, "timed-out");
        assert!(call.record.took >= Duration::from_millis(100), "{:?}", call.record.took);
    }
}

#[tokio::test]
async fn a_handler_tells_fails_or_panics_in_the_vendors_own_shape() {
    let (receiver, _) = start("http://127.0.0.1:1", "").await;
    for (act, said) in
        [("tell", "Sold out."), ("fail", "The hook has failed."), ("panic", "The hook has failed.")]
    {
        let answer = receiver.send(&acting(act)).await;
        let (id, message) = error(&answer.body);
        assert_eq!((answer.status, message), (500, format!("{said} (Error Id: {id})")));
    }
    let calls = calls(receiver).await;
    let said: Vec<_> =
        calls.iter().map(|c| (&*c.record.outcome, c.record.error.as_deref().unwrap())).collect();
    assert_eq!(said[0].0, "told");
    assert_eq!(said[1], ("failed", "the pool is empty"));
    assert_eq!(said[2], ("panicked", "the handler panicked: at the disco"));
}

#[tokio::test]
async fn what_is_no_call_is_refused_with_its_reason() {
    let vendor = Vendor::start(Reply::Echo).await;
    let (receiver, _) = start(&vendor.url, "").await;
    let other = acting("override").set("X-DirectScale-RequestName", "Orders.SubmitOrder");
    let twice = acting("override").add("X-DirectScale-CallbackToken", "token-2");
    for (request, status, kind, detail) in [
        (
            acting("override").without("X-DirectScale-CallbackToken"),
            400,
            "bad-request",
            "CallbackToken is missing",
        ),
        (
            acting("override").set("X-DirectScale-CallbackToken", " "),
            400,
            "bad-request",
            "CallbackToken is missing",
        ),
        (twice, 400, "bad-request", "repeated"),
        (other, 400, "bad-request", "the path names the hook \"Tests.Act\", but"),
        (call("/api/hooks", "{}"), 400, "bad-request", "neither the path nor"),
        (call("/api/hooks/a%2Fb", "{}"), 400, "bad-request", "letters, digits"),
        (call("/api/hooks/..", "{}"), 400, "bad-request", "letters, digits"),
        (call("/api/hooks/Tests.Act", "{"), 400, "bad-request", "not JSON"),
        (call("/api/hooks/Some.Other", "{"), 400, "bad-request", "not JSON"),
        (
            call("/api/hooks/Some.Other", b"\"\xff\"".escape_ascii().to_string().as_str()),
            400,
            "bad-request",
            "not JSON",
        ),
        (
            acting("override").set("Content-Type", "text/plain"),
            415,
            "unsupported-media-type",
            "application/json",
        ),
        (acting("override").without("Authorization"), 401, "unauthorized", ""),
        (acting("override").bearer(STAGE_KEY), 401, "unauthorized", ""),
        (acting("override").bearer(VENDOR_KEY), 401, "unauthorized", ""),
        (acting("override").method("GET"), 405, "method-not-allowed", ""),
        (call("/stage/api/hooks/Tests.Act", "{}"), 404, "not-found", ""),
    ] {
        let answer = receiver.send(&request).await;
        let said = answer.problem(status, kind).unwrap_or_default();
        assert!(said.contains(detail), "{said}");
    }
    assert!(vendor.asked().is_empty());
}

#[tokio::test]
async fn a_body_that_is_not_the_model_is_the_hooks_failure_and_says_where() {
    let (receiver, _) = start("http://127.0.0.1:1", "").await;
    let answer = receiver.send(&call("/api/hooks/Tests.Act", r#"{"Act":["4111"]}"#)).await;
    assert_eq!(answer.status, 500);
    assert!(error(&answer.body).1.starts_with("The hook could not read the request."));
    let [call] = calls(receiver).await.try_into().unwrap();
    assert_eq!(call.record.outcome, "unreadable");
    let told = call.record.error.unwrap();
    assert!(told.contains("(at Act)") && !told.contains("4111"), "{told}");
}

#[tokio::test]
async fn a_hook_that_nobody_takes_is_the_vendors_own_logic_byte_for_byte() {
    let vendor = Vendor::start(Reply::Echo).await;
    let (receiver, _) = start(&vendor.url, "").await;
    let body = "{ \"A\" : 1.00,\n\"A\":2 }";
    let request = call("/api/hooks", body).set("X-DirectScale-RequestName", "Orders.Some_Hook-2");
    let answer = receiver.send(&request).await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, body.as_bytes()));
    let [asked] = vendor.asked().try_into().unwrap();
    assert!(asked.head.starts_with("POST /api/extension/hooks/Orders.Some_Hook-2 "), "{asked:?}");
    let [call] = calls(receiver).await.try_into().unwrap();
    assert_eq!(
        (call.record.hook.as_str(), &*call.record.outcome),
        ("Orders.Some_Hook-2", "passed-through")
    );
}

#[tokio::test]
async fn a_hook_that_nobody_takes_is_refused_if_the_settings_say_so() {
    let (receiver, _) = start("http://127.0.0.1:1", "unhandled = \"refuse\"").await;
    let answer = receiver.send(&call("/api/hooks/Some.Other", "{}")).await;
    answer.problem(501, "not-implemented");
    assert_eq!(receiver.send(&acting("override")).await.status, 200);
}

#[tokio::test]
async fn bodies_are_kept_only_if_the_settings_say_so_and_without_what_pays() {
    let vendor = Vendor::start(Reply::Says(200, r#"{"Number":5,"Password":"p4ss"}"#)).await;
    for (more, kept) in [("", false), ("record_bodies = true", true)] {
        let (receiver, _) = start(&vendor.url, more).await;
        let body = r#"{"Act":"before","PaymentMethodId":"_TESTCARD"}"#;
        assert_eq!(receiver.send(&call("/api/hooks/Tests.Act", body)).await.status, 200);
        let stopped = receiver.stop().await;
        let [call] = stopped.calls().await.try_into().unwrap();
        assert!(call.record.callback.as_ref().is_some_and(|callback| callback.error.is_none()));
        let bodies = stopped.call(call.id).await.record.bodies;
        assert_eq!(bodies.is_some(), kept);
        let shown = format!("{bodies:?}");
        assert!(!shown.contains("_TESTCARD") && !shown.contains("p4ss"), "{shown}");
        assert!(!kept || shown.contains("changed before"), "{shown}");
    }
}

#[tokio::test]
async fn more_calls_than_may_be_open_are_told_to_come_again_and_events_are_not_delayed() {
    let (receiver, gate) = start("http://127.0.0.1:1", "concurrency = 2").await;
    let waiting = [acting("wait"), acting("wait")].map(|request| {
        let address = receiver.address.clone();
        tokio::spawn(async move { request.send(&address).await })
    });
    gate.arrived.acquire_many(2).await.unwrap().forget();
    let turned_away = receiver.send(&acting("override")).await;
    turned_away.problem(503, "unavailable");
    assert!(!turned_away.header("retry-after").is_empty());
    receiver.send(&Request::live("/api/webhooks/DailyEvent", "{}").id("m-1")).await.kept();
    gate.open.add_permits(2);
    for call in waiting {
        assert_eq!(call.await.unwrap().json().to_string(), r#"{"Number":8}"#);
    }
}

#[tokio::test]
async fn a_stop_waits_for_calls_in_flight_also_for_those_whose_caller_has_hung_up() {
    let (receiver, gate) = start("http://127.0.0.1:1", "").await;
    let mut gone = TcpStream::connect(&receiver.address).await.unwrap();
    gone.write_all(&acting("wait").bytes()).await.unwrap();
    let address = receiver.address.clone();
    let waiting = tokio::spawn(async move { acting("wait").send(&address).await });
    gate.arrived.acquire_many(2).await.unwrap().forget();
    drop(gone);
    // By the time that another connection is answered, the end of this one has been seen.
    assert_eq!(receiver.send(&acting("override")).await.status, 200);
    let stopping = tokio::spawn(calls(receiver));
    gate.open.add_permits(2);
    assert_eq!(waiting.await.unwrap().status, 200);
    let mut outcomes: Vec<_> =
        stopping.await.unwrap().into_iter().map(|call| call.record.outcome).collect();
    outcomes.sort_unstable();
    // One that has gone looks like one that has ended its own side and waits for the answer, until it does not take it.
    assert_eq!(outcomes, ["answered", "answered", "answered"]);
}

#[tokio::test]
async fn calls_are_counted_under_the_catalogs_ids_only() {
    let vendor = Vendor::start(Reply::Echo).await;
    let (receiver, _) = start(&vendor.url, "").await;
    receiver.send(&acting("override")).await;
    receiver.send(&call("/api/hooks/Made.Up", "{}")).await;
    let metrics = String::from_utf8(receiver.send(&Request::get("/metrics")).await.body).unwrap();
    assert!(
        metrics.contains(r#"webhook_hook_calls_total{hook="Tests.Act",outcome="answered"} 1"#),
        "{metrics}"
    );
    assert!(
        metrics.contains(r#"webhook_hook_calls_total{hook="",outcome="passed-through"} 1"#),
        "{metrics}"
    );
    assert!(!metrics.contains("Made.Up"), "{metrics}");
    assert!(!metrics.contains("webhook_deliveries_total{"), "{metrics}");
}

#[tokio::test]
async fn a_page_lets_in_whom_the_vendor_names_in_either_shape() {
    for said in [r#""jsmith""#, r#"{"username":"jsmith"}"#] {
        let vendor = Vendor::start(Reply::Says(200, said)).await;
        let (receiver, _) = start(&vendor.url, "").await;
        let answer =
            receiver.send(&Request::get("/pages/who?pageId=Who&pageToken=a%2Fb-c+d")).await;
        assert_eq!(answer.body.escape_ascii().to_string(), "jsmith of live in live");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert_eq!(
            answer.header("content-security-policy"),
            format!("frame-ancestors {}", vendor.url)
        );
        let [asked] = vendor.asked().try_into().unwrap();
        assert!(asked.head.starts_with("POST /api/extension/pages/ValidateToken "), "{asked:?}");
        assert_eq!(asked.header("authorization"), Some(&*format!("Bearer {VENDOR_KEY}")));
        assert_eq!(asked.body, r#"{"Token":"a/b-c+d","PageName":"Who"}"#);
    }
}

#[tokio::test]
async fn a_page_lets_nobody_in_whom_the_vendor_does_not_name() {
    for (reply, status, kind) in [
        (Reply::Says(401, "{}"), 401, "unauthorized"),
        (Reply::Says(404, ""), 401, "unauthorized"),
        (Reply::Says(500, "{}"), 503, "unavailable"),
        (Reply::Says(200, "null"), 503, "unavailable"),
        (Reply::Says(302, ""), 503, "unavailable"),
        (Reply::Bytes(b""), 503, "unavailable"),
    ] {
        let vendor = Vendor::start(reply).await;
        let (receiver, _) = start(&vendor.url, "").await;
        let answer = receiver.send(&Request::get("/pages/who?pageId=Who&pageToken=t")).await;
        answer.problem(status, kind);
        for query in ["", "?pageId=Who", "?pageToken=t", "?pageId=&pageToken=t"] {
            let answer = receiver.send(&Request::get(&format!("/pages/who{query}"))).await;
            answer.problem(400, "bad-request");
        }
        assert_eq!(vendor.asked().len(), 1);
    }
}

fn gzip(text: &str) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// A vendor that answers 200 with these header lines, whatever it is asked.
async fn vendor_with(header: &str, body: &[u8]) -> Vendor {
    vendor_says("200 OK", header, body).await
}

async fn vendor_says(status: &str, header: &str, body: &[u8]) -> Vendor {
    let head = format!("HTTP/1.1 {status}\r\n{header}Content-Length: {}\r\n\r\n", body.len());
    Vendor::start(Reply::Bytes(Vec::leak([head.as_bytes(), body].concat()))).await
}

#[tokio::test]
async fn an_answer_that_is_passed_through_keeps_its_type_and_its_coding() {
    let packed = gzip("{\"Number\":5}");
    let header = "Content-Type: application/json; charset=utf-8\r\nContent-Encoding: gzip\r\n";
    let vendor = vendor_with(header, &packed).await;
    let (receiver, _) = start(&vendor.url, "record_bodies = true").await;
    let answer = receiver.send(&call("/api/hooks/Made.Up", "{}")).await;
    assert_eq!((answer.status, &answer.body), (200, &packed));
    assert_eq!(answer.header("content-encoding"), "gzip");
    assert_eq!(answer.header("content-type"), "application/json; charset=utf-8");
    let [asked] = vendor.asked().try_into().unwrap();
    assert_eq!(asked.header("accept-encoding"), Some("identity"));
    let stopped = receiver.stop().await;
    let [call] = stopped.calls().await.try_into().unwrap();
    let bodies = stopped.call(call.id).await.record.bodies.unwrap();
    assert_eq!(bodies.response.unwrap(), "{\"Number\":5}", "it is kept readably");
    assert_eq!(bodies.callback_response.unwrap(), "{\"Number\":5}");
}

#[tokio::test]
async fn a_coding_that_nobody_here_knows_and_a_failures_coding_are_kept_too() {
    for (status, code, coding, body) in [
        ("200 OK", 200, "br", b"\x0b\x02\x80{\"Number\":5}\x03".to_vec()),
        ("200 OK", 200, "gzip, br", b"\xff".to_vec()),
        ("500 X", 500, "gzip", gzip("{\"DiscoRemoteException\":{}}")),
    ] {
        let header =
            format!("Content-Type: text/json; charset=utf-16\r\nContent-Encoding: {coding}\r\n");
        let vendor = vendor_says(status, &header, &body).await;
        let (receiver, _) = start(&vendor.url, "record_bodies = true").await;
        let answer = receiver.send(&call("/api/hooks/Made.Up", "{}")).await;
        assert_eq!((answer.status, &answer.body), (code, &body));
        assert_eq!(answer.header("content-encoding"), coding);
        assert_eq!(answer.header("content-type"), "text/json; charset=utf-16");
        receiver.stop().await;
    }
}

#[tokio::test]
async fn an_answer_that_a_handler_reads_is_unpacked_or_refused_with_words() {
    let vendor = vendor_with("Content-Encoding: x-gzip\r\n", &gzip("{\"Number\":5}")).await;
    let (receiver, _) = start(&vendor.url, "").await;
    let answer = receiver.send(&acting("after")).await;
    assert_eq!((answer.status, answer.header("content-encoding")), (200, ""));
    assert_eq!(answer.json()["Note"], "changed after");
    let vendor = vendor_with("Content-Encoding: br\r\n", b"{}").await;
    let (receiver, _) = start(&vendor.url, "").await;
    assert_eq!(receiver.send(&acting("after")).await.status, 500);
    let calls = calls(receiver).await;
    let reason = calls[0].record.error.as_deref().unwrap();
    assert!(reason.contains("cannot be unpacked: br"), "{reason}");
}

#[tokio::test]
async fn a_user_of_any_bytes_is_carried_as_it_came_and_shown_as_text() {
    let vendor = Vendor::start(Reply::Says(200, r#"{"Number":5}"#)).await;
    let (receiver, _) = start(&vendor.url, "").await;
    for name in [&b"Jos\xe9"[..], "Jos\u{e9}".as_bytes(), b"\xff\xfe"] {
        let request = acting("after").set("X-DirectScale-User", name);
        assert_eq!(receiver.send(&request).await.status, 200);
        let asked = vendor.asked();
        let carried: String = name.iter().copied().map(char::from).collect();
        assert_eq!(asked.last().unwrap().header("x-directscale-user"), Some(&*carried));
    }
    let users: Vec<_> = calls(receiver).await.into_iter().map(|call| call.record.user).collect();
    let shown = ["Jos\u{e9}", "Jos\u{e9}", "\u{ff}\u{fe}"];
    assert_eq!(users, shown.map(|user| Some(user.to_owned())));
}

#[tokio::test]
async fn a_kept_connection_that_the_vendor_closes_costs_no_call() {
    let vendor = Vendor::start(Reply::OnceEach(r#"{"Number":5}"#)).await;
    let (receiver, _) = start(&vendor.url, "").await;
    for _ in 0..4 {
        assert_eq!(receiver.send(&acting("after")).await.status, 200);
    }
    assert_eq!(vendor.asked().len(), 7, "all but the first are asked twice");
}
