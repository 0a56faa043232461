//! Receiving, through real HTTP: what is answered, what is kept, and what a handler is given.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use contract::catalog::Catalog;
use contract::event::{Delivery, Dialect, Environment, Event, Meta, Outcome};
use contract::time::system_clock;
use futures_util::FutureExt;
use inbox::{
    self, AcceptOutcome, AttemptEntry, Browse, Claim, DedupCache, Deliveries, Detail, Filter,
    HookCalls, HookEntry, HookFilter, HookRecord, InboxError, Lease, Options, Receipt, Rejection,
    RejectionLog, Rejections, Route, Sqlite, State, Verdict,
};
use proptest::prelude::*;
use receiver::ingress::{IngressParts, Routes};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use settings::parse;
use source::{Verified, versioned};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::harness::client::{Answer, Request};
use crate::harness::receiver::{KEY, Receiver, SOURCES, STAGE_KEY, Stopped};
use crate::receive::dialects::open_sources;

/// Where the test's event is posted.
const PING: &str = "/api/webhooks/PingEvent";

/// A body that is the test's event.
const BODY: &str = r#"{"Id":1}"#;

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "PascalCase")]
#[allow(dead_code)]
struct Ping {
    id: i64,
}

impl Event for Ping {
    const TYPE: &'static str = "PingEvent";
    const ALIASES: &'static [&'static str] = &["17", "OldPing"];
    const ENTITY: Option<&'static str> = Some("Id");

    fn example() -> &'static str {
        BODY
    }
}

/// The same event after a breaking change.
#[derive(Deserialize, utoipa::ToSchema)]
struct Ping2 {}

impl Event for Ping2 {
    const TYPE: &'static str = "PingEvent";
    const VERSION: u16 = 2;

    fn example() -> &'static str {
        "{}"
    }
}

/// An event that may be any JSON.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
#[allow(dead_code)]
struct Anything(Value);

impl Event for Anything {
    const TYPE: &'static str = "AnythingEvent";

    fn example() -> &'static str {
        "3"
    }
}

/// What a handler was given.
struct Given {
    meta: Meta,
    unknown: Map<String, Value>,
    raw: Bytes,
}

/// Tells the test of every call.
type Tap = UnboundedSender<Given>;

async fn tell<T>(tap: Tap, delivery: Delivery<T>) -> Outcome {
    let raw = delivery.raw().clone();
    let Delivery { meta, unknown, .. } = delivery;
    // A test that is over does not listen any more.
    let _ = tap.send(Given { meta, unknown, raw });
    Ok(())
}

fn catalog() -> Catalog<Tap> {
    Catalog::new().on(tell::<Ping>).on(tell::<Ping2>).on(tell::<Anything>)
}

/// A receiver of the test's events with these sources, and what its handlers are given.
async fn start(settings: &str) -> (Receiver, UnboundedReceiver<Given>) {
    let (tap, given) = unbounded_channel();
    (Receiver::start(settings, catalog(), tap).await, given)
}

/// Posts, stops and looks at what has been kept.
async fn kept(requests: &[Request]) -> Vec<Detail> {
    let (receiver, _given) = start(SOURCES).await;
    for request in requests {
        receiver.send(request).await.kept();
    }
    receiver.finish().await.deliveries().await
}

async fn answer(request: Request) -> Answer {
    start(SOURCES).await.0.send(&request).await
}

#[tokio::test]
async fn a_new_delivery_is_accepted_and_a_resend_is_a_duplicate_of_it() {
    let (receiver, _given) = start(SOURCES).await;
    let request = Request::live(PING, BODY).id("m-1");
    let first = receiver.send(&request).await;
    let (id, new) = first.kept();
    assert!(new);
    assert_eq!(first.json(), json!({"status": "accepted", "deliveryId": id, "messageId": "m-1"}));
    let second = receiver.send(&request).await;
    let expected = json!({"status": "duplicate", "deliveryId": id, "messageId": "m-1"});
    assert_eq!(second.json(), expected);
    let again = Receiver::start_in(receiver.stop().await.0, SOURCES, catalog(), start_tap()).await;
    assert_eq!(again.send(&request).await.json(), expected, "after a restart too");
}

fn start_tap() -> Tap {
    unbounded_channel().0
}

