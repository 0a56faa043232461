//! Properties of every row, several described ones included, for any body, key and time.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::TimeDelta;
use http::{HeaderMap, HeaderValue};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::super::{CustomScheme, KeyFormat, Scheme, Stamp, TOLERANCE, VerifyError, schemes};
use super::{headers, key, sign, verify};
use crate::Timestamp;

/// Descriptions that together use every setting.
const DESCRIBED: [&str; 8] = [
    r#"header = "X-Sum""#,
    r#"header = "X-Sum"
       algorithm = "hmac-sha512"
       encoding = "hex-upper"
       prefix = "SHA512 ""#,
    r#"header = "X-Sum"
       encoding = "base64-url"
       key = "hex"
       signed = "{timestamp}{body}"
       timestamp_header = "X-Time"
       timestamp_unit = "milliseconds""#,
    r#"header = "X-Sum"
       prefix = "h1:"
       separator = ";"
       signed = "{timestamp}:{body}"
       timestamp_prefix = "ts:""#,
    r#"header = "X-Sum"
       encoding = "base64"
       key = "base64"
       separator = " "
       signed = "{id}{body}"
       id_header = "X-Id""#,
    r#"header = "X-Sum"
       algorithm = "hmac-sha512"
       encoding = "base64-url"
       prefix = "s="
       separator = "|"
       signed = "begin\n{body}\n{timestamp}\n{id}\nend"
       id_header = "X-Id"
       timestamp_prefix = "ms="
       timestamp_unit = "milliseconds""#,
    r#"header = "X-Signature-Ed25519"
       algorithm = "ed25519"
       signed = "{timestamp}{body}"
       timestamp_header = "X-Signature-Timestamp""#,
    r#"header = "X-Sum"
       algorithm = "ed25519"
       encoding = "base64"
       prefix = "ed,"
       separator = " ""#,
];

/// A scheme and the number of one of its kinds.
fn rows() -> Vec<(Scheme, usize)> {
    let described = DESCRIBED.iter().map(|text| {
        let custom: CustomScheme = toml::from_str(text).unwrap();
        custom.scheme(text).unwrap()
    });
    // What signs more than headers and body is in `senders`.
    let is_plain = |scheme: &&Scheme| {
        let is_written = |kind: &crate::SignatureKind| match kind.key {
            KeyFormat::Document => false,
            // Only of the half that verifies.
            KeyFormat::Hex => kind.algorithm.key_type() == crate::KeyType::Secret,
            _ => true,
        };
        let has_secret = scheme.kinds.iter().all(is_written);
        has_secret && !scheme.is_in_body() && !scheme.signed.has_url()
    };
    let all = schemes().iter().filter(is_plain).cloned().chain(described);
    all.flat_map(|scheme| (0..scheme.kinds.len()).map(move |kind| (scheme.clone(), kind))).collect()
}

/// A key of that kind, as its owner would write it. Equally long seeds make equally long keys.
fn written(scheme: &Scheme, kind: usize, seed: [u8; 32]) -> String {
    let base64 = BASE64.encode(seed);
    match &scheme.kinds[kind].key {
        KeyFormat::Text | KeyFormat::Hex => hex::encode(seed),
        KeyFormat::Base64 { prefix } => format!("{prefix}{base64}"),
        KeyFormat::Pair { secret, .. } => format!("{secret}{base64}"),
        KeyFormat::Document => unreachable!("it is no plain row"),
    }
}

fn time() -> impl Strategy<Value = Timestamp> {
    (0i64..253_402_300_800_000).prop_map(|time| Timestamp::from_timestamp_millis(time).unwrap())
}

/// Ids that a header can carry and that end before a dot or a line break. Nor a brace, which begins a body.
const ID: &str = "[!-\\-/-z|-~]{1,40}";

/// A request of each row, and the time at which it was signed.
#[derive(Debug, Clone)]
struct Sent {
    seed: [u8; 32],
    id: String,
    time: Timestamp,
    body: Vec<u8>,
}

fn sent() -> impl Strategy<Value = Sent> {
    (any::<[u8; 32]>(), ID, time(), vec(any::<u8>(), 0..200))
        .prop_map(|(seed, id, time, body)| Sent { seed, id, time, body })
}

impl Sent {
    fn sign(&self, scheme: &Scheme, kind: usize) -> HeaderMap {
        let key = key(scheme, &written(scheme, kind, self.seed));
        sign(scheme, &[&key], Stamp { id: &self.id, time: self.time }, &self.body)
    }

    fn verify(&self, row: &(Scheme, usize), headers: &HeaderMap) -> Result<usize, VerifyError> {
        let key = key(&row.0, &written(&row.0, row.1, self.seed));
        verify(&row.0, &[&key], headers, &self.body, self.time)
    }
}

