//! Keys: prepared once for their scheme, and shown as a fingerprint only.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256, Sha512};
use subtle::{Choice, ConstantTimeEq};

use super::{Algorithm, KeyFormat, PREFIX, Scheme, SignatureKind, SignedParts};

/// The largest signature, in bytes.
pub(super) const MAX_SIGNATURE: usize = 64;

/// Base64 with optional padding: a key means the same bytes either way.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

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
    /// A public key can verify but not sign.
    #[error("it is a public key, which can verify, but not sign")]
    Public,
}

/// A key of a scheme, ready to sign or verify with. It is wiped when it is dropped.
pub struct Key {
    /// The fingerprint, which identifies the key in logs.
    pub fingerprint: Fingerprint,
    /// The index of the key's kind in its scheme.
    pub(super) kind: usize,
    /// True if it has fewer bytes than its scheme allows.
    pub is_short: bool,
    material: KeyMaterial,
}

enum KeyMaterial {
    Sha256(Hmac<Sha256>),
    Sha512(Hmac<Sha512>),
    Public(VerifyingKey),
    Pair(Box<SigningKey>),
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
        if text.trim() != text || text.chars().any(char::is_control) {
            return Err(KeyError::Blanks);
        }
        let (number, kind) = kind_of(scheme, text);
        let bytes = Zeroizing::new(bytes(kind, text)?);
        if bytes.is_empty() || text == PREFIX {
            return Err(KeyError::Empty);
        }
        Ok(Key {
            fingerprint: Fingerprint::of(&kind.key.written(text, &bytes)),
            kind: number,
            is_short: bytes.len() < kind.shortest_key,
            material: KeyMaterial::new(kind, text, &bytes)?,
        })
    }

    /// A key from other bytes than its scheme reads, or for another hash, for diagnosis.
    pub fn of_bytes(secret: &SecretString, algorithm: Algorithm, bytes: &[u8]) -> Option<Self> {
        let material = match algorithm {
            Algorithm::HmacSha256 => KeyMaterial::Sha256(keyed(bytes)),
            Algorithm::HmacSha512 => KeyMaterial::Sha512(keyed(bytes)),
            Algorithm::Ed25519 => return None,
        };
        Some(Key { fingerprint: Fingerprint::of(secret), kind: 0, is_short: false, material })
    }

    /// True if one of `signatures` is this key's, in a time that does not depend on the similarity.
    pub(super) fn has_signed<'s>(
        &self,
        scheme: &Scheme,
        parts: &SignedParts<'_>,
        signatures: impl Iterator<Item = &'s [u8]>,
    ) -> bool {
        let mut signatures = signatures.peekable();
        if signatures.peek().is_none() {
            return false;
        }
        match &self.material {
            KeyMaterial::Sha256(mac) => equals_any(&finish(mac, scheme, parts), signatures),
            KeyMaterial::Sha512(mac) => equals_any(&finish(mac, scheme, parts), signatures),
            KeyMaterial::Public(key) => verifies_any(key, scheme, parts, signatures),
            KeyMaterial::Pair(pair) => {
                verifies_any(&pair.verifying_key(), scheme, parts, signatures)
            }
        }
    }

    /// Signs with this key.
    pub(super) fn sign(
        &self,
        scheme: &Scheme,
        parts: &SignedParts<'_>,
    ) -> Result<Vec<u8>, KeyError> {
        Ok(match &self.material {
            KeyMaterial::Sha256(mac) => finish(mac, scheme, parts).to_vec(),
            KeyMaterial::Sha512(mac) => finish(mac, scheme, parts).to_vec(),
            KeyMaterial::Pair(pair) => pair.sign(&joined(scheme, parts)).to_bytes().to_vec(),
            KeyMaterial::Public(_) => return Err(KeyError::Public),
        })
    }
}

impl KeyMaterial {
    fn new(kind: &SignatureKind, text: &str, bytes: &[u8]) -> Result<Self, KeyError> {
        Ok(match kind.algorithm {
            Algorithm::HmacSha256 => KeyMaterial::Sha256(keyed(bytes)),
            Algorithm::HmacSha512 => KeyMaterial::Sha512(keyed(bytes)),
            Algorithm::Ed25519 => match &kind.key {
                KeyFormat::Pair { secret, .. } if text.starts_with(secret) => pair(bytes)?,
                _ => KeyMaterial::Public(public(bytes)?),
            },
        })
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
            KeyFormat::Hex | KeyFormat::Base64 { .. } => format.written("", &bytes),
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
            KeyFormat::Pair { public, secret } => {
                let half = if text.starts_with(secret) { secret } else { public };
                format!("{half}{}", BASE64.encode(bytes))
            }
        }
        .into()
    }
}

/// The secret half of a key pair, optionally followed by the public half.
fn pair(bytes: &[u8]) -> Result<KeyMaterial, KeyError> {
    let pair = match (bytes.try_into(), bytes.try_into()) {
        (Ok(secret), _) => SigningKey::from_bytes(secret),
        (_, Ok(both)) => SigningKey::from_keypair_bytes(both)
            .map_err(|_| KeyError::Malformed("a secret key with its own public key behind it"))?,
        _ => return Err(KeyError::Length(bytes.len())),
    };
    Ok(KeyMaterial::Pair(Box::new(pair)))
}

/// The public half. Some points of the curve are no keys: anyone could sign for them.
pub(super) fn public(bytes: &[u8]) -> Result<VerifyingKey, KeyError> {
    let half = bytes.try_into().map_err(|_| KeyError::Length(bytes.len()))?;
    let key = VerifyingKey::from_bytes(half).ok().filter(|key| !key.is_weak());
    key.ok_or(KeyError::Malformed("an ed25519 public key"))
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
    }
}

fn keyed<M: KeyInit>(bytes: &[u8]) -> M {
    M::new_from_slice(bytes).expect("HMAC takes a key of any length")
}

/// A clone of the keyed MAC saves hashing the key again.
fn finish<M: Mac + Clone>(
    mac: &M,
    scheme: &Scheme,
    parts: &SignedParts<'_>,
) -> hmac::digest::Output<M> {
    let mut mac = mac.clone();
    scheme.pieces(parts, |piece| mac.update(piece));
    mac.finalize().into_bytes()
}

fn equals_any<'s>(made: &[u8], signatures: impl Iterator<Item = &'s [u8]>) -> bool {
    signatures.fold(Choice::from(0), |any, signature| any | made.ct_eq(signature)).into()
}

fn verifies_any<'s>(
    key: &VerifyingKey,
    scheme: &Scheme,
    parts: &SignedParts<'_>,
    mut signatures: impl Iterator<Item = &'s [u8]>,
) -> bool {
    let signed = joined(scheme, parts);
    signatures.any(|signature| is_by(key, &signed, signature))
}

/// True if the key pair of `key` made the signature. The strict check accepts one signature where a lax one accepts
/// several.
pub(super) fn is_by(key: &VerifyingKey, signed: &[u8], signature: &[u8]) -> bool {
    ed25519_dalek::Signature::from_slice(signature)
        .is_ok_and(|signature| key.verify_strict(signed, &signature).is_ok())
}

fn joined(scheme: &Scheme, parts: &SignedParts<'_>) -> Vec<u8> {
    let mut signed = Vec::with_capacity(parts.body.len() + 64);
    scheme.pieces(parts, |piece| signed.extend_from_slice(piece));
    signed
}
