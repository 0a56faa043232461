//! Diagnosis of a refused signature: the one difference without which it would have been valid.
//!
//! The MAC is searched for; its surroundings (header, label, encoding, time) are compared only once a MAC has been
//! found, so that any number of differences there costs nothing. Of the MAC's inputs one is varied at a time: the key,
//! the signed template, or the body. Two are varied together only where they occur together: the white space and the
//! strings of a JSON body, its white space and a line feed at its end, and the headers of time and id.
//!
//! A search is bounded by [`BUDGET`], independent of the body and the number of keys.

use super::candidate::{Candidate, Candidates, Label};
use super::difference::Difference;
use super::parts::{HttpMessage, RequestParts};
use super::template::{Part, Template};
use super::verify_error::Skew;
use super::{Key, ProofPlaces, Rewritten, Scheme, Unit, VerifyError, schemes};
use crate::Timestamp;

/// The most bytes that one search hashes. Each signature tried counts as its body and a little more.
pub const BUDGET: usize = 16 * 1024 * 1024;

/// The cost of one try besides its body, in bytes.
const COST_PER_TRY: usize = 1024;

/// The largest body that is tried in other forms, in bytes; larger ones are only tried as received.
pub const MAX_REWRITTEN: usize = 256 * 1024;

/// The templates of senders that deviate from their scheme's.
const TEMPLATES: [&str; 6] = [
    "{body}",
    "{timestamp}.{body}",
    "{timestamp}{body}",
    "{id}.{body}",
    "{id}.{timestamp}.{body}",
    "v0:{timestamp}:{body}",
];

/// A search for the difference that makes one request's signature valid.
pub struct Search<'r> {
    head: HttpMessage<'r>,
    body: &'r [u8],
    now: Timestamp,
    left: usize,
}

/// The search parameters: a scheme and the tolerance of its timestamps.
#[derive(Debug, Clone, Copy)]
pub struct Rule<'s> {
    /// The scheme.
    pub scheme: &'s Scheme,
    /// The tolerance in seconds, both ways.
    pub tolerance: u64,
}

/// The index of the key among the tried ones, and the differences of the request.
pub type Match = (usize, Vec<Difference>);

impl<'r> Search<'r> {
    /// A search in this request, as if received at `now`.
    pub fn new(head: HttpMessage<'r>, body: &'r [u8], now: Timestamp) -> Self {
        Search { head, body, now, left: BUDGET }
    }

    /// True if anything in the headers may be a signature.
    pub fn has_candidate(&self, scheme: &Scheme) -> bool {
        !Candidates::of(scheme, self.head.headers).all.is_empty()
    }

