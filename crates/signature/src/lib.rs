//! The table of schemes: how senders prove that bytes are theirs, one row each. Signing and verifying read the same row.

mod claim;
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

pub use claim::{Label, Stamps};
pub use custom::{CustomError, CustomScheme};
pub use diagnose::{BUDGET, Found, LARGEST_REWRITTEN, Rule, Search};
pub use difference::Difference;
pub use key::{Fingerprint, Key, KeyError};
pub use message::{
    MESSAGE_HEADERS, Message, MessageAlgorithm, MessageKey, MessageKeyError, MessagePresented,
    RFC_9421,
};
pub use misreading::Misreading;
pub use rewritten::{Escapes, Layout, Rewritten};
pub use sign::{SignError, Stamp};
pub use verify::{Presented, Skew, Unproven};

/// How old or how early a timestamp may be, in seconds, unless the source says otherwise.
pub const TOLERANCE: u64 = 300;

/// One way to sign and verify bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheme {
    /// The name in the configuration and on the command line.
    pub name: String,
    /// Where the proof stands in a request; several, if the sender's headers are spelled in several ways.
    pub headers: Vec<Headers>,
    /// What separates the entries of the signature header; none if it is a single signature.
    pub separator: Option<char>,
    /// How the timestamp is written.
    pub unit: Unit,
    /// What is signed: text in which `{id}`, `{timestamp}` and `{body}` stand for the request's own bytes.
    pub signed: String,
    /// How a signature is written.
    pub encoding: Encoding,
    /// The signatures it knows, told apart by what stands before them. A key belongs to one of them.
    pub kinds: Vec<Kind>,
}

/// One spelling of a scheme's headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headers {
    /// The header of the signature, or of the list of them.
    pub signature: String,
    /// Where the time of signing stands, if it is signed.
    pub timestamp: Option<TimePlace>,
    /// The header of the message id, if it is signed.
    pub id: Option<String>,
}

/// Where the time of signing stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimePlace {
    /// In a header of its own.
    Header(String),
    /// In an entry of the signature header, behind this label.
    Entry(String),
}

/// How a timestamp is written: counted since 1970, or as a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// A date and a time of day, as RFC 3339 writes them.
    #[serde(rename = "rfc3339")]
    Rfc3339,
}

/// How the bytes of a signature become text. Only this one writing is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// Lower-case hexadecimal digits.
    Hex,
    /// Upper-case hexadecimal digits.
    HexUpper,
    /// Base64 with padding.
    Base64,
    /// The URL's alphabet of Base64, without padding.
    Base64Url,
}

/// One kind of signature within a scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// What stands before the signature.
    pub label: String,
    /// How it is computed.
    pub algorithm: Algorithm,
    /// How a key is written.
    pub key: KeyFormat,
    /// The fewest bytes that the scheme allows a shared secret to have.
    pub shortest_key: usize,
}

/// How a signature is computed.
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

    /// The most signatures of one header that are looked at. A sender that replaces a key sends two, the most diligent
    /// eleven; each one by a key pair costs as much as fifty others, genuine or not.
    const fn most(self) -> usize {
        match self {
            Algorithm::HmacSha256 | Algorithm::HmacSha512 => 16,
            Algorithm::Ed25519 => 4,
        }
    }
}

/// How a key is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyFormat {
    /// The text's own bytes, whatever they look like.
    Text,
    /// Hexadecimal digits.
    Hex,
    /// Base64, behind a prefix that may be left out.
    Base64 {
        /// What a key begins with.
        prefix: String,
    },
    /// Base64 behind one prefix for the half that verifies and another for the half that signs.
    Pair {
        /// What a public key begins with.
        public: String,
        /// What a secret key begins with.
        secret: String,
    },
}

impl KeyFormat {
    /// The prefixes of Standard Webhooks.
    fn pair() -> Self {
        KeyFormat::Pair { public: "whpk_".into(), secret: "whsk_".into() }
    }
}

