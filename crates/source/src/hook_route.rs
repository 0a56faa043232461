//! Where a source's Process Hooks are received, and how its vendor is called back.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use contract::hook::{CallbackError, CallbackRequest, Representation, Vendor};
use tokio::time::Instant;

use crate::{CallbackApi, PageError, Source};

/// Where a source's hooks are received, and how its vendor is called back.
pub struct HookRoute {
    /// Who calls.
    pub source: Arc<Source>,
    /// The path under which it calls, in lower case, without a slash at the end.
    pub path: String,
    /// How long a call may take, its callback included.
    pub deadline: Duration,
    /// How many calls may be open at once.
    pub concurrency: usize,
    /// What becomes of a hook that no handler takes.
    pub unhandled: Unhandled,
    /// What is kept of a call.
    pub recording: Recording,
    /// The path under which the fork's own pages are served, if they are.
    pub pages: Option<String>,
    /// The vendor's system, if it can be called back.
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
    /// [`PageError`] if the token is not the page's, or the vendor cannot say.
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

/// What becomes of a hook that no handler takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unhandled {
    /// The vendor's own logic answers, as if there were no hook.
    #[default]
    PassThrough,
    /// It is refused with 501.
    Refuse,
}

/// What is kept of a call besides its times and its outcome.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recording {
    /// Whether the bodies are kept.
    pub bodies: bool,
    /// The fields whose values are not kept, wherever they stand; in lower case.
    pub redact: Vec<String>,
}
/// A vendor that cannot be called back; it holds the source's name, for the message.
struct NotConfigured(String);

#[async_trait]
impl Vendor for NotConfigured {
    async fn run(&self, _: CallbackRequest<'_>) -> Result<Representation, CallbackError> {
        Err(CallbackError::NotConfigured(self.0.clone()))
    }
}
