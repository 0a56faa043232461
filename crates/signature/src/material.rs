//! Key material: verification and signing by one key, whatever scheme or standard it is used for.

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use hmac::{Hmac, KeyInit, Mac};
use ring::agreement::{self, EphemeralPrivateKey};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, RsaKeyPair, RsaPublicKeyComponents, UnparsedPublicKey,
};
use secrecy::zeroize::Zeroizing;
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::{Choice, ConstantTimeEq};

use super::key_document::DocumentKey;
use super::{Algorithm, KeyError, KeyType};

/// A key in the form in which it is used. Shared secrets are wiped when it is dropped.
pub(crate) enum Material {
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
    Sha512(Hmac<Sha512>),
    Ed25519(VerifyingKey),
    Ed25519Pair(Box<SigningKey>),
    Curve { point: Vec<u8>, pair: Option<Box<EcdsaKeyPair>> },
    Rsa { numbers: RsaPublicKeyComponents<Vec<u8>>, pair: Option<Box<RsaKeyPair>> },
}

impl Material {
    /// A shared secret.
    ///
    /// # Errors
    /// [`KeyError`] if the algorithm needs a key pair.
    pub(crate) fn secret(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, KeyError> {
        Ok(match algorithm {
            Algorithm::HmacSha1 => Material::Sha1(keyed(bytes)),
            Algorithm::HmacSha256 => Material::Sha256(keyed(bytes)),
            Algorithm::HmacSha512 => Material::Sha512(keyed(bytes)),
            _ => return Err(KeyError::Malformed("a key pair's")),
        })
    }

    /// The public half of an ed25519 key pair. Some points of the curve are no keys: anyone could sign for them.
    pub(crate) fn ed25519_public(bytes: &[u8]) -> Result<Self, KeyError> {
        let half = bytes.try_into().map_err(|_| KeyError::Length(bytes.len()))?;
        let key = VerifyingKey::from_bytes(half).ok().filter(|key| !key.is_weak());
        key.map(Material::Ed25519).ok_or(KeyError::Malformed("an ed25519 public key"))
    }

    /// The secret half of an ed25519 key pair, optionally followed by the public half.
    pub(crate) fn ed25519_pair(bytes: &[u8]) -> Result<Self, KeyError> {
        let pair = match (bytes.try_into(), bytes.try_into()) {
            (Ok(secret), _) => SigningKey::from_bytes(secret),
            (_, Ok(both)) => SigningKey::from_keypair_bytes(both).map_err(|_| {
                KeyError::Malformed("a secret key with its own public key behind it")
            })?,
            _ => return Err(KeyError::Length(bytes.len())),
        };
        Ok(Material::Ed25519Pair(Box::new(pair)))
    }

    /// A public point of a curve.
    pub(crate) fn point(key_type: KeyType, point: &[u8]) -> Result<Self, KeyError> {
        let curve = match key_type {
            KeyType::P384 => &agreement::ECDH_P384,
            _ => &agreement::ECDH_P256,
        };
        // An agreement is the one operation that checks the point before it is used.
        let other = EphemeralPrivateKey::generate(curve, &SystemRandom::new());
        let other = other.map_err(|_| KeyError::NoRandom)?;
        let point_of = agreement::UnparsedPublicKey::new(curve, point);
        match agreement::agree_ephemeral(other, &point_of, |_| ()) {
            Ok(()) => Ok(Material::Curve { point: point.to_vec(), pair: None }),
            Err(_) => {
                Err(KeyError::Malformed("the whole point of its curve, 04 before both numbers"))
            }
        }
    }

    /// The key of a document.
    ///
    /// # Errors
    /// [`KeyError`] if its numbers are no key.
    pub(crate) fn of_document(
        algorithm: Algorithm,
        document: &DocumentKey,
    ) -> Result<Self, KeyError> {
        let (secret, public) = (document.secret.as_deref(), document.public.as_slice());
        match (document.key_type, public) {
            (KeyType::Secret, [bytes]) => Material::secret(algorithm, bytes),
            (KeyType::Ed25519, halves) => match (secret, halves) {
                (Some(secret), _) => Material::ed25519_pair(secret),
                (None, [half]) => Material::ed25519_public(half),
                _ => Err(KeyError::Malformed("an ed25519 key")),
            },
            (KeyType::P256 | KeyType::P384, [point]) => {
                let key = Material::point(document.key_type, point)?;
                match secret {
                    Some(secret) => key.with_number(document.key_type, secret),
                    None => Ok(key),
                }
            }
            (KeyType::Rsa, [n, e]) => {
                let pair = secret.map(|der| RsaKeyPair::from_der(der)).transpose();
                let pair = pair.map_err(|_| {
                    KeyError::Malformed("an RSA key of 2048 to 4096 bits that can sign")
                })?;
                if n.len() < 256 {
                    return Err(KeyError::Malformed("an RSA key of at least 2048 bits"));
                }
                let numbers = RsaPublicKeyComponents { n: n.clone(), e: e.clone() };
                Ok(Material::Rsa { numbers, pair: pair.map(Box::new) })
            }
            _ => Err(KeyError::Malformed("a whole key")),
        }
    }

    fn with_number(self, key_type: KeyType, number: &[u8]) -> Result<Self, KeyError> {
        let Material::Curve { point, .. } = self else { return Ok(self) };
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            signing(key_type),
            number,
            &point,
            &SystemRandom::new(),
        )
        .map_err(|_| KeyError::Malformed("a secret key with its own public key"))?;
        Ok(Material::Curve { point, pair: Some(Box::new(pair)) })
    }

