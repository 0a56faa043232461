//! The emitter against real listeners: what arrives, when, and what is made of the answers.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::harness::emit::emit_args;
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::routing::post;
use contract::catalog::{Catalog, Table};
use contract::event::{Delivery, Event, Outcome};
use emitter::{EmitArgs, EmitReport, Plan, RunOutcome, run, send};
use serde::Deserialize;
use serde_json::{Value, json};
use settings::{Config, parse};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const PING: &str = "{\"Id\": 1, \"Amount\": 20.00,\n \"EventType\":\"PingEvent\"}";

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "PascalCase")]
#[allow(dead_code)]
struct Ping {
    id: i64,
    amount: f64,
    event_type: String,
}

impl Event for Ping {
    const TYPE: &'static str = "PingEvent";
    const ALIASES: &'static [&'static str] = &["17"];

    fn example() -> &'static str {
        PING
    }
}

#[derive(Deserialize, utoipa::ToSchema)]
struct Pong {}

impl Event for Pong {
    const TYPE: &'static str = "PongEvent";

    fn example() -> &'static str {
        "{}"
    }
}

fn table() -> Arc<Table> {
    catalog().table().unwrap()
}

fn catalog() -> Catalog<()> {
    async fn ping(_: (), _: Delivery<Ping>) -> Outcome {
        Ok(())
    }
    async fn pong(_: (), _: Delivery<Pong>) -> Outcome {
        Ok(())
    }
    Catalog::new().on(ping).on(pong)
}

fn args(line: &[&str]) -> EmitArgs {
    emit_args([&["emit"], line].concat()).unwrap_or_else(|error| panic!("{error}"))
}

fn config(listen: &str) -> Config {
    let text = format!(
        "listen = \"{listen}\"\n[sources.one]\ndialect = \"directscale\"\n\
         bearer_tokens = [\"k3y!@%$^\", \"second\"]\nclient_ids = [\"acme\"]\n"
    );
    parse(&text, [], "test").unwrap()
}

fn refusal(line: &[&str]) -> String {
    refusal_with(line, &config("127.0.0.1:8080"))
}

fn refusal_with(line: &[&str], config: &Config) -> String {
    format!("{:#}", Plan::new(&args(line), &table(), config).unwrap_err())
}

async fn emit(listen: &str, line: &[&str]) -> EmitReport {
    let plan = Plan::new(&args(line), &table(), &config(listen)).unwrap();
    send(&plan, std::future::pending()).await.unwrap()
}

/// What a listener has received: path, message id, body.
type Received = Arc<Mutex<Vec<(String, String, Bytes)>>>;

/// A receiver in miniature: new ids are accepted, known ones are duplicates, and `/refuse…` is 503.
async fn receiver() -> (String, Received) {
    let received = Received::default();
    let log = Arc::clone(&received);
    let handler = move |uri: Uri, headers: HeaderMap, body: Bytes| async move {
        let id = headers["x-directscale-message-id"].to_str().unwrap().to_owned();
        let mut log = log.lock().unwrap();
        let seen = log.iter().any(|(_, known, _)| *known == id);
        log.push((uri.path().to_owned(), id, body));
        let status = if seen { "duplicate" } else { "accepted" };
        match uri.path().starts_with("/refuse") {
            true => (StatusCode::SERVICE_UNAVAILABLE, json!({"detail": "draining"}).to_string()),
            false => (StatusCode::OK, json!({ "status": status }).to_string()),
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let app = Router::new().route("/{*path}", post(handler));
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, received)
}

/// A listener that answers one request with `answer` and returns its bytes.
async fn one_request(answer: &'static str) -> (String, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let request = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"}") {
            assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0);
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(bytes).unwrap()
    });
    (address, request)
}

