//! What is called while orders are placed, discounted, finalized, taxed, shipped, refunded and cancelled.

use super::Context;
use crate::catalog::Catalog;
use crate::hooks::directscale::coupon::{GetCouponAdjustedVolume, ProcessCouponCodes};
use crate::hooks::directscale::new_order::SubmitOrder;
use crate::hooks::directscale::order::{
    CancelOrder, FinalizeAcceptedOrder, FinalizeNonAcceptedOrder, FullRefundOrder,
};
use crate::hooks::directscale::package::MarkPackagesShipped;
use crate::hooks::directscale::tax::CommitTax;

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
