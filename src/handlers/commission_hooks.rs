//! What is called while commissions are computed and shown.

use super::Context;
use crate::catalog::Catalog;
use crate::hooks::directscale::commission::{
    GetCommissionBonusDetails, GetSplitPayments, LogRealtimeRankAdvance,
};

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new()
        .unhandled::<LogRealtimeRankAdvance>()
        .unhandled::<GetSplitPayments>()
        .unhandled::<GetCommissionBonusDetails>()
}
