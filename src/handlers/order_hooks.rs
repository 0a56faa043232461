//! What is called while orders are placed, discounted, finalized, taxed, shipped, refunded and cancelled.

use super::Context;
use super::proceed::proceed;
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
        .hook(proceed::<SubmitOrder>)
        .hook(proceed::<ProcessCouponCodes>)
        .hook(proceed::<GetCouponAdjustedVolume>)
        .hook(proceed::<FinalizeAcceptedOrder>)
        .hook(proceed::<FinalizeNonAcceptedOrder>)
        .hook(proceed::<CommitTax>)
        .hook(proceed::<MarkPackagesShipped>)
        .hook(proceed::<FullRefundOrder>)
        .hook(proceed::<CancelOrder>)
}
