//! Verification: of the headers first, before a byte of the body is read, then of the bytes themselves.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::DateTime;
use http::header::{HeaderMap, HeaderValue};
use text::field::trimmed;

use super::parts::{HttpMessage, RequestParts};
use super::template::Part;
use super::verify_error::{Skew, VerifyError};
use super::{Encoding, Key, Place, ProofPlaces, PublicKey, Scheme, TimestampLocator, Unit};
use crate::Timestamp;

/// The largest signature, in bytes: that of an RSA key of 8192 bits.
const MAX_SIGNATURE: usize = 1024;

/// The signatures and the time of signing that are in a body.
type BodyProof = (Option<Vec<DecodedSignature>>, Option<Vec<u8>>);

/// A text of a request, and its place.
type PlacedValue<'h> = (&'h Place, Cow<'h, [u8]>);

/// The signature of a request as read from its head; the body decides if it is valid.
#[derive(Debug)]
pub struct UnverifiedSignature {
    id: Option<HeaderValue>,
    timestamp: Option<Vec<u8>>,
    /// None if they are in the body.
    signatures: Option<Vec<DecodedSignature>>,
    tolerance: u64,
    now: Timestamp,
}

/// The content of the place of the signature.
#[derive(Debug, Default)]
struct Entries<'v> {
    signatures: Vec<DecodedSignature>,
    timestamp: Option<&'v [u8]>,
    is_labelled: bool,
}

#[derive(Debug)]
struct DecodedSignature {
    kind: usize,
    bytes: Vec<u8>,
}

impl Scheme {
    /// Reads the signature from the head, and refuses what no body could make valid.
    ///
    /// `tolerance` is in seconds and counts both ways from `now`.
    ///
    /// # Errors
    /// [`VerifyError`] if a part is missing, repeated or malformed, or the timestamp is too far from `now`.
    pub fn present(
        &self,
        head: HttpMessage<'_>,
        tolerance: u64,
        now: Timestamp,
    ) -> Result<UnverifiedSignature, VerifyError> {
        let presented = self.read(head, tolerance, now)?;
        if let Some(timestamp) = presented.timestamp() {
            presented.check_time(self, timestamp)?;
        }
        Ok(presented)
    }

