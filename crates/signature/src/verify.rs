//! Verification: of the headers first, before a byte of the body is read, then of the bytes themselves.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::DateTime;
use http::header::{HeaderMap, HeaderValue};
use text::field::trimmed;

use super::key::MAX_SIGNATURE;
use super::{Encoding, HeaderNames, Key, Scheme, SignedParts, TimestampLocator, Unit};
use crate::Timestamp;

/// A request does not prove its sender. The reason is for the log and the console only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// A header is missing.
    #[error("no {0} header")]
    Missing(String),
    /// A header is repeated, so it is ambiguous.
    #[error("more than one {0} header")]
    Repeated(String),
    /// The signature header has no signature of the scheme.
    #[error("the {header} header has no signature that begins with {label:?}")]
    NoLabel {
        /// The header.
        header: String,
        /// The label of a signature.
        label: String,
    },
    /// The signature does not decode to the expected size.
    #[error("the {header} header is not {encoding} of {size} bytes{}", after(label))]
    Malformed {
        /// The header.
        header: String,
        /// The expected encoding.
        encoding: &'static str,
        /// The expected size in bytes.
        size: usize,
        /// The label of a signature.
        label: String,
    },
    /// The request has more signatures than any sender has keys.
    #[error("the {0} header has more signatures than a sender has keys")]
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
    #[error("the {header} header does not have exactly one {label}")]
    NoTime {
        /// The header.
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
    /// None of the source's keys made any of the signatures.
    #[error("none of this source's {0} signing keys made the signature")]
    WrongSignature(usize),
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

/// The signature of a request as read from its headers; the body decides if it is valid.
#[derive(Debug)]
pub struct UnverifiedSignature {
    id: Option<HeaderValue>,
    timestamp: Option<Vec<u8>>,
    signatures: Vec<DecodedSignature>,
}

/// The content of the signature header.
#[derive(Debug, Default)]
struct Entries<'v> {
    signatures: Vec<DecodedSignature>,
    timestamp: Option<&'v [u8]>,
    is_labelled: bool,
}

#[derive(Debug)]
struct DecodedSignature {
    kind: usize,
    size: usize,
    bytes: [u8; MAX_SIGNATURE],
}

impl Scheme {
    /// Reads the signature from the headers, and refuses what no body could make valid.
    ///
    /// `tolerance` is in seconds and counts both ways from `now`.
    ///
    /// # Errors
    /// [`VerifyError`] if a header is missing, repeated or malformed, or the timestamp is too far from `now`.
    pub fn present(
        &self,
        headers: &HeaderMap,
        tolerance: u64,
        now: Timestamp,
    ) -> Result<UnverifiedSignature, VerifyError> {
        let presented = self.read(headers)?;
        if let Some(timestamp) = presented.timestamp() {
            let skew = Skew { ahead: self.unit.ahead(timestamp, now)?, tolerance };
            if skew.ahead.unsigned_abs() > tolerance {
                return Err(VerifyError::Stale(skew));
            }
        }
        Ok(presented)
    }

