//! Refusals before a byte of the body is read, and their limits.

use super::super::{Scheme, Skew, Stamp, VerifyError};
use super::{at, headers, key, sign, verify};

const NOW: i64 = 1_700_000_000;
const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The genuine headers of a scheme with some values replaced.
fn refusal(scheme: &str, replaced: &[(&str, &str)]) -> Result<usize, VerifyError> {
    let scheme = Scheme::named(scheme).unwrap();
    let key = key(&scheme, KEY);
    let mut headers = sign(&scheme, &[&key], Stamp { id: "msg_1", time: at(NOW) }, b"{}");
    for (name, value) in super::headers(replaced) {
        headers.insert(name.unwrap(), value);
    }
    verify(&scheme, &[&key], &headers, b"{}", at(NOW))
}

/// Signs any text in place of the timestamp, as a sender with a bad clock or a bad formatter would.
fn signed_at(stamp: &str) -> Result<usize, VerifyError> {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, KEY.as_bytes());
    let signed = ring::hmac::sign(&key, format!("{stamp}.{{}}").as_bytes());
    let value = format!("t={stamp},v1={}", hex::encode(signed));
    let scheme = Scheme::named("stripe").unwrap();
    let headers = headers(&[("stripe-signature", value)]);
    verify(&scheme, &[&super::key(&scheme, KEY)], &headers, b"{}", at(NOW))
}

#[test]
fn a_timestamp_is_plain_digits_even_if_it_is_signed() {
    assert_eq!(signed_at("1700000000"), Ok(0));
    let spaced = signed_at("1700000000 ");
    assert_eq!(spaced, Err(VerifyError::WrongSignature(1)), "white space around it is not its own");
    for stamp in [
        "",
        "x",
        "now",
        "-1700000000",
        "+1700000000",
        "01700000000",
        "00",
        " 1700000000",
        "1700000000.0",
        "1.7e9",
        "0x6553f100",
        "1_700_000_000",
        "1700000000\u{661}",
        "１７００００００００",
        "9223372036854775808",
        "170000000000000000000000000000",
        "2023-11-14T22:13:20Z",
    ] {
        assert_eq!(signed_at(stamp), Err(VerifyError::BadTime), "{stamp:?}");
    }
    for stamp in ["0", "1", "9223372036854775807"] {
        assert!(matches!(signed_at(stamp), Err(VerifyError::Stale(_))), "{stamp:?}");
    }
}

#[test]
fn a_timestamp_may_be_five_minutes_off_and_no_more() {
    for (ahead, fresh) in [(-301, false), (-300, true), (0, true), (300, true), (301, false)] {
        let found = signed_at(&(NOW + ahead).to_string());
        let stale = VerifyError::Stale(Skew { ahead, tolerance: 300 });
        assert_eq!(found, if fresh { Ok(0) } else { Err(stale) }, "{ahead}");
    }
}

#[test]
fn milliseconds_are_not_taken_for_seconds() {
    assert!(matches!(signed_at("1700000000000"), Err(VerifyError::Stale(_))));
}

#[test]
fn the_message_of_a_stale_timestamp_says_how_far_it_is() {
    let message = |ahead| VerifyError::Stale(Skew { ahead, tolerance: 300 }).to_string();
    assert_eq!(message(-301), "the timestamp is 301 s old, and tolerance is 300 s");
    let ahead = "the timestamp is 301 s ahead of this machine's clock, and tolerance is 300 s";
    assert_eq!(message(301), ahead);
}

#[test]
fn the_headers_that_stripes_own_tests_refuse_are_refused() {
    for value in [
        "t=,v1=2220f87ef101a04665f11cdf770523143f875572008577fa0f20882ddb9cc3c7,v0=63f3a72374a733066c4be69ed7f8e5ac85c22c9f0a6a612ab9a025a9e4ee7eef",
        "t=,v1=",
        "t,v1=,v0=",
        "t,v1=,v0",
        "t,v1=,",
        "t,,",
        ",,",
        "t",
        "",
    ] {
        let found = refusal("stripe", &[("Stripe-Signature", value)]);
        assert!(found.is_err(), "{value}");
    }
}

#[test]
fn a_time_inside_the_signature_header_is_there_once() {
    let v1 = format!("v1={}", "0".repeat(64));
    let label =
        || VerifyError::NoTime { header: "the Stripe-Signature header".into(), label: "t=".into() };
    for value in [v1.clone(), format!("t=1700000000,{v1},t=1700000000")] {
        assert_eq!(refusal("stripe", &[("Stripe-Signature", &value)]), Err(label()), "{value}");
    }
}

const WRONG: &str = "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

fn right() -> String {
    let scheme = Scheme::named("standard-webhooks").unwrap();
    let stamp = Stamp { id: "msg_1", time: at(NOW) };
    let headers = sign(&scheme, &[&key(&scheme, KEY)], stamp, b"{}");
    headers["webhook-signature"].to_str().unwrap().to_owned()
}

fn standard(signatures: &str) -> Result<usize, VerifyError> {
    refusal("standard-webhooks", &[("webhook-signature", signatures)])
}

