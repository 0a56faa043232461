//! One message, and the one function that makes a request of it.

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

use super::proof::{Named, Proof};
use super::set;

/// What a header that is percent-encoded cannot carry as it is, besides what is not ASCII.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// A message to one endpoint, ready to be sent any number of times.
#[derive(Debug, Clone)]
pub struct Message {
    pub(super) event: Arc<str>,
    pub url: Url,
    pub message_id: Arc<str>,
    pub body: Bytes,
    /// How far its time of signing is from now.
    pub offset: TimeDelta,
    places: Arc<FieldLocators>,
    proof: Arc<Proof>,
    /// What the message says of itself outside its body, under the vendor's names.
    said: Vec<Named>,
}

impl Message {
    /// A message that does not say anything of itself yet but what its body says.
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
            said: Vec::new(),
        }
    }

    /// The same under this id, which is signed, but said nowhere else.
    pub fn under(self, id: &str) -> Self {
        Message { message_id: id.into(), ..self }
    }

    /// Puts a fact where the receiver looks for it first; nowhere if the dialect has no place for it.
    ///
    /// # Errors
    /// If the text cannot stand there; the message is then as before.
    pub fn say(&mut self, fact: Fact, text: &str) -> anyhow::Result<()> {
        ensure!(!text.trim().is_empty(), "{} would be empty", self.place(fact));
        match self.places.at(fact).first() {
            None => {}
            Some(FieldLocator::Header(header)) => {
                let new = (header.spelling.clone(), value(header, text)?);
                match self.said.iter_mut().find(|(name, _)| *name == new.0) {
                    Some(old) => *old = new,
                    None => self.said.push(new),
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

    /// Whether the fact stands in the body.
    pub fn has_in_body(&self, fact: Fact) -> bool {
        matches!(self.places.at(fact).first(), Some(FieldLocator::Body(_)))
    }

    fn place(&self, fact: Fact) -> String {
        self.places.at(fact).first().map_or_else(|| "what is given".to_owned(), ToString::to_string)
    }

    /// The request that the vendor would make now, or its forgery.
    pub fn request(&self) -> anyhow::Result<Request> {
        let (headers, body) = self.signed()?;
        request(self.url.clone(), headers, body)
    }

    /// The headers as the vendor spells them, signed now, and the body.
    pub fn signed(&self) -> anyhow::Result<(Vec<Named>, Bytes)> {
        let content_type = HeaderValue::from_static(self.places.content_type);
        let mut headers: Vec<Named> = vec![("Content-Type".into(), content_type)];
        headers.extend(self.said.iter().cloned());
        let time = contract::time::now() + self.offset;
        let (proof, body) =
            self.proof.of(&self.message_id, &self.url, &headers, time, &self.body)?;
        // A header that is signed, such as the message id's, is there twice.
        headers.retain(|(name, _)| !proof.iter().any(|(own, _)| own.eq_ignore_ascii_case(name)));
        headers.splice(1..1, proof);
        Ok((headers, body))
    }

    /// The same content as a message of its own. A body that has no room for an id stays as it is.
    pub(super) fn renewed(&self) -> Message {
        let mut renewed = self.clone();
        let _ = renewed.say(Fact::MessageId, &fresh_id());
        renewed
    }
}

/// A POST with these headers, each in place of all of its name.
pub(super) fn request(url: Url, headers: Vec<Named>, body: Bytes) -> anyhow::Result<Request> {
    let mut request = Request::new(Method::POST, url);
    for (name, value) in headers {
        request.headers_mut().insert(HeaderName::from_bytes(name.as_bytes())?, value);
    }
    *request.body_mut() = Some(body.into());
    Ok(request)
}

/// An id that no other message has.
pub fn fresh_id() -> String {
    Uuid::new_v4().to_string()
}

fn value(header: &HeaderLocator, text: &str) -> anyhow::Result<HeaderValue> {
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

/// A header's value as it may be shown.
pub(super) fn shown(name: &str, value: &HeaderValue) -> String {
    let is_secret =
        HeaderName::from_bytes(name.as_bytes()).is_ok_and(|name| is_secret_header(&name));
    if value.is_sensitive() || is_secret {
        let is_bearer = value.as_bytes().starts_with(b"Bearer ");
        if is_bearer { "Bearer ****" } else { "****" }.to_owned()
    } else {
        text::field::text(value.as_bytes()).into_owned()
    }
}