    /// The first key that signed exactly the scheme's bytes, however the signature is written.
    pub fn exact<'k>(
        &mut self,
        rule: Rule<'_>,
        keys: impl IntoIterator<Item = &'k Key>,
    ) -> Option<Match> {
        let candidates = Candidates::of(rule.scheme, self.head.headers);
        let body = self.body;
        keys.into_iter().enumerate().find_map(|(number, key)| {
            let candidate = self.find_signed(key, rule.scheme, &candidates, body)?;
            Some((number, self.surroundings(rule, &candidates, candidate)))
        })
    }

    /// The first key that signed another template than the scheme's, or the body in another form.
    ///
    /// The two are not combined: a sender with its own template mostly has a body that arrives unchanged.
    pub fn varied(&mut self, rule: Rule<'_>, keys: &[&Key]) -> Option<Match> {
        let candidates = Candidates::of(rule.scheme, self.head.headers);
        if candidates.all.is_empty() {
            return None;
        }
        self.renamed(rule, keys, &candidates)
            .or_else(|| self.other_template(rule, keys, &candidates))
            .or_else(|| self.rewritten(rule, keys, &candidates))
    }

    /// The first scheme of the table by which one of the keys signed, in that scheme's headers.
    pub fn by_other_scheme(&mut self, rule: Rule<'_>, keys: &[&Key]) -> Option<(Scheme, Match)> {
        let others = schemes().iter().filter(|other| other.spellings != rule.scheme.spellings);
        others.into_iter().find_map(|other| {
            let presented = other.read(self.head, rule.tolerance, self.now).ok()?;
            let urls = if other.signed.has_url() { self.head.urls() } else { Vec::new() };
            let mut parts = presented.parts(self.head, self.body);
            parts.url = urls.first().map_or("", String::as_str);
            if other.signed.missing(&parts).is_some() {
                return None;
            }
            let number = keys.iter().position(|key| {
                self.afford(parts.body.len())
                    && (0..other.kinds.len())
                        .any(|kind| key.has_signed(other, &parts, presented.of_kind(kind)))
            })?;
            let rule = Rule { scheme: other, ..rule };
            let times = presented.timestamp().and_then(|time| self.time(rule, time));
            let differences = times.into_iter().collect();
            Some((other.clone(), (number, differences)))
        })
    }

    /// A match with the time or the id in a header of another name. A sender that renames one of them often renames
    /// all.
    fn renamed(
        &mut self,
        rule: Rule<'_>,
        keys: &[&Key],
        candidates: &Candidates<'r>,
    ) -> Option<Match> {
        let names = &rule.scheme.spellings[0];
        for (candidates, renamed) in candidates.renamed(names, self.head.headers) {
            let body = self.body;
            let Some((number, candidate)) =
                self.find_signed_by_any(keys, rule.scheme, &candidates, body)
            else {
                continue;
            };
            let surroundings = self.surroundings(rule, &candidates, candidate).into_iter();
            let unnamed = surroundings.filter(|difference| !is_missing(difference, names));
            return Some((number, unnamed.chain(renamed).collect()));
        }
        None
    }

    fn other_template(
        &mut self,
        rule: Rule<'_>,
        keys: &[&Key],
        candidates: &Candidates<'_>,
    ) -> Option<Match> {
        let expected = rule.scheme.signed.to_string();
        TEMPLATES.into_iter().filter(|template| *template != expected).find_map(|template| {
            let signed = Template::parse(template).ok()?;
            let scheme = Scheme { signed, ..rule.scheme.clone() };
            let body = self.body;
            let (number, candidate) = self.find_signed_by_any(keys, &scheme, candidates, body)?;
            let (found, expected) = (template.to_owned(), expected.clone());
            let mut differences = vec![Difference::Signed { found, expected }];
            differences.extend(self.surroundings(rule, candidates, candidate));
            Some((number, differences))
        })
    }

    fn rewritten(
        &mut self,
        rule: Rule<'_>,
        keys: &[&Key],
        candidates: &Candidates<'_>,
    ) -> Option<Match> {
        if self.body.len() > MAX_REWRITTEN {
            return None;
        }
        Rewritten::all().find_map(|form| {
            let body = form.of(self.body)?;
            let (number, candidate) =
                self.find_signed_by_any(keys, rule.scheme, candidates, &body)?;
            let mut differences = vec![Difference::Body(form)];
            differences.extend(self.surroundings(rule, candidates, candidate));
            Some((number, differences))
        })
    }

    fn find_signed_by_any<'c, 'h>(
        &mut self,
        keys: &[&Key],
        scheme: &Scheme,
        candidates: &'c Candidates<'h>,
        body: &[u8],
    ) -> Option<(usize, &'c Candidate<'h>)> {
        keys.iter().enumerate().find_map(|(number, key)| {
            Some((number, self.find_signed(key, scheme, candidates, body)?))
        })
    }

    /// The candidate that is the key's signature of the scheme's bytes.
    fn find_signed<'c, 'h>(
        &mut self,
        key: &Key,
        scheme: &Scheme,
        candidates: &'c Candidates<'h>,
        body: &[u8],
    ) -> Option<&'c Candidate<'h>> {
        let lacks =
            |part: &Part, found: Option<&[u8]>| scheme.signed.count(part) > 0 && found.is_none();
        let urls = if scheme.signed.has_url() { self.head.urls() } else { Vec::new() };
        let mut parts = RequestParts::new(self.head, body);
        parts.id = candidates.id.unwrap_or_default();
        parts.timestamp = candidates.timestamp.unwrap_or_default();
        parts.url = urls.first().map_or("", String::as_str);
        if candidates.all.is_empty()
            || lacks(&Part::Id, candidates.id)
            || lacks(&Part::Timestamp, candidates.timestamp)
            || !self.afford(body.len())
            || scheme.signed.missing(&parts).is_some()
        {
            return None;
        }
        let is_signed = |candidates: &[Candidate<'_>]| {
            key.has_signed(
                scheme,
                &parts,
                candidates.iter().map(|candidate| candidate.bytes.as_slice()),
            )
        };
        if !is_signed(&candidates.all) {
            return None;
        }
        candidates.all.iter().find(|candidate| is_signed(std::slice::from_ref(candidate)))
    }

    fn afford(&mut self, bytes: usize) -> bool {
        let left = self.left.checked_sub(bytes + COST_PER_TRY);
        self.left = left.unwrap_or_default();
        left.is_some()
    }

    /// The differences around a valid signature.
    fn surroundings(
        &self,
        rule: Rule<'_>,
        candidates: &Candidates<'_>,
        candidate: &Candidate<'_>,
    ) -> Vec<Difference> {
        let scheme = rule.scheme;
        let mut differences: Vec<Difference> =
            [header(scheme, candidate), label(scheme, candidate), encoding(scheme, candidate)]
                .into_iter()
                .flatten()
                .collect();
        differences.extend(candidates.timestamp.and_then(|time| self.time(rule, time)));
        if let Err(form) = scheme.present(self.head, rule.tolerance, self.now)
            && (differences.is_empty() || lacks_a_part(scheme, &form))
        {
            differences.push(Difference::Form(form));
        }
        differences
    }

    fn time(&self, rule: Rule<'_>, written: &[u8]) -> Option<Difference> {
        let within = |unit: Unit| {
            let ahead = unit.ahead(written, self.now).ok()?;
            Some((ahead, ahead.unsigned_abs() <= rule.tolerance))
        };
        let unit = rule.scheme.unit;
        let other = unit.other();
        match (within(unit), within(other)) {
            (Some((_, true)), _) => None,
            (_, Some((_, true))) => Some(Difference::Unit { found: other, expected: unit }),
            (own, _) => Some(Difference::Skew(Skew { ahead: own?.0, tolerance: rule.tolerance })),
        }
    }
}

