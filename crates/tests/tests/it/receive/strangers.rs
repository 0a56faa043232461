//! Strangers, who prove nothing: they take nothing that genuine deliveries need.

use std::io;

use chrono::Utc;
use fixture::Context;
use signature::{Key, Scheme, Stamp};

use crate::harness::client::Request;
use crate::harness::client::{Answer, Wire};
use crate::harness::receiver::Receiver;

const KEY: &str = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTE=";

/// A signed source, which calls hooks too, and one with a bearer key.
const SOURCES: &str = r#"
[sources.signed]
dialect = "directscale"
auth = "signature"
scheme = "github"
path = "/signed"
signing_keys = ["c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTE="]
rate_limit = 5
[sources.signed.hooks]
path = "/api/hooks"
concurrency = 2
unhandled = "refuse"
[sources.bearer]
dialect = "directscale"
path = "/bearer"
bearer_tokens = ["k3y"]
"#;

const FORGED: &str = "sha256=0000000000000000000000000000000000000000000000000000000000000000";

async fn start(settings: &str) -> Receiver {
    let settings = format!("{SOURCES}\n{settings}");
    Receiver::start(&settings, fixture::catalog(), Context::default()).await
}

fn signed(path: &str, body: &str) -> Request {
    let scheme = Scheme::named("github").unwrap();
    let key = Key::new(&scheme, &KEY.into()).unwrap();
    let stamp = Stamp { id: "", time: Utc::now() };
    let headers = scheme.sign(&[&key], stamp, body.as_bytes()).unwrap();
    Request::post(path, body).set("X-Hub-Signature-256", headers[0].1.as_bytes())
}

fn call(body: &str) -> Request {
    signed("/api/hooks/A.B", body).set("X-DirectScale-CallbackToken", "t")
}

/// A head with a forged signature, whose body waits until it is asked for.
fn forged_head(path: &str, length: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n\
         X-Hub-Signature-256: {FORGED}\r\nExpect: 100-continue\r\n{length}\r\n\r\n"
    )
}

/// Sends a head with a forged signature and this of its body, once the receiver waits for the body.
async fn stranger(receiver: &Receiver, path: &str, length: &str, sent: &str) -> Wire {
    let mut wire = Wire::connect(receiver.address.parse().unwrap()).await.unwrap();
    wire.send(&forged_head(path, length)).await.unwrap();
    assert_eq!(wire.answer().await.unwrap().status, 100);
    wire.send(sent).await.unwrap();
    wire
}

async fn strangers(receiver: &Receiver, count: usize, length: &str, sent: &str) -> Vec<Wire> {
    let mut strangers = Vec::new();
    for _ in 0..count {
        strangers.push(stranger(receiver, "/signed/OrderEvent", length, sent).await);
    }
    strangers
}

