//! Every finding of a refused request, from a request with that mistake.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta};
use contract::time::Timestamp;
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use signature::{Fingerprint, Key, MAX_REWRITTEN, Scheme, Stamp, Template};
use source::diagnose::{RefusedRequest, diagnose};
use source::{Admission, Admitted, Source};
use webhook_receiver_settings::{Config, parse};

const SETTINGS: &str = r#"
[sources.standard]
dialect = "standard-webhooks"
path = "/standard"
signing_keys = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
retired_keys = ["whsec_b2xkIGFuZCByZXRpcmVkIGtleSwgMjQ="]
[sources.stage]
dialect = "standard-webhooks"
path = "/stage"
signing_keys = ["whsec_c3RhZ2Uga2V5IG9mIDI0IGJ5dGVzISE="]
retired_keys = ["whsec_Zm9ybWVyIHN0YWdlIGtleSwgMjQgYnl0ZXM="]
[sources.evo]
dialect = "evolutionx"
path = "/evo"
signing_keys = ["the key of evolution"]
[sources.git]
dialect = "github"
path = "/git"
signing_keys = ["It's a Secret to Everybody", "whsec_dGhlIHNlY29uZCBrZXkgb2YgZ2l0"]
[sources.shop]
dialect = "shopify"
path = "/shop"
signing_keys = ["6861736820736563726574206f662073686f70"]
[sources.own]
dialect = "generic"
path = "/own"
signing_keys = ["the key of an own scheme"]
signature = { header = "X-Own", timestamp_header = "X-Own-Time", timestamp_unit = "milliseconds", signed = "{timestamp}.{body}" }
[sources.live]
dialect = "directscale"
path = "/live"
bearer_tokens = ["Ab!c@d%e$f^g&h", "plain0123456789abcdefghijklmnopqrstuvwxyz"]
retired_keys = "former bearer key"
[sources.test]
dialect = "directscale"
environment = "stage"
path = "/test"
bearer_tokens = ["key of test"]
client_ids = ["acme"]
[sources.other]
dialect = "directscale"
path = "/other"
bearer_tokens = ["key of other"]
client_ids = ["other"]
"#;

/// The content of every body, compact.
const BODY: &str = r#"{"b":[1,2.50],"a":"x, y: z"}"#;

fn now() -> Timestamp {
    DateTime::from_timestamp_secs(1_700_000_000).unwrap()
}

fn sources() -> Vec<Arc<Source>> {
    Config::sources(&parse(SETTINGS, [], "test").unwrap()).unwrap()
}

/// A request to a source.
#[derive(Clone)]
struct Sent {
    source: &'static str,
    headers: HeaderMap,
    query: Option<&'static str>,
    body: Bytes,
}

impl Sent {
    fn bare(source: &'static str) -> Sent {
        Sent { source, headers: HeaderMap::new(), query: None, body: BODY.into() }
    }

    fn bearer(value: &str) -> Sent {
        Sent::bare("live").set("authorization", value)
    }

    /// Signed by `scheme` at `time`.
    fn signed_by(source: &'static str, scheme: &Scheme, key: &str, time: Timestamp) -> Sent {
        let sent = Sent::bare(source);
        let key = Key::new(scheme, &key.into()).unwrap();
        let signed = scheme.sign(&[&key], Stamp { id: "m-1", time }, &sent.body).unwrap();
        signed
            .into_iter()
            .fold(sent, |sent, (name, value)| sent.set(&name, value.to_str().unwrap()))
    }

    /// Signed as the source's senders do, with a key of its own or another.
    fn signed(source: &'static str, key: &str) -> Sent {
        Sent::signed_by(source, &scheme(source), key, now())
    }

    fn set(mut self, name: &str, value: &str) -> Sent {
        let name = HeaderName::try_from(name).unwrap();
        self.headers.insert(name, HeaderValue::try_from(value).unwrap());
        self
    }

    /// One header's value changed.
    fn change(self, name: &str, change: impl Fn(&str) -> String) -> Sent {
        let value = change(self.headers[name].to_str().unwrap());
        self.set(name, &value)
    }

    fn rename(mut self, name: &str, other: &str) -> Sent {
        let value = self.headers.remove(name).unwrap();
        self.set(other, value.to_str().unwrap())
    }

    /// Another body arrives than was signed.
    fn arrives(self, body: impl Into<Bytes>) -> Sent {
        Sent { body: body.into(), ..self }
    }

