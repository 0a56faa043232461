//! A subscription, ready for sending: its settings checked, its keys prepared.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use contract::event::{Dialect, Environment};
use contract::time::Timestamp;
use emitter::message::Message;
use emitter::proof::{HttpDraft, NamedHeader, Proof};
use emitter::send_as::SigningMethod;
use emitter::target;
use http::{HeaderName, HeaderValue};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use settings::{FaultsConfig, SourceConfig, SubscriptionConfig};
use signature::Fingerprint;
use source::{Fact, FieldLocator, FieldLocators, KeyPlace, Sends};
use utoipa::ToSchema;

use super::body;
use super::glob::Glob;
use super::publication::PublishedEvent;
use super::retry_policy::RetryPolicy;

/// The client id of a subscription whose dialect needs one and whose settings name none.
pub(super) const CLIENT_ID: &str = "webhook-receiver";

/// Headers that every request has, or that concern its connection and the encoding of its body.
const RESERVED: [&str; 13] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A subscription: the events it matches, its target, and how they are sent.
pub(super) struct Subscription {
    /// The name.
    pub name: String,
    /// The retry policy.
    pub retry_policy: RetryPolicy,
    pub(super) config: SubscriptionConfig,
    globs: Vec<Glob>,
    places: Arc<FieldLocators>,
    sends: Sends,
    /// The headers of the dialect's senders that say nothing about the event.
    own_headers: Arc<[NamedHeader]>,
    proof: Arc<Proof>,
    /// The proof during a key rotation, and the end of the rotation.
    rotating: Option<(Timestamp, Arc<Proof>)>,
    extra: Vec<(HeaderName, HeaderValue)>,
    /// The fingerprints that are shown in place of keys.
    keys: KeyFingerprints,
}

/// The fingerprints of a subscription's keys.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct KeyFingerprints {
    /// The fingerprint of the bearer key.
    pub bearer: Option<String>,
    /// The fingerprint of the signing key.
    pub signing: Option<String>,
    /// The fingerprint of the signing key before it.
    pub old_signing: Option<String>,
}

/// A subscription without its secrets.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SubscriptionView {
    /// The name.
    pub name: String,
    /// The event name patterns, `*` standing for any text.
    pub events: Vec<String>,
    /// The URL, without its query parameters.
    pub target: String,
    /// The names of the query parameters.
    pub query: Vec<String>,
    /// The names of the additional headers.
    pub headers: Vec<String>,
    /// The dialect of its deliveries.
    pub dialect: Dialect,
    /// The source whose sender it imitates.
    pub source: Option<String>,
    /// The environment of its events, for events that have one.
    pub environment: Environment,
    /// A description for people.
    pub description: String,
    /// The client id that its deliveries have.
    pub client_id: Option<String>,
    /// The signature scheme, if it differs from the dialect's.
    pub scheme: Option<String>,
    /// The fingerprints of its keys.
    pub keys: KeyFingerprints,
    /// The time until which the old key signs too.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub old_signing_key_until: Option<Timestamp>,
    /// True if the body includes the object record.
    pub include_record: bool,
    /// True if events are sent.
    pub enabled: bool,
    /// The retry policy.
    pub retries: String,
    /// The request timeout.
    pub timeout: String,
    /// The largest number of requests in flight.
    pub concurrency: usize,
    /// The largest number of requests per second.
    pub rate_limit: Option<f64>,
    /// True if events about the same object are sent one after the other.
    pub in_order: bool,
    /// The faults that are made on purpose.
    pub faults: FaultsConfig,
    /// The configured retries and timeout; otherwise those of the dialect and the retry policy apply.
    #[serde(skip)]
    pub(super) set: (Option<String>, Option<Duration>),
}

