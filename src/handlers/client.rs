//! Custom events without a model of their own.
use tracing::info;
use webhook_receiver::vendors::directscale::client::ClientEvent;
use webhook_receiver::{Catalog, Delivery, Outcome};

use super::Context;

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new().on(arrived)
}

async fn arrived(_: Context, event: Delivery<ClientEvent>) -> Outcome {
    info!(delivery.id = event.meta.id, event.bytes = event.raw().len(), "custom event");
    Ok(())
}
