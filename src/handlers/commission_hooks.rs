//! What is called while commissions are computed and shown.

use super::Context;
use super::proceed::proceed;
use crate::catalog::Catalog;
use crate::hooks::directscale::commission::{
    GetCommissionBonusDetails, GetSplitPayments, LogRealtimeRankAdvance,
};

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new()
        .hook(proceed::<LogRealtimeRankAdvance>)
        .hook(proceed::<GetSplitPayments>)
        .hook(proceed::<GetCommissionBonusDetails>)
}
