//! The canary: a marked probe that the doctor sends to see what arrives. It never reaches a handler.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The canary's event type, matched exactly. It is also the member that marks the body: a proxy may take away whatever else
/// marks the request.
pub const CANARY: &str = "webhook-receiver.canary";

/// What the receiver saw of a canary, so that `doctor` can tell what was changed on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Echo {
    /// SHA-256 of the bytes that were verified, in hexadecimal digits.
    pub sha256: String,
    /// How many bytes that were.
    pub size: usize,
    /// The query of the request, its `access_token` left out.
    pub query: Option<String>,
    /// The names of the headers that arrived.
    pub headers: Vec<String>,
    /// The receiver's clock.
    pub received_at: Timestamp,
    /// The fingerprint of the key that proved it.
    pub key: Option<String>,
    /// Whether its id was seen before with other bytes.
    pub conflict: bool,
    /// The catalog's name for the event or hook that the mark or else the path names, if a handler takes it.
    pub handles: Option<String>,
    /// The largest body that the receiver takes, in bytes.
    pub max_body: usize,
}
