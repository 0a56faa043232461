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
mod delivery;
pub mod diagnose;
mod diagnostic_keys;
mod envelope;
mod extension_client;
mod field_locator;
mod handshake;
mod hook_route;
mod hosts;
mod identity;
mod key_place;
mod redact;
mod refusal;
mod remote_keys;
mod secret_header;
mod wire;

use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use contract::event::{Dialect, Environment};
use contract::time::Timestamp;
use http::header::{HeaderMap, HeaderName};
use http::{Method, Uri, request};
use memchr::memmem;
use signature::{HttpMessage, Place, RequestParts};

use envelope::{FactScope, HeadFact};

pub use auth::{
    AcceptedKey, Auth, BearerKey, CertificateAuth, MessageSignatureAuth, SignatureAuth, TokenAuth,
    has_bearer,
};
pub use call::{AdmittedCall, VerifiedCall};
pub use callback_api::{CallbackApi, PageError};
pub use content::UnsupportedContent;
pub use delivery::{Admitted, Verified};
pub use diagnostic_keys::DiagnosticKeys;
pub use extension_client::ExtensionClient;
pub use field_locator::{
    Fact, FieldLocator, FieldLocators, HeaderLocator, LocatorError, Unidentified,
};
pub use handshake::{
    Handshake, HandshakeAnswer, HandshakeError, HandshakeRefused, HandshakeTokens,
};
pub use hook_route::{HookRoute, Recording, Unhandled};
pub use hosts::Hosts;
pub use key_place::KeyPlace;
pub use redact::{SECRET_MEMBERS, redacted};
pub use refusal::{Refusal, RefusalKind, Rejected};
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

    /// True if its proof, its handshakes or its ids need what a body says before it is decompressed.
    pub fn reads_raw_body(&self) -> bool {
        let auth = &self.auth;
        let token = auth.token.as_ref().and_then(|token| token.rule.place.as_ref());
        auth.signature.as_ref().is_some_and(|signed| signed.scheme.reads_body())
            || !auth.bearer.is_empty() && auth.places.iter().any(KeyPlace::is_in_body)
            || auth.signature.as_ref().is_some_and(SignatureAuth::has_certificate_in_body)
            || token.is_some_and(Place::is_in_body)
            || self.handshakes.iter().any(Handshake::reads_body)
            || self.locators.has_body_templates()
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
        self.handshake(&RequestParts::new(self.head(method, uri, headers), b""), None)
    }

    fn handshake(
        &self,
        parts: &RequestParts<'_>,
        proof: Option<&auth::Authenticated>,
    ) -> Option<Result<HandshakeAnswer, HandshakeRefused>> {
        let mut rows = self.handshakes.iter().filter(|row| row.is_proved == proof.is_some());
        let row = rows.find(|row| row.is_asked_by(parts))?;
        let signed = self.auth.signature.as_ref();
        let keys = signed.map(|signed| signed.keys.as_slice()).unwrap_or_default();
        // The sender computes with the key that it signs with.
        let used = proof.and_then(|proof| proof.key);
        let key = keys.iter().find(|key| Some(key.fingerprint) == used).or(keys.first());
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
