//! `hooks` as a person runs it.

use std::path::Path;
use std::sync::Arc;

use inbox::{self, HookRecord, Inbox, Options};
use serde_json::{Value, json};

use crate::harness::calls::{call, full_call};
use crate::harness::deliveries::open_file;
use crate::harness::process::{complaint, printed, run};

fn hooks(folder: &Path, args: &[&str]) -> String {
    printed(run(folder, &[&["hooks"], args].concat()))
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The request ids and outcomes that a listing shows, newest first.
fn listed(folder: &Path, args: &[&str]) -> Vec<String> {
    let entries = json_of(&hooks(folder, &[&["list", "--json"], args].concat()));
    let shown = |entry: &Value| format!("{} {}", entry["requestId"], entry["outcome"]);
    entries.as_array().unwrap().iter().map(|entry| shown(entry).replace('"', "")).collect()
}

/// Three calls, the middle one failed, in the inbox of a receiver that runs.
async fn filled(folder: &Path) -> Arc<dyn Inbox> {
    let inbox = open_file(&folder.join("data/inbox.db"), Options::receiver(16)).await;
    let odd = HookRecord { hook: "Odd\u{1b}[2J".into(), source: "two".into(), ..call("c", 2) };
    inbox.log_hooks(vec![call("a", 0), full_call("b", 1), odd]).await.unwrap();
    inbox
}

#[tokio::test]
async fn calls_are_listed_and_filtered() {
    let folder = tempfile::tempdir().unwrap();
    let _inbox = filled(folder.path()).await;
    let listed = |args: &[&str]| listed(folder.path(), args);
    assert_eq!(listed(&[]), ["c answered", "b failed", "a answered"]);
    assert_eq!(listed(&["--limit", "1"]), ["c answered"]);
    assert_eq!(listed(&["--before", "2"]), ["a answered"]);
    assert_eq!(listed(&["--outcome", "failed"]), ["b failed"]);
    assert_eq!(listed(&["--error-id", "3f9a61c2"]), ["b failed"]);
    assert_eq!(listed(&["--source", "two"]), ["c answered"]);
    assert_eq!(listed(&["--hook", "orders.submitorder"]), ["b failed", "a answered"]);
    assert_eq!(listed(&["--since", "1h"]).len(), 0);
    assert_eq!(listed(&["--until", "2020-01-01"]).len(), 0);
    let table = hooks(folder.path(), &["list"]);
    assert!(table.trim_start().starts_with("ID") && table.contains("CALLBACK MS"), "{table}");
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(!table.contains('\u{1b}'), "a caller's name cannot steer the terminal: {table:?}");
}

#[tokio::test]
async fn a_call_is_shown_and_exported_with_its_bodies() {
    let folder = tempfile::tempdir().unwrap();
    let _inbox = filled(folder.path()).await;
    let text = hooks(folder.path(), &["show", "2"]);
    for part in [
        "failed (500)",
        "one (live)",
        "jsmith",
        "3f9a61c2",
        "1.5 ms",
        "0.7 ms; the callback was answered 404",
        "callback response:\n\"not found\"",
        r#"{"Total":1.50,"PaymentMethodId":"[redacted]"}"#,
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let text = hooks(folder.path(), &["show", "1"]);
    assert!(text.contains("not used") && text.contains("not kept"), "{text}");

    let shown = hooks(folder.path(), &["show", "2", "--json"]);
    assert!(shown.contains("1.50"), "no digit is lost: {shown}");
    let shown = json_of(&shown);
    assert_eq!(shown["id"], 2);
    assert_eq!(shown["tookUs"], 1500);
    assert_eq!(shown["environment"], "live");
    let callback = json!({"tookUs": 700, "error": "the callback was answered 404"});
    assert_eq!(shown["callback"], callback);
    assert_eq!(shown["bodies"]["request"]["PaymentMethodId"], "[redacted]");
    assert_eq!(shown["bodies"]["response"], "\u{0}\"", "what is not JSON is a string");

    let file = folder.path().join("calls.jsonl");
    hooks(folder.path(), &["export", "--output", file.to_str().unwrap()]);
    let exported = std::fs::read_to_string(file).unwrap();
    assert_eq!(exported, hooks(folder.path(), &["export"]), "to a file as to standard output");
    let lines: Vec<Value> = exported.lines().map(json_of).collect();
    assert_eq!((lines.len(), &lines[1]), (3, &shown));
    assert_eq!(hooks(folder.path(), &["export", "--outcome", "failed"]).lines().count(), 1);
    let error = complaint(run(folder.path(), &["hooks", "show", "7"]));
    assert!(error.contains("there is no call 7"), "{error}");
}

#[tokio::test]
async fn old_calls_are_pruned_but_never_the_newest() {
    let folder = tempfile::tempdir().unwrap();
    let _inbox = filled(folder.path()).await;
    let prune = |age| hooks(folder.path(), &["prune", "--older-than", age]);
    assert_eq!(prune("1000000h"), "0 calls deleted\n");
    assert_eq!(prune("1h"), "2 calls deleted\n");
    assert_eq!(listed(folder.path(), &[]), ["c answered"]);
    let json = hooks(folder.path(), &["prune", "--older-than", "0s", "--json"]);
    assert_eq!(json_of(&json), json!({"pruned": 0}));
    assert!(hooks(folder.path(), &["list", "--source", "nobody"]).starts_with("no calls"));
}
