//! The commands as a person runs them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::harness::client::{Answer, Request};
use crate::harness::process::{Process, command, complaint, printed, run, run_with};
use crate::harness::receiver::{KEY, SOURCES};

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn inbox(folder: &Path, args: &[&str]) -> String {
    printed(run(folder, &[&["inbox"], args].concat()))
}

/// The message ids and states that a listing shows, newest first.
fn listed(folder: &Path, args: &[&str]) -> Vec<String> {
    let entries = json_of(&inbox(folder, &[&["list", "--json"], args].concat()));
    let shown = |entry: &Value| format!("{} {}", entry["messageId"], entry["state"]);
    entries.as_array().unwrap().iter().map(|entry| shown(entry).replace('"', "")).collect()
}

async fn post(address: &str, event: &str, id: &str, body: &str) -> i64 {
    let request = Request::live(&format!("/api/webhooks/{event}"), body).id(id);
    request.send(address).await.kept().0
}

/// An order that is handled, one that is dead, and an event that no handler takes; in this order.
async fn filled(folder: &Path) -> Process {
    let mut process = Process::serve(folder, SOURCES);
    post(&process.address, "OrderEvent", "good", r#"{"OrderId":1,"Note":"J\u00f6rg"}"#).await;
    process.wait_for(|line| line["outcome"] == "done");
    post(&process.address, "OrderEvent", "bad", r#"{"OrderId":{}}"#).await;
    process.wait_for(|line| line["outcome"] == "dead");
    post(&process.address, "Unheard%1b%5b2J", "odd", "{}").await;
    process
}

#[tokio::test]
async fn the_inbox_is_listed_shown_and_exported_beside_the_receiver_and_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let process = filled(folder.path()).await;
    browse(folder.path());
    process.stop();
    browse(folder.path());
}

fn browse(folder: &Path) {
    let all = listed(folder, &[]);
    assert_eq!(all.len(), 3);
    assert_eq!(listed(folder, &["--limit", "1"]), ["odd unrouted"]);
    assert_eq!(listed(folder, &["--before", "2"]).len(), 1);
    assert_eq!(listed(folder, &["--message-id", "odd", "--since", "1h"]), ["odd unrouted"]);
    assert_eq!(listed(folder, &["--event", "orderevent", "--source", "live"]).len(), 2);
    for none in
        [["--source", "stage"], ["--until", "2020-01-01"], ["--since", "2999-01-01T00:00:00Z"]]
    {
        assert_eq!(listed(folder, &none).len(), 0, "{none:?}");
    }
    let table = inbox(folder, &["list"]);
    assert!(table.trim_start().starts_with("ID") && table.contains("MESSAGE ID"), "{table}");
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(!table.contains('\u{1b}'), "a sender's name cannot steer the terminal: {table:?}");
    assert!(table.contains(r"Unheard\u001b[2J  odd"), "{table}");

    let shown = json_of(&inbox(folder, &["show", "1", "--json"]));
    assert_eq!(shown["messageId"], "good");
    assert_eq!(shown["body"], r#"{"OrderId":1,"Note":"J\u00f6rg"}"#);
    let bytes = BASE64_STANDARD.decode(shown["bodyBase64"].as_str().unwrap()).unwrap();
    assert_eq!(bytes, shown["body"].as_str().unwrap().as_bytes());
    assert!(shown["headers"].as_array().unwrap().contains(&json!(["authorization", "[redacted]"])));
    let text = inbox(folder, &["show", "1"]);
    for part in
        ["good", "OrderEvent v1", "live (live)", "authorization: [redacted]", r#"{"OrderId":1,"#]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains(KEY));

    let file = folder.join("export.jsonl");
    inbox(folder, &["export", "--output", file.to_str().unwrap()]);
    let exported = std::fs::read_to_string(file).unwrap();
    assert_eq!(exported, inbox(folder, &["export"]), "to a file as to standard output");
    let lines: Vec<Value> = exported.lines().map(json_of).collect();
    let ids: Vec<_> = lines.iter().map(|line| line["messageId"].as_str().unwrap()).collect();
    assert_eq!(ids, ["odd", "bad", "good"]);
    assert_eq!(lines[2], json_of(&inbox(folder, &["show", "1", "--json"])));
}

#[tokio::test]
async fn a_replay_beside_the_running_receiver_is_handled_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = filled(folder.path()).await;
    let replay = |args: &[&str]| inbox(folder.path(), &[&["replay"], args].concat());
    let unrouted = ["--state", "unrouted", "--dry-run"];
    assert_eq!(replay(&unrouted), "to be replayed: 1\n");
    let dry = json!({"replayed": 1, "dryRun": true});
    assert_eq!(json_of(&replay(&[&unrouted[..], &["--json"]].concat())), dry);
    let wet = json_of(&replay(&["--message-id", "odd", "--json"]));
    assert_eq!(wet, json!({"replayed": 1, "dryRun": false}));
    let line = process.wait_for(|line| line["message"] == "attempt" && line["message.id"] == "odd");
    assert_eq!((&line["replay"], &line["outcome"]), (&json!(1), &json!("unrouted")));
    process.stop();
    assert_eq!(replay(&["1", "2"]), "due again: 2\n", "without a receiver too");
    assert_eq!(listed(folder.path(), &[]), ["odd unrouted", "bad ready", "good ready"]);
    let again = complaint(run(folder.path(), &["inbox", "replay", "1"]));
    assert!(again.contains("due again: 0; 1 of the named deliveries were left alone"), "{again}");
    let unknown = complaint(run(folder.path(), &["inbox", "replay", "3", "77"]));
    assert!(unknown.contains("due again: 1; not in the inbox: 77"), "{unknown}");
    let all = complaint(run(folder.path(), &["inbox", "replay"]));
    assert!(all.contains("--state dead"), "{all}");
}

#[tokio::test]
async fn only_what_has_ended_long_enough_ago_is_pruned() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = filled(folder.path()).await;
    post(&process.address, "OrderEvent", "last", r#"{"OrderId":1}"#).await;
    process.wait_for(|line| line["message.id"] == "last" && line["outcome"] == "done");
    let prune = |state: &str, age: &str, more: &[&str]| {
        let args = ["prune", "--state", state, "--older-than", age];
        inbox(folder.path(), &[&args[..], more].concat())
    };
    assert_eq!(prune("unrouted", "1h", &[]), "0 deliveries deleted\n");
    assert_eq!(json_of(&prune("unrouted", "0s", &["--json"])), json!({"pruned": 1}));
    process.stop();
    assert_eq!(prune("dead", "0s", &[]), "1 deliveries deleted\n");
    assert_eq!(listed(folder.path(), &[]), ["last done", "good done"]);
    let args = ["inbox", "prune", "--state", "ready", "--older-than", "0s"];
    assert!(
        complaint(run(folder.path(), &args)).contains("--state done, dead, unrouted or canary")
    );
}

#[test]
fn an_inbox_that_is_not_there_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    for args in [&["list"][..], &["show", "1"], &["export"], &["replay", "1"]] {
        let error = complaint(run(folder.path(), &[&["inbox"], args].concat()));
        assert!(
            error.contains("there is no inbox at sqlite:data/inbox.db")
                && error.contains("--inbox")
        );
    }
    assert!(!folder.path().join("data").exists());
}

#[tokio::test]
async fn a_delivery_that_is_not_there_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    Process::serve(folder.path(), SOURCES).stop();
    let error = complaint(run(folder.path(), &["inbox", "show", "7"]));
    assert!(error.contains("there is no delivery 7"), "{error}");
    assert_eq!(inbox(folder.path(), &["list"]), "no deliveries\n");
    assert_eq!(inbox(folder.path(), &["list", "--json"]), "[]\n");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(folder.path(), &["openapi"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 1];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn a_secret_is_long_and_never_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let secret = || printed(run(folder.path(), &["secret"]));
    let (one, two) = (secret(), secret());
    assert_ne!(one, two);
    assert_eq!(one.len(), 65);
    assert!(one.trim_end().chars().all(|c| c.is_ascii_hexdigit()));
}

#[test]
fn a_short_password_is_refused_unrepeated() {
    let folder = tempfile::tempdir().unwrap();
    for password in ["", "\n", "hush\n", "12345678901\r\n"] {
        let error = complaint(run_with(folder.path(), &["secret", "--hash"], password));
        assert!(error.contains("at least 12 characters") && !error.contains("hush"), "{error}");
    }
}

const PAGES: [&str; 4] = ["/", "/swagger/", "/openapi.json", "/metrics"];

#[tokio::test]
async fn beyond_loopback_the_pages_need_the_password_whose_hash_is_set() {
    let folder = tempfile::tempdir().unwrap();
    let hash = printed(run_with(folder.path(), &["secret", "--hash"], "p:ssword \u{e9}12345\n"));
    let settings = format!(
        "listen = \"0.0.0.0:0\"\n{SOURCES}[docs]\nuser = \"docs\"\npassword_hash = \"{}\"\n",
        hash.trim_end()
    );
    let process = Process::serve(folder.path(), &settings);
    let login = |password: &str| format!("Basic {}", BASE64_STANDARD.encode(password));
    for page in PAGES {
        let refused = Request::get(page).send(&process.address).await;
        refused.problem(401, "unauthorized");
        assert!(refused.header("www-authenticate").starts_with("Basic"));
        let right = login("docs:p:ssword \u{e9}12345");
        let answer = Request::get(page).set("Authorization", right).send(&process.address).await;
        assert!(matches!(answer.status, 200 | 307), "{page}: {}", answer.status);
    }
    let wrong = Request::get("/metrics").set("Authorization", login("docs:p:ssword"));
    wrong.send(&process.address).await.problem(401, "unauthorized");
    post(&process.address, "OrderEvent", "m", r#"{"OrderId":1}"#).await;
    for line in process.stop() {
        assert!(!line.to_string().contains("argon2"), "{line}");
    }
}

#[tokio::test]
async fn beyond_loopback_there_are_no_pages_without_a_password() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::serve(folder.path(), &format!("listen = \"0.0.0.0:0\"\n{SOURCES}"));
    for page in PAGES {
        Request::get(page).send(&process.address).await.problem(404, "not-found");
    }
    assert_eq!(Request::get("/readyz").send(&process.address).await.status, 200);
    process.wait_for(|line| line["path"] == "/readyz");
}

#[tokio::test]
async fn metrics_are_text_that_a_browser_shows_unless_open_metrics_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::serve(folder.path(), SOURCES);
    let open = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    for (accept, kind, ends) in [
        ("text/html,*/*;q=0.8", "text/plain; version=0.0.4; charset=utf-8", false),
        ("application/openmetrics-text;version=1.0.0,*/*;q=0.1", open, true),
    ] {
        let answer = Request::get("/metrics").set("accept", accept).send(&process.address).await;
        assert_eq!(answer.header("content-type"), kind);
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(String::from_utf8(answer.body).unwrap().ends_with("# EOF\n"), ends);
    }
}

