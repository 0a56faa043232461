//! The committed corpus of the fuzz targets is what the code makes: genuine requests, every example, every setting.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::DateTime;
use contract::event::Dialect;
use contract::time::Timestamp;
use http::header::{HeaderName, HeaderValue};
use http::{Method, request};
use secrecy::SecretString;
use settings::{Config, SourceConfig};
use source::{Admission, Admitted};

use crate::harness::genuine::Genuine;

/// When every request of the corpus was signed; the fuzz targets receive it then.
const SIGNED: Timestamp = DateTime::from_timestamp_secs(1_767_225_600).unwrap();

const BODY: &str = r#"{"id":"evt_1","type":"made","data":{"amount":1.50,"text":"\u00e9 ü"}}"#;

/// Files by their path, below `fuzz/corpus`.
type Corpus = BTreeMap<PathBuf, Vec<u8>>;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../standalone/fuzz")
}

fn sources() -> Config {
    let text = std::fs::read_to_string(fuzz().join("sources.toml")).unwrap();
    settings::parse(&(text + &fixture::senders::each()), [], "sources.toml").unwrap()
}

/// A request as the targets read it.
fn text(target: &str, headers: &[(String, HeaderValue)], body: &str) -> Vec<u8> {
    written(target, headers, body.as_bytes())
}

