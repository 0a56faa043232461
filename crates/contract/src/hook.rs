//! Process Hooks: a sender calls instead of running its own logic, waits for the response, and lends that logic for one
//! use.
//!
//! A handler's three patterns are **before** (change the request, proceed, return), **after** (proceed, change the
//! response, return) and **override** (return a response of one's own). Source: the vendor's "How Process Hooks Work".

mod call;
mod callback;
mod decoded;
mod failure;
mod representation;
mod sample;

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::effect::{DeferError, Deferrer};
use crate::event::{Environment, Event, Open};
use crate::time::Timestamp;

pub use call::{TraceHandle, UntypedCall};
pub use callback::UntypedCallback;
pub use callback::{Callback, CallbackError, CallbackRequest, CallbackTrace, Vendor};
pub use decoded::decoded;
pub use failure::{DiscoRemoteException, HookFailure, RemoteError};
pub use representation::{MAX_RESPONSE_BYTES, Representation};
pub use sample::Script;

/// One Process Hook: its id, its request and its response, declared once.
///
/// Routes, OpenAPI, the emitter and the tests read it from the [`Catalog`](crate::catalog::Catalog). Its doc comment is
/// the description in OpenAPI; hence `ToSchema`.
pub trait Hook: ToSchema + Send + Sync + 'static {
    /// The vendor's id, e.g. `Autoships.CreateAutoship`. Matched without regard to case.
    const ID: &'static str;

    /// Other spellings of the id. `Autoship.X` is one of every `Autoships.X` without being listed.
    const ALIASES: &'static [&'static str] = &[];

    /// The vendor's request.
    type Request: Model;

    /// The response that the vendor expects, which is also that of its own logic.
    type Response: Model;

    /// A sample request as JSON text: the vendor's documented one where there is one.
    fn example() -> &'static str;

    /// The response of the vendor's own logic to that sample, as JSON text.
    fn example_response() -> &'static str;
}

/// A request or response type: read from JSON, written as JSON, with a schema.
///
/// A hook without a model takes [`Json`](crate::event::Json).
pub trait Model: Serialize + DeserializeOwned + ToSchema + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + ToSchema + Send + Sync + 'static> Model for T {}

/// A call on its way to its handler.
///
/// The fields can be moved out one by one: `call.callback.proceed(call.request)`.
#[derive(Debug)]
pub struct HookCall<H: Hook> {
    /// The caller, the hook and the deadline.
    pub meta: HookMeta,
    /// The typed request; [`unknown`](Open::unknown) has the fields unknown to the model.
    pub request: Open<H::Request>,
    /// The vendor's own logic, for one use.
    pub callback: Callback<H>,
    /// Events of the fork's own, handled beside the call or after it: `call.deferrer.defer(event)`.
    pub deferrer: Deferrer,
}

impl<H: Hook> HookCall<H> {
    /// Defers an event of the fork's own, as [`Deferrer::defer`] does. After `proceed`, which consumes the callback, it is
    /// `call.deferrer.defer(event)`.
    ///
    /// # Errors
    /// As [`Deferrer::defer`].
    pub async fn defer<E: Event + Serialize>(&self, event: E) -> Result<(), DeferError> {
        self.deferrer.defer(event).await
    }
}

/// The metadata of a call: everything besides its request.
#[derive(Debug, Clone)]
pub struct HookMeta {
    /// The hook's id: the catalog's spelling, or the caller's for an unknown hook.
    pub hook: String,
    /// The configured source that calls.
    pub source: String,
    /// The source's environment.
    pub environment: Environment,
    /// The user on whose behalf the source calls, if there is one.
    pub user: Option<String>,
    /// The time of the call.
    pub received_at: Timestamp,
    /// The deadline of the response; the callback shares it.
    pub deadline: Instant,
}

impl HookMeta {
    /// The time left for the handler, its callback included.
    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// The result of a handler: the response, or a failure.
pub type HookOutcome<H> = Result<Open<<H as Hook>::Response>, HookFailure>;
