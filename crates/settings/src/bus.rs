//! The settings of the event bus and its subscriptions. The bus's API takes a subscription in the same form.

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

/// The event bus: the sender's half as a long-running program.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BusConfig {
    /// The address of its API and its pages.
    pub listen: SocketAddr,
    /// The URL of the store of events, deliveries and logs.
    pub outbox: String,
    /// The bearer key of its API; required unless it listens on loopback.
    pub api_key: Option<SecretString>,
    /// A file with that key.
    pub api_key_file: Option<PathBuf>,
    /// The allowed targets that are not public: addresses, networks, hosts.
    #[serde(deserialize_with = "one_or_many")]
    pub allow_targets: Vec<String>,
    /// A PEM file with certificates to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// The most open requests; each target may have one beyond that, within the limit of open files.
    pub concurrency: usize,
    /// The largest event, its data and its record, in bytes; a larger one is refused, together with its batch.
    pub max_event: usize,
    /// The largest part of a target's response that is kept, in bytes.
    pub max_response: usize,
    /// The most calls that wait for the writer.
    pub queue: usize,
    /// The interval of probes of a target that is paused after failures.
    #[serde(deserialize_with = "duration")]
    pub probe: Duration,
    /// The retention of events without open deliveries.
    #[serde(deserialize_with = "duration")]
    pub keep_events: Duration,
    /// The retention of attempts: their times and results.
    #[serde(deserialize_with = "duration")]
    pub keep_attempts: Duration,
    /// The retention of the attempts' requests and responses.
    #[serde(deserialize_with = "duration")]
    pub keep_payloads: Duration,
    /// The initial subscriptions, by name.
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

/// A subscription: its events, its target and the options of its deliveries. Secrets are write-only.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SubscriptionConfig {
    /// The event names; `*` matches any text, and case is ignored.
    #[serde(deserialize_with = "one_or_many")]
    pub events: Vec<String>,
    /// The URL to post to; after a trailing `/`, or for `{event}`, the event's name is inserted.
    #[schema(pattern = r"^https?://[^\s?#]+$")]
    pub target: String,
    /// Query parameters to add to the URL; their values are secrets.
    #[schema(value_type = BTreeMap<String, String>, default = json!({}))]
    pub query: BTreeMap<String, SecretString>,
    /// Headers to add; their values are secrets.
    #[schema(value_type = BTreeMap<String, String>, default = json!({}))]
    pub headers: BTreeMap<String, SecretString>,
    /// The dialect of its deliveries.
    pub dialect: Dialect,
    /// The configured source whose sender it imitates, in place of a dialect. Its keys are the subscription's own.
    pub source: Option<String>,
    /// The environment whose events it gets; events without an environment match any.
    pub environment: Environment,
    /// A description for people.
    pub description: String,
    /// The account named in deliveries, if the dialect has a field for it.
    pub client_id: Option<String>,
    /// The bearer key to send.
    #[schema(value_type = Option<String>, write_only, default = json!(null))]
    pub bearer_token: Option<SecretString>,
    /// A file with the bearer key; in the settings file only.
    #[schema(ignore)]
    pub bearer_token_file: Option<PathBuf>,
    /// The signature scheme; absent for the dialect's.
    pub scheme: Option<String>,
    /// The key to sign with.
    #[schema(value_type = Option<String>, write_only, default = json!(null))]
    pub signing_key: Option<SecretString>,
    /// A file with the signing key; in the settings file only.
    #[schema(ignore)]
    pub signing_key_file: Option<PathBuf>,
    /// The previous signing key, which signs too during a key rotation.
    #[schema(value_type = Option<String>, write_only, default = json!(null))]
    pub old_signing_key: Option<SecretString>,
    /// The end of the key rotation.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub old_signing_key_until: Option<Timestamp>,
    /// True to include the event's object record, if it has one, in the body.
    pub include_record: bool,
    /// False to pause all deliveries to it.
    pub enabled: bool,
    /// The retry policy: a persona's name or a list of delays; absent for the dialect's.
    pub retries: Option<String>,
    /// The time limit of a response; absent for the persona's.
    #[serde(deserialize_with = "some_duration")]
    #[schema(value_type = Option<String>, pattern = r"^\d+ ?(ms|s|m|h|d)( \d+ ?(ms|s|m|h|d))*$", example = "30s")]
    pub timeout: Option<Duration>,
    /// The most open requests to it.
    #[schema(minimum = 1, maximum = 1024)]
    pub concurrency: usize,
    /// Requests per second; absent for no limit.
    #[schema(minimum = 0.001, maximum = 1_000_000)]
    pub rate_limit: Option<f64>,
    /// True to send events about the same object one after the other, in the order of publication.
    pub in_order: bool,
    /// Injected faults.
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
            source: None,
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

