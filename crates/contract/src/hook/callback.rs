//! The callback: the vendor's own logic, for a handler to run once or not at all.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderValue;
use tokio::time::Instant;

use super::{Hook, Representation, decoded};
use crate::event::{DecodeError, Open};

/// The right to run the vendor's own logic. Its token is valid for one use, so using it consumes it.
pub struct Callback<H> {
    callback: UntypedCallback,
    hook: PhantomData<fn() -> H>,
}

impl<H: Hook> Callback<H> {
    /// The callback with its hook's type.
    pub fn new(callback: UntypedCallback) -> Self {
        Callback { callback, hook: PhantomData }
    }

    /// Runs the vendor's own logic on the request and returns its response.
    ///
    /// Through `?` a failure becomes the call's: a 500 of the vendor's logic is forwarded as it is; any other cause is
    /// logged, and the caller gets an error id.
    ///
    /// # Errors
    /// [`CallbackError`] if the vendor times out, refuses, or sends an unexpected response. It is then unknown if its
    /// logic has run, except for [`Vendor`](CallbackError::Vendor) and [`Refused`](CallbackError::Refused).
    pub fn proceed(
        self,
        request: impl Into<Open<H::Request>>,
    ) -> impl Future<Output = Result<Open<H::Response>, CallbackError>> + Send {
        // Encoded before the future: the model would make the future several times as large.
        let request = serde_json::to_vec(&request.into());
        async move {
            let request = request.map_err(|error| CallbackError::NotJson(error.to_string()))?;
            let response = self.callback.run(request.into()).await?;
            // A response without members may have no body.
            let response = response.decoded()?;
            let response: &[u8] = if response.is_empty() { b"null" } else { &response };
            decoded(response).map_err(CallbackError::NotModel)
        }
    }
}

impl<H> fmt::Debug for Callback<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callback")
    }
}

/// The vendor's own logic, behind the callback API.
#[async_trait]
pub trait Vendor: Send + Sync + 'static {
    /// Runs it once, without retries: the call uses up the token.
    async fn run(&self, callback: CallbackRequest<'_>) -> Result<Representation, CallbackError>;
}

/// A callback's request.
pub struct CallbackRequest<'c> {
    /// The hook's id.
    pub hook: &'c str,
    /// The one-time token that came with the call.
    pub token: &'c HeaderValue,
    /// The user on whose behalf the call came, if there is one; byte for byte as received.
    pub user: Option<&'c HeaderValue>,
    /// The request model as JSON.
    pub body: Bytes,
    /// The deadline of the response.
    pub deadline: Instant,
}

/// The reason for a missing response of the vendor's own logic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallbackError {
    /// The source has no callback URL.
    #[error(
        "[sources.{0}.hooks] has no callback_url; write callback_url = \"https://….corpadmin.directscale.com\" and callback_key_file"
    )]
    NotConfigured(String),
    /// The vendor's logic failed. The body is forwarded to the caller, byte for byte.
    #[error("the vendor's own logic failed (500)")]
    Vendor(Box<Representation>),
    /// The vendor did not accept the token or the key.
    #[error(
        "the callback was refused with {0}: the token is used, expired or unknown, or callback_key is not the vendor's"
    )]
    Refused(u16),
    /// The vendor sent a redirect. It is not followed: the token and the key would go along.
    #[error("the callback was answered {0}, a redirect; callback_url must be the address itself")]
    Redirected(u16),
    /// The status is not 200.
    #[error("the callback was answered {0}")]
    Status(u16),
    /// The call's deadline has passed.
    #[error("the callback was not answered within the call's deadline")]
    TimedOut,
    /// The connection could not be made, or it broke.
    #[error("the callback failed: {0}")]
    Unreachable(String),
    /// The response is larger than allowed.
    #[error("the callback's response is larger than {0} bytes")]
    TooLarge(usize),
    /// The content coding is not supported, or broken.
    #[error("the callback's response cannot be unpacked: {0}")]
    Encoding(String),
    /// The status is 200, but the body does not fit the response model.
    #[error("the callback's response is not the hook's response: {0}")]
    NotModel(DecodeError),
    /// The request cannot be encoded.
    #[error("the callback's request cannot be written as JSON: {0}")]
    NotJson(String),
}

/// The trace of a callback, for the hook log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallbackTrace {
    /// The duration.
    pub took: Duration,
    /// The reason of the failure, if it failed.
    pub error: Option<String>,
    /// The request body.
    pub request: Bytes,
    /// The response body, a failed logic's included.
    pub response: Option<Bytes>,
}

/// An unused callback before its type is known.
pub struct UntypedCallback {
    pub(super) vendor: Arc<dyn Vendor>,
    pub(super) hook: String,
    pub(super) token: HeaderValue,
    pub(super) user: Option<HeaderValue>,
    pub(super) deadline: Instant,
    pub(super) trace: TraceSlot,
}

/// The slot for a callback's trace; it outlives the handler.
pub(super) type TraceSlot = Arc<Mutex<Option<CallbackTrace>>>;

impl UntypedCallback {
    /// Runs the vendor's own logic on a request body.
    pub async fn run(self, body: Bytes) -> Result<Representation, CallbackError> {
        let started = Instant::now();
        let mut guard =
            TraceGuard { trace: &self.trace, started, request: body.clone(), response: None };
        let callback = CallbackRequest {
            hook: &self.hook,
            token: &self.token,
            user: self.user.as_ref(),
            body,
            deadline: self.deadline,
        };
        let response = self.vendor.run(callback).await;
        guard.response = Some(response.clone());
        response
    }
}

/// Writes the trace when dropped, even if the handler is cancelled meanwhile.
struct TraceGuard<'t> {
    trace: &'t TraceSlot,
    started: Instant,
    request: Bytes,
    response: Option<Result<Representation, CallbackError>>,
}

impl Drop for TraceGuard<'_> {
    fn drop(&mut self) {
        // A body that cannot be decoded is kept as received.
        let plain = |response: Representation| response.decoded().unwrap_or(response.body);
        let (response, error) = match self.response.take() {
            Some(Ok(response)) => (Some(plain(response)), None),
            Some(Err(error)) => {
                let reason = error.to_string();
                let body = match error {
                    CallbackError::Vendor(response) => Some(plain(*response)),
                    _ => None,
                };
                (body, Some(reason))
            }
            None => (None, Some("given up before its response".to_owned())),
        };
        let request = std::mem::take(&mut self.request);
        let trace = CallbackTrace { took: self.started.elapsed(), error, request, response };
        *self.trace.lock().unwrap_or_else(PoisonError::into_inner) = Some(trace);
    }
}
