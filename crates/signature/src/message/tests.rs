//! Message signatures against the RFC's examples, another implementation, and forgeries.

mod independent;
mod keys;
mod policy;
mod properties;
mod rfc;

use chrono::DateTime;
use http::request::Parts;
use http::{HeaderValue, Request};

use super::{HttpMessage, MessageKey, MessageParameters};
use crate::Timestamp;
use crate::VerifyError;

const TIME: i64 = 1_618_884_473;
const BODY: &[u8] = br#"{"hello": "world"}"#;

/// RFC 9421, appendix B.1: the keys of the examples.
const SHARED_SECRET: &str = "hmac-sha256:uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";
const ED25519_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=\n-----END PUBLIC KEY-----";
const ED25519_SECRET: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF\n-----END PRIVATE KEY-----";
const P256_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lf\nw0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==\n-----END PUBLIC KEY-----";
const P256_SECRET: &str = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIFKbhfNZfpDsW43+0+JjUr9K+bTeuxopu653+hBaXGA7oAoGCCqGSM49\nAwEHoUQDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lfw0EkjqF7xB4FivAxzic30tMM\n4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==\n-----END EC PRIVATE KEY-----";

fn key(text: &str) -> MessageKey {
    MessageKey::new(&text.into()).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    DateTime::from_timestamp_secs(seconds).unwrap()
}

/// RFC 9421, appendix B.2: the request of the examples.
fn request() -> Parts {
    let request = Request::post("/foo?param=Value&Pet=dog")
        .header("Host", "example.com")
        .header("Date", "Tue, 20 Apr 2021 02:07:55 GMT")
        .header("Content-Type", "application/json")
        .header("Content-Digest", "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:")
        .header("Content-Length", "18");
    request.body(()).unwrap().into_parts().0
}

fn with(mut head: Parts, headers: &[(&'static str, &str)]) -> Parts {
    for (name, value) in headers {
        head.headers.insert(*name, HeaderValue::from_str(value).unwrap());
    }
    head
}

/// The request with the headers of a signature by `keys` over `covered` and the digest.
fn signed(head: Parts, keys: &[&MessageKey], covered: &[&str], body: &[u8]) -> Parts {
    let parameters = MessageParameters::default();
    let headers =
        HttpMessage::from(&head).sign(keys, covered, &parameters, at(TIME), body).unwrap();
    let mut head = head;
    for (name, value) in headers {
        head.headers.insert(http::HeaderName::try_from(name).unwrap(), value);
    }
    head
}

fn verify(head: &Parts, keys: &[&MessageKey], body: &[u8], now: i64) -> Result<usize, VerifyError> {
    let presented = HttpMessage::from(head).present(&[], None, 300, at(now))?;
    presented.verify(body, keys.iter().copied()).map(|(number, _)| number)
}
