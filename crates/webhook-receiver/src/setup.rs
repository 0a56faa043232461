//! Clients for a fork's context, set up from the settings.

use std::sync::Arc;

use contract::extension::ExtensionApi;
use settings::Config;

/// The clients that the settings describe, for a fork's `connect`.
#[derive(Debug, Clone)]
pub struct Setup {
    config: Config,
}

impl Setup {
    pub(crate) fn new(config: Config) -> Self {
        Setup { config }
    }

    /// The client of the vendor's services for the source of this name in the settings, at the `callback_url` of its hooks
    /// and with its callback key. Clones of one client share its rate limit, so call this once for each source.
    ///
    /// # Errors
    /// If the settings lack the source, the address or the key; the error names the line to write.
    pub fn extension_api(&self, source: &str) -> anyhow::Result<ExtensionApi> {
        Ok(ExtensionApi::new(Arc::new(self.config.extension_client(source)?)))
    }
}
