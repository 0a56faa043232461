//! The emitter's hooks against a receiver in miniature: what arrives, how the vendor is played, and what is made of it.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::routing::post;
use contract::catalog::{Catalog, Table};
use contract::event::{Delivery, Outcome};
use contract::extension::ExtensionApi;
use contract::hook::{
    CallbackError, CallbackRequest, Hook, HookCall, HookOutcome, RemoteError, Vendor,
};
use emitter::hooks::{
    CallbackRefusal, HookPlan, HookReport, Logic, MockVendor, ServiceRecord, VendorBehaviour, call,
};
use emitter::{EmitArgs, RunOutcome, run};
use fixture::Context;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use settings::{Config, parse};
use source::{CallbackApi, PageError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::Instant;
use vendors::directscale::daily::DailyEvent;
use vendors::directscale::hooks::autoship::CreateAutoship;

use crate::harness::client::Request;
use crate::harness::emit::emit_args;
use crate::harness::receiver::Receiver;

const KEY: &str = "Ab!c@d%e$f^g&h";
const CALLBACK_KEY: &str = "lsinm1@jai$fj0sj!";
const REQUEST: &str = r#"{"Thing": {"Price": 1.50, "Field1": null}}"#;
const RESPONSE: &str = r#"{"ThingId": 1, "Total": 1.50}"#;
const IDS: [&str; 4] = ["Tests.Before", "Tests.After", "Tests.Override", "Tests.Twice"];

/// A thing is wanted.
#[derive(utoipa::ToSchema)]
struct Test<const N: usize>;

#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Asked {
    thing: Option<Thing>,
}

#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Thing {
    price: Option<f64>,
}

impl<const N: usize> Hook for Test<N> {
    const ID: &'static str = IDS[N];
    type Request = Asked;
    type Response = contract::event::Json;

    fn example() -> &'static str {
        REQUEST
    }

    fn example_response() -> &'static str {
        RESPONSE
    }
}

fn table() -> Arc<Table> {
    catalog().table().unwrap()
}

fn catalog() -> Catalog<()> {
    async fn proceed<const N: usize>(_: (), call: HookCall<Test<N>>) -> HookOutcome<Test<N>> {
        Ok(call.callback.proceed(call.request).await?)
    }
    Catalog::new().hook(proceed::<0>).hook(proceed::<1>).hook(proceed::<2>).hook(proceed::<3>)
}

/// Receives with these hooks; the vendor is expected at the address in the settings of the result.
async fn real_receiver<C>(catalog: Catalog<C>, context: C) -> (Receiver, Config)
where
    C: Clone + Send + Sync + 'static,
{
    let url = own_address();
    let text = format!(
        "[sources.one]\ndialect = \"directscale\"\nbearer_tokens = [\"{KEY}\"]\n\
         [sources.one.hooks]\ncallback_url = \"{url}\"\ncallback_key = \"{CALLBACK_KEY}\"\n"
    );
    let receiver = Receiver::start(&text, catalog, context).await;
    let config = with_callback(&receiver.address, &url);
    (receiver, config)
}

#[tokio::test]
async fn every_shipped_hook_leaves_its_example_and_the_vendors_response_as_they_are() {
    let (receiver, config) = real_receiver(fixture::catalog(), Context::default()).await;
    let catalog = fixture::table();
    let plan = HookPlan::new(&args(&["--all-hooks", "--user", "jo"]), &catalog, &config).unwrap();
    let report = call(&plan, std::future::pending()).await.unwrap();
    assert!(report.is_as_expected(), "{report}");
    let json: Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    for hook in json["hooks"].as_array().unwrap() {
        assert_eq!((&hook["before"], &hook["after"]), (&json!([]), &json!([])), "{hook}");
        assert_eq!(hook["callbacks"][0]["user"], "jo");
    }
    receiver.stop().await;
}

