//! `inbox` and `tail`: what they select, change and record.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use contract::event::DeliveryId;
use inbox::{ActKind, ActState, Filter, Inbox, Options, State, Verdict};
use serde_json::Value;

use crate::harness::deliveries::{PATIENCE, Store, keyed, message, open_file, route};
use crate::harness::postgres::is_installed;
use crate::harness::process::{command, complaint, printed, run};

const INBOX: &str = "inbox.db";

fn inbox_flag() -> [&'static str; 2] {
    ["--inbox", "sqlite:inbox.db"]
}

fn inbox_command(folder: &Path, args: &[&str]) -> std::process::Output {
    run(folder, &[&["inbox"], args, &inbox_flag()].concat())
}

async fn opened(folder: &Path) -> Arc<dyn Inbox> {
    open_file(&folder.join(INBOX), Options::receiver(16)).await
}

async fn accept(inbox: &Arc<dyn Inbox>, id: &str, body: &str) -> DeliveryId {
    inbox.accept(message(id).body(body).verified(), keyed("k")).await.unwrap().id
}

async fn end(inbox: &Arc<dyn Inbox>, verdict: Verdict) {
    let claims = inbox.claim(1, PATIENCE, Duration::ZERO).await.unwrap();
    assert!(inbox.finish(claims[0].lease.clone(), verdict).await.unwrap());
}

