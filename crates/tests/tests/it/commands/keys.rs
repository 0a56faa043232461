//! Which key was used when: from the request to the listing, over restarts, and how an owner sees that one can go.

use std::path::Path;

use chrono::{TimeDelta, Utc};
use contract::time::Timestamp;
use inbox::{self, KeyUse, Options};
use serde_json::{Value, json};
use signature::{Fingerprint, Key, Scheme, Stamp};

use crate::harness::client::Request;
use crate::harness::deliveries::open_file;
use crate::harness::process::{Process, complaint, printed, run};

const OLD: &str = "hush-old-0123456789";
const NEW: &str = "hush-new-0123456789";
const GONE: &str = "hush-gone-0123456789";
const STAGE: &str = "hush-stage-0123456789";

/// A source whose key is being replaced, and another.
const SETTINGS: &str = r#"
[sources.live]
dialect = "directscale"
bearer_tokens = ["hush-old-0123456789", "hush-new-0123456789"]
retired_keys = ["hush-gone-0123456789"]
[sources.stage]
dialect = "directscale"
environment = "stage"
path = "/stage"
bearer_token_files = ["stage.key"]
"#;

fn print_of(key: &str) -> String {
    Fingerprint::of(&key.into()).to_string()
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("stage.key"), format!("{STAGE}\n")).unwrap();
    std::fs::write(folder.path().join("receiver.toml"), SETTINGS).unwrap();
    folder
}

fn keys(folder: &Path, args: &[&str]) -> String {
    let text = printed(run(folder, &[&["keys"], args].concat()));
    assert!(!text.contains("hush"), "{text}");
    text
}

/// The listed keys: place, and when it was last used.
fn listed(folder: &Path, args: &[&str]) -> Vec<(String, Option<Timestamp>)> {
    let rows: Vec<Value> =
        serde_json::from_str(&keys(folder, &[&["--json"], args].concat())).unwrap();
    let named = |row: &Value| format!("{} {} {}", row["source"], row["sort"], row["setting"]);
    let used = |row: &Value| row["lastUsed"].as_str().map(|time| time.parse().unwrap());
    rows.iter().map(|row| (named(row).replace('"', ""), used(row))).collect()
}

/// Puts into the inbox that these keys were used so long ago, as a receiver would have.
async fn used(folder: &Path, uses: &[(&str, &str, TimeDelta)]) {
    let inbox = open_file(&folder.join("data/inbox.db"), Options::receiver(16)).await;
    let used = |(source, key, age): &(&str, &str, TimeDelta)| KeyUse {
        source: (*source).to_owned(),
        key: print_of(key),
        last_used: Utc::now() - *age,
    };
    inbox.note_keys(uses.iter().map(used).collect()).await.unwrap();
}

