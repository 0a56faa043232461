//! What is called while orders are placed, discounted, finalized, taxed, shipped, refunded and cancelled.
use webhook_receiver::Catalog;
use webhook_receiver::vendors::directscale::hooks::coupon::{
    GetCouponAdjustedVolume, ProcessCouponCodes,
};
use webhook_receiver::vendors::directscale::hooks::new_order::SubmitOrder;
use webhook_receiver::vendors::directscale::hooks::order::{
    CancelOrder, FinalizeAcceptedOrder, FinalizeNonAcceptedOrder, FullRefundOrder,
};
use webhook_receiver::vendors::directscale::hooks::package::MarkPackagesShipped;
use webhook_receiver::vendors::directscale::hooks::tax::CommitTax;

use super::Context;

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new()
        .unhandled::<SubmitOrder>()
        .unhandled::<ProcessCouponCodes>()
        .unhandled::<GetCouponAdjustedVolume>()
        .unhandled::<FinalizeAcceptedOrder>()
        .unhandled::<FinalizeNonAcceptedOrder>()
        .unhandled::<CommitTax>()
        .unhandled::<MarkPackagesShipped>()
        .unhandled::<FullRefundOrder>()
        .unhandled::<CancelOrder>()
}
