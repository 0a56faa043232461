//! How a source's hooks are received, and how its vendor is called back.

use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;

use super::ConfigError;

/// How a source's hooks are received.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HooksConfig {
    /// The path under which they are received.
    #[serde(default = "default_path")]
    pub path: String,
    /// The vendor's own system.
    #[serde(default)]
    pub callback_url: Option<String>,
    /// The vendor's key for the callback.
    #[serde(default)]
    pub callback_key: Option<SecretString>,
    /// The file that holds it.
    #[serde(default)]
    pub callback_key_file: Option<PathBuf>,
}

fn default_path() -> String {
    "/api/hooks".into()
}

impl HooksConfig {
    /// The vendor's key for the callback.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn callback_key(&self, name: &str) -> Result<Option<SecretString>, ConfigError> {
        let Some(file) = &self.callback_key_file else { return Ok(self.callback_key.clone()) };
        let text = std::fs::read_to_string(file)
            .map_err(|error| ConfigError(format!("[sources.{name}.hooks]: {error}")))?;
        Ok(Some(text.trim_end().into()))
    }
}
