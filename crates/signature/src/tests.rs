//! Every row of the table, and rows from the configuration, against others' signatures, forgeries and nonsense.

mod custom;
mod descriptions;
mod forgeries;
mod independent;
mod keys;
mod primitives;
mod properties;
mod published;
mod refusals;
mod senders;
mod token;

use chrono::DateTime;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use super::{HttpMessage, Key, Scheme, Stamp, VerifyError, schemes};
use crate::Timestamp;

/// A request that is genuine by independent evidence: published, or signed by another implementation.
struct Genuine {
    scheme: &'static str,
    key: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Of signing, in seconds since 1970; any, if it is not signed.
    time: i64,
}

impl Genuine {
    fn scheme(&self) -> Scheme {
        Scheme::named(self.scheme).unwrap()
    }

    fn key(&self) -> Key {
        key(&self.scheme(), &self.key)
    }

    fn headers(&self) -> HeaderMap {
        headers(&self.headers)
    }

    fn verify(&self) -> Result<usize, VerifyError> {
        verify(&self.scheme(), &[&self.key()], &self.headers(), &self.body, at(self.time))
    }

    /// The message id in its headers.
    fn id(&self) -> &str {
        let mut ids = self.headers.iter().filter(|(name, _)| name.ends_with("-id"));
        ids.next().map_or("", |(_, id)| id)
    }
}

fn key(scheme: &Scheme, text: &str) -> Key {
    Key::new(scheme, &text.into()).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    DateTime::from_timestamp_secs(seconds).unwrap()
}

fn headers<N: AsRef<str>, V: AsRef<[u8]>>(pairs: &[(N, V)]) -> HeaderMap {
    let pair = |(name, value): &(N, V)| {
        let name = HeaderName::from_bytes(name.as_ref().as_bytes()).unwrap();
        (name, HeaderValue::from_bytes(value.as_ref()).unwrap())
    };
    // `append`, not `insert`: a header may be there twice.
    pairs.iter().map(pair).fold(HeaderMap::new(), |mut headers, (name, value)| {
        headers.append(name, value);
        headers
    })
}

fn verify(
    scheme: &Scheme,
    keys: &[&Key],
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<usize, VerifyError> {
    let (method, uri) = (Method::POST, Uri::default());
    let head = HttpMessage { method: &method, uri: &uri, headers, public_url: None };
    let presented = scheme.present(head, super::TOLERANCE, now)?;
    scheme.verify(&presented, head, body, keys.iter().copied())
}

fn sign(scheme: &Scheme, keys: &[&Key], stamp: Stamp<'_>, body: &[u8]) -> HeaderMap {
    headers(&scheme.sign(keys, stamp, body).unwrap())
}

fn everybody_elses() -> Vec<Genuine> {
    published::vectors().into_iter().chain(independent::requests()).collect()
}

#[test]
fn what_others_signed_verifies() {
    for genuine in everybody_elses() {
        assert_eq!(genuine.verify(), Ok(0), "{} {:?}", genuine.scheme, genuine.headers);
    }
}

#[test]
fn what_others_signed_is_signed_alike() {
    for genuine in everybody_elses().iter().filter(|genuine| !genuine.key.starts_with("whpk_")) {
        let (scheme, key) = (genuine.scheme(), genuine.key());
        let stamp = Stamp { id: genuine.id(), time: at(genuine.time) };
        for spelling in 0..scheme.spellings.len() {
            let theirs = genuine.headers();
            let mut scheme = scheme.clone();
            scheme.spellings.rotate_left(spelling);
            if !theirs.contains_key(scheme.spellings[0].signature_header().unwrap()) {
                continue;
            }
            for (name, value) in sign(&scheme, &[&key], stamp, &genuine.body) {
                let ours = value.to_str().unwrap();
                let theirs = theirs[name.unwrap()].to_str().unwrap();
                // Theirs may hold signatures of other kinds or keys besides.
                let separator = scheme.separator.unwrap_or('\n');
                let theirs: Vec<&str> = theirs.split(separator).collect();
                let all = ours.split(separator).all(|entry| theirs.contains(&entry));
                assert!(all, "{}: {ours} is not in {theirs:?}", scheme.name);
            }
        }
    }
}

/// A new row, spelling or kind of signature needs a vector, or a request in `independent`.
#[test]
fn no_row_is_only_checked_against_itself() {
    let own = everybody_elses();
    let own = own.iter().map(|genuine| {
        let spelling = genuine.scheme().spelling(&genuine.headers()).signature.clone();
        (genuine.scheme.to_owned(), spelling, genuine.key().kind)
    });
    let vectors = senders::vectors();
    let vectors = vectors.iter().map(|vector| {
        let spelling = vector.scheme.spelling(&vector.headers()).signature.clone();
        (vector.scheme.name.clone(), spelling, vector.kind())
    });
    let checked: Vec<_> = own.chain(vectors).collect();
    for scheme in schemes() {
        for spelling in &scheme.spellings {
            for kind in 0..scheme.kinds.len() {
                let row = (scheme.name.clone(), spelling.signature.clone(), kind);
                assert!(checked.contains(&row), "nobody else has signed {row:?}");
            }
        }
    }
}