    /// The reason of the refusal; the request must be refused.
    fn findings(&self) -> String {
        self.findings_at(now())
    }

    fn findings_at(&self, now: Timestamp) -> String {
        let sources = sources();
        let source = sources.iter().find(|source| source.name == self.source).unwrap();
        let admitted = Admitted::admit(source, head(self.headers.clone(), self.query), now);
        let rejected = match admitted.map(|admitted| admitted.verify(self.body.clone())) {
            Ok(Ok(_)) => panic!("accepted"),
            Ok(Err(rejected)) | Err(rejected) => rejected,
        };
        let body = Some(self.body.as_ref());
        let (method, uri) = (http::Method::POST, uri(self.query));
        let request =
            RefusedRequest { method: &method, uri: &uri, headers: &self.headers, body, now };
        diagnose(source, &sources, &rejected.refusal, request).to_string()
    }
}

fn uri(query: Option<&str>) -> http::Uri {
    format!("/?{}", query.unwrap_or_default()).parse().unwrap()
}

fn head(headers: HeaderMap, query: Option<&str>) -> http::request::Parts {
    let mut head = http::Request::post(uri(query)).body(()).unwrap().into_parts().0;
    head.headers = headers;
    head
}

fn scheme(source: &str) -> Scheme {
    let sources = sources();
    let source = sources.iter().find(|known| known.name == source).unwrap();
    source.auth.signature.as_ref().unwrap().scheme.clone()
}

const STANDARD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const STAGE: &str = "whsec_c3RhZ2Uga2V5IG9mIDI0IGJ5dGVzISE=";
const EVO: &str = "the key of evolution";
const GIT: &str = "It's a Secret to Everybody";
const OWN: &str = "the key of an own scheme";

fn fingerprint(key: &str) -> Fingerprint {
    Fingerprint::of(&key.into())
}

#[track_caller]
fn expect(sent: &Sent, expected: &[&str]) {
    let found = sent.findings();
    let found: Vec<&str> = found.split("; ").collect();
    let matches = |(found, expected): (&&str, &&str)| found.contains(*expected);
    assert!(
        found.len() == expected.len() && found.iter().zip(expected).all(matches),
        "{found:#?}\n{expected:#?}"
    );
}

#[test]
fn a_request_without_a_mistake_is_accepted() {
    let sources = sources();
    for (name, key) in [("standard", STANDARD), ("evo", EVO), ("git", GIT), ("own", OWN)] {
        let sent = Sent::signed(name, key);
        let source = sources.iter().find(|source| source.name == name).unwrap();
        Admitted::admit(source, head(sent.headers, None), now())
            .unwrap()
            .verify(sent.body)
            .unwrap();
    }
}

#[test]
fn another_sources_key_is_named() {
    let stage = format!("is signed with the key {} of source `stage`", fingerprint(STAGE));
    expect(&Sent::signed("standard", STAGE), &[&stage]);
    let former = "whsec_Zm9ybWVyIHN0YWdlIGtleSwgMjQgYnl0ZXM=";
    expect(&Sent::signed("standard", former), &["is signed with the retired key"]);
    let git = Scheme::named("github").unwrap();
    let misrouted = Sent::signed_by("evo", &git, GIT, now());
    expect(&misrouted, &["of source `git`"]);
}

#[test]
fn a_retired_key_is_told() {
    let sent = Sent::signed("standard", "whsec_b2xkIGFuZCByZXRpcmVkIGtleSwgMjQ=");
    expect(&sent, &["is one of this source's retired_keys"]);
}

