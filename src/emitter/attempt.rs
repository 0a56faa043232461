//! One request to a target and what came of it.

use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use http::StatusCode;
use reqwest::{Client, Request, Url};
use serde::Deserialize;

use super::message::Message;

/// As much of an answer as is read.
const ANSWER_LIMIT: usize = 64 * 1024;

/// How long a connection is kept for the next message: shorter than a receiver keeps it, so that none is lost on it.
pub(super) const IDLE: Duration = Duration::from_secs(5);

/// What came of one request.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) event: Arc<str>,
    pub(super) url: Url,
    pub(super) message_id: Arc<str>,
    pub(super) took: Duration,
    /// The answer, or why there is none.
    pub(super) result: Result<Answer, String>,
}

/// A target's answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// The text of the body's `status` field: `accepted` or `duplicate` from a receiver.
    pub(super) fn said(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Said {
            status: String,
        }
        serde_json::from_slice::<Said>(&self.body).ok().map(|said| said.status)
    }
}

/// A client that sends as the vendor does: HTTP/1.1, headers in title case, no redirects.
///
/// Plain requests go past any proxy, because a proxy could read the key.
pub(super) fn client(https: bool, timeout: Duration) -> anyhow::Result<Client> {
    // Fails only if a provider is installed already, and then that one serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder()
        .timeout(timeout)
        .pool_idle_timeout(IDLE)
        .redirect(reqwest::redirect::Policy::none())
        .http1_title_case_headers();
    let client = if https { client } else { client.no_proxy().tls_certs_only([]) };
    client.build().context("cannot set up the HTTP client")
}

/// Sends the message once.
pub(super) async fn attempt(client: &Client, message: Message) -> Attempt {
    let start = Instant::now();
    let result = match message.request() {
        Ok(request) => execute(client, request).await.map_err(|error| cause(&error)),
        Err(error) => Err(format!("{error:#}")),
    };
    Attempt {
        took: start.elapsed(),
        result,
        event: message.event,
        url: message.url,
        message_id: message.message_id,
    }
}

async fn execute(client: &Client, request: Request) -> reqwest::Result<Answer> {
    let mut response = client.execute(request).await?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() >= ANSWER_LIMIT {
            body.truncate(ANSWER_LIMIT);
            break;
        }
    }
    Ok(Answer { status, body })
}

/// The same words for the same cause, so that causes can be counted.
pub(super) fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut root = error.source();
    while let Some(deeper) = root.and_then(|cause| cause.source()) {
        root = Some(deeper);
    }
    let root = root.map_or_else(|| "the request failed".to_owned(), ToString::to_string);
    if error.is_connect() { format!("cannot connect: {root}") } else { root }
}
