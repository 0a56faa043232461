//! The Extension API: the vendor's services, for handlers and hooks to call.
//!
//! A service's method takes JSON and answers JSON. Source: the vendor's "Calling the Extension API"; the list of services and
//! the rate that they accept are not documented publicly.

mod error;
mod post_event;
mod retry;
mod script;

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

use crate::event::Open;
use crate::hook::{Representation, decoded};
use crate::time::now;

pub use error::{ExtensionCause, ExtensionError};
pub use post_event::is_post_event;
pub use script::ExtensionScript;

use retry::Retries;

/// The calls per second, unless [`rate_limit`](ExtensionApi::rate_limit) says otherwise. The vendor documents none.
const RATE: NonZeroU32 = NonZeroU32::new(20).expect("it is not zero");

/// The time limit of a call: less than a handler's own limit of 30 s.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// A client of the vendor's services.
///
/// Clones share the connections and the rate limit, so it is a field of the fork's context. The façade's
/// `examples/extension.rs` shows it from the context to the unit test.
#[derive(Clone)]
pub struct ExtensionApi {
    transport: Arc<dyn ExtensionTransport>,
    rate: Arc<DefaultDirectRateLimiter>,
    time_limit: Duration,
}

/// The way to the vendor's services.
#[async_trait]
pub trait ExtensionTransport: Send + Sync + 'static {
    /// Makes one attempt: one request at most if the call is not idempotent, whatever happens to it.
    async fn attempt(
        &self,
        call: &ExtensionCall,
        deadline: Instant,
    ) -> Result<Representation, ExtensionCause>;
}

/// One call of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtensionCall {
    /// The service, e.g. `AssociateService`.
    pub service: String,
    /// Its method, e.g. `GetAssociate`.
    pub method: String,
    /// The request as JSON.
    pub body: Bytes,
    /// True if a repeated request has no second effect.
    pub is_idempotent: bool,
}

impl ExtensionApi {
    /// A client with the usual limits.
    pub fn new(transport: Arc<dyn ExtensionTransport>) -> Self {
        ExtensionApi { transport, rate: rate(RATE), time_limit: TIME_LIMIT }
    }

    /// The client with another rate limit, in calls per second; 20 by default. Its clones share it. A call that exceeds it
    /// waits.
    #[must_use]
    pub fn rate_limit(self, per_second: NonZeroU32) -> Self {
        ExtensionApi { rate: rate(per_second), ..self }
    }

    /// The client with another time limit of a call, waiting and retries included; 20 s by default. In a hook, the time
    /// that the call has left: `api.time_limit(call.meta.time_left())`.
    #[must_use]
    pub fn time_limit(self, time_limit: Duration) -> Self {
        ExtensionApi { time_limit, ..self }
    }

    /// Calls a method of a service, in one attempt. A [`Json`](crate::event::Json) is sent and returned digit for digit.
    ///
    /// Through `?` its failure becomes a handler's: to retry, or to reject if no retry can help. A handler that is retried
    /// calls again, and after a failure without a response it is unknown if the vendor has done it already.
    ///
    /// # Errors
    /// [`ExtensionError`] if the vendor cannot be reached in time, refuses, or answers with something else than a `T`.
    pub fn call<T: DeserializeOwned>(
        &self,
        service: &str,
        method: &str,
        body: &impl Serialize,
    ) -> impl Future<Output = Result<Open<T>, ExtensionError>> + Send {
        self.run(service, method, serde_json::to_vec(body), false, model)
    }

    /// As [`call`](Self::call), for a method without a second effect when it is called twice, such as one that reads.
    /// Failures that may pass are retried within the time limit, with growing delays, or after the vendor's `Retry-After`.
    ///
    /// # Errors
    /// As [`call`](Self::call): the last failure.
    pub fn call_idempotent<T: DeserializeOwned>(
        &self,
        service: &str,
        method: &str,
        body: &impl Serialize,
    ) -> impl Future<Output = Result<Open<T>, ExtensionError>> + Send {
        self.run(service, method, serde_json::to_vec(body), true, model)
    }

    /// Posts a custom event, which the vendor then delivers to its subscribers: `EventService.PostEvent`, in one attempt.
    ///
    /// `event` is an object with the event's own members; `EventType` and `EventDateUtc` are added unless it has them. **The
    /// vendor does not document this request**; if yours takes another, send it with
    /// `call::<Json>("EventService", "PostEvent", &request)`.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn post_event(
        &self,
        event_type: &str,
        event: &impl Serialize,
    ) -> impl Future<Output = Result<(), ExtensionError>> + Send {
        let request = post_event::request(event_type, event, now());
        // Nor is the response documented.
        self.run(post_event::SERVICE, post_event::METHOD, request, false, |_| Ok(()))
    }

    fn run<T>(
        &self,
        service: &str,
        method: &str,
        body: serde_json::Result<Vec<u8>>,
        is_idempotent: bool,
        read: fn(&Representation) -> Result<T, ExtensionCause>,
    ) -> impl Future<Output = Result<T, ExtensionError>> + Send {
        let (api, name) = (self.clone(), format!("{service}.{method}"));
        let call = named(service, method).and_then(|()| {
            let body = body.map_err(|error| ExtensionCause::NotJson(error.to_string()))?;
            let (service, method) = (service.to_owned(), method.to_owned());
            Ok(ExtensionCall { service, method, body: body.into(), is_idempotent })
        });
        async move {
            let result = match call {
                Ok(call) => api.answer(&call).await.and_then(|response| read(&response)),
                Err(cause) => Err(cause),
            };
            result.map_err(|cause| ExtensionError::new(name, cause))
        }
    }

    async fn answer(&self, call: &ExtensionCall) -> Result<Representation, ExtensionCause> {
        let mut retries = Retries::new(self.time_limit, call.is_idempotent);
        loop {
            self.wait_for_rate(retries.end()).await?;
            let cause = match self.transport.attempt(call, retries.attempt_deadline()).await {
                Err(cause) => cause,
                response => return response,
            };
            let Some(delay) = retries.next_delay(&cause) else { return Err(cause) };
            sleep(delay).await;
        }
    }

    async fn wait_for_rate(&self, deadline: Instant) -> Result<(), ExtensionCause> {
        while let Err(early) = self.rate.check() {
            let wait = early.wait_time_from(DefaultClock::default().now());
            if Instant::now() + wait >= deadline {
                return Err(ExtensionCause::RateLimit);
            }
            sleep(wait).await;
        }
        Ok(())
    }
}

impl fmt::Debug for ExtensionApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtensionApi").field("time_limit", &self.time_limit).finish_non_exhaustive()
    }
}

fn rate(per_second: NonZeroU32) -> Arc<DefaultDirectRateLimiter> {
    Arc::new(RateLimiter::direct(Quota::per_second(per_second)))
}

/// Refuses names that would change the path.
fn named(service: &str, method: &str) -> Result<(), ExtensionCause> {
    let is_name = |name: &str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        !name.is_empty() && name.chars().all(is_plain)
    };
    if is_name(service) && is_name(method) { Ok(()) } else { Err(ExtensionCause::Name) }
}

/// A response without members may have no body.
fn model<T: DeserializeOwned>(response: &Representation) -> Result<Open<T>, ExtensionCause> {
    let body = response.decoded()?;
    let body: &[u8] = if body.is_empty() { b"null" } else { &body };
    decoded(body).map_err(ExtensionCause::NotModel)
}

#[cfg(test)]
mod tests;
