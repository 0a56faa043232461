//! The settings: file < environment < flags. All of them are listed, with their defaults, in `receiver.example.toml`.
//!
//! It depends on the sources and what is below them; whatever is configured depends on it.

mod auth;
mod bus;
mod check;
mod console;
#[cfg(test)]
mod example;
mod field_locators;
mod hooks;
mod keys;
mod load;

pub mod secrets;
mod warnings;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use contract::event::{Dialect, Environment};
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize};
use signature::{CustomScheme, MessageParameters};
use source::{
    AcceptedBody, CertificateConfig, HandshakeConfig, JwtConfig, PlacesConfig, duration,
    one_or_many, some_duration,
};

pub use bus::{BusConfig, FaultsConfig, SubscriptionConfig};
pub use check::{is_local, is_loopback, reachable};
pub use console::ConsoleConfig;
pub use hooks::HooksConfig;
pub use keys::{ConfiguredKey, KeySort};
pub use load::{COPY_FROM, COPY_TO, EMIT_SIGNING_KEY, EMIT_TOKEN};
pub use load::{Overrides, SettingsText, load, parse};
pub use secrets::read_secret;
pub use warnings::Warning;

/// An unusable configuration: the setting, the reason and the correction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// All settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The inbox's URL; its scheme chooses the engine. It may hold a password.
    pub inbox: SecretString,
    /// The senders, by name.
    pub sources: BTreeMap<String, SourceConfig>,
    /// The limits on requests.
    pub limits: Limits,
    /// The running of handlers.
    pub dispatch: Dispatch,
    /// Deduplication.
    pub dedup: Dedup,
    /// The retention of ended deliveries.
    pub retention: Retention,
    /// Access to the documentation pages and the metrics.
    pub docs: Docs,
    /// The operators' console.
    pub console: ConsoleConfig,
    /// The event bus.
    pub bus: BusConfig,
    /// The log's format and filter.
    pub log: Log,
}

