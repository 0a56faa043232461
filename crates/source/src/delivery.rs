//! Deliveries: admitted when their headers are checked, verified when their bytes are, and then read.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use contract::canary::CANARY;
use contract::effect::DeferredEvent;
use contract::event::{self, BodyFormat, Content};
use contract::time::Timestamp;
use http::header::{HeaderMap, HeaderName};
use http::{Method, Uri, request};
use memchr::memmem;
use sha2::{Digest, Sha256};
use signature::{Fingerprint, RequestParts};
use text::json::without_bom;

use super::envelope::{self, FactScope, HeadFact};
use super::field_locator::{Fact, Unidentified};
use super::handshake::HandshakeAnswer;
use super::refusal::{Refusal, Rejected};
use super::remote_keys::{KeyId, RemoteKeys};
use super::secret_header::is_secret_header;
use super::wire::AcceptedBody;
use super::{Admission, Auth, Source, auth, body_facts, cloudevents, identity};

/// A delivery with checked headers; its body has not been read.
#[derive(Debug)]
pub struct Admitted {
    source: Arc<Source>,
    proof: auth::HeaderProof,
    scope: FactScope,
    client: Option<HeadFact>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    now: Timestamp,
}

impl Admission for Admitted {
    type Verified = Verified;

    fn admit(
        source: &Arc<Source>,
        head: request::Parts,
        now: Timestamp,
    ) -> Result<Self, Box<Rejected>> {
        match source.check(source.head(&head.method, &head.uri, &head.headers), now) {
            Ok((proof, scope, client)) => {
                let (source, headers) = (Arc::clone(source), head.headers);
                let (method, uri) = (head.method, head.uri);
                Ok(Admitted { source, proof, scope, client, method, uri, headers, now })
            }
            Err(refusal) => Err(Box::new(Rejected { refusal, headers: head.headers, body: None })),
        }
    }

    fn is_proven(&self) -> bool {
        self.proof.is_complete()
    }

    fn missing_keys(&self, body: &[u8]) -> Result<Option<(Arc<RemoteKeys>, KeyId)>, Refusal> {
        let head = self.source.head(&self.method, &self.uri, &self.headers);
        self.source.auth.missing_keys(&self.proof, head, body)
    }

    fn verify(self, body: Bytes) -> Result<Verified, Box<Rejected>> {
        let head = self.source.head(&self.method, &self.uri, &self.headers);
        match self.source.auth.verify(&self.proof, head, &body, self.now) {
            Ok(authenticated) => self.read(body, &authenticated).map_err(|refusal| {
                Box::new(Rejected { refusal, headers: HeaderMap::new(), body: None })
            }),
            Err(refusal) => {
                Err(Box::new(Rejected { refusal, headers: self.headers, body: Some(body) }))
            }
        }
    }
}

impl Admitted {
    fn read(self, body: Bytes, authenticated: &auth::Authenticated) -> Result<Verified, Refusal> {
        let Admitted { source, scope, client, method, uri, headers, .. } = self;
        let mut format = source.format(&headers, body.is_empty()).unwrap_or_default();
        let is_without_body = body.is_empty() && source.bodies.contains(&AcceptedBody::Empty);
        if is_without_body && scope == FactScope::Both {
            format.content = Content::Other;
        }
        let document = document(&source, format, &body)?;
        if format.content == Content::Form && source.accepts_json() && is_json(format, &body) {
            return Err(Refusal::NotForm);
        }
        if scope == FactScope::Body {
            cloudevents::check(&document)?;
        }
        let parts = RequestParts::new(source.head(&method, &uri, &headers), &body);
        let mut envelope =
            envelope::read(&source.locators, scope, client, &parts, (format, &document))?;
        if let Some(version) = envelope.facts[Fact::SpecVersion].take().filter(|own| own != "1.0") {
            return Err(Refusal::SpecVersion(version));
        }
        let digest: [u8; 32] = Sha256::digest(&body).into();
        let message_id = envelope.facts[Fact::MessageId].take();
        let is_object = match (scope, format.content) {
            (_, Content::Other) => false,
            (FactScope::Both, _) => envelope.is_object,
            // An event without data has no object either, and is accepted all the same.
            (FactScope::Headers | FactScope::Body, _) => {
                let payload = event::payload(source.dialect, format, &body).unwrap_or_default();
                is_object(&payload) || *payload == *b"null"
            }
        };
        let derived = || match source.locators.unidentified {
            Unidentified::Digest => {
                identity::derived(&source, &uri, &headers, authenticated, &digest)
            }
            Unidentified::Distinct => identity::distinct(),
        };
        let handshake = source.handshake(&parts, Some(authenticated));
        let mut verified = Verified {
            message_id_derived: message_id.is_none(),
            message_id: message_id.unwrap_or_else(derived),
            client_id: envelope.facts[Fact::ClientId].take(),
            user: envelope.facts[Fact::User].take(),
            event_type: envelope.facts[Fact::EventType].take(),
            event_time: envelope.facts[Fact::EventTime]
                .take()
                .and_then(|time| envelope::instant(&time)),
            is_object,
            handshake: None,
            format,
            digest,
            body: Bytes::new(),
            key: authenticated.key,
            headers: HeaderMap::new(),
            source: Arc::clone(&source),
        };
        drop((parts, document));
        (verified.body, verified.headers) = (body, headers);
        verified.handshake = handshake.transpose()?;
        // A challenge may come before there is an account.
        if verified.handshake.is_none() || verified.client_id.is_some() {
            verified.source.check_client(verified.client_id.as_deref())?;
        }
        Ok(verified)
    }
}

