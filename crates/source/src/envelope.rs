//! The envelope of a delivery: its facts, from the headers and the body.

use std::borrow::Cow;

use contract::event::{BodyFormat, Content, Dialect, NetDateTime};
use contract::time::Timestamp;
use http::{HeaderMap, Uri};
use percent_encoding::percent_decode;
use signature::{RequestParts, parameter};
use text::field;

use super::body_facts::{self, BodyFacts};
use super::field_locator::{Fact, FieldLocator, FieldLocators, HeaderLocator, PerFact};
use super::{Refusal, cloudevents, identity};

/// The longest id that is kept unabridged, in bytes. Ids are kept in memory and are in every log line.
const MAX_ID: usize = 512;

/// The longest event name that is kept unabridged, in bytes.
const MAX_NAME: usize = 200;

/// The parts of a request that hold its facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FactScope {
    /// Headers and body, depending on the locator.
    Both,
    /// The headers only; the body is all payload.
    Headers,
    /// The body only.
    Body,
}

impl FactScope {
    pub(super) fn of(dialect: Dialect, headers: &HeaderMap) -> Self {
        match dialect {
            Dialect::CloudEvents if cloudevents::is_structured(headers) => FactScope::Body,
            Dialect::CloudEvents => FactScope::Headers,
            _ => FactScope::Both,
        }
    }

    /// The fact's value in the head, at its first locator with one.
    pub(super) fn head_fact(
        self,
        fact: Fact,
        locators: &[FieldLocator],
        headers: &HeaderMap,
        uri: &Uri,
    ) -> Result<Option<HeadFact>, Refusal> {
        if self == FactScope::Body {
            return Ok(None);
        }
        for (rank, locator) in locators.iter().enumerate() {
            let found = match locator {
                FieldLocator::Header(header) => text(headers, header)?,
                FieldLocator::Query(name) => {
                    let value = uri.query().and_then(|query| parameter(query, name));
                    let value = value.map(|value| field::text(&value).into_owned());
                    value.filter(|value| !value.trim().is_empty())
                }
                FieldLocator::Body(_) | FieldLocator::Template(_) => None,
            };
            if let Some(text) = found {
                return Ok(Some(HeadFact { rank, text: fit(fact, text) }));
            }
        }
        Ok(None)
    }

    /// The refusal of a request that lacks a required fact.
    fn missing(self, locators: &[FieldLocator], headers: &HeaderMap) -> Refusal {
        let read = |locator: &&FieldLocator| match locator {
            FieldLocator::Header(_) | FieldLocator::Query(_) => self != FactScope::Body,
            FieldLocator::Body(_) => self != FactScope::Headers,
            FieldLocator::Template(_) => true,
        };
        let locator = locators.iter().find(read);
        let name = locator.map(ToString::to_string).unwrap_or_default();
        match locator {
            Some(FieldLocator::Header(header))
                if headers.get_all(&header.name).iter().count() > 1 =>
            {
                Refusal::RepeatedHeader(name)
            }
            _ => Refusal::Missing(name),
        }
    }

    /// The number of locators before the one found in the head; those in the body are yet to be searched.
    pub(super) fn limit(self, locators: &[FieldLocator], head_fact: Option<&HeadFact>) -> usize {
        match (self, head_fact) {
            (FactScope::Headers, _) => 0,
            (_, Some(head_fact)) => head_fact.rank,
            (_, None) => locators.len(),
        }
    }
}

/// A fact found in the head.
#[derive(Debug)]
pub(super) struct HeadFact {
    /// The index among the fact's locators.
    rank: usize,
    pub(super) text: String,
}

/// The facts about a delivery.
#[derive(Debug)]
pub(super) struct Envelope {
    pub(super) facts: PerFact<Option<String>>,
    pub(super) is_object: bool,
}

