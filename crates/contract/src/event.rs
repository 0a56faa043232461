//! The handler's view of an event: the [`Event`] model, the [`Delivery`] and the [`Outcome`].

mod bounds;
mod cloudevents;
mod code;
mod decode;
mod id;
mod json;
mod money;
mod net_date_time;
mod open;
mod repair;
pub mod scalar;

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use bytes::Bytes;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::time::Timestamp;

pub use bounds::{MAX_OBJECTS, check_objects, weight};
pub use code::{Code, Codes};
pub use decode::fields;
pub use decode::{DecodeError, needs_object};
pub use decode::{decode, without_value};
pub use id::Id;
pub use json::Json;
pub use money::{Money, Quantity};
pub use net_date_time::NetDateTime;
pub use open::Open;
pub use repair::{escape_unpaired_surrogates, without_bom};

/// The number under which the inbox keeps a delivery; grows in the order of acceptance.
pub type DeliveryId = i64;

/// A typed payload model: all facts about one event, declared once.
///
/// Routes, dispatch, OpenAPI, the emitter's sample and the tests all read it from the
/// [`Catalog`](crate::catalog::Catalog).
pub trait Event: DeserializeOwned + utoipa::ToSchema + Send + 'static {
    /// The sender's own name for the event, e.g. `OrderEvent`. Matched without regard to case.
    const TYPE: &'static str;

    /// The dialect that the event belongs to.
    const DIALECT: Dialect = Dialect::DirectScale;

    /// The version of the model. A breaking change adds a new type with the next number and leaves this one alone.
    const VERSION: u16 = 1;

    /// Other names under which the sender announces the same event (numbers, former names).
    const ALIASES: &'static [&'static str] = &[];

    /// The top-level field that names the entity the event is about, if its deliveries must be handled in order.
    ///
    /// Deliveries with the same field and value are handled one at a time, in order of acceptance, whatever their type.
    const ENTITY: Option<&'static str> = None;

    /// A sample body as JSON text: the sender's documented one where there is one.
    fn example() -> &'static str;
}

/// The format of a sender's deliveries on the wire, and the vocabulary of event names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dialect {
    /// DirectScale: bearer key, `X-Directscale-*` headers, `EventType` in the body.
    DirectScale,
    /// EvolutionX: all facts in the body, `event_type` with a dot in it.
    EvolutionX,
    /// Standard Webhooks and Svix: `webhook-id`, and `type` and `timestamp` in the body.
    StandardWebhooks,
    /// GitHub: `X-GitHub-Event` and `X-GitHub-Delivery`.
    GitHub,
    /// Stripe: `id`, `type` and `created` in the body.
    Stripe,
    /// Shopify: `X-Shopify-*` headers.
    Shopify,
    /// Slack's Events API: an envelope with the event inside.
    Slack,
    /// CloudEvents over HTTP: `ce-*` headers, or the same attributes in the body.
    CloudEvents,
    /// Any other sender, with its field locators in the configuration.
    Generic,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: [Dialect; 9] = [
        Dialect::DirectScale,
        Dialect::EvolutionX,
        Dialect::StandardWebhooks,
        Dialect::GitHub,
        Dialect::Stripe,
        Dialect::Shopify,
        Dialect::Slack,
        Dialect::CloudEvents,
        Dialect::Generic,
    ];

    const NAMES: [&'static str; Self::ALL.len()] = {
        let mut names = [""; Self::ALL.len()];
        let mut index = 0;
        while index < names.len() {
            names[index] = Self::ALL[index].as_str();
            index += 1;
        }
        names
    };

    /// The name in configuration, logs and the inbox.
    pub const fn as_str(self) -> &'static str {
        match self {
            Dialect::DirectScale => "directscale",
            Dialect::EvolutionX => "evolutionx",
            Dialect::StandardWebhooks => "standard-webhooks",
            Dialect::GitHub => "github",
            Dialect::Stripe => "stripe",
            Dialect::Shopify => "shopify",
            Dialect::Slack => "slack",
            Dialect::CloudEvents => "cloudevents",
            Dialect::Generic => "generic",
        }
    }

    /// The name of the dialect's signature scheme, if it signs.
    pub const fn scheme(self) -> Option<&'static str> {
        match self {
            Dialect::DirectScale | Dialect::CloudEvents | Dialect::Generic => None,
            signing => Some(signing.as_str()),
        }
    }

    /// The dialect called `name`, as [`as_str`](Self::as_str) writes it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dialect| dialect.as_str() == name)
    }
}

impl Serialize for Dialect {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Dialect {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Dialect::from_name(&name).ok_or_else(|| D::Error::unknown_variant(&name, &Self::NAMES))
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The sender's environment: production or test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Real customers and real money.
    #[default]
    Live,
    /// The sender's test system.
    Stage,
}

impl Environment {
    /// The name in configuration, logs and the inbox.
    pub const fn as_str(self) -> &'static str {
        match self {
            Environment::Live => "live",
            Environment::Stage => "stage",
        }
    }

    /// The environment called `name`, as [`as_str`](Self::as_str) writes it.
    pub fn from_name(name: &str) -> Option<Self> {
        [Environment::Live, Environment::Stage].into_iter().find(|e| e.as_str() == name)
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The metadata of a delivery: everything besides its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// The inbox's id of the delivery.
    pub id: DeliveryId,
    /// The configured source it came from.
    pub source: String,
    /// The source's dialect.
    pub dialect: Dialect,
    /// The source's environment.
    pub environment: Environment,
    /// The event's name: the catalog's, or the sender's own if it is not in the catalog.
    pub event_type: String,
    /// The version of the model.
    pub version: u16,
    /// The sender's id for the message, the same on every resend.
    pub message_id: String,
    /// True if the sender gave no id, so that `message_id` is a digest of all that names the event.
    pub message_id_derived: bool,
    /// The sender's id for the client account.
    pub client_id: Option<String>,
    /// The user who caused the event, if the sender names one.
    pub user: Option<String>,
    /// The time of the event according to the sender.
    pub event_time: Option<Timestamp>,
    /// The time of acceptance.
    pub received_at: Timestamp,
    /// The number of this attempt, counted from 1 over the whole life of the delivery.
    pub attempt: u32,
    /// The number of replays that persons have requested; 0 for the first run.
    pub replay: u32,
}

impl Meta {
    /// True if a person has replayed the delivery after it had ended.
    pub fn is_replay(&self) -> bool {
        self.replay > 0
    }

