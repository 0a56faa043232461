//! A row from the configuration, for a sender that is in no table.

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

/// How a key is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CustomKey {
    /// Its own bytes.
    #[default]
    Text,
    /// Hexadecimal digits.
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
    /// [`CustomError`] if it signs no body, or something that stands nowhere, or names no header.
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
            (Algorithm::Ed25519, _) => {
                KeyFormat::Pair { public: "whpk_".into(), secret: "whsk_".into() }
            }
            (_, CustomKey::Text) => KeyFormat::Text,
            (_, CustomKey::Hex) => KeyFormat::Hex,
            (_, CustomKey::Base64) => KeyFormat::Base64 { prefix: "".into() },
        }
    }

    fn check(&self) -> Result<(), CustomError> {
        let headers = [
            ("header", Some(&self.header)),
            ("timestamp_header", self.timestamp_header.as_ref()),
            ("id_header", self.id_header.as_ref()),
        ];
        for (setting, name) in headers {
            if name.is_some_and(|name| http::HeaderName::from_bytes(name.as_bytes()).is_err()) {
                return refuse(setting, "is not the name of a header");
            }
        }
        if self.separator.is_some_and(|separator| !separator.is_ascii()) {
            return refuse("separator", "must be one ASCII character, such as \",\"");
        }
        if self.timestamp_prefix.is_some() && self.separator.is_none() {
            return refuse("timestamp_prefix", "needs a separator; write separator = \",\"");
        }
        if self.timestamp_prefix.is_some() && self.timestamp_header.is_some() {
            return refuse("timestamp_prefix", "and timestamp_header are both set; remove one");
        }
        self.check_signed()
    }

    fn check_signed(&self) -> Result<(), CustomError> {
        let timed = self.timestamp_header.is_some() || self.timestamp_prefix.is_some();
        let known = [("{id}", self.id_header.is_some()), ("{timestamp}", timed), ("{body}", true)];
        let mut literal = self.signed.clone();
        for (name, is_there) in known {
            let count = self.signed.matches(name).count();
            literal = literal.replace(name, "");
            match (name, count, is_there) {
                ("{body}", 1, _) | (_, 1, true) | (_, 0, false) => {}
                ("{body}", ..) => {
                    return refuse(
                        "signed",
                        "must have {body} in it once; write signed = \"{body}\"",
                    );
                }
                ("{id}", 0, _) => return refuse("signed", "lacks {id}, though id_header is set"),
                (_, 0, _) => {
                    return refuse("signed", "lacks {timestamp}, though a place for it is set");
                }
                ("{id}", ..) => {
                    return refuse(
                        "signed",
                        "has {id} in it; say where it stands: id_header = \"…\"",
                    );
                }
                _ => {
                    return refuse(
                        "signed",
                        "has {timestamp} in it; say where it stands: timestamp_header = \"…\" or timestamp_prefix = \"t=\"",
                    );
                }
            }
        }
        if literal.contains(['{', '}']) {
            return refuse("signed", "knows {id}, {timestamp} and {body} only");
        }
        Ok(())
    }
}

fn refuse(setting: &'static str, reason: &str) -> Result<(), CustomError> {
    Err(CustomError { setting, reason: reason.to_owned() })
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
