//! A row from the configuration, for a sender that is in no table.

mod check;

use serde::Deserialize;

use super::{Algorithm, Encoding, Headers, KeyFormat, Kind, SHORTEST_KEY, Scheme, TimePlace, Unit};

/// A scheme as `[sources.NAME.signature]` describes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomScheme {
    /// The header of the signature.
    pub header: String,
    /// What stands before the signature.
    #[serde(default)]
    pub prefix: String,
    /// What separates several signatures in the header; none if it is only one.
    #[serde(default)]
    pub separator: Option<char>,
    /// What is signed, with `{id}`, `{timestamp}` and `{body}` for the request's own bytes.
    #[serde(default = "body")]
    pub signed: String,
    /// The header of the time of signing.
    #[serde(default)]
    pub timestamp_header: Option<String>,
    /// What stands before the time of signing, if it is an entry of the signature header.
    #[serde(default)]
    pub timestamp_prefix: Option<String>,
    /// What the time is counted in.
    #[serde(default = "seconds")]
    pub timestamp_unit: Unit,
    /// The header of the message id, if it is signed.
    #[serde(default)]
    pub id_header: Option<String>,
    /// How the signature is computed.
    #[serde(default = "sha256")]
    pub algorithm: Algorithm,
    /// How the signature is written.
    #[serde(default = "hex")]
    pub encoding: Encoding,
    /// How the key is written.
    #[serde(default)]
    pub key: CustomKey,
}

/// How a key is written. One for ed25519 that is not hexadecimal is Base64: the public half, `whpk_` before it or not, or
/// the secret half behind `whsk_`.
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

/// What is wrong with a scheme from the configuration: the setting and the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} {reason}")]
pub struct CustomError {
    /// The setting.
    pub setting: &'static str,
    /// The reason, and what to write.
    pub reason: String,
}

impl CustomScheme {
    /// The row that it describes.
    ///
    /// # Errors
    /// [`CustomError`] if it signs no body, or something that stands nowhere, or names no header, or cannot be told apart
    /// from what stands beside it.
    pub fn scheme(&self) -> Result<Scheme, CustomError> {
        self.check()?;
        let entry = self.timestamp_prefix.clone().map(TimePlace::Entry);
        let header = self.timestamp_header.clone().map(TimePlace::Header);
        let headers = Headers {
            signature: self.header.clone(),
            timestamp: header.or(entry),
            id: self.id_header.clone(),
        };
        let kind = Kind {
            label: self.prefix.clone(),
            algorithm: self.algorithm,
            key: self.key_format(),
            shortest_key: SHORTEST_KEY,
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
