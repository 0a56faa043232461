//! Orders, counted.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tracing::info;
use webhook_receiver::vendors::directscale::hooks::autoship::{CreateAutoship, UpdateAutoship};
use webhook_receiver::vendors::directscale::order::OrderEvent;
use webhook_receiver::{
    Catalog, Delivery, Environment, Failure, HookCall, HookFailure, HookOutcome, Outcome,
};

use super::Context;

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new().on(placed).hook(create).unhandled::<UpdateAutoship>()
}

async fn placed(cx: Context, order: Delivery<OrderEvent>) -> Outcome {
    if order.meta.environment == Environment::Stage && order.meta.is_replay() {
        return Err(Failure::retry_after(Duration::from_secs(60), "not twice on stage"));
    }
    let count = cx.orders.fetch_add(1, Ordering::Relaxed);
    info!(order.number = %order.order_id, order.count = count, "order counted");
    Ok(())
}

async fn create(_: Context, mut call: HookCall<CreateAutoship>) -> HookOutcome<CreateAutoship> {
    if call.meta.user.as_deref() == Some("nobody") {
        return Err(HookFailure::user_message("Nobody has no autoships."));
    }
    let custom = call.request.autoship_info.custom.get_or_insert_default();
    custom.field1 = Some("from the fork".into());
    Ok(call.callback.proceed(call.request).await?)
}

#[cfg(test)]
mod tests {
    use webhook_receiver::{Hook, Script};

    use super::*;

    #[tokio::test]
    async fn an_order_is_counted() {
        let cx = Context::default();
        assert!(placed(cx.clone(), Delivery::example().unwrap()).await.is_ok());
        assert_eq!(cx.orders.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn an_autoship_is_marked() {
        let vendor = Script::answers(CreateAutoship::example_response());
        create(Context::default(), HookCall::example(vendor.clone()).unwrap()).await.unwrap();
        assert!(String::from_utf8_lossy(&vendor.asked().unwrap()).contains("from the fork"));
    }
}
