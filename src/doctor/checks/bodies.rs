//! Whether bodies of every kind arrive byte for byte, up to the receiver's own limit.

use http::header::CONTENT_ENCODING;
use http_body_util::StreamBody;
use hyper::body::Frame;
use sha2::{Digest, Sha256};

use super::{accepted, either, unsent};
use crate::doctor::answer::Seen;
use crate::doctor::check::Finding;
use crate::doctor::probe::{Probe, replaced};
use crate::emitter::Message;

/// Bodies up to this size are tried, even if the receiver takes larger ones.
const LARGEST: usize = 8 * 1024 * 1024;

/// The receiver's limit, if it does not tell.
const USUAL: usize = 1024 * 1024;

/// Values that whoever reads and writes JSON again writes otherwise.
const AWKWARD: [(&str, &str); 3] =
    [("escape", r#""\u00e9\/""#), ("number", "1.50"), ("large", "12345678901234567890")];

const FOREIGN: &str = "\"Jörg, Zoë, 東京, 🦀\"";

pub(in crate::doctor) async fn bytes(probe: &Probe) -> Finding {
    let drafted = probe.genuine(&AWKWARD).map(|mut message| {
        message.body = [b" ", message.body.as_ref(), b"\r\n"].concat().into();
        message
    });
    let message = match drafted {
        Ok(message) => message,
        Err(error) => return unsent(&error),
    };
    let seen = probe.send(&message).await;
    let plain = probe.baseline().await.is_accepted();
    match seen.status() {
        Some(401) if plain => {
            let reason =
                probe.reason(&seen).await.map(|why| format!(" ({why})")).unwrap_or_default();
            Finding::fail(format!(
                "a plain body is accepted and an awkward one is not: it is written anew on the way{reason}"
            ))
        }
        _ => either(unchanged(&message, &seen, "an awkward body")),
    }
}

pub(in crate::doctor) async fn unicode(probe: &Probe) -> Finding {
    either(sent(probe, &[("name", FOREIGN)], "a body that is not ASCII").await)
}

async fn sent(probe: &Probe, fields: &[(&str, &str)], what: &str) -> Result<Finding, Finding> {
    let message = probe.genuine(fields).map_err(|error| unsent(&error))?;
    let seen = probe.send(&message).await;
    unchanged(&message, &seen, what)
}

/// The receiver verified the very bytes that were sent.
fn unchanged(message: &Message, seen: &Seen, what: &str) -> Result<Finding, Finding> {
    accepted(seen, what)?;
    let Some(echo) = seen.echo() else { return Ok(Finding::pass("accepted")) };
    let sent = hex::encode(Sha256::digest(&message.body));
    Ok(match echo.sha256 == sent {
        true => Finding::pass("the receiver verified the bytes that were sent"),
        false => Finding::fail(format!(
            "{what} was changed on the way: {} bytes were sent, and {} others arrived",
            message.body.len(),
            echo.size
        )),
    })
}

pub(in crate::doctor) async fn packed(probe: &Probe) -> Finding {
    let drafted = probe.genuine(&[]).map(|mut message| {
        message.body = gzip(&message.body).into();
        message
    });
    let request =
        drafted.and_then(|message| replaced(message.request()?, CONTENT_ENCODING.as_str(), "gzip"));
    let seen = probe.shoot(request).await;
    match seen.status() {
        Some(415) => Finding::pass("a packed body arrives packed, and is refused with 415"),
        Some(200..300 | 400 | 401) => Finding::fail(format!(
            "a packed body is unpacked on the way, so that no signature over its bytes can hold: {}",
            seen.told()
        )),
        _ => Finding::warn(format!("a packed body: {}", seen.told())),
    }
}

/// The bytes as gzip holds what it does not compress.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    packed.extend(length.to_le_bytes());
    packed.extend((!length).to_le_bytes());
    packed.extend(bytes);
    packed.extend(crc32(bytes).to_le_bytes());
    packed.extend(u32::from(length).to_le_bytes());
    packed
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
    !bytes
        .iter()
        .fold(u32::MAX, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)))
}

