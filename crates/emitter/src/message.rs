//! A message, and the one function that makes a request of it.

use std::borrow::Cow;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use chrono::TimeDelta;
use contract::time::Timestamp;
use http::header::{HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use reqwest::{Method, Request, Url};
use signature::Place;
use source::{Fact, FieldLocator, FieldLocators, HeaderLocator, is_secret_header};
use text::form::FORM;
use uuid::Uuid;

use super::proof::{HttpDraft, NamedHeader, Proof};
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
    /// The facts of the message in headers, under the vendor's names.
    facts: Vec<NamedHeader>,
    /// Headers that say nothing about the message.
    extra: Arc<[NamedHeader]>,
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
            extra: [].into(),
        }
    }

    /// The message with these headers besides. One of them wins over a fact of the same name.
    #[must_use]
    pub fn with_headers(self, extra: Arc<[NamedHeader]>) -> Self {
        Message { extra, ..self }
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
        let places = Arc::clone(&self.places);
        match places.at(fact).first() {
            None => {}
            Some(FieldLocator::Header(header)) => {
                self.set_header(header.spelling.clone(), header_value(header, text)?);
            }
            Some(FieldLocator::Query(name)) => {
                self.url.query_pairs_mut().append_pair(name, text);
            }
            Some(FieldLocator::Body(path)) => self.set_at(&Place::Body(path.clone()), text)?,
            Some(FieldLocator::Template(template)) => match template.spread(text) {
                Some(values) => {
                    for (place, value) in values {
                        self.set_at(place, &value)?;
                    }
                }
                // The part that is no other fact's tells the messages apart.
                None => {
                    let is_own = |place: &&Place| !self.is_of_another(fact, place);
                    if let Some(place) = template.places().find(is_own).cloned() {
                        self.set_at(&place, text)?;
                    }
                }
            },
        }
        if fact == Fact::MessageId {
            self.message_id = text.into();
        }
        Ok(())
    }

    fn is_of_another(&self, fact: Fact, place: &Place) -> bool {
        let others = Fact::ALL.into_iter().filter(|other| *other != fact);
        others.flat_map(|other| self.places.at(other)).any(|locator| match (locator, place) {
            (FieldLocator::Header(header), Place::Header(name)) => {
                header.spelling.eq_ignore_ascii_case(name)
            }
            (FieldLocator::Body(path), Place::Body(pointer)) => path == pointer,
            _ => false,
        })
    }

    fn set_at(&mut self, place: &Place, text: &str) -> anyhow::Result<()> {
        match place {
            Place::Header(name) => {
                self.set_header(name.clone().into(), HeaderValue::from_str(text)?);
            }
            Place::Query(name) => {
                self.url.query_pairs_mut().append_pair(name, text);
            }
            Place::Body(path) => {
                let keys: Vec<&str> = path.keys().collect();
                let put = put(&self.body, &keys, text);
                self.body = put.with_context(|| format!("cannot set {place}"))?;
            }
        }
        Ok(())
    }

    fn set_header(&mut self, name: Cow<'static, str>, value: HeaderValue) {
        match self.facts.iter_mut().find(|(own, _)| *own == name) {
            Some(old) => old.1 = value,
            None => self.facts.push((name, value)),
        }
    }

    /// True if the dialect has the fact in the body.
    pub fn has_in_body(&self, fact: Fact) -> bool {
        match self.places.at(fact).first() {
            Some(FieldLocator::Body(_)) => true,
            Some(FieldLocator::Template(template)) => template.places().any(Place::is_in_body),
            _ => false,
        }
    }

    fn locator(&self, fact: Fact) -> String {
        self.places.at(fact).first().map_or_else(|| "what is given".to_owned(), ToString::to_string)
    }

    /// The request that the vendor would make now, or its forgery.
    pub fn request(&self) -> anyhow::Result<Request> {
        let HttpDraft { url, headers, body } = self.signed()?;
        request(url, headers, body)
    }

    /// The request with the headers as the vendor spells them, signed now.
    pub fn signed(&self) -> anyhow::Result<HttpDraft> {
        self.signed_at(contract::time::now() + self.offset)
    }

    /// The request as it is shown, without its bearer key.
    pub(super) fn shown(&self) -> anyhow::Result<HttpDraft> {
        Ok(self.proof.hidden(self.signed()?))
    }

    /// The request as the vendor would sign it at this time.
    pub fn signed_at(&self, time: Timestamp) -> anyhow::Result<HttpDraft> {
        let content_type = HeaderValue::from_str(&self.places.content_type)?;
        let mut headers: Vec<NamedHeader> = vec![("Content-Type".into(), content_type)];
        let is_extra =
            |name: &str| self.extra.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
        let is_typed = is_extra("content-type");
        if is_typed {
            headers.clear();
        }
        headers.extend(self.extra.iter().cloned());
        headers.extend(self.facts.iter().filter(|(name, _)| !is_extra(name)).cloned());
        let draft = HttpDraft { url: self.url.clone(), headers, body: self.wire_body() };
        self.proof.prove(&self.message_id, draft, time)
    }

    /// The body as it is sent: of a sender of form fields, the members of the object.
    fn wire_body(&self) -> Bytes {
        if !self.places.content_type.starts_with(FORM) {
            return self.body.clone();
        }
        let Ok(serde_json::Value::Object(members)) = serde_json::from_slice(&self.body) else {
            return self.body.clone();
        };
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in &members {
            match value {
                serde_json::Value::String(text) => form.append_pair(name, text),
                other => form.append_pair(name, &other.to_string()),
            };
        }
        form.finish().into()
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
