//! A message, and the one function that makes a request of it.

use std::borrow::Cow;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use chrono::TimeDelta;
use http::header::{HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use reqwest::{Method, Request, Url};
use source::{Fact, FieldLocator, FieldLocators, HeaderLocator, is_secret_header};
use uuid::Uuid;

use super::proof::{NamedHeader, Proof};
use super::set;

/// The ASCII characters that a percent-encoded header cannot carry unencoded.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// A message to one endpoint, ready to be sent any number of times.
#[derive(Debug, Clone)]
pub struct Message {
    pub(super) event: Arc<str>,
    /// The endpoint.
    pub url: Url,
    /// The sender's idempotency key.
    pub message_id: Arc<str>,
    /// The body.
    pub body: Bytes,
    /// The difference between the time of signing and now.
    pub offset: TimeDelta,
    places: Arc<FieldLocators>,
    proof: Arc<Proof>,
    /// The facts of the message outside its body, under the vendor's header names.
    facts: Vec<NamedHeader>,
}

impl Message {
    /// A message with no facts yet but those in its body.
    pub fn new(
        event: &str,
        url: Url,
        places: Arc<FieldLocators>,
        proof: Arc<Proof>,
        body: Bytes,
    ) -> Self {
        Message {
            event: event.into(),
            url,
            message_id: "".into(),
            body,
            offset: TimeDelta::zero(),
            places,
            proof,
            facts: Vec::new(),
        }
    }

    /// The message with this id, which is signed, but not part of its facts.
    pub fn with_id(self, id: &str) -> Self {
        Message { message_id: id.into(), ..self }
    }

    /// Sets a fact at the first location where the receiver looks for it; does nothing if the dialect has no location
    /// for it.
    ///
    /// # Errors
    /// If the location cannot carry the text; the message is then unchanged.
    pub fn set_fact(&mut self, fact: Fact, text: &str) -> anyhow::Result<()> {
        ensure!(!text.trim().is_empty(), "{} would be empty", self.locator(fact));
        match self.places.at(fact).first() {
            None => {}
            Some(FieldLocator::Header(header)) => {
                let new = (header.spelling.clone(), header_value(header, text)?);
                match self.facts.iter_mut().find(|(name, _)| *name == new.0) {
                    Some(old) => *old = new,
                    None => self.facts.push(new),
                }
            }
            Some(place @ FieldLocator::Body(path)) => {
                let keys: Vec<&str> = path.keys().collect();
                self.body =
                    put(&self.body, &keys, text).with_context(|| format!("cannot set {place}"))?;
            }
        }
        if fact == Fact::MessageId {
            self.message_id = text.into();
        }
        Ok(())
    }

    /// True if the dialect has the fact in the body.
    pub fn has_in_body(&self, fact: Fact) -> bool {
        matches!(self.places.at(fact).first(), Some(FieldLocator::Body(_)))
    }

    fn locator(&self, fact: Fact) -> String {
        self.places.at(fact).first().map_or_else(|| "what is given".to_owned(), ToString::to_string)
    }

    /// The request that the vendor would make now, or its forgery.
    pub fn request(&self) -> anyhow::Result<Request> {
        let (headers, body) = self.signed()?;
        request(self.url.clone(), headers, body)
    }

    /// The headers as the vendor spells them, signed now, and the body.
    pub fn signed(&self) -> anyhow::Result<(Vec<NamedHeader>, Bytes)> {
        let content_type = HeaderValue::from_static(self.places.content_type);
        let mut headers: Vec<NamedHeader> = vec![("Content-Type".into(), content_type)];
        headers.extend(self.facts.iter().cloned());
        let time = contract::time::now() + self.offset;
        let (proof, body) =
            self.proof.headers_for(&self.message_id, &self.url, &headers, time, &self.body)?;
        // A signed header, such as the message id's, is in both lists.
        headers.retain(|(name, _)| !proof.iter().any(|(own, _)| own.eq_ignore_ascii_case(name)));
        headers.splice(1..1, proof);
        Ok((headers, body))
    }

    /// The same content under a fresh id. A body that has no room for an id is unchanged.
    pub(super) fn with_fresh_id(&self) -> Message {
        let mut renewed = self.clone();
        let _ = renewed.set_fact(Fact::MessageId, &fresh_id());
        renewed
    }
}

/// A POST with these headers, each in place of all of its name.
pub(super) fn request(url: Url, headers: Vec<NamedHeader>, body: Bytes) -> anyhow::Result<Request> {
    let mut request = Request::new(Method::POST, url);
    for (name, value) in headers {
        request.headers_mut().insert(HeaderName::from_bytes(name.as_bytes())?, value);
    }
    *request.body_mut() = Some(body.into());
    Ok(request)
}

/// A fresh random id (UUID).
pub fn fresh_id() -> String {
    Uuid::new_v4().to_string()
}

fn header_value(header: &HeaderLocator, text: &str) -> anyhow::Result<HeaderValue> {
    let carried: Cow<'_, str> = match header.encoded {
        true => utf8_percent_encode(text, ENCODED).into(),
        false => text.into(),
    };
    HeaderValue::from_str(&carried)
        .with_context(|| format!("{} cannot carry {text:?}", header.spelling))
}

/// The body with a text at the end of the path, every other byte unchanged.
fn put(body: &Bytes, path: &[&str], text: &str) -> anyhow::Result<Bytes> {
    let json = serde_json::Value::from(text).to_string();
    Ok(set::put(std::str::from_utf8(body)?, path, &json)?.into())
}

/// A header's value, redacted if it is a secret.
pub(super) fn redacted(name: &str, value: &HeaderValue) -> String {
    let is_secret =
        HeaderName::from_bytes(name.as_bytes()).is_ok_and(|name| is_secret_header(&name));
    if value.is_sensitive() || is_secret {
        let is_bearer = value.as_bytes().starts_with(b"Bearer ");
        if is_bearer { "Bearer ****" } else { "****" }.to_owned()
    } else {
        text::field::text(value.as_bytes()).into_owned()
    }
}
