//! A target of the bus: it keeps what it is sent, and answers as it is told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::harness::deliveries::PATIENCE;

/// A running target.
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    answers: Arc<Answers>,
    requests: UnboundedReceiver<Seen>,
}

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

struct Answers {
    status: AtomicU16,
    headers: Vec<(&'static str, &'static str)>,
    open: AtomicUsize,
    most_open: AtomicUsize,
    /// Open requests wait for each other until there are so many.
    crowd: usize,
    gathered: Semaphore,
    requests: UnboundedSender<Seen>,
}

impl Sink {
    /// One that answers with this status until it is told otherwise.
    pub(crate) async fn answering(status: u16) -> Self {
        Self::with_headers(status, Vec::new()).await
    }

    /// One that answers nobody before so many requests are open.
    pub(crate) async fn answering_a_crowd(status: u16, crowd: usize) -> Self {
        Self::new(status, Vec::new(), crowd).await
    }

    pub(crate) async fn with_headers(
        status: u16,
        headers: Vec<(&'static str, &'static str)>,
    ) -> Self {
        Self::new(status, headers, 1).await
    }

    async fn new(status: u16, headers: Vec<(&'static str, &'static str)>, crowd: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = unbounded_channel();
        let answers = Arc::new(Answers {
            status: AtomicU16::new(status),
            headers,
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
            crowd,
            gathered: Semaphore::new(0),
            requests: sender,
        });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&answers));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Sink { address, answers, requests }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/in/", self.address)
    }

    pub(crate) fn answer_from_now_on(&self, status: u16) {
        self.answers.status.store(status, Ordering::SeqCst);
    }

    /// The next request.
    pub(crate) async fn next(&mut self) -> Seen {
        let next = tokio::time::timeout(PATIENCE, self.requests.recv()).await;
        next.expect("a request comes").unwrap()
    }

    /// What has come already, if anything.
    pub(crate) fn came(&mut self) -> Option<Seen> {
        self.requests.try_recv().ok()
    }

    /// The most requests that were open at once.
    pub(crate) fn most_open(&self) -> usize {
        self.answers.most_open.load(Ordering::SeqCst)
    }
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

async fn answer(
    State(answers): State<Arc<Answers>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, HeaderMap, &'static str) {
    let open = answers.open.fetch_add(1, Ordering::SeqCst) + 1;
    answers.most_open.fetch_max(open, Ordering::SeqCst);
    if open >= answers.crowd {
        answers.gathered.close();
    }
    let gathered = answers.gathered.acquire().await;
    assert!(gathered.is_err(), "it has no permits, and is closed when they are enough");
    // The test may have seen enough.
    let _ = answers.requests.send(Seen { uri, headers, body });
    answers.open.fetch_sub(1, Ordering::SeqCst);
    let status = StatusCode::from_u16(answers.status.load(Ordering::SeqCst)).unwrap();
    let said =
        answers.headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    (status, said.collect(), "thank you")
}