#[tokio::test]
async fn the_vendors_own_example_of_a_before_hook_shows_its_one_change() {
    async fn mark(_: (), mut call: HookCall<CreateAutoship>) -> HookOutcome<CreateAutoship> {
        let custom = call.request.autoship_info.custom.get_or_insert_default();
        custom.field1 = Some("seen".into());
        Ok(call.callback.proceed(call.request).await?)
    }
    let catalog = || Catalog::new().hook(mark);
    let (receiver, config) = real_receiver(catalog(), ()).await;
    let table = catalog().table().unwrap();
    let plan = HookPlan::new(&args(&["--hook", CreateAutoship::ID]), &table, &config).unwrap();
    let report = call(&plan, std::future::pending()).await.unwrap();
    let json: Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    let hook = &json["hooks"][0];
    assert_eq!(
        hook["before"],
        json!([{"path": "AutoshipInfo.Custom.Field1", "was": null, "is": "seen"}]),
        "{report}"
    );
    assert_eq!((&hook["after"], &hook["status"]), (&json!([]), &json!(200)));
    receiver.stop().await;
}

/// An address of this machine that nobody else has: of this process, and of this call.
fn own_address() -> String {
    static LAST: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    let ip = Ipv4Addr::new(127, high, low, LAST.fetch_add(1, Ordering::Relaxed));
    format!("http://{ip}:8090/corporate")
}

fn args(line: &[&str]) -> EmitArgs {
    emit_args([&["emit"], line].concat()).unwrap_or_else(|error| panic!("{error}"))
}

fn config(listen: &str, hooks: &str) -> Config {
    let text = format!(
        "listen = \"{listen}\"\n[sources.one]\ndialect = \"directscale\"\nbearer_tokens = [\"{KEY}\"]\n{hooks}"
    );
    parse(&text, [], "test").unwrap()
}

fn with_callback(listen: &str, url: &str) -> Config {
    config(
        listen,
        &format!(
            "[sources.one.hooks]\ncallback_url = \"{url}\"\ncallback_key = \"{CALLBACK_KEY}\"\n"
        ),
    )
}

/// A receiver in miniature and the settings that it has been given.
async fn receiver() -> Config {
    let url = own_address();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = listener.local_addr().unwrap().to_string();
    let vendor = api(&url, CALLBACK_KEY);
    let handler = move |Path(hook): Path<String>, headers: HeaderMap, body: Bytes| {
        let vendor = vendor.clone();
        async move { hooked(&vendor, &hook, &headers, body).await }
    };
    let app = Router::new().route("/api/hooks/{hook}", post(handler));
    tokio::spawn(async move { axum::serve(listener, app).await });
    with_callback(&listen, &url)
}

fn api(url: impl AsRef<str>, key: &str) -> CallbackApi {
    CallbackApi::new(url.as_ref().parse().unwrap(), &key.into()).unwrap()
}

async fn proceed(
    vendor: &CallbackApi,
    hook: &str,
    token: &str,
    body: impl Into<Bytes>,
) -> Result<Bytes, CallbackError> {
    let deadline = Instant::now() + Duration::from_secs(5);
    let (token, user) = (&HeaderValue::from_str(token).unwrap(), &HeaderValue::from_static("jo"));
    let (user, body) = (Some(user), body.into());
    let answer = vendor.run(CallbackRequest { hook, token, user, body, deadline }).await?;
    Ok(answer.body)
}