    /// The index of the first key that made one of the signatures. Keys are tried until one matches: the timing is
    /// informative only to a sender that has one of them.
    ///
    /// # Errors
    /// [`VerifyError::WrongSignature`] if no key did; another if the proof is in the body, and incomplete.
    pub fn verify<'k>(
        &self,
        presented: &UnverifiedSignature,
        head: HttpMessage<'_>,
        body: &[u8],
        keys: impl Iterator<Item = &'k Key> + Clone,
    ) -> Result<usize, VerifyError> {
        self.verify_by(presented, head, body, |signed, signatures| {
            let mut tried = 0;
            for key in keys.clone() {
                if key.has_made(self, signed, of_kind(signatures, key.kind)) {
                    return Ok(tried);
                }
                tried += 1;
            }
            Err(tried)
        })
    }

    /// Verifies a signature by a key that the sender publishes, by any of the scheme's algorithms for its type.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub fn verify_published(
        &self,
        presented: &UnverifiedSignature,
        head: HttpMessage<'_>,
        body: &[u8],
        key: &PublicKey,
    ) -> Result<(), VerifyError> {
        let is_by = |signed: &[Cow<'_, [u8]>], signatures: &[DecodedSignature]| {
            let kinds = self.kinds.iter().enumerate();
            let mut kinds = kinds.filter(|(_, kind)| kind.algorithm.key_type() == key.key_type());
            let has_signed = kinds.any(|(number, kind)| {
                key.material().has_signed(
                    kind.algorithm,
                    |piece| signed.iter().for_each(|own| piece(own)),
                    of_kind(signatures, number),
                )
            });
            if has_signed { Ok(0) } else { Err(1) }
        };
        self.verify_by(presented, head, body, is_by).map(drop)
    }

    fn verify_by(
        &self,
        presented: &UnverifiedSignature,
        head: HttpMessage<'_>,
        body: &[u8],
        find: impl Fn(&[Cow<'_, [u8]>], &[DecodedSignature]) -> Result<usize, usize>,
    ) -> Result<usize, VerifyError> {
        let whole = RequestParts::new(head, body);
        let in_body = presented.signatures.is_none() || self.is_in_body();
        let (read, timestamp) = match in_body {
            false => (None, None),
            true => {
                let (signatures, timestamp) = self.read_body(&whole)?;
                if let Some(timestamp) = &timestamp {
                    presented.check_time(self, timestamp)?;
                }
                (signatures, timestamp)
            }
        };
        self.check_digest(head, body)?;
        if let Some(place) = self.absent.iter().find(|place| place.is_filled(&whole)) {
            return Err(VerifyError::Uncovered(place.to_string()));
        }
        let signatures = read.as_ref().or(presented.signatures.as_ref());
        let signatures = signatures.map(Vec::as_slice).unwrap_or_default();
        let timestamp = timestamp.as_deref().or(presented.timestamp()).unwrap_or_default();
        let urls = if self.signed.has_url() { head.urls() } else { vec![String::new()] };
        let mut tried = 0;
        for url in &urls {
            let mut parts = presented.parts(head, body);
            parts.timestamp = timestamp;
            parts.url = url;
            let signed = self.signed.evaluated(&parts);
            let signed = signed.map_err(|missing| VerifyError::MissingPart(missing.0))?;
            match find(&signed, signatures) {
                Ok(number) => return Ok(number),
                Err(keys) => tried = keys,
            }
        }
        match urls.is_empty() {
            true => Err(VerifyError::Missing("Host".into())),
            false => Err(VerifyError::WrongSignature(tried)),
        }
    }

    /// Reads the signature without checking the clock.
    pub(super) fn read(
        &self,
        head: HttpMessage<'_>,
        tolerance: u64,
        now: Timestamp,
    ) -> Result<UnverifiedSignature, VerifyError> {
        let headers = head.headers;
        let places = self.spelling(headers);
        let whole = RequestParts::new(head, b"");
        let is_late = |place: &Place| place.is_in_body();
        let (signatures, mut timestamp) = match is_late(&places.signature) {
            true => (None, None),
            false => {
                let values = self.values(places, &whole)?;
                let mut signatures = Vec::new();
                let mut timestamp = None;
                for (place, value) in &values {
                    let entries = self.entries(place, places, value)?;
                    timestamp = timestamp.or(entries.timestamp.map(<[u8]>::to_vec));
                    signatures.extend(entries.signatures);
                }
                (Some(signatures), timestamp)
            }
        };
        if let Some(TimestampLocator::At(place)) = &places.timestamp
            && !is_late(place)
        {
            timestamp = Some(single(place, &whole)?.into_owned());
        }
        let id = self.id(places, headers)?.cloned();
        Ok(UnverifiedSignature { id, timestamp, signatures, tolerance, now })
    }

    /// The parts of the proof that are in the body.
    fn read_body(&self, whole: &RequestParts<'_>) -> Result<BodyProof, VerifyError> {
        let places = self.spelling(whole.head.headers);
        let signatures = match places.signature.is_in_body() {
            false => None,
            true => {
                let value = single(&places.signature, whole)?;
                Some(self.entries(&places.signature, places, &value)?.signatures)
            }
        };
        let timestamp = match &places.timestamp {
            Some(TimestampLocator::At(place)) if place.is_in_body() => {
                Some(single(place, whole)?.into_owned())
            }
            _ => None,
        };
        Ok((signatures, timestamp))
    }

    /// The spelling whose signature header is present; the first if none is.
    pub(super) fn spelling(&self, headers: &HeaderMap) -> &ProofPlaces {
        let is_present = |places: &&ProofPlaces| {
            places.signature_header().is_some_and(|name| headers.contains_key(name))
        };
        self.spellings.iter().find(is_present).unwrap_or(&self.spellings[0])
    }

    /// The texts with signatures. A scheme that signs neither id nor time may have them in several headers, one for each
    /// key.
    fn values<'h>(
        &'h self,
        places: &'h ProofPlaces,
        whole: &RequestParts<'h>,
    ) -> Result<Vec<PlacedValue<'h>>, VerifyError> {
        let mut values = vec![(&places.signature, single(&places.signature, whole)?)];
        if places.timestamp.is_none() && places.id.is_none() {
            for other in self.spellings.iter().map(|other| &other.signature) {
                if *other != places.signature
                    && let Some(value) = other.value(whole)
                {
                    values.push((other, value));
                }
            }
        }
        Ok(values)
    }

    /// The signed id. A later reader may look for another spelling first, so all spellings must have the same value.
    fn id<'h>(
        &self,
        places: &ProofPlaces,
        headers: &'h HeaderMap,
    ) -> Result<Option<&'h HeaderValue>, VerifyError> {
        let Some(name) = &places.id else { return Ok(None) };
        let id = single_header(headers, name)?;
        let refuse =
            |header: &str, reason| Err(VerifyError::BadId { header: header.into(), reason });
        if self.is_ambiguous(id.as_bytes()) {
            return refuse(name, "has the text in it that ends the id in what is signed");
        }
        for other in self.spellings.iter().filter_map(|places| places.id.as_ref()) {
            if headers.get_all(other).iter().any(|value| value != id) {
                return refuse(other, "is not the id that is signed");
            }
        }
        Ok(Some(id))
    }

    /// Compares the digest of the body, if the signature covers the body by that.
    fn check_digest(&self, head: HttpMessage<'_>, body: &[u8]) -> Result<(), VerifyError> {
        let signs_form = self.signed.parts().any(|part| *part == Part::Form);
        let is_covered_form = signs_form && self.is_form(head.headers);
        let Some(place) = &self.body_digest else {
            let is_whole = is_covered_form || self.signed.count(&Part::Body) > 0;
            return match signs_form && !is_whole && !body.is_empty() {
                true => Err(VerifyError::Uncovered("a body that is no form".into())),
                false => Ok(()),
            };
        };
        let given = place.value(&RequestParts::new(head, body));
        match given {
            None if body.is_empty() || is_covered_form => Ok(()),
            None => Err(VerifyError::MissingPart(place.to_string())),
            Some(given) if given.eq_ignore_ascii_case(self.digest_of(body).as_bytes()) => Ok(()),
            Some(_) => Err(VerifyError::WrongDigest(place.to_string())),
        }
    }

    fn entries<'v>(
        &self,
        place: &Place,
        places: &ProofPlaces,
        value: &'v [u8],
    ) -> Result<Entries<'v>, VerifyError> {
        let mut entries = Entries::default();
        let separator = self.separator.and_then(|separator| u8::try_from(separator).ok());
        let header = || place.to_string();
        let label = match &places.timestamp {
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
            let Some(bytes) = self.encoding.decode(text, row.algorithm.size()) else { continue };
            let others = entries.signatures.iter().filter(|other| other.kind == kind);
            if others.count() == row.algorithm.most() {
                return false;
            }
            entries.signatures.push(DecodedSignature { kind, bytes });
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

    /// The parts of the request, with the id and the time of its head.
    pub(super) fn parts<'p>(&'p self, head: HttpMessage<'p>, body: &'p [u8]) -> RequestParts<'p> {
        let mut parts = RequestParts::new(head, body);
        parts.id = self.id.as_ref().map(HeaderValue::as_bytes).unwrap_or_default();
        parts.timestamp = self.timestamp().unwrap_or_default();
        parts
    }

    pub(super) fn of_kind(&self, kind: usize) -> impl Iterator<Item = &[u8]> {
        of_kind(self.signatures.as_deref().unwrap_or_default(), kind)
    }

    fn check_time(&self, scheme: &Scheme, timestamp: &[u8]) -> Result<(), VerifyError> {
        let ahead = scheme.unit.ahead(timestamp, self.now)?;
        let skew = Skew { ahead, tolerance: self.tolerance };
        match skew.ahead.unsigned_abs() > self.tolerance {
            true => Err(VerifyError::Stale(skew)),
            false => Ok(()),
        }
    }
}

