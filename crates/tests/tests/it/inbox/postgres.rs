//! What is particular to the engine on PostgreSQL; what all engines promise is in `conformance`.

use std::collections::HashSet;
use std::time::Duration;

use contract::event::DeliveryId;
use inbox::{AcceptOutcome, Filter, InboxUrl, Options, State, Verdict};

use crate::harness::client::Request;
use crate::harness::deliveries::{Opened, PATIENCE, Place, Store, keyed, message, route};
use crate::harness::postgres::{is_installed, server};
use crate::harness::process::{Process, command, printed, run};
use crate::harness::proxy::{Link, Proxy};
use crate::inbox::conformance::{LEASE, accept, accept_to, claim, finish, ids, send};

const DAY: i64 = 24 * 60 * 60;

#[tokio::test]
async fn the_url_is_shown_without_its_secrets() {
    for (url, shown) in [
        ("postgres://me:hush@db.example:5433/inbox", "postgres://db.example:5433/inbox"),
        ("postgresql://me:hush@a,b/x?sslmode=require&password=hush", "postgres://a:5432,b/x"),
    ] {
        let url = InboxUrl::parse(&url.into()).unwrap();
        assert!(!format!("{url} {url:?}").contains("hush"), "{url}");
        assert!(url.to_string().starts_with(shown.split(',').next().unwrap()), "{url}");
    }
    let error = InboxUrl::parse(&"postgres://me:hush@host:port/db".into()).unwrap_err();
    assert!(!error.to_string().contains("hush"), "{error}");
    for url in ["postgres://me:hu@sh/x@db.example/inbox", "postgres://me:hush/x@db.example/inbox"] {
        let error = InboxUrl::parse(&url.into()).unwrap_err().to_string();
        assert!(error.contains("@ is written %40") && !error.contains("sh/x"), "{error}");
    }
}