/// What the four hooks do.
async fn hooked(
    vendor: &CallbackApi,
    hook: &str,
    headers: &HeaderMap,
    body: Bytes,
) -> (StatusCode, Bytes) {
    assert_eq!(headers["x-directscale-requestname"], hook);
    if headers["authorization"] != format!("Bearer {KEY}") {
        return (StatusCode::UNAUTHORIZED, "{}".into());
    }
    let token = headers["x-directscale-callbacktoken"].to_str().unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    let answer = match hook {
        "Tests.Before" => proceed(vendor, hook, token, text.replace("null", r#""set""#)).await,
        "Tests.After" => proceed(vendor, hook, token, text).await.map(|_| r#"{"Total":2}"#.into()),
        "Tests.Override" => Ok(r#"{"ThingId":7}"#.into()),
        _ => {
            let first = proceed(vendor, hook, token, text.clone()).await;
            let second = proceed(vendor, hook, token, text).await;
            assert!(matches!(second, Err(CallbackError::Refused(401))), "{second:?}");
            first
        }
    };
    match answer {
        Ok(response) => (StatusCode::OK, response),
        Err(CallbackError::Vendor(answer)) => (StatusCode::INTERNAL_SERVER_ERROR, answer.body),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string().into()),
    }
}

async fn report(config: &Config, line: &[&str]) -> HookReport {
    let plan = HookPlan::new(&args(line), &table(), config).unwrap();
    call(&plan, std::future::pending()).await.unwrap()
}

async fn json_of(config: &Config, line: &[&str]) -> Value {
    let json = report(config, line).await.json().unwrap();
    serde_json::from_str(&json).unwrap()
}

fn refusal(config: &Config, line: &[&str]) -> String {
    format!("{:#}", HookPlan::new(&args(line), &table(), config).unwrap_err())
}

#[tokio::test]
async fn headers_and_bytes_of_a_call_are_the_vendors() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = with_callback(&listener.local_addr().unwrap().to_string(), &own_address());
    let request = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"}}") {
            assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
        String::from_utf8(bytes).unwrap()
    });
    let verdict = run(args(&["--hook", "tests.before"]), &table(), &config).await.unwrap();
    assert_eq!(verdict, RunOutcome::AsExpected);
    let request = request.await.unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let lines: Vec<&str> = head.lines().collect();
    assert_eq!(lines[0], "POST /api/hooks/Tests.Before HTTP/1.1");
    let authorization = format!("Authorization: Bearer {KEY}");
    for line in [
        "Content-Type: application/json",
        "X-DirectScale-RequestName: Tests.Before",
        &authorization,
    ] {
        assert!(lines.iter().any(|given| given.eq_ignore_ascii_case(line)), "{line}: {head}");
    }
    let head = head.to_lowercase();
    let token = head.split_once("x-directscale-callbacktoken: ").unwrap().1;
    let token = token.lines().next().unwrap();
    assert!(token.len() == 76 && token.chars().all(|c| c.is_ascii_hexdigit()), "{token}");
    for absent in ["x-directscale-user", "message-id", "client-id"] {
        assert!(!head.contains(absent), "{head}");
    }
    assert_eq!(body, REQUEST);
}

