//! The settings of the event bus and of its subscriptions. The bus's API takes a subscription in the same words.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use contract::event::{Dialect, Environment};
use contract::time::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check::{is_loopback, refuse};
use super::{ConfigError, days, duration, one_or_many, secrets, some_duration};

/// The event bus: the sender's half as a program of its own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BusConfig {
    /// The address of its API and its pages.
    pub listen: SocketAddr,
    /// Where events, deliveries and logs are kept.
    pub outbox: String,
    /// The bearer key of its API; needed unless it listens on loopback.
    pub api_key: Option<SecretString>,
    /// A file that holds that key.
    pub api_key_file: Option<PathBuf>,
    /// What may be sent to although it is not public: addresses, networks, hosts.
    #[serde(deserialize_with = "one_or_many")]
    pub allow_targets: Vec<String>,
    /// A file with certificates in PEM that targets are trusted by, besides those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// How many requests may be on their way at once; each target has one beyond that, as far as files may be open.
    pub concurrency: usize,
    /// The largest event, its data and its record, in bytes; a larger one is refused, and its batch with it.
    pub max_event: usize,
    /// How much of a target's answer is kept, in bytes.
    pub max_response: usize,
    /// How many calls may wait for the writer.
    pub queue: usize,
    /// How often a target that was paused for its failures is tried with one delivery.
    #[serde(deserialize_with = "duration")]
    pub probe: Duration,
    /// How long events are kept once nothing of them is waiting.
    #[serde(deserialize_with = "duration")]
    pub keep_events: Duration,
    /// How long it is kept when attempts were made and what came of them.
    #[serde(deserialize_with = "duration")]
    pub keep_attempts: Duration,
    /// How long the requests and answers of attempts are kept.
    #[serde(deserialize_with = "duration")]
    pub keep_payloads: Duration,
    /// Subscriptions that are there from the start, by name.
    pub subscriptions: BTreeMap<String, SubscriptionConfig>,
}

impl Default for BusConfig {
    fn default() -> Self {
        BusConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 8090)),
            outbox: "sqlite:data/outbox.db".into(),
            api_key: None,
            api_key_file: None,
            allow_targets: Vec::new(),
            ca_file: None,
            concurrency: 1024,
            max_event: 1024 * 1024,
            max_response: 64 * 1024,
            queue: 4096,
            probe: Duration::from_secs(600),
            keep_events: days(60),
            keep_attempts: days(60),
            keep_payloads: days(15),
            subscriptions: BTreeMap::new(),
        }
    }
}

/// Who is to be told of which events, and how. Secrets go in and never come out.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SubscriptionConfig {
    /// The events, by name; `*` stands for any text, and case does not matter.
    #[serde(deserialize_with = "one_or_many")]
    pub events: Vec<String>,
    /// The URL that they are posted to; a `/` at its end and `{event}` ask for the event's name.
    pub target: String,
    /// Query parameters to add to the URL; their values are secrets.
    #[schema(value_type = BTreeMap<String, String>, default = json!({}))]
    pub query: BTreeMap<String, SecretString>,
    /// Headers to add; their values are secrets.
    #[schema(value_type = BTreeMap<String, String>, default = json!({}))]
    pub headers: BTreeMap<String, SecretString>,
    /// How its deliveries look on the wire.
    #[schema(value_type = String, example = "directscale")]
    pub dialect: Dialect,
    /// Which events it gets, if an event says of which world it is.
    #[schema(value_type = String, example = "live")]
    pub environment: Environment,
    /// A text for people.
    pub description: String,
    /// The account that deliveries name, if the dialect has a place for it.
    pub client_id: Option<String>,
    /// The bearer key to send.
    #[schema(value_type = Option<String>, write_only, default = json!(null))]
    pub bearer_token: Option<SecretString>,
    /// A file that holds it; in the settings file only.
    #[schema(ignore)]
    pub bearer_token_file: Option<PathBuf>,
    /// How to sign, if not as the dialect's senders do.
    pub scheme: Option<String>,
    /// The key to sign with.
    #[schema(value_type = Option<String>, write_only, default = json!(null))]
    pub signing_key: Option<SecretString>,
    /// A file that holds it; in the settings file only.
    #[schema(ignore)]
    pub signing_key_file: Option<PathBuf>,
    /// The key before it, which signs too while the target changes over.
    #[schema(value_type = Option<String>, write_only, default = json!(null))]
    pub old_signing_key: Option<SecretString>,
    /// Until when it does.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub old_signing_key_until: Option<Timestamp>,
    /// Whether the event's object record, if it has one, is part of the body.
    pub include_record: bool,
    /// Whether it gets anything.
    pub enabled: bool,
    /// When it is tried again: a persona's name or a list of delays; absent for what its dialect's senders do.
    pub retries: Option<String>,
    /// How long an answer may take, if not as long as the persona waits.
    #[serde(deserialize_with = "some_duration")]
    #[schema(value_type = Option<String>, example = "30s")]
    pub timeout: Option<Duration>,
    /// How many requests may be on their way to it at once.
    pub concurrency: usize,
    /// Requests per second; absent for no limit.
    pub rate_limit: Option<f64>,
    /// Whether events about the same object are sent one after the other, in the order of publication.
    pub in_order: bool,
    /// What goes wrong on purpose.
    pub faults: FaultsConfig,
}