#[tokio::test]
async fn metrics_count_what_was_received() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::serve(folder.path(), SOURCES);
    for _ in ["new", "duplicate"] {
        post(&process.address, "OrderEvent", "m", r#"{"OrderId":1}"#).await;
    }
    Request::post("/api/webhooks", "{}").send(&process.address).await.problem(401, "unauthorized");
    process.wait_for(|line| line["message"] == "attempt");
    let answer: Answer = Request::get("/metrics").send(&process.address).await;
    let text = String::from_utf8(answer.body).unwrap();
    for line in [
        "webhook_deliveries_total{source=\"live\",outcome=\"new\"} 1",
        "webhook_deliveries_total{source=\"live\",outcome=\"duplicate\"} 1",
        "webhook_refusals_total{status=\"401\"} 1",
        "webhook_attempts_total{event=\"OrderEvent\",outcome=\"done\"} 1",
    ] {
        assert!(text.lines().any(|known| known == line), "{line}: {text}");
    }
}

/// The exit code of a health check of the receiver at this address.
fn health(folder: &Path, address: &str) -> Option<i32> {
    run(folder, &["healthcheck", "--listen", address]).status.code()
}

#[tokio::test]
async fn a_health_check_says_by_its_exit_code_whether_the_receiver_is_ready() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::serve(folder.path(), &format!("listen = \"0.0.0.0:0\"\n{SOURCES}"));
    let everywhere = process.address.replace("127.0.0.1", "0.0.0.0");
    assert_eq!(health(folder.path(), &process.address), Some(0));
    assert_eq!(health(folder.path(), &everywhere), Some(0));
    let address = process.address.clone();
    process.stop();
    assert_eq!(health(folder.path(), &address), Some(1), "nobody answers");

    let stub = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = stub.local_addr().unwrap().to_string();
    let answering = std::thread::spawn(move || {
        let mut stream = stub.accept().unwrap().0;
        let mut request = [0; 1024];
        let read = stream.read(&mut request).unwrap();
        assert!(request[..read].starts_with(b"GET /readyz HTTP/1.1\r\n"));
        stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    assert_eq!(health(folder.path(), &address), Some(1), "not ready");
    answering.join().unwrap();
}

#[test]
fn the_document_is_printed_of_the_default_source_or_of_the_configured_ones() {
    let folder = tempfile::tempdir().unwrap();
    let printed_document = json_of(&printed(run(folder.path(), &["openapi"])));
    assert!(printed_document["paths"]["/api/webhooks/OrderEvent"].is_object());
    let unset = complaint(run(folder.path(), &["openapi", "--configured"]));
    assert!(unset.contains("no source is configured"), "{unset}");
    std::fs::write(folder.path().join("receiver.toml"), SOURCES).unwrap();
    let configured = printed(run(folder.path(), &["openapi", "--configured"]));
    let document = json_of(&configured);
    assert!(document["paths"]["/stage/api/webhooks/OrderEvent"].is_object());
    assert!(!configured.contains(KEY));
}

/// A shell that runs what a person would paste, in another folder than the receiver's.
fn shell(line: &str) -> Output {
    Command::new("sh").args(["-c", line]).current_dir("/").output().unwrap()
}

#[tokio::test]
async fn the_lines_that_dev_prints_work_as_printed() {
    if !shell("command -v curl").status.success() {
        assert!(!std::env::var("CI").is_ok_and(|value| value == "true"), "curl is needed in CI");
        // Not `eprintln`, which the test harness swallows.
        let _ = writeln!(std::io::stderr(), "SKIPPED: curl is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let args = ["dev", "--listen", "127.0.0.1:0", "--data", "it's here"];
    let mut dev = Process::start(&mut command(folder.path(), &args));
    let welcome = dev.stdout_until(|line| line.starts_with("  -d '"));
    assert!(welcome.contains(&format!("http://{}/swagger", dev.address)), "{welcome}");
    let curl = &welcome[welcome.find("curl ").unwrap()..];
    for expected in ["accepted", "duplicate"] {
        let output = shell(curl);
        let answer = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{curl}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(json_of(&answer)["status"], expected);
    }
    dev.wait_for(|line| line["outcome"] == "done");
    let program = env!("CARGO_BIN_EXE_fixture");
    let others: Vec<_> = welcome.lines().filter(|line| line.starts_with(program)).collect();
    assert!(others.iter().any(|line| line.contains(" emit --all")), "{welcome}");
    assert!(others.iter().any(|line| line.contains(" publish ")), "{welcome}");
    for line in others {
        let output = shell(line);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let key = std::fs::read_to_string(folder.path().join("it's here/token")).unwrap();
    assert!(!welcome.contains(key.trim_end()), "the key stays in its file");
    let swagger = Request::get("/swagger/").send(&dev.address).await;
    assert_eq!(swagger.status, 200);
}

#[tokio::test]
async fn dev_stands_in_for_the_vendor_and_delivers_what_is_posted_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut dev = Process::start(&mut command(folder.path(), &["dev", "--listen", "127.0.0.1:0"]));
    // The settings file has the address before anything is received.
    let settings = std::fs::read_to_string(folder.path().join("data/dev/receiver.toml")).unwrap();
    let (_, rest) = settings.split_once("callback_url = \"http://").unwrap();
    let vendor = rest.split('"').next().unwrap();
    assert_ne!(vendor, "127.0.0.1:8081", "it is a free port, as the receiver's");
    let key = std::fs::read_to_string(folder.path().join("data/dev/callback-key")).unwrap();
    let event = r#"{"EventType":"DailyEvent","Price":1.50}"#;
    let path = "/api/extension/services/EventService/v1/PostEvent";
    let request = Request::post(path, event).bearer(key.trim_end());
    assert_eq!(request.send(vendor).await.status, 200);
    dev.wait_for(|line| line["extension.method"] == "PostEvent");
    dev.wait_for(|line| line["message"] == "the posted event was delivered");
    let config = ["--config", "data/dev/receiver.toml"];
    let list = printed(run(folder.path(), &[&["inbox", "list", "--json"], &config[..]].concat()));
    let list = json_of(&list);
    assert_eq!(list[0]["eventType"], "DailyEvent", "{list}");
    let shown = printed(run(folder.path(), &[&["inbox", "show", "1"], &config[..]].concat()));
    assert!(shown.contains("1.50"), "{shown}");
}

#[tokio::test]
async fn dev_prints_lines_for_the_way_in_which_it_was_started() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let manifest = elsewhere.path().join("Cargo.toml");
    for (package, expected) in [
        (folder.path(), "\ncargo run -- emit --all".to_owned()),
        (elsewhere.path(), format!("\ncargo run --manifest-path {} -- emit", manifest.display())),
    ] {
        let mut command = command(folder.path(), &["dev", "--listen", "127.0.0.1:0"]);
        let mut dev = Process::start(command.env("CARGO_MANIFEST_DIR", package));
        let welcome = dev.stdout_until(|line| line.starts_with("  -d '"));
        assert!(welcome.contains(&expected), "{expected}: {welcome}");
    }
}

#[tokio::test]
async fn the_settings_of_a_second_dev_have_its_own_addresses() {
    // Another one stands in for the vendor already, if nobody else is there.
    let _other = TcpListener::bind("127.0.0.1:8081");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let listen = free.to_string();
    let args = ["dev", "--listen", &listen, "--bus-listen", "127.0.0.1:0"];
    let mut dev = Process::start(&mut command(folder.path(), &args));
    let welcome = dev.stdout_until(|line| line.starts_with("  -d '"));
    let settings = std::fs::read_to_string(folder.path().join("data/dev/receiver.toml")).unwrap();
    assert!(settings.contains(&format!("listen = \"{listen}\"")), "{settings}");
    let (_, rest) = settings.split_once("callback_url = \"").unwrap();
    let vendor = rest.split('"').next().unwrap();
    assert_ne!(vendor, "http://127.0.0.1:8081");
    assert!(welcome.contains(&format!("Vendor     {vendor}/")), "{welcome}");
    let (_, bus) = welcome.split_once("Bus        http://").unwrap();
    let bus = bus.split("/admin").next().unwrap();
    assert!(settings.contains(&format!("[bus]\nlisten = \"{bus}\"")), "{settings}");
}

#[test]
fn a_first_start_of_dev_warns_of_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["dev", "--listen", "127.0.0.1:0"];
    let mut process = Process::start(&mut command(folder.path(), &args));
    process.stdout_until(|line| line.starts_with("  -d '"));
    let lines = process.stop();
    assert!(lines.iter().all(|line| line["level"] == "INFO"), "{lines:#?}");
}

#[cfg(unix)]
#[test]
fn only_its_owner_can_read_the_key_that_dev_makes() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    drop(Process::start(&mut command(folder.path(), &["dev", "--listen", "127.0.0.1:0"])));
    let key = folder.path().join("data/dev/token");
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let first = std::fs::read(&key).unwrap();
    drop(Process::start(&mut command(folder.path(), &["dev", "--listen", "127.0.0.1:0"])));
    assert_eq!(std::fs::read(&key).unwrap(), first, "it is made once");
}

