//! Whatever in a request's headers may be meant as its proof, read as leniently as a person would.

use std::ops::RangeInclusive;

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use chrono::DateTime;
use http::HeaderName;
use http::header::HeaderMap;

use super::{Difference, Encoding, Headers, Scheme, TimePlace, Unit, schemes};
use crate::Timestamp;

/// What is signed besides the body, as a request's headers say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamps {
    /// The message id.
    pub id: Option<String>,
    /// The time of signing, as it is written.
    pub timestamp: Option<String>,
    /// The time of signing, read in the scheme's unit, and then in the other.
    pub times: Vec<Timestamp>,
}

/// More than this are not looked at.
const MOST: usize = 16;

/// Headers that may hold a time or an id under another name; more than this are not tried.
const MOST_RENAMED: usize = 4;

/// How long signatures are, in bytes.
const SIZES: [usize; 2] = [32, 64];

/// Labels that no scheme in the table has, but senders have.
const OTHER_LABELS: [&str; 4] = ["sha1=", "sha512=", "hmac=", "signature="];

/// How long they are when they are written: from the shortest in Base64 to the longest in hexadecimal.
const LENGTHS: RangeInclusive<usize> = 43..=128;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);

/// What the headers say that is signed, and everything that may be a signature of it.
#[derive(Clone)]
pub(super) struct Claims<'h> {
    pub(super) id: Option<&'h [u8]>,
    pub(super) timestamp: Option<&'h [u8]>,
    pub(super) all: Vec<Claim<'h>>,
}

/// Bytes that may be a signature, and how they are written.
#[derive(Clone)]
pub(super) struct Claim<'h> {
    pub(super) header: &'h HeaderName,
    pub(super) label: Label,
    /// How it is written, if that is not how the scheme writes.
    pub(super) writing: Option<&'static str>,
    pub(super) bytes: Vec<u8>,
}

/// What stands before a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Label {
    /// What the scheme says.
    Expected,
    /// Nothing, where the scheme has a label.
    Missing,
    /// A label that senders have.
    Known(String),
    /// Something else, which is not repeated.
    Unknown,
}

impl<'h> Claims<'h> {
    /// What `scheme` would find if it were lenient: in its own header first, then in any other.
    pub(super) fn of(scheme: &Scheme, headers: &'h HeaderMap) -> Self {
        let places = places(scheme, headers);
        let own = |name: &HeaderName| name.as_str().eq_ignore_ascii_case(&places.signature);
        let (own, others): (Vec<_>, Vec<_>) = headers.iter().partition(|(name, _)| own(name));
        let texts = own
            .iter()
            .chain(&others)
            .filter_map(|(name, value)| Some((*name, str::from_utf8(value.as_bytes()).ok()?)));
        Claims {
            id: places.id.as_ref().and_then(|name| headers.get(name)).map(|id| id.as_bytes()),
            timestamp: timestamp(scheme, places, headers),
            all: texts.flat_map(|(name, text)| claims(scheme, name, text)).take(MOST).collect(),
        }
    }

    /// The same with a time or an id from another header, where the one in `places` is not there.
    pub(super) fn renamed(
        &self,
        places: &Headers,
        headers: &'h HeaderMap,
    ) -> Vec<(Self, Vec<Difference>)> {
        let times = match (&places.timestamp, self.timestamp) {
            (Some(TimePlace::Header(name)), None) => others("timestamp", name, headers, is_time),
            _ => vec![None],
        };
        let ids = match (&places.id, self.id) {
            (Some(name), None) => others("id", name, headers, |name, _| name.ends_with("id")),
            _ => vec![None],
        };
        let pairs = times.iter().flat_map(|time| ids.iter().map(move |id| (time, id)));
        let with = |(time, id): (&Option<Other<'h>>, &Option<Other<'h>>)| {
            let claims = Claims {
                timestamp: time.as_ref().map(|time| time.value).or(self.timestamp),
                id: id.as_ref().map(|id| id.value).or(self.id),
                all: self.all.clone(),
            };
            (
                claims,
                [time, id].into_iter().flatten().map(|other| other.difference.clone()).collect(),
            )
        };
        pairs.map(with).filter(|(_, renamed): &(_, Vec<_>)| !renamed.is_empty()).collect()
    }
}

/// A header that may be the one that is looked for.
struct Other<'h> {
    value: &'h [u8],
    difference: Difference,
}

fn others<'h>(
    part: &'static str,
    expected: &str,
    headers: &'h HeaderMap,
    may_be: impl Fn(&str, &[u8]) -> bool,
) -> Vec<Option<Other<'h>>> {
    let there = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let other = |(found, value): (&str, &'h [u8])| {
        let (found, expected) = (found.to_owned(), expected.to_owned());
        Some(Other { value, difference: Difference::Header { part, found, expected } })
    };
    there.filter(|(name, value)| may_be(name, value)).take(MOST_RENAMED).map(other).collect()
}

/// Whether it could be a time of our days, in seconds or milliseconds.
fn is_time(_name: &str, value: &[u8]) -> bool {
    [10, 13].contains(&value.len()) && value.iter().all(u8::is_ascii_digit)
}

