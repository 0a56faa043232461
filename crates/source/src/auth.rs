//! Authentication of requests: a bearer key, a signature, or both.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use std::sync::Arc;

use chrono::DateTime;
use contract::time::Timestamp;
use http::header::{HeaderMap, HeaderName};
use memchr::memmem;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use signature::{
    Fingerprint, HttpMessage, Key, MessageKey, Place, PublicKey, RequestParts, Scheme, TokenRule,
    UnverifiedMessage, UnverifiedSignature, UnverifiedToken, VerifyError,
};
use subtle::{Choice, ConstantTimeEq};

use super::hosts::Hosts;
use super::key_place::{KeyPlace, in_header};
use super::remote_keys::{KeyId, RemoteKeys};
use super::{DiagnosticKeys, Refusal};

/// The authentication that a source requires: every part that is set. Without any, anyone can send.
#[derive(Debug, Default)]
pub struct Auth {
    /// The accepted bearer keys.
    pub bearer: Vec<AcceptedKey<BearerKey>>,
    /// The places of the bearer key; a request has it in one of them.
    pub places: Vec<KeyPlace>,
    /// The signature.
    pub signature: Option<SignatureAuth>,
    /// The token.
    pub token: Option<TokenAuth>,
    /// The message signature (RFC 9421), which covers parts of the sender's choice.
    pub message: Option<MessageSignatureAuth>,
    /// Unaccepted keys, for diagnosis.
    pub diagnostic_keys: DiagnosticKeys,
}

/// A token that the sender has signed with a key that it publishes, or that the settings have.
#[derive(Debug)]
pub struct TokenAuth {
    /// The demands on it.
    pub rule: TokenRule,
    /// The accepted keys in the settings.
    pub keys: Vec<AcceptedKey<PublicKey>>,
    /// The sender's key set.
    pub remote: Option<Arc<RemoteKeys>>,
}

/// Certificates whose keys sign.
#[derive(Debug)]
pub struct CertificateAuth {
    /// The place of a certificate's URL.
    pub place: Place,
    /// The hosts that it may be on.
    pub hosts: Hosts,
    /// The certificates.
    pub remote: Arc<RemoteKeys>,
}

/// A signature by one of several keys.
#[derive(Debug)]
pub struct SignatureAuth {
    /// The signature scheme.
    pub scheme: Scheme,
    /// The accepted keys.
    pub keys: Vec<AcceptedKey<Key>>,
    /// The tolerance of a timestamp, in seconds, both ways.
    pub tolerance: u64,
    /// The certificates, if the sender signs by their keys.
    pub certificate: Option<CertificateAuth>,
    /// The index of the key used last; it is tried first.
    latest: AtomicUsize,
}

impl SignatureAuth {
    /// A scheme and its accepted keys.
    pub fn new(scheme: Scheme, keys: Vec<AcceptedKey<Key>>, tolerance: u64) -> Self {
        SignatureAuth { scheme, keys, tolerance, certificate: None, latest: AtomicUsize::new(0) }
    }

    /// True if the body names the certificate.
    pub(crate) fn has_certificate_in_body(&self) -> bool {
        self.certificate.as_ref().is_some_and(|own| own.place.is_in_body())
    }

    /// The same, by the keys of certificates if no key is accepted.
    #[must_use]
    pub fn with_certificate(self, certificate: Option<CertificateAuth>) -> Self {
        SignatureAuth { certificate, ..self }
    }

    /// The URL of the certificate whose key should have signed the request.
    fn certificate(&self, parts: &RequestParts<'_>) -> Result<Option<KeyId>, Refusal> {
        let Some(certificate) = self.certificate.as_ref().filter(|_| self.keys.is_empty()) else {
            return Ok(None);
        };
        let url = certificate.place.value(parts);
        let url = url.ok_or_else(|| VerifyError::MissingPart(certificate.place.to_string()))?;
        let url = std::str::from_utf8(&url).ok().and_then(|url| certificate.hosts.check(url));
        Ok(Some(url.ok_or_else(|| Refusal::ForeignKey(certificate.place.to_string()))?))
    }

    /// The key that signed the body.
    fn verify(
        &self,
        unverified: &UnverifiedSignature,
        head: HttpMessage<'_>,
        body: &[u8],
    ) -> Result<&AcceptedKey<Key>, VerifyError> {
        let latest = self.latest.load(Ordering::Relaxed);
        let (before, from) = self.keys.split_at(latest);
        let keys = || from.iter().chain(before);
        let index = self.scheme.verify(unverified, head, body, keys().map(|key| &key.key))?;
        let number = (latest + index) % self.keys.len();
        if index > 0 {
            self.latest.store(number, Ordering::Relaxed);
        }
        Ok(&self.keys[number])
    }
}

