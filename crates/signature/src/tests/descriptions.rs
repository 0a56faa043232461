//! Places, templates and key documents: their words, their values, and that no text makes them panic.

use http::{HeaderMap, HeaderValue, Method, Uri};
use proptest::prelude::*;

use crate::{HttpMessage, Place, PublicKey, RequestParts, Template};

const P256: &str = include_str!("p256.pem");
const RSA: &str = include_str!("rsa.pem");

/// The template, filled from a request with this target, header `x-a` and body.
fn filled(text: &str, target: &str, header: &str, body: &str) -> Option<String> {
    let (method, uri): (_, Uri) = (Method::POST, target.parse().unwrap());
    let headers = HeaderMap::from_iter([
        (http::header::HOST, HeaderValue::from_static("example.com")),
        (http::HeaderName::from_static("x-a"), header.parse().unwrap()),
    ]);
    let head = HttpMessage { method: &method, uri: &uri, headers: &headers, public_url: None };
    Template::parse(text).unwrap().text(&RequestParts::new(head, body.as_bytes()))
}

#[test]
fn each_part_stands_for_the_requests_own_bytes() {
    let body = r#"{"a":{"b":[1.50,"x\u0041"]},"n":null,"A":"first","B":"second"}"#;
    for (text, expected) in [
        ("{method} {path}?{query}", "POST /in?q=1%202&r="),
        ("{header:X-A}", "h"),
        ("{query:q}", "1 2"),
        ("{/a/b/0}", "1.50"),
        ("{/a/b/1}", "xA"),
        ("{method}{/a/c?}.", "POST."),
        ("{method}{header:X-B?}{query:z?}.", "POST."),
        ("{members:A,B,C?}", "A\nfirst\nB\nsecond\n"),
        ("{method} { brace", "POST { brace"),
        ("{\"json\":\"{query:q}\"}", "{\"json\":\"1 2\"}"),
    ] {
        let made = filled(text, "/in?q=1%202&r=", "h", body);
        assert_eq!(made.as_deref(), Some(expected), "{text}");
    }
    for missing in [
        "{members:A,B,C}",
        "{members:A,a?}",
        "{/a/c?}.",
        "{/a/c}",
        "{header:X-B}",
        "{query:z}",
        "{/n/x}",
    ] {
        assert_eq!(filled(missing, "/in?q=1", "h", body), None, "{missing}");
    }
}

#[test]
fn what_is_no_template_is_refused_with_its_slot() {
    for bad in [
        "{body",
        "{unknown}",
        "{header:}",
        "{header:a b}",
        "{/a~2}",
        "{body|md5}",
        "{query:}",
        "{members:A,,B}",
    ] {
        assert!(Template::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn digests_are_those_of_the_standards() {
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(filled("{body|sha256}", "/", "h", "").as_deref(), Some(empty));
    assert_eq!(filled("{body|crc32}", "/", "h", "123456789").as_deref(), Some("3421780262"));
}

proptest! {
    #[test]
    fn no_text_makes_a_description_panic(text in "\\PC{0,60}", body in "\\PC{0,80}", target in "/[a-z?&=%0-9]{0,20}") {
        if let Ok(template) = Template::parse(&text) {
            prop_assert_eq!(Template::parse(&template.to_string()), Ok(template));
            if target.parse::<Uri>().is_ok() {
                filled(&text, &target, "h", &body);
            }
        }
        let _ = (Place::parse(&text), PublicKey::read(&text));
    }

    #[test]
    fn slots_and_text_survive_each_other(parts in prop::collection::vec(prop_oneof![
        Just("{body}".to_owned()), Just("{method}".to_owned()), Just("{/a/b?}".to_owned()), Just("{header:X-A}".to_owned()), "[a-z. {]{0,6}",
    ], 0..6)) {
        let text: String = parts.concat();
        if let Ok(template) = Template::parse(&text) {
            prop_assert_eq!(template.to_string(), text);
        }
    }

    #[test]
    fn a_broken_key_document_is_refused_or_is_another_key(index in any::<prop::sample::Index>(), byte in any::<u8>()) {
        for pem in [P256, RSA] {
            let mut broken = pem.as_bytes().to_vec();
            let index = index.index(broken.len());
            broken[index] = byte;
            if let Ok(text) = String::from_utf8(broken) {
                let _ = PublicKey::read(&text);
                let _ = PublicKey::read(&text[..text.floor_char_boundary(index)]);
            }
        }
    }
}
