//! What is called while orders are placed, finalized, refunded, cancelled, shipped, discounted and taxed.

use super::Context;
use super::proceed::proceed;
use crate::catalog::Catalog;
use crate::hooks::directscale::new_order::SubmitOrder;

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new().hook(proceed::<SubmitOrder>)
}
