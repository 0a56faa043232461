//! Hooks of autoships: created, listed, changed and cancelled.
use webhook_receiver::Catalog;
use webhook_receiver::vendors::directscale::hooks::autoship::{
    CancelAutoship, CreateAutoship, GetAutoships, UpdateAutoship,
};

use super::Context;

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new()
        .unhandled::<CreateAutoship>()
        .unhandled::<GetAutoships>()
        .unhandled::<UpdateAutoship>()
        .unhandled::<CancelAutoship>()
}
