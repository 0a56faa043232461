//! The id under which a request is logged and answered.

use std::fmt;

use http::HeaderName;

/// The header of every answer that has the id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Sixteen random hexadecimal digits: enough to find a line, not meant to be a secret.
#[derive(Debug, Clone, Copy)]
pub struct RequestId(u64);

impl RequestId {
    /// A new id.
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