fn written(target: &str, headers: &[(String, HeaderValue)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("POST {target} HTTP/1.1\n").into_bytes();
    for (name, value) in headers {
        text.extend([name.as_bytes(), b": ", value.as_bytes(), b"\n"].concat());
    }
    text.extend([b"\n", body].concat());
    text
}

fn headers(pairs: &[(&str, &'static str)]) -> Vec<(String, HeaderValue)> {
    let json = ("Content-Type".to_owned(), HeaderValue::from_static("application/json"));
    let others =
        pairs.iter().map(|(name, value)| ((*name).into(), HeaderValue::from_static(value)));
    std::iter::once(json).chain(others).collect()
}

/// One genuine request for each key of each source that asks for one.
fn signed(config: &Config) -> Corpus {
    let mut corpus = Corpus::new();
    for (name, source) in &config.sources {
        let file = name.strip_prefix("signed-").unwrap_or(name);
        for (number, key) in source.signing_keys(name).unwrap().into_iter().enumerate() {
            let request = request(name, source, key);
            corpus.insert(format!("signed/{file}-{number}").into(), request);
        }
    }
    let said =
        [("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "made"), ("ce-specversion", "1.0")];
    let query = "/signed/bearer?access_token=well-known-key-well%2Dknown-key";
    corpus.insert("signed/bearer-query".into(), text(query, &headers(&said), BODY));
    let key = ("Authorization", "Bearer well-known-key-well-known-key");
    let said: Vec<_> = said.into_iter().chain([key]).collect();
    corpus.insert("signed/bearer".into(), text("/signed/bearer/made", &headers(&said), BODY));
    let token = String::from_utf8(text("/signed/x?crc_token=a%2Db", &[], "")).unwrap();
    corpus.insert("signed/x-token".into(), token.replace("POST", "GET").into());
    corpus
}

/// The sample of a source's sender, as it is sent.
fn request(name: &str, source: &SourceConfig, key: SecretString) -> Vec<u8> {
    let genuine = Genuine { name, source, key: Some(key), body: None, id: "msg_1", time: SIGNED };
    let draft = genuine.draft();
    let own = draft.headers.iter().map(|(name, value)| (name.to_string(), value.clone()));
    let host = ("Host".to_owned(), HeaderValue::from_static("localhost"));
    let headers: Vec<_> = std::iter::once(host).chain(own).collect();
    let target = draft.url.as_str().strip_prefix("http://localhost").unwrap();
    written(target, &headers, &draft.body)
}

/// What each dialect's senders write, in headers and bodies.
fn open() -> Corpus {
    let mut corpus = Corpus::new();
    let mut add = |dialect: Dialect, file: &str, pairs: &[(&str, &'static str)], body: &str| {
        let target = format!("/open/{dialect}/made%20up");
        corpus.insert(format!("open/{dialect}{file}").into(), text(&target, &headers(pairs), body));
    };
    let order =
        r#"{"OrderId":"1","EventType":"OrderEvent","EventDateUtc":"2021-10-12T18:07:27.8181496Z"}"#;
    let said = [
        ("X-Directscale-Message-Id", "m-1"),
        ("X-Directscale-ClientId", "acme"),
        ("X-Directscale-User", "jo"),
    ];
    add(Dialect::DirectScale, "", &said, order);
    add(
        Dialect::EvolutionX,
        "",
        &[],
        r#"{"event_id":"e1","event_type":"user.updated","source_user_type":"admin","time":1767225600}"#,
    );
    let id = [("webhook-id", "msg_1"), ("webhook-timestamp", "1767225600")];
    let standard = r#"{"type":"made","timestamp":"2026-01-01T00:00:00Z","data":{}}"#;
    add(Dialect::StandardWebhooks, "", &id, standard);
    add(
        Dialect::GitHub,
        "",
        &[("X-GitHub-Event", "ping"), ("X-GitHub-Delivery", "d1")],
        "{\"zen\":\"\"}",
    );
    add(
        Dialect::Stripe,
        "",
        &[],
        r#"{"id":"evt_1","type":"made","created":1767225600,"account":"a"}"#,
    );
    let halves = "\u{feff}{\"id\":\"\\ud800\",\"type\":\"made\\ud83d\",\"\\udc00\":\"\"}";
    add(Dialect::Stripe, "-repaired", &[], halves);
    let shopify = [("X-Shopify-Topic", "orders/create"), ("X-Shopify-Event-Id", "e1")];
    add(Dialect::Shopify, "", &shopify, "{}");
    let slack = r#"{"type":"event_callback","event_id":"E1","event_time":1767225600,"event":{"type":"made"}}"#;
    add(Dialect::Slack, "", &[], slack);
    add(Dialect::Slack, "-challenge", &[], r#"{"type":"url_verification","challenge":"c"}"#);
    let binary = [
        ("ce-id", "1%20%E2%82%AC"),
        ("ce-source", "/s"),
        ("ce-type", "made"),
        ("ce-specversion", "1.0"),
        ("ce-time", "2026-01-01T00:00:00Z"),
    ];
    add(Dialect::CloudEvents, "-binary", &binary, "[1]");
    let structured = [("Content-Type", "application/cloudevents+json; charset=utf-8")];
    let event =
        |data| format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"made",{data}}}"#);
    let target = "/open/cloudevents";
    for (file, data) in
        [("data", r#""data":{"a":[1.0]}"#), ("base64", r#""data_base64":"eyJhIjoxfQ==""#)]
    {
        let headers: Vec<_> = headers(&structured).into_iter().skip(1).collect();
        let file = format!("open/cloudevents-structured-{file}");
        corpus.insert(file.into(), text(target, &headers, &event(data)));
    }
    let asks = headers(&[
        ("WebHook-Request-Origin", "events.example.com"),
        ("WebHook-Request-Rate", "120"),
    ]);
    let handshake = String::from_utf8(text(target, &asks, "")).unwrap().replace("POST", "OPTIONS");
    corpus.insert("open/cloudevents-handshake".into(), handshake.into());
    let generic =
        r#"{"meta":{"id":7,"type":"made","times":["2026-01-01"]},"actor":{"na/me":"jo"}}"#;
    corpus.insert(
        "open/generic".into(),
        text("/open/generic", &headers(&[("X-Acme-Account", "a1")]), generic),
    );
    corpus
}

/// Every event's example, and both of every hook.
fn models() -> Corpus {
    let catalog = fixture::table();
    let file = |name: &str| format!("models/{}", name.replace(['/', '.'], "-"));
    let events = catalog.events().map(|row| (file(row.name), row.example));
    let hooks = catalog.hooks().flat_map(|row| {
        [(file(row.id), row.example), (file(row.id) + "-response", row.example_response)]
    });
    let order = r#"{"OrderId":"\ud800","OrderDateUtc":"","OrderTotal":" ","EventDateUtc":"2022-03-04 00:00:00+0000"}"#;
    let repaired = [("models/repaired".to_owned(), order)];
    events
        .chain(hooks)
        .chain(repaired)
        .map(|(file, json)| (file.into(), json.as_bytes().to_vec()))
        .collect()
}

fn settings() -> Corpus {
    let engine = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let files = [
        ("example", engine.join("settings/receiver.example.toml")),
        ("sources", fuzz().join("sources.toml")),
    ];
    files
        .map(|(name, file)| (format!("settings/{name}").into(), std::fs::read(file).unwrap()))
        .into()
}

/// Every template and place of the table of senders, and keys in each form.
fn descriptions() -> Corpus {
    let texts = fixture::senders::templates().map(|text| format!("{text}\n{BODY}"));
    let keys = [fixture::senders::P256, fixture::senders::RSA, fixture::senders::ED25519];
    let all = texts.chain(keys.map(str::to_owned)).enumerate();
    all.map(|(number, text)| (format!("descriptions/{number}").into(), text.into())).collect()
}

fn made() -> Corpus {
    let mut corpus = signed(&sources());
    corpus.extend(open());
    corpus.extend(models());
    corpus.extend(settings());
    corpus.extend(descriptions());
    corpus
}

#[test]
fn the_committed_corpus_is_what_the_code_makes() {
    let (corpus, mut again) = (made(), made());
    let root = fuzz().join("corpus");
    let is_updated = std::env::var_os("UPDATE_CORPUS").is_some_and(|value| value == "1");
    for (file, bytes) in corpus {
        let committed = std::fs::read(root.join(&file)).ok();
        // Signatures with ECDSA have random parts.
        let is_random = again.remove(&file).as_ref() != Some(&bytes);
        if committed.as_ref() == Some(&bytes) || committed.is_some() && is_random && !is_updated {
            continue;
        }
        assert!(
            is_updated,
            "crates/standalone/fuzz/corpus/{} is not what the code makes; rewrite it with `UPDATE_CORPUS=1 cargo test -p webhook-receiver-tests corpus`",
            file.display()
        );
        std::fs::create_dir_all(root.join(&file).parent().unwrap()).unwrap();
        std::fs::write(root.join(file), bytes).unwrap();
    }
}

#[test]
fn every_request_of_the_corpus_is_let_in() {
    let config = sources();
    let sources = config.sources().unwrap();
    for file in signed(&config).into_keys().chain(open().into_keys()) {
        let bytes = std::fs::read(fuzz().join("corpus").join(&file)).unwrap();
        let end = bytes.windows(2).position(|two| two == b"\n\n").unwrap();
        let head = parts(std::str::from_utf8(&bytes[..end]).unwrap());
        let path = head.uri.path();
        let under = |path: &str, own: &str| {
            path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let source = sources.iter().find(|source| under(path, &source.path)).unwrap();
        if head.method == Method::POST {
            let admitted = Admitted::admit(source, head, SIGNED);
            let verified = admitted.and_then(|it| it.verify(bytes[end + 2..].to_owned().into()));
            assert!(verified.is_ok(), "{}: {:?}", file.display(), verified.err());
        }
    }
}

fn parts(head: &str) -> request::Parts {
    let mut lines = head.lines();
    let mut first = lines.next().unwrap().split(' ');
    let mut parts = http::Request::new(()).into_parts().0;
    parts.method = first.next().unwrap().parse().unwrap();
    parts.uri = first.next().unwrap().parse().unwrap();
    for (name, value) in lines.map(|line| line.split_once(": ").unwrap()) {
        let name: HeaderName = name.parse().unwrap();
        parts.headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    parts
}
