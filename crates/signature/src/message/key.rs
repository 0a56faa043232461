//! Keys of message signatures. Each names its algorithm, so that none can be taken for one of another.

use std::fmt;

use base64::Engine;
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::key::{BASE64, is_by, public};
use crate::{Fingerprint, KeyError, MIN_KEY};

/// The algorithm of a message signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageAlgorithm {
    /// HMAC with SHA-256, of a shared secret.
    HmacSha256,
    /// Ed25519, of a key pair.
    Ed25519,
    /// ECDSA on the curve P-256 with SHA-256, of a key pair.
    EcdsaP256Sha256,
}

impl MessageAlgorithm {
    /// Every algorithm.
    const ALL: [Self; 3] = [Self::HmacSha256, Self::Ed25519, Self::EcdsaP256Sha256];

    /// The name in the registry of RFC 9421.
    pub const fn as_str(self) -> &'static str {
        match self {
            MessageAlgorithm::HmacSha256 => "hmac-sha256",
            MessageAlgorithm::Ed25519 => "ed25519",
            MessageAlgorithm::EcdsaP256Sha256 => "ecdsa-p256-sha256",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }
}

/// A text is not a key of a message signature. The error never repeats the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageKeyError {
    /// The algorithm is not named.
    #[error(
        "it is neither PEM nor Base64 behind one of \"hmac-sha256:\", \"ed25519:\" and \"ecdsa-p256-sha256:\""
    )]
    Unnamed,
    /// The PEM or DER document is of another type.
    #[error("it is no document with a key for ed25519 or P-256 in PKCS#8 or SubjectPublicKeyInfo")]
    Document,
    /// The key does not fit the named algorithm.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// A key of a message signature, ready to sign or verify with. It is wiped when it is dropped.
pub struct MessageKey {
    /// The fingerprint, which identifies the key in logs.
    pub fingerprint: Fingerprint,
    /// True if it has fewer bytes than a shared secret should have.
    pub is_short: bool,
    pub(super) algorithm: MessageAlgorithm,
    material: MessageKeyMaterial,
}

enum MessageKeyMaterial {
    Hmac(Hmac<Sha256>),
    Ed25519(VerifyingKey),
    Ed25519Pair(Box<SigningKey>),
    P256(Box<p256::ecdsa::VerifyingKey>),
    P256Pair(Box<p256::ecdsa::SigningKey>),
}

impl fmt::Debug for MessageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageKey({}, {})", self.algorithm.as_str(), self.fingerprint)
    }
}

/// The first bytes of each key document, its content and its length. No other form of these documents is in use.
const DOCUMENTS: [Document; 5] = [
    Document::new("302a300506032b6570032100", false, MessageAlgorithm::Ed25519, 44),
    Document::new("302e020100300506032b657004220420", true, MessageAlgorithm::Ed25519, 48),
    Document::new(
        "3059301306072a8648ce3d020106082a8648ce3d030107034200",
        false,
        MessageAlgorithm::EcdsaP256Sha256,
        91,
    ),
    Document::new(
        "308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420",
        true,
        MessageAlgorithm::EcdsaP256Sha256,
        138,
    ),
    Document::new("30770201010420", true, MessageAlgorithm::EcdsaP256Sha256, 121),
];

struct Document {
    beginning: &'static str,
    is_secret: bool,
    algorithm: MessageAlgorithm,
    length: usize,
}

impl Document {
    const fn new(
        beginning: &'static str,
        is_secret: bool,
        algorithm: MessageAlgorithm,
        length: usize,
    ) -> Self {
        Document { beginning, is_secret, algorithm, length }
    }

    /// The key in the document.
    fn key<'b>(&self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        let (beginning, rest) = bytes.split_at_checked(self.beginning.len() / 2)?;
        if bytes.len() != self.length || hex::encode(beginning) != self.beginning {
            return None;
        }
        rest.get(..if self.is_secret { 32 } else { rest.len() })
    }
}

impl MessageKey {
    /// Reads a key: PEM, or the algorithm's name, a colon, and Base64.
    ///
    /// Base64 holds the shared secret, the public key's own bytes, or the same document as PEM.
    ///
    /// # Errors
    /// [`MessageKeyError`] if it is in none of these forms.
    pub fn new(secret: &SecretString) -> Result<Self, MessageKeyError> {
        let text = secret.expose_secret();
        let (algorithm, bytes) = match text.strip_prefix("-----BEGIN ") {
            Some(pem) => (None, pem_bytes(pem)?),
            None => {
                let (name, base64) = text.split_once(':').ok_or(MessageKeyError::Unnamed)?;
                let algorithm = MessageAlgorithm::named(name).ok_or(MessageKeyError::Unnamed)?;
                (Some(algorithm), decoded(base64)?)
            }
        };
        if bytes.is_empty() {
            return Err(KeyError::Empty.into());
        }
        let (algorithm, material) = MessageKeyMaterial::read(algorithm, &bytes)?;
        Ok(MessageKey {
            fingerprint: Fingerprint::of(secret),
            is_short: bytes.len() < MIN_KEY,
            algorithm,
            material,
        })
    }

