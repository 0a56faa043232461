//! Signing: the parts of a request that prove it.

use chrono::SecondsFormat;
use http::header::{HeaderMap, HeaderValue};
use http::{Method, Uri};

use super::parts::{HttpMessage, RequestParts};
use super::{Key, KeyError, Place, Scheme, TimestampLocator, Unit};
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
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The request lacks a part that is signed.
    #[error("the request has no {0}, which is signed")]
    Missing(String),
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
    /// The headers that prove `body`, in the scheme's first spelling, for a scheme that signs nothing else of the
    /// request. Several keys sign side by side if the scheme allows a list.
    ///
    /// # Errors
    /// [`SignError`] if there is no key, or one that cannot sign.
    pub fn sign(
        &self,
        keys: &[&Key],
        stamp: Stamp<'_>,
        body: &[u8],
    ) -> Result<Vec<(String, HeaderValue)>, SignError> {
        let (uri, headers) = (Uri::default(), HeaderMap::new());
        let head =
            HttpMessage { method: &Method::POST, uri: &uri, headers: &headers, public_url: None };
        let header = |(place, text): (Place, String)| match (place, HeaderValue::from_str(&text)) {
            (Place::Header(name), Ok(value)) => Some(Ok((name, value))),
            (Place::Header(name), Err(_)) => Some(Err(SignError::Header(name))),
            _ => None,
        };
        self.sign_request(keys, stamp, head, body)?.into_iter().filter_map(header).collect()
    }

    /// The time and the id of signing, and their places, in the scheme's first spelling. What is in the body has to be
    /// there before [`sign_request`](Self::sign_request).
    pub fn stamped(&self, stamp: Stamp<'_>) -> Vec<(Place, String)> {
        let places = &self.spellings[0];
        let mut stamped = Vec::new();
        if let Some(TimestampLocator::At(place)) = &places.timestamp {
            stamped.push((place.clone(), self.unit.written(stamp.time)));
        }
        stamped.extend(places.id.iter().map(|name| (Place::Header(name.clone()), stamp.id.into())));
        stamped
    }

    /// The parts that prove a request, and their places: time and id, and the signature last.
    ///
    /// # Errors
    /// [`SignError`] if there is no key, or one that cannot sign, or the request lacks a part that is signed.
    pub fn sign_request(
        &self,
        keys: &[&Key],
        stamp: Stamp<'_>,
        head: HttpMessage<'_>,
        body: &[u8],
    ) -> Result<Vec<(Place, String)>, SignError> {
        let places = &self.spellings[0];
        let timestamp = self.unit.written(stamp.time);
        let urls = if self.signed.has_url() { head.urls() } else { Vec::new() };
        let mut proof = self.stamped(stamp);
        let digest = self.body_digest.clone().filter(|_| !self.is_form(head.headers));
        proof.extend(digest.map(|place| (place, self.digest_of(body))));
        let mut parts = RequestParts::new(head, body);
        parts.id = stamp.id.as_bytes();
        parts.timestamp = timestamp.as_bytes();
        parts.url = urls.first().map_or("", String::as_str);
        if self.is_ambiguous(parts.id) {
            return Err(SignError::Id);
        }
        if let Some(missing) = self.signed.missing(&parts) {
            return Err(SignError::Missing(missing.0));
        }
        let mut entries = Vec::new();
        if let Some(TimestampLocator::Entry(label)) = &places.timestamp {
            entries.push(format!("{label}{timestamp}"));
        }
        let together = if self.separator.is_some() { keys.len() } else { 1 };
        for key in keys.iter().take(together) {
            let label = &self.kinds[key.kind].label;
            entries.push(format!("{label}{}", self.encoding.encode(&key.sign(self, &parts)?)));
        }
        if keys.is_empty() {
            return Err(SignError::NoKey);
        }
        let separator = self.separator.map(String::from).unwrap_or_default();
        proof.push((places.signature.clone(), entries.join(&separator)));
        Ok(proof)
    }

    /// True if the body is form fields, which the template covers itself.
    pub fn is_form(&self, headers: &HeaderMap) -> bool {
        let media = text::field::MediaType::of(headers);
        media.is_some_and(|media| media.essence == text::form::FORM)
    }

    /// The digest by which the signature covers a body.
    pub fn digest_of(&self, body: &[u8]) -> String {
        use sha2::Digest as _;
        hex::encode(sha2::Sha256::digest(body))
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