#[test]
fn dev_stays_on_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80"] {
        let error = complaint(run(folder.path(), &["dev", "--listen", address]));
        assert!(error.contains("loopback only") && error.contains("serve"), "{error}");
    }
    assert!(!folder.path().join("data").exists(), "nothing is made before the refusal");
}

#[test]
fn a_taken_port_is_told_with_the_flag_that_helps() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = taken.local_addr().unwrap();
    std::fs::write(folder.path().join("receiver.toml"), SOURCES).unwrap();
    for command in ["serve", "dev"] {
        let error = complaint(run(folder.path(), &[command, "--listen", &address.to_string()]));
        assert!(error.contains(&format!("cannot listen on {address}")), "{error}");
        assert!(error.contains("--listen"), "{error}");
    }
}

#[test]
fn without_settings_serve_says_what_to_write_even_if_the_port_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = complaint(run(folder.path(), &["serve", "--listen", &address]));
    for part in ["receiver.toml", "[sources.directscale]", "bearer_tokens", "webhook-receiver dev"]
    {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn every_mistake_is_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    for args in [
        &["serve", "--config", "no-such.toml"][..],
        &["serve"],
        &["emit", "OrderEvent"],
        &["inbox", "list"],
        &["openapi", "--configured"],
        &["serve", "--no-such-flag"],
        &["no-such-command"],
        &["inbox", "list", "--since", "someday"],
        &["hooks", "list"],
        &["hooks", "list", "--outcome", "great"],
    ] {
        let output = run(folder.path(), args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty() && output.stderr.starts_with(b"error: "), "{args:?}");
    }
}

