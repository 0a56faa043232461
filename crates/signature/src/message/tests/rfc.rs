//! RFC 9421, appendix B.2.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sfv::{Dictionary, InnerList, ListEntry, Parser};

use super::super::{HttpMessage, base};
use super::{
    BODY, ED25519_PUBLIC, ED25519_SECRET, P256_PUBLIC, SHARED_SECRET, TIME, key, request, verify,
    with,
};

fn list(input: &str) -> InnerList {
    let dictionary: Dictionary = Parser::new(input).parse().unwrap();
    match dictionary.into_iter().next().unwrap().1 {
        ListEntry::InnerList(list) => list,
        other => panic!("{other:?}"),
    }
}

fn base_of(input: &str) -> String {
    let head = request();
    let base = base::of(&HttpMessage::from(&head), &list(input), "https").unwrap();
    String::from_utf8(base).unwrap()
}

const B23: &str = r#"sig-b23=("date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-rsa-pss""#;
const B25: &str =
    r#"sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret""#;
const B26: &str = r#"sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519""#;

#[test]
fn the_base_is_the_rfcs() {
    let minimal =
        r#"sig-b21=();created=1618884473;keyid="test-key-rsa-pss";nonce="b3k2pp5k7z-50gnwp.yemd""#;
    assert_eq!(
        base_of(minimal),
        r#""@signature-params": ();created=1618884473;keyid="test-key-rsa-pss";nonce="b3k2pp5k7z-50gnwp.yemd""#
    );
    assert_eq!(
        base_of(B23),
        r#""date": Tue, 20 Apr 2021 02:07:55 GMT
"@method": POST
"@path": /foo
"@query": ?param=Value&Pet=dog
"@authority": example.com
"content-type": application/json
"content-digest": sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:
"content-length": 18
"@signature-params": ("date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-rsa-pss""#
    );
}

/// B.2.5 and B.2.6. Neither covers the digest, so as requests they are refused.
#[test]
fn the_rfcs_signatures_verify_but_leave_the_body_open() {
    for (input, text, signature) in [
        (B25, SHARED_SECRET, "pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8="),
        (
            B26,
            ED25519_PUBLIC,
            "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==",
        ),
    ] {
        let bytes = STANDARD.decode(signature).unwrap();
        let base = base_of(input);
        assert!(key(text).has_signed(None, base.as_bytes(), &bytes), "{input}");
        let label = &input[..7];
        let head = with(
            request(),
            &[("signature-input", input), ("signature", &format!("{label}=:{signature}:"))],
        );
        let refused = verify(&head, &[&key(text)], BODY, TIME).unwrap_err().to_string();
        assert!(refused.contains("does not cover content-digest"), "{refused}");
    }
    // Both algorithms sign alike whenever they sign the same.
    let made = key(ED25519_SECRET).sign(base_of(B26).as_bytes()).unwrap();
    let theirs =
        "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==";
    assert_eq!(STANDARD.encode(made), theirs);
    let made = key(SHARED_SECRET).sign(base_of(B25).as_bytes()).unwrap();
    assert_eq!(STANDARD.encode(made), "pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=");
}

/// B.2.4, which signs a response: its base is quoted from the RFC.
#[test]
fn the_rfcs_ecdsa_signature_verifies() {
    let base = r#""@status": 200
"content-type": application/json
"content-digest": sha-512=:mEWXIS7MaLRuGgxOBdODa3xqM1XdEvxoYhvlCFJ41QJgJc4GTsPp29l5oGX69wWdXymyU0rjJuahq4l5aGgfLQ==:
"content-length": 23
"@signature-params": ("@status" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-ecc-p256""#;
    let signature =
        "wNmSUAhwb5LxtOtOpNa6W5xj067m5hFrj0XQ4fvpaCLx0NKocgPquLgyahnzDnDAUy5eCdlYUEkLIj+32oiasw==";
    let mut bytes = STANDARD.decode(signature).unwrap();
    assert!(key(P256_PUBLIC).has_signed(None, base.as_bytes(), &bytes));
    bytes[40] ^= 1;
    assert!(!key(P256_PUBLIC).has_signed(None, base.as_bytes(), &bytes));
}

/// B.2.2: RSA-PSS over a parameter of the query and the digest.
#[test]
fn the_rfcs_rsa_signature_over_a_parameter_of_the_query_verifies() {
    const RSA_PSS_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAr4tmm3r20Wd/PbqvP1s2\n+QEtvpuRaV8Yq40gjUR8y2Rjxa6dpG2GXHbPfvMs8ct+Lh1GH45x28Rw3Ry53mm+\noAXjyQ86OnDkZ5N8lYbggD4O3w6M6pAvLkhk95AndTrifbIFPNU8PPMO7OyrFAHq\ngDsznjPFmTOtCEcN2Z1FpWgchwuYLPL+Wokqltd11nqqzi+bJ9cvSKADYdUAAN5W\nUtzdpiy6LbTgSxP7ociU4Tn0g5I6aDZJ7A8Lzo0KSyZYoA485mqcO0GVAdVw9lq4\naOT9v6d+nb4bnNkQVklLQ3fVAvJm+xdDOp9LCNCN48V2pnDOkFV6+U9nV5oyc6XI\n2wIDAQAB\n-----END PUBLIC KEY-----";
    let input = r#"sig-b22=("@authority" "content-digest" "@query-param";name="Pet");created=1618884473;keyid="test-key-rsa-pss";tag="header-example""#;
    let signature = "sig-b22=:LjbtqUbfmvjj5C5kr1Ugj4PmLYvx9wVjZvD9GsTT4F7GrcQEdJzgI9qHxICagShLRiLMlAJjtq6N4CDfKtjvuJyE5qH7KT8UCMkSowOB4+ECxCmT8rtAmj/0PIXxi0A0nxKyB09RNrCQibbUjsLS/2YyFYXEu4TRJQzRw1rLEuEfY17SARYhpTlaqwZVtR8NV7+4UKkjqpcAoFqWFQh62s7Cl+H2fjBSpqfZUJcsIk4N6wiKYd4je2U/lankenQ99PZfB4jY3I5rSV2DSBVkSFsURIjYErOs0tFTQosMTAoxk//0RoKUqiYY8Bh0aaUEb0rQl3/XaVe4bXTugEjHSw==:";
    let head = with(request(), &[("signature-input", input), ("signature", signature)]);
    assert_eq!(verify(&head, &[&key(RSA_PSS_PUBLIC)], BODY, TIME), Ok(0));
    let mut other = head.clone();
    other.uri = "/foo?param=Value&Pet=cat".parse().unwrap();
    assert!(verify(&other, &[&key(RSA_PSS_PUBLIC)], BODY, TIME).is_err());
    let tagged = |tag| {
        let presented =
            super::HttpMessage::from(&head).present(&[], Some(tag), 300, super::at(TIME));
        presented.is_ok()
    };
    assert!(tagged("header-example") && !tagged("other"));
}
