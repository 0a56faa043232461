//! Candidates for a signature in a request's headers, read leniently for diagnosis.

use std::ops::RangeInclusive;

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use chrono::DateTime;
use http::HeaderName;
use http::header::HeaderMap;

use super::{Difference, Encoding, Place, ProofPlaces, Scheme, TimestampLocator, Unit, schemes};
use crate::Timestamp;

/// The signed facts besides the body, as claimed by a request's headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedStamp {
    /// The message id.
    pub id: Option<String>,
    /// The time of signing, as written.
    pub timestamp: Option<String>,
    /// The time of signing, read in the scheme's unit and then in the other.
    pub times: Vec<Timestamp>,
}

/// The most candidates that are examined.
const MAX_CANDIDATES: usize = 16;

/// The most headers that are tried as a renamed time or id.
const MAX_RENAMED: usize = 4;

/// The sizes of signatures, in bytes.
const SIZES: [usize; 3] = [20, 32, 64];

/// Labels that are in no scheme of the table but in use by senders.
const OTHER_LABELS: [&str; 4] = ["sha1=", "sha512=", "hmac=", "signature="];

/// The lengths of encoded signatures: from the shortest in Base64 to the longest in hexadecimal.
const LENGTHS: RangeInclusive<usize> = 27..=128;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);

/// The claimed id and time of a request, and every candidate for its signature.
#[derive(Clone)]
pub(super) struct Candidates<'h> {
    pub(super) id: Option<&'h [u8]>,
    pub(super) timestamp: Option<&'h [u8]>,
    pub(super) all: Vec<Candidate<'h>>,
}

/// Bytes that may be a signature, with their label and encoding.
#[derive(Clone)]
pub(super) struct Candidate<'h> {
    pub(super) header: &'h HeaderName,
    pub(super) label: Label,
    /// The name of the encoding, if it differs from the scheme's.
    pub(super) encoding: Option<&'static str>,
    pub(super) bytes: Vec<u8>,
}

/// The label before a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Label {
    /// The scheme's label.
    Expected,
    /// No label, though the scheme has one.
    Missing,
    /// A label in use by senders.
    Known(String),
    /// Any other label, which is not repeated.
    Unknown,
}

impl<'h> Candidates<'h> {
    /// The candidates that a lenient `scheme` would find: in its own header first, then in any other.
    pub(super) fn of(scheme: &Scheme, headers: &'h HeaderMap) -> Self {
        let names = names(scheme, headers);
        let own = |name: &HeaderName| {
            names.signature_header().is_some_and(|own| name.as_str().eq_ignore_ascii_case(own))
        };
        let (own, others): (Vec<_>, Vec<_>) = headers.iter().partition(|(name, _)| own(name));
        let texts = own
            .iter()
            .chain(&others)
            .filter_map(|(name, value)| Some((*name, str::from_utf8(value.as_bytes()).ok()?)));
        Candidates {
            id: names.id.as_ref().and_then(|name| headers.get(name)).map(|id| id.as_bytes()),
            timestamp: timestamp(scheme, names, headers),
            all: texts
                .flat_map(|(name, text)| candidates(scheme, name, text))
                .take(MAX_CANDIDATES)
                .collect(),
        }
    }

    /// The same candidates with a time or an id from another header, if the header named in `names` is missing.
    pub(super) fn renamed(
        &self,
        names: &ProofPlaces,
        headers: &'h HeaderMap,
    ) -> Vec<(Self, Vec<Difference>)> {
        let times = match (&names.timestamp, self.timestamp) {
            (Some(TimestampLocator::At(Place::Header(name))), None) => {
                others("timestamp", name, headers, is_time)
            }
            _ => vec![None],
        };
        let ids = match (&names.id, self.id) {
            (Some(name), None) => others("id", name, headers, |name, _| name.ends_with("id")),
            _ => vec![None],
        };
        let pairs = times.iter().flat_map(|time| ids.iter().map(move |id| (time, id)));
        let with = |(time, id): (&Option<RenamedHeader<'h>>, &Option<RenamedHeader<'h>>)| {
            let candidates = Candidates {
                timestamp: time.as_ref().map(|time| time.value).or(self.timestamp),
                id: id.as_ref().map(|id| id.value).or(self.id),
                all: self.all.clone(),
            };
            (
                candidates,
                [time, id].into_iter().flatten().map(|other| other.difference.clone()).collect(),
            )
        };
        pairs.map(with).filter(|(_, renamed): &(_, Vec<_>)| !renamed.is_empty()).collect()
    }
}

/// A header that may be the expected one under another name.
struct RenamedHeader<'h> {
    value: &'h [u8],
    difference: Difference,
}

fn others<'h>(
    part: &'static str,
    expected: &str,
    headers: &'h HeaderMap,
    may_be: impl Fn(&str, &[u8]) -> bool,
) -> Vec<Option<RenamedHeader<'h>>> {
    let present = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let other = |(found, value): (&str, &'h [u8])| {
        let (found, expected) = (found.to_owned(), expected.to_owned());
        Some(RenamedHeader { value, difference: Difference::Header { part, found, expected } })
    };
    present.filter(|(name, value)| may_be(name, value)).take(MAX_RENAMED).map(other).collect()
}

/// True if it could be a current time, in seconds or milliseconds.
fn is_time(_name: &str, value: &[u8]) -> bool {
    [10, 13].contains(&value.len()) && value.iter().all(u8::is_ascii_digit)
}

