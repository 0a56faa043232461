//! Genuine requests of a source's sender, made by the emitter's half.

use chrono::{DateTime, Utc};
use emitter::proof::{HttpDraft, NamedHeader};
use emitter::{Message, Proof, SigningMethod};
use secrecy::SecretString;
use settings::{Config, SourceConfig};
use source::Fact;

use crate::harness::client::Request;

/// A request that is being made.
pub(crate) struct Genuine<'c> {
    pub(crate) name: &'c str,
    pub(crate) source: &'c SourceConfig,
    pub(crate) key: Option<SecretString>,
    /// The body; absent for the sender's sample.
    pub(crate) body: Option<String>,
    /// The message's id.
    pub(crate) id: &'static str,
    pub(crate) time: DateTime<Utc>,
}

impl<'c> Genuine<'c> {
    /// A request of a source of these settings, signed with its first key.
    pub(crate) fn new(config: &'c Config, name: &'c str) -> Self {
        let source = &config.sources[name];
        let key = source.signing_keys(name).unwrap().into_iter().next();
        Genuine { name, source, key, body: None, id: "msg_1", time: Utc::now() }
    }

    /// The same with this body.
    pub(crate) fn body(self, body: impl Into<String>) -> Self {
        Genuine { body: Some(body.into()), ..self }
    }

    /// The request to `http://localhost`, as [`Request`] sends it.
    pub(crate) fn draft(&self) -> HttpDraft {
        let sends = self.source.sender().sends;
        let method = SigningMethod::of_source(self.name, self.source).unwrap();
        let keys: Vec<_> = self.key.iter().cloned().collect();
        let proof = Proof::new(None, method.map(|method| (method, &keys[..])), None).unwrap();
        let proof = proof.with_public_url(self.source.public_url.clone());
        let url = format!("http://localhost{}", self.source.path).parse().unwrap();
        let places = self.source.field_locators(self.name).unwrap();
        let header = |(name, value): (&String, &String)| -> NamedHeader {
            (name.clone().into(), value.parse().unwrap())
        };
        let extra: Vec<NamedHeader> = sends.headers.iter().map(header).collect();
        let is_form = sends.content_type.starts_with(text::form::FORM);
        let body = match (&self.body, is_form) {
            (Some(body), _) => body.clone(),
            (None, true) => text::form::json(sends.body.as_bytes()).unwrap(),
            (None, false) => sends.body,
        };
        let message = Message::new(&sends.event, url, places.into(), proof.into(), body.into())
            .with_id(self.id);
        let mut message = message.with_headers(extra.into());
        if self.body.is_none() {
            message.set_fact(Fact::MessageId, self.id).unwrap();
        }
        message.signed_at(self.time).unwrap()
    }

    /// The request.
    pub(crate) fn request(&self) -> Request {
        let HttpDraft { url, headers, body } = self.draft();
        let target = url.as_str().strip_prefix("http://localhost").unwrap();
        let bare = Request::post(target, body).without("Content-Type");
        headers.iter().fold(bare, |request, (name, value)| {
            request.set(String::leak(name.to_string()), value.as_bytes())
        })
    }
}
