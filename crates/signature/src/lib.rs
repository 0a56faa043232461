//! The table of signature schemes, one row per scheme. Signing and verifying read the same row.
//!
//! It depends on `text` alone of the engine.

mod candidate;
mod custom;
mod diagnose;
mod difference;
mod key;
mod message;
mod misreading;
mod rewritten;
mod sign;
#[cfg(test)]
mod tests;
mod verify;

/// An instant in UTC.
pub type Timestamp = chrono::DateTime<chrono::Utc>;

pub use candidate::{ClaimedStamp, Label};
pub use custom::{CustomError, CustomScheme};
pub use diagnose::{BUDGET, MAX_REWRITTEN, Match, Rule, Search};
pub use difference::Difference;
pub use key::{Fingerprint, Key, KeyError};
pub use message::{
    HttpMessage, MESSAGE_HEADERS, MessageAlgorithm, MessageKey, MessageKeyError, RFC_9421,
    UnverifiedMessage,
};
pub use misreading::Misreading;
pub use rewritten::{Escapes, Layout, Rewritten};
pub use sign::{SignError, Stamp};
pub use verify::{Skew, UnverifiedSignature, VerifyError};

/// The default tolerance of a timestamp, in seconds, both ways.
pub const TOLERANCE: u64 = 300;

/// One way to sign and verify bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheme {
    /// The name in the configuration and on the command line.
    pub name: String,
    /// The header names; several sets, if the sender's headers have several spellings.
    pub headers: Vec<HeaderNames>,
    /// The separator of the entries of the signature header; none if it is a single signature.
    pub separator: Option<char>,
    /// The format of the timestamp.
    pub unit: Unit,
    /// The template of the signed bytes: `{id}`, `{timestamp}` and `{body}` stand for the request's own bytes.
    pub signed: String,
    /// The encoding of a signature.
    pub encoding: Encoding,
    /// The kinds of signature, distinguished by their labels. A key belongs to one of them.
    pub kinds: Vec<SignatureKind>,
}

/// One spelling of a scheme's headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderNames {
    /// The header of the signature, or of the list of them.
    pub signature: String,
    /// The locator of the time of signing, if it is signed.
    pub timestamp: Option<TimestampLocator>,
    /// The header of the message id, if it is signed.
    pub id: Option<String>,
}

/// The locator of the time of signing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimestampLocator {
    /// A header of its own.
    Header(String),
    /// An entry of the signature header, after this label.
    Entry(String),
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

/// The algorithm of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// HMAC with SHA-256, of a shared secret.
    HmacSha256,
    /// HMAC with SHA-512, of a shared secret.
    HmacSha512,
    /// Ed25519, of a key pair.
    Ed25519,
}

impl Algorithm {
    /// The length of a signature in bytes.
    pub const fn size(self) -> usize {
        match self {
            Algorithm::HmacSha256 => 32,
            Algorithm::HmacSha512 | Algorithm::Ed25519 => 64,
        }
    }

