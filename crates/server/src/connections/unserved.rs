//! Unserved requests: answered, counted and logged before any route, since they are not HTTP/1.1 or over the limit.

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

/// Largest number of log lines per second; further ones are counted, and the next line has their number.
const LINES_PER_SECOND: NonZeroU32 = NonZeroU32::new(5).expect("five is not zero");

/// First bytes of a TLS handshake.
const TLS_HELLO: &[u8] = &[0x16, 0x03];

/// Counter and log of unserved requests.
pub(super) struct Unserved {
    metrics: Option<Arc<Metrics>>,
    rate: DefaultDirectRateLimiter,
    left_out: AtomicU64,
}

/// Reason why a request is not served.
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

    /// Reason for a head that cannot be read; none if its sender has gone or has sent nothing.
    ///
    /// `status` is the HTTP library's own response, `unread` the received part of the head.
    pub(super) fn of(
        error: &hyper::Error,
        status: Option<StatusCode>,
        unread: &[u8],
    ) -> Option<Self> {
        if error.is_parse_version_h2() {
            return Some(Reason::malformed("HTTP/2 is not supported without a proxy in front"));
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
                "TLS is not supported: use http:// in the URL, or a proxy that terminates TLS",
            ),
            _ => Reason::malformed(format!("the head is not HTTP/1.1: {error}")),
        })
    }
}

/// Checks rules of RFC 9112 that the HTTP library does not: one host, and no transfer coding but chunked, once.
///
/// The library drops a length beside chunks and closes the connection after the response, as the RFC demands.
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
        let rate = RateLimiter::direct(Quota::per_second(LINES_PER_SECOND));
        Arc::new(Unserved { metrics, rate, left_out: AtomicU64::new(0) })
    }

    /// Counts and logs the refusal, and adds the logged request id to its problem document.
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

    /// Counts and logs the eviction of a connection.
    pub(super) fn note_eviction(&self) {
        if let Some(metrics) = &self.metrics {
            metrics.connection_evicted();
        }
        if let Some(left_out) = self.line() {
            warn!(
                left_out,
                "the connection limit is reached; a connection without an authentic request is closed, or else the one that was idle the longest"
            );
        }
    }

    /// Number of lines left out since the last one, if a line may be logged now.
    fn line(&self) -> Option<u64> {
        if self.rate.check().is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.left_out.swap(0, Ordering::Relaxed))
    }
}

/// Bytes of the response on the wire; it closes the connection.
pub(super) async fn response_bytes((problem, id): (Problem, RequestId)) -> Vec<u8> {
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
