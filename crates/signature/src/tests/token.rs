//! Tokens: those of another implementation, and forgeries.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, Method, Uri};
use p256::ecdsa::signature::Signer;
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::at;
use crate::{Algorithm, HttpMessage, PublicKey, TokenRule, VerifyError};

const NOW: i64 = 1_700_000_000;
const BODY: &[u8] = br#"{"webhook_code":"DEFAULT"}"#;
const KEY: &str = r#"{"kty":"EC","crv":"P-256","x":"qIVYZVLCrPZHGHjP17CTW0_-D9Lfw0EkjqF7xB4FivA","y":"Mc4nN9LTDOBhfoUeg8Ye9WedFRhnZXZJA12Qp0zZ6F0"}"#;

fn rule() -> TokenRule {
    TokenRule {
        place: None,
        algorithms: vec![Algorithm::EcdsaP256Sha256],
        issuer: vec!["https://accounts.example.com".into()],
        audience: vec!["https://hooks.example.com".into()],
        claims: BTreeMap::from([("email_verified".into(), "true".into())]),
        body_sha256: Some("request_body_sha256".into()),
        max_age: Some(300),
    }
}

fn claims() -> Value {
    json!({
        "iss": "https://accounts.example.com",
        "aud": ["other", "https://hooks.example.com"],
        "email_verified": true,
        "iat": NOW,
        "exp": NOW + 300,
        "request_body_sha256": hex::encode(Sha256::digest(BODY)),
    })
}

fn signed(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let secret = "529b85f3597e90ec5b8dfed3e26352bf4af9b4debb1a29bbae77fa105a5c603b";
    let key = p256::ecdsa::SigningKey::from_slice(&hex::decode(secret).unwrap()).unwrap();
    let signature: p256::ecdsa::Signature = key.sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

fn verify(rule: &TokenRule, token: &str, body: &[u8], now: i64) -> Result<usize, VerifyError> {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
    let (method, uri) = (Method::POST, Uri::default());
    let head = HttpMessage { method: &method, uri: &uri, headers: &headers, public_url: None };
    let key = PublicKey::read(KEY).unwrap();
    rule.present(head, at(now))?.verify(rule, body, std::iter::once(&key))
}

fn es256() -> Value {
    json!({"alg": "ES256", "kid": "k", "typ": "JWT"})
}

#[test]
fn a_token_of_another_implementation_verifies() {
    let token = signed(&es256(), &claims());
    assert_eq!(verify(&rule(), &token, BODY, NOW), Ok(0));
    assert_eq!(verify(&rule(), &token, BODY, NOW + 300), Ok(0));
    assert!(matches!(verify(&rule(), &token, BODY, NOW + 301), Err(VerifyError::Stale(_))));
    assert!(matches!(verify(&rule(), &token, b"{}", NOW), Err(VerifyError::Token(_))));
}

/// RFC 7515, appendix A.2 and A.3: RS256 and ES256.
#[test]
fn the_rfcs_tokens_verify() {
    let payload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let rs256 = format!(
        "eyJhbGciOiJSUzI1NiJ9.{payload}.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
    );
    let rsa = r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#;
    let es256 = format!(
        "eyJhbGciOiJFUzI1NiJ9.{payload}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    );
    let curve = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
    let rule = TokenRule {
        algorithms: vec![Algorithm::RsaSha256, Algorithm::EcdsaP256Sha256],
        issuer: vec!["joe".into()],
        audience: Vec::new(),
        claims: BTreeMap::new(),
        body_sha256: None,
        max_age: None,
        ..rule()
    };
    let now = 1_300_819_380;
    for (token, key) in [(&rs256, rsa), (&es256, curve)] {
        let keys = [PublicKey::read(key).unwrap()];
        let read = rule.read(token, at(now)).unwrap();
        assert_eq!(read.verify(&rule, b"", keys.iter()), Ok(0), "{key}");
        assert!(rule.read(token, at(now + 61)).is_err(), "it has expired");
    }
}

#[test]
fn what_is_for_others_or_not_fresh_is_refused() {
    for (claim, value) in [
        ("iss", json!("https://evil.example")),
        ("iss", json!(null)),
        ("aud", json!("other")),
        ("aud", json!([])),
        ("email_verified", json!(false)),
        ("email_verified", json!("false")),
        ("iat", json!(NOW - 301)),
        ("iat", json!(NOW + 301)),
        ("iat", json!("today")),
        ("exp", json!(NOW - 61)),
        ("nbf", json!(NOW + 61)),
        ("request_body_sha256", json!("00")),
    ] {
        let mut claims = claims();
        claims[claim] = value.clone();
        assert!(verify(&rule(), &signed(&es256(), &claims), BODY, NOW).is_err(), "{claim} {value}");
        claims.as_object_mut().unwrap().remove(claim);
        let is_optional = ["exp", "nbf"].contains(&claim);
        let found = verify(&rule(), &signed(&es256(), &claims), BODY, NOW);
        assert_eq!(found.is_ok(), is_optional, "{claim}");
    }
    let no_time = TokenRule { max_age: None, ..rule() };
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove("exp");
    assert!(verify(&no_time, &signed(&es256(), &claims), BODY, NOW).is_err());
}

#[test]
fn no_other_algorithm_is_taken() {
    for header in [
        json!({"alg": "none"}),
        json!({"alg": "HS256"}),
        json!({"alg": "RS256"}),
        json!({"alg": "ES384"}),
        json!({"alg": "es256"}),
        json!({"alg": "ES256", "crit": ["b64"], "b64": false}),
        json!({}),
    ] {
        assert!(verify(&rule(), &signed(&header, &claims()), BODY, NOW).is_err(), "{header}");
    }
    let token = signed(&es256(), &claims());
    let (unsigned, _) = token.rsplit_once('.').unwrap();
    for cut in [unsigned, &format!("{unsigned}."), "", ".", "..", "a.b.c"] {
        assert!(verify(&rule(), cut, BODY, NOW).is_err(), "{cut}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn one_changed_character_is_refused(index in any::<prop::sample::Index>(), bit in 0..6_u8) {
        let token = signed(&es256(), &claims());
        let mut bytes = token.clone().into_bytes();
        let index = index.index(bytes.len());
        bytes[index] ^= 1 << bit;
        let changed = String::from_utf8(bytes).unwrap();
        prop_assume!(changed.bytes().all(|byte| byte.is_ascii_graphic()));
        prop_assert!(verify(&rule(), &changed, BODY, NOW).is_err());
    }

    #[test]
    fn nonsense_is_refused_without_a_panic(token in "[ -~]{0,80}", parts in prop::collection::vec("[\\{\\}\"a-z:0-9,]{0,20}", 3)) {
        prop_assert!(verify(&rule(), &token, BODY, NOW).is_err());
        let made: Vec<String> = parts.iter().map(|part| URL_SAFE_NO_PAD.encode(part)).collect();
        prop_assert!(verify(&rule(), &made.join("."), BODY, NOW).is_err());
    }
}