    /// A new random key for the algorithm, that can sign: for a forgery. None for RSA, whose keys take a while to find.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub(crate) fn random(algorithm: Algorithm) -> Result<Option<Self>, getrandom::Error> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(bytes.as_mut())?;
        let key_type = algorithm.key_type();
        Ok(match key_type {
            KeyType::Secret => Material::secret(algorithm, bytes.as_ref()).ok(),
            KeyType::Ed25519 => Material::ed25519_pair(bytes.as_ref()).ok(),
            KeyType::P256 | KeyType::P384 => {
                let random = SystemRandom::new();
                let made = EcdsaKeyPair::generate_pkcs8(signing(key_type), &random);
                let document = made.ok().and_then(|made| DocumentKey::of_der(made.as_ref()));
                document.and_then(|document| Material::of_document(algorithm, &document).ok())
            }
            KeyType::Rsa => None,
        })
    }

    /// True if it can sign, which only the sender of a key pair needs.
    pub(crate) fn can_sign(&self) -> bool {
        match self {
            Material::Ed25519(_) => false,
            Material::Curve { pair, .. } => pair.is_some(),
            Material::Rsa { pair, .. } => pair.is_some(),
            _ => true,
        }
    }

    /// True if one of `signatures` is this key's, in a time that does not depend on the similarity. `pieces` calls its
    /// argument with each piece of the signed bytes.
    pub(crate) fn has_signed<'s>(
        &self,
        algorithm: Algorithm,
        pieces: impl Fn(&mut dyn FnMut(&[u8])),
        mut signatures: impl Iterator<Item = &'s [u8]>,
    ) -> bool {
        match self {
            Material::Sha1(mac) => equals_any(&finish(mac, pieces), signatures),
            Material::Sha256(mac) => equals_any(&finish(mac, pieces), signatures),
            Material::Sha512(mac) => equals_any(&finish(mac, pieces), signatures),
            _ => {
                let signed = joined(pieces);
                signatures.any(|signature| self.is_signature(algorithm, &signed, signature))
            }
        }
    }

    /// True if the key pair made the signature. For ed25519, the strict check accepts one signature where a lax one
    /// accepts several.
    fn is_signature(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        let by_ed25519 = |key: &VerifyingKey| {
            ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(signed, &signature).is_ok())
        };
        match (self, algorithm.ecdsa(), algorithm.rsa()) {
            (Material::Ed25519(key), ..) => by_ed25519(key),
            (Material::Ed25519Pair(pair), ..) => by_ed25519(&pair.verifying_key()),
            (Material::Curve { point, .. }, Some([fixed, der]), _) => {
                let is =
                    |form| UnparsedPublicKey::new(form, point).verify(signed, signature).is_ok();
                // DER of two numbers of this size is always longer or shorter than the numbers alone.
                if signature.len() == point.len() - 1 { is(fixed) } else { is(der) }
            }
            (Material::Rsa { numbers, .. }, _, Some(parameters)) => {
                numbers.verify(parameters, signed, signature).is_ok()
            }
            _ => false,
        }
    }

    /// Signs with this key.
    ///
    /// # Errors
    /// [`KeyError`] if it is a public key, or the algorithm can only be verified.
    pub(crate) fn sign(
        &self,
        algorithm: Algorithm,
        pieces: impl Fn(&mut dyn FnMut(&[u8])),
    ) -> Result<Vec<u8>, KeyError> {
        let random = SystemRandom::new();
        match self {
            Material::Sha1(mac) => Ok(finish(mac, pieces).to_vec()),
            Material::Sha256(mac) => Ok(finish(mac, pieces).to_vec()),
            Material::Sha512(mac) => Ok(finish(mac, pieces).to_vec()),
            Material::Ed25519Pair(pair) => Ok(pair.sign(&joined(pieces)).to_bytes().to_vec()),
            Material::Curve { pair: Some(pair), .. } => {
                let signed = pair.sign(&random, &joined(pieces));
                signed.map(|made| made.as_ref().to_vec()).map_err(|_| KeyError::NoRandom)
            }
            Material::Rsa { pair: Some(pair), .. } => {
                let encoding =
                    algorithm.rsa_signing().ok_or(KeyError::VerifiesOnly(algorithm.as_str()))?;
                let mut made = vec![0; pair.public().modulus_len()];
                let signed = pair.sign(encoding, &random, &joined(pieces), &mut made);
                signed.map(|()| made).map_err(|_| KeyError::NoRandom)
            }
            Material::Ed25519(_) | Material::Curve { .. } | Material::Rsa { .. } => {
                Err(KeyError::Public)
            }
        }
    }
}

fn signing(key_type: KeyType) -> &'static EcdsaSigningAlgorithm {
    match key_type {
        KeyType::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
        _ => &ECDSA_P256_SHA256_FIXED_SIGNING,
    }
}

fn keyed<M: KeyInit>(bytes: &[u8]) -> M {
    M::new_from_slice(bytes).expect("HMAC takes a key of any length")
}

/// A clone of the keyed MAC saves hashing the key again.
fn finish<M: Mac + Clone>(
    mac: &M,
    pieces: impl Fn(&mut dyn FnMut(&[u8])),
) -> hmac::digest::Output<M> {
    let mut mac = mac.clone();
    pieces(&mut |piece| mac.update(piece));
    mac.finalize().into_bytes()
}

fn equals_any<'s>(made: &[u8], signatures: impl Iterator<Item = &'s [u8]>) -> bool {
    signatures.fold(Choice::from(0), |any, signature| any | made.ct_eq(signature)).into()
}

fn joined(pieces: impl Fn(&mut dyn FnMut(&[u8]))) -> Vec<u8> {
    let mut signed = Vec::new();
    pieces(&mut |piece| signed.extend_from_slice(piece));
    signed
}
