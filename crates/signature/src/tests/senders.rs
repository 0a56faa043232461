//! Each sender of the table against requests that are genuine by evidence from elsewhere.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Method, Uri};
use serde::Deserialize;

use super::{at, headers, key};
use crate::{HttpMessage, Key, Place, Scheme, Stamp, TOLERANCE, VerifyError, schemes};

const VECTORS: &str = include_str!("../../../senders/vectors.toml");

/// A genuine request, as the file has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    #[allow(dead_code)]
    source: String,
    key: String,
    #[serde(default)]
    time: i64,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    values: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: String,
}

#[derive(Debug, Clone)]
pub(super) struct Vector {
    pub(super) scheme: Scheme,
    request: Request,
}

pub(super) fn vectors() -> Vec<Vector> {
    let all: BTreeMap<String, Vec<Request>> = toml::from_str(VECTORS).unwrap();
    let of = |(name, requests): (String, Vec<Request>)| {
        let scheme = Scheme::named(&name).unwrap_or_else(|| panic!("there is no scheme {name}"));
        requests.into_iter().map(move |request| {
            let signed = scheme.signed.clone().with_values(&request.values).unwrap();
            Vector { scheme: Scheme { signed, ..scheme.clone() }, request }
        })
    };
    all.into_iter().flat_map(of).collect()
}

impl Vector {
    pub(super) fn headers(&self) -> HeaderMap {
        headers(&self.request.headers.iter().collect::<Vec<_>>())
    }

    /// The number of the kind of signature that the key made.
    pub(super) fn kind(&self) -> usize {
        (0..self.scheme.kinds.len()).find(|kind| self.of_kind(*kind)).unwrap()
    }

    fn of_kind(&self, kind: usize) -> bool {
        let kinds = vec![self.scheme.kinds[kind].clone()];
        let vector = Vector { scheme: Scheme { kinds, ..self.scheme.clone() }, ..self.clone() };
        vector.verify().is_ok()
    }

    fn keys(&self) -> Vec<Key> {
        let one = |kind: usize| {
            let kinds = vec![self.scheme.kinds[kind].clone()];
            Key { kind, ..key(&Scheme { kinds, ..self.scheme.clone() }, &self.request.key) }
        };
        // The same certificate may have signed in several ways.
        (0..self.scheme.kinds.len()).map(one).collect()
    }

    fn verify(&self) -> Result<usize, VerifyError> {
        let uri: Uri = self.request.url.as_deref().unwrap_or("/").parse().unwrap();
        let (method, headers) = (Method::POST, self.headers());
        let head = HttpMessage { method: &method, uri: &uri, headers: &headers, public_url: None };
        let presented = self.scheme.present(head, TOLERANCE, at(self.request.time))?;
        let keys = self.keys();
        self.scheme.verify(&presented, head, self.request.body.as_bytes(), keys.iter())
    }

    /// The same request, received over a proxy, which shows the URL only by its `Host`.
    fn behind_a_proxy(&self) -> Self {
        let mut vector = self.clone();
        if let Some(url) = self.request.url.as_ref().map(|url| url.parse::<Uri>().unwrap()) {
            let host = url.authority().unwrap().to_string();
            vector.request.headers.insert("Host".into(), host);
            vector.request.url = Some(url.path_and_query().unwrap().to_string());
        }
        vector
    }
}

#[test]
fn what_the_senders_signed_verifies() {
    for vector in vectors() {
        let request = &vector.request;
        assert!(
            vector.verify().is_ok(),
            "{}: {:?} {request:?}",
            vector.scheme.name,
            vector.verify()
        );
        let proxied = vector.behind_a_proxy();
        assert!(proxied.verify().is_ok(), "{}: {request:?}", vector.scheme.name);
    }
}

#[test]
fn no_byte_of_it_can_be_changed() {
    for vector in vectors() {
        let name = &vector.scheme.name;
        let is_proof = |header: &str| {
            let places = vector
                .scheme
                .signed
                .places()
                .chain(vector.scheme.spellings.iter().map(|places| &places.signature));
            vector.scheme.names().any(|own| own.eq_ignore_ascii_case(header))
                || places.into_iter().any(
                    |place| matches!(place, Place::Header(own) if own.eq_ignore_ascii_case(header)),
                )
        };
        for (header, value) in vector.request.headers.iter().filter(|(name, _)| is_proof(name)) {
            // Of several signatures the last may be replaced.
            let end = value.find(";h1=").map_or(value.len(), |first| first);
            for index in 0..if name == "paddle" { end } else { value.len() } {
                let mut changed = vector.clone();
                let mut bytes = value.clone().into_bytes();
                bytes[index] ^= 1;
                let Ok(text) = String::from_utf8(bytes) else { continue };
                changed.request.headers.insert(header.clone(), text);
                let is_other = value.contains(";h1=");
                assert!(changed.verify().is_err() || is_other, "{name}: {header} at {index}");
            }
        }
        if !vector.scheme.covers_body() {
            continue;
        }
        for index in 0..vector.request.body.len() {
            let mut bytes = vector.request.body.clone().into_bytes();
            bytes[index] ^= 1;
            let Ok(body) = String::from_utf8(bytes) else { continue };
            let mut changed = vector.clone();
            changed.request.body = body;
            let is_same = |own: &str| text::form::sorted(own.as_bytes()).ok();
            let same_form = vector.request.body.contains('&')
                && is_same(&changed.request.body) == is_same(&vector.request.body);
            assert!(changed.verify().is_err() || same_form, "{name}: the body at {index}");
        }
    }
}

