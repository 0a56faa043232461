//! Keys of message signatures. Each belongs to its algorithms, so that none can be taken for one of another.

use std::fmt;

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use crate::key_document::{DocumentKey, base64};
use crate::material::Material;
use crate::{Algorithm, Fingerprint, KeyError, KeyType, MIN_KEY};

/// The algorithms of RFC 9421, and their names in its registry.
const ALGORITHMS: [(Algorithm, &str); 6] = [
    (Algorithm::HmacSha256, "hmac-sha256"),
    (Algorithm::Ed25519, "ed25519"),
    (Algorithm::EcdsaP256Sha256, "ecdsa-p256-sha256"),
    (Algorithm::EcdsaP384Sha384, "ecdsa-p384-sha384"),
    (Algorithm::RsaPssSha512, "rsa-pss-sha512"),
    (Algorithm::RsaSha256, "rsa-v1_5-sha256"),
];

/// The algorithm with this name in the registry of RFC 9421.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    ALGORITHMS.iter().find(|(_, own)| *own == name).map(|(algorithm, _)| *algorithm)
}

/// A text is not a key of a message signature. The error never repeats the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageKeyError {
    /// The algorithm is not named.
    #[error(
        "it is neither PEM nor a JSON Web Key, nor Base64 behind the name of an algorithm and a colon: hmac-sha256, ed25519, ecdsa-p256-sha256, ecdsa-p384-sha384, rsa-pss-sha512 or rsa-v1_5-sha256"
    )]
    Unnamed,
    /// The document holds no key for the algorithm.
    #[error(
        "it holds no key for ed25519, P-256, P-384 or RSA, or one for another algorithm than it names"
    )]
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
    /// The algorithms that it may be used with; it signs with the first.
    algorithms: Vec<Algorithm>,
    material: Material,
}

impl fmt::Debug for MessageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageKey({}, {})", self.name(), self.fingerprint)
    }
}

impl MessageKey {
    /// Reads a key: PEM, a JSON Web Key, or the algorithm's name, a colon, and Base64.
    ///
    /// Base64 holds the shared secret, the public key's own bytes, or the same document as PEM. An RSA key that names no
    /// algorithm may be used with both.
    ///
    /// # Errors
    /// [`MessageKeyError`] if it is in none of these forms.
    pub fn new(secret: &SecretString) -> Result<Self, MessageKeyError> {
        let text = secret.expose_secret();
        let (named, document, bytes) = match DocumentKey::read(text) {
            Some(document) => (None, document, Zeroizing::new(Vec::new())),
            None => {
                let (name, encoded) = text.split_once(':').ok_or(MessageKeyError::Unnamed)?;
                let named = algorithm(name).ok_or(MessageKeyError::Unnamed)?;
                let bytes = base64(encoded).ok_or(KeyError::Malformed("Base64"))?;
                if bytes.is_empty() {
                    return Err(KeyError::Empty.into());
                }
                (Some(named), DocumentKey::of_der(&bytes), bytes)
            }
        };
        let key_type = match (&document, named) {
            // A public key is known to all: taken for a shared secret, it would let anyone sign.
            (Some(_), Some(named)) if named.key_type() == KeyType::Secret => {
                return Err(MessageKeyError::Document);
            }
            (Some(document), _) => document.key_type,
            (None, Some(named)) => named.key_type(),
            (None, None) => return Err(MessageKeyError::Document),
        };
        let algorithms: Vec<_> = ALGORITHMS
            .iter()
            .map(|(algorithm, _)| *algorithm)
            .filter(|algorithm| algorithm.key_type() == key_type)
            .filter(|algorithm| named.is_none_or(|named| named == *algorithm))
            .collect();
        let first = *algorithms.first().ok_or(MessageKeyError::Document)?;
        let mut size = MIN_KEY;
        let material = match (document, key_type) {
            (Some(document), _) => {
                if let (KeyType::Secret, [secret]) = (key_type, document.public.as_slice()) {
                    size = secret.len();
                }
                Material::of_document(first, &document)?
            }
            (None, KeyType::Secret) => {
                size = bytes.len();
                Material::secret(first, &bytes)?
            }
            (None, KeyType::Ed25519) => Material::ed25519_public(&bytes)?,
            (None, KeyType::Rsa) => return Err(MessageKeyError::Document),
            (None, curve) => Material::point(curve, &bytes)?,
        };
        let fingerprint = Fingerprint::of(secret);
        Ok(MessageKey { fingerprint, is_short: size < MIN_KEY, algorithms, material })
    }

    /// A new random key of the same algorithm that can sign, for a forgery. None for RSA, whose keys take a while to
    /// find.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn unknown(&self) -> Result<Option<Self>, getrandom::Error> {
        let material = Material::random(self.algorithms[0])?;
        let fingerprint = Fingerprint::of(&"unknown".into());
        let algorithms = self.algorithms.clone();
        Ok(material.map(|material| MessageKey {
            fingerprint,
            is_short: false,
            algorithms,
            material,
        }))
    }

    /// The registered name of the algorithm that it signs with.
    pub fn name(&self) -> &'static str {
        let row = ALGORITHMS.iter().find(|(algorithm, _)| *algorithm == self.algorithms[0]);
        row.map_or("", |(_, name)| name)
    }

    /// True if it is the signing half of a key pair, which only the sender needs.
    pub fn is_senders_half(&self) -> bool {
        self.algorithms[0].key_type() != KeyType::Secret && self.material.can_sign()
    }

    /// True if the key made the signature, by the algorithm that the signature names.
    pub(super) fn has_signed(
        &self,
        named: Option<Algorithm>,
        base: &[u8],
        signature: &[u8],
    ) -> bool {
        let fits = |algorithm: &&Algorithm| named.is_none_or(|named| named == **algorithm);
        self.algorithms.iter().filter(fits).any(|algorithm| {
            let is_plain = algorithm.ecdsa().is_none() || matches!(signature.len(), 64 | 96);
            // The standard has the two numbers of a curve's signature one after the other only.
            is_plain
                && self.material.has_signed(
                    *algorithm,
                    |piece| piece(base),
                    std::iter::once(signature),
                )
        })
    }

    pub(super) fn sign(&self, base: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.material.sign(self.algorithms[0], |piece| piece(base))
    }
}
