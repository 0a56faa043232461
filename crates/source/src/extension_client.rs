//! The vendor's Extension API over HTTP, at the callback API's address and with its key.

use async_trait::async_trait;
use client::{execute, unpooled};
use contract::extension::{ExtensionCall, ExtensionCause, ExtensionTransport};
use contract::hook::Representation;
use contract::time::now;
use reqwest::Client;
use text::field::retry_after;
use tokio::time::{Instant, timeout_at};

use crate::CallbackApi;
use crate::callback_api::{read, unreachable};

/// The path of services, below the base URL.
const SERVICES: &str = "api/extension/services/";

/// The vendor's services of one environment.
pub struct ExtensionClient {
    api: CallbackApi,
    /// For calls that are not idempotent.
    unpooled: Client,
}

impl ExtensionClient {
    /// The services beside this callback API.
    ///
    /// # Errors
    /// If no client can be built.
    pub fn new(api: CallbackApi) -> anyhow::Result<Self> {
        Ok(ExtensionClient { unpooled: unpooled(api.is_https())?, api })
    }

    async fn exchange(&self, call: &ExtensionCall) -> Result<Representation, ExtensionCause> {
        let path = format!("{SERVICES}{}/v1/{}", call.service, call.method);
        let request = self.api.request(&path, call.body.clone())?;
        let response = match call.is_idempotent {
            true => execute(&self.api.client, request).await,
            false => self.unpooled.execute(request).await,
        };
        let response = response.map_err(unreachable)?;
        let status = response.status();
        let retry_after = retry_after(response.headers(), now());
        let body = read(response).await;
        if status.is_success() {
            return Ok(body?);
        }
        // An error without a readable body is still that error.
        let body = body.and_then(|body| body.decoded()).unwrap_or_default();
        Err(ExtensionCause::Status { status: status.as_u16(), retry_after, body })
    }
}

#[async_trait]
impl ExtensionTransport for ExtensionClient {
    async fn attempt(
        &self,
        call: &ExtensionCall,
        deadline: Instant,
    ) -> Result<Representation, ExtensionCause> {
        timeout_at(deadline, self.exchange(call)).await.unwrap_or(Err(ExtensionCause::TimedOut))
    }
}