impl Subscription {
    /// Checks the settings. The target's address is checked by the guard.
    ///
    /// # Errors
    /// With the invalid setting.
    pub(super) fn new(
        name: &str,
        mut config: SubscriptionConfig,
        sources: &BTreeMap<String, SourceConfig>,
    ) -> anyhow::Result<Self> {
        ensure!(
            is_name(name),
            "{name:?} is no name: 1 to 100 letters, digits and - . _ beginning with one of the first two"
        );
        ensure!(
            !config.events.is_empty() && config.events.iter().all(|event| !event.trim().is_empty()),
            "events: name at least one; \"*\" stands for all"
        );
        ensure!((1..=1024).contains(&config.concurrency), "concurrency is between 1 and 1024");
        if let Some(rate) = config.rate_limit {
            ensure!(
                (0.001..=1e6).contains(&rate),
                "rate_limit: a number of requests per second above 0"
            );
        }
        check_faults(&config.faults)?;
        check_target(&config.target)?;
        let source = imitated(&config, sources)?;
        config.dialect = source.dialect;
        let named = config.source.as_deref().unwrap_or(name);
        let keys = PreparedKeys::new(&config, (named, &source))?;
        let places = source.field_locators(named)?;
        let sender = source.sender();
        Ok(Subscription {
            name: name.to_owned(),
            retry_policy: retry_policy(&config)?,
            globs: config.events.iter().map(|event| Glob::new(event)).collect(),
            extra: extra(&config.headers, &places, &keys.proof)?,
            own_headers: own_headers(&sender.sends, &config.headers)?,
            sends: sender.sends,
            places: Arc::new(places),
            proof: keys.proof,
            rotating: keys.rotating,
            keys: keys.fingerprints,
            config,
        })
    }

    /// True if the subscription matches the event; `event_type` is in lower case.
    pub(super) fn accepts(&self, event_type: &str, environment: Option<Environment>) -> bool {
        self.config.enabled
            && environment.is_none_or(|environment| environment == self.config.environment)
            && self.matches(event_type)
    }

    /// True if a pattern matches the event's name, whatever its environment; `event_type` is in lower case.
    pub(super) fn matches(&self, event_type: &str) -> bool {
        self.globs.iter().any(|glob| glob.matches(event_type))
    }

    /// The URL to which the event is posted.
    ///
    /// # Errors
    /// If the event's name cannot be part of a URL.
    pub(super) fn url(&self, event_type: &str) -> anyhow::Result<Url> {
        let mut url = target::address(&self.config.target, event_type)?;
        if !self.config.query.is_empty() {
            let pairs = self.config.query.iter().map(|(key, value)| (key, value.expose_secret()));
            url.query_pairs_mut().extend_pairs(pairs);
        }
        Ok(url)
    }

    /// True if a request to this URL carries a secret in plain text.
    pub(super) fn is_exposed(&self, url: &Url) -> bool {
        let (keys, config) = (&self.keys, &self.config);
        let has_keys = keys.bearer.is_some() || keys.signing.is_some();
        url.scheme() == "http"
            && (has_keys || !config.headers.is_empty() || !config.query.is_empty())
    }

    /// The event in its dialect, signed `now`: headers and body.
    pub(super) fn signed(
        &self,
        event: &PublishedEvent,
        url: &Url,
        now: Timestamp,
    ) -> anyhow::Result<HttpDraft> {
        let kind = (self.config.dialect, self.config.include_record);
        let client = self.client_id();
        let body = || body::of(event, &self.places, &self.sends, (client, kind.1));
        // Bodies of one dialect differ only where they name the account, or a source has locators of its own.
        let names_client =
            self.sends.envelope.as_ref().is_some_and(|text| text.contains("{client}"));
        let is_own =
            names_client || self.config.source.is_some() || self.config.client_id.is_some();
        let body = if is_own { body()? } else { event.body(kind, body)? };
        let (places, proof) = (Arc::clone(&self.places), Arc::clone(self.proof(now)));
        let mut message = Message::new(&event.draft.event_type, url.clone(), places, proof, body)
            .with_headers(Arc::clone(&self.own_headers))
            .with_id(&event.draft.event_id);
        for (fact, text) in self.facts(event) {
            if self.places.at(fact).first().is_some_and(is_in_head) {
                message.set_fact(fact, &text)?;
            }
        }
        message.signed()
    }

    fn facts(&self, event: &PublishedEvent) -> Vec<(Fact, String)> {
        let draft = &event.draft;
        let facts = [
            (Fact::MessageId, Some(draft.event_id.clone())),
            (Fact::ClientId, self.client_id().map(str::to_owned)),
            (Fact::User, draft.source_user.clone()),
            (Fact::EventType, Some(draft.event_type.clone())),
            (Fact::EventTime, Some(body::written(draft.happened_at))),
            (Fact::SpecVersion, Some("1.0".into())),
        ];
        facts.into_iter().filter_map(|(fact, text)| Some((fact, text?))).collect()
    }

