//! A scheme in the language of the settings: a row of the table of senders, or of a sender that is not in it.

mod check;

use serde::{Deserialize, Deserializer};

use super::{
    Algorithm, Encoding, KeyFormat, KeyType, MIN_KEY, Place, ProofPlaces, Scheme, SignatureKind,
    Template, TimestampLocator, Unit,
};

/// A scheme as configured in `[sources.NAME.signature]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CustomScheme {
    /// The header of the signature; several, if it has several spellings or one for each key.
    #[serde(deserialize_with = "one_or_many")]
    pub header: Vec<String>,
    /// The place of a signature that is in no header: a query parameter or a member of the body.
    pub place: Option<String>,
    /// The label before the signature.
    pub prefix: String,
    /// The separator of several signatures in the header; none for a single one.
    pub separator: Option<char>,
    /// The template of the signed bytes, with the request's own bytes in braces.
    pub signed: String,
    /// Places that must be empty, since the signature does not cover them.
    pub absent: Vec<String>,
    /// The place of the SHA-256 of the body, if the signed bytes have that instead of the body.
    pub body_digest: Option<String>,
    /// The header of the time of signing; as many as there are of the signature.
    #[serde(deserialize_with = "one_or_many")]
    pub timestamp_header: Vec<String>,
    /// The place of a time that is in no header.
    pub timestamp_place: Option<String>,
    /// The label before the time of signing, if it is an entry of the signature header.
    pub timestamp_prefix: Option<String>,
    /// The unit of the time.
    pub timestamp_unit: Unit,
    /// The header of the message id, if it is signed; as many as there are of the signature.
    #[serde(deserialize_with = "one_or_many")]
    pub id_header: Vec<String>,
    /// The algorithm of the signature.
    pub algorithm: Algorithm,
    /// The encoding of the signature.
    pub encoding: Encoding,
    /// The format of the key.
    pub key: CustomKey,
    /// The prefix of a key in Base64.
    pub key_prefix: String,
    /// The smallest size of a shared secret, in bytes.
    pub shortest_key: usize,
    /// Further kinds of signature in the same place, told apart by prefix or algorithm.
    pub also: Vec<CustomKind>,
}

impl Default for CustomScheme {
    fn default() -> Self {
        CustomScheme {
            header: Vec::new(),
            place: None,
            prefix: String::new(),
            separator: None,
            signed: "{body}".into(),
            absent: Vec::new(),
            body_digest: None,
            timestamp_header: Vec::new(),
            timestamp_place: None,
            timestamp_prefix: None,
            timestamp_unit: Unit::Seconds,
            id_header: Vec::new(),
            algorithm: Algorithm::HmacSha256,
            encoding: Encoding::Hex,
            key: CustomKey::Text,
            key_prefix: String::new(),
            shortest_key: MIN_KEY,
            also: Vec::new(),
        }
    }
}

/// A further kind of signature.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomKind {
    /// The label before the signature.
    #[serde(default)]
    pub prefix: String,
    /// The algorithm of the signature.
    pub algorithm: Algorithm,
}

/// The format of a shared secret, or of the public half of an ed25519 key. Any key of a pair may be PEM, a JSON Web Key,
/// or DER in Base64; an ed25519 key also Base64 alone, with or without `whpk_`, or of its secret half after `whsk_`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CustomKey {
    /// Its own bytes.
    #[default]
    Text,
    /// Hexadecimal digits; for ed25519, of the public half.
    Hex,
    /// Base64.
    Base64,
}

/// An error in a scheme from the configuration: the setting and the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} {reason}")]
pub struct CustomError {
    /// The setting.
    pub setting: &'static str,
    /// The reason and the correction.
    pub reason: String,
}

impl CustomScheme {
    /// The scheme that the settings describe, under a name. Values of the template that are not set stay open.
    ///
    /// # Errors
    /// [`CustomError`] if it signs too little, signs a fact without its place, names an invalid header, or cannot be
    /// distinguished from the text beside it.
    pub fn scheme(&self, name: &str) -> Result<Scheme, CustomError> {
        let signed = self.check()?;
        let first = CustomKind { prefix: self.prefix.clone(), algorithm: self.algorithm };
        let kinds = std::iter::once(&first).chain(&self.also);
        Ok(Scheme {
            name: name.into(),
            spellings: self.spellings()?,
            separator: self.separator,
            unit: self.timestamp_unit,
            signed,
            body_digest: place("body_digest", self.body_digest.as_deref())?,
            absent: self.absent()?,
            encoding: self.encoding,
            kinds: kinds.map(|kind| self.kind(kind)).collect(),
        })
    }

    fn spellings(&self) -> Result<Vec<ProofPlaces>, CustomError> {
        let entry = self.timestamp_prefix.clone().map(TimestampLocator::Entry);
        let at = place("timestamp_place", self.timestamp_place.as_deref())?;
        let spelling = |index: usize, signature: Place| {
            let header = self.timestamp_header.get(index).cloned().map(Place::Header);
            let own = header.or(at.clone()).map(TimestampLocator::At);
            let id = self.id_header.get(index).cloned();
            ProofPlaces { signature, timestamp: own.or(entry.clone()), id }
        };
        if let Some(signature) = place("place", self.place.as_deref())? {
            return Ok(vec![spelling(0, signature)]);
        }
        let headers = self.header.iter().cloned().map(Place::Header).enumerate();
        Ok(headers.map(|(index, signature)| spelling(index, signature)).collect())
    }

    fn absent(&self) -> Result<Vec<Place>, CustomError> {
        let parsed = self.absent.iter().map(|text| Place::parse(text));
        parsed
            .collect::<Result<_, _>>()
            .map_err(|error| CustomError { setting: "absent", reason: error.to_string() })
    }

    fn kind(&self, kind: &CustomKind) -> SignatureKind {
        let is_secret = kind.algorithm.key_type() == KeyType::Secret;
        SignatureKind {
            label: kind.prefix.clone(),
            algorithm: kind.algorithm,
            key: self.key_format(kind.algorithm),
            shortest_key: if is_secret { self.shortest_key } else { 32 },
        }
    }

    fn key_format(&self, algorithm: Algorithm) -> KeyFormat {
        match (algorithm.key_type(), self.key) {
            (KeyType::Ed25519 | KeyType::Secret, CustomKey::Hex) => KeyFormat::Hex,
            (KeyType::Ed25519, _) => KeyFormat::pair(),
            (KeyType::Secret, CustomKey::Text) => KeyFormat::Text,
            (KeyType::Secret, CustomKey::Base64) => {
                KeyFormat::Base64 { prefix: self.key_prefix.clone() }
            }
            _ => KeyFormat::Document,
        }
    }
}

fn place(setting: &'static str, text: Option<&str>) -> Result<Option<Place>, CustomError> {
    let parsed = text.map(Place::parse).transpose();
    parsed.map_err(|error| CustomError { setting, reason: error.to_string() })
}

/// One value or a list.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a string or a list of strings")]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}