fn of_kind(signatures: &[DecodedSignature], kind: usize) -> impl Iterator<Item = &[u8]> {
    let signatures = signatures.iter().filter(move |signature| signature.kind == kind);
    signatures.map(|signature| signature.bytes.as_slice())
}

/// The value at a place, of which the request has exactly one.
fn single<'h>(
    place: &Place,
    whole: &RequestParts<'h>,
) -> Result<std::borrow::Cow<'h, [u8]>, VerifyError> {
    match place {
        Place::Header(name) => {
            single_header(whole.head.headers, name).map(|value| value.as_bytes().into())
        }
        place => place.value(whole).ok_or_else(|| VerifyError::MissingPart(place.to_string())),
    }
}

fn single_header<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h HeaderValue, VerifyError> {
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

    /// Decodes a signature from its canonical form: of exactly `size` bytes, if all have that.
    pub(super) fn decode(self, text: &[u8], size: Option<usize>) -> Option<Vec<u8>> {
        if text.len() > 2 * MAX_SIGNATURE {
            return None;
        }
        let bytes = match self {
            Encoding::Hex if text.iter().any(u8::is_ascii_uppercase) => return None,
            Encoding::HexUpper if text.iter().any(u8::is_ascii_lowercase) => return None,
            Encoding::Hex | Encoding::HexUpper => hex::decode(text).ok()?,
            Encoding::Base64 => STANDARD.decode(text).ok()?,
            // With or without padding.
            Encoding::Base64Url => {
                let end = text.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
                URL_SAFE_NO_PAD.decode(&text[..end]).ok()?
            }
        };
        let fits =
            size.map_or((1..=MAX_SIGNATURE).contains(&bytes.len()), |size| size == bytes.len());
        fits.then_some(bytes)
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
