//! The vendor's own logic as a handler sees it: to be run once, or not at all.

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

/// The right to run the vendor's own logic. Its token is good for one use, so using it consumes it.
pub struct Callback<H> {
    ticket: Ticket,
    hook: PhantomData<fn() -> H>,
}

impl<H: Hook> Callback<H> {
    pub fn new(ticket: Ticket) -> Self {
        Callback { ticket, hook: PhantomData }
    }

    /// Runs the vendor's own logic on the request and returns what it answers.
    ///
    /// Through `?` a failure becomes the call's: what the vendor's logic answered with 500 is handed on as it is, any other
    /// cause is logged, and the caller is told where to find it.
    ///
    /// # Errors
    /// [`CallbackError`] if the vendor does not answer in time, refuses, or answers something else. Whether its logic has run
    /// is then unknown, unless it is [`Vendor`](CallbackError::Vendor) or [`Refused`](CallbackError::Refused).
    pub fn proceed(
        self,
        request: impl Into<Open<H::Request>>,
    ) -> impl Future<Output = Result<Open<H::Response>, CallbackError>> + Send {
        // Written at once, the model is no part of the future, which would be several times as large.
        let request = serde_json::to_vec(&request.into());
        async move {
            let request = request.map_err(|error| CallbackError::NotJson(error.to_string()))?;
            let answer = self.ticket.redeem(request.into()).await?;
            // A logic that answers nothing may do so without a body.
            let answer = answer.decoded()?;
            let answer: &[u8] = if answer.is_empty() { b"null" } else { &answer };
            decoded(answer).map_err(CallbackError::NotModel)
        }
    }
}

impl<H> fmt::Debug for Callback<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callback")
    }
}

/// Runs the vendor's own logic.
#[async_trait]
pub trait Vendor: Send + Sync + 'static {
    /// One call, not to be repeated: the token is used up by it.
    async fn run(&self, callback: CallbackRequest<'_>) -> Result<Representation, CallbackError>;
}

/// What the vendor's own logic is asked.
pub struct CallbackRequest<'c> {
    /// The hook's id.
    pub hook: &'c str,
    /// The one-time token that came with the call.
    pub token: &'c HeaderValue,
    /// The user on whose behalf the call came, if there is one; byte for byte as it came.
    pub user: Option<&'c HeaderValue>,
    /// The request model as JSON.
    pub body: Bytes,
    /// When the answer must be there.
    pub deadline: Instant,
}

/// Why the vendor's own logic has given no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallbackError {
    /// There is nobody to call back.
    #[error(
        "[sources.{0}.hooks] has no callback_url; write callback_url = \"https://….corpadmin.directscale.com\" and callback_key_file"
    )]
    NotConfigured(String),
    /// The vendor's logic failed. Its body is for the caller, byte for byte.
    #[error("the vendor's own logic failed (500)")]
    Vendor(Box<Representation>),
    /// The vendor did not accept the token or the key.
    #[error(
        "the callback was refused with {0}: the token is used, expired or unknown, or callback_key is not the vendor's"
    )]
    Refused(u16),
    /// The vendor sent the callback elsewhere. It is not followed: the token and the key would go along.
    #[error("the callback was answered {0}, a redirect; callback_url must be the address itself")]
    Redirected(u16),
    /// Any other answer but 200.
    #[error("the callback was answered {0}")]
    Status(u16),
    /// The whole call's time is over.
    #[error("the callback was not answered within the call's deadline")]
    TimedOut,
    /// There was no connection, or it broke.
    #[error("the callback failed: {0}")]
    Unreachable(String),
    /// More bytes than a response can have.
    #[error("the callback's answer is larger than {0} bytes")]
    TooLarge(usize),
    /// An answer that is packed in a way that is not known here, or wrongly.
    #[error("the callback's answer cannot be unpacked: {0}")]
    Coded(String),
    /// 200 with something that is not the hook's response.
    #[error("the callback's answer is not the hook's response: {0}")]
    NotModel(DecodeError),
    /// The request cannot be written.
    #[error("the callback's request cannot be written as JSON: {0}")]
    NotJson(String),
}

/// What came of a callback, for the log of calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallbackTrace {
    /// How long it took.
    pub took: Duration,
    /// Why it failed, if it did.
    pub error: Option<String>,
    /// What was asked.
    pub request: Bytes,
    /// What was answered, a failed logic's body included.
    pub response: Option<Bytes>,
}

/// A callback that has not been used yet, before it has its type.
pub struct Ticket {
    pub(super) vendor: Arc<dyn Vendor>,
    pub(super) hook: String,
    pub(super) token: HeaderValue,
    pub(super) user: Option<HeaderValue>,
    pub(super) deadline: Instant,
    pub(super) trace: Trace,
}

/// Where a callback leaves what came of it, whatever becomes of the handler that used it.
pub(super) type Trace = Arc<Mutex<Option<CallbackTrace>>>;

impl Ticket {
    /// Runs the vendor's own logic on the bytes.
    pub async fn redeem(self, body: Bytes) -> Result<Representation, CallbackError> {
        let started = Instant::now();
        let mut kept = Kept { trace: &self.trace, started, request: body.clone(), answer: None };
        let callback = CallbackRequest {
            hook: &self.hook,
            token: &self.token,
            user: self.user.as_ref(),
            body,
            deadline: self.deadline,
        };
        let answer = self.vendor.run(callback).await;
        kept.answer = Some(answer.clone());
        answer
    }
}

/// Leaves a trace even of a callback whose handler is given up meanwhile.
struct Kept<'t> {
    trace: &'t Trace,
    started: Instant,
    request: Bytes,
    answer: Option<Result<Representation, CallbackError>>,
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        // What cannot be unpacked is kept as it came.
        let plain = |answer: Representation| answer.decoded().unwrap_or(answer.body);
        let (response, error) = match self.answer.take() {
            Some(Ok(answer)) => (Some(plain(answer)), None),
            Some(Err(error)) => {
                let reason = error.to_string();
                let body = match error {
                    CallbackError::Vendor(answer) => Some(plain(*answer)),
                    _ => None,
                };
                (body, Some(reason))
            }
            None => (None, Some("given up before its answer".to_owned())),
        };
        let request = std::mem::take(&mut self.request);
        let trace = CallbackTrace { took: self.started.elapsed(), error, request, response };
        *self.trace.lock().unwrap_or_else(PoisonError::into_inner) = Some(trace);
    }
}