/// The JSON that a body stands for, within the limits after decompression.
fn document<'b>(
    source: &Source,
    format: BodyFormat,
    body: &'b [u8],
) -> Result<Cow<'b, [u8]>, Refusal> {
    if format.is_gzip {
        let decoded = format.decoded(body, source.max_content);
        let (_, is_longer) = decoded.map_err(|error| Refusal::NotGzip(error.to_string()))?;
        if is_longer {
            return Err(Refusal::TooMuch(format!(
                "the body is larger than max_body when it is decompressed: {} bytes",
                source.max_content
            )));
        }
    }
    format.document(body).map_err(|error| Refusal::TooMuch(error.message))
}

/// A delivery whose authenticity is verified, byte for byte.
#[derive(Debug)]
pub struct Verified {
    /// The source of the delivery.
    pub source: Arc<Source>,
    /// The sender's id for the message, or a digest of everything that names the event.
    pub message_id: String,
    /// True if the message id is such a digest.
    pub message_id_derived: bool,
    /// The sender's id for the client account.
    pub client_id: Option<String>,
    /// The user who caused the event.
    pub user: Option<String>,
    /// The event's name, if the body has one.
    pub event_type: Option<String>,
    /// The time of the event according to the sender, if it is valid.
    pub event_time: Option<Timestamp>,
    /// True if the payload is a JSON object, or the CloudEvent has none.
    pub is_object: bool,
    /// The answer, if the request is a handshake and no delivery.
    pub handshake: Option<HandshakeAnswer>,
    /// The format of the body.
    pub format: BodyFormat,
    /// SHA-256 of the body.
    pub digest: [u8; 32],
    /// The body, exactly as received.
    pub body: Bytes,
    /// The key that authenticated it: the signing key, if it is signed.
    pub key: Option<Fingerprint>,
    headers: HeaderMap,
}

impl Verified {
    /// An event of the fork's own, which a handler or a hook has deferred: nobody has sent it, so there is nothing to prove.
    pub fn deferred(event: DeferredEvent) -> Self {
        let mut source = Source::new(&event.source, event.dialect, "", Auth::default());
        source.environment = event.environment;
        Verified {
            message_id: event.message_id(),
            message_id_derived: false,
            client_id: Some(event.client_id).filter(|id| !id.is_empty()),
            user: None,
            event_type: Some(event.event_type),
            event_time: None,
            is_object: is_object(&event.body),
            handshake: None,
            format: BodyFormat::default(),
            digest: Sha256::digest(&event.body).into(),
            body: event.body,
            key: None,
            headers: HeaderMap::new(),
            source: Arc::new(source),
        }
    }

    /// The request's headers as a JSON list of name and value pairs, without secrets.
    pub fn headers_json(&self) -> String {
        let pairs: Vec<(&str, Cow<'_, str>)> = self
            .headers
            .iter()
            .map(|(name, value)| match self.is_secret(name, value.as_bytes()) {
                true => (name.as_str(), "[redacted]".into()),
                false => (name.as_str(), text::field::text(value.as_bytes())),
            })
            .collect();
        serde_json::to_string(&pairs).unwrap_or_default()
    }

    fn is_secret(&self, name: &HeaderName, value: &[u8]) -> bool {
        let source = &self.source;
        !source.is_signature_header(name)
            && (is_secret_header(name) || source.has_credential(value))
    }

    /// The distinct names of the request's headers.
    pub fn header_names(&self) -> Vec<String> {
        self.headers.keys().map(ToString::to_string).collect()
    }

    /// The value of a top-level field of the payload as text, if it is a string or a number.
    pub fn field(&self, name: &str) -> Option<String> {
        let payload = event::payload(self.source.dialect, self.format, &self.body).ok()?;
        body_facts::field(&payload, name)
    }

    /// The event named by a canary, if the delivery is one.
    pub fn canary(&self) -> Option<String> {
        let document = self.format.document(&self.body).ok()?;
        canary_name(&document)
    }
}

/// True if a body under the content type of form fields is a JSON text: the content type is not signed.
fn is_json(format: BodyFormat, body: &[u8]) -> bool {
    let content = format.decoded(body, usize::MAX).unwrap_or_default().0;
    serde_json::from_slice::<serde::de::IgnoredAny>(without_bom(&content)).is_ok()
}

/// The value of the member that marks a canary. Other bodies are searched for its name, but not parsed.
pub(super) fn canary_name(body: &[u8]) -> Option<String> {
    memmem::find(body, CANARY.as_bytes())?;
    body_facts::field(body, CANARY)
}

/// True if a valid JSON payload is an object.
fn is_object(payload: &[u8]) -> bool {
    payload.trim_ascii_start().starts_with(b"{")
}
