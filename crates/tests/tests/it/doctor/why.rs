//! Why a request was refused: the owner's log says it, the sender's answer does not, and a flood stays cheap.

use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use contract::time::Timestamp;
use serde_json::Value;
use signature::{Fingerprint, Key, Scheme, Stamp};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::client::{Answer, Request};
use crate::harness::process::Process;

const LIVE: &str = "hushLiveKey0123456789";
const STAGE: &str = "hushStageKey0123456789";
const BEARER: &str = "hushBearer!@%$^0123456789";
const BODY: &str = r#"{"event_id":"evt_1","event_type":"order.created","note":"hushBody"}"#;

const SETTINGS: &str = r#"
[sources.live]
dialect = "evolutionx"
path = "/live"
signing_keys = ["hushLiveKey0123456789"]
retired_keys = ["hushFormerKey0123456789"]
[sources.stage]
dialect = "evolutionx"
environment = "stage"
path = "/stage"
signing_keys = ["hushStageKey0123456789"]
[sources.bearer]
dialect = "directscale"
path = "/bearer"
bearer_tokens = ["hushBearer!@%$^0123456789"]
[log]
filter = "debug"
"#;

/// Signed for EvolutionX.
fn signed(path: &str, key: &str, time: Timestamp, body: &str) -> Request {
    let scheme = Scheme::named("evolutionx").unwrap();
    let key = Key::new(&scheme, &key.into()).unwrap();
    let headers = scheme.sign(&[&key], Stamp { id: "", time }, body.as_bytes()).unwrap();
    let set = |request: Request, (name, value): (String, http::HeaderValue)| {
        let name = ["Evox-Signature", "Evox-Time"].into_iter().find(|known| *known == name);
        request.set(name.unwrap(), value)
    };
    headers.into_iter().fold(Request::post(path, body), set)
}

fn serve() -> (TempDir, Process) {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::serve(folder.path(), SETTINGS);
    (folder, process)
}

fn is_finding(line: &Value) -> bool {
    line["message"].as_str().is_some_and(|message| message.starts_with("rejected: "))
}

/// The finding about this answer's request.
fn finding(process: &mut Process, answer: &Answer) -> Value {
    let id = answer.header("x-request-id").to_owned();
    process.wait_for(|line| is_finding(line) && line["request.id"] == id)
}

fn assert_silent(lines: &[Value]) {
    assert!(lines.iter().any(is_finding));
    for line in lines {
        assert!(!line.to_string().to_lowercase().contains("hush"), "{line}");
        let text = line.to_string();
        let longest = text.split(|c: char| !c.is_ascii_hexdigit()).map(str::len).max();
        assert!(longest < Some(32), "no signature: {line}");
    }
}

/// The answer without what differs from one to the next.
fn public(answer: &Answer) -> (u16, Vec<(String, String)>, Value) {
    let shown = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.to_string(), value.to_str().unwrap().to_owned())
    };
    let mut headers: Vec<_> = answer.headers.iter().map(shown).collect();
    headers.retain(|(name, _)| !["x-request-id", "date"].contains(&name.as_str()));
    (answer.status, headers, answer.json())
}

#[tokio::test]
async fn the_log_says_what_would_have_matched_and_the_answer_does_not() {
    let (_folder, mut process) = serve();
    let now = Utc::now();
    let forged = signed("/live", "somebody else's", now, BODY);
    let forged = process_answer(&process, &forged).await;
    let unknown = finding(&mut process, &forged);
    assert!(unknown["message"].as_str().unwrap().contains("no key of any source"), "{unknown}");
    let stage = process_answer(&process, &signed("/live", STAGE, now, BODY)).await;
    let line = finding(&mut process, &stage);
    let expected = format!(
        "rejected: it is signed with the key {} of source `stage`",
        Fingerprint::of(&STAGE.into())
    );
    assert_eq!((&line["level"], &line["source"]), (&"WARN".into(), &"live".into()));
    assert_eq!(line["message"], expected);
    assert_eq!(public(&stage), public(&forged), "the sender learns nothing from it");
    assert_eq!(stage.problem(401, "unauthorized"), None);
    let retired = signed("/live", "hushFormerKey0123456789", now, BODY);
    let retired = process_answer(&process, &retired).await;
    let line = finding(&mut process, &retired);
    assert!(line["message"].as_str().unwrap().contains("retired_keys"), "{line}");
    let bearer = Request::post("/bearer/OrderEvent", "{}").set("Authorization", BEARER);
    let bearer = process_answer(&process, &bearer).await;
    let line = finding(&mut process, &bearer);
    assert!(line["message"].as_str().unwrap().contains("without `Bearer `"), "{line}");
    let lines = process.stop();
    assert_silent(&lines);
    let request = |line: &&Value| line["message"] == "request";
    let reasons: Vec<_> = lines.iter().filter(request).map(|line| &line["reason"]).collect();
    assert!(reasons.iter().all(|reason| reason.is_string()), "each line keeps its reason");
}

async fn process_answer(process: &Process, request: &Request) -> Answer {
    request.send(&process.address).await
}

