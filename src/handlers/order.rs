//! Orders as the event bus of 2018 announces them.

use tracing::info;

use super::Context;
use crate::catalog::Catalog;
use crate::event::{Delivery, Outcome};
use crate::events::directscale::order::OrderEvent;

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new().on(placed)
}

async fn placed(_: Context, order: Delivery<OrderEvent>) -> Outcome {
    info!(
        order.number = %order.order_id,
        order.status = order.order_status.as_deref(),
        "order placed"
    );
    Ok(())
}
