//! The canary: a marked probe that the doctor sends to examine the path to the receiver. It never reaches a handler.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The canary's event type, matched exactly. It is also the member that marks the body: a proxy may remove every other
/// mark of the request.
pub const CANARY: &str = "webhook-receiver.canary";

/// The receiver's report on a canary, by which `doctor` finds changes made on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CanaryReport {
    /// SHA-256 of the bytes that were verified, in hexadecimal digits.
    pub sha256: String,
    /// The number of those bytes.
    pub size: usize,
    /// The query of the request, without its `access_token`.
    pub query: Option<String>,
    /// The names of the received headers.
    pub headers: Vec<String>,
    /// The receiver's clock.
    pub received_at: Timestamp,
    /// The fingerprint of the key that authenticated it.
    pub key: Option<String>,
    /// True if its id was received before with other bytes.
    pub conflict: bool,
    /// The catalog's name for the event or hook named by the mark or else by the path, if it has a handler.
    pub handles: Option<String>,
    /// The receiver's body limit, in bytes.
    pub max_body: usize,
}
