//! The reasons why a request does not prove its sender.

/// A request does not prove its sender. The reason is for the log and the console only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// A header is missing.
    #[error("no {0} header")]
    Missing(String),
    /// A part of the proof, or of what it signs, is missing elsewhere than in a header.
    #[error("the request has no {0}")]
    MissingPart(String),
    /// Something is in the request that the signature does not cover.
    #[error("the request has {0}, which the signature does not cover")]
    Uncovered(String),
    /// The digest in the request is not the body's.
    #[error("{0} is not the digest of the body")]
    WrongDigest(String),
    /// A header is repeated, so it is ambiguous.
    #[error("more than one {0} header")]
    Repeated(String),
    /// The signature header has no signature of the scheme.
    #[error("{header} has no signature that begins with {label:?}")]
    NoLabel {
        /// The place.
        header: String,
        /// The label of a signature.
        label: String,
    },
    /// The signature does not decode to the expected size.
    #[error("{header} is not {encoding}{}{}", of_size(*size), after(label))]
    Malformed {
        /// The place.
        header: String,
        /// The expected encoding.
        encoding: &'static str,
        /// The expected size in bytes, if all signatures have one.
        size: Option<usize>,
        /// The label of a signature.
        label: String,
    },
    /// The request has more signatures than any sender has keys.
    #[error("{0} has more signatures than a sender has keys")]
    TooMany(String),
    /// The message id can be read in two ways, only one of which is signed.
    #[error("the {header} header {reason}")]
    BadId {
        /// The header.
        header: String,
        /// The problem.
        reason: &'static str,
    },
    /// The signature header has no time or two.
    #[error("{header} does not have exactly one {label}")]
    NoTime {
        /// The place.
        header: String,
        /// The label of the time.
        label: String,
    },
    /// The time is not a number in plain decimal digits.
    #[error("the timestamp is not plain digits")]
    BadTime,
    /// The time is not a date with a time of day and an offset.
    #[error("the timestamp is not in RFC 3339 format, such as 2026-01-31T12:00:00Z")]
    BadDate,
    /// The time of signing is too long ago, or too far ahead of this machine's clock.
    #[error("the timestamp is {0}")]
    Stale(Skew),
    /// A message signature is malformed or covers too little.
    #[error("the message signature {0}")]
    Message(String),
    /// A JSON Web Token is malformed, not fresh, or for others.
    #[error("the token {0}")]
    Token(String),
    /// None of the source's keys made any of the signatures.
    #[error("none of this source's {0} signing keys made the signature")]
    WrongSignature(usize),
}

fn of_size(size: Option<usize>) -> String {
    size.map(|size| format!(" of {size} bytes")).unwrap_or_default()
}

fn after(label: &str) -> String {
    if label.is_empty() { String::new() } else { format!(" after {label:?}") }
}

/// The distance of a timestamp from now, and the tolerance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skew {
    /// The distance in seconds; negative for the past.
    pub ahead: i64,
    /// The tolerance in seconds, both ways.
    pub tolerance: u64,
}

impl std::fmt::Display for Skew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (seconds, tolerance) = (self.ahead.unsigned_abs(), self.tolerance);
        let way = if self.ahead < 0 { "old" } else { "ahead of this machine's clock" };
        write!(f, "{seconds} s {way}, and tolerance is {tolerance} s")
    }
}
