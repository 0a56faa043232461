//! EvolutionX: orders, and users who change or subscribe.
use tracing::info;
use webhook_receiver::vendors::evolutionx::{
    OrderCreated, UserSubscribed, UserUnsubscribed, UserUpdated, record,
};
use webhook_receiver::{Catalog, Delivery, Outcome};

use super::Context;

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new().on(created).on(updated).on(subscribed).on(unsubscribed)
}

async fn created(_: Context, order: Delivery<OrderCreated>) -> Outcome {
    let from = order.source_user_type.as_deref();
    info!(order.from = from, order.record = record(&order).is_some(), "order created");
    Ok(())
}

async fn updated(_: Context, user: Delivery<UserUpdated>) -> Outcome {
    let from = user.source_user_type.as_deref();
    info!(user.from = from, user.record = record(&user).is_some(), "user updated");
    Ok(())
}

async fn subscribed(_: Context, user: Delivery<UserSubscribed>) -> Outcome {
    info!(user.from = user.source_user_type.as_deref(), "user subscribed");
    Ok(())
}

async fn unsubscribed(_: Context, user: Delivery<UserUnsubscribed>) -> Outcome {
    info!(user.from = user.source_user_type.as_deref(), "user unsubscribed");
    Ok(())
}
