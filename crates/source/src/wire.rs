//! The language in which a sender is described: in its row of the table of senders, and in the settings of a source.

use std::collections::BTreeMap;
use std::time::Duration;

use contract::event::Dialect;
use contract::time::Timestamp;
use serde::{Deserialize, Deserializer};
use signature::CustomScheme;

/// Field locators: `header:` and a name, `query:` and a name, a JSON pointer into the body, or a template of these;
/// several are tried in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlacesConfig {
    /// The sender's id for the message. The last may be `digest`, the default, for everything that names the event, or
    /// `none`, by which no delivery is a duplicate.
    #[serde(deserialize_with = "one_or_many")]
    pub message_id: Vec<String>,
    /// The event's name.
    #[serde(deserialize_with = "one_or_many")]
    pub event_type: Vec<String>,
    /// The time of the event.
    #[serde(deserialize_with = "one_or_many")]
    pub event_time: Vec<String>,
    /// The user who caused the event.
    #[serde(deserialize_with = "one_or_many")]
    pub user: Vec<String>,
    /// The account that the message is about.
    #[serde(deserialize_with = "one_or_many")]
    pub client_id: Vec<String>,
    /// The version of the format; only CloudEvents has one.
    #[serde(deserialize_with = "one_or_many")]
    pub spec_version: Vec<String>,
}

/// The response to an accepted delivery.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnswerConfig {
    /// The status: 200 unless the sender needs another.
    pub status: Option<u16>,
    /// The body, if the sender needs another than the receipt.
    pub body: Option<String>,
}

/// A request of a sender before it delivers, and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HandshakeConfig {
    /// The method of the request.
    pub method: String,
    /// The places by which it is known, and their values; `*` stands for any.
    pub when: BTreeMap<String, String>,
    /// The place that must have one of the source's handshake tokens.
    pub token: Option<String>,
    /// True if the request must be authenticated as a delivery is; absent for true of POST and false of others.
    pub proved: Option<bool>,
    /// The status of the answer.
    pub status: u16,
    /// The content type of the answer; absent for JSON if it looks like an object, else for plain text.
    pub content_type: Option<String>,
    /// The body of the answer, a template.
    pub answer: String,
    /// The place of a URL that is fetched before the answer.
    pub fetch: Option<String>,
    /// The hosts of that URL.
    pub hosts: Vec<String>,
}

impl Default for HandshakeConfig {
    fn default() -> Self {
        HandshakeConfig {
            method: "POST".into(),
            when: BTreeMap::new(),
            token: None,
            proved: None,
            status: 200,
            content_type: None,
            answer: String::new(),
            fetch: None,
            hosts: Vec::new(),
        }
    }
}

/// A certificate whose key has signed, under a URL in the request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateConfig {
    /// The place of the URL.
    pub place: String,
    /// The hosts from which certificates are fetched; `*` stands for one label.
    pub hosts: Vec<String>,
}

/// A JSON Web Token that proves the sender.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JwtConfig {
    /// The place of the token; absent for `Authorization: Bearer`.
    pub place: Option<String>,
    /// The accepted algorithms, as in JSON Web Signatures.
    #[serde(deserialize_with = "one_or_many")]
    pub algorithms: Vec<String>,
    /// The URL of the sender's key set; absent if the keys are among the signing keys.
    pub keys_url: Option<String>,
    /// The accepted issuers (`iss`); empty for any.
    #[serde(deserialize_with = "one_or_many")]
    pub issuer: Vec<String>,
    /// The accepted audiences (`aud`); empty for any.
    #[serde(deserialize_with = "one_or_many")]
    pub audience: Vec<String>,
    /// Other claims that must have these values.
    pub claims: BTreeMap<String, String>,
    /// The claim with the SHA-256 of the body in hexadecimal digits, if the sender signs the body so.
    pub body_sha256: Option<String>,
    /// The largest age (`iat`); absent if only the expiry counts.
    #[serde(deserialize_with = "some_duration")]
    pub max_age: Option<Duration>,
}

/// A format of bodies that a source accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AcceptedBody {
    /// JSON under a content type of JSON.
    Json,
    /// JSON under `text/plain`, or without a content type.
    Text,
    /// Form fields.
    Form,
    /// Anything under any other content type.
    Any,
    /// No body.
    Empty,
}

impl AcceptedBody {
    /// The description in refusals.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            AcceptedBody::Json => "application/json",
            AcceptedBody::Text => "text/plain with JSON in it",
            AcceptedBody::Form => "application/x-www-form-urlencoded",
            AcceptedBody::Any => "any other type",
            AcceptedBody::Empty => "no body",
        }
    }
}

