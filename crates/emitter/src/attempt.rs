//! One request to a target and its result.

use std::sync::Arc;
use std::time::{Duration, Instant};

use client::cause;
use http::StatusCode;
use reqwest::{Client, Request, Url};
use serde::Deserialize;

use super::message::Message;

/// The part of a response body that is read.
const ANSWER_LIMIT: usize = 64 * 1024;

/// The result of one request.
#[derive(Debug)]
pub(super) struct SendAttempt {
    pub(super) event: Arc<str>,
    pub(super) url: Url,
    pub(super) message_id: Arc<str>,
    pub(super) took: Duration,
    /// The response, or the reason why there is none.
    pub(super) result: Result<HttpResponse, String>,
}

/// The response of a target.
#[derive(Debug)]
pub(super) struct HttpResponse {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
}

impl HttpResponse {
    /// The body's `status` member: `accepted` or `duplicate` from a receiver.
    pub(super) fn status_field(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct StatusBody {
            status: String,
        }
        serde_json::from_slice::<StatusBody>(&self.body).ok().map(|body| body.status)
    }
}

/// Sends the message once.
pub(super) async fn attempt(client: &Client, message: Message) -> SendAttempt {
    let start = Instant::now();
    let result = match message.request() {
        Ok(request) => execute(client, request, ANSWER_LIMIT).await,
        Err(error) => Err(format!("{error:#}")),
    };
    SendAttempt {
        took: start.elapsed(),
        result,
        event: message.event,
        url: message.url,
        message_id: message.message_id,
    }
}

/// Sends a request; returns the response with at most `limit` bytes of its body, or the reason why there is none.
pub(super) async fn execute(
    client: &Client,
    request: Request,
    limit: usize,
) -> Result<HttpResponse, String> {
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
        Ok(HttpResponse { status, body })
    };
    answer.await.map_err(|error: reqwest::Error| cause(&error))
}
