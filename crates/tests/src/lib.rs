//! The fixture: a fork for the engine's own tests, benchmarks and fuzz targets, with a handler for every vendor's model.

mod loyalty;
pub mod senders;
mod shipping_hooks;
mod welcome;

use std::sync::Arc;

use axum::Router;
use contract::catalog::{Catalog, Table};
use contract::event::{Delivery, Outcome};
use webhook_receiver::App;

pub use loyalty::LoyaltyPointsEvent;
pub use shipping_hooks::GetShipping;

/// What the fixture's handlers are given: nothing.
#[derive(Debug, Clone, Default)]
pub struct Context {}

/// Declares a family of events, each with a handler that takes it and does nothing.
macro_rules! family {
    ($family:ident: $($handler:ident($event:path)),+) => {
        mod $family {
            use super::{Catalog, Context, Delivery, Outcome};

            pub(super) fn catalog() -> Catalog<Context> {
                Catalog::new()$(.on($handler))+
            }

            $(async fn $handler(_: Context, _: Delivery<$event>) -> Outcome {
                Ok(())
            })+
        }
    };
}

family!(associate: created(vendors::directscale::associate::CreateAssociateEvent), updated(vendors::directscale::associate::UpdateAssociateEvent));
family!(client: arrived(vendors::directscale::client::ClientEvent));
family!(daily: ticked(vendors::directscale::daily::DailyEvent));
family!(enrollment: enrolled(vendors::directscale::enrollment::EnrollmentEvent));
family!(evolutionx: created(vendors::evolutionx::OrderCreated), updated(vendors::evolutionx::UserUpdated), subscribed(vendors::evolutionx::UserSubscribed), unsubscribed(vendors::evolutionx::UserUnsubscribed));
family!(github: set_up(vendors::github::Ping), pushed(vendors::github::Push));
family!(inventory: created(vendors::directscale::inventory::CreateInventoryItemEvent), deleted(vendors::directscale::inventory::DeleteInventoryItemEvent));
family!(order: placed(vendors::directscale::order::OrderEvent));
family!(order_lifecycle: created(vendors::directscale::order_lifecycle::CreateOrderEvent), paid(vendors::directscale::order_lifecycle::CreateOrderPaymentEvent), finalized(vendors::directscale::order_lifecycle::FinalizeOrderEvent));
family!(stock: changed(vendors::directscale::stock::StockLevelEvent));
family!(subscription: created(vendors::directscale::subscription::CreateSubscriptionEvent), updated(vendors::directscale::subscription::UpdateSubscriptionEvent));

/// Every event and hook of the fixture.
pub fn catalog() -> Catalog<Context> {
    Catalog::new()
        .merge(associate::catalog())
        .merge(client::catalog())
        .merge(daily::catalog())
        .merge(enrollment::catalog())
        .merge(evolutionx::catalog())
        .merge(github::catalog())
        .merge(inventory::catalog())
        .merge(loyalty::catalog())
        .merge(order::catalog())
        .merge(order_lifecycle::catalog())
        .merge(stock::catalog())
        .merge(subscription::catalog())
        .merge(shipping_hooks::catalog())
        .merge(unhandled_hooks())
}

/// The same without handlers.
///
/// # Panics
/// If two handlers claim the same name.
pub fn table() -> Arc<Table> {
    catalog().table().expect("no two handlers claim the same name")
}

/// The hooks of the vendors' models, which no handler takes.
fn unhandled_hooks() -> Catalog<Context> {
    use vendors::directscale::hooks::associate::{
        GetAssociateServiceAutoshipSettings, GetSecondaryTitle, IsEmailAvailable,
        OnNotificationEvent, UpdateAssociate, WriteApplication,
    };
    use vendors::directscale::hooks::autoship::{
        ApplyAutoshipCouponCodes, CancelAutoship, CreateAutoship, DailyRun, GetAutoships,
        ShouldRetryAutoshipOrder, UpdateAutoship,
    };
    use vendors::directscale::hooks::commission::{
        GetCommissionBonusDetails, GetSplitPayments, LogRealtimeRankAdvance,
    };
    use vendors::directscale::hooks::coupon::{GetCouponAdjustedVolume, ProcessCouponCodes};
    use vendors::directscale::hooks::new_order::SubmitOrder;
    use vendors::directscale::hooks::order::{
        CancelOrder, FinalizeAcceptedOrder, FinalizeNonAcceptedOrder, FullRefundOrder,
    };
    use vendors::directscale::hooks::package::MarkPackagesShipped;
    use vendors::directscale::hooks::tax::{CommitTax, GetTax};

    Catalog::new()
        .unhandled::<WriteApplication>()
        .unhandled::<UpdateAssociate>()
        .unhandled::<GetSecondaryTitle>()
        .unhandled::<GetAssociateServiceAutoshipSettings>()
        .unhandled::<IsEmailAvailable>()
        .unhandled::<OnNotificationEvent>()
        .unhandled::<CreateAutoship>()
        .unhandled::<GetAutoships>()
        .unhandled::<UpdateAutoship>()
        .unhandled::<CancelAutoship>()
        .unhandled::<ApplyAutoshipCouponCodes>()
        .unhandled::<ShouldRetryAutoshipOrder>()
        .unhandled::<DailyRun>()
        .unhandled::<LogRealtimeRankAdvance>()
        .unhandled::<GetSplitPayments>()
        .unhandled::<GetCommissionBonusDetails>()
        .unhandled::<SubmitOrder>()
        .unhandled::<ProcessCouponCodes>()
        .unhandled::<GetCouponAdjustedVolume>()
        .unhandled::<FinalizeAcceptedOrder>()
        .unhandled::<FinalizeNonAcceptedOrder>()
        .unhandled::<GetTax>()
        .unhandled::<CommitTax>()
        .unhandled::<MarkPackagesShipped>()
        .unhandled::<FullRefundOrder>()
        .unhandled::<CancelOrder>()
}

/// The fixture's pages.
pub fn pages(context: Context) -> Router {
    welcome::pages().with_state(context)
}

/// The fixture as `main` takes it.
pub fn app() -> App<Context> {
    App::new(catalog(), async || Ok(Context::default())).pages(pages)
}
