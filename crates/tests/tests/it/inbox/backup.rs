//! Copies of an inbox and an outbox: whole, or not there.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use inbox::{self, Filter, Options};
use serde_json::{Value, json};

use crate::harness::client::Request;
use crate::harness::deliveries::open_file;
use crate::harness::disks::private_mounts;
use crate::harness::process::{Process, command, complaint, printed, run};

const SETTINGS: &str = "[sources.one]\ndialect = \"directscale\"\nbearer_tokens = [\"key\"]\n";

async fn post(address: &str, id: &str) {
    let body = format!(r#"{{"OrderId":1,"Text":"{}"}}"#, "x".repeat(2000));
    let order = Request::post("/api/webhooks/OrderEvent", &body);
    order.bearer("key").id(id).send(address).await.kept();
}

/// What is in the copy, by message id, as a receiver would find it.
async fn kept(copy: &Path) -> Vec<String> {
    let inbox = open_file(copy, Options::receiver(16)).await;
    let entries = inbox.list(Filter::default()).await.unwrap();
    entries.into_iter().map(|entry| entry.message_id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_ends_and_has_all_that_was_acknowledged_before() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::serve(folder.path(), SETTINGS);
    for n in 0..200 {
        post(&process.address, &format!("before-{n}")).await;
    }
    let (stop, during) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load = tokio::spawn({
        let (stop, during, address) = (stop.clone(), during.clone(), process.address.clone());
        async move {
            while !stop.load(Ordering::SeqCst) {
                post(&address, &format!("during-{}", during.fetch_add(1, Ordering::SeqCst))).await;
            }
        }
    });
    let copy = folder.path().join("copy.db");
    let args = ["inbox", "backup", copy.to_str().unwrap(), "--json"];
    let mut backup = command(folder.path(), &args);
    let output = tokio::task::spawn_blocking(move || backup.output().unwrap()).await.unwrap();
    stop.store(true, Ordering::SeqCst);
    load.await.unwrap();
    let said: Value = serde_json::from_str(&printed(output)).unwrap();
    let mode = copy.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode, said["bytes"].as_u64()), (0o600, Some(copy.metadata().unwrap().len())));
    assert!(!folder.path().join("copy.db.unfinished").exists());
    let kept = kept(&copy).await;
    assert_eq!(said["deliveries"], json!(kept.len()));
    assert!((0..200).all(|n| kept.contains(&format!("before-{n}"))), "{kept:?}");
    assert!(kept.len() <= 200 + during.load(Ordering::SeqCst));
    process.stop();
}

#[tokio::test]
async fn a_backup_overwrites_nothing_and_copies_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    drop(open_file(&folder.path().join("data/inbox.db"), Options::receiver(16)).await);
    std::fs::write(folder.path().join("receiver.toml"), SETTINGS).unwrap();
    std::fs::write(folder.path().join("mine"), "mine").unwrap();
    let refused = complaint(run(folder.path(), &["inbox", "backup", "mine"]));
    assert!(refused.contains("mine is there already"), "{refused}");
    assert_eq!(std::fs::read_to_string(folder.path().join("mine")).unwrap(), "mine");
    let none = complaint(run(folder.path(), &["inbox", "backup", "x", "--inbox", "sqlite:no.db"]));
    assert!(none.contains("there is no inbox at sqlite:no.db"), "{none}");
    let other = rusqlite::Connection::open(folder.path().join("other.db")).unwrap();
    other.execute_batch("CREATE TABLE delivery (id INTEGER PRIMARY KEY)").unwrap();
    let other =
        complaint(run(folder.path(), &["inbox", "backup", "x", "--inbox", "sqlite:other.db"]));
    assert!(other.contains("is no inbox"), "{other}");
    let nowhere = complaint(run(folder.path(), &["inbox", "backup", "no/such/folder/x"]));
    assert!(nowhere.contains("no/such/folder/x"), "{nowhere}");
    for left in ["x", "x.unfinished", "mine.unfinished"] {
        assert!(!folder.path().join(left).exists(), "{left}");
    }
    printed(run(folder.path(), &["inbox", "backup", "x"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_a_backup_says_so_and_leaves_nothing() {
    let Some(way) = private_mounts() else { return };
    let folder = tempfile::tempdir().unwrap();
    let process = Process::serve(folder.path(), SETTINGS);
    for n in 0..100 {
        post(&process.address, &n.to_string()).await;
    }
    process.stop();
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=64k tmpfs {disk:?}; status=0; \"$@\" || status=$?; ls -A {disk:?}; exit $status"
    );
    let inner = command(folder.path(), &["inbox", "backup", "disk/copy.db"]);
    let mut mounted = Command::new("unshare");
    mounted.args([way, "sh", "-c", &script, "sh"]).arg(inner.get_program()).args(inner.get_args());
    let words = complaint(mounted.current_dir(folder.path()).output().unwrap());
    assert!(words.contains("disk/copy.db") && words.contains("full"), "{words}");
}

#[test]
fn an_outbox_is_copied_too() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    let outbox = rusqlite::Connection::open(folder.path().join("data/outbox.db")).unwrap();
    outbox.execute_batch(include_str!("../../../../bus/src/outbox/v1.sql")).unwrap();
    outbox.execute_batch("PRAGMA application_id = 0x77687362").unwrap();
    let said = printed(run(folder.path(), &["bus", "backup", "copy.db"]));
    assert!(said.starts_with("copy.db: 0 events, "), "{said}");
    let again = complaint(run(folder.path(), &["bus", "backup", "copy.db"]));
    assert!(again.contains("copy.db is there already"), "{again}");
}
