//! Subscriptions: created and updated.

use tracing::info;

use super::Context;
use crate::catalog::Catalog;
use crate::event::{Delivery, Outcome};
use crate::events::directscale::subscription::{CreateSubscriptionEvent, UpdateSubscriptionEvent};

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