/// A message signature by one of several keys.
#[derive(Debug)]
pub struct MessageSignatureAuth {
    /// The accepted keys.
    pub keys: Vec<AcceptedKey<MessageKey>>,
    /// The tolerance of a timestamp, in seconds, both ways.
    pub tolerance: u64,
    /// The headers with facts about a delivery: a present one must be covered.
    pub covered: Vec<HeaderName>,
    /// The tag that a signature must have, if one is required.
    pub tag: Option<String>,
}

impl MessageSignatureAuth {
    /// The key that signed the body, and the time of signing.
    fn verify(
        &self,
        unverified: &UnverifiedMessage,
        body: &[u8],
    ) -> Result<(&AcceptedKey<MessageKey>, i64), VerifyError> {
        let (number, created) = unverified.verify(body, self.keys.iter().map(|key| &key.key))?;
        Ok((&self.keys[number], created))
    }
}

/// A bearer key. Its digest is compared, so that the comparison takes the same time for any length.
pub struct BearerKey {
    digest: [u8; 32],
    /// The text of a configured key, to find it where an authentic sender repeats it.
    text: Option<SecretString>,
}

impl BearerKey {
    pub(super) fn of(text: &[u8]) -> Self {
        BearerKey { digest: Sha256::digest(text).into(), text: None }
    }

    pub(super) fn equals(&self, other: &BearerKey) -> bool {
        self.digest.ct_eq(&other.digest).into()
    }
}

impl fmt::Debug for BearerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

/// An accepted key and the time of its last use.
#[derive(Debug)]
pub struct AcceptedKey<K> {
    /// The fingerprint, which identifies the key in logs.
    pub fingerprint: Fingerprint,
    pub(super) key: K,
    /// Milliseconds since 1970; `i64::MIN` if it has not been used since the start.
    last_used: AtomicI64,
}

impl<K> AcceptedKey<K> {
    fn with(fingerprint: Fingerprint, key: K) -> Self {
        AcceptedKey { fingerprint, key, last_used: AtomicI64::new(i64::MIN) }
    }

    /// The time of its last use in this process.
    pub fn last_used(&self) -> Option<Timestamp> {
        DateTime::from_timestamp_millis(self.last_used.load(Ordering::Relaxed))
    }

    fn mark_used(&self, now: Timestamp) -> Fingerprint {
        self.last_used.fetch_max(now.timestamp_millis(), Ordering::Relaxed);
        self.fingerprint
    }
}

impl AcceptedKey<BearerKey> {
    /// A bearer key.
    pub fn bearer(secret: &SecretString) -> Self {
        let text = Some(secret.clone());
        let key = BearerKey { text, ..BearerKey::of(secret.expose_secret().as_bytes()) };
        AcceptedKey::with(Fingerprint::of(secret), key)
    }
}

impl AcceptedKey<Key> {
    /// A key of a scheme.
    pub fn signing(key: Key) -> Self {
        AcceptedKey::with(key.fingerprint, key)
    }
}

impl AcceptedKey<MessageKey> {
    /// A key of message signatures.
    pub fn message(key: MessageKey) -> Self {
        AcceptedKey::with(key.fingerprint, key)
    }
}

impl AcceptedKey<PublicKey> {
    /// The key of tokens.
    pub fn public(key: PublicKey) -> Self {
        AcceptedKey::with(key.fingerprint, key)
    }
}

/// The credentials of a request's head; a signature needs the body to be verified.
#[derive(Debug)]
pub(super) struct HeaderProof {
    /// The bearer key; none if the source has none, or it is in the body.
    bearer: Option<Fingerprint>,
    token: Option<UnverifiedToken>,
    is_key_in_body: bool,
    unverified: Option<UnverifiedSignature>,
    message: Option<UnverifiedMessage>,
}

/// The result of authentication.
#[derive(Debug)]
pub(super) struct Authenticated {
    /// The signing key, else the bearer key.
    pub(super) key: Option<Fingerprint>,
    /// The value that was signed besides the body and distinguishes messages: the id, else the time of signing.
    pub(super) stamp: Option<Vec<u8>>,
}