#[tokio::test]
async fn a_database_without_the_schema_is_refused_with_the_command_that_makes_it() {
    if !is_installed() {
        return;
    }
    let database = server().unwrap().empty("without_schema");
    let url = InboxUrl::parse(&database.url().into()).unwrap();
    let error = inbox::open(&url, Options::receiver(16)).await.err().unwrap();
    assert!(format!("{error:#}").contains("run `webhook-receiver migrate`"), "{error:#}");
    let planned = inbox::migrate(&url, true).await.unwrap().unwrap();
    assert_eq!((planned.from, planned.to, planned.statements.len()), (0, 4, 4));
    assert!(inbox::open(&url, Options::receiver(16)).await.is_err(), "nothing was changed");
    inbox::migrate(&url, false).await.unwrap();
    let again = inbox::migrate(&url, false).await.unwrap().unwrap();
    assert_eq!((again.from, again.to), (4, 4));
    inbox::open(&url, Options::receiver(16)).await.unwrap().check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_receivers_and_two_workers_share_one_inbox() {
    if !is_installed() {
        return;
    }
    let store = Store::postgres();
    let nodes = [store.open().await, store.open().await];
    let mut sent = Vec::new();
    for n in 0..200 {
        let message = message(&(n / 2).to_string());
        let key = format!("{}", n % 7);
        let node = nodes[n % 2].clone();
        sent.push(tokio::spawn(async move { send(&node, &message, keyed(&key), 0).await }));
    }
    let mut new = 0;
    for sent in sent {
        new += usize::from(sent.await.unwrap().outcome == AcceptOutcome::New);
    }
    assert_eq!(new, 100, "each id is new once, whoever receives it");
    let worker = async |node: &Opened| {
        let mut seen = Vec::new();
        loop {
            let claims = claim(node, 8, 1).await;
            if claims.is_empty() {
                return seen;
            }
            for claim in &claims {
                seen.push((claim.delivery.meta.id, claim.lease.clone()));
                assert!(finish(node, &claim.lease, Verdict::Done, 1).await);
            }
        }
    };
    let (a, b) = tokio::join!(worker(&nodes[0]), worker(&nodes[1]));
    let mut rest = worker(&nodes[0]).await;
    rest.extend(a.into_iter().chain(b));
    let handled: HashSet<DeliveryId> = rest.iter().map(|(id, _)| *id).collect();
    assert_eq!((handled.len(), rest.len()), (100, 100), "each is claimed once");
}

#[tokio::test]
async fn a_text_with_any_character_is_kept_as_it_is() {
    if !is_installed() {
        return;
    }
    let store = Store::postgres();
    let inbox = store.open().await;
    let odd = "a\0b\u{10FFFF}\u{10FFFF}0";
    let route = inbox::Route { event_type: odd.into(), ..keyed(odd) };
    let id = accept_to(&inbox, "m", route, 0).await;
    let kept = inbox.show(id).await.unwrap().unwrap();
    assert_eq!((kept.entry.event_type.as_str(), kept.ordering_key.as_deref()), (odd, Some(odd)));
    let filter = Filter { event_type: Some(odd.into()), ..Filter::default() };
    assert_eq!(inbox.list(filter).await.unwrap().len(), 1);
    let claim = claim(&inbox, 1, 0).await.remove(0);
    assert_eq!(claim.delivery.meta.event_type, odd);
    let reason = Verdict::Dead { reason: odd.into() };
    assert!(finish(&inbox, &claim.lease, reason, 0).await);
    let kept = inbox.show(id).await.unwrap().unwrap();
    assert_eq!(kept.entry.last_error.as_deref(), Some(odd));
}

#[tokio::test]
async fn one_process_does_the_upkeep_until_it_is_gone() {
    if !is_installed() {
        return;
    }
    let store = Store::postgres();
    let options = |owner: &str| Options { owner: owner.into(), ..Options::receiver(16) };
    let options = |owner| options(owner).with_clock(store.clock.clock());
    let first = inbox::open(store.url(), options("first")).await.unwrap();
    let second = inbox::open(store.url(), options("second")).await.unwrap();
    let term = Duration::from_secs(30);
    assert!(first.lead(term).await.unwrap());
    assert!(!second.lead(term).await.unwrap());
    store.clock.set(20);
    assert!(first.lead(term).await.unwrap());
    store.clock.set(40);
    assert!(!second.lead(term).await.unwrap(), "the first has come again");
    store.clock.set(51);
    assert!(second.lead(term).await.unwrap());
    assert!(!first.lead(term).await.unwrap());
}

#[tokio::test]
async fn a_source_with_many_waiting_holds_up_no_other() {
    if !is_installed() {
        return;
    }
    let store = Store::postgres();
    let inbox = store.open().await;
    for n in 0..100 {
        accept(&inbox, &format!("many {n}"), 0).await;
    }
    for claim in claim(&inbox, 50, 0).await {
        let retry = Verdict::Retry { after: Duration::from_secs(1), reason: "down".into() };
        assert!(finish(&inbox, &claim.lease, retry, 0).await);
    }
    let other = send(&inbox, &message("one").from("two"), route(), 5).await.id;
    let claims = claim(&inbox, 8, 5).await;
    assert_eq!(claims.len(), 8);
    let of = |attempt| claims.iter().filter(|claim| claim.lease.attempt == attempt).count();
    assert_eq!((of(1), of(2)), (4, 4), "first and late attempts share the slots");
    assert!(ids(&claims).contains(&other), "each source has a share of the first attempts");
}

/// A replay that was decided before another one of the same delivery.
#[tokio::test]
async fn of_two_replays_that_have_seen_the_same_one_counts() {
    if !is_installed() {
        return;
    }
    let store = Store::postgres();
    let inbox = store.open().await;
    let id = accept(&inbox, "m", 0).await;
    let replay = || {
        let replayed =
            format!("SELECT webhook_inbox.replay(ARRAY[{id}::bigint], ARRAY[0], 1700000000000)");
        store.place.run(&replayed).trim().to_owned()
    };
    for replayed in ["1", "0"] {
        let lease = claim(&inbox, 1, 0).await.remove(0).lease;
        assert!(finish(&inbox, &lease, Verdict::Done, 0).await);
        assert_eq!(replay(), replayed);
        if replayed == "0" {
            break;
        }
    }
    assert!(claim(&inbox, 1, 0).await.is_empty());
}

/// A delivery of a dialect that only a newer version knows.
#[tokio::test]
async fn what_this_program_cannot_read_waits_and_holds_up_nothing() {
    if !is_installed() {
        return;
    }
    let store = Store::postgres();
    let inbox = store.open().await;
    let id = accept(&inbox, "newer", 0).await;
    store
        .place
        .run(&format!("UPDATE webhook_inbox.delivery SET dialect = 'newer' WHERE id = {id}"));
    let other = accept(&inbox, "m", 0).await;
    assert_eq!(ids(&claim(&inbox, 8, 0).await), [other]);
    for now in [59, 60, 119, 1000] {
        assert!(!ids(&claim(&inbox, 8, now).await).contains(&id));
        let entry = inbox.show(id).await.unwrap().unwrap().entry;
        assert_eq!((entry.state, entry.attempts, entry.lost), (State::Ready, 0, 0), "at {now}");
    }
    store
        .place
        .run(&format!("UPDATE webhook_inbox.delivery SET dialect = 'directscale' WHERE id = {id}"));
    assert!(ids(&claim(&inbox, 8, 2000).await).contains(&id));
}

/// A receiver that cannot store is not ready; a worker needs not to.
#[tokio::test]
async fn a_user_who_may_not_add_deliveries_is_not_ready() {
    if !is_installed() {
        return;
    }
    let store = Store::postgres();
    let Place::Database(database) = &store.place else { panic!("it is a database") };
    let role = format!("reader_{}", database.name());
    database.run(&format!(
        "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA webhook_inbox TO {role};
         GRANT SELECT ON ALL TABLES IN SCHEMA webhook_inbox TO {role}"
    ));
    let url =
        InboxUrl::parse(&database.url().replace("postgres:hush", &format!("{role}:hush")).into());
    let inbox = inbox::open(&url.unwrap(), Options::receiver(16)).await.unwrap();
    let error = inbox.check().await.unwrap_err().to_string();
    assert!(error.contains("may not add deliveries"), "{error}");
    inbox.now().await.unwrap();
    drop(inbox);
    database.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

const SETTINGS: &str = "[sources.one]\ndialect = \"directscale\"\nbearer_tokens = [\"key\"]\n[dispatch]\ntimeout = \"1s\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn receivers_and_workers_come_and_go_and_nothing_is_lost() {
    if !is_installed() {
        return;
    }
    let store = Store::postgres();
    let folder = tempfile::tempdir().unwrap();
    let Place::Database(database) = &store.place else { panic!("it is a database") };
    let settings = format!("inbox = \"{}\"\n{SETTINGS}", database.url());
    std::fs::write(folder.path().join("receiver.toml"), &settings).unwrap();
    let start = |role: &str| {
        let args = ["serve", "--listen", "127.0.0.1:0", "--role", role];
        Process::start(&mut command(folder.path(), &args))
    };
    let receivers = [start("receive"), start("receive")];
    let post = async |id: usize, receiver: &Process| {
        let order = Request::post("/api/webhooks/OrderEvent", r#"{"OrderId":1}"#);
        order.bearer("key").id(&id.to_string()).send(&receiver.address).await.kept();
    };
    for id in 0..40 {
        post(id, &receivers[id % 2]).await;
    }
    let killed = start("work");
    killed.signal("KILL");
    let args = ["serve", "--role", "work", "--monitor", "127.0.0.1:0"];
    let mut worker = Process::start(&mut command(folder.path(), &args));
    for id in 0..60 {
        post(id, &receivers[(id + 1) % 2]).await;
    }
    let [first, second] = receivers;
    assert!(first.stop().iter().all(|line| line["message"] != "attempt"), "it handles nothing");
    post(60, &second).await;
    worker.wait_for(|line| line["message.id"] == "60" && line["outcome"] == "done");
    let metrics = Request::get("/metrics").send(&worker.address).await;
    assert!(metrics.body.escape_ascii().to_string().contains("webhook_attempts_total{"));
    assert_eq!(Request::get("/readyz").send(&worker.address).await.status, 200);
    let delivery = Request::post("/api/webhooks/OrderEvent", "{}").bearer("key");
    assert_eq!(delivery.send(&worker.address).await.status, 404, "it receives nothing");
    let inbox = store.open_beside().await;
    let waits = async || {
        let counts = inbox.count().await.unwrap();
        counts.iter().any(|(state, count)| !state.has_ended() && *count > 0)
    };
    let patience = Duration::from_secs(60);
    // What the killed worker held is handled when its lease has expired; there is no signal for that but the states.
    let all = async {
        while waits().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(patience, all).await.expect("everything is handled");
    let listed = printed(run(
        folder.path(),
        &["inbox", "list", "--state", "done", "--limit", "100", "--json"],
    ));
    let listed: Vec<serde_json::Value> = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed.len(), 61, "each id once");
    let log = [second.stop(), worker.stop()].concat();
    assert!(log.iter().all(|line| !line.to_string().contains("hush")), "the password is in no log");
}

/// It has claimed more than the network takes, and reads none of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stands_still_while_it_claims_holds_up_no_other() {
    if !is_installed() {
        return;
    }
    let store = Store::postgres();
    let inbox = store.open().await;
    for id in 0..32 {
        let large = message(&id.to_string()).body(format!("\"{}\"", "x".repeat(200_000)));
        send(&inbox, &large, route(), 0).await;
    }
    let Place::Database(database) = &store.place else { panic!("it is a database") };
    let proxy = Proxy::to(database.socket()).await;
    let url = InboxUrl::parse(&database.url_through(proxy.address).into()).unwrap();
    let options = Options::receiver(16).with_clock(store.clock.clock());
    let still = inbox::open(&url, options).await.unwrap();
    proxy.set(Link::Deaf);
    let claiming = tokio::spawn(async move { still.claim(16, LEASE, PATIENCE).await });
    let is_claiming = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory')
        OR EXISTS (SELECT FROM webhook_inbox.claimed)";
    while tokio::task::block_in_place(|| store.place.run(is_claiming)).trim() != "t" {
        tokio::task::yield_now().await;
    }
    let claims = inbox.claim(16, LEASE, PATIENCE).await.unwrap();
    assert_eq!(claims.len(), 16);
    claiming.abort();
}

/// The answer to its claim is still on its way.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_stopped_while_it_claims_releases_what_it_has_claimed() {
    if !is_installed() {
        return;
    }
    let store = Store::postgres();
    let inbox = store.open().await;
    let Place::Database(database) = &store.place else { panic!("it is a database") };
    let proxy = Proxy::to(database.socket()).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("receiver.toml"), SETTINGS).unwrap();
    let mut worker = command(folder.path(), &["serve", "--role", "work"]);
    worker.env("RECEIVER_INBOX", database.url_through(proxy.address));
    accept(&inbox, "first", 0).await;
    let mut worker = tokio::task::block_in_place(|| Process::start(&mut worker));
    worker.wait_for(|line| line["message"] == "attempt");
    let claimed =
        || store.place.run("SELECT count(*) FROM webhook_inbox.claimed").trim().to_owned();
    proxy.set(Link::Slow(Duration::from_millis(300)));
    let before = claimed();
    for id in 0..9 {
        accept(&inbox, &id.to_string(), 0).await;
    }
    let log = tokio::task::block_in_place(|| {
        while claimed() == before {}
        worker.stop()
    });
    let handled = log.iter().filter(|line| line["message"] == "attempt").count();
    let beside = inbox::open(store.url(), Options::receiver(16)).await.unwrap();
    let claims = beside.claim(10, LEASE, Duration::from_secs(1)).await.unwrap();
    assert_eq!(claims.len() + handled, 10, "{handled}: nothing waits for a lease");
}

