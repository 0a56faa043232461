//! Key documents: PEM, DER, JSON Web Keys and certificates, down to the numbers in them.

use base64::Engine;
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use serde::Deserialize;

use super::KeyType;

/// Base64 with optional padding: a key means the same bytes either way.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The same in the alphabet for URLs.
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A key from a document.
pub(crate) struct DocumentKey {
    pub(crate) key_type: KeyType,
    /// The public half: the point of a curve, the number of an ed25519 key, modulus and exponent of an RSA key; the
    /// bytes of a shared secret.
    pub(crate) public: Vec<Vec<u8>>,
    /// The secret half: the number of a curve or of ed25519, the PKCS#1 document of an RSA key.
    pub(crate) secret: Option<Zeroizing<Vec<u8>>>,
}

/// The bytes of Base64 in either alphabet, with or without padding.
pub(crate) fn base64(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let engine = if text.contains(['-', '_']) { &BASE64_URL } else { &BASE64 };
    engine.decode(text).ok().map(Zeroizing::new)
}

impl DocumentKey {
    /// The key in a PEM document or a JSON Web Key; none if the text begins like neither.
    pub(crate) fn read(text: &str) -> Option<Option<Self>> {
        if let Some(pem) = text.trim_start().strip_prefix("-----BEGIN ") {
            return Some(pem_bytes(pem).and_then(|der| DocumentKey::of_der(&der)));
        }
        text.trim_start().starts_with('{').then(|| DocumentKey::of_jwk(text))
    }

