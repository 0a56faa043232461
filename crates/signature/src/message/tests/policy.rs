//! The policy: the parameters and the coverage that a message signature must have.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Method};
use sha2::{Digest, Sha256, Sha512};

use super::super::HttpMessage;
use super::{BODY, SHARED_SECRET, TIME, at, key, request, signed, verify, with};
use crate::{SignError, Skew, VerifyError};

/// The request of the RFC, signed over `list` by another implementation.
fn over(list: &str) -> http::request::Parts {
    let mut head = with(request(), &[("signature-input", &format!("a={list}"))]);
    let parsed: sfv::Dictionary = sfv::Parser::new(&format!("a={list}")).parse().unwrap();
    if let Some(sfv::ListEntry::InnerList(covered)) = parsed.get("a")
        && let Ok(base) = super::super::base::of(&HttpMessage::from(&head), covered, "https")
    {
        let signature = key(SHARED_SECRET).sign(&base).unwrap();
        head = with(head, &[("signature", &format!("a=:{}:", STANDARD.encode(signature)))]);
    } else {
        head = with(head, &[("signature", "a=:AAAA:")]);
    }
    head
}

fn found(list: &str) -> Result<usize, VerifyError> {
    verify(&over(list), &[&key(SHARED_SECRET)], BODY, TIME)
}

fn refused(list: &str) -> String {
    found(list).unwrap_err().to_string()
}

