//! Custom events without a model of their own.

use tracing::info;

use super::Context;
use crate::catalog::Catalog;
use crate::event::{Delivery, Outcome};
use crate::events::directscale::client::ClientEvent;

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new().on(arrived)
}

async fn arrived(_: Context, event: Delivery<ClientEvent>) -> Outcome {
    info!(delivery.id = event.meta.id, event.bytes = event.raw().len(), "custom event");
    Ok(())
}
