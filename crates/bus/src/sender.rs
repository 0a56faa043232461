//! HTTP client for targets: signs and sends one request, bounded in time and size, with a fault if one is asked for.

use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use client::{self, cause};
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use memchr::memmem;
use reqwest::{Body, Certificate, Client, ClientBuilder, Method, Request, Response, Url};
use settings::BusConfig;
use source::{is_secret_header, repeats_secret};
use text::field::{self, retry_after};

use super::publication::PublishedEvent;
use super::retry_policy::AttemptResult;
use super::subscription::Subscription;
use client::guard::{Guard, TargetRefused};
use emitter::proof::HttpDraft;

/// A fault that is made on purpose with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InjectedFault {
    /// The response is lost.
    Drop,
    /// The body breaks off in the middle.
    Truncate,
    /// The body is changed after it was signed.
    Tamper,
}

impl InjectedFault {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            InjectedFault::Drop => "drop",
            InjectedFault::Truncate => "truncate",
            InjectedFault::Tamper => "tamper",
        }
    }
}

/// A request that was sent, and its result.
#[derive(Debug)]
pub(super) struct SentRequest {
    /// The URL, without the query.
    pub(super) uri: String,
    /// The request headers as JSON pairs, secrets left out.
    pub(super) request_headers: String,
    /// The body, if it differs from the published data.
    pub(super) request_body: Option<Bytes>,
    pub(super) took: Duration,
    result: Result<TargetResponse, SendError>,
}

#[derive(Debug)]
struct TargetResponse {
    status: u16,
    headers: HeaderMap,
    /// The headers as JSON pairs, secrets left out.
    headers_json: String,
    body: Vec<u8>,
    is_cut: bool,
}

#[derive(Debug)]
enum SendError {
    TimedOut,
    Failed(String),
}

impl SentRequest {
    /// The approximate size of its record, in bytes.
    pub(super) fn size(&self) -> usize {
        let answer =
            self.result.as_ref().map_or(0, |answer| answer.body.len() + answer.headers_json.len());
        512 + self.request_headers.len() + self.request_body.as_ref().map_or(0, Bytes::len) + answer
    }

    pub(super) fn status(&self) -> Option<u16> {
        self.result.as_ref().ok().map(|answered| answered.status)
    }

    /// The response's headers as JSON pairs, its body, and true if the body was longer.
    pub(super) fn answer(&self) -> (&str, &[u8], bool) {
        match &self.result {
            Ok(answered) => (&answered.headers_json, &answered.body, answered.is_cut),
            Err(_) => ("[]", &[], false),
        }
    }

    /// The result, as the retry policy sees it.
    pub(super) fn verdict(&self, abort: Option<(&str, &str)>, now: DateTime<Utc>) -> AttemptResult {
        match &self.result {
            Ok(answered) => {
                let is = |(name, value): (&str, &str)| {
                    answered.headers.get(name).is_some_and(|said| said == value)
                };
                AttemptResult::Status {
                    status: answered.status,
                    retry_after: retry_after(&answered.headers, now),
                    aborts: abort.is_some_and(is),
                }
            }
            Err(SendError::TimedOut) => AttemptResult::TimedOut,
            Err(SendError::Failed(_)) => AttemptResult::ConnectionFailed,
        }
    }

    /// The reason of the failure, if there was no response.
    pub(super) fn error(&self) -> Option<String> {
        match &self.result {
            Ok(_) => None,
            Err(SendError::TimedOut) => Some(TIMED_OUT.into()),
            Err(SendError::Failed(cause)) => Some(cause.clone()),
        }
    }
}

/// The error of an attempt without a response before the timeout.
pub(super) const TIMED_OUT: &str = "no answer in time";

/// Sends requests to targets. Connections are reused.
pub(super) struct Sender {
    guard: Guard,
    plain: Client,
    /// For plain requests that carry secrets.
    guard_of_secrets: Guard,
    plain_with_secrets: Client,
    roots: Vec<Certificate>,
    /// Made when first needed, unless `ca_file` is set: reading the system's roots takes time and memory.
    secure: OnceLock<Client>,
    max_response: usize,
}

impl Sender {
    /// # Errors
    /// If its certificates cannot be read.
    pub(super) fn new(guard: Guard, config: &BusConfig) -> anyhow::Result<Self> {
        // Fails only if a provider is installed already, and then that one serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let roots = client::roots(config.ca_file.as_deref()).context("ca_file in [bus]")?;
        let roots = client::certificates(&roots).context("ca_file in [bus]")?;
        let plain = plain(&guard)?;
        let guard_of_secrets = guard.in_plain_text();
        let sender = Sender {
            guard,
            plain,
            plain_with_secrets: self::plain(&guard_of_secrets)?,
            guard_of_secrets,
            roots,
            secure: OnceLock::new(),
            max_response: config.max_response,
        };
        if config.ca_file.is_some() {
            sender.secure().context("ca_file in [bus]")?;
        }
        Ok(sender)
    }

