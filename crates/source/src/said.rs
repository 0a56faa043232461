//! The envelope of a delivery: its facts, from the headers and the body.

use contract::event::{Dialect, NetDateTime};
use contract::time::Timestamp;
use http::HeaderMap;
use percent_encoding::percent_decode;
use text::field;

use super::places::{Fact, Header, PerFact, Place, Places};
use super::{Refusal, cloudevents, envelope, identity};

/// The longest id that is kept unabridged, in bytes. Ids are kept in memory and are in every log line.
const LONGEST_ID: usize = 512;

/// The longest event name that is kept unabridged, in bytes.
const LONGEST_NAME: usize = 200;

/// The parts of a request that hold its facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Headers and body, depending on the locator.
    Both,
    /// The headers only; the body is all payload.
    Headers,
    /// The body only.
    Body,
}

impl Reading {
    pub(super) fn of(dialect: Dialect, headers: &HeaderMap) -> Self {
        match dialect {
            Dialect::CloudEvents if cloudevents::is_structured(headers) => Reading::Body,
            Dialect::CloudEvents => Reading::Headers,
            _ => Reading::Both,
        }
    }

    /// The fact's value in the headers, at its first locator with one.
    pub(super) fn heard(
        self,
        fact: Fact,
        places: &[Place],
        headers: &HeaderMap,
    ) -> Result<Option<Heard>, Refusal> {
        if self == Reading::Body {
            return Ok(None);
        }
        for (rank, place) in places.iter().enumerate() {
            let Place::Header(header) = place else { continue };
            if let Some(text) = text(headers, header)? {
                return Ok(Some(Heard { rank, text: fit(fact, text) }));
            }
        }
        Ok(None)
    }

    /// The refusal of a request that lacks a required fact.
    fn lack(self, places: &[Place], headers: &HeaderMap) -> Refusal {
        let read = |place: &&Place| match place {
            Place::Header(_) => self != Reading::Body,
            Place::Body(_) => self != Reading::Headers,
        };
        let place = places.iter().find(read);
        let name = place.map(ToString::to_string).unwrap_or_default();
        match place {
            Some(Place::Header(header)) if headers.get_all(&header.name).iter().count() > 1 => {
                Refusal::Twice(name)
            }
            _ => Refusal::Missing(name),
        }
    }

    /// The number of locators before the one found in a header; those in the body are yet to be searched.
    pub(super) fn left(self, places: &[Place], heard: Option<&Heard>) -> usize {
        match (self, heard) {
            (Reading::Headers, _) => 0,
            (_, Some(heard)) => heard.rank,
            (_, None) => places.len(),
        }
    }
}

/// A fact found in a header.
#[derive(Debug)]
pub(super) struct Heard {
    /// The index among the fact's locators.
    rank: usize,
    pub(super) text: String,
}

/// The facts about a delivery.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) facts: PerFact<Option<String>>,
    pub(super) is_object: bool,
}