#[tokio::test]
async fn the_same_id_with_other_bytes_is_a_duplicate_to_the_sender_and_a_conflict_to_the_owner() {
    let first = Request::live(PING, BODY).id("m");
    let other = Request::live(PING, r#"{"Id":2}"#).id("m");
    let deliveries = kept(&[first, other]).await;
    assert_eq!(deliveries.len(), 1);
    assert_eq!(deliveries[0].body, BODY);
    assert_eq!(deliveries[0].entry.conflicts, 1);
}

#[tokio::test]
async fn one_id_from_two_clients_or_two_sources_is_two_deliveries() {
    let request = Request::live(PING, BODY).id("m");
    let client = request.clone().set("X-Directscale-Client-Id", "acme");
    let stage = Request::post("/stage/api/webhooks/PingEvent", BODY).bearer(STAGE_KEY).id("m");
    assert_eq!(kept(&[request, client, stage]).await.len(), 3);
}

#[tokio::test]
async fn without_a_message_id_the_digest_is_the_id_and_the_delivery_is_marked() {
    let bare = Request::live(PING, BODY);
    let deliveries = kept(&[
        bare.clone(),
        bare.clone(),
        bare.id("  "),
        Request::live(PING, r#"{"Id":2}"#).id("given"),
    ])
    .await;
    assert_eq!(deliveries.len(), 2);
    let entry = &deliveries[0].entry;
    assert_eq!(entry.message_id.len(), 64);
    assert!(entry.message_id_derived);
    assert!(!deliveries[1].entry.message_id_derived);
}

#[tokio::test]
async fn the_event_is_found_by_path_by_body_and_in_every_version() {
    let named = |event: &str| format!(r#"{{"Id":1,"EventType":{event}}}"#);
    for (path, body, event, version) in [
        (PING, BODY.to_owned(), "PingEvent", 1),
        ("/API/WebHooks/pingevent", BODY.to_owned(), "PingEvent", 1),
        ("/api/webhooks/PingEvent/", BODY.to_owned(), "PingEvent", 1),
        ("/api/webhooks/Ping%45vent?x=1", BODY.to_owned(), "PingEvent", 1),
        ("/api/webhooks/17", BODY.to_owned(), "PingEvent", 1),
        ("/api/v1/webhooks/oldping", BODY.to_owned(), "PingEvent", 1),
        ("/api/v2/webhooks/PingEvent", BODY.to_owned(), "PingEvent", 2),
        ("/api/webhooks", named("\"PingEvent\""), "PingEvent", 1),
        ("/api/webhooks/", named("\"PINGEVENT\""), "PingEvent", 1),
        ("/api/webhooks", named("\"17\""), "PingEvent", 1),
        ("/api/webhooks", named("17"), "PingEvent", 1),
        ("/api/v1/webhooks", named("17"), "PingEvent", 1),
        ("/api/v2/webhooks", named("\"PingEvent\""), "PingEvent", 2),
        ("/api/webhooks/AnythingEvent", named("17"), "PingEvent", 1),
        ("/api/webhooks/AnythingEvent", named("\"Unheard\""), "AnythingEvent", 1),
        ("/api/webhooks/AnythingEvent", named("null"), "AnythingEvent", 1),
    ] {
        let deliveries = kept(&[Request::live(path, &body)]).await;
        let entry = &deliveries[0].entry;
        assert_eq!((entry.event_type.as_str(), entry.version), (event, version), "{path} {body}");
        assert_eq!(entry.state, State::Done, "{path} {body}: {:?}", entry.last_error);
    }
}

#[tokio::test]
async fn a_path_without_api_has_its_version_at_the_end() {
    let settings = SOURCES.replace("/stage/api/webhooks", "/hooks");
    let (receiver, _given) = start(&settings).await;
    let named = r#"{"Id":1,"EventType":"PingEvent"}"#;
    for path in ["/hooks/v2/PingEvent", "/hooks/v2", "/hooks/v1", "/hooks"] {
        let request = Request::post(path, named).bearer(STAGE_KEY).id(path);
        receiver.send(&request).await.kept();
    }
    let deliveries = receiver.stop().await.deliveries().await;
    let versions: Vec<u16> = deliveries.iter().map(|delivery| delivery.entry.version).collect();
    assert_eq!(versions, [2, 2, 1, 1]);
}

#[tokio::test]
async fn an_event_that_no_handler_takes_is_accepted_and_kept_unrouted() {
    let deliveries = kept(&[
        Request::live("/api/webhooks/NewEvent", BODY).id("1"),
        Request::live("/api/webhooks", r#"{"EventType":"NewEvent"}"#).id("2"),
        Request::live("/api/webhooks/Other", r#"{"EventType":"NewEvent"}"#).id("3"),
        Request::live("/api/webhooks", "[1,2]").id("4"),
    ])
    .await;
    let names: Vec<_> = deliveries.iter().map(|d| d.entry.event_type.as_str()).collect();
    assert_eq!(names, ["NewEvent", "NewEvent", "NewEvent", ""]);
    for delivery in deliveries {
        assert_eq!((delivery.entry.state, delivery.entry.attempts), (State::Unrouted, 0));
    }
}

#[tokio::test]
async fn a_body_that_is_not_its_model_is_accepted_and_dead_with_the_path() {
    let deliveries = kept(&[Request::live(PING, r#"{"Id":"4111"}"#)]).await;
    let entry = &deliveries[0].entry;
    assert_eq!(entry.state, State::Dead);
    let error = entry.last_error.as_deref().unwrap();
    assert!(error.contains("(at Id)") && !error.contains("4111"), "{error}");
}

#[tokio::test]
async fn json_that_is_not_an_object_is_taken_where_the_event_may_be_one() {
    for body in ["3", "\"x\"", "[1]", "null"] {
        let (receiver, _given) = start(SOURCES).await;
        receiver.send(&Request::live("/api/webhooks/AnythingEvent", body)).await.kept();
        let refused = receiver.send(&Request::live(PING, body)).await;
        let detail = refused.problem(400, "bad-request").unwrap();
        assert_eq!(detail, "the body is JSON, but PingEvent is an object");
        assert_eq!(receiver.stop().await.deliveries().await.len(), 1);
    }
}

#[tokio::test]
async fn what_is_not_json_in_utf_8_is_refused() {
    for (body, detail) in [
        (&b""[..], "not JSON"),
        (b"{", "not JSON"),
        (b"{\"Id\":1,}", "not JSON"),
        (b"Id=1", "not JSON"),
        (b"{\"Id\":1}{}", "not JSON"),
        (b"{\"Id\":\"\xff\"}", "not UTF-8"),
    ] {
        let refused = answer(Request::live(PING, body)).await;
        let said = refused.problem(400, "bad-request").unwrap();
        assert!(said.contains(detail), "{}: {said}", body.escape_ascii());
    }
}

#[tokio::test]
async fn every_key_of_the_source_opens_it() {
    for key in [KEY, "the next one"] {
        for scheme in ["Bearer", "bearer", "BEARER", "Bearer ", "bearer   "] {
            let request = Request::post(PING, BODY).set("Authorization", format!("{scheme} {key}"));
            answer(request).await.kept();
        }
    }
}

#[tokio::test]
async fn nothing_else_opens_it() {
    let (receiver, _given) = start(SOURCES).await;
    let bare = Request::post(PING, BODY);
    let with = |value: &str| bare.clone().set("Authorization", value);
    for request in [
        bare.clone(),
        with(""),
        with("Bearer"),
        with("Bearer "),
        with(KEY),
        with(&format!("Basic {KEY}")),
        with(&format!("Bearer{KEY}")),
        with(&format!("Bearer \"{KEY}\"")),
        with(&format!("Bearer {}", &KEY[..KEY.len() - 1])),
        with(&format!("Bearer {KEY}x")),
        with(&format!("Bearer {}", KEY.to_lowercase())),
        with("Bearer wrong"),
        with(&format!("Bearer {STAGE_KEY}")),
        with(&format!("Bearer {KEY}, Bearer {KEY}")),
        with(&format!("Bearer {KEY}")).add("Authorization", format!("Bearer {KEY}")),
        with("Bearer wrong").add("Authorization", format!("Bearer {KEY}")),
        Request::post(&format!("{PING}?access_token={KEY}"), BODY),
        Request::post("/stage/api/webhooks/PingEvent", BODY).bearer(KEY),
    ] {
        let refused = receiver.send(&request).await;
        assert_eq!(refused.problem(401, "unauthorized"), None, "the sender learns no reason");
        assert_eq!(refused.header("www-authenticate"), "Bearer");
    }
    assert_eq!(receiver.stop().await.deliveries().await.len(), 0);
}

#[tokio::test]
async fn only_listed_clients_are_let_in() {
    let settings = SOURCES.replacen("path", "client_ids = [\"acme\", \"other\"]\npath", 1);
    let (receiver, _given) = start(&settings).await;
    let stage = Request::post("/stage/api/webhooks/PingEvent", BODY).bearer(STAGE_KEY);
    let client = |id: &str| stage.clone().set("X-Directscale-Client-Id", id);
    for id in ["acme", "other", " acme "] {
        receiver.send(&client(id)).await.kept();
    }
    let twice = client("acme").add("X-Directscale-Client-Id", "stranger");
    for request in [stage.clone(), client("stranger"), client("ACME"), client(""), twice] {
        receiver.send(&request).await.problem(401, "unauthorized");
    }
    receiver.send(&Request::live(PING, BODY)).await.kept();
}

#[tokio::test]
async fn auth_none_takes_what_comes() {
    let settings = "[sources.open]\ndialect = \"directscale\"\nauth = \"none\"\n";
    let (receiver, _given) = start(settings).await;
    receiver.send(&Request::post(PING, BODY)).await.kept();
    receiver.send(&Request::live(PING, BODY)).await.kept();
}

#[tokio::test]
async fn the_status_of_success_is_the_sources() {
    for status in [201, 202, 204, 299] {
        let settings = SOURCES.replacen("path", &format!("accepted_status = {status}\npath"), 1);
        let (receiver, _given) = start(&settings).await;
        let request = Request::post("/stage/api/webhooks/PingEvent", BODY).bearer(STAGE_KEY);
        for _ in ["new", "duplicate"] {
            let answer = receiver.send(&request).await;
            assert_eq!(answer.status, status);
            assert_eq!(answer.body.is_empty(), status == 204);
        }
        assert_eq!(receiver.send(&request.without("Authorization")).await.status, 401);
    }
}

#[tokio::test]
async fn only_post_is_received() {
    for method in ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"] {
        for path in [PING, "/api/webhooks", "/api/v1/webhooks/PingEvent"] {
            let refused = answer(Request::live(path, BODY).method(method)).await;
            refused.problem(405, "method-not-allowed");
            assert_eq!(refused.header("allow"), "POST, HEAD");
        }
    }
}

#[tokio::test]
async fn whoever_looks_with_head_is_told_that_there_is_something() {
    let (receiver, _given) = start(SOURCES).await;
    for (path, status) in [(PING, 200), ("/api/webhooks", 200), ("/api/webhooks/a/b", 404)] {
        let head = receiver.send(&Request::get(path).method("HEAD")).await;
        assert_eq!((head.status, head.body.len()), (status, 0), "{path}");
    }
    assert!(receiver.stop().await.deliveries().await.is_empty());
}

#[tokio::test]
async fn other_paths_are_not_found() {
    for path in ["/x", "/api", "/api/webhooksx", "/api/v3/webhooks/PingEvent", "/api/webhooks/a/b"]
    {
        answer(Request::live(path, BODY)).await.problem(404, "not-found");
    }
}

#[tokio::test]
async fn the_content_type_is_json_in_utf_8() {
    let of = |value: &str| Request::live(PING, BODY).set("Content-Type", value);
    for fine in [
        "application/json",
        "application/json; charset=UTF-8",
        "Application/JSON;CHARSET=\"utf-8\"",
        "application/json; charset=us-ascii",
        "application/json; profile=x",
        "application/cloudevents+json",
    ] {
        answer(of(fine)).await.kept();
    }
    for other in
        ["", "text/plain", "text/json", "application/jsonp", "application/xml", "json", "é"]
    {
        answer(of(other)).await.problem(415, "unsupported-media-type");
    }
    let none = Request::live(PING, BODY).without("Content-Type");
    answer(none).await.problem(415, "unsupported-media-type");
    for charset in ["utf-16", "iso-8859-1", "\"latin1\"", ""] {
        let request = of(&format!("application/json; charset={charset}"));
        let detail = answer(request).await.problem(400, "bad-request").unwrap();
        assert!(detail.contains("charset"), "{detail}");
    }
}

#[tokio::test]
async fn compressed_bodies_are_refused() {
    let of = |value: &str| Request::live(PING, BODY).set("Content-Encoding", value);
    answer(of("identity")).await.kept();
    for encoding in ["gzip", "br", "deflate", "identity, gzip", "x"] {
        answer(of(encoding)).await.problem(415, "unsupported-media-type");
    }
    let twice = of("identity").add("Content-Encoding", "gzip");
    answer(twice).await.problem(415, "unsupported-media-type");
}

#[tokio::test]
async fn a_body_is_limited_with_and_without_its_length() {
    let (receiver, _given) = start(&format!("{SOURCES}[limits]\nmax_body = 1000\n")).await;
    let of = |size: usize| {
        let body = format!(r#"{{"Id":1,"Pad":"{}"}}"#, "x".repeat(size - 17));
        assert_eq!(body.len(), size);
        Request::live(PING, body)
    };
    receiver.send(&of(1000)).await.kept();
    receiver.send(&of(999).chunked()).await.kept();
    receiver.send(&of(1001)).await.problem(413, "content-too-large");
    receiver.send(&of(1001).chunked()).await.problem(413, "content-too-large");
    let unauthentic = of(1001).without("Authorization");
    receiver.send(&unauthentic).await.problem(401, "unauthorized");
    assert_eq!(receiver.stop().await.deliveries().await.len(), 2);
}

#[tokio::test]
async fn above_its_rate_a_source_is_told_when_to_come_again() {
    let settings = SOURCES.replacen("path", "rate_limit = 2\npath", 1);
    let (receiver, _given) = start(&settings).await;
    let stage = |path: &str| Request::post(path, BODY).bearer(STAGE_KEY);
    receiver.send(&stage("/stage/api/webhooks/PingEvent")).await.kept();
    receiver.send(&stage("/stage/api/v1/webhooks/PingEvent")).await.kept();
    // Had the first two taken half a second, a third would be within the rate.
    let third = receiver.send(&stage("/stage/api/webhooks/PingEvent")).await;
    third.problem(429, "too-many-requests");
    assert_eq!(third.header("retry-after"), "1");
    let forged = stage("/stage/api/webhooks/PingEvent").bearer("wrong");
    receiver.send(&forged).await.problem(401, "unauthorized");
    receiver.send(&Request::live(PING, BODY)).await.kept();
}

/// Opens a request whose body the receiver waits for.
async fn hold(receiver: &Receiver, request: Request) -> TcpStream {
    let mut stream = TcpStream::connect(&receiver.address).await.unwrap();
    stream.write_all(&request.expecting()).await.unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

#[tokio::test]
async fn a_body_that_does_not_come_is_too_slow() {
    let settings = format!("{SOURCES}[limits]\nbody_timeout = \"20ms\"\n");
    let (receiver, _given) = start(&settings).await;
    let mut slow = hold(&receiver, Request::live(PING, BODY)).await;
    slow.write_all(b"{").await.unwrap();
    Answer::read(&mut slow).await.problem(408, "request-timeout");
}

#[tokio::test]
async fn an_open_request_is_answered_before_the_receiver_ends() {
    let (receiver, _given) = start(SOURCES).await;
    let mut held = hold(&receiver, Request::live(PING, BODY)).await;
    let finish = async {
        held.write_all(BODY.as_bytes()).await.unwrap();
        Answer::read(&mut held).await.kept()
    };
    let (stopped, (id, new)) = tokio::join!(receiver.stop(), finish);
    assert!(new);
    assert_eq!(stopped.deliveries().await[0].entry.id, id);
}

/// An inbox that fails, panics or does not answer, or one that works.
enum Store {
    Broken(InboxError),
    Panics,
    Silent,
    Works,
}

impl Store {
    fn check<T>(&self, fine: T) -> inbox::Result<T> {
        match self {
            Store::Broken(error) => Err(error.clone()),
            Store::Panics => panic!("at the inbox"),
            Store::Silent | Store::Works => Ok(fine),
        }
    }
}

#[async_trait]
impl Deliveries for Store {
    async fn accept(&self, delivery: Verified, _: Route) -> inbox::Result<Receipt> {
        if let Store::Silent = self {
            std::future::pending::<()>().await;
        }
        self.check(Receipt { id: 1, message_id: delivery.message_id, outcome: AcceptOutcome::New })
    }
    async fn check(&self) -> inbox::Result<()> {
        self.check(())
    }
    async fn claim(&self, _: usize, _: Duration, _: Duration) -> inbox::Result<Vec<Claim>> {
        unreachable!("nothing is dispatched here")
    }
    async fn finish(&self, _: Lease, _: Verdict) -> inbox::Result<bool> {
        unreachable!("nothing is dispatched here")
    }
}

#[async_trait]
impl Rejections for Store {
    async fn note_rejections(&self, _: Vec<Rejection>) -> inbox::Result<()> {
        self.check(())
    }
    async fn rejections(&self) -> inbox::Result<Vec<Rejection>> {
        unreachable!("nothing is browsed here")
    }
}

#[async_trait]
impl HookCalls for Store {
    async fn log_hooks(&self, _: Vec<HookRecord>) -> inbox::Result<()> {
        unreachable!("no hook is called here")
    }
    async fn list_hooks(&self, _: HookFilter) -> inbox::Result<Vec<HookEntry>> {
        unreachable!("nothing is browsed here")
    }
    async fn show_hook(&self, _: i64) -> inbox::Result<Option<HookEntry>> {
        unreachable!("nothing is browsed here")
    }
}

/// The parts of an inbox that the routes need.
trait RoutesInbox: Deliveries + Rejections + HookCalls {}

impl<E: Deliveries + Rejections + HookCalls> RoutesInbox for E {}

/// The routes over an inbox, without a listener.
fn routes(
    inbox: Arc<impl RoutesInbox>,
    catalog: Catalog<UnboundedSender<Given>>,
    stop: CancellationToken,
) -> Routes {
    routes_within("", inbox, catalog, stop)
}

/// The same with these limits.
fn routes_within(
    limits: &str,
    inbox: Arc<impl RoutesInbox>,
    catalog: Catalog<UnboundedSender<Given>>,
    stop: CancellationToken,
) -> Routes {
    let config = parse(&format!("{SOURCES}[limits]\n{limits}\n"), [], "test").unwrap();
    let parts = IngressParts {
        sources: config.sources().unwrap(),
        hooks: Vec::new(),
        calls: TaskTracker::new(),
        handlers: Arc::new(catalog.bind(&unbounded_channel().0).unwrap()),
        dedup_cache: DedupCache::new(
            Arc::clone(&inbox) as _,
            16,
            chrono::TimeDelta::days(7),
            system_clock(),
        ),
        hook_log: receiver::hook_log::HookLog::new(Arc::clone(&inbox) as _, Arc::default()).0,
        rejections: RejectionLog::new(Arc::clone(&inbox) as _).0,
        inbox,
        limits: config.limits,
        clock: system_clock(),
        metrics: Arc::default(),
        tallies: Arc::default(),
        stop,
    };
    Routes::new(parts, Router::new())
}

/// The status and `Retry-After` of an answer, which is a problem if it is not 200.
async fn status(routes: &Routes, request: http::Request<Body>) -> (u16, String) {
    let response = routes.clone().oneshot(request).await.unwrap();
    let header = |name: &str| {
        let value = response.headers().get(name);
        value.map_or(String::new(), |value| value.to_str().unwrap().to_owned())
    };
    let status = response.status().as_u16();
    assert_eq!(status == 200, header("content-type") != "application/problem+json");
    (status, header("retry-after"))
}

fn ready() -> http::Request<Body> {
    http::Request::get("/readyz").body(Body::empty()).unwrap()
}

fn ping() -> http::Request<Body> {
    let request = http::Request::post(PING)
        .header("Content-Type", "application/json")
        .header("Authorization", format!("Bearer {KEY}"));
    request.body(BODY.into()).unwrap()
}

#[tokio::test]
async fn without_an_inbox_nothing_is_acknowledged() {
    let broken = InboxError::Unavailable("disk full".into());
    for (error, after) in [(InboxError::Busy, "1"), (broken, "10")] {
        let routes = routes(Arc::new(Store::Broken(error)), catalog(), CancellationToken::new());
        assert_eq!(status(&routes, ping()).await, (503, after.into()));
        assert_eq!(status(&routes, ready()).await, (503, "1".into()));
        let alive = http::Request::get("/healthz").body(Body::empty()).unwrap();
        assert_eq!(status(&routes, alive).await.0, 200, "the process lives");
    }
}

#[tokio::test]
async fn a_full_receiver_says_when_to_come_again() {
    let ping = || {
        let body = format!("{{\"Id\":1,\"Text\":\"{}\"}}", "x".repeat(600));
        let (head, _) = ping().into_parts();
        http::Request::from_parts(head, Body::from(body))
    };
    for full in ["concurrency = 1", "max_body = 1024\nbuffered = 1024"] {
        let (inbox, stop) = (Arc::new(Store::Silent), CancellationToken::new());
        let routes = routes_within(full, inbox, catalog(), stop);
        let mut held = Box::pin(routes.clone().oneshot(ping()));
        assert!(held.as_mut().now_or_never().is_none(), "it waits for the inbox");
        assert_eq!(status(&routes, ping()).await, (503, "1".into()), "{full}");
        drop(held);
        let next = routes.clone().oneshot(ping());
        assert!(next.now_or_never().is_none(), "there is room again");
    }
}

#[tokio::test]
async fn a_panic_is_answered_500_and_logged_with_its_source_and_not_with_a_path() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let writer = Arc::new(file.reopen().unwrap());
    let lines = tracing_subscriber::fmt().json().with_writer(writer).finish();
    let logging = tracing::subscriber::set_default(lines);
    let routes = routes(Arc::new(Store::Panics), catalog(), CancellationToken::new());
    assert_eq!(status(&routes, ping()).await.0, 500);
    drop(logging);
    let log = std::fs::read_to_string(file.path()).unwrap();
    let line = log.lines().find(|line| line.contains("the request handling panicked")).unwrap();
    assert!(line.contains(r#""source":"#) && line.contains(r#""request.id":"#), "{line}");
    assert!(!log.contains(PING), "{log}");
}

#[tokio::test]
async fn from_the_stop_on_nothing_is_accepted_or_ready() {
    let stop = CancellationToken::new();
    let routes = routes(Arc::new(Store::Works), catalog(), stop.clone());
    assert_eq!(status(&routes, ping()).await.0, 200);
    assert_eq!(status(&routes, ready()).await.0, 200);
    stop.cancel();
    assert_eq!(status(&routes, ping()).await, (503, "1".into()));
    assert_eq!(status(&routes, ready()).await, (503, "1".into()));
}

#[tokio::test]
async fn health_and_readiness_need_no_key() {
    for path in ["/healthz", "/readyz"] {
        let answer = answer(Request::get(path)).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, "text/plain; charset=utf-8")
        );
    }
}

#[tokio::test]
async fn bytes_are_kept_exactly_and_secrets_are_not_kept() {
    let body = " {\r\n\t\"Id\" : 1 ,\"Name\":\"J\u{f6}rg \\u00e9 \\/ \u{1f600}\",\"Id2\":1.50,\"x\":1e400 }\n";
    let request = Request::live(PING, body)
        .add("Proxy-Authorization", "Basic c2VjcmV0")
        .add("Cookie", "session=c2VjcmV0")
        .add("X-Api-Key", "c2VjcmV0")
        .add("X-DirectScale-CallbackToken", "c2VjcmV0")
        .add("X-Auth-Token", "c2VjcmV0")
        .add("X-Amz-Security-Token", "c2VjcmV0")
        .add("Set-Cookie", "c2VjcmV0")
        .add("X-Original-Url", format!("/in?a=b&access%5Ftoken={KEY}").as_str())
        .add("X-Seen", format!("the key {KEY} came").as_str())
        .add("X-Other", "k\u{f6}pt")
        .add("X-Other", "twice");
    let (receiver, mut given) = start(SOURCES).await;
    receiver.send(&request).await.kept();
    assert_eq!(given.recv().await.unwrap().raw, body);
    let delivery = receiver.stop().await.deliveries().await.remove(0);
    assert_eq!(delivery.body, body);
    assert_eq!(delivery.entry.state, State::Done);
    let headers: Vec<(String, String)> = serde_json::from_str(&delivery.headers).unwrap();
    let of = |name: &str| -> Vec<&str> {
        headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    };
    for secret in [
        "authorization",
        "proxy-authorization",
        "cookie",
        "x-api-key",
        "x-directscale-callbacktoken",
        "x-auth-token",
        "x-amz-security-token",
        "set-cookie",
        "x-original-url",
        "x-seen",
    ] {
        assert_eq!(of(secret), ["[redacted]"], "{secret}");
    }
    assert_eq!(of("x-other"), ["k\u{f6}pt", "twice"]);
    assert_eq!(of("content-type"), ["application/json; charset=UTF-8"]);
    for secret in [KEY, "c2VjcmV0"] {
        assert!(!delivery.headers.contains(secret));
    }
}

#[tokio::test]
async fn a_secret_path_that_a_header_repeats_is_not_kept() {
    let path = "/in/hushpath0123456789abcdefghij";
    let sources =
        format!("[sources.one]\ndialect = \"directscale\"\nauth = \"none\"\npath = \"{path}\"\n");
    let (receiver, _given) = start(&sources).await;
    let request = Request::post(&format!("{path}/Ping"), BODY)
        .add("X-Original-Url", format!("{path}/Ping"))
        .add("X-Forwarded-Uri", "/in/HushPath0123456789%61bcdefghij")
        .add("X-Other", "/in");
    receiver.send(&request).await.kept();
    let headers = receiver.stop().await.deliveries().await.remove(0).headers;
    assert!(!headers.to_lowercase().contains("hushpath"), "{headers}");
    for kept in [
        r#"["x-original-url","[redacted]"]"#,
        r#"["x-forwarded-uri","[redacted]"]"#,
        r#"["x-other","/in"]"#,
    ] {
        assert!(headers.contains(kept), "{headers}");
    }
}

#[tokio::test]
async fn a_user_that_is_not_utf8_is_read_as_latin_1() {
    let (receiver, mut given) = start(SOURCES).await;
    receiver.send(&Request::live(PING, BODY).add("X-Directscale-User", b"Jos\xe9")).await.kept();
    assert_eq!(given.recv().await.unwrap().meta.user.as_deref(), Some("Jos\u{e9}"));
    let detail = receiver.stop().await.deliveries().await.remove(0);
    assert!(
        detail.headers.contains("[\"x-directscale-user\",\"Jos\u{e9}\"]"),
        "{}",
        detail.headers
    );
}

#[tokio::test]
async fn a_handler_is_given_all_that_is_known_of_a_delivery() {
    let (receiver, mut given) = start(SOURCES).await;
    let body = r#"{"Id":1,"New":{"a":[1.50]},"EventDateUtc":"2021-10-12T18:07:27.8181496Z"}"#;
    let request = Request::post("/stage/api/v1/webhooks/17", body)
        .bearer(STAGE_KEY)
        .id("m-1")
        .add("X-Directscale-Client-Id", "acme")
        .add("X-Directscale-User", "J\u{f6}rg");
    let (id, _) = receiver.send(&request).await.kept();
    let Given { meta, unknown, raw } = given.recv().await.unwrap();
    assert_eq!((meta.id, meta.source.as_str()), (id, "stage"));
    assert_eq!(meta.environment, Environment::Stage);
    assert_eq!((meta.event_type.as_str(), meta.version), ("PingEvent", 1));
    assert_eq!((meta.message_id.as_str(), meta.message_id_derived), ("m-1", false));
    assert_eq!(meta.client_id.as_deref(), Some("acme"));
    assert_eq!(meta.user.as_deref(), Some("J\u{f6}rg"));
    assert_eq!(meta.event_time.unwrap().timestamp_millis(), 1_634_062_047_818);
    assert_eq!((meta.attempt, meta.replay, meta.is_replay()), (1, 0, false));
    assert_eq!(unknown.keys().collect::<Vec<_>>(), ["New", "EventDateUtc"]);
    assert_eq!(raw, body);
    let detail = receiver.stop().await.deliveries().await.remove(0);
    assert_eq!(detail.ordering_key.as_deref(), Some("stage Id=1"), "live has its own number 1");
    assert_eq!(detail.entry.received_at, meta.received_at);
}

#[tokio::test]
async fn the_live_source_says_so() {
    let (receiver, mut given) = start(SOURCES).await;
    receiver.send(&Request::live(PING, BODY)).await.kept();
    let meta = given.recv().await.unwrap().meta;
    assert_eq!((meta.source.as_str(), meta.environment), ("live", Environment::Live));
    assert_eq!((meta.user, meta.client_id, meta.event_time), (None, None, None));
}

#[tokio::test]
async fn a_replay_is_a_new_attempt_that_knows_it() {
    let (receiver, _given) = start(SOURCES).await;
    let (id, _) = receiver.send(&Request::live(PING, BODY).id("m")).await.kept();
    let stopped = receiver.finish().await;
    stopped.replay(id).await;
    let (tap, mut given) = unbounded_channel();
    let receiver = Receiver::start_in(stopped.0, SOURCES, catalog(), tap).await;
    let meta = given.recv().await.unwrap().meta;
    assert_eq!((meta.id, meta.attempt, meta.replay, meta.is_replay()), (id, 2, 1, true));
    assert_eq!(meta.message_id, "m");
    let detail = receiver.stop().await.deliveries().await.remove(0);
    let log = |entry: &AttemptEntry| (entry.attempt, entry.replay, entry.outcome.clone());
    let attempts: Vec<_> = detail.attempts.iter().map(log).collect();
    assert_eq!(attempts, [(1, 0, "done".to_owned()), (2, 1, "done".to_owned())]);
}

/// Asserts that every delivery was handled at the first attempt, and returns which events came.
async fn all_done(stopped: Stopped) -> Vec<String> {
    let deliveries = stopped.deliveries().await;
    for Detail { entry, .. } in &deliveries {
        let outcome = (entry.state, entry.attempts, entry.conflicts);
        assert_eq!(outcome, (State::Done, 1, 0), "{}: {:?}", entry.event_type, entry.last_error);
    }
    deliveries.into_iter().map(|delivery| delivery.entry.event_type).collect()
}

#[tokio::test]
async fn every_event_of_the_catalog_is_received_on_its_own_route_and_handled_once() {
    let context = fixture::Context::default();
    let receiver = Receiver::start(&open_sources(), fixture::catalog(), context).await;
    let mut expected = Vec::new();
    for row in fixture::table().events() {
        for name in std::iter::once(&row.name).chain(row.aliases) {
            let path = format!("/In/{}", row.dialect);
            let path = match row.version {
                1 => path,
                version => versioned(&path, version),
            };
            let request = Request::post(&format!("{path}/{name}"), row.example).id(name);
            let (_, new) = receiver.send(&request).await.kept();
            assert!(new, "{name}");
            expected.push(row.name);
        }
    }
    assert!(expected.len() > 14);
    assert_eq!(all_done(receiver.finish().await).await, expected);
}

#[tokio::test]
async fn what_emit_sends_is_accepted_and_handled() {
    let receiver = Receiver::start(SOURCES, fixture::catalog(), fixture::Context::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("receiver.toml");
    std::fs::write(&file, format!("listen = \"{}\"\n{SOURCES}", receiver.address)).unwrap();
    let mut emit = std::process::Command::new(env!("CARGO_BIN_EXE_fixture"));
    emit.args(["emit", "--all", "--source", "live", "--json", "--config"]).arg(&file);
    let output = tokio::task::spawn_blocking(move || emit.output()).await.unwrap().unwrap();
    let report = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{report}");
    let came: BTreeSet<String> = all_done(receiver.finish().await).await.into_iter().collect();
    let catalog = fixture::table();
    let own = catalog.events().filter(|row| row.dialect == Dialect::DirectScale);
    let all: BTreeSet<String> = own.map(|row| row.name.to_owned()).collect();
    assert_eq!(came, all);
}

/// A request to a delivery route, mostly with the right key, otherwise anything.
fn any_request() -> impl Strategy<Value = http::Request<Vec<u8>>> {
    let segment = prop_oneof![
        Just("PingEvent".to_owned()),
        Just("AnythingEvent".to_owned()),
        "[ -~]{0,12}",
        "(%[0-9a-fA-F]{2}|%|/|\\.){0,6}",
    ];
    let value = prop_oneof![any::<Vec<u8>>(), "\\PC{0,20}".prop_map(String::into_bytes)];
    let json = prop_oneof![
        "\\{\"(Id|EventType|EventDateUtc|\\\\u0000)\":(\\{\\}|[0-9]{1,40}|-0|1e999|\"\\\\ud800\"|\"\\PC{0,9}\")\\}",
        "(\\[|\\{\"a\":){0,300}",
        "\"\\PC{0,20}\"",
    ];
    let body = prop_oneof![any::<Vec<u8>>(), json.prop_map(String::into_bytes)];
    let name = prop::sample::select(vec![
        "x-directscale-message-id",
        "x-directscale-client-id",
        "x-directscale-user",
        "content-type",
        "content-encoding",
        "content-length",
        "authorization",
        "x-other",
    ]);
    let version =
        prop::sample::select(vec!["/api/webhooks/", "/api/v1/webhooks/", "/api/v2/webhooks"]);
    let headers = prop::collection::vec((name, value), 0..4);
    (version, segment, headers, body).prop_filter_map("no such request", |parts| {
        let (prefix, segment, headers, body) = parts;
        let mut request = http::Request::post(format!("{prefix}{segment}"))
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {KEY}"))
            .body(body)
            .ok()?;
        for (name, value) in headers {
            let value = http::HeaderValue::from_bytes(&value).ok()?;
            request.headers_mut().insert(name, value);
        }
        Some(request)
    })
}

#[test]
fn no_request_to_a_delivery_route_is_the_receivers_fault() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _in_runtime = runtime.enter();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("inbox.db");
    let inbox = Arc::new(runtime.block_on(Sqlite::open(&file, Options::receiver(16))).unwrap());
    let routes = routes(Arc::clone(&inbox), catalog(), CancellationToken::new());
    let mut seen = BTreeSet::new();
    let mut runner = proptest::test_runner::TestRunner::default();
    let statuses = std::cell::RefCell::new(&mut seen);
    runner
        .run(&any_request(), |request| {
            let response =
                runtime.block_on(routes.clone().oneshot(request.map(Body::from))).unwrap();
            let status = response.status().as_u16();
            statuses.borrow_mut().insert(status);
            prop_assert!(status < 500, "{status}");
            Ok(())
        })
        .unwrap();
    assert!(seen.contains(&200) && seen.contains(&400) && seen.contains(&401), "{seen:?}");
    let kept =
        runtime.block_on(inbox.list(Filter { limit: Some(1), ..Filter::default() })).unwrap();
    assert_eq!(kept.len(), 1);
}