#[test]
fn any_signature_of_a_list_may_be_the_right_one() {
    let right = right();
    let v2 = "v2,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    for list in [
        format!("{WRONG} {v2} {right}"),
        format!("{right} {WRONG}"),
        format!("v1,nonsense {right}"),
        format!("v1a,nonsense {right}"),
        format!("{WRONG}  {right}"),
    ] {
        assert_eq!(standard(&list), Ok(0), "{list}");
    }
    let as_v2 = right.replace("v1,", "v2,");
    for list in [format!("{WRONG} {v2}"), format!("{WRONG} {as_v2}"), format!("{WRONG},{right}")] {
        assert!(standard(&list).is_err(), "{list}");
    }
}

#[test]
fn a_label_without_its_signature_is_malformed() {
    let right = right();
    let unpadded = right.trim_end_matches('=').to_owned();
    let url_safe = right.replace(['+', '/'], "-");
    for value in ["v1,", "v1,x", "v1,AAAA", &right[..right.len() - 4], &unpadded, &url_safe] {
        let found = standard(value).unwrap_err();
        assert!(matches!(found, VerifyError::Malformed { .. }), "{value}: {found}");
    }
}

#[test]
fn a_header_without_a_label_has_no_signature() {
    for value in ["", " ", ",", "v1", "V1,AAAA", "v1=AAAA", "v3,AAAA", "v11,AAAA"] {
        let found = standard(value).unwrap_err();
        assert!(matches!(found, VerifyError::NoLabel { .. }), "{value}: {found}");
    }
}

#[test]
fn a_signature_has_one_writing() {
    let hex = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let scheme = Scheme::named("github").unwrap();
    let key = key(&scheme, "It's a Secret to Everybody");
    let check = |value: &str| {
        let headers = headers(&[("X-Hub-Signature-256", value)]);
        verify(&scheme, &[&key], &headers, b"Hello, World!", at(NOW))
    };
    assert_eq!(check(hex), Ok(0));
    for value in [
        hex.to_uppercase(),
        hex.replace("ea0e", "EA0E"),
        hex.replace("sha256=", "sha256= "),
        hex.replace("sha256=", "sha256=0x"),
        hex.replace("sha256=", ""),
        format!("{hex}00"),
        format!("{hex},{hex}"),
    ] {
        assert!(check(&value).is_err(), "{value}");
    }
}

#[test]
fn the_last_bits_of_base64_count() {
    // 32 bytes end in a digit of which two bits are not used.
    let scheme = Scheme::named("shopify").unwrap();
    let key = key(&scheme, "test-webhook-secret");
    let body = br#"{"id":1234567890,"email":"customer@example.com","total_price":"123.45"}"#;
    let check = |value: &str| {
        let headers = headers(&[("X-Shopify-Hmac-Sha256", value)]);
        verify(&scheme, &[&key], &headers, body, at(NOW))
    };
    assert_eq!(check("QNyObTlKbMx2qDlPF/ZOZcBqg5OgPg+2oky3zldc0Gw="), Ok(0));
    for value in [
        "QNyObTlKbMx2qDlPF/ZOZcBqg5OgPg+2oky3zldc0Gx=",
        "QNyObTlKbMx2qDlPF/ZOZcBqg5OgPg+2oky3zldc0Gw",
        "QNyObTlKbMx2qDlPF/ZOZcBqg5OgPg+2oky3zldc0Gw==",
        "QNyObTlKbMx2qDlPF_ZOZcBqg5OgPg-2oky3zldc0Gw=",
    ] {
        assert!(matches!(check(value), Err(VerifyError::Malformed { .. })), "{value}");
    }
}

#[test]
fn more_signatures_than_a_sender_has_keys_are_not_tried() {
    let many = |count: usize, one: &str| vec![one; count - 1].join(" ") + " " + &right();
    let pair = format!("v1a,{}==", "A".repeat(86));
    assert_eq!(standard(&many(16, WRONG)), Ok(0));
    assert_eq!(standard(&many(5, &pair)), Ok(0));
    let too_many = || Err(VerifyError::TooMany("the webhook-signature header".into()));
    assert_eq!(standard(&many(17, WRONG)), too_many());
    assert_eq!(standard(&many(6, &pair)), too_many());
    // What is no signature costs nothing and is passed over.
    assert_eq!(standard(&many(1000, "v1,x")), Ok(0));
    assert_eq!(standard(&many(1000, "v2,x")), Ok(0));
}

#[test]
fn a_sender_may_write_a_space_behind_the_separator() {
    let scheme = Scheme::named("stripe").unwrap();
    let key = key(&scheme, KEY);
    let stamp = Stamp { id: "", time: at(NOW) };
    let value = sign(&scheme, &[&key], stamp, b"{}")["stripe-signature"].clone();
    let spaced = value.to_str().unwrap().replace(',', ", ");
    assert_eq!(refusal("stripe", &[("Stripe-Signature", &spaced)]), Ok(0));
    assert!(refusal("stripe", &[("Stripe-Signature", &spaced.replace("t=", "t= "))]).is_err());
}

#[test]
fn either_spelling_of_the_headers_will_do_but_not_half_of_each() {
    let scheme = Scheme::named("standard-webhooks").unwrap();
    let key = key(&scheme, KEY);
    let whole = sign(&scheme, &[&key], Stamp { id: "msg_1", time: at(NOW) }, b"{}");
    for half in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let mut headers = whole.clone();
        let value = headers.remove(half).unwrap();
        let other = http::HeaderName::try_from(half.replace("webhook", "svix")).unwrap();
        headers.insert(other, value);
        let found = verify(&scheme, &[&key], &headers, b"{}", at(NOW));
        assert!(matches!(found, Err(VerifyError::Missing(_))), "{half}: {found:?}");
    }
}