/// True if a header is missing for another reason than the signature's own location.
fn lacks_a_part(scheme: &Scheme, form: &VerifyError) -> bool {
    match form {
        VerifyError::Missing(name) => {
            scheme.spellings.iter().all(|places| places.signature_header() != Some(name))
        }
        VerifyError::NoTime { .. } => true,
        _ => false,
    }
}

/// True if the only fact is that a renamed header is missing under its own name.
fn is_missing(difference: &Difference, names: &ProofPlaces) -> bool {
    let Difference::Form(VerifyError::Missing(name)) = difference else { return false };
    names.timestamp_header() == Some(name) || names.id.as_ref() == Some(name)
}

fn header(scheme: &Scheme, candidate: &Candidate<'_>) -> Option<Difference> {
    let found = candidate.header.as_str();
    let mut own = scheme.spellings.iter().filter_map(|places| places.signature_header());
    let is_own = own.any(|name| name.eq_ignore_ascii_case(found));
    let expected = || match scheme.spellings[0].signature_header() {
        Some(name) => name.to_owned(),
        None => scheme.spellings[0].signature.to_string(),
    };
    let part = "signature";
    (!is_own).then(|| Difference::Header { part, found: found.to_owned(), expected: expected() })
}

fn label(scheme: &Scheme, candidate: &Candidate<'_>) -> Option<Difference> {
    let expected = || scheme.kinds[0].label.clone();
    let found = candidate.label.clone();
    (found != Label::Expected).then(|| Difference::Label { found, expected: expected() })
}

fn encoding(scheme: &Scheme, candidate: &Candidate<'_>) -> Option<Difference> {
    let expected = scheme.encoding.as_str();
    candidate.encoding.map(|found| Difference::Writing { found, expected })
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use http::{HeaderMap, HeaderValue};

    use super::*;
    use crate::Stamp;

    #[test]
    fn a_search_ends_when_its_budget_is_spent() {
        let scheme = Scheme::named("github").expect("a row of the table");
        let key = |n: usize| Key::new(&scheme, &format!("key number {n}").into()).unwrap();
        let keys: Vec<Key> = (0..40).map(key).collect();
        let body = vec![b'x'; BUDGET / 20];
        let now = DateTime::UNIX_EPOCH;
        let found = |number: usize| {
            let signed = scheme.sign(&[&keys[number]], Stamp { id: "", time: now }, &body).unwrap();
            let name = http::HeaderName::try_from(&signed[0].0).unwrap();
            let headers: HeaderMap<HeaderValue> =
                [(name, signed[0].1.clone())].into_iter().collect();
            let rule = Rule { scheme: &scheme, tolerance: 0 };
            let (method, uri) = (http::Method::POST, http::Uri::default());
            let head =
                HttpMessage { method: &method, uri: &uri, headers: &headers, public_url: None };
            Search::new(head, &body, now).exact(rule, &keys).map(|(number, _)| number)
        };
        assert_eq!(found(18), Some(18));
        assert_eq!(found(20), None);
    }
}
