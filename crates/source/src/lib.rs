//! Configured sources: authentication of requests, and the locators of their facts.
//!
//! A request becomes an [`Admitted`] when its headers are checked and a [`Verified`] when its bytes are. Both can only
//! be constructed here.
//!
//! It depends on the contract, the signatures and the client; nothing that listens or stores.

mod auth;
mod body_facts;
mod call;
mod callback_api;
mod cloudevents;
mod content;
pub mod diagnose;
mod diagnostic_keys;
mod envelope;
mod field_locator;
mod handshake;
mod hook_route;
mod hosts;
mod identity;
mod redact;
mod remote_keys;
mod secret_header;
mod wire;

use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use contract::canary::CANARY;
use contract::event::{self, BodyFormat, Content, Dialect, Environment};
use contract::time::Timestamp;
use http::header::{HeaderMap, HeaderName};
use http::{Method, Uri, request};
use memchr::memmem;
use sha2::{Digest, Sha256};
use signature::{Fingerprint, HttpMessage, RequestParts, VerifyError};

use envelope::{FactScope, HeadFact};

pub use auth::{
    AcceptedKey, Auth, BearerKey, CertificateAuth, KeyPlace, MessageSignatureAuth, SignatureAuth,
    TokenAuth, has_bearer,
};
pub use call::{AdmittedCall, VerifiedCall};
pub use callback_api::{CallbackApi, PageError};
pub use content::UnsupportedContent;
pub use diagnostic_keys::DiagnosticKeys;
pub use field_locator::{
    Fact, FieldLocator, FieldLocators, HeaderLocator, LocatorError, Unidentified,
};
pub use handshake::{
    Handshake, HandshakeAnswer, HandshakeError, HandshakeRefused, HandshakeTokens,
};
pub use hook_route::{HookRoute, Recording, Unhandled};
pub use hosts::Hosts;
pub use redact::{SECRET_MEMBERS, redacted};
pub use remote_keys::{KeyId, KeysUnavailable, RemoteKeys};
pub use secret_header::{is_secret_header, repeats_secret};
pub use wire::{
    AcceptedBody, AnswerConfig, CertificateConfig, HandshakeConfig, JwtConfig, PlacesConfig,
    Sender, Sends, TimeForm, duration, one_or_many, some_duration,
};

/// A configured sender.
#[derive(Debug)]
pub struct Source {
    /// The name in the configuration.
    pub name: String,
    /// The dialect of its deliveries.
    pub dialect: Dialect,
    /// The sender's environment: production or test.
    pub environment: Environment,
    /// The path under which it is received, in lower case, without a slash at the end.
    pub path: String,
    /// The address under which the sender knows the receiver, if it signs it and a proxy hides it.
    pub public_url: Option<String>,
    /// The accepted formats of bodies.
    pub bodies: Vec<AcceptedBody>,
    /// True if a body may be compressed with gzip.
    pub gzip: bool,
    /// The largest content of a compressed body, in bytes.
    pub max_content: usize,
    /// The status for an accepted or duplicate delivery: 200 unless the sender needs another.
    pub accepted_status: u16,
    /// The body for an accepted or duplicate delivery, if the sender needs another than the receipt.
    pub accepted_body: Option<String>,
    /// Requests of the sender before it delivers.
    pub handshakes: Vec<Handshake>,
    /// The tokens that its senders repeat in handshakes.
    pub handshake_tokens: HandshakeTokens,
    /// The fetching of confirmations, if a handshake asks for one.
    pub confirmations: Option<Arc<RemoteKeys>>,
    /// The accepted client ids; empty for any.
    pub client_ids: Vec<String>,
    /// The most deliveries per second; further ones are answered 429.
    pub rate_limit: Option<NonZeroU32>,
    /// The locators of a delivery's facts: the dialect's, or the configured ones.
    pub locators: FieldLocators,
    /// The origins that may send CloudEvents, or `*` for any; they ask for permission before they send.
    pub allowed_origins: Vec<String>,
    /// The authentication of its requests.
    pub auth: Auth,
}

/// The shortest path segment that counts as a secret if there is no other authentication.
pub const SECRET_SEGMENT: usize = 22;

/// True if a path segment looks like a random key: long, letters and digits mixed, nothing else.
pub fn is_secret(segment: &str) -> bool {
    let digits = segment.bytes().filter(u8::is_ascii_digit).count();
    segment.len() >= SECRET_SEGMENT
        && segment.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && digits >= 4
}

/// The path of a version: the version is inserted after the first `/api`, or else appended.
///
/// `/api/webhooks` becomes `/api/v2/webhooks`, `/hooks` becomes `/hooks/v2`.
pub fn versioned(path: &str, version: u16) -> String {
    let mut segments: Vec<&str> = path.split('/').collect();
    let index = segments.iter().position(|&segment| segment == "api");
    let version = format!("v{version}");
    segments.insert(index.map_or(segments.len(), |api| api + 1), &version);
    segments.join("/")
}

