//! The handler's view of an event: the [`Event`] model, the [`Delivery`] and the [`Outcome`].

mod body_format;
mod bounds;
mod cloudevents;
mod code;
mod decode;
mod effect_key;
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
use utoipa::openapi::schema::{Object, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::extension::ExtensionError;
use crate::time::Timestamp;

pub use body_format::{BodyFormat, Content};
pub use bounds::{MAX_OBJECTS, check_objects, weight};
pub use code::{Code, Codes};
pub use decode::fields;
pub use decode::{DecodeError, needs_object};
pub use decode::{decode, without_value};
pub(crate) use effect_key::uuid_of;
pub use id::Id;
pub use json::Json;
pub use money::{Money, Quantity};
pub use net_date_time::NetDateTime;
pub use open::Open;
pub use text::json::{escape_unpaired_surrogates, without_bom};

/// The number under which the inbox keeps a delivery; grows in the order of acceptance.
pub type DeliveryId = i64;

/// A typed payload model: all facts about one event, declared once.
///
/// Routes, dispatch, OpenAPI, the emitter's sample and the tests all read it from the
/// [`Catalog`](crate::catalog::Catalog).
pub trait Event: DeserializeOwned + ToSchema + Send + 'static {
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

macro_rules! dialects {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The format of a sender's deliveries on the wire, and the vocabulary of event names. Everything else about a
        /// sender is in the table of senders, under the same name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Dialect {
            $($(#[$doc])* $variant,)*
        }

        impl Dialect {
            /// Every dialect.
            pub const ALL: &'static [Dialect] = &[$(Dialect::$variant,)*];

            const NAMES: &'static [&'static str] = &[$($name,)*];

            /// The name in configuration, logs and the inbox.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Dialect::$variant => $name,)*
                }
            }
        }
    };
}

dialects! {
    /// DirectScale: bearer key, `X-Directscale-*` headers, `EventType` in the body.
    DirectScale = "directscale",
    /// EvolutionX: all facts in the body, `event_type` with a dot in it.
    EvolutionX = "evolutionx",
    /// Standard Webhooks and Svix: `webhook-id`, and `type` and `timestamp` in the body.
    StandardWebhooks = "standard-webhooks",
    /// Senders that use Svix, in its own spelling.
    Svix = "svix",
    /// Polar.
    Polar = "polar",
    /// GitHub: `X-GitHub-Event` and `X-GitHub-Delivery`.
    GitHub = "github",
    /// GitLab.
    GitLab = "gitlab",
    /// Bitbucket Cloud.
    Bitbucket = "bitbucket",
    /// Gitea and Forgejo.
    Gitea = "gitea",
    /// Stripe: `id`, `type` and `created` in the body.
    Stripe = "stripe",
    /// PayPal.
    PayPal = "paypal",
    /// Square.
    Square = "square",
    /// Paddle Billing.
    Paddle = "paddle",
    /// Adyen's notifications of payments.
    Adyen = "adyen",
    /// Adyen's other webhooks.
    AdyenPlatform = "adyen-platform",
    /// Razorpay.
    Razorpay = "razorpay",
    /// Plaid.
    Plaid = "plaid",
    /// Shopify: `X-Shopify-*` headers.
    Shopify = "shopify",
    /// WooCommerce.
    WooCommerce = "woocommerce",
    /// Slack: its Events API, an envelope with the event inside; commands and interactions.
    Slack = "slack",
    /// Discord's webhook events.
    Discord = "discord",
    /// Discord's interactions.
    DiscordInteractions = "discord-interactions",
    /// Meta: WhatsApp, Messenger, Instagram.
    Meta = "meta",
    /// X.
    X = "x",
    /// Zoom.
    Zoom = "zoom",
    /// Twilio: form fields.
    Twilio = "twilio",
    /// SendGrid's event webhook: lists of events.
    SendGrid = "sendgrid",
    /// Mailgun.
    Mailgun = "mailgun",
    /// Intercom.
    Intercom = "intercom",
    /// HubSpot: lists of events.
    HubSpot = "hubspot",
    /// Zendesk.
    Zendesk = "zendesk",
    /// Linear.
    Linear = "linear",
    /// Sentry's integration platform.
    Sentry = "sentry",
    /// PagerDuty's generic webhooks.
    PagerDuty = "pagerduty",
    /// Grafana's alerts.
    Grafana = "grafana",
    /// Typeform.
    Typeform = "typeform",
    /// Calendly.
    Calendly = "calendly",
    /// DocuSign Connect.
    DocuSign = "docusign",
    /// Xero: lists of events.
    Xero = "xero",
    /// Dropbox.
    Dropbox = "dropbox",
    /// Microsoft Graph's change notifications: lists.
    MicrosoftGraph = "microsoft-graph",
    /// Azure Event Grid in its own schema: lists of events.
    EventGrid = "event-grid",
    /// Google Cloud Pub/Sub, pushed.
    PubSub = "pubsub",
    /// AWS SNS.
    Sns = "sns",
    /// CloudEvents over HTTP: `ce-*` headers, or the same attributes in the body.
    CloudEvents = "cloudevents",
    /// Okta's event hooks.
    Okta = "okta",
    /// Twitch EventSub.
    Twitch = "twitch",
    /// Trello.
    Trello = "trello",
    /// Paystack.
    Paystack = "paystack",
    /// Lemon Squeezy.
    LemonSqueezy = "lemon-squeezy",
    /// Coinbase Commerce.
    CoinbaseCommerce = "coinbase-commerce",
    /// Mux.
    Mux = "mux",
    /// WorkOS.
    WorkOs = "workos",
    /// Senders that use Convoy.
    Convoy = "convoy",
    /// Senders that use Convoy, with advanced signatures.
    ConvoyAdvanced = "convoy-advanced",
    /// Any other sender, with its field locators in the configuration.
    Generic = "generic",
}

