//! Misreadings of a key: ways in which a sender may have used it other than its scheme's.

use std::fmt;

use base64::Engine;
use secrecy::{ExposeSecret, SecretString};

use super::key::{bytes, kind_of};
use super::key_document::BASE64;
use super::{Algorithm, Key, PREFIX, Scheme};

/// A use of a key that differs from its scheme's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misreading {
    /// The text's own bytes, though the scheme decodes it.
    Text,
    /// The text's own bytes without the prefix.
    WithoutPrefix,
    /// The text's own bytes after a prefix that the configured key does not have.
    WithPrefix,
    /// Decoded from Base64, though the scheme takes the text.
    Base64,
    /// Decoded from hexadecimal digits.
    Hex,
    /// The text with the line break at the end of its file.
    LineBreak,
    /// With the other hash.
    OtherHash(Algorithm),
}

impl Misreading {
    /// Every misreading of a shared secret that results in another key, with that key.
    pub fn keys(scheme: &Scheme, secret: &SecretString) -> Vec<(Misreading, Key)> {
        let text = secret.expose_secret();
        let kind = kind_of(scheme, text).1;
        let (Some(other), Ok(own)) = (kind.algorithm.other(), bytes(kind, text)) else {
            return Vec::new();
        };
        let bare = text.strip_prefix(PREFIX);
        let decoded = bare.unwrap_or(text);
        let readings = [
            (Misreading::Text, Some(text.as_bytes().to_vec())),
            (Misreading::WithoutPrefix, bare.map(|bare| bare.as_bytes().to_vec())),
            (Misreading::WithPrefix, Some(format!("{PREFIX}{text}").into_bytes())),
            (Misreading::Base64, BASE64.decode(decoded).ok()),
            (Misreading::Hex, hex::decode(decoded).ok()),
            (Misreading::LineBreak, Some(format!("{text}\n").into_bytes())),
        ];
        let otherwise = readings
            .into_iter()
            .filter_map(|(misreading, bytes)| Some((misreading, bytes?)))
            .filter(|(_, bytes)| !bytes.is_empty() && *bytes != own)
            .map(|(misreading, bytes)| (misreading, kind.algorithm, bytes));
        let hashed = (Misreading::OtherHash(other), other, own.clone());
        otherwise
            .chain([hashed])
            .filter_map(|(misreading, algorithm, bytes)| {
                Some((misreading, Key::of_bytes(secret, algorithm, &bytes)?))
            })
            .collect()
    }
}

impl fmt::Display for Misreading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Misreading::Text => f.write_str("as plain text, without decoding it"),
            Misreading::WithoutPrefix => write!(f, "as plain text without its {PREFIX}"),
            Misreading::WithPrefix => write!(f, "with {PREFIX} before it"),
            Misreading::Base64 => f.write_str("decoded from Base64"),
            Misreading::Hex => f.write_str("decoded from hexadecimal"),
            Misreading::LineBreak => f.write_str("with a line break at its end"),
            Misreading::OtherHash(algorithm) => write!(f, "with {}", algorithm.as_str()),
        }
    }
}