    /// The index of the first key that made one of the signatures. Keys are tried until one matches: the timing is
    /// informative only to a sender that has one of them.
    ///
    /// # Errors
    /// [`VerifyError::WrongSignature`] if no key did.
    pub fn verify<'k>(
        &self,
        presented: &UnverifiedSignature,
        body: &[u8],
        keys: impl Iterator<Item = &'k Key>,
    ) -> Result<usize, VerifyError> {
        let parts = presented.parts(body);
        let mut tried = 0;
        for key in keys {
            if key.has_signed(self, &parts, presented.of_kind(key.kind)) {
                return Ok(tried);
            }
            tried += 1;
        }
        Err(VerifyError::WrongSignature(tried))
    }

    /// Reads the signature without checking the clock.
    pub(super) fn read(&self, headers: &HeaderMap) -> Result<UnverifiedSignature, VerifyError> {
        let names = self.spelling(headers);
        let value = single(headers, &names.signature)?;
        let entries = self.entries(names, value.as_bytes())?;
        let timestamp = match &names.timestamp {
            Some(TimestampLocator::Header(name)) => Some(single(headers, name)?.as_bytes()),
            _ => entries.timestamp,
        };
        Ok(UnverifiedSignature {
            id: self.id(names, headers)?.cloned(),
            timestamp: timestamp.map(<[u8]>::to_vec),
            signatures: entries.signatures,
        })
    }

    /// The spelling whose signature header is present; the first if none is.
    pub(super) fn spelling(&self, headers: &HeaderMap) -> &HeaderNames {
        let is_present = |names: &&HeaderNames| headers.contains_key(&names.signature);
        self.headers.iter().find(is_present).unwrap_or(&self.headers[0])
    }

    /// The signed id. A later reader may look for another spelling first, so all spellings must have the same value.
    fn id<'h>(
        &self,
        names: &HeaderNames,
        headers: &'h HeaderMap,
    ) -> Result<Option<&'h HeaderValue>, VerifyError> {
        let Some(name) = &names.id else { return Ok(None) };
        let id = single(headers, name)?;
        let refuse =
            |header: &str, reason| Err(VerifyError::BadId { header: header.into(), reason });
        if self.is_ambiguous(id.as_bytes()) {
            return refuse(name, "has the text in it that ends the id in what is signed");
        }
        for other in self.headers.iter().filter_map(|names| names.id.as_ref()) {
            if headers.get_all(other).iter().any(|value| value != id) {
                return refuse(other, "is not the id that is signed");
            }
        }
        Ok(Some(id))
    }

    fn entries<'v>(
        &self,
        names: &HeaderNames,
        value: &'v [u8],
    ) -> Result<Entries<'v>, VerifyError> {
        let mut entries = Entries::default();
        let separator = self.separator.and_then(|separator| u8::try_from(separator).ok());
        let header = || names.signature.clone();
        let label = match &names.timestamp {
            Some(TimestampLocator::Entry(label)) => Some(label),
            _ => None,
        };
        let no_time =
            |label: &String| VerifyError::NoTime { header: header(), label: label.clone() };
        for entry in value.split(|&byte| Some(byte) == separator) {
            // Some senders write ", ", others ",".
            let entry = trimmed(entry);
            let stamp =
                label.and_then(|label| Some((label, entry.strip_prefix(label.as_bytes())?)));
            match stamp {
                Some((label, _)) if entries.timestamp.is_some() => return Err(no_time(label)),
                Some((_, stamp)) => entries.timestamp = Some(stamp),
                None if self.signature(entry, &mut entries) => {}
                None => return Err(VerifyError::TooMany(header())),
            }
        }
        if entries.signatures.is_empty() {
            return Err(self.unreadable(header(), entries.is_labelled));
        }
        match label {
            Some(label) if entries.timestamp.is_none() => Err(no_time(label)),
            _ => Ok(entries),
        }
    }

    /// Adds the signature in an entry, if it has one. Returns false if there are too many.
    fn signature(&self, entry: &[u8], entries: &mut Entries<'_>) -> bool {
        for (kind, row) in self.kinds.iter().enumerate() {
            let Some(text) = entry.strip_prefix(row.label.as_bytes()) else { continue };
            entries.is_labelled = true;
            let size = row.algorithm.size();
            let Some(bytes) = self.encoding.decode(text, size) else { continue };
            let others = entries.signatures.iter().filter(|other| other.kind == kind);
            if others.count() == row.algorithm.most() {
                return false;
            }
            entries.signatures.push(DecodedSignature { kind, size, bytes });
        }
        true
    }

    fn unreadable(&self, header: String, is_labelled: bool) -> VerifyError {
        let kind = &self.kinds[0];
        let label = kind.label.clone();
        if !is_labelled {
            return VerifyError::NoLabel { header, label };
        }
        VerifyError::Malformed {
            header,
            encoding: self.encoding.as_str(),
            size: kind.algorithm.size(),
            label,
        }
    }
}

