//! `doctor --expect`: what arrived at a running receiver, and what is wrong with it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::harness::client::Request;
use crate::harness::process::{Process, command, complaint, printed, run};
use crate::harness::receiver::SOURCES;

const PATH: &str = "/api/webhooks/OrderEvent";

/// A doctor that has begun to wait.
struct Waiting(Child);

impl Waiting {
    fn begin(folder: &Path, args: &[&str]) -> Waiting {
        let args = [&["doctor", "--expect", "--json"], args].concat();
        let mut command = command(folder, &args);
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut told = String::new();
        BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut told).unwrap();
        assert!(told.starts_with("waiting for "), "{told}");
        Waiting(child)
    }

    /// What it says in the end, and its exit code.
    fn end(self) -> (Value, Option<i32>) {
        let output = self.0.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let said = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        (said, output.status.code())
    }
}

#[track_caller]
fn says(said: &Value, verdict: &str, part: &str) {
    let notes = said["notes"].as_array().unwrap();
    let is =
        |note: &Value| note["verdict"] == verdict && note["text"].as_str().unwrap().contains(part);
    assert!(notes.iter().any(is), "{verdict} {part}: {said:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_is_told_with_its_key_its_event_and_its_fit() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::serve(folder.path(), SOURCES);
    let waiting = Waiting::begin(folder.path(), &["--source", "live", "--event", "1"]);
    let other = Request::live("/api/webhooks/DailyEvent", r#"{"EventType":"DailyEvent"}"#);
    other.id("other").send(&process.address).await.kept();
    let body =
        r#"{"OrderId":1,"EventType":"1","GiftNote":"x","EventDateUtc":"2999-01-01T00:00:00Z"}"#;
    Request::live(PATH, body).id("m-1").send(&process.address).await.kept();
    let (said, code) = waiting.end();
    assert_eq!(code, Some(0), "{said:#}");
    assert_eq!(said["delivery"]["messageId"], "m-1");
    says(&said, "pass", "proved by the key ");
    says(&said, "pass", "announced as \"1\"");
    says(&said, "pass", "no X-Directscale-User header");
    says(&said, "warn", "the model does not know GiftNote");
    says(&said, "warn", "one of the clocks is wrong");
    says(&said, "pass", "handled");
    assert!(said["diff"].as_str().unwrap().contains("+    pub gift_note: Option<String>,"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_not_its_model_fails_with_the_lines_that_mend_it() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::serve(folder.path(), SOURCES);
    let waiting = Waiting::begin(folder.path(), &[]);
    Request::live(PATH, r#"{"OrderId":{}}"#).send(&process.address).await.kept();
    let (said, code) = waiting.end();
    assert_eq!(code, Some(1));
    says(&said, "fail", "the body is not its model");
    says(&said, "warn", "no message id in X-Directscale-Message-Id");
    says(&said, "pass", "named by the path alone");
    says(&said, "fail", "given up");
    assert!(said["diff"].as_str().unwrap().contains("-    pub order_id: Id,"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resend_and_an_unknown_event_are_told_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::serve(folder.path(), SOURCES);
    let request = Request::live("/api/webhooks/OrdersEvent", "{}").id("m-1");
    request.send(&process.address).await.kept();
    let waiting = Waiting::begin(folder.path(), &[]);
    request.send(&process.address).await.kept();
    let (said, code) = waiting.end();
    assert_eq!(code, Some(0));
    says(&said, "pass", "a resend: the message came before");
    says(&said, "warn", "no handler takes it; OrderEvent is the nearest");
}

#[tokio::test(flavor = "multi_thread")]
async fn if_nothing_arrives_it_is_told_what_was_refused_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::serve(folder.path(), SOURCES);
    let waiting = Waiting::begin(folder.path(), &["--within", "2s"]);
    Request::post(PATH, "{}").send(&process.address).await.problem(401, "unauthorized");
    Request::post(PATH, "{}")
        .bearer("stage-key")
        .send(&process.address)
        .await
        .problem(401, "unauthorized");
    Request::live("/api/webhook/OrderEvent", "{}")
        .send(&process.address)
        .await
        .problem(404, "not-found");
    Request::live(PATH, "{").send(&process.address).await.problem(400, "bad-request");
    let (said, code) = waiting.end();
    assert_eq!(code, Some(1));
    says(&said, "fail", "nothing arrived that was accepted");
    let refused = said["refused"].as_array().unwrap();
    let reasons: Vec<&str> = refused.iter().filter_map(|seen| seen["reason"].as_str()).collect();
    assert!(reasons.contains(&"no Authorization header"), "{refused:#?}");
    assert!(reasons.iter().any(|reason| reason.contains("not JSON")), "{refused:#?}");
    assert!(
        refused.iter().any(|seen| seen["target"] == "POST /api/webhook/OrderEvent"),
        "{refused:#?}"
    );
}

#[test]
fn without_an_inbox_or_with_an_unknown_source_nothing_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("receiver.toml"), SOURCES).unwrap();
    assert!(complaint(run(folder.path(), &["doctor", "--expect"])).contains("no inbox"));
    let args = ["doctor", "--expect", "--source", "nobody"];
    assert!(complaint(run(folder.path(), &args)).contains("no source `nobody`"));
}

#[test]
fn silence_is_told_as_silence() {
    let folder = tempfile::tempdir().unwrap();
    let _process = Process::serve(folder.path(), SOURCES);
    let (said, code) = Waiting::begin(folder.path(), &["--within", "300ms"]).end();
    assert_eq!(code, Some(1));
    says(&said, "fail", "nothing arrived, and nothing was refused");
}

#[test]
fn a_card_says_what_to_enter_and_no_key_unless_asked() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("receiver.toml"), SOURCES).unwrap();
    let card = |more: &[&str]| {
        let args =
            [&["connect", "directscale", "--base", "https://hooks.acme.example"], more].concat();
        printed(run(folder.path(), &args))
    };
    let text = card(&[]);
    for part in [
        "DirectScale (live), source live",
        "DirectScale (stage), source stage",
        "Event Subscriptions",
        "https://hooks.acme.example/api/webhooks/CreateOrderEvent",
        "https://hooks.acme.example/stage/api/webhooks/OrderEvent",
        "Extension Secret",
        "X-Directscale-Message-Id",
        "doctor https://hooks.acme.example/api/webhooks/ --source live --events",
        "doctor --expect --source stage",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("stage-key"), "{text}");
    assert!(card(&["--show-key"]).contains("stage-key"));
    let none = complaint(run(folder.path(), &["connect", "github"]));
    assert!(
        none.contains("[sources.github]\ndialect = \"github\"")
            && none.contains("signing_key_files")
    );
    assert!(complaint(run(folder.path(), &["connect", "nobody"])).contains("no source or sender"));
}
