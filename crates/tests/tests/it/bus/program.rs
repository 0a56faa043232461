//! The real binary as a bus: killed under load, without space, and as its commands are used.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::client::Request;
use crate::harness::deliveries::PATIENCE;
use crate::harness::disks::{fill, private_mounts};
use crate::harness::process::{command, printed, run};
use crate::harness::random::random;
use crate::harness::sink::Sink;

/// A running bus; killed when dropped.
struct Program {
    address: String,
    child: Child,
}

impl Program {
    fn start_as(folder: &Path, text: &str) -> Self {
        std::fs::write(folder.join("receiver.toml"), text).unwrap();
        Program::spawn(command(folder, &["bus"]))
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("it starts").unwrap();
            let line: Value = serde_json::from_str(&line).unwrap_or_default();
            if line["message"] == "the bus accepts events" {
                break line["address"].as_str().unwrap().to_owned();
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        Program { address, child }
    }

    async fn post(&self, client: &Client, path: &str, body: &Value) -> Option<(u16, Value)> {
        let url = format!("http://{}{path}", self.address);
        let request = client.post(url).header("content-type", "application/json");
        let response = request.body(body.to_string()).send().await.ok()?;
        let status = response.status().as_u16();
        let body = response.bytes().await.ok()?;
        Some((status, serde_json::from_slice(&body).unwrap_or_default()))
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn terminate(&mut self) {
        let kill = format!("kill -TERM {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().tls_certs_only([]).timeout(PATIENCE).build().unwrap()
}

fn subscription(sink: &Sink) -> String {
    format!(
        "[bus.subscriptions.all]\nevents = \"*\"\ntarget = \"{}\"\nretries = \"1s, 1s, 1s, 1s\"\n",
        sink.url()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_under_load_it_delivers_everything_that_it_accepted() {
    let (folder, mut sink, client) =
        (TempDir::new().unwrap(), Sink::answering(200).await, client());
    let settings = subscription(&sink);
    let (mut accepted, mut number) = (HashSet::new(), 0);
    let mut random = random();
    for _ in 0..8 {
        let program = start_with(folder.path(), &settings);
        let load = async {
            loop {
                let events: Vec<Value> = (0..20)
                    .map(|n| json!({"type": "Own", "id": format!("e-{}", number + n), "data": {"n": n}}))
                    .collect();
                number += 20;
                let Some((202, receipts)) =
                    program.post(&client, "/api/events", &json!(events)).await
                else {
                    break;
                };
                for receipt in receipts.as_array().unwrap() {
                    accepted.insert(receipt["id"].as_str().unwrap().to_owned());
                }
            }
        };
        let _ = tokio::time::timeout(Duration::from_millis(random.u64(50..300)), load).await;
        program.kill();
    }
    let mut program = start_with(folder.path(), &settings);
    assert!(accepted.len() > 200, "too little load: {}", accepted.len());
    let mut seen: HashMap<String, Vec<u8>> = HashMap::new();
    while !accepted.iter().all(|id| seen.contains_key(id)) {
        let request = sink.next().await;
        let id = request.header("x-directscale-message-id").to_owned();
        let first = seen.entry(id).or_insert_with(|| request.body.to_vec());
        assert_eq!(*first, request.body, "a duplicate is the same message");
    }
    program.terminate();
}

fn start_with(folder: &Path, subscriptions: &str) -> Program {
    let text = format!(
        "[log]\nformat = \"json\"\n[bus]\nlisten = \"127.0.0.1:0\"\nallow_targets = [\"127.0.0.1\"]\n{subscriptions}"
    );
    Program::start_as(folder, &text)
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_gives_events_to_a_running_bus() {
    let (folder, mut sink) = (TempDir::new().unwrap(), Sink::answering(200).await);
    let program = start_with(folder.path(), &subscription(&sink));
    let to = format!("http://{}", program.address);
    let publish = |args: &[&str]| run(folder.path(), &[&["publish", "--to", &to], args].concat());
    let text = printed(publish(&["OrderEvent", "DailyEvent", "--count", "2"]));
    assert_eq!(text.matches("accepted").count(), 4, "{text}");
    for _ in 0..4 {
        sink.next().await;
    }
    let once = ["OrderEvent", "--id", "evt_1", "--json"];
    let first: Value = serde_json::from_str(&printed(publish(&once))).unwrap();
    assert_eq!(first, json!([{"id": "evt_1", "status": "accepted", "deliveries": 1}]));
    let again: Value = serde_json::from_str(&printed(publish(&once))).unwrap();
    assert_eq!(again[0]["status"], "duplicate");
    assert_eq!(publish(&["DailyEvent", "--id", "evt_1"]).status.code(), Some(1));
    let unknown = publish(&["Unheard"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("give its data"), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_it_is_for_this_machine_and_for_no_other_sites_pages() {
    let (folder, client) = (TempDir::new().unwrap(), client());
    let program = start_with(folder.path(), "");
    let url = format!("http://{}/api/events", program.address);
    let post = async |headers: &[(&str, &str)]| {
        let mut request = client.post(&url).body(r#"{"type":"DailyEvent"}"#);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap().status().as_u16()
    };
    let json = ("content-type", "application/json");
    assert_eq!(post(&[json]).await, 202);
    assert_eq!(post(&[("content-type", "text/plain")]).await, 415);
    assert_eq!(post(&[json, ("origin", "https://evil.test")]).await, 403);
    assert_eq!(post(&[json, ("sec-fetch-site", "cross-site")]).await, 403);
    assert_eq!(post(&[json, ("host", "rebound.evil.test")]).await, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn its_answers_are_those_of_its_document() {
    let folder = TempDir::new().unwrap();
    let key = "k3y-of-a-bus-that-is-long-enough";
    let program = start_with(folder.path(), &format!("api_key = \"{key}\"\n"));
    let call = async |request: Request| request.bearer(key).send(&program.address).await;
    let get = async |path: &str| call(Request::get(path)).await;
    let post = async |path: &str, body: &str| call(Request::post(path, body)).await;
    let new = r#"{"name":"one","events":"Own","target":"http://127.0.0.1:9/"}"#;
    assert_eq!(post("/api/subscriptions", new).await.status, 201);

    // Null is no reason, as the document says.
    let paused = post("/api/subscriptions/one/pause", "null").await;
    assert_eq!((paused.status, &paused.json()["health"]["standing"]), (200, &json!("paused")));
    for number in 1..=3 {
        let event = format!(r#"{{"type":"Own","id":"e-{number}","data":{{}}}}"#);
        assert_eq!(post("/api/events", &event).await.status, 202);
    }
    // A page that is not full is the last one.
    let full = get("/api/events?limit=2").await.json();
    assert_eq!(full["items"].as_array().unwrap().len(), 2);
    let last = get(&format!("/api/events?limit=2&before={}", full["next"])).await.json();
    assert_eq!((&last["items"][0]["id"], &last["next"]), (&json!("e-1"), &Value::Null));
    assert_eq!(get("/api/subscriptions").await.json()["next"], Value::Null);
    assert_eq!(get("/api/subscriptions?limit=1").await.json()["next"], "one");

    for filter in ["limit=0", "limit=1001", "status=99", "outcome=lost", "colour=red"] {
        assert_eq!(get(&format!("/api/attempts?{filter}")).await.status, 422, "{filter}");
    }
    let fraction = r#"{"type":"Own","data":{},"object_id":2.5}"#;
    assert_eq!(post("/api/events", fraction).await.status, 400);
    let answer = get("/api/events").await;
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("cache-control"), "no-store");
}

#[tokio::test(flavor = "multi_thread")]
async fn its_key_is_a_bearer_key_in_any_case() {
    let folder = TempDir::new().unwrap();
    let key = "k3y-of-a-bus-that-is-long-enough";
    let text =
        format!("[log]\nformat = \"json\"\n[bus]\nlisten = \"127.0.0.1:0\"\napi_key = \"{key}\"\n");
    let program = Program::start_as(folder.path(), &text);
    for (given, status) in [
        (format!("Bearer {key}"), 200),
        (format!("bearer {key}"), 200),
        (format!("BEARER {key}"), 200),
        (format!("Basic {key}"), 401),
        (key.to_owned(), 401),
    ] {
        let request = Request::get("/api/subscriptions").set("authorization", &given);
        let answer = request.send(&program.address).await;
        assert_eq!(answer.status, status, "{given}");
        assert_eq!(answer.header("cache-control"), "no-store", "{given}");
    }
}

#[test]
fn beyond_this_machine_it_needs_a_key() {
    let folder = TempDir::new().unwrap();
    let refused = run(folder.path(), &["bus", "--listen", "0.0.0.0:0"]);
    assert_eq!(refused.status.code(), Some(2));
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains("api_key = "), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_nothing_is_accepted_and_what_was_accepted_arrives() {
    let Some(way) = private_mounts() else { return };
    let (folder, mut sink, client) =
        (TempDir::new().unwrap(), Sink::answering(200).await, client());
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let text = format!(
        "[log]\nformat = \"json\"\n[bus]\nlisten = \"127.0.0.1:0\"\nallow_targets = [\"127.0.0.1\"]\n{}",
        subscription(&sink)
    );
    std::fs::write(folder.path().join("receiver.toml"), text).unwrap();
    let script = format!("mount -t tmpfs -o size=8m tmpfs {data:?} && exec \"$@\"");
    let inner = command(folder.path(), &["bus"]);
    let mut mounted = Command::new("unshare");
    mounted.args([way, "sh", "-ec", &script, "sh"]).arg(inner.get_program()).args(inner.get_args());
    let program =
        Program::spawn(std::mem::replace(mounted.current_dir(folder.path()), Command::new("true")));
    let filler = Path::new(&format!("/proc/{}/root", program.child.id()))
        .join(data.strip_prefix("/").unwrap())
        .join("filler");
    let event = |n: usize| json!({"type": "Own", "id": format!("e-{n}"), "data": {"text": "x".repeat(2000)}});
    let mut accepted = HashSet::new();
    let (mut refused, mut number) = (0, 0);
    while refused < 5 {
        if number == 10 {
            fill(&filler);
        }
        match program.post(&client, "/api/events", &event(number)).await.unwrap() {
            (202, _) => drop(accepted.insert(format!("e-{number}"))),
            (503, _) => refused += 1,
            other => panic!("{other:?}"),
        }
        number += 1;
        assert!(number < 5000, "the disk is never full");
    }
    std::fs::remove_file(&filler).unwrap();
    let (status, _) = program.post(&client, "/api/events", &event(number)).await.unwrap();
    assert_eq!(status, 202);
    accepted.insert(format!("e-{number}"));
    while !accepted.is_empty() {
        accepted.remove(sink.next().await.header("x-directscale-message-id"));
    }
}