async fn post(process: &Process, path: &str, key: &str) {
    let request = Request::post(&format!("{path}/OrderEvent"), r#"{"OrderId":1}"#).bearer(key);
    request.send(&process.address).await.kept();
}

/// The metric of a key.
async fn metric(process: &Process, source: &str, key: &str) -> i64 {
    let answer = Request::get("/metrics").send(&process.address).await;
    let text = String::from_utf8(answer.body).unwrap();
    let key = print_of(key);
    let name =
        format!("webhook_key_last_used_timestamp_seconds{{source=\"{source}\",key=\"{key}\"}} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&name));
    value.unwrap_or_else(|| panic!("{name}: {text}")).parse().unwrap()
}

#[test]
fn without_an_inbox_no_key_was_ever_used_and_none_is_made() {
    let folder = folder();
    let places: Vec<_> = listed(folder.path(), &[]);
    assert_eq!(
        places,
        [
            ("live bearer bearer_tokens, 1 of 2".to_owned(), None),
            ("live bearer bearer_tokens, 2 of 2".to_owned(), None),
            ("live retired retired_keys".to_owned(), None),
            ("stage bearer bearer_token_files, stage.key".to_owned(), None),
        ]
    );
    let table = keys(folder.path(), &[]);
    assert_eq!(table.matches("never").count(), 4, "{table}");
    assert!(table.contains(&print_of(OLD)) && table.contains(&print_of(STAGE)), "{table}");
    assert!(!folder.path().join("data").exists());
}

#[tokio::test]
async fn a_key_is_listed_as_used_after_the_drain_and_over_restarts() {
    let folder = folder();
    let before = Utc::now();
    let mut process = Process::serve(folder.path(), SETTINGS);
    post(&process, "/api/webhooks", NEW).await;
    let line = process.wait_for(|line| line["message"] == "request");
    assert_eq!(line["key"], print_of(NEW));
    assert_eq!(listed(folder.path(), &[]).len(), 4, "it can be asked beside the receiver");
    Request::post("/api/webhooks/OrderEvent", "{}")
        .bearer(GONE)
        .send(&process.address)
        .await
        .problem(401, "unauthorized");
    process.stop();
    let is_used = |used: Option<Timestamp>| {
        used.is_some_and(|at| at > before - TimeDelta::seconds(1) && at <= Utc::now())
    };
    let found: Vec<_> =
        listed(folder.path(), &[]).into_iter().map(|(_, used)| is_used(used)).collect();
    assert_eq!(found, [false, true, false, false], "the new one, and no other");
    let first = listed(folder.path(), &[])[1].1.unwrap();

    let process = Process::serve(folder.path(), SETTINGS);
    assert_eq!(metric(&process, "live", NEW).await, first.timestamp(), "over a restart");
    assert_eq!(metric(&process, "live", OLD).await, 0, "never");
    post(&process, "/stage", STAGE).await;
    process.stop();
    let after = listed(folder.path(), &[]);
    assert_eq!(after[1].1, Some(first));
    assert!(is_used(after[3].1), "{after:?}");
}

/// The value of GitHub's signature header for this body.
fn signature(key: &str, body: &str) -> String {
    let scheme = Scheme::named("github").unwrap();
    let key = Key::new(&scheme, &key.into()).unwrap();
    let headers = scheme.sign(&[&key], Stamp { id: "", time: Utc::now() }, body.as_bytes());
    headers.unwrap()[0].1.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn of_two_signing_keys_only_the_one_that_signed_was_used() {
    let folder = folder();
    let settings = format!(
        "{SETTINGS}[sources.signed]\ndialect = \"directscale\"\npath = \"/signed\"\nscheme = \"github\"\n\
         signing_keys = [{OLD:?}, {NEW:?}]\n"
    );
    let mut process = Process::serve(folder.path(), &settings);
    let body = r#"{"OrderId":1}"#;
    let signed = |key: &str| {
        let request = Request::post("/signed/OrderEvent", body);
        request.set("X-Hub-Signature-256", signature(key, body))
    };
    signed(NEW).send(&process.address).await.kept();
    let line = process.wait_for(|line| line["message"] == "request");
    assert_eq!(line["key"], print_of(NEW));
    signed(GONE).send(&process.address).await.problem(401, "unauthorized");
    process.stop();
    let listed = listed(folder.path(), &[]);
    let used: Vec<_> =
        listed.iter().filter(|key| key.1.is_some()).map(|key| key.0.as_str()).collect();
    assert_eq!(used, ["signed signing signing_keys, 2 of 2"]);
    let text = keys(folder.path(), &[]);
    let hint = format!("can go: signing_keys, 1 of 2 ({})", print_of(OLD));
    assert!(text.contains("[sources.signed] Only") && text.contains(&hint), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_receiver_keeps_the_times_current() {
    let folder = folder();
    let process = Process::serve(folder.path(), SETTINGS);
    let before = Utc::now();
    post(&process, "/api/webhooks", OLD).await;
    while listed(folder.path(), &[])[0].1.is_none() {
        assert!(Utc::now() - before < TimeDelta::seconds(60), "it is not kept");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    assert!(
        (before.timestamp()..=Utc::now().timestamp())
            .contains(&metric(&process, "live", OLD).await)
    );
}

#[tokio::test]
async fn the_key_that_is_not_used_any_more_can_go() {
    let folder = folder();
    let old = format!("bearer_tokens, 1 of 2 ({})", print_of(OLD));
    used(folder.path(), &[("live", NEW, TimeDelta::days(3)), ("live", OLD, TimeDelta::days(8))])
        .await;
    let text = keys(folder.path(), &[]);
    assert!(text.contains("Z (3 d ago)") && text.contains("Z (8 d ago)"), "{text}");
    let hint = format!(
        "[sources.live] Only {} was used in the last 7 d, so the others can go: {old}. Move them to retired_keys.",
        print_of(NEW)
    );
    assert_eq!(text.lines().last(), Some(hint.as_str()), "and nothing of what was never used");
    assert_eq!(text.matches("can go").count(), 1, "a single key cannot go");

    used(folder.path(), &[("live", OLD, TimeDelta::hours(5))]).await;
    let text = keys(folder.path(), &[]);
    assert!(text.contains("Z (5 h ago)") && !text.contains("can go"), "both are in use: {text}");
}

#[tokio::test]
async fn a_key_that_was_never_used_may_be_the_next() {
    let folder = folder();
    used(folder.path(), &[("live", OLD, TimeDelta::minutes(2))]).await;
    let text = keys(folder.path(), &[]);
    assert!(text.contains("Z (2 min ago)"), "{text}");
    let hint = text.lines().last().unwrap();
    assert!(
        hint.contains("can go: bearer_tokens, 2 of 2") && hint.contains("never used"),
        "{text}"
    );
}

#[tokio::test]
async fn a_key_that_stands_no_longer_in_the_settings_is_shown_on_request() {
    let folder = folder();
    let uses = [
        ("live", "hush-removed", TimeDelta::days(400)),
        ("live", GONE, TimeDelta::days(40)),
        ("stage", OLD, TimeDelta::days(4)),
    ];
    used(folder.path(), &uses).await;
    let known = listed(folder.path(), &[]);
    assert_eq!(known.len(), 4);
    assert!(known[2].1.is_some(), "a retired key was used once");
    assert!(known[0].1.is_none(), "what another source has seen is not this one's");
    let all = listed(folder.path(), &["--all"]);
    let more: Vec<_> = all[4..].iter().map(|(named, _)| named.as_str()).collect();
    assert_eq!(more, ["live removed null", "stage removed null"]);
    assert!(keys(folder.path(), &["--all"]).contains(&print_of("hush-removed")));
}

#[test]
fn a_key_file_that_cannot_be_read_is_an_error() {
    let folder = folder();
    std::fs::remove_file(folder.path().join("stage.key")).unwrap();
    let error = complaint(run(folder.path(), &["keys"]));
    assert!(error.contains("[sources.stage] bearer_token_files: cannot read stage.key"), "{error}");
    std::fs::write(folder.path().join("receiver.toml"), "").unwrap();
    assert_eq!(keys(folder.path(), &[]), "no keys\n");
    assert_eq!(keys(folder.path(), &["--json"]), json!([]).to_string() + "\n");
}
