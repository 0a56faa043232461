//! Verifying: first what the headers say, before a byte of the body is read, then the bytes themselves.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::DateTime;
use http::header::{HeaderMap, HeaderValue};
use text::field::trimmed;

use super::key::LONGEST;
use super::{Encoding, Headers, Key, Parts, Scheme, TimePlace, Unit};
use crate::Timestamp;

/// Why a request does not prove its sender. For the log and the console only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// A header is not there.
    #[error("no {0} header")]
    Missing(String),
    /// A header is there more than once, so nobody can say which of them counts.
    #[error("more than one {0} header")]
    Twice(String),
    /// The signature header has no signature of the scheme in it.
    #[error("the {header} header has no signature that begins with {label:?}")]
    NoLabel {
        /// The header.
        header: String,
        /// What stands before a signature.
        label: String,
    },
    /// The signature is no writing of as many bytes as one has.
    #[error("the {header} header is not {encoding} of {size} bytes{}", behind(label))]
    Malformed {
        /// The header.
        header: String,
        /// How the bytes should be written.
        encoding: &'static str,
        /// How many bytes there should be.
        size: usize,
        /// What stands before a signature.
        label: String,
    },
    /// More signatures than any sender has keys.
    #[error("the {0} header has more signatures than a sender has keys")]
    TooMany(String),
    /// The message id could be read in two ways, of which only one is signed.
    #[error("the {header} header {reason}")]
    BadId {
        /// The header.
        header: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The signature header has no time in it, or two.
    #[error("the {header} header does not have exactly one {label}")]
    NoTime {
        /// The header.
        header: String,
        /// What stands before the time.
        label: String,
    },
    /// The time is not plain decimal digits that fit.
    #[error("the timestamp is not plain digits")]
    BadTime,
    /// The time is no date with a time of day and an offset.
    #[error("the timestamp is not as RFC 3339 writes one, such as 2026-01-31T12:00:00Z")]
    BadDate,
    /// Signed too long ago, or too far ahead of this machine's clock.
    #[error("the timestamp is {0}")]
    Stale(Skew),
    /// A message signature that is not one, or covers too little.
    #[error("the message signature {0}")]
    Message(String),
    /// None of the source's keys made any of the signatures.
    #[error("none of this source's {0} signing keys made the signature")]
    WrongSignature(usize),
}

fn behind(label: &str) -> String {
    if label.is_empty() { String::new() } else { format!(" behind {label:?}") }
}

/// How far a timestamp is from now, and how far it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skew {
    /// Seconds; negative if it lies in the past.
    pub ahead: i64,
    /// Seconds, both ways.
    pub tolerance: u64,
}

impl std::fmt::Display for Skew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (seconds, tolerance) = (self.ahead.unsigned_abs(), self.tolerance);
        let way = if self.ahead < 0 { "old" } else { "ahead of this machine's clock" };
        write!(f, "{seconds} s {way}, and tolerance is {tolerance} s")
    }
}

/// What a request presents as proof; the body decides whether it is one.
#[derive(Debug)]
pub struct Presented {
    id: Option<HeaderValue>,
    timestamp: Option<Vec<u8>>,
    signatures: Vec<Signature>,
}

/// What the signature header holds.
#[derive(Debug, Default)]
struct Entries<'v> {
    signatures: Vec<Signature>,
    timestamp: Option<&'v [u8]>,
    is_labelled: bool,
}

#[derive(Debug)]
struct Signature {
    kind: usize,
    size: usize,
    bytes: [u8; LONGEST],
}

impl Scheme {
    /// Reads the proof from the headers, and refuses what no body could make good.
    ///
    /// `tolerance` is in seconds and counts both ways from `now`.
    ///
    /// # Errors
    /// [`Unproven`] if a header is missing, there twice or malformed, or the timestamp is too far from `now`.
    pub fn present(
        &self,
        headers: &HeaderMap,
        tolerance: u64,
        now: Timestamp,
    ) -> Result<Presented, Unproven> {
        let presented = self.read(headers)?;
        if let Some(timestamp) = presented.timestamp() {
            let skew = Skew { ahead: self.unit.ahead(timestamp, now)?, tolerance };
            if skew.ahead.unsigned_abs() > tolerance {
                return Err(Unproven::Stale(skew));
            }
        }
        Ok(presented)
    }

