//! A source for every sender of the table, open or signed, and the keys that sign as each sender does.

use contract::event::Dialect;
use signature::{KeyFormat, KeyType, Scheme};
use source::Sender;

/// A shared secret that every scheme of shared secrets can read, but those in hexadecimal digits.
pub const SECRET: &str = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTE=";

/// A key pair on the curve P-256.
pub const P256: &str = include_str!("senders/p256.pem");

/// An RSA key pair.
pub const RSA: &str = include_str!("senders/rsa.pem");

/// An Ed25519 key pair.
pub const ED25519: &str = include_str!("senders/ed25519.pem");

/// A key with both halves for the first algorithm of a scheme.
pub fn signing_key(scheme: &Scheme) -> String {
    let kind = &scheme.kinds[0];
    match kind.algorithm.key_type() {
        KeyType::Secret if kind.key == KeyFormat::Hex => {
            SECRET.bytes().map(|byte| format!("{byte:02x}")).collect()
        }
        KeyType::Secret => SECRET.into(),
        KeyType::Ed25519 => ED25519.into(),
        KeyType::P256 => P256.into(),
        KeyType::Rsa => RSA.into(),
        KeyType::P384 => unreachable!("no sender of the table has such a key"),
    }
}

/// The dialects whose senders are known.
pub fn every() -> impl Iterator<Item = Dialect> {
    Dialect::ALL.iter().copied().filter(|dialect| *dialect != Dialect::Generic)
}

/// Every signed string, place and answer of the table.
pub fn templates() -> impl Iterator<Item = String> {
    every().flat_map(|dialect| {
        let sender = Sender::of(dialect);
        let signature = sender.signature.into_iter();
        let signature = signature.flat_map(|own| [Some(own.signed), own.place, own.body_digest]);
        let handshakes = sender.handshakes.into_iter();
        let answers = handshakes
            .flat_map(|row| row.when.into_keys().chain([row.answer]).map(Some).collect::<Vec<_>>());
        signature.chain(answers).chain([sender.token]).flatten()
    })
}

/// Every sender's source, open under `/open/…` and signed under `/signed/…`.
pub fn each() -> String {
    let both = |dialect: Dialect| {
        let signed = signed(dialect, &format!("signed-{dialect}"), &format!("/signed/{dialect}"));
        open(dialect, &format!("open-{dialect}"), &format!("/open/{dialect}"))
            + &signed.unwrap_or_default()
    };
    every().map(both).collect()
}

/// A source that requires no proof.
pub fn open(dialect: Dialect, name: &str, path: &str) -> String {
    format!("{}auth = \"none\"\n{}", begin(dialect, name, path), handshake_token(dialect))
}

/// A source that requires what the sender signs; absent if it does not sign, or signs by keys that have to be fetched.
pub fn signed(dialect: Dialect, name: &str, path: &str) -> Option<String> {
    let scheme = Scheme::named(dialect.as_str());
    let token = Sender::of(dialect).jwt.filter(|token| token.keys_url.is_none());
    let key = match (&scheme, token) {
        (Some(scheme), _) => signing_key(scheme),
        (None, Some(_)) => P256.into(),
        (None, None) => return None,
    };
    let values = scheme.iter().flat_map(|scheme| scheme.signed.value_names());
    let values: Vec<_> = values.map(|name| format!("{name} = \"{name}\"")).collect();
    let values = match values.is_empty() {
        true => String::new(),
        false => format!("values = {{ {} }}\n", values.join(", ")),
    };
    let key = format!("signing_keys = [\"\"\"{key}\"\"\"]\n");
    Some(begin(dialect, name, path) + &key + &values + handshake_token(dialect))
}

fn begin(dialect: Dialect, name: &str, path: &str) -> String {
    format!("[sources.{name}]\ndialect = \"{dialect}\"\npath = \"{path}\"\n")
}

fn handshake_token(dialect: Dialect) -> &'static str {
    match Sender::of(dialect).handshakes.iter().any(|row| row.token.is_some()) {
        true => "handshake_tokens = \"handshake-token\"\n",
        false => "",
    }
}
