//! Requests that no route sees, since they are no HTTP/1.1 or there is no room for them: answered, counted and logged.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use axum::response::IntoResponse;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use http::StatusCode;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, HOST, HeaderValue, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{Request, Version};
use http_body_util::BodyExt;
use telemetry::Metrics;
use text::field;
use tracing::warn;

use crate::problem::{
    BAD_REQUEST, HEAD_TOO_LARGE, NOT_IMPLEMENTED, Problem, REQUEST_TIMEOUT, URI_TOO_LONG,
};
use crate::request_id::{REQUEST_ID, RequestId};

/// The most lines per second; what is beyond is counted, and its number stands in the next line.
const LINES: NonZeroU32 = NonZeroU32::new(5).expect("five is not zero");

/// How a TLS handshake begins.
const TLS_HELLO: &[u8] = &[0x16, 0x03];

/// Counts and logs what no route sees.
pub(super) struct Unserved {
    metrics: Option<Arc<Metrics>>,
    rate: DefaultDirectRateLimiter,
    left_out: AtomicU64,
}

/// Why a request is not served.
pub(super) struct Reason {
    pub(super) problem: Problem,
    pub(super) words: String,
}

impl Reason {
    fn new(problem: Problem, words: impl Into<String>) -> Self {
        Reason { problem, words: words.into() }
    }

    fn malformed(words: impl Into<String>) -> Self {
        let words = words.into();
        Reason { problem: Problem::new(&BAD_REQUEST).detail(words.clone()), words }
    }

    /// The answer to a head that cannot be read; none if its sender has gone or has said nothing at all.
    ///
    /// `status` is what the HTTP library would have answered, `unread` what had come of the head.
    pub(super) fn of(
        error: &hyper::Error,
        status: Option<StatusCode>,
        unread: &[u8],
    ) -> Option<Self> {
        if error.is_parse_version_h2() {
            return Some(Reason::malformed("HTTP/2 is not spoken here without a proxy in front"));
        }
        if error.is_timeout() && !unread.is_empty() {
            let problem = Problem::new(&REQUEST_TIMEOUT);
            return Some(Reason::new(problem, "the head took longer than head_timeout"));
        }
        Some(match status? {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Reason::new(
                Problem::new(&HEAD_TOO_LARGE),
                "the head is larger than max_head, or has more than 100 fields",
            ),
            StatusCode::URI_TOO_LONG => {
                Reason::new(Problem::new(&URI_TOO_LONG), "the request's target is too long")
            }
            _ if unread.starts_with(TLS_HELLO) => Reason::malformed(
                "TLS is not spoken here: use http:// in the URL, or a proxy that ends TLS",
            ),
            _ => Reason::malformed(format!("the head is not HTTP/1.1: {error}")),
        })
    }
}

/// What RFC 9112 asks of a head and the HTTP library lets pass: one host, and no coding but chunked, once.
///
/// A length beside chunks is dropped by the library, and the connection closed after the answer, as the RFC has it.
pub(super) fn check_head<B>(request: &Request<B>) -> Result<(), Box<Reason>> {
    let malformed = |words| Err(Box::new(Reason::malformed(words)));
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if request.version() == Version::HTTP_11 => return malformed("no Host header"),
        (Some(_), Some(_)) => return malformed("more than one Host header"),
        (Some(host), None) if !is_host(host) => {
            return malformed("the Host header is not a host's name");
        }
        _ => {}
    }
    let codings = || field::list(request.headers().get_all(TRANSFER_ENCODING));
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    match (codings().count(), codings().all(is_chunked)) {
        (0 | 1, true) => Ok(()),
        (_, true) => malformed("the body is chunked twice"),
        (_, false) => {
            let words = "a Transfer-Encoding other than chunked";
            let problem = Problem::new(&NOT_IMPLEMENTED).detail(words);
            Err(Box::new(Reason::new(problem, words)))
        }
    }
}

fn is_host(value: &HeaderValue) -> bool {
    let value = value.as_bytes();
    value.is_empty() || (!value.contains(&b'@') && Authority::try_from(value).is_ok())
}

