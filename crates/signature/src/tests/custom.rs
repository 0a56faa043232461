//! Schemes from the configuration: the valid ones, and refusals with the setting's name.

use super::super::{CustomScheme, Encoding, Scheme, Stamp, VerifyError};
use super::{at, headers, key, sign, verify};

fn scheme(text: &str) -> Scheme {
    toml::from_str::<CustomScheme>(text).unwrap().scheme("signature").unwrap()
}

fn refused(text: &str) -> String {
    let custom: CustomScheme =
        toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    custom.scheme("signature").unwrap_err().to_string()
}

#[test]
fn a_header_is_all_that_is_needed() {
    let scheme = scheme(r#"header = "X-Hub-Signature-256""#);
    let github = Scheme::named("github").unwrap();
    assert_eq!(scheme.signed, github.signed);
    assert_eq!(scheme.encoding, Encoding::Hex);
    assert_eq!(scheme.kinds[0].algorithm, github.kinds[0].algorithm);
    assert!(!scheme.is_timed());
}

/// Rows of the table, described as settings.
#[test]
fn known_schemes_can_be_described() {
    for (name, text) in [
        ("github", "header = \"X-Hub-Signature-256\"\nprefix = \"sha256=\""),
        (
            "stripe",
            "header = \"Stripe-Signature\"\nprefix = \"v1=\"\nseparator = \",\"\nsigned = \"{timestamp}.{body}\"\ntimestamp_prefix = \"t=\"",
        ),
        (
            "slack",
            "header = \"X-Slack-Signature\"\nprefix = \"v0=\"\nsigned = \"v0:{timestamp}:{body}\"\ntimestamp_header = \"X-Slack-Request-Timestamp\"",
        ),
        ("shopify", "header = \"X-Shopify-Hmac-Sha256\"\nencoding = \"base64\""),
        (
            "x",
            "header = \"X-Twitter-Webhooks-Signature\"\nencoding = \"base64\"\nprefix = \"sha256=\"",
        ),
    ] {
        let described = Scheme { name: name.into(), ..scheme(text) };
        assert_eq!(described, Scheme::named(name).unwrap());
    }
}

/// frain-dev/convoy, pkg/signature/signature_test.go and pkg/verifier/verifier_test.go.
#[test]
fn convoy_with_sha512_can_be_described() {
    let body = br#"{"b":{},"e":"123","a":1}"#;
    for (encoding, secret, body, signature) in [
        (
            "hex",
            "secret",
            &body[..],
            "c5dcfeda3f5a3154145234b2d0a533fc2b230f88da0fac0724619fd5cdde673ad6c474dfd5c02367768bd3b3bd3595cc860e606a37e2f9362e054d5aa14d7cc4",
        ),
        (
            "base64",
            "secret",
            body,
            "xdz+2j9aMVQUUjSy0KUz/CsjD4jaD6wHJGGf1c3eZzrWxHTf1cAjZ3aL07O9NZXMhg5gajfi+TYuBU1aoU18xA==",
        ),
        (
            "hex",
            "Convoy",
            b"Test Payload Body",
            "83306382f5361d35351d6de45998f23b52f40bcf96befe4e92f137c0f1bf4a7119388b238d8f9d502ac77e6f1a8849a4778272667ed88d530cac8050bd1fee2d",
        ),
    ] {
        let scheme = scheme(&format!(
            "header = \"X-Convoy-Signature\"\nalgorithm = \"hmac-sha512\"\nencoding = \"{encoding}\""
        ));
        let headers = headers(&[("X-Convoy-Signature", signature)]);
        assert_eq!(verify(&scheme, &[&key(&scheme, secret)], &headers, body, at(0)), Ok(0));
    }
}

/// The public half in hexadecimal digits and the time before the body without anything between, as Discord has it.
#[test]
fn ed25519_with_a_hexadecimal_key_can_be_described() {
    let text = "header = \"X-Signature-Ed25519\"\nalgorithm = \"ed25519\"\nsigned = \"{timestamp}{body}\"\ntimestamp_header = \"X-Signature-Timestamp\"\n";
    let (theirs, ours) = (scheme(text), scheme(&format!("{text}key = \"hex\"")));
    let secret = key(&theirs, "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=");
    let public = key(&ours, "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    let signed = sign(&theirs, &[&secret], Stamp { id: "", time: at(1_700_000_000) }, b"{}");
    assert_eq!(verify(&ours, &[&public], &signed, b"{}", at(1_700_000_000)), Ok(0));
}

#[test]
fn what_could_not_work_is_refused_with_the_settings_name() {
    for (text, expected) in [
        ("header = \"\"", "header is not the name of a header"),
        ("header = \"a b\"", "header is not the name of a header"),
        ("header = \"é\"", "header is not the name of a header"),
        (
            "header = \"a\"\nid_header = \"a:\"\nsigned = \"{id}{body}\"",
            "id_header is not the name of a header",
        ),
        (
            "header = \"a\"\ntimestamp_header = \"\"\nsigned = \"{timestamp}{body}\"",
            "timestamp_header is not the name of a header",
        ),
        (
            "header = \"a\"\ntimestamp_header = \"b\"\ntimestamp_prefix = \"t=\"\nsigned = \"{timestamp}{body}\"",
            "timestamp_prefix and timestamp_header are both set; remove one",
        ),
        ("header = \"a\"\nprefix = \" v1=\"", "prefix must be ASCII text"),
        ("header = \"a\"\nprefix = \"\\tv1=\"", "prefix must be ASCII text"),
        ("header = \"a\"\nprefix = \"v1\\n\"", "prefix must be ASCII text"),
        ("header = \"a\"\nprefix = \"é\"", "prefix must be ASCII text"),
        (
            "header = \"a\"\nprefix = \"v\"\nseparator = \",\"\ntimestamp_prefix = \"é\"\nsigned = \"{timestamp}{body}\"",
            "timestamp_prefix must be ASCII text",
        ),
        (
            "header = \"a\"\nseparator = \",\"\ntimestamp_prefix = \"t=\"\nsigned = \"{timestamp}{body}\"",
            "timestamp_prefix and prefix cannot be distinguished",
        ),
        (
            "header = \"a\"\nprefix = \"v1=\"\nseparator = \",\"\ntimestamp_prefix = \"v1=t\"\nsigned = \"{timestamp}{body}\"",
            "timestamp_prefix and prefix cannot be distinguished",
        ),
        (
            "header = \"a\"\nprefix = \"v1=\"\nseparator = \",\"\ntimestamp_prefix = \"\"\nsigned = \"{timestamp}{body}\"",
            "timestamp_prefix and prefix cannot be distinguished",
        ),
        (
            "header = \"a\"\nprefix = \"v1=\"\ntimestamp_prefix = \"t=\"\nsigned = \"{timestamp}{body}\"",
            "timestamp_prefix needs a separator; write separator = \",\"",
        ),
        (
            "header = \"a\"\nseparator = \"a\"",
            "separator must be a character that no signature has",
        ),
        (
            "header = \"a\"\nseparator = \"é\"",
            "separator must be a character that no signature has",
        ),
        ("header = \"a\"\nseparator = \"\\n\"", "separator must be a character"),
        (
            "header = \"a\"\nencoding = \"base64\"\nseparator = \"/\"",
            "separator must be a character",
        ),
        (
            "header = \"a\"\nencoding = \"base64\"\nseparator = \"=\"",
            "separator must be a character",
        ),
        (
            "header = \"a\"\nencoding = \"base64-url\"\nseparator = \"-\"",
            "separator must be a character",
        ),
        ("header = \"a\"\nprefix = \"v1,\"\nseparator = \",\"", "separator is in a prefix too"),
        (
            "header = \"a\"\nprefix = \"v1=\"\nseparator = \":\"\ntimestamp_prefix = \"t:\"\nsigned = \"{timestamp}{body}\"",
            "separator is in a prefix too",
        ),
        ("header = \"a\"\nsigned = \"\"", "signed covers nothing of the body"),
        ("header = \"a\"\nsigned = \"{Body}\"", "signed covers nothing of the body"),
        ("header = \"a\"\nsigned = \"{url}\"", "signed covers nothing of the body"),
        ("header = \"a\"\nsigned = \"{body}{body}\"", "signed has {body} in it more than once"),
        ("", "header is missing; write the name of the signature's header"),
        ("header = \"a\"\nplace = \"/b\"", "place and header are both set; remove one"),
        ("place = \"b\"", "place is neither a header"),
        (
            "header = [\"a\", \"b\"]\nid_header = \"c\"\nsigned = \"{id}{body}\"",
            "id_header must have as many",
        ),
        ("header = \"a\"\nsigned = \"{id}{body}\"", "signed has {id} in it; name its header"),
        (
            "header = \"a\"\nid_header = \"b\"\nsigned = \"{id}{body}{id}\"",
            "signed has {id} in it more than once",
        ),
        ("header = \"a\"\nid_header = \"b\"", "signed lacks {id}, though id_header is set"),
        (
            "header = \"a\"\nsigned = \"{timestamp}{body}\"",
            "signed has {timestamp} in it; name its header or prefix: timestamp_header = \"…\"",
        ),
        (
            "header = \"a\"\ntimestamp_header = \"b\"\nsigned = \"{timestamp}{timestamp}{body}\"",
            "signed has {timestamp} in it more than once",
        ),
        (
            "header = \"a\"\ntimestamp_header = \"b\"",
            "signed lacks {timestamp}, though its header or prefix is set",
        ),
        ("header = \"a\"\nsigned = \"{uri}{body}\"", "signed has {uri} in it; in braces stand"),
        ("header = \"a\"\nsigned = \"{body\"", "signed has a brace that is not closed"),
        ("header = \"a\"\nsigned = \"{body|md5}\"", "signed has the filter \"md5\" in it"),
        (
            "header = \"a\"\nsigned = \"{body|hmac-sha256}\"",
            "signed has a filter in it that needs the key",
        ),
        (
            "header = \"a\"\nid_header = \"b\"\nsigned = \"{timest{id}amp}{body}\"",
            "signed has {timest{id} in it; in braces stand",
        ),
    ] {
        let error = refused(text);
        assert!(error.starts_with(expected), "{text}: {error}");
    }
}

#[test]
fn what_is_no_setting_is_refused() {
    for text in [
        "header = \"a\"\nheaders = \"b\"",
        "header = \"a\"\nalgorithm = \"hmac-md5\"",
        "header = \"a\"\nalgorithm = \"none\"",
        "header = \"a\"\nencoding = \"Base64\"",
        "header = \"a\"\nseparator = \"\"",
        "header = \"a\"\nseparator = \", \"",
        "header = \"a\"\ntimestamp_unit = \"minutes\"",
        "header = \"a\"\nkey = \"pem\"",
    ] {
        assert!(toml::from_str::<CustomScheme>(text).is_err(), "{text}");
    }
}

#[test]
fn a_time_may_be_a_date() {
    let text = "header = \"a\"\ntimestamp_header = \"b\"\ntimestamp_unit = \"rfc3339\"\nsigned = \"{timestamp}{body}\"";
    let scheme = scheme(text);
    let key = key(&scheme, "a key that is long enough");
    let now = at(1_767_225_600);
    let headers = sign(&scheme, &[&key], Stamp { id: "", time: now }, b"{}");
    assert_eq!(headers["b"], "2026-01-01T00:00:00.000Z");
    let found = |now| verify(&scheme, &[&key], &headers, b"{}", at(now));
    assert_eq!(found(1_767_225_900), Ok(0));
    assert!(matches!(found(1_767_225_901), Err(VerifyError::Stale(_))));
    for wrong in ["1767225600", "2026-01-01", "2026-01-01T00:00:00", " 2026-01-01T00:00:00Z", ""] {
        let mut headers = headers.clone();
        headers.insert("b", wrong.parse().unwrap());
        assert_eq!(
            verify(&scheme, &[&key], &headers, b"{}", now),
            Err(VerifyError::BadDate),
            "{wrong}"
        );
    }
}

/// `1{"b":{}}` is the id `1` of one body and the id `1{"b":` of another, which is cut short of a brace.
#[test]
fn an_id_right_before_the_body_has_no_brace() {
    let scheme = scheme("header = \"a\"\nid_header = \"b\"\nsigned = \"{id}{body}\"");
    let key = key(&scheme, "a key that is long enough");
    let mut headers = sign(&scheme, &[&key], Stamp { id: "1", time: at(0) }, b"{\"b\":{}}");
    assert_eq!(verify(&scheme, &[&key], &headers, b"{\"b\":{}}", at(0)), Ok(0));
    headers.insert("b", "1{\"b\":".parse().unwrap());
    let found = verify(&scheme, &[&key], &headers, b"{}}", at(0));
    assert!(matches!(found, Err(VerifyError::BadId { .. })), "{found:?}");
}
