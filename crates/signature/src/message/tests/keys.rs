//! Valid and invalid keys of message signatures.

use super::super::{MessageKey, MessageKeyError};
use super::{ED25519_PUBLIC, ED25519_SECRET, P256_PUBLIC, P256_SECRET, SHARED_SECRET, key};
use crate::KeyError;

fn refused(text: &str) -> MessageKeyError {
    MessageKey::new(&text.into()).unwrap_err()
}

#[test]
fn one_key_can_be_written_in_several_ways() {
    for (secret, public) in [
        (ED25519_SECRET, ED25519_PUBLIC),
        (ED25519_SECRET, "ed25519:MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs="),
        (ED25519_SECRET, "ed25519:JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs="),
        (P256_SECRET, P256_PUBLIC),
        (
            P256_SECRET,
            r#"{"kty":"EC","crv":"P-256","x":"qIVYZVLCrPZHGHjP17CTW0_-D9Lfw0EkjqF7xB4FivA","y":"Mc4nN9LTDOBhfoUeg8Ye9WedFRhnZXZJA12Qp0zZ6F0"}"#,
        ),
        (
            ED25519_SECRET,
            r#"{"kty":"OKP","crv":"Ed25519","x":"JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs"}"#,
        ),
        (
            P256_SECRET,
            "ecdsa-p256-sha256:BKiFWGVSwqz2Rxh4z9ewk1tP/g/S38NBJI6he8QeBYrwMc4nN9LTDOBhfoUeg8Ye9WedFRhnZXZJA12Qp0zZ6F0=",
        ),
        // The same secret as PKCS#8.
        (
            "-----BEGIN PRIVATE KEY-----\r\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgUpuF81l+kOxbjf7T\r\n4mNSv0r5tN67Gim7rnf6EFpcYDuhRANCAASohVhlUsKs9kcYeM/XsJNbT/4P0t/D\r\nQSSOoXvEHgWK8DHOJzfS0wzgYX6FHoPGHvVnnRUYZ2V2SQNdkKdM2ehd\r\n-----END PRIVATE KEY-----\r\n",
            P256_PUBLIC,
        ),
        (SHARED_SECRET, SHARED_SECRET),
    ] {
        let (secret, public) = (key(secret), key(public));
        assert!(public.has_signed(None, b"base", &secret.sign(b"base").unwrap()));
        assert!(secret.has_signed(None, b"base", &secret.sign(b"base").unwrap()));
    }
    assert_eq!(key(ED25519_PUBLIC).sign(b"base"), Err(KeyError::Public));
    assert_eq!(key(P256_PUBLIC).sign(b"base"), Err(KeyError::Public));
}

#[test]
fn what_is_no_key_is_refused() {
    let document = |text| assert_eq!(refused(text), MessageKeyError::Document, "{text}");
    let unnamed = |text| assert_eq!(refused(text), MessageKeyError::Unnamed, "{text}");
    let other = |text, error| assert_eq!(refused(text), MessageKeyError::Key(error), "{text}");
    for text in [
        "",
        "secret",
        "JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=",
        "rsa:AAAA",
        "HMAC-SHA256:AAAA",
    ] {
        unnamed(text);
    }
    other("hmac-sha256:", KeyError::Empty);
    other("ed25519:", KeyError::Empty);
    other("hmac-sha256:%", KeyError::Malformed("Base64"));
    other("ed25519:AAAA", KeyError::Length(3));
    other(
        "ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        KeyError::Malformed("an ed25519 public key"),
    );
    other(
        "ecdsa-p256-sha256:AAAA",
        KeyError::Malformed("the whole point of its curve, 04 before both numbers"),
    );
    document("-----BEGIN PUBLIC KEY-----");
    document("-----BEGIN PUBLIC KEY-----\nAAAA");
    document("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----");
    document("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----");
}

/// A public key is known to all: taken for a shared secret, it would let anyone sign.
#[test]
fn no_key_is_taken_for_one_of_another_algorithm() {
    let spki = "MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=";
    for algorithm in ["hmac-sha256", "ecdsa-p256-sha256"] {
        assert_eq!(refused(&format!("{algorithm}:{spki}")), MessageKeyError::Document);
    }
}

#[test]
fn a_key_shows_its_algorithm_and_fingerprint_only() {
    let shown = format!("{:?}", key(SHARED_SECRET));
    assert_eq!(shown.len(), "MessageKey(hmac-sha256, 01234567)".len(), "{shown}");
    assert!(!key(SHARED_SECRET).is_short);
    assert!(key("hmac-sha256:AAAA").is_short);
}