impl UnverifiedSignature {
    /// The time of signing, as written.
    pub(super) fn timestamp(&self) -> Option<&[u8]> {
        self.timestamp.as_deref()
    }

    /// The value that distinguishes messages with equal bodies: the signed id, else the time of signing.
    pub fn stamp(&self) -> Option<&[u8]> {
        self.id.as_ref().map(HeaderValue::as_bytes).or_else(|| self.timestamp())
    }

    pub(super) fn parts<'p>(&'p self, body: &'p [u8]) -> SignedParts<'p> {
        SignedParts {
            id: self.id.as_ref().map(HeaderValue::as_bytes).unwrap_or_default(),
            timestamp: self.timestamp().unwrap_or_default(),
            body,
        }
    }

    pub(super) fn of_kind(&self, kind: usize) -> impl Iterator<Item = &[u8]> {
        let signatures = self.signatures.iter().filter(move |signature| signature.kind == kind);
        signatures.map(|signature| &signature.bytes[..signature.size])
    }
}

fn single<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h HeaderValue, VerifyError> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or_else(|| VerifyError::Missing(name.to_owned()))?;
    match values.next() {
        None => Ok(value),
        Some(_) => Err(VerifyError::Repeated(name.to_owned())),
    }
}

impl Unit {
    /// The number of seconds by which `text` is ahead of `now`, if it is a canonical number, or a date.
    pub(super) fn ahead(self, text: &[u8], now: Timestamp) -> Result<i64, VerifyError> {
        if self == Unit::Rfc3339 {
            let text = str::from_utf8(text).map_err(|_| VerifyError::BadDate)?;
            let time = DateTime::parse_from_rfc3339(text).map_err(|_| VerifyError::BadDate)?;
            return Ok((time.to_utc() - now).num_seconds());
        }
        let plain =
            text.iter().all(u8::is_ascii_digit) && (text.len() == 1 || !text.starts_with(b"0"));
        let digits = str::from_utf8(text).ok().filter(|_| plain).ok_or(VerifyError::BadTime)?;
        let stamp: i64 = digits.parse().map_err(|_| VerifyError::BadTime)?;
        Ok(match self {
            Unit::Seconds => stamp.saturating_sub(now.timestamp()),
            _ => stamp.saturating_sub(now.timestamp_millis()) / 1000,
        })
    }
}

impl Encoding {
    /// The name in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Encoding::Hex => "lower-case hexadecimal",
            Encoding::HexUpper => "upper-case hexadecimal",
            Encoding::Base64 => "Base64 with padding",
            Encoding::Base64Url => "URL-safe Base64 without padding",
        }
    }

    /// Decodes exactly `size` bytes from their canonical form.
    pub(super) fn decode(self, text: &[u8], size: usize) -> Option<[u8; MAX_SIGNATURE]> {
        let mut bytes = [0; MAX_SIGNATURE];
        let into = bytes.get_mut(..size)?;
        let length = match self {
            Encoding::Hex if text.iter().any(u8::is_ascii_uppercase) => return None,
            Encoding::HexUpper if text.iter().any(u8::is_ascii_lowercase) => return None,
            Encoding::Hex | Encoding::HexUpper => {
                hex::decode_to_slice(text, into).ok().map(|()| size)
            }
            Encoding::Base64 => STANDARD.decode_slice(text, into).ok(),
            Encoding::Base64Url => URL_SAFE_NO_PAD.decode_slice(text, into).ok(),
        };
        (length == Some(size)).then_some(bytes)
    }

    /// Encodes the bytes.
    pub(super) fn encode(self, bytes: &[u8]) -> String {
        match self {
            Encoding::Hex => hex::encode(bytes),
            Encoding::HexUpper => hex::encode_upper(bytes),
            Encoding::Base64 => STANDARD.encode(bytes),
            Encoding::Base64Url => URL_SAFE_NO_PAD.encode(bytes),
        }
    }
}
