//! Sends what the checks ask for, counts it, and remembers what several of them need.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use chrono::{SecondsFormat, Utc};
use http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Client, Method, Request, Url};
use tokio::sync::OnceCell;

use super::BUDGET;
use super::answer::{Answer, Seen};
use super::check::Need;
use super::target::Target;
use super::tls::Tls;
use crate::client;
use crate::emitter::{Message, Proof, fresh_id, put};
use crate::inbox::{self, Inbox, Options};
use crate::source::{Fact, Places};

/// As much of an answer as is read.
const ANSWER_LIMIT: usize = 256 * 1024;

/// No answer is waited for longer than that, however patient the sender is.
const PATIENCE: Duration = Duration::from_secs(20);

/// A rate limit that asks for no more than this is waited for.
const LONGEST_REST: u64 = 2;

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
            let url = &self.target.url;
            let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
            let port = url.port_or_known_default().unwrap_or(443);
            match tokio::net::lookup_host((host, port)).await {
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

    /// What became of the first request: a genuine one, or one that proves nothing if no other may be sent.
    pub(super) async fn baseline(&self) -> &Seen {
        let send = async || {
            let proof = match self.target.may_deliver {
                true => self.target.keys.proof(0, None).map(Arc::new),
                false => Ok(self.target.unproven()),
            };
            match proof.and_then(|proof| self.message(proof, &[])) {
                Ok(message) => self.send(&message).await,
                Err(error) => failed(format!("{error:#}")),
            }
        };
        self.baseline.get_or_init(send).await
    }

    /// Why the need is not met.
    pub(super) async fn lacks(&self, need: Need) -> Option<&'static str> {
        let target = &self.target;
        let lacks = |has: bool, why| (!has).then_some(why);
        match need {
            Need::Https => lacks(target.url.scheme() == "https", "the URL is not https"),
            Need::Connection => {
                lacks(self.baseline().await.result.is_ok(), "nothing answers at the URL")
            }
            Need::Found => lacks(
                self.baseline()
                    .await
                    .status()
                    .is_some_and(|status| !matches!(status, 300..400 | 404 | 405 | 502..)),
                "nothing that takes deliveries answers at the URL",
            ),
            Need::Accepted | Need::Delivery if !target.may_deliver => Some(
                "it takes a genuine delivery, which may have effects; name a harmless event with --allow-effects",
            ),
            Need::Delivery => None,
            Need::Accepted => lacks(self.is_safe().await, "no genuine delivery was accepted"),
            Need::Echo if target.is_foreign => {
                Some("only this program's receiver tells what it has seen")
            }
            Need::Echo => lacks(
                self.baseline().await.echo().is_some(),
                "the receiver did not tell what it has seen",
            ),
            Need::Proof => lacks(target.keys.count() > 0, "the source asks for no proof"),
            Need::Bearer => lacks(!target.keys.bearer.is_empty(), "no bearer key is sent"),
            Need::Signature => lacks(target.keys.style.is_some(), "deliveries are not signed"),
            Need::Time => lacks(target.keys.is_timed(), "no time is signed"),
            Need::SignedId => lacks(
                target.keys.scheme().is_some_and(|scheme| scheme.headers[0].id.is_some()),
                "no id is signed in a header",
            ),
            Need::Keys => lacks(target.keys.count() > 1, "the source has one key"),
            Need::Rivals => lacks(
                !target.rivals.is_empty(),
                "the settings have no source of this sender in another environment",
            ),
            Need::Events => lacks(!target.events.is_empty(), "ask for it with --events"),
            Need::Proxy => lacks(
                !target.is_listener,
                "the URL is the listener itself, which only this machine reaches",
            ),
            Need::Plain => lacks(
                target.plain_port.is_some(),
                "the URL names a port, so where plain HTTP would be is not known; --plain-port says it",
            ),
        }
    }

    /// Whether more deliveries may be sent: the first was accepted, and taken for what it is.
    async fn is_safe(&self) -> bool {
        let first = self.baseline().await;
        first.is_accepted() && (self.target.is_foreign || first.echo().is_some())
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

    /// The body of a delivery that does not say yet what it is.
    pub(super) fn body(&self, fields: &[(&str, &str)]) -> anyhow::Result<String> {
        let empty = put(self.target.example, &["canary"], "\"\"")?;
        fields.iter().try_fold(empty, |body, (name, value)| put(&body, &[name], value))
    }

    /// A message of the body and the facts that the receiver needs.
    pub(super) fn drafted(
        &self,
        proof: Arc<Proof>,
        body: String,
        places: &Places,
        url: &Url,
    ) -> anyhow::Result<Message> {
        let event = self.target.event.as_str();
        let mut message =
            Message::new(event, url.clone(), Arc::new(places.clone()), proof, body.into());
        let now = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
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
            let open = move || match inbox::is_there(&url) {
                Ok(true) => inbox::open(&url, Options { queue: 16, exclusive: false }).ok(),
                _ => None,
            };
            tokio::task::spawn_blocking(open).await.ok().flatten()
        };
        let inbox = self.inbox.get_or_init(open).await.as_ref()?;
        for _ in 0..LOOKS {
            let seen = inbox.sightings().await.ok()?;
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
        self.shoot(message.request()).await
    }

    /// A request without a body and a proof.
    pub(super) fn visit(&self, method: Method, url: Url) -> Request {
        Request::new(method, url)
    }

    /// Sends a request; what a rate limit asks for is waited for once.
    pub(super) async fn shoot(&self, request: anyhow::Result<Request>) -> Seen {
        let request = match request {
            Ok(request) => request,
            Err(error) => return failed(format!("{error:#}")),
        };
        let again = request.try_clone();
        let seen = self.execute(&self.client, request).await;
        let rest = seen.header(&RETRY_AFTER).and_then(|after| after.parse::<u64>().ok());
        match (seen.status(), rest, again) {
            (Some(429), Some(rest), Some(again)) if rest <= LONGEST_REST => {
                tokio::time::sleep(Duration::from_secs(rest)).await;
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
        Seen { result, took: start.elapsed(), at: Utc::now() }
    }
}

/// A request that could not be made.
pub(super) fn failed(cause: String) -> Seen {
    Seen { result: Err(cause), took: Duration::ZERO, at: Utc::now() }
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
    let roots = target.roots.iter().map(|root| Certificate::from_der(root));
    let roots = roots.collect::<Result<Vec<_>, _>>().context("--ca-file")?;
    client::trusting(https, Some(timeout), roots)
}

async fn read(client: &Client, request: Request) -> reqwest::Result<Answer> {
    let mut response = client.execute(request).await?;
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
