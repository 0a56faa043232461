//! Inventory items: created and deleted.
use tracing::info;
use webhook_receiver::vendors::directscale::inventory::{
    CreateInventoryItemEvent, DeleteInventoryItemEvent,
};
use webhook_receiver::{Catalog, Delivery, Id, Outcome};

use super::Context;

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new().on(created).on(deleted)
}

async fn created(_: Context, item: Delivery<CreateInventoryItemEvent>) -> Outcome {
    info!(
        item.id = item.item_id.as_ref().map(Id::as_str),
        item.sku = item.sku.as_deref(),
        "inventory item created"
    );
    Ok(())
}

async fn deleted(_: Context, item: Delivery<DeleteInventoryItemEvent>) -> Outcome {
    info!(item.id = %item.item_id, item.sku = item.sku.as_deref(), "inventory item deleted");
    Ok(())
}
