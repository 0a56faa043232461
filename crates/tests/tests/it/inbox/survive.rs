//! The real binary, treated badly: killed, stopped, without space, with a broken database.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use inbox::{self, Browse, Filter, Inbox, Options, State};
use rusqlite::Connection;
use tokio::task::JoinSet;

use crate::harness::client::{Answer, Wire, head, is_end};
use crate::harness::deliveries::{PATIENCE, message, open_file, route};
use crate::harness::disks::{fill, private_mounts};
use crate::harness::program::{Ended, Home, Receiver};
use crate::harness::random::random;

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
    let mut random = random();
    for _ in 0..KILLS {
        let receiver = home.start().await;
        let mut load = JoinSet::new();
        for _ in 0..SENDERS {
            load.spawn(book.post_until_it_breaks(receiver.address));
        }
        tokio::time::sleep(Duration::from_millis(random.u64(10..200))).await;
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
    let inbox = beside(home).await;
    let idle = async {
        while waiting(&*inbox).await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, idle).await.expect("everything is handled");
}

async fn waiting(inbox: &dyn Browse) -> u64 {
    let counts = inbox.count().await.unwrap();
    counts.iter().filter(|(state, _)| !state.has_ended()).map(|(_, count)| count).sum()
}

async fn beside(home: &Home) -> std::sync::Arc<dyn Inbox> {
    open_file(&home.inbox(), Options::command()).await
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
    answer.text().contains("\"accepted\"")
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
                assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
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
        assert!(again.text().contains("\"duplicate\""), "{id}: {again:?}");
    }
    handled(&home, &receiver, acknowledged.len() + refused.len()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_fits_on_a_small_volume_and_the_next_start_finds_it() {
    let home = Home::new("");
    // Mounted once for both starts, in mounts that a sleeping process keeps.
    let Some(volume) = Volume::new(&home, "size=60m") else { return };
    let home = home.through(&volume.way().iter().map(String::as_str).collect::<Vec<_>>());
    let receiver = home.start().await;
    let mut wire = Wire::connect(receiver.address).await.unwrap();
    let body = format!("{{\"Text\":\"{}\"}}", "x".repeat(2000));
    for n in 0..2000 {
        let answer = wire.post(&format!("message-{n}"), &body).await.unwrap();
        assert_eq!(answer.status, 200, "{n}: {answer:?}");
    }
    receiver.terminate().await;
    assert_eq!(receiver.ended().await.code, Some(0));
    let receiver = home.start().await;
    let mut wire = Wire::connect(receiver.address).await.unwrap();
    assert_eq!(wire.get("/readyz").await.unwrap().status, 200);
    assert_eq!(home.deliveries().await.len(), 2000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_deliveries_have_filled_is_emptied_by_pruning_them() {
    let home = Home::new("");
    let Some(volume) = Volume::new(&home, "size=6m") else { return };
    let home = home.through(&volume.way().iter().map(String::as_str).collect::<Vec<_>>());
    let receiver = home.start().await;
    let mut wire = Wire::connect(receiver.address).await.unwrap();
    let body = format!("{{\"EventType\":\"ClientEvent\",\"Text\":\"{}\"}}", "x".repeat(2000));
    let mut kept = 0;
    while wire.post(&format!("message-{kept}"), &body).await.unwrap().status == 200 {
        kept += 1;
    }
    assert!(kept > 200, "{kept}");
    assert_eq!(wire.get("/readyz").await.unwrap().status, 503);
    // What had been accepted can still be handled, and what has been handled can still be deleted.
    let done = async || {
        let done = ["inbox", "list", "--json", "--state", "done", "--limit", "100000"];
        serde_json::from_str::<Vec<serde_json::Value>>(&home.run(&done).await).unwrap().len()
    };
    let all_done = async { while done().await < kept {} };
    tokio::time::timeout(PATIENCE, all_done).await.expect("everything is handled");
    home.run(&["inbox", "prune", "--state", "done", "--older-than", "0s"]).await;
    assert!(accepted(&wire.post("after", &body).await.unwrap()));
    assert_eq!(wire.get("/readyz").await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_a_reader_holds_never_takes_the_room_that_emptying_it_needs() {
    let home = Home::new("");
    let Some(volume) = Volume::new(&home, "size=30m") else { return };
    let home = home.through(&volume.way().iter().map(String::as_str).collect::<Vec<_>>());
    let receiver = home.start().await;
    let mut wire = Wire::connect(receiver.address).await.unwrap();
    assert!(accepted(&wire.post("first", "{}").await.unwrap()));
    let reader = hold(&volume, &home.inbox());
    let body = format!("{{\"Text\":\"{}\"}}", "x".repeat(20_000));
    let mut kept = 0;
    while wire.post(&format!("message-{kept}"), &body).await.unwrap().status == 200 {
        kept += 1;
    }
    assert!(kept > 100, "{kept}");
    assert!(reader.wait_with_output().unwrap().status.success());
    assert_eq!(wire.get("/readyz").await.unwrap().status, 200);
    assert!(accepted(&wire.post("after", &body).await.unwrap()));
}

/// A process in the volume's mounts that reads the inbox as of now, until it is waited for.
fn hold(volume: &Volume, inbox: &Path) -> std::process::Child {
    let mut child = std::process::Command::new("nsenter")
        .args(["-t", &volume.0.id().to_string(), "-m"])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "--nocapture",
            "inbox::survive::a_reader_of_another_process",
        ])
        .env("HELD_INBOX", inbox)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = io::BufRead::lines(io::BufReader::new(child.stdout.as_mut().unwrap()));
    let held = lines.map_while(Result::ok).any(|line| line.ends_with("held"));
    assert!(held, "it reads");
    child
}

#[test]
#[ignore = "another test runs it in a process of its own"]
fn a_reader_of_another_process() {
    let reader = Connection::open(std::env::var_os("HELD_INBOX").unwrap()).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM delivery").unwrap();
    println!("held");
    io::Read::read_to_end(&mut io::stdin(), &mut Vec::new()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_on_a_full_disk_answers_503_until_there_is_room() {
    let home = Home::new("");
    let Some(volume) = Volume::new(&home, "size=4m") else { return };
    let filler = volume.root().join(home.data().strip_prefix("/").unwrap()).join("filler");
    fill(&filler);
    let home = home.through(&volume.way().iter().map(String::as_str).collect::<Vec<_>>());
    let receiver = home.start().await;
    let mut wire = Wire::connect(receiver.address).await.unwrap();
    let answer = wire.post("early", "{}").await.unwrap();
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
    fs::remove_file(&filler).unwrap();
    let accepting = async {
        loop {
            // Connections end whenever the store is tried again.
            let mut wire = Wire::connect(receiver.address).await.unwrap();
            match wire.post("early", "{}").await {
                Ok(answer) if accepted(&answer) => return,
                Ok(answer) => assert_eq!(answer.status, 503, "{answer:?}"),
                Err(error) => assert!(is_end(&error), "{error}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, accepting).await.expect("there is room");
    assert_eq!(home.deliveries().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_once_the_inbox_is_removed_or_replaced() {
    let home = Home::new("");
    let receiver = home.start().await;
    let mut wire = Wire::connect(receiver.address).await.unwrap();
    assert!(accepted(&wire.post("first", "{}").await.unwrap()));
    let away = home.data().with_file_name("away");
    fs::rename(home.data(), &away).unwrap();
    for id in ["first", "second"] {
        assert_eq!(wire.post(id, "{}").await.unwrap().status, 503, "{id}");
    }
    assert_eq!(wire.get("/readyz").await.unwrap().status, 503);
    fs::rename(&away, home.data()).unwrap();
    assert_eq!(wire.get("/readyz").await.unwrap().status, 200);
    assert!(accepted(&wire.post("second", "{}").await.unwrap()));
    assert!(!accepted(&wire.post("first", "{}").await.unwrap()));
    receiver.terminate().await;
    let ended = receiver.ended().await;
    assert!(ended.log.contains("was removed"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_damaged_and_an_inbox_that_is_new_are_said_aloud() {
    let home = Home::new("[dispatch]\npaused = true\n");
    let receiver = home.start().await;
    let mut wire = Wire::connect(receiver.address).await.unwrap();
    for n in 0..20 {
        assert!(accepted(&wire.post(&n.to_string(), "{}").await.unwrap()));
    }
    receiver.kill().await;
    let log = home.inbox().with_file_name("inbox.db-wal");
    let length = fs::metadata(&log).unwrap().len();
    let mut file = OpenOptions::new().write(true).open(&log).unwrap();
    file.seek(SeekFrom::Start(length / 2)).unwrap();
    file.write_all(&[0xA5; 100]).unwrap();
    let command = home.try_run(&["inbox", "list"]).await;
    assert!(command.contains("is damaged") && command.contains("start the receiver"), "{command}");
    let receiver = home.start().await;
    let kept = home.deliveries().await.len();
    assert!(kept < 20, "{kept}");
    receiver.terminate().await;
    let ended = receiver.ended().await;
    assert!(ended.log.contains("is damaged"), "{ended:?}");
    assert!(!ended.log.contains("created a new inbox"), "{ended:?}");
    assert!(log.with_file_name("inbox.db-wal-damaged-1").exists());
    fs::remove_file(home.inbox()).unwrap();
    let receiver = home.start().await;
    receiver.terminate().await;
    let ended = receiver.ended().await;
    assert!(ended.log.contains("created a new inbox"), "{ended:?}");
}

/// A small volume in the place of the inbox's folder, in mounts of its own that last as long as this value.
struct Volume(std::process::Child);

impl Volume {
    fn new(home: &Home, options: &str) -> Option<Self> {
        let script = format!(
            "mount -t tmpfs -o {options} tmpfs {:?} && echo mounted && exec sleep 600",
            home.data()
        );
        let mut child = std::process::Command::new("unshare")
            .args([private_mounts()?, "sh", "-ec", &script])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let out = child.stdout.take().unwrap();
        io::BufRead::read_line(&mut io::BufReader::new(out), &mut line).unwrap();
        assert_eq!(line, "mounted\n");
        Some(Volume(child))
    }

    /// The file system as the mounts' own processes see it.
    fn root(&self) -> std::path::PathBuf {
        format!("/proc/{}/root", self.0.id()).into()
    }

    /// The way into the mounts.
    fn way(&self) -> Vec<String> {
        ["nsenter", "-t", &self.0.id().to_string(), "-m"].map(ToString::to_string).to_vec()
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
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
    let inbox = open_file(&home.inbox(), Options::receiver(16)).await;
    let body = format!("\"{}\"", "x".repeat(1000));
    for n in 0..deliveries {
        let sent = message(&n.to_string()).body(&body).verified();
        inbox.accept(sent, route()).await.unwrap();
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
    assert_refused(&home, "Read-only file system").await;
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
    let entries = beside(&home).await.list(Filter::default()).await.unwrap();
    let [entry] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!((entry.state, entry.attempts, entry.replays), (State::Done, 2, 1));
}
