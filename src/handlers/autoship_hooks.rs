//! What is called while autoships are created, listed, changed and cancelled.

use super::Context;
use crate::catalog::Catalog;
use crate::hooks::directscale::autoship::{
    CancelAutoship, CreateAutoship, GetAutoships, UpdateAutoship,
};

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new()
        .unhandled::<CreateAutoship>()
        .unhandled::<GetAutoships>()
        .unhandled::<UpdateAutoship>()
        .unhandled::<CancelAutoship>()
}