/// Injected faults. A share is the part of attempts, from 0 to 1, that is affected.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FaultsConfig {
    /// The extra delay of every attempt, such as `2s`.
    #[serde(with = "humantime_text", skip_serializing_if = "Duration::is_zero")]
    #[schema(value_type = String, pattern = r"^\d+ ?(ms|s|m|h|d)( \d+ ?(ms|s|m|h|d))*$", default = json!("0s"), example = "2s")]
    pub delay: Duration,
    /// The share of attempts sent twice.
    #[schema(minimum = 0, maximum = 1)]
    pub duplicate: f64,
    /// The share of attempts swapped with the next one.
    #[schema(minimum = 0, maximum = 1)]
    pub reorder: f64,
    /// The share of attempts whose response is discarded.
    #[schema(minimum = 0, maximum = 1)]
    pub drop: f64,
    /// The share of attempts whose body is cut off in the middle.
    #[schema(minimum = 0, maximum = 1)]
    pub truncate: f64,
    /// The share of attempts whose body is changed after signing.
    #[schema(minimum = 0, maximum = 1)]
    pub tamper: f64,
    /// The number of deliveries collected and sent together; 0 for none.
    #[schema(maximum = 256)]
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
    /// [`ConfigError`] if the bus would listen on more than loopback without a key, or its file cannot be read.
    pub fn key(&self) -> Result<Option<SecretString>, ConfigError> {
        let key = found("[bus] api_key", true, &self.api_key, self.api_key_file.as_deref())?;
        match &key {
            Some(key) if key.expose_secret().len() < 16 => refuse(
                "[bus] api_key is too short to be a secret; write one from `webhook-receiver secret`",
            ),
            None if !is_loopback(self.listen.ip()) => refuse(format!(
                "the bus would listen on {}, which other machines can reach, without a key; write api_key = \"…\" in [bus], with one from `webhook-receiver secret`",
                self.listen
            )),
            Some(key) if !is_loopback(self.listen.ip()) && secrets::weakness(key).is_some() => {
                refuse("[bus] api_key can be guessed; write one from `webhook-receiver secret`")
            }
            _ => Ok(key),
        }
    }

    /// Checks the keys in the settings themselves; files may be readable for another user only.
    fn check_keys(&self) -> Result<(), ConfigError> {
        // A placeholder is refused when the key is used.
        let written = |key: &Option<SecretString>| {
            key.clone().filter(|key| key.expose_secret() != secrets::PLACEHOLDER)
        };
        valid("[bus] api_key", true, written(&self.api_key))?;
        for (name, subscription) in &self.subscriptions {
            let setting = |key| format!("[bus.subscriptions.{name}] {key}");
            valid(&setting("bearer_token"), true, written(&subscription.bearer_token))?;
            valid(&setting("signing_key"), false, written(&subscription.signing_key))?;
            valid(&setting("old_signing_key"), false, written(&subscription.old_signing_key))?;
        }
        let files = self.subscriptions.values();
        let files = files.flat_map(|one| [&one.bearer_token_file, &one.signing_key_file]);
        for file in files.chain([&self.api_key_file, &self.ca_file]).flatten() {
            secrets::check_writers(file).map_err(|why| ConfigError(format!("[bus] {why}")))?;
        }
        Ok(())
    }

    /// Checks the keys in files, except those that only another user may read.
    ///
    /// # Errors
    /// [`ConfigError`] for a file that the bus could not use.
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

    /// The subscriptions whose key files are not another user's.
    pub fn readable_subscriptions(&self) -> impl Iterator<Item = (&str, &SubscriptionConfig)> {
        let is_readable = |one: &SubscriptionConfig| {
            let files = [&one.bearer_token_file, &one.signing_key_file];
            !files.into_iter().flatten().any(|file| is_denied(file))
        };
        let all = self.subscriptions.iter().filter(move |(_, one)| is_readable(one));
        all.map(|(name, one)| (name.as_str(), one))
    }

    /// Checks the settings that belong to no single subscription.
    ///
    /// # Errors
    /// [`ConfigError`] for a setting that is out of its range.
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
    /// The bearer key, from the settings or from its file.
    ///
    /// # Errors
    /// [`ConfigError`] if its file cannot be read, or the key cannot be sent.
    pub fn bearer(&self) -> Result<Option<SecretString>, ConfigError> {
        found("bearer_token", true, &self.bearer_token, self.bearer_token_file.as_deref())
    }

    /// The signing key, from the settings or from its file.
    ///
    /// # Errors
    /// [`ConfigError`] if its file cannot be read, or the key cannot be sent.
    pub fn signing(&self) -> Result<Option<SecretString>, ConfigError> {
        found("signing_key", false, &self.signing_key, self.signing_key_file.as_deref())
    }
}

impl SubscriptionConfig {
    /// The previous signing key.
    ///
    /// # Errors
    /// [`ConfigError`] if the key cannot be sent.
    pub fn old_signing(&self) -> Result<Option<SecretString>, ConfigError> {
        valid("old_signing_key", false, self.old_signing_key.clone())
    }
}

/// The key in the setting, else the one in its file, whose setting ends in `_file`.
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
            valid(&format!("{setting}, {}", file.display()), in_header, Some(key))
        }
        (key, _) => valid(setting, in_header, key.clone()),
    }
}

/// True if the file exists and only others may read it.
fn is_denied(file: &Path) -> bool {
    std::fs::File::open(file).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

/// The key, if it can be sent.
fn valid(
    setting: &str,
    in_header: bool,
    key: Option<SecretString>,
) -> Result<Option<SecretString>, ConfigError> {
    match key.as_ref().and_then(|key| secrets::flaw(key.expose_secret(), in_header)) {
        Some(flaw) => refuse(format!("{setting}: the key {flaw}")),
        None => Ok(key),
    }
}
