//! What proves that a request is its sender's: a bearer key, a signature, or both.

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
    Fingerprint, Key, Message, MessageKey, MessagePresented, Presented, Scheme, Unproven,
};
use subtle::{Choice, ConstantTimeEq};
use text::field::credentials;

use super::{Refusal, Suspects};

/// What a source accepts as proof. Everything it holds is asked for; if it holds nothing, anyone can send.
#[derive(Debug, Default)]
pub struct Auth {
    /// Any of these bearer keys.
    pub bearer: Vec<Accepted<BearerKey>>,
    /// Whether the bearer key may come as `access_token` in the query, as CloudEvents asks for.
    pub query: bool,
    /// A signature.
    pub signature: Option<Signed>,
    /// A signature that covers what its sender chose, by RFC 9421.
    pub message: Option<SignedMessage>,
    /// What it does not accept, but knows.
    pub suspects: Suspects,
}

/// Any of some keys' signatures.
#[derive(Debug)]
pub struct Signed {
    /// How the sender signs.
    pub scheme: Scheme,
    /// The keys it may sign with.
    pub keys: Vec<Accepted<Key>>,
    /// How old or how early a timestamp may be, in seconds.
    pub tolerance: u64,
    /// The number of the key that was used last; it is tried first.
    latest: AtomicUsize,
}

impl Signed {
    /// A scheme and the keys that it is verified with.
    pub fn new(scheme: Scheme, keys: Vec<Accepted<Key>>, tolerance: u64) -> Self {
        Signed { scheme, keys, tolerance, latest: AtomicUsize::new(0) }
    }

    /// The key that signed the body.
    fn verify(&self, presented: &Presented, body: &[u8]) -> Result<&Accepted<Key>, Unproven> {
        let latest = self.latest.load(Ordering::Relaxed);
        let (before, from) = self.keys.split_at(latest);
        let keys = || from.iter().chain(before);
        let place = self.scheme.verify(presented, body, keys().map(|key| &key.key))?;
        let number = (latest + place) % self.keys.len();
        if place > 0 {
            self.latest.store(number, Ordering::Relaxed);
        }
        Ok(&self.keys[number])
    }
}

/// Any of some keys' message signatures.
#[derive(Debug)]
pub struct SignedMessage {
    /// The keys it may sign with.
    pub keys: Vec<Accepted<MessageKey>>,
    /// How old or how early a timestamp may be, in seconds.
    pub tolerance: u64,
    /// The headers that say what a delivery is: one that is there must be covered.
    pub covered: Vec<HeaderName>,
}

impl SignedMessage {
    /// The key that signed the body, and when.
    fn verify(
        &self,
        presented: &MessagePresented,
        body: &[u8],
    ) -> Result<(&Accepted<MessageKey>, i64), Unproven> {
        let (number, created) = presented.verify(body, self.keys.iter().map(|key| &key.key))?;
        Ok((&self.keys[number], created))
    }
}

/// A bearer key. Its digest is compared, so that this takes the same time whatever its length.
pub struct BearerKey {
    digest: [u8; 32],
    /// The text of a configured one, by which it is found where a proven sender repeats it.
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

/// A key that a source accepts, and when it last did.
#[derive(Debug)]
pub struct Accepted<K> {
    /// What stands for the key in logs.
    pub fingerprint: Fingerprint,
    pub(super) key: K,
    /// Milliseconds since 1970; the least number if it has not been used since the start.
    last_used: AtomicI64,
}

impl<K> Accepted<K> {
    fn with(fingerprint: Fingerprint, key: K) -> Self {
        Accepted { fingerprint, key, last_used: AtomicI64::new(i64::MIN) }
    }

    /// When it last proved a request of this process.
    pub fn last_used(&self) -> Option<Timestamp> {
        DateTime::from_timestamp_millis(self.last_used.load(Ordering::Relaxed))
    }

