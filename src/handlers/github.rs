//! GitHub: a webhook that is set up, and pushes.
use tracing::info;
use webhook_receiver::vendors::github::{Ping, Push};
use webhook_receiver::{Catalog, Delivery, Outcome};

use super::Context;

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new().on(set_up).on(pushed)
}

async fn set_up(_: Context, ping: Delivery<Ping>) -> Outcome {
    info!(hook.id = %ping.hook_id, "webhook set up");
    Ok(())
}

async fn pushed(_: Context, push: Delivery<Push>) -> Outcome {
    info!(
        push.r#ref = push.git_ref,
        push.commits = push.commits.as_ref().map_or(0, Vec::len),
        "pushed"
    );
    Ok(())
}