#[tokio::test]
async fn a_before_hooks_change_is_shown_and_the_new_id_comes_back() {
    let config = receiver().await;
    let report = report(&config, &["--hook", "Tests.Before"]).await;
    let json: Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    let hook = &json["hooks"][0];
    assert_eq!(
        hook["before"],
        json!([{"path": "Thing.Field1", "was": null, "is": "set"}]),
        "{json}"
    );
    assert_eq!((&hook["after"], &hook["status"]), (&json!([]), &json!(200)));
    assert_eq!(hook["answer"], json!({"ThingId": 1001, "Total": 1.5}));
    assert_eq!(hook["callbacks"][0]["user"], "jo");
    let text = anstream::adapter::strip_str(&report.to_string()).to_string();
    for part in [
        "callback POST api/extension/hooks/Tests.Before for jo",
        "  - Thing.Field1: null\n  + Thing.Field1: \"set\"\n",
        "after the callback: nothing changed",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn an_after_hooks_change_is_shown_digit_for_digit() {
    let config = receiver().await;
    let report = report(&config, &["--hook", "Tests.After"]).await.json().unwrap();
    let after = r#""before":[],"after":[{"path":"ThingId","was":1001,"is":null},{"path":"Total","was":1.50,"is":2}]"#;
    assert!(report.contains(after), "{report}");
}

#[tokio::test]
async fn an_override_is_said_not_to_have_used_its_callback() {
    let config = receiver().await;
    let report = report(&config, &["--hook", "Tests.Override"]).await;
    assert!(report.to_string().contains("override: the callback was not used"), "{report}");
    let json: Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    let hook = &json["hooks"][0];
    assert_eq!((&hook["before"], &hook["callbacks"]), (&Value::Null, &json!([])));
}

#[tokio::test]
async fn every_hook_of_the_catalog_is_called() {
    let config = receiver().await;
    let json = json_of(&config, &["--all-hooks"]).await;
    let ids: Vec<_> = json["hooks"].as_array().unwrap().iter().map(|hook| &hook["hook"]).collect();
    assert_eq!(ids, IDS);
    assert_eq!((&json["planned"], &json["as_expected"]), (&json!(4), &json!(4)));
}

#[tokio::test]
async fn a_second_use_of_a_token_is_refused_and_reported() {
    let config = receiver().await;
    let json = json_of(&config, &["--hook", "Tests.Twice"]).await;
    let callbacks = &json["hooks"][0]["callbacks"];
    assert_eq!(callbacks[0]["refusal"], Value::Null);
    assert_eq!(callbacks[1]["refusal"], "used-token");
    assert_eq!(callbacks[1]["response"]["error"], "used-token");
    assert_eq!(json["hooks"][0]["status"], 200);
}

#[tokio::test]
async fn an_expired_token_is_refused_and_the_call_counts_as_failed() {
    let config = receiver().await;
    let line = ["--hook", "Tests.Before", "--token-life", "0s"];
    let json = json_of(&config, &line).await;
    assert_eq!(json["hooks"][0]["callbacks"][0]["refusal"], "expired-token");
    assert_eq!(json["hooks"][0]["before"], Value::Null);
    assert_eq!(json["hooks"][0]["status"], 502);
    assert_eq!(run(args(&line), &table(), &config).await.unwrap(), RunOutcome::Unexpected);
}

#[tokio::test]
async fn the_vendors_error_body_comes_back_through_the_hook() {
    let config = receiver().await;
    let report = report(&config, &["--hook", "Tests.Before", "--answer", "error"]).await;
    assert!(!report.to_string().contains("--error-id"), "it is the vendor's own: {report}");
    let json: Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    let hook = &json["hooks"][0];
    assert_eq!((&hook["status"], &hook["after"]), (&json!(500), &json!([])));
    let error: RemoteError = serde_json::from_value(hook["answer"].clone()).unwrap();
    assert_eq!(error.disco_remote_exception.error_id.len(), 8);
}

#[tokio::test]
async fn an_error_is_not_compared_with_a_response() {
    let config = receiver().await;
    let report = report(&config, &["--hook", "Tests.Before", "--answer", "cut"]).await;
    let json: Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    assert_eq!(json["hooks"][0]["callbacks"][0]["status"], 200);
    assert_eq!(
        (&json["hooks"][0]["status"], &json["hooks"][0]["after"]),
        (&json!(502), &Value::Null)
    );
    assert!(report.to_string().contains("after the callback: nothing to compare"), "{report}");
}

#[tokio::test]
async fn a_given_response_is_answered_after_the_delay() {
    let config = receiver().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, r#"{"Total":1.00}"#).unwrap();
    let file = file.path().to_str().unwrap();
    let line = ["--hook", "Tests.Before", "--answer", file, "--delay", "30ms"];
    let report = report(&config, &line).await.json().unwrap();
    assert!(report.contains(r#""answer":{"Total":1.00}"#), "{report}");
    let report: Value = serde_json::from_str(&report).unwrap();
    assert!(report["hooks"][0]["took_ms"].as_f64().unwrap() >= 30.0, "{report}");
}

#[tokio::test]
async fn a_forged_call_must_be_refused() {
    let config = receiver().await;
    let line = ["--hook", "Tests.Override", "--tamper", "key"];
    let report = report(&config, &line).await;
    assert!(report.is_as_expected(), "{report}");
    let right = ["--hook", "Tests.Override"];
    assert_eq!(run(args(&right), &table(), &config).await.unwrap(), RunOutcome::AsExpected);
}

#[tokio::test]
async fn a_body_can_be_given_and_changed() {
    let config = receiver().await;
    let line = ["--hook", "Tests.Before", "--set", "Thing.Price=2.00", "--set", "New=1e400"];
    let report = report(&config, &line).await.json().unwrap();
    let request = r#""request":{"Thing":{"Price":2.00,"Field1":null},"New":1e400}"#;
    assert!(report.contains(request), "{report}");
}

#[tokio::test]
async fn a_receiver_that_is_not_there_is_reported_with_its_cause() {
    let config = with_callback("127.0.0.1:1", &own_address());
    let report = report(&config, &["--hook", "Tests.Before"]).await;
    assert!(report.to_string().contains("cannot connect"), "{report}");
    assert!(!report.is_as_expected());
}

#[tokio::test]
async fn a_stop_waits_for_the_call_on_its_way_and_begins_no_other() {
    let config = receiver().await;
    let plan = HookPlan::new(&args(&["--all-hooks"]), &table(), &config).unwrap();
    let report = call(&plan, std::future::ready(())).await.unwrap();
    let json: Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    assert_eq!((&json["planned"], &json["as_expected"]), (&json!(4), &json!(1)));
    assert!(!report.is_as_expected());
}

/// A hook that posts an event before it proceeds, and the event's handler.
fn posting() -> Catalog<ExtensionApi> {
    async fn post(api: ExtensionApi, call: HookCall<Test<0>>) -> HookOutcome<Test<0>> {
        api.post_event("DailyEvent", &json!({"Sum": 1})).await?;
        Ok(call.callback.proceed(call.request).await?)
    }
    async fn daily(_: ExtensionApi, _: Delivery<DailyEvent>) -> Outcome {
        Ok(())
    }
    Catalog::new().hook(post).on(daily)
}

/// A receiver with that hook, and the settings that it has.
async fn posting_receiver() -> (Receiver, Config) {
    let url = own_address();
    let extension = with_callback("127.0.0.1:1", &url).extension_client("one").unwrap();
    let text = format!(
        "[sources.one]\ndialect = \"directscale\"\nbearer_tokens = [\"{KEY}\"]\n\
         [sources.one.hooks]\ncallback_url = \"{url}\"\ncallback_key = \"{CALLBACK_KEY}\"\n"
    );
    let api = ExtensionApi::new(Arc::new(extension));
    let receiver = Receiver::start(&text, posting(), api).await;
    let config = with_callback(&receiver.address, &url);
    (receiver, config)
}

#[tokio::test]
async fn calls_of_services_are_shown_and_a_posted_event_is_delivered() {
    let (receiver, config) = posting_receiver().await;
    let report = report(&config, &["--hook", "Tests.Before"]).await;
    let json: Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    let [called] = &json["hooks"][0]["extension_calls"].as_array().unwrap()[..] else {
        panic!("one call: {json}")
    };
    assert_eq!(
        (&called["service"], &called["method"]),
        (&json!("EventService"), &json!("PostEvent"))
    );
    assert_eq!((&called["status"], &called["response"]), (&json!(200), &json!({})));
    assert_eq!((&called["request"]["Sum"], &called["delivered"]), (&json!(1), &json!(200)));
    let text = anstream::adapter::strip_str(&report.to_string()).to_string();
    for part in [
        "extension POST api/extension/services/EventService/v1/PostEvent\n{",
        "  extension call EventService.PostEvent: 200 OK; the event was delivered: 200 OK\n",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let [delivery] = receiver.finish().await.deliveries().await.try_into().unwrap();
    assert_eq!(delivery.entry.event_type, "DailyEvent");
    assert_eq!(serde_json::from_slice::<Value>(&delivery.body).unwrap()["Sum"], 1);
}

#[tokio::test]
async fn a_service_takes_no_other_key_and_no_other_bytes_than_json() {
    let mock_vendor = mock_vendor("http://127.0.0.1:0", VendorBehaviour::default()).await;
    let address = format!("127.0.0.1:{}", mock_vendor.url().port().unwrap());
    let call = |path: &str, body: &str| {
        let path = format!("/api/extension/services/{path}");
        Request::post(&path, body).bearer(CALLBACK_KEY)
    };
    for (request, status) in [
        (call("A/v1/B", "[1]"), 200),
        (call("A/v1/B", "[1]").bearer(KEY), 401),
        (call("A/v1/B", "[1"), 400),
        (call("A/v1/B", "[1]").method("PUT"), 405),
        (call("A/v2/B", "[1]"), 404),
        (Request::post("/stand-in/lease", "{}").bearer(CALLBACK_KEY), 404),
    ] {
        assert_eq!(request.send(&address).await.status, status);
    }
    let seen = mock_vendor.take_service_calls();
    let seen: Vec<_> = seen.iter().map(|call| (call.answer.0.as_u16(), call.refusal)).collect();
    assert_eq!(seen, [(200, None), (401, Some(CallbackRefusal::Key)), (400, None)]);
}

/// A stand-in at the callback URL of these settings, with this key.
async fn stand_in(config: &Config, key: &str) -> (MockVendor, mpsc::Receiver<ServiceRecord>) {
    let url = config.sources["one"].hooks.as_ref().unwrap().callback_url.clone().unwrap();
    let (sender, calls) = mpsc::channel(8);
    let samples = IDS.map(|id| (id.to_owned(), RESPONSE));
    let vendor = MockVendor::stand_in(&url.parse().unwrap(), key.into(), samples, sender).await;
    (vendor.unwrap(), calls)
}

#[tokio::test]
async fn a_stand_in_hands_its_place_over_for_as_long_as_it_is_leased() {
    let (receiver, config) = posting_receiver().await;
    let (_stand_in, mut calls) = stand_in(&config, CALLBACK_KEY).await;
    // It answers a call that it has not made, whatever its token.
    let call_directly = async || {
        let request = Request::post("/api/hooks/Tests.Before", REQUEST)
            .bearer(KEY)
            .set("X-DirectScale-CallbackToken", "any");
        receiver.send(&request).await.status
    };
    for _ in 0..2 {
        assert_eq!(call_directly().await, 200);
        assert!(calls.recv().await.unwrap().posted_event().is_some());
        let json = json_of(&config, &["--hook", "Tests.Before", "--answer", "error"]).await;
        assert_eq!(
            (&json["hooks"][0]["status"], &json["hooks"][0]["after"]),
            (&json!(500), &json!([]))
        );
        assert_eq!(json["hooks"][0]["extension_calls"][0]["delivered"], 200);
        assert!(calls.try_recv().is_err(), "the calls are another's");
    }
    receiver.stop().await;
}

#[tokio::test]
async fn a_stand_in_is_not_leased_twice_at_once_nor_with_another_key() {
    type Begun = mpsc::Sender<()>;
    async fn wait(begun: Begun, _: HookCall<Test<0>>) -> HookOutcome<Test<0>> {
        begun.send(()).await?;
        std::future::pending().await
    }
    let (begun, mut waits) = mpsc::channel(1);
    let (receiver, config) = real_receiver(Catalog::new().hook(wait), begun).await;
    let (_stand_in, _calls) = stand_in(&config, CALLBACK_KEY).await;
    let table = table();
    let line = || args(&["--hook", "Tests.Before"]);
    let plan = HookPlan::new(&line(), &table, &config).unwrap();
    let first = call(&plan, std::future::pending());
    let second = async {
        waits.recv().await.unwrap();
        run(line(), &table, &config).await.unwrap_err()
    };
    tokio::select! {
        _ = first => unreachable!("its hook waits"),
        error = second => assert!(format!("{error:#}").contains("in use"), "{error:#}"),
    }
    // A stop would wait for the hook.
    drop(receiver);
    let config = self::receiver().await;
    let (_stand_in, _calls) = stand_in(&config, "another key").await;
    let error = run(line(), &table, &config).await.unwrap_err();
    assert!(format!("{error:#}").contains("in use"), "{error:#}");
}

#[tokio::test]
async fn an_address_that_is_taken_is_told_with_its_setting() {
    let config = receiver().await;
    let url = config.sources["one"].hooks.as_ref().unwrap().callback_url.clone().unwrap();
    let _other = mock_vendor(&url, VendorBehaviour::default()).await;
    let error = run(args(&["--hook", "Tests.Before"]), &table(), &config).await.unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("[sources.one.hooks]") && error.contains("in use"), "{error}");
}

#[test]
fn what_cannot_be_called_is_refused_with_the_line_that_is_missing() {
    let before = ["--hook", "Tests.Before"];
    let listen = "127.0.0.1:8080";
    let hooks =
        |line: &str| refusal(&config(listen, &format!("[sources.one.hooks]\n{line}")), &before);
    assert!(refusal(&config(listen, ""), &before).contains("[sources.NAME.hooks]"));
    assert!(hooks("").contains("callback_url = "));
    for elsewhere in
        ["https://acme.corpadmin.directscale.com", "http://10.0.0.1", "https://127.0.0.1:1"]
    {
        let refused = hooks(&format!("callback_url = \"{elsewhere}\""));
        assert!(refused.contains("[sources.one.hooks] callback_url"), "{refused}");
    }
    assert!(hooks("callback_url = \"http://127.0.0.1:1\"").contains("callback_key"));
}

#[test]
fn an_unknown_hook_is_answered_with_the_nearest() {
    let config = with_callback("127.0.0.1:8080", "http://127.0.0.1:1");
    assert!(refusal(&config, &["--hook", "Test.Befor"]).contains("did you mean `Tests.Before`?"));
    assert!(refusal(&config, &["--hook", "x", "--raw"]).contains("--data"));
    assert!(refusal(&config, &["--hook", "a/b", "--raw"]).contains("letters"));
    let misfit = refusal(&config, &["--hook", "Tests.Before", "--set", "Thing.Price=\"1\""]);
    assert!(misfit.contains("at Thing.Price") && misfit.contains("--raw"), "{misfit}");
    assert!(refusal(&config, &["--all-hooks", "--data", "x"]).contains("one hook"));
    assert!(
        refusal(&config, &["--hook", "Tests.Before", "--answer", "no"]).contains("--answer no")
    );
}

#[test]
fn arguments_that_mean_nothing_for_hooks_are_refused() {
    for line in [
        &["OrderEvent", "--hook", "x"][..],
        &["--hook", "x", "--all-hooks"],
        &["--hook", "x", "--all"],
        &["--hook", "x", "--count", "2"],
        &["--all-hooks", "--message-id", "1"],
        &["OrderEvent", "--answer", "error"],
        &["OrderEvent", "--delay", "1s"],
    ] {
        assert!(emit_args([&["emit"], line].concat()).is_err(), "{line:?}");
    }
    assert!(emit_args(["emit", "--hook", "x", "--hook", "y"]).is_ok());
    assert!(emit_args(["emit", "OrderEvent"]).is_ok());
}

#[test]
fn a_dry_run_shows_everything_but_keys_and_tokens() {
    let config = with_callback("127.0.0.1:8080", "http://127.0.0.1:8090");
    let line = args(&["--hook", "Tests.Before", "--user", "jsmith"]);
    let plan = HookPlan::new(&line, &table(), &config).unwrap();
    assert_eq!(
        plan.to_string().trim_end(),
        format!(
            "POST http://127.0.0.1:8080/api/hooks/Tests.Before\n\
             Content-Type: application/json\nAuthorization: Bearer ****\n\
             X-DirectScale-User: jsmith\nX-DirectScale-RequestName: Tests.Before\n\
             X-DirectScale-CallbackToken: ****\n\n{REQUEST}\n\n\
             callbacks would be answered at http://127.0.0.1:8090/"
        )
    );
    for shown in [format!("{plan:?}"), plan.json().unwrap().to_string()] {
        assert!(!shown.contains(KEY) && !shown.contains(CALLBACK_KEY), "{shown}");
    }
}

async fn mock_vendor(url: &str, behaviour: VendorBehaviour) -> MockVendor {
    let samples = IDS.map(|id| (id.to_owned(), RESPONSE));
    MockVendor::start(&url.parse().unwrap(), CALLBACK_KEY.into(), samples, behaviour).await.unwrap()
}

async fn played(logic: Logic) -> (MockVendor, CallbackApi) {
    let mock_vendor =
        mock_vendor("http://127.0.0.1:0", VendorBehaviour { logic, ..VendorBehaviour::default() })
            .await;
    let api = api(mock_vendor.url(), CALLBACK_KEY);
    (mock_vendor, api)
}

/// What a callback with a good token comes to.
async fn outcome(logic: Logic) -> Result<Bytes, CallbackError> {
    use secrecy::ExposeSecret;
    let (mock_vendor, api) = played(logic).await;
    let token = mock_vendor.token("Tests.Before").unwrap();
    proceed(&api, "Tests.Before", token.expose_secret(), REQUEST).await
}

#[tokio::test]
async fn each_way_of_failing_fails_in_its_way() {
    assert_eq!(outcome(Logic::Echo).await.unwrap(), RESPONSE.replace(": 1,", ": 1001,"));
    assert_eq!(outcome(Logic::Given("[1.00]".into())).await.unwrap(), "[1.00]");
    assert!(matches!(outcome(Logic::Error).await, Err(CallbackError::Vendor(_))));
    assert_eq!(outcome(Logic::Refuse).await, Err(CallbackError::Refused(401)));
    assert!(serde_json::from_slice::<Value>(&outcome(Logic::Garbage).await.unwrap()).is_err());
    assert!(serde_json::from_slice::<Value>(&outcome(Logic::Alien).await.unwrap()).is_ok());
    for logic in [Logic::HangUp, Logic::Cut] {
        let failed = outcome(logic.clone()).await;
        assert!(matches!(failed, Err(CallbackError::Unreachable(_))), "{logic:?}: {failed:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_off_has_begun() {
    use secrecy::ExposeSecret;
    let (mock_vendor, _) = played(Logic::Cut).await;
    let token = mock_vendor.token("Tests.Before").unwrap();
    let port = mock_vendor.url().port().unwrap();
    let request = Request::post("/api/extension/hooks/Tests.Before", REQUEST)
        .set("Content-Type", "application/json")
        .bearer(CALLBACK_KEY)
        .set("X-DirectScale-CallbackToken", token.expose_secret());
    let answer = request.send(&format!("127.0.0.1:{port}")).await;
    assert_eq!(answer.status, 200);
    let whole: usize = answer.header("content-length").parse().unwrap();
    assert!(!answer.body.is_empty() && answer.body.len() < whole, "{answer:?}");
}

#[tokio::test]
async fn each_refusal_says_what_is_wrong() {
    use secrecy::ExposeSecret;
    let (mock_vendor, api) = played(Logic::Echo).await;
    let token = mock_vendor.token("Tests.Before").unwrap();
    let token = token.expose_secret();
    let other = self::api(mock_vendor.url(), KEY);
    for (client, hook, token, expected) in [
        (&other, "Tests.Before", token, Some(CallbackRefusal::Key)),
        (&api, "Tests.Before", "unknown", Some(CallbackRefusal::Unknown)),
        (&api, "Tests.After", token, Some(CallbackRefusal::Misplaced)),
        (&api, "tests.before", token, None),
        (&api, "Tests.Before", token, Some(CallbackRefusal::Used)),
    ] {
        let result = proceed(client, hook, token, REQUEST).await;
        let seen = mock_vendor.take_callbacks();
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].refusal, expected);
        let Some(refusal) = expected else {
            assert!(result.is_ok(), "{result:?}");
            continue;
        };
        assert_eq!(result, Err(CallbackError::Refused(401)));
        let (status, body) = seen[0].answer.clone().unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((status.as_u16(), &body["error"]), (401, &json!(refusal.as_str())));
    }
}

#[tokio::test]
async fn a_page_token_names_its_user_in_both_shapes() {
    use secrecy::ExposeSecret;
    let (mock_vendor, api) = played(Logic::Echo).await;
    let token = mock_vendor.page_token("Orders", "jsmith").unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    let ask = |page: &'static str, token: String| {
        let api = api.clone();
        async move { api.page_user(page, &token, deadline).await }
    };
    let token = token.expose_secret().to_owned();
    assert_eq!(ask("Orders", token.clone()).await, Ok("jsmith".into()));
    mock_vendor
        .set_behaviour(VendorBehaviour { user_in_object: true, ..VendorBehaviour::default() });
    assert_eq!(ask("Orders", token.clone()).await, Ok("jsmith".into()));
    assert_eq!(ask("Others", token.clone()).await, Err(PageError::Refused));
    assert_eq!(ask("Orders", "unknown".into()).await, Err(PageError::Refused));
    mock_vendor.set_behaviour(VendorBehaviour {
        token_life: Duration::ZERO,
        ..VendorBehaviour::default()
    });
    assert_eq!(ask("Orders", token).await, Err(PageError::Refused));
}

#[tokio::test]
async fn the_vendor_is_played_on_this_machine_only_and_ends_with_its_value() {
    let start = |url: &str| {
        let url = url.parse().unwrap();
        async move { MockVendor::start(&url, "k".into(), [], VendorBehaviour::default()).await }
    };
    assert!(start("http://0.0.0.0:0").await.is_err());
    assert!(start("http://example.com:0").await.is_err());
    let mock_vendor = Arc::new(start("http://127.0.0.1:0").await.unwrap());
    let api = api(mock_vendor.url(), "k");
    drop(mock_vendor);
    let gone = proceed(&api, "x", "t", "{}").await;
    assert!(matches!(gone, Err(CallbackError::Unreachable(_))), "{gone:?}");
}
