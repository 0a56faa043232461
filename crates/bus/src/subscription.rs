//! A subscription, ready to be sent to: its settings understood, its keys prepared.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use contract::event::{Dialect, Environment};
use contract::time::Timestamp;
use emitter::message::Message;
use emitter::proof::{Named, Proof};
use emitter::speaker::Style;
use emitter::target;
use http::{HeaderName, HeaderValue};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use settings::{FaultsConfig, SubscriptionConfig};
use signature::Fingerprint;
use source::{Fact, FieldLocators};
use utoipa::ToSchema;

use super::body;
use super::glob::Glob;
use super::persona::Persona;
use super::publication::Event;

/// The account of a subscription whose dialect needs one and whose settings name none.
const CLIENT_ID: &str = "webhook-receiver";

/// Headers that a request has of its own, or that concern its connection and how its body is carried.
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

/// Who is to be told of which events, and how.
pub(super) struct Subscription {
    /// Its name.
    pub name: String,
    /// When it is tried again.
    pub persona: Persona,
    pub(super) config: SubscriptionConfig,
    globs: Vec<Glob>,
    places: Arc<FieldLocators>,
    proof: Arc<Proof>,
    /// What proves messages while the target changes to another key, and until when.
    rotating: Option<(Timestamp, Arc<Proof>)>,
    extra: Vec<(HeaderName, HeaderValue)>,
    /// What is shown in the place of keys.
    keys: Keys,
}

/// The fingerprints of a subscription's keys.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct Keys {
    /// Of the bearer key.
    pub bearer: Option<String>,
    /// Of the key to sign with.
    pub signing: Option<String>,
    /// Of the one before it.
    pub old_signing: Option<String>,
}

/// A subscription as it may be shown.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Shown {
    /// Its name.
    pub name: String,
    /// The events, `*` standing for any text.
    pub events: Vec<String>,
    /// The URL, without its query parameters.
    pub target: String,
    /// The names of the query parameters.
    pub query: Vec<String>,
    /// The names of the additional headers.
    pub headers: Vec<String>,
    /// How its deliveries look on the wire.
    #[schema(value_type = String)]
    pub dialect: Dialect,
    /// Which events it gets, if an event says of which world it is.
    #[schema(value_type = String)]
    pub environment: Environment,
    /// A text for people.
    pub description: String,
    /// The account that deliveries name.
    pub client_id: Option<String>,
    /// By which scheme it is signed, if by another than the dialect's.
    pub scheme: Option<String>,
    /// The fingerprints of its keys.
    pub keys: Keys,
    /// Until when the old key signs too.
    #[schema(value_type = Option<String>)]
    pub old_signing_key_until: Option<Timestamp>,
    /// Whether the object record is part of the body.
    pub include_record: bool,
    /// Whether it gets anything.
    pub enabled: bool,
    /// When it is tried again.
    pub retries: String,
    /// How long an answer may take.
    pub timeout: String,
    /// Requests on their way at once.
    pub concurrency: usize,
    /// Requests per second.
    pub rate_limit: Option<f64>,
    /// Whether events about the same object go one after the other.
    pub in_order: bool,
    /// What goes wrong on purpose.
    pub faults: FaultsConfig,
    /// What was set of the retries and the timeout; the rest is the dialect's and the persona's.
    #[serde(skip)]
    pub(super) set: (Option<String>, Option<Duration>),
}

impl Subscription {
    /// Understands the settings. Whether the target may be sent to is the guard's matter.
    ///
    /// # Errors
    /// With the setting that cannot be used.
    pub(super) fn new(name: &str, config: SubscriptionConfig) -> anyhow::Result<Self> {
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
        let keys = Prepared::new(&config)?;
        let places = FieldLocators::of(config.dialect);
        Ok(Subscription {
            name: name.to_owned(),
            persona: persona(&config)?,
            globs: config.events.iter().map(|event| Glob::new(event)).collect(),
            extra: extra(&config.headers, &places, &keys.proof)?,
            places: Arc::new(places),
            proof: keys.proof,
            rotating: keys.rotating,
            keys: keys.shown,
            config,
        })
    }

    /// Whether it asks for the event; the name is in lower case.
    pub(super) fn takes(&self, event_type: &str, environment: Option<Environment>) -> bool {
        self.config.enabled
            && environment.is_none_or(|environment| environment == self.config.environment)
            && self.globs.iter().any(|glob| glob.matches(event_type))
    }

    /// Where the event is posted to.
    ///
    /// # Errors
    /// If the event's name makes no URL of it.
    pub(super) fn url(&self, event_type: &str) -> anyhow::Result<Url> {
        let mut url = target::address(&self.config.target, event_type)?;
        if !self.config.query.is_empty() {
            let pairs = self.config.query.iter().map(|(key, value)| (key, value.expose_secret()));
            url.query_pairs_mut().extend_pairs(pairs);
        }
        Ok(url)
    }

