//! What a signature that was refused would have proved, had one thing been different.
//!
//! The MAC is searched for; all that surrounds it (its header, label and writing, the time) is compared only once a
//! MAC has been found, so that any number of differences around it costs nothing. Of what goes into the MAC one thing is
//! varied at a time: the key, what is signed, or the body. Two are varied together only where they come together: the
//! blanks and the texts of a JSON body, its blanks and a line feed at its end, and the headers of time and id.
//!
//! A search is bounded by [`BUDGET`], whatever the body and the number of keys.

use http::header::HeaderMap;

use super::claim::{Claim, Claims, Label};
use super::difference::Difference;
use super::verify::Skew;
use super::{Headers, Key, Parts, Rewritten, Scheme, TimePlace, Unit, Unproven, schemes};
use crate::Timestamp;

/// The most that one search hashes, in bytes. Each signature tried counts as its body and a little more.
pub const BUDGET: usize = 16 * 1024 * 1024;

/// What a signature costs besides its body.
const EACH: usize = 1024;

/// Larger bodies are only tried as they are, in bytes.
pub const LARGEST_REWRITTEN: usize = 256 * 1024;

/// What senders sign who do not sign what their scheme says.
const TEMPLATES: [&str; 6] = [
    "{body}",
    "{timestamp}.{body}",
    "{timestamp}{body}",
    "{id}.{body}",
    "{id}.{timestamp}.{body}",
    "v0:{timestamp}:{body}",
];

/// Looks for what would have matched in one request.
pub struct Search<'r> {
    headers: &'r HeaderMap,
    body: &'r [u8],
    now: Timestamp,
    left: usize,
}

/// What to search with: a scheme, and how far its times may be off, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Rule<'s> {
    /// The scheme.
    pub scheme: &'s Scheme,
    /// Seconds, both ways.
    pub tolerance: u64,
}

/// The key's place among those that were tried, and how the request differs.
pub type Found = (usize, Vec<Difference>);

impl<'r> Search<'r> {
    /// A search in this request, as if it arrived at `now`.
    pub fn new(headers: &'r HeaderMap, body: &'r [u8], now: Timestamp) -> Self {
        Search { headers, body, now, left: BUDGET }
    }

    /// Whether anything in the headers may be a signature at all.
    pub fn has_claim(&self, scheme: &Scheme) -> bool {
        !Claims::of(scheme, self.headers).all.is_empty()
    }

