//! Hooks of autoships: created, listed, changed, cancelled, discounted, retried and run.
use webhook_receiver::Catalog;
use webhook_receiver::vendors::directscale::hooks::autoship::{
    ApplyAutoshipCouponCodes, CancelAutoship, CreateAutoship, DailyRun, GetAutoships,
    ShouldRetryAutoshipOrder, UpdateAutoship,
};

use super::Context;

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new()
        .unhandled::<CreateAutoship>()
        .unhandled::<GetAutoships>()
        .unhandled::<UpdateAutoship>()
        .unhandled::<CancelAutoship>()
        .unhandled::<ApplyAutoshipCouponCodes>()
        .unhandled::<ShouldRetryAutoshipOrder>()
        .unhandled::<DailyRun>()
}