impl Unserved {
    pub(super) fn new(metrics: Option<Arc<Metrics>>) -> Arc<Self> {
        let rate = RateLimiter::direct(Quota::per_second(LINES));
        Arc::new(Unserved { metrics, rate, left_out: AtomicU64::new(0) })
    }

    /// Counts and logs the refusal, and gives its problem the id under which it is logged.
    pub(super) fn refuse(&self, reason: Reason, peer: SocketAddr) -> (Problem, RequestId) {
        let id = RequestId::new();
        let status = reason.problem.status();
        if let Some(metrics) = &self.metrics {
            metrics.refusal(status);
        }
        if let Some(left_out) = self.line() {
            let (reason, id) = (reason.words, id.to_string());
            warn!(request.id = id, %peer, reason, status, left_out, "request not served");
        }
        (reason.problem.instance(id.to_string()), id)
    }

    /// Counts and logs a connection that was closed for another one.
    pub(super) fn gave_way(&self) {
        if let Some(metrics) = &self.metrics {
            metrics.connection_gave_way();
        }
        if let Some(left_out) = self.line() {
            warn!(
                left_out,
                "all connections are taken; one that has proved nothing is closed, or else the one that was idle the longest"
            );
        }
    }

    /// How many lines were left out, if it is time for one.
    fn line(&self) -> Option<u64> {
        if self.rate.check().is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.left_out.swap(0, Ordering::Relaxed))
    }
}

/// The answer as it stands on the wire; the connection ends with it.
pub(super) async fn written((problem, id): (Problem, RequestId)) -> Vec<u8> {
    let (mut head, body) = problem.into_response().into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let date = field::format_date(SystemTime::now());
    for (name, value) in [(DATE, date), (REQUEST_ID, id.to_string())] {
        if let Ok(value) = HeaderValue::try_from(value) {
            head.headers.insert(name, value);
        }
    }
    head.headers.insert(CONTENT_LENGTH, body.len().into());
    head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    let mut bytes = format!("HTTP/1.1 {}\r\n", head.status).into_bytes();
    for (name, value) in &head.headers {
        bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    bytes.extend(b"\r\n");
    bytes.extend(body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(fields: &[(&'static str, &'static [u8])]) -> u16 {
        let mut request = Request::new(());
        for (name, value) in fields {
            request.headers_mut().append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        check_head(&request).map_or_else(|reason| reason.problem.status(), |()| 200)
    }

    #[test]
    fn there_is_exactly_one_host() {
        for host in [
            &b""[..],
            b"h",
            b"h:80",
            b"[::1]:8080",
            b"127.0.0.1:1",
            b"a_b.example.com",
            b"EXAMPLE.com.",
        ] {
            assert_eq!(status(&[("host", host)]), 200, "{}", host.escape_ascii());
        }
        for host in [&b"a b"[..], b"user@h", b"h/x", b"h:x:y", b"\xff", b"http://h"] {
            assert_eq!(status(&[("host", host)]), 400, "{}", host.escape_ascii());
        }
        assert_eq!(status(&[]), 400);
        assert_eq!(status(&[("host", b"h"), ("host", b"h")]), 400);
        let mut old = Request::new(());
        *old.version_mut() = Version::HTTP_10;
        assert!(check_head(&old).is_ok());
    }

    #[test]
    fn a_body_is_chunked_once_and_coded_no_further() {
        let with = |codings: &[&'static str]| {
            let coding = |coding: &&'static str| ("transfer-encoding", coding.as_bytes());
            let mut fields: Vec<(&str, &[u8])> = codings.iter().map(coding).collect();
            fields.push(("host", b"h"));
            status(&fields)
        };
        for one in [&["chunked"][..], &["CHUNKED"], &[", chunked ,"], &["", "chunked"]] {
            assert_eq!(with(one), 200, "{one:?}");
        }
        assert_eq!((with(&["chunked, chunked"]), with(&["chunked", "chunked"])), (400, 400));
        for other in [&["gzip, chunked"][..], &["gzip", "chunked"], &["chunked, gzip, chunked"]] {
            assert_eq!(with(other), 501, "{other:?}");
        }
    }
}
