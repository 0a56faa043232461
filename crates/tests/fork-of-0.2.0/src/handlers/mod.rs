//! The handlers of a fork that began with 0.2.0. Nothing here is ever edited: it shows that a newer engine keeps its promises.

pub mod loyalty;
pub mod order;
pub mod shipping_hooks;
pub mod welcome;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::Router;
use webhook_receiver::Catalog;

/// What the handlers are given.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// The orders that were counted.
    pub orders: Arc<AtomicU64>,
}

impl Context {
    /// Makes the context.
    ///
    /// # Errors
    /// Never.
    pub async fn connect() -> anyhow::Result<Self> {
        Ok(Context::default())
    }
}

/// The pages that a vendor shows in a frame.
pub fn pages(cx: Context) -> Router {
    welcome::pages().with_state(cx)
}

/// The events and hooks.
pub fn catalog() -> Catalog<Context> {
    Catalog::new()
        .merge(loyalty::catalog())
        .merge(order::catalog())
        .merge(shipping_hooks::catalog())
}
