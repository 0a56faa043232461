//! Refusals: the problem document for the sender and the reason for the owner.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use contract::event::BodyFormat;
use http::header::HeaderMap;
use inbox::InboxError;
use server::problem::{
    BAD_REQUEST, CONTENT_TOO_LARGE, Problem, REQUEST_TIMEOUT, SOON, UNAUTHORIZED,
    UNSUPPORTED_MEDIA_TYPE,
};
use source::{KeysUnavailable, Refusal, RefusalKind, Source, UnsupportedContent};

use super::body::Unread;

/// `Retry-After` while the inbox is unavailable.
const INBOX_RETRY: Duration = Duration::from_secs(10);

/// `Retry-After` while the sender's keys cannot be fetched.
const KEYS_RETRY: Duration = Duration::from_secs(60);

/// Refusal of a request: a public problem document, and a reason for the owner.
pub(super) struct HttpRefusal {
    pub(super) problem: Box<Problem>,
    pub(super) reason: Cow<'static, str>,
    /// True if nothing has proved the request, although the status is not 401.
    pub(super) is_unproven: bool,
}

/// Checks that the source accepts the format of the body, as far as the head tells.
pub(super) fn check_content(
    source: &Source,
    headers: &HeaderMap,
    body: &Body,
) -> Result<BodyFormat, HttpRefusal> {
    let may_be_empty = body.size_hint().lower() == 0;
    source.format(headers, may_be_empty).map_err(|error| match error {
        UnsupportedContent::Charset(_) => malformed(error.to_string()),
        _ => unsupported(error.to_string()),
    })
}

/// Checks that a body without a content type is empty, where only an empty one needs none.
pub(super) fn check_untyped(
    source: &Source,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(), HttpRefusal> {
    match source.format(headers, body.is_empty()) {
        Ok(_) => Ok(()),
        Err(error) => Err(unsupported(error.to_string())),
    }
}

impl HttpRefusal {
    fn new(problem: Problem, reason: impl Into<Cow<'static, str>>) -> Self {
        HttpRefusal { problem: Box::new(problem), reason: reason.into(), is_unproven: false }
    }

    /// Converts a refusal. Only bearer keys get a challenge, since a client cannot answer one for a signature.
    pub(super) fn of(refusal: &Refusal, source: &Source) -> Self {
        let reason = refusal.to_string();
        match refusal.kind() {
            RefusalKind::Malformed => malformed(reason),
            RefusalKind::TooLarge => {
                HttpRefusal::new(Problem::new(&CONTENT_TOO_LARGE).detail(reason.clone()), reason)
            }
            RefusalKind::Unauthentic => match source.auth.challenge() {
                None => HttpRefusal::new(Problem::new(&UNAUTHORIZED), reason),
                Some(scheme) => HttpRefusal::new(Problem::unauthorized(scheme), reason),
            },
        }
    }
}

pub(super) fn unavailable(after: Duration, reason: impl Into<Cow<'static, str>>) -> HttpRefusal {
    HttpRefusal::new(Problem::unavailable(after), reason)
}

impl From<KeysUnavailable> for HttpRefusal {
    fn from(error: KeysUnavailable) -> Self {
        HttpRefusal { is_unproven: true, ..unavailable(KEYS_RETRY, error.to_string()) }
    }
}

pub(super) fn not_post() -> HttpRefusal {
    HttpRefusal::new(Problem::method_not_allowed("POST, HEAD"), "only POST is received")
}

pub(super) fn too_fast(after: Duration) -> HttpRefusal {
    HttpRefusal::new(Problem::too_many_requests(after), "faster than the source's rate_limit")
}

fn unsupported(reason: String) -> HttpRefusal {
    HttpRefusal::new(Problem::new(&UNSUPPORTED_MEDIA_TYPE).detail(reason.clone()), reason)
}

pub(super) fn malformed(reason: String) -> HttpRefusal {
    HttpRefusal::new(Problem::new(&BAD_REQUEST).detail(reason.clone()), reason)
}

impl From<Unread> for HttpRefusal {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::TooLarge => HttpRefusal::new(
                Problem::new(&CONTENT_TOO_LARGE),
                "the body is larger than max_body",
            ),
            Unread::TooSlow => HttpRefusal::new(
                Problem::new(&REQUEST_TIMEOUT),
                "the body took longer than body_timeout",
            ),
            Unread::BelowMinRate => HttpRefusal::new(
                Problem::new(&REQUEST_TIMEOUT),
                "the body is not authenticated yet and arrives more slowly than min_rate",
            ),
            Unread::NoMemory => unavailable(
                SOON,
                "the source's share of `buffered`, the memory for bodies, is used up",
            ),
            Unread::Aborted(error) => malformed(format!("the body broke off: {error}")),
        }
    }
}

impl From<InboxError> for HttpRefusal {
    fn from(error: InboxError) -> Self {
        let after = match error {
            InboxError::Busy => SOON,
            InboxError::Full | InboxError::Unavailable(_) => INBOX_RETRY,
        };
        unavailable(after, error.to_string())
    }
}