const ACCEPTED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n{\"status\":\"accepted\"}";

#[tokio::test]
async fn headers_and_bytes_are_the_vendors() {
    let (listen, request) = one_request(ACCEPTED).await;
    let verdict = run(args(&["pingevent"]), &table(), &config(&listen)).await.unwrap();
    let request = request.await.unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let lines: Vec<&str> = head.lines().collect();
    assert_eq!(lines[0], "POST /api/webhooks/PingEvent HTTP/1.1");
    for line in [
        "Content-Type: application/json; charset=UTF-8",
        "Authorization: Bearer k3y!@%$^",
        "X-Directscale-Client-Id: acme",
        &format!("Content-Length: {}", PING.len()),
    ] {
        assert!(lines.contains(&line), "{line} is not in {head}");
    }
    let id = lines.iter().find_map(|line| line.strip_prefix("X-Directscale-Message-Id: ")).unwrap();
    assert_eq!(uuid::Uuid::parse_str(id).unwrap().get_version_num(), 4);
    assert!(!head.contains("X-Directscale-User"), "{head}");
    assert_eq!(body, PING);
    assert_eq!(verdict, RunOutcome::AsExpected);
}

#[tokio::test]
async fn ids_user_and_key_can_be_given() {
    let (listen, request) = one_request(ACCEPTED).await;
    let line = ["17", "--message-id", "m-1", "--client-id", "c 2", "--user", "jo", "--token", "x"];
    let report = emit(&listen, &line).await.json();
    let head = request.await.unwrap();
    for line in [
        "X-Directscale-Message-Id: m-1\r\n",
        "X-Directscale-Client-Id: c 2\r\n",
        "X-Directscale-User: jo\r\n",
        "Authorization: Bearer x\r\n",
    ] {
        assert!(head.contains(line), "{line} is not in {head}");
    }
    assert_eq!(report["message"]["id"], "m-1");
    assert_eq!(report["message"]["body"], json!({"status": "accepted"}));
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (elsewhere, _) = receiver().await;
    let moved =
        format!("HTTP/1.1 307 X\r\nLocation: http://{elsewhere}/\r\nContent-Length: 0\r\n\r\n");
    let (listen, _) = one_request(moved.leak()).await;
    let report = emit(&listen, &["PingEvent"]).await;
    assert_eq!(report.json()["message"]["status"], 307);
    assert!(!report.is_as_expected());
}

#[tokio::test]
async fn every_event_goes_to_its_own_path() {
    let (listen, received) = receiver().await;
    let report = emit(&listen, &["--all", "--count", "2", "--concurrency", "1"]).await;
    assert!(report.is_as_expected());
    let paths: Vec<_> = received.lock().unwrap().iter().map(|(path, ..)| path.clone()).collect();
    let round = ["/api/webhooks/PingEvent", "/api/webhooks/PongEvent"];
    assert_eq!(paths, [round, round].concat());
}

#[tokio::test]
async fn each_message_has_its_own_id_and_duplicates_share_it() {
    let (listen, received) = receiver().await;
    let report = emit(&listen, &["PingEvent", "--count", "5", "--duplicate", "2"]).await.json();
    let received = received.lock().unwrap();
    let ids: HashSet<_> = received.iter().map(|(_, id, _)| id).collect();
    assert_eq!((received.len(), ids.len()), (15, 5));
    assert_eq!(report["sent"], 15);
    assert_eq!(
        report["answers"],
        json!([
            {"status": 200, "answer": "accepted", "count": 5, "example": null},
            {"status": 200, "answer": "duplicate", "count": 10, "example": null},
        ])
    );
}

#[tokio::test]
async fn the_changed_body_keeps_all_other_bytes() {
    let (listen, received) = receiver().await;
    emit(&listen, &["PingEvent", "--set", "Id=2"]).await;
    assert_eq!(received.lock().unwrap()[0].2, PING.replace("\"Id\": 1", "\"Id\": 2"));
}

#[tokio::test]
async fn data_is_sent_byte_for_byte() {
    let (listen, received) = receiver().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    std::fs::write(path, "not json\r\n").unwrap();
    emit(&listen, &["AnyEvent", "--raw", "--data", path]).await;
    let received = received.lock().unwrap();
    assert_eq!(received[0].0, "/api/webhooks/AnyEvent");
    assert_eq!(received[0].2, "not json\r\n");
}

#[tokio::test]
async fn what_is_not_2xx_is_a_failure() {
    let (listen, _) = receiver().await;
    let to = format!("http://{listen}/refuse");
    let line = ["PingEvent", "--to", &to, "--count", "3"];
    let report = emit(&listen, &line).await;
    assert_eq!(
        report.json()["answers"],
        json!([{"status": 503, "answer": null, "count": 3, "example": {"detail": "draining"}}])
    );
    assert!(report.to_string().contains("0 accepted, 3 of 3 sent"), "{report}");
    let verdict = run(args(&line), &table(), &config(&listen)).await.unwrap();
    assert_eq!(verdict, RunOutcome::Unexpected);
}

#[tokio::test]
async fn a_refused_connection_is_reported_with_its_cause() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let report = emit(&closed, &["PingEvent", "--count", "2"]).await;
    let json = report.json();
    assert_eq!(json["errors"][0]["count"], 2);
    let cause = json["errors"][0]["cause"].as_str().unwrap();
    assert!(cause.starts_with("cannot connect: Connection refused"), "{cause}");
    assert_eq!(json["latency_ms"], Value::Null);
    assert!(!report.is_as_expected());
}

