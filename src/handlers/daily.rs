//! The daily tick.

use tracing::info;

use super::Context;
use crate::catalog::Catalog;
use crate::event::{Delivery, Outcome};
use crate::events::directscale::daily::DailyEvent;

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new().on(ticked)
}

async fn ticked(_: Context, tick: Delivery<DailyEvent>) -> Outcome {
    info!(delivery.id = tick.meta.id, "daily run");
    Ok(())
}
