//! Inventory items: created and deleted.

use tracing::info;

use super::Context;
use crate::catalog::Catalog;
use crate::event::{Delivery, Id, Outcome};
use crate::events::directscale::inventory::{CreateInventoryItemEvent, DeleteInventoryItemEvent};

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