/// Deliveries of both sources are accepted.
async fn assert_served(receiver: &Receiver) {
    for n in 0..8 {
        let body = format!("{{\"OrderId\":{n}}}");
        let bearer = Request::post("/bearer/OrderEvent", &body).bearer("k3y").id(&body);
        assert!(receiver.send(&bearer).await.kept().1);
        let answer = receiver.send(&signed("/signed/OrderEvent", &body)).await;
        assert!([200, 429].contains(&answer.status), "{answer:?}");
        assert!(n >= 5 || answer.status == 200, "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_strangers_announce_takes_no_memory() {
    let receiver = start("").await;
    let _silent = strangers(&receiver, 70, "Content-Length: 1048576", "").await;
    assert_served(&receiver).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_never_end_take_no_turns() {
    let receiver = start("[limits]\nconcurrency = 4\n").await;
    let _silent = strangers(&receiver, 10, "Content-Length: 100", "").await;
    let _dripping = strangers(&receiver, 10, "Content-Length: 100", "{").await;
    let _chunked = strangers(&receiver, 10, "Transfer-Encoding: chunked", "ff\r\n{").await;
    assert_served(&receiver).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_fill_the_memory_give_way() {
    let receiver = start("[limits]\nmax_body = 10000\nbuffered = 40000\n").await;
    let almost = "x".repeat(9999);
    let mut plain = strangers(&receiver, 10, "Content-Length: 10000", &almost).await;
    let chunk = format!("2710\r\n{almost}");
    let mut chunked = strangers(&receiver, 10, "Transfer-Encoding: chunked", &chunk).await;
    assert_served(&receiver).await;
    let mut answers = Vec::new();
    for (wires, end) in [(&mut plain, "x"), (&mut chunked, "x\r\n0\r\n\r\n")] {
        for wire in wires {
            // Whoever gave way has been answered already.
            let _ = wire.send(end).await;
            answers.push(wire.answer().await.unwrap().status);
        }
    }
    assert!(answers.iter().all(|status| [401, 503].contains(status)), "{answers:?}");
    assert!(answers.contains(&401), "no more give way than have to: {answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_never_end_take_no_turns_of_hooks() {
    let receiver = start("").await;
    let mut silent = Vec::new();
    for _ in 0..5 {
        let path = "/api/hooks/A.B";
        silent.push(stranger(&receiver, path, "Content-Length: 100", "{").await);
    }
    // Nobody handles it, but it has come as far as that.
    let answer = receiver.send(&call("{}")).await;
    assert_eq!(answer.status, 501, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_drips_is_answered_408_while_it_proves_nothing() {
    let receiver = start("").await;
    let wires = [
        stranger(&receiver, "/signed/OrderEvent", "Content-Length: 100", "{").await,
        stranger(&receiver, "/signed/OrderEvent", "Transfer-Encoding: chunked", "ff\r\n").await,
        stranger(&receiver, "/api/hooks/A.B", "Content-Length: 100", "").await,
    ];
    for mut wire in wires {
        let answer = wire.answer().await.unwrap();
        assert_eq!(answer.status, 408, "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forgeries_use_up_no_rate_of_genuine_deliveries() {
    let receiver = start("").await;
    for n in 0..100 {
        let body = format!("{{\"OrderId\":{n}}}");
        let forged = Request::post("/signed/OrderEvent", &body).set("X-Hub-Signature-256", FORGED);
        assert_eq!(receiver.send(&forged).await.status, 401);
    }
    let mut statuses = Vec::new();
    for n in 0..10 {
        let body = format!("{{\"OrderId\":{n}}}");
        statuses.push(receiver.send(&signed("/signed/OrderEvent", &body)).await.status);
    }
    assert_eq!(statuses[..5], [200; 5], "{statuses:?}");
    assert!(statuses.contains(&429), "{statuses:?}");
}

/// Everything that can be answered before a body is read, each with a body that is larger than any buffer.
#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_can_be_read_by_a_sender_that_is_still_sending() {
    let receiver = start("[docs]\n[limits]\nmax_body = 1000000\n").await;
    let address: std::net::SocketAddr = receiver.address.parse().unwrap();
    let head = |line: &str, more: &str| {
        format!("{line} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n{more}")
    };
    let key = "Authorization: Bearer k3y\r\n";
    let cases = [
        (413, head("POST /bearer/OrderEvent", key)),
        (401, head("POST /bearer/OrderEvent", "")),
        (404, head("POST /nowhere", "")),
        (404, head("POST /bearer/a/b", key)),
        (405, head("PUT /bearer/OrderEvent", key)),
        (405, head("POST /healthz", "")),
        (413, head("POST /api/hooks/A.B", &format!("X-Hub-Signature-256: {FORGED}\r\n"))),
        (401, head("POST /api/hooks/A.B", "")),
        (405, head("PUT /api/hooks/A.B", "")),
        (415, head("POST /bearer/OrderEvent", &format!("{key}Content-Encoding: gzip\r\n"))),
        (400, head("POST /bearer/OrderEvent", &format!("{key}Host: i\r\n"))),
        (431, head("POST /bearer/OrderEvent", &"X-N: 1\r\n".repeat(100))),
        (400, head("POST  /bearer/OrderEvent", key)),
    ];
    let body = vec![b' '; 3_000_000];
    for (status, head) in cases {
        let plain = format!("{head}Content-Length: {}\r\n\r\n", body.len());
        let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n2dc6c0\r\n");
        for head in [plain, chunked] {
            // A chunked body's size is only known once it is read.
            let tries = if status == 413 { 50 } else { 3 };
            for _ in 0..tries {
                let (head, body) = (head.clone(), body.clone());
                let sending = move || send_all_then_read(address, &head, &body);
                let answer = tokio::task::spawn_blocking(sending).await.unwrap();
                assert_eq!(answer.unwrap_or_else(|error| panic!("{status}: {error}")), status);
            }
        }
    }
}

/// Sends everything before it reads a byte, as simple clients do.
fn send_all_then_read(address: std::net::SocketAddr, head: &str, body: &[u8]) -> io::Result<u16> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.write_all(head.as_bytes())?;
    for piece in body.chunks(65536) {
        stream.write_all(piece)?;
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer
        .get(9..12)
        .and_then(|status| status.parse().ok())
        .ok_or(io::ErrorKind::InvalidData.into())
}

async fn raw(receiver: &Receiver, request: &str) -> io::Result<Answer> {
    let mut wire = Wire::connect(receiver.address.parse().unwrap()).await.unwrap();
    wire.send(request).await?;
    let answer = wire.answer().await?;
    wire.closed().await;
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_is_answered_logged_and_counted_too() {
    let receiver = start("[limits]\nmax_head = 8192\nhead_timeout = \"300ms\"\n").await;
    let line = "GET /healthz HTTP/1.1\r\n";
    let cases = [
        (431, format!("{line}Host: h\r\n{}\r\n", "X-N: 1\r\n".repeat(100))),
        (431, format!("{line}Host: h\r\nX-Large: {}\r\n\r\n", "x".repeat(9000))),
        (414, format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(70_000))),
        (400, format!("{line}\r\n")),
        (400, format!("{line}Host: a\r\nHost: b\r\n\r\n")),
        (400, format!("{line}Host: a b\r\n\r\n")),
        (400, format!("{line}Host: h\r\nno colon\r\n\r\n")),
        (400, format!("{line}Host: h\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n")),
        (501, format!("{line}Host: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n")),
        (400, format!("{line}Host: h\r\nTransfer-Encoding: gzip\r\n\r\n")),
        (400, format!("{line}Host: h\r\nContent-Length: 1, 2\r\n\r\n")),
        (400, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        (400, "GET /healthz HTTP/2.0\r\n\r\n".to_owned()),
        (400, "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\u{fc}\u{3}\u{3}".to_owned()),
        (408, format!("{line}Host: h\r\n")),
    ];
    for (status, request) in &cases {
        let start: String = request.chars().take(120).collect();
        let answer = raw(&receiver, request).await.unwrap_or_else(|e| panic!("{start:?}: {e}"));
        // With a target that long, the head is too large as well.
        let expected = if *status == 414 { 431 } else { *status };
        assert_eq!(answer.status, expected, "{start:?}: {answer:?}");
        assert!(answer.header("content-type") == "application/problem+json", "{answer:?}");
        assert!(!answer.header("x-request-id").is_empty(), "{answer:?}");
        assert!(!answer.header("date").is_empty(), "{answer:?}");
        assert!(answer.text().contains("\"instance\""), "{answer:?}");
    }
    let metrics = receiver.send(&Request::get("/metrics")).await;
    let metrics = String::from_utf8(metrics.body).unwrap();
    for (status, count) in [(431, 3), (400, 10), (501, 1), (408, 1)] {
        let line = format!("webhook_refusals_total{{status=\"{status}\"}} {count}");
        assert!(metrics.lines().any(|known| known == line), "{line}: {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_beside_chunks_is_dropped_and_the_connection_closed() {
    let receiver = start("").await;
    for order in [
        ["Transfer-Encoding: chunked", "Content-Length: 30"],
        ["Content-Length: 30", "Transfer-Encoding: chunked"],
    ] {
        let head = "POST /bearer/OrderEvent HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer k3y\r\n\
                    Content-Type: application/json";
        let rest = "2\r\n{}\r\n0\r\n\r\nGET /healthz";
        let request = format!("{head}\r\n{}\r\n{}\r\n\r\n{rest}", order[0], order[1]);
        let answer = raw(&receiver, &request).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.header("connection") == "close", "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn max_head_is_exact() {
    let receiver = start("[limits]\nmax_head = 8192\n").await;
    let head = |length: usize| {
        let rest = "GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX: \r\n\r\n";
        rest.replace("X: ", &format!("X: {}", "x".repeat(length - rest.len())))
    };
    for (length, status) in [(8000, 200), (8191, 200), (8192, 200), (8193, 431), (8500, 431)] {
        let answer = raw(&receiver, &head(length)).await.unwrap();
        assert_eq!(answer.status, status, "{length}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_anybody_gets_protects_no_connection() {
    let asked = "\n[sources.asked]\ndialect = \"cloudevents\"\nauth = \"bearer\"\npath = \"/asked\"\n\
                 bearer_tokens = [\"k3y\"]\nallowed_origins = [\"*\"]\n";
    for front in [
        "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n",
        "HEAD /signed/OrderEvent HTTP/1.1\r\nHost: h\r\n\r\n",
        "OPTIONS /asked HTTP/1.1\r\nHost: h\r\nWebHook-Request-Origin: o\r\n\r\n",
    ] {
        let receiver = start(&format!("{asked}[limits]\nconnections = 20\n")).await;
        let mut strangers = Vec::new();
        for _ in 0..20 {
            let mut wire = Wire::connect(receiver.address.parse().unwrap()).await.unwrap();
            wire.send(front).await.unwrap();
            assert_eq!(wire.answer().await.unwrap().status, 200, "{front}");
            wire.send(&forged_head("/signed/OrderEvent", "Content-Length: 900000")).await.unwrap();
            assert_eq!(wire.answer().await.unwrap().status, 100, "{front}");
            strangers.push(wire);
        }
        assert_served(&receiver).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forgeries_on_several_sources_take_no_memory_of_genuine_deliveries() {
    let source = |name: &str| {
        format!(
            "\n[sources.{name}]\ndialect = \"directscale\"\nauth = \"signature\"\nscheme = \"github\"\n\
             path = \"/{name}\"\nsigning_keys = [\"{KEY}\"]\n"
        )
    };
    let sources = ["two", "three", "four"].map(source).concat();
    let receiver = start(&format!("{sources}[limits]\nbuffered = 8388608\n")).await;
    let almost = "x".repeat(1_048_575);
    let mut strangers = Vec::new();
    for _ in 0..5 {
        for path in ["/signed/OrderEvent", "/two/OrderEvent", "/three/OrderEvent"] {
            let length = "Content-Length: 1048576";
            strangers.push(stranger(&receiver, path, length, &almost).await);
        }
    }
    for (n, size) in [10, 400_000, 10, 400_000].into_iter().enumerate() {
        let body = format!("{{\"N\":{n}{}}}", " ".repeat(size - 7));
        let bearer = Request::post("/bearer/OrderEvent", &body).bearer("k3y").id(&n.to_string());
        assert_eq!(receiver.send(&bearer).await.status, 200, "{size}");
        for path in ["signed", "two", "three", "four"] {
            let answer = receiver.send(&signed(&format!("/{path}/OrderEvent"), &body)).await;
            assert_eq!(answer.status, 200, "{path} {size}: {answer:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_ends_its_side_behind_a_request_gets_its_answer() {
    let receiver = start("").await;
    let bodies = [
        "Content-Length: 13\r\n\r\n{\"OrderId\":1}",
        "Transfer-Encoding: chunked\r\n\r\nd\r\n{\"OrderId\":2}\r\n0\r\n\r\n",
    ];
    for body in bodies.iter().cycle().take(20) {
        let mut wire = Wire::connect(receiver.address.parse().unwrap()).await.unwrap();
        let head = "POST /bearer/OrderEvent HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer k3y\r\n\
                    Content-Type: application/json\r\n";
        wire.send(&format!("{head}{body}")).await.unwrap();
        wire.end().await.unwrap();
        assert_eq!(wire.answer().await.unwrap().status, 200);
        wire.closed().await;
    }
    assert_eq!(receiver.stop().await.deliveries().await.len(), 2);
}
