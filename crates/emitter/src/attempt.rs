//! One request to a target and what came of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use client::cause;
use http::StatusCode;
use reqwest::{Client, Request, Url};
use serde::Deserialize;

use super::message::Message;

/// As much of an answer as is read.
const ANSWER_LIMIT: usize = 64 * 1024;

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

/// Sends the message once.
pub(super) async fn attempt(client: &Client, message: Message) -> Attempt {
    let start = Instant::now();
    let result = match message.request() {
        Ok(request) => execute(client, request, ANSWER_LIMIT).await,
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

/// The answer, of whose body no more is read than `limit` bytes, or why there is none.
pub(super) async fn execute(
    client: &Client,
    request: Request,
    limit: usize,
) -> Result<Answer, String> {
    let answer = async {
        let mut response = client::execute(client, request).await?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() >= limit {
                body.truncate(limit);
                break;
            }
        }
        Ok(Answer { status, body })
    };
    answer.await.map_err(|error: reqwest::Error| cause(&error))
}
