//! Stock levels.
use tracing::info;
use webhook_receiver::vendors::directscale::stock::StockLevelEvent;
use webhook_receiver::{Catalog, Delivery, Outcome};

use super::Context;

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new().on(changed)
}

async fn changed(_: Context, stock: Delivery<StockLevelEvent>) -> Outcome {
    info!(item.id = %stock.item_id, stock.status = stock.status.as_deref(), "stock level changed");
    Ok(())
}
