//! The senders under chaos: events at a steady rate, each sent until it is acknowledged, some to both receivers at once.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

/// How long a sender waits for an answer, and until it sends again.
const ANSWER: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(250);

/// How long a sender tries.
const PATIENCE: Duration = Duration::from_secs(180);

/// Time between two groups of events.
const TICK: Duration = Duration::from_millis(10);

/// Most events under way.
const OPEN: usize = 1024;

/// The load: events per second, and the number of their entities.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) rate: u32,
    pub(crate) entities: u32,
}

/// Answers to one event.
#[derive(Debug, Default, Clone)]
pub(crate) struct Answers {
    /// The delivery, and whether it was new, of each acknowledgement.
    pub(crate) receipts: Vec<(i64, bool)>,
    /// Requests with another answer or none.
    pub(crate) failures: u32,
    /// Senders that have given up.
    pub(crate) given_up: u32,
}

/// Senders at work.
pub(crate) struct Senders {
    shared: Arc<Shared>,
    sending: JoinHandle<()>,
}

struct Shared {
    receivers: [SocketAddr; 2],
    idle: [Mutex<Vec<BufStream<TcpStream>>>; 2],
    answers: Mutex<HashMap<String, Answers>>,
    open: Semaphore,
    is_over: AtomicBool,
}

impl Senders {
    pub(crate) fn start(load: Load, receivers: [SocketAddr; 2], seed: u64) -> Self {
        let shared = Arc::new(Shared {
            receivers,
            idle: Default::default(),
            answers: Mutex::default(),
            open: Semaphore::new(OPEN),
            is_over: AtomicBool::new(false),
        });
        let sending = tokio::spawn(send_all(Arc::clone(&shared), load, seed));
        Senders { shared, sending }
    }

    /// Begins no more events, and waits for the answers to all; returns them by message id.
    pub(crate) async fn stop(self) -> HashMap<String, Answers> {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.sending.await.unwrap();
        std::mem::take(&mut self.shared.answers.lock().unwrap())
    }
}

async fn send_all(shared: Arc<Shared>, load: Load, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut ticks = tokio::time::interval(TICK);
    let (begun, mut number) = (Instant::now(), 0);
    let mut events = JoinSet::new();
    while !shared.is_over.load(Ordering::Relaxed) {
        ticks.tick().await;
        let due = (begun.elapsed().as_secs_f64() * f64::from(load.rate)) as u64;
        while number < due {
            number += 1;
            let (id, entity) = (format!("{seed}-{number}"), random.u32(..load.entities));
            let size = if random.u8(..) == 0 { 100_000 } else { random.usize(..1000) };
            let first = random.usize(..2);
            let receivers = if random.u8(..) < 32 { vec![first, 1 - first] } else { vec![first] };
            shared.answers.lock().unwrap().insert(id.clone(), Answers::default());
            for receiver in receivers {
                let (shared, id) = (Arc::clone(&shared), id.clone());
                events.spawn(async move { shared.send(receiver, &id, entity, size).await });
            }
        }
        while let Some(sent) = events.try_join_next() {
            sent.unwrap();
        }
    }
    while let Some(sent) = events.join_next().await {
        sent.unwrap();
    }
}

impl Shared {
    /// Sends an event until it is acknowledged, to the other receiver after a failure.
    async fn send(&self, first: usize, id: &str, entity: u32, size: usize) {
        let _open = self.open.acquire().await.unwrap();
        let begun = Instant::now();
        let body = format!(r#"{{"MemberId":{entity},"Points":1,"Note":"{}"}}"#, "x".repeat(size));
        let request = format!(
            "POST /api/webhooks/LoyaltyPointsEvent HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
             X-Directscale-Message-Id: {id}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        for turn in first.. {
            let answer = tokio::time::timeout(ANSWER, self.post(turn % 2, &request)).await;
            if let Ok(Ok((200, receipt))) = answer {
                let delivery = receipt["deliveryId"].as_i64().unwrap();
                let is_new = receipt["status"] == "accepted";
                return self.note(id, |answers| answers.receipts.push((delivery, is_new)));
            }
            self.note(id, |answers| answers.failures += 1);
            if begun.elapsed() > PATIENCE {
                return self.note(id, |answers| answers.given_up += 1);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn note(&self, id: &str, change: impl FnOnce(&mut Answers)) {
        change(self.answers.lock().unwrap().get_mut(id).unwrap());
    }

    /// Posts once, on an idle connection if there is one.
    async fn post(&self, receiver: usize, request: &str) -> io::Result<(u16, Value)> {
        let idle = self.idle[receiver].lock().unwrap().pop();
        let mut stream = match idle {
            Some(stream) => stream,
            None => BufStream::new(TcpStream::connect(self.receivers[receiver]).await?),
        };
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let answer = read(&mut stream).await?;
        self.idle[receiver].lock().unwrap().push(stream);
        Ok(answer)
    }
}

async fn read(stream: &mut BufStream<TcpStream>) -> io::Result<(u16, Value)> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let begin = head.len();
        if stream.read_line(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = head[begin..].trim_end().to_ascii_lowercase();
        if let Some(text) = line.strip_prefix("content-length: ") {
            length = text.parse().map_err(io::Error::other)?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.unwrap_or(0), serde_json::from_slice(&body).unwrap_or_default()))
}