#[test]
fn a_body_that_was_rewritten_is_told_with_its_form() {
    let indented = "{\n  \"b\": [\n    1,\n    2.50\n  ],\n  \"a\": \"x, y: z\"\n}";
    let spaced = r#"{"b": [1, 2.50], "a": "x, y: z"}"#;
    let bom = format!("\u{feff}{BODY}");
    let (plain, escaped) = (r#"{"a":"é/"}"#, r#"{"a":"\u00e9/"}"#);
    for (signed, arrived, expected) in [
        (BODY, indented, "matches as compact JSON, so let no proxy"),
        (indented, BODY, "matches as JSON indented by 2 spaces, so let"),
        (&indented.replace("  ", "    "), BODY, "matches as JSON indented by 4 spaces, so let"),
        (spaced, BODY, "with a space after each comma and colon, so let"),
        (&format!("{BODY}\n"), indented, "compact JSON with a line feed at the end"),
        (escaped, plain, "all characters escaped that are not ASCII, so let"),
        (plain, escaped, "no character escaped that need not be, so let"),
        (&escaped.replace('/', r"\/"), plain, "slashes escaped and all characters that are not"),
        (BODY, &format!("{BODY}\n"), "a line break was added to the end"),
        (BODY, &format!("{BODY}\r\n"), "a line break was added to the end"),
        (&format!("{BODY}\n"), BODY, "a line feed at the end of the body was taken away"),
        (&format!("{BODY}\r\n"), BODY, "a carriage return and a line feed at the end"),
        (BODY, &bom, "a byte order mark was put before"),
        (&bom, BODY, "the byte order mark before the body was taken away"),
        (indented, &indented.replace('\n', "\r\n"), "line ends were made those of Windows"),
        (&indented.replace('\n', "\r\n"), indented, "line ends were made those of Unix"),
    ] {
        for (name, key) in [("standard", STANDARD), ("git", GIT)] {
            let scheme = scheme(name);
            let key = Key::new(&scheme, &key.into()).unwrap();
            let stamp = Stamp { id: "m-1", time: now() };
            let headers = scheme.sign(&[&key], stamp, signed.as_bytes()).unwrap();
            let sent = headers.into_iter().fold(Sent::bare(name), |sent, (name, value)| {
                sent.set(&name, value.to_str().unwrap())
            });
            let found = sent.arrives(arrived.to_owned()).findings();
            assert!(
                found.contains(expected) && found.contains("on the way"),
                "{found}: {expected}"
            );
        }
    }
}

#[test]
fn another_writing_of_the_signature_is_told() {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    let sent = || Sent::signed("evo", EVO);
    let base64 = |hex: &str| BASE64_STANDARD.encode(hex::decode(hex).unwrap());
    let expected = "and lower-case hexadecimal is expected";
    for (change, found) in [
        (&base64 as &dyn Fn(&str) -> String, "is written in Base64 with padding"),
        (&|hex| base64(hex).trim_end_matches('=').to_owned(), "without padding"),
        (&|hex| hex.to_uppercase(), "is written in upper-case hexadecimal"),
        (&|hex| hex.replace('a', "A"), "is written in hexadecimal in both cases"),
    ] {
        let sent = sent().change("evox-signature", change);
        let findings = sent.findings();
        assert!(findings.contains(found) && findings.contains(expected), "{findings}: {found}");
    }
    let in_hex = Sent::signed("standard", STANDARD).change("webhook-signature", |value| {
        format!("v1,{}", hex::encode(BASE64_STANDARD.decode(&value[3..]).unwrap()))
    });
    expect(&in_hex, &["lower-case hexadecimal, and Base64 with padding is expected"]);
}

#[test]
fn a_key_that_was_used_in_another_way_is_told() {
    let signed_as = |source, format, key: &str| {
        let mut scheme = scheme(source);
        scheme.kinds[0].key = format;
        Sent::signed_by(source, &scheme, key, now())
    };
    use signature::{Algorithm, KeyFormat::*};
    let base64 = || Base64 { prefix: "whsec_".into() };
    let git2 = "whsec_dGhlIHNlY29uZCBrZXkgb2YgZ2l0";
    let shop = "6861736820736563726574206f662073686f70";
    for (sent, how) in [
        (signed_as("standard", Text, STANDARD), "used as plain text, without decoding it"),
        (signed_as("standard", Text, &STANDARD[6..]), "as plain text without its whsec_"),
        (signed_as("git", base64(), git2), "used decoded from Base64"),
        (signed_as("git", Text, &git2[6..]), "as plain text without its whsec_"),
        (signed_as("shop", Hex, shop), "used decoded from hexadecimal"),
        (signed_as("shop", Text, &format!("whsec_{shop}")), "used with whsec_ before it"),
    ] {
        expect(&sent, &[how]);
    }
    let scheme = scheme("evo");
    let hashed = |algorithm, key: &[u8]| {
        let key = Key::of_bytes(&EVO.into(), algorithm, key).unwrap();
        let headers = scheme.sign(&[&key], Stamp { id: "", time: now() }, BODY.as_bytes()).unwrap();
        let set = |sent: Sent, (name, value): (String, HeaderValue)| {
            sent.set(&name, value.to_str().unwrap())
        };
        headers.into_iter().fold(Sent::bare("evo"), set)
    };
    let line_break = hashed(Algorithm::HmacSha256, format!("{EVO}\n").as_bytes());
    expect(&line_break, &["with a line break at its end"]);
    let sha512 = hashed(Algorithm::HmacSha512, EVO.as_bytes());
    assert!(sha512.findings().contains("used with HMAC-SHA512"), "{}", sha512.findings());
}

#[test]
fn a_time_outside_the_window_or_in_another_unit_is_told_only_if_the_signature_is_right() {
    let sent = Sent::signed("evo", EVO);
    let late = sent.findings_at(now() + TimeDelta::seconds(400));
    assert!(late.contains("the signature is right, but its timestamp is 400 s old"), "{late}");
    assert!(late.contains("tolerance is 300 s: a clock is wrong"), "{late}");
    let early = sent.findings_at(now() - TimeDelta::hours(1));
    assert!(early.contains("3600 s ahead of this machine's clock"), "{early}");
    let forged = sent.clone().change("evox-signature", |hex| hex.chars().rev().collect());
    let forged = forged.findings_at(now() + TimeDelta::seconds(400));
    assert!(forged.starts_with("no key of any source matches"), "{forged}");

    let mut milliseconds = scheme("evo");
    milliseconds.unit = scheme("own").unit;
    let sent = Sent::signed_by("evo", &milliseconds, EVO, now());
    expect(&sent, &["the timestamp is in milliseconds, and it is expected in seconds"]);
    let mut seconds = scheme("own");
    seconds.unit = scheme("evo").unit;
    let sent = Sent::signed_by("own", &seconds, OWN, now());
    expect(&sent, &["the timestamp is in seconds, and it is expected in milliseconds"]);
}

#[test]
fn what_is_signed_in_place_of_the_schemes_text_is_told() {
    let signing = |source, signed: &str, key| {
        let scheme = Scheme { signed: Template::parse(signed).unwrap(), ..scheme(source) };
        Sent::signed_by(source, &scheme, key, now())
    };
    let whole = r#"only the body is signed, and "{id}.{timestamp}.{body}" is expected"#;
    expect(&signing("standard", "{body}", STANDARD), &[whole]);
    let no_id = r#""{timestamp}.{body}" is signed, and "{id}.{timestamp}.{body}" is expected"#;
    expect(&signing("standard", "{timestamp}.{body}", STANDARD), &[no_id]);
    expect(&signing("standard", "{id}.{body}", STANDARD), &[r#""{id}.{body}" is signed"#]);
    expect(&signing("evo", "{timestamp}{body}", EVO), &[r#""{timestamp}{body}" is signed"#]);
    let mut bare = signing("evo", "{body}", EVO);
    bare.headers.remove("evox-time");
    expect(&bare, &["only the body is signed", "but no Evox-Time header"]);
}

#[test]
fn a_label_that_is_missing_or_another_is_told() {
    let relabelled = |label: &'static str| {
        let header = "x-hub-signature-256";
        Sent::signed("git", GIT).change(header, move |value| value.replace("sha256=", label))
    };
    expect(&relabelled(""), &[r#"the signature has no prefix, and "sha256=" is expected"#]);
    expect(&relabelled("v1="), &[r#"has the prefix "v1=", and "sha256=" is expected"#]);
    expect(&relabelled("SHA256="), &[r#"has the prefix "SHA256=", and "sha256=" is expected"#]);
    expect(&relabelled("hushed="), &[r#"has another prefix than "sha256=""#]);
    let labelled = Sent::signed("evo", EVO).change("evox-signature", |hex| format!("v1={hex}"));
    expect(&labelled, &[r#"has the prefix "v1=", and none is expected"#]);
}

#[test]
fn a_signature_in_another_header_is_told() {
    let sent = Sent::signed("git", GIT).rename("x-hub-signature-256", "x-signature");
    expect(&sent, &["is in the x-signature header, not in X-Hub-Signature-256"]);
    let renamed = |sent: Sent| {
        sent.rename("evox-signature", "x-evolution-signature").rename("evox-time", "x-sent-at")
    };
    let both = ["the signature is in the x-evo", "the timestamp is in the x-sent-at header"];
    expect(&renamed(Sent::signed("evo", EVO)), &both);
    let late = renamed(Sent::signed("evo", EVO)).findings_at(now() + TimeDelta::hours(1));
    assert!(late.contains("3600 s old") && late.contains("x-sent-at"), "{late}");
    let prefix = ["signature", "timestamp", "id"].into_iter().fold(
        Sent::signed("standard", STANDARD).set("x-other-id", "m").set("x-number", "1234567890"),
        |sent, part| sent.rename(&format!("webhook-{part}"), &format!("vendor-{part}")),
    );
    expect(&prefix, &["the signature is in", "the timestamp is in", "the id is in the vendor-id"]);
    let twice = Sent::signed("git", GIT);
    let mut twice = twice.clone();
    twice.headers.append("x-hub-signature-256", HeaderValue::from_static("sha256=00"));
    expect(&twice, &["the signature is right, but more than one X-Hub-Signature-256 header"]);
}

#[test]
fn another_scheme_with_this_sources_key_is_told() {
    let stripe = Scheme::named("stripe").unwrap();
    let sent = Sent::signed_by("git", &stripe, GIT, now());
    expect(&sent, &[r#"as senders of the scheme "stripe" do, and "github" is expected"#]);
    let late = sent.findings_at(now() + TimeDelta::seconds(301));
    assert!(late.contains("\"stripe\"") && late.contains("301 s old"), "{late}");
    let standard = Scheme::named("standard-webhooks").unwrap();
    let key = "whsec_dGhlIHNlY29uZCBrZXkgb2YgZ2l0";
    let sent = Sent::signed_by("git", &standard, key, now());
    expect(&sent, &[r#"as senders of the scheme "standard-webhooks" do"#]);
}

#[test]
fn what_stands_around_a_signature_may_differ_in_several_ways_at_once() {
    let sent = Sent::signed("standard", STAGE)
        .change("webhook-signature", |value| value.replace("v1,", ""))
        .rename("webhook-signature", "x-signature");
    expect(&sent, &["source `stage`", "is in the x-signature header", "has no prefix"]);
}

#[test]
fn nothing_known_is_told_as_such() {
    let unknown = Key::new(&scheme("git"), &"nobody's key".into()).unwrap();
    let stamp = Stamp { id: "", time: now() };
    let signed = scheme("git").sign(&[&unknown], stamp, BODY.as_bytes()).unwrap();
    let sent = Sent::bare("git").set(&signed[0].0, signed[0].1.to_str().unwrap());
    expect(&sent, &["no key of any source matches"]);
    expect(&Sent::bare("git"), &["its headers have no credentials"]);
    expect(&Sent::bare("live"), &["its headers have no credentials"]);
    expect(&Sent::bearer("Bearer nobody's"), &["no key of any source matches"]);
}

#[test]
fn a_large_body_is_tried_only_as_it_is() {
    let large = format!("\"{}\"", "x".repeat(MAX_REWRITTEN - 2));
    let sent = |length: usize| {
        let body = large[large.len() - length..].to_owned();
        let key = Key::new(&scheme("git"), &GIT.into()).unwrap();
        let stamp = Stamp { id: "", time: now() };
        let signed = scheme("git").sign(&[&key], stamp, body.as_bytes()).unwrap();
        let sent = Sent::bare("git").set(&signed[0].0, signed[0].1.to_str().unwrap());
        sent.arrives(format!("{body}\n"))
    };
    expect(&sent(MAX_REWRITTEN - 1), &["a line break was added"]);
    expect(&sent(MAX_REWRITTEN), &["no key of any source matches"]);
}

#[test]
fn a_bearer_key_in_another_form_is_told() {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    const KEY: &str = "Ab!c@d%e$f^g&h";
    let accepted = "itself is accepted";
    let basic = BASE64_STANDARD.encode(format!("user:{KEY}"));
    for (value, form) in [
        (KEY.to_owned(), "without `Bearer ` before it"),
        (format!("Bearer{KEY}"), "without `Bearer ` before it"),
        (format!("Bearer: {KEY}"), "without `Bearer ` before it"),
        (format!("Token {KEY}"), "after another word than Bearer"),
        (format!("Basic {basic}"), "as Basic"),
        (format!("Bearer Bearer {KEY}"), "after Bearer twice"),
        (format!("Bearer \"{KEY}\""), "spaces or quotes around it"),
        ("Bearer Ab%21c%40d%25e%24f%5Eg%26h".to_owned(), "percent-encoded"),
    ] {
        expect(&Sent::bearer(&value), &[accepted, form]);
    }
    let header = Sent::bare("live").set("x-api-key", KEY);
    expect(&header, &[accepted, "came in the x-api-key header"]);
    let query = Sent { query: Some("a=b&access_token=key%20of%20other"), ..Sent::bare("other") };
    expect(&query, &[accepted, "came in the query"]);
    let mut twice = Sent::bearer(&format!("Bearer {KEY}"));
    twice.headers.append("authorization", HeaderValue::from_static("Bearer x"));
    expect(&twice, &[accepted]);
}

#[test]
fn a_bearer_key_of_elsewhere_or_of_the_past_or_a_part_of_one_is_told() {
    expect(
        &Sent::bearer("Bearer key of test"),
        &["the bearer key is the key d5314cd9 of source `test`"],
    );
    expect(&Sent::bearer("Bearer former bearer key"), &["is one of this source's retired_keys"]);
    for cut in ["Ab!c@d%e", "Ab!c@d%e$f^g", "plain0123456789abcdefghijklmnopq"] {
        expect(&Sent::bearer(&format!("Bearer {cut}")), &["the beginning of"]);
    }
    for none in ["Ab!c@d", "plain0123456789ab1", "former b"] {
        expect(&Sent::bearer(&format!("Bearer {none}")), &["no key of any source"]);
    }
    let client = Sent::bare("test").set("authorization", "Bearer key of test");
    let client = client.set("x-directscale-client-id", "other");
    expect(&client, &["the client id is in client_ids of source `other`"]);
}

#[test]
fn no_finding_holds_a_secret() {
    let sent = [
        Sent::signed("standard", STAGE),
        Sent::signed("git", GIT).change("x-hub-signature-256", |v| v.replace("sha256", "hushed")),
        Sent::signed("evo", EVO)
            .change("evox-signature", str::to_uppercase)
            .arrives(format!("{BODY}\n")),
        Sent::bearer("Bearer key of test"),
        Sent::bearer("Ab!c@d%e$f^g&h"),
    ];
    for sent in sent {
        let found = sent.findings();
        let signatures = sent.headers.values().map(|value| value.to_str().unwrap());
        for part in signatures.chain(["key of test", "Ab!c", "x, y: z", "hushed", STAGE, GIT, EVO])
        {
            assert!(part.len() < 4 || !found.contains(part), "{found}: {part}");
        }
    }
}

/// Texts that an attacker may write into an examined header.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let odd = prop::collection::vec(
        any::<u8>().prop_filter("a header's", |&c| c >= 32 && c != 127),
        0..200,
    );
    let near = "(v1,|v1=|t=|sha256=|Bearer ?|Basic |[\"' :=%;,]){0,4}([0-9a-fA-F]{64}|[A-Za-z0-9+/_-]{43}=?|[0-9]{8,20})?[ =,;]{0,2}"
        .prop_map(String::into_bytes);
    prop_oneof![odd, near]
}

proptest! {
    #[test]
    fn whatever_comes_is_looked_into_without_a_panic(
        source in 0..9_usize,
        values in prop::collection::vec((0..9_usize, value()), 0..6),
        query in prop::option::of("[a-z=&%]{0,30}"),
        body in prop_oneof![prop::collection::vec(any::<u8>(), 0..60), "[\\[{}\":,\\\\ 1a\\]]{0,60}".prop_map(String::into_bytes)],
    ) {
        const NAMES: [&str; 9] = [
            "authorization", "webhook-id", "webhook-timestamp", "webhook-signature", "evox-time",
            "evox-signature", "x-hub-signature-256", "x-own-time", "stripe-signature",
        ];
        let sources = sources();
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(NAMES[name], HeaderValue::from_bytes(&value).unwrap());
        }
        let source = &sources[source];
        let rejected = match Admitted::admit(source, head(headers.clone(), query.as_deref()), now()) {
            Ok(admitted) => admitted.verify(body.clone().into()).unwrap_err(),
            Err(rejected) => rejected,
        };
        let (method, uri) = (http::Method::POST, uri(query.as_deref()));
        let request = RefusedRequest { method: &method, uri: &uri, headers: &headers, body: Some(&body), now: now() };
        let found = diagnose(source, &sources, &rejected.refusal, request);
        prop_assert!(found.iter().count() <= source::diagnose::MAX_FINDINGS);
    }
}
