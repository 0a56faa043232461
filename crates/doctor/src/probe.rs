//! Sends what the checks ask for, counts it, and remembers what several of them need.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chrono::SecondsFormat;
use client;
use contract::canary::CANARY;
use emitter::hooks::Said;
use emitter::{Message, Proof, fresh_id, put};
use http::header::{HeaderName, HeaderValue};
use inbox::{self, Inbox, Options};
use reqwest::{Client, Request, Url};
use secrecy::SecretString;
use source::{Fact, FieldLocators};
use text::field::retry_after;
use tokio::sync::OnceCell;

use super::BUDGET;
use super::answer::{Answer, Seen};
use super::target::Target;
use super::tls::Tls;

/// As much of an answer as is read.
const ANSWER_LIMIT: usize = 256 * 1024;

/// No answer is waited for longer than that, however patient the sender is.
const PATIENCE: Duration = Duration::from_secs(20);

/// A rate limit that asks for no more than this is waited for.
const LONGEST_REST: Duration = Duration::from_secs(2);

/// How often, and after how long each time, the inbox is looked at for a reason: the receiver writes it a moment later.
const LOOKS: usize = 30;
const LOOK: Duration = Duration::from_millis(50);

/// The requests of one run.
pub(super) struct Probe {
    pub(super) target: Target,
    client: Client,
    sent: AtomicUsize,
    addresses: OnceCell<Result<Vec<SocketAddr>, String>>,
    tls: OnceCell<Result<Tls, String>>,
    baseline: OnceCell<Seen>,
    unproven_call: OnceCell<Seen>,
    inbox: OnceCell<Option<Arc<dyn Inbox>>>,
}

