//! Keys: prepared once for their scheme, and shown as a fingerprint only.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::key_document::{self, BASE64, DocumentKey};
use super::material::Material;
use super::parts::RequestParts;
use super::{Algorithm, KeyFormat, KeyType, PREFIX, Scheme, SignatureKind};

/// Eight hexadecimal digits that identify a key where the key itself must not be shown.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 4]);

impl Fingerprint {
    /// The fingerprint of a key's text.
    pub fn of(secret: &SecretString) -> Self {
        let mut digest = Sha256::new_with_prefix(b"webhook-receiver key fingerprint\n");
        digest.update(secret.expose_secret());
        let digest: [u8; 32] = digest.finalize().into();
        Fingerprint([digest[0], digest[1], digest[2], digest[3]])
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text is not a key of the scheme. The error never repeats the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The key is empty, perhaps after the prefix: anyone could sign with it.
    #[error("it is empty")]
    Empty,
    /// The key has white space around it or control characters in it, by mistake.
    #[error("it has spaces around it or control characters in it")]
    Blanks,
    /// The key is not in the scheme's format.
    #[error("it is not {0}")]
    Malformed(&'static str),
    /// The size is not that of a half of a key pair.
    #[error(
        "it has {0} bytes, and an ed25519 key has 32, or 64 with the secret half before the public"
    )]
    Length(usize),
    /// A key document is of another type than the algorithm needs.
    #[error("it is no {0} key: write it as PEM, as a JSON Web Key, or in Base64")]
    Document(&'static str),
    /// A public key can verify but not sign.
    #[error("it is a public key, which can verify, but not sign")]
    Public,
    /// The algorithm is too weak to sign with.
    #[error("{0} is only verified; sign with a better algorithm")]
    VerifiesOnly(&'static str),
    /// The system has no random numbers.
    #[error("the system has no random numbers")]
    NoRandom,
}

/// A key of a scheme, ready to sign or verify with. It is wiped when it is dropped.
pub struct Key {
    /// The fingerprint, which identifies the key in logs.
    pub fingerprint: Fingerprint,
    /// The index of the key's kind in its scheme.
    pub(super) kind: usize,
    /// True if it has fewer bytes than its scheme allows.
    pub is_short: bool,
    pub(super) material: Material,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.fingerprint)
    }
}

impl Key {
    /// Reads a key in its scheme's format. All forms of one key have one fingerprint.
    ///
    /// # Errors
    /// [`KeyError`] if it is empty or not in the scheme's format.
    pub fn new(scheme: &Scheme, secret: &SecretString) -> Result<Self, KeyError> {
        let text = secret.expose_secret();
        // A PEM document has lines, and mostly a line break at its end.
        let is_pem = text.starts_with("-----BEGIN ");
        let is_odd = |c: char| c.is_control() && !(is_pem && matches!(c, '\n' | '\r'));
        if text.trim() != if is_pem { text.trim_end() } else { text } || text.chars().any(is_odd) {
            return Err(KeyError::Blanks);
        }
        let prefixes = ["", PREFIX, "whsk_", "whpk_"];
        if prefixes.contains(&text) {
            return Err(KeyError::Empty);
        }
        let (number, kind) = kind_of(scheme, text);
        if let Some(document) = document(kind, text)? {
            return Ok(Key {
                fingerprint: Fingerprint::of(&document.public_text(text)),
                kind: number,
                is_short: false,
                material: Material::of_document(kind.algorithm, &document)?,
            });
        }
        let bytes = Zeroizing::new(bytes(kind, text)?);
        if bytes.is_empty() {
            return Err(KeyError::Empty);
        }
        let material = match &kind.key {
            KeyFormat::Pair { secret, .. } if text.starts_with(secret) => {
                Material::ed25519_pair(&bytes)?
            }
            _ => match kind.algorithm.key_type() {
                KeyType::Secret => Material::secret(kind.algorithm, &bytes)?,
                KeyType::Ed25519 => Material::ed25519_public(&bytes)?,
                other => Material::point(other, &bytes)?,
            },
        };
        Ok(Key {
            fingerprint: Fingerprint::of(&kind.key.written(text, &bytes)),
            kind: number,
            is_short: bytes.len() < kind.shortest_key,
            material,
        })
    }

    /// A key from other bytes than its scheme reads, or for another hash, for diagnosis.
    pub fn of_bytes(secret: &SecretString, algorithm: Algorithm, bytes: &[u8]) -> Option<Self> {
        let material = Material::secret(algorithm, bytes).ok()?;
        Some(Key { fingerprint: Fingerprint::of(secret), kind: 0, is_short: false, material })
    }

