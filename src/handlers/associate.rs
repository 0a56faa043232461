//! Associates: created and updated.

use tracing::info;

use super::Context;
use crate::catalog::Catalog;
use crate::event::{Delivery, Outcome};
use crate::events::directscale::associate::{CreateAssociateEvent, UpdateAssociateEvent};

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
