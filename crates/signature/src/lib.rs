//! Signature schemes, one row of the table of senders each. Signing and verifying read the same row.
//!
//! It depends on `text` and `senders` alone of the engine.

mod algorithm;
mod candidate;
mod custom;
mod diagnose;
mod difference;
mod key;
mod key_document;
mod material;
mod message;
mod misreading;
mod parts;
mod place;
mod public_key;
mod rewritten;
mod sign;
mod template;
#[cfg(test)]
mod tests;
mod token;
mod verify;
mod verify_error;

use std::sync::LazyLock;

use serde::Deserialize as _;

/// An instant in UTC.
pub type Timestamp = chrono::DateTime<chrono::Utc>;

pub use algorithm::{Algorithm, KeyType};
pub use candidate::{ClaimedStamp, Label};
pub use custom::{CustomError, CustomKey, CustomKind, CustomScheme};
pub use diagnose::{BUDGET, MAX_REWRITTEN, Match, Rule, Search};
pub use difference::Difference;
pub use key::{Fingerprint, Key, KeyError};
pub use message::{
    MESSAGE_HEADERS, MessageKey, MessageKeyError, MessageParameters, RFC_9421, UnverifiedMessage,
};
pub use misreading::Misreading;
pub use parts::{HttpMessage, RequestParts, document};
pub use place::{Place, PlaceError, parameter};
pub use public_key::PublicKey;
pub use rewritten::{Escapes, Layout, Rewritten};
pub use sign::{SignError, Stamp};
use template::Part;
pub use template::{Template, TemplateError};
pub use token::{TokenRule, UnverifiedToken};
pub use verify::UnverifiedSignature;
pub use verify_error::{Skew, VerifyError};

/// The default tolerance of a timestamp, in seconds, both ways.
pub const TOLERANCE: u64 = 300;

/// One way to sign and verify bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheme {
    /// The name in the configuration and on the command line.
    pub name: String,
    /// The places of the proof; several sets, if the sender's headers have several spellings.
    pub spellings: Vec<ProofPlaces>,
    /// The separator of the entries of the signature header; none if it is a single signature.
    pub separator: Option<char>,
    /// The format of the timestamp.
    pub unit: Unit,
    /// The template of the signed bytes.
    pub signed: Template,
    /// The query parameter or header with the SHA-256 of the body, if the signature covers the body by that only.
    pub body_digest: Option<Place>,
    /// Places that must be empty, since the signature does not cover them.
    pub absent: Vec<Place>,
    /// The encoding of a signature.
    pub encoding: Encoding,
    /// The kinds of signature, distinguished by their labels. A key belongs to one of them.
    pub kinds: Vec<SignatureKind>,
}

/// One spelling of the places in which a scheme's proof stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofPlaces {
    /// The place of the signature, or of the list of them.
    pub signature: Place,
    /// The locator of the time of signing, if it is signed.
    pub timestamp: Option<TimestampLocator>,
    /// The header of the message id, if it is signed.
    pub id: Option<String>,
}

/// The locator of the time of signing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimestampLocator {
    /// A place of its own.
    At(Place),
    /// An entry of the signature header, after this label.
    Entry(String),
}

impl ProofPlaces {
    /// The header of the time, if it has one of its own.
    pub fn timestamp_header(&self) -> Option<&str> {
        match &self.timestamp {
            Some(TimestampLocator::At(Place::Header(name))) => Some(name),
            _ => None,
        }
    }

    /// The header of the signature, if it is in one.
    pub fn signature_header(&self) -> Option<&str> {
        match &self.signature {
            Place::Header(name) => Some(name),
            _ => None,
        }
    }
}

/// The format of a timestamp: counted since 1970, or a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// A date and a time of day in RFC 3339.
    #[serde(rename = "rfc3339")]
    Rfc3339,
}

/// The text encoding of a signature. Only this one form is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// Lower-case hexadecimal digits.
    Hex,
    /// Upper-case hexadecimal digits.
    HexUpper,
    /// Base64 with padding.
    Base64,
    /// URL-safe Base64 without padding.
    Base64Url,
}