impl Default for SubscriptionConfig {
    fn default() -> Self {
        SubscriptionConfig {
            events: Vec::new(),
            target: String::new(),
            query: BTreeMap::new(),
            headers: BTreeMap::new(),
            dialect: Dialect::DirectScale,
            environment: Environment::Live,
            description: String::new(),
            client_id: None,
            bearer_token: None,
            bearer_token_file: None,
            scheme: None,
            signing_key: None,
            signing_key_file: None,
            old_signing_key: None,
            old_signing_key_until: None,
            include_record: false,
            enabled: true,
            retries: None,
            timeout: None,
            concurrency: 16,
            rate_limit: None,
            in_order: false,
            faults: FaultsConfig::default(),
        }
    }
}

/// What goes wrong on purpose. A share is the part of attempts, from 0 to 1, that it happens to.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FaultsConfig {
    /// How much later every attempt is made than it could be, such as `2s`.
    #[serde(with = "humantime_text", skip_serializing_if = "Duration::is_zero")]
    #[schema(value_type = String)]
    pub delay: Duration,
    /// The share that is sent twice.
    pub duplicate: f64,
    /// The share that changes places with the next one.
    pub reorder: f64,
    /// The share whose answer is lost.
    pub drop: f64,
    /// The share whose body breaks off in the middle.
    pub truncate: f64,
    /// The share whose body is changed after it was signed.
    pub tamper: f64,
    /// How many deliveries are gathered and then sent together; 0 for none.
    pub burst: usize,
}

mod humantime_text {
    use std::time::Duration;

    use serde::Serializer;

    pub(super) use super::super::duration as deserialize;

    pub(super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(*time))
    }
}

impl BusConfig {
    /// The bearer key of the API.
    ///
    /// # Errors
    /// [`ConfigError`] if the bus would listen to others without one, or its file cannot be read.
    pub fn key(&self) -> Result<Option<SecretString>, ConfigError> {
        let key = found("[bus] api_key", true, &self.api_key, self.api_key_file.as_deref())?;
        match &key {
            Some(key) if key.expose_secret().len() < 16 => refuse(
                "[bus] api_key is too short to be a secret; write one from `webhook-receiver secret`",
            ),
            None if !is_loopback(self.listen.ip()) => refuse(format!(
                "the bus would listen on {}, where others reach it, without a key; write api_key = \"…\" in [bus], with one from `webhook-receiver secret`",
                self.listen
            )),
            Some(key) if !is_loopback(self.listen.ip()) && secrets::weakness(key).is_some() => {
                refuse(
                    "[bus] api_key can be found by trying; write one from `webhook-receiver secret`",
                )
            }
            _ => Ok(key),
        }
    }

    /// Checks the keys that stand in the settings themselves; those in files may be for another user to read.
    fn check_keys(&self) -> Result<(), ConfigError> {
        // A placeholder is refused where the key is used.
        let written = |key: &Option<SecretString>| {
            key.clone().filter(|key| key.expose_secret() != secrets::PLACEHOLDER)
        };
        sound("[bus] api_key", true, written(&self.api_key))?;
        for (name, subscription) in &self.subscriptions {
            let setting = |key| format!("[bus.subscriptions.{name}] {key}");
            sound(&setting("bearer_token"), true, written(&subscription.bearer_token))?;
            sound(&setting("signing_key"), false, written(&subscription.signing_key))?;
            sound(&setting("old_signing_key"), false, written(&subscription.old_signing_key))?;
        }
        let files = self.subscriptions.values();
        let files = files.flat_map(|one| [&one.bearer_token_file, &one.signing_key_file]);
        for file in files.chain([&self.api_key_file, &self.ca_file]).flatten() {
            secrets::check_writers(file).map_err(|why| ConfigError(format!("[bus] {why}")))?;
        }
        Ok(())
    }

