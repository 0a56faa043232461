//! The daily tick.
use tracing::info;
use webhook_receiver::vendors::directscale::daily::DailyEvent;
use webhook_receiver::{Catalog, Delivery, Outcome};

use super::Context;

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new().on(ticked)
}

async fn ticked(_: Context, tick: Delivery<DailyEvent>) -> Outcome {
    info!(delivery.id = tick.meta.id, "daily run");
    Ok(())
}
