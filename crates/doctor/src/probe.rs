//! The prober: sends and counts the requests of the checks, and caches results that several of them need.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chrono::SecondsFormat;
use contract::canary::CANARY;
use emitter::hooks::HookRequest;
use emitter::proof::NamedHeader;
use emitter::{Message, Proof, fresh_id, put};
use http::header::{HeaderName, HeaderValue};
use inbox::{self, Inbox, Options};
use reqwest::{Client, Request, Url};
use secrecy::SecretString;
use source::{Fact, FieldLocators};
use text::field::retry_after;
use tokio::sync::OnceCell;

use super::BUDGET;
use super::probe_result::{ProbeResponse, ProbeResult};
use super::sender::limit;
use super::target::ProbeTarget;
use super::tls::Tls;

/// The part of a response body that is read.
const BODY_LIMIT: usize = 256 * 1024;

/// The longest request timeout, even for a sender with a longer one.
const MAX_TIMEOUT: Duration = Duration::from_secs(20);

/// The longest `Retry-After` of a 429 that is waited for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(2);

/// The number of polls of the inbox for a reason, and the time between them: the receiver writes it a moment later.
const REASON_POLLS: usize = 30;
const REASON_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The requests of one run, and their cached results.
pub(super) struct Prober {
    pub(super) target: ProbeTarget,
    client: Client,
    sent: AtomicUsize,
    addresses: OnceCell<Result<Vec<SocketAddr>, String>>,
    tls: OnceCell<Result<Tls, String>>,
    baseline: OnceCell<ProbeResult>,
    unproven_call: OnceCell<ProbeResult>,
    /// The headers of the sender that say nothing about the message.
    own_headers: Arc<[NamedHeader]>,
    inbox: OnceCell<Option<Arc<dyn Inbox>>>,
}

impl Prober {
    pub(super) fn new(target: ProbeTarget) -> anyhow::Result<Self> {
        let client = new_client(&target)?;
        let header = |(name, value): (&String, &String)| {
            Ok((name.clone().into(), HeaderValue::from_str(value)?))
        };
        let own_headers = target.sender.sends.headers.iter().map(header);
        let own_headers: Vec<NamedHeader> = own_headers.collect::<anyhow::Result<_>>()?;
        Ok(Prober {
            own_headers: own_headers.into(),
            target,
            client,
            sent: AtomicUsize::new(0),
            addresses: OnceCell::new(),
            tls: OnceCell::new(),
            baseline: OnceCell::new(),
            unproven_call: OnceCell::new(),
            inbox: OnceCell::new(),
        })
    }

