//! Signing: the headers that a sender of the scheme sends.

use chrono::SecondsFormat;
use http::header::HeaderValue;

use super::{Key, KeyError, Scheme, SignedParts, TimestampLocator, Unit};
use crate::Timestamp;

/// The signed facts besides the body.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'s> {
    /// The message id.
    pub id: &'s str,
    /// The time of signing.
    pub time: Timestamp,
}

/// A message cannot be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// No key was given.
    #[error("there is no key to sign with")]
    NoKey,
    /// The key cannot sign.
    #[error("the key cannot sign: {0}")]
    Key(#[from] KeyError),
    /// The value cannot be a header's, such as an id with a line break.
    #[error("the {0} header cannot carry its value")]
    Header(String),
    /// The id contains the text that ends it in the signed bytes, so that a receiver cannot find its end.
    #[error("the id must not have the text in it that follows it in what is signed")]
    Id,
    /// A message signature cannot cover a required part.
    #[error("the message signature {0}")]
    Message(String),
}

impl Scheme {
    /// The headers that prove `body`, in the scheme's first spelling. Several keys sign side by side if the scheme
    /// allows a list.
    ///
    /// # Errors
    /// [`SignError`] if there is no key, or one that cannot sign.
    pub fn sign(
        &self,
        keys: &[&Key],
        stamp: Stamp<'_>,
        body: &[u8],
    ) -> Result<Vec<(String, HeaderValue)>, SignError> {
        let names = &self.headers[0];
        let timestamp = self.unit.written(stamp.time);
        let parts = SignedParts { id: stamp.id.as_bytes(), timestamp: timestamp.as_bytes(), body };
        if self.is_ambiguous(parts.id) {
            return Err(SignError::Id);
        }
        let mut entries = Vec::new();
        let mut headers = Vec::new();
        match &names.timestamp {
            Some(TimestampLocator::Header(name)) => headers.push((name, timestamp.clone())),
            Some(TimestampLocator::Entry(label)) => entries.push(format!("{label}{timestamp}")),
            None => {}
        }
        headers.extend(names.id.iter().map(|name| (name, stamp.id.to_owned())));
        let together = if self.separator.is_some() { keys.len() } else { 1 };
        for key in keys.iter().take(together) {
            let label = &self.kinds[key.kind].label;
            entries.push(format!("{label}{}", self.encoding.encode(&key.sign(self, &parts)?)));
        }
        if keys.is_empty() {
            return Err(SignError::NoKey);
        }
        let separator = self.separator.map(String::from).unwrap_or_default();
        headers.push((&names.signature, entries.join(&separator)));
        let value = |(name, text): (&String, String)| match HeaderValue::from_str(&text) {
            Ok(value) => Ok((name.clone(), value)),
            Err(_) => Err(SignError::Header(name.clone())),
        };
        headers.into_iter().map(value).collect()
    }
}

impl Unit {
    /// Formats the time in this unit.
    pub fn written(self, time: Timestamp) -> String {
        match self {
            Unit::Seconds => time.timestamp().to_string(),
            Unit::Milliseconds => time.timestamp_millis().to_string(),
            Unit::Rfc3339 => time.to_rfc3339_opts(SecondsFormat::Millis, true),
        }
    }
}
