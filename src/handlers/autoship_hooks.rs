//! What is called while autoships are created, listed, changed and cancelled.

use super::Context;
use super::proceed::proceed;
use crate::catalog::Catalog;
use crate::hooks::directscale::autoship::{
    CancelAutoship, CreateAutoship, GetAutoships, UpdateAutoship,
};

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new()
        .hook(proceed::<CreateAutoship>)
        .hook(proceed::<GetAutoships>)
        .hook(proceed::<UpdateAutoship>)
        .hook(proceed::<CancelAutoship>)
}
