//! Authentication of requests: a bearer key, a signature, or both.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use chrono::DateTime;
use contract::time::Timestamp;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use memchr::memmem;
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use signature::{
    Fingerprint, HttpMessage, Key, MessageKey, Scheme, UnverifiedMessage, UnverifiedSignature,
    VerifyError,
};
use subtle::{Choice, ConstantTimeEq};
use text::field::credentials;

use super::{DiagnosticKeys, Refusal};

/// The authentication that a source requires: every part that is set. Without any, anyone can send.
#[derive(Debug, Default)]
pub struct Auth {
    /// The accepted bearer keys.
    pub bearer: Vec<AcceptedKey<BearerKey>>,
    /// True if the bearer key may be `access_token` in the query, as CloudEvents specifies.
    pub query: bool,
    /// The signature.
    pub signature: Option<SignatureAuth>,
    /// The message signature (RFC 9421), which covers parts of the sender's choice.
    pub message: Option<MessageSignatureAuth>,
    /// Unaccepted keys, for diagnosis.
    pub diagnostic_keys: DiagnosticKeys,
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
    /// The index of the key used last; it is tried first.
    latest: AtomicUsize,
}

impl SignatureAuth {
    /// A scheme and its accepted keys.
    pub fn new(scheme: Scheme, keys: Vec<AcceptedKey<Key>>, tolerance: u64) -> Self {
        SignatureAuth { scheme, keys, tolerance, latest: AtomicUsize::new(0) }
    }

    /// The key that signed the body.
    fn verify(
        &self,
        unverified: &UnverifiedSignature,
        body: &[u8],
    ) -> Result<&AcceptedKey<Key>, VerifyError> {
        let latest = self.latest.load(Ordering::Relaxed);
        let (before, from) = self.keys.split_at(latest);
        let keys = || from.iter().chain(before);
        let index = self.scheme.verify(unverified, body, keys().map(|key| &key.key))?;
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

/// The credentials of a request's headers; a signature needs the body to be verified.
#[derive(Debug)]
pub(super) struct HeaderProof {
    bearer: Option<Fingerprint>,
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
        self.unverified.is_none() && self.message.is_none()
    }
}

impl Auth {
    /// Bearer keys only.
    pub fn bearer(keys: impl IntoIterator<Item = AcceptedKey<BearerKey>>) -> Self {
        Auth { bearer: keys.into_iter().collect(), ..Auth::default() }
    }

    /// True if anyone can send.
    pub fn is_none(&self) -> bool {
        self.bearer.is_empty() && self.signature.is_none() && self.message.is_none()
    }

    /// Every key, with the time of its last use in this process.
    pub fn keys(&self) -> impl Iterator<Item = (Fingerprint, Option<Timestamp>)> {
        let bearer = self.bearer.iter().map(|key| (key.fingerprint, key.last_used()));
        let signing = self.signature.iter().flat_map(|signed| &signed.keys);
        let message = self.message.iter().flat_map(|signed| &signed.keys);
        bearer
            .chain(signing.map(|key| (key.fingerprint, key.last_used())))
            .chain(message.map(|key| (key.fingerprint, key.last_used())))
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
        let HttpMessage { headers, uri, .. } = head;
        let bearer = if self.bearer.is_empty() {
            None
        } else {
            Some(self.bearer_key(headers, uri.query())?.mark_used(now))
        };
        let unverified = match &self.signature {
            Some(signed) => Some(signed.scheme.present(headers, signed.tolerance, now)?),
            None => None,
        };
        let message = match &self.message {
            Some(signed) => Some(head.present(&signed.covered, signed.tolerance, now)?),
            None => None,
        };
        Ok(HeaderProof { bearer, unverified, message })
    }

    /// Verifies the body.
    pub(super) fn verify(
        &self,
        proof: &HeaderProof,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Authenticated, Refusal> {
        let mut authenticated = Authenticated { key: proof.bearer, stamp: None };
        if let (Some(signed), Some(unverified)) = (&self.signature, &proof.unverified) {
            let key = signed.verify(unverified, body)?.mark_used(now);
            authenticated =
                Authenticated { key: Some(key), stamp: unverified.stamp().map(<[u8]>::to_vec) };
        }
        if let (Some(signed), Some(unverified)) = (&self.message, &proof.message) {
            let (key, created) = signed.verify(unverified, body)?;
            let stamp = Some(created.to_string().into_bytes());
            authenticated = Authenticated { key: Some(key.mark_used(now)), stamp };
        }
        Ok(authenticated)
    }

    fn bearer_key(
        &self,
        headers: &HeaderMap,
        query: Option<&str>,
    ) -> Result<&AcceptedKey<BearerKey>, Refusal> {
        let query = query.filter(|_| self.query).and_then(access_token);
        let unverified = match (in_header(headers), query) {
            (Ok(_), Some(_)) => return Err(Refusal::ConflictingKeys),
            (Err(Refusal::NoAuthorization), Some(token)) => BearerKey::of(&token),
            (token, _) => BearerKey::of(token?),
        };
        let mut accepted = None;
        for key in &self.bearer {
            let equal: Choice = key.key.digest.ct_eq(&unverified.digest);
            accepted = if equal.into() { Some(key) } else { accepted };
        }
        accepted.ok_or(Refusal::WrongKey(self.bearer.len()))
    }
}

/// True if a request's one `Authorization` header has this bearer key; compared in constant time.
pub fn has_bearer(headers: &HeaderMap, key: &SecretString) -> bool {
    let key = BearerKey::of(key.expose_secret().as_bytes());
    in_header(headers).is_ok_and(|given| BearerKey::of(given).digest.ct_eq(&key.digest).into())
}

fn in_header(headers: &HeaderMap) -> Result<&[u8], Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Refusal::NoAuthorization)?.as_bytes();
    if values.next().is_some() {
        return Err(Refusal::RepeatedAuthorization);
    }
    credentials(value, "Bearer").ok_or(Refusal::NotBearer)
}

/// The value of `access_token` in a query.
pub(super) fn access_token(query: &str) -> Option<Vec<u8>> {
    parameter(query, "access_token")
}

/// The first value under `name` in a query.
pub(super) fn parameter(query: &str, name: &str) -> Option<Vec<u8>> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(own, _)| *own == name)?;
    Some(percent_decode_str(value).collect())
}
