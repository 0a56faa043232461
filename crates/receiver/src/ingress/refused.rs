//! Refusals: the problem document for the sender and the reason for the owner.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use inbox::InboxError;
use server::problem::{
    BAD_REQUEST, CONTENT_TOO_LARGE, Problem, REQUEST_TIMEOUT, SOON, UNAUTHORIZED,
    UNSUPPORTED_MEDIA_TYPE,
};
use source::{Refusal, RefusalKind, Source};
use text::field::{self, MediaType};

use super::body::Unread;

/// `Retry-After` while the inbox is unavailable.
const INBOX_RETRY: Duration = Duration::from_secs(10);

/// Refusal of a request: a public problem document, and a reason for the owner.
pub(super) struct HttpRefusal {
    pub(super) problem: Box<Problem>,
    pub(super) reason: Cow<'static, str>,
}

/// Type of a body, before it is read.
#[derive(Clone, Copy)]
pub(super) enum Content {
    Json,
    /// No content type, as for a CloudEvent without data: the body must be empty.
    Untyped,
}

impl Content {
    /// Checks that a body without a type is empty.
    pub(super) fn check(self, body: &[u8]) -> Result<(), HttpRefusal> {
        match self {
            Content::Untyped if !body.is_empty() => Err(untyped()),
            _ => Ok(()),
        }
    }
}

/// Checks that the content type is JSON in UTF-8, not compressed.
pub(super) fn check_content(headers: &HeaderMap, body: &Body) -> Result<Content, HttpRefusal> {
    let is_plain = |coding: &[u8]| coding.eq_ignore_ascii_case(b"identity");
    if !field::list(headers.get_all(CONTENT_ENCODING)).all(is_plain) {
        return Err(unsupported("the body is compressed"));
    }
    let may_be_empty = body.size_hint().lower() == 0;
    if may_be_empty && !headers.contains_key(CONTENT_TYPE) && headers.contains_key("ce-specversion")
    {
        return Ok(Content::Untyped);
    }
    match MediaType::of(headers) {
        Some(media) if media.essence.starts_with("application/cloudevents-batch") => {
            Err(unsupported("batches of CloudEvents are not supported; send each event alone"))
        }
        Some(media) if !media.is_json() => {
            Err(unsupported("the content type is not application/json"))
        }
        Some(media) if media.is_utf8() => Ok(Content::Json),
        Some(MediaType { charset, .. }) => {
            let charset = charset.unwrap_or_default();
            Err(malformed(format!("the charset is {charset}, not UTF-8")))
        }
        None => Err(untyped()),
    }
}

impl HttpRefusal {
    fn new(problem: Problem, reason: impl Into<Cow<'static, str>>) -> Self {
        HttpRefusal { problem: Box::new(problem), reason: reason.into() }
    }

    /// Converts a refusal. Only bearer keys get a challenge, since a client cannot answer one for a signature.
    pub(super) fn of(refusal: &Refusal, source: &Source) -> Self {
        let reason = refusal.to_string();
        match refusal.kind() {
            RefusalKind::Malformed => malformed(reason),
            RefusalKind::Unauthentic if source.auth.bearer.is_empty() => {
                HttpRefusal::new(Problem::new(&UNAUTHORIZED), reason)
            }
            RefusalKind::Unauthentic => HttpRefusal::new(Problem::unauthorized("Bearer"), reason),
        }
    }
}

pub(super) fn unavailable(after: Duration, reason: impl Into<Cow<'static, str>>) -> HttpRefusal {
    HttpRefusal::new(Problem::unavailable(after), reason)
}

pub(super) fn not_post() -> HttpRefusal {
    HttpRefusal::new(Problem::method_not_allowed("POST, HEAD"), "only POST is received")
}

pub(super) fn too_fast(after: Duration) -> HttpRefusal {
    HttpRefusal::new(Problem::too_many_requests(after), "faster than the source's rate_limit")
}

fn untyped() -> HttpRefusal {
    unsupported("the content type is missing, repeated, or malformed")
}

fn unsupported(reason: &'static str) -> HttpRefusal {
    HttpRefusal::new(Problem::new(&UNSUPPORTED_MEDIA_TYPE).detail(reason), reason)
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
