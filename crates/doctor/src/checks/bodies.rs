//! Checks of bodies: every kind arrives byte for byte, up to the receiver's limit.

use std::io::Write as _;
use std::sync::Arc;

use emitter::Message;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::CONTENT_ENCODING;
use http_body_util::StreamBody;
use hyper::body::Frame;
use sha2::{Digest, Sha256};

use super::accepted;
use crate::check::{CheckOutcome, CheckResult, CheckVerdict};
use crate::probe::{Prober, replaced};
use crate::probe_result::ProbeResult;

/// The largest body that is tried, even if the receiver accepts larger ones.
const LARGEST: usize = 8 * 1024 * 1024;

/// The assumed limit of a receiver that does not report one.
const USUAL: usize = 1024 * 1024;

/// Values that a JSON parser and serializer would write differently.
const AWKWARD: [(&str, &str); 3] =
    [("escape", r#""\u00e9\/""#), ("number", "1.50"), ("large", "12345678901234567890")];

const FOREIGN: &str = "\"Jörg, Zoë, 東京, 🦀\"";

pub(crate) async fn bytes(probe: &Prober) -> CheckOutcome {
    let mut message = probe.genuine(&AWKWARD)?;
    message.body = [b" ", message.body.as_ref(), b"\r\n"].concat().into();
    let seen = probe.send(&message).await;
    if seen.status() == Some(401) && probe.baseline().await.is_accepted() {
        let reason = probe.reason(&seen).await.map(|why| format!(" ({why})"));
        return Ok(CheckResult::fail(format!(
            "a plain body is accepted and an awkward one is not: it is written anew on the way{}",
            reason.unwrap_or_default()
        )));
    }
    unchanged(&message, &seen, "an awkward body")
}

pub(crate) async fn unicode(probe: &Prober) -> CheckOutcome {
    let message = probe.genuine(&[("name", FOREIGN)])?;
    unchanged(&message, &probe.send(&message).await, "a body that is not ASCII")
}

/// Passes if the receiver verified exactly the bytes that were sent.
fn unchanged(message: &Message, seen: &ProbeResult, what: &str) -> CheckOutcome {
    accepted(seen, what)?;
    let Some(echo) = seen.echo() else { return Ok(CheckResult::pass("accepted")) };
    let sent = hex::encode(Sha256::digest(&message.body));
    Ok(match echo.sha256 == sent {
        true => CheckResult::pass("the receiver verified the bytes that were sent"),
        false => CheckResult::fail(format!(
            "{what} was changed on the way: {} bytes were sent, and {} others arrived",
            message.body.len(),
            echo.size
        )),
    })
}

pub(crate) async fn packed(probe: &Prober) -> CheckOutcome {
    let mut message = probe.genuine(&[])?;
    message.body = gzip(&message.body).map_err(anyhow::Error::from)?.into();
    let request = replaced(message.request()?, CONTENT_ENCODING.as_str(), "gzip")?;
    let seen = probe.send_request(request).await;
    Ok(match seen.status() {
        Some(415) => CheckResult::pass("a packed body arrives packed, and is refused with 415"),
        Some(200..300 | 400 | 401) => CheckResult::fail(format!(
            "a packed body is unpacked on the way, so that no signature over its bytes can hold: {}",
            seen.summary()
        )),
        _ => CheckResult::warn(format!("a packed body: {}", seen.summary())),
    })
}

fn gzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(bytes)?;
    packed.finish()
}

pub(crate) async fn chunked(probe: &Prober) -> CheckOutcome {
    let message = probe.genuine(&[("pad", &format!("\"{}\"", "c".repeat(3000)))])?;
    let mut request = message.request()?;
    let chunks: Vec<_> = message
        .body
        .chunks(1000)
        .map(|chunk| Ok::<_, std::io::Error>(Frame::data(message.body.slice_ref(chunk))))
        .collect();
    let body = StreamBody::new(futures_util::stream::iter(chunks));
    *request.body_mut() = Some(reqwest::Body::wrap(body));
    let seen = probe.send_request(request).await;
    if seen.status() == Some(411) {
        return Ok(CheckResult::fail(format!(
            "a body without a length is refused: {}",
            seen.summary()
        )));
    }
    unchanged(&message, &seen, "a body in chunks")
}

pub(crate) async fn charset(probe: &Prober) -> CheckOutcome {
    for content_type in [
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=\"UTF-8\"",
    ] {
        let mut places = probe.target.places.clone();
        places.content_type = content_type.into();
        let proof = Arc::new(probe.target.keys.proof(0, None)?);
        let message = probe.drafted(proof, probe.body(&[])?, &places, &probe.target.url)?;
        let finding = unchanged(&message, &probe.send(&message).await, content_type)?;
        if finding.verdict != CheckVerdict::Pass {
            return Ok(finding);
        }
    }
    Ok(CheckResult::pass("with and without a charset parameter"))
}

fn limit(seen: &ProbeResult) -> usize {
    seen.echo().map_or(USUAL, |echo| echo.max_body)
}

pub(crate) async fn sizes(probe: &Prober) -> CheckOutcome {
    let limit = limit(probe.baseline().await);
    let most = limit.min(LARGEST);
    let mut sizes = vec![1024, 9 * 1024, 70 * 1024, most / 2, most];
    sizes.retain(|size| *size <= most);
    sizes.sort_unstable();
    let mut largest = 0;
    for size in sizes {
        let seen = sized(probe, size).await?;
        if !seen.is_accepted() {
            return Ok(stuck(&seen, size, limit, largest));
        }
        largest = size;
    }
    Ok(CheckResult::pass(format!("up to {largest} bytes, of {limit} that the receiver takes")))
}

/// The failure of a body that the receiver would accept, but that does not reach it.
///
/// A proxy that buffers whole bodies cannot be recognised from outside, and does no harm unless it has no room for
/// them: then it answers with its own server error, and only for bodies larger than its memory buffer.
fn stuck(seen: &ProbeResult, size: usize, limit: usize, largest: usize) -> CheckResult {
    let text = format!("{size} bytes: {}; {largest} get through", seen.summary());
    match seen.status() {
        Some(500 | 507) if !seen.is_receivers() => CheckResult::fail(format!(
            "{text}, so what answers cannot hold a larger body until it is whole"
        ))
        .mend("nginx: room and rights for client_body_temp_path, or proxy_request_buffering off;"),
        _ => CheckResult::fail(format!("{text}, and the receiver takes {limit}")).mend(format!(
            "what answered has a lower limit than max_body in [limits]; nginx: client_max_body_size {}k;",
            limit.div_ceil(1024)
        )),
    }
}

pub(crate) async fn over(probe: &Prober) -> CheckOutcome {
    let limit = limit(probe.baseline().await);
    if limit > LARGEST {
        return Ok(CheckResult::skip(format!("the receiver takes {limit} bytes, too many to try")));
    }
    let seen = sized(probe, limit + 1).await?;
    let text = format!("{} bytes: {}", limit + 1, seen.summary());
    Ok(match seen.status() {
        Some(413) => CheckResult::pass(text),
        Some(200..300) => CheckResult::fail(text),
        _ => CheckResult::warn(text),
    })
}

/// Sends a delivery whose body has exactly this size.
async fn sized(probe: &Prober, size: usize) -> anyhow::Result<ProbeResult> {
    let empty = probe.genuine(&[("pad", "\"\"")])?.body.len();
    let pad = format!("\"{}\"", "x".repeat(size.saturating_sub(empty)));
    Ok(probe.send(&probe.genuine(&[("pad", &pad)])?).await)
}
