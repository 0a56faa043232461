//! Another implementation on one side, and the base written out by hand.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::request::Parts;
use p256::ecdsa::signature::{Signer, Verifier};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use ring::{digest, hmac};

use super::{BODY, TIME, key, request, signed, verify, with};

const SECRET: &[u8] = b"a shared secret of some length";
const SEED: &[u8; 32] = b"the secret half of a key pair...";
const P256: &str = "529b85f3597e90ec5b8dfed3e26352bf4af9b4debb1a29bbae77fa105a5c603b";
const P256_POINT: &str =
    "BKiFWGVSwqz2Rxh4z9ewk1tP/g/S38NBJI6he8QeBYrwMc4nN9LTDOBhfoUeg8Ye9WedFRhnZXZJA12Qp0zZ6F0=";

const LIST: &str = r#"("@method" "@scheme" "@authority" "@path" "@query" "@request-target" "@target-uri" "date" "content-digest");created=1618884473"#;

fn base(digest: &str) -> String {
    format!(
        r#""@method": POST
"@scheme": https
"@authority": example.com
"@path": /foo
"@query": ?param=Value&Pet=dog
"@request-target": /foo?param=Value&Pet=dog
"@target-uri": https://example.com/foo?param=Value&Pet=dog
"date": Tue, 20 Apr 2021 02:07:55 GMT
"content-digest": {digest}
"@signature-params": {LIST}"#
    )
}

fn digest_of(body: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(digest::digest(&digest::SHA256, body)))
}

fn request_with(signature: &[u8]) -> Parts {
    with(
        request(),
        &[
            ("content-digest", &digest_of(BODY)),
            ("signature-input", &format!("other={LIST}")),
            ("signature", &format!("other=:{}:", STANDARD.encode(signature))),
        ],
    )
}

fn ed25519() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(SEED).unwrap()
}

#[test]
fn what_another_implementation_signed_verifies() {
    let base = base(&digest_of(BODY));
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), base.as_bytes());
    let ed25519 = ed25519();
    let p256 = p256::ecdsa::SigningKey::from_slice(&hex::decode(P256).unwrap()).unwrap();
    let p256: p256::ecdsa::Signature = p256.sign(base.as_bytes());
    let p256 = p256.to_bytes();
    for (text, signature) in [
        (format!("hmac-sha256:{}", STANDARD.encode(SECRET)), mac.as_ref()),
        (
            format!("ed25519:{}", STANDARD.encode(ed25519.public_key())),
            ed25519.sign(base.as_bytes()).as_ref(),
        ),
        (format!("ecdsa-p256-sha256:{P256_POINT}"), p256.as_slice()),
    ] {
        let head = request_with(signature);
        assert_eq!(verify(&head, &[&key(&text)], BODY, TIME), Ok(0), "{text}");
    }
}

#[test]
fn what_is_signed_here_verifies_by_another_implementation() {
    let document = |beginning: &str, key: &[u8], end: &str| {
        let bytes = [&hex::decode(beginning).unwrap(), key, &hex::decode(end).unwrap()].concat();
        STANDARD.encode(bytes)
    };
    let ed25519_key = document("302e020100300506032b657004220420", SEED, "");
    let point = STANDARD.decode(P256_POINT).unwrap();
    let p256_key = document(
        "30770201010420",
        &hex::decode(P256).unwrap(),
        &format!("a00a06082a8648ce3d030107a144034200{}", hex::encode(&point)),
    );
    let covered = [
        "@method",
        "@scheme",
        "@authority",
        "@path",
        "@query",
        "@request-target",
        "@target-uri",
        "date",
    ];
    let base = base(&digest_of(BODY));
    let check = |text: &str, verifies: &dyn Fn(&[u8], &[u8]) -> bool| {
        let head = signed(request(), &[&key(text)], &covered, BODY);
        assert_eq!(head.headers["content-digest"], digest_of(BODY));
        let parameters =
            format!(";keyid=\"{}\";alg=\"{}\"", key(text).fingerprint, key(text).name());
        assert_eq!(head.headers["signature-input"], format!("sig1={LIST}{parameters}"));
        let base = format!("{base}{parameters}");
        let value = head.headers["signature"].to_str().unwrap();
        let value = value.strip_prefix("sig1=:").unwrap().strip_suffix(':').unwrap();
        assert!(verifies(base.as_bytes(), &STANDARD.decode(value).unwrap()), "{text}");
    };
    check(&format!("hmac-sha256:{}", STANDARD.encode(SECRET)), &|base, signature| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
        hmac::verify(&key, base, signature).is_ok()
    });
    check(&format!("ed25519:{ed25519_key}"), &|base, signature| {
        let key = UnparsedPublicKey::new(&ED25519, ed25519().public_key().as_ref().to_vec());
        key.verify(base, signature).is_ok()
    });
    check(&format!("ecdsa-p256-sha256:{p256_key}"), &|base, signature| {
        let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&point).unwrap();
        let signature = p256::ecdsa::Signature::from_slice(signature).unwrap();
        key.verify(base, &signature).is_ok()
    });
}