impl Scheme {
    /// What the headers say that is signed besides the body, proven or not.
    pub fn stamps(&self, headers: &HeaderMap) -> Stamps {
        let claims = Claims::of(self, headers);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let timestamp = claims.timestamp.map(text);
        let number: Option<i64> = timestamp.as_ref().and_then(|text| text.parse().ok());
        let read = |unit: Unit| match unit {
            Unit::Seconds => DateTime::from_timestamp_secs(number?),
            Unit::Milliseconds => DateTime::from_timestamp_millis(number?),
            Unit::Rfc3339 => Some(DateTime::parse_from_rfc3339(timestamp.as_ref()?).ok()?.to_utc()),
        };
        Stamps {
            id: claims.id.map(text),
            times: [self.unit, self.unit.other()].into_iter().filter_map(read).collect(),
            timestamp,
        }
    }
}

/// The spelling whose signature header is there, else the one whose time is, else the first.
fn places<'s>(scheme: &'s Scheme, headers: &HeaderMap) -> &'s Headers {
    let signed = |places: &&Headers| headers.contains_key(&places.signature);
    let timed = |places: &&Headers| match &places.timestamp {
        Some(TimePlace::Header(name)) => headers.contains_key(name),
        _ => false,
    };
    let spellings = || scheme.headers.iter();
    spellings().find(signed).or_else(|| spellings().find(timed)).unwrap_or(&scheme.headers[0])
}

fn timestamp<'h>(scheme: &Scheme, places: &Headers, headers: &'h HeaderMap) -> Option<&'h [u8]> {
    match places.timestamp.as_ref()? {
        TimePlace::Header(name) => headers.get(name).map(|value| value.as_bytes()),
        TimePlace::Entry(label) => {
            let value = headers.get(&places.signature)?.to_str().ok()?;
            let mut entries = value.split(|c| Some(c) == scheme.separator).map(str::trim);
            entries.find_map(|entry| entry.strip_prefix(label)).map(str::as_bytes)
        }
    }
}

/// The signatures in one header: its entries, or what any separator makes of it.
fn claims<'h>(scheme: &Scheme, header: &'h HeaderName, text: &str) -> Vec<Claim<'h>> {
    let within = |is_separator: &dyn Fn(char) -> bool| -> Vec<Claim<'h>> {
        let entries = text.split(is_separator).map(|entry| entry.trim().trim_matches(['"', '\'']));
        entries.filter_map(|entry| claim(scheme, header, entry)).take(MOST).collect()
    };
    let found = within(&|c| Some(c) == scheme.separator);
    if found.is_empty() { within(&|c| ", ;".contains(c)) } else { found }
}

fn claim<'h>(scheme: &Scheme, header: &'h HeaderName, entry: &str) -> Option<Claim<'h>> {
    let decoded = |text: &str| decoded(scheme.encoding, text);
    let mut labelled = scheme.kinds.iter().filter_map(|kind| entry.strip_prefix(&kind.label));
    let mut expected = || labelled.find_map(decoded).map(|found| (Label::Expected, found));
    let alone = || decoded(entry).map(|found| (Label::Missing, found));
    let behind = || {
        let (label, text) = entry.split_at(entry.find(['=', ',', ':'])? + 1);
        decoded(text.trim()).map(|found| (known(label), found))
    };
    let (label, (writing, bytes)) = expected().or_else(alone).or_else(behind)?;
    Some(Claim { header, label, writing, bytes })
}

fn known(label: &str) -> Label {
    let table = schemes().into_iter().flat_map(|scheme| scheme.kinds).map(|kind| kind.label);
    let mut labels = table.chain(OTHER_LABELS.map(str::to_owned));
    match labels.find(|known| known.eq_ignore_ascii_case(label)) {
        Some(_) => Label::Known(label.to_owned()),
        None => Label::Unknown,
    }
}

/// The bytes, and the name of their writing if it is not `expected`.
fn decoded(expected: Encoding, text: &str) -> Option<(Option<&'static str>, Vec<u8>)> {
    if !LENGTHS.contains(&text.len()) {
        return None;
    }
    let strictly = |encoding: Encoding| {
        SIZES
            .iter()
            .find_map(|&size| Some(encoding.decode(text.as_bytes(), size)?[..size].to_vec()))
    };
    if let Some(bytes) = strictly(expected) {
        return Some((None, bytes));
    }
    let others = [Encoding::Hex, Encoding::HexUpper, Encoding::Base64, Encoding::Base64Url];
    let named = |encoding: Encoding| Some((Some(encoding.as_str()), strictly(encoding)?));
    let base64 = |alphabet| GeneralPurpose::new(alphabet, LENIENT).decode(text).ok();
    let lenient = || {
        let writings = [
            ("hexadecimal in both cases", hex::decode(text).ok()),
            ("Base64 without padding", base64(&STANDARD)),
            ("URL-safe Base64 with padding", base64(&URL_SAFE)),
        ];
        writings.into_iter().find_map(|(writing, bytes)| {
            Some((Some(writing), bytes.filter(|bytes| SIZES.contains(&bytes.len()))?))
        })
    };
    others.into_iter().find_map(named).or_else(lenient)
}