impl Probe {
    pub(super) fn new(target: Target) -> anyhow::Result<Self> {
        let client = new_client(&target)?;
        Ok(Probe {
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

    /// How many requests were sent so far.
    pub(super) fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }

    /// Where the host is, or why nobody knows.
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

    /// What the host shows of its TLS.
    pub(super) async fn tls(&self) -> &Result<Tls, String> {
        let look = async || match self.addresses().await {
            Ok(addresses) => Tls::look(&self.target, addresses).await,
            Err(error) => Err(error.clone()),
        };
        self.tls.get_or_init(look).await
    }

    /// What became of the first request.
    pub(super) async fn baseline(&self) -> &Seen {
        let send = async || match self.plainest() {
            Ok(message) => self.send(&message).await,
            Err(error) => failed(format!("{error:#}")),
        };
        self.baseline.get_or_init(send).await
    }

    /// A genuine delivery, or one that proves nothing if no other may be sent.
    pub(super) fn plainest(&self) -> anyhow::Result<Message> {
        match self.target.may_deliver {
            true => self.genuine(&[]),
            false => self.message(Arc::default(), &[]),
        }
    }

    /// Whether more deliveries may be sent: the first was accepted, and taken for what it is.
    pub(super) async fn is_safe(&self) -> bool {
        let first = self.baseline().await;
        first.is_accepted() && (self.target.is_foreign || first.echo().is_some())
    }

    /// What became of a call of a hook that proves nothing.
    pub(super) async fn unproven_call(&self) -> &Seen {
        let send = async || match self.call(&Proof::default(), CANARY, !self.target.is_foreign) {
            Ok(request) => self.shoot(request).await,
            Err(error) => failed(format!("{error:#}")),
        };
        self.unproven_call.get_or_init(send).await
    }

    /// A call that is marked as a probe, to the canary's own URL. The token opens nothing.
    pub(super) fn call(
        &self,
        proof: &Proof,
        hook: &str,
        has_token: bool,
    ) -> anyhow::Result<Request> {
        let token = has_token.then(|| SecretString::from(CANARY));
        let said = Said { hook, token: token.as_ref(), user: None };
        let body = put("{}", &[CANARY], &format!("\"{CANARY}\""))?.into();
        said.request(self.target.hook_url(CANARY)?, proof, &body)
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

    /// The body of a delivery that does not say yet what it is, marked as a probe's unless its effects are wanted.
    pub(super) fn body(&self, fields: &[(&str, &str)]) -> anyhow::Result<String> {
        let marked = match self.target.is_foreign {
            true => self.target.example.to_owned(),
            false => put(self.target.example, &[CANARY], &format!("\"{CANARY}\""))?,
        };
        fields.iter().try_fold(marked, |body, (name, value)| put(&body, &[name], value))
    }

    /// A message of the body and the facts that the receiver needs.
    pub(super) fn drafted(
        &self,
        proof: Arc<Proof>,
        body: String,
        places: &FieldLocators,
        url: &Url,
    ) -> anyhow::Result<Message> {
        let event = self.target.event.as_str();
        let mut message =
            Message::new(event, url.clone(), Arc::new(places.clone()), proof, body.into());
        let now = contract::time::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        let usual = |message: &Message, fact| !message.has_in_body(fact);
        if let Some(id) = &self.target.client_id {
            message.say(Fact::ClientId, id)?;
        } else if usual(&message, Fact::ClientId) {
            message.say(Fact::ClientId, "doctor")?;
        }
        message.say(Fact::MessageId, &format!("doctor-{}", fresh_id()))?;
        message.say(Fact::EventType, event)?;
        for (fact, text) in [(Fact::EventTime, now.as_str()), (Fact::SpecVersion, "1.0")] {
            if usual(&message, fact) {
                message.say(fact, text)?;
            }
        }
        Ok(message)
    }

    /// Why the receiver refused it, by its own word, if its inbox is on this machine.
    pub(super) async fn reason(&self, seen: &Seen) -> Option<String> {
        let (id, url) = (seen.request_id()?, self.target.inbox.clone()?);
        let open = || async move {
            let open = move || match inbox::exists(&url) {
                Ok(true) => inbox::open(&url, Options { queue: 16, exclusive: false }).ok(),
                _ => None,
            };
            tokio::task::spawn_blocking(open).await.ok().flatten()
        };
        let inbox = self.inbox.get_or_init(open).await.as_ref()?;
        for _ in 0..LOOKS {
            let seen = inbox.rejections().await.ok()?;
            if let Some(found) = seen.into_iter().find(|seen| seen.request_id == id) {
                let findings = found.findings.map(|findings| format!("; {findings}"));
                return found.reason.map(|reason| reason + &findings.unwrap_or_default());
            }
            tokio::time::sleep(LOOK).await;
        }
        None
    }

    /// Sends the message as its sender would.
    pub(super) async fn send(&self, message: &Message) -> Seen {
        match message.request() {
            Ok(request) => self.shoot(request).await,
            Err(error) => failed(format!("{error:#}")),
        }
    }

    /// Sends a request; what a rate limit asks for is waited for once.
    pub(super) async fn shoot(&self, request: Request) -> Seen {
        let again = request.try_clone();
        let seen = self.execute(&self.client, request).await;
        let answer = seen.result.as_ref().ok();
        let rest = answer.and_then(|answer| retry_after(&answer.headers, seen.at));
        match (seen.status(), rest, again) {
            (Some(429), Some(rest), Some(again)) if rest <= LONGEST_REST => {
                tokio::time::sleep(rest).await;
                self.execute(&self.client, again).await
            }
            _ => seen,
        }
    }

    /// As [`send`](Self::send), over a connection of its own.
    pub(super) async fn send_first(&self, message: &Message) -> Seen {
        match (new_client(&self.target), message.request()) {
            (Ok(client), Ok(request)) => self.execute(&client, request).await,
            (Err(error), _) | (_, Err(error)) => failed(format!("{error:#}")),
        }
    }

    async fn execute(&self, client: &Client, request: Request) -> Seen {
        if self.sent.fetch_add(1, Ordering::Relaxed) >= BUDGET {
            self.sent.fetch_sub(1, Ordering::Relaxed);
            return failed(format!("not sent: {BUDGET} requests are enough"));
        }
        let start = Instant::now();
        let result = read(client, request).await.map_err(|error| client::cause(&error));
        Seen { result, took: start.elapsed(), at: contract::time::now() }
    }
}

/// A request that could not be made.
fn failed(cause: String) -> Seen {
    Seen { result: Err(cause), took: Duration::ZERO, at: contract::time::now() }
}

/// The request with another value of one header.
pub(super) fn replaced(mut request: Request, name: &str, value: &str) -> anyhow::Result<Request> {
    let name = HeaderName::from_bytes(name.as_bytes())?;
    request.headers_mut().insert(name, HeaderValue::from_str(value)?);
    Ok(request)
}

fn new_client(target: &Target) -> anyhow::Result<Client> {
    let https = target.url.scheme() == "https";
    let timeout = target.sender.limit().min(PATIENCE);
    client::with_roots(https, Some(timeout), &target.roots)
}

async fn read(client: &Client, request: Request) -> reqwest::Result<Answer> {
    let mut response = client::execute(client, request).await?;
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() >= ANSWER_LIMIT {
            break;
        }
    }
    Ok(Answer { status, headers, body })
}
