//! One genuine request per row, and everything next to it.

use http::{HeaderMap, HeaderValue};

use super::super::{Stamp, VerifyError};
use super::{Genuine, at, everybody_elses, headers, independent, key, sign, verify};

/// The header's value with each of its bits changed in turn, as far as a header can carry that.
fn flips(value: &HeaderValue) -> impl Iterator<Item = HeaderValue> {
    let bytes = value.as_bytes();
    (0..bytes.len() * 8).filter_map(move |bit| {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        HeaderValue::from_bytes(&bytes).ok()
    })
}

#[test]
fn every_bit_of_every_header_counts() {
    for genuine in independent::requests() {
        let (scheme, key, whole) = (genuine.scheme(), genuine.key(), genuine.headers());
        for (name, value) in &whole {
            for flipped in flips(value) {
                let mut headers = whole.clone();
                headers.insert(name, flipped.clone());
                let found = verify(&scheme, &[&key], &headers, &genuine.body, at(genuine.time));
                assert!(found.is_err(), "{}: {name}: {flipped:?}", genuine.scheme);
            }
        }
    }
}

#[test]
fn every_header_is_needed_once() {
    for genuine in everybody_elses() {
        let (scheme, key, whole) = (genuine.scheme(), genuine.key(), genuine.headers());
        let check = |headers: &HeaderMap| {
            verify(&scheme, &[&key], headers, &genuine.body, at(genuine.time)).unwrap_err()
        };
        for (name, value) in &whole {
            let mut headers = whole.clone();
            headers.append(name, value.clone());
            let twice = check(&headers);
            assert!(
                matches!(&twice, VerifyError::Repeated(said) if name == said.as_str()),
                "{twice}"
            );
            headers.remove(name);
            let missing = check(&headers);
            assert!(matches!(&missing, VerifyError::Missing(_)), "{missing}");
        }
    }
}

#[test]
fn a_cut_off_signature_is_refused() {
    for genuine in independent::requests() {
        let (scheme, key, whole) = (genuine.scheme(), genuine.key(), genuine.headers());
        let name = scheme.spelling(&whole).signature_header().unwrap();
        let value = whole[name].to_str().unwrap();
        for length in 0..value.len() {
            let mut headers = whole.clone();
            headers.insert(
                http::HeaderName::try_from(name).unwrap(),
                value[..length].parse().unwrap(),
            );
            let found = verify(&scheme, &[&key], &headers, &genuine.body, at(genuine.time));
            assert!(found.is_err(), "{}: {}", genuine.scheme, &value[..length]);
        }
    }
}

#[test]
fn a_signature_of_another_row_is_refused() {
    let all = independent::requests();
    for genuine in &all {
        for other in all.iter().filter(|other| !genuine.is_like(other)) {
            let Ok(key) = super::Key::new(&other.scheme(), &genuine.key.as_str().into()) else {
                continue;
            };
            let headers = genuine.headers();
            let found = verify(&other.scheme(), &[&key], &headers, &genuine.body, at(genuine.time));
            assert!(found.is_err(), "{} as {}", genuine.scheme, other.scheme);
        }
    }
}

impl Genuine {
    /// True if the two rows are one scheme under two names.
    fn is_like(&self, other: &Genuine) -> bool {
        let standard = ["standard-webhooks", "svix"];
        self.scheme == other.scheme
            || standard.contains(&self.scheme) && standard.contains(&other.scheme)
    }
}

/// A replay could otherwise bring a new id in the spelling that is looked for first.
#[test]
fn an_id_in_another_spelling_must_be_the_signed_one() {
    for genuine in everybody_elses() {
        let (scheme, key, whole) = (genuine.scheme(), genuine.key(), genuine.headers());
        for places in &scheme.spellings {
            let Some(name) = &places.id else { continue };
            if whole.contains_key(name) {
                continue;
            }
            let with = |id: &str| {
                let mut headers = whole.clone();
                headers.insert(http::HeaderName::try_from(name).unwrap(), id.parse().unwrap());
                verify(&scheme, &[&key], &headers, &genuine.body, at(genuine.time))
            };
            assert_eq!(with(genuine.id()), Ok(0));
            assert!(
                matches!(with("msg_2"), Err(VerifyError::BadId { header, .. }) if header == *name)
            );
        }
    }
}

/// Both halves of one name, a dot and a time behind it, sign the same bytes.
#[test]
fn an_id_does_not_hold_what_ends_it() {
    let scheme = super::Scheme::named("standard-webhooks").unwrap();
    let key = key(&scheme, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let stamp = Stamp { id: "msg_1", time: at(1_700_000_000) };
    let signed = sign(&scheme, &[&key], stamp, b"1700000001.{}");
    let cut = headers(&[
        ("webhook-id", "msg_1.1700000000".as_bytes()),
        ("webhook-timestamp", b"1700000001"),
        ("webhook-signature", signed["webhook-signature"].as_bytes()),
    ]);
    let found = verify(&scheme, &[&key], &cut, b"{}", at(1_700_000_000));
    assert!(matches!(found, Err(VerifyError::BadId { .. })), "{found:?}");
    let dotted = Stamp { id: "msg.1", ..stamp };
    assert_eq!(scheme.sign(&[&key], dotted, b"{}"), Err(super::super::SignError::Id));
}