fn listed(folder: &Path, filter: &[&str]) -> Vec<DeliveryId> {
    let text = printed(inbox_command(folder, &[&["list", "--json"], filter].concat()));
    let entries: Vec<Value> = serde_json::from_str(&text).unwrap();
    entries.iter().map(|entry| entry["id"].as_i64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_filter_flag_selects() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let inbox = opened(folder).await;
    let first = accept(&inbox, "ab-1", r#"{"order":{"id":7},"note":"blue"}"#).await;
    end(&inbox, Verdict::Dead { reason: "No such Customer".into() }).await;
    let second = accept(&inbox, "cd-2", r#"{"order":{"id":8}}"#).await;
    let client = message("x").client("c9").body("{}").verified();
    let third = inbox.accept(client, route()).await.unwrap().id;
    let all = vec![third, second, first];
    for (filter, expected) in [
        (vec![], all.clone()),
        (vec!["--environment", "stage"], all),
        (vec!["--environment", "LIVE"], vec![]),
        (vec!["--client", "c9"], vec![third]),
        (vec!["--message-id-prefix", "ab"], vec![first]),
        (vec!["--entity", "k"], vec![second, first]),
        (vec!["--key", "00000000"], vec![]),
        (vec!["--error", "no such customer"], vec![first]),
        (vec!["--body", "blue"], vec![first]),
        (vec!["--body-member", "/order/id=8"], vec![second]),
        (vec!["--replayed"], vec![]),
    ] {
        assert_eq!(listed(folder, &filter), expected, "{filter:?}");
    }
    let wrong = complaint(inbox_command(folder, &["list", "--body-member", "order=8"]));
    assert!(wrong.contains("does not begin with /"), "{wrong}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_discarded_by_number_or_filter_and_that_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let inbox = opened(folder).await;
    let refused = complaint(inbox_command(folder, &["discard", "--reason", "x"]));
    assert!(refused.contains("give the deliveries"), "{refused}");
    let mut ids = Vec::new();
    for id in ["a", "b", "c"] {
        ids.push(accept(&inbox, id, "{}").await);
    }
    end(&inbox, Verdict::Dead { reason: "broken".into() }).await;
    end(&inbox, Verdict::Done).await;
    let discard = |args: &[&str]| inbox_command(folder, &[&["discard"], args].concat());
    let dry = printed(discard(&["--entity", "k", "--reason", "test", "--dry-run"]));
    assert_eq!(dry, "to be discarded: 2\n");
    assert_eq!(inbox.acts(None, 9).await.unwrap(), [], "nothing was done");
    let done = printed(discard(&["--entity", "k", "--reason", "a test", "--json"]));
    assert_eq!(serde_json::from_str::<Value>(&done).unwrap()["discarded"], 2);
    let refused = complaint(discard(&["--state", "done", "--reason", "x"]));
    assert!(refused.contains("ready, dead or unrouted"), "{refused}");
    let left = complaint_of(discard(&[&ids[0].to_string(), "99", "--reason", "again"]));
    assert!(left.contains("discarded: 0; not in the inbox: 99"), "{left}");
    let shown = printed(inbox_command(folder, &["show", &ids[0].to_string()]));
    assert!(shown.contains("discarded") && shown.contains("a test"), "{shown}");

    assert_eq!(printed(inbox_command(folder, &["replay", &ids[0].to_string()])), "due again: 1\n");
    printed(inbox_command(folder, &["prune", "--state", "done", "--older-than", "30d"]));
    let acts = inbox.acts(None, 9).await.unwrap();
    let acts: Vec<_> = acts.iter().map(|act| (act.kind, act.done, act.state)).collect();
    let expected = [
        (ActKind::Prune, 0, ActState::Done),
        (ActKind::Replay, 1, ActState::Done),
        (ActKind::Discard, 0, ActState::Done),
        (ActKind::Discard, 2, ActState::Done),
    ];
    assert_eq!(acts, expected);
    let first = inbox.acts(None, 9).await.unwrap().pop().unwrap();
    assert_eq!(first.reason.as_deref(), Some("a test"));
    assert_eq!(first.subject, r#"{"entity":"k"}"#);
    assert!(!first.actor.is_empty());
    let counts = inbox.count().await.unwrap();
    let ready = counts.iter().find(|(state, _)| *state == State::Ready).unwrap().1;
    assert_eq!(ready, 1, "{:?}", inbox.list(Filter::default()).await);
}

/// What was complained of, whatever was printed.
fn complaint_of(output: std::process::Output) -> String {
    assert_eq!(output.status.code(), Some(2));
    String::from_utf8(output.stderr).unwrap()
}

/// A running `tail --json`.
struct Tail {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Tail {
    fn start(folder: &Path, inbox: &str, args: &[&str]) -> Self {
        let mut command = command(folder, &[&["tail", "--json", "--inbox", inbox], args].concat());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Tail { child, lines }
    }

    /// The id and the state of the next line.
    fn next(&mut self) -> (DeliveryId, String) {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        let entry: Value = serde_json::from_str(&line).unwrap();
        (entry["id"].as_i64().unwrap(), entry["state"].as_str().unwrap().to_owned())
    }

    /// Ends it as Ctrl-C does; returns what it says on standard error. It must not have printed more.
    fn interrupt(mut self) -> String {
        let kill = format!("kill -INT {}", self.child.id());
        assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        let (mut rest, mut said) = (String::new(), String::new());
        self.lines.read_to_string(&mut rest).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!((self.child.wait().unwrap().code(), rest.as_str()), (Some(0), ""));
        said
    }
}

async fn followed(store: Store) {
    let folder = tempfile::tempdir().unwrap();
    let inbox = inbox::open(store.url(), Options::receiver(16)).await.unwrap();
    let first = accept(&inbox, "first", "{}").await;
    let second = accept(&inbox, "second", "{}").await;
    let url = store.secret();
    let mut tail = Tail::start(folder.path(), &url, &["--last", "1"]);
    let line = |id, state: &str| (id, state.to_owned());
    assert_eq!(tokio::task::block_in_place(|| tail.next()), line(second, "ready"));
    let third = accept(&inbox, "third", "{}").await;
    assert_eq!(tokio::task::block_in_place(|| tail.next()), line(third, "ready"));
    end(&inbox, Verdict::Done).await;
    let retry = Verdict::Retry { after: Duration::ZERO, reason: "down".into() };
    end(&inbox, retry).await;
    assert_eq!(tokio::task::block_in_place(|| tail.next()), line(second, "ready"));
    end(&inbox, Verdict::Dead { reason: "broken".into() }).await;
    assert_eq!(tokio::task::block_in_place(|| tail.next()), line(second, "dead"));
    let said = tokio::task::block_in_place(|| tail.interrupt());
    assert_eq!(said, format!("go on with: --after {third}\n"));

    let after = first.to_string();
    let mut tail = Tail::start(folder.path(), &url, &["--after", &after, "--state", "dead"]);
    assert_eq!(tokio::task::block_in_place(|| tail.next()), line(second, "dead"));
    end(&inbox, Verdict::Dead { reason: "broken".into() }).await;
    assert_eq!(tokio::task::block_in_place(|| tail.next()), line(third, "dead"));
    tokio::task::block_in_place(|| tail.interrupt());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_followed() {
    followed(Store::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_followed() {
    if is_installed() {
        followed(Store::postgres()).await;
    }
}
