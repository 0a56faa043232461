//! Orders as the event bus of 2018 announces them, and the fork's own event about them.

use serde::Deserialize;
use tracing::info;
use utoipa::ToSchema;

use super::Context;
use crate::catalog::Catalog;
use crate::event::{Delivery, Event, Id, Outcome};
use crate::events::directscale::order::OrderEvent;

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new().on(placed).on(held)
}

async fn placed(_: Context, order: Delivery<OrderEvent>) -> Outcome {
    if order.order_status.as_deref() == Some("Paid") {
        info!(order.number = %order.order_id, environment = %order.meta.environment, "order paid");
    }
    Ok(())
}

/// An order waits for a person.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct OrderHeldEvent {
    /// The number of the order.
    pub order_id: Id,
    /// Why it waits.
    pub reason: Option<String>,
}

impl Event for OrderHeldEvent {
    const TYPE: &'static str = "OrderHeldEvent";

    fn example() -> &'static str {
        r#"{"OrderId":1,"Reason":"address"}"#
    }
}

async fn held(_: Context, order: Delivery<OrderHeldEvent>) -> Outcome {
    info!(order.number = %order.order_id, order.reason = order.reason.as_deref(), "order held");
    Ok(())
}
