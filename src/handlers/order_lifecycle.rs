//! An order's lifecycle: created, paid for, finalized.
use tracing::info;
use webhook_receiver::vendors::directscale::order_lifecycle::{
    CreateOrderEvent, CreateOrderPaymentEvent, FinalizeOrderEvent,
};
use webhook_receiver::{Catalog, Delivery, Outcome};

use super::Context;

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new().on(created).on(paid).on(finalized)
}

async fn created(_: Context, order: Delivery<CreateOrderEvent>) -> Outcome {
    info!(
        order.number = %order.order_number,
        order.status = order.order_status.as_deref(),
        "order created"
    );
    Ok(())
}

async fn paid(_: Context, payment: Delivery<CreateOrderPaymentEvent>) -> Outcome {
    info!(
        order.number = %payment.order_number,
        payment.id = %payment.order_payment_id,
        payment.status = payment.payment_status.as_deref(),
        "payment recorded"
    );
    Ok(())
}

async fn finalized(_: Context, order: Delivery<FinalizeOrderEvent>) -> Outcome {
    info!(
        order.number = %order.order_number,
        order.status = order.order_status.as_deref(),
        "order finalized"
    );
    Ok(())
}
