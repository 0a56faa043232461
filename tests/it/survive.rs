//! The real binary, treated badly: killed, stopped, without space, with a broken database.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use tokio::task::JoinSet;
use webhook_receiver::inbox::{self, Filter, Inbox, Options, State};

use super::deliveries::{PATIENCE, at, message, route};
use super::program::{Ended, Home, Receiver};
use super::wire::{Answer, Wire, head, is_end};

const KILLS: usize = 20;
const SENDERS: usize = 6;

/// What the senders know.
#[derive(Default)]
struct Book {
    sent: AtomicUsize,
    acknowledged: Mutex<HashSet<String>>,
    /// Sent, but the connection broke before the answer.
    unanswered: Mutex<Vec<String>>,
}

impl Book {
    /// An id to send: a resend every other time, as long as there are some to resend.
    fn next(&self) -> String {
        let n = self.sent.fetch_add(1, Ordering::Relaxed);
        let again = if n.is_multiple_of(2) { self.unanswered.lock().unwrap().pop() } else { None };
        again.unwrap_or_else(|| format!("message-{n}"))
    }

    /// Posts until the connection breaks.
    async fn post_until_it_breaks(&self, address: SocketAddr) {
        let Ok(mut wire) = Wire::connect(address).await else { return };
        loop {
            let id = self.next();
            match wire.post(&id, "{\"EventType\":\"ClientEvent\"}").await {
                Ok(answer) => {
                    assert_eq!(answer.status, 200, "{answer:?}");
                    self.acknowledged.lock().unwrap().insert(id);
                }
                Err(error) => {
                    assert!(is_end(&error), "{error}");
                    self.unanswered.lock().unwrap().push(id);
                    return;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_moments_it_loses_nothing_that_it_acknowledged() {
    let home = Home::new("");
    let book: &'static Book = Box::leak(Box::default());
    for _ in 0..KILLS {
        let receiver = home.start().await;
        let mut load = JoinSet::new();
        for _ in 0..SENDERS {
            load.spawn(book.post_until_it_breaks(receiver.address));
        }
        tokio::time::sleep(Duration::from_millis(fastrand::u64(10..200))).await;
        receiver.kill().await;
        load.join_all().await;
    }
    let receiver = home.start().await;
    all_ended(&home).await;
    receiver.terminate().await;
    assert_eq!(receiver.ended().await.code, Some(0));

    let kept = home.deliveries().await;
    let ids: HashSet<&str> = kept.iter().map(|d| d["messageId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), kept.len(), "an id is kept twice");
    let acknowledged = book.acknowledged.lock().unwrap();
    assert!(acknowledged.len() > 20 * KILLS, "too little load: {}", acknowledged.len());
    let lost: Vec<_> = acknowledged.iter().filter(|id| !ids.contains(id.as_str())).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert!(kept.len() <= acknowledged.len() + book.unanswered.lock().unwrap().len());
    let unhandled: Vec<_> = kept.iter().filter(|delivery| delivery["state"] != "done").collect();
    assert!(unhandled.is_empty(), "{unhandled:?}");
}

/// Another process's work has no signal, so this looks again and again.
async fn all_ended(home: &Home) {
    let inbox = beside(home);
    let idle = async {
        while waiting(&*inbox).await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, idle).await.expect("everything is handled");
}

async fn waiting(inbox: &dyn Inbox) -> u64 {
    let counts = inbox.count().await.unwrap();
    counts.iter().filter(|(state, _)| !state.has_ended()).map(|(_, count)| count).sum()
}

fn beside(home: &Home) -> std::sync::Arc<dyn Inbox> {
    inbox::open(&url(home), Options { queue: 16, exclusive: false }).unwrap()
}

fn url(home: &Home) -> String {
    format!("sqlite:{}", home.inbox().display())
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_answers_what_is_in_flight_and_ends_well() {
    let home = Home::new("");
    let receiver = home.start().await;
    let address = receiver.address;
    let mut idle = Wire::connect(address).await.unwrap();
    assert_eq!(idle.get("/readyz").await.unwrap().status, 200);
    let mut silent = Wire::connect(address).await.unwrap();
    let mut wire = Wire::connect(address).await.unwrap();
    start_posting(&mut wire, "m").await;

    receiver.terminate().await;
    idle.closed().await;
    silent.closed().await;
    wire.send("{}").await.unwrap();
    let answer = wire.answer().await.unwrap();
    assert_eq!((answer.status, accepted(&answer)), (200, true));
    let ended = receiver.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(Wire::connect(address).await.is_err());
    assert_eq!(home.deliveries().await.len(), 1);
}

/// Sends a head and waits until the receiver is reading the body of two bytes.
async fn start_posting(wire: &mut Wire, id: &str) {
    let expecting = "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    wire.send(&format!("{}{expecting}", head(id))).await.unwrap();
    assert_eq!(wire.answer().await.unwrap().status, 100);
}

fn accepted(answer: &Answer) -> bool {
    answer.body.contains("\"accepted\"")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_does_not_end_cannot_hold_up_a_stop() {
    let home = Home::new("[limits]\ndrain = \"100ms\"\n");
    let receiver = home.start().await;
    let mut wire = Wire::connect(receiver.address).await.unwrap();
    start_posting(&mut wire, "m").await;
    receiver.terminate().await;
    let ended = receiver.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.log.contains("cut off"), "{ended:?}");
    assert!(wire.answer().await.is_err());
    assert!(home.deliveries().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_at_once() {
    let home = Home::new("");
    let receiver = home.start().await;
    let mut idle = Wire::connect(receiver.address).await.unwrap();
    idle.get("/readyz").await.unwrap();
    let mut wire = Wire::connect(receiver.address).await.unwrap();
    start_posting(&mut wire, "m").await;
    receiver.terminate().await;
    idle.closed().await;
    receiver.terminate().await;
    assert_eq!(receiver.ended().await.code, Some(130));
}

/// The way into mounts of our own, if there is one. Where the suite must be complete, there has to be.
pub(crate) fn private_mounts() -> Option<&'static str> {
    let permitted = |flag: &&str| {
        let tried = std::process::Command::new("unshare").args([flag, "true"]).output();
        tried.is_ok_and(|output| output.status.success())
    };
    let way = ["-m", "-rm"].into_iter().find(permitted);
    if way.is_none() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI must be able to mount");
        eprintln!("SKIPPED: mounting is not permitted here (unshare -m)");
    }
    way
}

/// A receiver in mounts of its own, which `script` makes; `$D` is the folder of the inbox.
fn mounted(home: Home, script: &str) -> Option<Home> {
    let way = private_mounts()?;
    let script = format!("D={:?}; {script} && exec \"$@\"", home.data());
    Some(home.through(&["unshare", way, "sh", "-ec", &script, "sh"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_nothing_is_acknowledged_until_there_is_space_again() {
    let home = Home::new("[dedup]\nremembered = 0\n");
    let Some(home) = mounted(home, "mount -t tmpfs -o size=4m tmpfs $D") else { return };
    let receiver = home.start().await;
    let filler = Path::new(&format!("/proc/{}/root", receiver.id()))
        .join(home.data().strip_prefix("/").unwrap())
        .join("filler");
    let mut wire = Wire::connect(receiver.address).await.unwrap();
    let body = format!("{{\"Text\":\"{}\"}}", "x".repeat(2000));
    let mut acknowledged = Vec::new();
    for n in 0..20 {
        acknowledged.push(format!("before-{n}"));
        assert!(accepted(&wire.post(&acknowledged[n], &body).await.unwrap()));
    }

    fill(&filler);
    let mut refused = Vec::new();
    for n in 0..2000 {
        let id = format!("during-{n}");
        let answer = wire.post(&id, &body).await.unwrap();
        match answer.status {
            200 => acknowledged.push(id),
            503 => {
                assert!(answer.head.contains("\r\nretry-after: "), "{answer:?}");
                refused.push(id);
            }
            _ => panic!("{answer:?}"),
        }
        if refused.len() == 10 {
            break;
        }
    }
    assert_eq!(refused.len(), 10);
    assert_eq!(wire.get("/readyz").await.unwrap().status, 503);
    assert_eq!(wire.get("/healthz").await.unwrap().status, 200);

    fs::remove_file(&filler).unwrap();
    assert_eq!(wire.get("/readyz").await.unwrap().status, 200);
    for id in &refused {
        assert!(accepted(&wire.post(id, &body).await.unwrap()), "{id}");
    }
    for id in &acknowledged {
        let again = wire.post(id, &body).await.unwrap();
        assert!(again.body.contains("\"duplicate\""), "{id}: {again:?}");
    }
    handled(&home, &receiver, acknowledged.len() + refused.len()).await;
}

/// Takes all the space there is.
pub(crate) fn fill(filler: &Path) {
    let mut file = fs::File::create(filler).unwrap();
    let mut size = 64 * 1024;
    while size > 0 {
        match file.write(&vec![b'x'; size]) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::StorageFull => size /= 2,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Waits until so many deliveries are done, as the command sees them from inside the receiver's mounts.
async fn handled(home: &Home, receiver: &Receiver, expected: usize) {
    let inside = Home::new("");
    let id = receiver.id().to_string();
    let inside = inside.through(&["nsenter", "-t", &id, "-m"]);
    let inbox = url(home);
    let line =
        ["inbox", "list", "--json", "--state", "done", "--limit", "10000", "--inbox", &inbox];
    let all_done = async {
        loop {
            let done: Vec<serde_json::Value> =
                serde_json::from_str(&inside.run(&line).await).unwrap();
            if done.len() == expected {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, all_done).await.expect("everything is handled");
}

/// The receiver refuses to start, with an error that names the file and says this.
async fn assert_refused(home: &Home, reason: &str) {
    let Err(Ended { code, log }) = home.try_start().await else { panic!("it starts") };
    assert_eq!(code, Some(2), "{log}");
    let (_, error) = log.split_once("\nerror: ").expect(&log);
    assert!(error.contains(&home.inbox().display().to_string()), "{log}");
    assert!(error.contains(reason), "{log}");
    assert!(!log.contains("panic"), "{log}");
}

/// Makes an inbox with so many deliveries, all in the file itself.
async fn make_inbox(home: &Home, deliveries: usize) {
    let inbox = inbox::open(&url(home), Options { queue: 16, exclusive: true }).unwrap();
    let body = format!("\"{}\"", "x".repeat(1000));
    for n in 0..deliveries {
        let sent = message(&n.to_string()).body(&body).verified();
        inbox.accept(sent, route(), at(0)).await.unwrap();
    }
}

#[tokio::test]
async fn a_read_only_file_system_is_refused() {
    let home = Home::new("");
    make_inbox(&home, 1).await;
    let script = "mount --bind $D $D && mount -o remount,bind,ro $D";
    let Some(home) = mounted(home, script) else { return };
    assert_refused(&home, "Read-only file system").await;
}

#[tokio::test]
async fn a_read_only_file_is_refused() {
    let home = Home::new("");
    make_inbox(&home, 1).await;
    let script = "mount --bind $D/inbox.db $D/inbox.db && mount -o remount,bind,ro $D/inbox.db";
    let Some(home) = mounted(home, script) else { return };
    assert_refused(&home, "read-only").await;
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let home = Home::new("");
    let garbage = b"Dear diary, today I have been mistaken for a database.".repeat(100);
    fs::write(home.inbox(), &garbage).unwrap();
    assert_refused(&home, "not a database").await;
    assert_eq!(fs::read(home.inbox()).unwrap(), garbage);
}

#[tokio::test]
async fn a_damaged_page_is_refused() {
    let home = Home::new("");
    make_inbox(&home, 300).await;
    let length = fs::metadata(home.inbox()).unwrap().len();
    let mut file = OpenOptions::new().write(true).open(home.inbox()).unwrap();
    file.seek(SeekFrom::Start(length / 2 / 4096 * 4096)).unwrap();
    file.write_all(&[0xA5; 4096]).unwrap();
    assert_refused(&home, "damaged").await;
}

#[tokio::test]
async fn a_database_that_is_cut_short_is_refused() {
    let home = Home::new("");
    make_inbox(&home, 300).await;
    let file = OpenOptions::new().write(true).open(home.inbox()).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2 / 4096 * 4096).unwrap();
    assert_refused(&home, "malformed").await;
}

#[tokio::test]
async fn another_programs_database_is_refused_and_left_alone() {
    let home = Home::new("");
    let db = Connection::open(home.inbox()).unwrap();
    db.execute_batch("CREATE TABLE invoice (number)").unwrap();
    db.close().unwrap();
    let before = fs::read(home.inbox()).unwrap();
    assert_refused(&home, "not an inbox").await;
    assert!(fs::read(home.inbox()).unwrap() == before, "it was changed");
}

#[tokio::test]
async fn an_inbox_of_a_newer_version_is_refused() {
    let home = Home::new("");
    make_inbox(&home, 1).await;
    let db = Connection::open(home.inbox()).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    db.close().unwrap();
    assert_refused(&home, "newer version").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inbox_in_use_is_refused_until_its_receiver_has_ended() {
    let home = Home::new("");
    let first = home.start().await;
    assert_refused(&home, "another receiver is running").await;
    first.kill().await;
    home.start().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inbox_that_was_killed_before_it_had_tables_is_a_new_one() {
    let home = Home::new("");
    fs::write(home.inbox(), b"").unwrap();
    let receiver = home.start().await;
    let mut wire = Wire::connect(receiver.address).await.unwrap();
    assert!(accepted(&wire.post("m", "{}").await.unwrap()));
}

#[tokio::test]
async fn what_was_replayed_by_a_command_is_handled_by_the_running_receiver() {
    let home = Home::new("");
    let receiver = home.start().await;
    let mut wire = Wire::connect(receiver.address).await.unwrap();
    wire.post("m", "{\"EventType\":\"ClientEvent\"}").await.unwrap();
    all_ended(&home).await;
    home.run(&["inbox", "replay", "--state", "done"]).await;
    all_ended(&home).await;
    let entries = beside(&home).list(Filter::default()).await.unwrap();
    let [entry] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!((entry.state, entry.attempts, entry.replays), (State::Done, 2, 1));
}