/// A row of the table of senders.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sender {
    /// The name in sentences.
    pub title: String,
    /// The address of the sender's documentation.
    pub docs: String,
    /// The page on which a webhook is entered.
    pub page: String,
    /// The sender's name for its key, and the side that makes it.
    pub key: String,
    /// True if a URL is entered for each event.
    #[serde(default)]
    pub url_per_event: bool,
    /// The documented time that it waits for a response.
    #[serde(default, deserialize_with = "some_duration")]
    pub timeout: Option<Duration>,
    /// The reaction to a failed delivery.
    pub failure: String,
    /// The longest time after an event within which it may be sent again, if it is documented.
    #[serde(default, deserialize_with = "some_duration")]
    pub resends: Option<Duration>,
    /// A remark for the person who connects it.
    #[serde(default)]
    pub note: Option<String>,
    /// The place of its bearer key.
    #[serde(default)]
    pub token: Option<String>,
    /// The tolerance of its signed times.
    #[serde(default, deserialize_with = "some_duration")]
    pub tolerance: Option<Duration>,
    /// The formats of its bodies.
    #[serde(default = "json")]
    pub bodies: Vec<AcceptedBody>,
    /// Its field locators.
    #[serde(default)]
    pub places: PlacesConfig,
    /// The facts that every delivery of it has.
    #[serde(default)]
    pub required: Vec<String>,
    /// Its signature.
    #[serde(default)]
    pub signature: Option<CustomScheme>,
    /// The certificate of its signature.
    #[serde(default)]
    pub certificate: Option<CertificateConfig>,
    /// Its token.
    #[serde(default)]
    pub jwt: Option<JwtConfig>,
    /// Its handshakes.
    #[serde(default)]
    pub handshakes: Vec<HandshakeConfig>,
    /// The response that it needs.
    #[serde(default)]
    pub answer: AnswerConfig,
    /// The requests that it sends, for the emitter.
    #[serde(default)]
    pub sends: Sends,
}

/// The requests of a sender.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sends {
    /// The content type.
    pub content_type: String,
    /// The name of the sample event.
    pub event: String,
    /// The body of the sample event.
    pub body: String,
    /// The account of the sample event.
    pub client_id: Option<String>,
    /// Headers besides those with a fact or a proof, with sample values.
    pub headers: BTreeMap<String, String>,
    /// The body around published data, which stands for `{data}`; `{id}`, `{type}` and `{client}` are texts, and `{time}` is
    /// the time as the sender writes it.
    pub envelope: Option<String>,
    /// The member of published data that gets the event's name, if the envelope has none.
    pub inner_type: Option<String>,
    /// The form of times in bodies.
    pub time: TimeForm,
}

/// The form of a time in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeForm {
    /// A text in RFC 3339.
    #[default]
    Rfc3339,
    /// A number of seconds since 1970.
    Seconds,
    /// A number of milliseconds since 1970.
    Milliseconds,
}

impl TimeForm {
    /// The time as JSON.
    pub fn json(self, time: Timestamp) -> String {
        match self {
            TimeForm::Rfc3339 => {
                format!("\"{}\"", time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
            }
            TimeForm::Seconds => time.timestamp().to_string(),
            TimeForm::Milliseconds => time.timestamp_millis().to_string(),
        }
    }
}

impl Default for Sends {
    fn default() -> Self {
        Sends {
            content_type: "application/json".into(),
            event: "event".into(),
            body: "{}".into(),
            client_id: None,
            headers: BTreeMap::new(),
            envelope: None,
            inner_type: None,
            time: TimeForm::default(),
        }
    }
}

impl Sender {
    /// The row of a dialect.
    pub fn of(dialect: Dialect) -> Sender {
        let row = senders::row(dialect.as_str()).expect("a test finds a row for every dialect");
        toml::Value::Table(row.settings.clone()).try_into().expect("a test reads every row")
    }
}

fn json() -> Vec<AcceptedBody> {
    vec![AcceptedBody::Json]
}

/// One value or a list. The message of a mismatch does not repeat the value.
///
/// # Errors
/// If it is neither.
pub fn one_or_many<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a string or a list of strings")]
    enum OneOrMany<T> {
        One(T),
        Many(Vec<T>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}

/// A duration with its unit, such as `30s`.
///
/// # Errors
/// If it has none.
pub fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer).ok();
    text.and_then(|text| humantime::parse_duration(&text).ok()).ok_or_else(|| {
        serde::de::Error::custom(
            "not a time with its unit; write for example \"30s\", \"10m\" or \"7d\"",
        )
    })
}

/// As [`duration`], for a setting that may be absent.
///
/// # Errors
/// If it has no unit.
pub fn some_duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_dialect_has_its_row_and_every_row_its_dialect() {
        let rows: BTreeSet<_> = senders::rows().map(|row| row.name).collect();
        let dialects: BTreeSet<_> = Dialect::ALL.iter().map(|dialect| dialect.as_str()).collect();
        assert_eq!(rows, dialects);
        for &dialect in Dialect::ALL {
            let sender = Sender::of(dialect);
            assert!(!sender.title.is_empty() && !sender.page.is_empty() && !sender.key.is_empty());
            let has_docs = sender.docs.starts_with("https://");
            assert!(has_docs || dialect == Dialect::Generic, "{dialect}");
        }
    }
}