/// A sender.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// The dialect of its deliveries.
    pub dialect: Dialect,
    /// The sender's environment: production or test.
    #[serde(default)]
    pub environment: Environment,
    /// The path under which it is received.
    #[serde(default = "default_path")]
    pub path: String,
    /// The required authentication; absent for the dialect's.
    #[serde(default)]
    pub auth: Option<AuthKind>,
    /// Accepted bearer keys; several while one is being replaced.
    #[serde(default, deserialize_with = "one_or_many")]
    pub bearer_tokens: Vec<SecretString>,
    /// Files that hold one accepted bearer key each.
    #[serde(default, deserialize_with = "one_or_many")]
    pub bearer_token_files: Vec<PathBuf>,
    /// Keys that the sender may sign with; several while one is being replaced.
    #[serde(default, deserialize_with = "one_or_many")]
    pub signing_keys: Vec<SecretString>,
    /// Files that hold one such key each.
    #[serde(default, deserialize_with = "one_or_many")]
    pub signing_key_files: Vec<PathBuf>,
    /// Retired keys of either type, no longer accepted. A request that still has one is reported in the log.
    #[serde(default, deserialize_with = "one_or_many")]
    pub retired_keys: Vec<SecretString>,
    /// Files that hold one such key each.
    #[serde(default, deserialize_with = "one_or_many")]
    pub retired_key_files: Vec<PathBuf>,
    /// The name of the signature scheme; absent for the dialect's.
    #[serde(default)]
    pub scheme: Option<String>,
    /// The description of a signature scheme without a name.
    #[serde(default)]
    pub signature: Option<CustomScheme>,
    /// The tolerance of a signed timestamp, both ways.
    #[serde(default, deserialize_with = "some_duration")]
    pub tolerance: Option<Duration>,
    /// The accepted client ids; empty for any.
    #[serde(default, deserialize_with = "one_or_many")]
    pub client_ids: Vec<String>,
    /// The status of the response to an accepted or duplicate delivery; absent for the dialect's.
    #[serde(default)]
    pub accepted_status: Option<u16>,
    /// The body of that response; absent for the dialect's, or the receipt.
    #[serde(default)]
    pub accepted_body: Option<String>,
    /// Deliveries per second; more are answered 429. Absent for no limit.
    #[serde(default)]
    pub rate_limit: Option<std::num::NonZeroU32>,
    /// The place of the bearer key; absent for the dialect's.
    #[serde(default)]
    pub token: Option<String>,
    /// The field locators that replace the dialect's.
    #[serde(default)]
    pub places: Option<PlacesConfig>,
    /// The formats of bodies; absent for the dialect's.
    #[serde(default)]
    pub bodies: Option<Vec<AcceptedBody>>,
    /// Accepts bodies that are compressed with gzip.
    #[serde(default)]
    pub gzip: bool,
    /// The address under which the sender knows the receiver, if it signs it and a proxy hides it.
    #[serde(default)]
    pub public_url: Option<String>,
    /// Values that the sender signs or answers, but does not send.
    #[serde(default)]
    pub values: BTreeMap<String, String>,
    /// The parameters of message signatures.
    #[serde(default)]
    pub message: MessageParameters,
    /// The token that proves the sender, instead of the dialect's.
    #[serde(default)]
    pub jwt: Option<JwtConfig>,
    /// The certificate of the signature, instead of the dialect's.
    #[serde(default)]
    pub certificate: Option<CertificateConfig>,
    /// The handshakes, instead of the dialect's.
    #[serde(default)]
    pub handshakes: Option<Vec<HandshakeConfig>>,
    /// The tokens that the sender repeats in a handshake.
    #[serde(default, deserialize_with = "one_or_many")]
    pub handshake_tokens: Vec<SecretString>,
    /// Files that hold one such token each.
    #[serde(default, deserialize_with = "one_or_many")]
    pub handshake_token_files: Vec<PathBuf>,
    /// The origins that may send CloudEvents after asking for permission; `*` for any.
    #[serde(default, deserialize_with = "one_or_many")]
    pub allowed_origins: Vec<String>,
    /// The Process Hooks that it calls; absent if it calls none.
    #[serde(default)]
    pub hooks: Option<HooksConfig>,
}

impl SourceConfig {
    /// A source of a dialect, without keys.
    pub fn of(dialect: Dialect) -> Self {
        let table = toml::Table::from_iter([("dialect".into(), dialect.as_str().into())]);
        toml::Value::Table(table).try_into().expect("a source needs no more than its dialect")
    }
}

/// The required authentication of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuthKind {
    /// A bearer key.
    Bearer,
    /// A signature.
    Signature,
    /// A bearer key and a signature.
    BearerAndSignature,
    /// A JSON Web Token.
    Jwt,
    /// Nothing.
    None,
}

impl AuthKind {
    /// True if a bearer key is required.
    pub const fn has_bearer(self) -> bool {
        matches!(self, AuthKind::Bearer | AuthKind::BearerAndSignature)
    }

    /// True if a signature is required.
    pub const fn has_signature(self) -> bool {
        matches!(self, AuthKind::Signature | AuthKind::BearerAndSignature)
    }
}

/// The limits on requests; beyond them the response is 408, 413 or 503.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The largest body, in bytes. Independently of it, a body with more than 20,000 objects is not handled.
    pub max_body: usize,
    /// The largest request head, in bytes, including its empty last line.
    pub max_head: usize,
    /// The time limit of a request's head, and of an idle connection.
    #[serde(deserialize_with = "duration")]
    pub head_timeout: Duration,
    /// The time limit of a body.
    #[serde(deserialize_with = "duration")]
    pub body_timeout: Duration,
    /// The lowest rate of a body before its sender is authenticated, in bytes per second; 0 for no minimum.
    pub min_rate: usize,
    /// The most deliveries on their way into the inbox, shared between the sources.
    pub concurrency: usize,
    /// The most bytes of bodies held in memory, shared between the sources.
    pub buffered: usize,
    /// The most open connections; beyond that, unauthenticated or idle ones are closed.
    pub connections: usize,
    /// The most calls that wait for the inbox's writer.
    pub queue: usize,
    /// The time limit of a stop, which waits for open requests and running handlers.
    #[serde(deserialize_with = "duration")]
    pub drain: Duration,
}