/// The headers with one bit of one value changed, unless no header could carry that.
fn flipped(headers: &HeaderMap, header: Index, bit: Index) -> Option<HeaderMap> {
    let mut headers = headers.clone();
    let header = header.index(headers.len());
    let value = headers.values_mut().nth(header)?;
    let mut bytes = value.as_bytes().to_vec();
    let bit = bit.index(bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
    *value = HeaderValue::from_bytes(&bytes).ok()?;
    Some(headers)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_signed_verifies_anywhere_in_the_window(
        sent in sent(),
        ahead in -(TOLERANCE as i64)..=TOLERANCE as i64,
    ) {
        for (scheme, kind) in rows() {
            let headers = sent.sign(&scheme, kind);
            let key = key(&scheme, &written(&scheme, kind, sent.seed));
            let now = sent.time + TimeDelta::seconds(ahead);
            prop_assert_eq!(verify(&scheme, &[&key], &headers, &sent.body, now), Ok(0), "{}", &scheme.name);
        }
    }

    #[test]
    fn one_changed_bit_in_a_header_is_refused(sent in sent(), header: Index, bit: Index) {
        for row in rows() {
            let Some(headers) = flipped(&sent.sign(&row.0, row.1), header, bit) else { continue };
            prop_assert!(sent.verify(&row, &headers).is_err(), "{} {headers:?}", row.0.name);
        }
    }

    #[test]
    fn one_changed_bit_in_the_body_is_refused(sent in sent(), bit: Index) {
        prop_assume!(!sent.body.is_empty());
        for row in rows() {
            let headers = sent.sign(&row.0, row.1);
            let mut changed = sent.clone();
            let bit = bit.index(changed.body.len() * 8);
            changed.body[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(changed.verify(&row, &headers).is_err(), "{}", row.0.name);
        }
    }

    #[test]
    fn another_length_of_body_is_refused(sent in sent(), more in vec(any::<u8>(), 1..4)) {
        for row in rows() {
            let headers = sent.sign(&row.0, row.1);
            let longer = Sent { body: [&sent.body[..], &more].concat(), ..sent.clone() };
            prop_assert!(longer.verify(&row, &headers).is_err(), "{}", row.0.name);
            prop_assert!(sent.verify(&row, &longer.sign(&row.0, row.1)).is_err(), "{}", row.0.name);
        }
    }

    #[test]
    fn another_key_is_refused_even_by_one_bit(sent in sent(), bit in 0usize..256) {
        for row in rows() {
            let mut other = sent.clone();
            other.seed[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(other.verify(&row, &sent.sign(&row.0, row.1)).is_err(), "{}", row.0.name);
        }
    }

    #[test]
    fn the_key_that_signed_is_named(sent in sent(), count in 1usize..6, which: Index) {
        let which = which.index(count);
        for (scheme, kind) in rows() {
            let keys: Vec<_> = (0..count)
                .map(|number| {
                    let mut seed = sent.seed;
                    seed[0] ^= (number ^ which) as u8;
                    key(&scheme, &written(&scheme, kind, seed))
                })
                .collect();
            let keys: Vec<_> = keys.iter().collect();
            let headers = sent.sign(&scheme, kind);
            let found = verify(&scheme, &keys, &headers, &sent.body, sent.time);
            prop_assert_eq!(found, Ok(which), "{}", scheme.name);
        }
    }

    #[test]
    fn two_keys_sign_side_by_side_while_one_replaces_the_other(sent in sent()) {
        for (scheme, kind) in rows().into_iter().filter(|(scheme, _)| scheme.separator.is_some()) {
            let of = |change: u8| {
                let mut seed = sent.seed;
                seed[31] ^= change;
                key(&scheme, &written(&scheme, kind, seed))
            };
            let (old, new, other) = (of(0), of(1), of(2));
            let stamp = Stamp { id: &sent.id, time: sent.time };
            let headers = sign(&scheme, &[&old, &new], stamp, &sent.body);
            for (keys, expected) in [
                (vec![&old], Ok(0)),
                (vec![&new], Ok(0)),
                (vec![&new, &old], Ok(0)),
                (vec![&other, &new], Ok(1)),
                (vec![&other], Err(VerifyError::WrongSignature(1))),
                (vec![], Err(VerifyError::WrongSignature(0))),
            ] {
                let found = verify(&scheme, &keys, &headers, &sent.body, sent.time);
                prop_assert_eq!(found, expected, "{}", scheme.name);
            }
        }
    }

    #[test]
    fn nonsense_is_refused_without_a_panic(
        values in vec(vec(nonsense(), 0..30), 3),
        body in vec(any::<u8>(), 0..100),
        time in time(),
    ) {
        let values = values.into_iter().map(|pieces| pieces.concat());
        let values: Vec<_> = values.filter_map(|value| HeaderValue::from_bytes(&value).ok()).collect();
        let mut values = values.iter().cycle();
        for (scheme, kind) in rows() {
            let key = key(&scheme, &written(&scheme, kind, [7; 32]));
            for places in &scheme.spellings {
                let names = [places.signature_header(), places.id.as_deref(), places.timestamp_header()];
                let names = names.into_iter().flatten();
                let pairs: Vec<_> =
                    names.zip(values.by_ref().map(HeaderValue::as_bytes)).collect();
                prop_assert!(verify(&scheme, &[&key], &headers(&pairs), &body, time).is_err());
            }
        }
    }
}

/// Pieces of headers as they should be, and anything else.
fn nonsense() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::sample::select(vec![
            "t=",
            "v1=",
            "v1,",
            "v1a,",
            "v0=",
            "sha256=",
            ",",
            " ",
            ".",
            "=",
            "0",
            "1700000000",
            "YWJj",
            "00000000000000000000000000000000000000000000000000000000000000000",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        vec(any::<u8>(), 0..20),
    ]
}