impl HeaderProof {
    /// True if the headers alone authenticate the request.
    pub(super) fn is_complete(&self) -> bool {
        self.unverified.is_none()
            && self.message.is_none()
            && self.token.is_none()
            && !self.is_key_in_body
    }
}

impl Auth {
    /// Bearer keys only.
    pub fn bearer(keys: impl IntoIterator<Item = AcceptedKey<BearerKey>>) -> Self {
        let (bearer, places) = (keys.into_iter().collect(), vec![KeyPlace::Bearer]);
        Auth { bearer, places, ..Auth::default() }
    }

    /// True if anyone can send.
    pub fn is_none(&self) -> bool {
        self.bearer.is_empty()
            && self.signature.is_none()
            && self.message.is_none()
            && self.token.is_none()
    }

    /// Every key, with the time of its last use in this process.
    pub fn keys(&self) -> impl Iterator<Item = (Fingerprint, Option<Timestamp>)> {
        let bearer = self.bearer.iter().map(|key| (key.fingerprint, key.last_used()));
        let signing = self.signature.iter().flat_map(|signed| &signed.keys);
        let message = self.message.iter().flat_map(|signed| &signed.keys);
        let token = self.token.iter().flat_map(|token| &token.keys);
        bearer
            .chain(signing.map(|key| (key.fingerprint, key.last_used())))
            .chain(message.map(|key| (key.fingerprint, key.last_used())))
            .chain(token.map(|key| (key.fingerprint, key.last_used())))
    }

