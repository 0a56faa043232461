//! Why a request is not accepted, in words for its sender and in others for the owner.

use std::borrow::Cow;
use std::time::Duration;

use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, TRANSFER_ENCODING,
};

use super::body::Unread;
use super::record::RequestId;
use crate::inbox::InboxError;
use crate::source::{Refusal, RefusalKind, Source};
use crate::web::problem::{
    BAD_REQUEST, CONTENT_TOO_LARGE, INTERNAL, Problem, REQUEST_TIMEOUT, UNAUTHORIZED,
    UNSUPPORTED_MEDIA_TYPE,
};

/// When a sender that met a full receiver should come again.
pub(super) const SOON: Duration = Duration::from_secs(1);

/// When a sender that met a receiver without an inbox should come again.
const LATER: Duration = Duration::from_secs(10);

/// Why a request is not accepted: what the sender may know, and what the owner should.
pub(super) struct Refused {
    pub(super) problem: Box<Problem>,
    pub(super) reason: Cow<'static, str>,
}

/// The content type must be JSON in UTF-8, not compressed.
pub(super) fn check_content(headers: &HeaderMap) -> Result<(), Refused> {
    let plain = |encoding: &HeaderValue| encoding.as_bytes().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(CONTENT_ENCODING).iter().all(plain) {
        return Err(unsupported("the body is compressed"));
    }
    if has_no_data(headers) {
        return Ok(());
    }
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parts = value.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default().to_ascii_lowercase();
    if media.starts_with("application/cloudevents-batch") {
        return Err(unsupported("batches of CloudEvents are not received; send each event alone"));
    }
    if media != "application/json"
        && !(media.starts_with("application/") && media.ends_with("+json"))
    {
        return Err(unsupported("the content type is not application/json"));
    }
    let charset = parts
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
        .map(|(_, charset)| charset.trim().trim_matches('"'));
    match charset {
        Some(charset)
            if !["utf-8", "utf8", "us-ascii"].iter().any(|c| c.eq_ignore_ascii_case(charset)) =>
        {
            Err(malformed(format!("the charset is {charset}, not UTF-8")))
        }
        _ => Ok(()),
    }
}

/// Whether it is a CloudEvent in headers alone: no body, and therefore no type of it.
fn has_no_data(headers: &HeaderMap) -> bool {
    let is_empty = match headers.get(CONTENT_LENGTH) {
        Some(length) => length == "0",
        None => !headers.contains_key(TRANSFER_ENCODING),
    };
    is_empty && !headers.contains_key(CONTENT_TYPE) && headers.contains_key("ce-specversion")
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

/// What a request is answered that a fault of the receiver's own has ended.
pub(super) fn panicked(id: RequestId) -> Refused {
    Refused::new(Problem::new(&INTERNAL).instance(id.to_string()), "answering it has panicked")
}

pub(super) fn too_fast(after: Duration) -> Refused {
    Refused::new(Problem::too_many_requests(after), "faster than the source's rate_limit")
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
            Unread::NoMemory => unavailable(SOON, "the memory for bodies is used up"),
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
