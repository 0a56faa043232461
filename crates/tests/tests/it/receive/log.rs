//! The log of the real program: one line a request, one line an attempt, and nothing that is secret in any.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::{Value, json};

use crate::harness::client::{Answer, Request};
use crate::harness::deliveries::PATIENCE;
use crate::harness::process::{Process, command, complaint, run};

/// The key; its beginning is looked for.
const KEY: &str = "hushKey!@%$^0123456789";

/// Stands in bodies, where a log has no business.
const IN_BODY: &str = "hushBody";

/// All that proves the sender of the second source.
const SECRET_PATH: &str = "hushpath0123456789abcdefghij";

const SETTINGS: &str = r#"
[sources.live]
dialect = "directscale"
bearer_tokens = ["hushKey!@%$^0123456789"]
[sources.open]
dialect = "directscale"
auth = "none"
path = "/open/api/hushpath0123456789abcdefghij"
[log]
filter = "debug"
"#;

const SECRETS: [&str; 3] = ["hushKey", IN_BODY, SECRET_PATH];

/// Sends the requests to the real program and returns the answers and the log.
async fn logged(requests: &[Request], attempts: usize) -> (Vec<Answer>, Vec<Value>) {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::serve(folder.path(), SETTINGS);
    let mut answers = Vec::new();
    for request in requests {
        answers.push(request.send(&process.address).await);
    }
    for _ in 0..attempts {
        process.wait_for(|line| line["message"] == "attempt");
    }
    (answers, process.stop())
}

fn post(event: &str, body: &str) -> Request {
    Request::post(&format!("/api/webhooks/{event}"), body).bearer(KEY)
}

fn order() -> Request {
    let body = json!({"OrderId": 7, "OrderCountry": IN_BODY, "New": IN_BODY});
    post("OrderEvent", &body.to_string()).id("m-1")
}