#[tokio::test]
async fn silence_ends_with_the_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = listener.local_addr().unwrap().to_string();
    let report = emit(&listen, &["PingEvent", "--timeout", "50ms"]).await.json();
    assert_eq!(report["message"]["error"], "no answer in time");
}

#[tokio::test]
async fn a_schedule_is_kept_although_no_answer_comes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = listener.local_addr().unwrap().to_string();
    let line = ["PingEvent", "--count", "8", "--rate", "100", "--concurrency", "8"];
    let plan = Plan::new(&args(&line), &table(), &config(&listen)).unwrap();
    let all_are_here = async {
        let mut open = Vec::new();
        while open.len() < 8 {
            open.push(listener.accept().await.unwrap());
        }
    };
    tokio::select! {
        _ = send(&plan, std::future::pending()) => panic!("nothing was answered"),
        () = all_are_here => {}
    }
}

#[tokio::test]
async fn a_stop_waits_for_what_is_on_its_way() {
    let (listen, received) = receiver().await;
    let line = ["PingEvent", "--count", "1000000", "--rate", "1000"];
    let plan = Plan::new(&args(&line), &table(), &config(&listen)).unwrap();
    let report = send(&plan, tokio::time::sleep(Duration::from_millis(50))).await.unwrap();
    let json = report.json();
    assert_eq!(json["interrupted"], true);
    assert_eq!(json["sent"], json["accepted"]);
    assert_eq!(json["sent"], received.lock().unwrap().len());
    let due = json["seconds"].as_f64().unwrap() * 1000.0;
    assert!(json["sent"].as_f64().unwrap() <= due + 2.0, "{json}");
    assert!(!report.is_as_expected());
}

#[tokio::test]
async fn the_configured_key_stays_with_the_configured_listener() {
    let (listen, received) = receiver().await;
    let to = format!("http://{listen}/x/");
    let elsewhere = refusal(&["PingEvent", "--to", &to]);
    assert!(elsewhere.contains("--token-file") && !elsewhere.contains("k3y"), "{elsewhere}");
    let report = emit("127.0.0.1:1", &["PingEvent", "--to", &to, "--token", "given"]).await;
    assert!(report.is_as_expected());
    assert_eq!(received.lock().unwrap()[0].0, "/x/PingEvent");
}

#[test]
fn plain_http_leaves_the_machine_only_on_request() {
    let line = ["PingEvent", "--to", "http://hooks.example.com/", "--token", "x"];
    assert!(refusal(&line).contains("--allow-http"));
    let line = [&line[..], &["--allow-http"]].concat();
    assert!(Plan::new(&args(&line), &table(), &config("127.0.0.1:1")).is_ok());
}

