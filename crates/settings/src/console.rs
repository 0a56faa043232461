//! The settings of the console.

use std::net::SocketAddr;

use secrecy::SecretString;
use serde::Deserialize;

/// The operators' console: where it is served, and who may use it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsoleConfig {
    /// Serves the console.
    pub enabled: bool,
    /// An address of its own; without one it is served on the receiver's.
    pub listen: Option<SocketAddr>,
    /// The Argon2 hash of the viewers' password, as `webhook-receiver secret --hash` prints it.
    pub viewer_password_hash: Option<SecretString>,
    /// The Argon2 hash of the operators' password. Without a password the console is served on loopback only.
    pub operator_password_hash: Option<SecretString>,
}

impl Default for ConsoleConfig {
    fn default() -> Self {
        ConsoleConfig {
            enabled: true,
            listen: None,
            viewer_password_hash: None,
            operator_password_hash: None,
        }
    }
}
