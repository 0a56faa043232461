//! Why a request is not accepted, in words for its sender and in others for the owner.

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

/// When a sender that met a receiver without an inbox should come again.
const LATER: Duration = Duration::from_secs(10);

/// Why a request is not accepted: what the sender may know, and what the owner should.
pub(super) struct Refused {
    pub(super) problem: Box<Problem>,
    pub(super) reason: Cow<'static, str>,
}

/// What is known of a body's type before it is read.
#[derive(Clone, Copy)]
pub(super) enum Content {
    Json,
    /// None, as a CloudEvent in headers alone has it: then the body must turn out to be empty.
    Untyped,
}

impl Content {
    /// A body without a type must be empty.
    pub(super) fn check(self, body: &[u8]) -> Result<(), Refused> {
        match self {
            Content::Untyped if !body.is_empty() => Err(untyped()),
            _ => Ok(()),
        }
    }
}

/// The content type must be JSON in UTF-8, not compressed.
pub(super) fn check_content(headers: &HeaderMap, body: &Body) -> Result<Content, Refused> {
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
            Err(unsupported("batches of CloudEvents are not received; send each event alone"))
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

impl Refused {
    fn new(problem: Problem, reason: impl Into<Cow<'static, str>>) -> Self {
        Refused { problem: Box::new(problem), reason: reason.into() }
    }

    /// A signature has no challenge that a client could answer; a bearer key has.
    pub(super) fn of(refusal: &Refusal, source: &Source) -> Self {
        let reason = refusal.to_string();
        match refusal.kind() {
            RefusalKind::Malformed => malformed(reason),
            RefusalKind::Unauthentic if source.auth.bearer.is_empty() => {
                Refused::new(Problem::new(&UNAUTHORIZED), reason)
            }
            RefusalKind::Unauthentic => Refused::new(Problem::unauthorized("Bearer"), reason),
        }
    }
}

pub(super) fn unavailable(after: Duration, reason: impl Into<Cow<'static, str>>) -> Refused {
    Refused::new(Problem::unavailable(after), reason)
}

pub(super) fn not_post() -> Refused {
    Refused::new(Problem::method_not_allowed("POST, HEAD"), "only POST is received")
}

pub(super) fn too_fast(after: Duration) -> Refused {
    Refused::new(Problem::too_many_requests(after), "faster than the source's rate_limit")
}

fn untyped() -> Refused {
    unsupported("the content type is missing, there twice, or not one")
}

fn unsupported(reason: &'static str) -> Refused {
    Refused::new(Problem::new(&UNSUPPORTED_MEDIA_TYPE).detail(reason), reason)
}

pub(super) fn malformed(reason: String) -> Refused {
    Refused::new(Problem::new(&BAD_REQUEST).detail(reason.clone()), reason)
}

impl From<Unread> for Refused {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::TooLarge => {
                Refused::new(Problem::new(&CONTENT_TOO_LARGE), "the body is larger than max_body")
            }
            Unread::TooSlow => Refused::new(
                Problem::new(&REQUEST_TIMEOUT),
                "the body took longer than body_timeout",
            ),
            Unread::Dripping => Refused::new(
                Problem::new(&REQUEST_TIMEOUT),
                "the body proves nothing yet and comes more slowly than min_rate",
            ),
            Unread::NoMemory => unavailable(
                SOON,
                "the source's share of buffered, the memory for bodies, is used up",
            ),
            Unread::Broken(error) => malformed(format!("the body broke off: {error}")),
        }
    }
}

impl From<InboxError> for Refused {
    fn from(error: InboxError) -> Self {
        let after = match error {
            InboxError::Busy => SOON,
            InboxError::Full | InboxError::Unavailable(_) => LATER,
        };
        unavailable(after, error.to_string())
    }
}