#[test]
fn a_body_that_is_not_the_model_is_refused_with_its_path() {
    let refused = refusal(&["PingEvent", "--set", "Id=\"one\""]);
    assert!(refused.contains("at Id") && refused.contains("--raw"), "{refused}");
    let raw = args(&["PingEvent", "--set", "Id=\"one\"", "--raw"]);
    assert!(Plan::new(&raw, &table(), &config("127.0.0.1:1")).is_ok());
}

#[test]
fn fields_that_the_model_does_not_know_are_a_warning() {
    let warnings = |line: &[&str]| {
        let plan = Plan::new(&args(line), &table(), &config("127.0.0.1:1")).unwrap();
        plan.warnings().to_vec()
    };
    assert_eq!(
        warnings(&["PingEvent", "--set", "New=1"]),
        ["the model of PingEvent does not know New"]
    );
    assert!(warnings(&["PingEvent", "--set", "Id=3"]).is_empty());
}

#[test]
fn an_unknown_event_is_answered_with_the_nearest() {
    assert!(refusal(&["pin"]).contains("did you mean `PingEvent`?"));
    assert!(refusal(&["xyz"]).contains("known are PingEvent, PongEvent"));
    assert!(refusal(&["../admin", "--raw"]).contains("cannot stand in a path"));
}

#[test]
fn arguments_that_contradict_each_other_are_refused() {
    assert!(refusal(&["PingEvent", "--count", "2", "--message-id", "m"]).contains("--duplicate"));
    assert!(refusal(&["--all", "--data", "-"]).contains("one event"));
    assert!(refusal(&["PingEvent", "--source", "two"]).contains("configured: one"));
    assert!(refusal(&["PingEvent", "--token", ""]).contains("empty"));
    assert!(emit_args(["emit"]).is_err());
    assert!(emit_args(["emit", "PingEvent", "--all"]).is_err());
}

#[test]
fn several_sources_need_a_choice() {
    let source =
        |name| format!("[sources.{name}]\ndialect = \"directscale\"\nbearer_tokens = \"k\"\n");
    let two = parse(&(source("live") + &source("stage")), [], "test").unwrap();
    assert!(refusal_with(&["PingEvent"], &two).contains("--source: live, stage"));
    assert!(Plan::new(&args(&["PingEvent", "--source", "stage"]), &table(), &two).is_ok());
}

#[test]
fn without_a_source_the_target_and_its_key_are_given() {
    let none = Config::default();
    assert!(refusal_with(&["PingEvent"], &none).contains("--to"));
    let to = ["PingEvent", "--to", "https://hooks.example.com/{event}"];
    assert!(refusal_with(&to, &none).contains("--token-file"));
    let line = [&to[..], &["--token", "x"]].concat();
    assert!(Plan::new(&args(&line), &table(), &none).is_ok());
}

#[test]
fn a_dry_run_shows_everything_but_the_key() {
    let line = ["PingEvent", "--message-id", "m-1", "--token", "k3y"];
    let plan = Plan::new(&args(&line), &table(), &config("127.0.0.1:8080")).unwrap();
    let text = plan.to_string();
    assert_eq!(
        text.trim_end(),
        format!(
            "POST http://127.0.0.1:8080/api/webhooks/PingEvent\n\
             Content-Type: application/json; charset=UTF-8\nAuthorization: Bearer ****\n\
             User-Agent: webhook-receiver/{version}\nX-Directscale-Client-Id: acme\nX-Directscale-Message-Id: m-1\n\n{PING}",
            version = env!("CARGO_PKG_VERSION")
        )
    );
    assert_eq!(
        plan.json().unwrap()["requests"][0]["headers"][1],
        json!(["Authorization", "Bearer ****"])
    );
    for shown in
        [format!("{plan:?}"), format!("{:?}", args(&line)), plan.json().unwrap().to_string()]
    {
        assert!(!shown.contains("k3y"), "{shown}");
    }
}

#[test]
fn the_emitters_key_is_no_setting() {
    let vars = [("RECEIVER_EMIT_TOKEN".to_owned(), "k3y".to_owned())];
    assert!(parse("", vars, "test").is_ok());
}