    /// The number of requests sent so far.
    pub(super) fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }

    /// The addresses of the host, or the error of the lookup.
    pub(super) async fn addresses(&self) -> &Result<Vec<SocketAddr>, String> {
        let look_up = async || {
            let port = self.target.url.port_or_known_default().unwrap_or(443);
            match tokio::net::lookup_host((self.target.host(), port)).await {
                Ok(found) => Ok(found.collect()),
                Err(error) => Err(error.to_string()),
            }
        };
        self.addresses.get_or_init(look_up).await
    }

    /// The host's certificate and TLS versions.
    pub(super) async fn tls(&self) -> &Result<Tls, String> {
        let look = async || match self.addresses().await {
            Ok(addresses) => Tls::probe(&self.target, addresses).await,
            Err(error) => Err(error.clone()),
        };
        self.tls.get_or_init(look).await
    }

    /// The result of the first request.
    pub(super) async fn baseline(&self) -> &ProbeResult {
        let send = async || match self.plainest() {
            Ok(message) => self.send(&message).await,
            Err(error) => failed(format!("{error:#}")),
        };
        self.baseline.get_or_init(send).await
    }

    /// A genuine delivery, or one without proof if a genuine one may not be sent.
    pub(super) fn plainest(&self) -> anyhow::Result<Message> {
        match self.target.may_deliver && !self.target.has_sole_keys {
            true => self.genuine(&[]),
            false => self.message(Arc::default(), &[]),
        }
    }

    /// True if more deliveries may be sent: the first was accepted, and recognised as a probe.
    pub(super) async fn is_safe(&self) -> bool {
        let first = self.baseline().await;
        first.is_accepted() && (self.target.is_foreign || first.echo().is_some())
    }

    /// The result of a hook call without proof.
    pub(super) async fn unproven_call(&self) -> &ProbeResult {
        let send = async || match self.call(&Proof::default(), CANARY, !self.target.is_foreign) {
            Ok(request) => self.send_request(request).await,
            Err(error) => failed(format!("{error:#}")),
        };
        self.unproven_call.get_or_init(send).await
    }

    /// A hook call that is marked as a probe, to the canary's own URL. Its token is invalid for the vendor.
    pub(super) fn call(
        &self,
        proof: &Proof,
        hook: &str,
        has_token: bool,
    ) -> anyhow::Result<Request> {
        let token = has_token.then(|| SecretString::from(CANARY));
        let request = HookRequest { hook, token: token.as_ref(), user: None };
        let body = put("{}", &[CANARY], &format!("\"{CANARY}\""))?.into();
        request.request(self.target.hook_url(CANARY)?, proof, &body)
    }

    /// A genuine delivery with these fields in its body: names, and values as JSON.
    pub(super) fn genuine(&self, fields: &[(&str, &str)]) -> anyhow::Result<Message> {
        self.message(Arc::new(self.target.keys.proof(0, None)?), fields)
    }

    /// A delivery with this proof.
    pub(super) fn message(
        &self,
        proof: Arc<Proof>,
        fields: &[(&str, &str)],
    ) -> anyhow::Result<Message> {
        self.drafted(proof, self.body(fields)?, &self.target.places, &self.target.url)
    }

    /// The body of a delivery before its facts are set, marked as a probe unless its effects are allowed.
    pub(super) fn body(&self, fields: &[(&str, &str)]) -> anyhow::Result<String> {
        let marked = match self.target.is_foreign {
            true => self.target.example.clone(),
            false => put(&self.target.example, &[CANARY], &format!("\"{CANARY}\""))?,
        };
        fields.iter().try_fold(marked, |body, (name, value)| put(&body, &[name], value))
    }

    /// A message with this body and the facts that the receiver needs.
    pub(super) fn drafted(
        &self,
        proof: Arc<Proof>,
        body: String,
        places: &FieldLocators,
        url: &Url,
    ) -> anyhow::Result<Message> {
        let event = self.target.event.as_str();
        let mut message =
            Message::new(event, url.clone(), Arc::new(places.clone()), proof, body.into())
                .with_headers(Arc::clone(&self.own_headers));
        let now = contract::time::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        let usual = |message: &Message, fact| !message.has_in_body(fact);
        if let Some(id) = &self.target.client_id {
            message.set_fact(Fact::ClientId, id)?;
        } else if usual(&message, Fact::ClientId) {
            message.set_fact(Fact::ClientId, "doctor")?;
        }
        message.set_fact(Fact::MessageId, &format!("doctor-{}", fresh_id()))?;
        message.set_fact(Fact::EventType, event)?;
        for (fact, text) in [(Fact::EventTime, now.as_str()), (Fact::SpecVersion, "1.0")] {
            if usual(&message, fact) {
                message.set_fact(fact, text)?;
            }
        }
        Ok(message)
    }

    /// The receiver's reason for a refusal, from its rejection log, if its inbox is on this machine.
    pub(super) async fn reason(&self, seen: &ProbeResult) -> Option<String> {
        let (id, url) = (seen.request_id()?, self.target.inbox.clone()?);
        let open = || async move {
            match inbox::exists(&url) {
                true => inbox::open(&url, Options::command()).await.ok(),
                false => None,
            }
        };
        let inbox = self.inbox.get_or_init(open).await.as_ref()?;
        for _ in 0..REASON_POLLS {
            let seen = inbox.rejections().await.ok()?;
            if let Some(found) = seen.into_iter().find(|seen| seen.request_id == id) {
                let findings = found.findings.map(|findings| format!("; {findings}"));
                return found.reason.map(|reason| reason + &findings.unwrap_or_default());
            }
            tokio::time::sleep(REASON_POLL_INTERVAL).await;
        }
        None
    }

    /// Sends the message as its sender would.
    pub(super) async fn send(&self, message: &Message) -> ProbeResult {
        match message.request() {
            Ok(request) => self.send_request(request).await,
            Err(error) => failed(format!("{error:#}")),
        }
    }

    /// Sends a request; after a 429, waits for the `Retry-After` and sends it once more.
    pub(super) async fn send_request(&self, request: Request) -> ProbeResult {
        let retry = request.try_clone();
        let seen = self.execute(&self.client, request).await;
        let answer = seen.result.as_ref().ok();
        let delay = answer.and_then(|answer| retry_after(&answer.headers, seen.at));
        match (seen.status(), delay, retry) {
            (Some(429), Some(delay), Some(retry)) if delay <= MAX_RETRY_AFTER => {
                tokio::time::sleep(delay).await;
                self.execute(&self.client, retry).await
            }
            _ => seen,
        }
    }

    /// As [`send`](Self::send), over a connection of its own.
    pub(super) async fn send_first(&self, message: &Message) -> ProbeResult {
        match (new_client(&self.target), message.request()) {
            (Ok(client), Ok(request)) => self.execute(&client, request).await,
            (Err(error), _) | (_, Err(error)) => failed(format!("{error:#}")),
        }
    }

    async fn execute(&self, client: &Client, request: Request) -> ProbeResult {
        if self.sent.fetch_add(1, Ordering::Relaxed) >= BUDGET {
            self.sent.fetch_sub(1, Ordering::Relaxed);
            return failed(format!("not sent: {BUDGET} requests are enough"));
        }
        let start = Instant::now();
        let result = read(client, request).await.map_err(|error| client::cause(&error));
        ProbeResult { result, took: start.elapsed(), at: contract::time::now() }
    }
}

/// The result of a request that could not be made.
fn failed(cause: String) -> ProbeResult {
    ProbeResult { result: Err(cause), took: Duration::ZERO, at: contract::time::now() }
}

/// The request with another value of one header.
pub(super) fn replaced(mut request: Request, name: &str, value: &str) -> anyhow::Result<Request> {
    let name = HeaderName::from_bytes(name.as_bytes())?;
    request.headers_mut().insert(name, HeaderValue::from_str(value)?);
    Ok(request)
}

fn new_client(target: &ProbeTarget) -> anyhow::Result<Client> {
    let https = target.url.scheme() == "https";
    let timeout = limit(&target.sender).min(MAX_TIMEOUT);
    client::with_roots(https, Some(timeout), &target.roots)
}

async fn read(client: &Client, request: Request) -> reqwest::Result<ProbeResponse> {
    let mut response = client::execute(client, request).await?;
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() >= BODY_LIMIT {
            break;
        }
    }
    Ok(ProbeResponse { status, headers, body })
}
