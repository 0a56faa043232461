//! Copies of an inbox to another engine, and back.

use std::time::Duration;

use contract::event::Environment;
use inbox::{
    AcceptOutcome, Filter, HookBodies, HookCallback, HookFilter, HookRecord, KeyUse, State, Verdict,
};

use crate::harness::deliveries::{Opened, Store, at, keyed, message, route};
use crate::harness::postgres::is_installed;
use crate::harness::process::{printed, run};
use crate::inbox::conformance::{accept, accept_to, claim, finish, send};
use crate::inbox::model::the_life_of_a_copy;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inbox_lives_on_in_its_copies() {
    if is_installed() {
        the_life_of_a_copy(|| [Store::sqlite(), Store::postgres(), Store::sqlite()]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_lives_on_in_another() {
    if is_installed() {
        the_life_of_a_copy(|| [Store::postgres(), Store::sqlite(), Store::postgres()]).await;
    }
}

fn hook_call(number: usize) -> HookRecord {
    let bodies =
        HookBodies { request: "{}".into(), response: Some("1".into()), ..HookBodies::default() };
    HookRecord {
        source: "one".into(),
        environment: Environment::Stage,
        hook: "Orders.SubmitOrder".into(),
        user: Some("é\0".into()),
        request_id: number.to_string(),
        received_at: at(number as i64),
        took: Duration::from_micros(5),
        status: 200,
        outcome: "answered".into(),
        error_id: None,
        error: None,
        callback: Some(HookCallback { took: Duration::from_micros(3), error: Some("late".into()) }),
        bodies: number.is_multiple_of(2).then_some(bodies),
    }
}

/// Fills an inbox with a delivery of each kind, and what else it keeps.
async fn fill(inbox: &Opened) {
    let verdicts = [
        Verdict::Done,
        Verdict::Dead { reason: "bröken\0".into() },
        Verdict::Retry { after: Duration::from_secs(50), reason: "down".into() },
        Verdict::Unrouted,
    ];
    for (number, verdict) in verdicts.into_iter().enumerate() {
        accept(inbox, &format!("ended {number}"), 0).await;
        let lease = claim(inbox, 1, 1).await.remove(0).lease;
        assert!(finish(inbox, &lease, verdict, 2).await);
    }
    for id in ["first", "second", "third"] {
        accept_to(inbox, id, keyed("k\0"), 3).await;
    }
    let unhandled = inbox::Route { handled: false, ..route() };
    send(inbox, &message("unhandled").client("c"), unhandled, 4).await;
    send(inbox, &message("unhandled").client("c").body("[]"), route(), 4).await;
    inbox.log_hooks((0..500).map(hook_call).collect()).await.unwrap();
    let used = KeyUse { source: "one".into(), key: "f00".into(), last_used: at(9) };
    inbox.note_keys(vec![used]).await.unwrap();
}

/// All that commands can see of an inbox, but the workers.
async fn seen(inbox: &Opened) -> String {
    let mut seen = Vec::new();
    for mut entry in inbox.list(Filter::default()).await.unwrap() {
        let mut detail = inbox.show(entry.id).await.unwrap().unwrap();
        (entry.owner, detail.entry.owner) = (None, None);
        assert_eq!(entry, detail.entry);
        seen.push(format!("{detail:?}"));
    }
    for call in inbox.list_hooks(HookFilter::default()).await.unwrap() {
        seen.push(format!("{:?}", inbox.show_hook(call.id).await.unwrap()));
    }
    seen.push(format!("{:?} {:?}", inbox.keys().await.unwrap(), inbox.rejections().await.unwrap()));
    seen.join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_has_everything_and_goes_on_where_it_was_interrupted() {
    if !is_installed() {
        return;
    }
    let (from, to, back) = (Store::sqlite(), Store::postgres(), Store::sqlite());
    let inbox = from.open().await;
    fill(&inbox).await;
    drop(inbox);
    let first = inbox::copy(from.url(), to.url(), |_, _| {}).await.unwrap();
    assert_eq!((first.before, first.rows), (0, 508));
    let inbox = from.open().await;
    accept(&inbox, "later", 10).await;
    inbox.log_hooks(vec![hook_call(501)]).await.unwrap();
    drop(inbox);
    let mut steps = Vec::new();
    let second =
        inbox::copy(from.url(), to.url(), |rows, total| steps.push((rows, total))).await.unwrap();
    assert_eq!((second.before, second.rows, second.from), (508, 2, second.to));
    assert_eq!(steps, [(508, 510), (509, 510), (510, 510)]);
    let again = inbox::copy(to.url(), back.url(), |_, _| {}).await.unwrap();
    assert_eq!((again.rows, again.from), (510, again.to));
    let (from, to, back) = (from.open().await, to.open().await, back.open().await);
    let all = seen(&from).await;
    assert_eq!(all, seen(&to).await);
    assert_eq!(all, seen(&back).await);
    for inbox in [&from, &to, &back] {
        let again = send(inbox, &message("ended 0"), route(), 20).await;
        assert_eq!(again.outcome, AcceptOutcome::Duplicate);
        assert_eq!(claim(inbox, 10, 20).await.len(), 2, "one of the entity, and the later one");
        assert_eq!(accept(inbox, "new", 20).await, 10);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_use_or_has_rows_of_its_own_is_refused() {
    if !is_installed() {
        return;
    }
    let (file, database) = (Store::sqlite(), Store::postgres());
    let inbox = file.open().await;
    accept(&inbox, "m", 0).await;
    let error = inbox::copy(file.url(), database.url(), |_, _| {}).await.unwrap_err();
    assert!(format!("{error:#}").contains("another receiver is running"), "{error:#}");
    drop(inbox);
    let inbox = database.open().await;
    accept(&inbox, "other", 0).await;
    let error = inbox::copy(file.url(), database.url(), |_, _| {}).await.unwrap_err();
    assert!(error.to_string().contains("has rows of its own"), "{error:#}");
    assert_eq!(inbox.list(Filter::default()).await.unwrap().len(), 1);
    let beyond_any_clock = 10_000_000_000;
    assert_eq!(claim(&inbox, 1, beyond_any_clock).await.len(), 1);
    let error = inbox::copy(database.url(), Store::sqlite().url(), |_, _| {}).await.unwrap_err();
    assert!(format!("{error:#}").contains("receivers or workers are connected"), "{error:#}");
    drop(inbox);
    let error = inbox::copy(database.url(), Store::sqlite().url(), |_, _| {}).await.unwrap_err();
    assert!(format!("{error:#}").contains("workers hold 1 of its deliveries"), "{error:#}");
    let inbox = database.open().await;
    assert!(inbox.count().await.unwrap().contains(&(State::Running, 1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_starts_on_a_copy_that_is_not_finished() {
    if !is_installed() {
        return;
    }
    let from = Store::sqlite();
    fill(&from.open().await).await;
    for to in [Store::sqlite(), Store::postgres()] {
        let begun = tokio::sync::Notify::new();
        let progress = |rows, _| {
            if rows > 0 {
                begun.notify_one();
            }
        };
        tokio::select! {
            _ = inbox::copy(from.url(), to.url(), progress) => panic!("it was interrupted"),
            () = begun.notified() => {}
        }
        let opened = inbox::open(to.url(), inbox::Options::receiver(16)).await;
        let error = opened.err().expect("it is refused");
        assert!(format!("{error:#}").contains("a copy to it is not finished"), "{error:#}");
        let rest = inbox::copy(from.url(), to.url(), |_, _| {}).await.unwrap();
        assert!(rest.before > 0 && rest.rows > 0 && rest.from == rest.to, "{rest:?}");
        to.open().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_prints_both_numbers_and_no_password() {
    if !is_installed() {
        return;
    }
    let (from, to) = (Store::sqlite(), Store::postgres());
    fill(&from.open().await).await;
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (from.secret(), to.secret());
    let text = printed(run(folder.path(), &["inbox", "copy", "--from", &from, "--to", &to]));
    assert!(
        text.contains("508 deliveries and hook calls copied; the numbers of rows are the same"),
        "{text}"
    );
    let json =
        printed(run(folder.path(), &["inbox", "copy", "--from", &from, "--to", &to, "--json"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["copied"], &json["before"], &json["same"]),
        (&0.into(), &508.into(), &true.into())
    );
    assert!(!text.contains("hush"));
}