#[test]
fn the_digest_and_the_time_are_enough() {
    assert_eq!(found(r#"("content-digest");created=1618884473"#), Ok(0));
    let whole = r#"("content-digest" "@method" "@path" "date");created=1618884473;expires=1618884473;nonce="x";keyid="anything";alg="hmac-sha256";tag="t";more"#;
    assert_eq!(found(whole), Ok(0));
}

#[test]
fn a_list_that_proves_too_little_is_refused() {
    for (list, reason) in [
        ("();created=1618884473", "does not cover content-digest"),
        (r#"("@method" "date");created=1618884473"#, "does not cover content-digest"),
        (r#"("content-digest")"#, "has no creation time"),
        (r#"("content-digest");created="1618884473""#, "created that is not a whole number"),
        (r#"("content-digest");created=1618884473.0"#, "created that is not a whole number"),
        (r#"("content-digest");created"#, "created that is not a whole number"),
        (r#"("content-digest");created=1618884473;expires=1618884472"#, "has expired"),
        (
            r#"("content-digest");created=1618884473;expires=x"#,
            "expires that is not a whole number",
        ),
        (r#"("content-digest" "content-digest");created=1618884473"#, "covers something twice"),
        (r#"("content-digest" "date" "date");created=1618884473"#, "covers something twice"),
        (
            r#"("content-digest" "@status");created=1618884473"#,
            "\"@status\", which is not supported",
        ),
        (r#"("content-digest" "@");created=1618884473"#, "\"@\", which is not supported"),
        (r#"("content-digest" "");created=1618884473"#, "\"\", which is not supported"),
        (r#"("content-digest" "Date");created=1618884473"#, "\"Date\", which is not supported"),
        (r#"("content-digest" "x-absent");created=1618884473"#, "has no such header"),
        (r#"("content-digest";req);created=1618884473"#, "with a parameter"),
        (
            r#"("content-digest" "date";sf);created=1618884473"#,
            "as a structured field, which it is not",
        ),
        (r#"("content-digest" date);created=1618884473"#, "something that is not named"),
        (r#"("content-digest");created=1618884473;alg="rsa-pss-sha256""#, "unknown algorithm"),
        (r#"("content-digest");created=1618884473;alg=hmac-sha256"#, "unknown algorithm"),
    ] {
        let message = refused(list);
        assert!(message.contains(reason), "{list}: {message}");
    }
}

#[test]
fn the_algorithm_that_is_named_must_be_the_keys() {
    let list = r#"("content-digest");created=1618884473;alg="ed25519""#;
    assert_eq!(found(list), Err(VerifyError::WrongSignature(1)));
}

#[test]
fn a_signature_may_be_five_minutes_off_and_no_more() {
    for (ahead, fresh) in [(-301, false), (-300, true), (300, true), (301, false)] {
        let list = format!(r#"("content-digest");created={}"#, TIME + ahead);
        let stale = VerifyError::Stale(Skew { ahead, tolerance: 300 });
        assert_eq!(found(&list), if fresh { Ok(0) } else { Err(stale) }, "{ahead}");
    }
    for extreme in ["-999999999999999", "999999999999999"] {
        let list = format!(r#"("content-digest");created={extreme}"#);
        assert!(matches!(found(&list), Err(VerifyError::Stale(_))), "{extreme}");
    }
}

#[test]
fn every_header_is_needed_and_readable() {
    let head = over(r#"("content-digest");created=1618884473"#);
    let check =
        |head: &http::request::Parts| verify(head, &[&key(SHARED_SECRET)], BODY, TIME).unwrap_err();
    for name in ["signature-input", "signature"] {
        let mut head = head.clone();
        head.headers.remove(name);
        assert_eq!(check(&head), VerifyError::Missing(name.into()));
    }
    for value in ["", "a", "a=1", "a=()", "b=:AAAA:", "a=:", "a=:?:", "(", "é"] {
        assert!(
            matches!(check(&with(head.clone(), &[("signature", value)])), VerifyError::Message(_)),
            "{value}"
        );
        assert!(
            matches!(
                check(&with(head.clone(), &[("signature-input", value)])),
                VerifyError::Message(_)
            ),
            "{value}"
        );
    }
    let mut head = head;
    head.headers.remove("content-digest");
    assert!(check(&head).to_string().contains("has no such header"));
}

/// A body's digests: any that is known must be right, and one must be known.
#[test]
fn the_digest_is_the_bodys() {
    let sha256 = format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(BODY)));
    let sha512 = format!("sha-512=:{}:", STANDARD.encode(Sha512::digest(BODY)));
    let wrong = format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(b"{}")));
    for (digest, reason) in [
        (sha256.clone(), None),
        (sha512.clone(), None),
        (format!("{sha256}, {sha512}"), None),
        (format!("md5=:AAAA:, {sha512}"), None),
        (format!("{wrong}, {sha512}"), Some("of another body")),
        (wrong, Some("of another body")),
        ("sha-256=:AAAA:".into(), Some("of another body")),
        ("sha-256=::".into(), Some("of another body")),
        ("md5=:AAAA:".into(), Some("without sha-256 or sha-512")),
        ("sha-256=1".into(), Some("not bytes")),
        ("sha-256".into(), Some("not bytes")),
        ("sha-256=(:AAAA:)".into(), Some("not bytes")),
        ("".into(), Some("without sha-256 or sha-512")),
        ("?".into(), Some("content-digest is not a dictionary")),
    ] {
        let head = with(request(), &[("content-digest", &digest)]);
        let head = resigned(head);
        let found = verify(&head, &[&key(SHARED_SECRET)], BODY, TIME);
        match reason {
            None => assert_eq!(found, Ok(0), "{digest}"),
            Some(reason) => {
                let message = found.unwrap_err().to_string();
                assert!(message.contains(reason), "{digest}: {message}");
            }
        }
    }
}

/// The request signed as it is, its digest included.
fn resigned(head: http::request::Parts) -> http::request::Parts {
    let base = format!(
        "\"content-digest\": {}\n\"@signature-params\": (\"content-digest\");created={TIME}",
        head.headers["content-digest"].to_str().unwrap()
    );
    let signature = key(SHARED_SECRET).sign(base.as_bytes()).unwrap();
    with(
        head,
        &[
            ("signature-input", &format!("a=(\"content-digest\");created={TIME}")),
            ("signature", &format!("a=:{}:", STANDARD.encode(signature))),
        ],
    )
}

#[test]
fn any_of_a_few_signatures_will_do() {
    let head = over(r#"("content-digest");created=1618884473"#);
    let input = head.headers["signature-input"].to_str().unwrap().to_owned();
    let signature = head.headers["signature"].to_str().unwrap().to_owned();
    let check = |inputs: &str, signatures: &str| {
        let head = with(head.clone(), &[("signature-input", inputs), ("signature", signatures)]);
        verify(&head, &[&key(SHARED_SECRET)], BODY, TIME)
    };
    let wrong = r#"w=("content-digest");created=1618884473"#;
    assert_eq!(check(&format!("{wrong}, {input}"), &format!("w=:AAAA:, {signature}")), Ok(0));
    assert_eq!(check(&format!("x=(), {input}"), &signature), Ok(0));
    assert_eq!(check(&format!("w=1,{input}"), &format!("{signature},y=:AAAA:")), Ok(0));
    assert_eq!(check(wrong, "w=:AAAA:"), Err(VerifyError::WrongSignature(1)));
    // Of two with one label, the last counts.
    assert_eq!(check(&format!("a=(), {input}"), &format!("a=:AAAA:, {signature}")), Ok(0));
    assert!(check(&format!("{input}, a=()"), &signature).is_err());
    let many = "b=(), c=(), d=(), e=()";
    assert_eq!(
        check(&format!("{many}, {input}"), &signature),
        Err(VerifyError::TooMany("the signature-input header".into()))
    );
}

#[test]
fn a_dictionary_may_come_in_several_lines() {
    let mut head = over(r#"("content-digest");created=1618884473"#);
    head.headers.append("signature-input", HeaderValue::from_static("b=()"));
    head.headers.append("signature", HeaderValue::from_static("b=:AAAA:"));
    assert_eq!(verify(&head, &[&key(SHARED_SECRET)], BODY, TIME), Ok(0));
}

#[test]
fn a_covered_header_in_several_lines_is_signed_whole() {
    let secret = key(SHARED_SECRET);
    let mut head = request();
    head.headers.append("x-list", HeaderValue::from_static("  a "));
    head.headers.append("x-list", HeaderValue::from_static("b"));
    let mut head = signed(head, &[&secret], &["x-list"], BODY);
    assert_eq!(verify(&head, &[&secret], BODY, TIME), Ok(0));
    head.headers.insert("x-list", HeaderValue::from_static("a, b"));
    assert_eq!(verify(&head, &[&secret], BODY, TIME), Ok(0));
    head.headers.append("x-list", HeaderValue::from_static("c"));
    assert!(verify(&head, &[&secret], BODY, TIME).is_err());
}

#[test]
fn what_is_covered_cannot_be_changed() {
    let secret = key(SHARED_SECRET);
    let covered = ["@method", "@authority", "@path", "@query", "@target-uri", "date"];
    let head = signed(request(), &[&secret], &covered, BODY);
    let check = |change: &dyn Fn(&mut http::request::Parts)| {
        let mut head = head.clone();
        change(&mut head);
        verify(&head, &[&secret], BODY, TIME)
    };
    assert_eq!(check(&|_| {}), Ok(0));
    assert_eq!(
        check(&|head| head.uri = "https://example.com/foo?param=Value&Pet=dog".parse().unwrap()),
        Ok(0)
    );
    let wrong = Err(VerifyError::WrongSignature(1));
    assert_eq!(check(&|head| head.method = Method::PUT), wrong);
    for uri in
        ["/foo?param=Value&Pet=cat", "/Foo?param=Value&Pet=dog", "/foo", "/foo?Pet=dog&param=Value"]
    {
        assert_eq!(check(&|head| head.uri = uri.parse().unwrap()), wrong, "{uri}");
    }
    assert_eq!(check(&|head| *head = with(head.clone(), &[("host", "example.org")])), wrong);
    assert_eq!(check(&|head| *head = with(head.clone(), &[("date", "now")])), wrong);
    let twice = |head: &mut http::request::Parts| {
        head.headers.append("host", HeaderValue::from_static("example.com"));
    };
    assert!(check(&twice).unwrap_err().to_string().contains("not one Host"));
}

/// A receiver behind a proxy cannot know over which of the two its sender spoke.
#[test]
fn the_scheme_may_be_either_and_its_port_is_left_out() {
    let secret = key(SHARED_SECRET);
    for (uri, host, received) in [
        ("https://example.com/a", "example.com", "EXAMPLE.com"),
        ("https://example.com/a", "example.com:443", "example.com"),
        ("http://example.com/a", "example.com", "example.com:80"),
        ("http://example.com:8080/a", "example.com:8080", "example.com:8080"),
        ("http://[::1]:8080/a", "[::1]:8080", "[::1]:8080"),
    ] {
        let mut head = with(request(), &[("host", host)]);
        head.uri = uri.parse().unwrap();
        let mut head = signed(head, &[&secret], &["@scheme", "@target-uri", "@authority"], BODY);
        head.uri = "/a".parse().unwrap();
        let head = with(head, &[("host", received)]);
        assert_eq!(verify(&head, &[&secret], BODY, TIME), Ok(0), "{uri} {received}");
        let head = with(head, &[("host", "example.com:8443")]);
        assert!(verify(&head, &[&secret], BODY, TIME).is_err(), "{uri}");
    }
}

#[test]
fn a_request_without_a_query_has_an_empty_one() {
    let secret = key(SHARED_SECRET);
    let mut head = request();
    head.uri = "/foo".parse().unwrap();
    let head = signed(head, &[&secret], &["@query", "@target-uri"], BODY);
    assert_eq!(verify(&head, &[&secret], BODY, TIME), Ok(0));
}

#[test]
fn what_cannot_be_signed_is_said() {
    let head = request();
    let message = HttpMessage::from(&head);
    let secret = key(SHARED_SECRET);
    let sign = |keys: &[&super::MessageKey], covered: &[&str]| {
        message
            .sign(keys, covered, &super::MessageParameters::default(), at(TIME), BODY)
            .unwrap_err()
    };
    assert_eq!(sign(&[], &[]), SignError::NoKey);
    for covered in ["@status", "x-absent", "é", "content-digest"] {
        assert!(matches!(sign(&[&secret], &[covered]), SignError::Message(_)), "{covered}");
    }
}

/// As many names as the largest head of a request holds.
#[test]
fn a_long_list_is_read_in_no_time_and_not_repeated() {
    let names: Vec<String> = (0..10_000).map(|number| format!("\"{number:x}\"")).collect();
    let list = format!(r#"({} "content-digest");created=1618884473"#, names.join(" "));
    let started = std::time::Instant::now();
    assert!(refused(&list).ends_with("has no such header"));
    let long = format!(r#"("{}" "content-digest");created=1618884473"#, "a".repeat(50_000));
    assert!(refused(&long).len() < 200);
    assert!(started.elapsed() < std::time::Duration::from_secs(2));
}
