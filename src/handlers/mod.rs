//! The handlers of this fork, with the context that they are given.
//!
//! A new event of a family is one more function and one more `.on(…)` in the family's file, a new hook one more function
//! and one more `.hook(…)`. A new family is one more file and two lines here; `loyalty.rs` is the one to copy for events,
//! `shipping_hooks.rs` for hooks.

pub mod associate;
pub mod associate_hooks;
pub mod autoship_hooks;
pub mod client;
pub mod daily;
pub mod enrollment;
pub mod evolutionx;
pub mod github;
pub mod inventory;
pub mod loyalty;
pub mod order;
pub mod order_hooks;
pub mod order_lifecycle;
pub mod shipping_hooks;
pub mod stock;
pub mod subscription;
pub mod welcome;

use axum::Router;
use webhook_receiver::{Catalog, Setup};

/// The context of every handler: the fork's own connections and clients.
///
/// It is cloned for each delivery, so its fields are cheap to clone: a pool, a client, an `Arc`. The default is what
/// tests give to handlers.
#[derive(Debug, Clone, Default)]
pub struct Context {}

impl Context {
    /// Makes the context, once, before anything is received.
    ///
    /// # Errors
    /// If what the handlers need is not there; the receiver then does not start.
    pub async fn connect(_: Setup) -> anyhow::Result<Self> {
        Ok(Context {})
    }
}

/// The pages that the vendor shows in a frame, below `pages` of a source's hooks.
pub fn pages(cx: Context) -> Router {
    welcome::pages().with_state(cx)
}

/// Every event and every hook that is handled, with its handler.
pub fn catalog() -> Catalog<Context> {
    Catalog::new()
        .merge(associate::catalog())
        .merge(associate_hooks::catalog())
        .merge(autoship_hooks::catalog())
        .merge(client::catalog())
        .merge(daily::catalog())
        .merge(enrollment::catalog())
        .merge(evolutionx::catalog())
        .merge(github::catalog())
        .merge(inventory::catalog())
        .merge(loyalty::catalog())
        .merge(order::catalog())
        .merge(order_hooks::catalog())
        .merge(order_lifecycle::catalog())
        .merge(shipping_hooks::catalog())
        .merge(stock::catalog())
        .merge(subscription::catalog())
}