/// One kind of signature within a scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureKind {
    /// The label before the signature.
    pub label: String,
    /// The algorithm of the signature.
    pub algorithm: Algorithm,
    /// The format of a key.
    pub key: KeyFormat,
    /// The smallest size of a shared secret that the scheme allows, in bytes.
    pub shortest_key: usize,
}

/// The format of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyFormat {
    /// The text's own bytes.
    Text,
    /// Hexadecimal digits.
    Hex,
    /// Base64, after an optional prefix.
    Base64 {
        /// The prefix of a key.
        prefix: String,
    },
    /// A document of a key pair: PEM, a JSON Web Key, or DER in Base64; or the public half's own bytes in Base64.
    Document,
    /// Base64 behind one prefix for the half that verifies and another for the half that signs.
    Pair {
        /// The prefix of a public key.
        public: String,
        /// The prefix of a secret key.
        secret: String,
    },
}

impl KeyFormat {
    /// The prefixes of Standard Webhooks.
    fn pair() -> Self {
        KeyFormat::Pair { public: "whpk_".into(), secret: "whsk_".into() }
    }
}

/// The common prefix of shared secrets, in Base64 or not.
const PREFIX: &str = "whsec_";

/// The smallest recommended size of an HMAC secret, in bytes, for schemes without a rule: a guess is then out of reach.
const MIN_KEY: usize = 16;

/// The scheme of each sender that has one, under the sender's name.
static SCHEMES: LazyLock<Vec<Scheme>> = LazyLock::new(|| {
    let row = |sender: senders::Row| {
        let table = sender.part("signature")?;
        let custom = CustomScheme::deserialize(table);
        let scheme = custom
            .map_err(|error| error.to_string())
            .and_then(|custom| custom.scheme(sender.name).map_err(|error| error.to_string()));
        Some(scheme.unwrap_or_else(|error| panic!("[{}.signature] {error}", sender.name)))
    };
    senders::rows().filter_map(row).collect()
});

/// Every scheme with a name.
pub fn schemes() -> &'static [Scheme] {
    &SCHEMES
}

impl Scheme {
    /// The names of the scheme's headers, in every spelling.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.spellings.iter().flat_map(|spelling| {
            let id = spelling.id.as_deref();
            let names = [spelling.signature_header(), spelling.timestamp_header(), id];
            names.into_iter().flatten()
        })
    }

    /// The scheme with this name.
    pub fn named(name: &str) -> Option<Scheme> {
        schemes().iter().find(|scheme| scheme.name == name).cloned()
    }

    /// True if the time of signing is signed.
    pub fn is_timed(&self) -> bool {
        self.spellings.iter().any(|spelling| spelling.timestamp.is_some())
    }

    /// True if the signature covers every byte of the body.
    pub fn covers_body(&self) -> bool {
        self.signed.covers_body() || self.body_digest.is_some()
    }

    /// True if the URL is signed, which a proxy may hide.
    pub fn signs_url(&self) -> bool {
        self.signed.has_url()
    }

    /// True if a signature of the scheme is made with a hash for which collisions can be made.
    pub fn is_weak(&self) -> bool {
        self.kinds.iter().any(|kind| kind.algorithm.is_weak())
    }

    /// True if the proof needs what the body says, rather than its bytes alone.
    pub fn reads_body(&self) -> bool {
        let reads = |part: &Part| match part {
            Part::Members(_) | Part::Form => true,
            Part::Place(place) => place.is_in_body(),
            _ => false,
        };
        self.is_in_body()
            || self.signed.parts().any(reads)
            || self.absent.iter().any(Place::is_in_body)
    }

    /// True if a part of the proof is in the body.
    pub fn is_in_body(&self) -> bool {
        self.spellings.iter().any(|spelling| {
            let time = match &spelling.timestamp {
                Some(TimestampLocator::At(place)) => place.is_in_body(),
                _ => false,
            };
            time || spelling.signature.is_in_body()
        })
    }

    /// True if an id contains the text that ends it in the signed bytes, so that the same bytes could be split
    /// elsewhere.
    fn is_ambiguous(&self, id: &[u8]) -> bool {
        let end = self.signed.end_of(&Part::Id).as_bytes();
        !end.is_empty() && id.windows(end.len()).any(|window| window == end)
    }
}