    /// Sends the event once.
    pub(super) async fn send(
        &self,
        subscription: &Subscription,
        event: &PublishedEvent,
        fault: Option<InjectedFault>,
    ) -> SentRequest {
        let started = Instant::now();
        let draft = match self.draft(subscription, event, fault) {
            Ok(draft) => draft,
            Err(error) => return SentRequest::unsent(format!("{error:#}")),
        };
        let PreparedRequest { request, is_exposed, uri, request_headers, request_body } = draft;
        let exchange = self.exchange(request, is_exposed);
        let exchange = tokio::time::timeout(subscription.timeout(), exchange).await;
        let result = match exchange {
            Err(_) => Err(SendError::TimedOut),
            Ok(Err(error)) => Err(SendError::Failed(error)),
            Ok(Ok(_)) if fault == Some(InjectedFault::Drop) => {
                Err(SendError::Failed("the answer was lost on purpose".into()))
            }
            Ok(Ok(answered)) => Ok(answered),
        };
        SentRequest { uri, request_headers, request_body, took: started.elapsed(), result }
    }

    fn draft(
        &self,
        subscription: &Subscription,
        event: &PublishedEvent,
        fault: Option<InjectedFault>,
    ) -> anyhow::Result<PreparedRequest> {
        let url = subscription.url(&event.draft.event_type)?;
        let is_exposed = subscription.is_exposed(&url);
        let guard = if is_exposed { &self.guard_of_secrets } else { &self.guard };
        guard.check_literal(&url)?;
        // A receiver checks the age of a signature by its own clock, so the machine's time is signed.
        let signed = subscription.signed(event, &url, contract::time::now())?;
        let HttpDraft { url, headers: named, mut body } = signed;
        if fault == Some(InjectedFault::Tamper) {
            body = [&body, b" ".as_slice()].concat().into();
        }
        let uri = without_query(&url);
        let mut request = Request::new(Method::POST, url);
        let headers = request.headers_mut();
        headers.reserve(named.len() + subscription.extra().len());
        for (name, value) in named {
            headers.insert(name_of(&name)?, value);
        }
        for (name, value) in subscription.extra() {
            headers.insert(name, value.clone());
        }
        let request_headers = pairs(headers, &[]);
        let request_body = (body != event.draft.body).then(|| body.clone());
        *request.body_mut() = Some(match fault {
            Some(InjectedFault::Truncate) => Body::wrap(Truncated::new(body)),
            _ => body.into(),
        });
        Ok(PreparedRequest { request, is_exposed, uri, request_headers, request_body })
    }

    async fn exchange(&self, request: Request, is_exposed: bool) -> Result<TargetResponse, String> {
        let client =
            self.client(request.url(), is_exposed).map_err(|error| format!("{error:#}"))?;
        let said = |error: &reqwest::Error| {
            TargetRefused::find_in(error).map_or_else(|| cause(error), ToString::to_string)
        };
        let secrets = secrets(&request);
        let response = client::execute(client, request).await.map_err(|error| said(&error))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        // The status alone decides about success, even if the body breaks off.
        let (body, is_cut) = self.body(response).await;
        Ok(TargetResponse {
            status,
            headers_json: pairs(&headers, &secrets),
            headers,
            body,
            is_cut,
        })
    }

    /// The part of the body that is kept. A longer one is not read to its end: its connection is closed.
    async fn body(&self, mut response: Response) -> (Vec<u8>, bool) {
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => return (body, false),
                Err(_) => return (body, true),
            }
            if body.len() > self.max_response {
                body.truncate(self.max_response);
                return (body, true);
            }
        }
    }

    fn client(&self, url: &Url, is_exposed: bool) -> anyhow::Result<&Client> {
        if url.scheme() != "https" {
            return Ok(if is_exposed { &self.plain_with_secrets } else { &self.plain });
        }
        self.secure()
    }

    fn secure(&self) -> anyhow::Result<&Client> {
        if self.secure.get().is_none() {
            let roots = self.roots.iter().cloned();
            let secure = built(self.guard.protect(Client::builder()).tls_certs_merge(roots))?;
            let _ = self.secure.set(secure);
        }
        self.secure.get().context("the client was just made")
    }
}

struct PreparedRequest {
    request: Request,
    is_exposed: bool,
    uri: String,
    request_headers: String,
    request_body: Option<Bytes>,
}

impl SentRequest {
    fn unsent(error: String) -> Self {
        SentRequest {
            uri: String::new(),
            request_headers: "[]".into(),
            request_body: None,
            took: Duration::ZERO,
            result: Err(SendError::Failed(error)),
        }
    }
}

/// A client without roots of trust.
fn plain(guard: &Guard) -> anyhow::Result<Client> {
    built(guard.protect(Client::builder()).tls_certs_only([]))
}

