//! Orders as the event bus of 2018 announces them.

use tracing::info;
use webhook_receiver::vendors::directscale::order::OrderEvent;
use webhook_receiver::{Catalog, Delivery, Outcome};

use super::Context;

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new().on(placed)
}

async fn placed(_: Context, order: Delivery<OrderEvent>) -> Outcome {
    if order.order_status.as_deref() == Some("Paid") {
        info!(order.number = %order.order_id, environment = %order.meta.environment, "order paid");
    }
    Ok(())
}
