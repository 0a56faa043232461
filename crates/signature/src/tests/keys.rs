//! Valid and invalid keys of a scheme.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD as BASE64, STANDARD_NO_PAD};

use super::super::{Key, KeyError, Scheme, SignError, Stamp, schemes};
use super::{at, key};

fn refused(scheme: &str, text: &str) -> KeyError {
    Key::new(&Scheme::named(scheme).unwrap(), &text.into()).unwrap_err()
}

fn standard(prefix: &str, bytes: &[u8]) -> String {
    format!("{prefix}{}", BASE64.encode(bytes))
}

#[test]
fn an_empty_key_is_none_in_any_scheme() {
    for scheme in schemes() {
        assert_eq!(refused(&scheme.name, ""), KeyError::Empty);
    }
    for nothing in ["whsec_", "whsk_", "whpk_"] {
        assert_eq!(refused("standard-webhooks", nothing), KeyError::Empty);
        assert_eq!(refused("svix", nothing), KeyError::Empty);
    }
}

#[test]
fn a_key_has_nothing_around_it() {
    for scheme in schemes() {
        for text in [" a", "a ", "a\n", "\ta", "a\0b", "a\u{85}b", " "] {
            assert_eq!(refused(&scheme.name, text), KeyError::Blanks, "{text:?}");
        }
    }
}

#[test]
fn wrong_base64_is_refused_and_not_repeated() {
    for text in ["whsec_%", "whsec_a", "whsec_====", "whsec_ab-_", "not base64", "whpk_!", "whsk_!"]
    {
        let error = refused("standard-webhooks", text);
        assert_eq!(error, KeyError::Malformed("Base64"), "{text}");
        assert_eq!(error.to_string(), "it is not Base64");
    }
}

#[test]
fn padding_and_prefix_of_a_key_may_be_left_out() {
    let scheme = Scheme::named("standard-webhooks").unwrap();
    let stamp = Stamp { id: "", time: at(0) };
    let bytes = b"a secret of 25 bytes, odd";
    let forms = [
        standard("whsec_", bytes),
        standard("", bytes),
        format!("whsec_{}", STANDARD_NO_PAD.encode(bytes)),
    ];
    let [a, b, c] = forms.map(|text| scheme.sign(&[&key(&scheme, &text)], stamp, b"{}").unwrap());
    assert!(a == b && b == c);
}

#[test]
fn the_text_of_a_key_is_not_decoded_where_the_scheme_takes_text() {
    let scheme = Scheme::named("stripe").unwrap();
    let stamp = Stamp { id: "", time: at(0) };
    let sign = |text| scheme.sign(&[&key(&scheme, text)], stamp, b"{}").unwrap();
    assert_ne!(
        sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        sign("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    );
}

#[test]
fn a_key_pair_has_the_right_length_and_belongs_together() {
    let scheme = Scheme::named("svix").unwrap();
    for length in [1, 31, 33, 63, 65] {
        for prefix in ["whsk_", "whpk_"] {
            let error = refused("svix", &standard(prefix, &vec![7; length]));
            assert_eq!(error, KeyError::Length(length), "{prefix}");
        }
    }
    assert_eq!(refused("svix", &standard("whpk_", &[7; 64])), KeyError::Length(64));
    let error = refused("svix", &standard("whsk_", &[7; 64]));
    assert!(error.to_string().contains("its own public key"), "{error}");
    let both = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
    let seed = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc=";
    let stamp = Stamp { id: "", time: at(0) };
    let [both, seed] = [both, seed].map(|text| key(&scheme, text));
    let sign = |key| scheme.sign(&[key], stamp, b"{}").unwrap();
    assert_eq!(sign(&both), sign(&seed));
}

/// Of the point with order 1, everybody can make a signature of anything.
#[test]
fn a_weak_public_key_is_refused() {
    let mut neutral = [0; 32];
    neutral[0] = 1;
    for point in [neutral, [0; 32]] {
        let error = refused("svix", &standard("whpk_", &point));
        assert_eq!(error, KeyError::Malformed("an ed25519 public key"));
    }
}

#[test]
fn a_public_key_cannot_sign() {
    let scheme = Scheme::named("svix").unwrap();
    let public = key(&scheme, "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=");
    let stamp = Stamp { id: "msg_1", time: at(0) };
    let error = scheme.sign(&[&public], stamp, b"{}").unwrap_err();
    assert_eq!(error, SignError::Key(KeyError::Public));
    assert_eq!(scheme.sign(&[], stamp, b"{}"), Err(SignError::NoKey));
}

#[test]
fn an_id_that_no_header_can_carry_is_not_signed() {
    let scheme = Scheme::named("svix").unwrap();
    let key = key(&scheme, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let error = scheme.sign(&[&key], Stamp { id: "a\nb", time: at(0) }, b"{}").unwrap_err();
    assert_eq!(error, SignError::Header("svix-id".into()));
}

#[test]
fn a_short_key_is_known_for_one() {
    for (scheme, length) in [("github", 15), ("evolutionx", 15)] {
        let scheme = Scheme::named(scheme).unwrap();
        assert!(key(&scheme, &"x".repeat(length)).is_short);
        assert!(!key(&scheme, &"x".repeat(length + 1)).is_short);
    }
    let scheme = Scheme::named("standard-webhooks").unwrap();
    assert!(key(&scheme, &standard("whsec_", &[7; 23])).is_short);
    assert!(!key(&scheme, &standard("whsec_", &[7; 24])).is_short);
}

#[test]
fn a_key_shows_its_fingerprint_only() {
    let scheme = Scheme::named("github").unwrap();
    let shown = format!("{:?}", key(&scheme, "It's a Secret to Everybody"));
    assert_eq!(shown.len(), "Key(01234567)".len(), "{shown}");
    assert!(!shown.contains("Secret"));
}

#[test]
fn a_prefix_alone_is_no_key_even_where_it_is_part_of_the_key() {
    for scheme in schemes() {
        assert_eq!(refused(&scheme.name, "whsec_"), KeyError::Empty, "{}", scheme.name);
    }
}

#[test]
fn all_writings_of_a_key_have_one_fingerprint() {
    let print = |scheme: &str, text: &str| key(&Scheme::named(scheme).unwrap(), text).fingerprint;
    let whole = print("svix", "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTE=");
    assert_eq!(
        whole,
        super::super::Fingerprint::of(&"whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTE=".into())
    );
    assert_eq!(whole, print("svix", "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTE"));
    assert_ne!(print("stripe", "whsec_abc"), print("stripe", "abc"));
}
