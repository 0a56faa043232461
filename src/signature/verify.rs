//! Verifying: first what the headers say, before a byte of the body is read, then the bytes themselves.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::{HeaderMap, HeaderValue};

use super::key::LONGEST;
use super::{Encoding, Headers, Key, Parts, Scheme, TimePlace, Unit};
use crate::event::Timestamp;

/// The most signatures in one header that are looked at: a sender that replaces a key sends two.
const MOST_SIGNATURES: usize = 16;

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
    #[error("the {header} header is not {encoding} of {size} bytes behind {label:?}")]
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
    #[error("the {0} header has more than {MOST_SIGNATURES} signatures")]
    TooMany(String),
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
    /// Signed too long ago, or too far ahead of this machine's clock.
    #[error("the timestamp is {0}")]
    Stale(Skew),
    /// None of the source's keys made any of the signatures.
    #[error("none of this source's {0} signing keys made the signature")]
    WrongSignature(usize),
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
    timestamp: Option<HeaderValue>,
    stamp: Option<String>,
    signatures: Vec<Signature>,
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
        let (signatures, stamp) = self.entries(places, value.as_bytes())?;
        let timestamp = match &places.timestamp {
            Some(TimePlace::Header(name)) => Some(single(headers, name)?.clone()),
            _ => None,
        };
        let id = places.id.as_ref().map(|name| single(headers, name)).transpose()?.cloned();
        Ok(Presented { id, timestamp, stamp, signatures })
    }

    /// The spelling whose signature header is there; the first if none is.
    fn spelling(&self, headers: &HeaderMap) -> &Headers {
        let there = |places: &&Headers| headers.contains_key(&places.signature);
        self.headers.iter().find(there).unwrap_or(&self.headers[0])
    }

    fn entries(
        &self,
        places: &Headers,
        value: &[u8],
    ) -> Result<(Vec<Signature>, Option<String>), Unproven> {
        let mut signatures = Vec::with_capacity(1);
        let (mut labelled, mut stamps) = (0, Vec::new());
        let separator = self.separator;
        for entry in value.split(|&byte| separator.is_some_and(|c| char::from(byte) == c)) {
            if let Some(TimePlace::Entry(label)) = &places.timestamp
                && let Some(stamp) = entry.strip_prefix(label.as_bytes())
            {
                stamps.push(stamp);
            }
            for (kind, row) in self.kinds.iter().enumerate() {
                let Some(text) = entry.strip_prefix(row.label.as_bytes()) else { continue };
                labelled += 1;
                let size = row.algorithm.size();
                let decoded = self.encoding.decode(text, size);
                signatures.extend(decoded.map(|bytes| Signature { kind, size, bytes }));
            }
        }
        let header = || places.signature.clone();
        if labelled > MOST_SIGNATURES {
            return Err(Unproven::TooMany(header()));
        }
        if signatures.is_empty() {
            return Err(self.unreadable(header(), labelled > 0));
        }
        let stamp = match (&places.timestamp, stamps.as_slice()) {
            (Some(TimePlace::Entry(_)), [stamp]) => {
                Some(str::from_utf8(stamp).map_err(|_| Unproven::BadTime)?.to_owned())
            }
            (Some(TimePlace::Entry(label)), _) => {
                let label = label.clone();
                return Err(Unproven::NoTime { header: header(), label });
            }
            _ => None,
        };
        Ok((signatures, stamp))
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
        match (&self.timestamp, &self.stamp) {
            (Some(value), _) => Some(value.as_bytes()),
            (None, stamp) => stamp.as_ref().map(String::as_bytes),
        }
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
    /// How many seconds `text` lies ahead of `now`, if it is the one writing of a number.
    pub(super) fn ahead(self, text: &[u8], now: Timestamp) -> Result<i64, Unproven> {
        let plain =
            text.iter().all(u8::is_ascii_digit) && (text.len() == 1 || !text.starts_with(b"0"));
        let digits = str::from_utf8(text).ok().filter(|_| plain).ok_or(Unproven::BadTime)?;
        let stamp: i64 = digits.parse().map_err(|_| Unproven::BadTime)?;
        Ok(match self {
            Unit::Seconds => stamp.saturating_sub(now.timestamp()),
            Unit::Milliseconds => stamp.saturating_sub(now.timestamp_millis()) / 1000,
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