pub(in crate::doctor) async fn chunked(probe: &Probe) -> Finding {
    let message = match probe.genuine(&[("pad", &format!("\"{}\"", "c".repeat(3000)))]) {
        Ok(message) => message,
        Err(error) => return unsent(&error),
    };
    let request = message.request().map(|mut request| {
        let chunks: Vec<_> = message
            .body
            .chunks(1000)
            .map(|chunk| Ok::<_, std::io::Error>(Frame::data(bytes::Bytes::copy_from_slice(chunk))))
            .collect();
        let body = StreamBody::new(futures_util::stream::iter(chunks));
        *request.body_mut() = Some(reqwest::Body::wrap(body));
        request
    });
    let seen = probe.shoot(request).await;
    if seen.status() == Some(411) {
        return Finding::fail(format!("a body without a length is refused: {}", seen.told()));
    }
    either(unchanged(&message, &seen, "a body in chunks"))
}

pub(in crate::doctor) async fn charset(probe: &Probe) -> Finding {
    for content_type in [
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=\"UTF-8\"",
    ] {
        if let Err(finding) = with_type(probe, content_type).await {
            return finding;
        }
    }
    Finding::pass("with and without a charset parameter")
}

async fn with_type(probe: &Probe, content_type: &'static str) -> Result<Finding, Finding> {
    let mut places = probe.target.places.clone();
    places.content_type = content_type;
    let drafted = probe.target.keys.proof(0, None).and_then(|proof| {
        probe.drafted(proof.into(), probe.body(&[])?, &places, &probe.target.url)
    });
    let message = drafted.map_err(|error| unsent(&error))?;
    let seen = probe.send(&message).await;
    unchanged(&message, &seen, content_type)
}

fn limit(seen: &Seen) -> usize {
    seen.echo().map_or(USUAL, |echo| echo.max_body)
}

pub(in crate::doctor) async fn sizes(probe: &Probe) -> Finding {
    let limit = limit(probe.baseline().await);
    let most = limit.min(LARGEST);
    let mut largest = 0;
    for size in [1024, 9 * 1024, 70 * 1024, most / 2, most] {
        if size > most || size < largest {
            continue;
        }
        match sized(probe, size).await {
            Ok(seen) if seen.is_accepted() => largest = size,
            Ok(seen) => {
                let cap = format!("client_max_body_size {}k;", limit.div_ceil(1024));
                return Finding::fail(format!(
                    "{size} bytes: {}; the receiver takes {limit}, and {largest} get through",
                    seen.told()
                ))
                .mend(format!(
                    "what answered has a lower limit than max_body in [limits]; nginx: {cap}"
                ));
            }
            Err(error) => return unsent(&error),
        }
    }
    Finding::pass(format!("up to {largest} bytes, of {limit} that the receiver takes"))
}

pub(in crate::doctor) async fn over(probe: &Probe) -> Finding {
    let limit = limit(probe.baseline().await);
    if limit > LARGEST {
        return Finding::skip(format!(
            "the receiver takes {limit} bytes, which are too many to try"
        ));
    }
    match sized(probe, limit + 1).await {
        Ok(seen) => match seen.status() {
            Some(413) => Finding::pass(format!("{} bytes are refused: {}", limit + 1, seen.told())),
            Some(200..300) => Finding::fail(format!("{} bytes were accepted", limit + 1)),
            _ => Finding::warn(format!("{} bytes: {}", limit + 1, seen.told())),
        },
        Err(error) => unsent(&error),
    }
}

/// Sends a delivery of just so many bytes.
async fn sized(probe: &Probe, size: usize) -> anyhow::Result<Seen> {
    let empty = probe.genuine(&[("pad", "\"\"")])?.body.len();
    let pad = format!("\"{}\"", "x".repeat(size.saturating_sub(empty)));
    Ok(probe.send(&probe.genuine(&[("pad", &pad)])?).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_is_that_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