    fn used(&self, now: Timestamp) -> Fingerprint {
        self.last_used.fetch_max(now.timestamp_millis(), Ordering::Relaxed);
        self.fingerprint
    }
}

impl Accepted<BearerKey> {
    /// The bearer key whose text is `secret`.
    pub fn bearer(secret: &SecretString) -> Self {
        let text = Some(secret.clone());
        let key = BearerKey { text, ..BearerKey::of(secret.expose_secret().as_bytes()) };
        Accepted::with(Fingerprint::of(secret), key)
    }
}

impl Accepted<Key> {
    /// A key of a scheme.
    pub fn signing(key: Key) -> Self {
        Accepted::with(key.fingerprint, key)
    }
}

impl Accepted<MessageKey> {
    /// A key of message signatures.
    pub fn message(key: MessageKey) -> Self {
        Accepted::with(key.fingerprint, key)
    }
}

/// What a request's headers have proved so far.
#[derive(Debug)]
pub(super) struct Proof {
    bearer: Option<Fingerprint>,
    presented: Option<Presented>,
    message: Option<MessagePresented>,
}

/// What a request's headers and its bytes have proved together.
#[derive(Debug)]
pub(super) struct Proved {
    /// The key that signed it, else the bearer key that came with it.
    pub(super) key: Option<Fingerprint>,
    /// What was signed besides the body and tells one message from another: its id, else the time of signing.
    pub(super) stamp: Option<Vec<u8>>,
}

impl Proof {
    /// Whether the body has nothing more to prove.
    pub(super) fn is_complete(&self) -> bool {
        self.presented.is_none() && self.message.is_none()
    }
}

impl Auth {
    /// Any of these bearer keys, and nothing else.
    pub fn bearer(keys: impl IntoIterator<Item = Accepted<BearerKey>>) -> Self {
        Auth { bearer: keys.into_iter().collect(), ..Auth::default() }
    }

    /// Whether anyone can send.
    pub fn is_none(&self) -> bool {
        self.bearer.is_empty() && self.signature.is_none() && self.message.is_none()
    }

    /// Every key, and when this process last saw it used.
    pub fn keys(&self) -> impl Iterator<Item = (Fingerprint, Option<Timestamp>)> {
        let bearer = self.bearer.iter().map(|key| (key.fingerprint, key.last_used()));
        let signing = self.signature.iter().flat_map(|signed| &signed.keys);
        let message = self.message.iter().flat_map(|signed| &signed.keys);
        bearer
            .chain(signing.map(|key| (key.fingerprint, key.last_used())))
            .chain(message.map(|key| (key.fingerprint, key.last_used())))
    }

    /// Whether a text repeats one of the bearer keys.
    pub(super) fn has_key_in(&self, text: &[u8]) -> bool {
        let keys = self.bearer.iter().filter_map(|key| key.key.text.as_ref());
        keys.map(|key| key.expose_secret().as_bytes())
            .any(|key| !key.is_empty() && memmem::find(text, key).is_some())
    }

    /// What the headers alone can prove.
    pub(super) fn admit(&self, head: Message<'_>, now: Timestamp) -> Result<Proof, Refusal> {
        let Message { headers, uri, .. } = head;
        let bearer = if self.bearer.is_empty() {
            None
        } else {
            Some(self.bearer_key(headers, uri.query())?.used(now))
        };
        let presented = match &self.signature {
            Some(signed) => Some(signed.scheme.present(headers, signed.tolerance, now)?),
            None => None,
        };
        let message = match &self.message {
            Some(signed) => Some(head.present(&signed.covered, signed.tolerance, now)?),
            None => None,
        };
        Ok(Proof { bearer, presented, message })
    }

    /// What the bytes prove.
    pub(super) fn verify(
        &self,
        proof: &Proof,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Proved, Refusal> {
        let mut proved = Proved { key: proof.bearer, stamp: None };
        if let (Some(signed), Some(presented)) = (&self.signature, &proof.presented) {
            let key = signed.verify(presented, body)?.used(now);
            proved = Proved { key: Some(key), stamp: presented.stamp().map(<[u8]>::to_vec) };
        }
        if let (Some(signed), Some(presented)) = (&self.message, &proof.message) {
            let (key, created) = signed.verify(presented, body)?;
            let stamp = Some(created.to_string().into_bytes());
            proved = Proved { key: Some(key.used(now)), stamp };
        }
        Ok(proved)
    }

    fn bearer_key(
        &self,
        headers: &HeaderMap,
        query: Option<&str>,
    ) -> Result<&Accepted<BearerKey>, Refusal> {
        let query = query.filter(|_| self.query).and_then(access_token);
        let presented = match (in_header(headers), query) {
            (Ok(_), Some(_)) => return Err(Refusal::KeyTwice),
            (Err(Refusal::NoAuthorization), Some(token)) => BearerKey::of(&token),
            (token, _) => BearerKey::of(token?),
        };
        let mut accepted = None;
        for key in &self.bearer {
            let equal: Choice = key.key.digest.ct_eq(&presented.digest);
            accepted = if equal.into() { Some(key) } else { accepted };
        }
        accepted.ok_or(Refusal::WrongKey(self.bearer.len()))
    }
}

fn in_header(headers: &HeaderMap) -> Result<&[u8], Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Refusal::NoAuthorization)?.as_bytes();
    if values.next().is_some() {
        return Err(Refusal::AuthorizationTwice);
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