#[test]
fn a_filter_that_cannot_be_read_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("receiver.toml"),
        format!("{SOURCES}[log]\nfilter = \"a=b=c\"\n"),
    )
    .unwrap();
    let error = complaint(run(folder.path(), &["serve", "--listen", "127.0.0.1:0"]));
    assert!(error.contains("filter") && error.contains("[log]"), "{error}");
}

/// The help of a command and of all below it.
fn helps(folder: &Path, path: &[&str], found: &mut Vec<(String, String)>) {
    for flag in ["-h", "--help"] {
        let mut command = command(folder, &[path, &[flag]].concat());
        for (key, value) in SECRETS {
            command.env(key, value);
        }
        let help = printed(command.output().unwrap());
        found.push((path.join(" "), help));
    }
    let help = found.last().unwrap().1.clone();
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    for line in commands.take_while(|line| !line.is_empty()) {
        let name = line.split_whitespace().next().unwrap();
        let is_command = line.starts_with("  ") && !line.starts_with("   ") && name != "help";
        if is_command {
            helps(folder, &[path, &[name]].concat(), found);
        }
    }
}

const SECRETS: [(&str, &str); 3] = [
    ("RECEIVER_EMIT_TOKEN", "hush-emit"),
    ("RECEIVER_SOURCES__ONE__BEARER_TOKENS", "hush-bearer"),
    ("RECEIVER_DOCS__PASSWORD_HASH", "hush-hash"),
];

#[test]
fn no_help_shows_a_secret_from_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let mut found = Vec::new();
    helps(folder.path(), &[], &mut found);
    let commands: Vec<_> = found.iter().map(|(command, _)| command.as_str()).collect();
    for command in [
        "",
        "dev",
        "serve",
        "check",
        "keys",
        "emit",
        "inbox",
        "inbox export",
        "hooks",
        "hooks list",
        "secret",
        "healthcheck",
    ] {
        assert!(commands.contains(&command), "{commands:?}");
    }
    for (command, help) in &found {
        assert!(!help.contains("hush"), "{command}: {help}");
    }
}