impl Dialect {
    /// The dialect called `name`, as [`as_str`](Self::as_str) writes it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|dialect| dialect.as_str() == name)
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
        Dialect::from_name(&name).ok_or_else(|| D::Error::unknown_variant(&name, Self::NAMES))
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialSchema for Dialect {
    fn schema() -> RefOr<Schema> {
        Object::builder()
            .schema_type(Type::String)
            .description(Some("The format of a sender's deliveries."))
            .enum_values(Some(Self::NAMES.iter().copied()))
            .into()
    }
}

impl ToSchema for Dialect {}

/// The sender's environment: production or test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default, ToSchema)]
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
    /// The format of the body.
    pub format: BodyFormat,
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
            format: BodyFormat::default(),
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

/// The part of a body that is the event's payload, as JSON: all of it, except for a CloudEvent in structured mode; of form
/// fields, an object with them. Of a body in another format, all its bytes.
///
/// # Errors
/// [`DecodeError`] if its encoding is broken.
pub fn payload(
    dialect: Dialect,
    format: BodyFormat,
    body: &[u8],
) -> Result<Cow<'_, [u8]>, DecodeError> {
    let document = format.document(body)?;
    let member = cloudevents::data(dialect, &document)?.map(|data| data.bytes.into_owned());
    Ok(match (member, document) {
        (Some(member), _) => member.into(),
        (None, Cow::Borrowed(whole)) => without_bom(whole).into(),
        (None, Cow::Owned(whole)) => without_bom(&whole).to_vec().into(),
    })
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
        let document = self.meta.format.document(&self.raw)?;
        if needs_object::<T>() {
            check_objects(&document)?;
        }
        let (payload, unknown) = match cloudevents::data(self.meta.dialect, &document)? {
            None => decode(&document)?,
            Some(data) => decode(&data.bytes).map_err(|error| error.within(data.name))?,
        };
        drop(document);
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
/// Any error converts into [`Failure::Retry`] through `?`, except for an [`ExtensionError`] that no retry can help. It is
/// deliberately not an error type itself.
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
        let error = error.into();
        let reason = format!("{error:#}");
        // Anywhere in the chain: a handler may have added a context to it.
        match error.chain().find_map(|cause| cause.downcast_ref::<ExtensionError>()) {
            Some(extension) => extension.failure(reason),
            None => Failure::retry(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialect_has_one_name_everywhere() {
        for &dialect in Dialect::ALL {
            assert_eq!(Dialect::from_name(dialect.as_str()), Some(dialect));
            let json = serde_json::to_string(&dialect).unwrap();
            assert_eq!(json, format!("\"{dialect}\""));
            assert_eq!(serde_json::from_str::<Dialect>(&json).unwrap(), dialect);
        }
        assert_eq!(Dialect::from_name("DirectScale"), None);
    }
}