    /// The scheme of the challenge in a 401. Only a client that has a key for `Authorization` can answer one.
    pub fn challenge(&self) -> Option<&'static str> {
        if self.token.as_ref().is_some_and(|token| token.rule.place.is_none()) {
            return Some("Bearer");
        }
        let places = if self.bearer.is_empty() { &[][..] } else { &self.places };
        places.iter().find_map(|place| match place {
            KeyPlace::Bearer => Some("Bearer"),
            KeyPlace::Basic => Some("Basic"),
            KeyPlace::At(_) | KeyPlace::Every(..) => None,
        })
    }

    /// The names of query parameters that hold a key.
    pub fn secret_parameters(&self) -> impl Iterator<Item = &str> {
        self.places.iter().filter_map(|place| match place {
            KeyPlace::At(Place::Query(name)) => Some(name.as_str()),
            _ => None,
        })
    }

    /// The keys of the sender that a request needs and that have to be fetched first, if there are any.
    ///
    /// # Errors
    /// [`Refusal`] if the request names keys that are not the sender's.
    pub(super) fn missing_keys(
        &self,
        proof: &HeaderProof,
        head: HttpMessage<'_>,
        body: &[u8],
    ) -> Result<Option<(Arc<RemoteKeys>, KeyId)>, Refusal> {
        let is_missing = |remote: &Arc<RemoteKeys>, id: KeyId| Some((Arc::clone(remote), id));
        if let (Some(TokenAuth { remote: Some(remote), .. }), Some(token)) =
            (&self.token, &proof.token)
        {
            return Ok(is_missing(remote, token.key_id.clone().unwrap_or_default()));
        }
        let Some(signed) = &self.signature else { return Ok(None) };
        let url = signed.certificate(&RequestParts::new(head, body))?;
        let remote = signed.certificate.as_ref().map(|certificate| &certificate.remote);
        Ok(remote.zip(url).and_then(|(remote, url)| is_missing(remote, url)))
    }

    /// True if a text contains one of the bearer keys.
    pub(super) fn has_key_in(&self, text: &[u8]) -> bool {
        let keys = self.bearer.iter().filter_map(|key| key.key.text.as_ref());
        keys.map(|key| key.expose_secret().as_bytes())
            .any(|key| !key.is_empty() && memmem::find(text, key).is_some())
    }

    /// Checks the headers.
    pub(super) fn admit(
        &self,
        head: HttpMessage<'_>,
        now: Timestamp,
    ) -> Result<HeaderProof, Refusal> {
        let is_key_in_body =
            !self.bearer.is_empty() && self.places.iter().any(KeyPlace::is_in_body);
        let bearer = match self.bearer.is_empty() || is_key_in_body {
            true => None,
            false => Some(self.bearer_key(&RequestParts::new(head, b""))?.mark_used(now)),
        };
        let unverified = match &self.signature {
            Some(signed) => Some(signed.scheme.present(head, signed.tolerance, now)?),
            None => None,
        };
        let message = match &self.message {
            Some(signed) => {
                let tag = signed.tag.as_deref();
                Some(head.present(&signed.covered, tag, signed.tolerance, now)?)
            }
            None => None,
        };
        let token = match &self.token {
            Some(token) => Some(token.rule.present(head, now)?),
            None => None,
        };
        Ok(HeaderProof { bearer, token, is_key_in_body, unverified, message })
    }

    /// Verifies the body.
    pub(super) fn verify(
        &self,
        proof: &HeaderProof,
        head: HttpMessage<'_>,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Authenticated, Refusal> {
        let mut authenticated = Authenticated { key: proof.bearer, stamp: None };
        if proof.is_key_in_body {
            let key = self.bearer_key(&RequestParts::new(head, body))?.mark_used(now);
            authenticated.key = Some(key);
        }
        if let (Some(signed), Some(unverified)) = (&self.signature, &proof.unverified) {
            let parts = RequestParts::new(head, body);
            let key = match (signed.certificate(&parts)?, &signed.certificate) {
                (Some(url), Some(certificate)) => {
                    let key = certificate.remote.get(&url).ok_or(Refusal::UnknownKey)?;
                    signed.scheme.verify_published(unverified, head, body, &key)?;
                    key.fingerprint
                }
                _ => signed.verify(unverified, head, body)?.mark_used(now),
            };
            authenticated =
                Authenticated { key: Some(key), stamp: unverified.stamp().map(<[u8]>::to_vec) };
        }
        if let (Some(signed), Some(unverified)) = (&self.message, &proof.message) {
            let (key, created) = signed.verify(unverified, body)?;
            let stamp = Some(created.to_string().into_bytes());
            authenticated = Authenticated { key: Some(key.mark_used(now)), stamp };
        }
        if let (Some(rule), Some(token)) = (&self.token, &proof.token) {
            let key = rule.verify(token, body, now)?;
            authenticated =
                Authenticated { key: Some(key), stamp: token.stamp().map(<[u8]>::to_vec) };
        }
        Ok(authenticated)
    }

    fn bearer_key(&self, parts: &RequestParts<'_>) -> Result<&AcceptedKey<BearerKey>, Refusal> {
        let mut given: Option<Vec<Vec<u8>>> = None;
        for place in &self.places {
            let keys = place.given(parts)?;
            match (keys.is_empty(), &given) {
                (true, _) => {}
                (false, Some(_)) => return Err(Refusal::ConflictingKeys),
                (false, None) => given = Some(keys),
            }
        }
        let Some(given) = given else {
            return Err(match self.places.first() {
                None | Some(KeyPlace::Bearer | KeyPlace::Basic) => Refusal::NoAuthorization,
                Some(place) => Refusal::NoKey(place.to_string()),
            });
        };
        let mut accepted = None;
        for key in given {
            accepted = Some(self.accepted(&BearerKey::of(&key))?);
        }
        accepted.ok_or(Refusal::WrongKey(self.bearer.len()))
    }

    fn accepted(&self, unverified: &BearerKey) -> Result<&AcceptedKey<BearerKey>, Refusal> {
        let mut accepted = None;
        for key in &self.bearer {
            let equal: Choice = key.key.digest.ct_eq(&unverified.digest);
            accepted = if equal.into() { Some(key) } else { accepted };
        }
        accepted.ok_or(Refusal::WrongKey(self.bearer.len()))
    }
}

impl TokenAuth {
    /// The fingerprint of the key that signed the token.
    fn verify(
        &self,
        token: &UnverifiedToken,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Fingerprint, Refusal> {
        let id = token.key_id.as_deref().unwrap_or_default();
        if let Some(remote) = &self.remote {
            let key = remote.get(id).ok_or(Refusal::UnknownKey)?;
            token.verify(&self.rule, body, std::iter::once(&*key))?;
            return Ok(key.fingerprint);
        }
        let number = token.verify(&self.rule, body, self.keys.iter().map(|key| &key.key))?;
        Ok(self.keys[number].mark_used(now))
    }
}

/// True if a request's one `Authorization` header has this bearer key; compared in constant time.
pub fn has_bearer(headers: &HeaderMap, key: &SecretString) -> bool {
    let key = BearerKey::of(key.expose_secret().as_bytes());
    in_header(headers).is_ok_and(|given| BearerKey::of(given).digest.ct_eq(&key.digest).into())
}
