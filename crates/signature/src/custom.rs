//! A scheme from the configuration, for a sender that is not in the table.

mod check;

use serde::Deserialize;

use super::{
    Algorithm, Encoding, HeaderNames, KeyFormat, MIN_KEY, Scheme, SignatureKind, TimestampLocator,
    Unit,
};

/// A scheme as configured in `[sources.NAME.signature]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomScheme {
    /// The header of the signature.
    pub header: String,
    /// The label before the signature.
    #[serde(default)]
    pub prefix: String,
    /// The separator of several signatures in the header; none for a single one.
    #[serde(default)]
    pub separator: Option<char>,
    /// The template of the signed bytes, with `{id}`, `{timestamp}` and `{body}` for the request's own bytes.
    #[serde(default = "body")]
    pub signed: String,
    /// The header of the time of signing.
    #[serde(default)]
    pub timestamp_header: Option<String>,
    /// The label before the time of signing, if it is an entry of the signature header.
    #[serde(default)]
    pub timestamp_prefix: Option<String>,
    /// The unit of the time.
    #[serde(default = "seconds")]
    pub timestamp_unit: Unit,
    /// The header of the message id, if it is signed.
    #[serde(default)]
    pub id_header: Option<String>,
    /// The algorithm of the signature.
    #[serde(default = "sha256")]
    pub algorithm: Algorithm,
    /// The encoding of the signature.
    #[serde(default = "hex")]
    pub encoding: Encoding,
    /// The format of the key.
    #[serde(default)]
    pub key: CustomKey,
}

/// The format of a key. An ed25519 key that is not hexadecimal is Base64: the public half, with or without `whpk_`, or
/// the secret half after `whsk_`.
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
    /// The scheme that the settings describe.
    ///
    /// # Errors
    /// [`CustomError`] if it does not sign the body, signs a fact without a header, names an invalid header, or cannot
    /// be distinguished from the text beside it.
    pub fn scheme(&self) -> Result<Scheme, CustomError> {
        self.check()?;
        let entry = self.timestamp_prefix.clone().map(TimestampLocator::Entry);
        let header = self.timestamp_header.clone().map(TimestampLocator::Header);
        let headers = HeaderNames {
            signature: self.header.clone(),
            timestamp: header.or(entry),
            id: self.id_header.clone(),
        };
        let kind = SignatureKind {
            label: self.prefix.clone(),
            algorithm: self.algorithm,
            key: self.key_format(),
            shortest_key: MIN_KEY,
        };
        Ok(Scheme {
            name: "signature".into(),
            headers: vec![headers],
            separator: self.separator,
            unit: self.timestamp_unit,
            signed: self.signed.clone(),
            encoding: self.encoding,
            kinds: vec![kind],
        })
    }

    fn key_format(&self) -> KeyFormat {
        match (self.algorithm, self.key) {
            (_, CustomKey::Hex) => KeyFormat::Hex,
            (Algorithm::Ed25519, _) => KeyFormat::pair(),
            (_, CustomKey::Text) => KeyFormat::Text,
            (_, CustomKey::Base64) => KeyFormat::Base64 { prefix: "".into() },
        }
    }
}

fn body() -> String {
    "{body}".into()
}

fn seconds() -> Unit {
    Unit::Seconds
}

fn sha256() -> Algorithm {
    Algorithm::HmacSha256
}

fn hex() -> Encoding {
    Encoding::Hex
}
