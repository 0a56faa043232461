//! Hooks of orders (placed, discounted, finalized, taxed, shipped, refunded, cancelled) and of commissions.
use webhook_receiver::Catalog;
use webhook_receiver::vendors::directscale::hooks::commission::{
    GetCommissionBonusDetails, GetSplitPayments, LogRealtimeRankAdvance,
};
use webhook_receiver::vendors::directscale::hooks::coupon::{
    GetCouponAdjustedVolume, ProcessCouponCodes,
};
use webhook_receiver::vendors::directscale::hooks::new_order::SubmitOrder;
use webhook_receiver::vendors::directscale::hooks::order::{
    CancelOrder, FinalizeAcceptedOrder, FinalizeNonAcceptedOrder, FullRefundOrder,
};
use webhook_receiver::vendors::directscale::hooks::package::MarkPackagesShipped;
use webhook_receiver::vendors::directscale::hooks::tax::{CommitTax, GetTax};

use super::Context;

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new()
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
        .unhandled::<LogRealtimeRankAdvance>()
        .unhandled::<GetSplitPayments>()
        .unhandled::<GetCommissionBonusDetails>()
}
