//! Request id, in the log and in the response.

use std::fmt;

use http::HeaderName;

/// Response header with the request id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Request id: sixteen random hexadecimal digits, enough to find a line; it is not a secret.
#[derive(Debug, Clone, Copy)]
pub struct RequestId(u64);

impl RequestId {
    /// Creates a random id.
    #[expect(clippy::new_without_default, reason = "two are never the same")]
    pub fn new() -> Self {
        RequestId(fastrand::u64(..))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