    /// The key in a DER document: SubjectPublicKeyInfo, PKCS#8, SEC1, PKCS#1, or a certificate.
    pub(crate) fn of_der(der: &[u8]) -> Option<Self> {
        let mut outer = Der(der);
        let mut fields = Der(outer.take(SEQUENCE)?);
        if !outer.0.is_empty() {
            return None;
        }
        match fields.peek()? {
            SEQUENCE => DocumentKey::of_public_info(fields).or_else(|| of_certificate(fields)),
            INTEGER => {
                let rest = fields;
                let version = fields.take(INTEGER)?;
                match fields.peek()? {
                    SEQUENCE => DocumentKey::of_pkcs8(fields),
                    OCTETS => of_sec1(rest, None),
                    INTEGER if version == [0] => of_rsa(der),
                    INTEGER => rsa_public(rest),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// Algorithm and key of a SubjectPublicKeyInfo.
    fn of_public_info(mut fields: Der<'_>) -> Option<Self> {
        let (oid, curve) = algorithm(fields.take(SEQUENCE)?)?;
        let (unused, key) = fields.take(BITS)?.split_first()?;
        if *unused != 0 || !fields.0.is_empty() {
            return None;
        }
        match oid {
            ED25519 => Some(public(KeyType::Ed25519, vec![key.to_vec()])),
            EC => Some(public(curve?, vec![key.to_vec()])),
            RSA | RSA_PSS => rsa_public(Der(Der(key).take(SEQUENCE)?)),
            _ => None,
        }
    }

    fn of_pkcs8(mut fields: Der<'_>) -> Option<Self> {
        let (oid, curve) = algorithm(fields.take(SEQUENCE)?)?;
        let key = fields.take(OCTETS)?;
        match oid {
            ED25519 => {
                let secret = Der(key).take(OCTETS)?.to_vec();
                let key_type = KeyType::Ed25519;
                Some(DocumentKey { key_type, public: Vec::new(), secret: Some(secret.into()) })
            }
            EC => of_sec1(Der(Der(key).take(SEQUENCE)?), curve),
            RSA | RSA_PSS => of_rsa(key),
            _ => None,
        }
    }

    /// The text for the fingerprint: that of the public half, so that all forms of a key have one.
    pub(crate) fn public_text(&self, text: &str) -> SecretString {
        let halves: Vec<String> = self.public.iter().map(|half| BASE64.encode(half)).collect();
        if halves.is_empty() { text.into() } else { halves.join(".").into() }
    }

    fn of_jwk(text: &str) -> Option<Self> {
        let jwk: Jwk = serde_json::from_str(text).ok()?;
        let bytes = |text: &Option<String>| base64(text.as_deref()?).map(|bytes| bytes.to_vec());
        let secret = bytes(&jwk.d).map(Zeroizing::new);
        match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("oct", _) => Some(public(KeyType::Secret, vec![bytes(&jwk.k)?])),
            ("OKP", Some("Ed25519")) => {
                let public = vec![bytes(&jwk.x)?];
                Some(DocumentKey { key_type: KeyType::Ed25519, public, secret })
            }
            ("EC", Some(curve)) => {
                let key_type = match curve {
                    "P-256" => KeyType::P256,
                    "P-384" => KeyType::P384,
                    _ => return None,
                };
                let point = [vec![4], bytes(&jwk.x)?, bytes(&jwk.y)?].concat();
                Some(DocumentKey { key_type, public: vec![point], secret })
            }
            ("RSA", _) if secret.is_none() => {
                Some(public(KeyType::Rsa, vec![bytes(&jwk.n)?, bytes(&jwk.e)?]))
            }
            // The secret half of an RSA key is read from PEM only.
            _ => None,
        }
    }
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    d: Option<String>,
    k: Option<String>,
}

fn public(key_type: KeyType, public: Vec<Vec<u8>>) -> DocumentKey {
    DocumentKey { key_type, public, secret: None }
}

/// The bytes between the first line, of which the beginning is removed, and the end of the first block. Behind a
/// certificate stand those of its issuers.
fn pem_bytes(pem: &str) -> Option<Zeroizing<Vec<u8>>> {
    let lines = pem.lines().map(str::trim).collect::<Vec<_>>();
    let end = lines.iter().position(|line| line.starts_with("-----END "))?;
    match &lines[..end] {
        [first, lines @ ..] if first.ends_with("-----") => base64(&Zeroizing::new(lines.concat())),
        _ => None,
    }
}

const INTEGER: u8 = 0x02;
const BITS: u8 = 0x03;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
/// The explicit tag of the public half in SEC1.
const PUBLIC_HALF: u8 = 0xa1;
/// The explicit tags of a certificate's version, and of the curve in SEC1.
const FIRST: u8 = 0xa0;

const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];

/// A row of DER values.
#[derive(Clone, Copy)]
struct Der<'d>(&'d [u8]);

impl<'d> Der<'d> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The content of the next value, which has this tag.
    fn take(&mut self, tag: u8) -> Option<&'d [u8]> {
        let [own, length, rest @ ..] = self.0 else { return None };
        if *own != tag {
            return None;
        }
        let (length, rest) = match *length {
            short @ 0..0x80 => (usize::from(short), rest),
            long => {
                let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
                if bytes.len() > 4 {
                    return None;
                }
                (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(content)
    }

    /// A positive number without its leading zero.
    fn number(&mut self) -> Option<Vec<u8>> {
        let number = self.take(INTEGER)?;
        Some(number.strip_prefix(&[0]).unwrap_or(number).to_vec())
    }
}

/// The object identifier of an algorithm, and the curve behind it.
fn algorithm(content: &[u8]) -> Option<(&[u8], Option<KeyType>)> {
    let mut fields = Der(content);
    let oid = fields.take(OID)?;
    Some((oid, fields.take(OID).and_then(curve)))
}

fn curve(oid: &[u8]) -> Option<KeyType> {
    match oid {
        P256 => Some(KeyType::P256),
        P384 => Some(KeyType::P384),
        _ => None,
    }
}

/// An elliptic-curve key; the curve is in the document, or known from the one around it.
fn of_sec1(mut fields: Der<'_>, mut key_type: Option<KeyType>) -> Option<DocumentKey> {
    fields.take(INTEGER).filter(|version| *version == [1])?;
    let secret = fields.take(OCTETS)?.to_vec();
    if let Some(mut named) = fields.take(FIRST).map(Der) {
        key_type = key_type.or(curve(named.take(OID)?));
    }
    let (unused, point) = Der(fields.take(PUBLIC_HALF)?).take(BITS)?.split_first()?;
    let public = (*unused == 0).then(|| vec![point.to_vec()])?;
    Some(DocumentKey { key_type: key_type?, public, secret: Some(secret.into()) })
}

/// An RSA key pair (PKCS#1).
fn of_rsa(der: &[u8]) -> Option<DocumentKey> {
    let mut fields = Der(Der(der).take(SEQUENCE)?);
    fields.take(INTEGER).filter(|version| *version == [0])?;
    let public = vec![fields.number()?, fields.number()?];
    let secret = Some(Zeroizing::new(der.to_vec()));
    Some(DocumentKey { key_type: KeyType::Rsa, public, secret })
}

/// The two numbers of a public RSA key (PKCS#1).
fn rsa_public(mut numbers: Der<'_>) -> Option<DocumentKey> {
    let halves = vec![numbers.number()?, numbers.number()?];
    numbers.0.is_empty().then(|| public(KeyType::Rsa, halves))
}

/// The key of a certificate's subject. Its dates and its issuer are not checked.
fn of_certificate(mut fields: Der<'_>) -> Option<DocumentKey> {
    let mut certificate = Der(fields.take(SEQUENCE)?);
    certificate.take(FIRST)?;
    certificate.take(INTEGER)?;
    // The algorithm, the issuer, the dates, the subject.
    for _ in 0..4 {
        certificate.take(SEQUENCE)?;
    }
    DocumentKey::of_public_info(Der(certificate.take(SEQUENCE)?))
}
