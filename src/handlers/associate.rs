//! Associates: created and updated.
use tracing::info;
use webhook_receiver::vendors::directscale::associate::{
    CreateAssociateEvent, UpdateAssociateEvent,
};
use webhook_receiver::{Catalog, Delivery, Outcome};

use super::Context;

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new().on(created).on(updated)
}

async fn created(_: Context, associate: Delivery<CreateAssociateEvent>) -> Outcome {
    info!(associate.id = %associate.associate_id, "associate created");
    Ok(())
}

async fn updated(_: Context, associate: Delivery<UpdateAssociateEvent>) -> Outcome {
    info!(associate.id = %associate.associate_id, "associate updated");
    Ok(())
}