    /// The metadata of a test's delivery.
    pub fn sample(dialect: Dialect, event_type: &str, version: u16) -> Self {
        Meta {
            id: 1,
            source: "sample".into(),
            dialect,
            environment: Environment::Stage,
            event_type: event_type.into(),
            version,
            message_id: "sample".into(),
            message_id_derived: false,
            client_id: None,
            user: None,
            event_time: None,
            received_at: Timestamp::UNIX_EPOCH,
            attempt: 1,
            replay: 0,
        }
    }
}

/// A delivery on its way to a handler. Dereferences to its payload.
///
/// Without a type parameter it is verified but not yet decoded.
#[derive(Debug, Clone)]
pub struct Delivery<T = ()> {
    /// Ids, times and origin.
    pub meta: Meta,
    /// The typed body.
    pub payload: T,
    /// Top-level fields unknown to the model; [`raw`](Self::raw) has them digit for digit.
    pub unknown: Map<String, Value>,
    raw: Bytes,
}

/// The part of a body that is the event's payload: all of it, except for a CloudEvent in structured mode.
///
/// # Errors
/// [`DecodeError`] if there is such a part and its encoding is broken.
pub fn payload(dialect: Dialect, body: &[u8]) -> Result<Cow<'_, [u8]>, DecodeError> {
    let whole = Cow::Borrowed(without_bom(body));
    Ok(cloudevents::data(dialect, body)?.map_or(whole, |data| data.bytes))
}

impl Delivery {
    /// A verified delivery, not yet decoded. For engines of the inbox, which are given verified ones; it reaches a handler, but
    /// no inbox: only what is verified can be put into one.
    #[doc(hidden)]
    pub fn new(meta: Meta, raw: Bytes) -> Self {
        Delivery { meta, payload: (), unknown: Map::new(), raw }
    }

    /// Decodes the body as a model.
    ///
    /// # Errors
    /// [`DecodeError`] with the JSON path of the first field that does not fit, or if there are too many objects.
    pub fn decode<T: Event>(self) -> Result<Delivery<T>, DecodeError> {
        if needs_object::<T>() {
            check_objects(&self.raw)?;
        }
        let (payload, unknown) = match cloudevents::data(self.meta.dialect, &self.raw)? {
            None => decode(&self.raw)?,
            Some(data) => decode(&data.bytes).map_err(|error| error.within(data.name))?,
        };
        Ok(Delivery { meta: self.meta, payload, unknown, raw: self.raw })
    }
}

impl<T: Event> Delivery<T> {
    /// The event's own example as a delivery, for a handler's unit test. It cannot be put into an inbox.
    ///
    /// # Errors
    /// [`DecodeError`] if the example does not fit the model.
    pub fn example() -> Result<Self, DecodeError> {
        Self::sample(T::example())
    }

    /// A delivery of the given JSON text, for a handler's unit test. It cannot be put into an inbox.
    ///
    /// # Errors
    /// [`DecodeError`] if the text does not fit the model.
    pub fn sample(json: &str) -> Result<Self, DecodeError> {
        let meta = Meta::sample(T::DIALECT, T::TYPE, T::VERSION);
        Delivery::new(meta, Bytes::copy_from_slice(json.as_bytes())).decode()
    }
}

impl<T> Delivery<T> {
    /// The body, byte for byte as it was received and verified.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }
}

impl<T> Deref for Delivery<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.payload
    }
}

/// The result of a handler: success or a failure.
pub type Outcome = Result<(), Failure>;

/// The failure of a handler, retryable or not.
///
/// Any error converts into [`Failure::Retry`] through `?`. It is deliberately not an error type itself.
#[derive(Debug)]
pub enum Failure {
    /// A retryable failure: the next attempt follows the schedule, or `after`.
    Retry {
        /// The reason, for the log and the console.
        reason: String,
        /// Overrides the schedule's next delay.
        after: Option<Duration>,
    },
    /// A permanent failure: the delivery is dead at once.
    Reject {
        /// The reason, for the log and the console.
        reason: String,
    },
}

impl Failure {
    /// A failure to retry on the schedule.
    pub fn retry(reason: impl Into<String>) -> Self {
        Failure::Retry { reason: reason.into(), after: None }
    }

    /// A failure to retry after the given time.
    pub fn retry_after(after: Duration, reason: impl Into<String>) -> Self {
        Failure::Retry { reason: reason.into(), after: Some(after) }
    }

    /// A failure without retry.
    pub fn reject(reason: impl Into<String>) -> Self {
        Failure::Reject { reason: reason.into() }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::retry(format!("{:#}", error.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialect_has_one_name_everywhere() {
        for dialect in Dialect::ALL {
            assert_eq!(Dialect::from_name(dialect.as_str()), Some(dialect));
            let json = serde_json::to_string(&dialect).unwrap();
            assert_eq!(json, format!("\"{dialect}\""));
            assert_eq!(serde_json::from_str::<Dialect>(&json).unwrap(), dialect);
        }
        assert_eq!(Dialect::from_name("DirectScale"), None);
    }
}
