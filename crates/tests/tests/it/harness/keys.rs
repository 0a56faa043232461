//! Keys that sign as each sender does.

use signature::{KeyFormat, KeyType, Scheme};

/// A shared secret that every scheme of shared secrets can read, but those in hexadecimal digits.
pub(crate) const SECRET: &str = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTE=";

/// A key with both halves for the first algorithm of a scheme.
pub(crate) fn signing_key(scheme: &Scheme) -> String {
    let kind = &scheme.kinds[0];
    match kind.algorithm.key_type() {
        KeyType::Secret if kind.key == KeyFormat::Hex => hex::encode(SECRET),
        KeyType::Secret => SECRET.into(),
        KeyType::Ed25519 => include_str!("ed25519.pem").into(),
        KeyType::P256 => include_str!("p256.pem").into(),
        KeyType::Rsa => include_str!("rsa.pem").into(),
        KeyType::P384 => unreachable!("no sender of the table has such a key"),
    }
}
