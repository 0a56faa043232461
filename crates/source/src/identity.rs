//! Derived message ids, for deliveries whose sender gives none.

use http::{HeaderMap, Uri};
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};
use signature::parameter;

use super::{FieldLocators, Source, auth, versioned};

/// The digest of everything that distinguishes events: the event's name in the path, the headers of the dialect's
/// facts, the signed facts besides the body, and the body's digest.
///
/// It is never coarser than the event, so that two events with equal bodies are two; a resent request has the same
/// digest.
pub(super) fn derived(
    source: &Source,
    uri: &Uri,
    headers: &HeaderMap,
    authenticated: &auth::Authenticated,
    digest: &[u8; 32],
) -> String {
    let mut identity = IdDigest(Sha256::new());
    identity.list(name(source, uri.path()).iter().map(Vec::as_slice));
    let facts = facts(&source.locators, headers);
    identity.list(facts.iter().flatten().map(AsRef::as_ref));
    let parameters = parameters(&source.locators, uri.query().unwrap_or_default());
    if !parameters.is_empty() {
        identity.list(parameters.iter().map(Vec::as_slice));
    }
    identity.list(authenticated.stamp.iter().map(Vec::as_slice));
    identity.part(digest);
    hex::encode(identity.0.finalize())
}

/// The id of a delivery that is never taken for another.
pub(super) fn distinct() -> String {
    let mut bytes = [0; 32];
    // Without random numbers nothing else works either: TLS, for one.
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    hex::encode(bytes)
}

/// The replacement for an id or a name that is too long to be kept.
pub(super) fn shortened(text: &str) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(text)))
}

/// A digest over parts with unambiguous boundaries.
struct IdDigest(Sha256);

impl IdDigest {
    fn part(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn list<'p>(&mut self, parts: impl Iterator<Item = &'p [u8]>) {
        let parts: Vec<&[u8]> = parts.collect();
        self.0.update((parts.len() as u64).to_le_bytes());
        parts.into_iter().for_each(|part| self.part(part));
    }
}

/// The path segments after the source's own, in lower case. Version 1 is equal with and without its number.
fn name(source: &Source, path: &str) -> Vec<Vec<u8>> {
    let below = |prefix: &str| {
        let (begin, rest) = path.split_at_checked(prefix.len())?;
        let is_below =
            begin.eq_ignore_ascii_case(prefix) && (rest.is_empty() || rest.starts_with('/'));
        is_below.then_some(rest)
    };
    let own = versioned(&source.path, 1);
    let rest = below(&own).or_else(|| below(&source.path)).unwrap_or(path);
    rest.split('/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| percent_decode_str(segment).collect::<Vec<u8>>().to_ascii_lowercase())
        .collect()
}

/// Name and value of each header that may hold a fact, as received; blank ones are left out.
fn facts(locators: &FieldLocators, headers: &HeaderMap) -> Vec<[Vec<u8>; 2]> {
    let pairs = locators.headers().flat_map(|name| {
        let values = headers.get_all(&name).iter().map(|value| value.as_bytes().trim_ascii());
        let values = values.filter(|value| !value.is_empty());
        values.map(|value| [name.as_str().into(), value.to_vec()]).collect::<Vec<_>>()
    });
    pairs.collect()
}

/// Name and value of each query parameter that may hold a fact.
fn parameters(locators: &FieldLocators, query: &str) -> Vec<Vec<u8>> {
    let pairs = locators.parameters().filter_map(|name| Some((name, parameter(query, name)?)));
    pairs.flat_map(|(name, value)| [name.as_bytes().to_vec(), value]).collect()
}