impl Scheme {
    /// The signed facts besides the body as the headers claim them, proven or not.
    pub fn stamps(&self, headers: &HeaderMap) -> ClaimedStamp {
        let candidates = Candidates::of(self, headers);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let timestamp = candidates.timestamp.map(text);
        let number: Option<i64> = timestamp.as_ref().and_then(|text| text.parse().ok());
        let read = |unit: Unit| match unit {
            Unit::Seconds => DateTime::from_timestamp_secs(number?),
            Unit::Milliseconds => DateTime::from_timestamp_millis(number?),
            Unit::Rfc3339 => Some(DateTime::parse_from_rfc3339(timestamp.as_ref()?).ok()?.to_utc()),
        };
        ClaimedStamp {
            id: candidates.id.map(text),
            times: [self.unit, self.unit.other()].into_iter().filter_map(read).collect(),
            timestamp,
        }
    }
}

/// The spelling whose signature header is present, else the one whose time header is, else the first.
fn names<'s>(scheme: &'s Scheme, headers: &HeaderMap) -> &'s ProofPlaces {
    let has = |name: Option<&str>| name.is_some_and(|name| headers.contains_key(name));
    let signed = |names: &&ProofPlaces| has(names.signature_header());
    let timed = |names: &&ProofPlaces| has(names.timestamp_header());
    let spellings = || scheme.spellings.iter();
    spellings().find(signed).or_else(|| spellings().find(timed)).unwrap_or(&scheme.spellings[0])
}

fn timestamp<'h>(scheme: &Scheme, names: &ProofPlaces, headers: &'h HeaderMap) -> Option<&'h [u8]> {
    match names.timestamp.as_ref()? {
        TimestampLocator::At(Place::Header(name)) => {
            headers.get(name).map(|value| value.as_bytes())
        }
        TimestampLocator::At(_) => None,
        TimestampLocator::Entry(label) => {
            let value = headers.get(names.signature_header()?)?.to_str().ok()?;
            let mut entries = value.split(|c| Some(c) == scheme.separator).map(str::trim);
            entries.find_map(|entry| entry.strip_prefix(label)).map(str::as_bytes)
        }
    }
}

/// The signatures in one header: its entries, or those by any common separator.
fn candidates<'h>(scheme: &Scheme, header: &'h HeaderName, text: &str) -> Vec<Candidate<'h>> {
    let within = |is_separator: &dyn Fn(char) -> bool| -> Vec<Candidate<'h>> {
        let entries = text.split(is_separator).map(|entry| entry.trim().trim_matches(['"', '\'']));
        entries.filter_map(|entry| candidate(scheme, header, entry)).take(MAX_CANDIDATES).collect()
    };
    let found = within(&|c| Some(c) == scheme.separator);
    if found.is_empty() { within(&|c| ", ;".contains(c)) } else { found }
}

fn candidate<'h>(scheme: &Scheme, header: &'h HeaderName, entry: &str) -> Option<Candidate<'h>> {
    let decoded = |text: &str| decoded(scheme.encoding, text);
    let mut labelled = scheme.kinds.iter().filter_map(|kind| entry.strip_prefix(&kind.label));
    let mut expected = || labelled.find_map(decoded).map(|found| (Label::Expected, found));
    let alone = || decoded(entry).map(|found| (Label::Missing, found));
    let behind = || {
        let (label, text) = entry.split_at(entry.find(['=', ',', ':'])? + 1);
        decoded(text.trim()).map(|found| (known(label), found))
    };
    let (label, (encoding, bytes)) = expected().or_else(alone).or_else(behind)?;
    Some(Candidate { header, label, encoding, bytes })
}

fn known(label: &str) -> Label {
    let table = schemes().iter().flat_map(|scheme| &scheme.kinds).map(|kind| kind.label.as_str());
    let mut labels = table.chain(OTHER_LABELS);
    match labels.find(|known| known.eq_ignore_ascii_case(label)) {
        Some(_) => Label::Known(label.to_owned()),
        None => Label::Unknown,
    }
}

/// The bytes, and the name of their encoding if it is not `expected`.
fn decoded(expected: Encoding, text: &str) -> Option<(Option<&'static str>, Vec<u8>)> {
    if !LENGTHS.contains(&text.len()) {
        return None;
    }
    let strictly = |encoding: Encoding| {
        SIZES.iter().find_map(|&size| encoding.decode(text.as_bytes(), Some(size)))
    };
    if let Some(bytes) = strictly(expected) {
        return Some((None, bytes));
    }
    let others = [Encoding::Hex, Encoding::HexUpper, Encoding::Base64, Encoding::Base64Url];
    let named = |encoding: Encoding| Some((Some(encoding.as_str()), strictly(encoding)?));
    let base64 = |alphabet| GeneralPurpose::new(alphabet, LENIENT).decode(text).ok();
    let lenient = || {
        let encodings = [
            ("hexadecimal in both cases", hex::decode(text).ok()),
            ("Base64 without padding", base64(&STANDARD)),
            ("URL-safe Base64 with padding", base64(&URL_SAFE)),
        ];
        encodings.into_iter().find_map(|(encoding, bytes)| {
            Some((Some(encoding), bytes.filter(|bytes| SIZES.contains(&bytes.len()))?))
        })
    };
    others.into_iter().find_map(named).or_else(lenient)
}