/// What many senders show before a shared secret, in Base64 or not.
const PREFIX: &str = "whsec_";

/// A secret for HMAC should have at least this many bytes, where its scheme says nothing: a guess is then out of reach.
const SHORTEST_KEY: usize = 16;

/// Every scheme that is known by name.
pub fn schemes() -> Vec<Scheme> {
    vec![
        // The vendor shows its headers as its own server sees them, so a request may spell them in any of these ways.
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

/// The most common scheme: HMAC with SHA-256 of the body, in hexadecimal digits; its headers are still to be named.
fn hex_of_body(name: &str, label: &str) -> Scheme {
    Scheme {
        name: name.into(),
        headers: Vec::new(),
        separator: None,
        unit: Unit::Seconds,
        signed: "{body}".into(),
        encoding: Encoding::Hex,
        kinds: vec![Kind {
            label: label.into(),
            algorithm: Algorithm::HmacSha256,
            key: KeyFormat::Text,
            shortest_key: SHORTEST_KEY,
        }],
    }
}

/// Standard Webhooks 1.0.0 in the spellings that begin with `prefixes`. No reference library has `v1a`; its prose and
/// Svix's server have.
fn standard(name: &str, prefixes: [&str; 2]) -> Scheme {
    let headers = prefixes.map(|prefix| Headers {
        signature: format!("{prefix}-signature"),
        timestamp: Some(TimePlace::Header(format!("{prefix}-timestamp"))),
        id: Some(format!("{prefix}-id")),
    });
    let secret = Kind {
        label: "v1,".into(),
        algorithm: Algorithm::HmacSha256,
        key: KeyFormat::Base64 { prefix: PREFIX.into() },
        shortest_key: 24,
    };
    let pair = Kind {
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

/// Headers without a signed time or id.
fn only(signature: &str) -> Headers {
    Headers { signature: signature.into(), timestamp: None, id: None }
}

/// Headers with a signed time.
fn timed(signature: &str, timestamp: &str) -> Headers {
    Headers { timestamp: Some(TimePlace::Header(timestamp.into())), ..only(signature) }
}

/// A header with the time in it.
fn stamped(signature: &str) -> Headers {
    Headers { timestamp: Some(TimePlace::Entry("t=".into())), ..only(signature) }
}

impl Scheme {
    /// The names of the headers of its proof, in every spelling.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().flat_map(|spelling| {
            let time = match &spelling.timestamp {
                Some(TimePlace::Header(name)) => Some(name),
                _ => None,
            };
            let names = [Some(&spelling.signature), time, spelling.id.as_ref()];
            names.into_iter().flatten().map(String::as_str)
        })
    }

    /// The row called `name`.
    pub fn named(name: &str) -> Option<Scheme> {
        schemes().into_iter().find(|scheme| scheme.name == name)
    }

    /// Whether the time of signing is part of what is signed.
    pub fn is_timed(&self) -> bool {
        self.headers.iter().any(|headers| headers.timestamp.is_some())
    }

    /// Whether an id holds the text that ends it in what is signed, so that the same bytes could be cut in another place.
    ///
    /// Right before the body that text is the brace with which a body begins.
    fn is_ambiguous(&self, id: &[u8]) -> bool {
        let after = self.signed.split_once("{id}").map_or("", |(_, after)| after);
        let end = match after.split('{').next().unwrap_or_default() {
            "" if after == "{body}" => "{",
            end => end,
        };
        let end = end.as_bytes();
        !end.is_empty() && id.windows(end.len()).any(|window| window == end)
    }

    /// Hands over, in order, the pieces of what is signed.
    fn pieces<'p>(&'p self, parts: &Parts<'p>, mut piece: impl FnMut(&'p [u8])) {
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

/// The request's own bytes in what is signed.
#[derive(Debug, Clone, Copy)]
struct Parts<'p> {
    id: &'p [u8],
    timestamp: &'p [u8],
    body: &'p [u8],
}
