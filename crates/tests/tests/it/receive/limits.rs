//! The real binary and those who take their time, say too much, or come in crowds.

use std::io;
use std::time::Duration;

use crate::harness::client::{Answer, Wire, head, is_end};
use crate::harness::program::{Home, Receiver};

/// Shorter than every limit here, so that it is never the single pause that is too long.
const PAUSE: Duration = Duration::from_millis(20);

async fn strict() -> (Home, Receiver) {
    let home = Home::new(
        "[limits]\nhead_timeout = \"300ms\"\nbody_timeout = \"300ms\"\nmax_body = 10000\n",
    );
    let receiver = home.start().await;
    (home, receiver)
}

/// The connection is ended, with this answer if the answer gets through.
fn assert_cut_off(answer: io::Result<Answer>, status: u16) {
    match answer {
        Ok(answer) => assert_eq!(answer.status, status, "{answer:?}"),
        Err(error) => assert!(is_end(&error), "{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_never_ends_is_cut_off() {
    let (_home, receiver) = strict().await;
    let mut wire = Wire::connect(receiver.address).await.unwrap();
    wire.send("POST /api/webhooks HTTP/1.1\r\n").await.unwrap();
    assert_cut_off(wire.answer_to_endless("X-Slow: 1\r\n", PAUSE).await, 408);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_without_bounds_is_cut_off() {
    let home = Home::new("[limits]\nmax_head = 8192\n");
    let receiver = home.start().await;
    let mut wire = Wire::connect(receiver.address).await.unwrap();
    wire.send("POST /api/webhooks HTTP/1.1\r\n").await.unwrap();
    let line = format!("X-Large: {}\r\n", "x".repeat(1000));
    assert_cut_off(wire.answer_to_endless(&line, Duration::ZERO).await, 431);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_stops_is_answered_408() {
    let (_home, receiver) = strict().await;
    let mut wire = Wire::connect(receiver.address).await.unwrap();
    wire.send("POST /api/webhooks HTTP/1.1\r\nHost: te").await.unwrap();
    let answer = wire.answer().await.unwrap();
    assert_eq!(answer.problem(408, "request-timeout"), None);
    wire.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_too_large_is_answered_431() {
    let home = Home::new("[limits]\nmax_head = 8192\n");
    let receiver = home.start().await;
    let mut wire = Wire::connect(receiver.address).await.unwrap();
    let line = "x".repeat(9000);
    wire.send(&format!("POST /api/webhooks HTTP/1.1\r\nX-Large: {line}\r\n\r\n")).await.unwrap();
    let answer = wire.answer().await.unwrap();
    assert_eq!(answer.problem(431, "head-too-large"), None);
    wire.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_connects_and_says_nothing_is_cut_off() {
    let (_home, receiver) = strict().await;
    let mut wire = Wire::connect(receiver.address).await.unwrap();
    wire.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stays_after_the_answer_and_says_nothing_more_is_cut_off() {
    let (_home, receiver) = strict().await;
    let mut wire = Wire::connect(receiver.address).await.unwrap();
    for id in ["1", "2"] {
        assert_eq!(wire.post(id, "{}").await.unwrap().status, 200);
    }
    wire.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_comes_too_slowly_is_answered_408_and_not_kept() {
    let (home, receiver) = strict().await;
    let mut wire = Wire::connect(receiver.address).await.unwrap();
    wire.send(&format!("{}Content-Length: 9000\r\n\r\n", head("m"))).await.unwrap();
    let answer = wire.answer_to_endless("1", PAUSE).await.unwrap();
    assert_eq!(answer.status, 408, "{answer:?}");
    wire.closed().await;
    assert!(home.deliveries().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_that_come_too_slowly_are_answered_408() {
    let (_home, receiver) = strict().await;
    let mut wire = Wire::connect(receiver.address).await.unwrap();
    wire.send(&format!("{}Transfer-Encoding: chunked\r\n\r\n", head("m"))).await.unwrap();
    let answer = wire.answer_to_endless("1\r\n1\r\n", PAUSE).await.unwrap();
    assert_eq!(answer.status, 408, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_without_end_are_cut_off() {
    let (home, receiver) = strict().await;
    let mut wire = Wire::connect(receiver.address).await.unwrap();
    wire.send(&format!("{}Transfer-Encoding: chunked\r\n\r\n", head("m"))).await.unwrap();
    let chunk = format!("3e8\r\n{}\r\n", "1".repeat(1000));
    assert_cut_off(wire.answer_to_endless(&chunk, Duration::ZERO).await, 413);
    assert!(home.deliveries().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_that_are_too_many_are_answered_413() {
    let (_home, receiver) = strict().await;
    let mut wire = Wire::connect(receiver.address).await.unwrap();
    wire.send(&format!("{}Transfer-Encoding: chunked\r\n\r\n", head("m"))).await.unwrap();
    wire.send(&format!("3e8\r\n{}\r\n", "1".repeat(1000)).repeat(10)).await.unwrap();
    wire.send("1\r\n1\r\n").await.unwrap();
    assert_eq!(wire.answer().await.unwrap().status, 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_announced_too_large_is_answered_413_unread() {
    let (_home, receiver) = strict().await;
    let mut wire = Wire::connect(receiver.address).await.unwrap();
    wire.send(&format!("{}Content-Length: 10001\r\n\r\n", head("m"))).await.unwrap();
    assert_eq!(wire.answer().await.unwrap().status, 413);
    wire.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_nobody_reads_does_not_keep_the_connection_open() {
    let (_home, receiver) = strict().await;
    let mut wire = Wire::connect(receiver.address).await.unwrap();
    let head = "POST /nowhere HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    wire.send(head).await.unwrap();
    assert_eq!(wire.answer_to_endless("1\r\n1\r\n", PAUSE).await.unwrap().status, 404);
    let after = wire.answer_to_endless("1\r\n1\r\n", PAUSE).await;
    assert!(is_end(&after.unwrap_err()));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_reads_the_answers_is_cut_off() {
    let (_home, receiver) = strict().await;
    let mut wire = Wire::connect(receiver.address).await.unwrap();
    let requests = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    let cut_off = async {
        loop {
            if let Err(error) = wire.send(&requests).await {
                return error;
            }
        }
    };
    let error = tokio::time::timeout(Duration::from_secs(20), cut_off).await.unwrap();
    assert!(is_end(&error), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_idle_connection_gives_way_and_those_that_serve_stay() {
    let home = Home::new("[limits]\nconnections = 3\n");
    let receiver = home.start().await;
    let connect = async || Wire::connect(receiver.address).await.unwrap();
    let mut serving = connect().await;
    let expecting = "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    serving.send(&format!("{}{expecting}", head("served"))).await.unwrap();
    assert_eq!(serving.answer().await.unwrap().status, 100);
    let mut first = connect().await;
    assert_eq!(first.post("first", "{}").await.unwrap().status, 200);
    let mut second = connect().await;
    assert_eq!(second.post("second", "{}").await.unwrap().status, 200);
    assert_eq!(first.get("/healthz").await.unwrap().status, 200);
    for n in 0..20 {
        let mut newcomer = connect().await;
        assert_eq!(newcomer.post(&n.to_string(), "{}").await.unwrap().status, 200);
    }
    second.closed().await;
    first.closed().await;
    serving.send("{}").await.unwrap();
    assert_eq!(serving.answer().await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_shut_nobody_out() {
    let home = Home::new("[limits]\nconnections = 10\n");
    let receiver = home.start().await;
    let mut working = Wire::connect(receiver.address).await.unwrap();
    assert_eq!(working.post("first", "{}").await.unwrap().status, 200);
    let mut silent = Vec::new();
    for n in 0..50 {
        let mut wire = Wire::connect(receiver.address).await.unwrap();
        if n % 2 == 0 {
            wire.send("POST /api/webhooks/").await.unwrap();
        }
        silent.push(wire);
    }
    assert_eq!(working.post("second", "{}").await.unwrap().status, 200);
    let mut newcomer = Wire::connect(receiver.address).await.unwrap();
    assert_eq!(newcomer.post("third", "{}").await.unwrap().status, 200);
    silent[0].closed().await;
    let metrics = newcomer.get("/metrics").await.unwrap().text().to_owned();
    assert!(metrics.contains("\nwebhook_connections_gave_way_total 42\n"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_over_the_limit_is_answered_503_and_the_next_one_served() {
    let home = Home::new("[limits]\nconnections = 2\n");
    let receiver = home.start().await;
    let mut open = Vec::new();
    for id in ["1", "2"] {
        let mut wire = Wire::connect(receiver.address).await.unwrap();
        let expecting = "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n";
        wire.send(&format!("{}{expecting}", head(id))).await.unwrap();
        assert_eq!(wire.answer().await.unwrap().status, 100);
        open.push(wire);
    }
    for _ in 0..20 {
        let mut wire = Wire::connect(receiver.address).await.unwrap();
        let answer = wire.post("m", "{}").await.unwrap();
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.header("retry-after") == "1", "{answer:?}");
        assert!(answer.text().contains("all connections are taken"), "{answer:?}");
        wire.closed().await;
    }
    for mut wire in open {
        wire.send("{}").await.unwrap();
        assert_eq!(wire.answer().await.unwrap().status, 200);
    }
    let mut wire = Wire::connect(receiver.address).await.unwrap();
    assert_eq!(wire.post("m", "{}").await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_idle_connections_do_not_starve_one_that_works() {
    const IDLE: usize = 2000;
    rlimit::increase_nofile_limit(IDLE as u64 + 500).unwrap();
    let home = Home::new("");
    let receiver = home.start().await;
    let mut idle = Vec::with_capacity(IDLE);
    for _ in 0..IDLE {
        let mut wire = Wire::connect(receiver.address).await.unwrap();
        wire.send("POST /api/webhooks/").await.unwrap();
        idle.push(wire);
    }
    let mut working = Wire::connect(receiver.address).await.unwrap();
    for n in 0..200 {
        let answer = working.post(&n.to_string(), "{}").await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    for wire in [0, IDLE / 2, IDLE - 1] {
        idle[wire]
            .send("ClientEvent HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(idle[wire].answer().await.unwrap().status, 415);
    }
}
