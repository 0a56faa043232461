//! The configured keys, each with its type and its setting, for callers that must not show the key itself.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use signature::{Fingerprint, Key};

use super::{Config, ConfigError, SourceConfig};

/// The type of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeySort {
    /// A bearer key.
    Bearer,
    /// A signing key.
    Signing,
    /// A former bearer or signing key, no longer accepted.
    Retired,
}

impl KeySort {
    /// The name in listings.
    pub const fn as_str(self) -> &'static str {
        match self {
            KeySort::Bearer => "bearer",
            KeySort::Signing => "signing",
            KeySort::Retired => "retired",
        }
    }

    /// True if the key authenticates requests.
    pub const fn is_accepted(self) -> bool {
        !matches!(self, KeySort::Retired)
    }
}

/// One key of a source.
#[derive(Debug, Clone)]
pub struct ConfiguredKey {
    /// The source's name.
    pub source: String,
    /// The type of the key.
    pub sort: KeySort,
    /// The fingerprint, which identifies the key in logs.
    pub fingerprint: Fingerprint,
    /// The setting, with the index in its list or the name of the file.
    pub location: String,
    /// The key itself.
    pub secret: SecretString,
}

impl ConfiguredKey {
    /// True if both are the same key, in any form.
    pub(super) fn is(&self, other: &ConfiguredKey) -> bool {
        self.fingerprint == other.fingerprint
            || self.secret.expose_secret() == other.secret.expose_secret()
    }

    /// The setting, with its section.
    pub fn setting(&self) -> String {
        format!("[sources.{}] {}", self.source, self.location)
    }
}

impl Config {
    /// Every key of every source, in the order of the settings.
    ///
    /// # Errors
    /// [`ConfigError`] for an empty key or a file that cannot be read.
    pub fn keys(&self) -> Result<Vec<ConfiguredKey>, ConfigError> {
        let keys = self.sources.iter().map(|(name, source)| source.keys(name));
        Ok(keys.collect::<Result<Vec<_>, _>>()?.concat())
    }
}

impl SourceConfig {
    /// Every key of this source, with its name `name`.
    pub(super) fn keys(&self, name: &str) -> Result<Vec<ConfiguredKey>, ConfigError> {
        let bearer = ("bearer_tokens", "bearer_token_files", self.bearer_token_files.as_slice());
        let signing = ("signing_keys", "signing_key_files", self.signing_key_files.as_slice());
        let retired = ("retired_keys", "retired_key_files", self.retired_key_files.as_slice());
        let scheme = self.scheme(name).ok().flatten();
        let fingerprint = |sort, secret: &SecretString| {
            let scheme = scheme.as_ref().filter(|_| sort != KeySort::Bearer);
            let key = scheme.and_then(|scheme| Key::new(scheme, secret).ok());
            key.map_or_else(|| Fingerprint::of(secret), |key| key.fingerprint)
        };
        let mut keys = Vec::new();
        for (sort, secrets, settings) in [
            (KeySort::Bearer, self.bearer_keys(name)?, bearer),
            (KeySort::Signing, self.signing_keys(name)?, signing),
            (KeySort::Retired, self.retired_keys(name)?, retired),
        ] {
            let locations = locations(secrets.len(), settings);
            keys.extend(secrets.into_iter().zip(locations).map(|(secret, location)| {
                ConfiguredKey {
                    source: name.to_owned(),
                    sort,
                    fingerprint: fingerprint(sort, &secret),
                    location,
                    secret,
                }
            }));
        }
        Ok(keys)
    }
}

/// The settings of some keys: those in the list come first, then those in files.
pub(super) fn locations(
    keys: usize,
    (list, files, paths): (&str, &str, &[PathBuf]),
) -> Vec<String> {
    let listed = keys - paths.len();
    let in_list = (1..=listed).map(|number| match listed {
        1 => list.to_owned(),
        _ => format!("{list}, {number} of {listed}"),
    });
    let in_files = paths.iter().map(|path| format!("{files}, {}", path.display()));
    in_list.chain(in_files).collect()
}
