//! A webhook receiver to fork: it authenticates a sender's deliveries, drops duplicates, stores them durably, answers,
//! and hands each one, typed, to a handler function.
//!
//! A fork depends on this crate alone. It registers handlers in a [`Catalog`] and hands an [`App`] to [`main`].

mod app;
mod cli;
mod commands;
mod setup;
pub mod testing;

pub use app::{App, Connect};
pub use cli::main;
pub use contract::catalog::{Catalog, Clash};
pub use contract::codes;
pub use contract::effect::{DeferError, Deferrer, Once};
pub use contract::event::{
    Code, Codes, DecodeError, Delivery, DeliveryId, Dialect, Environment, Event, Failure, Id, Json,
    Meta, Money, NetDateTime, Open, Outcome, Quantity,
};
pub use contract::extension::{
    ExtensionApi, ExtensionCall, ExtensionCause, ExtensionError, ExtensionScript,
    ExtensionTransport,
};
pub use contract::hook::{
    Callback, CallbackError, Hook, HookCall, HookFailure, HookMeta, HookOutcome, Representation,
    Script,
};
pub use contract::time::Timestamp;
#[cfg(feature = "tokio-postgres")]
pub use effects::postgres;
#[cfg(feature = "rusqlite")]
pub use effects::sqlite;
pub use receiver::ingress::page::PageUser;
pub use setup::Setup;
pub use vendors;