    /// The client id of its messages: this program's name, if the dialect requires one and none is configured.
    fn client_id(&self) -> Option<&str> {
        let is_needed = self.places.required.contains(&Fact::ClientId);
        let usual = self.sends.client_id.as_deref().or(is_needed.then_some(CLIENT_ID));
        self.config.client_id.as_deref().or(usual)
    }

    fn proof(&self, now: Timestamp) -> &Arc<Proof> {
        match &self.rotating {
            Some((until, proof)) if now < *until => proof,
            _ => &self.proof,
        }
    }

    /// The additional headers of the settings.
    pub(super) fn extra(&self) -> &[(HeaderName, HeaderValue)] {
        &self.extra
    }

    /// The request timeout.
    pub(super) fn timeout(&self) -> Duration {
        self.config.timeout.unwrap_or(self.retry_policy.timeout)
    }

    /// The subscription without its secrets.
    pub(super) fn view(&self) -> SubscriptionView {
        let config = &self.config;
        SubscriptionView {
            name: self.name.clone(),
            events: config.events.clone(),
            target: config.target.clone(),
            query: config.query.keys().cloned().collect(),
            headers: config.headers.keys().cloned().collect(),
            dialect: config.dialect,
            source: config.source.clone(),
            environment: config.environment,
            description: config.description.clone(),
            client_id: config.client_id.clone(),
            scheme: config.scheme.clone(),
            keys: self.keys.clone(),
            old_signing_key_until: config.old_signing_key_until,
            include_record: config.include_record,
            enabled: config.enabled,
            retries: self.retry_policy.to_string(),
            timeout: humantime::format_duration(self.timeout()).to_string(),
            concurrency: config.concurrency,
            rate_limit: config.rate_limit,
            in_order: config.in_order,
            faults: config.faults.clone(),
            set: (config.retries.clone(), config.timeout),
        }
    }
}

/// The source whose sender the subscription imitates: a configured one, or one of the dialect.
fn imitated(
    config: &SubscriptionConfig,
    sources: &BTreeMap<String, SourceConfig>,
) -> anyhow::Result<SourceConfig> {
    let Some(name) = &config.source else {
        if let Some(scheme) = &config.scheme {
            let style = SigningMethod::named(scheme);
            style.with_context(|| format!("scheme: {scheme:?} is not known"))?;
        }
        let scheme = config.scheme.clone();
        return Ok(SourceConfig { scheme, ..SourceConfig::of(config.dialect) });
    };
    ensure!(config.scheme.is_none(), "scheme: it is that of [sources.{name}]; remove it");
    let source = sources.get(name).cloned();
    source
        .with_context(|| format!("source: there is no [sources.{name}] in the settings of the bus"))
}

/// The prepared keys of a subscription.
struct PreparedKeys {
    proof: Arc<Proof>,
    rotating: Option<(Timestamp, Arc<Proof>)>,
    fingerprints: KeyFingerprints,
}

impl PreparedKeys {
    fn new(
        config: &SubscriptionConfig,
        (named, source): (&str, &SourceConfig),
    ) -> anyhow::Result<Self> {
        let (bearer, signing) = (config.bearer()?, config.signing()?);
        let style = match &signing {
            Some(_) => SigningMethod::of_sender(named, source)?,
            None => None,
        };
        let style = match (style, &signing) {
            (Some(style), Some(_)) => Some(style),
            (None, Some(_)) => bail!(
                "signing_key: {} does not say how to sign; write a scheme beside it",
                config.dialect
            ),
            (_, None) if config.scheme.is_some() => bail!("scheme: it needs a signing_key"),
            (_, None) => None,
        };
        let proof = |keys: &[SecretString]| {
            let signing = style.clone().map(|style| (style, keys));
            let proof = Proof::new(bearer.as_ref(), signing, None)?;
            let place = source.key_places(named)?.into_iter().next().unwrap_or(KeyPlace::Bearer);
            let proof = proof.with_key_at(place).with_public_url(source.public_url.clone());
            anyhow::Ok(Arc::new(proof))
        };
        let print =
            |key: &Option<SecretString>| key.as_ref().map(|key| Fingerprint::of(key).to_string());
        let old = config.old_signing()?;
        let rotating = match (&old, config.old_signing_key_until, &signing) {
            (None, None, _) => None,
            (Some(old), Some(until), Some(new)) => {
                Some((until, proof(&[new.clone(), old.clone()])?))
            }
            _ => bail!(
                "old_signing_key: it needs a signing_key and old_signing_key_until, the time at which it expires"
            ),
        };
        Ok(PreparedKeys {
            proof: proof(signing.as_slice())?,
            rotating,
            fingerprints: KeyFingerprints {
                bearer: print(&bearer),
                signing: print(&signing),
                old_signing: print(&old),
            },
        })
    }
}