    /// Checks the keys in files, but those that are another user's to read.
    ///
    /// # Errors
    /// [`ConfigError`] with the file that the bus could not use.
    pub fn check_key_files(&self) -> Result<(), ConfigError> {
        let read = |setting: &str, in_header, key: &Option<_>, file: &Option<PathBuf>| {
            let file = file.as_deref().filter(|file| key.is_none() && !is_denied(file));
            found(setting, in_header, &None, file)
        };
        read("[bus] api_key", true, &self.api_key, &self.api_key_file)?;
        for (name, one) in &self.subscriptions {
            let setting = |key| format!("[bus.subscriptions.{name}] {key}");
            read(&setting("bearer_token"), true, &one.bearer_token, &one.bearer_token_file)?;
            read(&setting("signing_key"), false, &one.signing_key, &one.signing_key_file)?;
        }
        Ok(())
    }

    /// Checks what concerns no single subscription.
    ///
    /// # Errors
    /// [`ConfigError`] with the setting that is out of its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        for (name, value) in [
            ("concurrency", self.concurrency),
            ("max_event", self.max_event),
            ("queue", self.queue),
        ] {
            if value == 0 {
                return refuse(format!("{name} in [bus] must be at least 1"));
            }
        }
        self.check_keys()?;
        if self.probe < Duration::from_secs(1) {
            return refuse("probe in [bus] must be at least \"1s\"");
        }
        if self.keep_payloads > self.keep_attempts || self.keep_attempts > self.keep_events {
            return refuse(
                "[bus] keeps payloads no longer than attempts, and those no longer than events; write for example keep_events = \"60d\"",
            );
        }
        Ok(())
    }
}

impl SubscriptionConfig {
    /// The bearer key, wherever it stands.
    ///
    /// # Errors
    /// [`ConfigError`] if its file cannot be read, or nobody can send it.
    pub fn bearer(&self) -> Result<Option<SecretString>, ConfigError> {
        found("bearer_token", true, &self.bearer_token, self.bearer_token_file.as_deref())
    }

    /// The key to sign with, wherever it stands.
    ///
    /// # Errors
    /// [`ConfigError`] if its file cannot be read, or nobody can send it.
    pub fn signing(&self) -> Result<Option<SecretString>, ConfigError> {
        found("signing_key", false, &self.signing_key, self.signing_key_file.as_deref())
    }
}

impl SubscriptionConfig {
    /// The key before the one that it signs with.
    ///
    /// # Errors
    /// [`ConfigError`] if nobody can send it.
    pub fn old_signing(&self) -> Result<Option<SecretString>, ConfigError> {
        sound("old_signing_key", false, self.old_signing_key.clone())
    }
}

/// The key in the setting, else the one in the file, whose setting is called alike.
fn found(
    setting: &str,
    in_header: bool,
    key: &Option<SecretString>,
    file: Option<&Path>,
) -> Result<Option<SecretString>, ConfigError> {
    match (key, file) {
        (None, Some(file)) => {
            let setting = format!("{setting}_file");
            let key =
                secrets::read_key(file).map_err(|why| ConfigError(format!("{setting}: {why}")))?;
            sound(&format!("{setting}, {}", file.display()), in_header, Some(key))
        }
        (key, _) => sound(setting, in_header, key.clone()),
    }
}

/// Whether a file is there that only others may read.
fn is_denied(file: &Path) -> bool {
    std::fs::File::open(file).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

/// The key, if somebody can send it.
fn sound(
    setting: &str,
    in_header: bool,
    key: Option<SecretString>,
) -> Result<Option<SecretString>, ConfigError> {
    match key.as_ref().and_then(|key| secrets::flaw(key.expose_secret(), in_header)) {
        Some(flaw) => refuse(format!("{setting}: the key {flaw}")),
        None => Ok(key),
    }
}
