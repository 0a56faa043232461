//! Subscriptions: created and updated.
use tracing::info;
use webhook_receiver::vendors::directscale::subscription::{
    CreateSubscriptionEvent, UpdateSubscriptionEvent,
};
use webhook_receiver::{Catalog, Delivery, Outcome};

use super::Context;

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new().on(created).on(updated)
}

async fn created(_: Context, subscription: Delivery<CreateSubscriptionEvent>) -> Outcome {
    info!(
        subscription.id = %subscription.subscription_id,
        subscription.void = subscription.is_void,
        "subscription created"
    );
    Ok(())
}

async fn updated(_: Context, subscription: Delivery<UpdateSubscriptionEvent>) -> Outcome {
    info!(
        subscription.id = %subscription.subscription_id,
        subscription.void = subscription.is_void,
        "subscription updated"
    );
    Ok(())
}