    /// The number of the first key that made one of the signatures. All keys are tried until one did: how long that takes
    /// tells only a sender who has one of them.
    ///
    /// # Errors
    /// [`Unproven::WrongSignature`] if none did.
    pub fn verify<'k>(
        &self,
        presented: &Presented,
        body: &[u8],
        keys: impl Iterator<Item = &'k Key>,
    ) -> Result<usize, Unproven> {
        let parts = presented.parts(body);
        let mut tried = 0;
        for key in keys {
            if key.has_made(self, &parts, presented.of_kind(key.kind)) {
                return Ok(tried);
            }
            tried += 1;
        }
        Err(Unproven::WrongSignature(tried))
    }

    /// The proof without a look at the clock.
    pub(super) fn read(&self, headers: &HeaderMap) -> Result<Presented, Unproven> {
        let places = self.spelling(headers);
        let value = single(headers, &places.signature)?;
        let entries = self.entries(places, value.as_bytes())?;
        let timestamp = match &places.timestamp {
            Some(TimePlace::Header(name)) => Some(single(headers, name)?.as_bytes()),
            _ => entries.timestamp,
        };
        Ok(Presented {
            id: self.id(places, headers)?.cloned(),
            timestamp: timestamp.map(<[u8]>::to_vec),
            signatures: entries.signatures,
        })
    }

    /// The spelling whose signature header is there; the first if none is.
    pub(super) fn spelling(&self, headers: &HeaderMap) -> &Headers {
        let there = |places: &&Headers| headers.contains_key(&places.signature);
        self.headers.iter().find(there).unwrap_or(&self.headers[0])
    }

    /// The signed id. Whoever reads the id later may look for another spelling first, so all of them must say the same.
    fn id<'h>(
        &self,
        places: &Headers,
        headers: &'h HeaderMap,
    ) -> Result<Option<&'h HeaderValue>, Unproven> {
        let Some(name) = &places.id else { return Ok(None) };
        let id = single(headers, name)?;
        let refuse = |header: &str, reason| Err(Unproven::BadId { header: header.into(), reason });
        if self.is_ambiguous(id.as_bytes()) {
            return refuse(name, "has the text in it that ends the id in what is signed");
        }
        for other in self.headers.iter().filter_map(|places| places.id.as_ref()) {
            if headers.get_all(other).iter().any(|value| value != id) {
                return refuse(other, "is not the id that is signed");
            }
        }
        Ok(Some(id))
    }

    fn entries<'v>(&self, places: &Headers, value: &'v [u8]) -> Result<Entries<'v>, Unproven> {
        let mut entries = Entries::default();
        let separator = self.separator.and_then(|separator| u8::try_from(separator).ok());
        let header = || places.signature.clone();
        let label = match &places.timestamp {
            Some(TimePlace::Entry(label)) => Some(label),
            _ => None,
        };
        let no_time = |label: &String| Unproven::NoTime { header: header(), label: label.clone() };
        for entry in value.split(|&byte| Some(byte) == separator) {
            // A sender may write ", " where another writes ",".
            let entry = trimmed(entry);
            let stamp =
                label.and_then(|label| Some((label, entry.strip_prefix(label.as_bytes())?)));
            match stamp {
                Some((label, _)) if entries.timestamp.is_some() => return Err(no_time(label)),
                Some((_, stamp)) => entries.timestamp = Some(stamp),
                None if self.signature(entry, &mut entries) => {}
                None => return Err(Unproven::TooMany(header())),
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

    /// Adds the signature in an entry, if it has one. False if there are too many.
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
            entries.signatures.push(Signature { kind, size, bytes });
        }
        true
    }

    fn unreadable(&self, header: String, is_labelled: bool) -> Unproven {
        let kind = &self.kinds[0];
        let label = kind.label.clone();
        if !is_labelled {
            return Unproven::NoLabel { header, label };
        }
        Unproven::Malformed {
            header,
            encoding: self.encoding.as_str(),
            size: kind.algorithm.size(),
            label,
        }
    }
}

impl Presented {
    /// The time of signing, as it is written.
    pub(super) fn timestamp(&self) -> Option<&[u8]> {
        self.timestamp.as_deref()
    }

    /// What tells the message from others of the same body: its id if that is signed, else the time of signing.
    pub fn stamp(&self) -> Option<&[u8]> {
        self.id.as_ref().map(HeaderValue::as_bytes).or_else(|| self.timestamp())
    }

    pub(super) fn parts<'p>(&'p self, body: &'p [u8]) -> Parts<'p> {
        Parts {
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

fn single<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h HeaderValue, Unproven> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or_else(|| Unproven::Missing(name.to_owned()))?;
    match values.next() {
        None => Ok(value),
        Some(_) => Err(Unproven::Twice(name.to_owned())),
    }
}

impl Unit {
    /// How many seconds `text` lies ahead of `now`, if it is the one writing of a number, or a date.
    pub(super) fn ahead(self, text: &[u8], now: Timestamp) -> Result<i64, Unproven> {
        if self == Unit::Rfc3339 {
            let text = str::from_utf8(text).map_err(|_| Unproven::BadDate)?;
            let time = DateTime::parse_from_rfc3339(text).map_err(|_| Unproven::BadDate)?;
            return Ok((time.to_utc() - now).num_seconds());
        }
        let plain =
            text.iter().all(u8::is_ascii_digit) && (text.len() == 1 || !text.starts_with(b"0"));
        let digits = str::from_utf8(text).ok().filter(|_| plain).ok_or(Unproven::BadTime)?;
        let stamp: i64 = digits.parse().map_err(|_| Unproven::BadTime)?;
        Ok(match self {
            Unit::Seconds => stamp.saturating_sub(now.timestamp()),
            _ => stamp.saturating_sub(now.timestamp_millis()) / 1000,
        })
    }
}

impl Encoding {
    /// Its name in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Encoding::Hex => "lower-case hexadecimal",
            Encoding::HexUpper => "upper-case hexadecimal",
            Encoding::Base64 => "Base64 with padding",
            Encoding::Base64Url => "URL-safe Base64 without padding",
        }
    }

    /// Exactly `size` bytes, from the one writing that they have.
    pub(super) fn decode(self, text: &[u8], size: usize) -> Option<[u8; LONGEST]> {
        let mut bytes = [0; LONGEST];
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

    /// The writing of `bytes`.
    pub(super) fn encode(self, bytes: &[u8]) -> String {
        match self {
            Encoding::Hex => hex::encode(bytes),
            Encoding::HexUpper => hex::encode_upper(bytes),
            Encoding::Base64 => STANDARD.encode(bytes),
            Encoding::Base64Url => URL_SAFE_NO_PAD.encode(bytes),
        }
    }
}
