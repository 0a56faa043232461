//! Failures of a call, and the verdict on a delivery that each means.

use std::time::Duration;

use bytes::Bytes;
use text::inert;

use crate::event::{DecodeError, Failure};
use crate::hook::CallbackError;

/// The longest excerpt of the vendor's text in a message, in characters.
const EXCERPT: usize = 300;

/// The longest delay of a delivery that the vendor can ask for.
const LONGEST_DELAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The failure of a call.
///
/// Through `?` it becomes a handler's [`Failure`]: to reject if no retry can help, otherwise to retry, after the vendor's
/// `Retry-After` if it sent one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{call}: {cause}")]
pub struct ExtensionError {
    call: String,
    cause: ExtensionCause,
}

impl ExtensionError {
    pub(super) fn new(call: String, cause: ExtensionCause) -> Self {
        ExtensionError { call: inert(&call).into_owned(), cause }
    }

    /// The reason.
    pub fn cause(&self) -> &ExtensionCause {
        &self.cause
    }

    /// The failure of a handler whose call has failed so.
    pub(crate) fn failure(&self, reason: String) -> Failure {
        match (self.cause.is_final(), self.cause.retry_after()) {
            (true, _) => Failure::reject(reason),
            (false, Some(after)) => Failure::retry_after(after.min(LONGEST_DELAY), reason),
            (false, None) => Failure::retry(reason),
        }
    }
}

/// The reason for a missing response of a service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExtensionCause {
    /// Nothing was sent: the service or the method has no name that a path can have.
    #[error("the names of a service and of its method are letters, digits and _")]
    Name,
    /// Nothing was sent: the request cannot be encoded.
    #[error("the request cannot be written as JSON: {0}")]
    NotJson(String),
    /// Nothing was sent: the rate limit leaves no time for it.
    #[error("the rate limit left no time for the call")]
    RateLimit,
    /// The status is not one of success.
    #[error("{}", status_message(*.status, .body))]
    Status {
        /// The status.
        status: u16,
        /// The delay in its `Retry-After`.
        retry_after: Option<Duration>,
        /// The vendor's error as received; empty if it could not be read.
        body: Bytes,
    },
    /// There was no response in time.
    #[error("no response within the time limit")]
    TimedOut,
    /// The connection could not be made, or it broke.
    #[error("the call failed: {0}")]
    Unreachable(String),
    /// The response is larger than allowed.
    #[error("the response is larger than {0} bytes")]
    TooLarge(usize),
    /// The content coding is not supported, or broken.
    #[error("the response cannot be unpacked: {0}")]
    Encoding(String),
    /// The status is one of success, but the body does not fit the model.
    #[error("the response does not fit its model: {0}")]
    NotModel(DecodeError),
}

impl ExtensionCause {
    /// A status without `Retry-After`, for tests.
    pub fn status(status: u16, body: impl Into<Bytes>) -> Self {
        ExtensionCause::Status { status, retry_after: None, body: body.into() }
    }

    /// True if no retry can help: the vendor refuses this very request, or has answered it with something unreadable, and
    /// another request would have its effect again. A refused key, a redirect and whatever may pass are not final, since a
    /// person can correct the settings meanwhile.
    pub fn is_final(&self) -> bool {
        match self {
            ExtensionCause::Status { status: 401 | 403 | 407 | 408 | 425 | 429, .. } => false,
            ExtensionCause::Status { status, .. } => (400..500).contains(status),
            ExtensionCause::RateLimit
            | ExtensionCause::TimedOut
            | ExtensionCause::Unreachable(_) => false,
            ExtensionCause::Name
            | ExtensionCause::NotJson(_)
            | ExtensionCause::TooLarge(_)
            | ExtensionCause::Encoding(_)
            | ExtensionCause::NotModel(_) => true,
        }
    }

    /// True if the next attempt, seconds later, may succeed.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            ExtensionCause::Status { status, .. } => {
                matches!(status, 408 | 425 | 429 | 500 | 502..=504)
            }
            ExtensionCause::TimedOut | ExtensionCause::Unreachable(_) => true,
            _ => false,
        }
    }

    /// The delay that the vendor asks for, with 429 or 503.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            ExtensionCause::Status { status: 429 | 503, retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// The reading of a response is that of callbacks.
impl From<CallbackError> for ExtensionCause {
    fn from(error: CallbackError) -> Self {
        match error {
            CallbackError::TooLarge(limit) => ExtensionCause::TooLarge(limit),
            CallbackError::Encoding(why) => ExtensionCause::Encoding(inert(&why).into_owned()),
            CallbackError::TimedOut => ExtensionCause::TimedOut,
            CallbackError::Unreachable(why) => ExtensionCause::Unreachable(why),
            other => ExtensionCause::Unreachable(other.to_string()),
        }
    }
}

fn status_message(status: u16, body: &[u8]) -> String {
    match status {
        // Without an excerpt: it could repeat the key.
        401 | 403 => format!(
            "refused with {status}: callback_key is not the vendor's key for this direction, or has no right to the service"
        ),
        300..=399 => {
            format!("answered {status}, a redirect; callback_url must be the address itself")
        }
        _ if body.is_empty() => format!("answered {status}"),
        _ => {
            let body = String::from_utf8_lossy(&body[..body.len().min(4 * EXCERPT)]);
            let excerpt: String = body.chars().take(EXCERPT).collect();
            format!("answered {status}: {}", inert(&excerpt))
        }
    }
}
