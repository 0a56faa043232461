//! Stock levels.

use tracing::info;

use super::Context;
use crate::catalog::Catalog;
use crate::event::{Delivery, Outcome};
use crate::events::directscale::stock::StockLevelEvent;

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new().on(changed)
}

async fn changed(_: Context, stock: Delivery<StockLevelEvent>) -> Outcome {
    info!(item.id = %stock.item_id, stock.status = stock.status.as_deref(), "stock level changed");
    Ok(())
}
