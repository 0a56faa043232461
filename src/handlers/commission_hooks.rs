//! What is called while commissions are computed and shown.
use webhook_receiver::Catalog;
use webhook_receiver::vendors::directscale::hooks::commission::{
    GetCommissionBonusDetails, GetSplitPayments, LogRealtimeRankAdvance,
};

use super::Context;

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new()
        .unhandled::<LogRealtimeRankAdvance>()
        .unhandled::<GetSplitPayments>()
        .unhandled::<GetCommissionBonusDetails>()
}