/// Requests that end in every way, each with how its line must end.
fn requests() -> Vec<(Request, u16, &'static str)> {
    let body = format!(r#"{{"OrderId":8,"OrderCountry":"{IN_BODY}"}}"#);
    let with = |field: &str| format!(r#"{{"OrderId":9,"{field}":"{IN_BODY}"}}"#);
    let open = |rest: &str| Request::post(&format!("/open/api{rest}"), &body);
    vec![
        (order(), 200, "new"),
        (order(), 200, "duplicate"),
        (post("OrderEvent", &body).id("m-1"), 200, "conflict"),
        (post("Unheard", &body), 200, "unrouted"),
        (post("OrderEvent", &format!(r#"{{"OrderId":{{"a":"{IN_BODY}"}}}}"#)), 200, "new"),
        (post("OrderEvent", &with("OrderTotal")), 200, "new"),
        (post("OrderEvent", &with("OrderDateUtc")), 200, "new"),
        (order().bearer("hushKey"), 401, "refused"),
        (order().set("Authorization", format!("Basic {KEY}")), 401, "refused"),
        (order().without("Authorization"), 401, "refused"),
        (post("OrderEvent", &format!("{{\"{IN_BODY}\":{IN_BODY}}}")), 400, "refused"),
        (post("OrderEvent", &format!("\"{IN_BODY}\"")), 400, "refused"),
        (order().set("Content-Type", "text/plain"), 415, "refused"),
        (order().method("PUT"), 405, "refused"),
        (open(&format!("/{SECRET_PATH}/OrderEvent")), 200, "new"),
        (open(&format!("/{SECRET_PATH}/OrderEvent")).method("PUT"), 405, "refused"),
        (open(&format!("/{SECRET_PATH}/OrderEvent/x")), 404, "refused"),
        (open(&format!("/v9/{}/OrderEvent", SECRET_PATH.to_uppercase())), 404, "refused"),
    ]
}

#[tokio::test]
async fn every_request_and_every_attempt_has_one_line_without_secrets() {
    let (requests, expected): (Vec<_>, Vec<_>) = requests()
        .into_iter()
        .map(|(request, status, outcome)| (request, (status, outcome)))
        .unzip();
    let (answers, lines) = logged(&requests, 5).await;
    let of = |message: &str| -> Vec<&Value> {
        lines.iter().filter(|line| line["message"] == message).collect()
    };
    assert_eq!(of("request").len(), answers.len());
    for (answer, (status, outcome)) in answers.iter().zip(expected) {
        let id = answer.header("x-request-id");
        let own: Vec<_> =
            of("request").into_iter().filter(|line| line["request.id"] == id).collect();
        assert_eq!(own.len(), 1, "{own:?}");
        let line = own[0];
        assert_eq!((answer.status, &line["status"]), (status, &json!(status)), "{line}");
        assert_eq!(line["outcome"], outcome, "{line}");
        assert!(line["source"].is_string() && line["duration_us"].is_u64(), "{line}");
        let warned = matches!(outcome, "refused" | "conflict");
        assert_eq!(line["reason"].is_string(), warned, "{line}");
        assert_eq!(line["level"], if warned { "WARN" } else { "INFO" });
        if status == 200 {
            assert_eq!(line["delivery.id"], answer.json()["deliveryId"]);
            assert_eq!(line["message.id"], answer.json()["messageId"]);
            assert!(line["event.type"].is_string(), "{line}");
        }
    }
    let attempts = of("attempt");
    let ends: Vec<_> = attempts.iter().map(|line| line["outcome"].as_str().unwrap()).collect();
    assert_eq!((ends.len(), ends.iter().filter(|end| **end == "dead").count()), (5, 3));
    for line in attempts {
        assert_eq!((&line["attempt"], &line["replay"]), (&json!(1), &json!(0)));
        for field in ["delivery.id", "duration_us"] {
            assert!(line[field].is_u64(), "{line}");
        }
        for field in ["message.id", "event.type", "source"] {
            assert!(line[field].is_string(), "{line}");
        }
        assert_eq!(line["error"].is_string(), line["outcome"] == "dead", "{line}");
    }
    assert_silent(&lines);
}

fn assert_silent(lines: &[Value]) {
    assert!(!lines.is_empty());
    for line in lines {
        let shown = line.to_string().to_lowercase();
        for secret in SECRETS {
            assert!(!shown.contains(&secret.to_lowercase()), "{line}");
        }
    }
}

#[tokio::test]
async fn what_is_no_delivery_has_its_line_with_method_and_path() {
    let requests = [
        Request::get("/readyz"),
        Request::get("/nowhere?secret=hushKey"),
        Request::get("/openapi.json").set("Authorization", format!("Bearer {KEY}")),
    ];
    let (answers, lines) = logged(&requests, 0).await;
    let paths: Vec<_> = lines
        .iter()
        .filter(|line| line["message"] == "request")
        .map(|line| {
            (line["method"].as_str().unwrap(), line["path"].as_str().unwrap(), &line["status"])
        })
        .collect();
    assert_eq!(
        paths,
        [
            ("GET", "/readyz", &json!(200)),
            ("GET", "/nowhere", &json!(404)),
            ("GET", "/openapi.json", &json!(200))
        ]
    );
    assert_silent(&lines);
    for answer in answers {
        assert!(!String::from_utf8_lossy(&answer.body).to_lowercase().contains("hush"));
    }
}

#[tokio::test]
async fn a_source_without_a_key_is_warned_of_at_every_start() {
    let (_, lines) = logged(&[], 0).await;
    let warned =
        |line: &Value| line["message"].as_str().unwrap().starts_with("[sources.open] auth");
    let warnings: Vec<_> = lines.iter().filter(|line| warned(line)).collect();
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0]["level"], "WARN");
}

#[tokio::test]
async fn a_sender_that_hangs_up_before_its_answer_leaves_a_line() {
    use tokio::io::AsyncWriteExt;
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::serve(folder.path(), SETTINGS);
    let mut stream = tokio::net::TcpStream::connect(&process.address).await.unwrap();
    let head = format!(
        "POST /api/webhooks/OrderEvent HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    drop(stream);
    let line = process.wait_for(|line| line["message"] == "request");
    let reason = line["reason"].as_str().unwrap();
    assert!(reason.contains("hung up") || reason.contains("broke off"), "{line}");
    process.stop();
}

/// A standard error that takes nothing: a pipe that is full and that nobody reads.
fn stuck() -> (UnixStream, UnixStream) {
    let (reader, mut writer) = UnixStream::pair().unwrap();
    writer.set_nonblocking(true).unwrap();
    while writer.write(&[b'x'; 1024]).is_ok() {}
    while writer.write(b"x").is_ok() {}
    writer.set_nonblocking(false).unwrap();
    (reader, writer)
}

/// Waits for the end of a process, but no longer than it may take.
fn ended(mut child: Child) -> ExitStatus {
    let (sender, receiver) = std::sync::mpsc::channel();
    let id = child.id();
    std::thread::spawn(move || sender.send(child.wait().unwrap()));
    receiver.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        let _ = Command::new("kill").args(["-KILL", &id.to_string()]).status();
        panic!("it does not end")
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_signal_drains_whatever_the_state_of_standard_error() {
    for signal in ["TERM", "HUP", "INT"] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("receiver.toml"), SETTINGS).unwrap();
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (_reader, writer) = stuck();
        let mut command = command(folder.path(), &["serve", "--listen", &address.to_string()]);
        let child = command.stderr(OwnedFd::from(writer)).stdin(Stdio::null()).spawn().unwrap();
        let id = child.id().to_string();
        let mut tries = 0;
        while tokio::net::TcpStream::connect(address).await.is_err() {
            tries += 1;
            assert!(tries < 2000, "it listens");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert_eq!(order().send(&address.to_string()).await.status, 200);
        assert!(
            Command::new("kill").args([&format!("-{signal}"), &id]).status().unwrap().success()
        );
        assert!(ended(child).success(), "{signal}");
    }
}

#[test]
fn a_start_that_fails_ends_though_nobody_takes_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (_reader, writer) = stuck();
    let mut command = command(folder.path(), &["serve", "--config", "none.toml"]);
    let child = command.stderr(OwnedFd::from(writer)).stdin(Stdio::null()).spawn().unwrap();
    assert_eq!(ended(child).code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_drains_the_receiver_unless_it_is_to_outlive_its_terminal() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("receiver.toml"), SETTINGS).unwrap();
    let inner = command(folder.path(), &["serve", "--listen", "127.0.0.1:0"]);
    let mut nohup = Command::new("sh");
    nohup.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).arg(inner.get_program());
    let mut process = Process::start(nohup.args(inner.get_args()).current_dir(folder.path()));
    process.signal("HUP");
    assert_eq!(order().send(&process.address).await.status, 200);
    process.wait_for(|line| line["message"] == "attempt");
    let lines = process.stop();
    assert!(lines.iter().all(|line| line["signal"] != "SIGHUP"), "{lines:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_from_outside_is_inert_on_standard_error() {
    let folder = tempfile::tempdir().unwrap();
    let text = complaint(run(folder.path(), &["inbox", "list", "--config", "a\u{1b}[2J\u{202e}b"]));
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
}