/// The reason of a refusal. For the log and the console; the sender learns only its [`kind`](Refusal::kind).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No `Authorization` header.
    #[error("no Authorization header")]
    NoAuthorization,
    /// More than one `Authorization` header.
    #[error("more than one Authorization header")]
    RepeatedAuthorization,
    /// The scheme is not Bearer.
    #[error("the Authorization header does not have the scheme Bearer")]
    NotBearer,
    /// The bearer key is not one of the source's.
    #[error("the bearer key is not accepted by this source, which has {0}")]
    WrongKey(usize),
    /// A key is in the query and another in the header, so it is ambiguous.
    #[error("a key in the Authorization header and another in the query")]
    ConflictingKeys,
    /// The scheme is not Basic.
    #[error("the Authorization header does not have a user and a password (Basic)")]
    NotBasic,
    /// The key is missing in its place.
    #[error("no key in {0}")]
    NoKey(String),
    /// The request names a key that is not the sender's.
    #[error("the certificate in {0} is on no host of the sender's")]
    ForeignKey(String),
    /// The request names a key that the sender does not publish.
    #[error("the sender publishes no key with the id that the request names")]
    UnknownKey,
    /// A handshake is not answered.
    #[error(transparent)]
    Handshake(#[from] HandshakeRefused),
    /// The signature is missing or not the source's.
    #[error(transparent)]
    Signature(#[from] VerifyError),
    /// The client id is not in the source's list.
    #[error("client id {0:?} is not in client_ids")]
    ClientId(Option<String>),
    /// The percent-encoding of a header is not valid text.
    #[error("{0} is not percent-encoded UTF-8")]
    BadEncoding(String),
    /// A header for one fact is repeated.
    #[error("the header {0} is repeated")]
    RepeatedHeader(String),
    /// Two names of one header have different values, so it is ambiguous.
    #[error("{0} and {1} have different values")]
    ConflictingIds(String, String),
    /// A fact is missing that every delivery of the dialect has.
    #[error("{0} is missing")]
    Missing(String),
    /// The body is not UTF-8.
    #[error("the body is not UTF-8: {0}")]
    NotUtf8(String),
    /// The body cannot be decompressed.
    #[error("the body is not the gzip that its Content-Encoding names: {0}")]
    NotGzip(String),
    /// The body has too many form fields, or more content than is allowed.
    #[error("{0}")]
    TooMuch(String),
    /// A structured CloudEvent can be read in two ways.
    #[error("{0}")]
    AmbiguousEvent(String),
    /// The body is no version of CloudEvents that is known.
    #[error("the CloudEvents version is {0:?}; 1.0 is supported")]
    SpecVersion(String),
    /// The body is not JSON.
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    /// The body is JSON but not an object, though the event is one.
    #[error("the body is JSON, but {0} is an object")]
    NotObject(String),
}

/// The part of a refusal that the sender may learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// The request is not authenticated.
    Unauthentic,
    /// The request is authentic, but not a delivery.
    Malformed,
    /// The request is authentic, but has more in it than is read.
    TooLarge,
}

impl Refusal {
    /// The part that the sender may learn.
    pub fn kind(&self) -> RefusalKind {
        match self {
            Refusal::BadEncoding(_)
            | Refusal::RepeatedHeader(_)
            | Refusal::ConflictingIds(..)
            | Refusal::Missing(_)
            | Refusal::NotUtf8(_)
            | Refusal::NotJson(_)
            | Refusal::NotGzip(_)
            | Refusal::AmbiguousEvent(_)
            | Refusal::SpecVersion(_)
            | Refusal::NotObject(_) => RefusalKind::Malformed,
            Refusal::TooMuch(_) => RefusalKind::TooLarge,
            _ => RefusalKind::Unauthentic,
        }
    }
}

impl Source {
    /// A source of this dialect as its row in the table of senders describes it, without limits.
    pub fn new(name: &str, dialect: Dialect, path: &str, auth: Auth) -> Self {
        let row = Sender::of(dialect);
        Source {
            name: name.to_owned(),
            dialect,
            environment: Environment::Live,
            path: path.to_owned(),
            public_url: None,
            bodies: row.bodies,
            gzip: false,
            max_content: usize::MAX,
            accepted_status: row.answer.status.unwrap_or(200),
            accepted_body: row.answer.body,
            handshakes: Vec::new(),
            handshake_tokens: HandshakeTokens::default(),
            confirmations: None,
            client_ids: Vec::new(),
            rate_limit: None,
            locators: FieldLocators::of(dialect),
            allowed_origins: Vec::new(),
            auth,
        }
    }

    fn check(
        &self,
        head: HttpMessage<'_>,
        now: Timestamp,
    ) -> Result<(auth::HeaderProof, FactScope, Option<HeadFact>), Refusal> {
        let proof = self.auth.admit(head, now)?;
        let headers = head.headers;
        let scope = FactScope::of(self.dialect, headers);
        let locators = self.locators.at(Fact::ClientId);
        let client = scope.head_fact(Fact::ClientId, locators, headers, head.uri)?;
        let left = scope.limit(locators, client.as_ref());
        let is_later = |locator: &FieldLocator| {
            matches!(locator, FieldLocator::Body(_) | FieldLocator::Template(_))
        };
        if !locators[..left].iter().any(is_later) {
            self.check_client(client.as_ref().map(|client| client.text.as_str()))?;
        }
        Ok((proof, scope, client))
    }