/// What a signature in the body covers, member by member.
#[test]
fn no_signed_member_can_be_changed() {
    for (name, members) in [
        (
            "adyen",
            &["1000", "EUR", "\"EVENT\"", "merchantAccount\"", "\"pspReference\"}", "true"][..],
        ),
        ("mailgun", &["1700000000", "a8ce0edb"]),
        ("sns", &["Hello world", "5dd3-9163", "Notification\"", "21:23:58", "295079676684"]),
    ] {
        for vector in vectors().iter().filter(|vector| vector.scheme.name == name) {
            for member in members.iter().filter(|member| vector.request.body.contains(**member)) {
                let mut changed = vector.clone();
                let other = member.replacen(|c: char| c.is_ascii_alphanumeric(), "7", 1);
                changed.request.body = vector.request.body.replacen(member, &other, 1);
                assert!(changed.verify().is_err(), "{name}: {member}");
            }
        }
    }
}

#[test]
fn what_is_not_covered_is_refused() {
    let adyen = vectors().into_iter().find(|vector| vector.scheme.name == "adyen").unwrap();
    let mut two = adyen.clone();
    two.request.body = adyen.request.body.replacen("]}", ",{\"NotificationRequestItem\":{}}]}", 1);
    assert!(matches!(two.verify(), Err(VerifyError::Uncovered(_))), "{:?}", two.verify());
    let twilio = vectors().into_iter().filter(|vector| vector.scheme.name == "twilio");
    for mut vector in twilio.filter(|vector| vector.request.body.starts_with('{')) {
        vector.request.body.push(' ');
        assert!(matches!(vector.verify(), Err(VerifyError::WrongDigest(_))));
        let url = vector.request.url.take().unwrap();
        vector.request.url = Some(url.replace("bodySHA256", "other"));
        assert!(matches!(vector.verify(), Err(VerifyError::MissingPart(_))));
    }
}

/// Every scheme that can sign: signed, verified, and refused with another body, time or key.
#[test]
fn what_is_signed_here_verifies() {
    let body = br#"{"notificationItems":[{"NotificationRequestItem":{"pspReference":"p","additionalData":{"hmacSignature":"x"}}}],"Message":"m","MessageId":"i","Timestamp":"t","TopicArn":"a","Type":"Notification","Signature":"x","signature":{"token":"t","timestamp":"1700000000","signature":"x"}}"#;
    let rsa = include_str!("rsa.pem");
    let p256 = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgUpuF81l+kOxbjf7T4mNSv0r5tN67Gim7rnf6EFpcYDuhRANCAASohVhlUsKs9kcYeM/XsJNbT/4P0t/DQSSOoXvEHgWK8DHOJzfS0wzgYX6FHoPGHvVnnRUYZ2V2SQNdkKdM2ehd";
    for scheme in schemes() {
        let values = BTreeMap::from([("webhook_id".to_owned(), "w".to_owned())]);
        let signed = scheme.signed.clone().with_values(&values).unwrap();
        let scheme = Scheme { signed, ..scheme.clone() };
        let text = match scheme.kinds[0].algorithm.key_type() {
            crate::KeyType::Rsa => rsa.to_owned(),
            crate::KeyType::P256 => p256.to_owned(),
            crate::KeyType::Ed25519 => {
                format!(
                    "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----",
                    STANDARD.encode(
                        [
                            &[
                                0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4,
                                0x20
                            ][..],
                            &[7; 32]
                        ]
                        .concat()
                    )
                )
            }
            _ => STANDARD.encode(b"a shared secret of some more length").replace('=', ""),
        };
        let text = if scheme.kinds[0].key == crate::KeyFormat::Hex && !text.contains('-') {
            hex::encode(&text)
        } else {
            text
        };
        let key = key(&scheme, &text);
        let uri: Uri = "https://hooks.example.com/in?a=1".parse().unwrap();
        let method = Method::POST;
        let given = headers(&[
            ("Content-Type", "application/json"),
            ("PAYPAL-TRANSMISSION-ID", "i"),
            ("PAYPAL-TRANSMISSION-TIME", "t"),
        ]);
        let head = HttpMessage { method: &method, uri: &uri, headers: &given, public_url: None };
        let time = at(1_700_000_000);
        let made = scheme.sign_request(&[&key], Stamp { id: "id", time }, head, body);
        let made = made.unwrap_or_else(|error| panic!("{}: {error}", scheme.name));
        let (mut uri, mut given, mut body) = (uri.to_string(), given.clone(), body.to_vec());
        for (place, value) in made {
            match place {
                Place::Header(name) => {
                    given.insert(http::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
                }
                Place::Query(name) => uri = format!("{uri}&{name}={value}"),
                Place::Body(pointer) => {
                    let mut json: serde_json::Value = serde_json::from_slice(&body).unwrap();
                    *json.pointer_mut(&pointer.to_string()).unwrap() = value.into();
                    body = serde_json::to_vec(&json).unwrap();
                }
            }
        }
        let uri: Uri = uri.parse().unwrap();
        let verify = |scheme: &Scheme, body: &[u8], keys: &[&Key]| {
            let head =
                HttpMessage { method: &method, uri: &uri, headers: &given, public_url: None };
            let presented = scheme.present(head, TOLERANCE, time)?;
            scheme.verify(&presented, head, body, keys.iter().copied())
        };
        // The digest in the query is signed with the URL that has it.
        if scheme.body_digest.is_none() {
            assert_eq!(verify(&scheme, &body, &[&key]), Ok(0), "{}", scheme.name);
        }
        if let Some(other) = key.unknown(&scheme).unwrap() {
            assert!(verify(&scheme, &body, &[&other]).is_err(), "{}", scheme.name);
        }
        if scheme.covers_body() {
            assert!(verify(&scheme, b"{}", &[&key]).is_err(), "{}", scheme.name);
        }
    }
}
