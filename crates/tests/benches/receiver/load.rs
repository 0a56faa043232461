//! The load: keep-alive connections that post 1 KiB deliveries with unique message ids.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use contract::hook::Hook as _;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use signature::{Key, Scheme, Stamp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use vendors::directscale::hooks::autoship::CreateAutoship;

/// The size of every body, in bytes.
const BODY: usize = 1024;

#[derive(clap::Args, Debug, Clone)]
pub(crate) struct Load {
    #[arg(long)]
    pub(crate) to: SocketAddr,
    #[arg(long)]
    pub(crate) token: String,
    #[arg(long)]
    pub(crate) connections: usize,
    #[arg(long)]
    pub(crate) millis: u64,
    /// Sign with this key, instead of sending the token
    #[arg(long)]
    pub(crate) sign: Option<String>,
    /// The scheme of the signature
    #[arg(long, default_value = "evolutionx")]
    pub(crate) scheme: String,
    /// The path of a delivery
    #[arg(long, default_value = "/api/webhooks/CreateOrderEvent")]
    pub(crate) path: String,
    /// Send what must be refused
    #[arg(long, value_enum)]
    pub(crate) forge: Option<Forgery>,
    /// Publish events to a bus, instead of posting deliveries to a receiver
    #[arg(long)]
    pub(crate) publish: bool,
    /// Call a hook instead of posting deliveries
    #[arg(long)]
    pub(crate) hook: bool,
    /// Requests per second over all connections; as many as are answered if absent
    #[arg(long)]
    pub(crate) rate: Option<f64>,
}

/// What is wrong with a request that must be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Forgery {
    /// No key and no signature.
    Unsigned,
    /// A signature in good form that no key has made.
    Forged,
    /// An RSA signature in good form.
    Rsa,
    /// A token whose key would have to be fetched.
    UnknownKey,
}

impl Forgery {
    /// The path of the source that refuses it, if it is not that of the deliveries.
    fn path(self) -> Option<&'static str> {
        match self {
            Forgery::Unsigned | Forgery::Forged => None,
            Forgery::Rsa => Some("/rsa"),
            Forgery::UnknownKey => Some("/token"),
        }
    }

    fn refused(self) -> &'static str {
        match self {
            Forgery::UnknownKey => "HTTP/1.1 503",
            _ => "HTTP/1.1 401",
        }
    }
}

/// What a load saw. Latencies are in microseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
    pub(crate) max: u64,
}

