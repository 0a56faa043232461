//! The route of a source's Process Hooks, and the callback to its vendor.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use contract::hook::{CallbackError, CallbackRequest, Representation, Vendor};
use tokio::time::Instant;

use crate::{CallbackApi, PageError, Source};

/// The route of a source's hooks, and the callback to its vendor.
pub struct HookRoute {
    /// The calling source.
    pub source: Arc<Source>,
    /// The path of the calls, in lower case, without a slash at the end.
    pub path: String,
    /// The deadline of a call, its callback included.
    pub deadline: Duration,
    /// The most concurrent calls.
    pub concurrency: usize,
    /// The treatment of a hook without a handler.
    pub unhandled: Unhandled,
    /// The recorded parts of a call.
    pub recording: Recording,
    /// The path of the fork's own pages, if they are served.
    pub pages: Option<String>,
    /// The vendor's callback API, if it is configured.
    pub api: Option<Arc<CallbackApi>>,
}

impl HookRoute {
    /// The vendor's own logic.
    pub fn vendor(&self) -> Arc<dyn Vendor> {
        match &self.api {
            Some(api) => Arc::<CallbackApi>::clone(api),
            None => Arc::new(NotConfigured(self.source.name.clone())),
        }
    }

    /// The name of the user who opened the page with this token.
    ///
    /// # Errors
    /// [`PageError`] if the token is not the page's, or the vendor cannot be asked.
    pub async fn page_user(
        &self,
        page: &str,
        token: &str,
        deadline: Instant,
    ) -> Result<String, PageError> {
        match &self.api {
            Some(api) => api.page_user(page, token, deadline).await,
            None => Err(CallbackError::NotConfigured(self.source.name.clone()).into()),
        }
    }
}

/// The treatment of a hook without a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unhandled {
    /// The call is forwarded to the vendor's own logic.
    #[default]
    PassThrough,
    /// The call is refused with 501.
    Refuse,
}

/// The recorded parts of a call besides its times and its outcome.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recording {
    /// True if bodies are recorded.
    pub bodies: bool,
    /// The fields whose values are redacted, at any depth; in lower case.
    pub redact: Vec<String>,
}
/// A vendor without a callback URL; it holds the source's name, for the message.
struct NotConfigured(String);

#[async_trait]
impl Vendor for NotConfigured {
    async fn run(&self, _: CallbackRequest<'_>) -> Result<Representation, CallbackError> {
        Err(CallbackError::NotConfigured(self.0.clone()))
    }
}
