//! Process Hooks: a sender calls instead of running its own logic, waits for the answer, and lends that logic for one use.
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

use crate::event::{Environment, Open};
use crate::time::Timestamp;

pub use call::{Call, Traced};
pub use callback::Ticket;
pub use callback::{Callback, CallbackError, CallbackRequest, CallbackTrace, Vendor};
pub use decoded::decoded;
pub use failure::{DiscoRemoteException, HookFailure, RemoteError};
pub use representation::{LARGEST, Representation};
pub use sample::Script;

/// One Process Hook: its id and what is asked and answered, declared once.
///
/// Routes, OpenAPI, the emitter and the tests read it from the [`Catalog`](crate::catalog::Catalog). Its doc comment is what
/// OpenAPI says of it; hence `ToSchema`.
pub trait Hook: ToSchema + Send + Sync + 'static {
    /// The vendor's id, e.g. `Autoships.CreateAutoship`. Matched without regard to case.
    const ID: &'static str;

    /// Other spellings of the id.
    const ALIASES: &'static [&'static str] = &[];

    /// What the vendor asks.
    type Request: Model;

    /// What the vendor expects, which is also what its own logic answers.
    type Response: Model;

    /// A sample request as JSON text: the vendor's documented one where there is one.
    fn example() -> &'static str;

    /// What the vendor's own logic answers to that sample, as JSON text.
    fn example_response() -> &'static str;
}

/// What a request or a response can be: a type that is read from JSON, written as JSON, and described.
///
/// A hook without a model takes [`Json`](crate::event::Json).
pub trait Model: Serialize + DeserializeOwned + ToSchema + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + ToSchema + Send + Sync + 'static> Model for T {}

/// A call on its way to its handler.
///
/// The fields can be moved out one by one: `call.callback.proceed(call.request)`.
#[derive(Debug)]
pub struct HookCall<H: Hook> {
    /// Who calls, for what, and until when.
    pub meta: HookMeta,
    /// The typed request; [`unknown`](Open::unknown) has the fields that the model does not know.
    pub request: Open<H::Request>,
    /// The vendor's own logic, for one use.
    pub callback: Callback<H>,
}

/// All that is known of a call besides its request.
#[derive(Debug, Clone)]
pub struct HookMeta {
    /// The hook's id: the catalog's spelling, or the caller's if the catalog does not know it.
    pub hook: String,
    /// The configured source that calls.
    pub source: String,
    /// The source's environment.
    pub environment: Environment,
    /// The user on whose behalf it calls, if there is one.
    pub user: Option<String>,
    /// When the call came.
    pub received_at: Timestamp,
    /// When it must be answered; the callback shares it.
    pub deadline: Instant,
}

impl HookMeta {
    /// How long the handler, its callback included, may still take.
    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// What a handler returns: the response, or why there is none.
pub type HookOutcome<H> = Result<Open<<H as Hook>::Response>, HookFailure>;