impl Load {
    /// Loads, and prints what it saw as JSON.
    #[tokio::main(flavor = "current_thread")]
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        ensure!(self.to.ip().is_loopback(), "load goes to loopback only");
        let started = Instant::now();
        let mut connections = JoinSet::new();
        for place in 0..self.connections {
            let load = self.clone();
            connections.spawn(async move { load.connection(place, started).await });
        }
        let mut all = histogram();
        while let Some(latencies) = connections.join_next().await {
            all.add(latencies??)?;
        }
        let seen = Seen {
            requests: all.len(),
            seconds: started.elapsed().as_secs_f64(),
            p50: all.value_at_quantile(0.5),
            p99: all.value_at_quantile(0.99),
            p999: all.value_at_quantile(0.999),
            max: all.max(),
        };
        println!("{}", serde_json::to_string(&seen)?);
        Ok(())
    }

    async fn connection(self, place: usize, started: Instant) -> anyhow::Result<Histogram<u64>> {
        let mut stream = TcpStream::connect(self.to).await?;
        stream.set_nodelay(true)?;
        let end = started + Duration::from_millis(self.millis);
        let key =
            self.sign.as_deref().map(|secret| signing_key(&self.scheme, secret)).transpose()?;
        let expected = match (self.forge, self.publish) {
            (Some(forgery), _) => forgery.refused(),
            (None, true) => "HTTP/1.1 202",
            (None, false) => "HTTP/1.1 200",
        };
        let (mut latencies, mut request, mut answer) = (histogram(), Vec::new(), vec![0; 8192]);
        for turn in 0.. {
            let begin = match self.due(place, turn, started) {
                // A request that its connection delayed is late from when it was due; a timer's delay is not the server's.
                Some(due) if due <= Instant::now() => due,
                Some(due) => {
                    tokio::time::sleep_until(due.into()).await;
                    Instant::now()
                }
                None => Instant::now(),
            };
            if begin >= end {
                break;
            }
            self.write(&mut request, key.as_ref(), place, turn)?;
            stream.write_all(&request).await?;
            read(&mut stream, &mut answer, expected).await?;
            latencies.record(u64::try_from(begin.elapsed().as_micros())?)?;
        }
        Ok(latencies)
    }

    /// When a fixed rate has this connection's next request.
    fn due(&self, place: usize, turn: usize, started: Instant) -> Option<Instant> {
        let number = (turn * self.connections + place) as f64;
        self.rate.map(|rate| started + Duration::from_secs_f64(number / rate))
    }

    fn write(
        &self,
        request: &mut Vec<u8>,
        key: Option<&(Scheme, Key)>,
        place: usize,
        turn: usize,
    ) -> anyhow::Result<()> {
        if self.hook {
            *request = hook_request(self.to, &self.token, &format!("{place}-{turn}"));
            return Ok(());
        }
        let (to, id) = (self.to, uuid::Uuid::new_v4());
        let mut body = format!(
            r#"{{"OrderNumber":{},"RequestId":"{id}","CustomerId":2,"OrderDateUtc":"2021-10-12T18:07:26.557768Z","OrderStatus":"Pending processing","OrderType":"Standard","EventDateUtc":"2021-10-12T18:07:26.557768Z","EventCategory":"OrderEvents","EventType":"CreateOrderEvent","Note":""#,
            place * 100_000_000 + turn
        );
        body.extend(std::iter::repeat_n('x', BODY - 2 - body.len()));
        body.push_str("\"}");
        if self.publish {
            let event = format!(r#"{{"type":"CreateOrderEvent","id":"{id}","data":{body}}}"#);
            *request = format!(
                "POST /api/events HTTP/1.1\r\nHost: {to}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{event}",
                event.len()
            )
            .into_bytes();
            return Ok(());
        }
        let proof = self.proof(key, &body, turn)?;
        let path = self.forge.and_then(Forgery::path).unwrap_or(&self.path);
        *request = format!(
            "POST {path} HTTP/1.1\r\nHost: {to}\r\nContent-Type: application/json; charset=UTF-8\r\n{proof}X-Directscale-Client-Id: acme\r\nX-Directscale-Message-Id: {id}\r\nContent-Length: {BODY}\r\n\r\n{body}"
        )
        .into_bytes();
        Ok(())
    }

    /// The headers that prove the request, or do not.
    fn proof(
        &self,
        key: Option<&(Scheme, Key)>,
        body: &str,
        turn: usize,
    ) -> anyhow::Result<String> {
        let forged = "0".repeat(64);
        match (self.forge, key) {
            (Some(Forgery::Unsigned), _) => Ok(String::new()),
            (None, None) => Ok(format!("Authorization: Bearer {}\r\n", self.token)),
            (Some(Forgery::Forged), _) => {
                let now = contract::time::now().timestamp();
                Ok(format!("Evox-Time: {now}\r\nEvox-Signature: {forged}\r\n"))
            }
            (Some(Forgery::Rsa), _) => {
                Ok(format!("X-Signature: {}\r\n", STANDARD.encode([(turn % 200) as u8; 256])))
            }
            (Some(Forgery::UnknownKey), _) => {
                let part = |json: String| URL_SAFE_NO_PAD.encode(json);
                let head = part(format!(r#"{{"alg":"RS256","kid":"k{turn}"}}"#));
                let claims = part(format!(r#"{{"aud":"a","exp":{}}}"#, i64::MAX / 2));
                let signature = URL_SAFE_NO_PAD.encode([7; 256]);
                Ok(format!("Authorization: Bearer {head}.{claims}.{signature}\r\n"))
            }
            (None, Some((scheme, key))) => {
                let stamp = Stamp { id: "", time: contract::time::now() };
                let headers = scheme.sign(&[key], stamp, body.as_bytes())?;
                let line = |(name, value): (String, http::HeaderValue)| {
                    Ok(format!("{name}: {}\r\n", value.to_str()?))
                };
                headers.into_iter().map(line).collect()
            }
        }
    }
}

/// The vendor's call of its own example.
pub(crate) fn hook_request(to: SocketAddr, token: &str, callback: &str) -> Vec<u8> {
    let (id, body) = (CreateAutoship::ID, CreateAutoship::example());
    let length = body.len();
    format!(
        "POST /api/hooks/{id} HTTP/1.1\r\nHost: {to}\r\nContent-Type: application/json\r\nAuthorization: Bearer {token}\r\nX-DirectScale-RequestName: {id}\r\nX-DirectScale-CallbackToken: {callback}\r\nX-DirectScale-User: jsmith\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

pub(crate) fn signing_key(scheme: &str, secret: &str) -> anyhow::Result<(Scheme, Key)> {
    let scheme = Scheme::named(scheme).context("no such scheme")?;
    let key = Key::new(&scheme, &secret.into())?;
    Ok((scheme, key))
}

/// Reads one whole answer; anything but the expected status ends the load.
async fn read(stream: &mut TcpStream, answer: &mut [u8], expected: &str) -> anyhow::Result<()> {
    let mut length = 0;
    loop {
        let read = stream.read(&mut answer[length..]).await?;
        ensure!(read > 0, "the server closed the connection");
        length += read;
        let text = std::str::from_utf8(&answer[..length])?;
        let Some(head) = text.find("\r\n\r\n") else { continue };
        if !text.starts_with(expected) {
            bail!("{text}");
        }
        let announced = text[..head]
            .split("\r\n")
            .find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok()
            })
            .unwrap_or(0);
        if length >= head + 4 + announced {
            return Ok(());
        }
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are in order")
}