/// Rotations of everything, with deliveries in every state.
#[tokio::test]
async fn parts_and_generations_are_emptied_and_lose_nothing_that_is_kept() {
    if !is_installed() {
        return;
    }
    let store = Store::postgres();
    let inbox = store.open().await;
    let (window, kept) = (Duration::from_secs(6 * DAY as u64), Duration::from_secs(6 * DAY as u64));
    let tidy = async |now| inbox.at(now).tidy(window, kept).await.unwrap();
    tidy(0).await;
    let dead = accept(&inbox, "dead", 0).await;
    let lease = claim(&inbox, 1, 0).await.remove(0).lease;
    assert!(finish(&inbox, &lease, Verdict::Dead { reason: "broken".into() }, 0).await);
    let retried = accept(&inbox, "retried", 0).await;
    let lease = claim(&inbox, 1, 0).await.remove(0).lease;
    let after = Duration::from_secs(100 * DAY as u64);
    assert!(finish(&inbox, &lease, Verdict::Retry { after, reason: "down".into() }, 0).await);
    let done = async |id: &str, now| {
        accept(&inbox, id, now).await;
        let lease = claim(&inbox, 1, now).await.remove(0).lease;
        assert!(finish(&inbox, &lease, Verdict::Done, now).await);
    };
    done("done", 0).await;
    for day in 1..12 {
        tidy(day * DAY).await;
        inbox.at(day * DAY).prune(State::Done, kept, 1000).await.unwrap();
        done(&format!("of day {day}"), day * DAY).await;
    }
    let left = inbox.list(Filter::default()).await.unwrap();
    let of = |state| left.iter().filter(move |entry| entry.state == state).map(|entry| entry.id);
    assert_eq!(of(State::Dead).collect::<Vec<_>>(), [dead]);
    assert_eq!(of(State::Ready).collect::<Vec<_>>(), [retried]);
    assert_eq!((of(State::Done).count(), left.len()), (7, 9));
    assert!(left[0].id > 1_000_000_000, "ids are in parts: {}", left[0].id);
    // What is kept of old parts is in one, and the others are gone.
    let parts = "SELECT string_agg(p.low || ' ' || (SELECT count(*) FROM webhook_inbox.delivery d WHERE d.id >= p.low AND d.id < p.high),
        ', ' ORDER BY p.low) FROM webhook_inbox.part p";
    let parts = store.place.run(parts);
    let parts: Vec<&str> = parts.trim().split(", ").collect();
    assert_eq!(parts[0], "0 2", "{parts:?}");
    assert!((5..8).contains(&parts.len()), "{parts:?}");
    assert_eq!(inbox.show(dead).await.unwrap().unwrap().attempts.len(), 1);
    assert_eq!(ids(&claim(&inbox, 100, 101 * DAY).await), [retried]);
    let again = async |id: &str| send(&inbox, &message(id), route(), 11 * DAY).await.outcome;
    assert_eq!(again("of day 11").await, AcceptOutcome::Duplicate);
    assert_eq!(again("of day 2").await, AcceptOutcome::New);
    assert_eq!(again("done").await, AcceptOutcome::New);
}