    /// A new random key of the same kind that can sign, for a forgery. None for RSA, whose keys take a while to find.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn unknown(&self, scheme: &Scheme) -> Result<Option<Self>, getrandom::Error> {
        let material = Material::random(scheme.kinds[self.kind].algorithm)?;
        let fingerprint = Fingerprint::of(&"unknown".into());
        let with = |material| Key { fingerprint, kind: self.kind, is_short: false, material };
        Ok(material.map(with))
    }

    /// The algorithm of its signatures.
    fn algorithm(&self, scheme: &Scheme) -> Algorithm {
        match &self.material {
            Material::Sha1(_) => Algorithm::HmacSha1,
            Material::Sha256(_) => Algorithm::HmacSha256,
            Material::Sha512(_) => Algorithm::HmacSha512,
            _ => scheme.kinds[self.kind].algorithm,
        }
    }

    /// True if it can sign.
    pub fn can_sign(&self) -> bool {
        self.material.can_sign()
    }

    /// The MAC of a value by this key, if it is a shared secret for this algorithm.
    pub fn hmac(&self, algorithm: Algorithm, value: &[u8]) -> Option<Vec<u8>> {
        let is_it = matches!(
            (&self.material, algorithm),
            (Material::Sha1(_), Algorithm::HmacSha1)
                | (Material::Sha256(_), Algorithm::HmacSha256)
                | (Material::Sha512(_), Algorithm::HmacSha512)
        );
        is_it.then(|| self.material.sign(algorithm, |piece| piece(value)).ok())?
    }

    /// True if one of `signatures` is this key's, in a time that does not depend on the similarity.
    pub(super) fn has_signed<'s>(
        &self,
        scheme: &Scheme,
        parts: &RequestParts<'_>,
        signatures: impl Iterator<Item = &'s [u8]>,
    ) -> bool {
        let signed = scheme.signed.evaluated(parts);
        signed.is_ok_and(|signed| self.has_made(scheme, &signed, signatures))
    }

    /// As [`has_signed`](Self::has_signed), of what is signed in pieces.
    pub(super) fn has_made<'s>(
        &self,
        scheme: &Scheme,
        signed: &[Cow<'_, [u8]>],
        signatures: impl Iterator<Item = &'s [u8]>,
    ) -> bool {
        let mut signatures = signatures.peekable();
        if signatures.peek().is_none() {
            return false;
        }
        let pieces = |piece: &mut dyn FnMut(&[u8])| signed.iter().for_each(|own| piece(own));
        self.material.has_signed(self.algorithm(scheme), pieces, signatures)
    }

    /// Signs with this key.
    pub(super) fn sign(
        &self,
        scheme: &Scheme,
        parts: &RequestParts<'_>,
    ) -> Result<Vec<u8>, KeyError> {
        self.material.sign(self.algorithm(scheme), |piece| scheme.signed.pieces(parts, piece))
    }
}

impl Scheme {
    /// A new random secret of the same kind as `like`.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn fresh_secret(&self, like: &Key) -> Result<SecretString, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        let format = &self.kinds[like.kind].key;
        Ok(match format {
            KeyFormat::Text => hex::encode(bytes).into(),
            KeyFormat::Pair { secret, .. } => format.written(secret, &bytes),
            KeyFormat::Hex | KeyFormat::Base64 { .. } | KeyFormat::Document => {
                format.written("", &bytes)
            }
        })
    }
}

impl KeyFormat {
    /// The canonical form of a key configured as `text`.
    fn written(&self, text: &str, bytes: &[u8]) -> SecretString {
        match self {
            KeyFormat::Text => text.to_owned(),
            KeyFormat::Hex => hex::encode(bytes),
            KeyFormat::Base64 { prefix } => format!("{prefix}{}", BASE64.encode(bytes)),
            KeyFormat::Document => BASE64.encode(bytes),
            KeyFormat::Pair { public, secret } => {
                let half = if text.starts_with(secret) { secret } else { public };
                format!("{half}{}", BASE64.encode(bytes))
            }
        }
        .into()
    }
}

/// The document of a key pair: PEM, a JSON Web Key, or the DER of either half in Base64. None for a key that is not
/// written as one.
fn document(kind: &SignatureKind, text: &str) -> Result<Option<DocumentKey>, KeyError> {
    let key_type = kind.algorithm.key_type();
    if key_type == KeyType::Secret {
        return Ok(None);
    }
    let in_base64 = || key_document::base64(text).and_then(|der| DocumentKey::of_der(&der));
    let document = match DocumentKey::read(text) {
        Some(document) => document,
        None => match in_base64() {
            None if key_type != KeyType::Rsa => return Ok(None),
            document => document,
        },
    };
    let document = document.filter(|document| document.key_type == key_type);
    document.map(Some).ok_or(KeyError::Document(key_type.as_str()))
}

/// The kind with the key's prefix, or else the first.
pub(super) fn kind_of<'s>(scheme: &'s Scheme, text: &str) -> (usize, &'s SignatureKind) {
    let pair = |kind: &SignatureKind| match &kind.key {
        KeyFormat::Pair { public, secret } => text.starts_with(public) || text.starts_with(secret),
        _ => false,
    };
    let number = scheme.kinds.iter().position(pair).unwrap_or_default();
    (number, &scheme.kinds[number])
}

pub(super) fn bytes(kind: &SignatureKind, text: &str) -> Result<Vec<u8>, KeyError> {
    let base64 = |text: &str| BASE64.decode(text).map_err(|_| KeyError::Malformed("Base64"));
    match &kind.key {
        KeyFormat::Text => Ok(text.as_bytes().to_vec()),
        KeyFormat::Hex => hex::decode(text).map_err(|_| KeyError::Malformed("hexadecimal")),
        KeyFormat::Base64 { prefix } => base64(text.strip_prefix(prefix).unwrap_or(text)),
        KeyFormat::Pair { public, secret } => {
            let half = text.strip_prefix(public).or_else(|| text.strip_prefix(secret));
            base64(half.unwrap_or(text))
        }
        KeyFormat::Document => {
            let bytes = key_document::base64(text).ok_or(KeyError::Malformed("Base64"))?;
            Ok(bytes.to_vec())
        }
    }
}