/// Reads headers and body. The client id comes from an earlier check, before there was a body.
pub(super) fn read(
    places: &Places,
    reading: Reading,
    mut client: Option<Heard>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Said, Refusal> {
    let mut facts = PerFact::default();
    let mut left = PerFact::default();
    for fact in Fact::ALL {
        let places = places.at(fact);
        let heard = match fact {
            Fact::ClientId => client.take(),
            _ => reading.heard(fact, places, headers)?,
        };
        left[fact] = reading.left(places, heard.as_ref());
        facts[fact] = heard.map(|heard| heard.text);
    }
    let mut envelope = match reading {
        Reading::Headers if body.is_empty() => envelope::Envelope::default(),
        Reading::Headers => envelope::read(body, &[], &left)?,
        _ => envelope::read(body, places.watched(), &left)?,
    };
    for fact in Fact::ALL {
        if let Some((_, text)) = envelope.found[fact].take() {
            facts[fact] = Some(fit(fact, text));
        }
    }
    match places.required.iter().find(|fact| facts[**fact].is_none()) {
        Some(missing) => Err(reading.lack(places.at(*missing), headers)),
        None => Ok(Said { facts, is_object: envelope.is_object }),
    }
}

/// The text as it is kept: too long ones are replaced by a digest, so that they stay distinct.
fn fit(fact: Fact, text: String) -> String {
    let longest = match fact {
        Fact::EventType => LONGEST_NAME,
        _ => LONGEST_ID,
    };
    if text.len() > longest { identity::shortened(&text) } else { text }
}

/// A header's value, if it is unambiguous and not blank. Bytes that are not UTF-8 are read as Latin-1.
fn text(headers: &HeaderMap, header: &Header) -> Result<Option<String>, Refusal> {
    let Some(value) = single(headers, header)? else { return Ok(None) };
    let text = match header.encoded {
        false => field::text(value),
        true => match percent_decode(value.trim_ascii()).decode_utf8() {
            Ok(text) => text,
            Err(_) => return Err(Refusal::BadEncoding(header.spelling.to_string())),
        },
    };
    Ok((!text.trim().is_empty()).then(|| text.into_owned()))
}

/// The value of a header, if all its lines are equal. Lines under two names must be equal: otherwise an unsigned id
/// could be put beside the signed one.
fn single<'h>(headers: &'h HeaderMap, header: &Header) -> Result<Option<&'h [u8]>, Refusal> {
    let twins = header.twin.iter().flat_map(|twin| headers.get_all(twin));
    let mut values = headers.get_all(&header.name).iter().chain(twins);
    let Some(value) = values.next() else { return Ok(None) };
    for other in values {
        match &header.twin {
            _ if other == value => {}
            None => return Ok(None),
            Some(twin) => {
                return Err(Refusal::TwoIds(header.spelling.to_string(), twin.to_string()));
            }
        }
    }
    Ok(Some(value.as_bytes()))
}

/// The instant of a text: a .NET date that is set, an RFC 3339 date, or Unix seconds up to year 9999.
pub(super) fn instant(text: &str) -> Option<Timestamp> {
    const YEAR_10000: i64 = 253_402_300_800;
    match text.parse::<i64>() {
        Ok(seconds) if (0..YEAR_10000).contains(&seconds) => Timestamp::from_timestamp(seconds, 0),
        Ok(_) => None,
        Err(_) => text.parse::<NetDateTime>().ok()?.to_utc(),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_headers_and_no_body_make_it_panic(
            values in prop::collection::vec("(%[0-9a-f]{0,2}|[ -~]|\u{e9}){0,8}", 12),
            twice in any::<bool>(),
            body in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                "\\{\"(id|type|source|event)\":(\\{\"type\":1\\}|\"\\PC{0,9}\")\\}".prop_map(String::into_bytes),
            ],
        ) {
            for dialect in Dialect::ALL {
                let places = Places::of(dialect);
                let mut headers = HeaderMap::new();
                let names = Fact::ALL.into_iter().filter_map(|fact| places.header(fact));
                for (header, value) in names.zip(&values) {
                    let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) else { continue };
                    headers.append(&header.name, value.clone());
                    if twice {
                        headers.append(header.twin.as_ref().unwrap_or(&header.name), value);
                    }
                }
                for reading in [Reading::Both, Reading::Headers, Reading::Body] {
                    let client = reading.heard(Fact::ClientId, places.at(Fact::ClientId), &headers);
                    if let Ok(client) = client {
                        let _ = read(&places, reading, client, &headers, &body);
                    }
                }
            }
        }
    }

    #[test]
    fn a_time_without_offset_is_utc() {
        assert_eq!(instant("2021-10-12T18:07:26.497"), instant("2021-10-12T20:07:26.497+02:00"));
        assert_eq!(instant("0001-01-01T00:00:00"), None);
        assert_eq!(instant("yesterday"), None);
    }

    #[test]
    fn whole_seconds_up_to_year_9999_are_a_time() {
        let written = |text| instant(text).map(|time| time.to_rfc3339());
        assert_eq!(written("1614265330").as_deref(), Some("2021-02-25T15:02:10+00:00"));
        assert_eq!(written("253402300799").as_deref(), Some("9999-12-31T23:59:59+00:00"));
        for text in ["253402300800", "1614265330000", "99999999999999999999", "-1", "1.5", "1e9"] {
            assert_eq!(written(text), None, "{text}");
        }
    }
}