/// The second of two unfinished deliveries waits behind the first, which runs, when one before them is replayed.
#[tokio::test]
async fn a_replay_waits_for_a_first_attempt_with_others_behind_it() {
    if !is_installed() {
        return;
    }
    let store = Store::postgres();
    let inbox = store.open().await;
    let mut accepted = Vec::new();
    for id in ["replayed", "running", "behind"] {
        accepted.push(accept_to(&inbox, id, keyed("k"), 0).await);
        if id == "replayed" {
            let lease = claim(&inbox, 1, 0).await.remove(0).lease;
            assert!(finish(&inbox, &lease, Verdict::Done, 0).await);
        }
    }
    let running = claim(&inbox, 9, 0).await;
    assert_eq!(ids(&running), [accepted[1]]);
    let replayed = Filter { ids: vec![accepted[0]], ..Filter::default() };
    assert_eq!(inbox.at(0).replay(replayed.clone()).await.unwrap(), 1);
    assert_eq!(inbox.replay(replayed).await.unwrap(), 0, "once");
    assert!(claim(&inbox, 9, 0).await.is_empty());
    let lost = claim(&inbox, 9, 100).await;
    assert_eq!(ids(&lost), [accepted[1]], "its lease has expired");
    assert!(!finish(&inbox, &running[0].lease, Verdict::Done, 100).await);
    assert!(finish(&inbox, &lost[0].lease, Verdict::Done, 100).await);
    for id in [accepted[0], accepted[2]] {
        let next = claim(&inbox, 9, 100).await;
        assert_eq!(ids(&next), [id]);
        assert!(finish(&inbox, &next[0].lease, Verdict::Done, 100).await);
    }
}