#[tokio::test]
async fn what_the_headers_alone_refuse_is_looked_into_with_its_body() {
    let (_folder, mut process) = serve();
    let late = signed("/stage", STAGE, Utc::now() - TimeDelta::hours(2), BODY);
    let late = process_answer(&process, &late).await;
    let line = finding(&mut process, &late);
    let text = line["message"].as_str().unwrap();
    assert!(text.contains("the signature is right, but its timestamp is 72"), "{line}");
    assert_eq!(late.problem(401, "unauthorized"), None);
    let elsewhere = signed("/stage", STAGE, Utc::now(), BODY);
    let elsewhere = elsewhere.without("Evox-Signature");
    let elsewhere = process_answer(&process, &elsewhere).await;
    let line = finding(&mut process, &elsewhere);
    assert!(line["message"].as_str().unwrap().contains("no credentials"), "{line}");
    assert_silent(&process.stop());
}

#[tokio::test]
async fn no_answer_waits_for_a_diagnosis() {
    let (_folder, mut process) = serve();
    let request = signed("/stage", STAGE, Utc::now() - TimeDelta::hours(2), BODY);
    let bytes = request.clone().chunked().bytes();
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let mut stream = TcpStream::connect(&process.address).await.unwrap();
    stream.write_all(&bytes[..head]).await.unwrap();
    process.wait_for(|line| line["message"] == "request" && line["status"] == 401);
    tokio::time::sleep(Duration::from_millis(50)).await;
    stream.write_all(&bytes[head..]).await.unwrap();
    let answer = Answer::read(&mut stream).await;
    assert_eq!(answer.problem(401, "unauthorized"), None);
    let line = finding(&mut process, &answer);
    assert!(line["message"].as_str().unwrap().contains("the signature is right"), "{line}");
    process.stop();
}

#[tokio::test]
async fn the_connection_serves_the_next_request_after_a_body_that_was_looked_into() {
    let (_folder, mut process) = serve();
    let late = signed("/stage", STAGE, Utc::now() - TimeDelta::hours(2), BODY).bytes();
    let late = String::from_utf8(late).unwrap().replace("Connection: close\r\n", "");
    let fresh = signed("/stage", STAGE, Utc::now(), BODY).bytes();
    let mut stream = TcpStream::connect(&process.address).await.unwrap();
    let (start, rest) = late.split_at(late.len() - 7);
    stream.write_all(start.as_bytes()).await.unwrap();
    process.wait_for(|line| line["message"] == "request" && line["status"] == 401);
    stream.write_all(rest.as_bytes()).await.unwrap();
    let line = process.wait_for(is_finding);
    assert!(line["message"].as_str().unwrap().contains("the signature is right"), "{line}");
    stream.write_all(&fresh).await.unwrap();
    process.wait_for(|line| line["message"] == "request" && line["status"] == 200);
    process.stop();
}

#[tokio::test]
async fn a_stop_does_not_wait_for_the_body_of_a_refused_request() {
    let (_folder, mut process) = serve();
    let request = signed("/stage", STAGE, Utc::now() - TimeDelta::hours(2), BODY).bytes();
    let request = String::from_utf8(request).unwrap().replace("Connection: close\r\n", "");
    let mut stream = TcpStream::connect(&process.address).await.unwrap();
    stream.write_all(&request.as_bytes()[..request.len() - 7]).await.unwrap();
    process.wait_for(|line| line["message"] == "request" && line["status"] == 401);
    let start = Instant::now();
    process.stop();
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_sender_that_waits_for_leave_to_send_its_body_is_not_asked_for_it() {
    let (_folder, mut process) = serve();
    let request = signed("/stage", STAGE, Utc::now() - TimeDelta::hours(2), BODY);
    let mut stream = TcpStream::connect(&process.address).await.unwrap();
    stream.write_all(&request.expecting()).await.unwrap();
    let start = Instant::now();
    let answer = Answer::read(&mut stream).await;
    assert_eq!(answer.problem(401, "unauthorized"), None);
    let line = finding(&mut process, &answer);
    assert!(start.elapsed() < Duration::from_secs(3), "nor waited for");
    assert!(line["message"].as_str().unwrap().contains("its body was not read"), "{line}");
    process.stop();
}

#[tokio::test]
async fn a_hundred_forgeries_are_answered_alike_and_few_are_looked_into() {
    let (_folder, process) = serve();
    let now = Utc::now();
    let kinds = [
        signed("/live", STAGE, now, BODY),
        signed("/live", LIVE, now - TimeDelta::hours(1), BODY),
        signed("/live", LIVE, now, &format!("{BODY}\n")).set("Evox-Signature", "00"),
        signed("/live", LIVE, now, BODY).without("Evox-Signature"),
    ];
    let mut answers = Vec::new();
    for number in 0..100 {
        answers.push(public(&process_answer(&process, &kinds[number % kinds.len()]).await));
    }
    let stage = signed("/stage", LIVE, now, BODY);
    process_answer(&process, &stage).await;
    let lines = process.stop();
    assert_silent(&lines);
    let of = |source: &str| {
        lines.iter().filter(|line| is_finding(line) && line["source"] == source).count()
    };
    assert!((3..=5).contains(&of("live")), "{}", of("live"));
    assert_eq!(of("stage"), 1, "a flood at one source does not silence the others");
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
}

#[tokio::test]
async fn only_a_source_with_bearer_keys_challenges_with_bearer() {
    let (_folder, process) = serve();
    let signed = process_answer(&process, &Request::post("/live", BODY)).await;
    assert_eq!((signed.status, signed.headers.get("www-authenticate")), (401, None));
    let bearer = process_answer(&process, &Request::post("/bearer", BODY)).await;
    assert_eq!((bearer.status, bearer.header("www-authenticate")), (401, "Bearer"));
}