    /// The head of a request, as the sender knows it.
    fn head<'r>(
        &'r self,
        method: &'r Method,
        uri: &'r Uri,
        headers: &'r HeaderMap,
    ) -> HttpMessage<'r> {
        HttpMessage { method, uri, headers, public_url: self.public_url.as_deref() }
    }

    /// The answer to a handshake that nothing proves; none if the request is no such handshake.
    ///
    /// # Errors
    /// [`HandshakeRefused`] if it has not the right token.
    pub fn unproved_handshake(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Option<Result<HandshakeAnswer, HandshakeRefused>> {
        self.handshake(&RequestParts::new(self.head(method, uri, headers), b""), false)
    }

    fn handshake(
        &self,
        parts: &RequestParts<'_>,
        is_proved: bool,
    ) -> Option<Result<HandshakeAnswer, HandshakeRefused>> {
        let mut rows = self.handshakes.iter().filter(|row| row.is_proved == is_proved);
        let row = rows.find(|row| row.is_asked_by(parts))?;
        let key = self.auth.signature.as_ref().and_then(|signed| signed.keys.first());
        Some(row.answer(parts, &self.handshake_tokens, key.map(|key| &key.key)))
    }

    /// True if the header holds a part of the signature, which covers one message and is needed to verify it again.
    fn is_signature_header(&self, name: &HeaderName) -> bool {
        let scheme = self.auth.signature.as_ref().map(|signed| &signed.scheme);
        scheme
            .is_some_and(|scheme| scheme.names().any(|own| own.eq_ignore_ascii_case(name.as_str())))
    }

    /// True if a header's value contains a credential of this source: a bearer key, or the secret of its path.
    fn has_credential(&self, value: &[u8]) -> bool {
        repeats_secret(value, |text| {
            let lower = text.to_ascii_lowercase();
            let mut segments = self.path.split('/').filter(|segment| is_secret(segment));
            self.auth.has_key_in(text)
                || segments.any(|own| memmem::find(&lower, own.as_bytes()).is_some())
        })
    }

    fn check_client(&self, id: Option<&str>) -> Result<(), Refusal> {
        let known = |id| self.client_ids.iter().any(|known| known == id);
        if self.client_ids.is_empty() || id.is_some_and(known) {
            return Ok(());
        }
        Err(Refusal::ClientId(id.map(str::to_owned)))
    }
}

/// A request on its way to verified bytes: a delivery ([`Admitted`]) or a hook's call ([`AdmittedCall`]).
pub trait Admission: Sized {
    /// The request once its bytes are verified.
    type Verified;

    /// Checks the request line and the headers, before a byte of the body is read.
    ///
    /// # Errors
    /// [`Rejected`] if the request lacks an accepted key, or a well-formed and timely signature; for a delivery also if
    /// its client id is not accepted.
    fn admit(
        source: &Arc<Source>,
        head: request::Parts,
        now: Timestamp,
    ) -> Result<Self, Box<Rejected>>;

    /// True if the request is authenticated already; otherwise verification needs the body.
    fn is_proven(&self) -> bool;

    /// The keys of the sender that have to be fetched before the bytes can be verified.
    ///
    /// # Errors
    /// [`Refusal`] if the request names keys that are not the sender's.
    fn missing_keys(&self, body: &[u8]) -> Result<Option<(Arc<RemoteKeys>, KeyId)>, Refusal>;

    /// Verifies the bytes and reads the request's facts from them.
    ///
    /// # Errors
    /// [`Rejected`] if the bytes are not the signed ones, or not of the expected form.
    fn verify(self, body: Bytes) -> Result<Self::Verified, Box<Rejected>>;
}

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
        let handshake = source.handshake(&parts, true);
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
) -> Result<std::borrow::Cow<'b, [u8]>, Refusal> {
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

/// A refused request, with the parts that a diagnosis needs.
#[derive(thiserror::Error)]
#[error("{refusal}")]
pub struct Rejected {
    /// The reason.
    pub refusal: Refusal,
    /// Its headers, if it is not authenticated.
    pub headers: HeaderMap,
    /// Its body, if it has been read and the request is not authenticated.
    pub body: Option<Bytes>,
}

impl std::fmt::Debug for Rejected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rejected({:?})", self.refusal)
    }
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
    /// The request's headers as a JSON list of name and value pairs, without secrets.
    pub fn headers_json(&self) -> String {
        let pairs: Vec<(&str, std::borrow::Cow<'_, str>)> = self
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
        canary_name(&self.body)
    }
}

/// The value of the member that marks a canary. Other bodies are searched for its name, but not parsed.
fn canary_name(body: &[u8]) -> Option<String> {
    memmem::find(body, CANARY.as_bytes())?;
    body_facts::field(body, CANARY)
}

/// True if a valid JSON payload is an object.
fn is_object(payload: &[u8]) -> bool {
    payload.trim_ascii_start().starts_with(b"{")
}