    /// The most signatures of one header that are checked. A sender that rotates a key sends two, the most diligent
    /// eleven; one of a key pair costs as much as fifty of a shared secret, genuine or not.
    const fn most(self) -> usize {
        match self {
            Algorithm::HmacSha256 | Algorithm::HmacSha512 => 16,
            Algorithm::Ed25519 => 4,
        }
    }
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

/// Every scheme with a name.
pub fn schemes() -> Vec<Scheme> {
    vec![
        // The vendor documents its headers as its own server sees them, so a request may spell them in any of these
        // ways.
        Scheme {
            signed: "{timestamp}.{body}".into(),
            headers: vec![
                timed("Evox-Signature", "Evox-Time"),
                timed("HTTP_EVOX_SIGNATURE", "HTTP_EVOX_TIME"),
                timed("EVOX_SIGNATURE", "EVOX_TIME"),
            ],
            ..hex_of_body("evolutionx", "")
        },
        standard("standard-webhooks", ["webhook", "svix"]),
        standard("svix", ["svix", "webhook"]),
        Scheme { headers: vec![only("X-Hub-Signature-256")], ..hex_of_body("github", "sha256=") },
        Scheme {
            headers: vec![stamped("Stripe-Signature")],
            separator: Some(','),
            signed: "{timestamp}.{body}".into(),
            ..hex_of_body("stripe", "v1=")
        },
        Scheme {
            headers: vec![only("X-Shopify-Hmac-Sha256")],
            encoding: Encoding::Base64,
            ..hex_of_body("shopify", "")
        },
        Scheme {
            headers: vec![timed("X-Slack-Signature", "X-Slack-Request-Timestamp")],
            signed: "v0:{timestamp}:{body}".into(),
            ..hex_of_body("slack", "v0=")
        },
        Scheme {
            headers: vec![only("X-Twitter-Webhooks-Signature")],
            encoding: Encoding::Base64,
            ..hex_of_body("x", "sha256=")
        },
        Scheme { headers: vec![only("X-Convoy-Signature")], ..hex_of_body("convoy", "") },
        Scheme {
            headers: vec![stamped("X-Convoy-Signature")],
            separator: Some(','),
            signed: "{timestamp},{body}".into(),
            ..hex_of_body("convoy-advanced", "v1=")
        },
    ]
}

/// The most common scheme: HMAC with SHA-256 of the body, in hexadecimal digits; its headers are yet to be set.
fn hex_of_body(name: &str, label: &str) -> Scheme {
    Scheme {
        name: name.into(),
        headers: Vec::new(),
        separator: None,
        unit: Unit::Seconds,
        signed: "{body}".into(),
        encoding: Encoding::Hex,
        kinds: vec![SignatureKind {
            label: label.into(),
            algorithm: Algorithm::HmacSha256,
            key: KeyFormat::Text,
            shortest_key: MIN_KEY,
        }],
    }
}

/// Standard Webhooks 1.0.0 in the spellings that begin with `prefixes`. No reference library has `v1a`; its prose and
/// Svix's server have.
fn standard(name: &str, prefixes: [&str; 2]) -> Scheme {
    let headers = prefixes.map(|prefix| HeaderNames {
        signature: format!("{prefix}-signature"),
        timestamp: Some(TimestampLocator::Header(format!("{prefix}-timestamp"))),
        id: Some(format!("{prefix}-id")),
    });
    let secret = SignatureKind {
        label: "v1,".into(),
        algorithm: Algorithm::HmacSha256,
        key: KeyFormat::Base64 { prefix: PREFIX.into() },
        shortest_key: 24,
    };
    let pair = SignatureKind {
        label: "v1a,".into(),
        algorithm: Algorithm::Ed25519,
        key: KeyFormat::pair(),
        shortest_key: 32,
    };
    Scheme {
        headers: headers.into(),
        separator: Some(' '),
        signed: "{id}.{timestamp}.{body}".into(),
        encoding: Encoding::Base64,
        kinds: vec![secret, pair],
        ..hex_of_body(name, "")
    }
}

/// Header names without a signed time or id.
fn only(signature: &str) -> HeaderNames {
    HeaderNames { signature: signature.into(), timestamp: None, id: None }
}

/// Header names with a signed time.
fn timed(signature: &str, timestamp: &str) -> HeaderNames {
    HeaderNames { timestamp: Some(TimestampLocator::Header(timestamp.into())), ..only(signature) }
}

/// A header with the time in it.
fn stamped(signature: &str) -> HeaderNames {
    HeaderNames { timestamp: Some(TimestampLocator::Entry("t=".into())), ..only(signature) }
}

impl Scheme {
    /// The names of the scheme's headers, in every spelling.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().flat_map(|spelling| {
            let time = match &spelling.timestamp {
                Some(TimestampLocator::Header(name)) => Some(name),
                _ => None,
            };
            let names = [Some(&spelling.signature), time, spelling.id.as_ref()];
            names.into_iter().flatten().map(String::as_str)
        })
    }

    /// The scheme with this name.
    pub fn named(name: &str) -> Option<Scheme> {
        schemes().into_iter().find(|scheme| scheme.name == name)
    }

    /// True if the time of signing is signed.
    pub fn is_timed(&self) -> bool {
        self.headers.iter().any(|headers| headers.timestamp.is_some())
    }

    /// True if an id contains the text that ends it in the signed bytes, so that the same bytes could be split
    /// elsewhere.
    ///
    /// Directly before the body that text is the brace with which a body begins.
    fn is_ambiguous(&self, id: &[u8]) -> bool {
        let after = self.signed.split_once("{id}").map_or("", |(_, after)| after);
        let end = match after.split('{').next().unwrap_or_default() {
            "" if after == "{body}" => "{",
            end => end,
        };
        let end = end.as_bytes();
        !end.is_empty() && id.windows(end.len()).any(|window| window == end)
    }

    /// Calls `piece` with each piece of the signed bytes, in order.
    fn pieces<'p>(&'p self, parts: &SignedParts<'p>, mut piece: impl FnMut(&'p [u8])) {
        let mut rest: &'p str = &self.signed;
        while let Some((literal, after)) = rest.split_once('{') {
            piece(literal.as_bytes());
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            piece(match name {
                "id" => parts.id,
                "timestamp" => parts.timestamp,
                _ => parts.body,
            });
            rest = after;
        }
        piece(rest.as_bytes());
    }
}

/// The request's own bytes in the signed bytes.
#[derive(Debug, Clone, Copy)]
struct SignedParts<'p> {
    id: &'p [u8],
    timestamp: &'p [u8],
    body: &'p [u8],
}
