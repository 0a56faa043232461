//! Properties of every algorithm, for any body, key and time.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::request::Parts;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use sfv::{Dictionary, Parser};

use super::super::{INPUT, MessageKey, SIGNATURE};
use super::{TIME, key, request, signed, verify};

/// A key of each algorithm that signs.
fn keys(seed: [u8; 32]) -> [MessageKey; 3] {
    let document = |beginning: &str, end: &[u8]| {
        STANDARD.encode([&hex::decode(beginning).unwrap(), &seed[..], end].concat())
    };
    let point = p256::ecdsa::SigningKey::from_slice(&seed).unwrap();
    let point = point.verifying_key().to_sec1_point(false);
    let curve = "a00a06082a8648ce3d030107a144034200";
    let p256_end = [&hex::decode(curve).unwrap(), point.as_bytes()].concat();
    [
        key(&format!("hmac-sha256:{}", STANDARD.encode(seed))),
        key(&format!("ed25519:{}", document("302e020100300506032b657004220420", b""))),
        key(&format!("ecdsa-p256-sha256:{}", document("30770201010420", &p256_end))),
    ]
}

/// Seeds of which each is a key of P-256 too: above zero and below its order.
fn seed() -> impl Strategy<Value = [u8; 32]> {
    any::<[u8; 32]>().prop_map(|mut seed| {
        seed[0] &= 0x7f;
        seed[31] |= 1;
        seed
    })
}

fn same(name: &str, one: &HeaderValue, other: &HeaderValue) -> bool {
    let read = |value: &HeaderValue| Parser::new(value.as_bytes()).parse::<Dictionary>().ok();
    [INPUT, SIGNATURE].contains(&name) && read(one) == read(other)
}

const COVERED: [&str; 3] = ["@method", "@path", "date"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_signed_verifies_anywhere_in_the_window(
        seed in seed(),
        body in vec(any::<u8>(), 0..200),
        ahead in -300i64..=300,
    ) {
        for key in keys(seed) {
            let head = signed(request(), &[&key], &COVERED, &body);
            prop_assert_eq!(verify(&head, &[&key], &body, TIME + ahead), Ok(0), "{:?}", key);
        }
    }

    #[test]
    fn one_changed_bit_is_refused(
        seed in seed(),
        body in vec(any::<u8>(), 1..200),
        bit: Index,
    ) {
        for key in keys(seed) {
            let whole = signed(request(), &[&key], &COVERED, &body);
            let mut changed = body.clone();
            let place = bit.index(body.len() * 8);
            changed[place / 8] ^= 1 << (place % 8);
            prop_assert!(verify(&whole, &[&key], &changed, TIME).is_err());
            for name in [INPUT, SIGNATURE, "content-digest", "date"] {
                let Some(head) = flipped(&whole, name, bit) else { continue };
                let found = verify(&head, &[&key], &body, TIME);
                prop_assert!(found.is_err(), "{name}: {:?}", head.headers[name]);
            }
        }
    }

    #[test]
    fn the_key_that_signed_is_named(seed in seed(), body in vec(any::<u8>(), 0..50)) {
        let mut other = seed;
        other[30] ^= 1;
        let all: Vec<_> = keys(other).into_iter().chain(keys(seed)).collect();
        let all: Vec<_> = all.iter().collect();
        for (number, key) in all.iter().enumerate() {
            let head = signed(request(), &[key], &COVERED, &body);
            prop_assert_eq!(verify(&head, &all, &body, TIME), Ok(number));
            let rest: Vec<_> = all.iter().enumerate().filter(|(n, _)| *n != number).map(|(_, key)| *key).collect();
            prop_assert!(verify(&head, &rest, &body, TIME).is_err());
        }
        let head = signed(request(), &[all[1], all[5]], &COVERED, &body);
        prop_assert_eq!(verify(&head, &[all[0], all[5]], &body, TIME), Ok(1));
        prop_assert_eq!(verify(&head, &[all[1]], &body, TIME), Ok(0));
    }

    #[test]
    fn nonsense_is_refused_without_a_panic(
        input in vec(any::<u8>(), 0..80),
        pieces in vec(prop::sample::select(vec![
            "a", "=", "(", ")", "\"content-digest\"", "\"@query\"", " ", ";", "created=", "1618884473", ",", ":", "AAAA", "\"",
        ]), 0..20),
    ) {
        let keys = keys([1; 32]);
        for bytes in [input, pieces.concat().into_bytes()] {
            let Ok(value) = HeaderValue::from_bytes(&bytes) else { continue };
            for name in [INPUT, SIGNATURE, "content-digest", "host"] {
                let mut head = signed(request(), &[&keys[0]], &["@authority"], b"{}");
                head.headers.insert(name, value.clone());
                let found = verify(&head, &[&keys[0], &keys[1], &keys[2]], b"{}", TIME);
                prop_assert!(found.is_err());
            }
        }
    }
}

/// The head with one bit of a header changed, unless no header could carry that or it still says the same.
fn flipped(whole: &Parts, name: &'static str, bit: Index) -> Option<Parts> {
    let mut head = whole.clone();
    let mut bytes = whole.headers[name].as_bytes().to_vec();
    let bit = bit.index(bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
    let value = HeaderValue::from_bytes(&bytes).ok()?;
    if same(name, &value, &whole.headers[name]) {
        return None;
    }
    head.headers.insert(name, value);
    Some(head)
}