/// The running of handlers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dispatch {
    /// Accepts and keeps deliveries, but runs no handlers.
    pub paused: bool,
    /// The most handlers that run at once.
    pub concurrency: usize,
    /// The time limit of an attempt.
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
    /// The delay after the first, second, … failed attempt; after the last entry the delivery is dead.
    #[serde(deserialize_with = "durations")]
    pub schedule: Vec<Duration>,
    /// The random variation of a delay, as a share of it from 0 to 1.
    pub jitter: f64,
}

/// Deduplication of deliveries.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dedup {
    /// The time within which a resend is recognised. Deliveries are kept at least as long.
    #[serde(deserialize_with = "duration")]
    pub window: Duration,
    /// The number of latest ids kept in memory, to answer their duplicates without a write.
    pub remembered: usize,
}

/// The retention of ended deliveries and of the hook log. Dead deliveries stay until a person replays or prunes them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Handled deliveries.
    #[serde(deserialize_with = "duration")]
    pub done: Duration,
    /// Deliveries without a handler.
    #[serde(deserialize_with = "duration")]
    pub unrouted: Duration,
    /// Calls of hooks.
    #[serde(deserialize_with = "duration")]
    pub hooks: Duration,
}

/// Access to the documentation pages and the metrics, if the listener is not loopback.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Docs {
    /// The user's name.
    pub user: Option<String>,
    /// The password's Argon2 hash, as `webhook-receiver secret --hash` prints it. Without it the pages are not served.
    pub password_hash: Option<SecretString>,
}

/// The log's format and filter.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Readable lines or JSON.
    pub format: LogFormat,
    /// The filter: a level, or directives such as `info,webhook_receiver_receiver::dispatch=debug`.
    pub filter: String,
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Readable on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// Readable.
    Pretty,
    /// One JSON object a line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            inbox: "sqlite:data/inbox.db".into(),
            sources: BTreeMap::new(),
            limits: Limits::default(),
            dispatch: Dispatch::default(),
            dedup: Dedup::default(),
            retention: Retention::default(),
            docs: Docs::default(),
            console: ConsoleConfig::default(),
            bus: BusConfig::default(),
            log: Log::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_body: 1024 * 1024,
            max_head: 32 * 1024,
            head_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            min_rate: 1024,
            concurrency: 1024,
            buffered: 64 * 1024 * 1024,
            connections: 10_000,
            queue: 4096,
            drain: Duration::from_secs(25),
        }
    }
}

impl Default for Dispatch {
    fn default() -> Self {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 60 * MINUTE;
        Dispatch {
            paused: false,
            concurrency: 64,
            timeout: Duration::from_secs(30),
            schedule: [
                10,
                MINUTE,
                5 * MINUTE,
                30 * MINUTE,
                2 * HOUR,
                5 * HOUR,
                10 * HOUR,
                20 * HOUR,
                35 * HOUR,
            ]
            .map(Duration::from_secs)
            .to_vec(),
            jitter: 0.2,
        }
    }
}

impl Default for Dedup {
    fn default() -> Self {
        Dedup { window: days(7), remembered: 65_536 }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Retention { done: days(30), unrouted: days(90), hooks: days(30) }
    }
}

impl Default for Log {
    fn default() -> Self {
        Log { format: LogFormat::Auto, filter: "info".into() }
    }
}

fn days(days: u64) -> Duration {
    Duration::from_secs(days * 24 * 60 * 60)
}

fn default_path() -> String {
    "/api/webhooks".into()
}

fn durations<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Duration>, D::Error> {
    Ok(Vec::<HumanDuration>::deserialize(deserializer)?.into_iter().map(|time| time.0).collect())
}

/// A duration with its unit, such as `30s`.
#[derive(Deserialize)]
struct HumanDuration(#[serde(deserialize_with = "duration")] Duration);