fn built(client: ClientBuilder) -> anyhow::Result<Client> {
    let client = client::pooled(client)
        .http1_only()
        .http1_title_case_headers()
        .http1_max_headers(client::MAX_HEADERS);
    client.build().context("cannot set up the HTTP client")
}

fn name_of(name: &str) -> anyhow::Result<HeaderName> {
    Ok(HeaderName::from_bytes(name.as_bytes())?)
}

/// The URL without its query, which holds secrets.
fn without_query(url: &Url) -> String {
    let text = url.as_str();
    text.split('?').next().unwrap_or(text).to_owned()
}

/// Shorter values are too common to be searched for in a response, unless their name marks a secret.
const SHORTEST_SECRET: usize = 8;

/// The secrets of the request, which the target may repeat in its response.
fn secrets(request: &Request) -> Vec<Vec<u8>> {
    let headers = request.headers().iter().filter(|(name, value)| {
        is_secret_header(name) || value.is_sensitive() && value.len() >= SHORTEST_SECRET
    });
    let headers = headers.map(|(name, value)| {
        let value = value.as_bytes();
        let key = field::credentials(value, "Bearer").filter(|_| *name == AUTHORIZATION);
        key.unwrap_or(value).to_vec()
    });
    let query = request.url().query_pairs().map(|(_, value)| value.into_owned().into_bytes());
    let query = query.filter(|value| value.len() >= SHORTEST_SECRET);
    headers.chain(query).filter(|secret| !secret.is_empty()).collect()
}

/// Headers as JSON pairs, without the values of those that are secret or repeat a secret.
fn pairs(headers: &HeaderMap, secrets: &[Vec<u8>]) -> String {
    let has_secret =
        |text: &[u8]| secrets.iter().any(|secret| memmem::find(text, secret).is_some());
    let is_secret = |name, value: &HeaderValue| {
        value.is_sensitive()
            || is_secret_header(name)
            || repeats_secret(value.as_bytes(), has_secret)
    };
    let text = |name, value| match is_secret(name, value) {
        true => "****".into(),
        false => field::text(value.as_bytes()),
    };
    let pairs: Vec<_> =
        headers.iter().map(|(name, value)| (name.as_str(), text(name, value))).collect();
    serde_json::to_string(&pairs).unwrap_or_else(|_| "[]".into())
}

/// A body that ends before its declared length.
struct Truncated {
    half: Option<Bytes>,
    rest: u64,
}

impl Truncated {
    fn new(body: Bytes) -> Self {
        let half = body.slice(..body.len() / 2);
        Truncated { half: Some(half), rest: body.len() as u64 }
    }
}

impl HttpBody for Truncated {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let half = self.half.take();
        let broken = || Err(std::io::Error::other("the body was broken off on purpose"));
        Poll::Ready(Some(half.map_or_else(broken, |half| Ok(Frame::data(half)))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_is_not_shown() {
        let mut headers = HeaderMap::new();
        let mut secret = HeaderValue::from_static("Bearer k3y");
        secret.set_sensitive(true);
        headers.insert("authorization", secret);
        headers.insert("x-a", HeaderValue::from_static("b"));
        headers.insert("set-cookie", HeaderValue::from_static("session=k3y"));
        assert_eq!(
            pairs(&headers, &[]),
            r#"[["authorization","****"],["x-a","b"],["set-cookie","****"]]"#
        );
        let url = Url::parse("https://x.test/in?code=k3y").unwrap();
        assert_eq!(without_query(&url), "https://x.test/in");
    }

    #[test]
    fn an_answer_that_repeats_a_secret_of_the_request_is_not_shown() {
        let url = Url::parse("https://x.test/in?code=k3y%2Fin-the-query&v=1").unwrap();
        let mut request = Request::new(Method::POST, url);
        let bearer = HeaderValue::from_static("Bearer k3y-of-the-bus");
        request.headers_mut().insert(AUTHORIZATION, bearer);
        let secrets = secrets(&request);
        for (value, expected) in [
            ("/in?code=k3y%2Fin-the-query", "****"),
            ("/in?code=k3y%252fin-the-query", "****"),
            ("k3y-of-the-bus", "****"),
            ("/in?ACCESS_TOKEN=other", "****"),
            ("/in?v=1", "/in?v=1"),
        ] {
            let headers = HeaderMap::from_iter([(
                HeaderName::from_static("location"),
                HeaderValue::from_static(value),
            )]);
            let shown = format!(r#"[["location","{expected}"]]"#);
            assert_eq!(pairs(&headers, &secrets), shown, "{value}");
        }
    }

    #[test]
    fn an_answer_in_latin_1_is_text() {
        let value = HeaderValue::from_bytes(b"Jos\xe9").unwrap();
        let headers = HeaderMap::from_iter([(HeaderName::from_static("x-a"), value)]);
        assert_eq!(pairs(&headers, &[]), "[[\"x-a\",\"Jos\u{e9}\"]]");
    }
}