fn retry_policy(config: &SubscriptionConfig) -> anyhow::Result<RetryPolicy> {
    let parsed = match config.retries.as_deref() {
        Some(name) => name.parse(),
        // Of some senders the policy is known.
        None => config.dialect.as_str().parse().or_else(|_| "standard-webhooks".parse()),
    };
    parsed.map_err(|error| anyhow::anyhow!("retries: {error}"))
}

/// Checks the additional headers: those that prove or describe a message are the bus's own.
fn extra(
    headers: &BTreeMap<String, SecretString>,
    places: &FieldLocators,
    proof: &Proof,
) -> anyhow::Result<Vec<(HeaderName, HeaderValue)>> {
    let mut spellings = HashMap::new();
    let header = |(name, value): (&String, &SecretString)| {
        let known = HeaderName::from_bytes(name.as_bytes())
            .ok()
            .with_context(|| format!("headers: {name:?} is no header's name"))?;
        ensure!(
            !RESERVED.contains(&known.as_str()),
            "headers: {name} is set by the bus itself; a bearer key goes into bearer_token"
        );
        if let Some(other) = spellings.insert(known.clone(), name.clone()) {
            bail!("headers: {other} and {name} are two spellings of one name; take one away");
        }
        ensure!(
            !proof.headers().any(|own| own.eq_ignore_ascii_case(name)),
            "headers: {name} is set by the bus itself, which signs each message"
        );
        ensure!(
            !places.headers().any(|own| own == known),
            "headers: {name} is set by the bus itself: it says what the message is, such as its id or its event; client_id sets the account"
        );
        let mut value = HeaderValue::from_str(value.expose_secret())
            .ok()
            .with_context(|| format!("headers: {name} cannot carry its value"))?;
        value.set_sensitive(true);
        Ok((known, value))
    };
    headers.iter().map(header).collect()
}

/// The headers of the dialect's senders that say nothing about the event, without those that the settings replace.
fn own_headers(
    sends: &Sends,
    given: &BTreeMap<String, SecretString>,
) -> anyhow::Result<Arc<[NamedHeader]>> {
    let is_given = |name: &str| given.keys().any(|own| own.eq_ignore_ascii_case(name));
    let own = sends.headers.iter().filter(|(name, _)| !is_given(name));
    own.map(|(name, value)| Ok((name.clone().into(), HeaderValue::from_str(value)?))).collect()
}

/// True if a fact's first place is not in the body, or only in parts.
fn is_in_head(locator: &FieldLocator) -> bool {
    !matches!(locator, FieldLocator::Body(_))
}

fn check_target(target: &str) -> anyhow::Result<()> {
    let url = target::address(target, "Event").context("target")?;
    ensure!(
        url.fragment().is_none(),
        "target: take away # and what follows; no request carries it"
    );
    ensure!(
        url.query().is_none(),
        "target: write its query parameters into query, where they are kept secret"
    );
    Ok(())
}

fn check_faults(faults: &FaultsConfig) -> anyhow::Result<()> {
    for (name, share) in [
        ("duplicate", faults.duplicate),
        ("reorder", faults.reorder),
        ("drop", faults.drop),
        ("truncate", faults.truncate),
        ("tamper", faults.tamper),
    ] {
        ensure!((0.0..=1.0).contains(&share), "faults: {name} is a share, from 0 to 1");
    }
    ensure!(faults.burst <= 256, "faults: burst is at most 256");
    ensure!(faults.delay <= Duration::from_secs(3600), "faults: delay is at most an hour");
    Ok(())
}

/// True if the name can be part of a path and of a log line.
fn is_name(name: &str) -> bool {
    name.len() <= 100
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
}