/// Reads head and body. The client id comes from an earlier check, before there was a body.
pub(super) fn read(
    locators: &FieldLocators,
    scope: FactScope,
    mut client: Option<HeadFact>,
    parts: &RequestParts<'_>,
    (format, document): (BodyFormat, &[u8]),
) -> Result<Envelope, Refusal> {
    let headers = parts.head.headers;
    let mut facts = PerFact::default();
    let mut limit = PerFact::default();
    for fact in Fact::ALL {
        let locators = locators.at(fact);
        let head_fact = match fact {
            Fact::ClientId => client.take(),
            _ => scope.head_fact(fact, locators, headers, parts.head.uri)?,
        };
        limit[fact] = scope.limit(locators, head_fact.as_ref());
        facts[fact] = head_fact.map(|head_fact| head_fact.text);
    }
    let mut in_body = match (scope, format.content) {
        (_, Content::Other) => BodyFacts::default(),
        (FactScope::Headers, _) if document.is_empty() => BodyFacts::default(),
        (FactScope::Headers, _) => body_facts::read(document, &[], &limit)?,
        _ => body_facts::read(document, locators.body_fields(), &limit)?,
    };
    for fact in Fact::ALL {
        if let Some((rank, text)) = in_body.found[fact].take() {
            facts[fact] = Some(fit(fact, text));
            limit[fact] = rank;
        }
    }
    if locators.has_templates() && scope != FactScope::Headers {
        for fact in Fact::ALL {
            let before = locators.at(fact).iter().take(limit[fact]);
            let found = before.into_iter().find_map(|locator| match locator {
                FieldLocator::Template(template) => template.text(parts),
                _ => None,
            });
            facts[fact] = found.map(|text| fit(fact, text)).or(facts[fact].take());
        }
    }
    match locators.required.iter().find(|fact| facts[**fact].is_none()) {
        Some(missing) => Err(scope.missing(locators.at(*missing), headers)),
        None => Ok(Envelope { facts, is_object: in_body.is_object }),
    }
}

/// The text as it is kept: too long ones are replaced by a digest, so that they stay distinct.
fn fit(fact: Fact, text: String) -> String {
    let longest = match fact {
        Fact::EventType => MAX_NAME,
        _ => MAX_ID,
    };
    if text.len() > longest { identity::shortened(&text) } else { text }
}

/// A header's value, if it is unambiguous and not blank. Bytes that are not UTF-8 are read as Latin-1.
fn text(headers: &HeaderMap, header: &HeaderLocator) -> Result<Option<String>, Refusal> {
    let Some(value) = single(headers, header)? else { return Ok(None) };
    let text = match header.encoded {
        false => field::text(value),
        true => match percent_decode(&unquoted(value.trim_ascii())).decode_utf8() {
            Ok(text) => Cow::Owned(text.into_owned()),
            Err(_) => return Err(Refusal::BadEncoding(header.spelling.to_string())),
        },
    };
    Ok((!text.trim().is_empty()).then(|| text.into_owned()))
}

/// The content of a quoted string (RFC 9110), in which a backslash is before marks and backslashes; other values are
/// unchanged.
fn unquoted(value: &[u8]) -> Cow<'_, [u8]> {
    let inner = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    let Some(inner) = inner else { return value.into() };
    let mut content = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        content.push(if byte == b'\\' { bytes.next().copied().unwrap_or(byte) } else { byte });
    }
    content.into()
}

/// The value of a header, if all its lines are equal. Lines under two names must be equal: otherwise an unsigned id
/// could be put beside the signed one.
fn single<'h>(headers: &'h HeaderMap, header: &HeaderLocator) -> Result<Option<&'h [u8]>, Refusal> {
    let twins = header.twin.iter().flat_map(|twin| headers.get_all(twin));
    let mut values = headers.get_all(&header.name).iter().chain(twins);
    let Some(value) = values.next() else { return Ok(None) };
    for other in values {
        match &header.twin {
            _ if other == value => {}
            None => return Ok(None),
            Some(twin) => {
                return Err(Refusal::ConflictingIds(header.spelling.to_string(), twin.to_string()));
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
            for &dialect in Dialect::ALL {
                let locators = FieldLocators::of(dialect);
                let mut headers = HeaderMap::new();
                let names = Fact::ALL.into_iter().filter_map(|fact| locators.header(fact));
                for (header, value) in names.zip(&values) {
                    let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) else { continue };
                    headers.append(&header.name, value.clone());
                    if twice {
                        headers.append(header.twin.as_ref().unwrap_or(&header.name), value);
                    }
                }
                for scope in [FactScope::Both, FactScope::Headers, FactScope::Body] {
                    let uri = Uri::default();
                    let head = signature::HttpMessage {
                        method: &http::Method::POST, uri: &uri, headers: &headers, public_url: None,
                    };
                    let parts = RequestParts::new(head, &body);
                    let client = scope.head_fact(Fact::ClientId, locators.at(Fact::ClientId), &headers, &uri);
                    if let Ok(client) = client {
                        let _ = read(&locators, scope, client, &parts, (BodyFormat::default(), &body));
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