    /// Whether something secret goes to this URL, and goes in plain text.
    pub(super) fn is_exposed(&self, url: &Url) -> bool {
        let (keys, config) = (&self.keys, &self.config);
        let has_keys = keys.bearer.is_some() || keys.signing.is_some();
        url.scheme() == "http"
            && (has_keys || !config.headers.is_empty() || !config.query.is_empty())
    }

    /// The event as its dialect has it, signed `now`: headers and body.
    pub(super) fn signed(
        &self,
        event: &Event,
        url: &Url,
        now: Timestamp,
    ) -> anyhow::Result<(Vec<Named>, Bytes)> {
        let kind = (self.config.dialect, self.config.include_record);
        let body = event.body(kind, || body::of(event, &self.places, kind))?;
        let (places, proof) = (Arc::clone(&self.places), Arc::clone(self.proof(now)));
        let mut message = Message::new(&event.is.event_type, url.clone(), places, proof, body)
            .under(&event.is.event_id);
        for (fact, text) in self.said(event) {
            if self.places.header(fact).is_some() {
                message.say(fact, &text)?;
            }
        }
        message.signed()
    }

    fn said(&self, event: &Event) -> Vec<(Fact, String)> {
        let is = &event.is;
        let said = [
            (Fact::MessageId, Some(is.event_id.clone())),
            (Fact::ClientId, self.client_id().map(str::to_owned)),
            (Fact::User, is.source_user.clone()),
            (Fact::EventType, Some(is.event_type.clone())),
            (Fact::EventTime, Some(body::written(is.happened_at))),
            (Fact::SpecVersion, Some("1.0".into())),
        ];
        said.into_iter().filter_map(|(fact, text)| Some((fact, text?))).collect()
    }

    /// The account that messages name: this program, where the dialect asks for one and there is no other.
    fn client_id(&self) -> Option<&str> {
        let is_needed = self.places.required.contains(&Fact::ClientId);
        self.config.client_id.as_deref().or(is_needed.then_some(CLIENT_ID))
    }

    fn proof(&self, now: Timestamp) -> &Arc<Proof> {
        match &self.rotating {
            Some((until, proof)) if now < *until => proof,
            _ => &self.proof,
        }
    }

    /// The headers that its owner adds.
    pub(super) fn extra(&self) -> &[(HeaderName, HeaderValue)] {
        &self.extra
    }

    /// How long an answer may take.
    pub(super) fn timeout(&self) -> Duration {
        self.config.timeout.unwrap_or(self.persona.timeout)
    }

    /// The subscription without its secrets.
    pub(super) fn shown(&self) -> Shown {
        let config = &self.config;
        Shown {
            name: self.name.clone(),
            events: config.events.clone(),
            target: config.target.clone(),
            query: config.query.keys().cloned().collect(),
            headers: config.headers.keys().cloned().collect(),
            dialect: config.dialect,
            environment: config.environment,
            description: config.description.clone(),
            client_id: config.client_id.clone(),
            scheme: config.scheme.clone(),
            keys: self.keys.clone(),
            old_signing_key_until: config.old_signing_key_until,
            include_record: config.include_record,
            enabled: config.enabled,
            retries: self.persona.to_string(),
            timeout: humantime::format_duration(self.timeout()).to_string(),
            concurrency: config.concurrency,
            rate_limit: config.rate_limit,
            in_order: config.in_order,
            faults: config.faults.clone(),
            set: (config.retries.clone(), config.timeout),
        }
    }
}

/// A subscription's keys, ready to be used.
struct Prepared {
    proof: Arc<Proof>,
    rotating: Option<(Timestamp, Arc<Proof>)>,
    shown: Keys,
}

impl Prepared {
    fn new(config: &SubscriptionConfig) -> anyhow::Result<Self> {
        let (bearer, signing) = (config.bearer()?, config.signing()?);
        let style = match &config.scheme {
            Some(name) => {
                let style = Style::named(name);
                Some(style.with_context(|| format!("scheme: {name:?} is not known"))?)
            }
            None => Style::of(config.dialect),
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
            Proof::new(bearer.as_ref(), signing, None).map(Arc::new)
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
        Ok(Prepared {
            proof: proof(signing.as_slice())?,
            rotating,
            shown: Keys {
                bearer: print(&bearer),
                signing: print(&signing),
                old_signing: print(&old),
            },
        })
    }
}

fn persona(config: &SubscriptionConfig) -> anyhow::Result<Persona> {
    let usual = match config.dialect {
        Dialect::DirectScale => "directscale",
        Dialect::GitHub => "github",
        Dialect::Stripe => "stripe",
        Dialect::Shopify => "shopify",
        _ => "standard-webhooks",
    };
    let name = config.retries.as_deref().unwrap_or(usual);
    name.parse().map_err(|error| anyhow::anyhow!("retries: {error}"))
}

/// Headers besides those that prove a message or say what it is: these are the bus's own.
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
            !places.headers().any(|own| *own == known),
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

/// Whether it can stand in a path and in a log.
fn is_name(name: &str) -> bool {
    name.len() <= 100
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
}