    /// The first of the keys that signed exactly what the scheme says, in whatever form the signature came.
    pub fn exact<'k>(
        &mut self,
        rule: Rule<'_>,
        keys: impl IntoIterator<Item = &'k Key>,
    ) -> Option<Found> {
        let claims = Claims::of(rule.scheme, self.headers);
        let body = self.body;
        keys.into_iter().enumerate().find_map(|(number, key)| {
            let claim = self.made(key, rule.scheme, &claims, body)?;
            Some((number, self.around(rule, &claims, claim)))
        })
    }

    /// The first of the keys that signed something else than the scheme says, or the body in another form.
    ///
    /// Not both: a sender that signs in its own way mostly has a body that arrives as it was.
    pub fn varied(&mut self, rule: Rule<'_>, keys: &[&Key]) -> Option<Found> {
        let claims = Claims::of(rule.scheme, self.headers);
        if claims.all.is_empty() {
            return None;
        }
        self.renamed(rule, keys, &claims)
            .or_else(|| self.signed_otherwise(rule, keys, &claims))
            .or_else(|| self.rewritten(rule, keys, &claims))
    }

    /// The first scheme of the table by which one of the keys signed, with that scheme's headers.
    pub fn by_other_scheme(&mut self, rule: Rule<'_>, keys: &[&Key]) -> Option<(Scheme, Found)> {
        let others = schemes().into_iter().filter(|other| other.headers != rule.scheme.headers);
        others.into_iter().find_map(|other| {
            let presented = other.read(self.headers).ok()?;
            let parts = presented.parts(self.body);
            let number = keys.iter().position(|key| {
                self.afford(parts.body.len())
                    && (0..other.kinds.len())
                        .any(|kind| key.has_made(&other, &parts, presented.of_kind(kind)))
            })?;
            let rule = Rule { scheme: &other, ..rule };
            let times = presented.timestamp().and_then(|time| self.time(rule, time));
            let differences = times.into_iter().collect();
            Some((other, (number, differences)))
        })
    }

    /// The time or the id in a header of another name. A sender that renames one of them often renames all.
    fn renamed(&mut self, rule: Rule<'_>, keys: &[&Key], claims: &Claims<'r>) -> Option<Found> {
        let places = &rule.scheme.headers[0];
        for (claims, renamed) in claims.renamed(places, self.headers) {
            let body = self.body;
            let Some((number, claim)) = self.any_made(keys, rule.scheme, &claims, body) else {
                continue;
            };
            let around = self.around(rule, &claims, claim).into_iter();
            let unnamed = around.filter(|difference| !is_missing(difference, places));
            return Some((number, unnamed.chain(renamed).collect()));
        }
        None
    }

    fn signed_otherwise(
        &mut self,
        rule: Rule<'_>,
        keys: &[&Key],
        claims: &Claims<'_>,
    ) -> Option<Found> {
        let expected = &rule.scheme.signed;
        TEMPLATES.into_iter().filter(|template| template != expected).find_map(|template| {
            let scheme = Scheme { signed: template.to_owned(), ..rule.scheme.clone() };
            let body = self.body;
            let (number, claim) = self.any_made(keys, &scheme, claims, body)?;
            let (found, expected) = (template.to_owned(), expected.clone());
            let mut differences = vec![Difference::Signed { found, expected }];
            differences.extend(self.around(rule, claims, claim));
            Some((number, differences))
        })
    }

    fn rewritten(&mut self, rule: Rule<'_>, keys: &[&Key], claims: &Claims<'_>) -> Option<Found> {
        if self.body.len() > LARGEST_REWRITTEN {
            return None;
        }
        Rewritten::all().find_map(|form| {
            let body = form.of(self.body)?;
            let (number, claim) = self.any_made(keys, rule.scheme, claims, &body)?;
            let mut differences = vec![Difference::Body(form)];
            differences.extend(self.around(rule, claims, claim));
            Some((number, differences))
        })
    }

    fn any_made<'c, 'h>(
        &mut self,
        keys: &[&Key],
        scheme: &Scheme,
        claims: &'c Claims<'h>,
        body: &[u8],
    ) -> Option<(usize, &'c Claim<'h>)> {
        keys.iter()
            .enumerate()
            .find_map(|(number, key)| Some((number, self.made(key, scheme, claims, body)?)))
    }

    /// The claim that is the key's signature of what the scheme signs.
    fn made<'c, 'h>(
        &mut self,
        key: &Key,
        scheme: &Scheme,
        claims: &'c Claims<'h>,
        body: &[u8],
    ) -> Option<&'c Claim<'h>> {
        let lacks =
            |part: &str, found: Option<&[u8]>| scheme.signed.contains(part) && found.is_none();
        if claims.all.is_empty()
            || lacks("{id}", claims.id)
            || lacks("{timestamp}", claims.timestamp)
            || !self.afford(body.len())
        {
            return None;
        }
        let parts = Parts {
            id: claims.id.unwrap_or_default(),
            timestamp: claims.timestamp.unwrap_or_default(),
            body,
        };
        let made = |claims: &[Claim<'_>]| {
            key.has_made(scheme, &parts, claims.iter().map(|claim| claim.bytes.as_slice()))
        };
        if !made(&claims.all) {
            return None;
        }
        claims.all.iter().find(|claim| made(std::slice::from_ref(claim)))
    }

    fn afford(&mut self, bytes: usize) -> bool {
        let left = self.left.checked_sub(bytes + EACH);
        self.left = left.unwrap_or_default();
        left.is_some()
    }

    /// How the request differs around a signature that is right.
    fn around(&self, rule: Rule<'_>, claims: &Claims<'_>, claim: &Claim<'_>) -> Vec<Difference> {
        let scheme = rule.scheme;
        let mut differences: Vec<Difference> =
            [header(scheme, claim), label(scheme, claim), writing(scheme, claim)]
                .into_iter()
                .flatten()
                .collect();
        differences.extend(claims.timestamp.and_then(|time| self.time(rule, time)));
        if let Err(form) = scheme.present(self.headers, rule.tolerance, self.now)
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

/// Whether a header is not there that the signature's own place does not explain.
fn lacks_a_part(scheme: &Scheme, form: &Unproven) -> bool {
    match form {
        Unproven::Missing(name) => scheme.headers.iter().all(|places| places.signature != *name),
        Unproven::NoTime { .. } => true,
        _ => false,
    }
}

/// Whether all that it says is that a renamed header is not there under its own name.
fn is_missing(difference: &Difference, places: &Headers) -> bool {
    let Difference::Form(Unproven::Missing(name)) = difference else { return false };
    let time = match &places.timestamp {
        Some(TimePlace::Header(name)) => Some(name),
        _ => None,
    };
    time == Some(name) || places.id.as_ref() == Some(name)
}

fn header(scheme: &Scheme, claim: &Claim<'_>) -> Option<Difference> {
    let found = claim.header.as_str();
    let is_own = scheme.headers.iter().any(|places| places.signature.eq_ignore_ascii_case(found));
    let expected = || scheme.headers[0].signature.clone();
    let part = "signature";
    (!is_own).then(|| Difference::Header { part, found: found.to_owned(), expected: expected() })
}

fn label(scheme: &Scheme, claim: &Claim<'_>) -> Option<Difference> {
    let expected = || scheme.kinds[0].label.clone();
    let found = claim.label.clone();
    (found != Label::Expected).then(|| Difference::Label { found, expected: expected() })
}

fn writing(scheme: &Scheme, claim: &Claim<'_>) -> Option<Difference> {
    let expected = scheme.encoding.as_str();
    claim.writing.map(|found| Difference::Writing { found, expected })
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
            Search::new(&headers, &body, now).exact(rule, &keys).map(|(number, _)| number)
        };
        assert_eq!(found(18), Some(18));
        assert_eq!(found(20), None);
    }
}