    /// A new random key of the same algorithm that can sign, for a forgery.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn unknown(&self) -> Result<Self, getrandom::Error> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(bytes.as_mut())?;
        let secret: SecretString = hex::encode(*bytes).into();
        let material = match self.algorithm {
            MessageAlgorithm::HmacSha256 => MessageKeyMaterial::Hmac(
                Hmac::new_from_slice(bytes.as_ref()).expect("HMAC takes a key of any length"),
            ),
            MessageAlgorithm::Ed25519 => {
                MessageKeyMaterial::Ed25519Pair(Box::new(SigningKey::from_bytes(&bytes)))
            }
            // All but one in 2^32 numbers are a key.
            MessageAlgorithm::EcdsaP256Sha256 => match p256(bytes.as_ref(), true) {
                Ok(material) => material,
                Err(_) => return self.unknown(),
            },
        };
        let fingerprint = Fingerprint::of(&secret);
        Ok(MessageKey { fingerprint, is_short: false, algorithm: self.algorithm, material })
    }

    /// True if it is the signing half of a key pair, which only the sender needs.
    pub fn is_senders_half(&self) -> bool {
        matches!(
            self.material,
            MessageKeyMaterial::Ed25519Pair(_) | MessageKeyMaterial::P256Pair(_)
        )
    }

    pub(super) fn has_signed(&self, base: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            MessageKeyMaterial::Hmac(mac) => {
                mac.clone().chain_update(base).verify_slice(signature).is_ok()
            }
            MessageKeyMaterial::Ed25519(key) => is_by(key, base, signature),
            MessageKeyMaterial::Ed25519Pair(pair) => is_by(&pair.verifying_key(), base, signature),
            MessageKeyMaterial::P256(key) => by_p256(key, base, signature),
            MessageKeyMaterial::P256Pair(pair) => by_p256(pair.verifying_key(), base, signature),
        }
    }

    pub(super) fn sign(&self, base: &[u8]) -> Result<Vec<u8>, KeyError> {
        Ok(match &self.material {
            MessageKeyMaterial::Hmac(mac) => {
                mac.clone().chain_update(base).finalize().into_bytes().to_vec()
            }
            MessageKeyMaterial::Ed25519Pair(pair) => pair.sign(base).to_bytes().to_vec(),
            MessageKeyMaterial::P256Pair(pair) => {
                let signature: p256::ecdsa::Signature = pair.sign(base);
                signature.to_bytes().to_vec()
            }
            MessageKeyMaterial::Ed25519(_) | MessageKeyMaterial::P256(_) => {
                return Err(KeyError::Public);
            }
        })
    }
}

impl MessageKeyMaterial {
    fn read(
        named: Option<MessageAlgorithm>,
        bytes: &[u8],
    ) -> Result<(MessageAlgorithm, Self), MessageKeyError> {
        let mut documents = DOCUMENTS.iter();
        let found = documents.find_map(|document| Some((document, document.key(bytes)?)));
        let (algorithm, is_secret, key) = match (found, named) {
            (Some((document, key)), _) => (document.algorithm, document.is_secret, key),
            (None, Some(named)) => (named, false, bytes),
            (None, None) => return Err(MessageKeyError::Document),
        };
        if named.is_some_and(|named| named != algorithm) {
            return Err(MessageKeyError::Document);
        }
        let material = match algorithm {
            MessageAlgorithm::HmacSha256 => MessageKeyMaterial::Hmac(
                Hmac::new_from_slice(key).expect("HMAC takes a key of any length"),
            ),
            MessageAlgorithm::Ed25519 => ed25519(key, is_secret)?,
            MessageAlgorithm::EcdsaP256Sha256 => p256(key, is_secret)?,
        };
        Ok((algorithm, material))
    }
}

fn ed25519(key: &[u8], is_secret: bool) -> Result<MessageKeyMaterial, KeyError> {
    match (is_secret, key.try_into()) {
        (true, Ok(half)) => {
            Ok(MessageKeyMaterial::Ed25519Pair(Box::new(SigningKey::from_bytes(half))))
        }
        _ => Ok(MessageKeyMaterial::Ed25519(public(key)?)),
    }
}

fn p256(key: &[u8], is_secret: bool) -> Result<MessageKeyMaterial, KeyError> {
    use p256::ecdsa::{SigningKey, VerifyingKey};
    let material = if is_secret {
        SigningKey::from_slice(key).map(|pair| MessageKeyMaterial::P256Pair(Box::new(pair)))
    } else {
        VerifyingKey::from_sec1_bytes(key).map(|key| MessageKeyMaterial::P256(Box::new(key)))
    };
    material.map_err(|_| KeyError::Malformed("a P-256 key"))
}

fn by_p256(key: &p256::ecdsa::VerifyingKey, base: &[u8], signature: &[u8]) -> bool {
    use p256::ecdsa::signature::Verifier;
    p256::ecdsa::Signature::from_slice(signature)
        .is_ok_and(|signature| key.verify(base, &signature).is_ok())
}

/// The bytes between the first line, of which the beginning is removed, and the last.
fn pem_bytes(pem: &str) -> Result<Zeroizing<Vec<u8>>, MessageKeyError> {
    let lines = pem.trim_end().lines().map(str::trim).collect::<Vec<_>>();
    match lines.as_slice() {
        [first, lines @ .., last] if first.ends_with("-----") && last.starts_with("-----END ") => {
            decoded(&Zeroizing::new(lines.concat()))
        }
        _ => Err(MessageKeyError::Document),
    }
}

fn decoded(base64: &str) -> Result<Zeroizing<Vec<u8>>, MessageKeyError> {
    let bytes = BASE64.decode(base64).map_err(|_| KeyError::Malformed("Base64"))?;
    Ok(Zeroizing::new(bytes))
}
